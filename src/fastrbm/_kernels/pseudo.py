"""Pseudo-likelihood of visible units of any type beside hidden units of any type, in NumPy and float64.

A visible unit (a group of one-hot units counts as one) that went over to another value would change the inputs x of
the hidden layer by a shift D, and so the log-weight of the row by its own bias and base measure and by
c(D) = sum over hidden units of cgf(x + D) - cgf(x) (`changes`). Everything here is sums of exp of such changes: over
the values that a unit can take, or over the real numbers (`densities`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..units import OneHot, Unit, get_unit
from .bits import as_dense
from .changes import BLOCK, ROWS, Array, HiddenRows, Layer, log_sum, parts_of
from .datatypes import Parameters, States
from .densities import Densities


def pseudo_likelihood(visible: str, hidden: str, states: States, parameters: Parameters, n_threads: int = 1) -> Array:
    """Sum over visible units of log p(v_i | all other v), by `Backend.pseudo_likelihood`.

    Blocks of rows are the same for any number of threads, and so are the results.
    """
    model = Parameters(*(np.asarray(x, dtype=np.float64) for x in parameters))
    n_hidden, n_visible = model.weights.shape
    parts, layer = parts_of(get_unit(visible), n_visible), parts_of(get_unit(hidden), n_hidden)
    scorers = [_scorer(unit, columns, layer, model) for unit, columns in parts]
    score = np.zeros(states.shape[0])
    step = max(1, min(ROWS, 4 * BLOCK // max(n_hidden, n_visible)))

    def do(first: int) -> None:
        rows = slice(first, first + step)
        v = as_dense(states[rows], np.float64).astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            x = v @ model.weights.T + model.hidden_bias
        if not np.isfinite(x).all():
            raise ValueError(
                "the pseudo-likelihood of rows cannot be found: inputs of hidden units are NaN or too large for float64"
            )
        block = HiddenRows(layer, x)
        for (_, columns), scorer in zip(parts, scorers, strict=True):
            score[rows] += scorer.score(v[:, columns], block)

    blocks = range(0, len(score), step)
    if n_threads == 1 or len(blocks) < 2:
        for first in blocks:
            do(first)
        return score
    with ThreadPoolExecutor(min(n_threads, len(blocks))) as pool:  # NumPy lets go of the interpreter
        for _ in pool.map(do, blocks):
            pass
    return score


def log_densities(unit: Unit, columns: slice, hidden: str, v: Array, parameters: Parameters) -> Array:
    """Sum of log p(v_i | all other v) over the real-valued units in some columns, each integral on its own points."""
    layer = parts_of(get_unit(hidden), len(parameters.hidden_bias))
    scorer = Densities(unit, parameters.weights[:, columns], parameters.visible_bias[columns], layer)
    return scorer.integrated(v[:, columns], v @ parameters.weights.T + parameters.hidden_bias)


def _scorer(unit: Unit, columns: slice, layer: Layer, model: Parameters) -> Any:
    weights, bias = model.weights[:, columns], model.visible_bias[columns]
    if isinstance(unit, OneHot):
        return _Categories(unit, weights, bias)
    if unit.support is not None and not unit.layerwise:
        return _Values(unit, weights, bias)
    return Densities(unit, weights, bias, layer)


# ---- units that take one of some values -----------------------------------------------------------------------------


def _centred(shifts: Array) -> Array:
    """Shifts less the middle of each component: only their differences count."""
    return shifts - 0.5 * (shifts.max(axis=0) + shifts.min(axis=0))


class _Categories:
    """Groups of one-hot units: log softmax of minus the free energy over the categories; empty groups are missing."""

    def __init__(self, unit: OneHot, weights: Array, bias: Array):
        self._size = unit.n_classes or len(bias)
        self._logs = bias.reshape(-1, self._size)
        self._weights = np.ascontiguousarray(weights.T).reshape(-1, self._size, len(weights))

    def score(self, v: Array, block: HiddenRows) -> Array:
        groups = v.reshape(len(v), -1, self._size)
        chosen, there = groups.argmax(axis=2), (groups != 0).max(axis=2)
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

    def score(self, v: Array, block: HiddenRows) -> Array:
        chosen = np.minimum(np.searchsorted(self._values, v), len(self._values) - 1)
        score = np.zeros(len(v))
        for i, (logs, weights) in enumerate(zip(self._logs, self._weights, strict=True)):
            score += _of_values(logs, _centred(np.outer(self._values, weights)), chosen[:, i], block)
        return score


def _of_values(logs: Array, shifts: Array, chosen: NDArray[np.intp], block: HiddenRows) -> Array:
    terms = logs + block.changes(shifts, shifts[chosen])
    return terms[np.arange(len(terms)), chosen] - log_sum(terms)
