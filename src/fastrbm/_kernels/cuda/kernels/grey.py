"""Real rows in a training pass: the products that bits do not serve, in float32 or of integers.

The positive phase needs two products of the data: inputs of the hidden layer, and the data's half of the gradient. Both
go over square tiles in shared memory, each sum in the order of its inputs by fused operations, so results are those of
the CPU kernels (dense.h) and depend on no size of a tile. Sums over the rows of a minibatch are in the order of those,
too.

Rows of bytes are whole numbers of 255ths: their products with fixed-point weights and means are exact in 64 bits, and
scaled as `fastrbm._kernels.levels` says.
"""

from __future__ import annotations

import numpy as np

from .layer import INPUTS, QUADS, WORDS, make_to_words
from .quantise import quantised
from .scalar import ONE, ZERO, is_on, mean_of, nearest, philox, sigmoid_scale, word_at
from .target import add, cuda, device, div, fused, mul, wide_mul
from .tiles import WIDTH, Tile, this_place, this_thread

DEPTH = 16  # inputs that are in shared memory at once
_COLUMNS = 2  # of a thread
_ACROSS = WIDTH // _COLUMNS  # threads beside each other
WHITE = np.float64(255)
PARTS = 16  # of a sum over rows
_MEAN_QUANTUM = np.float64(2.0**-30 / 255)


def shared_shapes(tile: Tile) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Shapes of shared arrays: sums, and both factors by input; padded, so that columns are in different banks."""
    return (tile.rows, WIDTH + 1), (DEPTH, tile.rows + 1), (DEPTH, WIDTH + 1)


def make_multiply(tile: Tile, exact: bool):
    """Device functions: one adds the products of what is in `left` and `right` to a thread's sums, one stores them.

    `exact` sums are of integers, and ``(sum + 255 * others[row, column]) * scale`` is stored, without `others` the sum
    alone.
    """
    n_rows = tile.rows * _ACROSS // tile.threads
    number = np.int64 if exact else np.float32

    # Indices are unsigned: Numba takes a signed one as one that may count from the end.
    @device
    def multiply(left, right, sums):
        column = np.uint32(_COLUMNS * (cuda.threadIdx.x % _ACROSS))
        row = np.uint32(n_rows * (cuda.threadIdx.x // _ACROSS))
        for k in range(DEPTH):
            for c in range(_COLUMNS):
                factor = number(right[np.uint32(k), column + np.uint32(c)])
                for r in range(n_rows):
                    value = number(left[np.uint32(k), row + np.uint32(r)])
                    if exact:
                        sums[r, c] += value * factor
                    else:
                        sums[r, c] = fused(value, factor, sums[r, c])

    @device
    def store(sums, out, others, scale):
        column, row = _COLUMNS * (cuda.threadIdx.x % _ACROSS), n_rows * (cuda.threadIdx.x // _ACROSS)
        for r in range(n_rows):
            for c in range(_COLUMNS):
                if exact:
                    total = np.float64(sums[r, c])
                    if others is not None:
                        total += WHITE * np.float64(others[row + r, column + c])  # whole numbers
                    out[row + r, column + c] = np.float32(wide_mul(total, scale))
                else:
                    out[row + r, column + c] = sums[r, c]
                sums[r, c] = number(0)

    return multiply, store, (n_rows, _COLUMNS), number


@device
def note_parts(values, n, width, parts, base):
    """Phase: sums of every 16th of n rows, ``values[row * width + column]``.

    Those from row k on go to ``parts[base + k * width + column]``.
    """
    for item in range(this_place(), PARTS * width, cuda.gridDim.x * cuda.blockDim.x):
        part, column, total = item // width, item % width, ZERO
        for row in range(part, n, PARTS):
            total = add(total, values[row * width + column])
        parts[base + item] = total


@device
def note_parts_of_rows(values, order, first, n, width, parts, base):
    """The same of rows in an order."""
    for item in range(this_place(), PARTS * width, cuda.gridDim.x * cuda.blockDim.x):
        part, column, total = item // width, item % width, ZERO
        for row in range(part, n, PARTS):
            total = add(total, values[order[first + row], column])
        parts[base + item] = total


@device
def sum_of_parts(parts, base, width, column):
    """Sum of a column from its parts, in the order of the CPU kernels."""
    total = ZERO
    for k in range(2):  # the tree of 16 leaves, whose halves are those of even and of odd places
        fours = ZERO
        for j in range(2):
            at = base + (k + 2 * j) * width + column
            two = add(parts[at], parts[at + 8 * width])
            other = add(parts[at + 4 * width], parts[at + 12 * width])
            fours = add(fours, add(two, other))
        total = add(total, fours)
    return total


@device
def clear(sums):
    """Set a thread's sums to zero."""
    for r in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            sums[r, c] = 0


