"""What a curve of ``fastrbm bench --scaling`` is made of."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .peers import Training


@dataclass(frozen=True)
class Setting:
    """A point of a curve before it is measured."""

    x: float
    training: Training
    threads: int
    density: float | None = None  #: share of ones of synthetic bits; None for images


@dataclass(frozen=True)
class Curve:
    """A quantity that is varied while all others stay."""

    name: str
    title: str
    axis: str  #: what varies, with its unit
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Point:
    """Seconds per epoch of fastrbm and of one peer, one entry per round; without seconds, the reason."""

    x: float
    rows: int
    peer: str
    ours_seconds: tuple[float, ...] = ()
    peer_seconds: tuple[float, ...] = ()
    others: float | None = None
    reason: str = ""
    failed: bool = False

    @property
    def ours(self) -> float | None:
        """Median of fastrbm's seconds per epoch; None where there is none, or it drowned in noise."""
        return _median(self.ours_seconds)

    @property
    def theirs(self) -> float | None:
        """Median of the peer's seconds per epoch; None as for `ours`."""
        return _median(self.peer_seconds)

    @property
    def ratio(self) -> float | None:
        """How many times as long the peer took."""
        return None if self.ours is None or self.theirs is None else self.theirs / self.ours


def _median(seconds: Sequence[float]) -> float | None:
    # A difference of two times can come out negative where both are mostly noise.
    return None if not seconds or (median := statistics.median(seconds)) <= 0 else median
