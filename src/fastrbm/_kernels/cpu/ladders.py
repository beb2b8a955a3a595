"""Layers of bits at rising inverse temperatures, all of them in one native call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, States, n_words
from ..contract import Parameters
from ..draws import Draw
from .runtime import extension as _cpu
from .runtime import threads_for
from .strategy import GUESSED_DENSITY


class NativeLadder:
    """See `fastrbm._kernels.ladders.Ladder`; `make` says where it can be had."""

    def __init__(self, native: Any, n_temperatures: int, shape: tuple[int, int], n_threads: int | None):
        self._native, self._n_temperatures, self._shape, self._n_threads = native, n_temperatures, shape, n_threads

    @classmethod
    def make(
        cls,
        parameters: Parameters,
        base: NDArray[Any],
        betas: NDArray[np.float64],
        n_chains: int,
        n_threads: int | None,
    ) -> NativeLadder | None:
        """Ladder of float32 parameters, or None where weights are too large for fixed point."""
        weights = parameters.weights
        native = _cpu.Ladder(
            len(betas), *weights.shape, _cpu.prefers_rows(n_chains, GUESSED_DENSITY), _cpu.prefers_tiles(n_chains)
        )
        threads = threads_for(8.0 * len(betas) * weights.size, n_threads)
        if not native.fill(*parameters, np.ascontiguousarray(base, np.float32), betas, threads):
            return None
        return cls(native, len(betas), weights.shape, n_threads)

    def __enter__(self) -> NativeLadder:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _threads(self, n_rows: int) -> int:
        return threads_for(float(n_rows) * self._shape[0] * self._shape[1], self._n_threads)

    def exchange(
        self, hidden: States, marks: NDArray[np.int8], first: int, log_u: NDArray[np.float64]
    ) -> tuple[PackedBits, NDArray[np.int8], NDArray[np.float64], NDArray[np.int64]]:
        """See `Ladder.exchange`."""
        assert isinstance(hidden, PackedBits)
        words, to, log_ratio = np.empty_like(hidden.words), np.empty_like(marks), np.empty_like(log_u)
        accepted = np.empty(len(log_u), dtype=np.int64)
        threads = self._threads(2 * log_u.shape[1])
        self._native.exchange(hidden.words, marks, first, log_u, words, to, log_ratio, accepted, threads)
        return PackedBits(words, hidden.n_units), to, log_ratio, accepted

    def run_chains(self, hidden: States, draw: Draw, n_sweeps: int) -> tuple[PackedBits, PackedBits]:
        """See `Ladder.run_chains`."""
        assert isinstance(hidden, PackedBits)
        n, (n_hidden, n_visible) = len(hidden) // self._n_temperatures, self._shape
        visible = np.empty((n, n_words(n_visible)), dtype=np.uint64)
        out = np.empty_like(hidden.words)
        self._native.run_chains(hidden.words, visible, out, draw, n_sweeps, self._threads(n * n_sweeps))
        return PackedBits(visible, n_visible), PackedBits(out, n_hidden)
