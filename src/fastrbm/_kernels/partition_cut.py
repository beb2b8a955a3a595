"""How exact partition sums of Bernoulli layers are cut into high, middle and low bits, for the CPU and the GPU kernels.

The formulas are in ``cpu/src/tiles/partition.inc.c``; everything here is to base 2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .datatypes import Parameters
from .partition import states_between


class Precision(NamedTuple):
    """Limits of the inner products, to base 2: half the range of the type, so that sums of two cannot leave it."""

    largest_drop: float  # of one unit's Y below 1; FRBM_LEAST of cpu/src/tiles/partition.inc.c is well below
    chunk_drop: float  # of a product of factors before its exponent is taken out
    chunk: int  # factors, each at most 2


class Most(NamedTuple):
    """Bits that a kernel can make use of."""

    low: int
    middle: int
    fewest_low: int = 1  # with fewer, none


#: by bytes of a value
PRECISIONS = {4: Precision(92.0, 112.0, 96), 8: Precision(920.0, 960.0, 512)}
#: exponent of the weight of a state that is not there
NO_STATE = -(1 << 60)
_SCALE = 1 / math.log(2)


def to_base_two(parameters: Parameters) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Weights, visible and hidden biases in float64, such that a weight of a state is a power of two."""
    weights, visible_bias, hidden_bias = (_SCALE * x.astype(np.float64) for x in parameters)
    return weights, visible_bias, hidden_bias


def choose_dtype(
    dtype: Any, weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any], most: Most
) -> np.dtype[Any]:
    """Precision of the products: `dtype`, unless that is float32 and it would be of no use or not exact enough."""
    dtype = np.dtype(dtype)
    if dtype == np.float32 and not (
        _float32_fits(weights, most) and _float32_will_do(weights, visible_bias, hidden_bias)
    ):
        return np.dtype(np.float64)
    return dtype


def _float32_fits(weights: NDArray[Any], most: Most) -> bool:
    """Whether all lanes are of use; float64, with ten times the range, is faster than idle lanes."""
    return choose_bits(smallest_first(weights, most)[1], PRECISIONS[4], most)[0] == min(most.low, len(weights))


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


def smallest_first(weights: NDArray[Any], most: Most) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Hidden units by the largest of their weights, and the weights of the first ones."""
    order = np.argsort(np.abs(weights).max(axis=1), kind="stable")
    return order, weights[order[: most.low + most.middle]]


def choose_bits(sorted_weights: NDArray[Any], precision: Precision, most: Most) -> tuple[int, int]:
    """Low and middle bits: the columns of the smallest weights, as many as the range of the type holds."""
    drop = np.abs(sorted_weights).cumsum(axis=0).max(axis=1)
    fitting = int(np.searchsorted(drop, precision.largest_drop, side="right"))
    if fitting < min(most.fewest_low, len(drop)):
        return 0, 0
    return min(fitting, most.low), max(0, fitting - most.low)


def table_logs(weights: NDArray[Any]) -> NDArray[Any]:
    """Input of each unit less its largest one, by [state of some bits, unit]: at most 0."""
    n_bits, n_visible = weights.shape
    logs = np.zeros((1 << n_bits, n_visible))
    for k, row in enumerate(weights):
        off, on = logs[: 1 << k], logs[1 << k : 2 << k]
        np.add(off, np.minimum(row, 0), out=on)
        off += np.minimum(-row, 0)
    return logs


def places(bits: NDArray[np.intp]) -> NDArray[np.uint64]:
    """What each of some bits adds to the number of a state."""
    return np.uint64(1) << bits.astype(np.uint64)


def numbers(bits: NDArray[np.intp], first: int = 0, stop: int | None = None) -> NDArray[np.uint64]:
    """Numbers of the caller's states with state first, first + 1, ... of some bits and all other bits off."""
    states = states_between(first, 1 << len(bits) if stop is None else stop, len(bits))
    return (states.astype(np.uint64) * places(bits)).sum(axis=1, dtype=np.uint64)


def bias_weights(
    bias: NDArray[Any], bits: NDArray[np.intp], lanes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint64]]:
    """Mantissas and exponents of 2^bias by the state of some bits, padded, and the bits in the caller's states."""
    n = 1 << len(bits)
    log = states_between(0, n, len(bits)) @ bias[bits]
    mantissa, exponent = np.zeros(max(n, lanes)), np.full(max(n, lanes), NO_STATE, dtype=np.int64)
    exponent[:n] = np.floor(log)
    mantissa[:n] = np.exp2(log - exponent[:n])
    return mantissa, exponent, numbers(bits)


def find_stops(logs: list[NDArray[Any]], precision: Precision) -> NDArray[np.int64]:
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


def log_of_sum(sums: NDArray[np.float64], exponents: NDArray[np.int64]) -> float:
    """Natural logarithm of the sum of all sums * 2^exponents."""
    largest = int(exponents.max())
    total = float(np.ldexp(sums, np.maximum(exponents - largest, -2000)).sum())
    return (math.log2(total) + largest) / _SCALE
