"""The state of a training run, and what callbacks see of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._kernels import ChainState, Parameters
from ._random import Key


@dataclass
class TrainingState:
    """All that a run needs to go on where it stopped, bit for bit.

    Attributes
    ----------
    parameters : Parameters
        Updated in place.
    velocity : Parameters or None
        Momentum.
    chains : ChainState
        Persistent chains and the next Gibbs step.
    key : Key
        Of all draws.
    epoch : int
        Epochs finished.
    """

    parameters: Parameters
    velocity: Parameters | None
    chains: ChainState
    key: Key
    epoch: int = 0


@dataclass
class FitRun:
    """What callbacks see of a run.

    Attributes
    ----------
    estimator : object
        The estimator being fitted; its fitted attributes are those of the moment.
    n_epochs : int
        Epochs this run was asked for.
    n_rows, batch_size : int
        Size of the data and of a minibatch.
    state : TrainingState
    history : dict of list
        One entry per finished epoch and metric; "epoch" and "seconds" are always there.
    done : int
        Epochs finished in this run.
    stop_requested : bool
        Set by `stop`.
    """

    estimator: Any
    n_epochs: int
    n_rows: int
    batch_size: int
    state: TrainingState
    history: dict[str, list[Any]]
    done: int = 0
    stop_requested: bool = False
    step_at_epoch_start: int = field(default=0, repr=False)
    sweeps_per_batch: int = field(default=2, repr=False)

    def record(self, name: str, value: float) -> None:
        """Record a metric of the epoch that has just finished."""
        column = self.history.setdefault(name, [])
        column.extend([np.nan] * (len(self.history["epoch"]) - 1 - len(column)))
        column.append(value)

    def stop(self) -> None:
        """End the run after the current epoch."""
        self.stop_requested = True

    @property
    def batches_done(self) -> int:
        """Minibatches finished in the current epoch."""
        return (self.state.chains.step - self.step_at_epoch_start) // self.sweeps_per_batch

    @property
    def n_batches(self) -> int:
        """Minibatches of an epoch."""
        return -(-self.n_rows // self.batch_size)
