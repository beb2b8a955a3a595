"""The fit loop: minibatches, shuffling, history, callbacks, divergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._data import VisibleData
from ._kernels import Backend, ChainState, Parameters, TrainingPlan
from ._random import Key
from .callbacks import Callback, as_callback


class DivergenceError(FloatingPointError):
    """Training produced parameters that are not finite. The last finite ones were kept."""


@dataclass
class TrainingState:
    """All that a run needs to go on where it stopped, bit for bit.

    Attributes
    ----------
    parameters : Parameters
        Updated in place.
    velocity : Parameters or None
        Momentum.
    chains : ChainState
        Persistent chains and the next Gibbs step.
    key : Key
        Of all draws.
    epoch : int
        Epochs finished.
    """

    parameters: Parameters
    velocity: Parameters | None
    chains: ChainState
    key: Key
    epoch: int = 0


@dataclass
class FitRun:
    """What callbacks see of a run.

    Attributes
    ----------
    estimator : object
        The estimator being fitted; its fitted attributes are those of the moment.
    n_epochs : int
        Epochs this run was asked for.
    n_rows, batch_size : int
        Size of the data and of a minibatch.
    state : TrainingState
    history : dict of list
        One entry per finished epoch and metric; "epoch" and "seconds" are always there.
    done : int
        Epochs finished in this run.
    stop_requested : bool
        Set by `stop`.
    """

    estimator: Any
    n_epochs: int
    n_rows: int
    batch_size: int
    state: TrainingState
    history: dict[str, list[Any]]
    done: int = 0
    stop_requested: bool = False
    step_at_epoch_start: int = field(default=0, repr=False)
    sweeps_per_batch: int = field(default=2, repr=False)

    def record(self, name: str, value: float) -> None:
        """Record a metric of the epoch that has just finished."""
        column = self.history.setdefault(name, [])
        column.extend([np.nan] * (len(self.history["epoch"]) - 1 - len(column)))
        column.append(value)

    def stop(self) -> None:
        """End the run after the current epoch."""
        self.stop_requested = True

    @property
    def batches_done(self) -> int:
        """Minibatches finished in the current epoch."""
        return (self.state.chains.step - self.step_at_epoch_start) // self.sweeps_per_batch

    @property
    def n_batches(self) -> int:
        """Minibatches of an epoch."""
        return -(-self.n_rows // self.batch_size)


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


def fit_loop(run: FitRun, epoch: Epoch, callbacks: Sequence[Callback | Callable[[FitRun], None]]) -> None:
    """Do ``run.n_epochs`` epochs.

    `epoch` passes over the data once, in place, and may call the function it is given between minibatches. Whatever
    interrupts it, parameters, chains and counters are those after the last whole minibatch.
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
    state: TrainingState, data: VisibleData, backend: Backend, plan: TrainingPlan, units: tuple[str, str], shuffle: bool
) -> Epoch:
    """One pass over the data by a backend. The order depends on the key and the number of the epoch only."""
    n = data.shape[0]

    def epoch(on_batch: Callable[[], None] | None) -> None:
        order = state.key.permutation(n, state.epoch) if shuffle else np.arange(n, dtype=np.int64)
        for rows, local in data.batches(order, plan.batch_size):
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
