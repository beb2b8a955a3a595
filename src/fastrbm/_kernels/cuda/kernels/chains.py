"""Gibbs sweeps of many chains in one cooperative launch."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import Chains, Drawn, Draws, Long, Model, Rows, Weights
from .layer import QUADS, WORDS, make_layer
from .scalar import address_at
from .target import cuda, grid_sync, kernel_for
from .tiles import PITCH, Tile, of_each_tile, pitch_of, steps_of


def make_chains_kernel(tile: Tile):
    """Kernel: sweeps v ~ p(v|h), h ~ p(h|v) at steps step, step + 1, ... of all chains; both layers change in place."""
    layer = make_layer(tile, Drawn)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, tile.blocks())
    def chains_kernel(chains: Chains, model: Model, draws: Draws, n_sweeps: Long):
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        n_hidden, n_visible = model.hidden_bias.size, model.visible_bias.size
        for sweep in range(n_sweeps):
            layer(
                Rows(chains.hidden, chains.order, 0, chains.n, pitch_of(n_hidden)),
                Weights(model.to_visible, model.visible_bias, model.quantum, steps_of(n_hidden), n_visible),
                address_at(draws, sweep, 0), WORDS, Drawn(chains.visible), shared, quads,
            )  # fmt: skip
            grid_sync()
            layer(
                Rows(chains.visible, chains.order, 0, chains.n, pitch_of(n_visible)),
                Weights(model.to_hidden, model.hidden_bias, model.quantum, steps_of(n_visible), n_hidden),
                address_at(draws, sweep, 1), WORDS, Drawn(chains.hidden), shared, quads,
            )  # fmt: skip
            grid_sync()

    return chains_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        *of_each_tile("Gibbs sweeps", make_chains_kernel),
        *of_each_tile("Gibbs sweeps, short weights", make_chains_kernel, limbs=2),
    ]
