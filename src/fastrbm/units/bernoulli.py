"""Bernoulli unit, x in {0, 1}."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ._base import Unit, register, softplus


@register
class Bernoulli(Unit):
    """Binary unit: T(x) = x, cgf = log(1 + e^theta), mean = sigmoid(theta)."""

    name = "bernoulli"
    binary = True
    packed = True
    support = (0.0, 1.0)
    domain = "0 and 1 only"

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute the softplus of theta."""
        return softplus(theta)

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Compute the sigmoid of theta."""
        return expit(theta)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """1 where u < sigmoid(theta), written u (1 + e^-theta) < 1: no division, exact at both tails."""
        with np.errstate(over="ignore"):
            return (u * (1 + np.exp(-theta)) < 1).astype(theta.dtype)
