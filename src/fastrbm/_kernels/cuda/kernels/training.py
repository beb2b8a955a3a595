"""Whole runs of minibatches in one cooperative launch: all blocks go through the phases together.

A minibatch of bits takes one wait of the grid for each layer that is drawn, one for the gradient and one for the new
fixed-point weights; nothing is launched, copied or read in between. The phases and their arithmetic are those of single
kernels (`sweep.py`, `gradient.py`).

The bounds of the weights are kept twice: while one copy is read the other is cleared for the next minibatch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import types

from .gradient import MEAN_SCALE, MODEL_COUNT, bias_gradients, make_gradient
from .grey import make_grey_gradient, make_grey_layer, shared_shapes
from .layer import COUNTS, MEANS, PLANES, QUADS, WORDS, make_draw_rows, make_layer, turn_rows
from .quantise import exponent_of, pack_weights
from .scalar import ONE
from .target import cuda, div, grid_sync, kernel_for
from .tiles import PITCH, STEP, THREADS_HELD, Tile, of_each_tile, pitch_of

#: places in the array that comes back: exponent of the weights (-1: too large) and minibatches done
EXPONENT, DONE = 0, 1

_LOW = 0xFFFFFFFF
_HIDDEN_STREAM, _VISIBLE_STREAM, _INPUT_STREAM = 1, 0, 2
_MEAN_SCALE = np.float32(MEAN_SCALE)
_DATA_COUNT, _MODEL_COUNT = np.float32(1), np.float32(MODEL_COUNT)


def make_pass_kernel(tile: Tile, is_grey: bool = False):
    """Kernel that does minibatches `first_batch` .. ``first_batch + n_batches - 1`` of a run.

    With `is_grey` the rows are real and used as they are (`grey.py`), else bits, or drawn each time they are used.
    What a run is goes to it as plain numbers: a kernel's parameters cost no registers.
    """
    layer, draw_rows = make_layer(tile), make_draw_rows(tile)
    grey_layer = make_grey_layer(tile)
    gradient = make_gradient(tile, make_grey_gradient(tile) if is_grey else None)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)
    dense_shape, left_shape, right_shape = shared_shapes(tile) if is_grey else ((1, 1),) * 3

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def pass_kernel(
        rows, reals, order, none, rule, adam, weights, w0, w1, w2, visible, v0, v1, v2, hidden, h0, h1, h2,
        to_hidden, to_visible, bounds, unit, control, data_words, chains, visible_words, planes, means, totals, no_rows,
        grey_means, sums_of_means, sums_of_rows,
        n_rows, batch_size, n_hidden, n_visible, n_chains, sweeps, persistent, stochastic, sampled, seed_low, seed_high,
        kind, n_slots, shift, planes_pitch, step0, parity0, first_batch, n_batches,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        largest = cuda.shared.array(1, np.uint32)
        dense = cuda.shared.array(dense_shape, np.float32)
        left = cuda.shared.array(left_shape, np.float32)
        right = cuda.shared.array(right_shape, np.float32)
        visible_steps, hidden_steps = (n_visible + STEP - 1) // STEP, (n_hidden + STEP - 1) // STEP
        visible_pitch, hidden_pitch = pitch_of(n_visible), pitch_of(n_hidden)
        bound_scale = np.float32(1 << shift)
        step, parity = step0, parity0
        for batch in range(first_batch, first_batch + n_batches):
            first = batch * batch_size
            n = min(batch_size, n_rows - first)
            n_model = n
            if persistent:
                n_model = n_chains
            row_groups, model_groups = (n + 31) >> 5, (n_model + 31) >> 5
            data_groups = row_groups
            if is_grey:
                data_groups = 0  # of planes and fragments
            groups = data_groups + model_groups
            data_share, model_share = div(ONE, np.float32(n)), -div(ONE, np.float32(n_model))
            high = (step >> 32) & 0xFFFFFF
            # -- data
            if is_grey:
                what = 0
                if not persistent:
                    what = WORDS
                grey_layer(
                    reals, order, first, n, n_visible, weights, hidden, n_hidden, seed_low, seed_high, step & _LOW,
                    (_HIDDEN_STREAM << 24) | high, data_share, what, chains, grey_means, sums_of_means, sums_of_rows,
                    row_groups, dense, quads, left, right,
                )  # fmt: skip
            else:
                source, its_order, its_first = rows, order, first
                if stochastic:
                    source, its_order, its_first = data_words, none, 0
                    draw_rows(
                        reals, order, first, n, n_visible, False, seed_low, seed_high, step & _LOW,
                        (_INPUT_STREAM << 24) | high, 0, WORDS | PLANES, data_words, planes, planes_pitch, quads,
                    )  # fmt: skip
                    grid_sync()
                else:
                    turn_rows(rows, order, first, n, n_visible, planes, planes_pitch, 0)
                what, scale = MEANS, div(_MEAN_SCALE, np.float32(n))
                if sampled:
                    what, scale = COUNTS, _DATA_COUNT
                if not persistent:
                    what |= WORDS
                layer(
                    source, visible_pitch, its_order, its_first, n, visible_steps, to_hidden, hidden, unit, n_hidden,
                    seed_low, seed_high,
                    step & _LOW, (_HIDDEN_STREAM << 24) | high, 0, what, chains, planes, planes_pitch, 0, means, groups,
                    scale, totals,
                    no_rows, shared, quads,
                )  # fmt: skip
            if not persistent:
                grid_sync()
            # -- model
            for sweep in range(1, sweeps + 1):
                at = step + sweep
                high = (at >> 32) & 0xFFFFFF
                last = sweep == sweeps
                what = WORDS
                if last:
                    what |= PLANES
                layer(
                    chains, hidden_pitch, none, 0, n_model, hidden_steps, to_visible, visible, unit, n_visible,
                    seed_low, seed_high,
                    at & _LOW, (_VISIBLE_STREAM << 24) | high, 0, what, visible_words, planes, planes_pitch,
                    data_groups, means, groups,
                    ONE, totals, no_rows, shared, quads,
                )  # fmt: skip
                grid_sync()
                what, scale = 0, ONE
                if last:
                    what, scale = MEANS, -div(_MEAN_SCALE, np.float32(n_model))
                    if sampled:
                        what, scale = COUNTS, _MODEL_COUNT
                if not last or persistent:
                    what |= WORDS
                layer(
                    visible_words, visible_pitch, none, 0, n_model, visible_steps, to_hidden, hidden, unit, n_hidden,
                    seed_low,
                    seed_high, at & _LOW, (_HIDDEN_STREAM << 24) | high, 0, what, chains, planes, planes_pitch,
                    data_groups, means,
                    groups, scale, totals, no_rows, shared, quads,
                )  # fmt: skip
                grid_sync()
            # -- parameters
            gradient(
                planes, planes_pitch, none, groups, means, data_share, model_share, sampled, weights, w0, w1, w2,
                n_hidden, n_visible,
                kind, n_slots, rule, adam, batch, bound_scale, bounds[parity], shared, reals, order, first, n,
                grey_means, left, right, dense,
            )  # fmt: skip
            bias_gradients(
                planes, planes_pitch, n, data_groups, n_model, model_groups, totals, data_share, model_share, sampled,
                visible, v0, v1,
                v2, hidden, h0, h1, h2, kind, n_slots, rule, adam, batch, is_grey,
                sums_of_rows, sums_of_means, row_groups,
            )  # fmt: skip
            grid_sync()
            exponent = exponent_of(bounds[parity], n_hidden, n_visible, shift, largest)
            parity = 1 - parity
            start = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
            for at in range(start, n_hidden + n_visible + 1, cuda.gridDim.x * cuda.blockDim.x):
                bounds[parity, at] = 0
                if at < n_hidden:
                    totals[at] = 0
            step += sweeps + 1
            if start == 0:
                control[EXPONENT] = exponent
                control[DONE] = batch + 1
            if exponent < 0:
                return  # all blocks have found the same
            pack_weights(
                weights, n_hidden, n_visible, np.float32(1 << exponent), to_hidden, to_visible
            )  # fmt: skip
            if start == 0:
                unit[0] = div(ONE, np.float32(1 << exponent))
            grid_sync()

    return pass_kernel


def signature() -> Any:
    """Types of the arguments of `make_pass_kernel`."""
    words, fragments, reals = types.uint32[::1], types.uint64[::1], types.float32[::1]
    numbers, rows, totals, bounds = types.int64[::1], types.float32[:, ::1], types.int32[::1], types.uint32[:, ::1]
    return types.void(
        words, rows, numbers, numbers, reals, rows, *[reals] * 12, fragments, fragments, bounds, reals, totals,
        words, words, words, words, fragments, totals, rows,
        reals, reals, types.float64[::1], *[types.int64] * 19,
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        *of_each_tile("training pass", make_pass_kernel, signature()),
        *of_each_tile("training pass, real rows", partial(make_pass_kernel, is_grey=True), signature()),
    ]
