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
    logs = [_table_logs(weights[bits]) for bits in (middle, low)]
    middle_table = np.ones((1 << n_middle, ld), dtype=dtype)
    np.exp2(logs[0], out=middle_table[:, :n_visible], casting="same_kind")
    low_table = np.ones((1, n_visible, LANES), dtype=dtype)
    np.exp2(logs[1], out=low_table[0, :, : 1 << n_low].T, casting="same_kind")
    return _cpu.PartitionSum(
        (rows, hidden_bias[high], _places(high)),
        (middle_table, *_bias_weights(hidden_bias, middle, 1)),
        (low_table, *_bias_weights(hidden_bias, low, LANES)),
        start,
        _stops(logs, precision),
        _choose_block(len(high), n_visible << n_low + n_middle),
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


def _table_logs(weights: NDArray[Any]) -> NDArray[Any]:
    """Input of each unit less its largest one, by [state of some bits, unit]: at most 0."""
    n_bits, n_visible = weights.shape
    logs = np.zeros((1 << n_bits, n_visible))
    for k, row in enumerate(weights):
        off, on = logs[: 1 << k], logs[1 << k : 2 << k]
        np.add(off, np.minimum(row, 0), out=on)
        off += np.minimum(-row, 0)
    return logs


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


def _stops(logs: list[NDArray[Any]], precision: _Precision) -> NDArray[np.int64]:
    """Where products give up their exponents: at the latest before some state's could leave the range."""
    n_visible = logs[0].shape[1]
    stops, at, window = [], 0, precision.chunk
    while at < n_visible:
        # small arrays: here as everywhere above, fresh memory costs more than the arithmetic
        below = -sum(np.cumsum(log[:, at : at + window], axis=1).min(axis=0) for log in logs)
        count = max(1, int(np.searchsorted(below, precision.chunk_drop, side="right")))
        at += count
        window = min(precision.chunk, 2 * count + 8)
        stops.append(at)
    return np.array(stops, dtype=np.int64)


def _choose_block(n_high: int, factors: int) -> int:
    """High bits within a block: enough to share what its start costs, at most 2^10 roundings from an exact start."""
    bits = min(10, max(2, n_high - 8))
    while bits > 2 and factors << bits > _MOST_FACTORS:
        bits -= 1
    return min(n_high, bits)
