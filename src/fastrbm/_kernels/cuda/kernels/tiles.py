"""Products of bits with integers on tensor cores: exact sums of 32-bit weights.

A weight is four bytes. Bits times bytes summed in 32 bits are exact for as many inputs as there can be, and
``sum of byte l << 8 l`` modulo 2^32 is the sum of the weights, which the choice of their exponent keeps below 2^31
(`quantise.py`). So the sums are the integers of the CPU kernels, whatever the order.

One instruction (``mma.sync.m16n8k32``, unsigned bytes) multiplies 16 rows of 32 bits with 8 columns of 32 bytes. The
bits of a row are spread to bytes in registers; the bytes of the weights lie in memory in the order in which a warp
wants them (`fragments`), so that each thread reads the eight it needs in one access, next to its neighbours'. The order
of the 32 inputs within an instruction is free: it is the one in which a shift and a mask spread four bits of a word.

    fragment [column // 8][input // 32][byte of the weight][lane]   one uint64 each
    lane = 4 (column % 8) + input % 4;   byte = 4 (input % 8 // 4) + input % 32 // 8 of the uint64
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .arguments import signature_of
from .target import SIMULATED, cuda, device, low_word

STEP = 32  # inputs of one instruction
WIDTH = 32  # columns of a block, one word of bits
LANES = 32
FRAGMENT = 4 * LANES  # uint64 of 8 columns and 32 inputs
#: threads that a processor is to hold: with fewer the latency of memory shows, with more registers spill
THREADS_HELD = 512
#: rows of the shared sums are padded by one: columns of it are in different banks
PITCH = WIDTH + 1

_ONES = np.uint32(0x01010101)
_ONE = np.uint64(1)


class Tile(NamedTuple):
    """Shape of what one block computes: `warps_m` x `warps_n` warps of `m` x `n` instructions each."""

    warps_m: int
    warps_n: int
    m: int
    n: int

    @property
    def rows(self) -> int:
        """Rows of a block, a multiple of 32."""
        return 16 * self.warps_m * self.m

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return LANES * self.warps_m * self.warps_n


if SIMULATED:
    # one warp: a simulated thread costs more than what it does
    LARGE = SMALL = Tile(1, 1, 2, 4)
else:
    SMALL = Tile(2, 4, 1, 1)
    LARGE = Tile(2, 4, 2, 1)


def of_each_tile(name: str, make: Callable[[Tile], Any]) -> list[tuple[str, Any, Any]]:
    """(Name, kernel, signature) of a kernel for both tiles."""
    made = [(f"{name} {size}", make(tile)) for size, tile in (("small", SMALL), ("large", LARGE))]
    return [(shaped, kernel, signature_of(kernel)) for shaped, kernel in made]


def fragment_size(n_columns: int, n_inputs: int) -> int:
    """Number of uint64 of a matrix of weights in the order of `fragments`."""
    return 4 * -(-n_columns // WIDTH) * -(-n_inputs // STEP) * FRAGMENT


@device
def spread(word, place):
    """Bits `place` (0 to 7), `place` + 8, + 16 and + 24 of a word as four bytes."""
    return np.uint32(shifted(np.uint32(word), np.uint32(place)) & _ONES)


@device
def input_of(lane, byte):
    """Input of a step whose integer is in a byte of a thread's fragment."""
    return 8 * (byte & 3) + 4 * (byte >> 2) + (lane & 3)


