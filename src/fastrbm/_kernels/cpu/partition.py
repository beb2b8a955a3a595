"""Exact partition sums of Bernoulli layers on the native kernels: the tables of one sum, to base 2."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import BIT_UNITS
from ..contract import Parameters
from ..partition import Progress
from ..partition_cut import (
    PRECISIONS,
    Most,
    bias_weights,
    choose_bits,
    choose_dtype,
    find_stops,
    log_of_sum,
    places,
    smallest_first,
    table_logs,
    to_base_two,
)
from .runtime import current_target, threads_for
from .runtime import extension as _cpu

LANES = _cpu.CONSTANTS["PARTITION_LANES"]
#: fewer low bits than this are slower than none: lanes are idle then
_FEWEST_LOW = 3
#: one group of lanes
_MOST_LOW = 6
#: exponentials per high state are shared by 2^(low + middle) states, but products must give up their exponents the
#: more often, the more bits there are
_MOST_MIDDLE = 3
#: neurons summed out times states, a second and thread; measured, but for those of arm64: half of AVX2's for registers
#: of half the width
RATES = {
    "amx": 4e10, "avx512": 4e10, "avx2": 2e10, "neon_i8mm": 1e10, "neon": 1e10, "baseline": 2e9, "amx_emulated": 4e10,
    "amx_plain": 2e9,
}  # fmt: skip
_RATE_OF_FORMULA = 3e7  # the same in NumPy
_MOST_FACTORS = 1 << 27  # of one block, between two looks at signals: 0.1 s on the slowest target


def log_partition_sum(
    parameters: Parameters,
    dtype: Any,
    log_weights: NDArray[np.float64] | None,
    on_progress: Progress | None,
    n_threads: int | None,
) -> float:
    """See `Backend.log_partition_sum`; arguments are checked."""
    weights, visible_bias, hidden_bias = to_base_two(parameters)
    most = Most(_MOST_LOW, _MOST_MIDDLE, _FEWEST_LOW)
    dtype = choose_dtype(dtype, weights, visible_bias, hidden_bias, most)
    run = _cut(weights, visible_bias, hidden_bias, dtype, most, log_weights)
    sums, exponents = run.run(threads_for(math.ldexp(weights.shape[1], weights.shape[0]), n_threads), on_progress)
    return log_of_sum(sums, exponents)


def seconds_for_states(units: tuple[str, str], n_states: float, n_other: int, n_threads: int | None) -> float:
    """Seconds that an exact sum over `n_states` states takes here, `n_other` neurons being summed out of each.

    Layers of two values have native kernels (spins are written as bits), others the formula in NumPy.
    """
    n_states = min(float(n_states), 1e300)
    work = n_states * (n_other + 10)  # a state costs something beside its neurons
    if not BIT_UNITS.issuperset(units):
        return work / _RATE_OF_FORMULA
    return work / (RATES[current_target()] * threads_for(n_states * n_other, n_threads))


def _cut(
    weights: NDArray[Any],
    visible_bias: NDArray[Any],
    hidden_bias: NDArray[Any],
    dtype: np.dtype[Any],
    most: Most,
    log_weights: NDArray[np.float64] | None,
) -> Any:
    """Choose the bits and make the tables of one sum."""
    n_visible = weights.shape[1]
    precision = PRECISIONS[dtype.itemsize]
    order, smallest = smallest_first(weights, most)
    n_low, n_middle = choose_bits(smallest, precision, most)
    low, middle, high = np.split(order, [n_low, n_low + n_middle])
    ld = -(-n_visible // 16) * 16
    start = np.full(ld, -1e6)  # units that are not there are off
    start[:n_visible] = visible_bias + np.maximum(weights[order[: n_low + n_middle]], 0).sum(axis=0)
    rows = np.zeros((len(high), ld))
    rows[:, :n_visible] = weights[high]
    logs = [table_logs(weights[bits]) for bits in (middle, low)]
    middle_table = np.ones((1 << n_middle, ld), dtype=dtype)
    np.exp2(logs[0], out=middle_table[:, :n_visible], casting="same_kind")
    low_table = np.ones((1, n_visible, LANES), dtype=dtype)
    np.exp2(logs[1], out=low_table[0, :, : 1 << n_low].T, casting="same_kind")
    return _cpu.PartitionSum(
        (rows, hidden_bias[high], places(high)),
        (middle_table, *bias_weights(hidden_bias, middle, 1)),
        (low_table, *bias_weights(hidden_bias, low, LANES)),
        start,
        find_stops(logs, precision),
        _choose_block(len(high), n_visible << n_low + n_middle),
        log_weights,
    )


def _choose_block(n_high: int, factors: int) -> int:
    """High bits within a block: enough to share what its start costs, at most 2^10 roundings from an exact start."""
    bits = min(10, max(2, n_high - 8))
    while bits > 2 and factors << bits > _MOST_FACTORS:
        bits -= 1
    return min(n_high, bits)
