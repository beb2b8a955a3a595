"""Options by their names, threads, weighted scores, and scikit-learn's callbacks."""

import os

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastrbm import (
    L1,
    L2,
    RBM,
    BernoulliRBM,
    DropConnect,
    GaussianRBM,
    IsingRBM,
    PottsRBM,
    SoftmaxRBM,
    callbacks,
    compat,
    fit_many,
    likelihood,
)
from fastrbm._kernels.cpu.runtime import most_threads, n_processors

BITS = (np.random.default_rng(0).random((40, 6)) < 0.4).astype(np.float64)
OPTIONS = dict(n_components=3, n_iter=3, random_state=0)
CLASSES = [BernoulliRBM, compat.BernoulliRBM, IsingRBM, PottsRBM, GaussianRBM, SoftmaxRBM, RBM]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name,near", [("n_hidden", "n_components"), ("epochs", "n_iter"), ("batchsize", "batch_size")])
def test_a_wrong_name_is_reported_with_the_class_that_was_called(cls, name, near):
    with pytest.raises(TypeError, match=rf"^{cls.__name__}.__init__\(\) got an unexpected .*'{name}'; .*'{near}'\?"):
        cls(**{name: 3})
    with pytest.raises(TypeError, match="'quite_another'$"):
        cls(quite_another=1)


def test_a_class_of_ones_own_has_its_own_name_and_options():
    class Mine(GaussianRBM):
        def __init__(self, extra=1, **options):
            super().__init__(**options)
            self.extra = extra

    assert Mine(extra=2, sigma=3.0).get_params()["extra"] == 2 and clone(Mine(4)).extra == 4
    with pytest.raises(TypeError, match="^Mine.*'n_hidden'"):
        Mine(n_hidden=3)


def test_one_regulariser_and_one_callback_need_no_list():
    alone = BernoulliRBM(**OPTIONS, regularizers=L2(0.1), callbacks=callbacks.PseudoLikelihood(BITS)).fit(BITS)
    listed = BernoulliRBM(**OPTIONS, regularizers=[L2(0.1)], callbacks=[callbacks.PseudoLikelihood(BITS)]).fit(BITS)
    np.testing.assert_array_equal(alone.components_, listed.components_)
    assert alone.history_["pseudo_likelihood"] == listed.history_["pseudo_likelihood"]
    seen = []
    BernoulliRBM(**OPTIONS, callbacks=lambda run: seen.append(run.done)).fit(BITS)
    assert seen == [1, 2, 3]
    with pytest.raises(ValueError, match=r"regularizers must be \(\) with algorithm='em'"):
        PottsRBM(**OPTIONS, algorithm="em", learning_rate=1.0, regularizers=L2(0.1)).fit(BITS)


def test_regularisers_are_searched_by_name():
    search = GridSearchCV(
        BernoulliRBM(**OPTIONS, regularizers=[L1(0.0), L2(0.0)]),
        {"regularizers__l2__strength": [0.0, 0.5], "optimizer": ["sgd", "adam"]},
        cv=2,
    ).fit(BITS)
    assert len(search.cv_results_["params"]) == 4
    one = BernoulliRBM(regularizers=L2(0.1)).set_params(regularizers__strength=0.2)
    assert one.regularizers.strength == 0.2


def test_names_of_objects_in_lists():
    rbm = BernoulliRBM(regularizers=[L2(0.1), DropConnect(0.2), L2(0.3)])
    params = rbm.get_params()
    assert params["regularizers__l2-1__strength"] == 0.1 and params["regularizers__l2-2__strength"] == 0.3
    assert params["regularizers__dropconnect"] is rbm.regularizers[1]
    copied = clone(rbm).set_params(**{"regularizers__l2-2__strength": 0.7, "n_components": 5})
    assert [copied.regularizers[2].strength, rbm.regularizers[2].strength, copied.n_components] == [0.7, 0.3, 5]
    copied.set_params(regularizers__dropconnect=L1(0.5))
    assert isinstance(copied.regularizers[1], L1)
    with pytest.raises(ValueError, match=r"'regularizers__l3__strength' .*holds \['dropconnect', 'l2-1', 'l2-2'\]"):
        rbm.set_params(regularizers__l3__strength=1.0)
    with pytest.raises(ValueError, match="Invalid parameter 'rate'"):
        rbm.set_params(**{"regularizers__l2-1__rate": 1.0})


# -- threads -----------------------------------------------------------------------------------------------------------


