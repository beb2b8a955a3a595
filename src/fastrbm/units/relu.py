"""Rectified unit, x >= 0: a normal distribution cut off at 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr, ndtri

from ._base import Unit, register

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_PI = math.sqrt(0.5 * math.pi)
#: below, mean and draws, of the size 1 / |theta|, are found without subtracting numbers of the size of theta
_FAR = -6.0


@register
class ReLU(Unit):
    """Normal unit of variance 1 truncated to x >= 0.

    T(x) = x, base = -x^2 / 2, cgf = theta^2 / 2 + log Phi(theta) + log(2 pi) / 2, mean = theta + phi(theta) /
    Phi(theta), phi and Phi being the density and distribution function of the standard normal. The mean is a smooth
    rectifier: theta where that is large, -1 / theta where it is far below 0. It is an exponential family, so energies
    and exact sums hold for it; the noisy rectified unit max(0, theta + noise) is none (Nair and Hinton, "Rectified
    linear units improve restricted Boltzmann machines", ICML 2010).

    References
    ----------
    Su, Liao, Chen and Carin, "Nonlinear statistical learning with truncated Gaussian graphical models", ICML 2016;
    Su, Liao, Li, Gan and Carin, "Unsupervised learning with truncated Gaussian graphical models", AAAI 2017.
    """

    name = "relu"
    domain = "finite numbers of at least 0"
    weighted = True

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log of the integral over x >= 0 of exp(theta x - x^2 / 2)."""
        # below 0 theta^2 / 2 cancels the leading term of log Phi: erfcx is Phi without it
        low = np.log(0.5 * erfcx(np.maximum(-theta, 0) * theta.dtype.type(_ROOT_HALF)))
        high = np.maximum(theta, 0)
        value = np.where(theta < 0, low, 0.5 * np.square(high) + log_ndtr(high))
        return value + theta.dtype.type(_HALF_LOG_TWO_PI)

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Theta + phi / Phi, by the continued fraction of Mills' ratio where theta is far below 0."""
        wide = theta.astype(np.float64)
        near = np.maximum(wide, _FAR)
        with np.errstate(over="ignore"):  # erfcx of -theta is infinite for large theta: phi / Phi is 0
            value = near + 1 / (_ROOT_HALF_PI * erfcx(-near * _ROOT_HALF))
        far = wide < _FAR
        if far.any():
            value[far] = _far_mean(-wide[far])
        return value.astype(theta.dtype, copy=False)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """Inverse of the distribution function at u."""
        wide, u = theta.astype(np.float64), u.astype(np.float64)
        inside = ndtr(wide)
        # P(normal < x - theta) and its complement: the smaller of the two keeps its digits
        below, above = ndtr(-wide) + u * inside, (1 - u) * inside
        z = ndtri(np.minimum(below, above))
        value = np.maximum(wide + np.where(below < above, z, -z), 0)
        far = wide < _FAR
        if far.any():
            value[far] = _far_sample(-wide[far], u[far])
        return value.astype(theta.dtype, copy=False)

    def base(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Minus half the squared length."""
        return -0.5 * np.square(x, dtype=np.float64).sum(axis=-1)

    def outside(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Negative numbers, infinity, not a number."""
        return ~((x >= 0) & np.isfinite(x))


def _far_mean(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean at theta = -t: 1 / (t + 2 / (t + 3 / (t + ...))), to rounding from t = 6 on."""
    tail = t
    for k in range(20, 1, -1):
        tail = t + k / tail
    return 1 / tail


def _far_sample(t: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw at theta = -t: the x above which the share is 1 - u.

    The log of the share above x is -t x - x^2 / 2 + log R(t + x) / R(t), R being Mills' ratio. Without the ratio it is
    x = 2 e / (t + sqrt(t^2 + 2 e)), e = -log(1 - u). Newton steps do the rest, whose derivative is -1 / R(t + x): from
    t = 6 on three of them reach rounding.
    """
    e = -np.log1p(-u)
    x = 2 * e / (t + np.sqrt(np.square(t) + 2 * e))
    at_zero = erfcx(t * _ROOT_HALF)
    for _ in range(3):
        ratio = erfcx((t + x) * _ROOT_HALF)
        x = x + (e - x * (t + 0.5 * x) + np.log(ratio / at_zero)) * _ROOT_HALF_PI * ratio
    return np.maximum(x, 0)
