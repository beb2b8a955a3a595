"""Ising unit, x in {-1, +1}."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import Unit, register


@register
class Ising(Unit):
    """Spin: T(x) = x, cgf = log(2 cosh(theta)), mean = tanh(theta)."""

    name = "ising"
    binary = True
    support = (-1.0, 1.0)
    domain = "-1 and +1 only (2 x - 1 for bits x)"

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log of 2 cosh(theta), written s + log(1 + e^(-2 s)), s = abs(theta): cosh itself overflows."""
        size = np.abs(theta)
        return size + np.log1p(np.exp(-2 * size))

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute the hyperbolic tangent of theta."""
        return np.tanh(theta)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """+1 where u < sigmoid(2 theta), in the form of the Bernoulli unit."""
        with np.errstate(over="ignore"):
            up = u * (1 + np.exp(-2 * theta)) < 1
        return np.where(up, theta.dtype.type(1), theta.dtype.type(-1))
