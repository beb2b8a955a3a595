"""Whole runs of minibatches in one cooperative launch: all blocks go through the phases together.

A minibatch of bits takes one wait of the grid for each layer that is drawn, one for the gradient and one for the newly
quantised weights; nothing is launched, copied or read in between. The phases and their arithmetic are those of single
kernels (`layer.py`, `gradient.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
from numba import types

from .arguments import (
    Address,
    ByteRows,
    Doubles,
    Fixed,
    Flag,
    Fragments,
    GreyBatch,
    GreyRows,
    GreyTiles,
    Integers,
    Long,
    Longs,
    Magnitudes,
    OtherUnits,
    Outputs,
    RealRows,
    Reals,
    Rows,
    RuleNumbers,
    Slots,
    Statistics,
    Weights,
    Words,
)
from .classes import make_layer_of_units
from .gradient import MEAN_SCALE, MODEL_COUNT, bias_gradients, make_gradient
from .grey import make_grey_layer, note_parts, shared_shapes
from .layer import COUNTS, MEANS, PLANES, QUADS, WORDS, make_draw_rows, transpose_rows
from .quantise import DONE, EXPONENT, IS_SHORT, SHORT, exponent_of, pack_weights, scale_of
from .scalar import ONE
from .spins import add_sums, ascend_biases, bits_of_units, note_deltas
from .target import cuda, device, div, grid_sync, kernel_for
from .tiles import PITCH, Tile, of_each_tile, opaque, pitch_of, steps_of, this_place

_LOW = 0xFFFFFFFF
_HIDDEN_STREAM, _VISIBLE_STREAM, _INPUT_STREAM = 1, 0, 2
_MEAN_SCALE = np.float32(MEAN_SCALE)
_DATA_COUNT, _MODEL_COUNT = np.float32(1), np.float32(MODEL_COUNT)


class TrainingRows(NamedTuple):
    """Data of a training pass: packed bits, or grey rows; what is not there is of length 1.

    Attributes
    ----------
    words : array of uint32
    grey : array of float32, shape (n_rows, n_visible)
    levels : array of uint8, shape (n_rows, n_visible)
        255ths.
    order : array of int64
        Rows of the pass one after another.
    n : int
        Their number.
    """

    words: Words
    grey: RealRows
    levels: ByteRows
    order: Longs
    n: Long


class TrainingStates(NamedTuple):
    """States of a training pass, rows of packed bits.

    Attributes
    ----------
    drawn : array of uint32
        Data drawn from grey rows.
    hidden, visible : array of uint32
        States of the model, or of the persistent chains.
    n_chains : int
        Persistent chains.
    order : array of int64
        Empty: rows are as they come.
    """

    drawn: Words
    hidden: Words
    visible: Words
    n_chains: Long
    order: Longs


class TrainingScratch(NamedTuple):
    """What a minibatch leaves for its gradient, as `Statistics` and `GreyBatch` have it."""

    planes: Words
    pitch: Long
    means: Fragments
    totals: Integers
    grey_means: Reals
    level_means: Integers
    parts_of_means: Reals
    sums_of_rows: Doubles


class TrainingModel(NamedTuple):
    """Weights in the order of the tensor cores, and what their exponent follows from.

    Attributes
    ----------
    n_hidden, n_visible : int
    to_hidden, to_visible, quantum
        As in `Model`.
    magnitudes : array of uint32, shape (2, n_hidden + n_visible + 1)
        Kept twice: while one copy is read the other is cleared for the next minibatch.
    control : array of three int32
        What comes back to the host, as `quantise.py` has it.
    shift : int
        Bits behind the point of the magnitudes.
    """

    n_hidden: Long
    n_visible: Long
    to_hidden: Fragments
    to_visible: Fragments
    quantum: Reals
    magnitudes: Annotated[Any, types.uint32[:, ::1]]
    control: Integers
    shift: Long


class Plan(NamedTuple):
    """How a pass trains: see `fastrbm._kernels.TrainingPlan`; `short`: weights are to be multiples of 2^16."""

    batch_size: Long
    n_sweeps: Long
    persistent: Flag
    stochastic_input: Flag
    sampled_hidden: Flag
    seed_low: Long
    seed_high: Long
    short: Flag


class Span(NamedTuple):
    """Which minibatches a launch does.

    Attributes
    ----------
    first, n : int
        Minibatches ``first`` .. ``first + n - 1`` of the pass.
    step : int
        First step of the draws.
    parity : int
        Copy of the magnitudes that the first minibatch fills.
    """

    first: Long
    n: Long
    step: Long
    parity: Long


def make_pass_kernel(tile: Tile, is_grey: bool = False, exact: bool = False, others: bool = False):
    """Kernel that does the minibatches of a `Span`.

    With `is_grey` the rows are grey and used as they are (`grey.py`), `exact` ones in bytes; else bits, or drawn each
    time they are used. With `others` layers are those of `OtherUnits`.
    """
    layer, draw_rows = make_layer_of_units(tile, others), make_draw_rows(tile, Outputs)
    grey_layer, gradient = make_grey_layer(tile, exact), make_gradient(tile, exact)
    factor, of_short_weights = np.int32 if exact else np.float32, tile.limbs == 2
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)
    dense_shape, left_shape, right_shape = shared_shapes(tile) if is_grey else ((1, 1),) * 3

    # Sizes are found anew for each phase, and not known from before: they, and what follows from them, would take
    # registers in all phases.
    @device
    def sizes_of(batch, plan, data, states):
        first = opaque(batch) * plan.batch_size
        n = min(plan.batch_size, data.n - first)
        n_model = n
        if plan.persistent:
            n_model = states.n_chains
        data_groups = (n + 31) >> 5
        if is_grey:
            data_groups = 0  # of planes and fragments
        return first, n, n_model, data_groups, data_groups + ((n_model + 31) >> 5)

    @device
    def units_of(model):
        return opaque(model.n_hidden), opaque(model.n_visible)

    @device
    def grey_of(first, n, data, scratch):
        values, means, groups = data.grey, scratch.grey_means, 1
        if exact:
            values, means, groups = data.levels, scratch.level_means, (n + 31) >> 5
        return GreyBatch(
            values, data.order, first, n, means, scratch.parts_of_means, scratch.sums_of_rows, groups, scratch.totals
        )  # fmt: skip

    @kernel_for(tile.threads, tile.blocks(many_values=True))
    def pass_kernel(
        data: TrainingRows, states: TrainingStates, weights: Slots, visible: Slots, hidden: Slots, rule: RuleNumbers,
        model: TrainingModel, scratch: TrainingScratch, plan: Plan, units: OtherUnits, span: Span,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        largest = cuda.shared.array(1, np.uint32)
        dense = cuda.shared.array(dense_shape, np.float32)
        left = cuda.shared.array(left_shape, factor)
        right = cuda.shared.array(right_shape, factor)
        grey_tiles = GreyTiles(dense, left, right)
        none, planes, pitch, means, totals = states.order, scratch.planes, scratch.pitch, scratch.means, scratch.totals
        magnitude_scale = np.float32(1 << model.shift)
        hidden_bias, visible_bias, quantum = hidden.values, visible.values, model.quantum
        if others:
            hidden_bias, visible_bias, quantum = units.hidden_bias, units.visible_bias, units.quantum
        step, parity = span.step, span.parity
        for batch in range(span.first, span.first + span.n):
            high = (step >> 32) & 0xFFFFFF
            if others:
                bits_of_units(visible, hidden, model.quantum, units)
                grid_sync()
            # -- data
            first, n, n_model, data_groups, groups = sizes_of(batch, plan, data, states)
            n_hidden, n_visible = units_of(model)
            if is_grey:
                what = 0
                if not plan.persistent:
                    what = WORDS
                share = div(ONE, np.float32(n))
                if exact:
                    share = div(_MEAN_SCALE, np.float32(n))
                grey_layer(
                    grey_of(first, n, data, scratch), n_hidden, n_visible, weights.values, hidden.values,
                    Fixed(model.quantum[0], model.control[IS_SHORT] != 0),
                    Address(plan.seed_low, plan.seed_high, step & _LOW, (_HIDDEN_STREAM << 24) | high, 0), share,
                    what, states.hidden, quads, grey_tiles,
                )  # fmt: skip
            else:
                source, its_order, its_first = data.words, data.order, first
                if plan.stochastic_input:
                    source, its_order, its_first = states.drawn, none, 0
                    draw_rows(
                        GreyRows(data.grey, data.order, first, n), n_visible, False,
                        Address(plan.seed_low, plan.seed_high, step & _LOW, (_INPUT_STREAM << 24) | high, 0),
                        WORDS | PLANES,
                        Outputs(states.drawn, planes, pitch, 0, means, groups, ONE, totals, units.inputs), quads,
                    )  # fmt: skip
                    grid_sync()
                else:
                    transpose_rows(
                        Rows(data.words, data.order, first, n, pitch_of(n_visible)), n_visible, planes, pitch, 0
                    )  # fmt: skip
                what, scale = MEANS, div(_MEAN_SCALE, np.float32(n))
                if plan.sampled_hidden:
                    what, scale = COUNTS, _DATA_COUNT
                if not plan.persistent:
                    what |= WORDS
                layer(
                    Rows(source, its_order, its_first, n, pitch_of(n_visible)),
                    Weights(model.to_hidden, hidden_bias, quantum, steps_of(n_visible), n_hidden),
                    Address(plan.seed_low, plan.seed_high, step & _LOW, (_HIDDEN_STREAM << 24) | high, 0), what,
                    Outputs(states.hidden, planes, pitch, 0, means, groups, scale, totals, units.inputs),
                    shared, quads, units.hidden_classes, units.chosen,
                )  # fmt: skip
            if not plan.persistent:
                grid_sync()
            # -- model
            for sweep in range(1, plan.n_sweeps + 1):
                at = step + sweep
                high = (at >> 32) & 0xFFFFFF
                last = sweep == plan.n_sweeps
                first, n, n_model, data_groups, groups = sizes_of(batch, plan, data, states)
                n_hidden, n_visible = units_of(model)
                what = WORDS
                if last:
                    what |= PLANES
                layer(
                    Rows(states.hidden, none, 0, n_model, pitch_of(n_hidden)),
                    Weights(model.to_visible, visible_bias, quantum, steps_of(n_hidden), n_visible),
                    Address(plan.seed_low, plan.seed_high, at & _LOW, (_VISIBLE_STREAM << 24) | high, 0), what,
                    Outputs(states.visible, planes, pitch, data_groups, means, groups, ONE, totals, units.inputs),
                    shared, quads, units.visible_classes, units.chosen,
                )  # fmt: skip
                grid_sync()
                first, n, n_model, data_groups, groups = sizes_of(batch, plan, data, states)
                n_hidden, n_visible = units_of(model)
                what, scale = 0, ONE
                if last:
                    what, scale = MEANS, -div(_MEAN_SCALE, np.float32(n_model))
                    if plan.sampled_hidden:
                        what, scale = COUNTS, _MODEL_COUNT
                if not last or plan.persistent:
                    what |= WORDS
                if is_grey and not exact:
                    if last:
                        note_parts(scratch.grey_means, n, n_hidden, scratch.parts_of_means, 0)
                layer(
                    Rows(states.visible, none, 0, n_model, pitch_of(n_visible)),
                    Weights(model.to_hidden, hidden_bias, quantum, steps_of(n_visible), n_hidden),
                    Address(plan.seed_low, plan.seed_high, at & _LOW, (_HIDDEN_STREAM << 24) | high, 0), what,
                    Outputs(states.hidden, planes, pitch, data_groups, means, groups, scale, totals, units.inputs),
                    shared, quads, units.hidden_classes, units.chosen,
                )  # fmt: skip
                grid_sync()
            # -- parameters
            first, n, n_model, data_groups, groups = sizes_of(batch, plan, data, states)
            n_hidden, n_visible = units_of(model)
            grey = None
            if is_grey:
                grey = grey_of(first, n, data, scratch)
            statistics = Statistics(
                planes, pitch, none, means, totals, n, n_model, div(ONE, np.float32(n)), -div(ONE, np.float32(n_model)),
                plan.sampled_hidden,
            )  # fmt: skip
            of_units = None
            if others:
                of_units = units
                note_deltas(statistics, n_visible, n_hidden, data_groups, groups - data_groups, units)
                grid_sync()
            gradient(
                statistics, groups, weights, n_hidden, n_visible, rule, batch,
                Magnitudes(magnitude_scale, model.magnitudes[parity]), shared, grey, grey_tiles, of_units,
            )  # fmt: skip
            if others:
                ascend_biases(visible, hidden, rule, batch, units)
            else:
                bias_gradients(
                    statistics, data_groups, groups - data_groups, visible, hidden, rule, batch, grey, exact
                )  # fmt: skip
            grid_sync()
            n_hidden, n_visible = units_of(model)
            exponent = exponent_of(model.magnitudes[parity], n_hidden, n_visible, model.shift, largest, plan.short)
            parity = 1 - parity
            start = this_place()
            for at in range(start, n_hidden + n_visible + 1, cuda.gridDim.x * cuda.blockDim.x):
                model.magnitudes[parity, at] = 0
                if at < n_hidden:
                    totals[at] = 0
            step += plan.n_sweeps + 1
            if start == 0:
                model.control[EXPONENT] = exponent
                model.control[DONE] = batch + 1
            if exponent < 0:
                return  # all blocks have found the same
            pack_weights(
                weights.values, n_hidden, n_visible, scale_of(exponent), exponent >= SHORT, model.to_hidden,
                model.to_visible,
            )  # fmt: skip
            if others:
                add_sums(weights.values, n_hidden, n_visible, scale_of(exponent), exponent >= SHORT, units)
            if start == 0:
                model.quantum[0] = div(ONE, scale_of(exponent))
                model.control[IS_SHORT] = exponent >= SHORT
            if of_short_weights and exponent < SHORT:
                return  # products want all bytes now
            grid_sync()

    return pass_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        *of_each_tile("training pass", make_pass_kernel),
        *of_each_tile("training pass, short weights", make_pass_kernel, limbs=2),
        *of_each_tile("training pass, other units", partial(make_pass_kernel, others=True)),
        *of_each_tile("training pass, grey rows", partial(make_pass_kernel, is_grey=True)),
        *of_each_tile("training pass, grey levels", partial(make_pass_kernel, is_grey=True, exact=True)),
    ]
