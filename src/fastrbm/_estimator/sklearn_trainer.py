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
        theta = v @ self.weights.T
        theta += self.hidden_bias
        return expit(theta, out=theta)

    @property
    def parameters(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Weights, visible and hidden biases."""
        return self.weights, self.visible_bias, self.hidden_bias

    def batch(self, v: Any) -> None:
        """One minibatch of dense or CSR rows."""
        for value, step in zip(self.parameters, self._steps(v), strict=True):
            value += step

    def moved(self, v: Any) -> list[NDArray[Any]]:
        """Parameters after one minibatch, with which `put` goes on; the chains have moved."""
        steps = self._steps(v)
        for value, step in zip(self.parameters, steps, strict=True):
            step += value
        return steps

    def put(self, moved: list[NDArray[Any]]) -> None:
        """Go on with parameters of `moved`, in the arrays that there are."""
        for value, new in zip(self.parameters, moved, strict=True):
            value[...] = new

    def _steps(self, v: Any) -> list[NDArray[Any]]:
        """What one minibatch adds to the parameters; the chains move on."""
        data_means = self.hidden_means(v)
        theta = self.chains @ self.weights
        theta += self.visible_bias
        visible = self.rng.uniform(size=theta.shape) < expit(theta)
        model_means = self.hidden_means(visible)
        rate = float(self.learning_rate) / v.shape[0]
        gradient = (v.T @ data_means).T
        gradient -= model_means.T @ visible
        gradient *= rate  # in place: its memory is new, and as large as that of the weights
        hidden = rate * (np.add.reduce(data_means) - np.add.reduce(model_means))
        of_data = np.add.reduce(v) if isinstance(v, np.ndarray) else np.asarray(v.sum(axis=0)).ravel()
        of_visible = rate * (of_data - visible.sum(axis=0))
        on = self.rng.uniform(size=model_means.shape) < model_means
        self.chains = (on | (model_means >= 1)).astype(self.weights.dtype)
        return [gradient, of_visible, hidden]

    def epoch(self, x: Any, batch_size: int, on_batch: Callable[[], None] | None) -> None:
        """All rows in their order, the last minibatch as short as it comes."""
        for first in range(0, x.shape[0], batch_size):
            self.batch(x[first : first + batch_size])
            if on_batch is not None:
                on_batch()
