"""Layer correlation: the saddle point of a random machine of spins, and where its layers tell most about each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .._checks import check_integer, check_number

_NODES = 160  # of a mean; four times as many change the derivative by less than 1e-8 of itself
_STAGES = (
    (48, 1.0),
    (13, 1.3),
    (13, 1.3),
    (13, 1.3),
)  # points of a search for a maximum, old cells on either side of its top


def _nodes(slope: NDArray[np.float64], centre: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], ...]:
    """Values and shares of a standard normal z for means of functions that bend at `centre` within 1 / `slope`.

    The trapezoidal rule in u, z = centre + sinh(u) / (1 + slope): fine at the bend, even in the tails. Hundreds of
    Gauss-Hermite nodes would not resolve a sigmoid of slope 30. Poles and Gaussian stay outside |Im u| < pi / 4, so the
    error falls with the number of nodes as exp(-(pi^2 / 2) / step). Beyond |z| = 8.5 the density is below 1e-16.
    """
    width = 1 / (1 + slope)[:, None]
    ends = (np.array([-8.5, 8.5]) - centre[:, None]) / width
    low, high = np.arcsinh(ends).T[:, :, None]
    u = low + (high - low) * np.linspace(0, 1, n)
    up = np.exp(u)
    z = centre[:, None] + 0.5 * width * (up - 1 / up)
    shares = np.exp(-0.5 * z * z) * (up + 1 / up)
    return z, shares / shares.sum(axis=1, keepdims=True)


def _mean(values: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("ij,ij->i", values, shares)


def _squared_sigmoid(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """S^2 and its first two derivatives, S the sigmoid."""
    s = expit(y)
    square, off = s * s, expit(-y)
    return square, 2 * square * off, square * off * (4 * off - 2 * s)


def _squared_tanh(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """S^2 and its first two derivatives, S the hyperbolic tangent."""
    t = np.tanh(y)
    square = t * t
    return square, 2 * t * (1 - square), 2 * (1 - square) * (1 - 3 * square)


# unit of the hidden layer: (S^2 with derivatives, delta: whether a state's square is the state and not a constant)
HIDDEN: dict[str, tuple[Callable[..., Any], float]] = {
    "bernoulli": (_squared_sigmoid, 1.0),
    "ising": (_squared_tanh, 0.0),
}


def _overlaps(
    beta: NDArray[np.float64], alpha: float, c: float, hidden: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Overlaps q_v, q_h of the saddle point and d q_v / d c, for each beta.

    q_v = <tanh^2 X>, X = beta sqrt(r q_h) z; q_h = <S(Y)^2>, Y = c + beta sqrt(p q_v) z + delta beta^2 p (1 - q_v) / 2,
    with p = 1 / (1 + alpha), r = alpha / (1 + alpha), z standard normal.
    """
    square, delta = HIDDEN[hidden]
    p, r = 1 / (1 + alpha), alpha / (1 + alpha)
    p2, r2 = beta * beta * p, beta * beta * r

    def once(q_v: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """q_v that follows from a q_v, its derivatives with respect to that and to c, and q_h."""
        spread, shift = np.sqrt(p2 * q_v), c + delta * p2 * (1 - q_v) / 2
        bend = np.clip(-shift / np.maximum(spread, 1e-9), -8.4, 8.4)
        z, shares = _nodes(spread, bend, _NODES)
        s, ds, dds = (_mean(x, shares) for x in square(shift[:, None] + spread[:, None] * z))
        spread = np.sqrt(r2 * s)
        z, shares = _nodes(spread, np.zeros_like(spread), _NODES // 2)
        t = np.square(np.tanh(spread[:, None] * z))
        to_v = r2 * _mean((1 - t) * (1 - 3 * t), shares)
        return _mean(t, shares), to_v * p2 * (dds - delta * ds) / 2, to_v * ds, s

    # Wherever it was looked for there is one overlap but the unordered 0 of spins without bias. A few plain steps lead
    # into the range of Newton's, which go on where the map contracts slowly.
    q_v = np.ones_like(beta)
    for step in range(40):
        new, slope, _, _ = once(q_v)
        change = new - q_v
        if step >= 6:
            change = np.where(slope < 1, change / np.maximum(1 - slope, 1e-3), change)
        q_v = np.clip(q_v + change, 0, 1)
        if np.abs(change).max() < 1e-12:
            break
    _, slope, by_c, q_h = once(q_v)
    return q_v, q_h, by_c / (1 - slope)


@lru_cache(maxsize=1024)
def lc_beta(alpha: float, c: float = 0.0, hidden: str = "bernoulli") -> float:
    """Inverse temperature at which the layers of a random machine of spins tell most about each other.

    The weights between n visible spins of -1 and +1 and m = alpha n hidden units are normal with variance
    beta^2 / (n + m). The visible bias is 0, where the correlation between the layers vanishes by symmetry; its limit
    is largest where d q_v / d c is, q_v the overlap of two visible layers.

    Parameters
    ----------
    alpha : float
        Hidden units for each visible one, positive.
    c : float, default=0.0
        Bias of the hidden units.
    hidden : {"bernoulli", "ising"}, default="bernoulli"
        Values of the hidden units: {0, 1} or {-1, +1}.

    Returns
    -------
    float
        beta_max, with an error below 0.001. For spins and c = 0 it is sqrt((1 + alpha) / sqrt(alpha)).

    Raises
    ------
    ValueError
        For an alpha that is not positive, a bias that is not finite, or other hidden units.

    References
    ----------
    "Layer correlation" initialisation: arXiv:2409.07708, Neural Networks 187 (2025), whose table of beta_max the tests
    hold.
    """
    alpha, c = check_number("alpha", alpha, 0, include_low=False), check_number("c", c)
    if hidden not in HIDDEN:
        raise ValueError(f"hidden must be one of {sorted(HIDDEN)}, got {hidden!r}")
    if hidden == "ising" and c == 0:
        return math.sqrt((1 + alpha) / math.sqrt(alpha))  # the overlaps are 0 below and rise from there
    low, high = math.log(0.2), math.log(20.0 * (1 + alpha / 4 + abs(c)))
    for n_points, reach in _STAGES:
        grid = np.linspace(low, high, n_points)
        size = np.log(np.abs(_overlaps(np.exp(grid), alpha, c, hidden)[2]) + 1e-300)
        top = int(np.argmax(size))
        cell = grid[1] - grid[0]
        low, high = grid[top] - reach * cell, grid[top] + reach * cell
    best = float(grid[top])
    if 0 < top < len(grid) - 1:
        left, mid, right = size[top - 1 : top + 2]
        if (bend := left - 2 * mid + right) < 0:  # the vertex of the parabola through three points
            best += float(cell * (left - right) / (2 * bend))
    return math.exp(best)


def lc_scale(n_visible: int, n_hidden: int, hidden_bias: float = 0.0, hidden: str = "bernoulli") -> float:
    """Standard deviation of the weights of `lc_beta`, beta_max / sqrt(n_visible + n_hidden), for visible spins.

    Parameters
    ----------
    n_visible, n_hidden : int
        Units of the layers, at least 1.
    hidden_bias : float, default=0.0
    hidden : {"bernoulli", "ising"}, default="bernoulli"

    Returns
    -------
    float
        For visible units of 0 and 1 it is to be doubled and biases be changed, which `LayerCorrelation` does.

    Raises
    ------
    ValueError
        For empty layers and what `lc_beta` does not take.
    """
    for name, n in (("n_visible", n_visible), ("n_hidden", n_hidden)):
        check_integer(name, n)
    return lc_beta(n_hidden / n_visible, float(hidden_bias), hidden) / math.sqrt(n_visible + n_hidden)
