"""Log Z of a model that changes little from one estimate to the next, as it does in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .._kernels import Backend
from .._kernels.contract import States
from .._kernels.draws import Key
from ..model import Model
from . import annealed, scouts
from ._result import LogPartition
from .paths import doubt_of_existence
from .survey import Known, make_job


class Follower:
    """Estimates by populations that remember where the path should start.

    The look around from all starts, which costs several times the estimate itself, is done for the first model, for the
    2nd, 4th, 8th, ... and after an estimate that was not reliable. Between these the path starts matched to the states
    that the last estimate has found, and one broad start confirms it.

    Parameters
    ----------
    n_chains, n_temperatures : int
        As for `fastrbm.likelihood.log_partition`.
    """

    def __init__(self, n_chains: int, n_temperatures: int):
        self.n_chains, self.n_temperatures = n_chains, n_temperatures
        self._known: Known | None = None
        self._count = 0

    def log_partition(self, model: Model, backend: Backend, key: Key, rows: States | None = None) -> LogPartition:
        """Estimate log Z of the next model; `rows`, visible states of data, are looked at with all starts."""
        self._count += 1
        again = self._known is None or self._count & (self._count - 1) == 0
        job, constant = make_job(
            model,
            "auto",
            rows,
            backend=backend,
            key=key,
            n_chains=self.n_chains,
            n_temperatures=self.n_temperatures,
            known=None if again else self._known,
        )
        found, evidence, bases = annealed.populate(job)
        self._known = None
        if found.reliable:
            self._known = Known(scouts.choose([s for s in evidence.scouts if s.broad]).name, bases)
        doubt = doubt_of_existence(model)
        if doubt:
            found = replace(found, reliable=False, message=doubt, interval=(found.interval[0], np.inf))
        return found.shifted(-constant)
