"""Lean Contrastive Divergence on the device: sweeps that do less than whole products and draw the same states.

* ``lowbit``: tensor cores multiply the upper two bytes of the weights only, half of their work. As a weight is its
  upper bytes plus 0 to 65535, the sum of a unit whose row has k active inputs is known to lie within 65535 k. Units
  that both ends of that range decide alike are drawn; for the others the lower bytes of the active inputs are added,
  which gives the exact sum and so the draw of the whole product.
* ``delta``: the sums of every unit are kept, and the weights of the inputs that flipped since the sweep before are
  added to them. Tiles where many have flipped take the whole product.

Both are exact for any weights that fit fixed point (src/lean.h has the same for the CPU).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..._random import Draw
from ..bits import n_words
from ..cpu.strategy import note_counters
from ._target import add, cuda, device, div, grid_sync, kernel_for, mul
from .device import ONE, cell_of, is_on, philox, sigmoid_scale
from .fixed import FixedWeights
from .gradient import fixed as as_integer
from .launching import Kernels, choose_tile, empty, launch_strided, nothing, zeros
from .layers import address, flat
from .memory import DeviceBits, download
from .session import most_tiles
from .sweep import QUADS, WORDS, make_emit
from .tiles import FRAGMENT, LANES, PITCH, STEP, THREADS_HELD, WIDTH, Tile, make_product, pitch_of, spread

_LOW = 0xFFFFFFFF
_CELLS = np.float32(2.0**23)
#: FRBM_SLACK of src/lean.h on either side: sigmoid_scale rounds, so it need not fall where its argument rises
_ABOVE, _BELOW = np.float32(1 + 2e-5), np.float32(1 - 2e-5)
#: what the lower bytes of a weight are at most
_LOST = (1 << 16) - 1
#: threads that share the lower bytes of a sum: one of 4 lanes of a fragment, and every 4th step
_LANES_OF_SUM, _STEPS_OF_SUM = 4, 4
#: a flip costs this many times what an input does in a whole product, by the count of instructions
_FLIP_COST = 32

_EVEN = np.uint64(0x00FF00FF00FF00FF)
_BYTE, _HALF, _WORD = np.uint64(8), np.uint64(16), np.uint64(32)
_BYTE_MASK, _HALF_MASK = np.uint64(255), np.uint64(0xFFFF)


@device
def word_of(block, place, chain, step_low, step_high, seed_low, seed_high):
    """Random word of unit 4 block + place."""
    w0, w1, w2, w3 = philox(block, chain, step_low, step_high, seed_low, seed_high)
    if place == 1:
        return w1
    if place == 2:
        return w2
    if place == 3:
        return w3
    return w0


@device
def sum_where(eight, mask):
    """Sum of the bytes of a uint64 that are in the mask."""
    kept = eight & mask
    pairs = (kept & _EVEN) + ((kept >> _BYTE) & _EVEN)
    pairs += pairs >> _WORD
    return (pairs + (pairs >> _HALF)) & _HALF_MASK


@device
def low_sum(words, start, n_steps, fragments, column, part):
    """Part of a sum of the lower two bytes of the weights of a column over active inputs, whose words are at `start`.

    Of `part` the lowest two bits say which inputs of a step, the others which steps.
    """
    lane = 4 * (column & 7) + (part & 3)
    shift, total = 4 * (part & 3), np.uint64(0)
    for step in range(part >> 2, n_steps, _STEPS_OF_SUM):
        word = words[start + step]
        mask = np.uint64(spread(word, shift)) | (np.uint64(spread(word, shift + 16)) << _WORD)
        mask *= _BYTE_MASK
        at = ((column >> 3) * n_steps + step) * FRAGMENT + lane
        total += sum_where(fragments[at], mask) + (sum_where(fragments[at + LANES], mask) << _BYTE)
    return total


def make_low_layer(tile: Tile):
    """Phase: one layer of Bernoulli units drawn from the upper two bytes of the weights where those decide.

    ``low_layer(words, n, none, n_inputs, fragments, bias, unit, seed_low, seed_high, step_low, step_high, chain0,
    out_words, planes, counters, which, shared, quads, active, open_units, n_open)``: ``counters[which]`` grows by the
    units that were left open.
    """
    product, emit = make_product(tile, first_limb=2), make_emit(tile)
    n_rows, threads = tile.rows, tile.threads
    n_parts = _LANES_OF_SUM * _STEPS_OF_SUM

    @device
    def low_layer(
        words, n, none, n_inputs, fragments, bias, unit, seed_low, seed_high, step_low, step_high, chain0, out_words,
        planes, counters, which, shared, quads, active, open_units, n_open,
    ):  # fmt: skip
        n_units, pitch, n_steps = bias.size, pitch_of(n_inputs), (n_inputs + STEP - 1) // STEP
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            for row in range(cuda.threadIdx.x, n_rows, threads):
                active[row] = 0
            if cuda.threadIdx.x == 0:
                n_open[0] = 0
            product(words, pitch, none, 0, n, row0, n_steps, fragments, unit0, shared)
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, count = item >> 3, np.int32(0)
                if row0 + row < n:
                    for step in range(item & 7, n_steps, QUADS):
                        count += np.int32(cuda.popc(words[(row0 + row) * pitch + step]))
                    cuda.atomic.add(active, row, count)
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits, lost = np.uint32(0), np.int64(_LOST) * np.int64(active[row])
                w0, w1, w2, w3 = philox(
                    (unit0 >> 2) + quad, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                for j in range(4):
                    column = 4 * quad + j
                    if row0 + row < n and unit0 + column < n_units:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        cell = cell_of(word)
                        least = np.int64(shared[row, column])
                        most = least + lost
                        x = add(bias[unit0 + column], mul(unit[0], np.float32(least)))
                        y = add(bias[unit0 + column], mul(unit[0], np.float32(most)))
                        # beyond 2^31 the sum may have wrapped, and then `least` is none
                        if most < 2**31 and mul(mul(cell, _ABOVE), sigmoid_scale(x)) < _CELLS:
                            bits |= np.uint32(1 << j)
                        elif most >= 2**31 or mul(mul(cell, _BELOW), sigmoid_scale(y)) < _CELLS:
                            open_units[cuda.atomic.add(n_open, 0, 1)] = 32 * row + column
                quads[row, quad] = bits
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_parts * n_open[0], threads):
                opened = open_units[item // n_parts]
                row, column = opened >> 5, opened & 31
                total = low_sum(words, (row0 + row) * pitch, n_steps, fragments, unit0 + column, item % n_parts)
                cuda.atomic.add(shared, (row, column), np.int32(total))
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_open[0], threads):
                opened = open_units[item]
                row, column = opened >> 5, opened & 31
                word = word_of(
                    (unit0 + column) >> 2, column & 3, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                x = add(bias[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                if is_on(word, sigmoid_scale(x)):
                    cuda.atomic.or_(quads, (row, column >> 2), np.uint32(1 << (column & 3)))
            if cuda.threadIdx.x == 0:
                cuda.atomic.add(counters, which, np.int64(n_open[0]))
            cuda.syncthreads()
            emit(quads, WORDS, row0, n, unit0, n_units, out_words, planes, 1, 0)
            cuda.syncthreads()

    return low_layer


def make_low_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`; ``counters`` gets the visible and the hidden units left open."""
    low_layer = make_low_layer(tile)
    shape, quad_shape, n_rows, n_units = (tile.rows, PITCH), (tile.rows, QUADS), tile.rows, WIDTH * tile.rows

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def low_kernel(
        hidden, visible, n, none, to_hidden, to_visible, hidden_bias, visible_bias, unit, seed_low, seed_high, step,
        chain0, n_sweeps, planes, counters,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        active = cuda.shared.array(n_rows, np.int32)
        open_units = cuda.shared.array(n_units, np.int32)
        n_open = cuda.shared.array(1, np.int32)
        for sweep in range(n_sweeps):
            low, high = (step + sweep) & _LOW, ((step + sweep) >> 32) & 0xFFFFFF
            low_layer(
                hidden, n, none, hidden_bias.size, to_visible, visible_bias, unit, seed_low, seed_high, low, high,
                chain0, visible, planes, counters, 0, shared, quads, active, open_units, n_open,
            )  # fmt: skip
            grid_sync()
            low_layer(
                visible, n, none, visible_bias.size, to_hidden, hidden_bias, unit, seed_low, seed_high, low,
                (1 << 24) | high, chain0, hidden, planes, counters, 1, shared, quads, active, open_units, n_open,
            )  # fmt: skip
            grid_sync()

    return low_kernel


def low_signature() -> Any:
    """Types of the arguments of `make_low_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    return types.void(
        words, words, i64, types.int64[::1], fragments, fragments, reals, reals, reals, *[i64] * 5, words,
        types.int64[::1],
    )  # fmt: skip


def make_delta_layer(tile: Tile):
    """Phase: one layer of Bernoulli units drawn from sums that follow the flips of its inputs.

    ``delta_layer(words, before, fresh, n, none, n_inputs, fragments, integers, bias, unit, seed_low, seed_high,
    step_low, step_high, chain0, sums, out_words, planes, counters, shared, quads, flips)``: ``sums[chain, unit]``
    (flat) are those of `before`, or of nothing if `fresh`, and become those of `words`; ``integers[input, unit]``
    (flat) are the weights. ``counters[0]`` grows by the multiply-adds, ``[1]`` by the tiles of whole products.
    """
    product, emit = make_product(tile), make_emit(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def delta_layer(
        words, before, fresh, n, none, n_inputs, fragments, integers, bias, unit, seed_low, seed_high, step_low,
        step_high, chain0, sums, out_words, planes, counters, shared, quads, flips,
    ):  # fmt: skip
        n_units, pitch, n_steps = bias.size, pitch_of(n_inputs), (n_inputs + STEP - 1) // STEP
        down = (n + n_rows - 1) // n_rows
        tiles = down * ((n_units + WIDTH - 1) // WIDTH)
        for number in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
            row0, unit0 = n_rows * (number % down), WIDTH * (number // down)
            here = min(n_rows, n - row0)
            if cuda.threadIdx.x == 0:
                flips[0] = 0
            cuda.syncthreads()
            if not fresh:
                for item in range(cuda.threadIdx.x, here * QUADS, threads):
                    start, count = (row0 + (item >> 3)) * pitch, np.int32(0)
                    for step in range(item & 7, n_steps, QUADS):
                        count += np.int32(cuda.popc(words[start + step] ^ before[start + step]))
                    cuda.atomic.add(flips, 0, count)
                cuda.syncthreads()
            work = np.int64(flips[0])
            whole = fresh or _FLIP_COST * work > here * n_inputs
            if whole:
                work = here * n_inputs
                product(words, pitch, none, 0, n, row0, n_steps, fragments, unit0, shared)
            else:
                for item in range(cuda.threadIdx.x, here * WIDTH, threads):
                    row, column = item >> 5, item & 31
                    if unit0 + column < n_units:
                        start, total = (row0 + row) * pitch, np.int64(sums[(row0 + row) * n_units + unit0 + column])
                        for step in range(n_steps):
                            now = words[start + step]
                            flipped = np.uint32(now ^ before[start + step])
                            while flipped != 0:
                                b = np.int64(cuda.ffs(flipped)) - 1
                                flipped &= np.uint32(flipped - np.uint32(1))
                                weight = np.int64(integers[(STEP * step + b) * n_units + unit0 + column])
                                if (now >> np.uint32(b)) & np.uint32(1):
                                    total += weight
                                else:
                                    total -= weight
                        shared[row, column] = np.int32(total)
                cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                bits = np.uint32(0)
                w0, w1, w2, w3 = philox(
                    (unit0 >> 2) + quad, chain0 + row0 + row, step_low, step_high, seed_low, seed_high
                )  # fmt: skip
                for j in range(4):
                    column = 4 * quad + j
                    if row < here and unit0 + column < n_units:
                        word = w0
                        if j == 1:
                            word = w1
                        if j == 2:
                            word = w2
                        if j == 3:
                            word = w3
                        sums[(row0 + row) * n_units + unit0 + column] = shared[row, column]
                        x = add(bias[unit0 + column], mul(unit[0], np.float32(shared[row, column])))
                        if is_on(word, sigmoid_scale(x)):
                            bits |= np.uint32(1 << j)
                quads[row, quad] = bits
            if cuda.threadIdx.x == 0:
                cuda.atomic.add(counters, 0, work * min(WIDTH, n_units - unit0))
                if whole:
                    cuda.atomic.add(counters, 1, np.int64(1))
            cuda.syncthreads()
            emit(quads, WORDS, row0, n, unit0, n_units, out_words, planes, 1, 0)
            cuda.syncthreads()

    return delta_layer


def make_delta_kernel(tile: Tile):
    """Kernel: sweeps as of `make_chains_kernel`, by turns in two buffers of each layer.

    The first visible states go to `visible`, the first hidden ones to `other_hidden`.
    """
    delta_layer = make_delta_layer(tile)
    shape, quad_shape = (tile.rows, PITCH), (tile.rows, QUADS)

    @kernel_for(tile.threads, THREADS_HELD // tile.threads)
    def delta_kernel(
        hidden, other_hidden, visible, other_visible, n, none, to_hidden, to_visible, by_visible, by_hidden,
        hidden_bias, visible_bias, unit, seed_low, seed_high, step, chain0, n_sweeps, planes, hidden_sums,
        visible_sums, counters,
    ):  # fmt: skip
        shared = cuda.shared.array(shape, np.int32)
        quads = cuda.shared.array(quad_shape, np.uint32)
        flips = cuda.shared.array(1, np.int32)
        for sweep in range(n_sweeps):
            low, high = (step + sweep) & _LOW, ((step + sweep) >> 32) & 0xFFFFFF
            delta_layer(
                hidden, other_hidden, sweep == 0, n, none, hidden_bias.size, to_visible, by_hidden, visible_bias,
                unit, seed_low, seed_high, low, high, chain0, visible_sums, visible, planes, counters, shared, quads,
                flips,
            )  # fmt: skip
            grid_sync()
            delta_layer(
                visible, other_visible, sweep == 0, n, none, visible_bias.size, to_hidden, by_visible, hidden_bias,
                unit, seed_low, seed_high, low, (1 << 24) | high, chain0, hidden_sums, other_hidden, planes, counters,
                shared, quads, flips,
            )  # fmt: skip
            grid_sync()
            hidden, other_hidden = other_hidden, hidden
            visible, other_visible = other_visible, visible

    return delta_kernel


def delta_signature() -> Any:
    """Types of the arguments of `make_delta_kernel`."""
    i64, words, fragments, reals = types.int64, types.uint32[::1], types.uint64[::1], types.float32[::1]
    integers = types.int32[::1]
    return types.void(
        *[words] * 4, i64, types.int64[::1], fragments, fragments, integers, integers, reals, reals, reals, *[i64] * 5,
        words, integers, integers, types.int64[::1],
    )  # fmt: skip


@cuda.jit
def integers_kernel(weights, n_hidden, n_visible, unit, by_visible, by_hidden):
    """Fixed-point weights as rows of visible and of hidden inputs (flat)."""
    scale = div(ONE, unit[0])
    for at in range(cuda.grid(1), n_hidden * n_visible, cuda.gridsize(1)):
        integer = as_integer(weights[at], scale)
        by_hidden[at] = integer
        by_visible[(at % n_visible) * n_hidden + at // n_visible] = integer


LOWBIT = Kernels(make_low_kernel, low_signature)
DELTA = Kernels(make_delta_kernel, delta_signature)


def run_lean(
    strategy: str, hidden: DeviceBits, fixed: FixedWeights, biases: tuple[Any, Any], draw: Draw, n_sweeps: int
) -> tuple[DeviceBits, DeviceBits]:
    """See `Backend.run_chains`; at least one chain and one sweep, biases of (visible, hidden) units on the device."""
    n, n_hidden, n_visible = len(hidden), fixed.n_hidden, fixed.n_visible
    tile = choose_tile(n, max(n_hidden, n_visible))
    tiles = most_tiles(tile, n, n_hidden, n_visible)
    seed_low, seed_high, _, _, chain0 = address(draw)
    given = empty(hidden.words.shape, np.uint32)
    given.copy_to_device(hidden.words)  # the caller's stay as they are
    visible = zeros((n, 2 * n_words(n_visible)), np.uint32)
    counters = zeros(2, np.int64)
    model = fixed.to_hidden, fixed.to_visible
    common = biases[1], biases[0], fixed.unit, seed_low, seed_high, draw.step, chain0, n_sweeps, nothing(np.uint32)
    if strategy == "lowbit":
        LOWBIT.launch_cooperative(
            tile, tiles, flat(given), flat(visible), n, nothing(np.int64, 0), *model, *common, counters
        )  # fmt: skip
        _note_lowbit(n, n_hidden, n_visible, n_sweeps, download(counters))
        return DeviceBits(visible, n_visible), DeviceBits(given, n_hidden)
    others = zeros(given.shape, np.uint32), zeros(visible.shape, np.uint32)
    integers = [empty(n_hidden * n_visible, np.int32) for _ in range(2)]
    launch_strided(
        integers_kernel, n_hidden * n_visible, fixed.flat, n_hidden, n_visible, fixed.unit, *integers
    )  # fmt: skip
    sums = [empty(n * size, np.int32) for size in (n_hidden, n_visible)]
    DELTA.launch_cooperative(
        tile, tiles, flat(given), flat(others[0]), flat(visible), flat(others[1]), n, nothing(np.int64, 0), *model,
        *integers, *common, *sums, counters,
    )  # fmt: skip
    _note_delta(n, n_hidden, n_visible, n_sweeps, download(counters))
    last = n_sweeps % 2
    return DeviceBits(visible if last else others[1], n_visible), DeviceBits(others[0] if last else given, n_hidden)


def _work(n: int, n_hidden: int, n_visible: int, n_sweeps: int) -> dict[str, int]:
    return {
        "decisions": n_sweeps * n * (n_visible + n_hidden),
        "dense_products": 2 * n_sweeps * n * n_visible * n_hidden,
    }  # fmt: skip


def _note_lowbit(n: int, n_hidden: int, n_visible: int, n_sweeps: int, counters: NDArray[np.int64]) -> None:
    work, of_visible, of_hidden = _work(n, n_hidden, n_visible, n_sweeps), int(counters[0]), int(counters[1])
    work["recomputed"] = of_visible + of_hidden
    work["filtered"] = work["decisions"] - work["recomputed"]
    work["products"] = of_visible * n_hidden + of_hidden * n_visible
    note_counters(work)


def _note_delta(n: int, n_hidden: int, n_visible: int, n_sweeps: int, counters: NDArray[np.int64]) -> None:
    work = _work(n, n_hidden, n_visible, n_sweeps)
    work["products"], work["refreshes"] = int(counters[0]), int(counters[1])
    note_counters(work)


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, reals, integers = types.int64, types.float32[::1], types.int32[::1]
    signature = types.void(reals, i64, i64, reals, integers, integers)
    return [
        *LOWBIT.entry_points("lowbit sweeps"), *DELTA.entry_points("delta sweeps"),
        ("integers of weights", integers_kernel, signature),
    ]  # fmt: skip
