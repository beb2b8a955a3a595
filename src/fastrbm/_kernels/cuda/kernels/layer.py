"""Gibbs half-steps: the sums of a layer's inputs, its means, its draws and their packing, in one pass of a block.

Phases are device functions that all blocks of a grid call together; they go over the tiles of their result, so the same
phase serves as a kernel of its own and as a part of a whole training pass (`training.py`). What a phase leaves is for
the caller to choose:

* ``WORDS``: drawn states, rows of packed bits, as `PackedBits` has them (words of 32 bits);
* ``PLANES``: the same by unit, ``planes[unit, group]`` (flat) holds 32 rows a word: the other operand of the gradient;
* ``MEANS``: means times a scale rounded to integers, as fragments of the gradient's product (`tiles.py`), and their
  sums over the rows added to `totals`; with ``COUNTS`` drawn states times the scale in their place;
* ``ROWS`` / ``INPUTS``: means or inputs as rows of float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .scalar import ZERO, is_on, mean_of, nearest, philox, sigmoid_scale, uniform_of, word_at
from .target import add, cuda, device, mul
from .tiles import FRAGMENT, PITCH, WIDTH, Tile, fragment_of, make_product, of_each_tile, pitch_of

WORDS, PLANES, MEANS, COUNTS, ROWS, INPUTS = 1, 2, 4, 8, 16, 32
DRAWN = WORDS | PLANES | COUNTS
#: four-unit pieces of a row of a tile
QUADS = WIDTH // 4


def make_emit(tile: Tile):
    """Device function that packs the drawn bits of a tile, ``quads[row, unit // 4]``, into words and planes."""
    n_rows, threads = tile.rows, tile.threads

    @device
    def emit(quads, what, row0, n, unit0, n_units, words, planes, planes_pitch, group0):
        if what & WORDS:
            for row in range(cuda.threadIdx.x, n_rows, threads):
                if row0 + row < n:
                    word = np.uint32(0)
                    for q in range(QUADS):
                        word |= np.uint32(quads[row, q] << np.uint32(4 * q))
                    words[(row0 + row) * pitch_of(n_units) + (unit0 >> 5)] = word
        if what & PLANES:
            for item in range(cuda.threadIdx.x, n_rows, threads):
                unit, group = item & 31, item >> 5
                if unit0 + unit < n_units and row0 + 32 * group < n:
                    plane = np.uint32(0)
                    for row in range(32):
                        bit = (quads[32 * group + row, unit >> 2] >> np.uint32(unit & 3)) & np.uint32(1)
                        plane |= np.uint32(bit << np.uint32(row))
                    planes[(unit0 + unit) * planes_pitch + group0 + (row0 >> 5) + group] = plane

    return emit


def make_fragments(tile: Tile):
    """Device function that writes integers of a tile, ``values[row, unit]``, as fragments, and adds up their columns.

    ``to_fragments(values, row0, n, unit0, n_units, fragments, n_steps, group0, totals)``: rows are the inputs of the
    product, units its columns.
    """
    n_groups, threads = tile.rows // 32, tile.threads

    @device
    def to_fragments(values, row0, n, unit0, n_units, fragments, n_steps, group0, totals):
        eight = cuda.local.array(8, np.int32)
        for item in range(cuda.threadIdx.x, n_groups * 4 * 32, threads):
            lane, part, group = item & 31, (item >> 5) & 3, item >> 7
            if row0 + 32 * group < n:
                unit = 8 * part + (lane >> 2)
                for b in range(8):
                    eight[b] = values[32 * group + 16 * (b >> 2) + 4 * (lane & 3) + (b & 3), unit]
                at = (((unit0 >> 3) + part) * n_steps + group0 + (row0 >> 5) + group) * FRAGMENT + lane
                for limb in range(4):
                    fragments[at + 32 * limb] = fragment_of(eight, limb)
        for unit in range(cuda.threadIdx.x, WIDTH, threads):
            if unit0 + unit < n_units:
                total = np.int32(0)
                for row in range(32 * n_groups):
                    total += values[row, unit]
                cuda.atomic.add(totals, unit0 + unit, total)

    return to_fragments


def make_layer(tile: Tile):
    """Phase: one layer of Bernoulli units given rows of bits.

    ``layer(words, pitch, order, first, n, n_steps, fragments, bias, unit, n_units, seed_low, seed_high, step_low,
    step_high, chain0, what, out_words, planes, planes_pitch, group0, means, means_steps, scale, totals, rows, shared,
    quads)``: inputs are ``bias + unit[0] * sum`` of the rows that `make_product` describes; draws belong to chains
    `chain0` on.
    """
    product, emit, to_fragments = make_product(tile), make_emit(tile), make_fragments(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def layer(
        words, pitch, order, first, n, n_steps, fragments, bias, unit, n_units, seed_low, seed_high, step_low,
        step_high,
        chain0, what, out_words, planes, planes_pitch, group0, means, means_steps, scale, totals, rows, shared, quads,
    ):  # fmt: skip
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            product(words, pitch, order, first, n, row0, n_steps, fragments, unit0, shared)
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                at, bits = row0 + row, np.uint32(0)
                w0, w1, w2, w3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
                if what & DRAWN:
                    w0, w1, w2, w3 = philox(
                        (unit0 >> 2) + quad, chain0 + at, step_low, step_high, seed_low, seed_high
                    )  # fmt: skip
                for j in range(4):
                    column, value = 4 * quad + j, np.int32(0)
                    if at < n and unit0 + column < n_units:
                        x = add(bias[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                        inverse = sigmoid_scale(x)
                        if what & DRAWN:
                            word = word_at(j, w0, w1, w2, w3)
                            if is_on(word, inverse):
                                bits |= np.uint32(1 << j)
                                value = np.int32(scale)
                        if what & MEANS:
                            value = nearest(mul(mean_of(inverse), scale))
                        if what & ROWS:
                            rows[at, unit0 + column] = mean_of(inverse)
                        if what & INPUTS:
                            rows[at, unit0 + column] = x
                    shared[row, column] = value
                quads[row, quad] = bits
            cuda.syncthreads()
            if what & DRAWN:
                emit(quads, what, row0, n, unit0, n_units, out_words, planes, planes_pitch, group0)
            if what & (MEANS | COUNTS):
                to_fragments(shared, row0, n, unit0, n_units, means, means_steps, group0, totals)
            cuda.syncthreads()

    return layer


def make_draw_rows(tile: Tile):
    """Phase: bits that are on with the probabilities in rows of float32 (or as often as an input's sigmoid says).

    ``draw_rows(grey, order, first, n, n_units, as_inputs, seed_low, seed_high, step_low, step_high, chain0, what,
    out_words, planes, planes_pitch, quads)``.
    """
    emit = make_emit(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def draw_rows(
        grey, order, first, n, n_units, as_inputs, seed_low, seed_high, step_low, step_high, chain0, what, out_words,
        planes, planes_pitch, quads,
    ):  # fmt: skip
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                at, bits = row0 + row, np.uint32(0)
                w0, w1, w2, w3 = philox((unit0 >> 2) + quad, chain0 + at, step_low, step_high, seed_low, seed_high)
                for j in range(4):
                    column = unit0 + 4 * quad + j
                    if at < n and column < n_units:
                        source = first + at
                        if order.size > 0:
                            source = order[first + at]
                        word = word_at(j, w0, w1, w2, w3)
                        if as_inputs:
                            on = is_on(word, sigmoid_scale(grey[source, column]))
                        else:
                            on = uniform_of(word) < grey[source, column]
                        if on:
                            bits |= np.uint32(1 << j)
                quads[row, quad] = bits
            cuda.syncthreads()
            emit(quads, what, row0, n, unit0, n_units, out_words, planes, planes_pitch, 0)
            cuda.syncthreads()

    return draw_rows


@device
def turn_rows(words, order, first, n, n_units, planes, planes_pitch, group0):
    """Phase: planes of given rows of bits; rows as `make_product` describes them."""
    groups = (n + 31) >> 5
    columns = (n_units + 31) >> 5
    for item in range(cuda.grid(1), groups * columns * 32, cuda.gridsize(1)):
        unit = item % (32 * columns)
        group = item // (32 * columns)
        if unit < n_units:
            plane = np.uint32(0)
            for row in range(32):
                at = 32 * group + row
                if at < n:
                    source = first + at
                    if order.size > 0:
                        source = order[first + at]
                    bit = (words[source * pitch_of(n_units) + (unit >> 5)] >> np.uint32(unit & 31)) & np.uint32(1)
                    plane |= np.uint32(bit << np.uint32(row))
            planes[unit * planes_pitch + group0 + group] = plane


def make_layer_kernel(tile: Tile):
    """`make_layer` as a kernel."""
    layer = make_layer(tile)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @cuda.jit
    def layer_kernel(
        words, pitch, order, first, n, n_steps, fragments, bias, unit, n_units, seed_low, seed_high, step_low,
        step_high,
        chain0, what, out_words, planes, planes_pitch, group0, means, means_steps, scale, totals, rows,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        layer(
            words, pitch, order, first, n, n_steps, fragments, bias, unit, n_units, seed_low, seed_high, step_low,
            step_high, chain0, what, out_words, planes, planes_pitch, group0, means, means_steps, scale, totals, rows,
            shared, quads,
        )  # fmt: skip

    return layer_kernel


def make_draw_kernel(tile: Tile):
    """`make_draw_rows` as a kernel."""
    draw_rows = make_draw_rows(tile)
    quad_shape = (tile.rows, QUADS)

    @cuda.jit
    def draw_kernel(
        grey, order, first, n, n_units, as_inputs, seed_low, seed_high, step_low, step_high, chain0, what, out_words,
        planes, planes_pitch,
    ):  # fmt: skip
        quads = cuda.shared.array(quad_shape, np.uint32)
        draw_rows(
            grey, order, first, n, n_units, as_inputs, seed_low, seed_high, step_low, step_high, chain0, what,
            out_words,
            planes, planes_pitch, quads,
        )  # fmt: skip

    return draw_kernel


@cuda.jit
def turn_kernel(words, order, first, n, n_units, planes, planes_pitch, group0):
    """`turn_rows` as a kernel."""
    turn_rows(words, order, first, n, n_units, planes, planes_pitch, group0)


@cuda.jit
def fragments_kernel(means, scale, n_steps, group0, fragments, totals):
    """Fragments over the rows of float32 means times `scale`, rounded; one thread a fragment of four bytes' eight."""
    n, n_units = means.shape
    groups = (n + 31) >> 5
    parts = 4 * ((n_units + WIDTH - 1) // WIDTH)
    eight = cuda.local.array(8, np.int32)
    item = cuda.grid(1)
    if item < groups * parts * 32:
        lane, part, group = item & 31, (item >> 5) % parts, item // (32 * parts)
        unit, total = 8 * part + (lane >> 2), np.int32(0)
        for b in range(8):
            row = 32 * group + 16 * (b >> 2) + 4 * (lane & 3) + (b & 3)
            eight[b] = 0
            if row < n and unit < n_units:
                eight[b] = nearest(mul(means[row, unit], scale))
                total += eight[b]
        for limb in range(4):
            fragments[(part * n_steps + group0 + group) * FRAGMENT + 32 * limb + lane] = fragment_of(eight, limb)
        if unit < n_units and total != ZERO:
            cuda.atomic.add(totals, unit, total)


def layer_signature() -> Any:
    """Types of the arguments of `make_layer_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    return types.void(
        words, i64, types.int64[::1], i64, i64, i64, fragments, reals, reals, *[i64] * 7, words, words, i64, i64,
        fragments, i64, types.float32, types.int32[::1], types.float32[:, ::1],
    )  # fmt: skip


def draw_signature() -> Any:
    """Types of the arguments of `make_draw_kernel`."""
    i64, words = types.int64, types.uint32[::1]
    return types.void(
        types.float32[:, ::1], types.int64[::1], i64, i64, i64, types.boolean, *[i64] * 6, words, words, i64
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, fragments, totals = types.int64, types.uint64[::1], types.int32[::1]
    signature = types.void(types.float32[:, ::1], types.float32, i64, i64, fragments, totals)
    words = types.uint32[::1]
    return [
        *of_each_tile("layer", make_layer_kernel, layer_signature()),
        *of_each_tile("draw rows", make_draw_kernel, draw_signature()),
        ("fragments of means", fragments_kernel, signature),
        ("planes of rows", turn_kernel, types.void(words, types.int64[::1], i64, i64, i64, words, i64, i64)),
    ]
