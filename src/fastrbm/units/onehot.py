"""One-hot layer: exactly one unit of the layer is on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ._base import Unit, register


@register
class OneHot(Unit):
    """Layer of L units of which one is 1 and the others 0: a choice of one of L classes.

    T(x) = x; the cgf of the layer is the log-sum-exp of theta, the mean its softmax. L = 1 is a constant.
    """

    name = "onehot"
    layerwise = True
    support = (0.0, 1.0)
    domain = "one 1 in each row and 0 elsewhere"

    def statistics(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return x itself."""
        return x

    def cgf(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Log-sum-exp over the last axis, which stays with length 1."""
        top = theta.max(axis=-1, keepdims=True)
        return top + np.log(np.exp(theta - top).sum(axis=-1, keepdims=True))

    def mean(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Softmax over the last axis."""
        return softmax(theta, axis=-1)

    def sample(self, theta: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
        """Inverse of the distribution function at the first uniform of each row."""
        # float64: with float32 sums of many classes would favour the first ones
        wide = theta.astype(np.float64)
        cumulative = np.cumsum(np.exp(wide - wide.max(axis=-1, keepdims=True)), axis=-1)
        chosen = (cumulative <= u[..., :1] * cumulative[..., -1:]).sum(axis=-1, keepdims=True)
        return (np.arange(theta.shape[-1]) == chosen).astype(theta.dtype)

    def contains(self, x: NDArray[Any]) -> bool:
        """Whether all rows have one 1 and 0 elsewhere."""
        return super().contains(x) and bool((x.sum(axis=-1) == 1).all())

    def log2_states(self, n_units: int) -> float:
        """L states."""
        return math.log2(n_units)

    def states(self, first: int, stop: int, n_units: int) -> NDArray[np.float64]:
        """State k has unit k on."""
        return (np.arange(n_units) == np.arange(first, stop)[:, None]).astype(np.float64)
