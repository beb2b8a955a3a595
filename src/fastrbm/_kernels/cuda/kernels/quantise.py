"""Weights as integers times a power of two, in the order of the tensor cores, and the exponent that fits them.

All arithmetic is that of the CPU kernels in the same order, so the same bits come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import Quantised, Real, Words, signature_of
from .scalar import ONE, nearest
from .target import cuda, device, mul
from .tiles import FRAGMENT, STEP, WIDTH, fragment_of, input_of, place_of, this_place

#: FRBM_LARGEST_EXPONENT and FRBM_SMALLEST_EXPONENT of the CPU kernels
LARGEST_EXPONENT, SMALLEST_EXPONENT = 26, 14
#: a single weight as large as this is not quantised
_TOO_LARGE = np.float32(512)


@device
def magnitude(weight, scale):
    """|weight| in steps of 1 / scale; weights of 512 and more, and NaN, count as 512, of which no sum overflows."""
    size, most = mul(abs(weight), scale), mul(_TOO_LARGE, scale)
    if size < most:
        return np.uint32(size)
    return np.uint32(most)


@device
def note_largest(magnitudes, at, size, scale):
    """Leave a magnitude in ``magnitudes[at]`` if it is 512 or more: all that `exponent_of` asks for.

    Were the others left there, too, all threads would wait for their turn at one word.
    """
    if size >= np.uint32(mul(_TOO_LARGE, scale)):
        cuda.atomic.max(magnitudes, at, size)


@device
def exponent_of(magnitudes, n_hidden, n_visible, shift, largest):
    """The largest k with which no sum of weights times 2^k can overflow, -1 for none; all threads of a block call it.

    `largest` is a shared array of one uint32; a block meets before it asks again.
    """
    if cuda.threadIdx.x == 0:
        largest[0] = 0
    cuda.syncthreads()
    most = np.uint32(0)
    for at in range(cuda.threadIdx.x, n_hidden + n_visible, cuda.blockDim.x):
        most = max(most, np.uint32(magnitudes[at]))
    cuda.atomic.max(largest, 0, most)
    cuda.syncthreads()
    most_inputs = max(n_hidden, n_visible)
    total, exponent = np.uint64(largest[0]) + np.uint64(most_inputs), -1  # magnitudes were rounded down
    if (magnitudes[n_hidden + n_visible] >> np.uint32(9 + shift)) == 0:
        for k in range(SMALLEST_EXPONENT, LARGEST_EXPONENT + 1):
            scaled = total << np.uint64(k - shift)
            if scaled + np.uint64(most_inputs) < np.uint64(1 << 31):
                exponent = k
    return exponent


@device
def quantised(weight, scale):
    """Round a weight times `scale` to an integer."""
    return nearest(mul(weight, scale))


@device
def pack_one_way(weights, n_columns, n_inputs, column_stride, input_stride, scale, fragments):
    """Fragments of the weights times `scale` for products of one direction."""
    steps = (n_inputs + STEP - 1) // STEP
    tiles = 4 * ((n_columns + WIDTH - 1) // WIDTH)
    eight = cuda.local.array(8, np.int32)
    for item in range(this_place(), tiles * steps * 32, cuda.gridsize(1)):
        lane, step, tile = item & 31, (item >> 5) % steps, item // (32 * steps)
        if column_stride == 1:  # what neighbours read is neighbouring in memory either way
            step, tile = item // (32 * tiles), (item >> 5) % tiles
        column = 8 * tile + (lane >> 2)
        for b in range(8):
            at = STEP * step + input_of(lane, b)
            eight[b] = 0
            if column < n_columns and at < n_inputs:
                eight[b] = quantised(weights[column * column_stride + at * input_stride], scale)
        for limb in range(4):
            fragments[(tile * steps + step) * FRAGMENT + place_of(limb, lane)] = fragment_of(eight, limb)


@device
def pack_weights(weights, n_hidden, n_visible, scale, to_hidden, to_visible):
    """Phase: fragments of the weights times `scale` for both directions."""
    pack_one_way(weights, n_hidden, n_visible, n_visible, 1, scale, to_hidden)
    pack_one_way(weights, n_visible, n_hidden, 1, n_visible, scale, to_visible)


@cuda.jit
def measure_kernel(model: Quantised, scale: Real, magnitudes: Words):
    """Sums of the magnitudes of the weights over rows and columns, and the largest if too large, into zeros."""
    at = cuda.grid(1)
    if at < model.n_hidden * model.n_visible:
        size = magnitude(model.weights[at], scale)
        cuda.atomic.add(magnitudes, at // model.n_visible, size)
        cuda.atomic.add(magnitudes, model.n_hidden + at % model.n_visible, size)
        note_largest(magnitudes, model.n_hidden + model.n_visible, size, scale)


@cuda.jit
def pack_kernel(model: Quantised, magnitudes: Words):
    """Fragments of the weights; ``quantum[0]`` = 2^-k, ``control[0]`` = k, -1 where the weights are too large."""
    largest = cuda.shared.array(1, np.uint32)
    n_hidden, n_visible = model.n_hidden, model.n_visible
    exponent = exponent_of(magnitudes, n_hidden, n_visible, model.shift, largest)
    if exponent >= 0:
        scale = np.float32(1 << exponent)
        pack_weights(model.weights, n_hidden, n_visible, scale, model.to_hidden, model.to_visible)
    if cuda.grid(1) == 0:
        model.control[0] = exponent
        if exponent >= 0:
            model.quantum[0] = ONE / np.float32(1 << exponent)


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        ("measure weights", measure_kernel, signature_of(measure_kernel)),
        ("pack weights", pack_kernel, signature_of(pack_kernel)),
    ]
