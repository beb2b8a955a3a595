"""Rows on the device to packed bits or float rows: looked over, packed and converted where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..bits import n_words
from ._target import cuda, launch
from .memory import DeviceBits, allocate, download, row_launch, upload

#: flags of `pack_checked`
OTHER, OUTSIDE = 1, 2


@cuda.jit
def pack_rows(x, on, words, flags):
    """Bit u % 32 of words[k, u // 32] = (x[k, u] == on); or-s into flags[0] what other values there are."""
    zero, one = np.uint32(0), np.uint32(1)
    found = 0
    stride = cuda.gridDim.x * cuda.blockDim.y
    for k in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, words.shape[0], stride):
        for column in range(cuda.threadIdx.x, words.shape[1], cuda.blockDim.x):
            word = zero
            first = 32 * column
            for u in range(first, min(first + 32, x.shape[1])):
                value = x[k, u]
                if value == on:
                    word |= one << np.uint32(u - first)
                elif value != 0:
                    found |= OTHER
                    # written so that NaN is outside
                    if not (value > 0 and value < on):
                        found |= OUTSIDE
            words[k, column] = word
    if found:
        cuda.atomic.or_(flags, 0, found)


@cuda.jit
def convert_rows(x, scale, shift, out):
    """Rows times `scale` plus `shift`, in the type of `out`."""
    stride = cuda.gridDim.x * cuda.blockDim.y
    for k in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, out.shape[0], stride):
        for column in range(cuda.threadIdx.x, out.shape[1], cuda.blockDim.x):
            out[k, column] = x[k, column] * scale + shift


@cuda.jit
def unpack_rows(words, out):
    """Bits as elements of `out`, which has a column a unit."""
    one = np.uint32(1)
    stride = cuda.gridDim.x * cuda.blockDim.y
    for k in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, out.shape[0], stride):
        for column in range(cuda.threadIdx.x, out.shape[1], cuda.blockDim.x):
            out[k, column] = (words[k, column >> 5] >> np.uint32(column & 31)) & one != 0


def pack_checked(x: Any, on: int = 1) -> tuple[int, DeviceBits]:
    """Pack rows and say what they hold.

    Parameters
    ----------
    x : device array of uint8, float32 or float64, shape (n_samples, n_units), any strides
    on : int
        Value of a set bit: 1, or 255 for uint8 images.

    Returns
    -------
    (flags, bits)
        flags: `OTHER` if a value is neither 0 nor `on`, `OUTSIDE` if one is outside [0, on] or NaN (or-ed).
    """
    n, n_units = (int(k) for k in x.shape)
    words = allocate("the packed data", (n, 2 * n_words(n_units)), np.uint32)
    flags = upload(np.zeros(1, dtype=np.int32))
    if words.size:
        grid, block = row_launch(n)
        launch(pack_rows, grid, block, x, x.dtype.type(on), words, flags)
    return int(download(flags)[0]), DeviceBits(words, n_units)


def float_rows(x: Any, dtype: Any, scale: float = 1.0) -> Any:
    """Rows times `scale` as a contiguous device array of floats; x itself where that changes nothing.

    Parameters
    ----------
    x : device array of uint8, float32 or float64, shape (n_samples, n_units), any strides
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


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    from numba import types

    words, flags = types.uint32[:, ::1], types.int32[::1]
    found: list[tuple[str, Any, Any]] = [("unpack_rows", unpack_rows, types.void(words, types.boolean[:, ::1]))]
    for value in (types.uint8, types.float32, types.float64):
        for rows, layout in ((value[:, ::1], ""), (value[:, :], " strided")):
            found.append((f"pack_rows {value}{layout}", pack_rows, types.void(rows, value, words, flags)))
            for out in (types.float32, types.float64):
                name = f"convert_rows {value} {out}{layout}"
                found.append((name, convert_rows, types.void(rows, out, out, out[:, ::1])))
    return found
