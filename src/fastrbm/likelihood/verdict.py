"""What an annealed estimate is worth: the interval that all evidence allows, and what speaks against the value.

The mean of forward weights is Z / Z_0 whatever the path, so that by Markov's inequality an estimate is above the true
log Z by c with a probability of at most e^-c: every start gives a lower bound, and the highest one counts. Weights
that agree with each other are no proof, as chains of one start may all miss the same states. Reverse weights bound from
above in the same way, but only if their chains start from exact samples of the model.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ._result import Estimate
from .scouts import MOST_SPREAD_TO_CONFIRM, Scout, choose

#: log of 40: both ends of an interval of 95 % may be wrong in one of 40 cases
MARGIN = math.log(40.0)
#: nats that do not matter
ROUNDING = 0.05
#: effective chains, and the standard error of their log mean, of an estimate that can be trusted
FEWEST, LARGEST_ERROR = 8.0, 0.5


class Verdict(NamedTuple):
    """Interval that the evidence allows, and what speaks against the value; empty where nothing does."""

    low: float
    high: float
    doubts: list[str]


class Evidence(NamedTuple):
    """What is known beside the estimate.

    Attributes
    ----------
    scouts : list of Scout
        At least one start.
    broad : bool
        Whether the path of the estimate has a broad start.
    trusted : bool
        Whether its weights agree well enough.
    why : str
        What is wrong where they do not.
    """

    scouts: list[Scout]
    broad: bool
    trusted: bool = True
    why: str = ""


def judge_forward(found: Estimate, evidence: Evidence) -> Verdict:
    """Interval of an estimate from below."""
    low, high, doubts = found.low, found.high, []
    best = choose(evidence.scouts)
    if not evidence.trusted:
        doubts.append(evidence.why)
        low, high = min(low, found.value - MARGIN), max(high, best.found.high) if best.sound else math.inf
    if not evidence.broad and _confirming(found, evidence.scouts) is None:
        doubts.append(
            "only a start matched to states that were found gives this value, and no broad one comes near it, so that "
            "other states may have been missed"
        )
        low, high = min(low, found.value - MARGIN), math.inf
    return _compared(Verdict(low, high, doubts), evidence.scouts)


def _confirming(found: Estimate, scouts: list[Scout]) -> Scout | None:
    """Broad start whose populations nearly agree with each other, and with the estimate."""
    broad = [s for s in scouts if s.broad and s.spread <= MOST_SPREAD_TO_CONFIRM and s.found.high >= found.low]
    return min(broad, key=lambda s: s.found.stderr, default=None)


def _compared(verdict: Verdict, scouts: list[Scout]) -> Verdict:
    """Widen an interval to what scouts have found above it."""
    low, high, doubts = verdict.low, verdict.high, list(verdict.doubts)
    starts = [s for s in scouts if s.bases is not None]
    for s in scouts:
        if s.found.value - MARGIN > high:
            if s.name == "data":
                doubts.append("the chains have missed states that the data know, with which log Z is larger")
            else:
                doubts.append(f"the chains have missed states that those from the start {s.name!r} have found")
            high = _far_end(s) if s.sound and s in starts else math.inf
        elif s.sound and s in starts and s.found.low > high + ROUNDING:
            doubts.append(f"chains from the start {s.name!r} give another value")
            high = _far_end(s)
    # what a broad start may have found beyond it
    high = max([high, *(s.found.high for s in starts if s.broad and s.spread <= MOST_SPREAD_TO_CONFIRM)])
    return Verdict(low, high, doubts)


def _far_end(s: Scout) -> float:
    """Upper end of an interval twice as wide: it is the one of several that reaches highest."""
    return s.found.value + 2 * (s.found.high - s.found.value)


def judge_reverse(found: Estimate, evidence: Evidence, exact_starts: bool) -> Verdict:
    """Interval of an estimate from above; without exact starts it is one only as far as another estimate agrees."""
    low, high, doubts = found.low, found.high, []
    starts = [s for s in evidence.scouts if s.bases is not None]
    best = choose(evidence.scouts)
    if not evidence.trusted:
        doubts.append(evidence.why)
        high = max(high, found.value + MARGIN)
        low = min([low, *(s.found.low if s.sound else s.found.value - MARGIN for s in starts)])
        if not exact_starts:
            high = max(high, best.found.high) if best.sound else math.inf
    elif not exact_starts and not best.sound:
        doubts.append("the chains do not start from exact samples of the model, and no other estimate confirms them")
        low, high = min(low, best.found.value - MARGIN), math.inf
    if best.sound and best.found.high < low - ROUNDING:
        doubts.append(f"chains from the start {best.name!r} give another value")
        low = best.found.low
    if not exact_starts and not evidence.broad and _confirming(found, starts) is None:
        doubts.append("the chains do not start from exact samples of the model, and may have missed states")
        low, high = min(low, best.found.value - MARGIN), math.inf
    if exact_starts and evidence.trusted:  # a bound from above, which nothing else can widen
        missed = [s for s in starts if s.sound and s.found.low > high + ROUNDING]
        doubts += [f"chains from the start {s.name!r} give another value" for s in missed]
        return Verdict(low, max([high, *map(_far_end, missed)]), doubts)
    return _compared(Verdict(low, high, doubts), evidence.scouts)
