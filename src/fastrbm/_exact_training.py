"""Training by the exact gradient of the log-likelihood: the yardstick for CD and PCD on small models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._data import VisibleData
from ._kernels import Backend, PackedBits, Parameters, TrainingPlan
from ._random import Draw, Stream
from ._run import TrainingState
from .likelihood import exact
from .model import Model
from .training import Epoch, Order

#: units of the smaller layer, whose states are listed for every minibatch
MOST_UNITS = 20


def check_exact(n_hidden: int, n_visible: int) -> None:
    """Raise ValueError for layers that are both too large."""
    if min(n_hidden, n_visible) > MOST_UNITS:
        raise ValueError(
            f"algorithm='exact' lists the states of the smaller layer for every minibatch, {MOST_UNITS} units at most, "
            f"got {n_hidden} hidden and {n_visible} visible ones; use algorithm='pcd'"
        )


def exact_epoch(
    state: TrainingState, data: VisibleData, backend: Backend, plan: TrainingPlan, units: tuple[str, str], order: Order
) -> Epoch:
    """One pass over the data; like `minibatch_epoch`, with the model's moments in place of chains."""

    def epoch(on_batch: Callable[[], None] | None) -> None:
        for rows, local in data.batches(order(state.epoch), plan.batch_size):
            for first in range(0, len(local), plan.batch_size):
                exact_step(state, rows[local[first : first + plan.batch_size]], backend, plan, units)
                if on_batch is not None:
                    on_batch()

    return epoch


def exact_step(state: TrainingState, batch: Any, backend: Backend, plan: TrainingPlan, units: tuple[str, str]) -> None:
    """Ascend the exact gradient of one minibatch: mean of the data minus mean of the model."""
    parameters = state.parameters
    dtype = parameters.weights.dtype
    if plan.stochastic_input and not isinstance(batch, PackedBits):
        batch = backend.draw_bits(batch, Draw(plan.seed, state.chains.step, Stream.INPUT))
    h = backend.means(units[1], batch, parameters.weights, parameters.hidden_bias)
    v = batch.dense(dtype) if isinstance(batch, PackedBits) else batch
    model = Model(*parameters, *units)
    layer = exact.smaller_layer(model)
    log_weights = exact.state_log_weights(model, layer, backend)
    p = np.exp(log_weights - log_weights.max())
    moments = exact.moments_of(model, layer, p / p.sum(), backend)
    gradient = Parameters(
        h.T @ v / dtype.type(len(v)) - moments.pairs - plan.l2 * parameters.weights,
        v.mean(axis=0, dtype=np.float64) - moments.visible,
        h.mean(axis=0, dtype=np.float64) - moments.hidden,
    )
    for i, (value, g) in enumerate(zip(parameters, gradient, strict=True)):
        change = (plan.rate * g).astype(dtype)
        if state.velocity is not None:
            change += dtype.type(plan.momentum) * state.velocity[i]
            state.velocity[i][...] = change
        value += change
    state.chains.step += plan.n_sweeps + 1
