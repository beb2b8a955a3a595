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
_FEWEST_LOW = 2
_MOST_LOW = 8
_TABLE_BYTES = 512 << 10  # stays in the second-level cache
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
    if dtype == np.float32 and not _float32_will_do(weights, visible_bias, hidden_bias):
        dtype = np.dtype(np.float64)
    run = _cut(weights, visible_bias, hidden_bias, dtype, log_weights)
    sums, exponents = run.run(threads_for(math.ldexp(weights.shape[1], weights.shape[0]), n_threads), on_progress)
    largest = int(exponents.max())
    total = float(np.ldexp(sums, np.maximum(exponents - largest, -2000)).sum())
    return (math.log2(total) + largest) / scale


def _float32_will_do(weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any]) -> bool:
    """Whether rounding every factor the same way, by half a unit in the last place twice, keeps the promised error.

    Needs log Z to be no smaller than 1/16 per unit that is summed out; a lower bound of it is Jensen's, over all states
    or the better ones found by flipping single units of the states all off and all on while that helps.
    """
    n_hidden, n_visible = weights.shape
    needed = n_visible / 16
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
    n_hidden, n_visible = weights.shape
    precision = _PRECISIONS[dtype.itemsize]
    order = np.argsort(np.abs(weights).max(axis=1), kind="stable")
    n_low = _choose_low(weights[order], dtype, precision)
    low, high = order[:n_low], order[n_low:]
    ld = -(-n_visible // 16) * 16
    start = np.full(ld, -1e6)  # units that are not there are off
    start[:n_visible] = visible_bias + np.maximum(weights[low], 0).sum(axis=0)
    rows = np.zeros((len(high), ld))
    rows[:, :n_visible] = weights[high]
    table, stops = _table(weights[low], dtype, precision)
    n_low_states = 1 << n_low
    bias = states_between(0, n_low_states, n_low) @ hidden_bias[low]
    mantissa = np.zeros(table.shape[0] * LANES)
    exponent = np.full(mantissa.shape, -(1 << 60), dtype=np.int64)
    exponent[:n_low_states] = np.floor(bias)
    mantissa[:n_low_states] = np.exp2(bias - exponent[:n_low_states])
    places = np.uint64(1) << order.astype(np.uint64)
    low_state = (states_between(0, n_low_states, n_low).astype(np.uint64) * places[:n_low]).sum(axis=1, dtype=np.uint64)
    return _cpu.PartitionSum(
        start, rows, hidden_bias[high], table, mantissa, exponent, stops, places[n_low:], low_state,
        _choose_block(len(high), n_low_states * n_visible), log_weights,
    )  # fmt: skip


def _choose_low(sorted_weights: NDArray[Any], dtype: np.dtype[Any], precision: _Precision) -> int:
    """Low bits: the columns of the smallest weights, as many as the range of the type and the cache hold."""
    n_hidden, n_visible = sorted_weights.shape
    room = max(LANES, _TABLE_BYTES // (n_visible * dtype.itemsize))
    most = min(n_hidden, _MOST_LOW, room.bit_length() - 1)
    drop = np.abs(sorted_weights[:most]).cumsum(axis=0).max(axis=1)
    fitting = int(np.searchsorted(drop, precision.largest_drop, side="right"))
    return fitting if fitting >= _FEWEST_LOW else 0


def _table(weights: NDArray[Any], dtype: np.dtype[Any], precision: _Precision) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Y of the units for all low states, and where products give up their exponents."""
    n_low, n_visible = weights.shape
    n_states = 1 << n_low
    # drop[s]: how far the input of a unit is below its largest one; the least over s is 0
    drop = np.zeros((1, n_visible))
    for row in weights:
        drop = np.concatenate([drop + np.maximum(row, 0), drop - np.minimum(row, 0)])
    table = np.ones((-(-n_states // LANES) * LANES, n_visible), dtype=dtype)
    table[:n_states] = np.exp2(-drop)
    stops, at = [], 0
    sums = np.zeros((n_states, n_visible + 1))
    np.cumsum(drop, axis=1, out=sums[:, 1:])
    while at < n_visible:
        ahead = sums[:, at + 1 : at + 1 + precision.chunk] - sums[:, at, None]
        count = int(np.searchsorted(ahead.max(axis=0), precision.chunk_drop, side="right"))
        at += max(1, count)
        stops.append(at)
    by_group = table.reshape(-1, LANES, n_visible).transpose(0, 2, 1)
    return np.ascontiguousarray(by_group), np.array(stops, dtype=np.int64)


def _choose_block(n_high: int, factors: int) -> int:
    """High bits within a block: enough to share what a block costs, at most 2^10 roundings from an exact start."""
    bits = min(10, max(4, n_high - 5))
    while bits > 2 and factors << bits > _MOST_FACTORS:
        bits -= 1
    return min(n_high, bits)
