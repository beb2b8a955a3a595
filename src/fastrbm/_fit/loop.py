"""The fit loop: minibatches, shuffling, history, callbacks, divergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data import Rows
from .._data.split import Order
from .._kernels import Backend, States, TrainingPlan
from .callback import Callback, as_callback
from .state import FitRun, Snapshot, TrainingState


class DivergenceError(FloatingPointError):
    """Training produced parameters that are not finite, or chains of real numbers ran away.

    `fit` keeps the last finite parameters.
    """

    @classmethod
    def of(cls, where: str) -> DivergenceError:
        """Make the error of parameters that are not finite; `where` says when they became so."""
        return cls(
            f"parameters became infinite or NaN in {where}; the last finite ones were kept. "
            "Lower learning_rate (or momentum), or scale the data"
        )


def check_finite(state: TrainingState, backup: Snapshot, where: str) -> None:
    """Raise `DivergenceError`, with the backup put back, if a parameter is not finite."""
    if state.is_finite():
        return
    put_back(state, backup)
    raise DivergenceError.of(where)


def put_back(state: TrainingState, backup: Snapshot) -> None:
    """Return to the parameters before a run that diverged, and forget what it has gathered."""
    state.restore(backup)
    state.start_anew()


Epoch = Callable[[Callable[[], None] | None], None]


class Fit:
    """A fit that is done an epoch at a time.

    Call `begin`; `train` and `end_epoch` in turn until `finished`; and `end` in any case. `train` may be called by
    another thread; what listens to the fit is called by the others, and by `on_batch`.

    Parameters
    ----------
    run : FitRun
    epoch : callable
        Passes over the data once, in place, and may call the function it is given between minibatches. What it has
        done when it is interrupted is kept.
    callbacks : sequence
    """

    def __init__(self, run: FitRun, epoch: Epoch, callbacks: Sequence[Callback | Callable[[FitRun], None]]):
        self.run = run
        self._epoch = epoch
        self._listeners = [as_callback(c) for c in callbacks]
        self._started: list[Callback] = []
        self._seconds = 0.0
        self.on_batch = _batch_hook(run, self._listeners)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to do."""
        run = self.run
        return run.done >= run.n_epochs or (run.done > 0 and run.stop_requested)

    def begin(self) -> None:
        """Tell all listeners that the first epoch is about to begin."""
        if self._listeners:
            with self.run.state.shown():
                for listener in self._listeners:
                    self._started.append(listener)
                    listener.on_fit_begin(self.run)

    def train(self, on_batch: Callable[[], None] | None) -> None:
        """Do one epoch; `DivergenceError` leaves the parameters it started from."""
        begin, state = time.perf_counter(), self.run.state
        backup = state.snapshot()
        self.run.updates_at_epoch_start = state.chains.updates
        called = False

        def reported() -> None:
            nonlocal called
            called = True
            if on_batch is not None:
                on_batch()

        try:
            self._epoch(None if on_batch is None else reported)
        except DivergenceError:
            put_back(state, backup)
            raise
        finally:
            check_finite(state, backup, f"epoch {state.epoch + 1}")
        if not called:  # the pass was shorter than the time between two calls
            reported()
        self._seconds = time.perf_counter() - begin

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

    def epoch(on_batch: Callable[[], None] | None) -> None:
        plan = plans(state.epoch)
        for rows, local in data.batches(order(state.epoch), plan.batch_size):
            backend.train(state.parameters, state.slots, rows, local, plan, units, state.chains, on_batch)

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

    def epoch(on_batch: Callable[[], None] | None) -> None:
        plan, rows, done = plans(state.epoch), order(state.epoch), 0
        step = begin(plan)
        for part, local in data.batches(rows, plan.batch_size):
            for first in range(0, len(local), plan.batch_size):
                batch = part[local[first : first + plan.batch_size]]
                n = batch.shape[0]
                with np.errstate(over="ignore", invalid="ignore"):  # `check_finite` says it, with the remedy
                    step(*data.encoded(batch), share_of(sample_weight, rows[done : done + n]))
                done += n
                if on_batch is not None:
                    on_batch()

    return epoch


def _batch_hook(run: FitRun, listeners: Sequence[Callback]) -> Callable[[], None] | None:
    interested = [c for c in listeners if type(c).on_batch is not Callback.on_batch]
    if not interested:
        return None

    def on_batch() -> None:
        with run.state.shown():
            for listener in interested:
                listener.on_batch(run)

    return on_batch
