"""Sweeps that draw neurons from the sums of an earlier state of their chain, where its distance lets those decide.

A layer keeps a landmark: an earlier state s0 of its inputs, and the exact sums w.s0 of all neurons. Where h inputs have
flipped since, a sum has moved by at most |w| sqrt(h) (Cauchy-Schwarz) and at most h times the largest weight. Units
that both ends of that range decide alike are drawn; the sums of the others are made exact, by the weights of the flips
or, where those are many, by the whole product of their tile. Once too many neurons stay open the landmark of all chains
moves on to the present state: by whole products ("bounds"), or by flips where they are few ("lcd"). States are those of
whole products, bit for bit. (filters.h has the same filter for the CPU.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arguments import (
    Address,
    Chains,
    Draws,
    Flag,
    Landmark,
    Long,
    Longs,
    Model,
    Norms,
    Quantised,
    Rows,
    Weights,
    signature_of,
)
from .delta import FLIP_COST, Place, sum_of_flips
from .layer import QUADS, make_to_words
from .lowbit import ABOVE, BELOW, word_of
from .quantise import IS_SHORT, quantised
from .scalar import ONE, cell_of, is_on, philox, sigmoid_scale, word_at
from .target import add, cuda, device, div, grid_sync, kernel_for, low_word, mul, root
from .tiles import PITCH, WIDTH, Tile, make_product, of_each_tile, pitch_of, steps_of

_LOW = 0xFFFFFFFF
_CELLS = np.float32(2.0**23)
#: a reach in float32 may be too short by a few roundings, each below 1.2e-7
_ROUNDED_UP = np.float32(1 + 1e-6)
#: a landmark moves on after a half-step that left more than one of so many neurons open
_OPEN_OF = 8
#: half-steps without a filter after one that failed from the nearest landmark there is
_REST = 16
#: threads that share the flips of an open neuron
_PARTS = 8
#: half-steps whose open neurons are counted at a time: one reads, one writes, one is cleared
SLOTS = 3
#: What a half-step and a tile are is in shared memory, as a product wants the registers: first row of the landmarks to
#: start from, whether they are renewed, and from nothing, words of the step, slot of `opened`; plans; the tile
_FIRST, _RENEW, _FRESH, _STEP_LOW, _STEP_HIGH, _SLOT = range(6)
_OF_VISIBLE, _OF_HIDDEN, _TILE, _FACTS = 6, 9, 12, 16


class LandmarkTiles(NamedTuple):
    """Shared memory of a block.

    Attributes
    ----------
    facts
        What a half-step and a tile are (`begin`).
    sums, quads
        Sums and drawn bits of a tile.
    moved
        Flips since the landmark, by row.
    places
        Neurons that are left open.
    numbers
        How many they are, and the flips of their rows.
    """

    facts: Any
    sums: Any
    quads: Any
    moved: Any
    places: Any
    numbers: Any


@cuda.jit
def norms_kernel(model: Quantised, norms: Norms):
    """Sums of squares and largest magnitudes of the integers of each visible, then each hidden neuron, into zeros."""
    n_hidden, n_visible = model.n_hidden, model.n_visible
    scale = div(ONE, model.quantum[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = np.int64(quantised(model.weights[at], scale, model.control[IS_SHORT] != 0))
        # magnitudes of a neuron add up to less than 2^32 and are below 2^31, so squares to less than 2^63
        square, size = integer * integer, np.int32(abs(integer))
        cuda.atomic.add(norms.squares, at % n_visible, square)
        cuda.atomic.add(norms.squares, n_visible + at // n_visible, square)
        cuda.atomic.max(norms.largest, at % n_visible, size)
        cuda.atomic.max(norms.largest, n_visible + at // n_visible, size)


@device
def reach_of(square, largest, n_flips):
    """How far `n_flips` flips can have moved a sum (int64: more than 32 bits, at worst)."""
    length = mul(root(mul(np.float32(square), np.float32(n_flips))), _ROUNDED_UP)
    return min(np.int64(length) + 1, np.int64(largest) * np.int64(n_flips))


@device
def planned(sweep, n_open, n_decided, left, age):
    """Renewals to come, and half-steps since the last one: 0 if this one renews.

    `n_open` of `n_decided` neurons were left open by the half-step before, 0 if it renewed.
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
def begin(facts, of_layer, opened, first_slot, sweep, step, stream, n, n_neurons):
    """Set the facts of a half-step; what is planned and the landmark's rows are kept for each layer from `of_layer` on.

    In `opened` the slots of the layer begin at `first_slot`.
    """
    if cuda.threadIdx.x == 0:
        if sweep == 0:
            facts[of_layer], facts[of_layer + 1], facts[of_layer + 2] = 0, 0, 0
        n_open = opened[first_slot + (sweep + SLOTS - 1) % SLOTS]
        left, age = planned(sweep, n_open, n * n_neurons, facts[of_layer], facts[of_layer + 1])
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
    """First row and neuron of the present tile, and how many of each there are: read again after every barrier."""
    return facts[_TILE], facts[_TILE + 1], facts[_TILE + 2], facts[_TILE + 3]


