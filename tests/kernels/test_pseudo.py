"""Pseudo-likelihood at any size of weights, biases and inputs, against the formula in float64."""

import numpy as np
import pytest

from fastrbm._kernels import Parameters
from fastrbm._kernels.cpu import CpuBackend, runtime
from kernel_cases import TARGETS, bits, grey, model, reference

#: magnitudes of weights: nothing, below and above where exponentials of float32 and float64 end, and far beyond
SCALES = [0.0, 1e-30, 1.0, 79.0, 81.0, 302.0, 1e4, 1e20]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def wide(parameters):
    return Parameters(*(x.astype(np.float64) for x in parameters))


def scaled(scale, n_visible, n_hidden, dtype):
    """Half of the hidden units with weights of this size, the others with ordinary ones."""
    parameters = model(n_visible, n_hidden, dtype)
    parameters.weights[::2] *= dtype(scale)
    return parameters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n,n_visible,n_hidden", [(1, 1, 1), (9, 33, 7), (70, 130, 40)])
@pytest.mark.filterwarnings("error")
def test_any_size_of_weights(target, dtype, scale, n, n_visible, n_hidden):
    parameters = scaled(scale, n_visible, n_hidden, dtype)
    rtol = 2e-5 if dtype == np.float32 else 1e-11
    for rows in (bits(n, n_visible), grey(n, n_visible, dtype)):
        got = CpuBackend(2).pseudo_likelihood("bernoulli", rows, parameters)
        wanted = reference.pseudo_likelihood("bernoulli", rows, wide(parameters))
        assert np.isfinite(got).all()
        # a sum of weights is off by the rounding of its largest terms
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol / 4 * n_visible * max(scale, 1) * n_hidden**0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [79.5, 81.5, 302.0, 1e4, 1e20])
def test_any_size_of_hidden_inputs(target, dtype, bias):
    parameters = model(50, 30, dtype)
    parameters.hidden_bias[:] = np.resize([bias, -bias, 0.5], 30)
    rtol = 2e-5 if dtype == np.float32 else 1e-11
    for rows in (bits(20, 50), grey(20, 50, dtype)):
        got = CpuBackend(1).pseudo_likelihood("bernoulli", rows, parameters)
        wanted = reference.pseudo_likelihood("bernoulli", rows, wide(parameters))
        # the reference's own differences of cgf lose digits: those of units that are always on or off are known
        if bias > 1e3:
            always, never = parameters.hidden_bias > 1e3, parameters.hidden_bias < -1e3
            kept = ~always & ~never
            of_others = wide(parameters)
            wanted = reference.pseudo_likelihood(
                "bernoulli",
                rows,
                Parameters(
                    of_others.weights[kept],
                    of_others.visible_bias + of_others.weights[always].sum(axis=0),
                    of_others.hidden_bias[kept],
                ),
            )
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * 50)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [3.0, -3.0, 5000.0, -1e10])
def test_rows_of_any_values(target, dtype, size):
    parameters = model(70, 12, dtype)
    rows = (grey(15, 70, dtype) * dtype(size)).astype(dtype)
    got = CpuBackend(1).pseudo_likelihood("bernoulli", rows, parameters)
    wanted = reference.pseudo_likelihood("bernoulli", rows, wide(parameters))
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * abs(size) * 70)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [0.05, 3.0, 60.0, 1e4])
def test_no_row_counts_for_another_and_forms_agree(target, dtype, scale):
    """Rows alone and together, as bits and as floats, on one and three threads: the same bits."""
    parameters = model(200, 45, dtype, scale)
    rows = bits(140, 200)
    mixed = rows.dense(dtype)
    mixed[::3] = grey(140, 200, dtype)[::3]
    mixed[::5, :77] = grey(140, 200, dtype)[::5, :77]
    one, three = CpuBackend(1), CpuBackend(3)
    if dtype == np.float32:  # inputs of bits are sums of integers, those of floats of BLAS
        parameters.weights[:] = np.round(parameters.weights * 64) / 64
        parameters.hidden_bias[:] = np.round(parameters.hidden_bias * 64) / 64
    whole = one.pseudo_likelihood("bernoulli", rows, parameters)
    if scale < 100:
        np.testing.assert_array_equal(whole, three.pseudo_likelihood("bernoulli", rows.dense(dtype), parameters))
    for x, wanted in ((rows, whole), (mixed, one.pseudo_likelihood("bernoulli", mixed, parameters))):
        np.testing.assert_array_equal(three.pseudo_likelihood("bernoulli", x, parameters), wanted)
    alone = [one.pseudo_likelihood("bernoulli", rows[k : k + 1], parameters)[0] for k in range(0, 140, 13)]
    if dtype == np.float32 and scale < 100:
        np.testing.assert_array_equal(alone, whole[::13])
    np.testing.assert_allclose(alone, whole[::13], rtol=1e-4)


@pytest.mark.parametrize("scale", [0.05, 3.0, 60.0])
def test_all_instruction_sets_return_the_same_bits(scale):
    before, found = runtime.current_target(), []
    try:
        for name in TARGETS:
            runtime.use_target(name)
            found.append(
                [
                    CpuBackend(2).pseudo_likelihood("bernoulli", rows, model(130, 40, np.float32, scale))
                    for rows in (bits(70, 130), bits(3, 130))
                ]
            )
    finally:
        runtime.use_target(before)
    for other in found[1:]:
        for got, wanted in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, wanted)
