"""Exact partition sums of Bernoulli layers on the native kernels: how a model is cut into high and low bits.

The formulas are in ``src/partition.h``; everything here is to base 2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract import Parameters
from ..partition import Progress, states_between
from ._runtime import extension as _cpu
from ._runtime import threads_for

LANES = 64  # FRBM_PARTITION_LANES
#: fewer low bits than this are slower than none: lanes are idle then
_FEWEST_LOW = 3
#: one group of lanes
_MOST_LOW = 6
#: exponentials per high state are shared by 2^(low + middle) states, but products must give up their exponents the
#: more often, the more bits there are
_MOST_MIDDLE = 3
_MOST_FACTORS = 1 << 27  # of one block, between two looks at signals: 0.1 s on the slowest target


class _Precision(NamedTuple):
    """Limits of the inner products, to base 2: half the range of the type, so that sums of two cannot leave it."""

    largest_drop: float  # of one unit's Y below 1; FRBM_LEAST of src/partition.h is well below
    chunk_drop: float  # of a product of factors before its exponent is taken out
    chunk: int  # factors, each at most 2


_PRECISIONS = {4: _Precision(92.0, 112.0, 96), 8: _Precision(920.0, 960.0, 512)}


def log_partition_sum(
    parameters: Parameters,
    dtype: Any,
    log_weights: NDArray[np.float64] | None,
    on_progress: Progress | None,
    n_threads: int | None,
) -> float:
    """See `Backend.log_partition_sum`; arguments are checked."""
    scale = 1 / math.log(2)
    weights, visible_bias, hidden_bias = (scale * x.astype(np.float64) for x in parameters)
    dtype = np.dtype(dtype)
    if dtype == np.float32 and not (_float32_fits(weights) and _float32_will_do(weights, visible_bias, hidden_bias)):
        dtype = np.dtype(np.float64)
    run = _cut(weights, visible_bias, hidden_bias, dtype, log_weights)
    sums, exponents = run.run(threads_for(math.ldexp(weights.shape[1], weights.shape[0]), n_threads), on_progress)
    largest = int(exponents.max())
    total = float(np.ldexp(sums, np.maximum(exponents - largest, -2000)).sum())
    return (math.log2(total) + largest) / scale


def _float32_fits(weights: NDArray[Any]) -> bool:
    """Whether all lanes are of use; float64, with ten times the range, is faster than idle lanes."""
    return _choose_bits(_smallest_first(weights)[1], _PRECISIONS[4])[0] == min(_MOST_LOW, len(weights))


def _float32_will_do(weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any]) -> bool:
    """Whether rounding every factor the same way, by half a unit in the last place twice, keeps the promised error.

    That is 2^-23 per unit summed out, so log Z must not be smaller than 1/8 (base 2) per unit: then the error is below
    1.4e-6 of it. What bounds log Z from below: Jensen's inequality over all states, or a single good state, found by
    flipping units of the states all off and all on while that helps.
    """
    n_hidden, n_visible = weights.shape
    needed = n_visible / 8
    x = visible_bias + weights.sum(axis=0) / 2
    if n_hidden + hidden_bias.sum() / 2 + np.logaddexp2(0, x).sum() >= needed:
        return True
    for on in (0.0, 1.0):
        h = np.full(n_hidden, on)
        best = -np.inf
        while True:
            flips = np.abs(h - np.eye(n_hidden))
            logs = flips @ hidden_bias + np.logaddexp2(0, flips @ weights + visible_bias).sum(axis=1)
            k = int(logs.argmax())
            if logs[k] <= best:
                break
            h, best = flips[k], logs[k]
            if best >= needed:
                return True
    return False


def _cut(
    weights: NDArray[Any],
    visible_bias: NDArray[Any],
    hidden_bias: NDArray[Any],
    dtype: np.dtype[Any],
    log_weights: NDArray[np.float64] | None,
) -> Any:
    """Choose the bits and make the tables of one sum."""
    n_visible = weights.shape[1]
    precision = _PRECISIONS[dtype.itemsize]
    order, smallest = _smallest_first(weights)
    n_low, n_middle = _choose_bits(smallest, precision)
    low, middle, high = np.split(order, [n_low, n_low + n_middle])
    ld = -(-n_visible // 16) * 16
    start = np.full(ld, -1e6)  # units that are not there are off
    start[:n_visible] = visible_bias + np.maximum(weights[order[: n_low + n_middle]], 0).sum(axis=0)
    rows = np.zeros((len(high), ld))
    rows[:, :n_visible] = weights[high]
    drops = [_drops(weights[bits]) for bits in (middle, low)]
    middle_table = np.ones((len(drops[0]), ld), dtype=dtype)
    middle_table[:, :n_visible] = np.exp2(-drops[0])
    low_table = np.ones((max(LANES, len(drops[1])), n_visible), dtype=dtype)
    low_table[: len(drops[1])] = np.exp2(-drops[1])
    by_lane = np.ascontiguousarray(low_table.reshape(-1, LANES, n_visible).transpose(0, 2, 1))
    return _cpu.PartitionSum(
        (rows, hidden_bias[high], _places(high)),
        (middle_table, *_bias_weights(hidden_bias, middle, 1)),
        (by_lane, *_bias_weights(hidden_bias, low, LANES)),
        start,
        _stops(drops, precision),
        _choose_block(len(high), len(drops[0]) * len(drops[1]) * n_visible),
        log_weights,
    )


def _smallest_first(weights: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Hidden units by the largest of their weights, and the weights of the first ones."""
    order = np.argsort(np.abs(weights).max(axis=1), kind="stable")
    return order, weights[order[: _MOST_LOW + _MOST_MIDDLE]]


