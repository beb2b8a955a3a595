"""Annealed importance sampling on the device: many temperatures of all chains in one cooperative launch.

A temperature has two phases (anneal.h of the CPU kernels has the formulas). In the first the layer that is summed out
is drawn, each block of 32 of its neurons leaves the part of the log weight that it is for, and so does each block of 32
kept neurons with what their fields are worth in the state before. In the second these parts are added, chain by chain
in the order of the CPU, and the kept layer is drawn. Parts are float32 and their operations those of the CPU kernels
one by one, the sums float64 without atomics: log weights and states are the same bits, however the run is cut into
launches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arguments import Address, Doubles, Drawn, Draws, Fragments, Long, Longs, Reals, Rows, Weights, Words
from .layer import QUADS, WORDS, make_layer, make_to_words
from .scalar import HALF, ONE, ZERO, is_on, log_of, philox, sigmoid_scale
from .target import add, bits_of_float, cuda, device, div, float_of_bits, grid_sync, kernel_for, mul, wide_mul
from .tiles import PITCH, WIDTH, Tile, make_product, of_each_tile, pitch_of, steps_of

_LOW = 0xFFFFFFFF


class AnnealedLayer(NamedTuple):
    """A layer of annealed chains: inputs at inverse temperature beta are ``beta * (field + W s) + base``.

    Attributes
    ----------
    words : array of uint32
        States, rows of packed bits.
    fragments : array of uint64
        Weights into the layer.
    field, base : array of float32, shape (n_neurons,)
    stream : int
        Stream of its draws.
    parts : array of float32
        What blocks of 32 neurons add to the log weights, ``parts[block * n + chain]``.
    """

    words: Words
    fragments: Fragments
    field: Reals
    base: Reals
    stream: Long
    parts: Reals


class AnnealingScratch(NamedTuple):
    """Bias and quantum of the kept layer at one temperature."""

    bias: Reals
    quantum: Reals


class AnnealingTiles(NamedTuple):
    """Shared memory of a block: sums, 1 + e^-|input| at both temperatures, the rest of the gain, and drawn bits."""

    sums: Any
    above: Any
    below: Any
    linear: Any
    quads: Any


def make_summed(tile: Tile):
    """Phase: the layer that is summed out, drawn, and its parts of the log weights.

    ``summed(kept, order, n, n_kept, layer, quantum, beta, before, at, tiles)``: the states of `n_kept` neurons are the
    `n` rows of `kept`, `layer` is the `AnnealedLayer` that is summed out, `before` the inverse temperature before
    `beta`, `at` the `Address` of the draws, and `tiles` is shared memory, `AnnealingTiles`.
    """
    product, to_words = make_product(tile), make_to_words(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def summed(kept, order, n, n_kept, layer, quantum, beta, before, at, tiles):
        field, base, parts, n_neurons = layer.field, layer.base, layer.parts, layer.field.size
        shared, above, below, linear, quads = tiles
        down = (n + n_rows - 1) // n_rows
        n_tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, n_tiles, cuda.gridDim.x):
            row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
            product(
                Rows(kept, order, 0, n, pitch_of(n_kept)), row0, layer.fragments, steps_of(n_kept), neuron0, shared
            )  # fmt: skip
            for item in range(cuda.threadIdx.x, n_rows * WIDTH, threads):
                row, column = item >> 5, item & 31
                if neuron0 + column < n_neurons:
                    d = add(field[neuron0 + column], mul(quantum[0], np.float32(shared[row, column])))
                    now = add(mul(d, beta), base[neuron0 + column])
                    then = add(mul(d, before), base[neuron0 + column])
                    shared[row, column] = bits_of_float(now)
                    above[row, column] = sigmoid_scale(abs(now))
                    below[row, column] = sigmoid_scale(abs(then))
                    # twice the difference of max(x, 0)
                    linear[row, column] = add(add(now, abs(now)), -add(then, abs(then)))
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits = np.uint32(0)
                w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, row0 + row, at)
                for j in range(4):
                    column = 4 * quad + j
                    if neuron0 + column < n_neurons:
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
            to_words(quads, row0, n, neuron0, n_neurons, layer.words)
            for row in range(cuda.threadIdx.x, n_rows, threads):
                if row0 + row < n:
                    over, under, gain = ONE, ONE, ZERO
                    for column in range(min(WIDTH, n_neurons - neuron0)):
                        over = mul(over, above[row, column])
                        under = mul(under, below[row, column])
                        gain = add(gain, linear[row, column])
                    parts[(neuron0 >> 5) * n + row0 + row] = add(log_of(div(over, under)), mul(gain, HALF))
            cuda.syncthreads()

    return summed


@device
def weigh_fields(words, n, field, parts):
    """Phase: ``parts[block of 32 neurons, chain]`` (flat) = field . state."""
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
    summed, layer = make_summed(tile), make_layer(tile, Drawn)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, tile.blocks(many_values=True))
    def annealing_kernel(
        summed_layer: AnnealedLayer, kept_layer: AnnealedLayer, n: Long, order: Longs, quantum: Reals, betas: Reals,
        first: Long, count: Long, draws: Draws, scratch: AnnealingScratch, log_weights: Doubles,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        above = cuda.shared.array(shape, np.float32)
        below = cuda.shared.array(shape, np.float32)
        linear = cuda.shared.array(shape, np.float32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        tiles = AnnealingTiles(shared, above, below, linear, quads)
        n_summed, n_kept = summed_layer.field.size, kept_layer.field.size
        for k in range(first, first + count):
            before, beta = betas[k], betas[k + 1]
            low, high = (draws.step + k) & _LOW, ((draws.step + k) >> 32) & 0xFFFFFF
            summed(
                kept_layer.words, order, n, n_kept, summed_layer, quantum, beta, before,
                Address(draws.seed_low, draws.seed_high, low, (summed_layer.stream << 24) | high, draws.first_chain),
                tiles,
            )  # fmt: skip
            weigh_fields(kept_layer.words, n, kept_layer.field, kept_layer.parts)
            for at in range(cuda.grid(1), n_kept, cuda.gridsize(1)):
                scratch.bias[at] = add(mul(beta, kept_layer.field[at]), kept_layer.base[at])
            if cuda.grid(1) == 0:
                scratch.quantum[0] = mul(beta, quantum[0])
            grid_sync()
            add_parts(
                n, (n_kept + 31) >> 5, kept_layer.parts, (n_summed + 31) >> 5, summed_layer.parts,
                np.float64(beta) - np.float64(before), log_weights,
            )  # fmt: skip
            layer(
                Rows(summed_layer.words, order, 0, n, pitch_of(n_summed)),
                Weights(kept_layer.fragments, scratch.bias, scratch.quantum, steps_of(n_summed), n_kept),
                Address(draws.seed_low, draws.seed_high, low, (kept_layer.stream << 24) | high, draws.first_chain),
                WORDS, Drawn(kept_layer.words), shared, quads,
            )  # fmt: skip
            grid_sync()

    return annealing_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return of_each_tile("annealing", make_annealing_kernel)
