"""Gibbs half-steps: the sums of a layer's inputs, its means, its draws and their packing, in one pass of a block.

Phases are device functions that all blocks of a grid call together; they go over the tiles of their result, so the same
phase serves as a kernel of its own and as a part of a whole training pass (`training.py`). What a phase leaves is for
the caller to choose:

* ``WORDS``: drawn states;
* ``PLANES``: the same by neuron, one operand of the gradient;
* ``MEANS``: means times a scale rounded to integers, the other operand; with ``COUNTS`` drawn states times the scale;
* ``ROWS`` / ``INPUTS``: means or inputs as rows of float32.

Where it leaves them is a tuple that has place for what the caller may choose: `Drawn` or `Outputs`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .arguments import Address, Flag, GreyRows, Long, Outputs, Rows, Weights, signature_of
from .scalar import ZERO, is_on, mean_of, nearest, philox, sigmoid_scale, uniform_of, word_at
from .target import add, cuda, device, mul
from .tiles import (
    FRAGMENT,
    PITCH,
    WIDTH,
    Tile,
    fragment_of,
    input_of,
    make_product_of_weights,
    of_each_tile,
    pitch_of,
    place_of,
    this_place,
    this_thread,
)

WORDS, PLANES, MEANS, COUNTS, ROWS, INPUTS = 1, 2, 4, 8, 16, 32
DRAWN = WORDS | PLANES | COUNTS
#: pieces of four neurons of a row of a tile
QUADS = WIDTH // 4


def make_to_words(tile: Tile):
    """Device function that packs the drawn bits of a tile, ``quads[row, neuron // 4]``, into rows from row0 to n."""
    n_rows, threads = tile.rows, tile.threads

    @device
    def to_words(quads, row0, n, neuron0, n_neurons, words):
        for row in range(this_thread(), n_rows, threads):
            if row0 + row < n:
                word = np.uint32(0)
                for q in range(QUADS):
                    quad = (q + (row >> 2)) & (QUADS - 1)  # threads begin in different banks
                    word |= np.uint32(quads[row, quad] << np.uint32(4 * quad))
                words[(row0 + row) * pitch_of(n_neurons) + (neuron0 >> 5)] = word

    return to_words


def make_to_planes(tile: Tile):
    """Device function that packs the drawn bits of a tile into planes, as `Outputs` has them."""
    n_rows, threads = tile.rows, tile.threads

    @device
    def to_planes(quads, row0, n, neuron0, n_neurons, planes, pitch, first_group):
        for item in range(this_thread(), n_rows, threads):
            neuron, group = item & 31, item >> 5
            if neuron0 + neuron < n_neurons and row0 + 32 * group < n:
                plane = np.uint32(0)
                for row in range(32):
                    bit = (quads[32 * group + row, neuron >> 2] >> np.uint32(neuron & 3)) & np.uint32(1)
                    plane |= np.uint32(bit << np.uint32(row))
                planes[(neuron0 + neuron) * pitch + first_group + (row0 >> 5) + group] = plane

    return to_planes


def make_to_fragments(tile: Tile):
    """Device function that writes integers of a tile, ``values[row, neuron]``, to the means of `Outputs`."""
    n_groups, threads = tile.rows // 32, tile.threads

    @device
    def to_fragments(values, row0, n, neuron0, n_neurons, out):
        eight = cuda.local.array(8, np.int32)
        for item in range(this_thread(), n_groups * 4 * 32, threads):
            lane, part, group = item & 31, (item >> 5) & 3, item >> 7
            if row0 + 32 * group < n:
                neuron = 8 * part + (lane >> 2)
                for b in range(8):
                    eight[b] = values[32 * group + input_of(lane, b), neuron]
                step = out.first_group + (row0 >> 5) + group
                at = (((neuron0 >> 3) + part) * out.n_steps + step) * FRAGMENT
                for limb in range(4):
                    out.means[at + place_of(limb, lane)] = fragment_of(eight, limb)
        for neuron in range(this_thread(), WIDTH, threads):
            if neuron0 + neuron < n_neurons:
                total = np.int32(0)
                for row in range(32 * n_groups):
                    total += values[row, neuron]
                cuda.atomic.add(out.totals, neuron0 + neuron, total)

    return to_fragments


def make_layer(tile: Tile, kind: Any, for_gradient: bool = False, inputs: bool = False):
    """Phase: one layer of Bernoulli neurons given rows of bits.

    ``layer(rows, weights, at, what, out, shared, quads)``: `rows` are the states of the other layer (`Rows`), `weights`
    those into this one (`Weights`), `at` is the `Address` of its draws, and `out` is of the given kind: `Drawn` for
    words alone, `Outputs` for rows of numbers as well or, if `for_gradient`, for planes and fragments, beside which
    there may be rows of `inputs`.
    """
    product, to_words = make_product_of_weights(tile), make_to_words(tile)
    to_planes, to_fragments = make_to_planes(tile), make_to_fragments(tile)
    n_rows, threads, means = tile.rows, tile.threads, kind is Outputs and not for_gradient
    inputs = inputs or means

    @device
    def layer(rows, weights, at, what, out, shared, quads):
        n, n_neurons, n_steps = rows.n, weights.n_neurons, weights.n_steps
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
            product(rows, row0, weights.fragments, n_steps, neuron0, shared)
            for item in range(this_thread(), n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                place, bits = row0 + row, np.uint32(0)
                w0, w1, w2, w3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
                if what & DRAWN:
                    w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, place, at)
                for j in range(4):
                    column, value = 4 * quad + j, np.int32(0)
                    if place < n and neuron0 + column < n_neurons:
                        x = add(
                            weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(shared[row, column]))
                        )
                        inverse = sigmoid_scale(x)
                        if what & DRAWN:
                            word = word_at(j, w0, w1, w2, w3)
                            if is_on(word, inverse):
                                bits |= np.uint32(1 << j)
                                if for_gradient:
                                    value = np.int32(out.scale)
                        if for_gradient:
                            if what & MEANS:
                                value = nearest(mul(mean_of(inverse), out.scale))
                        if means:
                            if what & ROWS:
                                out.rows[place, neuron0 + column] = mean_of(inverse)
                        if inputs:
                            if what & INPUTS:
                                out.rows[place, neuron0 + column] = x
                    shared[row, column] = value  # unread if not for a gradient; without it annealing spills
                quads[row, quad] = bits
            cuda.syncthreads()
            if what & DRAWN:
                if what & WORDS:
                    to_words(quads, row0, n, neuron0, n_neurons, out.words)
                if for_gradient:
                    if what & PLANES:
                        to_planes(quads, row0, n, neuron0, n_neurons, out.planes, out.pitch, out.first_group)
            if for_gradient:
                if what & (MEANS | COUNTS):
                    to_fragments(shared, row0, n, neuron0, n_neurons, out)
                # the next product writes to `shared`; it ends with a barrier, after which `quads` are written
                cuda.syncthreads()

    return layer


