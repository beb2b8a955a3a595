"""Gradients from bits and integer means, and what the optimiser's rule makes of the parameters.

The gradient of the weights is a product of planes (the visible bits by unit) and fragments of integer means: data with
scale 2^30 / n and model with -2^30 / m beside each other, so one exact sum has both. All arithmetic after it is that of
the CPU kernels (src/gradient.h) in the same order, so the same bits come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .quantise import magnitude, note_largest
from .rules import ascend
from .target import add, cuda, device, mul
from .tiles import PITCH, WIDTH, Tile, make_product, of_each_tile

MEAN_SCALE = 2.0**30
#: sums of drawn states in one integer: data in the low half, model in the high one
MODEL_COUNT = 1 << 16

_UNIT = np.float32(2.0**-30)


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
    """Kernels of this module: (name, kernel, signature)."""
    return of_each_tile("gradient", make_gradient_kernel, gradient_signature())
