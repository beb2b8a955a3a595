"""Means and deviations of the columns of the rows that are trained on, whatever form they have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .._data.split import Split
from .._kernels import PackedBits, as_dense
from . import Rows
from .chunks import ChunkedData

_ROWS = 4096  # at a time
_BYTE = 255  # rows whose counts fit a byte
_SMALLEST = 1e-6  # of a deviation, in units of the column's largest magnitude; below, the column is constant


def _blocks(
    data: Rows, split: Split, sample_weight: NDArray[np.float64] | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield rows with their shares, which add up to 1."""
    if isinstance(data, ChunkedData):
        for rows in data.in_order(_ROWS):
            x = as_dense(rows, np.float64).astype(np.float64, copy=False)
            yield x, np.full(len(x), 1 / data.shape[0])
        return
    order = np.arange(split.n_rows) if split.trained is None else split.trained
    weights = np.ones(len(order)) if sample_weight is None else sample_weight[order]
    shares, done = weights / weights.sum(), 0
    for part, local in data.batches(order, _ROWS):
        for first in range(0, len(local), _ROWS):
            rows = data.encoded(part[local[first : first + _ROWS]])[0]  # what is missing is 0, and so not counted
            rows = as_dense(rows, np.float64).astype(np.float64, copy=False)
            yield rows, shares[done : done + len(rows)]
            done += len(rows)


def frequencies(bits: PackedBits) -> NDArray[np.float64]:
    """Shares of the rows in which each column is on, by counting."""
    counts = np.zeros(bits.n_units, np.int64)
    for first in range(0, len(bits), _BYTE):
        counts += bits[first : first + _BYTE].dense(np.uint8).sum(axis=0, dtype=np.uint8)
    return counts / len(bits)


def means(data: Rows, split: Split, sample_weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Compute the means of the columns."""
    total = np.zeros(data.shape[1])
    for rows, shares in _blocks(data, split, sample_weight):
        total += (shares[:, None] * rows).sum(axis=0)
    return total


def deviations(data: Rows, split: Split, sample_weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Compute the standard deviations of the columns, 1 for constant ones; two passes, as one would cancel digits."""
    mean, square, largest = means(data, split, sample_weight), np.zeros(data.shape[1]), np.zeros(data.shape[1])
    for rows, shares in _blocks(data, split, sample_weight):
        square += (shares[:, None] * np.square(rows - mean)).sum(axis=0)
        largest = np.maximum(largest, np.abs(rows).max(axis=0, initial=0))
    sigma = np.sqrt(square)
    sigma[sigma <= _SMALLEST * largest] = 1.0
    return sigma
