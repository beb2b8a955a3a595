"""The CPU backend: native kernels for float32 and packed bits, products in a fixed order for dense rows and float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...units import get_unit
from ..bits import PackedBits, as_dense, n_words
from ..contract import Drawn, Parameters, States
from ..draws import Draw
from ..ladders import Ladder
from ..levels import GreyLevels
from ..partition import check_partition
from ..waves import SpinWave
from . import layers as any_units
from .gradients import Gradients
from .labels import Labels
from .ladders import NativeLadder
from .partition import log_partition_sum, seconds_for_states
from .runtime import extension as _cpu
from .runtime import threads_for
from .scores import Scores, dense_blocks, is_native
from .strategy import GUESSED_DENSITY, choose_for_chains, choose_for_rows, make_filters, note_filters
from .training import Training
from .waves import NativeSpinWave
from .words import from_words, lanes, to_words


class CpuBackend(Training, Gradients, Scores, Labels):
    """The backend of native kernels for the CPU.

    Parameters
    ----------
    n_threads : int or None
        Threads; None for `default_threads`. A forked child of a process always works with one thread.
    strategy : str
        How layers are drawn where only their states are wanted; see `fastrbm._kernels.cpu.strategy`.
    precision : {"full", "fast"}
        "fast" rounds float32 weights to 16 bits in `means`, `samples`, `run_chains` and `train` (not in the gradient,
        and not where sums of weights reach 512; see src/tiles/int16.h), and in `train` Gaussian visible states too
        (src/tiles/int16_dense.h).
    """

    name = "cpu"

    def __init__(self, n_threads: int | None = None, strategy: str = "auto", precision: str = "full"):
        self.n_threads = n_threads
        self.strategy = strategy
        self.int16 = precision == "fast"
        #: copies by the identity of the weights, which are kept alive here
        self._held: dict[int, tuple[NDArray[Any], dict[tuple[bool, bool], Any]]] = {}

    @contextmanager
    def holding(self, *weights: NDArray[Any]) -> Iterator[None]:
        """See `Backend.holding`: their fixed-point copies serve all products."""
        before = self._held
        self._held = {**before, **{id(w): (w, {}) for w in weights}}
        try:
            yield
        finally:
            self._held = before

    def _fixed(self, states: States, weights: NDArray[Any], transposed: bool = False, int16: bool = False) -> Any:
        """Fixed-point copy of the weights for products with `states`.

        None where the states are dense, the weights float64 or too large: those products are dense.
        """
        if not isinstance(states, PackedBits | GreyLevels) or weights.dtype != np.float32:
            return None
        held = self._held.get(id(weights))
        if held is None:
            return _cpu.quantise_weights(weights, transposed, threads_for(8.0 * weights.size, self.n_threads), int16)
        copies, kind = held[1], (transposed, int16)
        if kind not in copies:
            copies[kind] = _cpu.quantise_weights(
                weights, transposed, threads_for(8.0 * weights.size, self.n_threads), int16
            )
        return copies[kind]

    # -- one layer given the other ------------------------------------------------------------------------------

    def transpose(self, bits: PackedBits) -> PackedBits:
        """Unit-major copy of packed bits."""
        out = np.empty((bits.n_units, n_words(len(bits))), dtype=np.uint64)
        if len(bits):
            _cpu.transpose_bits(
                bits.words, bits.n_units, out, threads_for(4.0 * len(bits) * bits.n_units, self.n_threads)
            )
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
        threads = threads_for(float(n) * weights.size, self.n_threads)
        fixed = self._fixed(states, weights, int16=self.int16 and what == "means")
        if fixed is not None and isinstance(states, PackedBits):
            _cpu.run_rows(states.words, fixed, bias, transpose, threads, **{what: out})
            return out
        if fixed is not None and isinstance(states, GreyLevels) and not transpose:
            _cpu.run_rows(None, fixed, bias, False, threads, levels=states.values, **{what: out})
            return out
        native_sigmoid = what == "means" and weights.dtype == np.float32
        if isinstance(states, PackedBits | GreyLevels):
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
        fixed = self._fixed(states, weights, int16=self.int16)
        if fixed is not None and isinstance(states, GreyLevels) and not transpose:
            threads = threads_for(float(n) * weights.size, self.n_threads)
            _cpu.run_rows(None, fixed, bias, False, threads, samples=out, draw=draw, levels=states.values)
        elif fixed is not None and isinstance(states, PackedBits):
            threads = threads_for(float(n) * weights.size, self.n_threads)
            filters = make_filters(choose_for_rows(self.strategy), weights, threads, 1024, self.int16)
            _cpu.run_rows(
                states.words, filters.fixed if filters else fixed, bias, transpose, threads,
                samples=out, draw=draw, filters=filters and filters.native,
            )  # fmt: skip
            note_filters(filters)
        else:
            inputs = self._layer(states, weights, bias, transpose, "inputs")
            _cpu.draw_inputs(inputs, draw, out, threads_for(40.0 * inputs.size, self.n_threads))
        return PackedBits(out, n_out)

    def draw_bits(self, probabilities: NDArray[Any], draw: Draw) -> PackedBits:
        """See `Backend.draw_bits`."""
        probabilities = as_dense(probabilities, np.float32)
        if probabilities.dtype != np.float32:
            from ..reference import ReferenceBackend

            return ReferenceBackend().draw_bits(probabilities, draw)
        out = np.empty((probabilities.shape[0], n_words(probabilities.shape[1])), dtype=np.uint64)
        if probabilities.size:
            x = np.ascontiguousarray(probabilities)
            _cpu.draw_bits(x, draw, out, threads_for(40.0 * x.size, self.n_threads))
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

    def seconds_for_states(self, units: tuple[str, str], n_states: float, n_other: int, dtype: Any) -> float:
        """Seconds that an exact partition sum is expected to take; the rates hold for both dtypes.

        Parameters
        ----------
        units : (visible unit type, hidden unit type)
            The states of the hidden layer are listed.
        n_states : float
            Their number.
        n_other : int
            Neurons of the layer that is summed out.
        dtype : float32 or float64
        """
        return seconds_for_states(units, n_states, n_other, self.n_threads)

    # -- chains -------------------------------------------------------------------------------------------------

    def run_chains(
        self, hidden: States, parameters: Parameters, units: tuple[str, str], draw: Draw, n_sweeps: int
    ) -> tuple[Drawn, Drawn]:
        """See `Backend.run_chains`: in one native call between two layers of bits."""
        if not all(map(is_native, units)):
            return super().run_chains(hidden, parameters, units, draw, n_sweeps)
        weights, visible_bias, hidden_bias = parameters
        by_rows = _cpu.prefers_rows(max(1, len(hidden)), GUESSED_DENSITY, self.int16)
        fixed = self._fixed(hidden, weights, by_rows, self.int16) if len(hidden) else None
        if fixed is None:
            return super().run_chains(hidden, parameters, units, draw, n_sweeps)
        assert isinstance(hidden, PackedBits)
        n = len(hidden)
        h = to_words(hidden)
        v = np.zeros((2 * n_words(weights.shape[1]), h.shape[1]), dtype=np.uint32)
        threads = threads_for(float(n) * weights.size * n_sweeps, self.n_threads)
        filters = make_filters(
            choose_for_chains(self.strategy, n, n_sweeps, self.int16), weights, threads, n, self.int16
        )
        _cpu.run_chains(
            h, v, n, filters.fixed if filters else fixed, visible_bias, hidden_bias, draw, n_sweeps, threads,
            filters and filters.native,
        )  # fmt: skip
        note_filters(filters)
        return from_words(v, n, weights.shape[1]), from_words(h, n, weights.shape[0])

    def ladder(
        self,
        parameters: Parameters,
        units: tuple[str, str],
        base: NDArray[Any],
        betas: NDArray[np.float64],
        n_chains: int,
        n_sweeps: int,
    ) -> Ladder:
        """See `Backend.ladder`: native for float32 layers of bits whose chains are drawn by whole products."""
        by_products = choose_for_chains(self.strategy, n_chains, n_sweeps, self.int16) == "dense" and not self.int16
        if by_products and all(map(is_native, units)) and parameters.weights.dtype == np.float32:
            native = NativeLadder.make(parameters, base, betas, n_chains, self.n_threads)
            if native is not None:
                return native
        return super().ladder(parameters, units, base, betas, n_chains, n_sweeps)

    def uniforms(self, draw: Draw, n_rows: int, n_units: int, dtype: Any) -> NDArray[Any]:
        """See `Backend.uniforms`."""
        out = np.empty((n_rows, n_units), dtype)
        _cpu.uniform_rows(draw, out, threads_for(40.0 * out.size, self.n_threads))
        return out

    def wave(
        self, weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any], moves: NDArray[np.int32]
    ) -> SpinWave:
        """See `Backend.wave`."""
        return NativeSpinWave(weights, visible_bias, hidden_bias, moves, self.n_threads)

    def anneal(
        self,
        states: States,
        parameters: Parameters,
        units: tuple[str, str],
        bases: tuple[NDArray[Any], NDArray[Any]],
        sum_out: str,
        betas: NDArray[np.float64],
        draw: Draw,
        log_weights: NDArray[np.float64],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> States:
        """See `Backend.anneal`: two layers of bits natively; float32 temperatures where the weights are float32."""
        n, weights = len(states), parameters.weights
        if not all(map(is_native, units)):
            return super().anneal(
                states, parameters, units, bases, sum_out, betas, draw, log_weights, on_progress
            )  # fmt: skip
        by_rows = _cpu.prefers_rows(max(1, n), GUESSED_DENSITY)
        fixed = self._fixed(states, weights, by_rows) if n and len(betas) > 1 else None
        if fixed is None:
            return super().anneal(
                states, parameters, units, bases, sum_out, betas, draw, log_weights, on_progress
            )  # fmt: skip
        assert isinstance(states, PackedBits)  # only bits have fixed-point weights
        layers = [np.zeros((2 * n_words(size), lanes(n)), dtype=np.uint32) for size in weights.shape]
        kept = 1 if sum_out == "hidden" else 0
        layers[kept] = to_words(states)
        fields = tuple(np.ascontiguousarray(bias - base) for bias, base in zip(parameters[1:], bases, strict=True))
        threads = threads_for(float(n) * weights.size * len(betas), self.n_threads)
        _cpu.Annealing().run(
            *layers, n, fixed, fields, bases, sum_out == "hidden", np.ascontiguousarray(betas), draw, log_weights,
            threads, on_progress,
        )  # fmt: skip
        return from_words(layers[kept], n, weights.shape[kept])
