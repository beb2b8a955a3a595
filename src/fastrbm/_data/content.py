"""An order of rows that depends on what they hold, not on where they stand.

Shuffled training begins from it, so that the same rows in another order, and rows that are repeated instead of
weighted, give the same model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import PackedBits, States, as_dense, on_host
from . import Rows


def content_order(data: Rows, weights: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """Row numbers by a hash of their states, and by their weights where these are the same.

    Rows that are equal, in both, come in the order in which they stand, which then makes no difference.
    """
    return order_of(data.contents(), weights)


def order_of(pieces: Iterable[States], weights: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """`content_order` of rows that come in pieces; numbers of classes may take the place of weights."""
    found = hashes_of(pieces)
    if weights is None:
        return np.argsort(found, kind="stable")
    return np.lexsort((weights, found))


def hashes_of(pieces: Iterable[States]) -> NDArray[np.uint64]:
    """Hashes of rows that come in pieces."""
    return np.concatenate([_hashes(states) for states in pieces])


def _hashes(states: Any) -> NDArray[np.uint64]:
    """A number of 64 bits of every row: a sum of its words of 32 bits, each times a random odd number of its column.

    Two rows that differ have the same with probability 2^-32 at most, whatever they hold (Dietzfelbinger et al.,
    "A reliable randomized algorithm for the closest-pair problem", J. Algorithms 25 (1997), for the argument); then
    their order is that in which they stand.
    """
    states = on_host(states)
    if isinstance(states, PackedBits):
        words = np.ascontiguousarray(states.words).view(np.uint32)
    else:
        # in single precision, so that the type of the arithmetic changes no order; -0 becomes 0
        values = as_dense(states, np.float32)
        words = (np.ascontiguousarray(values, dtype=np.float32) + np.float32(0)).view(np.uint32)
    factors = _mixed(np.arange(words.shape[1], dtype=np.uint64)) | np.uint64(1)
    out = np.empty(len(words), dtype=np.uint64)
    step = max(1, _BLOCK // max(1, words.shape[1]))
    for first in range(0, len(words), step):
        part = words[first : first + step]
        out[first : first + step] = np.multiply(part, factors, dtype=np.uint64).sum(axis=1, dtype=np.uint64)
    return _mixed(out)


_BLOCK = 1 << 18  # words at a time


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers of which every bit depends on all bits: the finaliser of splitmix64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
