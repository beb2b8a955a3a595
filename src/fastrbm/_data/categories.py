"""Categories, some of which may be missing, as groups of one-hot units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import States, as_dense, join_rows, pack
from .blocks import blocks_of

#: in place of a category: there is one, which is not known
UNKNOWN = -1


class CategoryData:
    """Rows of category numbers, NaN where they are missing, as groups of one-hot units; see `Rows`.

    With `conditional` a unit for each column follows, which is on where the column has a category, known or not.
    """

    binary = False  # groups of units, one of which is on
    in_range = True

    def __init__(self, x: NDArray[Any], n_categories: int, dtype: Any, conditional: bool = False):
        self._x = x
        self.n_categories = n_categories
        self._conditional = conditional
        self.given_dtype = x.dtype
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, int] = (x.shape[0], x.shape[1] * (n_categories + conditional))
        self.missing = False
        for rows in self._blocks():
            block = np.asarray(x[rows], dtype=np.float64)
            gone = np.isnan(block)
            if conditional:
                gone |= block == UNKNOWN
            self.missing |= bool(gone.any())
            wrong = ~gone & ~((block >= 0) & (block < n_categories) & (block == np.floor(block)))
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                sign = "Negative values in data passed to SoftmaxRBM: " if (block < -1 * conditional).any() else ""
                others = f"{UNKNOWN} (there, but unknown) or NaN (not there)" if conditional else "NaN"
                place = f"row {rows.start + row}, column {column}"
                raise ValueError(
                    f"{sign}X must hold categories, whole numbers from 0 to {n_categories - 1} "
                    f"(n_categories={n_categories}), or {others}, got {block[row, column]:g} in {place}"
                )

    @property
    def are_states(self) -> bool:
        """Whether rows are states of the layer."""
        return not self.missing

    def _blocks(self) -> Iterator[slice]:
        return blocks_of(self.shape)

    def batches(self, order: NDArray[np.int64], batch_size: int) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """As `Rows.batches`; numbers of categories as they are given."""
        yield self._x, order

    def encoded(self, batch: States) -> tuple[States, NDArray[np.bool_] | None]:
        """One-hot rows, and which units are there: None where all are."""
        codes = as_dense(batch, np.float64).astype(np.float64, copy=False)
        units = (codes[:, :, None] == np.arange(self.n_categories)).reshape(len(codes), -1)
        gone = np.isnan(codes)
        known = ~gone
        if self._conditional:
            units = np.hstack((units, known))
            known &= codes != UNKNOWN
        if known.all():
            return pack(units), None
        present = np.repeat(known, self.n_categories, axis=1)
        return units.astype(self.dtype), np.hstack((present, ~gone)) if self._conditional else present

    def slices(self) -> Iterator[tuple[slice, States]]:
        """Row slices in order; missing entries are units that are off."""
        for rows in self._blocks():
            yield rows, self.encoded(self._x[rows])[0]

    def contents(self) -> Iterator[States]:
        """Blocks of states in order."""
        for _, states in self.slices():
            yield states

    def states(self, advice: str) -> States:
        """All rows as states of the layer."""
        if self.missing:
            raise ValueError(f"X must not hold NaN here: a row with missing entries is no state; {advice}")
        return join_rows([pack(x) if isinstance(x, np.ndarray) else x for _, x in self.slices()])
