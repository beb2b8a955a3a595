"""Gaussian unit of variance 1; x is any real number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ._base import Unit, register

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@register
class Gaussian(Unit):
    """Normal unit: T(x) = x, base = -x^2 / 2, cgf = theta^2 / 2 + log(2 pi) / 2, mean = theta.

    The base measure is the standard normal density without its constant, so the energy of a layer has + x.x / 2.
    """

    name = "gaussian"
    weighted = True

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log of the integral of exp(theta x - x^2 / 2)."""
        return 0.5 * np.square(theta) + theta.dtype.type(_HALF_LOG_TWO_PI)

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Return theta itself."""
        return theta

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """Theta plus the normal quantile of u."""
        return (theta + ndtri(u)).astype(theta.dtype, copy=False)

    def base(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Minus half the squared length."""
        return -0.5 * np.square(x, dtype=np.float64).sum(axis=-1)
