"""Products of bits with integers on tensor cores: exact sums of 32-bit weights.

A weight is four bytes. Bits times bytes summed in 32 bits are exact for as many inputs as there can be, and
``sum of byte l << 8 l`` modulo 2^32 is the sum of the weights, which the choice of their exponent keeps below 2^31
(`quantise.py`). So the sums are the integers of the CPU kernels, whatever the order.

One instruction (``mma.sync.m16n8k32``, unsigned bytes) multiplies 16 rows of 32 bits with 8 columns of 32 bytes. The
bits of a row are spread to bytes in registers; the bytes of the weights lie in memory in the order in which a warp
wants them (`fragments`), so that each thread reads those it needs for two instructions in one access of 16 bytes, next
to its neighbours'. The order of the 32 inputs within an instruction is free: it is the one in which a shift and a mask
spread four bits of a word.

    fragment [column // 8][input // 32][byte of the weight // 2][lane][byte of the weight % 2]   one uint64 each
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
#: the same of tiles whose warps have many products under way: fewer are enough, and their sums take more registers
_HELD_WITH_MANY_PRODUCTS, _HELD_WITH_MANY_VALUES = 384, 256
#: of the rows of shared sums: by it the eight rows that a warp writes at once, the four that it reads and the columns
#: of the gradient lie in different banks (no two, or two, of 32 accesses want one)
PITCH = WIDTH + 9

_ONES = np.uint32(0x01010101)
_NONE, _HALF = np.uint64(0), np.uint64(32)
_NO_TURN, _ONE_TURN, _FOUR = np.uint32(0), np.uint32(1), np.uint32(4)


class Tile(NamedTuple):
    """Shape of what one block computes: `warps_m` x `warps_n` warps of `m` x `n` instructions each.

    Products with the weights take `limbs` bytes of them: 4, or 2 where the lower two are zeros (`quantise.py`).
    """

    warps_m: int
    warps_n: int
    m: int
    n: int
    limbs: int = 4

    @property
    def rows(self) -> int:
        """Rows of a block, a multiple of 32."""
        return 16 * self.warps_m * self.m

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return LANES * self.warps_m * self.warps_n

    def blocks(self, many_values: bool = False) -> int:
        """Blocks that a processor is to hold, of a kernel that keeps `many_values` beside a product's or not."""
        held = THREADS_HELD
        if self.m * self.n >= 4:
            held = _HELD_WITH_MANY_VALUES if many_values else _HELD_WITH_MANY_PRODUCTS
        return held // self.threads


if SIMULATED:
    # one warp: a simulated thread costs more than what it does
    LARGE = SMALL = Tile(1, 1, 2, 4)
else:
    SMALL = Tile(2, 4, 1, 1)
    LARGE = Tile(2, 2, 2, 2)


def of_each_tile(name: str, make: Callable[[Tile], Any], limbs: int = 4) -> list[tuple[str, Any, Any]]:
    """(Name, kernel, signature) of a kernel for both tiles."""
    made = [(f"{name} {size}", make(tile._replace(limbs=limbs))) for size, tile in (("small", SMALL), ("large", LARGE))]
    return [(shaped, kernel, signature_of(kernel)) for shaped, kernel in made]


