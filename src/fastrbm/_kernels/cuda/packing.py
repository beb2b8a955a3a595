"""Rows on the device to packed bits or float rows: looked over, packed and converted where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..bits import n_words
from .kernels.packing import OTHER, OUTSIDE, convert_rows, pack_rows, unpack_rows
from .kernels.target import launch
from .memory import DeviceBits, allocate, download, row_launch, upload

__all__ = ["OTHER", "OUTSIDE", "convert_into", "float_rows", "pack_checked", "unpack_into"]


def pack_checked(x: Any, on: int = 1) -> tuple[int, DeviceBits]:
    """Pack rows and say what they hold.

    Parameters
    ----------
    x : device array of uint8, float32 or float64, shape (n_samples, n_neurons), any strides
    on : int
        Value of a set bit: 1, or 255 for uint8 images.

    Returns
    -------
    (flags, bits)
        flags: `OTHER` if a value is neither 0 nor `on`, `OUTSIDE` if one is outside [0, on] or NaN (or-ed).
    """
    n, n_neurons = (int(k) for k in x.shape)
    words = allocate("the packed data", (n, 2 * n_words(n_neurons)), np.uint32)
    flags = upload(np.zeros(1, dtype=np.int32))
    if words.size:
        grid, block = row_launch(n)
        launch(pack_rows, grid, block, x, x.dtype.type(on), words, flags)
    return int(download(flags)[0]), DeviceBits(words, n_neurons)


def float_rows(x: Any, dtype: Any, scale: float = 1.0) -> Any:
    """Rows times `scale` as a contiguous device array of floats; x itself where that changes nothing.

    Parameters
    ----------
    x : device array of uint8, float32 or float64, shape (n_samples, n_neurons), any strides
    dtype : float32 or float64
    scale : float
    """
    dtype = np.dtype(dtype)
    if x.dtype == dtype and scale == 1 and x.is_c_contiguous():
        return x
    out = allocate("rows of the data", tuple(int(k) for k in x.shape), dtype)
    convert_into(x, out, scale)
    return out


def convert_into(x: Any, out: Any, scale: float = 1.0, shift: float = 0.0) -> None:
    """Fill a device array of floats with ``scale * x + shift``."""
    if out.size:
        grid, block = row_launch(int(out.shape[0]))
        launch(convert_rows, grid, block, x, out.dtype.type(scale), out.dtype.type(shift), out)


def unpack_into(bits: DeviceBits, out: Any) -> None:
    """Fill a device array of bool with states."""
    if out.size:
        grid, block = row_launch(len(bits))
        launch(unpack_rows, grid, block, bits.words, out)
