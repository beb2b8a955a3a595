"""Exact partition sums on a GPU, or in Numba's simulator of one, against direct sums."""

import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastrbm._kernels import Parameters  # noqa: E402
from fastrbm._kernels.cuda import partition  # noqa: E402
from fastrbm._kernels.cuda.backend import CudaBackend  # noqa: E402
from fastrbm._kernels.cuda.kernels import target  # noqa: E402
from fastrbm._kernels.reference import ReferenceBackend  # noqa: E402
from fastrbm.units import softplus  # noqa: E402

if not target.SIMULATED and not target.cuda.is_available():
    pytest.skip("neither a GPU nor NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)

UNITS = ("bernoulli", "bernoulli")
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-10}
DTYPES = list(TOLERANCE)

reference = ReferenceBackend()


def model(n_hidden, n_visible, scale=1.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng([seed, n_hidden, n_visible])
    return Parameters(*(rng.normal(0, scale, n).astype(dtype) for n in ((n_hidden, n_visible), n_visible, n_hidden)))


def odd_model(k):
    """A random model whose kind, sizes and scales are random, too."""
    rng = np.random.default_rng([21, k])
    n_hidden, n_visible = int(rng.integers(1, 7)), int(np.exp(rng.uniform(0, np.log(40))))
    of_w, of_a, of_b = 10 ** rng.uniform(-2, 3, 3)
    weights, a, b = rng.normal(0, of_w, (n_hidden, n_visible)), rng.normal(0, of_a, n_visible), rng.normal(0, of_b)
    b = np.full(n_hidden, b)
    kind = k % 4
    if kind == 1:  # roundings of equal units add up
        weights, a = np.repeat(weights[:, :1], n_visible, axis=1), np.full(n_visible, a[0])
    elif kind == 2:  # large terms that cancel
        b = -np.maximum(weights, 0).sum(axis=1)
    elif kind == 3:  # hardly any unit is ever on, so log Z is small
        a = np.full(n_visible, -rng.uniform(0, 25))
    return Parameters(np.ascontiguousarray(weights), a, b)


def log_z(parameters, dtype=np.float64, log_weights=None, on_progress=None):
    return partition.log_partition_sum(parameters, dtype, log_weights, on_progress)


def error(got, wanted):
    return abs(got - wanted) / max(1.0, abs(wanted)) if np.isfinite(got) else np.inf


def many_launches(monkeypatch):
    """One outer state at first, of few states."""
    monkeypatch.setattr(partition, "_SHAPES", dict.fromkeys(DTYPES, partition.SMALL))
    monkeypatch.setattr(partition, "_FIRST_FACTORS", 1)
    monkeypatch.setattr(partition, "_MOST_INNER", 2)


# fewer and more bits than low ones and middle ones, units of one and of several chunks
@pytest.mark.parametrize("n_hidden,n_visible", [(1, 1), (2, 3), (3, 40), (4, 8), (6, 9)])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 30.0, 1e3])
def test_direct_sum_over_sizes_and_scales(n_hidden, n_visible, scale):
    parameters = model(n_hidden, n_visible, scale)
    wanted = reference.log_partition_sum(parameters, UNITS)
    for dtype in DTYPES:
        got = log_z(parameters, dtype)
        assert isinstance(got, float)
        assert error(got, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_direct_sum_of_odd_models(dtype):
    for k in range(8):
        parameters = odd_model(k)
        wanted = reference.log_partition_sum(parameters, UNITS)
        assert error(log_z(parameters, dtype), wanted) < TOLERANCE[dtype], k


def test_twelve_units():
    parameters = model(12, 1, 0.5)
    assert error(log_z(parameters, np.float32), reference.log_partition_sum(parameters, UNITS)) < 2e-6


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_closed_form_without_weights(scale):
    zero, a, b = model(5, 40, scale)
    wanted = softplus(a).sum() + softplus(b).sum()
    for dtype in DTYPES:
        assert error(log_z(Parameters(0 * zero, a, b), dtype), wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("at", [-1e6, -300.0, 300.0, 1e6])
def test_extreme_biases(at):
    weights, a, b = model(4, 10)
    for parameters in (Parameters(weights, a + at, b), Parameters(weights, a, b + at)):
        wanted = reference.log_partition_sum(parameters, UNITS)
        for dtype in DTYPES:
            assert error(log_z(parameters, dtype), wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.1, 3.0, 300.0])
def test_log_weights_are_in_the_order_of_the_states(monkeypatch, dtype, scale):
    many_launches(monkeypatch)
    # units of different size, so that the bits are enumerated in another order than they are numbered
    weights, a, b = model(6, 12, scale)
    weights *= np.random.default_rng(0).permutation(6)[:, None] + 1
    parameters = Parameters(weights, a, b)
    got, wanted = np.full(64, np.nan), np.empty(64)
    total = log_z(parameters, dtype, got)
    assert error(total, log_z(parameters, dtype)) < 1e-14
    reference.log_partition_sum(parameters, UNITS, log_weights=wanted)
    np.testing.assert_allclose(got, wanted, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_length_of_launches_changes_nothing(monkeypatch, dtype):
    many_launches(monkeypatch)
    parameters = model(7, 10)
    wanted = log_z(parameters, dtype)
    for bytes_of_inputs in (1, 300):
        monkeypatch.setattr(partition, "_MOST_OUTER", bytes_of_inputs)
        assert log_z(parameters, dtype) == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_hidden,n_visible,scale", [(3, 40, 1.0), (10, 3, 0.5)])
def test_blocks_of_the_size_for_a_gpu(monkeypatch, dtype, n_hidden, n_visible, scale):
    monkeypatch.setattr(partition, "_SHAPES", partition.DEVICE_SHAPES)
    parameters = model(n_hidden, n_visible, scale)
    got, wanted = np.full(1 << n_hidden, np.nan), np.empty(1 << n_hidden)
    total = reference.log_partition_sum(parameters, UNITS, log_weights=wanted)
    assert error(log_z(parameters, dtype, got), total) < TOLERANCE[dtype]
    np.testing.assert_allclose(got, wanted, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


def test_float32_parameters_are_taken_as_they_are():
    parameters = model(5, 9, dtype=np.float32)
    assert log_z(parameters) == log_z(Parameters(*(x.astype(np.float64) for x in parameters)))


def test_progress_rises_to_the_end(monkeypatch):
    many_launches(monkeypatch)
    seen = []
    log_z(model(7, 5), on_progress=lambda *now: seen.append(now))
    assert {total for _, total in seen} == {1 << 7}
    done = [d for d, _ in seen]
    assert done == sorted(set(done)) and done[-1] == 1 << 7 and len(done) > 1


def test_progress_may_end_the_sum(monkeypatch):
    many_launches(monkeypatch)
    seen = []

    class Stop(Exception):
        pass

    def stop(done, total):
        seen.append(done)
        raise Stop

    with pytest.raises(Stop):
        log_z(model(7, 5), on_progress=stop)
    assert len(seen) == 1 and 0 < seen[0] < 1 << 7


def test_seconds_of_a_device_grow_with_the_work_and_are_no_fantasy(monkeypatch):
    """A hundred multiprocessors: 2^36 states of 784 neurons in minutes, not in the days of NumPy."""
    monkeypatch.setattr(partition, "n_processors", lambda: 100)
    seconds = CudaBackend().seconds_for_states
    assert 15 < seconds(UNITS, 2.0**36, 784, np.float32) < 600
    assert seconds(UNITS, 2.0**20, 784, np.float64) > seconds(UNITS, 2.0**20, 784, np.float32)
    assert seconds(UNITS, 2.0**21, 784, np.float32) == 2 * seconds(UNITS, 2.0**20, 784, np.float32)
    assert seconds(("ising", "bernoulli"), 2.0**20, 784, np.float64) == seconds(UNITS, 2.0**20, 784, np.float64)
    assert seconds(("gaussian", "bernoulli"), 2.0**20, 784, np.float64) > 1
    assert seconds(UNITS, math.inf, 784, np.float32) == math.inf


def test_each_chunk_and_each_stop_ends_a_chunk():
    ends, strips = partition.chunks_of(np.array([3, 20, 21]), 8)
    np.testing.assert_array_equal(ends, [3, 11, 19, 20, 21])
    np.testing.assert_array_equal(strips, [1, 0, 0, 1, 1])
