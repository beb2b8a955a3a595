"""Annealed estimates of log Z: weighted chains both ways, and populations that are resampled on their way.

Chains go from a model without weights to the model, along a `Path`, and collect log weights. The mean of the weights is
Z / Z_0. Chains that start at the model and go the other way have Z_0 / Z for their mean. `verdict` says what the
estimates are worth.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from .._kernels import PackedBits, pack
from .._kernels.contract import States
from .._kernels.draws import Key, Stream, uniforms
from ..model import Model
from ..units import get_unit
from . import exact, populations, scouts, tempering, verdict
from ._result import Estimate, LogPartition, acceptance_ratio, log_mean, with_rare
from .paths import BURN, FORWARD, POPULATIONS, REVERSE, Path, Progress, temperatures
from .survey import Job, look_around

METHODS = ("ais", "mais", "smc", "reverse", "bracket", "tempering")
_EXACT_SAMPLES = 20  # log to base 2 of the states of a layer that are listed to draw from the model exactly
_BURN_IN = 100  # Gibbs sweeps of chains that populations have brought to the model
_REPEATS = 200  # of the bootstrap
_LADDERS, _TEMPERATURES, _FEWEST_ROUNDS = 64, 100, 50  # of tempering: at most, and as it is reckoned; at least
_NORMAL = 1.96  # standard errors of a 95 % interval


def model_samples(path: Path, n: int, first: int, progress: Progress = None) -> tuple[States, bool]:
    """Kept layer drawn from the model, and whether exactly: where a layer can be listed, else by populations."""
    listed = _listed(path.model)
    states: States
    if listed is None:
        n_populations, size = populations.split(n)
        states = path.start(n_populations * size, first, POPULATIONS)
        betas = temperatures(path, "adaptive", 1000)
        states = populations.anneal(path, states, betas, n_populations, BURN, first, progress).states[:n]
        _, states = path.anneal(states, np.ones(_BURN_IN + 1), BURN, first, step=1000, progress=progress)
        return states, False
    layer = 0 if listed == "visible" else 1
    log_p = exact.state_log_weights(exact.choose(path.model, listed), path.backend)
    cumulative = np.cumsum(np.exp(log_p - logsumexp(log_p)))
    u = uniforms(path.key.fold_in(BURN).at(0, Stream.START, first), n, 1, np.float64)[:, 0]
    index = np.searchsorted(cumulative, u * cumulative[-1], side="right").clip(max=len(cumulative) - 1)
    unit, n_units = get_unit(path.model.units[layer]), path.model.weights.shape[1 - layer]
    if unit.binary:
        states = PackedBits(index.astype(np.uint64)[:, None], n_units)
    else:
        rows = unit.states_at(index.astype(np.uint64), n_units)
        states = pack(rows) if unit.packed else rows.astype(path.model.weights.dtype)
    if layer == path.kept:
        return states, True
    weights, *biases = path.model.parameters
    draw = path.key.fold_in(BURN).at(0, (Stream.VISIBLE, Stream.HIDDEN)[path.kept], first)
    bias, kept_unit = biases[path.kept], path.model.units[path.kept]
    return path.backend.samples(kept_unit, states, weights, bias, draw, transpose=path.kept == 0), True


def _listed(model: Model) -> str | None:
    """Layer whose states are listed to draw from the model, the one with fewer; None where both have too many."""
    sizes = {
        layer: get_unit(unit).log2_states(n)
        for layer, unit, n in zip(("hidden", "visible"), model.units[::-1], model.weights.shape, strict=True)
    }
    layer = min(sizes, key=lambda name: sizes[name])
    return layer if sizes[layer] <= _EXACT_SAMPLES else None


def _collect(
    path: Path,
    betas: NDArray[np.float64],
    stage: int,
    start: Callable[[int], States],
    job: Job,
) -> NDArray[np.float64]:
    """Log weights of the chains that ``start(chains so far)`` gives, of more until their error is small enough."""
    log_weights = np.zeros(0)
    while True:
        first = len(log_weights)
        states = start(first)
        new, _ = path.anneal(states, betas, stage, first, progress=job.progress)
        log_weights = np.concatenate([log_weights, new])
        enough = job.stderr is None or log_mean(log_weights).stderr <= job.stderr
        if enough or len(log_weights) + len(states) > job.max_chains:
            return log_weights


def estimate(method: str, job: Job) -> LogPartition:
    """Estimate log Z of the model of the job by one of `METHODS`; warn where the value is not reliable."""
    begin = time.perf_counter()
    with job.backend.holding(job.model.weights):
        evidence, start = look_around(job)
        assert start.bases is not None
        path = job.path(0, start.bases, "hidden" if method == "ais" else None)
        if method == "tempering":
            found = _by_exchange(path, evidence, job)
        else:
            betas = temperatures(path, job.schedule, job.n_temperatures)
            way = {"smc": _by_populations, "reverse": _backward, "bracket": _both_ways}.get(method, _forward)
            found = replace(way(path, betas, evidence, job), n_temperatures=len(betas) - 1)
    if not found.reliable:
        warnings.warn(
            f"the {method} estimate of log Z is not reliable: {found.message}. Its interval says what is known; more "
            f"n_temperatures than {job.n_temperatures} or another method tell more",
            ConvergenceWarning,
            stacklevel=4,
        )
    return _finished(found, method, path, begin)


def _finished(found: LogPartition, method: str, path: Path, begin: float) -> LogPartition:
    """Result with its method and time, its interval widened by what rounding may have done to energies."""
    low, high = found.interval
    interval = low - path.rounding, high + path.rounding
    return replace(found, method=method, interval=interval, seconds=time.perf_counter() - begin)


def _result(found: Estimate, judged: verdict.Verdict, n_chains: int) -> LogPartition:
    reasons = list(dict.fromkeys(judged.doubts))
    interval = (min(judged.low, found.value), max(judged.high, found.value))
    return LogPartition(
        found.value,
        found.stderr,
        interval,
        "",
        found.ess,
        n_chains=n_chains,
        reliable=not reasons,
        message="; ".join(reasons),
    )


def _weighed(evidence: verdict.Evidence, found: Estimate, n_chains: int) -> verdict.Evidence:
    """Evidence with whether many chains share the weight, and what to say where they do not."""
    right = found.ess >= max(min(verdict.FEWEST, n_chains / 2), n_chains / 100)
    right = right and found.stderr <= verdict.LARGEST_ERROR
    return evidence._replace(trusted=right, why=f"only {found.ess:.1f} of {n_chains} chains carry the weight")


def _forward(path: Path, betas: NDArray[np.float64], evidence: verdict.Evidence, job: Job) -> LogPartition:
    log_weights = _collect(path, betas, FORWARD, lambda first: path.start(job.n_chains, first), job)
    found = with_rare(log_mean(path.log_start + log_weights), len(log_weights))
    return _result(found, verdict.judge_forward(found, _weighed(evidence, found, len(log_weights))), len(log_weights))


def _by_populations(path: Path, betas: NDArray[np.float64], evidence: verdict.Evidence, job: Job) -> LogPartition:
    n_populations, size = populations.split(job.n_chains)
    log_weights, ancestors, first = np.zeros(0), 0.0, 0
    while True:
        states = path.start(n_populations * size, first, POPULATIONS)
        new = populations.anneal(path, states, betas, n_populations, FORWARD, first, job.progress)
        log_weights, ancestors = np.concatenate([log_weights, new.log_weights]), ancestors + new.ancestors
        first += n_populations * size
        enough = job.stderr is None or log_mean(log_weights).stderr <= job.stderr
        if enough or first + n_populations * size > job.max_chains:
            break
    return _of_populations(path, log_weights, ancestors, size, evidence)


def _of_populations(
    path: Path, log_weights: NDArray[np.float64], ancestors: float, size: int, evidence: verdict.Evidence
) -> LogPartition:
    found = with_rare(log_mean(path.log_start + log_weights), ancestors)._replace(ess=ancestors)
    apart = scouts.spread(log_weights)
    why = f"the logs of the estimates of {len(log_weights)} populations have a standard deviation of {apart:.2g} nats"
    judged = verdict.judge_forward(found, evidence._replace(trusted=apart <= scouts.MOST_SPREAD, why=why))
    return _result(found, judged, size * len(log_weights))


def _by_exchange(path: Path, evidence: verdict.Evidence, job: Job) -> LogPartition:
    """As many sweeps of chains as populations would have: a ladder has some tens of temperatures."""
    n_chains = max(2, min(_LADDERS, job.n_chains))
    betas = max(1, job.n_temperatures * job.n_chains // (n_chains * _TEMPERATURES))
    done = tempering.run(path, n_chains, max(_FEWEST_ROUNDS, betas), job.rows, job.progress)
    found = done.estimate()
    agreed = any(s.sound and s.found.low <= found.high and s.found.high >= found.low for s in evidence.scouts)
    apart, doubts = scouts.spread(done.groups), []
    if apart > scouts.MOST_SPREAD:
        doubts.append(f"the values of {len(done.groups)} groups of ladders have a deviation of {apart:.2g} nats")
    if abs(done.drift) > 1.0:
        doubts.append(f"the second half of the rounds gives a log Z that differs by {done.drift:.2g} nats")
    if done.round_trips < done.n_chains and not agreed:
        doubts.append(f"states have gone from the start to the model and back only {done.round_trips} times")
    judged = verdict.judge_forward(found, evidence._replace(trusted=not doubts, why="; ".join(doubts)))
    result = _result(found, judged, done.n_chains)
    return replace(result, n_temperatures=done.n_temperatures)


def _backward(path: Path, betas: NDArray[np.float64], evidence: verdict.Evidence, job: Job) -> LogPartition:
    log_weights, exactly = _reverse(path, betas, job)
    found = with_rare(scouts.inverted(log_mean(log_weights - path.log_start)), len(log_weights))
    judged = verdict.judge_reverse(found, _weighed(evidence, found, len(log_weights)), exactly)
    return _result(found, judged, len(log_weights))


def _reverse(path: Path, betas: NDArray[np.float64], job: Job) -> tuple[NDArray[np.float64], bool]:
    exactly = _listed(path.model) is not None

    def start(first: int) -> States:
        return model_samples(path, job.n_chains, first, job.progress)[0]

    return _collect(path, betas[::-1].copy(), REVERSE, start, job), exactly


def _both_ways(path: Path, betas: NDArray[np.float64], evidence: verdict.Evidence, job: Job) -> LogPartition:
    there = path.log_start + _collect(path, betas, FORWARD, lambda first: path.start(job.n_chains, first), job)
    back, exactly = _reverse(path, betas, job)
    back = back - path.log_start
    value, stderr, ends, ess = bracket(there, back, path.key)
    whole = with_rare(Estimate(value, stderr, *ends, ess), len(back))
    low, high = log_mean(there), scouts.inverted(log_mean(back))
    from_below = verdict.judge_forward(
        whole._replace(value=min(value, low.value)), _weighed(evidence, low, len(there))
    )  # fmt: skip
    from_above = verdict.judge_reverse(
        whole._replace(value=max(value, high.value)), _weighed(evidence, high, len(back)), exactly
    )  # fmt: skip
    doubts = [*from_below.doubts, *from_above.doubts]
    if low.low > with_rare(high, len(back)).high + verdict.ROUNDING:
        doubts.append("the two ways contradict each other")
    # exact starts bound from above whatever the chains of the other way have missed
    top = from_above.high if exactly else max(from_below.high, from_above.high)
    judged = verdict.Verdict(from_below.low, top, doubts)
    return _result(whole, judged, len(there) + len(back))


def bracket(
    there: NDArray[np.float64], back: NDArray[np.float64], key: Key
) -> tuple[float, float, tuple[float, float], float]:
    """Bennett's value, its standard error, the ends of both ways and the smaller effective number of chains."""
    low, high = log_mean(there), scouts.inverted(log_mean(back))
    value = acceptance_ratio(there, back)
    pick = np.random.Generator(np.random.Philox(key=key.seed))
    repeats = [acceptance_ratio(pick.choice(there, len(there)), pick.choice(back, len(back))) for _ in range(_REPEATS)]
    stderr = float(np.std(repeats, ddof=1))
    # The lower end of what bounds from below on average, the upper end of what bounds from above; and both values, in
    # case that they contradict each other because the chains of one way have not met what matters.
    # Bennett's value may leave both, and is no surer than its own error.
    ends = min(low.low, high.value, value - _NORMAL * stderr), max(high.high, low.high, value + _NORMAL * stderr)
    return value, stderr, ends, min(low.ess, high.ess)
