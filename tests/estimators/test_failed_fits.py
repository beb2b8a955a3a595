"""What callbacks are told of fits that fail: what ended them, before the end, in their order."""

import numpy as np
import pytest
from sklearn.base import clone

from fastrbm import BernoulliRBM, DivergenceError, GaussianRBM, fit_many
from fastrbm.callbacks import Callback, EarlyStopping, PseudoLikelihood

X = (np.random.default_rng(0).random((60, 8)) < 0.4).astype(np.float32)


class Events(Callback):
    def __init__(self, raises=None, at="epoch"):
        self.events, self.raises, self.at = [], raises, at

    def _note(self, what):
        self.events.append(what)
        if self.raises is not None and what == self.at:
            raise self.raises

    def on_fit_begin(self, run):
        self._note("begin")

    def on_epoch_end(self, run):
        self._note("epoch")

    def on_fit_failed(self, run, error):
        self._note(type(error).__name__)

    def on_fit_end(self, run):
        self._note("end")


DIVERGING = [
    BernoulliRBM(4, learning_rate=1e39, random_state=0),
    BernoulliRBM(4, learning_rate=1e39, centered=True, random_state=0),
    GaussianRBM(4, learning_rate=1e30, random_state=0),
]


@pytest.mark.parametrize("model", DIVERGING, ids=["native", "composed", "gaussian"])
@pytest.mark.parametrize("many", [False, True], ids=["fit", "fit_many"])
def test_divergence_is_told_before_the_end(model, many):
    log = Events()
    model = clone(model).set_params(callbacks=[log])
    with pytest.raises(DivergenceError):
        fit_many([model], X) if many else model.fit(X)
    assert log.events[-2:] == ["DivergenceError", "end"] and log.events.count("end") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("enough")], ids=["interrupt", "error"])
@pytest.mark.parametrize("many", [False, True], ids=["fit", "fit_many"])
def test_all_callbacks_hear_what_another_one_raised(error, many):
    logs = [Events(), Events(raises=error), Events()]
    model = BernoulliRBM(4, random_state=0, callbacks=logs)
    with pytest.raises(type(error)):
        fit_many([model], X) if many else model.fit(X)
    assert [log.events[-2:] for log in logs] == 3 * [[type(error).__name__, "end"]]


def test_callbacks_that_were_told_the_begin_hear_that_another_one_refused():
    logs = [Events(), Events(raises=ValueError("no"), at="begin"), Events()]
    with pytest.raises(ValueError, match="no"):
        BernoulliRBM(4, callbacks=logs).fit(X)
    assert [log.events for log in logs] == [["begin", "ValueError", "end"], ["begin", "ValueError", "end"], []]


def test_an_error_of_a_callback_that_is_told_so_does_not_keep_the_end_from_it():
    log = Events(raises=ValueError("second"), at="DivergenceError")
    with pytest.raises(ValueError, match="second") as caught:
        BernoulliRBM(4, learning_rate=1e39, callbacks=[log]).fit(X)
    assert log.events[-1] == "end" and isinstance(caught.value.__context__, DivergenceError)


def test_fits_that_succeed_tell_of_no_failure():
    log = Events()
    BernoulliRBM(4, n_iter=2, callbacks=[log]).fit(X)
    fit_many([BernoulliRBM(4, n_iter=2, callbacks=[log])], X)
    assert log.events == 2 * ["begin", "epoch", "epoch", "end"]


def test_callbacks_see_the_parameters_that_early_stopping_put_back():
    seen = {}

    class Look(Callback):
        def on_fit_end(self, run):
            seen["weights"] = run.estimator.components_.copy()

    stopping = EarlyStopping(PseudoLikelihood(X), patience=1, min_delta=1e9)  # no pass is better than the first one
    model = BernoulliRBM(4, n_iter=9, random_state=0, callbacks=[stopping, Look()]).fit(X)
    assert model.best_iteration_ == 1 and model.n_iter_ == 2
    np.testing.assert_array_equal(seen["weights"], model.components_)
    held = BernoulliRBM(
        4, n_iter=9, random_state=0, validation_fraction=0.5, early_stopping=True, n_iter_no_change=1, tol=1e9,
        callbacks=[Look()],
    ).fit(X)  # fmt: skip
    assert held.best_iteration_ < held.n_iter_
    np.testing.assert_array_equal(seen["weights"], held.components_)
