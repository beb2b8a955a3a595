"""Training passes with Gaussian visible neurons (of deviation 1) and hidden layers of bits, in one cooperative launch.

Products with hidden states are of bits, exact on the tensor cores; those with visible ones, which are real, go over
tiles in shared memory (`grey.py`). All sums are in the order of the CPU kernels, by the same operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arguments import (
    Address,
    BothBatches,
    Fixed,
    GreyBatch,
    GreyTiles,
    Integers,
    Long,
    Longs,
    Magnitudes,
    RealRows,
    Reals,
    Rows,
    RuleNumbers,
    Slots,
    Weights,
)
from .classes import choose_classes, leave_words
from .gradient import make_gradient
from .grey import make_grey_layer, note_parts, note_parts_of_rows, shared_shapes, sum_of_parts
from .layer import INPUTS, MEANS, QUADS, WORDS
from .normal import normal_of
from .quantise import DONE, EXPONENT, IS_SHORT, SHORT, exponent_of, pack_one_way, scale_of
from .rules import ascend
from .scalar import ONE, philox, word_at
from .target import add, cuda, device, div, grid_sync, kernel_for, mul
from .tiles import (
    PITCH,
    WIDTH,
    Tile,
    make_product_of_weights,
    of_each_tile,
    opaque,
    pitch_of,
    steps_of,
    this_place,
    this_thread,
)
from .training import Plan, Span, TrainingModel, TrainingRows, TrainingStates

_LOW = 0xFFFFFFFF
_HIDDEN_STREAM, _VISIBLE_STREAM = 1, 0


class GaussianScratch(NamedTuple):
    """What a minibatch leaves for its gradient: of the data and of the model.

    Attributes
    ----------
    data_means, model_means : array of float32
        ``means[row * n_hidden + hidden]``, times their shares.
    data_inputs, model_inputs : array of float32, shape (n, n_hidden)
        The same memory.
    model_rows : array of float32, shape (n_chains, n_visible)
    model_order : array of int64
        0, 1, 2, ...
    parts : array of float32, shape (4 * 16 * most neurons of a layer,)
        Sums in parts (`grey.note_parts`): of the means of data and of the model, of the rows of data and of the model.
    part_size : int
        Numbers of one of the four.
    coefficients : array of float32
        Of `normal.normal_of`.
    n_classes : int
        Hidden neurons of a group of which one is on; 0 for bits.
    chosen : array of int32
        As in `OtherUnits`.
    """

    data_means: Reals
    model_means: Reals
    data_inputs: RealRows
    model_inputs: RealRows
    model_rows: RealRows
    model_order: Longs
    parts: Reals
    part_size: Long
    coefficients: Reals
    n_classes: Long
    chosen: Integers


def make_gaussian_layer(tile: Tile):
    """Phase: Gaussian states given rows of bits.

    ``gaussian_layer(rows, weights, at, coefficients, out, shared)``: as a layer of bits (`layer.py`), into
    ``out[row, neuron]``.
    """
    product = make_product_of_weights(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def gaussian_layer(rows, weights, at, coefficients, out, shared):
        n, n_neurons = rows.n, weights.n_neurons
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
            product(rows, row0, weights.fragments, weights.n_steps, neuron0, shared)
            for item in range(this_thread(), n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                place = row0 + row
                w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, place, at)
                for j in range(4):
                    column = 4 * quad + j
                    neuron = neuron0 + column
                    if place < n and neuron < n_neurons:
                        x = add(weights.bias[neuron], mul(weights.quantum[0], np.float32(shared[row, column])))
                        out[place, neuron] = add(x, normal_of(word_at(j, w0, w1, w2, w3), coefficients))
            cuda.syncthreads()

    return gaussian_layer


def make_hidden_layer(tile: Tile):
    """Phase: hidden means times `share` given real rows, and states drawn to `words` if `what` has WORDS.

    ``hidden_layer(batch, inputs, n_hidden, weights, bias, at, share, what, words, scratch, quads, tiles)``: `inputs`
    are the means of the `GreyBatch` as rows; the `GaussianScratch` says whether groups of neurons are classes.
    """
    of_bits = make_grey_layer(tile, gaussian=True)

    @device
    def hidden_layer(batch, inputs, n_hidden, weights, bias, at, share, what, words, scratch, quads, tiles):
        first = what
        if scratch.n_classes:
            first = INPUTS
        n_visible, fixed = opaque(np.int64(batch.values.shape[1])), Fixed(ONE, False)
        of_bits(batch, n_hidden, n_visible, weights, bias, fixed, at, share, first, words, quads, tiles)
        if scratch.n_classes:
            grid_sync()
            size, n, n_hidden = opaque(scratch.n_classes), opaque(batch.n), opaque(n_hidden)
            choose_classes(size, n, n_hidden, at, what | MEANS, share, inputs, scratch.chosen)
            grid_sync()
            if what & WORDS:
                leave_words(size, n, n_hidden, words, scratch.chosen)

    return hidden_layer


@device
def note_all_parts(data, model, n_hidden, n_visible, scratch):
    """Phase: sums of the means and of the rows of both batches, in parts."""
    parts, size = scratch.parts, scratch.part_size
    note_parts(data.means, data.n, n_hidden, parts, 0)
    note_parts(model.means, model.n, n_hidden, parts, size)
    note_parts_of_rows(data.values, data.order, data.first, data.n, n_visible, parts, 2 * size)
    note_parts_of_rows(model.values, model.order, 0, model.n, n_visible, parts, 3 * size)


@device
def ascend_biases(n, n_model, visible, hidden, rule, update, scratch):
    """Phase: rule of both biases (`Slots`), one thread a neuron."""
    n_visible, n_hidden, size = visible.values.size, hidden.values.size, scratch.part_size
    for at in range(this_place(), n_hidden + n_visible, cuda.gridDim.x * cuda.blockDim.x):
        if at < n_hidden:
            data = sum_of_parts(scratch.parts, 0, n_hidden, at)
            model = sum_of_parts(scratch.parts, size, n_hidden, at)
            ascend(rule, update, False, hidden, at, add(data, model))
        else:
            neuron = at - n_hidden
            data = sum_of_parts(scratch.parts, 2 * size, n_visible, neuron)
            model = sum_of_parts(scratch.parts, 3 * size, n_visible, neuron)
            g = add(div(data, np.float32(n)), -div(model, np.float32(n_model)))
            ascend(rule, update, False, visible, neuron, g)


def make_gaussian_pass_kernel(tile: Tile):
    """Kernel that does the minibatches of a `Span`."""
    visible_layer, hidden_layer = make_gaussian_layer(tile), make_hidden_layer(tile)
    gradient = make_gradient(tile, real_model=True)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)
    dense_shape, left_shape, right_shape = shared_shapes(tile)

    @device
    def batches_of(batch, plan, data, states, scratch):
        first = opaque(batch) * plan.batch_size
        n = min(plan.batch_size, data.n - first)
        n_model = n
        if plan.persistent:
            n_model = states.n_chains
        return (
            GreyBatch(data.grey, data.order, first, n, scratch.data_means, None, None, 1, None),
            GreyBatch(scratch.model_rows, scratch.model_order, 0, n_model, scratch.model_means, None, None, 1, None),
        )  # fmt: skip

    @device
    def units_of(model):
        return opaque(model.n_hidden), opaque(model.n_visible)

    @kernel_for(tile.threads, tile.blocks(many_values=True))
    def gaussian_pass_kernel(
        data: TrainingRows, states: TrainingStates, weights: Slots, visible: Slots, hidden: Slots, rule: RuleNumbers,
        model: TrainingModel, scratch: GaussianScratch, plan: Plan, span: Span,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        largest = cuda.shared.array(1, np.uint32)
        dense = cuda.shared.array(dense_shape, np.float32)
        left = cuda.shared.array(left_shape, np.float32)
        right = cuda.shared.array(right_shape, np.float32)
        tiles = GreyTiles(dense, left, right)
        magnitude_scale = np.float32(1 << model.shift)
        step, parity = span.step, span.parity
        for batch in range(span.first, span.first + span.n):
            high = (step >> 32) & 0xFFFFFF
            # -- data
            of_data, of_model = batches_of(batch, plan, data, states, scratch)
            n_hidden, n_visible = units_of(model)
            what = 0
            if not plan.persistent:
                what = WORDS
            hidden_layer(
                of_data, scratch.data_inputs, n_hidden, weights.values, hidden.values,
                Address(plan.seed_low, plan.seed_high, step & _LOW, (_HIDDEN_STREAM << 24) | high, 0),
                div(ONE, np.float32(of_data.n)), what, states.hidden, scratch, quads, tiles,
            )  # fmt: skip
            if not plan.persistent or scratch.n_classes:
                grid_sync()
            # -- model
            for sweep in range(1, plan.n_sweeps + 1):
                at = step + sweep
                high = (at >> 32) & 0xFFFFFF
                of_data, of_model = batches_of(batch, plan, data, states, scratch)
                n_hidden, n_visible = units_of(model)
                visible_layer(
                    Rows(states.hidden, states.order, 0, of_model.n, pitch_of(n_hidden)),
                    Weights(model.to_visible, visible.values, model.quantum, steps_of(n_hidden), n_visible),
                    Address(plan.seed_low, plan.seed_high, at & _LOW, (_VISIBLE_STREAM << 24) | high, 0),
                    scratch.coefficients, scratch.model_rows, shared,
                )  # fmt: skip
                grid_sync()
                of_data, of_model = batches_of(batch, plan, data, states, scratch)
                n_hidden, n_visible = units_of(model)
                what = 0
                if sweep < plan.n_sweeps or plan.persistent:
                    what = WORDS
                hidden_layer(
                    of_model, scratch.model_inputs, n_hidden, weights.values, hidden.values,
                    Address(plan.seed_low, plan.seed_high, at & _LOW, (_HIDDEN_STREAM << 24) | high, 0),
                    -div(ONE, np.float32(of_model.n)), what, states.hidden, scratch, quads, tiles,
                )  # fmt: skip
                grid_sync()
            # -- parameters
            of_data, of_model = batches_of(batch, plan, data, states, scratch)
            n_hidden, n_visible = units_of(model)
            gradient(
                None, 0, weights, n_hidden, n_visible, rule, batch,
                Magnitudes(magnitude_scale, model.magnitudes[parity]), shared, BothBatches(of_data, of_model), tiles,
                None,
            )  # fmt: skip
            note_all_parts(of_data, of_model, n_hidden, n_visible, scratch)
            grid_sync()
            n_hidden, n_visible = units_of(model)
            ascend_biases(of_data.n, of_model.n, visible, hidden, rule, batch, scratch)
            exponent = exponent_of(model.magnitudes[parity], n_hidden, n_visible, model.shift, largest, plan.short)
            parity = 1 - parity
            start = this_place()
            for at in range(start, n_hidden + n_visible + 1, cuda.gridDim.x * cuda.blockDim.x):
                model.magnitudes[parity, at] = 0
            step += plan.n_sweeps + 1
            if start == 0:
                model.control[EXPONENT] = exponent
                model.control[DONE] = batch + 1
                model.control[IS_SHORT] = exponent >= SHORT
            if exponent < 0:
                return  # all blocks have found the same
            pack_one_way(
                weights.values, n_visible, n_hidden, 1, n_visible, scale_of(exponent), exponent >= SHORT,
                model.to_visible,
            )  # fmt: skip
            if start == 0:
                model.quantum[0] = div(ONE, scale_of(exponent))
            grid_sync()

    return gaussian_pass_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return of_each_tile("training pass, Gaussian", make_gaussian_pass_kernel)
