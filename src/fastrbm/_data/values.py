"""Rows of values of any unit type but bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import States
from ..units import Unit, get_unit
from .blocks import batches_per_block, blocks_of, first_entry
from .finite import check_finite
from .ranges import Range, check_magnitude, snapped


class UnitData:
    """Rows of values of any unit, checked once, converted a block at a time.

    Parameters
    ----------
    x : ndarray, shape (n_samples, n_features)
        Numeric, two-dimensional.
    unit : str
        Spec of the visible unit.
    dtype : numpy dtype
    sigma : ndarray or None
        What `slices` divides by.
    limits : Range
        Whether values outside the unit's support raise; NaN and infinity always do. Those that rounding has put
        there are rounded to what they were.
    name : str
        Name of the estimator, for messages.
    """

    binary = False
    missing = False
    in_range = True

    def __init__(
        self,
        x: NDArray[Any],
        unit: str,
        dtype: Any,
        *,
        sigma: NDArray[Any] | None = None,
        limits: Range | None = None,
        name: str = "",
    ):
        self._x = x
        self._unit = get_unit(unit)
        self.shape: tuple[int, int] = x.shape
        self.given_dtype = x.dtype
        self.dtype = np.dtype(dtype)
        self._sigma = sigma
        self._unit.check_width(x.shape[1])
        limits = limits or Range()
        self.are_states = limits.states_only  # which raises for others
        self._snap = False
        for rows in self._blocks_in_order():
            check_finite(x[rows], name, place=limits.place, first_row=rows.start)
            if x.dtype.kind == "f":
                check_magnitude(float(x[rows].min()), float(x[rows].max()), self.dtype)
        if limits.states_only and (self._unit.support is not None or type(self._unit).outside is not Unit.outside):
            self._check(self._unit.outside, self._unit.domain)

    def _check(self, outside: Any, domain: str) -> None:
        found = first_entry(self._x, outside, self._blocks_in_order())
        if found is None:
            return
        found = first_entry(self._x, outside, self._blocks_in_order(), snapped)
        self._snap = found is None
        if found is not None:
            row, column, value = found
            unit = self._unit.spec
            raise ValueError(
                f"X must hold {domain} for {unit!r} visible units, got {value:g} in row {row}, column {column}"
            )

    def _blocks_in_order(self) -> Iterator[slice]:
        return blocks_of(self.shape)

    def _take(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        part = self._x[rows]
        return np.ascontiguousarray(snapped(part) if self._snap else part, dtype=self.dtype)

    def batches(self, order: NDArray[np.int64], batch_size: int) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """As `Rows.batches`; values as they are given."""
        if self._x.dtype == self.dtype and self._x.flags.c_contiguous and not self._snap:
            yield self._x, order
            return
        step = batch_size * batches_per_block(batch_size, self.shape[1], self.dtype)
        for first in range(0, len(order), step):
            part = order[first : first + step]
            yield self._take(part), np.arange(len(part))

    def encoded(self, batch: States) -> tuple[States, None]:
        """Rows of `batches` as training takes them, and which of their units are missing: none."""
        return batch, None

    def slices(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Row slices in order with their states as kernels take them."""
        for rows in self._blocks_in_order():
            states = self._take(rows)
            if self._sigma is not None:
                states = np.ascontiguousarray(states / self._sigma, dtype=self.dtype)
            yield rows, states

    def contents(self) -> Iterator[NDArray[Any]]:
        """Blocks of values as they are given, in the type that rows are converted to."""
        for rows in self._blocks_in_order():
            yield self._take(rows)

    def states(self, advice: str) -> NDArray[Any]:
        """All rows as states of the layer."""
        self._check(self._unit.outside, f"{self._unit.domain} (to have a probability; or {advice})")
        return np.concatenate([states for _, states in self.slices()])
