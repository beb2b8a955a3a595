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
    """

    beta: float = 1.0
    sigma: NDArray[Any] | None = None
    kappa: int = 1

    @property
    def trivial(self) -> bool:
        """Whether the two kinds of parameters are the same."""
        return self.beta == 1.0 and (self.sigma is None or bool((self.sigma == 1).all()))

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
        return Parameters(np.ascontiguousarray(weights), visible_bias, hidden_bias)

    def shown_weights(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Weights that `to_kernels` turns into these, at temperature 1."""
        return weights * self.sigma if self.sigma is not None and self.kappa == 2 else weights

    def gradient_of_shown(self, gradient: Parameters) -> Parameters:
        """Gradient of the shown parameters from that of the kernels': the same factors."""
        return self.to_kernels(gradient)

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
