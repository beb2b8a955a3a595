"""Bits as native chains hold them: words of 32 units by lanes, one lane a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits
from .runtime import extension as _cpu

_LANES = _cpu.CONSTANTS["LANES"]


def lanes(n: int) -> int:
    """Lanes are padded to this many."""
    return -(-n // _LANES) * _LANES


def to_words(bits: PackedBits) -> NDArray[np.uint32]:
    """Sample-major bits to words [word][lane], lanes padded."""
    out = np.zeros((2 * bits.words.shape[1], lanes(len(bits))), dtype=np.uint32)
    out[:, : len(bits)] = bits.words.view(np.uint32).T
    return out


def from_words(words: NDArray[np.uint32], n_samples: int, n_units: int) -> PackedBits:
    """Words [word][lane] back to sample-major bits."""
    rows = np.ascontiguousarray(words[:, :n_samples].T).view(np.uint64)
    if n_units % 64:
        rows[:, -1] &= np.uint64((1 << (n_units % 64)) - 1)
    return PackedBits(rows, n_units)
