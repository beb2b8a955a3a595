"""Exact partition sums of Bernoulli layers on a GPU: the tables of one sum and its launches, to base 2."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract import Parameters
from ..partition import Progress, states_between
from ..partition_cut import (
    PRECISIONS,
    Most,
    bias_weights,
    choose_bits,
    choose_dtype,
    find_stops,
    log_of_sum,
    numbers,
    smallest_first,
    table_logs,
    to_base_two,
)
from .kernels.partition import (
    DEVICE_SHAPES,
    SMALL,
    Chunks,
    Low,
    Middle,
    Scaled,
    Shape,
    add_outer_rows,
    partition_kernel,
    take_logs,
)
from .kernels.target import SIMULATED, cuda, launch
from .launching import n_processors
from .memory import upload

_SHAPES = dict.fromkeys(DEVICE_SHAPES, SMALL) if SIMULATED else DEVICE_SHAPES
#: as on the CPU: products must give up their exponents the more often, the more bits there are
_MOST_MIDDLE = 3
#: high states of a block, 2^this: they share the inputs of their outer state and one place in the sums
_MOST_INNER = 8
#: outer states, 2^this, that there should be at least: enough for all multiprocessors
_ENOUGH_OUTER = 2 if SIMULATED else 11
_MOST_TABLE = 1 << 24  # bytes of the inner table, so that it stays in the cache
_MOST_OUTER = 1 << 26  # bytes of inputs of outer states at once
_MOST_LOGS = 1 << 25  # log-weights on the device at once: 512 MB with their exponents
_FIRST_FACTORS = 1 << 33  # of the first launch
_SHORT = 0.1  # seconds; the next launch is twice as long


#: factors (states times neurons that are summed out) of a multiprocessor a second. Not measured, and meant to be too
#: few by several times: a factor takes a multiplication and a fused multiply-add, devices of capability 8.0 have 64
#: lanes a multiprocessor in float32 (later ones 128) and at least two in float64, and run at 1 GHz or more; of the
#: peak that follows, a quarter.
_FACTORS_PER_PROCESSOR = {4: 64 / 2 * 1e9 / 4, 8: 2 / 2 * 1e9 / 4}
#: what a state costs beside its neurons, in neurons
_BESIDE = 10


class _Cut(NamedTuple):
    """One sum: its bits in the caller's states, smallest first, and its tables on the device."""

    low: NDArray[np.intp]
    middle: NDArray[np.intp]
    inner: NDArray[np.intp]
    outer: NDArray[np.intp]
    start: Any
    rows: Any
    inner_table: Any
    middle_table: Middle
    low_table: Low
    chunks: Chunks

    @property
    def block_states(self) -> int:
        """States of one outer state."""
        return 1 << len(self.low) + len(self.middle) + len(self.inner)


