"""Many models of the same data at once: searches, and means over seeds.

A minibatch of a small model is too little work for a team of threads, which waits at every stage for its slowest
member. Here every thread trains a model of its own for an epoch, takes the next model that waits, and so on; a team of
one waits for nobody. Which thread trained which model changes no result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from ._estimator.fitting import Fitting, begin_fit, check_fit
from ._estimator.job import FitJob
from ._estimator.untouched import untouched
from ._fit.loop import DivergenceError, Fit, Pause
from ._kernels.cpu import at_most_threads, most_threads
from ._kernels.maps import reads

E = TypeVar("E", bound=Fitting)

__all__ = ["fit_many", "variants"]


def variants(estimator: E, **lists: Iterable[Any]) -> list[E]:
    """Unfitted copies of an estimator, one for every combination of values.

    Parameters
    ----------
    estimator : RBM
        Its other options are kept.
    **lists : iterable
        Values of options by name. Names in alphabetical order, the last one changes fastest, as in scikit-learn's
        ``ParameterGrid``.

    Returns
    -------
    list of RBM

    Raises
    ------
    ValueError
        For an unknown option or one without values.

    Examples
    --------
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.many import variants
    >>> [m.random_state for m in variants(BernoulliRBM(16), random_state=range(3))]
    [0, 1, 2]
    """
    grid = {}
    for name, values in lists.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"{name} must be a list of values, got {values!r}")
        grid[name] = list(values)
    return [clone(estimator).set_params(**options) for options in ParameterGrid(grid)]


@reads
def fit_many(estimators: Iterable[E], X: Any, y: Any = None, sample_weight: Any = None) -> list[E]:
    """Fit estimators to the same data, each to the same bits as its own `fit`.

    The data are packed once for all estimators that read them alike. Estimators whose passes are done by the kernels
    (``algorithm`` "cd" or "pcd"; visible units of two values with such or one-hot hidden units, or Gaussian ones of
    deviation 1 with Bernoulli or one-hot hidden units; no weights of samples, no options that work step by step such as
    ``centered``, no callbacks of scikit-learn) are trained side by side, a thread each; the others after them, one by
    one. Of those with ``device="cuda"`` and without callbacks each device of the machine trains one at a time.

    Parameters
    ----------
    estimators : iterable of RBM
        Any estimators of this package, with any options; each one once.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : ignored
    sample_weight : array-like of shape (n_samples,) or None
        As in `fit`.

    Returns
    -------
    list of RBM
        The given estimators.

    Raises
    ------
    ValueError
        For unusable options or data, before anything is trained.
    fastrbm.DivergenceError
        If any model diverged, after all others were trained to their ends. It names the models; their last finite
        parameters are kept.

    Notes
    -----
    As many threads work as the most demanding ``n_threads`` among the estimators allows. Callbacks are called in the
    thread that called `fit_many`, one at a time, while other models go on. An exception of a callback, or an interrupt,
    ends all fits after the minibatches at hand; what they did by then is kept. ``history_["seconds"]`` is the time from
    an epoch's start to its end, during which other models were trained, too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM, fit_many
    >>> from fastrbm.many import variants
    >>> X = np.eye(8)
    >>> models = fit_many(variants(BernoulliRBM(4, n_iter=2), random_state=range(3)), X)
    >>> [m.components_.shape for m in models]
    [(4, 8), (4, 8), (4, 8)]
    """
    models = _checked(estimators)
    for model in models:
        check_fit(model, sample_weight)
    shared: dict[Any, Any] = {}
    jobs: dict[int, FitJob] = {}
    together: list[int] = []
    diverged: dict[int, DivergenceError] = {}
    with ExitStack() as stack:
        with untouched(*models), ExitStack() as begun:
            for i, model in enumerate(models):
                job = begin_fit(model, X, sample_weight, shared)
                if job is None:
                    continue
                jobs[i] = job
                if job.fused:
                    together.append(i)
            for i in together:
                begun.push(_ending(jobs[i].fit))
                jobs[i].begin()
            begun.pop_all()
        for job in jobs.values():
            stack.callback(job.publish)
            stack.push(_ending(job.fit))
        n_threads = max((most_threads(models[i].n_threads) for i in together), default=1)
        _train_together({i: jobs[i].fit for i in together}, n_threads, diverged)
        spread = [i for i, job in jobs.items() if job.devices is not None and not job.callbacks]
        diverged |= _train_on_devices([(i, jobs[i]) for i in spread])
        for i, model in enumerate(models):
            if i not in together and i not in spread:
                try:
                    _fit_alone(model, jobs.get(i), X, sample_weight)
                except DivergenceError as error:
                    diverged[i] = error
    for i, job in jobs.items():
        if i not in diverged:
            job.after()
    if diverged:
        first = min(diverged)
        raise DivergenceError(
            f"estimators {sorted(diverged)} of {len(models)} diverged, the others are fitted; "
            f"estimators[{first}]: {diverged[first]}"
        ) from diverged[first]
    return models


def _checked(estimators: Any) -> list[Any]:
    if isinstance(estimators, Fitting) or not isinstance(estimators, Iterable):
        raise TypeError(f"estimators must be a list of RBMs, got {estimators!r}")
    models = list(estimators)
    if not models:
        raise ValueError("estimators must hold at least one RBM, got none")
    seen: dict[int, int] = {}
    for i, model in enumerate(models):
        if not isinstance(model, Fitting):
            raise TypeError(f"estimators must hold RBMs, got {model!r} at position {i}")
        if id(model) in seen:
            raise ValueError(f"estimators must hold each RBM once, got one at positions {seen[id(model)]} and {i}")
        seen[id(model)] = i
    return models


def _ending(fit: Fit) -> Callable[..., None]:
    """Ends a fit as a context manager does: with the error that left the block, if there is one."""

    def leave(_: type[BaseException] | None, error: BaseException | None, __: Any) -> None:
        fit.end(error)

    return leave


def _fit_alone(model: Any, job: FitJob | None, X: Any, sample_weight: Any) -> None:
    if job is None:
        model.fit(X) if sample_weight is None else model.fit(X, sample_weight=sample_weight)
        return
    job.begin()
    job.run_all()


def _train_on_devices(jobs: list[tuple[int, FitJob]]) -> dict[int, DivergenceError]:
    """Train models that nobody listens to, each on the device that is free next; return those that diverged."""
    backend = jobs[0][1].devices if jobs else None
    if backend is None:
        return {}

    def train(numbered: tuple[int, FitJob]) -> tuple[int, DivergenceError | None]:
        number, job = numbered
        try:
            job.begin()
            job.run_all()
        except DivergenceError as error:
            return number, error
        return number, None

    def stop() -> None:
        for _, job in jobs:
            job.run.stop()

    return {number: error for number, error in backend.on_all_devices(train, jobs, stop) if error is not None}


# -- side by side --------------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """Ends an epoch in a worker when the calling thread gives up."""


class _Seen(threading.Event):
    """Set when callbacks have been told of some batches; `pause` is what they want the fit to rest for."""

    pause: Pause | None = None


class _Crew:
    """Python threads that train one epoch of one model at a time and report to the thread that started them."""

    def __init__(self, pool: ThreadPoolExecutor):
        self._pool = pool
        self._reports: SimpleQueue[tuple[int, BaseException | None, _Seen | None]] = SimpleQueue()
        self._stop = threading.Event()

    def start(self, number: int, fit: Fit, n_threads: int) -> None:
        """Have one epoch trained by a team of n_threads."""
        self._pool.submit(self._train, number, fit, n_threads)

    def stop(self) -> None:
        """End all epochs after the minibatches at hand."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def report(self) -> tuple[int, BaseException | None, _Seen | None]:
        """The next (model, error, event to set): the end of its epoch, or with an event, some batches."""
        while True:
            try:
                # a wait without an end cannot be interrupted on all platforms
                return self._reports.get(timeout=0.2)
            except Empty:
                continue

    def _train(self, number: int, fit: Fit, n_threads: int) -> None:
        def on_batch() -> None:
            if fit.on_batch is not None:
                seen = _Seen()
                self._reports.put((number, None, seen))
                while not seen.wait(0.2) and not self._stop.is_set():
                    pass
                if seen.pause is not None:
                    raise seen.pause
            if self._stop.is_set():
                raise _Stopped

        error = None
        try:
            with at_most_threads(n_threads):
                fit.train(on_batch)
        except BaseException as caught:
            error = caught
        self._reports.put((number, error, None))


def _train_together(fits: dict[int, Fit], n_threads: int, diverged: dict[int, DivergenceError]) -> None:
    """Train all to their ends, but those that diverge."""
    waiting = [i for i, fit in fits.items() if not fit.finished]
    if not waiting:
        return
    active = len(waiting)

    def share() -> int:
        """Threads of one model's team: more than one when fewer models are left than threads."""
        return max(1, n_threads // active)

    with ThreadPoolExecutor(min(n_threads, active), thread_name_prefix="fastrbm") as pool:
        crew = _Crew(pool)
        try:
            for i in waiting:
                crew.start(i, fits[i], share())
            while active:
                i, error, seen = crew.report()
                fit = fits[i]
                if seen is not None:
                    assert fit.on_batch is not None
                    try:
                        fit.on_batch()
                    except Pause as pause:
                        seen.pause = pause
                    seen.set()
                    continue
                if isinstance(error, DivergenceError):
                    diverged[i] = error
                elif error is not None:
                    raise error
                else:
                    fit.end_epoch()
                if error is not None or fit.finished:
                    fit.end(error)
                    active -= 1
                else:
                    crew.start(i, fit, share())
        except BaseException:
            crew.stop()
            raise