def _choose_bits(sorted_weights: NDArray[Any], precision: _Precision) -> tuple[int, int]:
    """Low and middle bits: the columns of the smallest weights, as many as the range of the type holds."""
    drop = np.abs(sorted_weights).cumsum(axis=0).max(axis=1)
    fitting = int(np.searchsorted(drop, precision.largest_drop, side="right"))
    if fitting < min(_FEWEST_LOW, len(drop)):
        return 0, 0
    return min(fitting, _MOST_LOW), max(0, fitting - _MOST_LOW)


def _drops(weights: NDArray[Any]) -> NDArray[Any]:
    """How far the input of a unit is below its largest one, by the state of some bits; the least over states is 0."""
    drop = np.zeros((1, weights.shape[1]))
    for row in weights:
        drop = np.concatenate([drop + np.maximum(row, 0), drop - np.minimum(row, 0)])
    return drop


def _places(bits: NDArray[np.intp]) -> NDArray[np.uint64]:
    return np.uint64(1) << bits.astype(np.uint64)


def _bias_weights(
    bias: NDArray[Any], bits: NDArray[np.intp], lanes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint64]]:
    """Mantissas and exponents of 2^bias by the state of some bits, padded, and the bits in the caller's states."""
    n = 1 << len(bits)
    states = states_between(0, n, len(bits))
    log = states @ bias[bits]
    mantissa, exponent = np.zeros(max(n, lanes)), np.full(max(n, lanes), -(1 << 60), dtype=np.int64)
    exponent[:n] = np.floor(log)
    mantissa[:n] = np.exp2(log - exponent[:n])
    return mantissa, exponent, (states.astype(np.uint64) * _places(bits)).sum(axis=1, dtype=np.uint64)


def _stops(drops: list[NDArray[Any]], precision: _Precision) -> NDArray[np.int64]:
    """Where products give up their exponents: at the latest before some state's could leave the range."""
    n_visible = drops[0].shape[1]
    sums = [np.cumsum(drop, axis=1) for drop in drops]
    stops, at = [], 0
    while at < n_visible:
        below = np.zeros(min(precision.chunk, n_visible - at))
        for total in sums:
            ahead = total[:, at : at + len(below)]
            below += (ahead - total[:, at - 1, None] if at else ahead).max(axis=0)
        at += max(1, int(np.searchsorted(below, precision.chunk_drop, side="right")))
        stops.append(at)
    return np.array(stops, dtype=np.int64)


def _choose_block(n_high: int, factors: int) -> int:
    """High bits within a block: enough to share what its start costs, at most 2^10 roundings from an exact start."""
    bits = min(10, max(2, n_high - 8))
    while bits > 2 and factors << bits > _MOST_FACTORS:
        bits -= 1
    return min(n_high, bits)