if SIMULATED:

    def shifted(word, by):
        """``word >> by``."""
        return np.uint32(word) >> np.uint32(by)

    _operands: dict[Any, Any] = {}

    def mma(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
        """One instruction of a warp as its specification has it: what all lanes brought, then each lane's share."""
        lane = cuda.threadIdx.x % LANES
        _operands[cuda.threadIdx.x] = np.array([a0, a1, a2, a3, b0, b1], dtype="<u4").view(np.uint8).astype(np.int64)
        cuda.syncthreads()
        warp = cuda.threadIdx.x - lane
        a, b = np.zeros((16, 32), dtype=np.int64), np.zeros((32, 8), dtype=np.int64)
        for other in range(LANES):
            group, k = other // 4, 4 * (other % 4)
            held = _operands[warp + other].reshape(6, 4)
            for half in (0, 1):
                a[group, 16 * half + k : 16 * half + k + 4] = held[2 * half]
                a[group + 8, 16 * half + k : 16 * half + k + 4] = held[2 * half + 1]
                b[16 * half + k : 16 * half + k + 4, group] = held[4 + half]
        cuda.syncthreads()
        c = a @ b
        row, column = lane // 4, 2 * (lane % 4)
        return (
            np.int32(c0 + c[row, column]), np.int32(c1 + c[row, column + 1]),
            np.int32(c2 + c[row + 8, column]), np.int32(c3 + c[row + 8, column + 1]),
        )  # fmt: skip

    def _coefficients(fragments: Any, column_tile: int, n_steps: int, n_limbs: int) -> Any:
        """Integers of eight columns, shape (8, inputs)."""
        size = n_limbs * LANES
        at = column_tile * n_steps * size
        # the simulator wraps arrays of global memory once or twice, shared ones not at all
        array = getattr(getattr(fragments, "_item", fragments), "_ary", fragments)
        held = array[at : at + n_steps * size]
        by = held.view(np.uint8).reshape(n_steps, n_limbs, 8, 4, 2, 4)  # step, limb, column, k % 4, k // 4 % 2, k // 8
        limbs = np.ascontiguousarray(by.transpose(2, 0, 5, 4, 3, 1))
        return limbs.view("<i4" if n_limbs == 4 else "<u2").reshape(8, n_steps * STEP).astype(np.int64)

else:
    from .mma import mma, shifted


def make_accumulate(tile: Tile, by_instruction: bool = not SIMULATED, n_limbs: int = 4):
    """Device function that adds up a warp's products.

    ``accumulate(words, at, n_steps, fragments, column_tile, lane, sums)``: ``sums[m, n, limb, r]`` is for the row whose
    words begin at ``at[2 m + r // 2]`` and column ``2 (lane % 4) + r % 2`` of column tile ``column_tile + n``.

    Parameters
    ----------
    tile : Tile
    by_instruction : bool
        False: every simulated thread its own sums, which is faster there.
    n_limbs : int
        Bytes of an integer: 4, or 2 for integers without a sign.
    """
    n_m, n_n = tile.m, tile.n

    if not by_instruction:

        def direct(words, at, n_steps, fragments, column_tile, lane, sums):
            for n in range(n_n):
                weights = _coefficients(fragments, int(column_tile) + n, int(n_steps), n_limbs)
                for m in range(2 * n_m):
                    row = [int(words[int(at[m]) + k]) for k in range(n_steps)]
                    bits = np.unpackbits(np.array(row, dtype="<u4").view(np.uint8), bitorder="little")
                    for r in range(2):
                        sums[m // 2, n, 0, 2 * (m % 2) + r] = low_word(weights[2 * (lane % 4) + r] @ bits)
                        for limb in range(1, n_limbs):
                            sums[m // 2, n, limb, 2 * (m % 2) + r] = 0

        return direct

    n_rows, bits_shape, bytes_shape = 2 * n_m, (n_m, 4), (n_n, n_limbs)
    fragment, of_step = n_limbs * LANES, np.uint64(n_limbs * LANES)

    # Offsets are unsigned and only ever added to: Numba takes a signed index as one that may count from the end, and
    # the loop would do more arithmetic on addresses than products.
    @device
    def load(words, at, fragments, place, stride, bits, eight):
        for m in range(n_rows):
            bits[m] = words[at[m]]
            at[m] += _ONE
        for n in range(n_n):
            for limb in range(n_limbs):
                eight[n, limb] = fragments[place + np.uint64(n) * stride + np.uint64(LANES * limb)]

    @device
    def multiply(bits, eight, place, sums):
        spread_bits = cuda.local.array(bits_shape, np.uint32)
        for m in range(n_m):
            for half in range(2):
                spread_bits[m, half] = spread(bits[2 * m + half], place)
                spread_bits[m, half + 2] = spread(bits[2 * m + half], place + 4)
        for n in range(n_n):
            for limb in range(n_limbs):
                low = np.uint32(eight[n, limb] & np.uint64(0xFFFFFFFF))
                high = np.uint32(eight[n, limb] >> np.uint64(32))
                for m in range(n_m):
                    c = mma(
                        spread_bits[m, 0], spread_bits[m, 1], spread_bits[m, 2], spread_bits[m, 3], low, high,
                        sums[m, n, limb, 0], sums[m, n, limb, 1], sums[m, n, limb, 2], sums[m, n, limb, 3],
                    )  # fmt: skip
                    for r in range(4):
                        sums[m, n, limb, r] = c[r]

    @device
    def accumulate(words, at, n_steps, fragments, column_tile, lane, sums):
        for m in range(n_m):
            for n in range(n_n):
                for limb in range(n_limbs):
                    for r in range(4):
                        sums[m, n, limb, r] = 0
        place = lane & 3  # of the bits that this thread spreads
        now_bits, now_eight = cuda.local.array(n_rows, np.uint32), cuda.local.array(bytes_shape, np.uint64)
        bits = cuda.local.array(n_rows, np.uint32)
        eight = cuda.local.array(bytes_shape, np.uint64)
        stride = np.uint64(n_steps * fragment)
        start = np.uint64(column_tile) * stride + np.uint64(lane)
        load(words, at, fragments, start, stride, bits, eight)
        for _ in range(n_steps - 1):
            for m in range(n_rows):
                now_bits[m] = bits[m]
            for n in range(n_n):
                for limb in range(n_limbs):
                    now_eight[n, limb] = eight[n, limb]
            # what the next step wants is on its way while this one multiplies
            start += of_step
            load(words, at, fragments, start, stride, bits, eight)
            multiply(now_bits, now_eight, place, sums)
        multiply(bits, eight, place, sums)

    return accumulate


def make_product(tile: Tile, by_instruction: bool = not SIMULATED, n_limbs: int = 4):
    """Device function of a block: the products of a tile.

    ``product(rows, row0, fragments, n_steps, column0, shared)`` leaves the sums of ``tile.rows`` of the `Rows` from
    `row0` on and 32 columns from `column0` on in ``shared[row, column]``; in the place of rows from n on there is
    anything. All threads of the block call it, and must meet before they change `shared` again.
    """
    accumulate = make_accumulate(tile, by_instruction, n_limbs)
    n_m, n_n, warps_n = tile.m, tile.n, tile.warps_n
    sums_shape, n_held = (n_m, n_n, n_limbs, 4), 2 * n_m

    @device
    def product(rows, row0, fragments, n_steps, column0, shared):
        sums = cuda.local.array(sums_shape, np.int32)
        starts = cuda.local.array(n_held, np.uint64)
        lane, warp = cuda.threadIdx.x & 31, cuda.threadIdx.x >> 5
        corner, column = 16 * n_m * (warp // warps_n), 8 * n_n * (warp % warps_n)
        for m in range(n_held):
            row = rows.first + min(row0 + corner + 8 * m + (lane >> 2), rows.n - 1)
            if rows.order.size > 0:
                row = rows.order[row]
            starts[m] = np.uint64(row * rows.pitch)
        accumulate(rows.words, starts, n_steps, fragments, (column0 + column) // 8, lane, sums)
        for m in range(n_m):
            for j in range(n_n):
                for r in range(4):
                    total = np.int64(0)
                    for limb in range(n_limbs):
                        total += np.int64(sums[m, j, limb, r]) << (8 * limb)
                    row = corner + 16 * m + 8 * (r >> 1) + (lane >> 2)
                    shared[row, column + 8 * j + 2 * (lane & 3) + (r & 1)] = low_word(total)
        cuda.syncthreads()

    return product


@device
def pitch_of(n_neurons):
    """Words of a row of packed bits."""
    return 2 * ((n_neurons + 63) >> 6)


@device
def steps_of(n_inputs):
    """Instructions that a product over so many inputs takes."""
    return (n_inputs + STEP - 1) // STEP


@device
def fragment_of(values, limb):
    """Byte `limb` of eight integers as the uint64 of a thread: those of the inputs `input_of`."""
    eight = np.uint64(0)
    for b in range(8):
        byte = np.uint64((np.int64(values[b]) >> (8 * limb)) & 255)
        eight |= byte << np.uint64(8 * b)
    return eight
