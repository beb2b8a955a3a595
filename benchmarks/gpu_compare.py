"""How results of two backends are compared: one line for each comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastrbm._kernels.bits import PackedBits

#: share of draws that rounding of float32 may decide otherwise; some in a million do
_TIES = 1e-3


class Check(NamedTuple):
    """One comparison: how many values differ, of how many, and the largest error."""

    name: str
    different: int
    compared: int
    largest: float
    allowed: float  #: error that values may have; 0 where bits must be the same
    first: str = ""  #: where the first difference is
    broke: bool = False  #: its part ended with an error, after which a device may be of no use to this process

    @property
    def ok(self) -> bool:
        """Whether it is as it should be; false for NaN."""
        return self.largest <= self.allowed

    def __str__(self) -> str:
        said = "ok" if self.ok else "WRONG"
        return f"{said:5} {self.name}: {self.said}"

    @property
    def said(self) -> str:
        """What was found."""
        first = "" if self.ok or not self.first else f", first {self.first}"
        return f"{self.different} of {self.compared} differ, largest error {self.largest:.3g}{first}"


def _flattened(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, PackedBits):
        yield value.dense(np.uint8)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _flattened(part)
    else:
        yield np.atleast_1d(np.asarray(value))


def compare(name: str, got: Any, wanted: Any, allowed: float = 0.0) -> Check:
    """Compare results of two backends: arrays, bits, numbers, or sequences of them.

    The error is relative where the value wanted is above 1.
    """
    different, compared, largest, first = 0, 0, 0.0, ""
    for k, (g, w) in enumerate(zip(_flattened(got), _flattened(wanted), strict=True)):
        if g.shape != w.shape or g.dtype != w.dtype:
            return Check(f"{name} ({g.dtype} {g.shape} for {w.dtype} {w.shape})", w.size, w.size, np.inf, allowed)
        differs = g != w
        if differs.any() and not first:
            at = tuple(int(i) for i in np.argwhere(differs)[0])
            first = f"at {at} of array {k}: {g[at]!r} where {w[at]!r} was wanted"
        different += int(differs.sum())
        compared += w.size
        if w.size:
            wide = w.astype(np.float64)
            error = np.abs(g.astype(np.float64) - wide) / np.maximum(1, np.abs(wide))
            largest = float(max(largest, error.max())) if not np.isnan(error).any() else np.nan
        if np.isnan(largest):
            break
    return Check(name, different, compared, largest, allowed, first)


def ties(name: str, differs: np.ndarray) -> Check:
    """Count draws that differ where inputs are rounded in another way: few lie so close to their uniform number."""
    return Check(name, int(differs.sum()), differs.size, float(differs.mean()), _TIES)
