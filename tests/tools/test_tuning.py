"""`fastrbm.tuning`: what is searched, what fails and what is ended early, going on, processes, the same seed."""

import dataclasses
import math
import sys

import numpy as np
import pytest

import fastrbm
from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM, compat
from fastrbm.callbacks import Callback, EarlyStopping, PseudoLikelihood
from fastrbm.classifiers import DiscriminativeRBM, RBMOutlierDetector
from fastrbm.deep import DeepBeliefNetwork
from fastrbm.regularizers import L2
from fastrbm.tuning import Search, default_space, register_space

optuna = pytest.importorskip("optuna")

RNG = np.random.default_rng(0)
X = (RNG.random((80, 8)) < RNG.random(8)).astype(np.uint8)
Y = X[:, 0] ^ (RNG.random(80) < 0.1)
SPACE = {"n_components": (2, 6), "learning_rate": (0.01, 0.3, "log"), "batch_size": [8, 16]}


def search(estimator=None, space=SPACE, **options):
    options = {"n_trials": 6, "random_state": 0, "metric": "pseudo_likelihood"} | options
    return Search(BernoulliRBM(n_iter=3) if estimator is None else estimator, space, **options)


def test_the_best_model_is_the_one_that_was_measured():
    found = search().fit(X[:60], X_val=X[60:])
    model = found.best_estimator_
    assert found.results_["score"][found.best_trial_] == found.best_score_ == np.nanmax(found.results_["score"])
    assert model.score_samples(X[60:]).mean() == pytest.approx(found.best_score_, abs=1e-12)
    assert {name: getattr(model, name) for name in SPACE} == found.best_params_
    assert list(model.callbacks) == [] and len(found.results_["state"]) == 6
    again = model.__class__(**model.get_params(deep=False)).fit(X[:60])
    np.testing.assert_array_equal(again.components_, model.components_)


@pytest.mark.parametrize("options", [{}, {"side_by_side": 1}, {"metric": "log_likelihood"}, {"sampler": "random"}])
def test_the_same_seed_is_the_same_search(options):
    first, second = (search(n_trials=14, **options).fit(X) for _ in range(2))
    for name in ("state", "score", "n_components", "learning_rate"):
        np.testing.assert_array_equal(first.results_[name], second.results_[name])
    np.testing.assert_array_equal(first.best_estimator_.components_, second.best_estimator_.components_)
    other = search(n_trials=14, **options | {"random_state": 1}).fit(X)
    assert other.results_["learning_rate"] != first.results_["learning_rate"]


def test_trials_side_by_side_are_those_trained_alone():
    """Whatever `fit_many` does with them: every score is that of a fit of its own."""
    found = search(pruner=None).fit(X[:60], X_val=X[60:])
    for k, score in enumerate(found.results_["score"]):
        options = {name: found.results_[name][k] for name in SPACE}
        alone = BernoulliRBM(n_iter=3, random_state=found.seed_, **options).fit(X[:60])
        assert alone.score_samples(X[60:]).mean() == pytest.approx(score, abs=1e-12)


def test_trials_that_fail_are_counted_and_the_search_goes_on():
    space = {"learning_rate": [0.1, 1e39], "algorithm": ["pcd", "cd"], "n_chains": [None, 4]}
    found = search(space=space, n_trials=16, sampler="random").fit(X)
    table = found.results_
    for state, rate, algorithm, chains, error in zip(
        *(table[name] for name in ("state", "learning_rate", "algorithm", "n_chains", "error")), strict=True
    ):
        excluded = algorithm == "cd" and chains is not None
        assert (state == "fail") == (excluded or rate > 1)
        assert ("n_chains must be None" in error) if excluded else ("DivergenceError" in error) == (rate > 1)
    assert {"fail", "complete"} <= set(table["state"])
    assert found.best_params_["learning_rate"] == 0.1


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_metric_that_is_not_finite_is_a_failure(value):
    def metric(estimator, X, y):
        return value if estimator.n_components == 2 else float(estimator.n_components)

    found = search(space={"n_components": [2, 3]}, metric=metric, n_trials=8).fit(X)
    states = dict(zip(found.results_["n_components"], found.results_["state"], strict=True))
    assert states[2] == "fail" and found.best_score_ == 3
    assert f"the metric was {value} after pass 1" in found.results_["error"]


