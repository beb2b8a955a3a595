"""Visible data of any accepted form as packed bits, grey levels or float rows, never as a whole float copy.

Dense float32/float64/uint8/bool arrays in any memory order (memory maps included) and scipy.sparse matrices become a
`VisibleData`. Binary data are packed once (1 bit a value); grey data stay where they are: images of bytes as they are,
others are converted a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._kernels import GreyLevels, PackedBits, States, join_rows, pack
from .._kernels.bits import n_words
from .._kernels.cpu.packing import pack_checked, pack_csr
from .._kernels.datatypes import FLOAT_TYPES
from .blocks import batches_per_block, blocks_of, first_entry
from .finite import check_finite
from .ranges import Range, check_magnitude, is_rounding, snapped

_ROWS = 128  # blocks of rows are multiples of so many
_GREY = 1 / 255


def check_indices(x: Any) -> None:
    """Raise ValueError unless the indices of a sparse matrix are within its shape: SciPy's own loops do not look."""
    try:
        if x.format in ("csr", "csc", "bsr"):
            x.check_format(full_check=True)
        elif x.format == "coo":
            for name, index, size in zip(("row", "column"), x.coords, x.shape, strict=True):
                if len(index) != len(x.data):
                    raise ValueError(f"{len(index)} {name} indices for {len(x.data)} entries")
                if len(index) and not 0 <= index.min() <= index.max() < size:
                    raise ValueError(f"{name} index {index[(index < 0) | (index >= size)][0]} out of {size}")
    except ValueError as error:
        raise ValueError(
            f"X must be a sparse matrix whose indices fit its shape {x.shape}, got one with {error}"
        ) from None


