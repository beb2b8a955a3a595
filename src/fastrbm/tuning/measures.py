"""What a search maximises, and what watches it after each pass."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from .._fit.callback import Callback
from .._fit.state import FitRun
from ..callbacks import LogLikelihood, PseudoLikelihood
from .data import Split

#: what each metric but "accuracy" calls
_WANTED: dict[str, tuple[str, ...]] = {
    "log_likelihood": ("log_likelihood", "log_partition"),
    "pseudo_likelihood": ("score_samples",),
}
METRICS = ("log_likelihood", "pseudo_likelihood", "accuracy")
_PREFIX = "held_out_"
#: of an annealed estimate of a finished model, where that after a pass was not sure
_CHAINS, _TEMPERATURES = 500, 1000


def check_metric(metric: str | Callable[..., Any], estimator: Any) -> None:
    """Raise ValueError where an estimator has not what a metric is made of."""
    wanted = _WANTED.get(metric, ()) if isinstance(metric, str) else ()
    if metric == "accuracy":
        wanted = ("predict",) if is_classifier(estimator) else ("transform",)
    missing = [name for name in wanted if not hasattr(estimator, name)]
    if not missing:
        return
    others = [name for name, methods in _WANTED.items() if all(hasattr(estimator, method) for method in methods)]
    others += ["accuracy"] * (is_classifier(estimator) or hasattr(estimator, "transform"))
    kind = type(estimator).__name__
    raise ValueError(
        f"metric must be {' or '.join([*map(repr, others), 'a function'])} for a {kind}, which has no {missing[0]}; "
        f"got {metric!r}"
    )


class Measure:
    """A number of a model, of which more is better.

    Parameters
    ----------
    metric : str or callable
        One of `METRICS`, or a function of (estimator, X, y).
    data : Split
        Rows, of which the held-out ones are scored.
    """

    def __init__(self, metric: str | Callable[..., Any], data: Split):
        self.metric, self.data = metric, data

    def monitor(self) -> Callback | None:
        """Make a callback that records the number, for metrics that have one."""
        if self.metric == "log_likelihood":
            return LogLikelihood(self.data.X_val, f"{_PREFIX}log_likelihood")
        if self.metric == "pseudo_likelihood":
            return PseudoLikelihood(self.data.X_val, f"{_PREFIX}pseudo_likelihood")
        return None

    def of_model(self, estimator: Any) -> float:
        """Compute the number of a fitted model."""
        X, y = self.data.X_val, self.data.y_val
        if self.metric == "log_likelihood":
            log_z = estimator.log_partition(data=X, n_chains=_CHAINS, n_temperatures=_TEMPERATURES)
            return _sure(float(estimator.log_likelihood(X, log_z=0.0).mean()) - log_z.interval[1])
        if self.metric == "pseudo_likelihood":
            return float(estimator.score_samples(X).mean())
        if self.metric == "accuracy":
            return self._accuracy(estimator)
        assert callable(self.metric)
        return float(self.metric(estimator, X, y))

    def _accuracy(self, estimator: Any) -> float:
        """Share of held-out rows whose label is found: by the estimator, or from its features."""
        data = self.data
        if is_classifier(estimator):
            return float(np.mean(estimator.predict(data.X_val) == data.y_val))
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, tol=1e-3))
        seen, held = estimator.transform(data.X), estimator.transform(data.X_val)
        with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):  # other models are trained meanwhile
            warnings.simplefilter("ignore", ConvergenceWarning)
            head.fit(seen, data.y)
            return float(head.score(held, data.y_val))


def _sure(low: float) -> float:
    """Return the lower end of the interval of a log-likelihood, which counts: an unsure estimate is no gain."""
    if low == -math.inf:
        raise ArithmeticError(
            "log Z is known from below alone, so the log-likelihood is not sure; use metric='pseudo_likelihood'"
        )
    return low


class Watch(Callback):
    """Measures a model after its passes and tells a trial, which may end it.

    Parameters
    ----------
    measure : Measure
    trial : optuna.Trial or None
        None only checks at the begin of a fit that the rows can be scored.
    every : int, default=1
        Passes from one measurement to the next; the last pass is always measured.

    Attributes
    ----------
    failed : str
        Why the trial has failed; empty if it has not.
    pruned : bool
        Whether the trial was ended because it was behind.
    last : (int, float)
        The pass that was measured last, and its value.
    passes : int
        Passes that were done.
    """

    def __init__(self, measure: Measure, trial: Any = None, every: int = 1):
        self._measure, self._trial, self._every = measure, trial, every
        self._monitor = measure.monitor()
        self.failed, self.pruned, self.passes = "", False, 0
        self.last = (-1, math.nan)

    def restart(self) -> None:
        """Forget a fit that was given up before it began."""
        self.failed, self.pruned, self.passes, self.last = "", False, 0, (-1, math.nan)

    def on_fit_begin(self, run: FitRun) -> None:
        """Check the held-out rows."""
        if self._monitor is not None:
            self._monitor.on_fit_begin(run)

    def on_epoch_end(self, run: FitRun) -> None:
        """Measure, and end a run that has failed or is behind."""
        self.passes = run.done
        over = run.done >= run.n_epochs or run.stop_requested
        if not (over or run.done % self._every == 0):
            return
        try:
            value = self._value(run)
        except Exception as error:  # the others of a generation go on
            self.fail(error)
            run.stop()
            return
        if value is None:  # nothing is sure from below: no reason to end the trial, and none to go on
            return
        self.last = (run.done, value)
        if not math.isfinite(value):
            self.failed = f"the metric was {value} after pass {run.done}"
            run.stop()
            return
        self._trial.report(value, run.done)
        if not over and self._trial.should_prune():
            self.pruned = True
            run.stop()

    def on_fit_failed(self, run: FitRun, error: BaseException) -> None:
        """Note down why the run failed."""
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Note down why the trial has failed; the first reason counts."""
        self.failed = self.failed or f"{type(error).__name__}: {' '.join(str(error).split())}"

    def _value(self, run: FitRun) -> float | None:
        if self._monitor is None:
            return self._measure.of_model(run.estimator)
        self._monitor.on_epoch_end(run)
        name = f"{_PREFIX}{self._measure.metric}"
        value = float(run.history[name][-1])
        if self._measure.metric == "log_likelihood" and math.isfinite(value):
            low = float(run.history[f"{name}_low"][-1])
            return None if low == -math.inf else low
        return value


def final_value(watch: Watch, measure: Measure, estimator: Any) -> float:
    """Value of a model as its fit has left it: that of the last pass, or of the one that early stopping took.

    It is measured anew, with more chains, where that after the last pass was not sure.
    """
    if hasattr(estimator, "best_iteration_") or watch.last[0] != watch.passes or watch.passes < 1:
        return measure.of_model(estimator)
    return watch.last[1]
