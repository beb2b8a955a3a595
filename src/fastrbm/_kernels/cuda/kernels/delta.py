"""Sweeps by flips: the sums of every neuron are kept, and the weights of the inputs that flipped are added to them.

Tiles where many inputs have flipped take the whole product. Sums are exact, so that changes no state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arguments import Chains, Draws, Flips, Integers, Long, Longs, Model, Quantised, Rows, Weights, signature_of
from .layer import QUADS, make_to_words
from .quantise import IS_SHORT, quantised
from .scalar import ONE, address_at, is_on, philox, sigmoid_scale
from .target import add, cuda, device, div, grid_sync, kernel_for, mul
from .tiles import PITCH, STEP, WIDTH, Tile, make_product, of_each_tile, pitch_of, steps_of

#: a flip costs this many times what an input does in a whole product, by the count of instructions
FLIP_COST = 32


class Place(NamedTuple):
    """A row of packed bits: its words begin at number `at`."""

    words: Any
    at: Any


@device
def sum_of_flips(now, before, first, n_steps, stride, integers, neuron, n_neurons):
    """Weights of a neuron over the inputs that came on between two states, less those over the ones that went off.

    Each state is a `Place`, of which every `stride`-th word from number `first` on counts, up to `n_steps`;
    ``integers[input, neuron]`` (flat) are the weights.
    """
    # unsigned as in `make_accumulate`: indices that may be negative take more registers
    at, was = np.uint64(now.at + first), np.uint64(before.at + first)
    place = np.uint64(STEP * first * n_neurons + neuron)
    total = np.int64(0)
    for _ in range(first, n_steps, stride):
        word = now.words[at]
        flipped = np.uint32(word ^ before.words[was])
        at += np.uint64(stride)
        was += np.uint64(stride)
        while flipped != 0:
            b = np.int64(cuda.ffs(flipped)) - 1
            flipped &= np.uint32(flipped - np.uint32(1))
            weight = np.int64(integers[place + np.uint64(b * n_neurons)])
            if (word >> np.uint32(b)) & np.uint32(1):
                total += weight
            else:
                total -= weight
        place += np.uint64(STEP * stride * n_neurons)
    return total


class DeltaTiles(NamedTuple):
    """Shared memory of a block: sums and drawn bits of a tile, and the flips of its rows."""

    sums: Any
    quads: Any
    count: Any


def make_delta_layer(tile: Tile):
    """Phase: one layer of Bernoulli neurons drawn from sums that follow the flips of its inputs.

    ``delta_layer(rows, before, fresh, n_inputs, weights, flips, at, words, first, counters, tiles)``: the inputs are
    `Rows`, and those of the sweep before are the rows from `before` on of the same words. The sums of `Flips` are of
    the latter, or of nothing if `fresh`, and become those of the inputs. Drawn states go to the rows of `words` from
    `first` on. ``counters[0]`` grows by the multiply-adds, ``[1]`` by the tiles of whole products; `tiles` is shared
    memory, `DeltaTiles`.
    """
    product, to_words = make_product(tile), make_to_words(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def delta_layer(rows, before, fresh, n_inputs, weights, flips, at, words, first, counters, tiles):
        n, n_neurons, pitch, n_steps = rows.n, weights.n_neurons, rows.pitch, weights.n_steps
        integers, sums, shared, quads, count_of_flips = flips.integers, flips.sums, tiles.sums, tiles.quads, tiles.count
        down = (n + n_rows - 1) // n_rows
        n_tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, n_tiles, cuda.gridDim.x):
            row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
            here = min(n_rows, n - row0)
            if cuda.threadIdx.x == 0:
                count_of_flips[0] = 0
            cuda.syncthreads()
            if not fresh:
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    row, count = row0 + (item >> 3), np.int32(0)
                    for step in range(item & 7, n_steps, QUADS):
                        flipped = (
                            rows.words[(rows.first + row) * pitch + step] ^ rows.words[(before + row) * pitch + step]
                        )
                        count += np.int32(cuda.popc(flipped))
                    cuda.atomic.add(count_of_flips, 0, count)
                cuda.syncthreads()
            work = np.int64(count_of_flips[0])
            whole = fresh or FLIP_COST * work > here * n_inputs
            if whole:
                work = here * n_inputs
                product(rows, row0, weights.fragments, n_steps, neuron0, shared)
            else:
                for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                    row, column = item >> 5, item & 31
                    if neuron0 + column < n_neurons:
                        place = neuron0 + column
                        total = np.int64(sums[(row0 + row) * n_neurons + place]) + sum_of_flips(
                            Place(rows.words, (rows.first + row0 + row) * pitch),
                            Place(rows.words, (before + row0 + row) * pitch), 0, n_steps, 1, integers, place,
                            n_neurons,
                        )  # fmt: skip
                        shared[row, column] = np.int32(total)
                cuda.syncthreads()
            for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                row, column = item >> 5, item & 31
                if neuron0 + column < n_neurons:
                    sums[(row0 + row) * n_neurons + neuron0 + column] = shared[row, column]
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits = np.uint32(0)
                w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, row0 + row, at)
                for j in range(4):
                    column = 4 * quad + j
                    if row < here and neuron0 + column < n_neurons:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        x = add(
                            weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(shared[row, column]))
                        )
                        if is_on(word, sigmoid_scale(x)):
                            bits |= np.uint32(1 << j)
                quads[row, quad] = bits
            if cuda.threadIdx.x == 0:
                cuda.atomic.add(counters, 0, work * min(WIDTH, n_neurons - neuron0))
                if whole:
                    cuda.atomic.add(counters, 1, np.int64(1))
            cuda.syncthreads()
            to_words(quads, first + row0, first + n, neuron0, n_neurons, words)
            cuda.syncthreads()

    return delta_layer


def make_delta_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`, each layer by turns in the two halves of its rows.

    The first hidden states are in the first half, and the first visible ones go to the first half.
    """
    delta_layer = make_delta_layer(tile)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, tile.blocks())
    def delta_kernel(
        chains: Chains, model: Model, of_hidden: Flips, of_visible: Flips, draws: Draws, n_sweeps: Long, counters: Longs
    ):  # fmt: skip
        sums = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        count = cuda.shared.array(1, np.int32)
        tiles = DeltaTiles(sums, quads, count)
        n, n_hidden, n_visible = chains.n, model.hidden_bias.size, model.visible_bias.size
        for sweep in range(n_sweeps):
            first = (sweep & 1) * n
            other = n - first
            delta_layer(
                Rows(chains.hidden, chains.order, first, n, pitch_of(n_hidden)), other, sweep == 0, n_hidden,
                Weights(model.to_visible, model.visible_bias, model.quantum, steps_of(n_hidden), n_visible), of_visible,
                address_at(draws, sweep, 0), chains.visible, first, counters, tiles,
            )  # fmt: skip
            grid_sync()
            delta_layer(
                Rows(chains.visible, chains.order, first, n, pitch_of(n_visible)), other, sweep == 0, n_visible,
                Weights(model.to_hidden, model.hidden_bias, model.quantum, steps_of(n_visible), n_hidden), of_hidden,
                address_at(draws, sweep, 1), chains.hidden, other, counters, tiles,
            )  # fmt: skip
            grid_sync()

    return delta_kernel


@cuda.jit
def integers_kernel(model: Quantised, by_visible: Integers, by_hidden: Integers):
    """Quantised weights as rows of visible and of hidden inputs (flat)."""
    n_hidden, n_visible = model.n_hidden, model.n_visible
    scale = div(ONE, model.quantum[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = quantised(model.weights[at], scale, model.control[IS_SHORT] != 0)
        by_hidden[at] = integer
        by_visible[(at % n_visible) * n_hidden + at // n_visible] = integer


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        *of_each_tile("delta sweeps", make_delta_kernel),
        ("integers of weights", integers_kernel, signature_of(integers_kernel)),
    ]
