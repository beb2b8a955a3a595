"""How two sides are compared: alternating timing, and quality without which a time means nothing.

The protocol, in short:

* both sides do the same work on the same arrays, with the same number of threads, in one process;
* one untimed warm-up each; then rounds in which the sides alternate, the order swapped every round, so that a
  drift of the machine falls on both;
* the ratio is the quotient of the two medians; the ratios of the single rounds are kept beside it;
* a comparison during which other programs took much of the processors is marked disturbed, neither met nor
  missed: spinning thread pools slow down out of proportion then, some tenfold, which would flatter one side;
* absolute times belong to this machine and this run and are never compared with another's;
* a training benchmark FAILS, whatever its ratio, when fastrbm's quality is worse than the peer's by more than
  the noise of the peer (see `judge`).
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds of rest before each timed call. The threads of an idle pool keep spinning for a while (GNU OpenMP
#: some milliseconds, OpenBLAS up to a tenth of a second); with as many threads as cores they would slow the
#: other side's threads down by large factors.
PAUSE = 0.2

#: Share of the threads' time that other programs may take before a comparison counts as disturbed.
QUIET = 0.1

MET, MISSED, NO_TARGET, RAN, DISTURBED = "met", "below target", "no target", "ran (quick)", "disturbed"
PASSED, FAILED, SKIPPED, ERROR = "passed", "FAILED", "skipped", "ERROR"


@dataclass(frozen=True)
class Timing:
    """Seconds and results of both sides, one entry per round."""

    peer_seconds: tuple[float, ...]
    ours_seconds: tuple[float, ...]
    peer_results: tuple[Any, ...] = ()
    ours_results: tuple[Any, ...] = ()
    others: float | None = None  #: share of the threads' time other programs took; None where unknown

    @property
    def peer_median(self) -> float:
        """Median of the peer's seconds."""
        return statistics.median(self.peer_seconds)

    @property
    def ours_median(self) -> float:
        """Median of fastrbm's seconds."""
        return statistics.median(self.ours_seconds)

    @property
    def ratio(self) -> float:
        """How many times as long the peer took: the quotient of the medians."""
        return self.peer_median / self.ours_median

    @property
    def round_ratios(self) -> tuple[float, ...]:
        """The ratio of every single round."""
        return tuple(peer / ours for peer, ours in zip(self.peer_seconds, self.ours_seconds, strict=True))


