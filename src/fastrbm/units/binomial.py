"""Binomial unit, x in {0, ..., n}."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln

from .._checks import check_integer
from ._base import Unit, read_integer, register, softplus

#: largest n: e^-n softplus(0) = 2^-n stays far from underflow, and counts fit a byte
MOST_TRIALS = 255


@register
class Binomial(Unit):
    """Sum of n binary units with the same parameters: T(x) = x, base = log C(n, x).

    cgf = n log(1 + e^theta), mean = n sigmoid(theta). For grey values of n + 1 levels, and as the replicated units of
    Teh and Hinton.

    Parameters
    ----------
    n : int
        Largest value, 1 to 255.

    References
    ----------
    Teh and Hinton, "Rate-coded restricted Boltzmann machines for face recognition", NIPS 2000.
    """

    name = "binomial"
    weighted = True

    n: int

    def __init__(self, n: int):
        object.__setattr__(self, "n", check_integer("n of units 'binomial'", n, 1, MOST_TRIALS))

    @classmethod
    def from_text(cls, text: str) -> Binomial:
        """Make the unit of the text of its n."""
        return cls(read_integer("n of units 'binomial'", text, MOST_TRIALS))

    @property
    def parameters(self) -> tuple[int]:
        """The one parameter is n."""
        return (self.n,)

    @property
    def support(self) -> tuple[float, ...]:
        """Units take the whole numbers from 0 to n."""
        return tuple(float(x) for x in range(self.n + 1))

    @property
    def domain(self) -> str:
        """Values are whole numbers."""
        return f"whole numbers from 0 to {self.n}"

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute n times the softplus of theta."""
        return self.n * softplus(theta)

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """N times the sigmoid of theta."""
        return self.n * expit(theta)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """Inverse of the distribution function at 1 - u, so that n = 1 makes the decisions of a Bernoulli unit.

        Sums of probabilities start at the end that is more probable, from where they cannot underflow; float64.
        """
        u = u.astype(np.float64)
        down = -np.abs(theta.astype(np.float64))
        odds = np.exp(down)
        term = np.exp(-self.n * softplus(down))
        total, share = term.copy(), np.where(theta > 0, u, 1 - u)
        count = np.zeros(theta.shape)
        for k in range(self.n):
            more = total <= share
            if not more.any():
                break
            count += more
            term *= odds * ((self.n - k) / (k + 1))
            total += term
        return np.where(theta > 0, self.n - count, count).astype(theta.dtype)

    def base(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of log C(n, x)."""
        x = x.astype(np.float64)
        return (gammaln(self.n + 1) - gammaln(x + 1) - gammaln(self.n - x + 1)).sum(axis=-1)

    def outside(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Anything but whole numbers from 0 to n."""
        return ~((x >= 0) & (x <= self.n) & (x == np.floor(x)))
