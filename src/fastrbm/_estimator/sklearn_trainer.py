"""Training that consumes NumPy's draws in scikit-learn's order: an oracle, and a check for those who migrate.

scikit-learn's ``BernoulliRBM`` trains by PCD-1 with one chain per row of a minibatch, adds the negative statistics
divided by the size of the *data* batch, and rounds a hidden mean of exactly 1 up to a sample. Repeating its draws
(normal weights, then for each minibatch uniforms for v and, after the update, for h) and its products gives its
parameters to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.utils.extmath import safe_sparse_dot


class SklearnTrainer:
    """Parameters and chains of one scikit-learn fit.

    Parameters
    ----------
    n_components, n_features, batch_size : int
    learning_rate : float
    rng : numpy.random.RandomState
        Consumed.
    dtype : numpy dtype
    """

    def __init__(
        self,
        n_components: int,
        n_features: int,
        batch_size: int,
        learning_rate: float,
        rng: Any,
        dtype: Any,
    ):
        weights = rng.normal(0, 0.01, (n_components, n_features))
        # the memory order decides how BLAS is called, and with it the last bits
        self.weights: NDArray[Any] = np.asarray(weights, order="F", dtype=dtype)
        self.hidden_bias: NDArray[Any] = np.zeros(n_components, dtype=dtype)
        self.visible_bias: NDArray[Any] = np.zeros(n_features, dtype=dtype)
        self.chains: NDArray[Any] = np.zeros((batch_size, n_components), dtype=dtype)
        self.learning_rate = learning_rate
        self.rng = rng

    def hidden_means(self, v: Any) -> NDArray[Any]:
        """Means of the hidden layer, shape (n_samples, n_components)."""
        theta = safe_sparse_dot(v, self.weights.T)
        theta += self.hidden_bias
        return expit(theta, out=theta)

    def batch(self, v: Any) -> None:
        """One minibatch of dense or CSR rows."""
        data_means = self.hidden_means(v)
        theta = self.chains @ self.weights
        theta += self.visible_bias
        visible = self.rng.uniform(size=theta.shape) < expit(theta)
        model_means = self.hidden_means(visible)
        rate = float(self.learning_rate) / v.shape[0]
        gradient = safe_sparse_dot(v.T, data_means, dense_output=True).T
        gradient -= model_means.T @ visible
        self.weights += rate * gradient
        self.hidden_bias += rate * (data_means.sum(axis=0) - model_means.sum(axis=0))
        self.visible_bias += rate * (np.asarray(v.sum(axis=0)).squeeze() - visible.sum(axis=0))
        on = self.rng.uniform(size=model_means.shape) < model_means
        self.chains = (on | (model_means >= 1)).astype(self.weights.dtype)

    def epoch(self, x: Any, batch_size: int, on_batch: Callable[[], None] | None) -> None:
        """All rows in their order, the last minibatch as short as it comes."""
        for first in range(0, x.shape[0], batch_size):
            self.batch(x[first : first + batch_size])
            if on_batch is not None:
                on_batch()