def make_draw_rows(tile: Tile, kind: Any):
    """Phase: bits that are on with the probabilities in `GreyRows` (or as often as an input's sigmoid says).

    ``draw_rows(grey, as_inputs, at, what, out, quads)``: `out` is of the given kind.
    """
    to_words, to_planes = make_to_words(tile), make_to_planes(tile)
    n_rows, threads, anything = tile.rows, tile.threads, kind is Outputs

    @device
    def draw_rows(grey, n_neurons, as_inputs, at, what, out, quads):
        n = grey.n
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
            for item in range(this_thread(), n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                place, bits = row0 + row, np.uint32(0)
                w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, place, at)
                for j in range(4):
                    column = neuron0 + 4 * quad + j
                    if place < n and column < n_neurons:
                        source = grey.first + place
                        if grey.order.size > 0:
                            source = grey.order[grey.first + place]
                        word = word_at(j, w0, w1, w2, w3)
                        if as_inputs:
                            on = is_on(word, sigmoid_scale(grey.values[source, column]))
                        else:
                            on = uniform_of(word) < grey.values[source, column]
                        if on:
                            bits |= np.uint32(1 << j)
                quads[row, quad] = bits
            cuda.syncthreads()
            if what & WORDS:
                to_words(quads, row0, n, neuron0, n_neurons, out.words)
            if anything:
                if what & PLANES:
                    to_planes(quads, row0, n, neuron0, n_neurons, out.planes, out.pitch, 0)
            cuda.syncthreads()

    return draw_rows