def log_partition_sum(
    parameters: Parameters,
    dtype: Any,
    log_weights: NDArray[np.float64] | None,
    on_progress: Progress | None,
) -> float:
    """See `Backend.log_partition_sum`; arguments are checked. How it is cut into launches changes no bit."""
    model = to_base_two(parameters)
    real: Any = choose_dtype(dtype, *model, _most(_SHAPES[np.float32])).type
    shape = _SHAPES[real]
    cut = _make_cut(*model, real, shape)
    kernel = partition_kernel(real, shape, log_weights is not None)
    total = 1 << len(cut.outer)
    sums, exponents = np.empty(total), np.empty(total, dtype=np.int64)
    n_neurons = len(model[1])
    most = min(total, max(1, _MOST_OUTER // (8 * (n_neurons + 1))))
    kept = (max(1 << len(cut.inner), shape.rows >> len(cut.middle)), 1 << len(cut.middle), shape.lanes)
    if log_weights is not None:
        most = min(most, max(1, _MOST_LOGS // math.prod(kept)))
    count = max(1, _FIRST_FACTORS // (n_neurons * cut.block_states))
    outer = cuda.device_array((most, n_neurons + 1), dtype=np.float64)
    shapes: tuple[Any, ...] = (most, (0 if log_weights is None else most, math.prod(kept)))
    some, weights = (Scaled(*(cuda.device_array(n, dtype=x.dtype) for x in (sums, exponents))) for n in shapes)
    first = 0
    while first < total:
        count = min(count, most, total - first)
        began = perf_counter()
        launch(add_outer_rows, count, shape.threads, first, cut.start, cut.rows, outer)
        launch(
            kernel, count, shape.threads, outer, cut.inner_table, cut.middle_table, cut.low_table, cut.chunks, some,
            weights,
        )  # fmt: skip
        here = slice(first, first + count)
        sums[here] = some.mantissas[:count].copy_to_host()
        exponents[here] = some.exponents[:count].copy_to_host()
        seconds = perf_counter() - began
        if log_weights is not None:
            launch(take_logs, count, shape.threads, *weights)
            _put_in_order(weights.mantissas[:count].copy_to_host().reshape(count, *kept), first, cut, log_weights)
        first += count
        if on_progress is not None:
            on_progress(first * cut.block_states, total * cut.block_states)
        if seconds < _SHORT:
            count *= 2
    return log_of_sum(sums, exponents)


def seconds_for(n_states: float, n_other: int, dtype: Any) -> float:
    """Rough time of a sum over n_states in which `n_other` neurons are summed out, rather too long than too short.

    The simulator says what a device of one multiprocessor would, so that methods are chosen there as on a device.
    """
    rate = n_processors() * _FACTORS_PER_PROCESSOR[np.dtype(dtype).itemsize]
    return n_states * (n_other + _BESIDE) / rate


def _most(shape: Shape) -> Most:
    return Most(shape.lanes.bit_length() - 1, min(_MOST_MIDDLE, shape.most_middle))


def _make_cut(
    weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any], real: Any, shape: Shape
) -> _Cut:
    """Choose the bits and make the tables of one sum."""
    precision, most = PRECISIONS[np.dtype(real).itemsize], _most(shape)
    order, smallest = smallest_first(weights, most)
    n_low, n_middle = choose_bits(smallest, precision, most)
    n_inner = _choose_inner(len(order) - n_low - n_middle, shape.rows >> n_middle, weights.shape[1])
    low, middle, inner, outer = np.split(order, np.cumsum([n_low, n_middle, n_inner]))
    rows = np.column_stack([weights, hidden_bias])
    start = np.append(visible_bias + np.maximum(weights[order[: n_low + n_middle]], 0).sum(axis=0), 0.0)
    logs = [table_logs(weights[bits]) for bits in (middle, low)]
    z = np.exp2(logs[0].T).astype(real)
    mantissa, exponent, _ = bias_weights(hidden_bias, low, shape.lanes)
    y = np.ones((weights.shape[1], shape.lanes), dtype=real)
    y[:, : 1 << n_low] = np.exp2(logs[1].T)
    there = upload
    return _Cut(
        low,
        middle,
        inner,
        outer,
        there(start),
        there(rows[outer]),
        there(np.ascontiguousarray((states_between(0, 1 << n_inner, n_inner) @ rows[inner]).T)),
        Middle(n_middle, there(np.ascontiguousarray(z)), *map(there, bias_weights(hidden_bias, middle, 1)[:2])),
        # exponents alone say which lanes have no state
        Low(there(y.ravel()), there(np.maximum(mantissa, 1).astype(real)), there(exponent)),
        Chunks(*map(there, chunks_of(find_stops(logs, precision), shape.chunk))),
    )


def _choose_inner(n_high: int, n_rows: int, n_neurons: int) -> int:
    """High bits that change within a block: at least those of the rows it does at once."""
    least = n_rows.bit_length() - 1
    bits = min(_MOST_INNER, n_high - _ENOUGH_OUTER)
    while bits > least and 8 * n_neurons << bits > _MOST_TABLE:
        bits -= 1
    return min(n_high, max(bits, least))


def chunks_of(stops: NDArray[np.int64], chunk: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Find the ends of chunks of neurons, at most `chunk` each, and whether products give up their exponents there."""
    ends: list[int] = []
    strips: list[bool] = []
    begin = 0
    for stop in stops.tolist():
        here = [*range(begin + chunk, stop, chunk), stop]
        ends += here
        strips += [end == stop for end in here]
        begin = stop
    return np.array(ends, dtype=np.int32), np.array(strips, dtype=np.int32)


def _put_in_order(logs: NDArray[np.float64], first: int, cut: _Cut, log_weights: NDArray[np.float64]) -> None:
    """Log-weights of outer states first, first + 1, ... to where the caller wants them."""
    low, middle, inner = (numbers(bits) for bits in (cut.low, cut.middle, cut.inner))
    states = inner[:, None, None] | middle[:, None] | low
    for outer, block in zip(numbers(cut.outer, first, first + len(logs)), logs, strict=True):
        log_weights[states | outer] = block[: len(inner), :, : len(low)]
