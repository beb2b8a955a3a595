"""Gradients and rules of the CPU backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, as_dense, n_words
from ..contract import Backend, Parameters, Phase, States
from ..rules import Rule, Update
from .runtime import extension as _cpu
from .runtime import single_threaded_blas, threads_for
from .scores import dense_blocks

_MEAN_SCALE = _cpu.CONSTANTS["MEAN_SCALE"]  # of fixed-point hidden means
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
        self, parameters: Parameters, slots: Sequence[Parameters], data: Phase, model: Phase, update: Update
    ) -> bool:
        weights, visible_bias, hidden_bias = parameters
        packed = all(
            isinstance(p.visible, PackedBits)
            # sums of fixed-point means fit where the means are in [-1, 1]
            and (isinstance(p.hidden, PackedBits) or (np.abs(p.hidden) <= 1).all())
            for p in (data, model)
        )
        if not packed or weights.dtype != np.float32 or not update.rule.native:
            return False
        threads = threads_for(float(len(data.hidden) + len(model.hidden)) * weights.size, self.n_threads)
        of_visible = (_mean_rows(data) - _mean_rows(model)).astype(np.float32)
        _cpu.apply_rule(update, visible_bias, [s.visible_bias for s in slots], of_visible, False, 1)
        shared = data.shares is not None or model.shares is not None
        _cpu.gradient_step(
            _words_of(data), _hidden_factor(data, 1, shared), _words_of(model), _hidden_factor(model, -1, shared),
            weights, hidden_bias, [s.weights for s in slots], [s.hidden_bias for s in slots], update, 1 / _MEAN_SCALE,
            threads,
        )  # fmt: skip
        return True

    def gradient(self, data: Phase, model: Phase, dtype: Any) -> Parameters:
        """See `Backend.gradient`."""
        out = _zeros(data, dtype)
        if self._gradient_of_bits(out, (), data, model, _PLAIN):
            return out
        return super().gradient(data, model, dtype)

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """See `Backend.moments`."""
        out = _zeros(phase, dtype)
        if self._gradient_of_bits(out, (), phase, _nothing_like(phase), _PLAIN):
            return out
        n, threads = phase.hidden.shape[0], threads_for(float(phase.hidden.shape[0]) * out.weights.size, self.n_threads)
        with single_threaded_blas():
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
        for i, (value, g) in enumerate(zip(parameters, gradient, strict=True)):
            flat = np.ascontiguousarray(g, dtype=np.float32).reshape(-1)
            slot = [s[i] for s in slots]
            _cpu.apply_rule(
                update, value.reshape(-1), slot, flat, i == 0, threads_for(20.0 * value.size, self.n_threads)
            )


def _words_of(phase: Phase) -> NDArray[np.uint64]:
    assert isinstance(phase.visible, PackedBits)
    return phase.visible.words


def _hidden_factor(phase: Phase, sign: int, shared: bool) -> NDArray[Any]:
    """What the native gradient multiplies with: packed states, or means times shares as fixed-point integers.

    Shares add up to 1, so that sums of the integers fit; they are exact in any order, which those of BLAS are not.
    """
    hidden = phase.hidden
    if isinstance(hidden, PackedBits) and not shared:
        return hidden.words
    means = np.ascontiguousarray(as_dense(hidden, np.float32), dtype=np.float32)
    if phase.shares is None:
        return _cpu.round_means(means, np.float32(sign * _MEAN_SCALE) / np.float32(len(means)))
    return _cpu.round_means(means * phase.shares.astype(np.float32)[:, None], np.float32(sign * _MEAN_SCALE))


def _mean_rows(phase: Phase) -> NDArray[np.float64]:
    states = phase.visible
    if phase.shares is not None:
        shares = phase.shares.astype(np.float64)
        total = np.zeros(states.shape[1])
        for rows in dense_blocks(states, np.float64):
            total += (shares[rows, None] * as_dense(states[rows], np.float64)).sum(axis=0)
        return total
    if isinstance(states, PackedBits):
        total = np.zeros(states.n_units)
        for rows in dense_blocks(states, np.uint8):
            total += states[rows].dense(np.uint8).sum(axis=0, dtype=np.int64)
        return total / len(states)
    return states.mean(axis=0, dtype=np.float64)


def _zeros(phase: Phase, dtype: Any) -> Parameters:
    shape = phase.hidden.shape[1], phase.visible.shape[1]
    return Parameters(np.zeros(shape, dtype), np.zeros(shape[1], dtype), np.zeros(shape[0], dtype))


def _nothing_like(phase: Phase) -> Phase:
    """One sample with all units off: its moments are 0."""
    hidden, visible = phase.hidden, phase.visible
    if isinstance(hidden, PackedBits):
        off: States = PackedBits(np.zeros((1, hidden.words.shape[1]), np.uint64), hidden.n_units)
    else:
        off = np.zeros((1, hidden.shape[1]), hidden.dtype)
    n_units = visible.shape[1]
    return Phase(PackedBits(np.zeros((1, n_words(n_units)), np.uint64), n_units), off)
