"""The annealing kernel against its composed definition, on every instruction set."""

import _thread
import threading
import time

import numpy as np
import pytest

from fastrbm._kernels import Parameters, pack
from fastrbm._kernels import cpu as cpu_package
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.draws import Draw
from fastrbm._kernels.reference import ReferenceBackend
from kernel_cases import TARGETS

UNITS = ("bernoulli", "bernoulli")
SIZES = [(1, 1, 1), (3, 33, 6), (65, 40, 35), (130, 70, 129)]


def model(n_visible, n_hidden, dtype=np.float32, scale=0.3, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((n_hidden, n_visible), (n_visible,), (n_hidden,))
    return Parameters(*(rng.normal(0, scale, s).astype(dtype) for s in shapes))


def annealed(backend, n, n_visible, n_hidden, sum_out, betas, dtype=np.float32, scale=0.3):
    parameters = model(n_visible, n_hidden, dtype, scale)
    bases = tuple(0.3 * x for x in model(n_visible, n_hidden, dtype, scale, seed=1)[1:])
    start = pack(np.random.default_rng(2).random((n, n_visible if sum_out == "hidden" else n_hidden)) < 0.4)
    log_weights = np.linspace(0, 1, n)
    states = backend.anneal(start, parameters, UNITS, bases, sum_out, betas, Draw(5, 7, 0, 11), log_weights)
    return log_weights, states.words


@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
@pytest.mark.parametrize("sum_out", ["hidden", "visible"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_annealing_matches_the_reference(target, n, n_visible, n_hidden, sum_out, dtype):
    args = (n, n_visible, n_hidden, sum_out)
    for betas in (np.linspace(0, 1, 6), np.linspace(1, 0, 4), np.array([0.5])):
        got, got_states = annealed(CpuBackend(2), *args, betas, dtype)
        wanted, wanted_states = annealed(ReferenceBackend(), *args, betas, dtype)
        np.testing.assert_array_equal(got_states, wanted_states)
        np.testing.assert_allclose(got, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 5.0, 100.0, 3000.0])
@pytest.mark.parametrize("sum_out", ["hidden", "visible"])
def test_extreme_weights(target, scale, sum_out):
    """Inputs in the hundreds of thousands: finite, and the weights of one step exact."""
    args = (40, 30, 20, sum_out, np.array([0.0, 0.25]), np.float32, scale)
    got, _ = annealed(CpuBackend(1), *args)
    wanted, _ = annealed(ReferenceBackend(), *args)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_same_bits_for_targets_and_threads(n, n_visible, n_hidden):
    before, results = cpu_package.current_target(), []
    try:
        for name in TARGETS:
            cpu_package.use_target(name)
            for n_threads in (1, 2, 3):
                backend = CpuBackend(n_threads)
                results.append(annealed(backend, n, n_visible, n_hidden, "hidden", np.linspace(0, 1, 9)))
    finally:
        cpu_package.use_target(before)
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_the_temperatures_telescope():
    """Weights to 1 and back with the states held by tiny steps: the sum over steps is the free energy difference."""
    parameters = model(20, 7)
    zero = tuple(np.zeros_like(x) for x in parameters[1:])
    v = pack(np.ones((1, 20)))
    log_weights = np.zeros(1)
    CpuBackend(1).anneal(v, parameters, UNITS, zero, "hidden", np.array([0.0, 1.0]), Draw(0, 0, 0), log_weights)
    wanted = -CpuBackend(1).free_energy("bernoulli", v, parameters) - 7 * np.log(2)
    np.testing.assert_allclose(log_weights, wanted, rtol=1e-6)


def test_empty_population():
    log_weights, states = annealed(CpuBackend(1), 0, 9, 4, "hidden", np.linspace(0, 1, 3))
    assert len(log_weights) == len(states) == 0


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_progress_rises_and_interrupts_get_through(device):
    backend = CpuBackend(2) if device == "cpu" else ReferenceBackend()
    parameters = model(200, 150)
    zero = tuple(np.zeros_like(x) for x in parameters[1:])
    seen = []

    def progress(done, total):
        seen.append(done)
        assert 0 <= done <= total == 700 * 100000
        if len(seen) == 4:
            raise KeyboardInterrupt

    start = pack(np.zeros((700, 200)))
    with pytest.raises(KeyboardInterrupt):
        backend.anneal(
            start, parameters, UNITS, zero, "hidden", np.linspace(0, 1, 100001), Draw(0, 0, 0), np.zeros(700), progress
        )
    assert len(seen) == 4 and seen == sorted(seen)


def test_control_c_ends_a_native_run():
    parameters = model(300, 200)
    zero = tuple(np.zeros_like(x) for x in parameters[1:])
    timer = threading.Timer(0.2, _thread.interrupt_main)
    begin = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        CpuBackend(2).anneal(
            pack(np.zeros((500, 300))), parameters, UNITS, zero, "hidden", np.linspace(0, 1, 10**6), Draw(0, 0, 0),
            np.zeros(500),
        )  # fmt: skip
    assert time.perf_counter() - begin < 10
