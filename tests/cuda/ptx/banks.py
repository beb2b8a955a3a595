"""Shared memory as its banks see it: what the accesses of a warp cost, from their addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import runtime

BANKS, WORD, LANES = 32, 4, 32
_RECORD = np.dtype([("line", "u4"), ("thread", "u4"), ("address", "u4"), ("size", "u4")])


@contextmanager
def traced(most: int = 1 << 20) -> Iterator[list[NDArray[Any]]]:
    """Within the block accesses of the first warp of the first block are noted, at most so many.

    At its end the list that is given holds them: an array with the fields line (of the text), thread, address (in
    bytes, from the beginning of shared memory) and size (bytes of the access, of a vector all of them).
    """
    library, held, found = runtime(), np.zeros(most, _RECORD), []
    pointer = ctypes.c_void_p.in_dll(library, "traced")
    number, limit = (ctypes.c_int64.in_dll(library, name) for name in ("n_traced", "most_traced"))
    pointer.value, number.value, limit.value = held.ctypes.data, 0, most
    try:
        yield found
    finally:
        pointer.value = None
        found.append(held[: number.value].copy())


def cost(accesses: NDArray[Any]) -> tuple[int, int]:
    """(Cycles that the accesses take, and those they would take if no two wanted one bank for different words).

    The k-th access of a line by each thread of the warp belong together. A warp reads 4 bytes a thread at once, of 8
    bytes half a warp and of 16 a quarter; threads that want the same word share it.
    """
    taken = least = 0
    for line in np.unique(accesses["line"]):
        of_line = accesses[accesses["line"] == line]
        turns = np.zeros(len(of_line), np.int64)
        for thread in np.unique(of_line["thread"]):
            mine = of_line["thread"] == thread
            turns[mine] = np.arange(mine.sum())
        size = int(of_line["size"][0])
        at_once = LANES * WORD // max(WORD, size)
        groups = turns * LANES + of_line["thread"] // at_once
        for group in np.unique(groups):
            words = np.unique(
                (of_line["address"][groups == group][:, None] + np.arange(0, max(size, 1), WORD)).ravel() // WORD
            )
            taken += int(np.bincount(words % BANKS).max())
            least += -(-len(words) // BANKS)
    return taken, least
