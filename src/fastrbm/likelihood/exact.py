"""Exact sums over the states of the smaller layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, PackedBits, Parameters
from ..model import Model
from ..units import get_unit
from ._result import LogPartition, Moments

#: states of a layer that may be kept in memory, as log probabilities (8 bytes each)
MOST_LISTED = 26
#: seconds an exact sum may be expected to take when it is asked for
LONGEST = 3600.0
# units times states a second and thread; measured, see docs/likelihood.rst
_RATES = {"avx512": 4e10, "avx2": 2e10, "baseline": 2e9, "reference": 3e7}
_BLOCK = 4096  # states whose means are held at once


def smaller_layer(model: Model) -> str:
    """The layer whose states are listed: "hidden" or "visible"."""
    n_hidden, n_visible = model.weights.shape
    return "hidden" if n_hidden <= n_visible else "visible"


def listed(model: Model, layer: str) -> tuple[Parameters, tuple[str, str]]:
    """Parameters and units with `layer` in the place of the hidden one."""
    if layer == "hidden":
        return model.parameters, model.units
    weights, visible_bias, hidden_bias = model.parameters
    return Parameters(np.ascontiguousarray(weights.T), hidden_bias, visible_bias), model.units[::-1]


def seconds_needed(model: Model, backend: Backend, layer: str | None = None) -> float:
    """Rough time of the sum."""
    n_hidden, n_visible = model.weights.shape
    few, many = (n_hidden, n_visible) if (layer or smaller_layer(model)) == "hidden" else (n_visible, n_hidden)
    kind, threads = "reference", 1
    if backend.name == "cpu":
        from .._kernels.cpu import current_target
        from .._kernels.cpu._runtime import threads_for

        kind, threads = current_target(), threads_for(2.0**few * many, getattr(backend, "n_threads", None))
    # a state costs something beside its units
    return float(2.0 ** min(few, 1000)) * (many + 10) / (_RATES[kind] * threads)


def check_size(model: Model, backend: Backend) -> None:
    """Raise ValueError if an exact sum would take unreasonably long."""
    few = min(model.weights.shape)
    seconds = seconds_needed(model, backend)
    if few > 40 or seconds > LONGEST:
        raise ValueError(
            f"an exact sum over the 2^{few} states of {few} {smaller_layer(model)} units would take about "
            f"{_duration(seconds)} here; use method='bracket' or method='mais', which estimate it"
        )


def _duration(seconds: float) -> str:
    for name, size in (("years", 3.156e7), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.2g} seconds"


def state_log_weights(model: Model, layer: str, backend: Backend) -> NDArray[np.float64]:
    """Log weight of every state of a layer, the other one summed out; unit k of state s is bit k of s.

    Their log-sum-exp is log Z. In float64, whatever the type of the weights.
    """
    n = model.weights.shape[0 if layer == "hidden" else 1]
    if n > MOST_LISTED:
        raise ValueError(f"the states of {layer} units can be listed for at most {MOST_LISTED} units, got {n}")
    parameters, units = listed(model, layer)
    out = np.empty(2**n)
    backend.log_partition_sum(parameters, units, dtype=np.float64, log_weights=out)
    return out


def log_partition(
    model: Model,
    backend: Backend,
    *,
    moments: bool = False,
    probabilities: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> LogPartition:
    """Exact log partition sum, and on request what follows from the terms of it.

    Inner products have the type of the weights, sums are float64: the relative error is below 2e-6 for float32 and
    1e-10 for float64.
    """
    check_size(model, backend)
    begin = time.perf_counter()
    layer = smaller_layer(model)
    if moments or probabilities:
        log_weights = state_log_weights(model, layer, backend)
        top = log_weights.max()
        value = float(top + np.log(np.exp(log_weights - top).sum()))
        log_p = log_weights - value
    else:
        parameters, units = listed(model, layer)
        value = backend.log_partition_sum(parameters, units, dtype=model.weights.dtype, on_progress=progress)
        log_p = np.empty(0)
    found = moments_of(model, layer, np.exp(log_p), backend) if moments else None
    return LogPartition(
        value,
        0.0,
        (value, value),
        "exact",
        seconds=time.perf_counter() - begin,
        moments=found,
        log_probabilities=log_p if probabilities else None,
    )


def all_states(n_units: int, first: int, count: int) -> PackedBits:
    """States first, first + 1, ... of a layer: unit k is bit k."""
    return PackedBits(np.arange(first, first + count, dtype=np.uint64)[:, None], n_units)


def moments_of(model: Model, layer: str, p: NDArray[np.float64], backend: Backend) -> Moments:
    """Means under the model from the probabilities of all states of `layer`.

    Conditional means have the type of the weights, sums over states are float64.
    """
    hidden = layer == "hidden"
    weights, visible_bias, hidden_bias = model.parameters
    n_units = len(hidden_bias) if hidden else len(visible_bias)
    other, bias = (model.visible, visible_bias) if hidden else (model.hidden, hidden_bias)
    support = get_unit(model.hidden if hidden else model.visible).support
    assert support is not None
    pairs = np.zeros((n_units, len(bias)))
    of_other, of_layer = np.zeros(len(bias)), np.zeros(n_units)
    for first in range(0, len(p), _BLOCK):
        states = all_states(n_units, first, min(_BLOCK, len(p) - first))
        share = p[first : first + len(states)]
        means: Any = backend.means(other, states, weights, bias, transpose=hidden)
        s = states.dense(weights.dtype)
        weighted = np.ascontiguousarray((s * share[:, None].astype(s.dtype)).T)
        pairs += weighted @ means
        of_other += share @ means
        of_layer += weighted.sum(axis=1, dtype=np.float64)
    if hidden:
        return Moments(of_other, of_layer, pairs)
    return Moments(of_layer, of_other, np.ascontiguousarray(pairs.T))
