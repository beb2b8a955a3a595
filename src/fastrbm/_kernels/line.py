"""Integrals over one real number: what conditional densities of Gaussian and ReLU units are divided by.

The integrand is f(d) = exp(alpha d - tau d^2 / 2 + c(d)) with a convex c, the sum over hidden units of differences of
cgf. As every cgf is the log of a sum of exponentials, f is a mixture (finite or not) of Gaussians of precision tau with
positive weights. So the trapezoidal rule with step h is off by the factor 1 +- 2 exp(-2 pi^2 / (tau h^2)) at most,
whatever the weights; the same holds for Gauss-Legendre panels on a half-line.

Where f matters is found by halving intervals: c lies below its chords, so an interval whose ends are known has an upper
bound, and goes if that is too small. Few points are visited that do not count, wherever the mass is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: step of the trapezoidal rule for Gaussians of variance 1: an error below 2e-15
STEP = 0.75
#: standard deviations from the outermost centre: what lies beyond is below 1e-16 of the integral
TAIL = 9.0
_PANEL = 3.0  # standard deviations of a panel, whose rule is off by 2e-14
_NODES, _SHARES = np.polynomial.legendre.leggauss(12)
_DECAY = 8.0  # nats that f may fall by in the first panel of a half-line
_NEGLIGIBLE = 36.0  # nats below the largest value that is known, beside the number of points
_MOST_LEVELS = 52
_ROUNDING = 2e-15  # of bounds, relative to what cancels in them
_MOST_ROUNDING = 1e7  # nats: all points nearer to the largest one are visited

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class Line(NamedTuple):
    """Integrals that are done together; all arrays have one entry for each.

    Attributes
    ----------
    change : callable
        (numbers of integrals, d) -> c(d); c(0) = 0.
    alpha, tau : ndarray
    low, high : ndarray
        Where the integral begins and ends.
    size : ndarray
        Magnitude of what c is a difference of.
    decay : ndarray or None
        None: f is negligible below `low`. Else f begins there, and no Gaussian of the mixture falls faster at first.
    """

    change: Callable[[Index, Array], Array]
    alpha: Array
    tau: Array
    low: Array
    high: Array
    size: Array
    decay: Array | None = None

    def log_f(self, at: Index, offset: Array) -> Array:
        """Log of the integrand at some distances from `low`."""
        d = self.low[at] + offset
        return d * (self.alpha[at] - 0.5 * self.tau[at] * d) + self.change(at, d)


def lost_to_rounding(size: float) -> ValueError:
    """What is raised where sums over units are so large that nothing is left of a density."""
    return ValueError(
        "a conditional density would be lost to rounding: weights, biases or values are too large for real-valued "
        f"units, whose inputs reach {size:.3g}; scale the data, or take smaller weights"
    )


def log_integrals(line: Line) -> Array:
    """Logs of the integrals, to 1e-13 or to what `log_f` loses to rounding."""
    width = (STEP if line.decay is None else _PANEL) / np.sqrt(line.tau)
    first = np.zeros(len(width))
    if line.decay is not None:  # panels of half the width towards the beginning, as often as need be
        first = 1 + np.ceil(np.log2(np.maximum(width * line.decay / _DECAY, 1.0)))

    def offset(at: Index, k: Array) -> Array:
        """Points number 0, 1, ... by their distance from `low`: one width apart, but the first ones of a half-line."""
        if line.decay is None:
            return k * width[at]
        small = np.exp2(np.minimum(k - first[at], 0))
        return width[at] * np.where(k == 0, 0, small + np.maximum(k - first[at], 0))

    count = float(np.max(np.maximum(line.high - line.low, width) / width + first)) + 1
    farthest = np.max(np.abs([line.low, line.high]), initial=0)
    with np.errstate(over="ignore"):
        rounding = _ROUNDING * (np.max(line.size, initial=0) + np.square(farthest))
    if not (count < 2.0**_MOST_LEVELS and rounding < _MOST_ROUNDING):
        raise lost_to_rounding(farthest)
    n_levels = int(np.ceil(np.log2(count)))
    points = _Points(len(width), _NEGLIGIBLE + n_levels * np.log(2.0))
    intervals = points.search(line, offset, n_levels)
    if line.decay is None:
        return points.log_sum() + np.log(width)
    at, k = intervals
    left, right = offset(at, k), offset(at, k + 1)
    nodes = 0.5 * (left + right)[:, None] + 0.5 * (right - left)[:, None] * _NODES
    each = np.repeat(at, len(_NODES))
    values = line.log_f(each, nodes.ravel()) + np.log(np.outer(right - left, 0.5 * _SHARES)).ravel()
    panels = _Points(len(width), 0.0)
    panels.add(each, values)
    found = panels.log_sum()
    return np.where(np.isfinite(found), found, points.best)  # all panels may go where rounding moves values


class _Points:
    """Values of log f that are known."""

    def __init__(self, n: int, negligible: float):
        self.best = np.full(n, -np.inf)
        self._negligible = negligible
        self._found: list[tuple[Index, Array]] = []

    def add(self, at: Index, values: Array) -> None:
        self._found.append((at, values))
        np.maximum.at(self.best, at, values)

    def log_sum(self) -> Array:
        total = np.zeros(len(self.best))
        for at, values in self._found:
            total += np.bincount(at, np.exp(values - self.best[at]), len(total))
        with np.errstate(divide="ignore"):
            return self.best + np.log(total)

    def search(self, line: Line, offset: Callable[[Index, Array], Array], n_levels: int) -> tuple[Index, Array]:
        """Halve [0, 2^n_levels] down to single steps; return those that count by the number of their left end."""
        at = np.arange(len(self.best))
        left = np.zeros(len(at))
        ends = [self._value(line, at, offset(at, k)) for k in (left, left + 2.0**n_levels)]
        # the value at d = 0 is known without being one of the points
        known = np.zeros(len(at))
        for level in range(n_levels - 1, -1, -1):
            middle = left + 2.0**level
            value = self._value(line, at, offset(at, middle))
            at, left = np.concatenate([at, at]), np.concatenate([left, middle])
            ends = [np.concatenate([ends[0], value]), np.concatenate([value, ends[1]])]
            bound = self._bound(line, at, offset(at, left), offset(at, left + 2.0**level), ends)
            kept = bound > np.maximum(self.best, known)[at] - self._negligible
            at, left, ends = at[kept], left[kept], [end[kept] for end in ends]
        return at, left

    def _value(self, line: Line, at: Index, d: Array) -> Array:
        value = line.log_f(at, d)
        self.add(at, value)
        return value

    @staticmethod
    def _bound(line: Line, at: Index, left: Array, right: Array, ends: list[Array]) -> Array:
        """Upper bounds of log f between two points: the chord of its convex part, less tau d^2 / 2."""
        tau = line.tau[at]
        low = line.low[at]
        convex = [end + 0.5 * tau * np.square(low + far) for end, far in zip(ends, (left, right), strict=True)]
        slope = (convex[1] - convex[0]) / (right - left)
        top = np.clip(slope / tau - low, left, right)
        sizes = np.abs(ends).max(axis=0) + tau * np.maximum(np.square(low + left), np.square(low + right))
        rounding = _ROUNDING * (line.size[at] + sizes)
        return convex[0] + slope * (top - left) - 0.5 * tau * np.square(low + top) + rounding