@pytest.mark.parametrize("sure", [True, False])
def test_an_estimate_that_is_not_sure_is_made_again_at_the_end(monkeypatch, sure):
    """A pass of which nothing is sure ends no trial; a finished model of which nothing is sure has failed."""
    record, estimate = fastrbm.callbacks.LogLikelihood.on_epoch_end, BernoulliRBM.log_partition

    def unsure(self, run):
        record(self, run)
        run.history[f"{self.name}_low"][-1] = -math.inf

    def log_partition(self, *given, **options):
        found = estimate(self, *given, **options)
        return found if sure else dataclasses.replace(found, interval=(found.value, math.inf))

    monkeypatch.setattr(fastrbm.callbacks.LogLikelihood, "on_epoch_end", unsure)
    monkeypatch.setattr(BernoulliRBM, "log_partition", log_partition)
    found = search(metric="log_likelihood", n_trials=3)
    if sure:
        found.fit(X[:60], X_val=X[60:])
        assert found.results_["state"] == 3 * ["complete"] and found.results_["passes"] == 3 * [3]
        exact = found.best_estimator_.log_likelihood(X[60:], "exact").mean()
        assert found.best_score_ == pytest.approx(exact, abs=1e-9)
    else:
        with pytest.raises(RuntimeError, match="not sure; use metric='pseudo_likelihood'"):
            found.fit(X)


def test_an_error_of_a_metric_is_a_failure_of_its_trial_alone():
    def metric(estimator, X, y):
        if estimator.n_components == 2:
            raise RuntimeError("not this one")
        return 1.0

    found = search(space={"n_components": [2, 3]}, metric=metric, n_trials=8).fit(X)
    assert "RuntimeError: not this one" in found.results_["error"] and found.best_score_ == 1


def test_a_search_of_failures_says_why():
    found = search(space={"learning_rate": [1e39]}, n_trials=3)
    with pytest.raises(RuntimeError, match=r"none of 3 trials has succeeded, 3 have failed. The first: Divergence"):
        found.fit(X)
    assert found.results_["state"] == 3 * ["fail"] and not hasattr(found, "best_estimator_")


def test_trials_that_are_behind_are_ended_early():
    def metric(estimator, X, y):
        return float(estimator.n_components)

    found = search(BernoulliRBM(n_iter=6), {"n_components": (1, 40)}, metric=metric, n_trials=24).fit(X)
    table = found.results_
    pruned = [k for k, state in enumerate(table["state"]) if state == "pruned"]
    assert pruned and min(pruned) >= 8 and all(table["passes"][k] < 6 for k in pruned)
    assert all(p == 6 for p, state in zip(table["passes"], table["state"], strict=True) if state == "complete")
    assert max(table["n_components"]) == found.best_score_
    whole = search(BernoulliRBM(n_iter=6), {"n_components": (1, 40)}, metric=metric, n_trials=24, pruner=None).fit(X)
    assert set(whole.results_["state"]) == {"complete"}


@pytest.mark.parametrize("name", ["study.journal", "study.db"])
def test_a_search_goes_on_in_its_storage(tmp_path, name):
    whole = search(n_trials=12).fit(X)
    path = tmp_path / name
    search(n_trials=8, storage=path).fit(X)
    found = search(n_trials=12, storage=str(path)).fit(X)
    for column in ("state", "score", "learning_rate", "n_components"):
        np.testing.assert_array_equal(found.results_[column], whole.results_[column])
    same = search(n_trials=12, storage=path, random_state=None).fit(X)  # nothing is left: the best is trained again
    assert len(same.results_["trial"]) == 12 and same.seed_ == 0
    np.testing.assert_array_equal(same.best_estimator_.components_, whole.best_estimator_.components_)


def test_a_study_of_something_else_is_refused(tmp_path):
    path = tmp_path / "study.journal"
    search(storage=path, n_trials=2).fit(X)
    with pytest.raises(ValueError, match="study_name must be another one.*has metric 'pseudo_likelihood'"):
        search(storage=path, metric="log_likelihood").fit(X)
    with pytest.raises(ValueError, match="has rows"):
        search(storage=path).fit(X[:70])
    with pytest.raises(ValueError, match="random_state must be 0"):
        search(storage=path, random_state=1).fit(X)
    search(storage=path, metric="log_likelihood", study_name="other", n_trials=1).fit(X)


