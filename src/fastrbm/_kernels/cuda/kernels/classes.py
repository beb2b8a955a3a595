"""One-hot units: softmax of each group, and the class that is drawn, with the bits of the CPU kernels (softmax.h).

A group is drawn by the inverse of its distribution function at the uniform of its first unit. Sums are float64 and run
through the classes in their order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from .arguments import Address, Outputs, tuple_type
from .layer import COUNTS, DRAWN, INPUTS, MEANS, PLANES, WORDS, make_layer
from .scalar import exponential, nearest, philox, uniform_of, wide_uniform_of, word_at
from .target import add, cuda, device, grid_sync, mul, wide_div
from .tiles import FRAGMENT, WIDTH, Tile, fragment_of, input_of, opaque, pitch_of, place_of, this_place

_LEAST = np.float32(-87)


@device
def exponentials(values, row, first, size):
    """Put e^(x - largest x) in place of the values x of a group, and return their sum."""
    top = values[row, first]
    for neuron in range(first + 1, first + size):
        top = max(top, values[row, neuron])
    total = np.float64(0)
    for neuron in range(first, first + size):
        e = exponential(max(add(values[row, neuron], -top), _LEAST))
        values[row, neuron] = e
        total += np.float64(e)
    return total


@device
def wide_exponentials(values, row, first, size):
    """The same of float64."""
    top = values[row, first]
    for neuron in range(first + 1, first + size):
        top = max(top, values[row, neuron])
    total = np.float64(0)
    for neuron in range(first, first + size):
        values[row, neuron] = math.exp(values[row, neuron] - top)
        total += values[row, neuron]
    return total


@device
def chosen_of(values, row, first, size, sought):
    """Class of which the sum of the values up to it is the first above `sought`; rounding leaves none beyond all."""
    below, chosen = np.float64(0), 0
    for neuron in range(first, first + size):
        below += np.float64(values[row, neuron])
        if below <= sought:
            chosen += 1
    return chosen


@device
def word_of(neuron, row, at):
    """Word of a neuron of a row by the `Address` of its layer."""
    w0, w1, w2, w3 = philox(neuron >> 2, row, at)
    return word_at(neuron & 3, w0, w1, w2, w3)


def _make_classes(wide: bool) -> Any:
    """Kernel for float64 (wide) or float32."""
    in_place = wide_exponentials if wide else exponentials

    @cuda.jit
    def classes_kernel(theta, size, drawn, address):
        """Set groups of `size` neurons to their softmax, or, `drawn`, to 1 for one of them and 0 for the others."""
        n, groups = theta.shape[0], theta.shape[1] // size
        for at in range(cuda.grid(1), n * groups, cuda.gridsize(1)):
            row, first = at // groups, at % groups * size
            total = in_place(theta, row, first, size)
            if drawn:
                word = word_of(first, row, address)
                if wide:
                    u = wide_uniform_of(word)
                else:
                    u = np.float64(uniform_of(word))
                chosen = first + chosen_of(theta, row, first, size, u * total)
                for neuron in range(first, first + size):
                    theta[row, neuron] = 0
                    if neuron == chosen:
                        theta[row, neuron] = 1
            else:
                for neuron in range(first, first + size):
                    if wide:
                        theta[row, neuron] = wide_div(theta[row, neuron], total)
                    else:
                        theta[row, neuron] = mul(theta[row, neuron], np.float32(wide_div(1.0, total)))

    return classes_kernel


CLASSES = {np.dtype(np.float32): _make_classes(False), np.dtype(np.float64): _make_classes(True)}


@device
def choose_classes(size, n, n_neurons, at, what, scale, values, chosen):
    """Phase: the class of each group, and, of MEANS, their means times `scale` in place of the inputs in `values`."""
    groups = n_neurons // size
    for item in range(this_place(), n * groups, cuda.gridDim.x * cuda.blockDim.x):
        row, first = item // groups, item % groups * size
        total = exponentials(values, row, first, size)
        if what & DRAWN:
            u = np.float64(uniform_of(word_of(first, row, at)))
            chosen[item] = chosen_of(values, row, first, size, u * total)
        if what & MEANS:
            share = np.float32(wide_div(np.float64(scale), total))
            for neuron in range(first, first + size):
                values[row, neuron] = mul(values[row, neuron], share)


@device
def is_chosen(size, row, neuron, n_neurons, chosen):
    """Whether a neuron is on."""
    group = neuron // size
    return chosen[row * (n_neurons // size) + group] == neuron - size * group


@device
def leave_words(size, n, n_neurons, words, chosen):
    """Phase: rows of packed bits of what `choose_classes` has drawn."""
    columns = (n_neurons + 31) >> 5
    for item in range(this_place(), n * columns, cuda.gridDim.x * cuda.blockDim.x):
        row, column, word = item // columns, item % columns, np.uint32(0)
        for bit in range(min(32, n_neurons - 32 * column)):
            if is_chosen(size, row, 32 * column + bit, n_neurons, chosen):
                word |= np.uint32(1 << bit)
        words[row * pitch_of(n_neurons) + column] = word


@device
def leave_classes(size, n, n_neurons, what, out, values, chosen):
    """Phase: `Outputs` of a layer of classes, of what `choose_classes` has left."""
    stride, row_groups = cuda.gridDim.x * cuda.blockDim.x, (n + 31) >> 5
    if what & WORDS:
        leave_words(size, n, n_neurons, out.words, chosen)
    if what & PLANES:
        for item in range(this_place(), n_neurons * row_groups, stride):
            neuron, group, plane = item % n_neurons, item // n_neurons, np.uint32(0)
            for bit in range(min(32, n - 32 * group)):
                if is_chosen(size, 32 * group + bit, neuron, n_neurons, chosen):
                    plane |= np.uint32(1 << bit)
            out.planes[neuron * out.pitch + out.first_group + group] = plane
    if what & (MEANS | COUNTS):
        parts = 4 * ((n_neurons + WIDTH - 1) // WIDTH)
        eight = cuda.local.array(8, np.int32)
        for item in range(this_place(), row_groups * parts * 32, stride):
            lane, part, group = item & 31, (item >> 5) % parts, item // (32 * parts)
            neuron, total = 8 * part + (lane >> 2), np.int32(0)
            for b in range(8):
                row = 32 * group + input_of(lane, b)
                eight[b] = 0
                if row < n and neuron < n_neurons:
                    if what & MEANS:
                        eight[b] = nearest(values[row, neuron])
                    elif is_chosen(size, row, neuron, n_neurons, chosen):
                        eight[b] = np.int32(out.scale)
                    total += eight[b]
            for limb in range(4):
                at = (part * out.n_steps + out.first_group + group) * FRAGMENT
                out.means[at + place_of(limb, lane)] = fragment_of(eight, limb)
            if neuron < n_neurons and total != 0:
                cuda.atomic.add(out.totals, neuron, total)


def make_layer_of_units(tile: Tile, others: bool):
    """`make_layer` for a training pass, with a size of groups behind its arguments and place for what is chosen.

    Without `others` it asks for none of them: all layers are of bits.
    """
    of_bits = make_layer(tile, Outputs, for_gradient=True, inputs=others)

    @device
    def layer(rows, weights, at, what, out, shared, quads, size, chosen):
        of_bits(rows, weights, at, what, out, shared, quads)

    @device
    def layer_of_units(rows, weights, at, what, out, shared, quads, size, chosen):
        first = what
        if size:
            first = INPUTS  # what a group does needs those of all its neurons
        of_bits(rows, weights, at, first, out, shared, quads)
        if size:
            grid_sync()
            size, n, n_neurons = opaque(size), opaque(rows.n), opaque(weights.n_neurons)
            choose_classes(size, n, n_neurons, at, what, out.scale, out.rows, chosen)
            grid_sync()
            leave_classes(size, n, n_neurons, what, out, out.rows, chosen)

    return layer_of_units if others else layer


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, flag, address = types.int64, types.boolean, tuple_type(Address)
    return [
        (f"classes {kind}", CLASSES[np.dtype(kind)], types.void(real[:, ::1], i64, flag, address))
        for kind, real in (("float32", types.float32), ("float64", types.float64))
    ]