class VisibleData:
    """Rows of visible units of 0 and 1, or grey values between them; see `Rows`.

    Parameters
    ----------
    x : ndarray or CSR matrix, shape (n_samples, n_features)
        Validated by scikit-learn: numeric, two-dimensional; not yet checked for finiteness and range.
    scale : float
        What values are multiplied with.
    dtype : numpy dtype
        float32 or float64: type of converted rows.
    limits : Range
        What is done with values outside [0, 1]; those that rounding has put there are clipped.
    name : str
        Name of the estimator, for messages.
    n_threads : int or None

    Attributes
    ----------
    shape : tuple of int
    bits : PackedBits or None
        All rows, when they are binary and packing them takes no more memory than they do.
    binary : bool
        Whether all values are 0 or 1 (after scaling).
    in_range : bool
        Whether all values are in [0, 1].
    levels : bool
        Whether grey rows come as `GreyLevels`: values are those of images in bytes, and the arithmetic is in float32.
    """

    missing = False

    def __init__(
        self,
        x: Any,
        scale: float,
        dtype: Any,
        *,
        limits: Range | None = None,
        name: str = "",
        n_threads: int | None = None,
    ):
        self.given_dtype = x.dtype
        if x.dtype == np.bool_:  # 0 and 1, whatever uint8 values mean
            x, scale = (x.astype(np.uint8) if sp.issparse(x) else x.view(np.uint8)), 1.0
        self.shape: tuple[int, int] = x.shape
        self.dtype = np.dtype(dtype)
        self._scale = scale
        self._n_threads = n_threads
        self.bits: PackedBits | None = None
        self._clip = False
        self._x: Any = _canonical(x) if sp.issparse(x) else x
        flags = self._scan()
        if flags & 2:
            limits = limits or Range()
            if sp.issparse(self._x):
                check_finite(self._x, name, place=limits.place)
            else:
                for rows in self._blocks_in_order():
                    check_finite(self._x[rows], name, place=limits.place, first_row=rows.start)
            flags = self._look_outside(limits, flags)
        self.binary = not flags
        self.in_range = not flags & 2
        self.levels = self._are_levels()

    def _are_levels(self) -> bool:
        """Whether values are those of bytes, for arithmetic in float32, and 255 is 1: bits or `GreyLevels`.

        The type that they are given in makes no difference.
        """
        if self._scale != _GREY or self.dtype != np.float32 or self._clip or not self.in_range:
            return False
        return self._x.dtype == np.uint8 or all((part == np.rint(part)).all() for part in self._parts())

    def _scan(self) -> int:
        return self._scan_sparse() if sp.issparse(self._x) else self._scan_dense()

    def _look_outside(self, limits: Range, flags: int) -> int:
        """Clip what rounding has put outside [0, 1], and say what else is there; returns the flags that are left."""
        low, high = self._extent()
        check_magnitude(low, high, self.dtype)
        if is_rounding(low, high, self._x.dtype):
            self._clip = True
            if sp.issparse(self._x):  # what is stored and becomes 0 is not stored
                x = self._x.astype(np.float64)
                x.data = np.clip(x.data * self._scale, 0, 1)
                self._x, self._scale = _canonical(x), 1.0
            return self._scan()
        limits.found(low, high, self._first_column())
        return flags

    def _extent(self) -> tuple[float, float]:
        ends = [(float(part.min()), float(part.max())) for part in self._parts()]
        return min(low for low, _ in ends) * self._scale, max(high for _, high in ends) * self._scale

    def _parts(self) -> Iterator[Any]:
        """Blocks of the values as they are given, so that an interrupt is heard between them."""
        if sp.issparse(self._x):
            yield self._x.data
            return
        for rows in self._blocks_in_order():
            yield self._x[rows]

    def _scaled(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Values as units take them."""
        values = x.astype(np.float64) * self._scale
        return np.clip(values, 0, 1) if self._clip else values

    def _first_column(self) -> int:
        """Column of the first value outside [0, 1], in the order of the rows."""
        if sp.issparse(self._x):
            values = self._scaled(self._x.data)
            return int(self._x.indices[np.argmax((values < 0) | (values > 1))])
        for rows in self._blocks_in_order():
            values = self._scaled(self._x[rows])
            outside = (values < 0) | (values > 1)
            if outside.any():
                return int(np.argwhere(outside)[0, 1])
        raise AssertionError("no value is outside [0, 1]")

    @property
    def changed(self) -> bool:
        """Whether values are not used as they were given: scaled, or clipped."""
        return self._scale != 1 or self._clip

    # -- looking at the data --------------------------------------------------------------------------------------

    def _flags_of(self, x: NDArray[Any]) -> tuple[int, PackedBits | None]:
        """Flags of `pack_checked` for any dtype, and the bits."""
        if x.dtype == np.uint8 and self._scale in (1, _GREY):
            flags, bits = pack_checked(x, 1 if self._scale == 1 else 255, self._n_threads)
            if flags and self._scale == 1 and x.max() > 1:
                flags |= 2
            return flags, bits
        if x.dtype not in FLOAT_TYPES or self._scale != 1 or self._clip:
            x = self._scaled(x)
        return pack_checked(x, 1, self._n_threads)

    def _scan_dense(self) -> int:
        """Pack row by row while the data are binary; afterwards only look."""
        n, n_features = self.shape
        packed: NDArray[np.uint64] | None = np.empty((n, n_words(n_features)), dtype=np.uint64)
        flags = 0
        for rows in self._blocks_in_order(64 << 20 if self._row_contiguous() else None):
            if rows.stop - rows.start == n:  # one block is all there is
                flags, bits = self._flags_of(_rows_contiguous(self._x))
                self.bits = None if flags else bits
                return flags
            here, bits = self._flags_of(_rows_contiguous(self._x[rows]))
            flags |= here
            if flags:
                packed = None
            elif packed is not None and bits is not None:
                packed[rows] = bits.words
        if packed is not None:
            self.bits = PackedBits(packed, n_features)
        return flags

    def _scan_sparse(self) -> int:
        x = self._x
        flags = 0
        if x.nnz:
            flags, _ = self._flags_of(np.ascontiguousarray(x.data)[None, :])
        if not flags and 8 * self.shape[0] * n_words(self.shape[1]) <= x.data.nbytes + x.indices.nbytes:
            self.bits = pack_csr(x.indptr, x.indices, x.shape)
        return flags

    def _row_contiguous(self) -> bool:
        return not sp.issparse(self._x) and self._x.strides[1] == self._x.itemsize

    # -- rows out --------------------------------------------------------------------------------------------------

    def _blocks_in_order(self, limit: int | None = None) -> Iterator[slice]:
        return blocks_of(self.shape, limit, _ROWS)

    def _take(self, rows: slice | NDArray[np.int64]) -> Any:
        """Some rows as bits (binary data), grey levels or floats."""
        if self.bits is not None:
            return self.bits[rows]
        part = self._x[rows]
        if sp.issparse(part):
            if self.binary:
                return pack_csr(part.indptr, part.indices, part.shape)
            part = part.toarray()
        if self.binary:
            bits = self._flags_of(_rows_contiguous(part))[1]
            assert bits is not None
            return bits
        if self.levels:
            return GreyLevels(_rows_contiguous(part).astype(np.uint8, copy=False))
        return self._as_floats(part)

    def _as_floats(self, part: NDArray[Any]) -> NDArray[Any]:
        if self._scale == 1 and not self._clip:
            return np.ascontiguousarray(part, dtype=self.dtype)
        if not self._clip:  # one operation for all types, so that the same values give the same bits
            return np.multiply(part, self.dtype.type(self._scale), dtype=self.dtype, order="C")
        return np.ascontiguousarray(self._scaled(part), dtype=self.dtype)

    def _resident(self) -> Any:
        """All rows when they need no conversion."""
        if self.bits is not None:
            return self.bits
        if self.levels and self._x.dtype == np.uint8 and self._row_contiguous():
            return GreyLevels(self._x)
        as_it_is = self._scale == 1 and not self._clip and isinstance(self._x, np.ndarray)
        if as_it_is and self._x.dtype == self.dtype and self._x.flags.c_contiguous:
            return self._x
        return None

    def batches(
        self, order: NDArray[np.int64], batch_size: int
    ) -> Iterator[tuple[PackedBits | NDArray[Any], NDArray[np.int64]]]:
        """Rows for training: pairs (rows, order within them) whose concatenation is the data in `order`.

        Every piece but the last holds whole minibatches. Sparse data that are not packed come one minibatch at a time.
        """
        resident = self._resident()
        if resident is not None:
            yield resident, order
            return
        per_piece = 1
        if not sp.issparse(self._x):
            per_piece = batches_per_block(batch_size, self.shape[1], self.dtype)
        for first in range(0, len(order), batch_size * per_piece):
            rows = order[first : first + batch_size * per_piece]
            yield self._take(rows), np.arange(len(rows), dtype=np.int64)

    def slices(self) -> Iterator[tuple[slice, States]]:
        """Pairs (rows, states) in order, each small enough to hold, also where levels are made floats."""
        resident = self._resident()
        if resident is not None and not isinstance(resident, GreyLevels):
            yield slice(0, self.shape[0]), resident
            return
        for rows in self._blocks_in_order():
            yield rows, self._take(rows)

    @property
    def are_states(self) -> bool:
        """Whether rows are states of the layer, which have a probability."""
        return self.binary

    def encoded(self, batch: States) -> tuple[States, None]:
        """Rows of `batches` as training takes them, and which of their units are missing: none."""
        return batch, None

    def contents(self) -> Iterator[States]:
        """Blocks of states in order."""
        for _, states in self.slices():
            yield states

    def states(self, advice: str) -> States:
        """All rows as bits; ValueError with `advice` unless they are binary."""
        if not self.binary:
            raise ValueError(
                "X must hold 0 and 1 only: the model has no probability for grey values. "
                f"Binarise the rows (fastrbm.datasets.binarize), or {advice}"
            )
        return join_rows([x if isinstance(x, PackedBits) else pack(x) for _, x in self.slices()])


class SpinData(VisibleData):
    """Rows of -1 and +1 as bits; other values x, where they are allowed, as (x + 1) / 2."""

    _domain = "-1 and +1 only (2 * X - 1 for zeros and ones)"

    def _look_outside(self, limits: Range, flags: int) -> int:
        if not limits.states_only:
            check_magnitude(*self._extent(), self.dtype)
            return flags
        found = first_entry(self._x, lambda x: np.abs(x) != 1, self._blocks_in_order(), snapped)
        if found is None:
            self._clip = True
            return self._scan()
        row, column, value = found
        raise ValueError(
            f"X must hold {self._domain}, got {value:g} in row {row}, column {column}; out_of_range='allow' uses "
            "values in between as means"
        )

    def _flags_of(self, x: NDArray[Any]) -> tuple[int, PackedBits | None]:
        if self._clip:
            x = snapped(x)
        if (np.abs(x) == 1).all():
            return pack_checked((x > 0).view(np.uint8), 1, self._n_threads)
        flags, bits = pack_checked(0.5 * (x.astype(np.float64) + 1), 1, self._n_threads)
        # no value but the two spins is in the domain
        return (flags | 2 if flags else 0), bits

    def _are_levels(self) -> bool:
        return False

    def _row_contiguous(self) -> bool:
        return False  # small blocks, whose conversions stay in the cache

    def _resident(self) -> PackedBits | None:
        return self.bits  # others need their conversion

    def _as_floats(self, part: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(0.5 * (part.astype(self.dtype) + 1))


def _canonical(x: Any) -> Any:
    """CSR without duplicates or explicit zeros; a copy only where that changes something."""
    check_indices(x)
    if not x.has_canonical_format or not np.all(x.data):
        x = x.copy()
        x.sum_duplicates()
        x.eliminate_zeros()
    return x


def _rows_contiguous(x: NDArray[Any]) -> NDArray[Any]:
    return x if x.strides[1] == x.itemsize else np.ascontiguousarray(x)
