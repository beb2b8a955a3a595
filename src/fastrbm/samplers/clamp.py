"""Visible units that are held fixed while a chain runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._kernels import PackedBits, States, pack
from ..units import get_unit


@dataclass(frozen=True)
class Clamp:
    """Units that are held, and their states as kernels take them. Call it with states: it sets the held ones.

    Attributes
    ----------
    mask, values : PackedBits or ndarray, or None
        Both bits, or both dense; None where nothing is held.
    """

    mask: Any = None
    values: Any = None

    @property
    def nothing(self) -> bool:
        """Whether all units are free."""
        return self.mask is None

    @classmethod
    def of(
        cls, clamp: ArrayLike | None, n_samples: int, unit: str, weights: NDArray[Any], sigma: NDArray[Any] | None
    ) -> Clamp:
        """Make it of the option ``clamp``: visible values in the scale of the data, NaN where units are free."""
        if clamp is None:
            return cls()
        values = np.asarray(clamp, dtype=np.float64)
        n_features = weights.shape[1]
        if values.shape not in ((n_features,), (n_samples, n_features)):
            raise ValueError(
                f"clamp must have shape ({n_features},) or ({n_samples}, {n_features}), got {values.shape}"
            )
        values = np.broadcast_to(values, (n_samples, n_features))
        kind, free = get_unit(unit), np.isnan(values)
        _check(kind, values, free)
        if kind.binary or kind.packed:
            # spins are held as bits, and so are chains of them
            low = min(kind.support or (0.0,))
            return cls(pack(~free), pack(np.where(free, 0, values > low)))
        scaled = values if sigma is None else values / sigma
        return cls(~free, np.where(free, 0, scaled).astype(weights.dtype))

    def __call__(self, states: States) -> States:
        """States with the held units at their values."""
        if self.nothing:
            return states
        if isinstance(states, PackedBits):
            return PackedBits((states.words & ~self.mask.words) | self.values.words, states.n_units)
        return np.where(self.mask, self.values, states)


def _check(unit: Any, values: NDArray[np.float64], free: NDArray[np.bool_]) -> None:
    """Raise ValueError unless the held values are those of states, and whole groups are held or free."""
    cut = unit.cut(free)
    if cut.any():
        row, column = np.argwhere(cut)[0]
        raise ValueError(
            f"clamp must hold or free whole groups of {unit.spec!r} units, got a group with both in row {row}, from "
            f"column {column} on: NaN for all of its units, or a 1 and zeros"
        )
    wrong = ~free & unit.outside(np.where(free, _neutral(unit, values), values))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"clamp must hold {unit.domain} or NaN (free), got {values[row, column]:g} in row {row}, column {column}"
        )


def _neutral(unit: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """States that units can have, for the places of free ones."""
    return np.asarray(unit.sample(np.zeros_like(values), np.full_like(values, 0.5)))
