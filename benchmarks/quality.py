"""Figures of merit that are computed in one way for every side, from (W, b, a) and fixed rows.

All of them are deterministic and computed in float64, so that two sides differ by their training alone.
"""

from __future__ import annotations

import numpy as np

from .peers import Parameters

#: Features flipped per row for the pseudo-likelihood. Over 256 rows, 32 flips spread evenly are 8192 terms,
#: more than ten per pixel, and take a second even with 4000 hidden units.
N_FLIPS = 32


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _as_double(parameters: Parameters, V: np.ndarray) -> tuple[Parameters, np.ndarray]:
    double = Parameters(*(np.asarray(array, dtype=np.float64) for array in parameters))
    return double, np.asarray(V, dtype=np.float64)


def pseudo_likelihood(parameters: Parameters, V: np.ndarray, n_flips: int = N_FLIPS) -> float:
    """Return the mean log pseudo-likelihood of binary rows, in nats per row.

    The sum over i of log p(v_i | all other v) is estimated from `n_flips` evenly spaced features per row,
    whose offset moves on from row to row: no random numbers, and all features are covered.
    """
    (W, b, a), V = _as_double(parameters, V)
    n_rows, n_visible = V.shape
    rows = np.arange(n_rows)
    inputs = V @ W.T + b
    base = softplus(inputs).sum(axis=1)
    total = 0.0
    for flip in range(n_flips):
        feature = (rows * 7 + flip * n_visible // n_flips) % n_visible
        sign = 1 - 2 * V[rows, feature]
        flipped = softplus(inputs + sign[:, None] * W.T[feature]).sum(axis=1)
        gain = sign * a[feature] + flipped - base  # log p(flipped row) - log p(row)
        total -= softplus(gain).mean()
    return float(total * n_visible / n_flips)


def reconstruction_error(parameters: Parameters, V: np.ndarray) -> float:
    """Return the root mean square of v - E[v | E[h | v]] over rows in [0, 1]."""
    (W, b, a), V = _as_double(parameters, V)
    mean = sigmoid(sigmoid(V @ W.T + b) @ W + a)
    return float(np.sqrt(np.mean((V - mean) ** 2)))


def free_energy(parameters: Parameters, V: np.ndarray) -> np.ndarray:
    """Return -log sum_h exp(-E(v, h)) of every row, (n_samples,)."""
    (W, b, a), V = _as_double(parameters, V)
    return -(V @ a) - softplus(V @ W.T + b).sum(axis=1)


def hidden_means(parameters: Parameters, V: np.ndarray) -> np.ndarray:
    """Return p(h = 1 | v) in float64, the reference for `transform`."""
    (W, b, _), V = _as_double(parameters, V)
    return sigmoid(V @ W.T + b)
