"""Between the parameters an estimator shows and those the kernels take: temperature, and standard deviations.

Kernels know Gaussian units of variance 1 only. With v = sigma x, the published energies

    E = sum_i (v_i - a_i)^2 / (2 sigma_i^2) - sum_i v_i (W^T h)_i / sigma_i^kappa - b.h

are those of x with the biases a / sigma and the weights W sigma^(1 - kappa). kappa = 1, "sigma", is the scaling of
Krizhevsky (2009) and of Hinton's practical guide (2010); kappa = 2, "variance", that of Cho, Ilin, Raiko (ICANN 2011).
A temperature divides the energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import Parameters

#: kappa of the named scalings
SCALINGS = {"sigma": 1, "variance": 2}


@dataclass(frozen=True)
class VisibleScale:
    """How shown parameters become those of kernels.

    Attributes
    ----------
    beta : float
        Inverse temperature.
    sigma : ndarray, shape (n_visible,), or None
        Standard deviations of Gaussian visible units given the hidden ones; None for other units.
    kappa : int
        See above.
    offset : ndarray, shape (n_visible,), or None
        Means of the columns, for training on standardised rows (v - offset) / sigma: with these, gradients know nothing
        of where the zero of a column is.
    """

    beta: float = 1.0
    sigma: NDArray[Any] | None = None
    kappa: int = 1
    offset: NDArray[Any] | None = None

    @property
    def trivial(self) -> bool:
        """Whether the two kinds of parameters are known to be the same."""
        if self.beta != 1.0 or self.sigma is None:
            return self.beta == 1.0
        return isinstance(self.sigma, np.ndarray) and bool((self.sigma == 1).all())

    def to_kernels(self, shown: Parameters) -> Parameters:
        """Parameters of the standardised layers."""
        if self.trivial:
            return shown
        weights, visible_bias, hidden_bias = shown
        dtype = weights.dtype
        beta = dtype.type(self.beta)
        weights, visible_bias, hidden_bias = beta * weights, beta * visible_bias, beta * hidden_bias
        if self.sigma is not None:
            sigma = self.sigma.astype(dtype)
            visible_bias = visible_bias / sigma
            if self.kappa == 2:
                weights = weights / sigma
        return Parameters(_contiguous(weights, dtype), visible_bias, hidden_bias)

    def rows(self, given: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Rows of the standardised layer."""
        if self.sigma is None or (self.trivial and self.offset is None):
            return given
        if self.offset is not None:
            given = given - self.offset.astype(dtype)
        return _contiguous(given / self.sigma, dtype)

    def for_training(self, shown: Parameters) -> Parameters:
        """Parameters of the layers with `rows`."""
        kernels = self.to_kernels(shown)
        if self.sigma is None or self.offset is None:
            return kernels
        dtype = kernels.weights.dtype
        sigma, offset = self.sigma.astype(dtype), self.offset.astype(dtype)
        return kernels._replace(
            visible_bias=(shown.visible_bias - offset) / sigma,
            # an order of our own: that of BLAS depends on the processor
            hidden_bias=kernels.hidden_bias + (kernels.weights * (offset / sigma)).sum(axis=1),
        )

    def follow(self, shown: Parameters, before: Parameters, after: Parameters, now: VisibleScale) -> None:
        """Move shown parameters as those of `for_training` went, while the scale went from this one to `now`.

        Differences are added, so that what did not move keeps its bits.
        """
        assert self.sigma is not None and now.sigma is not None
        dtype = shown.weights.dtype
        sigma = self.sigma.astype(dtype)
        moved = after.weights - before.weights
        moved *= sigma if self.kappa == 2 else dtype.type(1)
        shown.hidden_bias[...] += after.hidden_bias - before.hidden_bias
        if self.offset is not None:
            powers = [x if self.kappa == 1 else x * x for x in (self.sigma, now.sigma)]
            was, becomes = ((self.offset / power).astype(dtype) for power in powers)
            drift = moved * becomes
            if now is not self:
                drift += shown.weights * (becomes - was)
            shown.hidden_bias[...] -= drift.sum(axis=1)
        shown.weights[...] += moved
        shown.visible_bias[...] += sigma * (after.visible_bias - before.visible_bias)

    def shown_weights(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Weights that `to_kernels` turns into these, at temperature 1."""
        return weights * self.sigma if self.sigma is not None and self.kappa == 2 else weights

    def gradient_of_shown(self, gradient: Parameters) -> Parameters:
        """Gradient of the shown parameters from that of the kernels': the same factors."""
        return self.to_kernels(gradient)

    def gradient_of_kernels(self, gradient: Parameters) -> Parameters:
        """Gradient of the kernels' parameters from that of the shown ones, at temperature 1."""
        if self.sigma is None:
            return gradient
        sigma = self.sigma.astype(gradient.weights.dtype)
        weights = gradient.weights * sigma if self.kappa == 2 else gradient.weights
        return Parameters(weights, gradient.visible_bias * sigma, gradient.hidden_bias)

    def variance_gradient(self, squares: NDArray[Any], of_both: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """Mean of d(-E)/d(log sigma^2) over states.

        Parameters
        ----------
        squares : ndarray, shape (n_visible,)
            Mean of (x - a / sigma)^2.
        of_both : ndarray, shape (n_hidden, n_visible)
            Mean of h x.
        weights : ndarray
            The kernels'.
        """
        return 0.5 * squares - 0.5 * self.kappa * (weights * of_both).sum(axis=0)


def _contiguous(x: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The same values of a type, C-contiguous; arrays of a device are."""
    return np.ascontiguousarray(x, dtype=dtype) if isinstance(x, np.ndarray) else x.astype(dtype, copy=False)
