"""Gibbs chains between layers of any two unit types leave the exact distribution as it is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastrbm import Gibbs, Model
from fastrbm._kernels import ChainState, PackedBits, get_backend, pack
from fastrbm._kernels.draws import Draw, uniforms
from fastrbm.units import get_unit
from unit_grids import PAIRS, joint, points, random_model, sizes_of

N_CHAINS = 20_000
N_SWEEPS = 3
LIMIT = 4.8  # standard errors: some 8000 comparisons, of which the largest is seldom beyond 4.5


def as_states(unit, x, dtype):
    x = x.astype(dtype)
    return pack(x) if get_unit(unit).packed else x


def dense(states):
    return states.dense(np.float64) if isinstance(states, PackedBits) else states.astype(np.float64)


def start(model, v, h, p, dtype, seed):
    """Hidden states of the exact distribution: nodes of the visible layer, then hidden states given them.

    Nodes stand for all real numbers: sums over them are integrals, also of what follows from them.
    """
    rng = np.random.default_rng(seed)
    visible = v[rng.choice(len(v), N_CHAINS, p=p.sum(axis=1))]
    theta = visible @ model.weights.T.astype(float) + model.hidden_bias
    u = uniforms(Draw(seed, 99, 0), *theta.shape, np.float64)
    return as_states(model.hidden, get_unit(model.hidden).sample(theta, u), dtype)


def worst_moment(model, v, h, p, visible, hidden):
    """Largest difference of moments from the exact ones, in standard errors."""
    x, y = dense(visible), dense(hidden)
    found = np.concatenate([x, y, x**2, y**2, (x[:, :, None] * y[:, None, :]).reshape(len(x), -1)], axis=1)
    of_v, of_h = p.sum(axis=1), p.sum(axis=0)
    wanted = np.concatenate([of_v @ v, of_h @ h, of_v @ v**2, of_h @ h**2, (v.T @ p @ h).ravel()])
    error = found.std(axis=0) / np.sqrt(len(found)) + 1e-7
    return np.abs((found.mean(axis=0) - wanted) / error).max()


CASES = [("cpu", np.float32), ("cpu", np.float64), ("reference", np.float64)]


@pytest.mark.parametrize("device, dtype", CASES, ids=lambda x: getattr(x, "__name__", x))
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_gibbs_leaves_the_exact_distribution(pair, device, dtype):
    model = random_model(pair, sizes_of(pair)[0], dtype=dtype)
    v, h, p = joint(model)
    hidden = start(model, v, h, p, dtype, seed=len(pair[0]))
    visible, hidden = get_backend(device, 2).run_chains(hidden, model.parameters, model.units, Draw(11, 2, 0), N_SWEEPS)
    for unit, states in zip(pair, (visible, hidden), strict=True):
        assert get_unit(unit).contains(dense(states))
    assert worst_moment(model, v, h, p, visible, hidden) < LIMIT


@pytest.mark.parametrize("pair", [p for p in PAIRS if p[0] != "onehot"], ids="-".join)
def test_the_criterion_sees_wrong_weights(pair):
    model = random_model(pair, sizes_of(pair)[0])
    v, h, p = joint(model)
    hidden = start(model, v, h, p, np.float64, seed=1)
    wrong = Model(0.8 * model.weights, model.visible_bias - 0.1, model.hidden_bias, *pair)
    visible, hidden = get_backend().run_chains(hidden, wrong.parameters, wrong.units, Draw(1, 2, 0), N_SWEEPS)
    assert worst_moment(model, v, h, p, visible, hidden) > LIMIT


@pytest.mark.parametrize("spec", ["ising", "onehot(2)", "gaussian", "relu", "mixed(relu*1,binomial(2)*2)"])
def test_gibbs_converges_from_its_own_start(spec):
    model = random_model(("binomial(3)", spec), sizes_of(("binomial(3)", spec))[0], dtype=np.float32)
    v, h, p = joint(model)
    state = Gibbs().init(N_CHAINS, len(model.hidden_bias), unit=spec)
    assert isinstance(state, ChainState) and getattr(state.chains, "dtype", np.float32) == np.float32
    visible = Gibbs(60).step(state, model.parameters, model.units, 5, get_backend())
    assert state.step == 60 and worst_moment(model, v, h, p, visible, state.chains) < LIMIT
    again = Gibbs().init_from_visible(visible, model.parameters, model.units, 7, get_backend())
    assert worst_moment(model, v, h, p, visible, again.chains) < LIMIT


def test_nodes_integrate():
    for spec in ("gaussian", "relu", "mixed(relu*1,binomial(2)*2)"):
        x, measure, base = points(spec, 3 if spec.startswith("mixed") else 2)
        theta = np.linspace(-2, 1.5, x.shape[1])
        assert_allclose(
            np.log(np.exp(x @ theta + measure + base).sum()), get_unit(spec).cgf(theta).sum(), rtol=1e-10, atol=1e-10
        )
