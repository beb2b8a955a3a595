"""Exact sums over the states of one layer, the smaller one where there is a choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend
from ..model import Model
from ..units import get_unit
from ._result import LogPartition, Moments
from .exact_rules import Rule, all_states, choose, log2_states, n_states, rule_of, turned

__all__ = [
    "all_states",
    "can_be_annealed",
    "check_size",
    "lists_states",
    "log_partition",
    "moments_of",
    "seconds_needed",
    "smaller_layer",
    "state_log_weights",
]

#: log to base 2 of the states of a layer that may be kept in memory, as log probabilities (8 bytes each)
MOST_LISTED = 26
#: units of two values whose states an exact sum may go through
MOST_UNITS = 40
#: seconds an exact sum may be expected to take when it is asked for
LONGEST = 3600.0


def lists_states(model: Model) -> bool:
    """Whether the exact sum goes through states; False for closed forms."""
    return choose(model)[1].lists


def smaller_layer(model: Model) -> str:
    """The layer whose states are listed: "hidden" or "visible"."""
    return choose(model)[0]


def _rule(model: Model, layer: str) -> Rule:
    rule = rule_of(model, layer)
    if rule is None:
        raise ValueError(f"there is no sum over the states of the {layer} layer for units {model.units}")
    return rule


def seconds_needed(model: Model, backend: Backend, layer: str | None = None) -> float:
    """Rough time of the sum."""
    layer = layer or smaller_layer(model)
    return _rule(model, layer).seconds(turned(model, layer), backend)


def check_size(model: Model, backend: Backend) -> None:
    """Raise ValueError if an exact sum would take unreasonably long."""
    layer, rule = choose(model)
    if not rule.lists:
        return
    few = model.weights.shape[0 if layer == "hidden" else 1]
    seconds = seconds_needed(model, backend, layer)
    if seconds <= LONGEST and log2_states(model, layer) <= MOST_UNITS:
        return
    advice = "use method='bracket' or method='mais', which estimate it"
    if not can_be_annealed(model):
        advice = f"{_limit(model, layer, rule, backend)}, and there is no estimate for units {model.units}"
    raise ValueError(
        f"an exact sum over the 2^{log2_states(model, layer):.3g} states of {few} {layer} units would take about "
        f"{_duration(seconds)} here; {advice}"
    )


def _limit(model: Model, layer: str, rule: Rule, backend: Backend) -> str:
    """How many units of the listed layer would do, or how many states where it cannot have fewer units."""
    whole, most = turned(model, layer), 0
    for n in range(1, 1 + min(MOST_UNITS, len(whole.hidden_bias))):
        try:
            get_unit(whole.hidden).check_width(n)
        except ValueError:
            continue
        part = Model(whole.weights[:n], whole.visible_bias, whole.hidden_bias[:n], *whole.units)
        fits = rule.seconds(part, backend) <= LONGEST and log2_states(part, "hidden") <= MOST_UNITS
        most = n if fits else most
    return f"the limit is {most} units" if most else f"the limit is 2^{MOST_UNITS} states"


def can_be_annealed(model: Model) -> bool:
    """Whether there are annealed estimates: both layers are binary."""
    return model.as_bernoulli()[0].units == ("bernoulli", "bernoulli")


def _duration(seconds: float) -> str:
    for name, size in (("years", 3.156e7), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.2g} seconds"


def state_log_weights(model: Model, layer: str, backend: Backend) -> NDArray[np.float64]:
    """Log weight of every state of a layer, the other one summed out, in the order of `Unit.states`.

    Of units of two values unit k of state s is bit k of s; state k of a one-hot layer has unit k on. Their log-sum-exp
    is log Z. In float64, whatever the type of the weights.
    """
    rule = _rule(model, layer)
    if not rule.lists:
        raise ValueError(f"the states of {layer} units cannot be listed for units {model.units}: they are real numbers")
    if log2_states(model, layer) > MOST_LISTED:
        n = model.weights.shape[0 if layer == "hidden" else 1]
        raise ValueError(
            f"at most 2^{MOST_LISTED} states of {layer} units can be listed, of units of two values at most "
            f"{MOST_LISTED} units, got {n} units {getattr(model, layer)!r}"
        )
    out = np.empty(n_states(model, layer))
    rule.log_sum(turned(model, layer), backend, np.float64, out, None)
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

    Raises ValueError for two layers with real units, except Gaussian ones (see `pairs`).

    Bernoulli and Ising layers: inner products have the type of the weights, sums are float64; the relative error is
    below 2e-6 for float32 and 1e-10 for float64. Everything is float64 for other units.
    """
    check_size(model, backend)
    begin = time.perf_counter()
    layer, rule = choose(model)
    log_p = None
    if probabilities or (moments and rule.lists):
        log_weights = state_log_weights(model, layer, backend)
        top = log_weights.max()
        value = float(top + np.log(np.exp(log_weights - top).sum()))
        log_p = log_weights - value
    else:
        value = rule.log_sum(turned(model, layer), backend, model.weights.dtype, None, progress)
    result = LogPartition(value, 0.0, (value, value), "exact")
    if moments:
        p = np.empty(0) if log_p is None else np.exp(log_p)
        result = replace(result, moments=moments_of(model, layer, p, backend))
    return replace(result, seconds=time.perf_counter() - begin, log_probabilities=log_p if probabilities else None)


def moments_of(model: Model, layer: str, p: NDArray[np.float64], backend: Backend) -> Moments:
    """Means under the model from the probabilities of all states of `layer`."""
    found = _rule(model, layer).moments(turned(model, layer), p, backend)
    if layer == "hidden":
        return found
    return Moments(found.hidden, found.visible, np.ascontiguousarray(found.pairs.T))
