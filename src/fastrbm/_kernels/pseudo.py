"""Pseudo-likelihood of visible units of any type beside hidden units of any type, in NumPy and float64.

A visible unit (a group of one-hot units counts as one) that went over to another value would change the inputs x of
the hidden layer by a shift D, and so the log-weight of the row by its own bias and base measure and by
c(D) = sum over hidden units of cgf(x + D) - cgf(x). Everything here is sums of exp of such changes: over the values that
a unit can take, or over the real numbers (`line`).

Changes are products of 1 - p + p exp(D) for Bernoulli hidden units, p being their means. exp(D) has one factor for the
row and one for the value, so a row and a value cost a multiplication for each hidden unit, not an exponential.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr

from ..units import Bernoulli, Binomial, Gaussian, Ising, Mixed, OneHot, ReLU, Unit, get_unit
from .bits import as_dense
from .datatypes import Parameters, States
from .line import STEP, TAIL, Line, log_integrals, lost_to_rounding

_BLOCK = 1 << 16  # float64 values of one temporary array: 512 KB
_ROWS = 1024  # of a block at most
_UNITS = 64  # hidden units of one product at most
_MOST_NODES = 256  # that all rows share; a unit that needs more is integrated row by row
_LARGEST_EXPONENT = 600.0  # of a product: float64 ends at 709

Array = NDArray[np.float64]


def parts_of(unit: Unit, n_units: int) -> list[tuple[Unit, slice]]:
    """Parts of a layer of one type, with their columns."""
    if not isinstance(unit, Mixed):
        return [(unit, slice(0, n_units))]
    parts, first = [], 0
    for part, width in unit.parts:
        parts.append((part, slice(first, first + width)))
        first += width
    return parts


def pseudo_likelihood(visible: str, hidden: str, states: States, parameters: Parameters) -> Array:
    """Sum over visible units of log p(v_i | all other v), by `Backend.pseudo_likelihood`."""
    model = Parameters(*(np.asarray(x, dtype=np.float64) for x in parameters))
    n_hidden, n_visible = model.weights.shape
    parts, layer = parts_of(get_unit(visible), n_visible), parts_of(get_unit(hidden), n_hidden)
    scorers = [_scorer(unit, columns, layer, model) for unit, columns in parts]
    score = np.zeros(states.shape[0])
    step = max(1, min(_ROWS, 4 * _BLOCK // max(n_hidden, n_visible)))
    for first in range(0, len(score), step):
        rows = slice(first, first + step)
        v = as_dense(states[rows], np.float64).astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            x = v @ model.weights.T + model.hidden_bias
        if not np.isfinite(x).all():
            raise ValueError(
                "the pseudo-likelihood of rows cannot be found: the inputs of hidden units are too large for float64"
            )
        block = _Rows(layer, x)
        for (_, columns), scorer in zip(parts, scorers, strict=True):
            score[rows] += scorer.score(v[:, columns], block)
    return score


def log_densities(unit: Unit, columns: slice, hidden: str, v: Array, parameters: Parameters) -> Array:
    """Sum of log p(v_i | all other v) over the real-valued units in some columns, each integral on its own points."""
    layer = parts_of(get_unit(hidden), len(parameters.hidden_bias))
    scorer = _Densities(unit, parameters.weights[:, columns], parameters.visible_bias[columns], layer)
    return scorer.integrated(v[:, columns], v @ parameters.weights.T + parameters.hidden_bias)


def _scorer(unit: Unit, columns: slice, layer: list[tuple[Unit, slice]], model: Parameters) -> Any:
    weights, bias = model.weights[:, columns], model.visible_bias[columns]
    if isinstance(unit, OneHot):
        return _Categories(unit, weights, bias)
    if unit.support is not None and not unit.layerwise:
        return _Values(unit, weights, bias)
    if isinstance(unit, (Gaussian, ReLU)):
        return _Densities(unit, weights, bias, layer)
    raise ValueError(f"the pseudo-likelihood of visible units {unit.spec!r} is not known")


# ---- changes of the hidden layer ------------------------------------------------------------------------------------


class _Rows:
    """Hidden inputs of a block of rows, and changes of their cgf."""

    def __init__(self, layer: list[tuple[Unit, slice]], x: Array):
        self.x = x
        self._parts = [(_CHANGES.get(type(unit), _Formula)(unit, x[:, columns]), columns) for unit, columns in layer]

    def changes(self, shifts: Array, now: Array) -> Array:
        """Sums of cgf(x + shift - now) - cgf(x) for each row and shift, shape (rows, shifts).

        Parameters
        ----------
        shifts : ndarray, shape (n_shifts, n_hidden)
        now : ndarray, shape (rows, n_hidden)
            No component lies outside those of the shifts.
        """
        total = np.zeros((len(now), len(shifts)))
        for part, columns in self._parts:
            total += part.changes(shifts[:, columns], now[:, columns])
        return total


class _Formula:
    """Hidden units of any type, by their formula."""

    def __init__(self, unit: Unit, x: Array):
        self._unit, self._x = unit, x

    def changes(self, shifts: Array, now: Array) -> Array:
        cgf, start = self._unit.cgf, self._x - now
        before = cgf(self._x).sum(axis=1)
        return np.stack([cgf(start + shift).sum(axis=1) - before for shift in shifts], axis=1)


class _Bits(_Formula):
    """Bernoulli, Ising and binomial hidden units: products of 1 - p + p exp(scale D), times exp(-D) for spins."""

    def __init__(self, unit: Unit, x: Array):
        super().__init__(unit, x)
        self._spins = isinstance(unit, Ising)
        self._scale = 2.0 if self._spins else 1.0
        self._power = unit.n if isinstance(unit, Binomial) else 1
        self._on = np.ascontiguousarray(expit(self._scale * x.T))
        self._off = np.ascontiguousarray(expit(-self._scale * x.T))

    def changes(self, shifts: Array, now: Array) -> Array:
        sizes = 2 * self._scale * np.abs(shifts).max(axis=0, initial=0.0)
        if sizes.max(initial=0.0) > _LARGEST_EXPONENT:
            return super().changes(shifts, now)
        gain = np.exp(self._scale * shifts.T)
        start = self._on * np.exp(-self._scale * now.T)
        total = np.zeros((len(shifts), len(now)))
        step = max(1, min(_ROWS, 2 * _BLOCK // (len(shifts) * min(len(sizes), _UNITS))))
        for units in _runs(sizes):
            of_shifts = np.ascontiguousarray(_pairs(np.ones_like(gain[units]), gain[units]).transpose(0, 2, 1))
            for first in range(0, len(now), step):
                rows = slice(first, first + step)
                factors = of_shifts @ _pairs(self._off[units, rows], start[units, rows])
                total[:, rows] += np.log(np.multiply.reduce(factors, axis=0))
        total *= self._power
        if self._spins:
            total += now.sum(axis=1) - shifts.sum(axis=1)[:, None]
        return total.T


def _pairs(off: Array, on: Array) -> Array:
    """Products of two neighbouring units' terms: (o + x g) (o' + x' g') is a product of 4 and 4 numbers."""
    if len(on) % 2:
        off = np.concatenate([off, np.ones_like(off[:1])])
        on = np.concatenate([on, np.zeros_like(on[:1])])
    pairs = np.empty((len(on) // 2, 4, on.shape[1]))
    for at, (one, other) in enumerate(((off, off), (on, off), (off, on), (on, on))):
        np.multiply(one[::2], other[1::2], out=pairs[:, at])
    return pairs


def log_sum(terms: Array) -> Array:
    """Log-sum-exp over the last axis."""
    top = terms.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(terms - top).sum(axis=-1, keepdims=True)))[..., 0]


def _runs(sizes: Array) -> Iterator[slice]:
    """Neighbours whose exponents add up to no overflow."""
    first, total = 0, 0.0
    for at, size in enumerate(sizes):
        total += size
        if total > _LARGEST_EXPONENT or at - first == _UNITS:
            yield slice(first, at)
            first, total = at, size
    if first < len(sizes):
        yield slice(first, len(sizes))


class _Groups(_Formula):
    """One-hot hidden units: a group's change is the log of its mean exp(D), one product of matrices."""

    def __init__(self, unit: OneHot, x: Array):
        super().__init__(unit, x)
        self._size = unit.n_classes or x.shape[1]
        self._means = self._grouped(unit.mean(x))

    def _grouped(self, x: Array) -> Array:
        """Groups as the first axis."""
        return x.reshape(len(x), x.shape[1] // self._size, self._size).transpose(1, 0, 2)

    def changes(self, shifts: Array, now: Array) -> Array:
        if 2 * np.abs(shifts).max(initial=0.0) > _LARGEST_EXPONENT:
            return super().changes(shifts, now)
        weighted = self._means * np.exp(-self._grouped(now))
        gain = self._grouped(np.exp(shifts)).transpose(0, 2, 1)
        with np.errstate(divide="ignore"):  # means that underflowed: the formula knows better
            total = np.log(weighted @ gain).sum(axis=0)
        return total if np.isfinite(total).all() else super().changes(shifts, now)


_CHANGES: dict[type, Any] = {Bernoulli: _Bits, Ising: _Bits, Binomial: _Bits, OneHot: _Groups}


# ---- units that take one of some values -----------------------------------------------------------------------------


def _centred(shifts: Array) -> Array:
    """Shifts less the middle of each component: only their differences count."""
    return shifts - 0.5 * (shifts.max(axis=0) + shifts.min(axis=0))


class _Categories:
    """Groups of one-hot units: log softmax of minus the free energy over the categories. No category is a missing one."""

    def __init__(self, unit: OneHot, weights: Array, bias: Array):
        self._size = unit.n_classes or len(bias)
        self._logs = bias.reshape(-1, self._size)
        self._weights = np.ascontiguousarray(weights.T).reshape(-1, self._size, len(weights))

    def score(self, v: Array, block: _Rows) -> Array:
        groups = v.reshape(len(v), -1, self._size)
        chosen, there = groups.argmax(axis=2), groups.any(axis=2)
        score = np.zeros(len(v))
        for group, (logs, weights) in enumerate(zip(self._logs, self._weights, strict=True)):
            score += there[:, group] * _of_values(logs, _centred(weights), chosen[:, group], block)
        return score


class _Values:
    """Units with a support: log-sum-exp over its values, with their base measures."""

    def __init__(self, unit: Unit, weights: Array, bias: Array):
        assert unit.support is not None
        self._values = np.array(unit.support)
        self._logs = bias[:, None] * self._values + unit.base(self._values[:, None])
        self._weights = np.ascontiguousarray(weights.T)

    def score(self, v: Array, block: _Rows) -> Array:
        chosen = np.minimum(np.searchsorted(self._values, v), len(self._values) - 1)
        score = np.zeros(len(v))
        for i, (logs, weights) in enumerate(zip(self._logs, self._weights, strict=True)):
            score += _of_values(logs, _centred(np.outer(self._values, weights)), chosen[:, i], block)
        return score


def _of_values(logs: Array, shifts: Array, chosen: NDArray[np.intp], block: _Rows) -> Array:
    terms = logs + block.changes(shifts, shifts[chosen])
    return terms[np.arange(len(terms)), chosen] - log_sum(terms)


# ---- units of real numbers ------------------------------------------------------------------------------------------


def surprise(unit: Unit, theta: Array, v: Array) -> Array:
    """-log p(v | theta) of a Gaussian or ReLU unit, without the difference of large squares."""
    centre = theta if isinstance(unit, Gaussian) else np.maximum(theta, 0)
    square = 0.5 * np.square(centre - v) + 0.5 * math.log(2 * math.pi)
    if isinstance(unit, Gaussian):
        return square
    low = np.minimum(theta, 0)
    return np.where(theta > 0, square + log_ndtr(centre), unit.cgf(low) - low * v + 0.5 * np.square(v))


class _Densities:
    """Gaussian and ReLU units: log densities, less the log of an integral over the values of a unit.

    With d = u - v the integrand is exp(alpha d - tau d^2 / 2 + c(d)), where Gaussian hidden units are in alpha and tau
    and c is the change of the others.
    """

    def __init__(self, unit: Unit, weights: Array, bias: Array, layer: list[tuple[Unit, slice]]):
        self._unit, self._weights, self._bias, self._layer = unit, weights, bias, layer
        self._rows = np.ascontiguousarray(weights.T)
        self._tau = np.ones(len(bias))
        self._others: list[tuple[Unit, slice]] = []
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
        wrong = ~((self._up > 0) & ((self._down > 0) | (not real_line)) & (self._tau > 0))
        if wrong.any():
            at = int(wrong.argmax())
            squares = 1 - float(min(self._up[at], self._down[at] if real_line else np.inf, self._tau[at]))
            raise ValueError(
                f"the conditional density of visible unit {at} ({unit.spec!r}) does not exist: the squares of its "
                "weights to real-valued hidden units must add up to less than 1, got "
                f"{squares:.6g}: take smaller weights (a smaller learning_rate, weight decay) or bounded hidden units"
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

    def score(self, v: Array, block: _Rows) -> Array:
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
        return score + self._alone(*np.nonzero(alone), v, block.x)

    def integrated(self, v: Array, x: Array) -> Array:
        """Scores by integrals alone, x being the hidden inputs of the rows."""
        return self._alone(*np.nonzero(np.ones(v.shape, dtype=np.bool_)), v, x)

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

    def _is_one_group(self, block: _Rows) -> bool:
        unit = self._layer[0][0]
        return isinstance(unit, OneHot) and unit.n_classes in (None, block.x.shape[1])

    def _mixture(self, v: Array, block: _Rows) -> Array:
        """One hidden group: p(v_i | v_-i) is 1 / sum_j p(h_j | v) / p(v_i | h_j)."""
        logs = block.x - log_sum(block.x)[:, None]
        score = np.zeros(len(v))
        for i, (w, bias) in enumerate(zip(self._weights.T, self._bias, strict=True)):
            score -= log_sum(logs + surprise(self._unit, bias + w, v[:, i, None]))
        return score

    def _on_nodes(self, i: int, low: float, high: float, v: Array, block: _Rows) -> Array:
        """Trapezoids whose nodes all rows share: the centres of the mixture lie between `low` and `high`."""
        count = math.ceil((high - low + 2 * TAIL) / STEP) + 1
        nodes = 0.5 * (low + high) + STEP * (np.arange(count) - 0.5 * (count - 1))
        w, middle = self._weights[:, i], 0.5 * (low + high)
        terms = block.changes(np.outer(nodes - middle, w), np.outer(v - middle, w))
        d = nodes - v[:, None]
        terms += d * (self._bias[i] - 0.5 * (nodes + v[:, None]))
        return -math.log(STEP) - log_sum(terms)

    def _alone(self, rows: NDArray[np.intp], units: NDArray[np.intp], v: Array, x: Array) -> Array:
        """Scores of single rows and units, shape (rows of v,): less the log-integrals over d."""
        step = max(1, _BLOCK // len(self._weights))
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
        step = max(1, _BLOCK // x.shape[1])

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
