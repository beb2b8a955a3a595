"""Trajectory tempering: exact distributions stay, whatever the units; results do not depend on how it runs."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.base import clone

from fastrbm import BernoulliRBM, GaussianRBM, Gibbs, Model
from fastrbm._kernels import ChainState, PackedBits, get_backend, pack
from fastrbm._kernels.draws import Key
from fastrbm._kernels.ladders import ModelLadder
from fastrbm._kernels.reference import ReferenceBackend
from fastrbm._kernels.trajectories import Line, explore, find_rungs, rungs, without_weights
from fastrbm.callbacks import CheckpointTrajectory, EarlyStopping, PseudoLikelihood
from fastrbm.samplers import TrajectoryTempering, temper
from fastrbm.units import get_unit

N_CHAINS = 20_000
PAIRS = [
    ("bernoulli", "bernoulli"),
    ("ising", "ising"),
    ("gaussian", "bernoulli"),
    ("relu", "ising"),
    ("binomial(3)", "onehot(2)"),
    ("onehot(3)", "bernoulli"),
]


def trajectory(units=("bernoulli", "bernoulli"), n_models=4, dtype=np.float32, size=(4, 6), scale=0.8, seed=3):
    """Models whose weights grow, each with some noise of its own."""
    rng = np.random.default_rng(seed)
    arrays = rng.normal(0, scale, size), rng.normal(0, 0.5, size[1]), rng.normal(0, 0.5, size[0])
    shares = np.linspace(0.1, 1, n_models)
    return [
        Model(*((s * x + 0.05 * rng.normal(size=x.shape)).astype(dtype) for x in arrays), *units) for s in shares
    ]  # fmt: skip


def hidden_states(model):
    unit, n = get_unit(model.hidden), len(model.hidden_bias)
    return unit.states_at(np.arange(unit.n_states(n), dtype=np.uint64), n).astype(float)


def hidden_probabilities(parameters, units, states):
    """Exact distribution of the hidden layer: the visible one summed (integrated) out by the cgf of its units."""
    weights, visible_bias, hidden_bias = (x.astype(float) for x in parameters)
    visible, hidden = map(get_unit, units)
    log_p = states @ hidden_bias + hidden.base(states) + visible.cgf(visible_bias + states @ weights).sum(axis=1)
    p = np.exp(log_p - log_p.max())
    return p / p.sum()


def counts(found, states):
    """How often each of the states is there."""
    dense = found.dense(float) if isinstance(found, PackedBits) else np.asarray(found, float)
    weights = 7.0 ** np.arange(states.shape[1])
    codes = np.rint(states @ weights).astype(int)
    order = np.argsort(codes)
    at = np.searchsorted(codes[order], np.rint(dense @ weights).astype(int))
    return np.bincount(order[at], minlength=len(states))


def tail_of_chi2(n, p):
    """Probability of at least this chi-square of counts, rare states taken together."""
    expected = p * n.sum()
    rare = expected < 10
    observed, expected = (np.append(x[~rare], x[rare].sum()) for x in (n, expected))
    keep = expected > 0
    return chi2.sf(((observed - expected)[keep] ** 2 / expected[keep]).sum(), keep.sum() - 1)


def exact_start(sampler, model, seed=0, backend=None):
    """State whose chains have the exact distributions of their models."""
    state = sampler.init(N_CHAINS, model.parameters, model.units, seed, backend)
    rng, states = np.random.default_rng(seed + 1), hidden_states(model)
    rows = np.concatenate(
        [
            states[rng.choice(len(states), N_CHAINS, p=hidden_probabilities(one, model.units, states))]
            for one in state.models
        ]
    ).astype(model.weights.dtype)
    state.hidden = pack(rows) if get_unit(model.hidden).packed else rows
    return state


@pytest.mark.parametrize("shorten", [False, True])
@pytest.mark.parametrize("units", PAIRS)
def test_all_models_keep_their_exact_distributions(units, shorten):
    models = trajectory(units, scale=0.8 if units[0] in ("bernoulli", "ising", "onehot(3)") else 0.35)
    model, backend = models[-1], get_backend("cpu")
    sampler = TrajectoryTempering(models, n_steps=2, shorten=shorten)
    state = exact_start(sampler, model)
    visible = sampler.step(state, model.parameters, units, 2, backend, 6)
    assert len(visible) == N_CHAINS and state.step == 12 and (state.swap_accepts > 0).all()
    states = hidden_states(model)
    tails = [
        tail_of_chi2(counts(state.at(k), states), hidden_probabilities(one, units, states))
        for k, one in enumerate(state.models)
    ]
    assert min(tails) > 1e-4 / len(tails), tails


def test_the_criterion_sees_exchanges_that_are_always_accepted():
    class Greedy(ReferenceBackend):
        def free_energy(self, unit, states, parameters):
            return np.zeros(len(states))

    models = trajectory(scale=1.5)
    model, states = models[-1], hidden_states(models[-1])
    sampler = TrajectoryTempering(models, shorten=False)
    state = exact_start(sampler, model)
    sampler.step(state, model.parameters, model.units, 2, Greedy(), 6)
    worst = min(
        tail_of_chi2(counts(state.at(k), states), hidden_probabilities(one, model.units, states))
        for k, one in enumerate(state.models)
    )
    assert worst < 1e-8


def test_chains_converge_from_their_own_start():
    models = trajectory(("bernoulli", "bernoulli"))
    model, backend, states = models[-1], get_backend("cpu"), hidden_states(models[-1])
    sampler = TrajectoryTempering(models)
    state = sampler.init(N_CHAINS, model.parameters, model.units, 1, backend)
    sampler.step(state, model.parameters, model.units, 1, backend, 30)
    p = hidden_probabilities(model.parameters, model.units, states)
    assert tail_of_chi2(counts(state.at(-1), states), p) > 1e-4
    # visible states belong to them
    mean = sampler.step(state, model.parameters, model.units, 1, backend).dense(float).mean(axis=0)
    given = get_unit("bernoulli").mean(model.visible_bias + states @ model.weights)
    assert np.abs(mean - p @ given).max() < 0.02


def two_modes(strength, dtype=np.float32):
    """Ising layers that all point one way or the other, as bits."""
    n_visible, n_hidden = 24, 12
    weights = np.full((n_hidden, n_visible), strength / np.sqrt(n_visible * n_hidden))
    arrays = weights, np.full(n_visible, 0.01), np.zeros(n_hidden)
    return Model(*(x.astype(dtype) for x in arrays), "ising", "ising").as_bernoulli()[0]


def test_both_modes_are_found_where_gibbs_stays_in_one():
    models = [two_modes(s) for s in (0.05, 0.5, 0.8, 1.0, 1.4, 2.0, 3.0)]
    model, backend = models[-1], get_backend("cpu")
    p = hidden_probabilities(model.parameters, model.units, hidden_states(model))
    up = hidden_states(model).sum(axis=1) > 6
    exact = p[up].sum() / p[hidden_states(model).sum(axis=1) != 6].sum()
    state = ChainState(0, pack(np.ones((100, 12))))
    assert Gibbs(2000).step(state, model.parameters, model.units, 1, backend).dense(float).mean() > 0.9
    found = temper(model, 8000, 2, n_chains=40, burn_in=200, sampler=TrajectoryTempering(models), random_state=3)
    assert (found.visible.mean(axis=1) > 0.5).mean() == pytest.approx(exact, abs=0.03)
    assert found.round_trips > 200 and found.swap_rates.min() > 0.2 and found.health.ok
    assert found.betas[0] == -1 and found.betas[-1] == 6 and (np.diff(found.betas) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", [{"n_threads": 2}, {"device": "reference"}])
def test_samples_do_not_depend_on_threads_or_backend(how, dtype):
    models = [two_modes(s, dtype) for s in (0.3, 1.0, 2.0)]
    options = {"n_chains": 10, "burn_in": 10, "sampler": TrajectoryTempering(models), "random_state": 5}
    one = temper(models[-1], 100, 2, n_threads=1, **options)
    other = temper(models[-1], 100, 2, **how, **options)
    np.testing.assert_array_equal(one.visible, other.visible)
    np.testing.assert_array_equal(one.hidden, other.hidden)
    np.testing.assert_array_equal(one.betas, other.betas)
    np.testing.assert_array_equal(one.swap_rates, other.swap_rates)
    assert one.visible.dtype == dtype
    assert (temper(models[-1], 100, 2, **{**options, "random_state": 6}).visible != one.visible).any()


@pytest.mark.parametrize("units", [("bernoulli", "bernoulli"), ("gaussian", "ising")])
def test_an_interrupted_run_goes_on_where_it_stopped_also_from_a_file(units):
    models = trajectory(units, scale=0.4)
    model, backend = models[-1], get_backend("cpu")
    sampler, runs = TrajectoryTempering(models, n_steps=2), []
    for parts in ([9], [4, 3, 2]):
        state = sampler.init(7, model.parameters, units, 7, backend)
        for part in parts:
            state, sampler = pickle.loads(pickle.dumps((state, sampler)))
            visible = sampler.step(state, model.parameters, units, 7, backend, part)
        runs.append((visible, state))
    (v, a), (w, b) = runs
    for x, y in ((v, w), (a.hidden, b.hidden)):
        np.testing.assert_array_equal(*(s.words if isinstance(s, PackedBits) else s for s in (x, y)))
    assert (a.step, a.round, a.round_trips) == (b.step, b.round, b.round_trips) and a.step == 18


# ---- the ladder -----------------------------------------------------------------------------------------------------


def test_a_line_has_its_models_at_whole_numbers_and_is_straight_between():
    models = [m.parameters for m in trajectory()]
    line = Line(models)
    assert line.at(2.0) is models[2] and line.at(3.0) is models[3]
    np.testing.assert_allclose(line.at(0.25).weights, 0.75 * models[0].weights + 0.25 * models[1].weights, rtol=1e-6)


def test_rungs_are_evenly_spaced_whatever_the_list_is():
    backend, start = get_backend("cpu"), two_modes(0.05)
    last = two_modes(2.5).parameters
    base = without_weights(start.parameters)
    units = start.units
    for models in ([last], [two_modes(s).parameters for s in np.linspace(0.05, 2.5, 60)]):
        found = explore(backend, Line([base, *models]), units, 8, 32, Key(0))
        positions = rungs(found)
        assert positions[0] == 0 and positions[-1] == len(models) and (np.diff(positions) > 0).all()
        gaps = np.diff(np.interp(positions, found.positions, found.lengths))
        assert gaps.max() < 1.65 and 3 < len(positions) < len(found.positions)
        if len(models) == 60:  # models too close are left out, the others are those of the list
            assert len(positions) < 20 and (positions == np.rint(positions)).mean() > 0.8
    # what it has seen is what exchanges then do
    sampler = TrajectoryTempering([two_modes(2.5)])
    state = sampler.init(500, last, units, 0, backend)
    sampler.step(state, last, units, 0, backend, 60)
    assert state.swap_rates.min() > 0.2


def test_models_that_go_to_and_fro_are_left_out():
    rng = np.random.default_rng(0)
    models = [
        Model(two_modes(s).weights + rng.normal(0, 0.3, (12, 24)).astype(np.float32), np.zeros(24), np.zeros(12))
        for s in np.linspace(0.1, 1.5, 8)
    ]
    arrays = [without_weights(models[0].parameters), *(m.parameters for m in models)]
    ladders = [
        find_rungs(get_backend("cpu"), arrays, models[0].units, 8, 32, Key(1), shorten) for shorten in (False, True)
    ]
    assert len(ladders[1].positions) < 0.8 * len(ladders[0].positions)
    for found in ladders:
        assert found.numbers[0] == 0 and found.numbers[-1] == 8
        np.testing.assert_array_equal(found.models[-1].weights, models[-1].weights)


def test_gains_are_differences_of_free_energies():
    models = trajectory()
    h = pack(np.array(list(itertools.product([0, 1], repeat=4))))
    swapped = [Model(m.weights.T, m.hidden_bias, m.visible_bias) for m in models[1:3]]
    wanted = swapped[0].free_energy(h) - swapped[1].free_energy(h)
    ladder = ModelLadder(get_backend("cpu"), models[0].units, [m.parameters for m in models])
    np.testing.assert_allclose(ladder.gains(h, 1), wanted, atol=1e-5)


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def rows(n=60, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, 8)).astype(np.uint8)


def rbm(kept, n_iter=5, **options):
    return BernoulliRBM(
        4, n_iter=n_iter, batch_size=20, learning_rate=0.1, random_state=1, callbacks=[kept], **options
    )  # fmt: skip


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.parameters, b.parameters, strict=True))


def test_checkpoints_are_the_models_of_their_times():
    kept = CheckpointTrajectory()
    rbm(kept, 6).fit(rows())
    assert kept.updates_ == [0, 3, 6, 9, 12, 15, 18] and kept.epochs_ == list(range(7))
    assert kept.sigmas_ == [None] * 7
    for n in (1, 4):
        assert same(rbm(CheckpointTrajectory(), n).fit(rows()).model_, kept.models_[n])


def test_they_are_thinned_evenly_in_log_time_within_the_bound():
    kept = CheckpointTrajectory(8)
    model = rbm(kept, 300).fit(rows()).model_
    assert len(kept.models_) == len(kept.updates_) == len(kept.epochs_) == len(kept.sigmas_) == 8
    assert kept.updates_[0] == 0 and kept.updates_[-1] == 900 and same(kept.models_[-1], model)
    ratios = np.diff(np.log1p(kept.updates_))
    assert ratios.max() < 4 * np.sort(ratios)[1]


@pytest.mark.parametrize("how", ["partial_fit", "warm_start", "pickle"])
def test_they_go_on_with_the_run(how):
    whole, parts = CheckpointTrajectory(), CheckpointTrajectory()
    rbm(whole, 4).fit(rows())
    one = rbm(parts, 2, warm_start=True).fit(rows())
    assert parts.updates_ == [0, 3, 6]
    if how == "pickle":
        one = pickle.loads(pickle.dumps(one))
        parts = one.callbacks[0]
    if how == "partial_fit":
        for _ in range(2):
            one.partial_fit(rows())
        one.set_params(n_iter=1).fit(rows())
        assert parts.updates_ == [0, 3, 6, 8, 11] and all(map(same, parts.models_[:3], whole.models_))
        return
    one.set_params(n_iter=2).fit(rows())
    assert parts.updates_ == whole.updates_ and all(map(same, parts.models_, whole.models_))


def test_another_fit_begins_anew():
    kept = CheckpointTrajectory()
    one = rbm(kept, 3).fit(rows())
    before = copy.copy(kept.models_)
    one.fit(rows())
    assert kept.updates_ == [0, 3, 6, 9] and all(map(same, kept.models_, before))
    one.set_params(n_components=5).fit(rows())
    assert kept.updates_ == [0, 3, 6, 9] and {m.weights.shape for m in kept.models_} == {(5, 8)}


def test_it_does_not_change_the_fit_and_can_be_cloned():
    kept = CheckpointTrajectory(3)
    one = rbm(kept, 5).fit(rows())
    other = BernoulliRBM(4, n_iter=5, batch_size=20, learning_rate=0.1, random_state=1).fit(rows())
    assert same(one.model_, other.model_)
    assert clone(one).callbacks[0].n_models == 3


def test_it_stands_beside_early_stopping():
    kept, X = CheckpointTrajectory(), rows()
    one = rbm([], 30).set_params(callbacks=[EarlyStopping(PseudoLikelihood(X), patience=1), kept]).fit(X)
    assert kept.epochs_[-1] == one.n_iter_ and len(kept.models_) > 2
    assert temper(one.model_, 80, 1, burn_in=5, sampler=TrajectoryTempering(kept.models_)).visible.shape == (80, 8)


def test_learned_deviations_are_kept_beside_the_models():
    X = np.random.default_rng(0).normal(size=(80, 5)) * [1, 2, 3, 1, 1]
    kept = CheckpointTrajectory()
    one = GaussianRBM(3, sigma="learned", n_iter=4, batch_size=20, random_state=0, callbacks=[kept]).fit(X)
    np.testing.assert_array_equal(kept.sigmas_[-1], one.sigma_)
    assert not np.array_equal(kept.sigmas_[0], kept.sigmas_[-1]) and same(kept.models_[-1], one.model_)
    # the distribution of hidden states is that of the estimator, whatever the visible layer is measured in
    states = hidden_states(one.model_)
    sampler = TrajectoryTempering(kept.models_)
    state = sampler.init(N_CHAINS, one.model_.parameters, one.units, 0)
    sampler.step(state, one.model_.parameters, one.units, 0, get_backend("cpu"), 20)
    p = hidden_probabilities(one.model_.parameters, one.units, states)
    assert tail_of_chi2(counts(state.at(-1), states), p) > 1e-4


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_models", [2, 0, 3.0, True, None])
def test_wrong_numbers_of_checkpoints_are_named(n_models):
    with pytest.raises(ValueError, match="n_models"):
        CheckpointTrajectory(n_models)


@pytest.mark.parametrize(
    ("models", "error"),
    [
        ([], ValueError),
        (None, TypeError),
        (trajectory()[0], TypeError),
        ([trajectory()[0], 3], TypeError),
        ([*trajectory(), *trajectory(size=(4, 5))], ValueError),
        ([*trajectory(), *trajectory(("ising", "ising"))], ValueError),
        ([*trajectory(), *trajectory(dtype=np.float64)], ValueError),
    ],
)
def test_wrong_models_are_named(models, error):
    with pytest.raises(error, match="models must"):
        temper(trajectory()[-1], 80, sampler=TrajectoryTempering(models))


def test_wrong_options_are_named():
    models = trajectory()
    model = models[-1]
    for options in ({"n_steps": 0}, {"n_steps": 1.5}, {"shorten": "no"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            TrajectoryTempering(models, **options).init(3, model.parameters, model.units, 0)
    sampler = TrajectoryTempering(models)
    with pytest.raises(ValueError, match="n_chains"):
        sampler.init(0, model.parameters, model.units, 0)
    state = sampler.init(3, model.parameters, model.units, 0)
    with pytest.raises(ValueError, match="n_rounds"):
        sampler.step(state, model.parameters, model.units, 0, get_backend("cpu"), 0)
    with pytest.raises(ValueError, match="parameters must be"):
        sampler.step(state, models[0].parameters, model.units, 0, get_backend("cpu"))
    with pytest.raises(TypeError, match="sampler must be"):
        temper(model, sampler=Gibbs())
    with pytest.raises(ValueError, match="algorithm"):
        BernoulliRBM(4, algorithm=sampler).fit(rows())


def test_options_can_be_read_and_cloned():
    models = trajectory()
    sampler = clone(TrajectoryTempering(models, n_steps=3))
    assert sampler.n_steps == 3 and sampler.shorten and len(sampler.models) == 4


def test_energies_that_overflow_are_an_error():
    huge = Model(np.full((4, 6), 3e38, np.float32), np.zeros(6, np.float32), np.full(4, -3e38, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        temper(huge, 80, sampler=TrajectoryTempering([trajectory()[0]]))
