"""The fit loop: minibatches, shuffling, history, callbacks, divergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ._data import VisibleData
from ._kernels import Backend, Parameters, TrainingPlan
from ._run import FitRun, TrainingState
from .callbacks import Callback, as_callback


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
