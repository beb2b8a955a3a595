"""Gradients, rules and minibatch training of the CPU backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...units import get_unit
from ..bits import PackedBits, n_words, pack
from ..contract import ChainState, Parameters, Phase, States, TrainingPlan, values_of
from ..rules import Rule, Update
from ._runtime import extension as _cpu
from ._runtime import single_threaded_blas
from .scores import Scores, dense_blocks
from .strategy import GUESSED_DENSITY, choose_for_training, landmark_bases, note_counters
from .words import from_words, to_words

_MEAN_SCALE = 2.0**30  # of fixed-point hidden means: MEAN_SCALE of src/train.c
_BITS = {"bernoulli", "ising"}
_PLAIN = Update(Rule(), 1.0)  # leaves the gradient in zeros


class Training(Scores):
    """The part of the backend that changes parameters."""

    strategy: str
    fast: bool

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
            and p.shares is None
            # sums of fixed-point means fit where the means are in [-1, 1]
            and (isinstance(p.hidden, PackedBits) or (np.abs(p.hidden) <= 1).all())
            for p in (data, model)
        )
        if not packed or weights.dtype != np.float32:
            return False
        threads = self._threads(float(len(data.hidden) + len(model.hidden)) * weights.size)
        of_visible = (_mean_rows(data) - _mean_rows(model)).astype(np.float32)
        _cpu.apply_rule(update, visible_bias, [s.visible_bias for s in slots], of_visible, False, 1)
        _cpu.gradient_step(
            _words_of(data), _hidden_factor(data.hidden, 1), _words_of(model), _hidden_factor(model.hidden, -1),
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
        n, threads = phase.hidden.shape[0], self._threads(float(phase.hidden.shape[0]) * out.weights.size)
        with single_threaded_blas():
            for rows in dense_blocks(phase.visible, dtype):
                v, h = (
                    x.dense(dtype) if isinstance(x, PackedBits) else x.astype(dtype, copy=False)
                    for x in (phase.visible[rows], phase.hidden[rows])
                )
                scale = 1 / n
                if phase.shares is not None:
                    h, scale = h * phase.shares[rows, None].astype(dtype), 1.0
                _cpu.dense_gradient(np.ascontiguousarray(h), v, scale, out.weights, threads)
        out.visible_bias[...] = _mean_rows(phase)
        out.hidden_bias[...] = _mean_rows(Phase(phase.hidden, phase.hidden, phase.shares))
        return out

    def ascend(self, parameters: Parameters, slots: Sequence[Parameters], gradient: Parameters, update: Update) -> None:
        """See `Backend.ascend`; float32 gradients are overwritten."""
        if parameters.weights.dtype != np.float32:
            super().ascend(parameters, slots, gradient, update)
            return
        for i, (value, g) in enumerate(zip(parameters, gradient, strict=True)):
            flat = np.ascontiguousarray(g, dtype=np.float32).reshape(-1)
            slot = [s[i] for s in slots]
            _cpu.apply_rule(update, value.reshape(-1), slot, flat, i == 0, self._threads(20.0 * value.size))

    def train(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        on_batch: Callable[[], None] | None = None,
    ) -> None:
        """See `Backend.train`: float32 layers of bits in one native call, the rest through the composed form."""
        bits = isinstance(rows, PackedBits) or plan.stochastic_input
        dense = units == ("bernoulli", "bernoulli") or (units[0] == "gaussian" and not isinstance(rows, PackedBits))
        native = trains_in_one_call(units) and (dense or bits) and not (units[0] == "gaussian" and bits)
        if not native or parameters.weights.dtype != np.float32 or len(order) == 0:
            super().train(parameters, slots, rows, order, plan, units, state, on_batch)
            return
        while len(order):
            done = self._train_native(parameters, slots, rows, order, plan, units, state, on_batch)
            order = order[done:]
            # the weights have outgrown fixed point: one minibatch through BLAS, then try again
            super().train(parameters, slots, rows, order[: plan.batch_size], plan, units, state, on_batch)
            order = order[plan.batch_size :]

    def _train_native(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        on_batch: Callable[[], None] | None,
    ) -> int:
        """Minibatches in one native call; the number of rows done, all unless the weights outgrow fixed point."""
        chains = pack(state.chains > 0) if isinstance(state.chains, np.ndarray) else state.chains
        words = to_words(chains) if chains is not None and plan.persistent else None
        n_chains = 0 if chains is None else len(chains)
        packed, grey = (rows.words, None) if isinstance(rows, PackedBits) else (None, rows)
        batch = min(plan.batch_size, len(order))
        active = _cpu.density(packed, rows.shape[1]) if packed is not None else GUESSED_DENSITY
        by_rows = units[0] in _BITS and _cpu.prefers_rows(min(batch, n_chains or batch), active, self.fast)
        threads = self._threads(float(batch) * parameters.weights.size)
        strategy = choose_for_training(self.strategy, plan.n_sweeps) if _BITS.issuperset(units) else "dense"
        run = _cpu.Training(
            parameters, slots, plan, units, state.updates, len(order), words, n_chains, packed is None, by_rows,
            threads, strategy, landmark_bases(parameters.weights) if strategy == "bounds" else None, self.fast,
        )  # fmt: skip
        try:
            with single_threaded_blas():
                return int(run.run(packed, grey, order, state, on_batch))
        finally:
            note_counters(run.counters())
            if words is not None:
                chains = from_words(words, n_chains, parameters.weights.shape[0])
                state.chains = values_of(units[1], chains, parameters.weights.dtype)


def trains_in_one_call(units: tuple[str, str]) -> bool:
    """Whether `CpuBackend.train` has one native call for layers of these units, given rows of bits or of reals."""
    if units[1] == "bernoulli" or get_unit(units[1]).name == "onehot":
        return units[0] in _BITS or units[0] == "gaussian"
    return _BITS.issuperset(units)


def _words_of(phase: Phase) -> NDArray[np.uint64]:
    assert isinstance(phase.visible, PackedBits)
    return phase.visible.words


def _hidden_factor(hidden: States, sign: int) -> NDArray[Any]:
    """What the native gradient multiplies with: packed states, or means as fixed-point integers."""
    if isinstance(hidden, PackedBits):
        return hidden.words
    return _cpu.round_means(hidden, np.float32(sign * _MEAN_SCALE) / np.float32(len(hidden)))


def _mean_rows(phase: Phase) -> NDArray[np.float64]:
    states = phase.visible
    if phase.shares is not None:
        shares = phase.shares.astype(np.float64)
        total = np.zeros(states.shape[1])
        for rows in dense_blocks(states, np.float64):
            total += shares[rows] @ (states[rows].dense(np.float64) if isinstance(states, PackedBits) else states[rows])
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
