"""Sweeps from 16 bits of the weights, half of the work of tensor cores, that draw the states of whole products.

A weight is w = 2^s c + r, with one s for all weights of a unit, such that c takes 16 bits, and 0 <= r < 2^s. Tensor
cores add up c, so the sum of a unit whose row has k active inputs is known to lie within (2^s - 1) k. Units that both
ends of that range decide alike are drawn; for the others r is added up over the active inputs, which gives the exact
sum and so the draw of the whole product. (src/lean.h has the same for the CPU.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .layer import QUADS, WORDS, make_emit
from .quantise import fixed as as_integer
from .scalar import ONE, cell_of, is_on, philox, sigmoid_scale
from .target import add, cuda, device, div, grid_sync, kernel_for, low_word, mul
from .tiles import (
    FRAGMENT,
    LANES,
    PITCH,
    STEP,
    THREADS_HELD,
    WIDTH,
    Tile,
    fragment_of,
    make_product,
    of_each_tile,
    pitch_of,
    spread,
)

_LOW = 0xFFFFFFFF
_CELLS = np.float32(2.0**23)
#: FRBM_SLACK of src/lean.h on either side: sigmoid_scale rounds, so it need not fall where its argument rises
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
def sizes_kernel(weights, n_hidden, n_visible, unit, sizes):
    """Largest magnitude of the integers of each visible, then of each hidden unit, into zeros."""
    scale = div(ONE, unit[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = as_integer(weights[at], scale)
        size = np.int32(max(integer, ~integer))  # what counts is how many bits there are besides the sign
        cuda.atomic.max(sizes, at % n_visible, size)
        cuda.atomic.max(sizes, n_visible + at // n_visible, size)


@device
def shift_of(size):
    """S of a unit."""
    shift = 0
    while (size >> shift) >= 1 << _ZERO_POINT:
        shift += 1
    return shift


@device
def pack_coarse(weights, of_input, of_unit, n_inputs, n_units, scale, sizes, first, fragments, shifts):
    """Fragments of c + 2^15 for units whose sizes begin at `first`; weight of (input, unit) by strides."""
    steps = (n_inputs + STEP - 1) // STEP
    parts = 4 * ((n_units + WIDTH - 1) // WIDTH)
    eight = cuda.local.array(8, np.int32)
    for item in range(cuda.grid(1), parts * steps * LANES, cuda.gridsize(1)):
        lane, step, part = item & 31, (item >> 5) % steps, item // (LANES * steps)
        unit, shift = 8 * part + (lane >> 2), 0
        if unit < n_units:
            shift = shift_of(sizes[first + unit])
            if step == 0 and lane & 3 == 0:
                shifts[unit] = shift
        for b in range(8):
            at = STEP * step + 16 * (b >> 2) + 4 * (lane & 3) + (b & 3)
            eight[b] = 0
            if unit < n_units and at < n_inputs:
                integer = as_integer(weights[at * of_input + unit * of_unit], scale)
                eight[b] = np.int32((integer >> shift) + (1 << _ZERO_POINT))
        for limb in range(LIMBS):
            fragments[((part * steps + step) * LIMBS + limb) * LANES + lane] = fragment_of(eight, limb)


@cuda.jit
def coarse_kernel(
    weights, n_hidden, n_visible, unit, sizes, to_hidden, to_visible, hidden_shifts, visible_shifts
):  # fmt: skip
    """`pack_coarse` for both directions."""
    scale = div(ONE, unit[0])
    pack_coarse(weights, 1, n_visible, n_visible, n_hidden, scale, sizes, n_visible, to_hidden, hidden_shifts)
    pack_coarse(weights, n_visible, 1, n_hidden, n_visible, scale, sizes, 0, to_visible, visible_shifts)


@device
def word_of(block, place, chain, step_low, step_high, seed_low, seed_high):
    """Random word of unit 4 block + place."""
    w0, w1, w2, w3 = philox(block, chain, step_low, step_high, seed_low, seed_high)
    if place == 1:
        return w1
    if place == 2:
        return w2
    if place == 3:
        return w3
    return w0


@device
def sum_where(eight, mask):
    """Sum of the bytes of a uint64 that are in the mask."""
    kept = eight & mask
    pairs = (kept & _EVEN) + ((kept >> _BYTE) & _EVEN)
    pairs += pairs >> _WORD
    return (pairs + (pairs >> _HALF)) & _HALF_MASK


@device
def remainders(words, start, n_steps, fragments, column, shift, part):
    """Part of the sum of the remainders r of a column over active inputs, whose words are at `start`.

    Of `part` the lowest two bits say which inputs of a step, the others which steps.
    """
    lane = 4 * (column & 7) + (part & 3)
    nibble, total = 4 * (part & 3), np.uint64(0)
    of_low = _EACH * np.uint64((1 << min(shift, 8)) - 1)
    of_high = _EACH * np.uint64((1 << max(shift - 8, 0)) - 1)
    for step in range(part >> 2, n_steps, _STEPS_OF_SUM):
        word = words[start + step]
        mask = np.uint64(spread(word, nibble)) | (np.uint64(spread(word, nibble + 16)) << _WORD)
        mask *= _BYTE_MASK
        at = ((column >> 3) * n_steps + step) * FRAGMENT + lane
        total += sum_where(fragments[at], mask & of_low)
        total += sum_where(fragments[at + LANES], mask & of_high) << _BYTE
    return total


def make_low_layer(tile: Tile):
    """Phase: one layer of Bernoulli units drawn from 16 bits of the weights where those decide.

    ``low_layer(words, n, none, n_inputs, fragments, coarse, shifts, bias, unit, seed_low, seed_high, step_low,
    step_high, chain0, out_words, planes, counters, which, shared, quads, active, open_units, n_open)``: the weights are
    `fragments`, 16 bits of them `coarse`; ``counters[which]`` grows by the units that were left open.
    """
    product, emit = make_product(tile, n_limbs=LIMBS), make_emit(tile)
    n_rows, threads = tile.rows, tile.threads
    n_parts = _LANES_OF_SUM * _STEPS_OF_SUM

    @device
    def low_layer(
        words, n, none, n_inputs, fragments, coarse, shifts, bias, unit, seed_low, seed_high, step_low, step_high,
        chain0, out_words, planes, counters, which, shared, quads, active, open_units, n_open,
    ):  # fmt: skip
        n_units, pitch, n_steps = bias.size, pitch_of(n_inputs), (n_inputs + STEP - 1) // STEP
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            for row in range(cuda.threadIdx.x, n_rows, threads):
                active[row] = 0
            if cuda.threadIdx.x == 0:
                n_open[0] = 0
            product(words, pitch, none, 0, n, row0, n_steps, coarse, unit0, shared)
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, count = item >> 3, np.int32(0)
                if row0 + row < n:
                    for step in range(item & 7, n_steps, QUADS):
                        count += np.int32(cuda.popc(words[(row0 + row) * pitch + step]))
                    cuda.atomic.add(active, row, count)
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits, n_active = np.uint32(0), np.int64(active[row])
                w0, w1, w2, w3 = philox(
                    (unit0 >> 2) + quad, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                for j in range(4):
                    column = 4 * quad + j
                    if row0 + row < n and unit0 + column < n_units:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        cell = cell_of(word)
                        shift = np.int64(shifts[unit0 + column])
                        least = np.int64(low_word(np.int64(shared[row, column]) - (n_active << _ZERO_POINT))) << shift
                        most = least + n_active * ((1 << shift) - 1)
                        x = add(bias[unit0 + column], mul(unit[0], np.float32(least)))
                        y = add(bias[unit0 + column], mul(unit[0], np.float32(most)))
                        if mul(mul(cell, ABOVE), sigmoid_scale(x)) < _CELLS:
                            bits |= np.uint32(1 << j)
                        elif mul(mul(cell, BELOW), sigmoid_scale(y)) < _CELLS:
                            shared[row, column] = low_word(least)  # the remainders bring it back into 32 bits
                            open_units[cuda.atomic.add(n_open, 0, 1)] = 32 * row + column
                quads[row, quad] = bits
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_parts * n_open[0], threads):
                opened = open_units[item // n_parts]
                row, column = opened >> 5, opened & 31
                total = remainders(
                    words, (row0 + row) * pitch, n_steps, fragments, unit0 + column, shifts[unit0 + column],
                    item % n_parts,
                )  # fmt: skip
                cuda.atomic.add(shared, (row, column), np.int32(total))
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_open[0], threads):
                opened = int(open_units[item])  # NumPy adds no chain above 2^31 to int32, on the simulator
                row, column = opened >> 5, opened & 31
                word = word_of(
                    (unit0 + column) >> 2, column & 3, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                x = add(bias[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                if is_on(word, sigmoid_scale(x)):
                    cuda.atomic.or_(quads, (row, column >> 2), np.uint32(1 << (column & 3)))
            if cuda.threadIdx.x == 0:
                cuda.atomic.add(counters, which, np.int64(n_open[0]))
            cuda.syncthreads()
            emit(quads, WORDS, row0, n, unit0, n_units, out_words, planes, 1, 0)
            cuda.syncthreads()

    return low_layer


def make_low_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`; ``counters`` gets the visible and the hidden units left open."""
    low_layer = make_low_layer(tile)
    shape, quad_shape, n_rows, n_units = (tile.rows, PITCH), (tile.rows, QUADS), tile.rows, WIDTH * tile.rows

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def low_kernel(
        hidden, visible, n, none, to_hidden, to_visible, coarse_to_hidden, coarse_to_visible, hidden_shifts,
        visible_shifts, hidden_bias, visible_bias, unit, seed_low, seed_high, step, chain0, n_sweeps, planes, counters,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        active = cuda.shared.array(n_rows, np.int32)
        open_units = cuda.shared.array(n_units, np.int32)
        n_open = cuda.shared.array(1, np.int32)
        for sweep in range(n_sweeps):
            low, high = (step + sweep) & _LOW, ((step + sweep) >> 32) & 0xFFFFFF
            low_layer(
                hidden, n, none, hidden_bias.size, to_visible, coarse_to_visible, visible_shifts, visible_bias,
                unit, seed_low, seed_high, low, high, chain0, visible, planes, counters, 0,
                shared, quads, active, open_units, n_open,
            )  # fmt: skip
            grid_sync()
            low_layer(
                visible, n, none, visible_bias.size, to_hidden, coarse_to_hidden, hidden_shifts, hidden_bias,
                unit, seed_low, seed_high, low, (1 << 24) | high, chain0, hidden, planes, counters,
                1, shared, quads, active, open_units, n_open,
            )  # fmt: skip
            grid_sync()

    return low_kernel


def low_signature() -> Any:
    """Types of the arguments of `make_low_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    integers = types.int32[::1]
    return types.void(
        words, words, i64, types.int64[::1], *[fragments] * 4, integers, integers, reals, reals, reals, *[i64] * 5,
        words, types.int64[::1],
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, reals, integers, fragments = types.int64, types.float32[::1], types.int32[::1], types.uint64[::1]
    coarse = types.void(reals, i64, i64, reals, integers, fragments, fragments, integers, integers)
    return [
        *of_each_tile("lowbit sweeps", make_low_kernel, low_signature()), ("coarse weights", coarse_kernel, coarse),
        ("sizes of weights", sizes_kernel, types.void(reals, i64, i64, reals, integers)),
    ]  # fmt: skip