def test_negative_numbers_of_threads_count_from_the_processors():
    all_of_them = n_processors()
    assert most_threads(-1) in (1, all_of_them) and most_threads(-all_of_them - 5) == 1
    if most_threads(2) == 2:  # with OpenMP
        assert most_threads(-1) == all_of_them and most_threads(-2) == max(1, all_of_them - 1)
    wanted = BernoulliRBM(**OPTIONS, n_threads=1).fit(BITS)
    for n in (-1, -2, -(os.cpu_count() or 1) - 3):
        rbm = BernoulliRBM(**OPTIONS, n_threads=n).fit(BITS)
        np.testing.assert_array_equal(rbm.components_, wanted.components_)
        assert np.isfinite(likelihood.log_partition(rbm.model_, n_threads=n).value)
    for n in (0, 1.5, "all", True):
        with pytest.raises(ValueError, match="n_threads"):
            BernoulliRBM(n_threads=n).fit(BITS)
    with pytest.raises(ValueError, match="n_threads must be None, -1 .all processors., .*got 0"):
        likelihood.log_partition(wanted.model_, n_threads=0)


# -- scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rbm", [BernoulliRBM(**OPTIONS), GaussianRBM(**OPTIONS), compat.BernoulliRBM(**OPTIONS)])
def test_scores_take_weights_of_rows(rbm):
    rbm.fit(BITS)
    weights = np.arange(40.0)
    scores = rbm.log_likelihood(BITS) if isinstance(rbm, GaussianRBM) else rbm.score_samples(BITS)
    np.testing.assert_allclose(rbm.score(BITS, sample_weight=weights), np.average(scores, weights=weights))
    np.testing.assert_allclose(rbm.score(BITS, None, 1e300 * weights), np.average(scores, weights=weights))
    for wrong in (np.ones(3), -weights, weights * np.nan, 0 * weights):
        with pytest.raises(ValueError, match="(?i)sample.weight"):
            rbm.score(BITS, sample_weight=wrong)


# -- callbacks of scikit-learn -----------------------------------------------------------------------------------------


class Recorder:
    """A callback of scikit-learn's protocol."""

    def __init__(self, stop_after=None):
        self.calls, self.stop_after, self.models = [], stop_after, []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context, *, X=None):
        assert X is not None
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id))
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.models.append(fitted_estimator)
            return len(self.models) == self.stop_after


sklearn_callback = pytest.importorskip("sklearn.callback", reason="this scikit-learn has no callbacks")


@pytest.mark.parametrize("cls", [BernoulliRBM, compat.BernoulliRBM, GaussianRBM, SoftmaxRBM])
def test_callbacks_of_scikit_learn_are_told(cls):
    recorder = Recorder()
    rbm = cls(**OPTIONS).set_callbacks(recorder).fit(BITS)
    epochs = [(what, "epoch", k) for k in range(3) for what in ("begin", "end")]
    assert recorder.calls == [("setup", "fit"), ("begin", "fit", 0), *epochs, ("end", "fit", 0), ("teardown", "fit")]
    np.testing.assert_array_equal(recorder.models[-1].components_, rbm.components_)
    for n in (1, 2):
        early = cls(**{**OPTIONS, "n_iter": n}).fit(BITS)
        np.testing.assert_allclose(recorder.models[n - 1].transform(BITS), early.transform(BITS))


def test_they_can_end_a_fit_and_survive_a_failing_one():
    recorder = Recorder(stop_after=2)
    assert BernoulliRBM(**OPTIONS).set_callbacks(recorder).fit(BITS).n_iter_ == 2
    recorder = Recorder()
    rbm = BernoulliRBM(**OPTIONS).set_callbacks(recorder)
    with pytest.raises(ValueError):
        rbm.fit(BITS * np.nan)
    assert recorder.calls == [("setup", "fit"), ("teardown", "fit")]
    assert sorted(vars(rbm).keys() - rbm.get_params(deep=False).keys()) == ["_skl_callbacks"]


def test_fit_many_tells_them_too():
    recorder, weights = Recorder(), np.arange(40) % 3
    several = [BernoulliRBM(**OPTIONS).set_callbacks(recorder), BernoulliRBM(**OPTIONS)]
    models = fit_many(several, BITS, sample_weight=weights)
    assert recorder.calls[0] == ("setup", "fit") and recorder.calls[-1] == ("teardown", "fit")
    assert len(recorder.models) == 3
    np.testing.assert_array_equal(models[0].components_, models[1].components_)


def test_the_progress_bar_of_scikit_learn_runs():
    pytest.importorskip("rich", reason="scikit-learn's bar needs rich")
    BernoulliRBM(**OPTIONS).set_callbacks(sklearn_callback.ProgressBar()).fit(BITS)
