"""Samplers leave the exactly enumerated distribution as it is."""

import numpy as np
import pytest

from fastrbm import Gibbs, Model
from fastrbm._kernels import ChainState, cpu, get_backend, pack
from kernel_cases import TARGETS as KERNEL_TARGETS
from small_models import exact_joint, expected_variation, small_model, total_variation

pytestmark = pytest.mark.kernels

N_CHAINS = 60_000
TARGETS = [("cpu", t) for t in KERNEL_TARGETS] + [("reference", None)]


@pytest.fixture(params=TARGETS, ids=lambda p: p[1] or p[0])
def backend(request):
    device, target = request.param
    before = cpu.current_target()
    if target:
        cpu.use_target(target)
    yield get_backend(device, 2)
    cpu.use_target(before)


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
