"""Exact partition sums: the native kernels against direct sums, over weights of any size."""

import os
import signal
import threading

import numpy as np
import pytest

from fastrbm._kernels import Parameters
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.cpu import partition as cpu_partition
from fastrbm._kernels.reference import ReferenceBackend
from fastrbm.units import softplus

UNITS = ("bernoulli", "bernoulli")
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-10}
DTYPES = list(TOLERANCE)
# (enumerated, summed out): ones, fewer and more bits than lanes (6) and than low and middle ones (9), chunks of factors
SIZES = [(1, 1), (1, 2000), (2, 3), (5, 16), (6, 17), (7, 65), (8, 200), (9, 33), (11, 100), (14, 20)]

reference = ReferenceBackend()


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    # tiny problems would run on one thread otherwise
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def model(n_hidden, n_visible, scale=1.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng([seed, n_hidden, n_visible])
    return Parameters(*(rng.normal(0, scale, n).astype(dtype) for n in ((n_hidden, n_visible), n_visible, n_hidden)))


def odd_model(k):
    """A random model whose kind, sizes and scales are random, too."""
    rng = np.random.default_rng([20, k])
    n_hidden, n_visible = int(rng.integers(1, 12)), int(np.exp(rng.uniform(0, np.log(2000))))
    of_w, of_a, of_b = 10 ** rng.uniform(-3, 3, 3)
    weights, a, b = rng.normal(0, of_w, (n_hidden, n_visible)), rng.normal(0, of_a, n_visible), rng.normal(0, of_b)
    b = np.full(n_hidden, b)
    kind = k % 6
    if kind == 1:
        a = -np.abs(a)
    elif kind == 2:  # roundings of equal units add up
        weights, a = np.repeat(weights[:, :1], n_visible, axis=1), np.full(n_visible, a[0])
    elif kind == 3:
        weights = rng.standard_t(1.5, weights.shape) * of_w
    elif kind == 4:  # large terms that cancel
        b = -np.maximum(weights, 0).sum(axis=1)
    elif kind == 5:  # hardly any unit is ever on, so log Z is small
        weights *= 10 ** rng.uniform(-3, 1, (n_hidden, 1))
        a = np.full(n_visible, -rng.uniform(0, 25))
    return Parameters(np.ascontiguousarray(weights), a, b)


def error(got, wanted):
    return abs(got - wanted) / max(1.0, abs(wanted)) if np.isfinite(got) else np.inf


def states(n):
    return (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(np.longdouble)


def longdouble_sum(parameters):
    """Log Z and log-weights in extended precision."""
    weights, a, b = (x.astype(np.longdouble) for x in parameters)
    h = states(len(b))
    logs = h @ b + np.logaddexp(np.longdouble(0), h @ weights + a).sum(axis=1)
    return logs.max() + np.log(np.exp(logs - logs.max()).sum()), logs


@pytest.mark.parametrize("n_hidden,n_visible", [(1, 1), (3, 7), (8, 40), (10, 5)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e3])
def test_extended_precision(target, n_hidden, n_visible, scale):
    parameters = model(n_hidden, n_visible, scale)
    wanted, logs = longdouble_sum(parameters)
    for dtype in DTYPES:
        got_logs = np.full(1 << n_hidden, np.nan)
        got = CpuBackend(2).log_partition_sum(parameters, UNITS, dtype=dtype, log_weights=got_logs)
        assert error(got, wanted) < TOLERANCE[dtype]
        assert np.max(np.abs(got_logs - logs) / np.maximum(1, np.abs(logs))) < 10 * TOLERANCE[dtype]
    assert error(reference.log_partition_sum(parameters, UNITS), wanted) < 1e-13


@pytest.mark.parametrize("n_hidden,n_visible", SIZES)
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0, 100.0, 1e3, 1e6])
def test_direct_sum_over_sizes_and_scales(target, n_hidden, n_visible, scale):
    parameters = model(n_hidden, n_visible, scale)
    wanted = reference.log_partition_sum(parameters, UNITS)
    for dtype in DTYPES:
        got = CpuBackend(2).log_partition_sum(parameters, UNITS, dtype=dtype)
        assert isinstance(got, float)
        assert error(got, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_direct_sum_of_odd_models(target, dtype):
    for k in range(120):
        parameters = odd_model(k)
        wanted = reference.log_partition_sum(parameters, UNITS)
        assert error(CpuBackend(1).log_partition_sum(parameters, UNITS, dtype=dtype), wanted) < TOLERANCE[dtype], k


@pytest.mark.parametrize("bits", [1, 3, 6, 9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_cut_into_bits_gives_the_same_sum(target, monkeypatch, bits, dtype):
    parameters = model(10, 60, 0.5)
    wanted_logs, logs = np.empty(1 << 10), np.empty(1 << 10)
    wanted = reference.log_partition_sum(parameters, UNITS, log_weights=wanted_logs)
    monkeypatch.setattr(cpu_partition, "_MOST_LOW", min(bits, 6))
    monkeypatch.setattr(cpu_partition, "_MOST_MIDDLE", max(0, bits - 6))
    got = CpuBackend(1).log_partition_sum(parameters, UNITS, dtype=dtype, log_weights=logs)
    assert error(got, wanted) < TOLERANCE[dtype]
    np.testing.assert_allclose(logs, wanted_logs, rtol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_closed_form_without_weights(target, scale):
    zero, a, b = model(12, 300, scale)
    wanted = softplus(a).sum() + softplus(b).sum()
    for dtype in DTYPES:
        got = CpuBackend(2).log_partition_sum(Parameters(0 * zero, a, b), UNITS, dtype=dtype)
        assert error(got, wanted) < TOLERANCE[dtype]


def test_either_layer_may_be_enumerated(target):
    weights, a, b = model(7, 12)
    turned = Parameters(np.ascontiguousarray(weights.T), b, a)
    one, other = (CpuBackend(2).log_partition_sum(p, UNITS) for p in (Parameters(weights, a, b), turned))
    assert error(one, other) < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_hidden,n_visible,scale", [(14, 30, 0.3), (15, 7, 2.0), (13, 20, 500.0)])
def test_n_threads_agnosticism(target, dtype, n_hidden, n_visible, scale):
    parameters = model(n_hidden, n_visible, scale)
    results = []
    for n_threads in (1, 2, 3, 2):
        logs = np.full(1 << n_hidden, np.nan)
        total = CpuBackend(n_threads).log_partition_sum(parameters, UNITS, dtype=dtype, log_weights=logs)
        results.append((total, logs))
        assert total == CpuBackend(n_threads).log_partition_sum(parameters, UNITS, dtype=dtype)
    for total, logs in results[1:]:
        assert total == results[0][0]
        np.testing.assert_array_equal(logs, results[0][1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_weights_are_in_the_order_of_the_states(target, dtype):
    # units of different size, so that the bits are enumerated in another order than they are numbered
    weights, a, b = model(11, 40, 0.2)
    weights *= np.random.default_rng(0).permutation(11)[:, None] + 1
    logs = np.full(1 << 11, np.nan)
    CpuBackend(2).log_partition_sum(Parameters(weights, a, b), UNITS, dtype=dtype, log_weights=logs)
    h = states(11).astype(np.float64)
    np.testing.assert_allclose(logs, h @ b + softplus(h @ weights + a).sum(axis=1), rtol=TOLERANCE[dtype], atol=1e-5)


def test_float32_parameters_are_taken_as_they_are(target):
    parameters = model(9, 50, dtype=np.float32)
    exact = Parameters(*(x.astype(np.float64) for x in parameters))
    assert CpuBackend(1).log_partition_sum(parameters, UNITS) == CpuBackend(1).log_partition_sum(exact, UNITS)


@pytest.mark.parametrize("backend", [reference, CpuBackend(2)], ids=["reference", "cpu"])
def test_progress_rises_to_the_end(backend):
    seen = []
    backend.log_partition_sum(model(16, 300), UNITS, on_progress=lambda *now: seen.append(now))
    assert {total for _, total in seen} == {1 << 16}
    done = [d for d, _ in seen]
    assert done == sorted(done) and done[-1] == 1 << 16


def test_progress_comes_while_the_sum_runs_and_may_end_it():
    seen = []

    class Stop(Exception):
        pass

    def stop(done, total):
        seen.append(done)
        if len(seen) == 2:
            raise Stop

    with pytest.raises(Stop):
        CpuBackend(2).log_partition_sum(model(28, 784, 0.1), UNITS, dtype=np.float32, on_progress=stop)
    assert 0 < seen[0] < seen[1] < 1 << 28


def test_a_signal_interrupts_a_sum():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    try:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            CpuBackend(2).log_partition_sum(model(34, 784, 0.1), UNITS)
    finally:
        signal.signal(signal.SIGINT, before)
    parameters = model(9, 20)
    wanted = reference.log_partition_sum(parameters, UNITS)
    assert error(CpuBackend(2).log_partition_sum(parameters, UNITS), wanted) < 1e-12


@pytest.mark.parametrize("backend", [reference, CpuBackend(2)], ids=["reference", "cpu"])
def test_bad_arguments_are_named(backend):
    parameters = model(3, 4)
    with pytest.raises(ValueError, match="1 to 40 units"):
        backend.log_partition_sum(Parameters(np.zeros((0, 4)), np.zeros(4), np.zeros(0)), UNITS)
    with pytest.raises(ValueError, match="1 to 40 units"):
        backend.log_partition_sum(Parameters(np.zeros((41, 4)), np.zeros(4), np.zeros(41)), UNITS)
    with pytest.raises(ValueError, match="dtype must be"):
        backend.log_partition_sum(parameters, UNITS, dtype=np.float16)
    with pytest.raises(ValueError, match="unit must be one of"):
        backend.log_partition_sum(parameters, ("bernoulli", "potato"))
    with pytest.raises(ValueError, match="finite"):
        backend.log_partition_sum(parameters._replace(hidden_bias=np.array([0, np.inf, 0])), UNITS)
    with pytest.raises(TypeError, match="log_weights"):
        backend.log_partition_sum(parameters, UNITS, log_weights=np.zeros(8, np.float32))
    with pytest.raises(ValueError, match=r"log_weights must be .*\(8,\), got \(7,\)"):
        backend.log_partition_sum(parameters, UNITS, log_weights=np.zeros(7))


def test_the_time_of_a_sum_grows_with_its_states_and_is_no_less_for_units_without_kernels():
    backend = CpuBackend(1)
    few, many = (backend.seconds_for_states(("bernoulli", "bernoulli"), n, 100, np.float64) for n in (2.0**20, 2.0**30))
    assert many == pytest.approx(1024 * few)
    assert backend.seconds_for_states(("bernoulli", "ising"), 2.0**20, 100, np.float32) == few
    assert backend.seconds_for_states(("relu", "bernoulli"), 2.0**20, 100, np.float64) > few
    assert np.isfinite(backend.seconds_for_states(("bernoulli", "bernoulli"), np.inf, 100, np.float64))
