"""Layers of any units on the CPU: native products and uniforms, the unit's own formula in between.

Bernoulli units never come here: their kernels do a layer in one go. Other units that have native draws are in `DRAWS`;
whoever has none is drawn by its formula in NumPy, on blocks of rows whose temporary arrays stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...units import OneHot, Unit, get_unit
from ..bits import PackedBits, as_dense, n_words, pack
from ..contract import Backend, Parameters, States
from ..draws import Draw
from .runtime import extension as _cpu
from .runtime import threads_for

_VALUES = 1 << 14  # of one temporary array: 64 or 128 KB


def row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of rows with about `_VALUES` values."""
    step = max(1, _VALUES // max(1, n_columns))
    for first in range(0, n_rows, step):
        yield slice(first, min(first + step, n_rows))


def means_in_place(unit: Unit, inputs: NDArray[Any], n_threads: int | None) -> NDArray[Any]:
    """Means of the units in place of their natural parameters."""
    if isinstance(unit, OneHot) and inputs.dtype == np.float32 and inputs.size:
        unit.check_width(inputs.shape[1])
        threads = threads_for(20.0 * inputs.size, n_threads)
        _cpu.onehot_rows(inputs, unit.n_classes or inputs.shape[1], None, None, threads)
        return inputs
    for rows in row_blocks(*inputs.shape):
        inputs[rows] = unit.mean(inputs[rows])
    return inputs


def draw_by_formula(unit: Unit, inputs: NDArray[Any], draw: Draw, n_threads: int) -> NDArray[Any]:
    """States of the units in place of their natural parameters."""
    for rows in row_blocks(*inputs.shape):
        theta = inputs[rows]
        u = np.empty_like(theta)
        _cpu.uniform_rows(draw._replace(first_chain=draw.first_chain + rows.start), u, n_threads)
        inputs[rows] = unit.sample(theta, u)
    return inputs


def _draw_gaussian(unit: Unit, inputs: NDArray[Any], draw: Draw, n_threads: int) -> NDArray[Any]:
    if inputs.dtype != np.float32:
        return draw_by_formula(unit, inputs, draw, n_threads)
    _cpu.add_normals(inputs, draw, n_threads)
    return inputs


def _draw_onehot(unit: Unit, inputs: NDArray[Any], draw: Draw, n_threads: int) -> NDArray[Any] | PackedBits:
    if inputs.dtype != np.float32:
        return draw_by_formula(unit, inputs, draw, n_threads)
    assert isinstance(unit, OneHot)
    unit.check_width(inputs.shape[1])
    words = np.empty((len(inputs), n_words(inputs.shape[1])), dtype=np.uint64)
    _cpu.onehot_rows(inputs, unit.n_classes or inputs.shape[1], draw, words, n_threads)
    return PackedBits(words, inputs.shape[1])


def _draw_ising(unit: Unit, inputs: NDArray[Any], draw: Draw, n_threads: int) -> NDArray[Any]:
    """A spin is up as often as a bit of twice the input is on."""
    words = np.empty((len(inputs), -(-inputs.shape[1] // 64)), dtype=np.uint64)
    inputs *= 2
    _cpu.draw_inputs(inputs, draw, words, n_threads)
    bits = PackedBits(words, inputs.shape[1])
    for rows in row_blocks(*inputs.shape):
        np.multiply(bits[rows].dense(np.uint8), inputs.dtype.type(2), out=inputs[rows])
        inputs[rows] -= 1
    return inputs


#: base name of a unit -> its native draw
DRAWS: dict[str, Callable[[Unit, NDArray[Any], Draw, int], States]] = {
    "gaussian": _draw_gaussian,
    "ising": _draw_ising,
    "onehot": _draw_onehot,
}


def samples(unit: str, inputs: NDArray[Any], draw: Draw, n_threads: int | None) -> States:
    """States of a layer of any units but Bernoulli ones; their natural parameters may be overwritten."""
    found = get_unit(unit)
    if inputs.size == 0:
        return pack(inputs) if found.packed else inputs
    drawn = DRAWS.get(found.name, draw_by_formula)(found, inputs, draw, threads_for(40.0 * inputs.size, n_threads))
    return pack(drawn) if found.packed and isinstance(drawn, np.ndarray) else drawn


def along(rows: NDArray[Any], direction: NDArray[Any], n_threads: int | None) -> NDArray[Any]:
    """``rows @ direction`` in the order of the columns, which that of BLAS is not."""
    out = np.empty((len(rows), 1), dtype=direction.dtype)
    zero = np.zeros(1, dtype=direction.dtype)
    _cpu.dense_inputs(rows, direction[None], zero, False, out, False, threads_for(4.0 * rows.size, n_threads))
    return out[:, 0]


def free_energy(
    backend: Backend, unit: str, states: States, parameters: Parameters, n_threads: int | None
) -> NDArray[np.float64]:
    """Free energy with hidden units of any type; sums are float64."""
    weights, visible_bias, hidden_bias = parameters
    cgf, wide_bias = get_unit(unit).cgf, visible_bias.astype(np.float64)
    energy = np.empty(states.shape[0])
    for rows in row_blocks(states.shape[0], max(weights.shape)):
        part = states[rows]
        x = backend.inputs(part, weights, hidden_bias).astype(np.float64)
        v = as_dense(part, np.float64).astype(np.float64, copy=False)
        energy[rows] = -along(v, wide_bias, n_threads) - cgf(x).sum(axis=1)
    return energy


def ising_as_bernoulli(parameters: Parameters) -> Parameters:
    """Model with Bernoulli hidden units h = (s + 1) / 2 in place of Ising ones s: the same p(v)."""
    weights, visible_bias, hidden_bias = parameters
    dtype = weights.dtype.type
    field = (visible_bias - weights.sum(axis=0, dtype=np.float64)).astype(dtype)
    return Parameters(dtype(2) * weights, field, dtype(2) * hidden_bias)
