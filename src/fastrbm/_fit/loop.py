"""The fit loop: minibatches, shuffling, history, callbacks, divergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._data import Rows
from .._data.split import Order
from .._kernels import Backend, States, TrainingPlan
from .._kernels.maps import current
from .callback import Callback, as_callback
from .state import FitRun, Snapshot, TrainingState


class DivergenceError(FloatingPointError):
    """Training produced parameters that are not finite, or chains of real numbers ran away.

    `fit` keeps the last finite parameters.
    """

    @classmethod
    def of(cls, where: str) -> DivergenceError:
        """Make the error of parameters that are not finite, or too large; `where` says when they became so."""
        return cls(
            f"parameters became infinite, NaN or too large to add up in {where}; the last usable ones were kept. "
            "Lower learning_rate (or momentum), or scale the data"
        )


def check_finite(state: TrainingState, backup: Snapshot, where: str) -> None:
    """Raise `DivergenceError`, with the backup put back, if a parameter is not finite or cannot be added up."""
    if state.is_finite():
        return
    put_back(state, backup)
    raise DivergenceError.of(where)


def put_back(state: TrainingState, backup: Snapshot) -> None:
    """Return to the parameters before a run that diverged, and forget what it has gathered."""
    state.restore(backup)
    state.start_anew()


class Epoch(Protocol):
    """A pass over the data, in place."""

    def __call__(self, on_batch: Callable[[], None] | None, done: int = 0) -> None:
        """Do what follows the first `done` minibatches; `on_batch` is called between some, and may raise `Pause`."""


class Pause(BaseException):
    """Ends what is under way after a minibatch, so that something can be done at rest; the pass goes on then.

    Parameters
    ----------
    action : callable
    """

    def __init__(self, action: Callable[[], None]):
        super().__init__()
        self.action = action


def at_rest(on_batch: Callable[[], None] | None) -> None:
    """Call `on_batch` where training rests."""
    if on_batch is None:
        return
    try:
        on_batch()
    except Pause as pause:
        pause.action()


class Fit:
    """A fit that is done an epoch at a time.

    Call `begin`; `train` and `end_epoch` in turn until `finished`; and `end` in any case. `train` may be called by
    another thread; what listens to the fit is called by the others, and by `on_batch`.

    Parameters
    ----------
    run : FitRun
    epoch : callable
        Passes over the data once (`Epoch`). What it has done when it is interrupted is kept.
    callbacks : sequence
    """

    def __init__(self, run: FitRun, epoch: Epoch, callbacks: Sequence[Callback | Callable[[FitRun], None]]):
        self.run = run
        self._epoch = epoch
        self._listeners = sorted(map(as_callback, callbacks), key=lambda c: c.told_last)
        run.listeners = self._listeners
        self._started: list[Callback] = []
        self._seconds = 0.0
        self.on_batch = _batch_hook(run, self._listeners)
        self._reading = current()

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to do."""
        run = self.run
        return run.done >= run.n_epochs or (run.done > 0 and run.stop_requested)

    def begin(self) -> None:
        """Tell all listeners that the first epoch is about to begin."""
        if self._listeners or self.run.taken_up is not None:
            with self.run.state.shown():
                for listener in self._listeners:
                    self._started.append(listener)
                    listener.on_fit_begin(self.run)
                if self.run.taken_up is not None:
                    self.run.taken_up.restore_callbacks(self.run)

    def train(self, on_batch: Callable[[], None] | None) -> None:
        """Do one epoch; `DivergenceError`, and a file that is cut under it, leave the parameters it started from."""
        run, state = self.run, self.run.state
        run.pass_began = time.perf_counter()
        backup = state.snapshot()
        run.updates_at_epoch_start = state.chains.updates - run.skipped
        called = False

        def reported() -> None:
            nonlocal called
            called = True
            if on_batch is not None:
                on_batch()

        # several processes are told at moments of their own, and all of them once more at the end
        hook = None if on_batch is None else on_batch if run.ranks is not None else reported
        try:
            self._epoch(hook, run.skipped)
            if self._reading is not None:
                run.all_do(self._reading.check)
        except BaseException as error:
            # of rows that are gone zeros were read
            if isinstance(error, DivergenceError) or (self._reading is not None and self._reading.lost() is not None):
                put_back(state, backup)
            raise
        finally:
            check_finite(state, backup, f"epoch {state.epoch + 1}")
        if not called:  # the pass was shorter than the time between two calls
            at_rest(reported)
        self._seconds = run.seconds_of_pass
        run.skipped, run.seconds_before = 0, 0.0

    def end_epoch(self) -> None:
        """Count and record the epoch that `train` has done, and say so."""
        run = self.run
        run.state.epoch += 1
        run.done += 1
        run.history.setdefault("epoch", []).append(run.state.epoch)
        run.history.setdefault("seconds", []).append(self._seconds)
        if self._listeners:
            with run.state.shown():
                for listener in self._listeners:
                    listener.on_epoch_end(run)
            run.stop_requested = run.agree(run.stop_requested)
        for column in run.history.values():  # one entry a pass, NaN where nothing was measured
            column.extend([np.nan] * (len(run.history["epoch"]) - len(column)))

    def run_all(self) -> None:
        """Do all epochs after `begin`, and `end` in any case."""
        try:
            while not self.finished:
                self.train(self.on_batch)
                self.end_epoch()
        except BaseException as error:
            self.end(error)
            raise
        self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Tell all listeners that the last epoch is over, and first what ended it if it failed; once is enough.

        They are told in their order, so that what puts parameters back (a fit that is stopped early does) comes before
        what looks at them.
        """
        if not self._started:
            return
        with self.run.state.shown():
            while self._started:
                listener = self._started.pop(0)
                try:
                    if error is not None:
                        listener.on_fit_failed(self.run, error)
                finally:
                    listener.on_fit_end(self.run)


#: plan of a pass by its number
Plans = Callable[[int], TrainingPlan]
#: changes the state by a minibatch: rows, which of their units are there (None: all), and their shares (None: equal)
Step = Callable[[States, NDArray[np.bool_] | None, NDArray[Any] | None], None]


def native_epoch(
    state: TrainingState, data: Rows, backend: Backend, plans: Plans, units: tuple[str, str], order: Order
) -> Epoch:
    """Make one pass over the data by a backend, the rows of each pass as `order` has them."""

    def epoch(on_batch: Callable[[], None] | None, done: int = 0) -> None:
        plan = plans(state.epoch)
        size = plan.batch_size
        for rows, local in data.batches(order(state.epoch)[done * size :], size):
            while len(local):
                before = state.chains.updates
                try:
                    backend.train(state.parameters, state.slots, rows, local, plan, units, state.chains, on_batch)
                    break
                except Pause as pause:
                    local = local[(state.chains.updates - before) * size :]
                    pause.action()

    return epoch


def share_of(sample_weight: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """Weights of the rows of a minibatch, adding up to 1."""
    if sample_weight is None:
        return None
    shares = sample_weight[rows]
    return shares / shares.sum()


def composed_epoch(
    state: TrainingState,
    data: Rows,
    plans: Plans,
    begin: Callable[[TrainingPlan], Step],
    order: Order,
    sample_weight: NDArray[Any] | None = None,
) -> Epoch:
    """Make one pass over the data by a function of minibatches; `begin` makes it for the plan of the pass."""

    def epoch(on_batch: Callable[[], None] | None, done: int = 0) -> None:
        plan = plans(state.epoch)
        rows, step = order(state.epoch)[done * plan.batch_size :], begin(plan)
        done = 0
        for part, local in data.batches(rows, plan.batch_size):
            for first in range(0, len(local), plan.batch_size):
                batch = part[local[first : first + plan.batch_size]]
                n = batch.shape[0]
                with np.errstate(over="ignore", invalid="ignore"):  # `check_finite` says it, with the remedy
                    # data in chunks have no numbers of rows, and no weights
                    shares = None if sample_weight is None else share_of(sample_weight, rows[done : done + n])
                    step(*data.encoded(batch), shares)
                done += n
                at_rest(on_batch)

    return epoch


class BatchHook:
    """What is called between minibatches.

    Parameters
    ----------
    run : FitRun
    interested : list of Callback
        Are told of minibatches, now and then.
    resting : list of Callback
        Do something at rest when they wish to.
    """

    def __init__(self, run: FitRun, interested: list[Callback], resting: list[Callback]):
        self._run, self._interested, self._resting = run, interested, resting

    def __call__(self) -> None:
        """Tell those who are interested; raise `Pause` if one, on any process, wishes to do something at rest."""
        wish = self.look()
        if self._resting and self._run.agree(wish):
            raise self.pause()

    def look(self) -> bool:
        """Tell those who are interested; whether one wishes to do something at rest."""
        if self._interested:
            with self._run.state.shown():
                for listener in self._interested:
                    listener.on_batch(self._run)
        return any(listener.wants_rest(self._run) for listener in self._resting)

    def pause(self) -> Pause:
        """What ends what is under way."""
        return Pause(self._rest)

    def _rest(self) -> None:
        with self._run.state.shown():
            for listener in self._resting:
                if self._run.agree(listener.wants_rest(self._run)):
                    listener.on_rest(self._run)


def _batch_hook(run: FitRun, listeners: Sequence[Callback]) -> BatchHook | None:
    interested = [c for c in listeners if type(c).on_batch is not Callback.on_batch]
    resting = [c for c in listeners if type(c).on_rest is not Callback.on_rest]
    return BatchHook(run, interested, resting) if interested or resting else None
