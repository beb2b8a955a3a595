"""Grey levels: rows of whole numbers from 0 to 255 that stand for 255ths, and the definition of products with them.

Products are sums of levels and of the fixed-point integers of `quantised` weights, exact in any order, and scaled once:

    input = bias + float32(sum over i of level_i * round(W_ji 2^k) * s),  s the float64 nearest to 2^-k / 255

in which the sum times s is rounded to float64 first. Of levels 0 and 255 this is what bits have. Gradients are the same
of means: with m = round(mean 2^30 / n),

    gradient = float32((sum over rows of level * m + 255 * sum over chains of bit * m) * s),  s nearest to 2^-30 / 255

the m of chains being negative; with sampled states float32(count of levels * s) / n, s nearest to 1 / 255, takes the
place of the count of bits. What does not fit fixed point has products of float32 numbers, level * float32(1 / 255).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: level of white
WHITE = 255
_LARGEST_EXPONENT, _SMALLEST_EXPONENT = 26, 14
_LIMIT = 512.0  # of a weight
_MEAN_SCALE = 2.0**30
_BYTES = 4 << 20  # of levels as floats


@dataclass(frozen=True)
class GreyLevels:
    """Rows of grey levels of a visible layer.

    Attributes
    ----------
    values : ndarray of uint8, shape (n_samples, n_units)
        Rows are contiguous and in the order of memory.
    """

    values: NDArray[np.uint8]

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, rows: Any) -> GreyLevels:
        """Rows by slice or index array."""
        return GreyLevels(np.ascontiguousarray(self.values[rows]))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples and units, (n_samples, n_units)."""
        return self.values.shape[0], self.values.shape[1]

    def dense(self, dtype: Any) -> NDArray[Any]:
        """Return them as numbers in [0, 1], by one multiplication."""
        return np.multiply(self.values, np.dtype(dtype).type(1 / WHITE), dtype=dtype, order="C")


def as_floats(
    pieces: Iterable[tuple[Any, NDArray[np.int64]]], batch_size: int, dtype: Any
) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """Pairs (rows, order within them) with floats in the place of levels, some whole minibatches at a time."""
    for rows, order in pieces:
        if not isinstance(rows, GreyLevels):
            yield rows, order
            continue
        row_bytes = max(1, rows.shape[1] * np.dtype(dtype).itemsize)
        step = batch_size * max(1, _BYTES // (batch_size * row_bytes))
        for first in range(0, len(order), step):
            part = rows[order[first : first + step]].dense(dtype)
            yield part, np.arange(len(part), dtype=np.int64)


def quantised(weights: NDArray[np.float32]) -> tuple[NDArray[np.float64], int] | None:
    """Weights as whole numbers round(W 2^k), and k: the largest for which no sum of a row or column can overflow.

    Halves are rounded away from zero, by float32 operations. None where the weights are too large.
    """
    most = max(weights.shape)
    shift = min(10, 22 - int(most - 1).bit_length())
    if shift < 0 or not (np.abs(weights) < _LIMIT).all():
        return None
    sizes = np.floor(np.abs(weights) * np.float32(2.0**shift)).astype(np.int64)
    largest = max(int(sizes.sum(axis=0).max()), int(sizes.sum(axis=1).max())) + most  # they were rounded down
    for k in range(_LARGEST_EXPONENT, _SMALLEST_EXPONENT - 1, -1):
        total = largest >> (shift - k) if k < shift else largest << (k - shift)
        if total + most < 1 << 31:
            return _nearest(weights * np.float32(2.0**k)), k
    return None


def level_inputs(
    levels: GreyLevels, weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Inputs of the other layer by the definition; None where the weights are too large."""
    found = quantised(weights)
    if found is None:
        return None
    integers, k = found
    # whole numbers below 2^53: exact in any order
    sums = levels.values.astype(np.float64) @ integers.T
    return bias + (sums * (2.0**-k / WHITE)).astype(np.float32)


def level_moments(levels: GreyLevels, hidden: NDArray[np.float32], shares: NDArray[Any] | None) -> NDArray[np.float32]:
    """Mean of h v by the definition, of means in [-1, 1]; shape (n_hidden, n_visible)."""
    if shares is None:
        of_rows = hidden * (np.float32(_MEAN_SCALE) / np.float32(len(hidden)))
    else:
        of_rows = hidden * shares[:, None].astype(np.float32) * np.float32(_MEAN_SCALE)
    sums = _nearest(of_rows).T @ levels.values.astype(np.float64)
    return (sums * (1 / _MEAN_SCALE / WHITE)).astype(np.float32)


def _nearest(x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.trunc(x + np.copysign(np.float32(0.5), x)).astype(np.float64)
