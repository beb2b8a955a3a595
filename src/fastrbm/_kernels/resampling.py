"""Which chains of populations go on: those that carry the weight, as often as they carry it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exponentials import exponentials


def relative(log_weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of each population relative to its largest one, and the log of the mean of the weights.

    Parameters
    ----------
    log_weights : ndarray, shape (n_populations, size)

    Returns
    -------
    (weights, log_mean) : tuple of arrays of float64, shapes (n_populations, size) and (n_populations,)
    """
    top = log_weights.max(axis=1, keepdims=True)
    # rounded alike on all processors: which chains go on depends on it
    weights = exponentials(log_weights - top)
    return weights, top[:, 0] + np.log(np.cumsum(weights, axis=1)[:, -1] / log_weights.shape[1])


def effective_share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effective number of chains of each population, as a share of all: (sum w)^2 / sum w^2 / size."""
    total, squares = (np.cumsum(x, axis=1)[:, -1] for x in (weights, weights**2))
    return np.asarray(total**2 / squares / weights.shape[1])


def systematic(weights: NDArray[np.float64], u: Any) -> NDArray[np.int64]:
    """Chains of one population that go on: as many as there are, at evenly spaced places of the sum of the weights.

    Parameters
    ----------
    weights : ndarray, shape (size,)
    u : float
        The first place, in (0, 1) of a distance.
    """
    size, cumulative = len(weights), np.cumsum(weights)
    positions = (u + np.arange(size)) / size * cumulative[-1]
    return np.searchsorted(cumulative, positions, side="right").clip(max=size - 1)