class Neighbours:
    """Measures how far other programs get in the way of this one's threads from construction on."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._begin = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float, int] | None:
        """Return seconds that all processors worked, worked or idled, this program worked; number of processors."""
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return None
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, idle, waiting, *rest = (int(field) / tick for field in lines[0].split()[1:9])
        busy = user + nice + system + sum(rest)
        n_processors = sum(line.startswith("cpu") for line in lines) - 1
        return busy, busy + idle + waiting, time.process_time(), n_processors

    def share(self) -> float | None:
        """Return the share of the threads' time that others took, or None where the system does not tell.

        Work of others that fits on the processors the threads leave free counts as none.
        """
        end = self._read()
        if self._begin is None or end is None:
            return None
        busy, total, own = (after - before for after, before in zip(end[:3], self._begin[:3], strict=True))
        n_processors = end[3]
        occupied = (busy - own) * n_processors / total if total > 0 else 0.0  # processors, on average
        return min(1.0, max(0.0, occupied - max(0, n_processors - self._threads)) / self._threads)


def alternate(
    peer: Callable[[int], Any],
    ours: Callable[[int], Any],
    rounds: int,
    *,
    threads: int = 1,
    warm_up: Sequence[Callable[[], Any]] = (),
    pause: float = PAUSE,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time two callables in turn.

    Parameters
    ----------
    peer, ours : callable
        Called with the number of the round, which serves as seed. What they return is kept.
    rounds : int
        Number of timed calls of each.
    threads : int
        Threads that either side uses, to tell how much room other programs leave them.
    warm_up : sequence of callable
        Called once each before the first round, untimed.
    pause : float
        Seconds of rest before each timed call.
    clock : callable
        Returns the time in seconds.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    for prepare in warm_up:
        prepare()
    seconds: dict[str, list[float]] = {"peer": [], "ours": []}
    results: dict[str, list[Any]] = {"peer": [], "ours": []}
    sides = [("peer", peer), ("ours", ours)]
    neighbours = Neighbours(threads)
    for number in range(rounds):
        for side, call in sides if number % 2 == 0 else reversed(sides):
            time.sleep(pause)
            begin = clock()
            result = call(number)
            seconds[side].append(clock() - begin)
            results[side].append(result)
    return Timing(
        tuple(seconds["peer"]),
        tuple(seconds["ours"]),
        tuple(results["peer"]),
        tuple(results["ours"]),
        neighbours.share(),
    )


@dataclass(frozen=True)
class Measure:
    """A figure of merit and the noise it is allowed."""

    name: str
    better: str  #: "higher", "lower", or "equal" when a deviation either way is an error
    relative: float = 0.0  #: least tolerance, as a share of the peer's mean
    absolute: float = 0.0  #: least tolerance, in the unit of the figure


@dataclass(frozen=True)
class Judgement:
    """Quality of both sides, averaged over rounds."""

    name: str
    peer: float
    ours: float
    deficit: float  #: by how much fastrbm is worse; negative where it is better
    tolerance: float
    ok: bool


def judge(measure: Measure, peer: Sequence[float], ours: Sequence[float]) -> Judgement:
    """Compare the quality of two sides over rounds that differ by their seed.

    The tolerance is the larger of the measure's least tolerance and three standard errors of a difference of
    two means over these rounds, the spread of a single round being the *peer's*: what the peer's own result
    moves by when only its seed changes is no loss of quality, and a side whose results scatter cannot buy
    itself room by scattering. The least tolerance stands in where there are too few rounds for a spread.
    A figure that is not finite never passes.
    """
    peer_mean, ours_mean = statistics.fmean(peer), statistics.fmean(ours)
    difference = peer_mean - ours_mean
    deficit = {"higher": difference, "lower": -difference, "equal": abs(difference)}[measure.better]
    spread = statistics.stdev(peer) if len(peer) > 1 else 0.0
    error = 3 * spread * math.sqrt(1 / len(peer) + 1 / len(ours))
    tolerance = max(measure.relative * abs(peer_mean), measure.absolute, error)
    # Written so that a NaN anywhere makes it false.
    ok = math.isfinite(ours_mean) and deficit <= tolerance
    return Judgement(measure.name, peer_mean, ours_mean, deficit, tolerance, ok)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: str
    work: str
    peer: str
    target: str
    verdict: str
    reason: str = ""
    ratio: float | None = None
    round_ratios: tuple[float, ...] = ()
    unit: str = "s"
    peer_value: float | None = None
    ours_value: float | None = None
    peer_values: tuple[float, ...] = ()
    ours_values: tuple[float, ...] = ()
    quality: Judgement | None = None
    others: float | None = None


def verdict_of(
    judgement: Judgement | None,
    reached: float,
    target: float | None,
    *,
    others: float | None = None,
    quick: bool = False,
) -> str:
    """Return the verdict for a ratio, or for any figure of which more is better."""
    if judgement is not None and not judgement.ok:
        return FAILED
    if quick:
        return RAN
    if others is not None and others > QUIET:
        return DISTURBED
    if target is None:
        return NO_TARGET
    return MET if reached >= target else MISSED


def timed_row(
    case: str,
    work: str,
    peer: str,
    target: float | None,
    timing: Timing,
    judgement: Judgement | None,
    *,
    quick: bool = False,
) -> Row:
    """Return the line of a comparison of times."""
    verdict = verdict_of(judgement, timing.ratio, target, others=timing.others, quick=quick)
    reason = ""
    if verdict == DISTURBED:
        reason = f"other programs took {timing.others:.0%} of the threads' time"
    if verdict == FAILED and judgement is not None:
        reason = (
            f"{judgement.name}: worse than the peer's by {judgement.deficit:.4g}, allowed {judgement.tolerance:.4g}"
        )
    return Row(
        case=case,
        work=work,
        peer=peer,
        target="-" if target is None else f"{target:g}x",
        verdict=verdict,
        reason=reason,
        ratio=timing.ratio,
        round_ratios=timing.round_ratios,
        peer_value=timing.peer_median,
        ours_value=timing.ours_median,
        peer_values=timing.peer_seconds,
        ours_values=timing.ours_seconds,
        quality=judgement,
        others=timing.others,
    )
