"""Trials that are trained at the same time."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any, NamedTuple

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from .._checks import is_integer
from .._estimator.fitting import Fitting, check_fit
from .._fit.callback import as_list
from .._fit.loop import DivergenceError
from ..many import fit_many
from .data import Split
from .measures import Measure, Watch, final_value
from .spaces import Searched


class Best(NamedTuple):
    """The best model so far of this process.

    Attributes
    ----------
    value : float
    number : int
        Of its trial.
    estimator : object
    """

    value: float
    number: int
    estimator: Any


class Trainer:
    """Trains and scores the models of trials.

    Parameters
    ----------
    estimator : RBM
        Whose options hold where the space has none.
    space : Searched
    measure : Measure
    data : Split
    seed : int
        Of estimators whose ``random_state`` is no integer.
    every : int
        Passes from one measurement to the next.
    optuna : module
    """

    def __init__(
        self, estimator: Any, space: Searched, measure: Measure, data: Split, seed: int, every: int, optuna: Any
    ):
        self.estimator, self.space, self.measure, self.data = estimator, space, measure, data
        self.seed, self.every = seed, every
        self._states = optuna.trial.TrialState
        self.best: Best | None = None

    @property
    def watches(self) -> bool:
        """Whether the estimator tells callbacks of its passes."""
        return "callbacks" in self.estimator.get_params(deep=False)

    def model(self, suggested: dict[str, Any], watch: Watch | None = None) -> Any:
        """Make the estimator that a trial stands for."""
        model = clone(self.estimator).set_params(**self.space.values(suggested))
        options = model.get_params(deep=False)
        if "random_state" in options and not is_integer(options["random_state"]):
            model.set_params(random_state=self.seed)
        if watch is not None and self.watches:
            model.set_params(callbacks=[*as_list(options["callbacks"]), watch])
        return model

    def check(self) -> None:
        """Raise what is wrong with the data, the metric or the estimator's own options before any trial."""
        if self.watches and isinstance(self.estimator, Fitting):
            model = self.model({}).set_params(n_iter=0, callbacks=[Watch(self.measure)])  # it is no trial
            self._fit_one(model)

    def fitted(self, suggested: dict[str, Any]) -> Any:
        """Train the model of a trial that another process, or an earlier search, has trained: to the same bits."""
        model = self.model(suggested)
        self._fit_one(model)
        return model

    def train(self, study: Any, trials: list[Any]) -> None:
        """Train all, and tell the study how each has ended, in their order."""
        watches = [Watch(self.measure, trial, self.every) for trial in trials]
        begin = time.perf_counter()
        models: list[Any] = []
        try:
            for trial, watch in zip(trials, watches, strict=True):
                models.append(self._checked(trial, watch))
            self._fit_all(models, watches)
            for trial, watch, model in zip(trials, watches, models, strict=True):
                trial.set_user_attr("seconds", time.perf_counter() - begin)
                self._tell(study, trial, watch, model)
        except BaseException:
            for trial in trials:
                if not study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                    trial.set_user_attr("interrupted", True)
                    study.tell(trial, state=self._states.FAIL)
            raise

    def _checked(self, trial: Any, watch: Watch) -> Any:
        """Model of a trial; None, with the reason noted down, if its options cannot be used together."""
        try:
            model = self.model(trial.params, watch)
            if isinstance(model, Fitting):
                check_fit(model, None)
        except (ValueError, TypeError) as error:
            watch.fail(error)
            return None
        return model

    def _fit_all(self, models: list[Any], watches: list[Watch]) -> None:
        """Side by side where the estimators allow it; what fails is noted down."""
        together = [model for model in models if isinstance(model, Fitting)]
        alone = [k for k, model in enumerate(models) if model is not None and not isinstance(model, Fitting)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of trials; the metric tells them apart
            if together:
                try:
                    fit_many(together, self.data.X)
                except DivergenceError:
                    pass  # the watches know whose
                except Exception:
                    # options that do not suit the data end all before any begins: find out whose they are
                    alone += [k for k, model in enumerate(models) if isinstance(model, Fitting)]
            for k in sorted(alone):
                watches[k].restart()
                try:
                    self._fit_one(models[k])
                except Exception as error:
                    watches[k].fail(error)

    def _fit_one(self, model: Any) -> None:
        if self.data.y is None or isinstance(model, Fitting):
            model.fit(self.data.X)
        else:
            model.fit(self.data.X, self.data.y)

    def _tell(self, study: Any, trial: Any, watch: Watch, model: Any) -> None:
        trial.set_user_attr("passes", watch.passes)
        if not watch.failed and watch.pruned:
            study.tell(trial, state=self._states.PRUNED)
            return
        value = math.nan
        if not watch.failed:
            try:
                value = final_value(watch, self.measure, model)
            except Exception as error:
                watch.fail(error)
        if not watch.failed and not math.isfinite(value):
            watch.failed = f"the metric was {value}"
        if watch.failed:
            trial.set_user_attr("error", watch.failed)
            study.tell(trial, state=self._states.FAIL)
            return
        study.tell(trial, value)
        if self.best is None or value > self.best.value:
            self.best = Best(value, trial.number, self._without_watch(model))

    def _without_watch(self, model: Any) -> Any:
        if self.watches:
            own = [c for c in as_list(model.callbacks) if not isinstance(c, Watch)]
            model.set_params(callbacks=own or self.estimator.callbacks)
        return model