def test_an_interrupt_keeps_what_was_found(tmp_path):
    calls = []

    def metric(estimator, X, y):
        calls.append(1)
        if len(calls) == 16:
            raise KeyboardInterrupt
        return float(estimator.n_components)

    path = tmp_path / "study.journal"
    found = search(metric=metric, storage=path, n_trials=12)
    with pytest.raises(KeyboardInterrupt):
        found.fit(X)
    assert len(found.results_["trial"]) == 4 and found.best_estimator_.components_.shape[0] == found.best_score_
    found.fit(X)
    assert len(found.results_["trial"]) == 12
    states = [t.state.name for t in found.study_.trials]
    assert "RUNNING" not in states and len(states) == 16


def test_processes_share_the_trials():
    found = search(n_trials=5, n_jobs=2).fit(X)
    assert len(found.results_["trial"]) == 5 and "complete" in found.results_["state"]
    assert found.results_["score"][found.best_trial_] == found.best_score_
    assert len(found.study_.trials) == 5  # the file they shared is gone


def test_accuracy_is_that_of_the_held_out_labels():
    found = search(metric="accuracy", n_trials=3).fit(X, Y)
    assert 0.5 < found.best_score_ <= 1
    with pytest.raises(ValueError, match="y must be given"):
        search(metric="accuracy").fit(X)
    with pytest.raises(ValueError, match="y_val must be given"):
        search(metric="accuracy").fit(X, Y, X)


def test_early_stopping_is_measured_where_it_stopped():
    stopping = EarlyStopping(PseudoLikelihood(X[60:]), patience=1, min_delta=1e9)
    found = search(BernoulliRBM(n_iter=9, callbacks=[stopping]), n_trials=2).fit(X[:60], X_val=X[60:])
    assert found.best_estimator_.best_iteration_ == 1 and found.results_["passes"] == [2, 2]
    assert found.best_estimator_.score_samples(X[60:]).mean() == pytest.approx(found.best_score_, abs=1e-12)


def test_callbacks_of_the_estimator_hear_of_every_trial():
    heard = []

    class Hear(Callback):
        def on_fit_end(self, run):
            heard.append(run.estimator.n_components)

    found = search(BernoulliRBM(n_iter=2, callbacks=[Hear()]), n_trials=3).fit(X)
    assert sorted(heard) == sorted(found.results_["n_components"])
    assert [type(c) for c in found.best_estimator_.callbacks] == [Hear]


ROWS = {
    "BernoulliRBM": (BernoulliRBM(n_iter=1), X),
    "IsingRBM": (IsingRBM(n_iter=1), 2 * X.astype(np.int8) - 1),
    "PottsRBM": (PottsRBM(n_iter=1), X),
    "PottsRBM em": (PottsRBM(n_iter=1, algorithm="em"), X),
    "GaussianRBM": (GaussianRBM(n_iter=1), RNG.normal(size=(60, 5))),
    "SoftmaxRBM": (SoftmaxRBM(n_iter=1), RNG.integers(0, 3, (60, 5))),
    "RBM": (fastrbm.RBM(n_iter=1, visible="binomial(3)"), RNG.integers(0, 4, (60, 5))),
    "RBM onehot": (fastrbm.RBM(n_iter=1, hidden="onehot"), X),
}


@pytest.mark.parametrize("kind", ROWS)
def test_every_estimator_has_a_space_that_works(kind):
    estimator, rows = ROWS[kind]
    found = Search(estimator, n_trials=4, random_state=0, metric="pseudo_likelihood").fit(rows)
    assert set(found.results_["state"]) == {"complete"} and set(found.best_params_) == set(default_space(estimator))


def test_classifiers_are_searched_by_their_accuracy():
    from fastrbm.classifiers import DiscriminativeRBM, FreeEnergyClassifier, RBMClassifier
    from fastrbm.deep import DBNClassifier, DeepBeliefNetwork

    options = dict(metric="accuracy", n_trials=4, random_state=0)
    found = Search(DiscriminativeRBM(n_iter=2, random_state=0), **options).fit(X, Y)
    assert set(found.best_params_) == set(default_space(DiscriminativeRBM())) and 0 <= found.best_score_ <= 1
    parts = (
        RBMClassifier(BernoulliRBM(n_iter=2), random_state=0),
        RBMClassifier(BernoulliRBM(n_iter=2), "mlp", random_state=0),
        RBMClassifier(random_state=0),
        FreeEnergyClassifier(BernoulliRBM(n_iter=2), random_state=0),
        DBNClassifier(DeepBeliefNetwork([8], rbm=BernoulliRBM(n_iter=2)), n_iter=2, random_state=0),
    )
    for estimator in parts:
        found = Search(estimator, **options).fit(X, Y)
        assert set(found.results_["state"]) == {"complete"} and set(found.best_params_) == set(default_space(estimator))
    assert default_space(parts[0])["rbm__learning_rate"] == default_space(BernoulliRBM())["learning_rate"]
    # options of parts that are made where they are asked for
    space = {"rbm__n_components": [5, 9], "classifier__C": (0.1, 1.0, "log")}
    found = Search(RBMClassifier(random_state=0), space, **options).fit(X, Y)
    assert found.best_estimator_.rbm_.n_components == found.best_params_["rbm__n_components"]
    with pytest.raises(ValueError, match="space must name options of RBMClassifier, got 'rbm__n_component'"):
        Search(RBMClassifier(), {"rbm__n_component": [5]}, **options).fit(X, Y)


