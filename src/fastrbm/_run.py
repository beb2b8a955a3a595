"""The state of a training run, and what callbacks see of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._kernels import ChainState, Parameters
from ._random import Key
from .samplers import TemperedState

Snapshot = tuple[Parameters, dict[str, NDArray[Any]]]
_PARAMETERS = ("log_variance", "rho")  # extras that are parameters of the model


@dataclass
class TrainingState:
    """All that a run needs to go on where it stopped, bit for bit.

    Attributes
    ----------
    parameters : Parameters
        Updated in place.
    slots : list of Parameters
        What the optimiser keeps.
    chains : ChainState
        Persistent chains and the next Gibbs step.
    key : Key
        Of all draws.
    epoch : int
        Epochs finished.
    tempered : TemperedState or None
        Chains at several temperatures.
    extras : dict of ndarray
        What parts of the training keep between minibatches under names of their own: offsets, fast weights, ladders.
    """

    parameters: Parameters
    slots: list[Parameters]
    chains: ChainState
    key: Key
    epoch: int = 0
    tempered: TemperedState | None = None
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        """Copy of what the model is: the parameters, and those among the extras."""
        return self.parameters.copy(), {k: x.copy() for k, x in self.extras.items() if k in _PARAMETERS}

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back, in place."""
        parameters, extras = snapshot
        for value, before in zip(self.parameters, parameters, strict=True):
            value[...] = before
        for name, before in extras.items():
            self.extras[name][...] = before


@dataclass
class FitRun:
    """What callbacks see of a run.

    Attributes
    ----------
    estimator : object
        The estimator being fitted; its fitted attributes are those of the moment.
    n_epochs : int
        Epochs this run was asked for.
    batches : list of int
        Minibatches of each epoch of this run.
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
    batches: list[int]
    state: TrainingState
    history: dict[str, list[Any]]
    done: int = 0
    stop_requested: bool = False
    updates_at_epoch_start: int = field(default=0, repr=False)

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
        return self.state.chains.updates - self.updates_at_epoch_start

    @property
    def n_batches(self) -> int:
        """Minibatches of the current epoch, or of the last one."""
        return self.batches[min(self.done, len(self.batches) - 1)] if self.batches else 0
