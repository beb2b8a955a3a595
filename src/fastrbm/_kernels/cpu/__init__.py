"""CPU backend: native kernels for float32 and packed bits, BLAS for dense rows and float64.

``FASTRBM_CPU=avx512|avx2|baseline`` forces an instruction set. Results do not depend on it, nor on the thread count;
but partition sums differ in their last bits between instruction sets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._random import Draw
from ...units import get_unit
from ..bits import PackedBits, n_words, pack
from ..contract import ChainState, Drawn, Parameters, Phase, States, TrainingPlan, values_of
from ..partition import check_partition
from ..rules import Rule, Update
from . import layers as any_units
from ._runtime import (
    at_most_threads,
    current_target,
    default_threads,
    has_openmp,
    most_threads,
    single_threaded_blas,
    supported_targets,
    threads_for,
    use_target,
)
from ._runtime import extension as _cpu
from .partition import log_partition_sum
from .scores import Scores, check_unit, dense_blocks, is_native, lanes
from .strategy import (
    choose_for_chains,
    choose_for_rows,
    choose_for_training,
    landmark_bases,
    make_lean,
    note,
    note_counters,
)

__all__ = [
    "CpuBackend",
    "at_most_threads",
    "current_target",
    "default_threads",
    "has_openmp",
    "most_threads",
    "supported_targets",
    "use_target",
]


def _to_words(bits: PackedBits) -> NDArray[np.uint32]:
    """Sample-major bits to words [word][lane], lanes padded to 64."""
    out = np.zeros((2 * bits.words.shape[1], lanes(len(bits))), dtype=np.uint32)
    out[:, : len(bits)] = bits.words.view(np.uint32).T
    return out


def _from_words(words: NDArray[np.uint32], n_samples: int, n_units: int) -> PackedBits:
    rows = np.ascontiguousarray(words[:, :n_samples].T).view(np.uint64)
    if n_units % 64:
        rows[:, -1] &= np.uint64((1 << (n_units % 64)) - 1)
    return PackedBits(rows, n_units)


class CpuBackend(Scores):
    """Native kernels.

    Parameters
    ----------
    n_threads : int or None
        Threads; None for `default_threads`. A forked child of a process always works with one thread.
    strategy : str
        How layers are drawn where only their states are wanted; see `fastrbm._kernels.cpu.strategy`.
    precision : {"full", "fast"}
        "fast" rounds float32 weights to 16 bits in `means`, `samples`, `run_chains` and `train` (not in the gradient,
        and not where sums of weights reach 512); see src/narrow.h. So it does real visible states in `train`; see
        src/real_fast.h.
    """

    name = "cpu"

    def __init__(self, n_threads: int | None = None, strategy: str = "auto", precision: str = "full"):
        self.n_threads = n_threads
        self.strategy = strategy
        self.fast = precision == "fast"

    def _threads(self, work: float) -> int:
        return threads_for(work, self.n_threads)

    def _fixed(self, states: States, weights: NDArray[Any], transposed: bool = False, fast: bool = False) -> Any:
        """Fixed-point copy of the weights for products with `states`.

        None where the states are dense, the weights float64 or too large: BLAS does those products.
        """
        if not isinstance(states, PackedBits) or weights.dtype != np.float32:
            return None
        return _cpu.fix_weights(weights, transposed, self._threads(8.0 * weights.size), fast)

    # -- one layer given the other ------------------------------------------------------------------------------

    def pack_checked(self, x: NDArray[Any], on: int = 1) -> tuple[int, PackedBits]:
        """Pack dense rows and say what they hold.

        Parameters
        ----------
        x : ndarray of uint8, float32 or float64, shape (n_samples, n_units), rows contiguous
        on : int
            Value of a set bit: 1, or 255 for uint8 images.

        Returns
        -------
        (flags, bits)
            flags: 1 if a value is neither 0 nor `on`, 2 if a float is outside [0, 1] or NaN (or-ed).
        """
        out = np.empty((x.shape[0], n_words(x.shape[1])), dtype=np.uint64)
        flags = _cpu.pack_rows(x, on, out, self._threads(4.0 * x.size)) if x.size else 0
        return flags, PackedBits(out, x.shape[1])

    def pack_csr(self, indptr: NDArray[Any], indices: NDArray[Any], shape: tuple[int, int]) -> PackedBits:
        """Set the listed bits of each row of a CSR matrix without duplicates or stored zeros."""
        out = np.zeros((shape[0], n_words(shape[1])), dtype=np.uint64)
        if len(indices):
            _cpu.pack_sparse(indptr.astype(np.int32, copy=False), indices.astype(np.int32, copy=False), out)
        return PackedBits(out, shape[1])

    def transpose(self, bits: PackedBits) -> PackedBits:
        """Unit-major copy of packed bits."""
        out = np.empty((bits.n_units, n_words(len(bits))), dtype=np.uint64)
        if len(bits):
            _cpu.transpose_bits(bits.words, bits.n_units, out, self._threads(4.0 * len(bits) * bits.n_units))
        return PackedBits(out, len(bits))

    def inputs(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.inputs`."""
        return self._layer(states, weights, bias, transpose, "inputs")

    def means(
        self, unit: str, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.means`."""
        if not is_native(unit):
            x = self.inputs(states, weights, bias, transpose=transpose)
            return any_units.means_in_place(get_unit(unit), x, self.n_threads)
        return self._layer(states, weights, bias, transpose, "means")

    def _layer(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], transpose: bool, what: str
    ) -> NDArray[Any]:
        n, n_out = states.shape[0], weights.shape[1 if transpose else 0]
        out = np.empty((n, n_out), dtype=weights.dtype)
        if n == 0:
            return out
        threads = self._threads(float(n) * weights.size)
        fixed = self._fixed(states, weights, fast=self.fast and what == "means")
        if fixed is not None:
            assert isinstance(states, PackedBits)
            _cpu.run_rows(states.words, fixed, bias, transpose, threads, **{what: out})
            return out
        native_sigmoid = what == "means" and weights.dtype == np.float32
        with single_threaded_blas():
            if isinstance(states, PackedBits):
                for rows in dense_blocks(states, weights.dtype):
                    x = states[rows].dense(weights.dtype)
                    _cpu.dense_inputs(x, weights, bias, transpose, out[rows], native_sigmoid, threads)
            else:
                _cpu.dense_inputs(states, weights, bias, transpose, out, native_sigmoid, threads)
        if what == "means" and not native_sigmoid:
            from scipy.special import expit

            expit(out, out=out)
        return out

    def samples(
        self,
        unit: str,
        states: States,
        weights: NDArray[Any],
        bias: NDArray[Any],
        draw: Draw,
        *,
        transpose: bool = False,
    ) -> Drawn:
        """See `Backend.samples`."""
        if not is_native(unit):
            x = self.inputs(states, weights, bias, transpose=transpose)
            return any_units.samples(unit, x, draw, self.n_threads)
        n, n_out = states.shape[0], weights.shape[1 if transpose else 0]
        out = np.empty((n, n_words(n_out)), dtype=np.uint64)
        if n == 0:
            return PackedBits(out, n_out)
        fixed = self._fixed(states, weights, fast=self.fast)
        if fixed is not None:
            assert isinstance(states, PackedBits)
            threads = self._threads(float(n) * weights.size)
            lean = make_lean(choose_for_rows(self.strategy), weights, threads, 1024, self.fast)
            _cpu.run_rows(
                states.words, lean.fixed if lean else fixed, bias, transpose, threads,
                samples=out, draw=draw, lean=lean and lean.native,
            )  # fmt: skip
            note(lean)
        else:
            inputs = self._layer(states, weights, bias, transpose, "inputs")
            _cpu.draw_inputs(inputs, draw, out, self._threads(40.0 * inputs.size))
        return PackedBits(out, n_out)

    def draw_bits(self, probabilities: NDArray[Any], draw: Draw) -> PackedBits:
        """See `Backend.draw_bits`."""
        if probabilities.dtype != np.float32:
            from ..reference import ReferenceBackend

            return ReferenceBackend().draw_bits(probabilities, draw)
        out = np.empty((probabilities.shape[0], n_words(probabilities.shape[1])), dtype=np.uint64)
        if probabilities.size:
            x = np.ascontiguousarray(probabilities)
            _cpu.draw_bits(x, draw, out, self._threads(40.0 * x.size))
        return PackedBits(out, probabilities.shape[1])

    def log_partition_sum(
        self,
        parameters: Parameters,
        units: tuple[str, str],
        *,
        dtype: Any = np.float64,
        log_weights: NDArray[np.float64] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> float:
        """See `Backend.log_partition_sum`: Bernoulli layers natively, others by the composed form.

        float32 gives way to float64 where log Z is so small that it could not keep the promised error.
        """
        if tuple(units) != ("bernoulli", "bernoulli") or np.dtype(dtype) not in (np.float32, np.float64):
            return super().log_partition_sum(
                parameters, units, dtype=dtype, log_weights=log_weights, on_progress=on_progress
            )
        check_partition(parameters, units, log_weights)
        return log_partition_sum(parameters, dtype, log_weights, on_progress, self.n_threads)

    # -- gradient and training -----------------------------------------------------------------------------------

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
        words = _to_words(chains) if chains is not None and plan.persistent else None
        n_chains = 0 if chains is None else len(chains)
        packed, grey = (rows.words, None) if isinstance(rows, PackedBits) else (None, rows)
        batch = min(plan.batch_size, len(order))
        active = _cpu.density(packed, rows.shape[1]) if packed is not None else _GUESSED_DENSITY
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
                chains = _from_words(words, n_chains, parameters.weights.shape[0])
                state.chains = values_of(units[1], chains, parameters.weights.dtype)

    def run_chains(
        self, hidden: States, parameters: Parameters, units: tuple[str, str], draw: Draw, n_sweeps: int
    ) -> tuple[Drawn, Drawn]:
        """See `Backend.run_chains`: in one native call between two layers of bits."""
        if not all(map(is_native, units)):
            return super().run_chains(hidden, parameters, units, draw, n_sweeps)
        weights, visible_bias, hidden_bias = parameters
        by_rows = _cpu.prefers_rows(max(1, len(hidden)), _GUESSED_DENSITY, self.fast)
        fixed = self._fixed(hidden, weights, by_rows, self.fast) if len(hidden) else None
        if fixed is None:
            return super().run_chains(hidden, parameters, units, draw, n_sweeps)
        assert isinstance(hidden, PackedBits)
        n = len(hidden)
        h = _to_words(hidden)
        v = np.zeros((2 * n_words(weights.shape[1]), h.shape[1]), dtype=np.uint32)
        threads = self._threads(float(n) * weights.size * n_sweeps)
        lean = make_lean(choose_for_chains(self.strategy, n, n_sweeps, self.fast), weights, threads, n, self.fast)
        _cpu.run_chains(
            h, v, n, lean.fixed if lean else fixed, visible_bias, hidden_bias, draw, n_sweeps, threads,
            lean and lean.native,
        )  # fmt: skip
        note(lean)
        return _from_words(v, n, weights.shape[1]), _from_words(h, n, weights.shape[0])

    def anneal(
        self,
        states: PackedBits,
        parameters: Parameters,
        units: tuple[str, str],
        bases: tuple[NDArray[Any], NDArray[Any]],
        sum_out: str,
        betas: NDArray[np.float64],
        draw: Draw,
        log_weights: NDArray[np.float64],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> PackedBits:
        """See `Backend.anneal`; float32 temperatures where the weights are float32."""
        n, weights = len(states), parameters.weights
        for unit in units:
            check_unit(unit, "anneal")
        by_rows = _cpu.prefers_rows(max(1, n), _GUESSED_DENSITY)
        fixed = self._fixed(states, weights, by_rows) if n and len(betas) > 1 else None
        if fixed is None:
            return super().anneal(
                states, parameters, units, bases, sum_out, betas, draw, log_weights, on_progress
            )  # fmt: skip
        layers = [np.zeros((2 * n_words(size), lanes(n)), dtype=np.uint32) for size in weights.shape]
        kept = 1 if sum_out == "hidden" else 0
        layers[kept] = _to_words(states)
        fields = tuple(np.ascontiguousarray(bias - base) for bias, base in zip(parameters[1:], bases, strict=True))
        threads = self._threads(float(n) * weights.size * len(betas))
        _cpu.Annealing().run(
            *layers, n, fixed, fields, bases, sum_out == "hidden", np.ascontiguousarray(betas), draw, log_weights,
            threads, on_progress,
        )  # fmt: skip
        return _from_words(layers[kept], n, weights.shape[kept])


_MEAN_SCALE = 2.0**30  # of fixed-point hidden means: MEAN_SCALE of src/train.c
_BITS = {"bernoulli", "ising"}
_PLAIN = Update(Rule(), 1.0)  # leaves the gradient in zeros
_GUESSED_DENSITY = 0.3  # share of active units where it is not known before the run


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
