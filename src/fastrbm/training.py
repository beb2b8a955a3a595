"""The fit loop: minibatches, shuffling, history, callbacks, divergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._callback import Callback, as_callback
from ._data import VisibleData
from ._kernels import Backend, TrainingPlan
from ._random import Key
from ._run import FitRun, Snapshot, TrainingState


class DivergenceError(FloatingPointError):
    """Training produced parameters that are not finite. The last finite ones were kept."""


def check_finite(state: TrainingState, backup: Snapshot, where: str) -> None:
    """Raise `DivergenceError`, with the backup put back, if a parameter is not finite."""
    if state.is_finite():
        return
    state.restore(backup)
    state.clear_slots()
    raise DivergenceError(
        f"parameters became infinite or NaN in {where}; the last finite ones were kept. "
        "Lower learning_rate (or momentum), or scale the data"
    )


Epoch = Callable[[Callable[[], None] | None], None]
Order = Callable[[int], Any]  # rows of a pass, in a form that `batches` of the data takes


class Split(NamedTuple):
    """Which rows are trained on and which are held out.

    Attributes
    ----------
    n_rows : int
    held_out : ndarray of int, sorted, or None
    trained : ndarray of int, sorted, or None
        None: all rows.
    """

    n_rows: int
    held_out: NDArray[np.int64] | None = None
    trained: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, n: int, fraction: float, key: Key) -> Split:
        """Hold a share of n rows out, always the same ones for a key."""
        if not fraction:
            return cls(n)
        n_held = max(1, round(fraction * n))
        if n_held >= n:
            raise ValueError(f"validation_fraction={fraction} leaves none of {n} rows of X to train on")
        order = key.permutation(n, _SPLIT)
        return cls(n, np.sort(order[:n_held]), np.sort(order[n_held:]))

    def __len__(self) -> int:
        return self.n_rows if self.trained is None else len(self.trained)

    def without(self, rows: NDArray[np.bool_]) -> Split:
        """The same split with some rows left out of training."""
        trained = np.arange(self.n_rows, dtype=np.int64) if self.trained is None else self.trained
        return Split(self.n_rows, self.held_out, trained[~rows[trained]])

    def order(self, key: Key, shuffle: bool, length: Callable[[int], int] | None = None) -> Order:
        """Rows of a pass; a function of the key and the number of the pass only.

        Parameters
        ----------
        key : Key
        shuffle : bool
        length : callable or None
            Rows of a pass by its number, None for all of them once. More than there are come by further rounds.
        """
        n = len(self)

        def round_of(number: int) -> NDArray[np.int64]:
            rows = key.permutation(n, number) if shuffle else np.arange(n, dtype=np.int64)
            return rows if self.trained is None else self.trained[rows]

        def order(epoch: int) -> NDArray[np.int64]:
            wanted = n if length is None else length(epoch)
            rounds = [round_of(epoch + _ROUND * k) for k in range(-(-wanted // n))]
            return rounds[0] if wanted == n else np.concatenate(rounds)[:wanted]

        return order


_SPLIT = 1 << 62  # in place of the number of a pass
_ROUND = 1 << 40  # from one round through the rows to the next within a pass


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
        """Before the first epoch."""
        if self._listeners:
            with self.run.state.shown():
                for listener in self._listeners:
                    self._started.append(listener)
                    listener.on_fit_begin(self.run)

    def train(self, on_batch: Callable[[], None] | None) -> None:
        """One epoch; `DivergenceError` leaves the parameters it started from."""
        begin, state = time.perf_counter(), self.run.state
        backup = state.snapshot()
        self.run.updates_at_epoch_start = state.chains.updates
        try:
            self._epoch(on_batch)
        finally:
            check_finite(state, backup, f"epoch {state.epoch + 1}")
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

    def end(self) -> None:
        """After the last epoch, also one that failed; once is enough."""
        if self._started:
            with self.run.state.shown():
                while self._started:
                    self._started.pop().on_fit_end(self.run)


def fit_loop(run: FitRun, epoch: Epoch, callbacks: Sequence[Callback | Callable[[FitRun], None]]) -> None:
    """Do ``run.n_epochs`` epochs; see `Fit`."""
    fit = Fit(run, epoch, callbacks)
    try:
        fit.begin()
        while not fit.finished:
            fit.train(fit.on_batch)
            fit.end_epoch()
    finally:
        fit.end()


#: plan of a pass by its number
Plans = Callable[[int], TrainingPlan]
#: changes the state by a minibatch: rows, which of their units are there (None: all), and their shares (None: equal)
Step = Callable[[Any, Any, Any], None]


def minibatch_epoch(
    state: TrainingState, data: VisibleData, backend: Backend, plans: Plans, units: tuple[str, str], order: Order
) -> Epoch:
    """One pass over the data by a backend, the rows of each pass as `order` has them."""

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


def stepwise_epoch(
    state: TrainingState,
    data: VisibleData,
    plans: Plans,
    begin: Callable[[TrainingPlan], Step],
    order: Order,
    sample_weight: NDArray[Any] | None = None,
) -> Epoch:
    """One pass over the data by a function of minibatches; `begin` makes it for the plan of the pass."""

    def epoch(on_batch: Callable[[], None] | None) -> None:
        plan, rows, done = plans(state.epoch), order(state.epoch), 0
        step = begin(plan)
        for part, local in data.batches(rows, plan.batch_size):
            for first in range(0, len(local), plan.batch_size):
                batch = part[local[first : first + plan.batch_size]]
                n = batch.shape[0]
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
