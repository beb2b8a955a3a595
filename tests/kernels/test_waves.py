"""Wave functions of spins: native kernels against the definition."""

import numpy as np
import pytest

from fastrbm._kernels import cpu, get_backend
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.draws import Draw, Stream
from fastrbm._kernels.waves import SpinWave
from kernel_cases import TARGETS

pytestmark = pytest.mark.kernels
SHAPES = [(1, 1, 1), (3, 5, 7), (33, 9, 16), (17, 12, 31), (5, 40, 1100)]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def case(n, n_sites, n_hidden, dtype, scale=1.0):
    rng = np.random.default_rng(n + n_sites + n_hidden)

    def numbers(size, *shape):
        real = rng.normal(0, size, shape)
        return real + 1j * rng.normal(0, size, shape) if dtype is complex else real

    weights = numbers(scale / np.sqrt(n_hidden), n_hidden, n_sites)
    biases = numbers(0.1 * scale, n_sites), numbers(0.1 * scale, n_hidden)
    moves = [[site, -1, 0] for site in range(n_sites)]
    if n_sites > 1:
        moves += [[site, (site + 1) % n_sites, -1] for site in range(n_sites)]
        moves += [[site, (site + 2) % n_sites, 1] for site in range(n_sites) if n_sites > 2]
    spins = np.where(rng.random((n, n_sites)) < 0.5, -1, 1).astype(np.int8)
    return (weights, *biases, np.array(moves, np.int32)), spins


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.filterwarnings("error")
def test_states_and_sweeps(target, shape, dtype):
    wave, spins = case(*shape, dtype)
    native, wanted = CpuBackend(2).wave(*wave), SpinWave(*wave)
    found, right = native.evaluate(spins), wanted.evaluate(spins)
    np.testing.assert_allclose(np.exp(found.log_psi - right.log_psi), 1, rtol=1e-11)
    np.testing.assert_allclose(found.tanh_theta, right.tanh_theta, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.ratios, right.ratios, rtol=1e-9, atol=1e-12)
    assert native.evaluate(spins, ratios=False).ratios is None
    for in_order in (True, False):
        here, there = spins.copy(), spins.copy()
        draw = Draw(5, 2**33, Stream.SPIN_MOVES, 3)
        accepted = native.sweep(here, draw, 3, in_order=in_order)
        np.testing.assert_array_equal(accepted, wanted.sweep(there, draw, 3, in_order=in_order))
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("dtype", [float, complex])
def test_bits_are_the_same_everywhere(dtype):
    wave, spins = case(50, 20, 60, dtype)
    found, before = [], cpu.current_target()
    try:
        for name in TARGETS:
            cpu.use_target(name)
            for n_threads in (1, 2, 3):
                kernel, states = get_backend("cpu", n_threads=n_threads).wave(*wave), spins.copy()
                accepted = kernel.sweep(states, Draw(1, 0, Stream.SPIN_MOVES), 4, in_order=False)
                found.append([states, accepted, *kernel.evaluate(states)])
    finally:
        cpu.use_target(before)
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(x, y)


def test_chains_are_addressed():
    wave, spins = case(40, 9, 11, float)
    kernel = CpuBackend(2).wave(*wave)
    whole, pieces = spins.copy(), spins.copy()
    kernel.sweep(whole, Draw(9, 4, Stream.SPIN_MOVES), 5, in_order=False)
    for first, end in ((0, 7), (7, 40)):
        for step, n_sweeps in ((4, 2), (6, 3)):
            kernel.sweep(pieces[first:end], Draw(9, step, Stream.SPIN_MOVES, first), n_sweeps, in_order=False)
    np.testing.assert_array_equal(pieces, whole)


def test_large_inputs():
    wave, spins = case(20, 6, 9, float)
    weights, visible_bias, hidden_bias, moves = wave
    for size in (1e3, 1e100):
        far = weights, visible_bias, size * np.sign(hidden_bias), moves
        found, right = CpuBackend(1).wave(*far).evaluate(spins), SpinWave(*far).evaluate(spins)
        np.testing.assert_allclose(found.log_psi, right.log_psi, rtol=1e-12)
        np.testing.assert_allclose(found.ratios, right.ratios, rtol=1e-10)


@pytest.mark.parametrize(
    ("size", "words"), [(1e3, "more than a float64"), (np.inf, "not finite"), (np.nan, "not finite")]
)
def test_ratios_that_no_float_holds_are_refused(size, words):
    (weights, *others), _ = case(2, 5, 7, float)
    with pytest.raises(FloatingPointError, match=words):
        CpuBackend(1).wave(size * np.abs(weights), *others)
