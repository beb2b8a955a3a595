"""One-hot units: exactly one of a group is on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from .._checks import check_integer
from ._base import Unit, digits_of, read_integer, register


@register
class OneHot(Unit):
    """Groups of neighbouring units of which one is 1 and the others 0: choices of one of k classes (softmax units).

    T(x) = x; the cgf of a group is the log-sum-exp of its theta, the mean its softmax. A group is drawn with the
    uniform of its first unit.

    Parameters
    ----------
    n_classes : int or None
        Units of a group, so a layer has a multiple of it; None makes the whole layer one group. 1 is a constant.

    References
    ----------
    Salakhutdinov, Mnih and Hinton, "Restricted Boltzmann machines for collaborative filtering", ICML 2007, eq. 1.
    """

    name = "onehot"
    packed = True
    layerwise = True
    support = (0.0, 1.0)

    n_classes: int | None

    def __init__(self, n_classes: int | None = None):
        number = None if n_classes is None else check_integer("n_classes of units 'onehot'", n_classes)
        object.__setattr__(self, "n_classes", number)

    @classmethod
    def from_text(cls, text: str) -> OneHot:
        """Make the unit of the text of its number of classes."""
        return cls(read_integer("n_classes of units 'onehot'", text))

    @property
    def parameters(self) -> tuple[int, ...]:
        """The number of classes is the one parameter, where it is given."""
        return () if self.n_classes is None else (self.n_classes,)

    @property
    def domain(self) -> str:
        """Each group has one 1."""
        if self.n_classes is None:
            return "one 1 in each row and 0 elsewhere"
        return f"one 1 in each {self.n_classes} neighbouring columns and 0 elsewhere"

    def check_width(self, n_units: int) -> None:
        """Raise ValueError unless the layer has whole groups."""
        if self.n_classes is not None and n_units % self.n_classes:
            raise ValueError(
                f"a layer of units {self.spec!r} must have a multiple of {self.n_classes} units, got {n_units}"
            )

    def groups(self, x: NDArray[Any]) -> NDArray[Any]:
        """Groups along a further axis."""
        width = x.shape[-1]
        self.check_width(width)
        size = self.n_classes or width
        return x.reshape(*x.shape[:-1], width // size, size)

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log-sum-exp of each group, shape (..., n_groups)."""
        groups = self.groups(theta)
        top = groups.max(axis=-1, keepdims=True)
        return (top + np.log(np.exp(groups - top).sum(axis=-1, keepdims=True)))[..., 0]

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute the softmax of each group."""
        return softmax(self.groups(theta), axis=-1).reshape(theta.shape)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """Inverse of the distribution function at the first uniform of each group."""
        # float64: with float32 sums of many classes would favour the first ones
        wide = self.groups(theta).astype(np.float64)
        cumulative = np.cumsum(np.exp(wide - wide.max(axis=-1, keepdims=True)), axis=-1)
        chosen = (cumulative <= self.groups(u)[..., :1] * cumulative[..., -1:]).sum(axis=-1, keepdims=True)
        return (np.arange(wide.shape[-1]) == chosen).astype(theta.dtype).reshape(theta.shape)

    def n_variables(self, n_units: int) -> int:
        """Number of groups."""
        return n_units // (self.n_classes or n_units)

    def outside(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Values that are neither 0 nor 1, every further 1 of a group, the first unit of a group without any."""
        groups = self.groups(x)
        on = groups == 1
        wrong = ~(on | (groups == 0))
        clean = ~wrong.any(axis=-1, keepdims=True)
        wrong |= clean & on & (np.cumsum(on, axis=-1) > 1)
        wrong[..., :1] |= clean & ~on.any(axis=-1, keepdims=True)
        return wrong.reshape(x.shape)

    def cut(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Groups of which some units are free and some not."""
        groups = self.groups(free)
        both = groups.any(axis=-1, keepdims=True) & ~groups.all(axis=-1, keepdims=True)
        return np.broadcast_to(both, groups.shape).reshape(free.shape)

    def n_states(self, n_units: int) -> int:
        """Product of k over the groups."""
        size = self.n_classes or n_units
        return size ** (n_units // size)

    def log2_states(self, n_units: int) -> float:
        """Log to base 2 of k for every group."""
        size = self.n_classes or n_units
        return n_units // size * math.log2(size)

    def states_at(self, numbers: NDArray[np.uint64], n_units: int) -> NDArray[np.float64]:
        """Digit g of the number, to base k, is the unit that is on in group g."""
        size = self.n_classes or n_units
        digits = digits_of(numbers, size, n_units // size)
        return (np.arange(size) == digits[..., None]).astype(np.float64).reshape(len(numbers), n_units)
