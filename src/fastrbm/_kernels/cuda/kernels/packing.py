"""Kernels that gather, pack, convert and unpack rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .target import cuda

#: flags of `pack_rows`
OTHER, OUTSIDE = 1, 2


@cuda.jit
def gather_rows(words, rows, out):
    """out[k] = words[rows[k]]; the x threads of a block share a row."""
    stride = cuda.gridDim.x * cuda.blockDim.y
    for k in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, out.shape[0], stride):
        for column in range(cuda.threadIdx.x, out.shape[1], cuda.blockDim.x):
            out[k, column] = words[rows[k], column]


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
    """Bits as elements of `out`, which has a column a neuron."""
    one = np.uint32(1)
    stride = cuda.gridDim.x * cuda.blockDim.y
    for k in range(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, out.shape[0], stride):
        for column in range(cuda.threadIdx.x, out.shape[1], cuda.blockDim.x):
            out[k, column] = (words[k, column >> 5] >> np.uint32(column & 31)) & one != 0


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    words, flags, rows = types.uint32[:, ::1], types.int32[::1], types.int64[::1]
    found: list[tuple[str, Any, Any]] = [
        ("gather_rows", gather_rows, types.void(words, rows, words)),
        ("unpack_rows", unpack_rows, types.void(words, types.boolean[:, ::1])),
    ]
    for value in (types.uint8, types.float32, types.float64):
        for given, layout in ((value[:, ::1], ""), (value[:, :], " strided")):
            found.append((f"pack_rows {value}{layout}", pack_rows, types.void(given, value, words, flags)))
            for out in (types.float32, types.float64):
                name = f"convert_rows {value} {out}{layout}"
                found.append((name, convert_rows, types.void(given, out, out, out[:, ::1])))
    return found
