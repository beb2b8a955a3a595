"""Gradients from bits and integer means, and what the optimiser's rule makes of the parameters.

The gradient of the weights is a product of planes (the visible bits by neuron) and fragments of integer means: data
with scale 2^30 / n and model with -2^30 / m beside each other, so one exact sum has both. All arithmetic after it is
that of the CPU kernels in the same order, so the same bits come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import Magnitudes, Real, Rows, RuleNumbers, Slots, Statistics, Words
from .grey import WHITE, make_grey_gradient, sum_of_parts
from .quantise import magnitude, note_largest
from .rules import ascend
from .scalar import HALF, ZERO
from .target import add, cuda, device, mul
from .tiles import PITCH, WIDTH, Tile, make_product, of_each_tile, this_place, this_thread

MEAN_SCALE = 2.0**30
#: sums of drawn states in one integer: data in the low half, model in the high one
MODEL_COUNT = 1 << 16

_QUANTUM = np.float32(2.0**-30)


@device
def of_sum(statistics, total):
    """Gradient from a sum over the rows of both phases."""
    if statistics.counted:
        counts = np.uint32(total)
        return add(
            mul(statistics.data_share, np.float32(counts & np.uint32(MODEL_COUNT - 1))),
            mul(statistics.model_share, np.float32(counts >> np.uint32(16))),
        )
    return mul(_QUANTUM, np.float32(total))


@device
def coupling(g, visible, hidden, n_hidden, units):
    """Gradient of a weight from that of the bits of `OtherUnits` (`spins.py`)."""
    of_hidden = ZERO
    if units.visible_spins:
        of_hidden = mul(HALF, units.deltas[hidden])
    g = add(g, -of_hidden)
    if units.hidden_spins:
        g = add(g, -mul(HALF, units.deltas[n_hidden + visible]))
    return mul(units.scale, g)


def make_gradient(tile: Tile, exact: bool = False, real_model: bool = False):
    """Phase: gradient of the weights, their rule, and the sums of their magnitudes.

    ``gradient(statistics, n_steps, weights, n_hidden, n_visible, rule, update, magnitudes, shared, grey, grey_tiles,
    units)``: `weights` are `Slots` with ``values[hidden * n_visible + visible]``. Of `Magnitudes`
    ``sums[n_hidden + n_visible + 1]`` gets sums over rows, over columns, and the largest magnitude if that is too
    large, in steps of ``1 / scale``. With a `GreyBatch` the statistics are of the model alone, and the data's part is
    from there, of `exact` rows in one with the model's; for data in bits `grey` and `grey_tiles` are None. With
    `real_model` the visible states of the model are real, too: `grey` are `BothBatches`, and there are no statistics.
    `units` are `OtherUnits`, or None.
    """
    product, of_data = make_product(tile), make_grey_gradient(tile, exact)
    n_rows, threads = tile.rows, tile.threads

    @device
    def gradient(
        statistics, n_steps, weights, n_hidden, n_visible, rule, update, magnitudes, shared, grey, grey_tiles, units
    ):  # fmt: skip
        down = (n_visible + n_rows - 1) // n_rows
        tiles = down * ((n_hidden + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            visible0, hidden0 = n_rows * (number % down), WIDTH * (number // down)
            if not real_model:
                product(
                    Rows(statistics.planes, statistics.order, 0, n_visible, statistics.pitch), visible0,
                    statistics.means, n_steps, hidden0, shared,
                )  # fmt: skip
            if grey is not None:
                if real_model:
                    of_data(grey.data, grey.model, n_visible, n_hidden, visible0, hidden0, shared, grey_tiles)
                else:
                    of_data(grey, None, n_visible, n_hidden, visible0, hidden0, shared, grey_tiles)
            for item in range(this_thread(), n_rows * WIDTH, threads):
                row, column = item % n_rows, item // n_rows  # neighbours take neighbouring weights
                size = np.uint32(0)
                if visible0 + row < n_visible and hidden0 + column < n_hidden:
                    g = ZERO
                    if not real_model:
                        g = of_sum(statistics, shared[row, column])
                    if grey is not None:
                        if exact or real_model:
                            g = grey_tiles.sums[row, column]
                        else:
                            g = add(g, grey_tiles.sums[row, column])
                    if units is not None:
                        g = coupling(g, visible0 + row, hidden0 + column, n_hidden, units)
                    at = (hidden0 + column) * n_visible + visible0 + row
                    value = ascend(rule, update, True, weights, at, g)
                    size = magnitude(value, magnitudes.scale)
                shared[row, column] = np.int32(size)
            cuda.syncthreads()
            for row in range(this_thread(), n_rows, threads):
                if visible0 + row < n_visible:
                    total, most = np.uint32(0), np.uint32(0)
                    for column in range(WIDTH):
                        size = np.uint32(shared[row, column])
                        total = np.uint32(total + size)
                        most = max(most, size)
                    cuda.atomic.add(magnitudes.sums, n_hidden + visible0 + row, total)
                    note_largest(magnitudes.sums, n_hidden + n_visible, most, magnitudes.scale)
            for column in range(this_thread(), WIDTH, threads):
                if hidden0 + column < n_hidden:
                    total = np.uint32(0)
                    for row in range(n_rows):
                        total = np.uint32(total + np.uint32(shared[row, column]))
                    cuda.atomic.add(magnitudes.sums, hidden0 + column, total)
            cuda.syncthreads()

    return gradient


@device
def visible_change(statistics, neuron, data_groups, model_groups, grey, exact):
    """Gradient of a visible bias: the mean of the data less that of the model; `grey` as in `bias_gradients`."""
    data, model, first = 0.0, 0, neuron * statistics.pitch
    for group in range(data_groups):
        data += np.float64(cuda.popc(statistics.planes[first + group]))
    for group in range(model_groups):
        model += cuda.popc(statistics.planes[first + data_groups + group])
    if grey is not None:
        for group in range(grey.groups):
            data += grey.sums_of_rows[neuron * grey.groups + group]
        if exact:
            data /= WHITE
    return np.float32(data / np.float64(statistics.n_data) - np.float64(model) / np.float64(statistics.n_model))


@device
def hidden_change(statistics, neuron, grey, exact):
    """Gradient of a hidden bias in the same way."""
    g = of_sum(statistics, statistics.totals[neuron])
    if grey is not None and not exact:
        g = add(g, sum_of_parts(grey.parts_of_means, 0, statistics.totals.size, neuron))
    return g


@device
def bias_gradients(statistics, data_groups, model_groups, visible, hidden, rule, update, grey, exact):
    """Phase: gradients and rule of both biases (`Slots`), one thread a neuron.

    With a `GreyBatch` the statistics are those of the model, and the data's sums come by groups of rows; else None. Of
    `exact` rows those of means are in the statistics, and those of rows are of bytes.
    """
    n_visible, n_hidden = visible.values.size, hidden.values.size
    for neuron in range(this_place(), n_visible + n_hidden, cuda.gridDim.x * cuda.blockDim.x):
        if neuron < n_visible:
            g = visible_change(statistics, neuron, data_groups, model_groups, grey, exact)
            ascend(rule, update, False, visible, neuron, g)
        else:
            g = hidden_change(statistics, neuron - n_visible, grey, exact)
            ascend(rule, update, False, hidden, neuron - n_visible, g)


def make_gradient_kernel(tile: Tile):
    """Gradient and rule of weights and biases as a kernel, for data in bits."""
    gradient = make_gradient(tile)
    shape = (tile.rows, PITCH)

    @cuda.jit
    def gradient_kernel(
        statistics: Statistics, weights: Slots, visible: Slots, hidden: Slots, rule: RuleNumbers, scale: Real,
        magnitudes: Words,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        groups, others = (statistics.n_data + 31) >> 5, (statistics.n_model + 31) >> 5
        gradient(
            statistics, groups + others, weights, hidden.values.size, visible.values.size, rule, 0,
            Magnitudes(scale, magnitudes), shared, None, None, None,
        )  # fmt: skip
        bias_gradients(statistics, groups, others, visible, hidden, rule, 0, None, False)

    return gradient_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return of_each_tile("gradient", make_gradient_kernel)
