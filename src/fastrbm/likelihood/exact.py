"""Exact sums over the states of one layer, the smaller one where there is a choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import BIT_UNITS, Backend
from .._kernels.partition import MOST_UNITS
from ..model import Model
from ..units import get_unit
from ._result import LogPartition, Moments
from .exact_rules import Plan, all_states, choose, log2_states, rule_of

__all__ = [
    "Plan",
    "all_states",
    "check_size",
    "choose",
    "is_possible",
    "log_partition",
    "moments_of",
    "nominal_seconds",
    "state_log_weights",
]

#: log to base 2 of the states of a layer that may be kept in memory, as log probabilities (8 bytes each)
MOST_LISTED = 26
#: seconds an exact sum may be expected to take when it is asked for
LONGEST = 3600.0


def check_size(plan: Plan, backend: Backend) -> None:
    """Raise ValueError if an exact sum would take unreasonably long."""
    if not plan.rule.lists:
        return
    seconds = plan.seconds(backend)
    if seconds <= LONGEST and plan.log2_states <= MOST_UNITS:
        return
    raise ValueError(
        f"an exact sum over the 2^{plan.log2_states:.3g} states of {plan.n_units} {plan.layer} units would take about "
        f"{_duration(seconds)} here, {_limit(plan, backend)}; use "
        "method='smc' or another one that estimates it"
    )


class _NominalProcessor:
    """In place of a backend: rates of one ordinary core, the same whatever runs."""

    def seconds_for_states(self, units: tuple[str, str], n_states: float, n_other: int, dtype: Any) -> float:
        return min(float(n_states), 1e300) * (n_other + 10) / (1e10 if BIT_UNITS.issuperset(units) else 3e7)


def nominal_seconds(plan: Plan) -> float:
    """Rough time of an exact sum on one ordinary core: for decisions that must be the same on all machines."""
    processor: Any = _NominalProcessor()
    return plan.seconds(processor)


def _limit(plan: Plan, backend: Backend) -> str:
    """How many units of the listed layer would do, or how many states where it cannot have fewer units."""
    whole, most = plan.model, 0
    for n in range(1, 1 + min(MOST_UNITS, plan.n_units)):
        try:
            get_unit(whole.hidden).check_width(n)
        except ValueError:
            continue
        part = Model(whole.weights[:n], whole.visible_bias, whole.hidden_bias[:n], *whole.units)
        fits = plan.rule.seconds(part, backend) <= LONGEST and log2_states(part, "hidden") <= MOST_UNITS
        most = n if fits else most
    return f"the limit is {most} units" if most else f"the limit is 2^{MOST_UNITS} states"


def is_possible(model: Model) -> bool:
    """Whether the states of a layer can be listed, or there is a closed form."""
    return rule_of(model, "hidden") is not None or rule_of(model, "visible") is not None


def _duration(seconds: float) -> str:
    for name, size in (("years", 3.156e7), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.2g} seconds"


def state_log_weights(plan: Plan, backend: Backend) -> NDArray[np.float64]:
    """Log weight of every state of the listed layer, the other one summed out, in the order of `Unit.states`.

    Of units of two values unit k of state s is bit k of s; state k of a one-hot layer has unit k on. Their log-sum-exp
    is log Z. In float64, whatever the type of the weights.
    """
    if not plan.rule.lists:
        raise ValueError(
            f"the states of {plan.layer} units cannot be listed for units {plan.units}: they are real numbers"
        )
    if plan.log2_states > MOST_LISTED:
        raise ValueError(
            f"at most 2^{MOST_LISTED} states of {plan.layer} units can be listed, of units of two values at most "
            f"{MOST_LISTED} units, got {plan.n_units} units {plan.model.hidden!r}"
        )
    out = np.empty(get_unit(plan.model.hidden).n_states(plan.n_units))
    plan.rule.log_sum(plan.model, backend, np.float64, out, None)
    return out


def log_partition(
    plan: Plan,
    backend: Backend,
    *,
    moments: bool = False,
    probabilities: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> LogPartition:
    """Exact log partition sum, and on request what follows from the terms of it.

    Bernoulli and Ising layers: inner products have the type of the weights, sums are float64; the relative error is
    below 2e-6 for float32 and 1e-10 for float64. Everything is float64 for other units.
    """
    check_size(plan, backend)
    begin = time.perf_counter()
    log_p = None
    if probabilities or (moments and plan.rule.lists):
        log_weights = state_log_weights(plan, backend)
        top = log_weights.max()
        value = float(top + np.log(np.exp(log_weights - top).sum()))
        log_p = log_weights - value
    else:
        value = plan.rule.log_sum(plan.model, backend, plan.model.weights.dtype, None, progress)
    result = LogPartition(value, 0.0, (value, value), "exact")
    if moments:
        p = np.empty(0) if log_p is None else np.exp(log_p)
        result = replace(result, moments=moments_of(plan, p, backend))
    return replace(result, seconds=time.perf_counter() - begin, log_probabilities=log_p if probabilities else None)


def moments_of(plan: Plan, p: NDArray[np.float64], backend: Backend) -> Moments:
    """Means under the model from the probabilities of all states of the listed layer; none of a closed form."""
    found = plan.rule.moments(plan.model, p, backend)
    if plan.layer == "hidden":
        return found
    return Moments(found.hidden, found.visible, np.ascontiguousarray(found.pairs.T))
