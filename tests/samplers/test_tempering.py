"""Parallel tempering: exact distributions stay, modes are found, and results do not depend on how it runs."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone

from fastrbm import Gibbs, Model
from fastrbm._kernels import ChainState, PackedBits, get_backend, pack
from fastrbm._kernels.draws import Key, Stream, uniforms
from fastrbm._kernels.reference import ReferenceBackend
from fastrbm.analysis import ChainHealth
from fastrbm.likelihood import exact
from fastrbm.samplers import Tempering, temper
from fastrbm.units import get_unit

BITS = ("bernoulli", "bernoulli")
N_CHAINS = 20_000


class DenseReference(ReferenceBackend):
    """Reference kernels that draw any unit, as dense states unless they are bits."""

    def samples(self, unit, states, weights, bias, draw, *, transpose=False):
        if unit == "bernoulli":
            return super().samples(unit, states, weights, bias, draw, transpose=transpose)
        theta = self.inputs(states, weights, bias, transpose=transpose)
        return get_unit(unit).sample(theta, uniforms(draw, *theta.shape, theta.dtype))


def dense(states):
    return states.dense(float) if isinstance(states, PackedBits) else states


def small_model(units=BITS, seed=4, scale=0.9):
    rng = np.random.default_rng(seed)
    arrays = rng.normal(0, scale, (5, 6)), rng.normal(0, 0.5, 6), rng.normal(0, 0.5, 5)
    return Model(*(x.astype(np.float32) for x in arrays), *units)


def hidden_states(unit):
    values = [0, 1] if unit == "bernoulli" else [-1, 1]
    return np.array(list(itertools.product(values, repeat=5)), dtype=float)


def hidden_probabilities(model, beta, base):
    """Exact distribution of the hidden layer at beta, by the definition of the path and the cgf of the visible unit."""
    weights, visible_bias, hidden_bias = (x.astype(float) for x in model.parameters)
    h = hidden_states(model.hidden)
    inputs = beta * (visible_bias - base + h @ weights) + base
    log_p = beta * h @ hidden_bias + get_unit(model.visible).cgf(inputs).sum(axis=1)
    p = np.exp(log_p - log_p.max())
    return p / p.sum()


def codes(states):
    return (dense(states) > 0) @ (1 << np.arange(dense(states).shape[1] - 1, -1, -1))


def variation(found, p):
    """Total variation in units of the standard error of that of independent draws, above its mean."""
    n = len(found)
    distance = 0.5 * np.abs(np.bincount(found, minlength=len(p)) / n - p).sum()
    spread = np.sqrt(p * (1 - p) / n)
    mean, error = 0.5 * np.sqrt(2 / np.pi) * spread.sum(), 0.5 * np.sqrt((1 - 2 / np.pi) * (spread**2).sum())
    return (distance - mean) / error


def exact_start(sampler, model, base, seed=0):
    """State whose chains have the exact distributions of their temperatures."""
    state = sampler.init(N_CHAINS, model.parameters, model.units, seed)
    rng = np.random.default_rng(seed + 1)
    rows = [
        hidden_states(model.hidden)[rng.choice(32, N_CHAINS, p=hidden_probabilities(model, beta, base))]
        for beta in state.betas
    ]
    hidden = np.concatenate(rows).astype(np.float32)
    state.hidden = pack(hidden) if model.hidden == "bernoulli" else hidden
    return state


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("base", [None, "model", [0.5, -1, 0, 1, 0.3, -0.2]])
@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_all_temperatures_keep_their_exact_distributions(device, base, n_steps):
    model = small_model()
    sampler = Tempering(betas=[0.0, 0.3, 0.7, 1.0], base=base, n_steps=n_steps)
    bias = {None: np.zeros(6), "model": model.visible_bias}[base] if not isinstance(base, list) else np.array(base)
    state = exact_start(sampler, model, bias)
    visible = sampler.step(state, model.parameters, BITS, 2, get_backend(device), 6)
    assert state.step == 6 * n_steps and (state.swap_accepts > 0).all()
    for k, beta in enumerate(state.betas):
        assert variation(codes(state.at(k)), hidden_probabilities(model, beta, bias)) < 4
    # and visible and hidden states at beta = 1 belong together
    joint = 32 * codes(visible) + codes(state.at(-1))
    v = np.array(list(itertools.product([0, 1], repeat=6)), dtype=float)
    pairs = [np.repeat(v, 32, axis=0), np.tile(hidden_states("bernoulli"), (64, 1))]
    p = np.exp(-model.energy(*pairs))
    assert variation(joint, p / p.sum()) < 4


@pytest.mark.parametrize("units", [("ising", "ising"), ("gaussian", "bernoulli"), ("bernoulli", "ising")])
def test_other_units_keep_their_exact_distributions(units):
    model = small_model(units, scale=0.4)
    sampler = Tempering(betas=[0.2, 0.6, 1.0])
    state = exact_start(sampler, model, np.zeros(6))
    visible = sampler.step(state, model.parameters, units, 5, DenseReference(), 4)
    assert visible.shape == (N_CHAINS, 6) and (state.swap_accepts > 0).all()
    for k, beta in enumerate(state.betas):
        assert variation(codes(state.at(k)), hidden_probabilities(model, beta, 0)) < 4


def test_the_criterion_sees_exchanges_that_are_always_accepted():
    class Greedy(ReferenceBackend):
        def free_energy(self, unit, states, parameters):
            return np.zeros(len(states))

    model = small_model()
    sampler = Tempering(betas=[0.0, 0.3, 0.7, 1.0])
    state = exact_start(sampler, model, np.zeros(6))
    sampler.step(state, model.parameters, BITS, 2, Greedy(), 6)
    worst = max(variation(codes(state.at(k)), hidden_probabilities(model, b, 0)) for k, b in enumerate(state.betas))
    assert worst > 10


def test_chains_converge_from_their_own_start():
    model = small_model()
    sampler = Tempering(5)
    state = sampler.init(N_CHAINS, model.parameters, BITS, 1)
    sampler.step(state, model.parameters, BITS, 1, get_backend("cpu"), 20)
    sampler.freeze(state)
    sampler.step(state, model.parameters, BITS, 1, get_backend("cpu"), 40)
    for k, beta in enumerate(state.betas):
        assert variation(codes(state.at(k)), hidden_probabilities(model, beta, 0)) < 4


@pytest.fixture(scope="module")
def bimodal():
    """Bits with two modes that Gibbs sampling cannot leave, the pattern of the heavier one, and its exact share."""
    rng = np.random.default_rng(0)
    pattern, hidden_pattern = rng.choice([-1.0, 1.0], 24), rng.choice([-1.0, 1.0], 8)
    weights = 0.25 * np.outer(hidden_pattern, pattern) + 0.1 * rng.normal(size=(8, 24))
    spins = Model(
        weights.astype(np.float32), (0.01 * pattern).astype(np.float32), np.zeros(8, np.float32), "ising", "ising"
    )
    model = spins.as_bernoulli()[0]
    log_p = exact.state_log_weights(exact.choose(model, "hidden"), get_backend("cpu"))
    p = np.exp(log_p - log_p.max())
    states = 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1) - 1
    means = np.tanh(spins.visible_bias + states @ spins.weights) @ pattern
    return model, pattern, hidden_pattern, p[means > 0].sum() / p.sum()


def share(visible, pattern):
    return float(((2 * dense(visible) - 1) @ pattern > 0).mean())


def test_tempering_finds_both_modes_where_gibbs_stays_in_one(bimodal):
    model, pattern, hidden_pattern, expected = bimodal
    assert 0.55 < expected < 0.7
    backend = get_backend("cpu")
    for side in (1, -1):
        state = ChainState(0, pack(np.tile(side * hidden_pattern > 0, (200, 1))))
        visible = Gibbs(2000).step(state, model.parameters, BITS, 1, backend)
        assert share(visible, side * pattern) > 0.97
    samples = temper(model, 8000, 5, n_chains=40, burn_in=1000, random_state=3)
    assert share(samples.visible, pattern) == pytest.approx(expected, abs=0.03)
    assert samples.round_trips > 1000
    assert isinstance(samples.health, ChainHealth) and samples.health.ok
    np.testing.assert_array_equal(samples.health.swap_rates, samples.swap_rates)


def test_the_adapted_ladder_has_equal_and_higher_rates(bimodal):
    model, *_ = bimodal
    start = np.linspace(0, 1, 6)
    fixed, adapted = (
        temper(model, 4000, 2, n_chains=40, burn_in=1000, sampler=Tempering(betas=start, adapt=adapt), random_state=1)
        for adapt in (False, True)
    )
    np.testing.assert_array_equal(fixed.betas, start)
    assert adapted.betas[0] == 0 and adapted.betas[-1] == 1 and (np.diff(adapted.betas) > 0).all()
    assert np.ptp(adapted.swap_rates) < 0.06
    assert adapted.swap_rates.min() > fixed.swap_rates.min() + 0.1


def test_adaptation_ends_with_freeze(bimodal):
    model, *_ = bimodal
    backend, sampler = get_backend("cpu"), Tempering(6)
    state = sampler.init(10, model.parameters, BITS, 0)
    before = state.betas.copy()
    sampler.step(state, model.parameters, BITS, 0, backend, 20)
    assert state.adapting and np.abs(state.betas - before).max() > 0.01
    sampler.freeze(state)
    assert not state.swap_tries.any() and not state.round_trips
    before = state.betas.copy()
    sampler.step(state, model.parameters, BITS, 0, backend, 20)
    np.testing.assert_array_equal(state.betas, before)
    assert (state.swap_tries == 10 * 10).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", [{"n_threads": 2}, {"device": "reference"}])
def test_samples_do_not_depend_on_threads_or_backend(bimodal, how, dtype):
    model = Model(*(x.astype(dtype) for x in bimodal[0].parameters))
    options = {"n_chains": 70, "burn_in": 20, "sampler": Tempering(betas=[0, 0.3, 0.6, 1]), "random_state": 5}
    one = temper(model, 350, 3, n_threads=1, **options)
    other = temper(model, 350, 3, **how, **options)
    np.testing.assert_array_equal(one.visible, other.visible)
    np.testing.assert_array_equal(one.hidden, other.hidden)
    np.testing.assert_array_equal(one.swap_rates, other.swap_rates)
    assert one.visible.dtype == dtype and one.visible.shape == (350, 24)


@pytest.mark.parametrize("adapt", [False, True])
def test_an_interrupted_run_goes_on_where_it_stopped(bimodal, adapt):
    model, *_ = bimodal
    backend, sampler = get_backend("cpu"), Tempering(5, adapt=adapt, n_steps=2)
    runs = []
    for parts in ([12], [5, 4, 3]):
        state = sampler.init(9, model.parameters, BITS, 7)
        for part in parts:
            visible = sampler.step(state, model.parameters, BITS, 7, backend, part)
        runs.append((visible, state))
    (v, a), (w, b) = runs
    np.testing.assert_array_equal(v.words, w.words)
    np.testing.assert_array_equal(a.hidden.words, b.hidden.words)
    np.testing.assert_array_equal(a.betas, b.betas)
    assert (a.step, a.round, a.round_trips) == (b.step, b.round, b.round_trips) and a.step == 24


def test_chains_of_different_temperatures_use_different_draws():
    # without weights and biases all temperatures are the same model; equal draws would give equal states
    model = Model(np.zeros((64, 5), np.float32), np.zeros(5, np.float32), np.zeros(64, np.float32))
    sampler = Tempering(3)
    state = sampler.init(4, model.parameters, BITS, 3)
    sampler.step(state, model.parameters, BITS, 3, get_backend("cpu"))
    assert len(np.unique(state.hidden.words)) == 12


def test_seeds_matter():
    model = small_model()
    one, two = (temper(model, 80, 1, burn_in=2, random_state=seed).visible for seed in (1, 2))
    assert (one != two).any()


def test_round_trips_are_counted_once_each():
    # two temperatures of the same model: every exchange is accepted, so that states change places every second round
    model = Model(np.zeros((3, 2), np.float32), np.zeros(2, np.float32), np.zeros(3, np.float32))
    sampler = Tempering(betas=[0.5, 1.0])
    state = sampler.init(7, model.parameters, BITS, 0)
    sampler.step(state, model.parameters, BITS, 0, get_backend("cpu"), 20)
    assert (state.swap_accepts == 70).all() and (state.swap_rates == 1).all()
    # ten exchanges of two states of each chain. The first marks one as cold, which is hot after the second and back
    # after the third: it returns at 3, 5, 7, 9; the other one, cold from the second on, at 4, 6, 8, 10
    assert state.round_trips == 7 * 8


def test_the_stream_of_exchanges_is_no_others():
    assert Stream.SWAP == 7 and len({int(s) for s in Stream}) == len(list(Stream))
    draws = [uniforms(Key(3).at(0, stream), 4, 1, np.float64) for stream in (Stream.SWAP, Stream.START, Stream.HIDDEN)]
    assert len(np.unique(draws)) == 12


def test_options_can_be_read_and_cloned():
    sampler = clone(Tempering(12, n_steps=3, base="model"))
    assert sampler.get_params() == {"n_temperatures": 12, "betas": None, "n_steps": 3, "adapt": None, "base": "model"}


def test_explicit_betas_stay_unless_asked_otherwise():
    parameters = small_model().parameters
    assert not Tempering(betas=[0, 1]).init(2, parameters, BITS, 0).adapting
    assert Tempering(betas=[0, 1], adapt=True).init(2, parameters, BITS, 0).adapting
    assert Tempering(4).init(2, parameters, BITS, 0).adapting
    assert not Tempering(4, adapt=False).init(2, parameters, BITS, 0).adapting
    assert len(Tempering().init(2, parameters, BITS, 0).betas) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_temperatures": 1}, "n_temperatures"),
        ({"n_temperatures": 2.5}, "n_temperatures"),
        ({"n_temperatures": True}, "n_temperatures"),
        ({"n_temperatures": 3, "betas": [0, 1]}, "n_temperatures"),
        ({"betas": [0.0, 0.5]}, "betas"),
        ({"betas": [-0.1, 1.0]}, "betas"),
        ({"betas": [0.0, 0.5, 0.5, 1.0]}, "betas"),
        ({"betas": [np.nan, 1.0]}, "betas"),
        ({"betas": [1.0]}, "betas"),
        ({"n_steps": 0}, "n_steps"),
        ({"adapt": "yes"}, "adapt"),
        ({"base": "data"}, "base"),
        ({"base": [0.0]}, "base"),
        ({"base": [np.nan] * 6}, "base"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Tempering(**options).init(3, small_model().parameters, BITS, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 3}, "n_samples"),
        ({"n_samples": 60, "n_chains": 20}, "n_samples must be at least"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_chains": 0}, "n_chains"),
        ({"burn_in": -1}, "burn_in"),
        ({"device": "tpu"}, "device"),
        ({"random_state": "x"}, "random_state"),
        ({"n_threads": 0}, "n_threads"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        temper(small_model(), **arguments)


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="model must be"):
        temper(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="sampler must be"):
        temper(small_model(), sampler=Gibbs())
    with pytest.raises(ValueError, match="n_rounds"):
        state = Tempering(2).init(1, small_model().parameters, BITS, 0)
        Tempering(2).step(state, small_model().parameters, BITS, 0, get_backend("cpu"), 0)


def test_progress_counts_rounds():
    seen = []
    temper(small_model(), 20, 3, n_chains=4, burn_in=5, random_state=0, progress=lambda *now: seen.append(now))
    assert seen == [(5, 20), (8, 20), (11, 20), (14, 20), (17, 20), (20, 20)]
