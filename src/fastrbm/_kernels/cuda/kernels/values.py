"""Arithmetic on values, one operation after the other: what NumPy's functions are to arrays of the host.

Each operation is rounded once, as NumPy's is, so that results are those of the host; logarithms and powers are taken in
float64. `arrays.DeviceArray` launches these.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from .arguments import tuple_type
from .elementwise import ROW_THREADS
from .target import cuda, device, div, wide_div

(
    COPY, ADD, SUBTRACT, MULTIPLY, DIVIDE, MINIMUM, MAXIMUM, SQUARE, ABSOLUTE, SIGN, SQRT, EXP, EXPM1, LOGADDEXP, LESS,
    GREATER, WHERE,
) = range(17)  # fmt: skip


class Operand(NamedTuple):
    """Values, or one number for all places.

    Attributes
    ----------
    values : array of the kernel's type
    row, column : int
        Value (r, c) is ``values[r * row + c * column]``; of a number `row` is -1.
    number : float
    """

    values: Any
    row: int
    column: int
    number: Any


def _make_operate_kernel(wide: bool) -> Any:
    real = np.float64 if wide else np.float32
    quotient = wide_div if wide else div
    zero, one = real(0), real(1)

    @device
    def value_of(operand, row, column):
        """Value of an operand at a place."""
        if operand.row < 0:
            return operand.number
        return operand.values[row * operand.row + column * operand.column]

    @device
    def smaller(x, y):
        """The smaller of two numbers, NaN if one is."""
        if x < y or math.isnan(x):
            return x
        return y

    @cuda.jit
    def operate_kernel(operation, first, second, third, columns, out):
        """Set out to an operation of operands, out of which it is taken row by row."""
        for at in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            row, column = at // columns, at % columns
            x, y = value_of(first, row, column), value_of(second, row, column)
            z = x
            if operation == ADD:
                z = x + y
            elif operation == SUBTRACT:
                z = x - y
            elif operation == MULTIPLY:
                z = x * y
            elif operation == DIVIDE:
                z = quotient(x, y)
            elif operation == MINIMUM:
                z = smaller(x, y)
            elif operation == MAXIMUM:
                z = -smaller(-x, -y)
            elif operation == SQUARE:
                z = x * x
            elif operation == ABSOLUTE:
                z = abs(x)
            elif operation == SIGN:
                if x > zero:
                    z = one
                elif x < zero:
                    z = -one
            elif operation == SQRT:
                z = math.sqrt(x)
            elif operation == EXP:
                z = real(math.exp(np.float64(x)))
            elif operation == EXPM1:
                z = real(math.expm1(np.float64(x)))
            elif operation == LOGADDEXP:
                gap = np.float64(x) - np.float64(y)
                z = real(max(np.float64(x), np.float64(y)) + math.log1p(math.exp(-abs(gap))))
            elif operation == LESS:
                z = zero
                if x < y:
                    z = one
            elif operation == GREATER:
                z = zero
                if x > y:
                    z = one
            elif operation == WHERE:
                z = y
                if x == zero:
                    z = value_of(third, row, column)
            out[at] = z

    return operate_kernel


OPERATE = {np.dtype(np.float32): _make_operate_kernel(False), np.dtype(np.float64): _make_operate_kernel(True)}


@cuda.jit
def cast_kernel(values, out):
    """Values of another float type."""
    for at in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[at] = values[at]


@cuda.jit
def fill_kernel(number, out):
    """The same number everywhere."""
    for at in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[at] = number


@cuda.jit
def sum_columns_kernel(values, out):
    """Sum each column from its first row on, in float64; a thread does a column."""
    for column in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        total = 0.0
        for row in range(values.shape[0]):
            total += values[row, column]
        out[column] = total


@cuda.jit
def sum_rows_kernel(values, out):
    """Sum each row in float64; a block does a row."""
    part = cuda.shared.array(ROW_THREADS, np.float64)
    for row in range(cuda.blockIdx.x, out.size, cuda.gridDim.x):
        total = 0.0
        for column in range(cuda.threadIdx.x, values.shape[1], ROW_THREADS):
            total += values[row, column]
        part[cuda.threadIdx.x] = total
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            total = 0.0
            for t in range(ROW_THREADS):
                total += part[t]
            out[row] = total
        cuda.syncthreads()


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, found = types.int64, []
    for name, real, other in (("float32", types.float32, types.float64), ("float64", types.float64, types.float32)):
        operand = tuple_type(Operand, real[::1], i64, i64, real)
        operate = types.void(i64, operand, operand, operand, i64, real[::1])
        found += [
            (f"operation {name}", OPERATE[np.dtype(name)], operate),
            (f"other type {name}", cast_kernel, types.void(other[::1], real[::1])),
            (f"fill {name}", fill_kernel, types.void(real, real[::1])),
            (f"sums of columns {name}", sum_columns_kernel, types.void(real[:, ::1], real[::1])),
            (f"sums of rows {name}", sum_rows_kernel, types.void(real[:, ::1], real[::1])),
        ]
    return found
