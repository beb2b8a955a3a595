"""Private names of scikit-learn's ``BernoulliRBM`` that its users, and its own tests, call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SklearnHelpers:
    """Means and states of the layers of Bernoulli units, by NumPy's draws. Attributes are those of `BaseRBM`.

    As in scikit-learn a single row may have one dimension.
    """

    def _mean_hiddens(self: Any, v: Any) -> NDArray[Any]:
        if _is_one_row(v):
            return self._hidden_layer(np.asarray(v)[None])[0]
        return self._hidden_layer(v)

    def _sample_hiddens(self: Any, v: Any, rng: Any) -> NDArray[np.bool_]:
        p = self._mean_hiddens(v)
        return rng.uniform(size=p.shape) < p

    def _sample_visibles(self: Any, h: Any, rng: Any) -> NDArray[np.bool_]:
        weights, bias, _ = self._parameters()
        rows = np.asarray(h)[None] if _is_one_row(h) else np.asarray(h)
        if rows.ndim != 2 or rows.shape[1] != len(weights):
            raise ValueError(f"h must have shape (n_samples, {len(weights)}), got {np.shape(h)}")
        p = self._backend().means(
            self.units[0], np.ascontiguousarray(rows, weights.dtype), weights, bias, transpose=True
        )
        p = p[0] if rows.ndim != np.ndim(h) else p
        return rng.uniform(size=p.shape) < p

    def _free_energy(self: Any, v: Any) -> NDArray[np.float64]:
        return self.free_energy(v)


def _is_one_row(x: Any) -> bool:
    return np.ndim(x) == 1 and not hasattr(x, "tocsr")
