"""What a unit is, and the registry of unit types.

A unit is an exponential family ``p(x | theta) = exp(theta * T(x) + base(x) - cgf(theta))`` whose natural parameter
``theta`` is its bias plus the input from the other layer. Everything else - energies, conditionals, exact sums -
follows from the formulas below.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class Unit:
    """Contract of a unit type. Subclasses are stateless and registered once.

    All methods work elementwise on float32 or float64 arrays and keep the dtype, unless they say otherwise.
    """

    #: registry name; kernels look their fast versions up under it
    name: ClassVar[str]
    #: True when a state is one bit, so that layers can be stored packed; a set bit is the larger value
    binary: ClassVar[bool] = False
    #: True when the units of a layer depend on each other given the other layer. The last axis is the layer then:
    #: `cgf` keeps it with length 1, so that its sum over the last axis is that of the layer for every unit
    layerwise: ClassVar[bool] = False
    #: the values a unit can take, in rising order, or None where they cannot be listed
    support: ClassVar[tuple[float, ...] | None] = None
    #: what rows of states hold, for messages
    domain: ClassVar[str] = "finite numbers only"

    def statistics(self, x: NDArray[Any]) -> NDArray[Any]:
        """Sufficient statistic T(x)."""
        raise TypeError(f"unit {self.name!r} does not define statistics")

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log-partition of one unit, log of the sum over x of exp(theta * T(x) + base(x))."""
        raise TypeError(f"unit {self.name!r} does not define cgf")

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Expected T(x), the derivative of `cgf`."""
        raise TypeError(f"unit {self.name!r} does not define mean")

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """State drawn with the uniform(s) `u` in (0, 1), same shape as `theta`."""
        raise TypeError(f"unit {self.name!r} does not define sample")

    def base(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Log of the base measure, summed over the last axis: what the energy of a layer has besides T(x); 0 here."""
        return np.zeros(x.shape[:-1])

    def contains(self, x: NDArray[Any]) -> bool:
        """Whether all rows are states of a layer."""
        return bool(np.isfinite(x).all() if self.support is None else np.isin(x, self.support).all())

    def log2_states(self, n_units: int) -> float:
        """Log to base 2 of the number of states of a layer; infinite where they cannot be listed."""
        return math.inf if self.support is None else n_units * math.log2(len(self.support))

    def states(self, first: int, stop: int, n_units: int) -> NDArray[np.float64]:
        """States number first, ..., stop - 1 of a layer as rows; with two values unit k is bit k of the number."""
        if self.support is None:
            raise TypeError(f"the states of units {self.name!r} cannot be listed")
        n_values = np.uint64(len(self.support))
        digits = np.arange(first, stop, dtype=np.uint64)[:, None] // n_values ** np.arange(n_units, dtype=np.uint64)
        return np.array(self.support)[(digits % n_values).astype(np.intp)]


_REGISTRY: dict[str, Unit] = {}


def register(cls: type[Unit]) -> type[Unit]:
    """Class decorator: make a unit type known under its name."""
    if cls.name in _REGISTRY:
        raise ValueError(f"unit {cls.name!r} is already registered")
    _REGISTRY[cls.name] = cls()
    return cls


def get_unit(name: str) -> Unit:
    """Look a unit type up.

    Parameters
    ----------
    name : str
        Registered name.

    Returns
    -------
    Unit

    Raises
    ------
    ValueError
        If there is no such unit.
    """
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ValueError(f"unit must be one of {unit_names()}, got {name!r}") from None


def unit_names() -> list[str]:
    """Names of all registered units, sorted."""
    return sorted(_REGISTRY)


def softplus(x: NDArray[Any]) -> NDArray[Any]:
    """Compute log(1 + exp(x)) without overflow or loss of small values."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
