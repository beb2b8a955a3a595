"""The fit loop: minibatches, shuffling, history, callbacks, divergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._callback import Callback, as_callback
from ._data import VisibleData
from ._kernels import Backend, Parameters, TrainingPlan
from ._random import Key
from ._run import FitRun, TrainingState


class DivergenceError(FloatingPointError):
    """Training produced parameters that are not finite. The last finite ones were kept."""


def check_finite(state: TrainingState, backup: Parameters, where: str) -> None:
    """Raise `DivergenceError`, with the backup put back, if a parameter is not finite."""
    if all(np.isfinite(x).all() for x in state.parameters):
        return
    for value, before in zip(state.parameters, backup, strict=True):
        value[...] = before
    if state.velocity is not None:
        for value in state.velocity:
            value[...] = 0
    raise DivergenceError(
        f"parameters became infinite or NaN in {where}; the last finite ones were kept. "
        "Lower learning_rate (or momentum), or scale the data"
    )


Epoch = Callable[[Callable[[], None] | None], None]
Order = Callable[[int], NDArray[np.int64]]


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

    def order(self, key: Key, shuffle: bool) -> Order:
        """Rows of a pass; a function of the key and the number of the pass only."""
        n = len(self)

        def order(epoch: int) -> NDArray[np.int64]:
            rows = key.permutation(n, epoch) if shuffle else np.arange(n, dtype=np.int64)
            return rows if self.trained is None else self.trained[rows]

        return order


_SPLIT = 1 << 62  # in place of the number of a pass


def fit_loop(run: FitRun, epoch: Epoch, callbacks: Sequence[Callback | Callable[[FitRun], None]]) -> None:
    """Do ``run.n_epochs`` epochs.

    `epoch` passes over the data once, in place, and may call the function it is given between minibatches. What
    it has done when it is interrupted is kept.
    """
    listeners = [as_callback(c) for c in callbacks]
    started: list[Callback] = []
    state = run.state
    try:
        for listener in listeners:
            started.append(listener)
            listener.on_fit_begin(run)
        on_batch = _batch_hook(run, listeners)
        for _ in range(run.n_epochs):
            begin = time.perf_counter()
            backup = state.parameters.copy()
            run.step_at_epoch_start = state.chains.step
            try:
                epoch(on_batch)
            finally:
                check_finite(state, backup, f"epoch {state.epoch + 1}")
            state.epoch += 1
            run.done += 1
            run.history.setdefault("epoch", []).append(state.epoch)
            run.history.setdefault("seconds", []).append(time.perf_counter() - begin)
            for listener in listeners:
                listener.on_epoch_end(run)
            if run.stop_requested:
                break
    finally:
        for listener in reversed(started):
            listener.on_fit_end(run)


def minibatch_epoch(
    state: TrainingState, data: VisibleData, backend: Backend, plan: TrainingPlan, units: tuple[str, str], order: Order
) -> Epoch:
    """One pass over the data by a backend, the rows of each pass as `order` has them."""

    def epoch(on_batch: Callable[[], None] | None) -> None:
        for rows, local in data.batches(order(state.epoch), plan.batch_size):
            backend.train(state.parameters, state.velocity, rows, local, plan, units, state.chains, on_batch)

    return epoch


def _batch_hook(run: FitRun, listeners: Sequence[Callback]) -> Callable[[], None] | None:
    interested = [c for c in listeners if type(c).on_batch is not Callback.on_batch]
    if not interested:
        return None

    def on_batch() -> None:
        for listener in interested:
            listener.on_batch(run)

    return on_batch
