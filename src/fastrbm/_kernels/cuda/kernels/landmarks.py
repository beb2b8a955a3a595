"""Sweeps that draw units from the sums of an earlier state of their chain, where its distance lets those decide.

A layer keeps a landmark: an earlier state s0 of its inputs, and the exact sums w.s0 of all units. Where h inputs have
flipped since, a sum has moved by at most |w| sqrt(h) (Cauchy-Schwarz) and at most h times the largest weight. Units
that both ends of that range decide alike are drawn; the sums of the others are made exact, by the weights of the flips
or, where those are many, by the whole product of their tile. Once too many units stay open the landmark of all chains
moves on to the present state: by whole products ("bounds"), or by flips where they are few ("lcd"). States are those of
whole products, bit for bit. (src/lean.h has the same filter for the CPU.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .delta import FLIP_COST, sum_of_flips
from .layer import QUADS, WORDS, make_emit
from .lowbit import ABOVE, BELOW, word_of
from .quantise import fixed as as_integer
from .scalar import ONE, cell_of, is_on, philox, sigmoid_scale, word_at
from .target import add, cuda, device, div, grid_sync, kernel_for, low_word, mul, root
from .tiles import PITCH, STEP, THREADS_HELD, WIDTH, Tile, make_product, of_each_tile, pitch_of

_LOW = 0xFFFFFFFF
_CELLS = np.float32(2.0**23)
#: a bound in float32 may be too small by a few roundings, each below 1.2e-7
_ROUNDED_UP = np.float32(1 + 1e-6)
#: a landmark moves on after a half-step that left more than one of so many units open
_OPEN_OF = 8
#: half-steps without a filter after one that failed from the nearest landmark there is
_REST = 16
#: threads that share the flips of an open unit
_PARTS = 8
#: half-steps whose open units are counted at a time: one reads, one writes, one is cleared
SLOTS = 3
#: What a half-step and a tile are is in shared memory, as a product wants the registers: first row of the landmarks to
#: start from, whether they are renewed, and from nothing, words of the step, slot of `opened`; plans; the tile
_FIRST, _RENEW, _FRESH, _STEP_LOW, _STEP_HIGH, _SLOT = range(6)
_OF_VISIBLE, _OF_HIDDEN, _TILE, _FACTS = 6, 9, 12, 16


@cuda.jit
def norms_kernel(weights, n_hidden, n_visible, unit, squares, largest):
    """Sums of squares and largest magnitudes of the integers of each visible, then each hidden unit, into zeros."""
    scale = div(ONE, unit[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = np.int64(as_integer(weights[at], scale))
        # magnitudes of a unit add up to less than 2^32 and are below 2^31, so squares to less than 2^63
        square, size = integer * integer, np.int32(abs(integer))
        cuda.atomic.add(squares, at % n_visible, square)
        cuda.atomic.add(squares, n_visible + at // n_visible, square)
        cuda.atomic.max(largest, at % n_visible, size)
        cuda.atomic.max(largest, n_visible + at // n_visible, size)


@device
def reach_of(square, largest, n_flips):
    """How far `n_flips` flips can have moved a sum (int64: more than 32 bits, at worst)."""
    length = mul(root(mul(np.float32(square), np.float32(n_flips))), _ROUNDED_UP)
    return min(np.int64(length) + 1, np.int64(largest) * np.int64(n_flips))


@device
def planned(sweep, n_open, n_decided, left, age):
    """Renewals to come, and half-steps since the last one: 0 if this one renews.

    `n_open` of `n_decided` units were left open by the half-step before, 0 if it renewed.
    """
    if sweep == 0:
        left = 1
    elif _OPEN_OF * n_open > n_decided:
        # the second sweep says little of the next: the states that chains begin with may be far from all others
        left = _REST if age == 1 and sweep > 2 else 1
    if left > 0:
        return left - 1, 0
    return 0, age + 1


@device
def begin(facts, of_layer, opened, first_slot, sweep, step, stream, n, n_units):
    """Set the facts of a half-step; what is planned and the landmark's rows are kept for each layer from `of_layer` on.

    In `opened` the slots of the layer begin at `first_slot`.
    """
    if cuda.threadIdx.x == 0:
        if sweep == 0:
            facts[of_layer], facts[of_layer + 1], facts[of_layer + 2] = 0, 0, 0
        n_open = opened[first_slot + (sweep + SLOTS - 1) % SLOTS]
        left, age = planned(sweep, n_open, n * n_units, facts[of_layer], facts[of_layer + 1])
        facts[of_layer], facts[of_layer + 1] = left, age
        facts[_FIRST] = facts[of_layer + 2]
        if age == 0:
            facts[of_layer + 2] = n - facts[of_layer + 2]
        facts[_RENEW], facts[_FRESH] = age == 0, sweep == 0
        facts[_STEP_LOW], facts[_STEP_HIGH] = (step + sweep) & _LOW, stream | ((step + sweep) >> 32) & 0xFFFFFF
        facts[_SLOT] = first_slot + sweep % SLOTS
        if cuda.blockIdx.x == 0:
            opened[first_slot + (sweep + 1) % SLOTS] = 0
    cuda.syncthreads()


@device
def tile_of(facts):
    """First row and unit of the present tile, and how many of each there are: read again after every barrier."""
    return facts[_TILE], facts[_TILE + 1], facts[_TILE + 2], facts[_TILE + 3]


def make_bounded_layer(tile: Tile):
    """Phase: one layer of Bernoulli units drawn from the sums of a landmark, or with the landmark moved to its inputs.

    ``bounded_layer(words, landmarks, facts, walks, n, none, n_inputs, fragments, integers, squares, largest, norms0,
    bias, unit, seed_low, seed_high, chain0, sums, out_words, planes, counters, opened, shared, quads, moved,
    open_units, numbers)``: `facts` are those of `begin`. ``landmarks`` are `n` rows in one of two halves, and in the
    other one after a renewal, which takes flips if `walks`; ``sums[chain, unit]`` (flat) are theirs. Norms of the units
    begin at `norms0`. The slot of `opened` grows by the units left open; `counters` by multiply-adds, tiles of whole
    products, units left open and units decided by the filter.
    """
    product, emit = make_product(tile), make_emit(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def bounded_layer(
        words, landmarks, facts, walks, n, none, n_inputs, fragments, integers, squares, largest, norms0, bias, unit,
        seed_low, seed_high, chain0, sums, out_words, planes, counters, opened, shared, quads, moved, open_units,
        numbers,
    ):  # fmt: skip
        n_units, pitch, n_steps = bias.size, pitch_of(n_inputs), (n_inputs + STEP - 1) // STEP
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            for row in range(cuda.threadIdx.x, n_rows, threads):
                moved[row] = 0
            if cuda.threadIdx.x == 0:
                numbers[0], numbers[1] = 0, 0
                row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
                facts[_TILE], facts[_TILE + 1] = row0, unit0
                facts[_TILE + 2], facts[_TILE + 3] = min(n_rows, n - row0), min(WIDTH, n_units - unit0)
            cuda.syncthreads()
            row0, unit0, here, across = tile_of(facts)
            if not facts[_FRESH]:
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    row, count = item >> 3, np.int32(0)
                    for step in range(item & 7, n_steps, QUADS):
                        flipped = (
                            words[(row0 + row) * pitch + step] ^ landmarks[(facts[_FIRST] + row0 + row) * pitch + step]
                        )
                        count += np.int32(cuda.popc(flipped))
                    cuda.atomic.add(moved, row, count)
                    if facts[_RENEW]:
                        cuda.atomic.add(numbers, 1, np.int32(count * across))
                cuda.syncthreads()
                row0, unit0, here, across = tile_of(facts)
            exact = facts[_RENEW] != 0
            whole = exact and (
                facts[_FRESH] != 0 or not walks or FLIP_COST * np.int64(numbers[1]) > here * n_inputs * across
            )
            # by the filter and, if it leaves much open, once more by the whole product: what it decided stays the same
            while True:
                if whole:
                    product(words, pitch, none, 0, n, row0, n_steps, fragments, unit0, shared)
                    row0, unit0, here, across = tile_of(facts)
                for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                    row, column = item >> 5, item & 31
                    if unit0 + column < n_units:
                        place = (row0 + row) * n_units + unit0 + column
                        if not whole:
                            total = np.int64(sums[place])
                            if facts[_RENEW]:
                                total += sum_of_flips(
                                    words, (row0 + row) * pitch, landmarks, (facts[_FIRST] + row0 + row) * pitch, 0,
                                    n_steps, 1, integers, unit0 + column, n_units,
                                )  # fmt: skip
                            shared[row, column] = low_word(total)
                        if facts[_RENEW]:
                            sums[place] = shared[row, column]
                cuda.syncthreads()
                row0, unit0, here, across = tile_of(facts)
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    row, quad = item >> 3, item & 7
                    bits = np.uint32(0)
                    w0, w1, w2, w3 = philox(
                        (unit0 >> 2) + quad, chain0 + row0 + row, facts[_STEP_LOW], facts[_STEP_HIGH], seed_low,
                        seed_high,
                    )  # fmt: skip
                    for j in range(4):
                        column = 4 * quad + j
                        if unit0 + column < n_units:
                            cell, reach = cell_of(word_at(j, w0, w1, w2, w3)), np.int64(0)
                            above = ONE  # without a reach the test itself decides
                            if not exact:
                                norm, above = norms0 + unit0 + column, ABOVE
                                reach = reach_of(squares[norm], largest[norm], moved[row])
                            # whatever rounds here rises with the sum, so the input is between x and y
                            middle = np.int64(shared[row, column])
                            x = add(bias[unit0 + column], mul(unit[0], np.float32(middle - reach)))
                            if mul(mul(cell, above), sigmoid_scale(x)) < _CELLS:
                                bits |= np.uint32(1 << j)
                            elif not exact:
                                y = add(bias[unit0 + column], mul(unit[0], np.float32(middle + reach)))
                                if mul(mul(cell, BELOW), sigmoid_scale(y)) < _CELLS:
                                    open_units[cuda.atomic.add(numbers, 0, 1)] = 32 * row + column
                                    cuda.atomic.add(numbers, 1, moved[row])
                    quads[row, quad] = bits
                cuda.syncthreads()
                row0, unit0, here, across = tile_of(facts)
                if exact or FLIP_COST * np.int64(numbers[1]) <= here * n_inputs * across:
                    break
                exact = whole = True
            n_open, work = numbers[0], np.int64(numbers[1])
            if not exact:
                for item in range(cuda.threadIdx.x, _PARTS * n_open, threads):
                    row, column, part = open_units[item // _PARTS] >> 5, open_units[item // _PARTS] & 31, item % _PARTS
                    total = sum_of_flips(
                        words, (row0 + row) * pitch, landmarks, (facts[_FIRST] + row0 + row) * pitch, part, n_steps,
                        _PARTS, integers, unit0 + column, n_units,
                    )  # fmt: skip
                    cuda.atomic.add(shared, (row, column), low_word(total))  # may wrap on the way to what fits
                cuda.syncthreads()
                for item in range(cuda.threadIdx.x, n_open, threads):
                    row, column = open_units[item] >> 5, open_units[item] & 31
                    word = word_of(
                        (unit0 + column) >> 2, column & 3, chain0 + row0 + row, facts[_STEP_LOW], facts[_STEP_HIGH],
                        seed_low, seed_high,
                    )  # fmt: skip
                    x = add(bias[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                    if is_on(word, sigmoid_scale(x)):
                        cuda.atomic.or_(quads, (row, column >> 2), np.uint32(1 << (column & 3)))
            if facts[_RENEW] and unit0 == 0:
                # nobody reads that half before the next half-step
                for item in range(cuda.threadIdx.x, here * pitch, threads):
                    landmarks[(n - facts[_FIRST] + row0) * pitch + item] = words[row0 * pitch + item]
            if cuda.threadIdx.x == 0:
                if whole:
                    work = here * n_inputs * across
                    cuda.atomic.add(counters, 1, np.int64(1))
                cuda.atomic.add(counters, 0, work)
                if not facts[_RENEW]:
                    cuda.atomic.add(opened, facts[_SLOT], np.int64(n_open))
                    cuda.atomic.add(counters, 2, np.int64(n_open))
                    cuda.atomic.add(counters, 3, here * across - np.int64(n_open))
            cuda.syncthreads()
            row0, unit0, here, across = tile_of(facts)
            emit(quads, WORDS, row0, n, unit0, n_units, out_words, planes, 1, 0)
            cuda.syncthreads()

    return bounded_layer


def make_bounded_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`; all blocks renew a landmark in the same half-step.

    Of each layer's landmarks, norms, sums and slots of `opened`, those of visible units come first.
    """
    bounded_layer = make_bounded_layer(tile)
    shape, quad_shape, n_rows, n_units = (tile.rows, PITCH), (tile.rows, QUADS), tile.rows, WIDTH * tile.rows

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def bounded_kernel(
        hidden, visible, n, none, to_hidden, to_visible, by_visible, by_hidden, hidden_bias, visible_bias, unit,
        seed_low, seed_high, step, chain0, n_sweeps, planes, squares, largest, hidden_landmarks, visible_landmarks,
        visible_sums, hidden_sums, walks, counters, opened,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        moved = cuda.shared.array(n_rows, np.int32)
        open_units = cuda.shared.array(n_units, np.int32)
        numbers = cuda.shared.array(2, np.int32)
        facts = cuda.shared.array(_FACTS, np.int64)
        n_hidden, n_visible = hidden_bias.size, visible_bias.size
        for sweep in range(n_sweeps):
            begin(facts, _OF_VISIBLE, opened, 0, sweep, step, 0, n, n_visible)
            bounded_layer(
                hidden, hidden_landmarks, facts, walks, n, none, n_hidden, to_visible, by_hidden, squares, largest, 0,
                visible_bias, unit, seed_low, seed_high, chain0, visible_sums, visible, planes, counters, opened,
                shared, quads, moved, open_units, numbers,
            )  # fmt: skip
            grid_sync()
            begin(facts, _OF_HIDDEN, opened, SLOTS, sweep, step, 1 << 24, n, n_hidden)
            bounded_layer(
                visible, visible_landmarks, facts, walks, n, none, n_visible, to_hidden, by_visible, squares, largest,
                n_visible, hidden_bias, unit, seed_low, seed_high, chain0, hidden_sums, hidden, planes, counters,
                opened, shared, quads, moved, open_units, numbers,
            )  # fmt: skip
            grid_sync()

    return bounded_kernel


def bounded_signature() -> Any:
    """Types of the arguments of `make_bounded_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    integers, wide = types.int32[::1], types.int64[::1]
    return types.void(
        words, words, i64, wide, fragments, fragments, integers, integers, reals, reals, reals, *[i64] * 5, words, wide,
        integers, words, words, integers, integers, types.boolean, wide, wide,
    )  # fmt: skip


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, reals = types.int64, types.float32[::1]
    signature = types.void(reals, i64, i64, reals, types.int64[::1], types.int32[::1])
    return [
        *of_each_tile("bounded sweeps", make_bounded_kernel, bounded_signature()),
        ("norms of weights", norms_kernel, signature),
    ]
