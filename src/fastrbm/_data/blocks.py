"""Blocks of rows: how many are converted at a time, and where the first value is that must not be there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: bytes of converted rows held at a time
BLOCK_BYTES = 4 << 20


def blocks_of(shape: tuple[int, int], limit: int | None = None, multiple: int = 1) -> Iterator[slice]:
    """Slices of rows in order, which take about `limit` bytes (`BLOCK_BYTES`) as float64; of `multiple` rows each."""
    step = max(multiple, (limit or BLOCK_BYTES) // max(1, 8 * shape[1]) // multiple * multiple)
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def batches_per_block(batch_size: int, n_columns: int, dtype: np.dtype[Any], limit: int | None = None) -> int:
    """Whole minibatches whose converted rows take `limit` bytes (`BLOCK_BYTES`), at least one."""
    return max(1, (limit or BLOCK_BYTES) // max(1, batch_size * n_columns * dtype.itemsize))


def first_entry(
    x: NDArray[Any],
    outside: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    blocks: Iterable[slice],
    convert: Callable[[NDArray[Any]], NDArray[np.float64]] = lambda x: np.asarray(x, dtype=np.float64),
) -> tuple[int, int, float] | None:
    """Find row, column and value of the first entry that is outside; `convert` makes float64 values of a block."""
    for rows in blocks:
        block = convert(x[rows])
        wrong = outside(block)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            return rows.start + int(row), int(column), float(block[row, column])
    return None
