"""Gradients and rules of the CPU backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, as_dense
from ..contract import Backend, Parameters, Phase
from ..levels import GreyLevels
from ..rules import Rule, Update
from .runtime import extension as _cpu
from .runtime import threads_for
from .scores import dense_blocks

_PLAIN = Update(Rule(), 1.0)  # leaves the gradient in zeros


class Gradients(Backend):
    """The part of the backend that changes parameters by given states."""

    n_threads: int | None

    def gradient_step(
        self, parameters: Parameters, slots: Sequence[Parameters], data: Phase, model: Phase, update: Update
    ) -> None:
        """See `Backend.gradient_step`: in one pass over the weights for bits and equal shares."""
        if not self._gradient_of_bits(parameters, slots, data, model, update):
            super().gradient_step(parameters, slots, data, model, update)

    def _gradient_of_bits(
        self, parameters: Parameters, slots: Sequence[Parameters], data: Phase, model: Phase | None, update: Update
    ) -> bool:
        """Whether the native kernel has changed the parameters; by the moments of the data alone without a model."""
        weights = parameters.weights
        exact = isinstance(data.visible, PackedBits | GreyLevels)
        packed = exact and (model is None or isinstance(model.visible, PackedBits))
        if not packed or weights.dtype != np.float32 or not update.rule.native:
            return False
        work = float(data.visible.shape[0] + (model.visible.shape[0] if model else 1)) * weights.size
        return _cpu.gradient_of_bits(
            _native(data), model and _native(model), parameters, slots, update, threads_for(work, self.n_threads)
        )

    def gradient(self, data: Phase, model: Phase, dtype: Any) -> Parameters:
        """See `Backend.gradient`."""
        out = _zeros(data, dtype)
        if self._gradient_of_bits(out, (), data, model, _PLAIN):
            return out
        return super().gradient(data, model, dtype)

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """See `Backend.moments`."""
        out = _zeros(phase, dtype)
        if self._gradient_of_bits(out, (), phase, None, _PLAIN):
            return out
        n, threads = phase.hidden.shape[0], threads_for(float(phase.hidden.shape[0]) * out.weights.size, self.n_threads)
        for rows in dense_blocks(phase.visible, dtype):
            v, h = (as_dense(x[rows], dtype).astype(dtype, copy=False) for x in (phase.visible, phase.hidden))
            scale = 1 / n
            if phase.shares is not None:
                h, scale = h * phase.shares[rows, None].astype(dtype), 1.0
            _cpu.dense_gradient(np.ascontiguousarray(h), v, scale, out.weights, threads)
        out.visible_bias[...] = _mean_rows(phase)
        out.hidden_bias[...] = _mean_rows(Phase(phase.hidden, phase.hidden, phase.shares))
        return out

    def ascend(self, parameters: Parameters, slots: Sequence[Parameters], gradient: Parameters, update: Update) -> None:
        """See `Backend.ascend`; float32 gradients are overwritten."""
        if parameters.weights.dtype != np.float32 or not update.rule.native:
            super().ascend(parameters, slots, gradient, update)
            return
        _cpu.ascend(update, parameters, slots, gradient, threads_for(20.0 * parameters.weights.size, self.n_threads))


def _native(phase: Phase) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64] | None]:
    """Rows, hidden layer and shares as the kernel takes them."""
    visible, hidden, shares = phase
    assert isinstance(visible, PackedBits | GreyLevels)
    rows = visible.words if isinstance(visible, PackedBits) else visible.values
    states = hidden.words if isinstance(hidden, PackedBits) else np.ascontiguousarray(hidden, dtype=np.float32)
    return rows, states, None if shares is None else np.ascontiguousarray(shares, dtype=np.float64)


def _mean_rows(phase: Phase) -> NDArray[np.float64]:
    states = phase.visible
    if phase.shares is not None:
        shares = phase.shares.astype(np.float64)
        total = np.zeros(states.shape[1])
        for rows in dense_blocks(states, np.float64):
            total += (shares[rows, None] * as_dense(states[rows], np.float64)).sum(axis=0)
        return total
    if isinstance(states, GreyLevels):
        return states.values.sum(axis=0, dtype=np.int64) / 255 / len(states)
    if isinstance(states, PackedBits):
        total = np.zeros(states.n_units)
        for rows in dense_blocks(states, np.uint8):
            total += states[rows].dense(np.uint8).sum(axis=0, dtype=np.int64)
        return total / len(states)
    return states.mean(axis=0, dtype=np.float64)


def _zeros(phase: Phase, dtype: Any) -> Parameters:
    shape = phase.hidden.shape[1], phase.visible.shape[1]
    return Parameters(np.zeros(shape, dtype), np.zeros(shape[1], dtype), np.zeros(shape[0], dtype))
