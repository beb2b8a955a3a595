"""Gradients from bits and integer means, the optimiser's rule, and the fixed-point weights that come out.

The gradient of the weights is a product of planes (the visible bits by unit) and fragments of integer means: data with
scale 2^30 / n and model with -2^30 / m beside each other, so one exact sum has both. All arithmetic after it is that of
the CPU kernels (src/gradient.h, src/rules.h, src/fixed.h) in the same order, so the same bits come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from ._target import add, cuda, device, div, mul, root
from .device import ONE, ZERO, nearest
from .tiles import FRAGMENT, PITCH, STEP, WIDTH, Tile, fragment_of, make_product

#: kinds of `Rule`, by number
SGD, NESTEROV, RMSPROP, ADAM, AMSGRAD = range(5)
#: places in the array of a rule's numbers
RATE, MOMENTUM, DECAY, EPSILON, L1, L2, CLIP = range(7)
MEAN_SCALE = 2.0**30
#: of fixed-point weights: FRBM_LARGEST_EXPONENT and FRBM_SMALLEST_EXPONENT of src/workers.h
LARGEST_EXPONENT, SMALLEST_EXPONENT = 26, 14
#: sums of drawn states in one integer: data in the low half, model in the high one
MODEL_COUNT = 1 << 16

_UNIT = np.float32(2.0**-30)
#: a single weight as large as this has no fixed-point form
_TOO_LARGE = np.float32(512)


@device
def ascend(kind, n_slots, rule, adam, update, penalised, values, first, second, third, at, g):
    """Change ``values[at]`` and its slots by a rule and the gradient g."""
    value = values[at]
    rate, momentum = rule[RATE], rule[MOMENTUM]
    if penalised:
        if rule[L2] != ZERO:
            g = add(g, -mul(rule[L2], value))
        if rule[L1] != ZERO:
            if value > ZERO:
                g = add(g, -rule[L1])
            elif value < ZERO:
                g = add(g, rule[L1])
    most = rule[CLIP]
    if most > ZERO:
        if g < -most:
            g = -most
        if g > most:
            g = most
    if kind >= ADAM:
        mean = add(mul(momentum, first[at]), mul(add(ONE, -momentum), g))
        square = add(mul(rule[DECAY], second[at]), mul(add(ONE, -rule[DECAY]), mul(g, g)))
        first[at] = mean
        second[at] = square
        if kind == AMSGRAD:
            if third[at] >= square:
                square = third[at]
            third[at] = square
        below = add(root(mul(square, adam[update, 1])), rule[EPSILON])
        value = add(value, div(mul(rate, mul(mean, adam[update, 0])), below))
    elif kind == RMSPROP:
        square = add(mul(rule[DECAY], first[at]), mul(add(ONE, -rule[DECAY]), mul(g, g)))
        first[at] = square
        change = div(mul(rate, g), add(root(square), rule[EPSILON]))
        if n_slots > 1:
            change = add(mul(momentum, second[at]), change)
            second[at] = change
        value = add(value, change)
    elif n_slots > 0:
        change = mul(rate, g)
        velocity = add(mul(momentum, first[at]), change)
        first[at] = velocity
        if kind == NESTEROV:
            velocity = add(mul(momentum, velocity), change)
        value = add(value, velocity)
    else:
        value = add(value, mul(rate, g))
    values[at] = value
    return value


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
def _no_gradient(grey, order, first, n_data, n_visible, grey_means, n_hidden, visible0, hidden0, left, right, dense):
    """Stand for the gradient of rows that are bits, which are in the planes."""


def make_gradient(tile: Tile, grey_gradient: Any = None):
    """Phase: gradient of the weights, their rule, and the sums of their magnitudes.

    ``gradient(planes, pitch, none, n_steps, means, data_share, model_share, counted, weights, w0, w1, w2, n_hidden,
    n_visible, kind, n_slots, rule, adam, update, bound_scale, bounds, shared, grey, order, first, n_data, grey_means,
    left, right, dense)``; `weights` and slots are flat; `counted`: the fragments are counts of drawn states, of which
    data and model have those shares; ``bounds[n_hidden + n_visible + 1]`` gets sums over rows, over columns, and the
    largest magnitude if that is too large. With `grey_gradient` (`grey.py`) the fragments are of the model alone, and
    the data's part comes from their rows and means; without it the arguments from `grey` on are not looked at.
    """
    product = make_product(tile)
    n_rows, threads = tile.rows, tile.threads
    is_grey = grey_gradient is not None
    of_data = grey_gradient if is_grey else _no_gradient

    @device
    def gradient(
        planes, pitch, none, n_steps, means, data_share, model_share, counted, weights, w0, w1, w2, n_hidden, n_visible,
        kind, n_slots, rule, adam, update, bound_scale, bounds, shared, grey, order, first, n_data, grey_means, left,
        right, dense,
    ):  # fmt: skip
        down = (n_visible + n_rows - 1) // n_rows
        tiles = down * ((n_hidden + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            visible0, hidden0 = n_rows * (number % down), WIDTH * (number // down)
            product(planes, pitch, none, 0, n_visible, visible0, n_steps, means, hidden0, shared)
            if is_grey:
                of_data(
                    grey, order, first, n_data, n_visible, grey_means, n_hidden, visible0, hidden0, left, right, dense
                )
            for item in range(cuda.threadIdx.x, n_rows * WIDTH, threads):
                row, column = item % n_rows, item // n_rows  # neighbours take neighbouring weights
                size = np.uint32(0)
                if visible0 + row < n_visible and hidden0 + column < n_hidden:
                    total = np.uint32(shared[row, column])
                    if counted:
                        g = add(
                            mul(data_share, np.float32(total & np.uint32(MODEL_COUNT - 1))),
                            mul(model_share, np.float32(total >> np.uint32(16))),
                        )
                    else:
                        g = mul(_UNIT, np.float32(shared[row, column]))
                    if is_grey:
                        g = add(g, dense[row, column])
                    at = (hidden0 + column) * n_visible + visible0 + row
                    value = ascend(kind, n_slots, rule, adam, update, True, weights, w0, w1, w2, at, g)
                    size = magnitude(value, bound_scale)
                shared[row, column] = np.int32(size)
            cuda.syncthreads()
            for row in range(cuda.threadIdx.x, n_rows, threads):
                if visible0 + row < n_visible:
                    total, most = np.uint32(0), np.uint32(0)
                    for column in range(WIDTH):
                        size = np.uint32(shared[row, column])
                        total = np.uint32(total + size)
                        most = max(most, size)
                    cuda.atomic.add(bounds, n_hidden + visible0 + row, total)
                    note_largest(bounds, n_hidden + n_visible, most, bound_scale)
            for column in range(cuda.threadIdx.x, WIDTH, threads):
                if hidden0 + column < n_hidden:
                    total = np.uint32(0)
                    for row in range(n_rows):
                        total = np.uint32(total + np.uint32(shared[row, column]))
                    cuda.atomic.add(bounds, hidden0 + column, total)
            cuda.syncthreads()

    return gradient


@device
def bias_gradients(
    planes, pitch, n_data, data_groups, n_model, model_groups, totals, data_share, model_share, counted, visible, v0,
    v1, v2, hidden, h0, h1, h2, kind, n_slots, rule, adam, update, is_grey, sums_of_rows, sums_of_means, grey_groups,
):  # fmt: skip
    """Phase: both biases, one thread a unit; `totals` are the sums of the hidden integers.

    `is_grey`: those of the model, and the data's sums come by groups of rows.
    """
    n_visible, n_hidden = visible.size, hidden.size
    start = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    for unit in range(start, n_visible + n_hidden, cuda.gridDim.x * cuda.blockDim.x):
        if unit < n_visible:
            data, model = 0.0, 0
            for group in range(data_groups):
                data += np.float64(cuda.popc(planes[unit * pitch + group]))
            for group in range(model_groups):
                model += cuda.popc(planes[unit * pitch + data_groups + group])
            if is_grey:
                for group in range(grey_groups):
                    data += sums_of_rows[unit * grey_groups + group]
            g = np.float32(data / np.float64(n_data) - np.float64(model) / np.float64(n_model))
            ascend(kind, n_slots, rule, adam, update, False, visible, v0, v1, v2, unit, g)
        else:
            at = unit - n_visible
            if counted:
                total = np.uint32(totals[at])
                g = add(
                    mul(np.float32(total & np.uint32(MODEL_COUNT - 1)), data_share),
                    mul(np.float32(total >> np.uint32(16)), model_share),
                )
            else:
                g = mul(_UNIT, np.float32(totals[at]))
            if is_grey:
                for group in range(grey_groups):
                    g = add(g, sums_of_means[at * grey_groups + group])
            ascend(kind, n_slots, rule, adam, update, False, hidden, h0, h1, h2, at, g)


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


def make_gradient_kernel(tile: Tile):
    """Gradient and rule of weights and biases as a kernel."""
    gradient = make_gradient(tile)
    shape = (tile.rows, PITCH)

    @cuda.jit
    def gradient_kernel(
        planes, pitch, none, n_data, n_model, means, totals, data_share, model_share, counted, weights, w0, w1, w2,
        visible, v0,
        v1, v2, hidden, h0, h1, h2, kind, n_slots, rule, adam, bound_scale, bounds,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        groups, others = (n_data + 31) >> 5, (n_model + 31) >> 5
        gradient(
            planes, pitch, none, groups + others, means, data_share, model_share, counted, weights, w0, w1, w2,
            hidden.size,
            visible.size, kind, n_slots, rule, adam, 0, bound_scale, bounds, shared, adam, none, 0, 0, rule, adam, adam,
            adam,
        )  # fmt: skip
        bias_gradients(
            planes, pitch, n_data, groups, n_model, others, totals, data_share, model_share, counted, visible, v0, v1,
            v2,
            hidden, h0, h1, h2, kind, n_slots, rule, adam, 0, False, rule, rule, 0,
        )  # fmt: skip

    return gradient_kernel


def gradient_signature() -> Any:
    """Types of the arguments of `make_gradient_kernel`."""
    i64, words, reals, real = types.int64, types.uint32[::1], types.float32[::1], types.float32
    return types.void(
        words, i64, types.int64[::1], i64, i64, types.uint64[::1], types.int32[::1], real, real, types.boolean,
        *[reals] * 12, i64, i64, reals, types.float32[:, ::1], real, words,
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module that have no shape of tiles: (name, kernel, signature)."""
    i64, words, reals, fragments = types.int64, types.uint32[::1], types.float32[::1], types.uint64[::1]
    return [
        ("measure weights", measure_kernel, types.void(reals, i64, i64, types.float32, words)),
        ("pack weights", pack_kernel, types.void(
            reals, i64, i64, i64, words, fragments, fragments, reals, types.int32[::1])),
    ]  # fmt: skip
