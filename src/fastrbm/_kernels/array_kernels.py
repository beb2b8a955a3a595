"""Kernels whose states and values are on a device, for what is composed of them there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .contract import Backend


class ArrayKernels(Backend):
    """Table of kernels that take and return values of a device, on which NumPy's operators and functions work.

    What `put` returns has ``[...]``, rows by slice or by what `indices` returns, ``astype``, ``copy`` and ``sum``. It
    is never copied to the host unless `get` is asked for it.
    """

    def put(self, x: Any, dtype: Any = None) -> Any:
        """Copy an array, bits or a tuple of them to the device; what is there already, and None, stays as it is.

        Grey levels, and values where a type is given, become values of that type.
        """
        raise TypeError(f"backend {self.name!r} lacks put")

    def get(self, x: Any) -> Any:
        """Copy to the host what `put` has copied, or what came of it."""
        raise TypeError(f"backend {self.name!r} lacks get")

    def indices(self, places: NDArray[Any]) -> Any:
        """Copy numbers of rows to the device, as rows there are indexed by."""
        raise TypeError(f"backend {self.name!r} lacks indices")

    def are_finite(self, arrays: Sequence[Any]) -> bool:
        """Whether all values are; anything but values is."""
        raise TypeError(f"backend {self.name!r} lacks are_finite")

    def room_for(self, n_bytes: float) -> bool:
        """Whether rows of so many bytes may stay on the device, beside all else."""
        raise TypeError(f"backend {self.name!r} lacks room_for")