def make_grey_layer(tile: Tile, exact: bool = False, gaussian: bool = False):
    """Phase: hidden means (times `share`) and draws given grey rows.

    ``grey_layer(grey, n_hidden, n_visible, weights, bias, fixed, at, share, what, words, quads, tiles)``:
    fills the means and sums of a `GreyBatch`; ``weights[hidden * n_visible + visible]`` are float32, `tiles` are
    `GreyTiles`. Drawn states go to `words` if `what` is WORDS. Of `exact` rows, whose values are bytes, weights are
    taken as integers (`Fixed`), means are rounded to integers, and totals grow by their
    sums. Of `gaussian` ones no sums are made, and in the place of means there are inputs if `what` is INPUTS.
    """
    (multiply, store, sums_shape, number), to_words = make_multiply(tile, exact), make_to_words(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def sum_rows(grey, n_visible):
        n, groups = grey.n, grey.groups
        for item in range(cuda.grid(1), n_visible * groups, cuda.gridsize(1)):
            visible, group, of_rows = item % n_visible, item // n_visible, np.float64(0)
            first, last = 32 * group, min(32 * group + 32, n)
            if not exact:
                first, last = 0, n
            for row in range(first, last):
                of_rows += np.float64(grey.values[grey.order[grey.first + row], visible])
            grey.sums_of_rows[visible * groups + group] = of_rows

    @device
    def grey_layer(grey, n_hidden, n_visible, weights, bias, fixed, at, share, what, words, quads, tiles):
        n, shared = grey.n, tiles.sums
        integer, scale = div(ONE, fixed.quantum), np.float64(fixed.quantum) / WHITE
        if not gaussian:
            sum_rows(grey, n_visible)
        down = (n + n_rows - 1) // n_rows
        n_tiles = down * ((n_hidden + WIDTH - 1) // WIDTH)
        sums = cuda.local.array(sums_shape, number)
        clear(sums)
        for place_of_tile in range(cuda.blockIdx.x, n_tiles, cuda.gridDim.x):
            row0, hidden0 = n_rows * (place_of_tile % down), WIDTH * (place_of_tile // down)
            for start in range(0, n_visible, DEPTH):
                for item in range(this_thread(), n_rows * DEPTH, threads):
                    row, k = item // DEPTH, item % DEPTH  # neighbours take neighbouring inputs
                    tiles.left[k, row] = 0
                    if row0 + row < n and start + k < n_visible:
                        tiles.left[k, row] = grey.values[grey.order[grey.first + row0 + row], start + k]
                for item in range(this_thread(), WIDTH * DEPTH, threads):
                    column, k = item // DEPTH, item % DEPTH
                    tiles.right[k, column] = 0
                    if hidden0 + column < n_hidden and start + k < n_visible:
                        weight = weights[(hidden0 + column) * n_visible + start + k]
                        if exact:
                            tiles.right[k, column] = quantised(weight, integer, fixed.short)
                        else:
                            tiles.right[k, column] = weight
                cuda.syncthreads()
                multiply(tiles.left, tiles.right, sums)
                cuda.syncthreads()
            store(sums, shared, None, scale)
            cuda.syncthreads()
            for item in range(this_thread(), n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                place, bits = row0 + row, np.uint32(0)
                w0, w1, w2, w3 = philox((hidden0 >> 2) + quad, place, at)
                for j in range(4):
                    hidden, mean = hidden0 + 4 * quad + j, ZERO
                    if place < n and hidden < n_hidden:
                        x = add(bias[hidden], shared[row, 4 * quad + j])
                        inverse = sigmoid_scale(x)
                        if is_on(word_at(j, w0, w1, w2, w3), inverse):
                            bits |= np.uint32(1 << j)
                        mean = mul(mean_of(inverse), share)
                        if gaussian:
                            if what & INPUTS:
                                mean = x
                        if exact:
                            grey.means[place * n_hidden + hidden] = nearest(mean)
                        else:
                            grey.means[place * n_hidden + hidden] = mean
                    shared[row, 4 * quad + j] = mean
                quads[row, quad] = bits
            cuda.syncthreads()
            if what & WORDS:
                to_words(quads, row0, n, hidden0, n_hidden, words)
            for item in range(this_thread(), n_rows, threads):
                hidden, first = hidden0 + item % WIDTH, 32 * (item // WIDTH)
                if hidden < n_hidden and row0 + first < n:
                    if exact:
                        total = np.int32(0)
                        for place in range(row0 + first, min(row0 + first + 32, n)):
                            total += grey.means[place * n_hidden + hidden]
                        cuda.atomic.add(grey.totals, hidden, total)
            # the products of the next tile have barriers before anyone writes to `shared` or `quads`

    return grey_layer


def make_grey_gradient(tile: Tile, exact: bool = False):
    """Device function of a block: the part of real rows in the gradient of a tile of weights.

    ``grey_gradient(grey, model_rows, n_visible, n_hidden, visible0, hidden0, model, tiles)`` leaves ``sum over rows of
    values[row, visible0 + r] means[row, hidden0 + c]`` of a `GreyBatch` in ``tiles.sums[r, c]``, and adds those of
    `model_rows` unless they are None; of `exact` rows the gradient with the model's part, the integer ``model[r, c]``.
    """
    multiply, store, sums_shape, number = make_multiply(tile, exact)
    n_rows, threads = tile.rows, tile.threads

    @device
    def add_rows(grey, n_visible, n_hidden, visible0, hidden0, tiles, sums):
        n = grey.n
        for start in range(0, n, DEPTH):
            for item in range(this_thread(), n_rows * DEPTH, threads):
                row, k = item % n_rows, item // n_rows  # neighbours take neighbouring neurons
                tiles.left[k, row] = 0
                if visible0 + row < n_visible and start + k < n:
                    tiles.left[k, row] = grey.values[grey.order[grey.first + start + k], visible0 + row]
            for item in range(this_thread(), WIDTH * DEPTH, threads):
                column, k = item % WIDTH, item // WIDTH
                tiles.right[k, column] = 0
                if hidden0 + column < n_hidden and start + k < n:
                    tiles.right[k, column] = grey.means[(start + k) * n_hidden + hidden0 + column]
            cuda.syncthreads()
            multiply(tiles.left, tiles.right, sums)
            cuda.syncthreads()

    @device
    def grey_gradient(grey, model_rows, n_visible, n_hidden, visible0, hidden0, model, tiles):
        sums = cuda.local.array(sums_shape, number)
        clear(sums)
        add_rows(grey, n_visible, n_hidden, visible0, hidden0, tiles, sums)
        if model_rows is not None:
            add_rows(model_rows, n_visible, n_hidden, visible0, hidden0, tiles, sums)
        store(sums, tiles.sums, model, _MEAN_QUANTUM)
        cuda.syncthreads()

    return grey_gradient
