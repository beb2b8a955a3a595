"""Grey rows in a training pass: the products of the data that bits do not serve, in float32.

The positive phase needs two products of the data: inputs of the hidden layer, and the data's half of the gradient. Both
go over square tiles in shared memory, each sum in the order of its inputs, so results depend on no size of a tile.
Sums over the rows of a minibatch are made of groups of 32 for the same reason.
"""

from __future__ import annotations

import numpy as np

from .layer import QUADS, WORDS, make_to_words
from .scalar import ZERO, is_on, mean_of, philox, sigmoid_scale, word_at
from .target import add, cuda, device, mul
from .tiles import WIDTH, Tile

DEPTH = 16  # inputs that are in shared memory at once
_COLUMNS = 2  # of a thread
_ACROSS = WIDTH // _COLUMNS  # threads beside each other


def shared_shapes(tile: Tile) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Shapes of shared arrays: sums, and both factors by input; padded, so that columns are in different banks."""
    return (tile.rows, WIDTH + 1), (DEPTH, tile.rows + 1), (DEPTH, WIDTH + 1)


def make_multiply(tile: Tile):
    """Device functions: one adds the products of what is in `left` and `right` to a thread's sums, one stores them."""
    n_rows = tile.rows * _ACROSS // tile.threads

    # Indices are unsigned: Numba takes a signed one as one that may count from the end.
    @device
    def multiply(left, right, sums):
        column = np.uint32(_COLUMNS * (cuda.threadIdx.x % _ACROSS))
        row = np.uint32(n_rows * (cuda.threadIdx.x // _ACROSS))
        for k in range(DEPTH):
            for c in range(_COLUMNS):
                factor = right[np.uint32(k), column + np.uint32(c)]
                for r in range(n_rows):
                    sums[r, c] += left[np.uint32(k), row + np.uint32(r)] * factor

    @device
    def store(sums, out):
        column, row = _COLUMNS * (cuda.threadIdx.x % _ACROSS), n_rows * (cuda.threadIdx.x // _ACROSS)
        for r in range(n_rows):
            for c in range(_COLUMNS):
                out[row + r, column + c] = sums[r, c]
                sums[r, c] = ZERO

    return multiply, store, (n_rows, _COLUMNS)


@device
def clear(sums):
    """Set a thread's sums to zero."""
    for r in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            sums[r, c] = ZERO


def make_grey_layer(tile: Tile):
    """Phase: hidden means (times `share`) and draws given grey rows.

    ``grey_layer(grey, n_hidden, n_visible, weights, bias, at, share, what, words, quads, tiles)``: fills the means and
    sums of a `GreyBatch`; ``weights[hidden * n_visible + visible]`` are float32, `tiles` are `GreyTiles`. Drawn states
    go to `words` if `what` is WORDS.
    """
    (multiply, store, sums_shape), to_words = make_multiply(tile), make_to_words(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def grey_layer(grey, n_hidden, n_visible, weights, bias, at, share, what, words, quads, tiles):
        n, groups, shared = grey.n, grey.groups, tiles.sums
        for item in range(cuda.grid(1), n_visible * groups, cuda.gridsize(1)):
            visible, group, total = item % n_visible, item // n_visible, np.float64(0)
            for row in range(32 * group, min(32 * group + 32, n)):
                total += np.float64(grey.values[grey.order[grey.first + row], visible])
            grey.sums_of_rows[visible * groups + group] = total
        down = (n + n_rows - 1) // n_rows
        n_tiles = down * ((n_hidden + WIDTH - 1) // WIDTH)
        sums = cuda.local.array(sums_shape, np.float32)
        clear(sums)
        for number in range(cuda.blockIdx.x, n_tiles, cuda.gridDim.x):
            row0, hidden0 = n_rows * (number % down), WIDTH * (number // down)
            for start in range(0, n_visible, DEPTH):
                for item in range(cuda.threadIdx.x, n_rows * DEPTH, threads):
                    row, k = item // DEPTH, item % DEPTH  # neighbours take neighbouring inputs
                    tiles.left[k, row] = ZERO
                    if row0 + row < n and start + k < n_visible:
                        tiles.left[k, row] = grey.values[grey.order[grey.first + row0 + row], start + k]
                for item in range(cuda.threadIdx.x, WIDTH * DEPTH, threads):
                    column, k = item // DEPTH, item % DEPTH
                    tiles.right[k, column] = ZERO
                    if hidden0 + column < n_hidden and start + k < n_visible:
                        tiles.right[k, column] = weights[(hidden0 + column) * n_visible + start + k]
                cuda.syncthreads()
                multiply(tiles.left, tiles.right, sums)
                cuda.syncthreads()
            store(sums, shared)
            cuda.syncthreads()
            for item in range(cuda.threadIdx.x, n_rows * QUADS, threads):
                row, quad = item >> 3, item & 7
                place, bits = row0 + row, np.uint32(0)
                w0, w1, w2, w3 = philox((hidden0 >> 2) + quad, place, at)
                for j in range(4):
                    hidden, mean = hidden0 + 4 * quad + j, ZERO
                    if place < n and hidden < n_hidden:
                        inverse = sigmoid_scale(add(bias[hidden], shared[row, 4 * quad + j]))
                        if is_on(word_at(j, w0, w1, w2, w3), inverse):
                            bits |= np.uint32(1 << j)
                        mean = mul(mean_of(inverse), share)
                        grey.means[place * n_hidden + hidden] = mean
                    shared[row, 4 * quad + j] = mean
                quads[row, quad] = bits
            cuda.syncthreads()
            if what & WORDS:
                to_words(quads, row0, n, hidden0, n_hidden, words)
            for item in range(cuda.threadIdx.x, n_rows, threads):
                column, group = item % WIDTH, item // WIDTH
                if hidden0 + column < n_hidden and row0 + 32 * group < n:
                    some = ZERO
                    for row in range(32):
                        some = add(some, shared[32 * group + row, column])
                    grey.sums_of_means[(hidden0 + column) * groups + (row0 >> 5) + group] = some
            cuda.syncthreads()

    return grey_layer


def make_grey_gradient(tile: Tile):
    """Device function of a block: the data's part of the gradient of a tile of weights.

    ``grey_gradient(grey, n_visible, n_hidden, visible0, hidden0, tiles)`` leaves ``sum over rows of values[row,
    visible0 + r] means[row, hidden0 + c]`` of a `GreyBatch` in ``tiles.sums[r, c]``.
    """
    multiply, store, sums_shape = make_multiply(tile)
    n_rows, threads = tile.rows, tile.threads

    @device
    def grey_gradient(grey, n_visible, n_hidden, visible0, hidden0, tiles):
        n = grey.n
        sums = cuda.local.array(sums_shape, np.float32)
        clear(sums)
        for start in range(0, n, DEPTH):
            for item in range(cuda.threadIdx.x, n_rows * DEPTH, threads):
                row, k = item % n_rows, item // n_rows  # neighbours take neighbouring neurons
                tiles.left[k, row] = ZERO
                if visible0 + row < n_visible and start + k < n:
                    tiles.left[k, row] = grey.values[grey.order[grey.first + start + k], visible0 + row]
            for item in range(cuda.threadIdx.x, WIDTH * DEPTH, threads):
                column, k = item % WIDTH, item // WIDTH
                tiles.right[k, column] = ZERO
                if hidden0 + column < n_hidden and start + k < n:
                    tiles.right[k, column] = grey.means[(start + k) * n_hidden + hidden0 + column]
            cuda.syncthreads()
            multiply(tiles.left, tiles.right, sums)
            cuda.syncthreads()
        store(sums, tiles.sums)
        cuda.syncthreads()

    return grey_gradient
