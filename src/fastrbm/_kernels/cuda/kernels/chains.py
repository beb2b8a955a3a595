"""Gibbs sweeps of many chains in one cooperative launch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .layer import QUADS, WORDS, make_layer
from .scalar import ONE
from .target import cuda, grid_sync, kernel_for
from .tiles import PITCH, STEP, THREADS_HELD, Tile, of_each_tile, pitch_of

_LOW = 0xFFFFFFFF


def make_chains_kernel(tile: Tile):
    """Kernel: sweeps v ~ p(v|h), h ~ p(h|v) at steps step, step + 1, ... of all chains; both layers change in place."""
    layer = make_layer(tile)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def chains_kernel(
        hidden, visible, n, none, to_hidden, to_visible, hidden_bias, visible_bias, unit, seed_low, seed_high, step,
        chain0,
        n_sweeps, planes, means, totals, rows,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        n_hidden, n_visible = hidden_bias.size, visible_bias.size
        for sweep in range(n_sweeps):
            at = step + sweep
            low, high = at & _LOW, (at >> 32) & 0xFFFFFF
            layer(
                hidden, pitch_of(n_hidden), none, 0, n, (n_hidden + STEP - 1) // STEP, to_visible, visible_bias, unit,
                n_visible, seed_low,
                seed_high, low, high, chain0, WORDS, visible, planes, 1, 0, means, 1, ONE, totals, rows, shared, quads,
            )  # fmt: skip
            grid_sync()
            layer(
                visible, pitch_of(n_visible), none, 0, n, (n_visible + STEP - 1) // STEP, to_hidden, hidden_bias,
                unit, n_hidden, seed_low,
                seed_high, low, (1 << 24) | high, chain0, WORDS, hidden, planes, 1, 0, means, 1, ONE, totals, rows,
                shared,
                quads,
            )  # fmt: skip
            grid_sync()

    return chains_kernel


def signature() -> Any:
    """Types of the arguments of `make_chains_kernel`."""
    words, fragments, reals = types.uint32[::1], types.uint64[::1], types.float32[::1]
    return types.void(
        words, words, types.int64, types.int64[::1], fragments, fragments, reals, reals, reals, *[types.int64] * 5,
        words, fragments,
        types.int32[::1], types.float32[:, ::1],
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return of_each_tile("Gibbs sweeps", make_chains_kernel, signature())
