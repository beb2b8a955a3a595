"""Samplers leave the exactly enumerated distribution as it is."""

import itertools

import numpy as np
import pytest

from fastrbm import Gibbs, Model
from fastrbm._kernels import ChainState, cpu, get_backend, pack

N_CHAINS = 60_000
TARGETS = [("cpu", t) for t in cpu.supported_targets()] + [("reference", None)]


@pytest.fixture(params=TARGETS, ids=lambda p: p[1] or p[0])
def backend(request):
    device, target = request.param
    before = cpu.current_target()
    if target:
        cpu.use_target(target)
    yield get_backend(device, 2)
    cpu.use_target(before)


def small_model(dtype):
    rng = np.random.default_rng(4)
    return Model(
        rng.normal(0, 0.9, (5, 6)).astype(dtype),
        rng.normal(0, 0.5, 6).astype(dtype),
        rng.normal(0, 0.5, 5).astype(dtype),
    )


def exact_joint(model):
    """Joint states (v, h) and their probabilities."""
    v = np.array(list(itertools.product([0, 1], repeat=6)))
    h = np.array(list(itertools.product([0, 1], repeat=5)))
    pairs = [(i, j) for i in range(len(v)) for j in range(len(h))]
    vs, hs = v[[i for i, _ in pairs]], h[[j for _, j in pairs]]
    weight = np.exp(-model.energy(vs, hs))
    return vs, hs, weight / weight.sum()


def total_variation(visible, hidden, p):
    code = visible.dense(int) @ (1 << np.arange(5, -1, -1)) * 32 + hidden.dense(int) @ (1 << np.arange(4, -1, -1))
    frequency = np.bincount(code, minlength=len(p)) / len(code)
    return 0.5 * np.abs(frequency - p).sum()


def expected_variation(p, n):
    """Mean and standard error of the total variation of n independent draws from p (normal approximation)."""
    spread = np.sqrt(p * (1 - p) / n)
    return 0.5 * np.sqrt(2 / np.pi) * spread.sum(), 0.5 * np.sqrt((1 - 2 / np.pi) * (spread**2).sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_sweeps", [1, 4, 16])
def test_gibbs_leaves_the_exact_distribution(backend, dtype, n_sweeps):
    model = small_model(dtype)
    vs, hs, p = exact_joint(model)
    start = np.random.default_rng(n_sweeps).choice(len(p), N_CHAINS, p=p)
    state = ChainState(7, pack(hs[start]))
    visible = Gibbs(n_sweeps).step(state, model.parameters, model.units, 2024, backend)
    assert state.step == 7 + n_sweeps
    mean, error = expected_variation(p, N_CHAINS)
    assert total_variation(visible, state.chains, p) < mean + 4 * error


def test_the_criterion_sees_a_wrong_sampler(backend):
    model = small_model(np.float32)
    _, hs, p = exact_joint(model)
    start = np.random.default_rng(1).choice(len(p), N_CHAINS, p=p)
    wrong = Model(model.weights * 1.05, model.visible_bias, model.hidden_bias)
    state = ChainState(0, pack(hs[start]))
    visible = Gibbs(16).step(state, wrong.parameters, model.units, 1, backend)
    mean, error = expected_variation(p, N_CHAINS)
    assert total_variation(visible, state.chains, p) > mean + 4 * error


def test_gibbs_converges_from_a_wrong_start(backend):
    model = small_model(np.float32)
    _, _, p = exact_joint(model)
    state = Gibbs().init(N_CHAINS, 5)
    visible = Gibbs(60).step(state, model.parameters, model.units, 5, backend)
    mean, error = expected_variation(p, N_CHAINS)
    assert total_variation(visible, state.chains, p) < mean + 4 * error
