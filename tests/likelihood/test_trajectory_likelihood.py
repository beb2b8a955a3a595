"""Log Z along a trajectory: exact values lie within the stated errors, and what is not known is said."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastrbm import BernoulliRBM, GaussianRBM, Model
from fastrbm.callbacks import CheckpointTrajectory, LogLikelihood
from fastrbm.likelihood import along_trajectory, log_likelihood, log_partition, tempering
from fastrbm.likelihood import trajectory as module

QUICK = {"n_chains": 200, "n_temperatures": 60}
PAIRS = [
    ("bernoulli", "bernoulli"),
    ("ising", "bernoulli"),
    ("gaussian", "bernoulli"),
    ("gaussian", "ising"),
    ("relu", "bernoulli"),
    ("binomial(3)", "onehot(2)"),
    ("onehot(3)", "ising"),
    ("bernoulli", "gaussian"),
    ("gaussian", "gaussian"),
    ("mixed(bernoulli*3,gaussian*3)", "bernoulli"),
]


def trajectory(units=("bernoulli", "bernoulli"), n_models=5, size=(6, 6), scale=1.0, seed=3, dtype=np.float32):
    """Models whose weights grow, each with some noise of its own."""
    rng = np.random.default_rng(seed)
    if "gaussian" in units[0] or units[0] == "relu" or units[1] == "gaussian":
        scale *= 0.3
    arrays = rng.normal(0, scale, size), rng.normal(0, 0.5, size[1]), rng.normal(0, 0.5, size[0])
    if units == ("gaussian", "gaussian"):
        arrays[0][...] *= 0.7 / np.linalg.norm(arrays[0], 2)
    return [
        Model(*((s * x + 0.02 * rng.normal(size=x.shape)).astype(dtype) for x in arrays), *units)
        for s in np.linspace(0.1, 1, n_models)
    ]


def exact(model):
    return float(log_partition(model, "exact"))


@pytest.mark.parametrize("units", PAIRS)
def test_exact_values_lie_within_the_stated_errors(units):
    models = trajectory(units)
    truth = [exact(model) for model in models]
    held = []
    for seed in range(6):
        found = log_partition(models[-1], "trajectory", trajectory=models, random_state=seed, **QUICK)
        assert found.reliable and found.method == "trajectory" and 0 < found.stderr < 0.2
        held.append(found.interval[0] <= truth[-1] <= found.interval[1])
        assert abs(found.value - truth[-1]) < 6 * found.stderr + 1e-3
    assert sum(held) >= 4  # of 6, 95 % each: fewer in 2 of 1000 cases


@pytest.mark.parametrize("units", [("bernoulli", "bernoulli"), ("ising", "onehot(3)"), ("gaussian", "bernoulli")])
@pytest.mark.parametrize("size", [(6, 9), (9, 6)])
def test_every_model_of_the_list_has_its_value(units, size):
    models = trajectory(units, 9, size)
    held = n = 0
    for seed in range(4):
        found = along_trajectory(models, random_state=seed, **QUICK)
        assert len(found) == 9 and all(one.reliable for one in found)
        for one, model in zip(found, models, strict=True):
            truth = exact(model)
            assert abs(one.value - truth) < 8 * one.stderr + 2e-3
            held += one.interval[0] <= truth <= one.interval[1]
            n += 1
    assert held >= 0.85 * n


def test_models_between_rungs_are_known_as_well():
    """Many models close together: one ladder has them all, though it has few rungs."""
    models = [
        Model(w * np.ones((5, 6)), np.full(6, -2 * w), np.full(5, -2.5 * w)) for w in np.linspace(0.0, 0.5, 30)
    ]  # fmt: skip
    calls = []
    found = along_trajectory(models, random_state=1, progress=lambda *now: calls.append(now), **QUICK)
    assert sum(done == total for done, total in calls) <= 3
    for one, model in zip(found, models, strict=True):
        assert one.value == pytest.approx(exact(model), abs=0.1)


def test_both_modes_count_though_chains_of_the_model_stay_in_one():
    weights = np.full((12, 24), 1 / np.sqrt(12 * 24))
    models = [
        Model(s * weights, np.full(24, 0.01 * s), np.zeros(12), "ising", "ising") for s in (0.05, 0.5, 1.0, 2.0, 3.0)
    ]
    for seed in range(3):
        found = log_partition(
            models[-1], "trajectory", trajectory=models[:-1], n_chains=200, n_temperatures=500, random_state=seed
        )  # fmt: skip
        truth = exact(models[-1])
        assert found.interval[0] - 0.02 <= truth <= found.interval[1] + 0.02 and found.stderr < 0.3


def test_a_wall_that_no_state_crosses_is_said():
    """Two states of equal weight far apart from all others, which the biases of the start do not know either."""
    pattern = np.random.default_rng(0).integers(0, 2, 60)
    strong = np.outer(np.ones(30), 2.0 * pattern - 1) * 1.2
    model = Model(strong, np.zeros(60) + 1.0 - 2.0 * pattern, np.full(30, -1.2 * pattern.sum() + 3.0))
    first = Model(np.zeros((30, 60)), model.visible_bias, model.hidden_bias)
    data = np.vstack([pattern] * 20)
    truth = _log_z(model, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = log_partition(model, "trajectory", trajectory=[first], data=data, random_state=0, **QUICK)
    assert not found.reliable and found.interval[0] <= truth <= found.interval[1] == np.inf
    assert "the data know" in found.message and "start from other states" in found.message


def _log_z(model, n_hidden):
    """All hidden units are alike, so that their number counts."""
    from scipy.special import gammaln

    k = np.arange(n_hidden + 1)
    ways = gammaln(n_hidden + 1) - gammaln(k + 1) - gammaln(n_hidden - k + 1)
    w, a, b = (np.asarray(x, float) for x in model.parameters)
    return np.logaddexp.reduce(ways + k * b[0] + np.logaddexp(0, a + k[:, None] * w[0]).sum(axis=1))


def test_few_journeys_are_said(monkeypatch):
    models = trajectory()
    ladder = tempering.Ladder(np.zeros(8) + np.arange(8) / 100, 0.035, 0.01, 0, 64, 9, 0.5, 0.0)
    whole = tempering.Record.ladders
    monkeypatch.setattr(tempering.Record, "ladders", lambda self: [[ladder] * len(one) for one in whole(self)])
    monkeypatch.setattr(module.scouts.Scout, "sound", False)
    with pytest.warns(ConvergenceWarning, match="only 0 states"):
        found = log_partition(models[-1], "trajectory", trajectory=models[:1], random_state=0, **QUICK)
    assert not found.reliable and found.interval[1] == np.inf and found.interval[0] < found.value - 3


def test_a_few_chains_that_leave_the_interval_wide_are_followed_by_more(monkeypatch):
    models, asked = trajectory(), []
    whole = module.scouts.scout

    def scout(name, broad, path, n_chains, n_temperatures, progress=None, small=True):
        asked.append(small)
        found = whole(name, broad, path, n_chains, n_temperatures, progress, small)
        wide = found.found._replace(high=found.found.high + 2.0)
        return found._replace(found=wide, spread=spread) if small else found

    monkeypatch.setattr(module.scouts, "scout", scout)
    options = dict(trajectory=models, random_state=0, **QUICK)
    spread = 1.2
    found = log_partition(models[-1], "trajectory", **options)
    assert asked.count(True) == asked.count(False) > 0
    assert found.reliable and found.interval[1] < found.value + 1.0 and found.interval[1] > exact(models[-1])
    asked.clear()
    spread = 3.0  # too wide to say anything about the interval
    found = log_partition(models[-1], "trajectory", **options)
    assert all(asked) and found.interval[1] < found.value + 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", [{"n_threads": 2}, {"device": "reference"}])
def test_values_do_not_depend_on_threads_or_backend(how, dtype):
    models = trajectory(size=(20, 30), scale=0.4, dtype=dtype)
    options = {"random_state": 3, "n_chains": 16, "n_temperatures": 100}
    one = along_trajectory(models, n_threads=1, **options)
    other = along_trajectory(models, **how, **options)
    for a, b in zip(one, other, strict=True):
        if "device" in how:
            assert a.value == pytest.approx(b.value, rel=1e-6)
        else:
            assert (a.value, a.stderr, a.interval) == (b.value, b.stderr, b.interval)


def test_the_model_itself_may_be_the_last_of_the_list_or_not():
    models = trajectory()
    a, b = (
        log_partition(models[-1], "trajectory", trajectory=given, random_state=0, **QUICK)
        for given in (models, models[:-1])
    )
    assert (a.value, a.interval) == (b.value, b.interval)


def test_one_model_alone_is_enough():
    model = trajectory()[-1]
    found = log_partition(model, "trajectory", trajectory=[model], random_state=0, **QUICK)
    assert found.value == pytest.approx(exact(model), abs=0.1)
    nothing = Model(np.zeros((3, 4)), np.ones(4), np.zeros(3))
    found = log_partition(nothing, "trajectory", trajectory=[nothing], random_state=0, **QUICK)
    assert found.value == pytest.approx(exact(nothing), abs=1e-6) and found.reliable


def test_starts_and_data_are_used():
    models = trajectory()
    X = np.random.default_rng(0).integers(0, 2, (50, 6))
    values = {
        log_partition(models[-1], "trajectory", trajectory=models, random_state=0, **options, **QUICK).value
        for options in ({}, {"data": X}, {"start": "uniform"}, {"start": "base-rate", "data": X}, {"start": np.ones(6)})
    }
    # rows of data are forgotten at once by so small a model: the same draws lead to the same states
    assert len(values) >= 4 and max(values) - min(values) < 0.2


def test_estimators_use_the_checkpoints_among_their_callbacks():
    X = np.random.default_rng(0).integers(0, 2, (60, 8)).astype(np.uint8)
    kept = CheckpointTrajectory()
    rbm = BernoulliRBM(5, n_iter=8, learning_rate=0.1, batch_size=10, random_state=0, callbacks=[kept]).fit(X)
    found = rbm.log_partition("trajectory", **QUICK)
    assert found.value == pytest.approx(float(rbm.log_partition("exact")), abs=0.1)
    assert rbm.log_partition("trajectory", **QUICK).value == found.value
    rows = rbm.log_likelihood(X, "trajectory", **QUICK)
    np.testing.assert_allclose(rows, rbm.log_likelihood(X, "exact"), atol=0.1)
    rbm.set_params(callbacks=[])
    with pytest.raises(ValueError, match="trajectory="):
        rbm.log_partition("trajectory")


def test_the_likelihood_along_training_of_learned_deviations():
    X = np.random.default_rng(0).normal(size=(80, 5)) * [1, 2, 3, 1, 1]
    kept = CheckpointTrajectory()
    rbm = GaussianRBM(3, sigma="learned", n_iter=4, batch_size=20, random_state=0, callbacks=[kept]).fit(X)
    found = along_trajectory(kept.models_, random_state=0, **QUICK)
    curve = [
        (log_likelihood(model, X / sigma, log_z) - np.log(sigma).sum()).mean()
        for model, sigma, log_z in zip(kept.models_, kept.sigmas_, found, strict=True)
    ]
    assert curve[-1] == pytest.approx(rbm.log_likelihood(X, "exact").mean(), abs=0.05)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "needs trajectory="),
        ({"trajectory": []}, ValueError, "trajectory must"),
        ({"trajectory": 3}, TypeError, "trajectory must"),
        ({"trajectory": trajectory()[0]}, TypeError, "trajectory must"),
        ({"trajectory": [1]}, TypeError, "trajectory must"),
        ({"trajectory": trajectory(size=(5, 6))}, ValueError, "equal shape"),
        ({"trajectory": trajectory(("ising", "ising"))}, ValueError, "units"),
        ({"trajectory": trajectory(dtype=np.float64)}, ValueError, "float type"),
        ({"trajectory": trajectory(), "stderr": 0.1}, ValueError, "stderr"),
        ({"trajectory": trajectory(), "schedule": "linear"}, ValueError, "schedule"),
        ({"trajectory": trajectory(), "start": "no"}, ValueError, "start"),
        ({"trajectory": trajectory(), "start": "base-rate"}, ValueError, "data"),
        ({"trajectory": trajectory(), "n_chains": 0}, ValueError, "n_chains"),
        ({"trajectory": trajectory(), "n_temperatures": 1.5}, ValueError, "n_temperatures"),
        ({"trajectory": trajectory(), "moments": True}, ValueError, "moments"),
        ({"trajectory": trajectory(), "data": np.full((2, 6), 0.5)}, ValueError, "data must"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        log_partition(trajectory()[-1], "trajectory", **options)


def test_it_is_no_option_of_other_methods():
    models = trajectory()
    with pytest.raises(ValueError, match="trajectory needs method='trajectory'"):
        log_partition(models[-1], "smc", trajectory=models)
    with pytest.raises(ValueError, match="method must be one of"):
        LogLikelihood(np.zeros((2, 6)), method="trajectory")


@pytest.mark.parametrize(
    ("models", "options", "error", "message"),
    [
        ([], {}, ValueError, "models must"),
        (None, {}, TypeError, "models must"),
        ([*trajectory(), *trajectory(size=(5, 6))], {}, ValueError, "models must"),
        (trajectory(), {"n_chains": 0}, ValueError, "n_chains"),
        (trajectory(), {"random_state": "x"}, ValueError, "random_state"),
        (trajectory(), {"data": np.zeros((2, 5))}, ValueError, "data must"),
    ],
)
def test_wrong_arguments_of_along_are_named(models, options, error, message):
    with pytest.raises(error, match=message):
        along_trajectory(models, **options)


def test_models_without_a_finite_sum_are_an_error():
    models = trajectory(("gaussian", "gaussian"))
    wide = Model(models[-1].weights * 3, *models[-1].parameters[1:], "gaussian", "gaussian")
    with pytest.raises(ValueError, match="singular|infinite"):
        log_partition(models[-1], "trajectory", trajectory=[*models, wide])
    with pytest.raises(ValueError, match="singular|infinite"):
        along_trajectory([*models, wide])
