"""Log conditional densities of Gaussian and ReLU visible units beside hidden units of any type."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from ..units import Gaussian, OneHot, ReLU, Unit
from .changes import BLOCK, Array, HiddenRows, Layer, log_sum
from .line import STEP, TAIL, Line, log_integrals, lost_to_rounding

_LEAST_PRECISION = 1e-14  # of what is left of 1: below is rounding
_MOST_NODES = 256  # that all rows share; a unit that needs more is integrated row by row


def surprise(unit: Unit, theta: Array, v: Array) -> Array:
    """-log p(v | theta) of a Gaussian or ReLU unit, without the difference of large squares."""
    centre = theta if isinstance(unit, Gaussian) else np.maximum(theta, 0)
    square = 0.5 * np.square(centre - v) + 0.5 * math.log(2 * math.pi)
    if isinstance(unit, Gaussian):
        return square
    low = np.minimum(theta, 0)
    return np.where(theta > 0, square + log_ndtr(centre), unit.cgf(low) - low * v + 0.5 * np.square(v))


class Densities:
    """Log densities of Gaussian and ReLU units: -log of an integral over the values of each unit.

    With d = u - v the integrand is exp(alpha d - tau d^2 / 2 + c(d)), where Gaussian hidden units are in alpha and tau
    and c is the change of the others.
    """

    def __init__(self, unit: Unit, weights: Array, bias: Array, layer: Layer):
        if not isinstance(unit, (Gaussian, ReLU)):
            raise ValueError(f"the pseudo-likelihood of visible units {unit.spec!r} is not known")
        self._unit, self._weights, self._bias, self._layer = unit, weights, bias, layer
        self._rows = np.ascontiguousarray(weights.T)
        self._tau = np.ones(len(bias))
        self._others: Layer = []
        for part, columns in layer:
            if isinstance(part, Gaussian):
                with np.errstate(over="ignore"):
                    self._tau -= np.square(weights[columns]).sum(axis=0)
            elif part.finite or isinstance(part, ReLU):
                self._others.append((part, columns))
            else:
                raise ValueError(
                    f"the conditional density of visible units {unit.spec!r} beside hidden units {part.spec!r} is not "
                    "known"
                )
        # how steep the change is where all hidden units follow the visible one: bounds for finite ones, and the growth
        # of the slope for others
        with np.errstate(over="ignore"):
            self._steepest = self._slopes(1.0)
            self._flattest = self._slopes(-1.0)
        if not np.isfinite(self._steepest - self._flattest).all():
            raise lost_to_rounding(math.inf)
        self._up = self._tau - self._growth(1.0)
        self._down = self._tau - self._growth(-1.0)
        real_line = isinstance(unit, Gaussian)
        least = np.minimum(np.minimum(self._up, self._down if real_line else np.inf), self._tau)
        wrong = ~(least > _LEAST_PRECISION)
        if wrong.any():
            at = int(wrong.argmax())
            raise ValueError(
                f"the conditional density of visible unit {at} ({unit.spec!r}) does not exist: the squares of its "
                f"weights to real-valued hidden units must add up to less than 1, got {1 - least[at]:.6g}: take "
                "smaller weights (a smaller learning_rate, weight decay) or bounded hidden units"
            )

    def _slopes(self, sign: float) -> Array:
        """The largest (sign 1) or smallest slope of the change of finite hidden units."""
        slopes = np.zeros(len(self._bias))
        far = sign * 1e300 / max(1.0, float(np.abs(self._weights).max(initial=0.0)))
        for part, columns in self._others:
            if part.finite:
                w = self._weights[columns].T
                slopes += (w * part.mean(far * w)).sum(axis=1)
        return slopes

    def _growth(self, sign: float) -> Array:
        growth = np.zeros(len(self._bias))
        for part, columns in self._others:
            if not part.finite:
                with np.errstate(over="ignore"):
                    growth += np.square(np.maximum(sign * self._weights[columns], 0)).sum(axis=0)
        return growth

    def score(self, v: Array, block: HiddenRows) -> Array:
        if not self._others:
            return self._closed(v, self._alpha(v, block.x))
        if len(self._layer) == 1 and isinstance(self._layer[0][0], OneHot) and self._is_one_group(block):
            return self._mixture(v, block)
        score = np.zeros(len(v))
        if isinstance(self._unit, Gaussian) and len(self._others) == len(self._layer):
            shared = self._steepest - self._flattest <= _MOST_NODES * STEP - 2 * TAIL
            shared &= all(part.finite for part, _ in self._others)
        else:
            shared = np.zeros(len(self._bias), dtype=np.bool_)
        alone = np.ones(v.shape, dtype=np.bool_)
        for i in np.flatnonzero(shared):
            low, high = (self._bias[i] + slope[i] for slope in (self._flattest, self._steepest))
            near = (v[:, i] >= low - TAIL) & (v[:, i] <= high + TAIL)
            alone[:, i] = ~near
            found = self._on_nodes(int(i), float(low), float(high), np.where(near, v[:, i], low), block)
            score += np.where(near, found, 0.0)
        return score + self._alone(alone, v, block.x)

    def integrated(self, v: Array, x: Array) -> Array:
        """Scores by integrals alone, x being the hidden inputs of the rows."""
        return self._alone(np.ones(v.shape, dtype=np.bool_), v, x)

    def _alpha(self, v: Array, x: Array) -> Array:
        alpha = self._bias - v
        for part, columns in self._layer:
            if isinstance(part, Gaussian):
                alpha = alpha + x[:, columns] @ self._weights[columns]
        return alpha

    def _closed(self, v: Array, alpha: Array) -> Array:
        """All hidden units are Gaussian: so is the visible one given the others, with precision tau."""
        root = np.sqrt(self._tau)
        return (np.log(root) - surprise(self._unit, alpha / root + root * v, root * v)).sum(axis=1)

    def _is_one_group(self, block: HiddenRows) -> bool:
        unit = self._layer[0][0]
        return isinstance(unit, OneHot) and unit.n_classes in (None, block.x.shape[1])

    def _mixture(self, v: Array, block: HiddenRows) -> Array:
        """One hidden group: p(v_i | v_-i) is 1 / sum_j p(h_j | v) / p(v_i | h_j)."""
        logs = block.x - log_sum(block.x)[:, None]
        score = np.zeros(len(v))
        for i, (w, bias) in enumerate(zip(self._weights.T, self._bias, strict=True)):
            score -= log_sum(logs + surprise(self._unit, bias + w, v[:, i, None]))
        return score

    def _on_nodes(self, i: int, low: float, high: float, v: Array, block: HiddenRows) -> Array:
        """Trapezoids whose nodes all rows share: the centres of the mixture lie between `low` and `high`."""
        count = math.ceil((high - low + 2 * TAIL) / STEP) + 1
        nodes = 0.5 * (low + high) + STEP * (np.arange(count) - 0.5 * (count - 1))
        w, middle = self._weights[:, i], 0.5 * (low + high)
        terms = block.changes(np.outer(nodes - middle, w), np.outer(v - middle, w))
        d = nodes - v[:, None]
        terms += d * (self._bias[i] - 0.5 * (nodes + v[:, None]))
        return -math.log(STEP) - log_sum(terms)

    def _alone(self, which: NDArray[np.bool_], v: Array, x: Array) -> Array:
        """Scores of single rows and units, shape (rows of v,): less the log-integrals over d."""
        rows, units = np.nonzero(which)
        step = max(1, BLOCK // len(self._weights))
        score = np.zeros(len(v))
        alpha = self._alpha(v, x)
        before = np.zeros(len(v))
        for part, columns in self._others:
            before += part.cgf(x[:, columns]).sum(axis=1)
        for first in range(0, len(rows), step):
            r, i = rows[first : first + step], units[first : first + step]
            np.subtract.at(score, r, log_integrals(self._line(r, i, v[r, i], alpha[r, i], before[r], x)))
        return score

    def _line(self, r: NDArray[np.intp], i: NDArray[np.intp], v: Array, alpha: Array, before: Array, x: Array) -> Line:
        step = max(1, BLOCK // x.shape[1])

        def change(at: NDArray[np.intp], d: Array) -> Array:
            after = -before[at]
            for first in range(0, len(at), step):
                some = slice(first, first + step)
                theta = x[r[at[some]]] + self._rows[i[at[some]]] * d[some, None]
                after[some] += sum(part.cgf(theta[:, columns]).sum(axis=1) for part, columns in self._others)
            return after

        high, low = alpha + self._steepest[i], alpha + self._flattest[i]
        at_zero = alpha + self._tau[i] * v + self._flattest[i]
        for part, columns in self._others:
            if part.finite:
                continue
            # the mean of a ReLU unit is below 0.8 + the larger of its input and 0
            w, theta = self._rows[i][:, columns], x[r][:, columns]
            most = np.maximum(theta, 0) + 0.8
            high += (np.maximum(w, 0) * most).sum(axis=1)
            low += (np.minimum(w, 0) * most).sum(axis=1)
            at_zero += (np.minimum(w, 0) * (np.maximum(theta - w * v[:, None], 0) + TAIL)).sum(axis=1)
        size = np.abs(before) + np.abs(x).max(axis=1)[r]
        up, down = self._up[i], np.where(self._down[i] > 0, self._down[i], self._tau[i])
        high, low = high / up, low / down
        if any(not part.finite for part, _ in self._others):
            high, low = np.maximum(high, 0), np.minimum(low, 0)
        ends = low - TAIL / np.sqrt(down), high + TAIL / np.sqrt(up)
        if isinstance(self._unit, Gaussian):
            return Line(change, alpha, self._tau[i], *ends, size)
        return Line(change, alpha, self._tau[i], -v, ends[1], size, -np.minimum(at_zero, 0))
