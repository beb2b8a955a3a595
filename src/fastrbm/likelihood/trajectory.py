"""Log Z of the models of a training run, by chains that exchange states along a line of them.

The line begins with a model of independent units, whose log Z is known, and leads through those of the list that make
it short; neighbours are joined by Bennett's acceptance ratio. See `tempering` for the ladders, and
`fastrbm._kernels.trajectories` for where their rungs are.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._kernels import Backend, Parameters, join_rows
from .._kernels.contract import States
from .._kernels.draws import Key
from .._kernels.ladders import turned
from .._kernels.trajectories import find_rungs
from ..model import Model
from . import scouts, tempering, verdict
from ._result import LogPartition, log_mean
from .paths import LADDER, PILOT, Path, Progress, bases_of, candidates, layer_to_sum_out

_LADDERS, _FEWEST_ROUNDS = 64, 50  # at most; at least
_FINER = 2  # chains of the exploration for each ladder
_LARGEST_DRIFT = 1.0  # nats between both halves of the rounds, and between ladders that start from other states
_OTHER_STARTS = 1 << 32  # numbers of the keys of paths of scouts
_LEAST_ACCEPTANCE = 0.05  # of exchanges between neighbours
_WIDER = 0.2  # nats by which the upper end of a scout may widen the interval before it is asked again


def estimate(
    models: list[Model],
    start: Any,
    rows: States | None,
    *,
    backend: Backend,
    key: Key,
    n_chains: int,
    n_temperatures: int,
    progress: Progress = None,
) -> dict[int, LogPartition]:
    """Log Z of the last of the models, and of those that the ladder leads through, by their numbers; no warning.

    Parameters
    ----------
    models : list of Model
        Of equal shape, units and type.
    start
        Of `log_partition`.
    rows : PackedBits, ndarray or None
        Visible states of data, from which half of the ladders start.
    backend, key
    n_chains, n_temperatures : int
        Their product is the number of Gibbs sweeps.
    progress : callable or None
    """
    begin = time.perf_counter()
    bits, constants = zip(*(model.as_bernoulli() for model in models), strict=True)
    last = bits[-1]
    name = "biases" if isinstance(start, str) and start == "auto" else start
    bases = bases_of(models[0], name, rows)
    path = Path(last, bases, layer_to_sum_out(last), backend, key)
    arrays = [Parameters(np.zeros_like(last.weights), *bases), *(model.parameters for model in bits)]
    units = last.units
    if path.kept == 0:
        arrays, units = [turned(one) for one in arrays], units[::-1]
    n_groups, n = tempering.groups_of(max(2, min(_LADDERS, n_chains)))
    found = find_rungs(backend, arrays, units, n_groups, _FINER * n // n_groups, key.fold_in(PILOT), True)
    at_rungs = found.states(n)
    if rows is not None:
        at_rungs[-1] = tempering.with_data(path, at_rungs[-1], rows, n)
    else:  # as the whole list leads to them
        both = join_rows([at_rungs[-1], found.last_states(n)])
        at_rungs[-1] = both[np.arange(n) + n * (np.arange(n) % 2)]
    places = {int(p): k for k, p in enumerate(found.positions) if p == int(p)}
    between: dict[int, list[int]] = {}
    for p in range(found.line.end + 1):
        if p not in places:
            between.setdefault(int(np.searchsorted(found.positions, p)) - 1, []).append(p)
    rungs = tempering.Rungs(
        found.models,
        units,
        lambda number, first: path.start(number, first, LADDER),
        path.log_start,
        {k: [found.line.models[p] for p in inside] for k, inside in between.items()},
    )
    n_rounds = max(_FEWEST_ROUNDS, n_chains * n_temperatures // (n * len(found.positions) * tempering.SWEEPS))
    record = tempering.exchange(backend, key.fold_in(LADDER), rungs, at_rungs, n_groups, n_rounds, progress, 1)
    populations = log_mean(path.log_start + found.found.log_weights)
    # not broad: the ladders go the same way, and know more than what they start from
    known = [scouts.Scout("trajectory", False, populations, scouts.spread(found.found.log_weights), bases)]
    of_rungs = list(record.ladders())
    high = of_rungs[-1][-1].estimate().high
    known += _scouts_of_last(models[-1], path, rows, n_chains, n_temperatures, high)
    results = {}
    for k, ladders in enumerate(of_rungs):
        here = ([int(found.positions[k])] if found.positions[k] == int(found.positions[k]) else []) + between.get(k, [])
        if len(here) < len(ladders):
            ladders = ladders[1:]
        for p, ladder in zip(here, ladders, strict=True):
            number = int(found.line.numbers[p]) - 1  # the first one of the line is no model of the list
            if number >= 0:
                judged = _judged(ladder, known if p == found.line.end else [], path)
                results[number] = judged.shifted(-constants[number])
    seconds = time.perf_counter() - begin
    return {number: replace(result, seconds=seconds) for number, result in results.items()}


def _scouts_of_last(
    model: Model, path: Path, rows: States | None, n_chains: int, n_temperatures: int, high: float
) -> list[scouts.Scout]:
    """What few chains find from the broad starts of the last model, and from data: the trajectory may miss it.

    More chains follow where few leave the interval, whose upper end is `high`, wide.
    """
    found = []
    starts = candidates(model, "auto", rows)
    for number, (name, bases) in enumerate(starts.items()):
        keys = (path.key.fold_in(_OTHER_STARTS + k) for k in (number, number + len(starts)))
        few, many = (Path(path.model, bases, path.sum_out, path.backend, key) for key in keys)
        one = scouts.scout(name, True, few, n_chains, n_temperatures)
        if one.spread <= scouts.MOST_SPREAD_TO_CONFIRM and one.found.high > high + _WIDER:
            one = scouts.scout(name, True, many, max(1, n_chains // 2), n_temperatures, small=False)
        found.append(one)
    if rows is not None:
        found.append(scouts.scout_of_data(path, rows, n_temperatures))
    return found


def _judged(ladder: tempering.Ladder, known: list[scouts.Scout], path: Path) -> LogPartition:
    """Result of one model; `known` are estimates of the same one by populations."""
    found = ladder.estimate()
    agreed = any(s.sound and s.found.low <= found.high and s.found.high >= found.low for s in known)
    apart, doubts = scouts.spread(ladder.groups), []
    if not apart <= scouts.MOST_SPREAD:
        doubts.append(f"the values of {len(ladder.groups)} groups of ladders have a deviation of {apart:.2g} nats")
    if not abs(ladder.drift) <= _LARGEST_DRIFT:
        doubts.append(f"the second half of the rounds gives a log Z that differs by {ladder.drift:.2g} nats")
    if not abs(ladder.apart) <= _LARGEST_DRIFT:
        doubts.append(f"ladders that start from other states give a log Z that differs by {ladder.apart:.2g} nats")
    if ladder.acceptance < _LEAST_ACCEPTANCE:
        doubts.append(f"neighbours have exchanged their states in only {100 * ladder.acceptance:.2g} % of the trials")
    if ladder.round_trips < ladder.n_chains and not agreed:
        doubts.append(f"only {ladder.round_trips} states have gone from the start to the last model")
    low, high = found.low, found.high
    if known:
        evidence = verdict.Evidence(known, True, not doubts, "; ".join(doubts))
        judged = verdict.judge_forward(found, evidence)
        low, high, doubts = judged.low, judged.high, judged.doubts
    elif doubts:
        low, high = min(low, found.value - verdict.MARGIN), np.inf
    return LogPartition(
        found.value,
        found.stderr,
        (low - path.rounding, high + path.rounding),
        "trajectory",
        found.ess,
        n_chains=ladder.n_chains,
        n_temperatures=ladder.n_temperatures,
        reliable=not doubts,
        message="; ".join(doubts),
    )


def log_partition(models: list[Model], start: Any, rows: States | None, **options: Any) -> LogPartition:
    """Log Z of the last model; warns where it is not reliable."""
    found = estimate(models, start, rows, **options)[len(models) - 1]
    if not found.reliable:
        warnings.warn(
            f"the trajectory estimate of log Z is not reliable: {found.message}. Its interval says what is known; more "
            f"n_temperatures than {options['n_temperatures']} or another trajectory tell more",
            ConvergenceWarning,
            stacklevel=3,
        )
    return found


def all_models(models: list[Model], start: Any, rows: States | None, **options: Any) -> list[LogPartition]:
    """Log Z of all models: ladders to the last one, to the last of those that it has not led through, and so on."""
    key = options.pop("key")
    found: dict[int, LogPartition] = {}
    while len(found) < len(models):
        target = max(set(range(len(models))) - set(found))
        new = estimate(models[: target + 1], start, rows, key=key.fold_in(target), **options)
        # a ladder that fails says little about the models on its way
        found |= {k: one for k, one in new.items() if k == target or (one.reliable and k not in found)}
    results = [found[k] for k in range(len(models))]
    poor = [k for k, one in enumerate(results) if not one.reliable]
    if poor:
        warnings.warn(
            f"log Z of {len(poor)} of {len(models)} models is not reliable; that of {poor[0]}: "
            f"{results[poor[0]].message}. Its interval says what is known; more n_temperatures than "
            f"{options['n_temperatures']} tell more",
            ConvergenceWarning,
            stacklevel=3,
        )
    return results