@device
def transpose_rows(rows, n_neurons, planes, pitch, first_group):
    """Phase: planes of given `Rows` of bits, as `Outputs` has them."""
    groups = (rows.n + 31) >> 5
    columns = (n_neurons + 31) >> 5
    for item in range(this_place(), groups * columns * 32, cuda.gridsize(1)):
        neuron = item % (32 * columns)
        group = item // (32 * columns)
        if neuron < n_neurons:
            plane = np.uint32(0)
            for row in range(32):
                at = 32 * group + row
                if at < rows.n:
                    source = rows.first + at
                    if rows.order.size > 0:
                        source = rows.order[rows.first + at]
                    word = rows.words[source * pitch_of(n_neurons) + (neuron >> 5)]
                    bit = (word >> np.uint32(neuron & 31)) & np.uint32(1)
                    plane |= np.uint32(bit << np.uint32(row))
            planes[neuron * pitch + first_group + group] = plane


def make_layer_kernel(tile: Tile):
    """`make_layer` as a kernel."""
    layer = make_layer(tile, Outputs)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @cuda.jit
    def layer_kernel(rows: Rows, weights: Weights, at: Address, what: Long, out: Outputs):
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        layer(rows, weights, at, what, out, shared, quads)

    return layer_kernel


def make_draw_kernel(tile: Tile):
    """`make_draw_rows` as a kernel."""
    draw_rows = make_draw_rows(tile, Outputs)
    quad_shape = (tile.rows, QUADS)

    @cuda.jit
    def draw_kernel(grey: GreyRows, n_neurons: Long, as_inputs: Flag, at: Address, what: Long, out: Outputs):
        quads = cuda.shared.array(quad_shape, np.uint32)
        draw_rows(grey, n_neurons, as_inputs, at, what, out, quads)

    return draw_kernel


@cuda.jit
def transpose_kernel(rows: Rows, planes: Rows, first_group: Long):
    """`transpose_rows` as a kernel; `planes` has a row for each neuron."""
    transpose_rows(rows, planes.n, planes.words, planes.pitch, first_group)


@cuda.jit
def fragments_kernel(means, scale, n_steps, first_group, fragments, totals):
    """Fragments over the rows of float32 means times `scale`, rounded; one thread a fragment of four bytes' eight."""
    n, n_neurons = means.shape
    groups = (n + 31) >> 5
    parts = 4 * ((n_neurons + WIDTH - 1) // WIDTH)
    eight = cuda.local.array(8, np.int32)
    item = cuda.grid(1)
    if item < groups * parts * 32:
        lane, part, group = item & 31, (item >> 5) % parts, item // (32 * parts)
        neuron, total = 8 * part + (lane >> 2), np.int32(0)
        for b in range(8):
            row = 32 * group + input_of(lane, b)
            eight[b] = 0
            if row < n and neuron < n_neurons:
                eight[b] = nearest(mul(means[row, neuron], scale))
                total += eight[b]
        for limb in range(4):
            at = (part * n_steps + first_group + group) * FRAGMENT
            fragments[at + place_of(limb, lane)] = fragment_of(eight, limb)
        if neuron < n_neurons and total != ZERO:
            cuda.atomic.add(totals, neuron, total)


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, fragments, totals = types.int64, types.uint64[::1], types.int32[::1]
    signature = types.void(types.float32[:, ::1], types.float32, i64, i64, fragments, totals)
    return [
        *of_each_tile("layer", make_layer_kernel),
        *of_each_tile("layer, short weights", make_layer_kernel, limbs=2),
        *of_each_tile("draw rows", make_draw_kernel),
        ("fragments of means", fragments_kernel, signature),
        ("planes of rows", transpose_kernel, signature_of(transpose_kernel)),
    ]
