"""Bit-packed layers: one bit per unit, rows of 64-bit words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .levels import GreyLevels

#: unit types of two values, whose states can be held as bits
BIT_UNITS = frozenset({"bernoulli", "ising"})


def n_words(n_units: int) -> int:
    """64-bit words that hold n_units bits."""
    return -(-n_units // 64)


@dataclass(frozen=True)
class PackedBits:
    """States of a binary layer, sample-major.

    Attributes
    ----------
    words : ndarray of uint64, shape (n_samples, ceil(n_units / 64)), C-contiguous
        Unit ``u`` of a sample is bit ``u % 64`` of its word ``u // 64``; bits past the last unit are zero.
    n_units : int
        Number of units.
    """

    words: NDArray[np.uint64]
    n_units: int

    def __len__(self) -> int:
        return self.words.shape[0]

    def __getitem__(self, rows: Any) -> PackedBits:
        """Rows by slice or index array."""
        return PackedBits(np.ascontiguousarray(self.words[rows]), self.n_units)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples and units, (n_samples, n_units)."""
        return self.words.shape[0], self.n_units

    def dense(self, dtype: Any = np.bool_) -> NDArray[Any]:
        """States as a dense array of 0 and 1, shape (n_samples, n_units)."""
        bits = np.unpackbits(self.words.view(np.uint8), axis=1, count=self.n_units, bitorder="little")
        return bits.view(np.bool_) if np.dtype(dtype) == np.bool_ else bits.astype(dtype)


#: states of a layer; bits and values that are on a device have a form of their own and stand for these, and so do
#: `GreyLevels`, where rows of data are asked for
States = PackedBits | NDArray[Any]


def are_bits(states: Any) -> bool:
    """Whether states are packed, wherever they are."""
    return hasattr(states, "words")


def on_host(states: Any) -> Any:
    """States or values that may be on a device, on the host."""
    if hasattr(states, "to_host"):
        return states.to_host()
    return states.copy_to_host() if getattr(states, "__cuda_ndarray__", False) else states


def as_dense(states: Any, dtype: Any) -> NDArray[Any]:
    """States as an array on the host: bits and grey levels as numbers of a type, values as they are."""
    states = on_host(states)
    return states.dense(dtype) if isinstance(states, PackedBits | GreyLevels) else states


def join_rows(parts: Sequence[Any]) -> Any:
    """Rows of several arrays of states of one kind, one below the other; a single array is not copied."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if hasattr(first, "joined"):  # on a device
        return first.joined(parts)
    if isinstance(first, GreyLevels):
        return GreyLevels(np.concatenate([x.values for x in parts]))
    if isinstance(first, PackedBits):
        return PackedBits(np.concatenate([x.words for x in parts]), first.n_units)
    return np.concatenate(parts)


def stored(states: Any) -> NDArray[Any]:
    """States as a model file keeps them: the words of bits, or values."""
    return states.words if isinstance(states, PackedBits) else states


def restored(array: NDArray[Any], n_units: int) -> States:
    """States that `stored` made this array of."""
    array = np.ascontiguousarray(array)
    packed = array.dtype == np.uint64
    wanted = n_words(n_units) if packed else n_units
    if array.ndim != 2 or array.shape[1] != wanted:
        raise ValueError(f"states of {n_units} units must have shape (n_samples, {wanted}), got {array.shape}")
    if not packed:
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8) or not np.isfinite(array).all():
            raise ValueError(f"states must be bits or finite float32 or float64 values, got {array.dtype}")
        return array
    surplus = n_units % 64
    if surplus and (array[:, -1] >> np.uint64(surplus)).any():
        raise ValueError(f"states of {n_units} units have bits beyond the last unit")
    return PackedBits(array, n_units)


def pack(states: NDArray[Any]) -> PackedBits:
    """Pack a dense array: non-zero is a set bit.

    Parameters
    ----------
    states : ndarray, shape (n_samples, n_units)
        Any dtype.
    """
    n_samples, n_units = states.shape
    packed = np.zeros((n_samples, 8 * n_words(n_units)), dtype=np.uint8)
    packed[:, : -(-n_units // 8)] = np.packbits(states.astype(np.bool_, copy=False), axis=1, bitorder="little")
    return PackedBits(packed.view(np.uint64), n_units)


def transpose(bits: PackedBits) -> PackedBits:
    """Unit-major copy: row ``u`` holds unit ``u`` of every sample."""
    return pack(bits.dense().T)
