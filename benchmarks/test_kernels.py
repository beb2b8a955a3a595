"""One benchmark per kernel of the contract: ``pytest benchmarks``; every group holds its NumPy peer.

Each kernel runs on the reference backend and on the native one for every instruction set of this machine. The
members of a group do the same work, so pytest-benchmark's table reads as a comparison. Native kernels and the
BLAS of the peers get the same number of threads, one unless ``--kernel-threads`` says otherwise.

``pytest benchmarks --benchmark-disable`` calls everything once.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from scipy.special import expit, logsumexp  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from fastrbm._kernels import ChainState, Parameters, Phase, Rule, TrainingPlan, Update, get_backend, pack  # noqa: E402
from fastrbm._kernels.cpu import CpuBackend, current_target, supported_targets, use_target  # noqa: E402
from fastrbm._kernels.cpu.runtime import extension as native  # noqa: E402
from fastrbm._kernels.draws import Draw, Stream  # noqa: E402

N_SAMPLES, N_VISIBLE, N_HIDDEN = 1024, 784, 256
#: Rows of the pseudo-likelihood, which costs a NumPy pass over all hidden units per visible unit.
N_SCORED = 64
N_BATCH = 256
UNIT = "bernoulli"
DRAW = Draw(seed=1, step=0, stream=Stream.HIDDEN)


def group(name):
    # All options in one mark: pytest-benchmark reads only the mark that is closest to the test.
    return pytest.mark.benchmark(group=name, min_rounds=5, max_time=0.5, warmup=True, warmup_iterations=2)


@pytest.fixture(scope="module", autouse=True)
def same_threads(threads):
    with threadpool_limits(threads):
        yield


@pytest.fixture(params=["reference", *supported_targets()])
def backend(request, threads):
    before = current_target()
    if request.param == "reference":
        yield get_backend("reference")
    else:
        use_target(request.param)
        yield get_backend("cpu", threads)
    use_target(before)


@pytest.fixture(scope="module")
def work():
    """Float32 arrays and their packed forms, about 30 % ones like binarised images."""
    rng = np.random.default_rng(0)
    v = (rng.random((N_SAMPLES, N_VISIBLE)) < 0.3).astype(np.float32)
    v_model = (rng.random((N_SAMPLES, N_VISIBLE)) < 0.3).astype(np.float32)
    h = (rng.random((N_SAMPLES, N_HIDDEN)) < 0.5).astype(np.float32)
    weights = rng.normal(0, 0.1, (N_HIDDEN, N_VISIBLE)).astype(np.float32)
    a = rng.normal(0, 0.1, N_VISIBLE).astype(np.float32)
    b = rng.normal(0, 0.1, N_HIDDEN).astype(np.float32)
    return SimpleNamespace(
        v=v,
        grey=rng.random((N_SAMPLES, N_VISIBLE), dtype=np.float32),
        v_model=v_model,
        h=h,
        v_bits=pack(v),
        v_model_bits=pack(v_model),
        h_bits=pack(h),
        means=rng.random((N_SAMPLES, N_HIDDEN), dtype=np.float32),
        weights=weights,
        a=a,
        b=b,
        parameters=Parameters(weights, a, b),
        rng=rng,
    )


# Products: bits and floats against sgemm


@group("inputs, binary rows")
def test_inputs_from_bits(benchmark, backend, work):
    x = benchmark(backend.inputs, work.v_bits, work.weights, work.b)
    np.testing.assert_allclose(x, work.v @ work.weights.T + work.b, atol=1e-4)


@group("inputs, binary rows")
def test_inputs_peer_sgemm(benchmark, work):
    benchmark(lambda: work.v @ work.weights.T + work.b)


@pytest.fixture(scope="module")
def wide():
    """1024 rows, 784 inputs, 1020 outputs, no power of two: the product alone, and its exact values."""
    rng = np.random.default_rng(1)
    v = rng.random((1024, 784)) < 0.3
    weights = rng.normal(0, 0.1, (1020, 784)).astype(np.float32)
    return SimpleNamespace(
        v=v.astype(np.float32),
        bits=pack(v),
        weights=weights,
        zero=np.zeros(1020, np.float32),
        exact=v.astype(np.float64) @ weights.T.astype(np.float64),
    )


@group("product alone, 1024x784x1020")
@pytest.mark.parametrize("target", supported_targets())
def test_product_alone(benchmark, wide, target, threads):
    before = current_target()
    use_target(target)
    try:
        fixed = native.quantise_weights(wide.weights, False, threads)
        out = np.empty((1024, 1020), np.float32)
        benchmark(native.run_rows, wide.bits.words, fixed, wide.zero, False, threads, inputs=out)
    finally:
        use_target(before)
    blas = np.abs(wide.v @ wide.weights.T - wide.exact)
    assert np.abs(out - wide.exact).max() < 1.5 * blas.max()


@group("product alone, 1024x784x1020")
def test_product_alone_peer_sgemm(benchmark, wide):
    out = np.empty((1024, 1020), np.float32)
    benchmark(np.matmul, wide.v, wide.weights.T, out=out)


@group("inputs, grey rows")
def test_inputs_from_grey_rows(benchmark, backend, work):
    x = benchmark(backend.inputs, work.grey, work.weights, work.b)
    np.testing.assert_allclose(x, work.grey @ work.weights.T + work.b, atol=1e-4)


@group("inputs, grey rows")
def test_inputs_from_grey_rows_peer_sgemm(benchmark, work):
    benchmark(lambda: work.grey @ work.weights.T + work.b)


@group("inputs of the visible layer, binary hidden")
def test_visible_inputs_from_bits(benchmark, backend, work):
    x = benchmark(backend.inputs, work.h_bits, work.weights, work.a, transpose=True)
    np.testing.assert_allclose(x, work.h @ work.weights + work.a, atol=1e-4)


@group("inputs of the visible layer, binary hidden")
def test_visible_inputs_peer_sgemm(benchmark, work):
    benchmark(lambda: work.h @ work.weights + work.a)


# Layers: product, sigmoid, draw


@group("means")
def test_means_from_bits(benchmark, backend, work):
    p = benchmark(backend.means, UNIT, work.v_bits, work.weights, work.b)
    np.testing.assert_allclose(p, expit(work.v @ work.weights.T + work.b), atol=1e-5)


@group("means")
def test_means_peer_scipy(benchmark, work):
    def means():
        x = work.v @ work.weights.T
        x += work.b
        return expit(x, out=x)

    benchmark(means)


@group("samples")
def test_samples_from_bits(benchmark, backend, work):
    h = benchmark(backend.samples, UNIT, work.v_bits, work.weights, work.b, DRAW)
    assert h.shape == (N_SAMPLES, N_HIDDEN)


@group("samples")
def test_samples_peer_numpy(benchmark, work):
    def samples():
        x = work.v @ work.weights.T
        x += work.b
        return work.rng.random(x.shape, dtype=np.float32) < expit(x, out=x)

    benchmark(samples)


@group("draw_bits")
def test_draw_bits(benchmark, backend, work):
    bits = benchmark(backend.draw_bits, work.grey, DRAW)
    assert bits.shape == work.grey.shape


@group("draw_bits")
def test_draw_bits_peer_numpy(benchmark, work):
    benchmark(lambda: pack(work.rng.random(work.grey.shape, dtype=np.float32) < work.grey))


# Learning


def phases(work):
    return Phase(work.v_bits, work.means), Phase(work.v_model_bits, work.means)


@group("gradient_step")
def test_gradient_step(benchmark, backend, work):
    parameters = work.parameters.copy()
    benchmark(backend.gradient_step, parameters, (), *phases(work), Update(Rule(), 1e-6))
    assert np.isfinite(parameters.weights).all()


@group("gradient_step")
def test_gradient_step_peer_numpy(benchmark, work):
    weights, a, b = work.parameters.copy()
    rate = np.float32(1e-6 / N_SAMPLES)

    def step():
        change = work.means.T @ work.v
        change -= work.means.T @ work.v_model
        change *= rate
        weights.__iadd__(change)
        a.__iadd__(rate * (work.v.sum(axis=0) - work.v_model.sum(axis=0)))
        b.__iadd__(rate * (work.means.sum(axis=0) - work.means.sum(axis=0)))

    benchmark(step)


@group("gradient_step with momentum")
def test_gradient_step_with_momentum(benchmark, backend, work):
    parameters = work.parameters.copy()
    slots = [parameters.zeros_like()]
    benchmark(backend.gradient_step, parameters, slots, *phases(work), Update(Rule(), 1e-6, 0.5))
    assert np.isfinite(parameters.weights).all()


@pytest.mark.parametrize("persistent", [False, True], ids=["cd", "pcd"])
@group("train, four batches of 256")
def test_train(benchmark, backend, work, persistent):
    plan = TrainingPlan(
        seed=1,
        batch_size=N_BATCH,
        persistent=persistent,
        n_sweeps=1,
        rate=1e-6,
        momentum=0.0,
        stochastic_input=False,
    )
    parameters, order = work.parameters.copy(), np.arange(N_SAMPLES)
    state = ChainState(0, work.h_bits[:N_BATCH] if persistent else None)
    benchmark(backend.train, parameters, (), work.v_bits, order, plan, (UNIT, UNIT), state)
    assert np.isfinite(parameters.weights).all()


@pytest.mark.parametrize("precision", ["full", "fast"])
@pytest.mark.parametrize("hidden", ["mean", "sampled"])
@pytest.mark.parametrize("target", supported_targets())
@pytest.mark.parametrize("batch", [256, 64, 10])
@group("train options, PCD-1, 1024 rows")
def test_train_options(benchmark, work, threads, target, precision, hidden, batch):
    plan = TrainingPlan(1, batch, True, 1, 1e-6, 0.0, False, sampled_hidden=hidden == "sampled")
    parameters, order = work.parameters.copy(), np.arange(N_SAMPLES)
    state, cpu = ChainState(0, work.h_bits[:batch]), CpuBackend(threads, precision=precision)
    before = current_target()
    use_target(target)
    try:
        benchmark(cpu.train, parameters, (), work.v_bits, order, plan, (UNIT, UNIT), state)
    finally:
        use_target(before)
    assert np.isfinite(parameters.weights).all()


@group("train, four batches of 256")
def test_train_peer_numpy(benchmark, work):
    weights, a, b = work.parameters.copy()
    rate = np.float32(1e-6 / N_BATCH)

    def draw(p):
        return (work.rng.random(p.shape, dtype=np.float32) < p).astype(np.float32)

    def epoch():
        for first in range(0, N_SAMPLES, N_BATCH):
            v = work.v[first : first + N_BATCH]
            means = expit(v @ weights.T + b)
            v_model = draw(expit(draw(means) @ weights + a))
            means_model = expit(v_model @ weights.T + b)
            weights.__iadd__(rate * (means.T @ v - means_model.T @ v_model))
            a.__iadd__(rate * (v.sum(axis=0) - v_model.sum(axis=0)))
            b.__iadd__(rate * (means.sum(axis=0) - means_model.sum(axis=0)))

    benchmark(epoch)


# Sampling and likelihood


@group("run_chains, two sweeps")
def test_run_chains(benchmark, backend, work):
    v, h = benchmark(backend.run_chains, work.h_bits, work.parameters, (UNIT, UNIT), DRAW, 2)
    assert (v.shape, h.shape) == ((N_SAMPLES, N_VISIBLE), (N_SAMPLES, N_HIDDEN))


@group("run_chains, two sweeps")
def test_run_chains_peer_numpy(benchmark, work):
    def draw(p):
        return (work.rng.random(p.shape, dtype=np.float32) < p).astype(np.float32)

    def sweeps():
        h = work.h
        for _ in range(2):
            v = draw(expit(h @ work.weights + work.a))
            h = draw(expit(v @ work.weights.T + work.b))
        return v, h

    benchmark(sweeps)


def softplus(x):
    # Six times as fast as np.logaddexp(0, x), so the fairer peer.
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def free_energy(v, parameters):
    x = v @ parameters.weights.T + parameters.hidden_bias
    return -(v @ parameters.visible_bias) - softplus(x).sum(axis=1)


@group("free_energy")
def test_free_energy(benchmark, backend, work):
    energy = benchmark(backend.free_energy, UNIT, work.v_bits, work.parameters)
    np.testing.assert_allclose(energy, free_energy(work.v, work.parameters), rtol=1e-4)


@group("free_energy")
def test_free_energy_peer_numpy(benchmark, work):
    benchmark(free_energy, work.v, work.parameters)


@group("pseudo_likelihood")
def test_pseudo_likelihood(benchmark, backend, work):
    score = benchmark(backend.pseudo_likelihood, UNIT, work.v_bits[:N_SCORED], work.parameters)
    reference = get_backend("reference").pseudo_likelihood(UNIT, work.v_bits[:4], work.parameters)
    np.testing.assert_allclose(score[:4], reference, rtol=1e-4)


@group("pseudo_likelihood")
def test_pseudo_likelihood_peer_numpy(benchmark, work):
    v, (weights, a, b) = work.v[:N_SCORED], work.parameters
    x = v @ weights.T + b

    def score():
        before = softplus(x).sum(axis=1)
        total = np.zeros(N_SCORED)
        for i in range(N_VISIBLE):
            flip = 1 - 2 * v[:, i]
            gain = flip * a[i] + softplus(x + flip[:, None] * weights[:, i]).sum(axis=1) - before
            total -= softplus(gain)
        return total

    benchmark(score)


# Partition sums: to be read per state, SciPy does 2^16 of them and does so once


@group("partition sum, 784 units summed out")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", supported_targets())
@pytest.mark.parametrize("n", [16, 20], ids=["2^16 states", "2^20 states"])
def test_partition_sum(benchmark, work, n, target, dtype, threads):
    before = current_target()
    use_target(target)
    parameters = Parameters(work.weights[:n], work.a, work.b[:n])
    total = benchmark(CpuBackend(threads).log_partition_sum, parameters, (UNIT, UNIT), dtype=dtype)
    use_target(before)
    assert np.isfinite(total)


@group("partition sum, 784 units summed out")
def test_partition_sum_peer_scipy(benchmark, work, threads):
    weights, a, b = (x.astype(np.float64) for x in (work.weights[:16], work.a, work.b[:16]))
    states = (np.arange(1 << 16)[:, None] >> np.arange(16) & 1).astype(np.float64)

    def total():
        # blocks that stay in cache
        blocks = np.split(states, 512)
        return logsumexp(np.concatenate([h @ b + softplus(h @ weights + a).sum(axis=1) for h in blocks]))

    wanted = benchmark.pedantic(total)
    ours = CpuBackend(threads).log_partition_sum(Parameters(weights, a, b), (UNIT, UNIT))
    np.testing.assert_allclose(ours, wanted, rtol=1e-12)


# Packing


@group("pack")
def test_pack(benchmark, work):
    benchmark(pack, work.v)


@group("pack")
@pytest.mark.parametrize("target", supported_targets())
def test_pack_checked(benchmark, work, target, threads):
    before = current_target()
    use_target(target)
    flags, bits = benchmark(CpuBackend(threads).pack_checked, work.v)
    use_target(before)
    assert flags == 0
    np.testing.assert_array_equal(bits.words, work.v_bits.words)
