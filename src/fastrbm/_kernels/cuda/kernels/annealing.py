"""Annealed importance sampling on the device: many temperatures of all chains in one cooperative launch.

A temperature has two phases (src/anneal.h has the formulas). In the first the layer that is summed out is drawn, each
block of 32 of its units leaves the part of the log weight that it is for, and so does each block of 32 kept units with
what their fields are worth in the state before. In the second these parts are added, chain by chain in the order of
the CPU, and the kept layer is drawn. Parts are float32 and their operations those of the CPU kernels one by one, the
sums float64 without atomics: log weights and states are the same bits, however the run is cut into launches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .layer import QUADS, WORDS, make_emit, make_layer
from .scalar import HALF, ONE, ZERO, is_on, log_of, philox, sigmoid_scale
from .target import add, bits_of_float, cuda, device, div, float_of_bits, grid_sync, kernel_for, mul, wide_mul
from .tiles import PITCH, STEP, THREADS_HELD, WIDTH, Tile, make_product, of_each_tile, pitch_of

_LOW = 0xFFFFFFFF


def make_summed(tile: Tile):
    """Phase: the layer that is summed out, drawn, and its parts of the log weights.

    ``summed(words, n, none, n_inputs, fragments, field, base, unit, beta, before, seed_low, seed_high, step_low,
    step_high, chain0, out_words, planes, parts, shared, above, below, linear, quads)``: ``parts[block of 32 units,
    chain]`` (flat).
    """
    product, emit = make_product(tile), make_emit(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def summed(
        words, n, none, n_inputs, fragments, field, base, unit, beta, before, seed_low, seed_high, step_low, step_high,
        chain0, out_words, planes, parts, shared, above, below, linear, quads,
    ):  # fmt: skip
        n_units = field.size
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            product(
                words, pitch_of(n_inputs), none, 0, n, row0, (n_inputs + STEP - 1) // STEP, fragments, unit0, shared
            )  # fmt: skip
            for item in range(cuda.threadIdx.x, n_rows * WIDTH, threads):
                row, column = item >> 5, item & 31
                if unit0 + column < n_units:
                    d = add(field[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                    now = add(mul(d, beta), base[unit0 + column])
                    then = add(mul(d, before), base[unit0 + column])
                    shared[row, column] = bits_of_float(now)
                    above[row, column] = sigmoid_scale(abs(now))
                    below[row, column] = sigmoid_scale(abs(then))
                    # twice the difference of max(x, 0)
                    linear[row, column] = add(add(now, abs(now)), -add(then, abs(then)))
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits = np.uint32(0)
                w0, w1, w2, w3 = philox(
                    (unit0 >> 2) + quad, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                for j in range(4):
                    column = 4 * quad + j
                    if unit0 + column < n_units:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        if is_on(word, sigmoid_scale(float_of_bits(shared[row, column]))):
                            bits |= np.uint32(1 << j)
                quads[row, quad] = bits
            cuda.syncthreads()
            emit(quads, WORDS, row0, n, unit0, n_units, out_words, planes, 1, 0)
            for row in range(cuda.threadIdx.x, n_rows, threads):
                if row0 + row < n:
                    over, under, gain = ONE, ONE, ZERO
                    for column in range(min(WIDTH, n_units - unit0)):
                        over = mul(over, above[row, column])
                        under = mul(under, below[row, column])
                        gain = add(gain, linear[row, column])
                    parts[(unit0 >> 5) * n + row0 + row] = add(log_of(div(over, under)), mul(gain, HALF))
            cuda.syncthreads()

    return summed


@device
def weigh_fields(words, n, field, parts):
    """Phase: ``parts[block of 32 units, chain]`` (flat) = field . state."""
    blocks = (field.size + 31) >> 5
    for item in range(cuda.grid(1), n * blocks, cuda.gridsize(1)):
        chain, block = item % n, item // n
        word, total = words[chain * pitch_of(field.size) + block], ZERO
        while word != 0:
            # the sum over set bits in their order is that over all: + 0 changes nothing
            total = add(total, field[np.uint64(32 * block + np.int64(cuda.ffs(word)) - 1)])
            word &= np.uint32(word - np.uint32(1))
        parts[item] = total


@device
def add_parts(n, n_field, field_parts, n_gains, gains, step, log_weights):
    """Phase: log weights plus `step` times the sums of the parts of fields, plus those of the layer summed out."""
    for chain in range(cuda.grid(1), n, cuda.gridsize(1)):
        total, at = 0.0, np.uint64(chain)
        while at < np.uint64(n_field * n):
            total += np.float64(field_parts[at])
            at += np.uint64(n)
        weight, at = log_weights[chain] + wide_mul(step, total), np.uint64(chain)
        while at < np.uint64(n_gains * n):
            weight += np.float64(gains[at])
            at += np.uint64(n)
        log_weights[chain] = weight


def make_annealing_kernel(tile: Tile):
    """Kernel: temperatures first + 1, ..., first + count of all chains; layers and log weights change in place."""
    summed, layer = make_summed(tile), make_layer(tile)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def annealing_kernel(
        out_words, kept_words, n, none, to_summed, to_kept, field, base, kept_field, kept_base, unit, betas, first,
        count, seed_low, seed_high, step, chain0, stream, kept_stream, gains, field_parts, log_weights, bias,
        kept_unit, planes, means, totals, rows,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        above = cuda.shared.array(shape, np.float32)
        below = cuda.shared.array(shape, np.float32)
        linear = cuda.shared.array(shape, np.float32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        n_summed, n_kept = field.size, kept_field.size
        for k in range(first, first + count):
            before, beta = betas[k], betas[k + 1]
            low, high = (step + k) & _LOW, ((step + k) >> 32) & 0xFFFFFF
            summed(
                kept_words, n, none, n_kept, to_summed, field, base, unit, beta, before, seed_low, seed_high, low,
                (stream << 24) | high, chain0, out_words, planes, gains, shared, above, below, linear, quads,
            )  # fmt: skip
            weigh_fields(kept_words, n, kept_field, field_parts)
            for at in range(cuda.grid(1), n_kept, cuda.gridsize(1)):
                bias[at] = add(mul(beta, kept_field[at]), kept_base[at])
            if cuda.grid(1) == 0:
                kept_unit[0] = mul(beta, unit[0])
            grid_sync()
            add_parts(
                n, (n_kept + 31) >> 5, field_parts, (n_summed + 31) >> 5, gains, np.float64(beta) - np.float64(before),
                log_weights,
            )  # fmt: skip
            layer(
                out_words, pitch_of(n_summed), none, 0, n, (n_summed + STEP - 1) // STEP, to_kept, bias, kept_unit,
                n_kept, seed_low, seed_high, low, (kept_stream << 24) | high, chain0, WORDS, kept_words, planes, 1, 0,
                means, 1, ONE, totals, rows, shared, quads,
            )  # fmt: skip
            grid_sync()

    return annealing_kernel


def signature() -> Any:
    """Types of the arguments of `make_annealing_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    return types.void(
        words, words, i64, types.int64[::1], fragments, fragments, *[reals] * 6, *[i64] * 8, reals, reals,
        types.float64[::1], reals, reals, words, fragments, types.int32[::1], types.float32[:, ::1],
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return of_each_tile("annealing", make_annealing_kernel, signature())
