"""What a unit is, and the registry of unit types.

A unit is an exponential family ``p(x | theta) = exp(theta * T(x) + base(x) - cgf(theta))`` whose natural parameter
``theta`` is its bias plus the input from the other layer. Everything else - energies, conditionals, exact sums -
follows from the formulas below.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer


class Unit:
    """Contract of a unit type. Instances are immutable and equal where their `spec` is.

    All formulas work on float32 or float64 arrays whose last axis is the layer, and keep the dtype, unless they say
    otherwise. All but those of a `layerwise` unit are elementwise.
    """

    #: registry name, without parameters
    name: ClassVar[str]
    #: True when a state is one bit, so that layers can be stored packed; a set bit is the larger value
    binary: ClassVar[bool] = False
    #: True when states are the bits 0 and 1 themselves: backends return layers drawn as `PackedBits`
    packed: ClassVar[bool] = False
    #: True when what a unit does depends on its place in the layer or on its neighbours, so formulas need whole layers
    layerwise: ClassVar[bool] = False

    @property
    def support(self) -> tuple[float, ...] | None:
        """The values a unit can take, in rising order, or None where they cannot be listed or differ between units."""
        return None

    @property
    def domain(self) -> str:
        """What rows of states hold, for messages."""
        return "finite numbers only"

    @property
    def finite(self) -> bool:
        """Whether the states of a layer can be listed."""
        return self.support is not None

    @property
    def weighted(self) -> bool:
        """Whether `base` differs between states: then a temperature would leave the family."""
        return False

    @property
    def parameters(self) -> tuple[Any, ...]:
        """What stands between the parentheses of `spec`."""
        return ()

    @property
    def spec(self) -> str:
        """Name with parameters, such as "bernoulli" or "binomial(5)": ``get_unit(unit.spec) == unit``."""
        return self.name + (f"({','.join(map(str, self.parameters))})" if self.parameters else "")

    @classmethod
    def from_text(cls, text: str) -> Unit:
        """Unit from what stands between the parentheses of a spec."""
        raise ValueError(f"unit {cls.name!r} takes no parameters, got {text!r}")

    def __str__(self) -> str:
        return self.spec

    def __repr__(self) -> str:
        return f"get_unit({self.spec!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unit) and other.spec == self.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"units are immutable, so {name!r} of {self.spec!r} cannot be set")

    # ---- the family ---------------------------------------------------------------------------------------------

    def statistics(self, x: NDArray[Any]) -> NDArray[Any]:
        """Sufficient statistic T(x); x itself."""
        return x

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log-partition, log of the sum over x of exp(theta * T(x) + base(x)).

        One value a unit or, where units depend on each other, one a group of them: the sum over the last axis is that
        of the layer for every unit.
        """
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

    # ---- states -------------------------------------------------------------------------------------------------

    def check_width(self, n_units: int) -> None:
        """Raise ValueError unless a layer can have this many units."""

    def n_variables(self, n_units: int) -> int:
        """Number of variables of a layer; units that depend on each other count as one."""
        return n_units

    def outside(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Where rows are not states of a layer, same shape as `x`."""
        if self.support is None:
            return ~np.isfinite(x)
        wrong = np.ones(x.shape, dtype=np.bool_)
        for value in self.support:
            wrong &= x != value
        return wrong

    def cut(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where units depend on others of which some are free and some not, same shape as `free`."""
        return np.zeros(free.shape, dtype=np.bool_)

    def first_outside(self, x: NDArray[Any]) -> tuple[int, int] | None:
        """Row and column of the first value that keeps a row from being a state, or None."""
        wrong = self.outside(x)
        at = int(wrong.argmax()) if wrong.size else 0
        return divmod(at, x.shape[1]) if wrong.size and wrong.flat[at] else None

    def contains(self, x: NDArray[Any]) -> bool:
        """Whether all rows are states of a layer."""
        return not self.outside(x).any()

    def first_state(self, n_units: int) -> NDArray[np.float64]:
        """State to start a chain from: number 0 of those that can be listed, all 0 for real-valued units."""
        return self.states(0, 1, n_units)[0] if self.finite else np.zeros(n_units)

    def n_states(self, n_units: int) -> int:
        """Number of states of a layer."""
        if self.support is None:
            raise TypeError(f"the states of units {self.spec!r} cannot be listed")
        return len(self.support) ** n_units

    def log2_states(self, n_units: int) -> float:
        """Log to base 2 of the number of states of a layer; infinite where they cannot be listed."""
        return math.inf if self.support is None else n_units * math.log2(len(self.support))

    def states(self, first: int, stop: int, n_units: int) -> NDArray[np.float64]:
        """States number first, ..., stop - 1 of a layer as rows; with two values unit k is bit k of the number."""
        return self.states_at(np.arange(first, stop, dtype=np.uint64), n_units)

    def states_at(self, numbers: NDArray[np.uint64], n_units: int) -> NDArray[np.float64]:
        """States of the given numbers as rows."""
        if self.support is None:
            raise TypeError(f"the states of units {self.spec!r} cannot be listed")
        return np.array(self.support)[digits_of(numbers, len(self.support), n_units)]


def digits_of(numbers: NDArray[np.uint64], base: int, n_digits: int) -> NDArray[np.intp]:
    """Digits of numbers, lowest first, shape (len(numbers), n_digits)."""
    powers = np.uint64(base) ** np.arange(n_digits, dtype=np.uint64)
    return (numbers[:, None] // powers % np.uint64(base)).astype(np.intp)


_REGISTRY: dict[str, type[Unit]] = {}


def register(cls: type[Unit]) -> type[Unit]:
    """Class decorator: make a unit type known under its name."""
    if cls.name in _REGISTRY:
        raise ValueError(f"unit {cls.name!r} is already registered")
    _REGISTRY[cls.name] = cls
    return cls


def get_unit(unit: str | Unit) -> Unit:
    """Unit of a spec.

    Parameters
    ----------
    unit : str or Unit
        A registered name, with the parameters of the unit in parentheses where it has some: "bernoulli",
        "binomial(5)", "onehot(10)", "mixed(gaussian*3,bernoulli*2)". A `Unit` is returned as it is.

    Returns
    -------
    Unit

    Raises
    ------
    ValueError
        If there is no such unit.
    TypeError
        If `unit` is neither.
    """
    if isinstance(unit, Unit):
        return unit
    if not isinstance(unit, str):
        raise TypeError(f"unit must be a string or a fastrbm.units.Unit, got {unit!r}")
    name, opening, rest = unit.strip().partition("(")
    cls = _REGISTRY.get(name.strip())
    if cls is None or (opening and not rest.endswith(")")):
        raise ValueError(f"unit must be one of {unit_names()}, some with parameters in parentheses, got {unit!r}")
    if opening:
        return cls.from_text(rest[:-1])
    try:
        return cls()
    except TypeError:
        raise ValueError(f"unit {unit!r} needs parameters in parentheses, such as 'binomial(5)', got none") from None


def unit_names() -> list[str]:
    """Names of all registered units, sorted."""
    return sorted(_REGISTRY)


def read_integer(name: str, text: str, high: int | None = None) -> int:
    """Return the positive integer that a text spells; ValueError where it spells none, or one above `high`."""
    value: Any = text
    with suppress(ValueError):
        value = int(text)
    return check_integer(name, value, 1, high)


def softplus(x: NDArray[Any]) -> NDArray[Any]:
    """Compute log(1 + exp(x)) without overflow or loss of small values."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
