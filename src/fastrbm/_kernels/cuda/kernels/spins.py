"""Layers of spins in a training pass, of which the kernels see bits: a spin is s = 2 x - 1.

The bits of a layer of spins have twice its input, and a layer whose inputs are spins loses the sum of its weights: sums
of the integers that states are drawn with, exact. The gradient of the spins' coupling follows from that of the bits and
from the differences of their means. All arithmetic is that of the CPU kernels in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import OtherUnits, Quantised, signature_of
from .gradient import hidden_change, visible_change
from .quantise import IS_SHORT, quantised
from .rules import ascend
from .scalar import ONE, TWO
from .target import add, cuda, device, div, mul
from .tiles import this_place

_RUN = 32  # integers that one thread adds up


@device
def add_sums(weights, n_hidden, n_visible, scale, short, units):
    """Phase: sums of the weights times `scale`, as integers, over inputs that are spins."""
    stride = cuda.gridDim.x * cuda.blockDim.x
    if units.visible_spins:
        runs = (n_visible + _RUN - 1) // _RUN
        for item in range(this_place(), n_hidden * runs, stride):
            hidden, first, total = item // runs, item % runs * _RUN, np.int32(0)
            for visible in range(first, min(first + _RUN, n_visible)):
                total += quantised(weights[hidden * n_visible + visible], scale, short)
            cuda.atomic.add(units.sums, hidden, total)
    if units.hidden_spins:
        runs = (n_hidden + _RUN - 1) // _RUN
        for item in range(this_place(), n_visible * runs, stride):
            visible, first, total = item % n_visible, item // n_visible * _RUN, np.int32(0)
            for hidden in range(first, min(first + _RUN, n_hidden)):
                total += quantised(weights[hidden * n_visible + visible], scale, short)
            cuda.atomic.add(units.sums, n_hidden + visible, total)


@device
def bits_of_units(visible, hidden, quantum, units):
    """Phase: biases and quantum of the bits; the sums they are made of are zeros after it."""
    n_visible, n_hidden = visible.values.size, hidden.values.size
    start = this_place()
    for at in range(start, n_hidden + n_visible, cuda.gridDim.x * cuda.blockDim.x):
        shift = np.float32(np.float64(units.sums[at]) * np.float64(quantum[0]))
        units.sums[at] = 0
        if at < n_hidden:
            bias = add(hidden.values[at], -shift)
            if units.hidden_spins:
                bias = mul(TWO, bias)
            units.hidden_bias[at] = bias
        else:
            bias = add(visible.values[at - n_hidden], -shift)
            if units.visible_spins:
                bias = mul(TWO, bias)
            units.visible_bias[at - n_hidden] = bias
    if start == 0:
        units.quantum[0] = mul(units.scale, quantum[0])


@device
def note_deltas(statistics, n_visible, n_hidden, data_groups, model_groups, units):
    """Phase: the differences of the means of the bits."""
    for at in range(this_place(), n_hidden + n_visible, cuda.gridDim.x * cuda.blockDim.x):
        if at < n_hidden:
            units.deltas[at] = hidden_change(statistics, at, None, False)
        else:
            units.deltas[at] = visible_change(statistics, at - n_hidden, data_groups, model_groups, None, False)


@device
def ascend_biases(visible, hidden, rule, update, units):
    """Phase: rule of both biases (`Slots`), one thread a neuron."""
    n_visible, n_hidden = visible.values.size, hidden.values.size
    for at in range(this_place(), n_hidden + n_visible, cuda.gridDim.x * cuda.blockDim.x):
        g = units.deltas[at]
        if at < n_hidden:
            if units.hidden_spins:
                g = mul(TWO, g)
            ascend(rule, update, False, hidden, at, g)
        else:
            if units.visible_spins:
                g = mul(TWO, g)
            ascend(rule, update, False, visible, at - n_hidden, g)


@cuda.jit
def sums_kernel(model: Quantised, units: OtherUnits):
    """`add_sums` as a kernel, for a first minibatch."""
    add_sums(
        model.weights, model.n_hidden, model.n_visible, div(ONE, model.quantum[0]),
        model.control[IS_SHORT] != 0, units,
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [("sums over spins", sums_kernel, signature_of(sums_kernel))]