def test_spaces_can_be_registered():
    class Own(BernoulliRBM):
        pass

    assert default_space(Own()) == default_space(BernoulliRBM())
    register_space(Own, {"n_components": [3]})
    assert default_space(Own()) == {"n_components": [3]}
    with pytest.raises(ValueError, match="space must be given for a Pipeline"):
        default_space(fastrbm_pipeline())


def fastrbm_pipeline():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(BernoulliRBM(n_iter=2), LogisticRegression())


def test_pipelines_are_searched_by_their_score():
    space = {"bernoullirbm__n_components": (2, 6), "logisticregression__C": (0.1, 10.0, "log")}
    found = search(fastrbm_pipeline(), space, metric="accuracy", n_trials=3).fit(X, Y)
    assert found.best_estimator_.score(X, Y) > 0.5 and set(found.best_params_) == set(space)


def test_choices_may_be_objects_and_nested_options():
    space = {"regularizers": [[], [L2(1e-3)]], "optimizer__beta1": (0.0, 0.9)}
    found = search(BernoulliRBM(n_iter=1, optimizer=fastrbm.Adam()), space, n_trials=3).fit(X)
    assert isinstance(found.best_params_["regularizers"], list)
    assert found.best_estimator_.optimizer.beta1 == found.best_params_["optimizer__beta1"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "at least one"),
        ({"components": (1, 2)}, "must name options of BernoulliRBM, got 'components'"),
        ({"n_components": (5, 2)}, "low end"),
        ({"learning_rate": (0, 1, "log")}, "above 0"),
        ({"learning_rate": (0.1, math.inf)}, "finite"),
        ({"learning_rate": 0.1}, "must be"),
        ({"batch_size": []}, "empty"),
    ],
)
def test_unusable_spaces_are_refused(space, message):
    with pytest.raises(ValueError, match=message):
        search(space=space).fit(X)


@pytest.mark.parametrize(
    "options",
    [
        {"n_trials": 0}, {"metric": "loss"}, {"validation_fraction": 0}, {"every": 0}, {"sampler": "grid"},
        {"pruner": "best"}, {"storage": "study.txt"}, {"study_name": ""}, {"side_by_side": 0}, {"n_jobs": 0},
        {"timeout": 0}, {"random_state": -1}, {"progress": 2},
    ],
)  # fmt: skip
def test_unusable_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        search(**options).fit(X)


@pytest.mark.parametrize(
    ("estimator", "metric", "message"),
    [
        (DiscriminativeRBM(), "log_likelihood", "metric must be 'accuracy' or a function for a DiscriminativeRBM"),
        (DiscriminativeRBM(), "pseudo_likelihood", "metric must be 'accuracy' or a function"),
        (DeepBeliefNetwork([5]), "log_likelihood", "'pseudo_likelihood' or 'accuracy' or a function"),
        (RBMOutlierDetector(), "accuracy", "RBMOutlierDetector, which has no transform"),
    ],
)
def test_metrics_that_an_estimator_does_not_have_are_refused(estimator, metric, message):
    with pytest.raises(ValueError, match=message):
        Search(estimator, n_trials=1, metric=metric).fit(X, Y)


def test_the_copy_of_scikit_learn_has_a_space_that_it_takes():
    found = Search(compat.BernoulliRBM(n_iter=1), n_trials=2, metric="pseudo_likelihood").fit(X)
    assert set(found.best_params_) == {"n_components", "learning_rate", "batch_size"}


def test_rows_without_a_probability_are_refused_before_any_trial():
    found = search(metric="log_likelihood")
    with pytest.raises(ValueError, match="pseudo-likelihood"):
        found.fit(X / 2)
    assert not hasattr(found, "study_")


def test_a_missing_optuna_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "fastrbm\[tuning\]"'):
        search().fit(X)
