"""Weights as integers times a power of two, in the order of the tensor cores, and the exponent that fits them.

All arithmetic is that of the CPU kernels (src/fixed.h) in the same order, so the same bits come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .scalar import ONE, nearest
from .target import cuda, device, mul
from .tiles import FRAGMENT, STEP, WIDTH, fragment_of

#: FRBM_LARGEST_EXPONENT and FRBM_SMALLEST_EXPONENT of src/workers.h
LARGEST_EXPONENT, SMALLEST_EXPONENT = 26, 14
#: a single weight as large as this has no fixed-point form
_TOO_LARGE = np.float32(512)


@device
def magnitude(weight, scale):
    """|weight| in steps of 1 / scale; weights of 512 and more, and NaN, count as 512, of which no sum overflows."""
    size, most = mul(abs(weight), scale), mul(_TOO_LARGE, scale)
    if size < most:
        return np.uint32(size)
    return np.uint32(most)


@device
def note_largest(bounds, at, size, scale):
    """Leave a magnitude in ``bounds[at]`` if it is 512 or more: all that `exponent_of` asks for.

    Were the others left there, too, all threads would wait for their turn at one word.
    """
    if size >= np.uint32(mul(_TOO_LARGE, scale)):
        cuda.atomic.max(bounds, at, size)


@device
def exponent_of(bounds, n_hidden, n_visible, shift, largest):
    """The largest k with which no sum of weights times 2^k can overflow, -1 for none; all threads of a block call it.

    `largest` is a shared array of one uint32.
    """
    if cuda.threadIdx.x == 0:
        largest[0] = 0
    cuda.syncthreads()
    most = np.uint32(0)
    for at in range(cuda.threadIdx.x, n_hidden + n_visible, cuda.blockDim.x):
        most = max(most, np.uint32(bounds[at]))
    cuda.atomic.max(largest, 0, most)
    cuda.syncthreads()
    units = max(n_hidden, n_visible)
    total, exponent = np.uint64(largest[0]) + np.uint64(units), -1  # magnitudes were rounded down
    if (bounds[n_hidden + n_visible] >> np.uint32(9 + shift)) == 0:
        for k in range(SMALLEST_EXPONENT, LARGEST_EXPONENT + 1):
            scaled = total << np.uint64(k - shift)
            if scaled + np.uint64(units) < np.uint64(1 << 31):
                exponent = k
    cuda.syncthreads()
    return exponent


@device
def fixed(weight, scale):
    """A weight as an integer."""
    return nearest(mul(weight, scale))


@device
def pack_one_way(weights, n_columns, n_inputs, column_stride, input_stride, scale, fragments):
    """Fragments of the weights times `scale` for products of one direction."""
    steps = (n_inputs + STEP - 1) // STEP
    tiles = 4 * ((n_columns + WIDTH - 1) // WIDTH)
    eight = cuda.local.array(8, np.int32)
    for item in range(cuda.grid(1), tiles * steps * 32, cuda.gridsize(1)):
        lane, step, tile = item & 31, (item >> 5) % steps, item // (32 * steps)
        if column_stride == 1:  # what neighbours read is neighbouring in memory either way
            step, tile = item // (32 * tiles), (item >> 5) % tiles
        column = 8 * tile + (lane >> 2)
        for b in range(8):
            at = STEP * step + 16 * (b >> 2) + 4 * (lane & 3) + (b & 3)
            eight[b] = 0
            if column < n_columns and at < n_inputs:
                eight[b] = fixed(weights[column * column_stride + at * input_stride], scale)
        for limb in range(4):
            fragments[(tile * steps + step) * FRAGMENT + 32 * limb + lane] = fragment_of(eight, limb)


@device
def pack_weights(weights, n_hidden, n_visible, scale, to_hidden, to_visible):
    """Phase: fragments of the weights times `scale` for both directions."""
    pack_one_way(weights, n_hidden, n_visible, n_visible, 1, scale, to_hidden)
    pack_one_way(weights, n_visible, n_hidden, 1, n_visible, scale, to_visible)


@cuda.jit
def measure_kernel(weights, n_hidden, n_visible, bound_scale, bounds):
    """Sums of the magnitudes of the weights over rows and columns, and the largest if too large, into zeros."""
    at = cuda.grid(1)
    if at < n_hidden * n_visible:
        size = magnitude(weights[at], bound_scale)
        cuda.atomic.add(bounds, at // n_visible, size)
        cuda.atomic.add(bounds, n_hidden + at % n_visible, size)
        note_largest(bounds, n_hidden + n_visible, size, bound_scale)


@cuda.jit
def pack_kernel(weights, n_hidden, n_visible, shift, bounds, to_hidden, to_visible, unit, control):
    """Fragments of the weights; ``unit[0]`` = 2^-k, ``control[0]`` = k, -1 where the weights are too large."""
    largest = cuda.shared.array(1, np.uint32)
    exponent = exponent_of(bounds, n_hidden, n_visible, shift, largest)
    if exponent >= 0:
        pack_weights(weights, n_hidden, n_visible, np.float32(1 << exponent), to_hidden, to_visible)
    if cuda.grid(1) == 0:
        control[0] = exponent
        if exponent >= 0:
            unit[0] = ONE / np.float32(1 << exponent)


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, words, reals, fragments = types.int64, types.uint32[::1], types.float32[::1], types.uint64[::1]
    return [
        ("measure weights", measure_kernel, types.void(reals, i64, i64, types.float32, words)),
        ("pack weights", pack_kernel, types.void(
            reals, i64, i64, i64, words, fragments, fragments, reals, types.int32[::1])),
    ]  # fmt: skip
