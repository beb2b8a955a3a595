"""What a unit is, and the registry of unit types.

A unit is an exponential family ``p(x | theta) = exp(theta * T(x) - cgf(theta))`` whose natural parameter ``theta``
is its bias plus the input from the other layer. Everything else - energies, conditionals, exact sums - follows from
the four formulas below.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class Unit:
    """Contract of a unit type. Subclasses are stateless and registered once.

    All methods work elementwise on float32 or float64 arrays and keep the dtype.
    """

    #: registry name; kernels look their fast versions up under it
    name: ClassVar[str]
    #: True when a state is one bit, so that layers can be stored packed
    binary: ClassVar[bool] = False
    #: the values a unit can take, or None where they cannot be listed
    support: ClassVar[tuple[float, ...] | None] = None

    def statistics(self, x: NDArray[Any]) -> NDArray[Any]:
        """Sufficient statistic T(x)."""
        raise TypeError(f"unit {self.name!r} does not define statistics")

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log-partition of one unit, log of the sum over x of exp(theta * T(x))."""
        raise TypeError(f"unit {self.name!r} does not define cgf")

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Expected T(x), the derivative of `cgf`."""
        raise TypeError(f"unit {self.name!r} does not define mean")

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """State drawn with the uniform(s) `u` in (0, 1), same shape as `theta`."""
        raise TypeError(f"unit {self.name!r} does not define sample")


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
