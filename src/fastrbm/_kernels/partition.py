"""Exact partition sums over the states of one layer in NumPy: the definition that fast versions are tested against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..units import get_unit
from .datatypes import Parameters

Progress = Callable[[int, int], None]
#: 2^40 states are hours at any speed there is
MOST_UNITS = 40
#: neurons times states a second of the sum in NumPy; measured
REFERENCE_RATE = 3e7
#: float64 values of a block of a sum: 2 MB
BLOCK_VALUES = 1 << 18


def check_partition(parameters: Parameters, units: tuple[str, str], log_weights: NDArray[np.float64] | None) -> None:
    """Raise ValueError or TypeError unless the sum can be done."""
    listed = get_unit(units[1])
    if not listed.finite:
        raise ValueError(f"units[1] must be a unit whose states can be enumerated, got {units[1]!r}")
    n_hidden, n_visible = parameters.weights.shape
    if n_hidden < 1 or n_visible < 1 or listed.log2_states(n_hidden) > MOST_UNITS:
        raise ValueError(
            f"the layer that is enumerated must have 1 to {MOST_UNITS} units of two values (2^{MOST_UNITS} states) "
            f"and the other at least 1, got {n_hidden} and {n_visible}"
        )
    if not all(np.isfinite(x).all() for x in parameters):
        raise ValueError("parameters must be finite, got infinity or NaN")
    if log_weights is None:
        return
    if not isinstance(log_weights, np.ndarray) or log_weights.dtype != np.float64:
        raise TypeError(f"log_weights must be an array of float64, got {getattr(log_weights, 'dtype', log_weights)!r}")
    n_states = listed.n_states(n_hidden)
    if log_weights.shape != (n_states,) or not log_weights.flags.c_contiguous or not log_weights.flags.writeable:
        raise ValueError(
            f"log_weights must be writeable and contiguous, of shape ({n_states},), got {log_weights.shape}"
        )


def states_between(first: int, stop: int, n_units: int) -> NDArray[np.float64]:
    """States number first, first + 1, ..., stop - 1 as rows of bits; unit k is bit k of the number."""
    numbers = np.arange(first, stop, dtype=np.uint64)
    return (numbers[:, None] >> np.arange(n_units, dtype=np.uint64) & np.uint64(1)).astype(np.float64)


def log_partition_sum(
    parameters: Parameters,
    units: tuple[str, str],
    log_weights: NDArray[np.float64] | None = None,
    on_progress: Progress | None = None,
) -> float:
    """Sum block by block in float64; arguments as in `Backend.log_partition_sum`."""
    check_partition(parameters, units, log_weights)
    weights, visible_bias, hidden_bias = (x.astype(np.float64) for x in parameters)
    visible, hidden = get_unit(units[0]), get_unit(units[1])
    n_hidden, n_visible = weights.shape
    total = hidden.n_states(n_hidden)
    step = min(total, max(1, BLOCK_VALUES // max(n_visible, n_hidden)))

    def terms(first: int, stop: int) -> NDArray[np.float64]:
        h = hidden.states(first, stop, n_hidden)
        th = hidden.statistics(h)
        block: NDArray[Any] = th @ hidden_bias + visible.cgf(th @ weights + visible_bias).sum(axis=1)
        return block + hidden.base(h)

    return log_sum_of_blocks(terms, total, step, log_weights, on_progress)


def log_sum_of_blocks(
    terms: Callable[[int, int], NDArray[np.float64]],
    total: int,
    step: int,
    log_weights: NDArray[np.float64] | None = None,
    on_progress: Progress | None = None,
) -> float:
    """Log of the sum of exp(terms) number 0 to total - 1.

    ``terms(first, stop)`` gives some of them, `step` at a time. They are kept in `log_weights` if that is given.
    """
    largest, scaled = -math.inf, 0.0  # the sum so far is scaled * exp(largest)
    for first in range(0, total, step):
        stop = min(total, first + step)
        block = terms(first, stop)
        if log_weights is not None:
            log_weights[first:stop] = block
        now = max(largest, float(block.max()))
        scaled = scaled * math.exp(largest - now) + float(np.exp(block - now).sum())
        largest = now
        if on_progress is not None:
            on_progress(stop, total)
    return largest + math.log(scaled)
