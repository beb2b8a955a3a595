"""Changes of the hidden layer's log-partition when one visible unit, or one-hot group, goes over to another value.

Changes are products of 1 - p + p exp(D) for Bernoulli hidden units, p being their means. exp(D) has one factor for the
row and one for the value, so a row and a value cost a multiplication for each hidden unit, not an exponential.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ..units import Bernoulli, Binomial, Ising, Mixed, OneHot, Unit

#: float64 values of one temporary array: 512 KB
BLOCK = 1 << 16
#: rows of a block at most
ROWS = 1024
_UNITS = 64  # hidden units of one product at most
_LARGEST_EXPONENT = 600.0  # of a product: float64 ends at 709

Array = NDArray[np.float64]
Layer = list[tuple[Unit, slice]]


def parts_of(unit: Unit, n_units: int) -> Layer:
    """Parts of a layer of one type, with their columns."""
    if not isinstance(unit, Mixed):
        return [(unit, slice(0, n_units))]
    parts, first = [], 0
    for part, width in unit.parts:
        parts.append((part, slice(first, first + width)))
        first += width
    return parts


class HiddenRows:
    """Hidden inputs of a block of rows, and changes of their cgf."""

    def __init__(self, layer: Layer, x: Array):
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
        step = max(1, min(ROWS, 2 * BLOCK // (len(shifts) * min(len(sizes), _UNITS))))
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
