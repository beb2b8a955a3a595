"""Sweeps by flips: the sums of every unit are kept, and the weights of the inputs that flipped are added to them.

Tiles where many inputs have flipped take the whole product. Sums are exact, so that changes no state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .layer import QUADS, WORDS, make_emit
from .quantise import fixed as as_integer
from .scalar import ONE, is_on, philox, sigmoid_scale
from .target import add, cuda, device, div, grid_sync, kernel_for, mul
from .tiles import PITCH, STEP, THREADS_HELD, WIDTH, Tile, make_product, of_each_tile, pitch_of

_LOW = 0xFFFFFFFF
#: a flip costs this many times what an input does in a whole product, by the count of instructions
FLIP_COST = 32


@device
def sum_of_flips(words, now_at, earlier, was_at, first, n_steps, stride, integers, unit, n_units):
    """Weights of a unit over the inputs that came on between two states, less those over the ones that went off.

    Of the words that begin at `now_at` and `was_at`, every `stride`-th from number `first` on.
    """
    # unsigned as in `make_accumulate`: indices that may be negative take more registers
    at, was, place = np.uint64(now_at + first), np.uint64(was_at + first), np.uint64(STEP * first * n_units + unit)
    total = np.int64(0)
    for _ in range(first, n_steps, stride):
        now = words[at]
        flipped = np.uint32(now ^ earlier[was])
        at += np.uint64(stride)
        was += np.uint64(stride)
        while flipped != 0:
            b = np.int64(cuda.ffs(flipped)) - 1
            flipped &= np.uint32(flipped - np.uint32(1))
            weight = np.int64(integers[place + np.uint64(b * n_units)])
            if (now >> np.uint32(b)) & np.uint32(1):
                total += weight
            else:
                total -= weight
        place += np.uint64(STEP * stride * n_units)
    return total


def make_delta_layer(tile: Tile):
    """Phase: one layer of Bernoulli units drawn from sums that follow the flips of its inputs.

    ``delta_layer(words, first, before, fresh, n, none, n_inputs, fragments, integers, bias, unit, seed_low, seed_high,
    step_low, step_high, chain0, sums, out_words, out_first, planes, counters, shared, quads, flips)``: the inputs are
    `n` rows of `words` from `first` on, those of the sweep before from `before` on. ``sums[chain, unit]`` (flat) are
    of the latter, or of nothing if `fresh`, and become those of the inputs; ``integers[input, unit]`` (flat) are the
    weights. ``counters[0]`` grows by the multiply-adds, ``[1]`` by the tiles of whole products.
    """
    product, emit = make_product(tile), make_emit(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def delta_layer(
        words, first, before, fresh, n, none, n_inputs, fragments, integers, bias, unit, seed_low, seed_high,
        step_low, step_high, chain0, sums, out_words, out_first, planes, counters, shared, quads, flips,
    ):  # fmt: skip
        n_units, pitch, n_steps = bias.size, pitch_of(n_inputs), (n_inputs + STEP - 1) // STEP
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            here = min(n_rows, n - row0)
            if cuda.threadIdx.x == 0:
                flips[0] = 0
            cuda.syncthreads()
            if not fresh:
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    row, count = row0 + (item >> 3), np.int32(0)
                    for step in range(item & 7, n_steps, QUADS):
                        flipped = words[(first + row) * pitch + step] ^ words[(before + row) * pitch + step]
                        count += np.int32(cuda.popc(flipped))
                    cuda.atomic.add(flips, 0, count)
                cuda.syncthreads()
            work = np.int64(flips[0])
            whole = fresh or FLIP_COST * work > here * n_inputs
            if whole:
                work = here * n_inputs
                product(words, pitch, none, first, n, row0, n_steps, fragments, unit0, shared)
            else:
                for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                    row, column = item >> 5, item & 31
                    if unit0 + column < n_units:
                        place = unit0 + column
                        total = np.int64(sums[(row0 + row) * n_units + place]) + sum_of_flips(
                            words, (first + row0 + row) * pitch, words, (before + row0 + row) * pitch, 0, n_steps, 1,
                            integers, place, n_units,
                        )  # fmt: skip
                        shared[row, column] = np.int32(total)
                cuda.syncthreads()
            for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                row, column = item >> 5, item & 31
                if unit0 + column < n_units:
                    sums[(row0 + row) * n_units + unit0 + column] = shared[row, column]
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits = np.uint32(0)
                w0, w1, w2, w3 = philox(
                    (unit0 >> 2) + quad, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                for j in range(4):
                    column = 4 * quad + j
                    if row < here and unit0 + column < n_units:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        x = add(bias[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                        if is_on(word, sigmoid_scale(x)):
                            bits |= np.uint32(1 << j)
                quads[row, quad] = bits
            if cuda.threadIdx.x == 0:
                cuda.atomic.add(counters, 0, work * min(WIDTH, n_units - unit0))
                if whole:
                    cuda.atomic.add(counters, 1, np.int64(1))
            cuda.syncthreads()
            emit(quads, WORDS, out_first + row0, out_first + n, unit0, n_units, out_words, planes, 1, 0)
            cuda.syncthreads()

    return delta_layer


def make_delta_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`, each layer by turns in the two halves of its rows.

    The first hidden states are in the first half, and the first visible ones go to the first half.
    """
    delta_layer = make_delta_layer(tile)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def delta_kernel(
        hidden, visible, n, none, to_hidden, to_visible, by_visible, by_hidden, hidden_bias, visible_bias, unit,
        seed_low, seed_high, step, chain0, n_sweeps, planes, hidden_sums, visible_sums, counters,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        flips = cuda.shared.array(1, np.int32)
        for sweep in range(n_sweeps):
            low, high = (step + sweep) & _LOW, ((step + sweep) >> 32) & 0xFFFFFF
            first = (sweep & 1) * n
            other = n - first
            delta_layer(
                hidden, first, other, sweep == 0, n, none, hidden_bias.size, to_visible, by_hidden, visible_bias,
                unit, seed_low, seed_high, low, high, chain0, visible_sums, visible, first, planes, counters, shared,
                quads, flips,
            )  # fmt: skip
            grid_sync()
            delta_layer(
                visible, first, other, sweep == 0, n, none, visible_bias.size, to_hidden, by_visible, hidden_bias,
                unit, seed_low, seed_high, low, (1 << 24) | high, chain0, hidden_sums, hidden, other, planes,
                counters, shared, quads, flips,
            )  # fmt: skip
            grid_sync()

    return delta_kernel


def delta_signature() -> Any:
    """Types of the arguments of `make_delta_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    integers = types.int32[::1]
    return types.void(
        words, words, i64, types.int64[::1], fragments, fragments, integers, integers, reals, reals, reals, *[i64] * 5,
        words, integers, integers, types.int64[::1],
    )  # fmt: skip


@cuda.jit
def integers_kernel(weights, n_hidden, n_visible, unit, by_visible, by_hidden):
    """Fixed-point weights as rows of visible and of hidden inputs (flat)."""
    scale = div(ONE, unit[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = as_integer(weights[at], scale)
        by_hidden[at] = integer
        by_visible[(at % n_visible) * n_hidden + at // n_visible] = integer


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, reals, integers = types.int64, types.float32[::1], types.int32[::1]
    signature = types.void(reals, i64, i64, reals, integers, integers)
    return [
        *of_each_tile("delta sweeps", make_delta_kernel, delta_signature()),
        ("integers of weights", integers_kernel, signature),
    ]