def fragment_size(n_columns: int, n_inputs: int) -> int:
    """Number of uint64 of a matrix of weights in the order of `fragments`."""
    return 4 * -(-n_columns // WIDTH) * -(-n_inputs // STEP) * FRAGMENT


@device
def spread(word, place):
    """Bits `place` (0 to 7), `place` + 8, + 16 and + 24 of a word as four bytes."""
    return np.uint32(shifted(np.uint32(word), np.uint32(place)) & _ONES)


@device
def this_thread():
    """Number of the thread in its block, as if it were not known before.

    Else all that follows from it would be found once, and take registers, or places in memory, through all of a pass.
    """
    return opaque(np.int32(cuda.threadIdx.x))


@device
def this_place():
    """Number of the thread in the grid, in the same way."""
    return np.int64(cuda.blockIdx.x) * cuda.blockDim.x + this_thread()


@device
def place_of(limb, lane):
    """Place of a thread's uint64 of a byte of the weights in the fragments of 8 columns and 32 inputs."""
    return 2 * LANES * (limb >> 1) + 2 * lane + (limb & 1)


@device
def input_of(lane, byte):
    """Input of a step whose integer is in a byte of a thread's fragment."""
    return 8 * (byte & 3) + 4 * (byte >> 2) + (lane & 3)


if SIMULATED:

    def shifted(word, by):
        """``word >> by``."""
        return np.uint32(word) >> np.uint32(by)

    def opaque(number):
        """The same number, of which compilers know nothing."""
        return number

    #: bytes between words, and between halves of pairs, as addresses have them; here an address is an index
    WORD_BYTES = LONG_BYTES = 1

    def address_of(array, index):
        """Where ``array[index]`` is."""
        return np.uint64(index)

    def words_from(array, address):
        """Two words one after the other as one, the first one at an even place."""
        return np.uint64(array[address]) | np.uint64(array[address + np.uint64(1)]) << np.uint64(32)

    def pair_from(array, address):
        """Two values one after the other, the first one at an even place."""
        return array[address], array[address + np.uint64(1)]

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
        # step, limb // 2, column, k % 4, limb % 2, k // 4 % 2, k // 8
        by = held.view(np.uint8).reshape(n_steps, n_limbs // 2, 8, 4, 2, 2, 4)
        limbs = np.ascontiguousarray(by.transpose(2, 0, 6, 5, 3, 1, 4)).reshape(8, -1)
        return limbs.view("<i4" if n_limbs == 4 else "<u2").reshape(8, n_steps * STEP).astype(np.int64)

else:
    from .mma import address_of, mma, opaque, pair_from, shifted, words_from

    WORD_BYTES, LONG_BYTES = 4, 8


def make_accumulate(tile: Tile, by_instruction: bool = not SIMULATED, n_limbs: int = 4, upper: bool = False):
    """Device function that adds up a warp's products.

    ``accumulate(words, at, n_steps, fragments, column_tile, lane, sums)``: ``sums[m, n, limb, r]`` is for the row whose
    words begin at ``words[at[2 m + r // 2]]``, an even place, and column ``2 (lane % 4) + r % 2`` of column tile
    ``column_tile + n``. Words are read two at a time, the last one perhaps in vain.

    Parameters
    ----------
    tile : Tile
    by_instruction : bool
        False: every simulated thread its own sums, which is faster there.
    n_limbs : int
        Bytes of an integer: 4, or 2 for integers without a sign.
    upper : bool
        The two bytes are the upper ones of integers of four.
    """
    n_m, n_n = tile.m, tile.n

    if not by_instruction:

        def direct(words, at, n_steps, fragments, column_tile, lane, sums):
            for n in range(n_n):
                weights = _coefficients(fragments, int(column_tile) + n, int(n_steps), 4 if upper else n_limbs)
                if upper:
                    weights = weights >> 16
                for m in range(2 * n_m):
                    row = [int(words[int(at[m]) + k]) for k in range(n_steps)]
                    bits = np.unpackbits(np.array(row, dtype="<u4").view(np.uint8), bitorder="little")
                    for r in range(2):
                        sums[m // 2, n, 0, 2 * (m % 2) + r] = low_word(weights[2 * (lane % 4) + r] @ bits)
                        for limb in range(1, n_limbs):
                            sums[m // 2, n, limb, 2 * (m % 2) + r] = 0

        return direct

    n_rows, bits_shape, bytes_shape = 2 * n_m, (n_m, 4), (n_n, n_limbs)
    fragment, n_pairs, before = (4 if upper else n_limbs) * LANES, n_limbs // 2, 2 * LANES if upper else 0
    pair = np.uint64(2 * LANES * LONG_BYTES)
    of_step = np.uint64(fragment * LONG_BYTES)

    # Addresses are kept, not indices, of which each turn of the loop would make addresses: with them it did more
    # arithmetic on these than products.
    @device
    def load_bytes(fragments, places, ahead, eight):
        for n in range(n_n):
            for k in range(n_pairs):
                two = pair_from(fragments, places[n] + (ahead + np.uint64(k) * pair))
                eight[n, 2 * k], eight[n, 2 * k + 1] = two[0], two[1]

    @device
    def spread_all(both, half, place, spread_bits):
        for m in range(n_rows):
            moved = shifted(np.uint32(both[m] >> half), place)
            spread_bits[m >> 1, m & 1] = moved & _ONES
            spread_bits[m >> 1, (m & 1) + 2] = shifted(moved, _FOUR) & _ONES

    @device
    def multiply(spread_bits, eight, sums):
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

    # What the next step wants is on its way while this one multiplies. Two steps take turns with two sets of registers:
    # nothing is moved between these, words come in pairs, and addresses are added to once for both.
    @device
    def accumulate(words, at, n_steps, fragments, column_tile, lane, sums):
        for m in range(n_m):
            for n in range(n_n):
                for limb in range(n_limbs):
                    for r in range(4):
                        sums[m, n, limb, r] = 0
        place = np.uint32(lane & 3)  # of the bits that this thread spreads
        both, spread_bits = cuda.local.array(n_rows, np.uint64), cuda.local.array(bits_shape, np.uint32)
        even, odd = cuda.local.array(bytes_shape, np.uint64), cuda.local.array(bytes_shape, np.uint64)
        places = cuda.local.array(n_n, np.uint64)
        for m in range(n_rows):
            at[m] = address_of(words, at[m])
            both[m] = words_from(words, at[m])
        for n in range(n_n):
            places[n] = address_of(fragments, np.uint64((column_tile + n) * n_steps * fragment + 2 * lane + before))
        now = cuda.local.array(n_n, np.uint64)
        load_bytes(fragments, places, _NONE, even)
        turns = np.uint32((n_steps - 1) >> 1)
        far, farther = np.uint32(0), np.uint32(0)
        while far != np.uint32(turns * np.uint32(2 * WORD_BYTES)):
            for n in range(n_n):
                now[n] = places[n] + np.uint64(farther)
            load_bytes(fragments, now, of_step, odd)
            spread_all(both, _NONE, place, spread_bits)
            multiply(spread_bits, even, sums)
            spread_all(both, _HALF, place, spread_bits)
            far = np.uint32(far + np.uint32(2 * WORD_BYTES))
            farther = np.uint32(farther + np.uint32(2 * fragment * LONG_BYTES))
            for m in range(n_rows):
                both[m] = words_from(words, at[m] + np.uint64(far))
            load_bytes(fragments, now, of_step + of_step, even)
            multiply(spread_bits, odd, sums)
        for n in range(n_n):
            places[n] += np.uint64(farther)
        if n_steps & 1 == 0:
            load_bytes(fragments, places, of_step, odd)
        spread_all(both, _NONE, place, spread_bits)
        multiply(spread_bits, even, sums)
        if n_steps & 1 == 0:
            spread_all(both, _HALF, place, spread_bits)
            multiply(spread_bits, odd, sums)

    return accumulate


def make_product(tile: Tile, by_instruction: bool = not SIMULATED, n_limbs: int = 4, upper: bool = False):
    """Device function of a block: the products of a tile.

    ``product(rows, row0, fragments, n_steps, column0, shared)`` leaves the sums of ``tile.rows`` of the `Rows` from
    `row0` on and 32 columns from `column0` on in ``shared[row, column]``; in the place of rows from n on there is
    anything. All threads of the block call it, and must meet before they change `shared` again.
    """
    accumulate, lowest = make_accumulate(tile, by_instruction, n_limbs, upper), 2 if upper else 0
    n_m, n_n, warps_n = tile.m, tile.n, tile.warps_n
    sums_shape, n_held = (n_m, n_n, n_limbs, 4), 2 * n_m

    @device
    def product(rows, row0, fragments, n_steps, column0, shared):
        sums = cuda.local.array(sums_shape, np.int32)
        starts = cuda.local.array(n_held, np.uint64)
        thread = this_thread()
        lane, warp = thread & 31, thread >> 5
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
                        total += np.int64(sums[m, j, limb, r]) << (8 * (limb + lowest))
                    row = corner + 16 * m + 8 * (r >> 1) + (lane >> 2)
                    shared[row, column + 8 * j + 2 * (lane & 3) + (r & 1)] = low_word(total)
        cuda.syncthreads()

    return product


def make_product_of_weights(tile: Tile):
    """`make_product` with as many bytes of the weights as the tile takes."""
    return make_product(tile, n_limbs=tile.limbs, upper=tile.limbs == 2)


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
