"""Kernels of exact partition sums: all states with the same outer bits by one block of threads.

The formulas and the tables Y and Z are those of the CPU kernels (partition.h). A block goes through its states a set at
a time: `rows` products of a high and a middle state, times `lanes` low states. Neurons come in chunks that fit in
shared memory: all threads together make P and Q Z of the chunk's neurons by row and fetch Y, then each multiplies the
factors of its own `tile_rows` times `tile_lanes` states, which stay in registers for all chunks.

Sums are float64 with an exponent, one of each per block, added in an order that depends on nothing but the cut.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import types

from ...partition_cut import NO_STATE
from .arguments import tuple_type
from .target import WIDE, bits_of_double, bits_of_float, cuda, device, double_of_bits, float_of_bits, kernel_for


class Shape(NamedTuple):
    """Sizes of one configuration, powers of two; no more rows than threads."""

    lanes: int  # low states
    rows: int  # high times middle states at once
    tile_lanes: int  # states of one thread
    tile_rows: int
    chunk: int  # neurons in shared memory at once

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.lanes // self.tile_lanes * (self.rows // self.tile_rows)

    @property
    def most_middle(self) -> int:
        """Middle bits: the rows of a thread must be high states next to each other, all of one middle state."""
        return (self.rows // self.tile_rows).bit_length() - 1


class Middle(NamedTuple):
    """Tables of the middle states, M = 2^bits of them.

    Attributes
    ----------
    bits : int
    z : array, shape (n, M)
        The factors Z of the n neurons that are summed out.
    mantissas : array of float64, exponents : array of int64, shape (M,)
        Weights of the states by themselves, mantissas in [1, 2).
    """

    bits: Any
    z: Any
    mantissas: Any
    exponents: Any


class Low(NamedTuple):
    """Tables of the low states: the factors ``y[neuron * lanes + state]``, and their weights as in `Middle`."""

    y: Any
    mantissas: Any
    exponents: Any


class Chunks(NamedTuple):
    """Where chunks of neurons end, and whether products give up their exponents there, int32. The last one does."""

    ends: Any
    strips: Any


class Scaled(NamedTuple):
    """Numbers mantissa * 2^exponent: float64 and int64."""

    mantissas: Any
    exponents: Any


#: by type of the products: registers and shared memory of a multiprocessor are enough for two blocks
DEVICE_SHAPES = {np.float32: Shape(64, 128, 4, 8, 32), np.float64: Shape(64, 64, 4, 4, 16)}
#: one for the simulator, where every thread is slow
SMALL = Shape(4, 4, 2, 2, 8)
_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer in the low bits
_MANTISSA = np.int64(52)
_BIAS = np.int64(1023)
_FAR = np.int64(-1000)  # smaller shares of a sum count as 2^-1000
_NOTHING = np.int64(2 * NO_STATE)
_LN2 = math.log(2)
# e^(f ln 2), |f| <= 1/2, to degree 11: remainder 7e-15 relative
_TAYLOR = tuple(_LN2**k / math.factorial(k) for k in range(12))
_C11, _C10, _C9, _C8, _C7, _C6, _C5, _C4, _C3, _C2, _C1, _ = reversed(_TAYLOR)


@device
def exp2(t):
    """2^t for t in [-1021, 1022], float64."""
    shifted = t + _MAGIC
    f = t - (shifted - _MAGIC)
    p = f * _C11 + _C10
    p = p * f + _C9
    p = p * f + _C8
    p = p * f + _C7
    p = p * f + _C6
    p = p * f + _C5
    p = p * f + _C4
    p = p * f + _C3
    p = p * f + _C2
    p = p * f + _C1
    p = p * f + 1.0
    return double_of_bits(bits_of_double(p) + (bits_of_double(shifted) << _MANTISSA))


@device
def short_exp2(t):
    """2^t for t in [-1021, 1022] to float32: the series to degree 8, remainder 2e-10 relative."""
    shifted = t + _MAGIC
    f = t - (shifted - _MAGIC)
    p = f * _C8 + _C7
    p = p * f + _C6
    p = p * f + _C5
    p = p * f + _C4
    p = p * f + _C3
    p = p * f + _C2
    p = p * f + _C1
    p = p * f + 1.0
    return double_of_bits(bits_of_double(p) + (bits_of_double(shifted) << _MANTISSA))


@device
def float_exponent(x):
    """Exponent of a positive normal float32, biased."""
    return bits_of_float(x) >> np.int32(23)


@device
def float_mantissa(x):
    """Mantissa of a positive normal float32, in [1, 2)."""
    return float_of_bits((bits_of_float(x) & np.int32(0x7FFFFF)) | np.int32(0x3F800000))


@device
def double_exponent(x):
    """Exponent of a positive normal float64, biased."""
    return np.int32(bits_of_double(x) >> _MANTISSA)


@device
def double_mantissa(x):
    """Mantissa of a positive normal float64, in [1, 2)."""
    return double_of_bits((bits_of_double(x) & np.int64(0xFFFFFFFFFFFFF)) | np.int64(0x3FF0000000000000))


@device
def scale(by):
    """2^by for by <= 0, float64; what is below 2^-1000 counts as that."""
    return double_of_bits((max(by, _FAR) + _BIAS) << _MANTISSA)


@cuda.jit
def add_outer_rows(first, start, rows, out):
    """Row of `out` by block: the inputs of all neurons, and the bias, of outer state first + block, from scratch.

    start : (n,), rows : (outer bits, n), out : (blocks, n), all float64.
    """
    block = cuda.blockIdx.x
    state = first + block
    for i in range(cuda.threadIdx.x, start.shape[0], cuda.blockDim.x):
        x = start[i]
        for k in range(rows.shape[0]):
            if (state >> k) & 1:
                x += rows[k, i]
        out[block, i] = x


@cuda.jit
def take_logs(weights, exponents):
    """Natural logs of weights * 2^exponents in place of the weights, by block; all but the first axis are one."""
    block = cuda.blockIdx.x
    for i in range(cuda.threadIdx.x, weights.shape[1], cuda.blockDim.x):
        weights[block, i] = _LN2 * (np.float64(exponents[block, i]) + math.log2(weights[block, i]))


@lru_cache
def partition_kernel(real: Any, shape: Shape, keep: bool) -> Any:
    """Kernel for products of type `real`; see `sum_states` in it for its arguments.

    Whether it keeps the weights of all states is fixed, too: registers for that are missed where nothing is kept.
    """
    wide = real is np.float64
    lanes, rows, tile_lanes, tile_rows, chunk = shape
    threads, columns = shape.threads, lanes // tile_lanes
    n_states, y_size, p_size = tile_rows * tile_lanes, chunk * lanes, chunk * rows
    row_bits, column_bits, lane_bits = (n.bit_length() - 1 for n in (rows, columns, lanes))
    one, zero = real(1), real(0)
    # smaller 2^-x count as 0, and smaller 2^x beside 1: the latter times Y Z is no subnormal number
    least, least_q = (-1020.0, -100.0) if wide else (-125.0, -30.0)
    bias = np.int32(1023 if wide else 127)
    exponent_of, mantissa_of = (double_exponent, double_mantissa) if wide else (float_exponent, float_mantissa)
    power = exp2 if wide else short_exp2

    @kernel_for(threads, 1 if keep else 2)
    def sum_states(outer, inner, middle, low, chunks, sums, weights):
        """Sum of the weights of all states of an outer state, by block.

        With n neurons, H inner high states and M = 2^middle.bits middle ones:

        outer : (blocks, n + 1), inner : (n + 1, H), float64
            What outer and inner bits add to the inputs and, last, to the bias.
        middle : Middle, low : Low, chunks : Chunks
        sums : Scaled, (blocks,)
        weights : Scaled, (blocks, at least rows / M or H, M, lanes), or of no blocks
            Weights of the states, if they are kept.
        """
        y_here = cuda.shared.array(y_size, real, alignment=WIDE)
        p_here = cuda.shared.array(p_size, real, alignment=WIDE)
        q_here = cuda.shared.array(p_size, real, alignment=WIDE)
        row_mantissa = cuda.shared.array(rows, np.float64)
        row_exponent = cuda.shared.array(rows, np.int64)
        partial = cuda.shared.array(threads, np.float64)
        # sums of the threads, mantissa and exponent
        totals = cuda.shared.array(threads, np.float64)
        tops = cuda.shared.array(threads, np.int64)
        f = cuda.local.array(n_states, real)
        e = cuda.local.array(n_states, np.int32)
        y_mine = cuda.local.array(tile_lanes, real)

        block, me = cuda.blockIdx.x, cuda.threadIdx.x
        n_neurons, n_inner, n_middle = inner.shape[0] - 1, inner.shape[1], 1 << middle.bits
        high_bits = row_bits - middle.bits
        n_high = 1 << high_bits  # row m * n_high + h is middle state m of the h-th high state
        my_place, my_start = me & (n_high - 1), me >> high_bits
        first_row = (me >> column_bits) * tile_rows
        first_high, my_middle = first_row & (n_high - 1), first_row >> high_bits
        first_lane = (me & (columns - 1)) * tile_lanes
        to_row = first_row - first_high
        totals[me] = 0.0
        tops[me] = _NOTHING
        first = 0
        while first < n_inner:
            my_high = first + my_place
            partial[me] = 0.0
            for r in range(tile_rows):
                for v in range(tile_lanes):
                    f[r * tile_lanes + v] = low.mantissas[np.uint64(first_lane + v)]
                    e[r * tile_lanes + v] = 0
            begin = c = 0
            while c < chunks.ends.shape[0]:
                count = chunks.ends[c] - begin
                for j in range(me, count * lanes, threads):
                    y_here[np.uint64(j)] = low.y[np.uint64(begin * lanes + j)]
                for u in range(my_start, count, threads >> high_bits):
                    neuron = np.uint64(begin + u)
                    p, q = one, zero
                    if my_high < n_inner:
                        x = outer[block, neuron] + inner[neuron, np.uint64(my_high)]
                        on = x > 0.0
                        t = -abs(x)
                        small = zero
                        if t > (least if on else least_q):
                            small = real(power(t))
                        if on:
                            partial[me] += x
                        p, q = (small, one) if on else (one, small)
                    at = u * rows + my_place
                    p_here[np.uint64(at)] = p
                    for m in range(n_middle):
                        q_here[np.uint64(at + (m << high_bits))] = q * middle.z[neuron, np.uint64(m)]
                cuda.syncthreads()
                y_at, p_at = first_lane, first_high
                end = first_lane + count * lanes
                while y_at < end:
                    # unsigned places cannot count from the end, so neighbours are read together
                    for v in range(tile_lanes):
                        y_mine[v] = y_here[np.uint64(y_at + v)]
                    for r in range(tile_rows):
                        p = p_here[np.uint64(p_at + r)]
                        q = q_here[np.uint64(p_at + to_row + r)]
                        for v in range(tile_lanes):
                            f[r * tile_lanes + v] *= p + q * y_mine[v]
                    y_at += lanes
                    p_at += rows
                if chunks.strips[c]:
                    for r in range(tile_rows):
                        for v in range(tile_lanes):
                            e[r * tile_lanes + v] += exponent_of(f[r * tile_lanes + v]) - bias
                            f[r * tile_lanes + v] = mantissa_of(f[r * tile_lanes + v])
                cuda.syncthreads()
                begin = chunks.ends[c]
                c += 1

            for row in range(me, rows, threads):
                h = row & (n_high - 1)
                row_mantissa[row] = 1.0
                row_exponent[row] = NO_STATE
                if first + h < n_inner:
                    log = outer[block, n_neurons] + inner[n_neurons, first + h]
                    for j in range(h, threads, n_high):
                        log += partial[j]
                    whole = math.floor(log)
                    row_mantissa[row] = exp2(log - whole) * middle.mantissas[row >> high_bits]
                    row_exponent[row] = np.int64(whole) + middle.exponents[row >> high_bits]
            cuda.syncthreads()

            total, top = totals[me], tops[me]
            for r in range(tile_rows):
                of_row = row_exponent[np.uint64(first_row + r)]
                times = row_mantissa[np.uint64(first_row + r)]
                at = ((first + first_high + r << middle.bits) + my_middle << lane_bits) + first_lane
                for v in range(tile_lanes):
                    weight = np.float64(f[r * tile_lanes + v]) * times
                    exponent = e[r * tile_lanes + v] + of_row + low.exponents[np.uint64(first_lane + v)]
                    before = top
                    top = max(before, exponent)
                    total = total * scale(before - top) + weight * scale(exponent - top)
                    if keep:
                        weights.mantissas[block, np.uint64(at + v)] = weight
                        weights.exponents[block, np.uint64(at + v)] = exponent
            totals[me] = total
            tops[me] = top
            first += n_high

        left = threads // 2
        while left:
            cuda.syncthreads()
            if me < left:
                top = max(tops[me], tops[me + left])
                totals[me] = totals[me] * scale(tops[me] - top) + totals[me + left] * scale(tops[me + left] - top)
                tops[me] = top
            left //= 2
        if me == 0:
            sums.mantissas[block] = totals[0]
            sums.exponents[block] = tops[0]

    return sum_states


def entry_points() -> list[tuple[str, Any, Any]]:
    """Name, kernel and Numba signature of each kernel, for compilation without a GPU."""

    def array(kind: Any, n: int) -> Any:
        return types.Array(kind, n, "C")

    double, long, int32 = types.float64, types.int64, types.int32
    found = [
        ("add_outer_rows", add_outer_rows, types.void(long, array(double, 1), array(double, 2), array(double, 2))),
        ("take_logs", take_logs, types.void(array(double, 2), array(long, 2))),
    ]
    for real, shape in DEVICE_SHAPES.items():
        kind = types.float32 if real is np.float32 else double
        signature = types.void(
            array(double, 2),
            array(double, 2),
            tuple_type(Middle, long, array(kind, 2), array(double, 1), array(long, 1)),
            tuple_type(Low, array(kind, 1), array(kind, 1), array(long, 1)),
            tuple_type(Chunks, array(int32, 1), array(int32, 1)),
            tuple_type(Scaled, array(double, 1), array(long, 1)),
            tuple_type(Scaled, array(double, 2), array(long, 2)),
        )
        for keep in (False, True):
            name = f"sum_states_{kind}" + "_keep" * keep
            found.append((name, partition_kernel(real, shape, keep), signature))
    return found
