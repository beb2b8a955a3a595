"""Sweeps from 16 bits of the weights, half of the work of tensor cores, that draw the states of whole products.

A weight is w = 2^s c + r, with one s for all weights of a neuron, such that c takes 16 bits, and 0 <= r < 2^s. Tensor
cores add up c, so the sum of a neuron whose row has k active inputs is known to lie within (2^s - 1) k. Neurons that
both ends of that range decide alike are drawn; for the others r is added up over the active inputs, which gives the
exact sum and so the draw of the whole product. (filters.h has the same for the CPU.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arguments import Chains, Coarse, Draws, Integers, Long, Longs, Model, Quantised, Rows, Weights, signature_of
from .layer import QUADS, make_to_words
from .quantise import IS_SHORT, quantised
from .scalar import ONE, address_at, cell_of, is_on, philox, sigmoid_scale
from .target import add, cuda, device, div, grid_sync, kernel_for, low_word, mul
from .tiles import (
    FRAGMENT,
    LANES,
    PITCH,
    STEP,
    WIDTH,
    Tile,
    fragment_of,
    input_of,
    make_product,
    of_each_tile,
    pitch_of,
    place_of,
    spread,
    steps_of,
)

_CELLS = np.float32(2.0**23)
#: FRBM_SLACK of the CPU kernels on either side: sigmoid_scale rounds, so it need not fall where its argument rises
ABOVE, BELOW = np.float32(1 + 2e-5), np.float32(1 - 2e-5)
#: c + 2^15 is not negative, and has so many bytes
_ZERO_POINT, LIMBS = 15, 2
#: threads that share the remainders of a sum: one of 4 lanes of a fragment, and every 4th step
_LANES_OF_SUM, _STEPS_OF_SUM = 4, 4

_EVEN = np.uint64(0x00FF00FF00FF00FF)
_EACH = np.uint64(0x0101010101010101)
_BYTE, _HALF, _WORD = np.uint64(8), np.uint64(16), np.uint64(32)
_BYTE_MASK, _HALF_MASK = np.uint64(255), np.uint64(0xFFFF)


@cuda.jit
def sizes_kernel(model: Quantised, sizes: Integers):
    """Largest magnitude of the integers of each visible, then of each hidden neuron, into zeros."""
    n_hidden, n_visible = model.n_hidden, model.n_visible
    scale = div(ONE, model.quantum[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = quantised(model.weights[at], scale, model.control[IS_SHORT] != 0)
        size = np.int32(max(integer, ~integer))  # what counts is how many bits there are besides the sign
        cuda.atomic.max(sizes, at % n_visible, size)
        cuda.atomic.max(sizes, n_visible + at // n_visible, size)


@device
def shift_of(size):
    """Find s of a neuron from its largest magnitude."""
    shift = 0
    while (size >> shift) >= 1 << _ZERO_POINT:
        shift += 1
    return shift


@device
def pack_coarse(weights, input_stride, n_inputs, neuron_stride, n_neurons, scale, is_short, sizes, first, coarse):
    """Fragments of c + 2^15 for neurons whose sizes begin at `first`; weight of (input, neuron) by strides."""
    steps = (n_inputs + STEP - 1) // STEP
    parts = 4 * ((n_neurons + WIDTH - 1) // WIDTH)
    eight = cuda.local.array(8, np.int32)
    for item in range(cuda.grid(1), parts * steps * LANES, cuda.gridsize(1)):
        lane, step, part = item & 31, (item >> 5) % steps, item // (LANES * steps)
        neuron, shift = 8 * part + (lane >> 2), 0
        if neuron < n_neurons:
            shift = shift_of(sizes[first + neuron])
            if step == 0 and lane & 3 == 0:
                coarse.shifts[neuron] = shift
        for b in range(8):
            at = STEP * step + input_of(lane, b)
            eight[b] = 0
            if neuron < n_neurons and at < n_inputs:
                integer = quantised(weights[at * input_stride + neuron * neuron_stride], scale, is_short)
                eight[b] = np.int32((integer >> shift) + (1 << _ZERO_POINT))
        for limb in range(LIMBS):
            coarse.fragments[(part * steps + step) * LIMBS * LANES + place_of(limb, lane)] = fragment_of(eight, limb)


@cuda.jit
def coarse_kernel(model: Quantised, sizes: Integers, to_hidden: Coarse, to_visible: Coarse):
    """`pack_coarse` for both directions."""
    n_hidden, n_visible = model.n_hidden, model.n_visible
    scale, is_short = div(ONE, model.quantum[0]), model.control[IS_SHORT] != 0
    pack_coarse(model.weights, 1, n_visible, n_visible, n_hidden, scale, is_short, sizes, n_visible, to_hidden)
    pack_coarse(model.weights, n_visible, n_hidden, 1, n_visible, scale, is_short, sizes, 0, to_visible)


@device
def word_of(block, place, row, at):
    """Random word of neuron 4 block + place of a row, by the `Address` of the layer."""
    w0, w1, w2, w3 = philox(block, row, at)
    if place == 1:
        return w1
    if place == 2:
        return w2
    if place == 3:
        return w3
    return w0


class LowTiles(NamedTuple):
    """Shared memory of a block: sums and drawn bits of a tile, active inputs by row, neurons that are left open."""

    sums: Any
    quads: Any
    active: Any
    places: Any
    count: Any


@device
def sum_where(eight, mask):
    """Sum of the bytes of a uint64 that are in the mask."""
    kept = eight & mask
    twos = (kept & _EVEN) + ((kept >> _BYTE) & _EVEN)
    twos += twos >> _WORD
    return (twos + (twos >> _HALF)) & _HALF_MASK


@device
def remainders(words, start, n_steps, fragments, column, shift, part):
    """Part of the sum of the remainders r of a column over active inputs, whose words are at `start`.

    Of `part` the lowest two bits say which inputs of a step, the others which steps.
    """
    lane = 4 * (column & 7) + (part & 3)
    place, total = part & 3, np.uint64(0)
    of_low = _EACH * np.uint64((1 << min(shift, 8)) - 1)
    of_high = _EACH * np.uint64((1 << max(shift - 8, 0)) - 1)
    for step in range(part >> 2, n_steps, _STEPS_OF_SUM):
        word = words[start + step]
        mask = np.uint64(spread(word, place)) | (np.uint64(spread(word, place + 4)) << _WORD)
        mask *= _BYTE_MASK
        at = ((column >> 3) * n_steps + step) * FRAGMENT + 2 * lane
        total += sum_where(fragments[at], mask & of_low)
        total += sum_where(fragments[at + 1], mask & of_high) << _BYTE
    return total


def make_low_layer(tile: Tile):
    """Phase: one layer of Bernoulli neurons drawn from 16 bits of the weights where those decide.

    ``low_layer(rows, weights, coarse, at, words, counters, which, tiles)``: the inputs are `Rows`, 16 bits of the
    `Weights` are `Coarse`, and drawn states go to `words`; ``counters[which]`` grows by the neurons left open.
    """
    product, to_words = make_product(tile, n_limbs=LIMBS), make_to_words(tile)
    n_rows, threads = tile.rows, tile.threads
    n_parts = _LANES_OF_SUM * _STEPS_OF_SUM

    @device
    def low_layer(rows, weights, coarse, at, words, counters, which, tiles):
        n, n_neurons, pitch, n_steps = rows.n, weights.n_neurons, rows.pitch, weights.n_steps
        shared, quads, active, places, count_of_open = tiles
        down = (n + n_rows - 1) // n_rows
        n_tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, n_tiles, cuda.gridDim.x):
            row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
            for row in range(cuda.threadIdx.x, n_rows, threads):
                active[row] = 0
            if cuda.threadIdx.x == 0:
                count_of_open[0] = 0
            product(rows, row0, coarse.fragments, n_steps, neuron0, shared)
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, count = item >> 3, np.int32(0)
                if row0 + row < n:
                    for step in range(item & 7, n_steps, QUADS):
                        count += np.int32(cuda.popc(rows.words[(row0 + row) * pitch + step]))
                    cuda.atomic.add(active, row, count)
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits, n_active = np.uint32(0), np.int64(active[row])
                w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, row0 + row, at)
                for j in range(4):
                    column = 4 * quad + j
                    if row0 + row < n and neuron0 + column < n_neurons:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        cell = cell_of(word)
                        shift = np.int64(coarse.shifts[neuron0 + column])
                        least = np.int64(low_word(np.int64(shared[row, column]) - (n_active << _ZERO_POINT))) << shift
                        most = least + n_active * ((1 << shift) - 1)
                        x = add(weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(least)))
                        y = add(weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(most)))
                        if mul(mul(cell, ABOVE), sigmoid_scale(x)) < _CELLS:
                            bits |= np.uint32(1 << j)
                        elif mul(mul(cell, BELOW), sigmoid_scale(y)) < _CELLS:
                            shared[row, column] = low_word(least)  # the remainders bring it back into 32 bits
                            places[cuda.atomic.add(count_of_open, 0, 1)] = 32 * row + column
                quads[row, quad] = bits
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_parts * count_of_open[0], threads):
                opened = places[item // n_parts]
                row, column = opened >> 5, opened & 31
                total = remainders(
                    rows.words, (row0 + row) * pitch, n_steps, weights.fragments, neuron0 + column,
                    coarse.shifts[neuron0 + column], item % n_parts,
                )  # fmt: skip
                cuda.atomic.add(shared, (row, column), np.int32(total))
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, count_of_open[0], threads):
                opened = int(places[item])  # NumPy adds no chain above 2^31 to int32, on the simulator
                row, column = opened >> 5, opened & 31
                word = word_of((neuron0 + column) >> 2, column & 3, row0 + row, at)
                x = add(weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(shared[row, column])))
                if is_on(word, sigmoid_scale(x)):
                    cuda.atomic.or_(quads, (row, column >> 2), np.uint32(1 << (column & 3)))
            if cuda.threadIdx.x == 0:
                cuda.atomic.add(counters, which, np.int64(count_of_open[0]))
            cuda.syncthreads()
            to_words(quads, row0, n, neuron0, n_neurons, words)
            cuda.syncthreads()

    return low_layer


def make_low_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`; ``counters`` gets the visible and the hidden neurons left open."""
    low_layer = make_low_layer(tile)
    shape, quad_shape, n_rows, n_neurons = (tile.rows, PITCH), (tile.rows, QUADS), tile.rows, WIDTH * tile.rows

    @kernel_for(tile.threads, tile.blocks())
    def low_kernel(
        chains: Chains, model: Model, hidden_coarse: Coarse, visible_coarse: Coarse, draws: Draws, n_sweeps: Long,
        counters: Longs,
    ):  # fmt: skip
        sums = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        active = cuda.shared.array(n_rows, np.int32)
        places = cuda.shared.array(n_neurons, np.int32)
        count = cuda.shared.array(1, np.int32)
        tiles = LowTiles(sums, quads, active, places, count)
        n_hidden, n_visible = model.hidden_bias.size, model.visible_bias.size
        for sweep in range(n_sweeps):
            low_layer(
                Rows(chains.hidden, chains.order, 0, chains.n, pitch_of(n_hidden)),
                Weights(model.to_visible, model.visible_bias, model.quantum, steps_of(n_hidden), n_visible),
                visible_coarse, address_at(draws, sweep, 0), chains.visible, counters, 0, tiles,
            )  # fmt: skip
            grid_sync()
            low_layer(
                Rows(chains.visible, chains.order, 0, chains.n, pitch_of(n_visible)),
                Weights(model.to_hidden, model.hidden_bias, model.quantum, steps_of(n_visible), n_hidden),
                hidden_coarse, address_at(draws, sweep, 1), chains.hidden, counters, 1, tiles,
            )  # fmt: skip
            grid_sync()

    return low_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        *of_each_tile("lowbit sweeps", make_low_kernel),
        ("coarse weights", coarse_kernel, signature_of(coarse_kernel)),
        ("sizes of weights", sizes_kernel, signature_of(sizes_kernel)),
    ]
