"""Different units side by side in one layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer
from ._base import Unit, get_unit, read_integer, register


@register
class Mixed(Unit):
    """Layer whose first columns are units of one type, the next of another, and so on: tables of mixed data.

    Every formula is that of a part on the columns of the part.

    Parameters
    ----------
    *parts : (unit, width)
        A unit or its spec, not mixed itself, and how many columns it has.

    Examples
    --------
    >>> from fastrbm.units import Mixed
    >>> str(Mixed(("gaussian", 3), ("onehot(4)", 8)))
    'mixed(gaussian*3,onehot(4)*8)'
    """

    name = "mixed"
    layerwise = True

    parts: tuple[tuple[Unit, int], ...]

    def __init__(self, *parts: tuple[str | Unit, int]):
        found = []
        for part in parts:
            if not isinstance(part, (tuple, list)) or len(part) != 2:
                raise ValueError(f"parts of units 'mixed' must be pairs (unit, width), got {part!r}")
            unit = get_unit(part[0])
            if isinstance(unit, Mixed):
                raise ValueError(f"parts of units 'mixed' must not be mixed themselves, got {unit.spec!r}")
            width = check_integer(f"the width of units {unit.spec!r} in units 'mixed'", part[1])
            unit.check_width(width)
            found.append((unit, width))
        if not found:
            raise ValueError("units 'mixed' must have at least one part (unit, width), got none")
        object.__setattr__(self, "parts", tuple(found))

    @classmethod
    def from_text(cls, text: str) -> Mixed:
        """Make the unit of parts "unit*width" with commas between them."""
        parts, depth, start = [], 0, 0
        for at, letter in enumerate(text + ","):
            depth += (letter == "(") - (letter == ")")
            if letter == "," and depth == 0:
                unit, star, width = text[start:at].rpartition("*")
                if not star:
                    raise ValueError(f"parts of units 'mixed' must be written unit*width, got {text[start:at]!r}")
                parts.append((unit, read_integer(f"the width of units {unit!r} in units 'mixed'", width)))
                start = at + 1
        return cls(*parts)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parts are the parameters, as text."""
        return tuple(f"{unit.spec}*{width}" for unit, width in self.parts)

    @property
    def finite(self) -> bool:
        """Whether the states of all parts can be listed."""
        return all(unit.finite for unit, _ in self.parts)

    @property
    def weighted(self) -> bool:
        """Whether a part has a base measure."""
        return any(unit.weighted for unit, _ in self.parts)

    @property
    def domain(self) -> str:
        """Name the values of each part in turn."""
        return "; ".join(f"{unit.domain} in {_columns(s)}" for unit, s in self._slices())

    def check_width(self, n_units: int) -> None:
        """Raise ValueError unless the layer is as wide as all parts together."""
        wanted = sum(width for _, width in self.parts)
        if n_units != wanted:
            raise ValueError(f"a layer of units {self.spec!r} must have {wanted} units, got {n_units}")

    def _slices(self) -> Iterator[tuple[Unit, slice]]:
        first = 0
        for unit, width in self.parts:
            yield unit, slice(first, first + width)
            first += width

    def _join(self, formula: Callable[..., NDArray[Any]], *arrays: NDArray[Any]) -> NDArray[Any]:
        """`formula` of every part on its columns, side by side."""
        self.check_width(arrays[0].shape[-1])
        return np.concatenate([formula(unit, *(x[..., s] for x in arrays)) for unit, s in self._slices()], axis=-1)

    def statistics(self, x: NDArray[Any]) -> NDArray[Any]:
        """Compute the statistics of the parts."""
        return self._join(lambda unit, part: unit.statistics(part), x)

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute the log-partitions of the parts."""
        return self._join(lambda unit, part: unit.cgf(part), theta)

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute the means of the parts."""
        return self._join(lambda unit, part: unit.mean(part), theta)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """Draw states of the parts; a unit's uniform is that of its column."""
        return self._join(lambda unit, part, uniform: unit.sample(part, uniform), theta, u)

    def base(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the logs of the base measures of the parts."""
        return np.sum([unit.base(x[..., s]) for unit, s in self._slices()], axis=0)

    def n_variables(self, n_units: int) -> int:
        """Add up the numbers of variables of the parts."""
        return sum(unit.n_variables(width) for unit, width in self.parts)

    def outside(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Find where the parts have no states."""
        return self._join(lambda unit, part: unit.outside(part), x)

    def cut(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Groups of the parts of which some units are free and some not."""
        return self._join(lambda unit, part: unit.cut(part), free)

    def first_state(self, n_units: int) -> NDArray[np.float64]:
        """Put the first states of the parts side by side."""
        return np.concatenate([unit.first_state(width) for unit, width in self.parts])

    def n_states(self, n_units: int) -> int:
        """Multiply the numbers of states of the parts."""
        return math.prod(unit.n_states(width) for unit, width in self.parts)

    def log2_states(self, n_units: int) -> float:
        """Add up the logs of the numbers of states of the parts."""
        return sum(unit.log2_states(width) for unit, width in self.parts)

    def states_at(self, numbers: NDArray[np.uint64], n_units: int) -> NDArray[np.float64]:
        """The state of the first part changes fastest."""
        columns = []
        for unit, width in self.parts:
            count = np.uint64(unit.n_states(width))
            columns.append(unit.states_at(numbers % count, width))
            numbers = numbers // count
        return np.concatenate(columns, axis=1)


def _columns(s: slice) -> str:
    return f"column {s.start}" if s.stop - s.start == 1 else f"columns {s.start} to {s.stop - 1}"
