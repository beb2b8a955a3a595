"""Kernels that go over values or rows one by one: biases, sigmoids, packing, energies, pseudo-likelihoods, rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from .arguments import Address, Flag, Reals, RuleNumbers, Slots, signature_of, tuple_type
from .grey import WHITE
from .quantise import quantised
from .rules import ascend
from .scalar import ONE, mean_of, philox, sigmoid_scale, softplus, wide_is_on, word_at
from .target import SIMULATED, add, cuda, div, wide_mul

#: threads that share a row
ROW_THREADS = 2 if SIMULATED else 128
BERNOULLI_INPUTS, BERNOULLI_MEANS = 0, 1
_NEURONS_OF_PRODUCT = 32


@cuda.jit
def unpack_kernel(words, pitch, out):
    """Bits as 0 and 1."""
    n, n_neurons = out.shape
    for at in range(cuda.grid(1), n * n_neurons, cuda.gridsize(1)):
        row, neuron = at // n_neurons, at % n_neurons
        out[row, neuron] = (words[row * pitch + (neuron >> 5)] >> np.uint32(neuron & 31)) & np.uint32(1)


@cuda.jit
def set_bits_kernel(values, pitch, words):
    """Pack values 0 and 1; one thread a word."""
    n, n_neurons = values.shape
    columns = (n_neurons + 31) >> 5
    for at in range(cuda.grid(1), n * columns, cuda.gridsize(1)):
        row, column = at // columns, at % columns
        word = np.uint32(0)
        for bit in range(32):
            neuron = 32 * column + bit
            if neuron < n_neurons and values[row, neuron] != 0:
                word |= np.uint32(1 << bit)
        words[row * pitch + column] = word


@cuda.jit
def spins_kernel(values):
    """Set x to 2 x - 1."""
    for at in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        row, neuron = at // values.shape[1], at % values.shape[1]
        values[row, neuron] = values[row, neuron] + values[row, neuron] - 1


@cuda.jit
def difference_kernel(values, scale, others, other_scale):
    """Set values to scale * values - other_scale * others."""
    for at in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        row, column = at // values.shape[1], at % values.shape[1]
        values[row, column] = scale * values[row, column] - other_scale * others[row, column]


@cuda.jit
def outside_kernel(values, flag):
    """Set the flag if a value is not in [-1, 1]."""
    for at in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        if not abs(values[at // values.shape[1], at % values.shape[1]]) <= 1:
            flag[0] = 1


@cuda.jit
def not_usable_kernel(values, most, flag):
    """Set the flag if a value is larger than `most`, infinite or NaN."""
    for at in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        if not abs(values[at]) <= most:
            flag[0] = 1


@cuda.jit
def finish_kernel(rows, bias, what):
    """Products become inputs, or means of Bernoulli neurons."""
    n, n_neurons = rows.shape
    for at in range(cuda.grid(1), n * n_neurons, cuda.gridsize(1)):
        row, neuron = at // n_neurons, at % n_neurons
        x = rows[row, neuron] + bias[neuron]
        if what == BERNOULLI_MEANS:
            x = mean_of(sigmoid_scale(x))
        rows[row, neuron] = x


@cuda.jit
def finish_wide_kernel(rows, bias, what):
    """`finish_kernel` in float64."""
    n, n_neurons = rows.shape
    for at in range(cuda.grid(1), n * n_neurons, cuda.gridsize(1)):
        row, neuron = at // n_neurons, at % n_neurons
        x = rows[row, neuron] + bias[neuron]
        if what == BERNOULLI_MEANS:
            e = math.exp(-abs(x))  # in [0, 1]: no overflow
            if x >= 0:
                x = 1.0 / (1.0 + e)
            else:
                x = e / (1.0 + e)
        rows[row, neuron] = x


@cuda.jit
def whole_kernel(weights, quantum, short, out):
    """Weights as the whole numbers that `quantise.py` has, 1 being worth the quantum, or `short` ones."""
    scale = div(ONE, quantum[0])
    for at in range(cuda.grid(1), weights.size, cuda.gridsize(1)):
        row, column = at // weights.shape[1], at % weights.shape[1]
        out[row, column] = quantised(weights[row, column], scale, short)


@cuda.jit
def finish_levels_kernel(sums, quantum, bias, what, rows):
    """Products of levels and whole weights become inputs, or means of Bernoulli neurons."""
    n, n_neurons = rows.shape
    scale = np.float64(quantum[0]) / WHITE
    for at in range(cuda.grid(1), n * n_neurons, cuda.gridsize(1)):
        row, neuron = at // n_neurons, at % n_neurons
        x = add(bias[neuron], np.float32(wide_mul(sums[row, neuron], scale)))
        if what == BERNOULLI_MEANS:
            x = mean_of(sigmoid_scale(x))
        rows[row, neuron] = x


@cuda.jit
def draw_wide_kernel(inputs, at, pitch, words):
    """Bits of float64 inputs; one thread a word."""
    n, n_neurons = inputs.shape
    columns = (n_neurons + 31) >> 5
    for item in range(cuda.grid(1), n * columns, cuda.gridsize(1)):
        row, column = item // columns, item % columns
        word = np.uint32(0)
        for quad in range(8):
            neuron = 32 * column + 4 * quad
            if neuron < n_neurons:
                w0, w1, w2, w3 = philox(neuron >> 2, row, at)
                for j in range(4):
                    if neuron + j < n_neurons and wide_is_on(word_at(j, w0, w1, w2, w3), inputs[row, neuron + j]):
                        word |= np.uint32(1 << (4 * quad + j))
        words[row * pitch + column] = word


@cuda.jit
def energy_kernel(visible, inputs, bias, energy):
    """-bias . v - sum over hidden neurons of softplus(input); a block goes over a row."""
    part = cuda.shared.array(ROW_THREADS, np.float64)
    for row in range(cuda.blockIdx.x, inputs.shape[0], cuda.gridDim.x):
        total = 0.0
        for i in range(cuda.threadIdx.x, bias.size, ROW_THREADS):
            total += np.float64(visible[row, i]) * np.float64(bias[i])
        for j in range(cuda.threadIdx.x, inputs.shape[1], ROW_THREADS):
            total += softplus(np.float64(inputs[row, j]))
        part[cuda.threadIdx.x] = total
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            total = 0.0
            for t in range(ROW_THREADS):
                total += part[t]
            energy[row] = -total
        cuda.syncthreads()


@cuda.jit
def pseudo_kernel(visible, inputs, weights, bias, score):
    """Pseudo-likelihood of rows of Bernoulli neurons under Bernoulli hidden ones; a block goes over a row.

    A flip of visible neuron i changes the free energy by differences of softplus; with softplus(x) = max(x, 0) +
    log(1 + e^-|x|) the second parts of some neurons are multiplied before one logarithm is taken.
    """
    part = cuda.shared.array(ROW_THREADS, np.float64)
    n_hidden = inputs.shape[1]
    for row in range(cuda.blockIdx.x, inputs.shape[0], cuda.gridDim.x):
        score_here = 0.0
        for i in range(cuda.threadIdx.x, bias.size, ROW_THREADS):
            flip = 1.0 - 2.0 * np.float64(visible[row, i])
            gain, above, below = flip * np.float64(bias[i]), 1.0, 1.0
            for j in range(n_hidden):
                x = np.float64(inputs[row, j])
                y = x + flip * np.float64(weights[j, i])
                gain += max(y, 0.0) - max(x, 0.0)
                above *= 1.0 + math.exp(-abs(y))
                below *= 1.0 + math.exp(-abs(x))
                if (j + 1) % _NEURONS_OF_PRODUCT == 0:
                    gain += math.log(above / below)
                    above, below = 1.0, 1.0
            gain += math.log(above / below)
            score_here -= softplus(gain)
        part[cuda.threadIdx.x] = score_here
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            total = 0.0
            for t in range(ROW_THREADS):
                total += part[t]
            score[row] = total
        cuda.syncthreads()


@cuda.jit
def ascend_kernel(rule: RuleNumbers, penalised: Flag, slots: Slots, gradient: Reals):
    """A rule on flat float32 values."""
    for at in range(cuda.grid(1), slots.values.size, cuda.gridsize(1)):
        ascend(rule, 0, penalised, slots, at, gradient[at])


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, words = types.int64, types.uint32[::1]
    flat, rows = types.float32[::1], types.float32[:, ::1]
    wide_flat, wide_rows = types.float64[::1], types.float64[:, ::1]
    return [
        ("unpack", unpack_kernel, types.void(words, i64, rows)),
        ("set bits float32", set_bits_kernel, types.void(rows, i64, words)),
        ("set bits float64", set_bits_kernel, types.void(wide_rows, i64, words)),
        ("spins float32", spins_kernel, types.void(rows)),
        ("spins float64", spins_kernel, types.void(wide_rows)),
        ("difference float32", difference_kernel, types.void(rows, types.float32, rows, types.float32)),
        ("difference float64", difference_kernel, types.void(wide_rows, types.float64, wide_rows, types.float64)),
        ("not usable float32", not_usable_kernel, types.void(flat, types.float32, types.int32[::1])),
        ("not usable float64", not_usable_kernel, types.void(wide_flat, types.float64, types.int32[::1])),
        ("outside of one", outside_kernel, types.void(rows, types.int32[::1])),
        ("finish float32", finish_kernel, types.void(rows, flat, i64)),
        ("finish float64", finish_wide_kernel, types.void(wide_rows, wide_flat, i64)),
        ("whole weights", whole_kernel, types.void(rows, flat, types.boolean, wide_rows)),
        ("finish levels", finish_levels_kernel, types.void(wide_rows, flat, flat, i64, rows)),
        ("draw float64", draw_wide_kernel, types.void(wide_rows, tuple_type(Address), i64, words)),
        ("free energy", energy_kernel, types.void(rows, rows, flat, wide_flat)),
        ("pseudo-likelihood", pseudo_kernel, types.void(rows, rows, rows, flat, wide_flat)),
        ("rule", ascend_kernel, signature_of(ascend_kernel)),
    ]
