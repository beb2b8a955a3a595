"""The search itself."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils.parallel import Parallel, delayed

from .._checks import check_flag, check_integer, check_number
from . import studies
from .data import Split, split
from .generation import Trainer
from .measures import METRICS, Measure, check_metric
from .spaces import searched


class Search(MetaEstimatorMixin, BaseEstimator):
    """Finds options of an estimator that are best on held-out rows.

    Every trial trains one model and measures it after each pass on rows that no model is trained on. Trials that are
    behind are ended early (pruned). Trials that diverge, whose metric is not finite, or whose options exclude each
    other have failed: they are counted, and the search goes on.

    Parameters
    ----------
    estimator : RBM
        Its options hold where the space names none. Its callbacks hear of every trial.
    space : dict or None, default=None
        What is searched, by the names of options (those of nested objects as ``optimizer__beta1``): ``(low, high)``,
        whole numbers if both are; ``(low, high, "log")``; a list of choices; or a distribution of Optuna. None for
        `default_space`.
    n_trials : int, default=50
        Trials in all; those that the study has already count.
    metric : {"log_likelihood", "pseudo_likelihood", "accuracy"} or callable, default="log_likelihood"
        What is maximised, of held-out rows: the mean log-likelihood (of annealed estimates the lower end of the 95 %
        interval, see `fastrbm.callbacks.LogLikelihood`), the mean of `score_samples`, the share of labels that are
        found (by the estimator if it is a classifier, else by logistic regression on its features), or a function of
        (estimator, X, y).
    validation_fraction : float, default=0.2
        Share of the rows that is held out, where `fit` is given none.
    every : int, default=1
        Passes from one measurement to the next; the last pass is always measured.
    sampler : {"tpe", "random"} or optuna sampler, default="tpe"
        How options are chosen.
    pruner : {"median", "halving", "hyperband"}, optuna pruner or None, default="median"
        When trials are ended early: "median" ends those that are below the median of the others after as many passes,
        once 8 trials are done.
    storage : path, URL or optuna storage, default=None
        Where the study is kept: a file ``.journal`` or ``.log``, a SQLite file ``.db``, ``.sqlite`` or ``.sqlite3``, or
        a URL of a database. The same study goes on in it. None keeps it in memory.
    study_name : str, default="fastrbm"
        Of the study in its storage.
    side_by_side : int, default=4
        Trials that are chosen and trained at the same time, by `fastrbm.fit_many` where the estimators allow it. More
        use the processor better, and know less of each other.
    n_jobs : int, default=1
        Processes. Others may work on the same storage, too.
    timeout : float or None, default=None
        Seconds after which no trial is begun.
    random_state : int or None, default=None
        Seed of the held-out rows, of the choices, and of estimators without one. With ``n_jobs=1`` the same seed gives
        the same search, also if it was stopped between two generations of trials (with "halving" and "hyperband" only
        for ``side_by_side=1``). None takes the seed of the study, or any for a new one.
    progress : bool, default=False
        Whether a tqdm bar is shown.

    Attributes
    ----------
    best_estimator_ : RBM
        The model of the best trial, fitted to the rows that were not held out.
    best_params_ : dict
        Its options that were searched.
    best_score_ : float
    best_trial_ : int
        Its number.
    results_ : dict of list
        One entry per trial: "trial", "state", "score", "passes", "seconds", "error", and a column for every option.
        Seconds are those of the generation. ``pandas.DataFrame`` takes it.
    study_ : optuna.Study
    seed_ : int
        The seed that was used.

    Examples
    --------
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.tuning import Search
    >>> search = Search(BernoulliRBM(n_iter=5), {"n_components": (16, 64), "learning_rate": (0.01, 0.3, "log")})
    >>> search.n_trials
    50
    """

    def __init__(
        self,
        estimator: Any,
        space: Any = None,
        *,
        n_trials: int = 50,
        metric: str | Callable[..., Any] = "log_likelihood",
        validation_fraction: float = 0.2,
        every: int = 1,
        sampler: Any = "tpe",
        pruner: Any = "median",
        storage: Any = None,
        study_name: str = "fastrbm",
        side_by_side: int = 4,
        n_jobs: int = 1,
        timeout: float | None = None,
        random_state: int | None = None,
        progress: bool = False,
    ):
        self.estimator = estimator
        self.space = space
        self.n_trials = n_trials
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.every = every
        self.sampler = sampler
        self.pruner = pruner
        self.storage = storage
        self.study_name = study_name
        self.side_by_side = side_by_side
        self.n_jobs = n_jobs
        self.timeout = timeout
        self.random_state = random_state
        self.progress = progress

    study_: Any

    def fit(self, X: Any, y: Any = None, X_val: Any = None, y_val: Any = None) -> Search:
        """Search.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows in the form that the estimator takes.
        y : array-like of shape (n_samples,) or None
            Labels, for ``metric="accuracy"`` and classifiers.
        X_val, y_val
            Held-out rows and their labels; None to hold a part of X out.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If Optuna is missing.
        ValueError, TypeError
            For unusable options or data, and for a study that is about something else.
        RuntimeError
            If no trial has succeeded; it names the first reason. ``results_`` has all of them.

        Notes
        -----
        An interrupt (Ctrl-C) ends the search; trials at hand are given up and do not count. What was found by then is
        in ``best_estimator_`` and the other attributes, and the same search goes on in its storage.
        """
        self._check()
        optuna = studies.load()
        studies.check_sampler(self.sampler, optuna)
        pruner = studies.pruner_of(self.pruner, optuna)
        searched(self.space, self.estimator, optuna)
        if self.n_jobs > 1 and self.storage is None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self._fit(X, y, X_val, y_val, Path(folder) / "study.journal", pruner, optuna)
                finally:
                    if hasattr(self, "study_"):
                        self.study_ = studies.in_memory(self.study_, optuna)
            return self
        return self._fit(X, y, X_val, y_val, self.storage, pruner, optuna)

    def _fit(self, X: Any, y: Any, X_val: Any, y_val: Any, storage: Any, pruner: Any, optuna: Any) -> Search:
        with studies.quiet(optuna):
            study = studies.open_study(self.study_name, studies.storage_of(storage, optuna), pruner, optuna)
            seed = studies.settle_seed(study, self.random_state)
            data = split(X, y, X_val, y_val, self.validation_fraction, self.metric, seed)
            trainer = self._trainer(data, seed, optuna)
            trainer.check()
            studies.check_same(study, self._facts(data))
            self.study_, self.seed_ = study, seed
            try:
                if self.n_jobs == 1:
                    self._work(study, trainer, self.n_trials, optuna)
                else:
                    self._share_out(study, data, storage, optuna)
            except KeyboardInterrupt:
                self._conclude(study, trainer, optuna)
                raise
            self._conclude(study, trainer, optuna)
        if not hasattr(self, "best_estimator_"):
            raise RuntimeError(self._reason(study))
        return self

    def _check(self) -> None:
        if isinstance(self.estimator, type) or not all(hasattr(self.estimator, x) for x in ("fit", "get_params")):
            raise TypeError(f"estimator must be an estimator (an object, no class), got {self.estimator!r}")
        for name in ("n_trials", "every", "side_by_side", "n_jobs"):
            check_integer(name, getattr(self, name))
        if not callable(self.metric) and self.metric not in METRICS:
            raise ValueError(f"metric must be one of {list(METRICS)} or a function, got {self.metric!r}")
        check_metric(self.metric, self.estimator)
        if self.timeout is not None:
            check_number("timeout", self.timeout, 0, include_low=False, otherwise="None")
        if self.random_state is not None:
            check_integer("random_state", self.random_state, 0, (1 << 32) - 1, otherwise="None")
        if not isinstance(self.study_name, str) or not self.study_name:
            raise ValueError(f"study_name must be a name, got {self.study_name!r}")
        check_flag("progress", self.progress)
        if self.n_jobs > 1 and not (self.storage is None or isinstance(self.storage, (str, Path))):
            raise ValueError(f"storage must be a path, a URL or None for n_jobs={self.n_jobs}, got {self.storage!r}")

    def _facts(self, data: Split) -> dict[str, Any]:
        metric = self.metric if isinstance(self.metric, str) else getattr(self.metric, "__name__", "function")
        return {"estimator": type(self.estimator).__name__, "metric": metric, **data.facts}

    def _trainer(self, data: Split, seed: int, optuna: Any) -> Trainer:
        space = searched(self.space, self.estimator, optuna)
        return Trainer(self.estimator, space, Measure(self.metric, data), data, seed, self.every, optuna)

    # -- trials ---------------------------------------------------------------------------------------------

    def _work(self, study: Any, trainer: Trainer, most: int, optuna: Any) -> None:
        """Train generations until the study has `most` trials, or the time is over."""
        deadline = math.inf if self.timeout is None else time.monotonic() + self.timeout
        with _bar(self.progress, most) as bar:
            while (done := len(studies.counted(study))) < most and time.monotonic() < deadline:
                bar(done, study)
                # generations end at the same numbers of trials, whatever was done before
                size = min(self.side_by_side - done % self.side_by_side, most - done)
                study.sampler = studies.sampler_of(self.sampler, trainer.seed, done, optuna)
                trials = [study.ask(trainer.space.distributions) for _ in range(size)]
                trainer.train(study, trials)
            bar(min(done, most), study)

    def _share_out(self, study: Any, data: Split, storage: Any, optuna: Any) -> None:
        """Give each process a share of the trials that are left."""
        left = self.n_trials - len(studies.counted(study))
        shares = [left // self.n_jobs + (k < left % self.n_jobs) for k in range(self.n_jobs)]
        Parallel(n_jobs=self.n_jobs)(
            delayed(_work_alone)(self, data, storage, self.seed_, share, k + 1)
            for k, share in enumerate(shares)
            if share > 0
        )

    def work_alone(self, data: Split, storage: Any, seed: int, share: int, stream: int) -> None:
        """Do a share of the trials, in a process of its own.

        Parameters
        ----------
        data : Split
        storage : path or URL
        seed : int
            Of the study.
        share : int
            Trials to do.
        stream : int
            Number of the process, whose choices are its own.
        """
        optuna = studies.load()
        deadline = math.inf if self.timeout is None else time.monotonic() + self.timeout
        with studies.quiet(optuna):
            pruner = studies.pruner_of(self.pruner, optuna)
            study = studies.open_study(self.study_name, studies.storage_of(storage, optuna), pruner, optuna)
            trainer = self._trainer(data, seed, optuna)
            for first in range(0, share, self.side_by_side):
                if time.monotonic() >= deadline:
                    return
                # the number is that of no other process
                study.sampler = studies.sampler_of(self.sampler, seed, (stream << 32) + first, optuna)
                size = min(self.side_by_side, share - first)
                trainer.train(study, [study.ask(trainer.space.distributions) for _ in range(size)])

    # -- results --------------------------------------------------------------------------------------------

    def _conclude(self, study: Any, trainer: Trainer, optuna: Any) -> None:
        for name in ("best_estimator_", "best_params_", "best_score_", "best_trial_"):
            self.__dict__.pop(name, None)
        trials = studies.counted(study)
        self.results_ = _table(trials)
        complete = [t for t in trials if t.state == optuna.trial.TrialState.COMPLETE]
        if not complete:
            return
        best = max(complete, key=lambda t: (t.value, -t.number))
        here = trainer.best
        # of another process, or of an earlier search: the same options and seed give the same bits
        model = here.estimator if here is not None and here.number == best.number else trainer.fitted(best.params)
        self.best_estimator_ = model
        self.best_params_ = trainer.space.values(best.params)
        self.best_score_, self.best_trial_ = float(best.value), best.number

    def _reason(self, study: Any) -> str:
        trials = studies.counted(study)
        errors = [t.user_attrs["error"] for t in trials if "error" in t.user_attrs]
        if not errors:
            return f"no trial was finished: {len(trials)} of {self.n_trials} were begun in the time given"
        first = errors[0].rstrip(".")
        return (
            f"none of {len(trials)} trials has succeeded, {len(errors)} have failed. The first: {first}. "
            "Narrow the space (lower learning_rate for divergence)"
        )


def _work_alone(search: Search, *given: Any) -> None:
    search.work_alone(*given)


@contextmanager
def _bar(shown: bool, total: int) -> Iterator[Callable[[int, Any], None]]:
    """Make a function of the number of trials and the study that moves a bar, if one is asked for."""
    if not shown:
        yield lambda done, study: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError('progress=True needs tqdm: pip install "fastrbm[plot]"') from error
    with tqdm(total=total, unit="trial") as bar:

        def move(done: int, study: Any) -> None:
            bar.update(done - bar.n)
            values = [t.value for t in studies.counted(study) if t.value is not None and t.state.name == "COMPLETE"]
            if values:
                bar.set_postfix(best=f"{max(values):.4g}")

        yield move


def _table(trials: list[Any]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for t in trials for name in t.params))
    return {
        "trial": [t.number for t in trials],
        "state": [t.state.name.lower() for t in trials],
        "score": [math.nan if t.value is None else float(t.value) for t in trials],
        "passes": [t.user_attrs.get("passes", 0) for t in trials],
        "seconds": [t.user_attrs.get("seconds", math.nan) for t in trials],
        "error": [t.user_attrs.get("error", "") for t in trials],
        **{name: [t.params.get(name) for t in trials] for name in names},
    }