@device
def address_of(facts, draws):
    """`Address` of the present half-step."""
    return Address(draws.seed_low, draws.seed_high, facts[_STEP_LOW], facts[_STEP_HIGH], draws.first_chain)


def make_landmark_layer(tile: Tile):
    """Phase: one layer of Bernoulli neurons drawn from the sums of a landmark, or with that moved to its inputs.

    ``landmark_layer(rows, n_inputs, weights, landmark, norms, first_norm, walks, draws, words, counters, opened,
    tiles)``: the inputs are `Rows`, and the facts in `LandmarkTiles` are those of `begin`. The `Landmark` is `n` rows
    in one of two halves, and in the other one after a renewal, which takes flips if `walks`. Drawn states go to
    `words`. The slot of `opened` grows by the neurons left open; `counters` by multiply-adds, tiles of whole products,
    neurons left open and neurons decided by the filter. The layer's `Norms` begin at `first_norm`.
    """
    product, to_words = make_product(tile), make_to_words(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def landmark_layer(
        rows, n_inputs, weights, landmark, norms, first_norm, walks, draws, words, counters, opened, tiles
    ):
        n, n_neurons, pitch, n_steps = rows.n, weights.n_neurons, rows.pitch, weights.n_steps
        facts, shared, quads, moved, places, numbers = tiles
        integers, sums = landmark.integers, landmark.sums
        down = (n + n_rows - 1) // n_rows
        n_tiles = down * ((n_neurons + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, n_tiles, cuda.gridDim.x):
            for row in range(cuda.threadIdx.x, n_rows, threads):
                moved[row] = 0
            if cuda.threadIdx.x == 0:
                numbers[0], numbers[1] = 0, 0
                row0, neuron0 = n_rows * (number % down), WIDTH * (number // down)
                facts[_TILE], facts[_TILE + 1] = row0, neuron0
                facts[_TILE + 2], facts[_TILE + 3] = min(n_rows, n - row0), min(WIDTH, n_neurons - neuron0)
            cuda.syncthreads()
            row0, neuron0, here, across = tile_of(facts)
            if not facts[_FRESH]:
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    row, count = item >> 3, np.int32(0)
                    for step in range(item & 7, n_steps, QUADS):
                        flipped = (
                            rows.words[(row0 + row) * pitch + step]
                            ^ landmark.words[(facts[_FIRST] + row0 + row) * pitch + step]
                        )
                        count += np.int32(cuda.popc(flipped))
                    cuda.atomic.add(moved, row, count)
                    if facts[_RENEW]:
                        cuda.atomic.add(numbers, 1, np.int32(count * across))
                cuda.syncthreads()
                row0, neuron0, here, across = tile_of(facts)
            exact = facts[_RENEW] != 0
            whole = exact and (
                facts[_FRESH] != 0 or not walks or FLIP_COST * np.int64(numbers[1]) > here * n_inputs * across
            )
            # by the filter and, if it leaves much open, once more by the whole product: what it decided stays the same
            while True:
                if whole:
                    product(rows, row0, weights.fragments, n_steps, neuron0, shared)
                    row0, neuron0, here, across = tile_of(facts)
                for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                    row, column = item >> 5, item & 31
                    if neuron0 + column < n_neurons:
                        place = (row0 + row) * n_neurons + neuron0 + column
                        if not whole:
                            total = np.int64(sums[place])
                            if facts[_RENEW]:
                                total += sum_of_flips(
                                    Place(rows.words, (row0 + row) * pitch),
                                    Place(landmark.words, (facts[_FIRST] + row0 + row) * pitch), 0, n_steps, 1,
                                    integers, neuron0 + column, n_neurons,
                                )  # fmt: skip
                            shared[row, column] = low_word(total)
                        if facts[_RENEW]:
                            sums[place] = shared[row, column]
                cuda.syncthreads()
                row0, neuron0, here, across = tile_of(facts)
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    row, quad = item >> 3, item & 7
                    bits = np.uint32(0)
                    w0, w1, w2, w3 = philox((neuron0 >> 2) + quad, row0 + row, address_of(facts, draws))
                    for j in range(4):
                        column = 4 * quad + j
                        if neuron0 + column < n_neurons:
                            cell, reach = cell_of(word_at(j, w0, w1, w2, w3)), np.int64(0)
                            above = ONE  # without a reach the test itself decides
                            if not exact:
                                norm, above = first_norm + neuron0 + column, ABOVE
                                reach = reach_of(norms.squares[norm], norms.largest[norm], moved[row])
                            # whatever rounds here rises with the sum, so the input is between x and y
                            middle = np.int64(shared[row, column])
                            x = add(weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(middle - reach)))
                            if mul(mul(cell, above), sigmoid_scale(x)) < _CELLS:
                                bits |= np.uint32(1 << j)
                            elif not exact:
                                y = add(
                                    weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(middle + reach))
                                )
                                if mul(mul(cell, BELOW), sigmoid_scale(y)) < _CELLS:
                                    places[cuda.atomic.add(numbers, 0, 1)] = 32 * row + column
                                    cuda.atomic.add(numbers, 1, moved[row])
                    quads[row, quad] = bits
                cuda.syncthreads()
                row0, neuron0, here, across = tile_of(facts)
                if exact or FLIP_COST * np.int64(numbers[1]) <= here * n_inputs * across:
                    break
                exact = whole = True
            n_open, work = numbers[0], np.int64(numbers[1])
            if not exact:
                for item in range(cuda.threadIdx.x, _PARTS * n_open, threads):
                    row, column, part = places[item // _PARTS] >> 5, places[item // _PARTS] & 31, item % _PARTS
                    total = sum_of_flips(
                        Place(rows.words, (row0 + row) * pitch),
                        Place(landmark.words, (facts[_FIRST] + row0 + row) * pitch), part, n_steps, _PARTS,
                        integers, neuron0 + column, n_neurons,
                    )  # fmt: skip
                    cuda.atomic.add(shared, (row, column), low_word(total))  # may wrap on the way to what fits
                cuda.syncthreads()
                for item in range(cuda.threadIdx.x, n_open, threads):
                    row, column = places[item] >> 5, places[item] & 31
                    word = word_of((neuron0 + column) >> 2, column & 3, row0 + row, address_of(facts, draws))
                    x = add(weights.bias[neuron0 + column], mul(weights.quantum[0], np.float32(shared[row, column])))
                    if is_on(word, sigmoid_scale(x)):
                        cuda.atomic.or_(quads, (row, column >> 2), np.uint32(1 << (column & 3)))
            if facts[_RENEW] and neuron0 == 0:
                # nobody reads that half before the next half-step
                for item in range(cuda.threadIdx.x, here * pitch, threads):
                    landmark.words[(n - facts[_FIRST] + row0) * pitch + item] = rows.words[row0 * pitch + item]
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
            row0, neuron0, here, across = tile_of(facts)
            to_words(quads, row0, n, neuron0, n_neurons, words)
            cuda.syncthreads()

    return landmark_layer


def make_landmark_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`; all blocks renew a landmark in the same half-step.

    Of the norms and of the slots of `opened`, those of visible neurons come first.
    """
    landmark_layer = make_landmark_layer(tile)
    shape, quad_shape, n_rows, n_neurons = (tile.rows, PITCH), (tile.rows, QUADS), tile.rows, WIDTH * tile.rows

    @kernel_for(tile.threads, tile.blocks(many_values=True))
    def landmark_kernel(
        chains: Chains, model: Model, draws: Draws, n_sweeps: Long, norms: Norms, of_hidden: Landmark,
        of_visible: Landmark, walks: Flag, counters: Longs, opened: Longs,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        moved = cuda.shared.array(n_rows, np.int32)
        places = cuda.shared.array(n_neurons, np.int32)
        numbers = cuda.shared.array(2, np.int32)
        facts = cuda.shared.array(_FACTS, np.int64)
        tiles = LandmarkTiles(facts, shared, quads, moved, places, numbers)
        n, n_hidden, n_visible = chains.n, model.hidden_bias.size, model.visible_bias.size
        for sweep in range(n_sweeps):
            begin(facts, _OF_VISIBLE, opened, 0, sweep, draws.step, 0, n, n_visible)
            landmark_layer(
                Rows(chains.hidden, chains.order, 0, n, pitch_of(n_hidden)), n_hidden,
                Weights(model.to_visible, model.visible_bias, model.quantum, steps_of(n_hidden), n_visible),
                of_visible, norms, 0, walks,
                draws, chains.visible, counters, opened, tiles,
            )  # fmt: skip
            grid_sync()
            begin(facts, _OF_HIDDEN, opened, SLOTS, sweep, draws.step, 1 << 24, n, n_hidden)
            landmark_layer(
                Rows(chains.visible, chains.order, 0, n, pitch_of(n_visible)), n_visible,
                Weights(model.to_hidden, model.hidden_bias, model.quantum, steps_of(n_visible), n_hidden),
                of_hidden, norms, n_visible, walks,
                draws, chains.hidden, counters, opened, tiles,
            )  # fmt: skip
            grid_sync()

    return landmark_kernel


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    return [
        *of_each_tile("landmark sweeps", make_landmark_kernel),
        ("norms of weights", norms_kernel, signature_of(norms_kernel)),
    ]
