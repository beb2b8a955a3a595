"""Rows to bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, n_words
from .runtime import extension as _cpu
from .runtime import threads_for


def pack_checked(x: NDArray[Any], on: int = 1, n_threads: int | None = None) -> tuple[int, PackedBits]:
    """Pack dense rows and say what they hold.

    Parameters
    ----------
    x : ndarray of uint8, float32 or float64, shape (n_samples, n_units), rows contiguous
    on : int
        Value of a set bit: 1, or 255 for uint8 images.
    n_threads : int or None

    Returns
    -------
    (flags, bits)
        flags: 1 if a value is neither 0 nor `on`, 2 if a float is outside [0, 1] or NaN (or-ed).
    """
    out = np.empty((x.shape[0], n_words(x.shape[1])), dtype=np.uint64)
    flags = _cpu.pack_rows(x, on, out, threads_for(4.0 * x.size, n_threads)) if x.size else 0
    return flags, PackedBits(out, x.shape[1])


def _as_int32(x: NDArray[Any]) -> NDArray[np.int32]:
    if x.dtype != np.int32 and x.size and (x.min() < 0 or x.max() > np.iinfo(np.int32).max):
        raise ValueError("X must be a sparse matrix with less than 2^31 entries and columns, and no negative index")
    return np.ascontiguousarray(x, dtype=np.int32)


def pack_csr(indptr: NDArray[Any], indices: NDArray[Any], shape: tuple[int, int]) -> PackedBits:
    """Set the listed bits of each row of a CSR matrix without duplicates or stored zeros."""
    out = np.zeros((shape[0], n_words(shape[1])), dtype=np.uint64)
    if len(indices):
        _cpu.pack_sparse(_as_int32(indptr), _as_int32(indices), shape[1], out)
    return PackedBits(out, shape[1])
