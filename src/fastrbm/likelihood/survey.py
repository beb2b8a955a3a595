"""What is estimated, and the look around before it: which start the path should have, and what others find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._kernels import Backend
from .._kernels.contract import States
from .._kernels.draws import Key
from ..model import Model
from . import scouts
from .paths import Bases, Path, Progress, candidates, layer_to_sum_out
from .verdict import Evidence

_OTHER_STARTS = 1 << 32  # numbers of the keys of paths of scouts
_SURE = 0.1  # standard error of a scout that need not be asked again
_MATTERS = 0.25  # nats that a broad start must have found beyond another one to take its place


@dataclass(frozen=True)
class Job:
    """What is estimated, and how much may be spent on it.

    Attributes
    ----------
    model : Model
        As `Model.as_bernoulli` writes it.
    bases : dict
        Broad starts of the path by name (`paths.candidates`), the one asked for first.
    free : bool
        Whether the start is chosen by what the scouts find.
    backend, key
    schedule, n_temperatures, n_chains, stderr, max_chains
        Options of `log_partition`.
    rows : PackedBits, ndarray or None
        Visible states of data.
    progress : callable or None
    """

    model: Model
    bases: dict[str, Bases]
    free: bool
    backend: Backend
    key: Key
    rows: States | None
    schedule: Any = "adaptive"
    n_temperatures: int = 1000
    n_chains: int = 1000
    stderr: float | None = None
    max_chains: int = 100_000
    progress: Progress = None

    def path(self, number: int, bases: Bases, sum_out: str | None = None) -> Path:
        """Path from a start; those of other numbers have other draws."""
        key = self.key if number == 0 else self.key.fold_in(_OTHER_STARTS + number)
        return Path(self.model, bases, sum_out or layer_to_sum_out(self.model), self.backend, key)


def make_job(model: Model, start: Any, rows: States | None, **options: Any) -> tuple[Job, float]:
    """Job of a model in its own units, and the constant by which its energies differ from those of the job."""
    bits, constant = model.as_bernoulli()
    free = isinstance(start, str) and start == "auto"
    return Job(bits, candidates(model, start, rows), free, rows=rows, **options), constant


def look_around(job: Job) -> tuple[Evidence, scouts.Scout]:
    """Scouts of all starts, of starts matched to what they find, and of data; the start to take."""
    found: list[scouts.Scout] = []
    count = 0

    def look(name: str, broad: bool, bases: Bases | None, small: bool = True) -> scouts.Scout:
        assert bases is not None
        nonlocal count
        count += 1
        path = job.path(count, bases)
        n_chains = job.n_chains if small else max(1, job.n_chains // 2)
        progress = None if small else job.progress
        found.append(scouts.scout(name, broad, path, n_chains, job.n_temperatures, progress, small))
        return found[-1]

    for name, bases in job.bases.items():
        look(name, True, bases)
    start = found[0]
    if job.free:
        for one in list(found):
            look(f"matched to {one.name}", False, one.matched)
        best = scouts.choose(found)
        look("matched to the best", False, best.matched)
        start = scouts.choose(found)
    # broad starts that may have found as much, which small populations do not show, and one at least to confirm a
    # start that is not broad
    others = [s for s in found if s.broad and s.name != start.name]
    rivals = [s for s in others if s.found.stderr > _SURE and s.found.value + 3 * s.spread >= start.found.value]
    if not rivals and not start.broad:
        rivals = [scouts.choose(others)]
    for one in rivals:
        again = look(one.name, True, one.bases, small=False)
        found.remove(one)
        if job.free and again.sound and again.found.low > start.found.high + _MATTERS:
            start = again
    if job.rows is not None:
        assert start.bases is not None
        found.append(scouts.scout_of_data(job.path(0, start.bases), job.rows, job.n_temperatures))
    return Evidence(found, start.broad), start
