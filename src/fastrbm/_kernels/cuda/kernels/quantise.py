"""Weights as integers times a power of two, in the order of the tensor cores, and the exponent that fits them.

Short weights (``precision="fast"``) are multiples of 2^16: half of their bytes are zeros, which products may leave out.

All arithmetic is that of the CPU kernels in the same order, so the same bits come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import Flag, Quantised, Real, Words, signature_of
from .scalar import ONE, nearest
from .target import cuda, device, mul
from .tiles import FRAGMENT, STEP, WIDTH, fragment_of, input_of, place_of, this_place

#: FRBM_LARGEST_EXPONENT and FRBM_SMALLEST_EXPONENT of the CPU kernels
LARGEST_EXPONENT, SMALLEST_EXPONENT = 26, 14
#: FRBM_INT16_EXPONENT, and the largest of short weights
_LEAST_SHORT, _MOST_SHORT = 22, 30
#: added to the exponent of short weights
SHORT = 32
#: places in what comes back to the host: exponent of the weights (-1: too large), minibatches done, are they short
EXPONENT, DONE, IS_SHORT = 0, 1, 2
_TO_SHORT, _FROM_SHORT = np.float32(2.0**-16), 1 << 16
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
def exponent_of(magnitudes, n_hidden, n_visible, shift, largest, short):
    """The largest k with which no sum of weights times 2^k can overflow, -1 for none; all threads of a block call it.

    With `short` that of short weights, plus `SHORT`, if these are fine enough.
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
        if short:
            for k in range(_LEAST_SHORT, _MOST_SHORT + 1):
                scaled = total << np.uint64(k - shift)
                if scaled + np.uint64(most_inputs << 15) < np.uint64(1 << 31):
                    exponent = k + SHORT
    return exponent


@device
def scale_of(exponent):
    """2^k of what `exponent_of` has found."""
    return np.float32(1 << (exponent & (SHORT - 1)))


@device
def quantised(weight, scale, short):
    """Round a weight times `scale` to an integer, or to a multiple of 2^16."""
    if short:
        return np.int32(nearest(mul(weight, mul(scale, _TO_SHORT))) * _FROM_SHORT)
    return nearest(mul(weight, scale))


@device
def pack_one_way(weights, n_columns, n_inputs, column_stride, input_stride, scale, short, fragments):
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
                eight[b] = quantised(weights[column * column_stride + at * input_stride], scale, short)
        for limb in range(4):
            fragments[(tile * steps + step) * FRAGMENT + place_of(limb, lane)] = fragment_of(eight, limb)


@device
def pack_weights(weights, n_hidden, n_visible, scale, short, to_hidden, to_visible):
    """Phase: fragments of the weights times `scale` for both directions."""
    pack_one_way(weights, n_hidden, n_visible, n_visible, 1, scale, short, to_hidden)
    pack_one_way(weights, n_visible, n_hidden, 1, n_visible, scale, short, to_visible)


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
def pack_kernel(model: Quantised, magnitudes: Words, short: Flag):
    """Fragments of the weights, `short` ones if these fit; ``quantum[0]`` = 2^-k, and what comes back to the host."""
    largest = cuda.shared.array(1, np.uint32)
    n_hidden, n_visible = model.n_hidden, model.n_visible
    exponent = exponent_of(magnitudes, n_hidden, n_visible, model.shift, largest, short)
    if exponent >= 0:
        pack_weights(
            model.weights, n_hidden, n_visible, scale_of(exponent), exponent >= SHORT, model.to_hidden,
            model.to_visible,
        )  # fmt: skip
    if cuda.grid(1) == 0:
        model.control[EXPONENT] = exponent
        model.control[IS_SHORT] = exponent >= SHORT
        if exponent >= 0:
            model.quantum[0] = ONE / scale_of(exponent)


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        ("measure weights", measure_kernel, signature_of(measure_kernel)),
        ("pack weights", pack_kernel, signature_of(pack_kernel)),
    ]
