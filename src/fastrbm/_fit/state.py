"""The state of a training run, and what callbacks see of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, ChainState, PackedBits, Parameters, Resident, States
from .._kernels.datatypes import are_usable
from .._kernels.draws import Key
from .._kernels.ranks import Ranks, agree, all_do
from ..samplers import Population

Snapshot = tuple[Parameters, dict[str, NDArray[Any]]]
_PARAMETERS = ("log_variance", "rho")  # extras that are parameters of the model
_OF_DATA = ("log_variance_of_data", "offset")  # and those that training does not change


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
    population : Population or None
        Chains of a `PopulationSampler`.
    extras : dict of ndarray
        What parts of the training keep between minibatches under names of their own: offsets, fast weights, ladders.
    """

    parameters: Parameters
    slots: list[Parameters]
    chains: ChainState
    key: Key
    epoch: int = 0
    population: Population | None = None
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)

    #: where the newest parameters, slots and chains are while a backend keeps them; None: here
    resident: Resident | None = field(default=None, repr=False)

    def snapshot(self) -> Snapshot:
        """Copy of what the model is: the parameters, and those among the extras."""
        parameters = self.parameters.copy() if self.resident is None else self.resident.snapshot()
        return parameters, {k: x.copy() for k, x in self.extras.items() if k in _PARAMETERS}

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back, in place."""
        parameters, extras = snapshot
        if self.resident is not None:
            self.resident.restore(parameters)
        else:
            for value, before in zip(self.parameters, parameters, strict=True):
                value[...] = before
        for name in self.extras.keys() & set(_PARAMETERS):
            if name in extras:
                self.extras[name][...] = extras[name]
            else:  # the run that failed has made it
                del self.extras[name]

    def resize(self, parameters: Parameters) -> None:
        """Go on with other numbers of units: all that belongs to the old ones is forgotten."""
        dtype = self.parameters.weights.dtype
        self.parameters = Parameters(*(np.array(x, dtype=dtype, order="C") for x in parameters))
        self.slots.clear()
        self.chains.chains, self.population = None, None
        for name in self.extras.keys() - {"log_variance", *_OF_DATA}:
            del self.extras[name]

    def own(self) -> None:
        """Replace arrays that cannot be written to, those of a file that is mapped for instance, by copies."""
        self.parameters = _writable(self.parameters)
        self.slots[:] = map(_writable, self.slots)
        for name, x in self.extras.items():
            if not x.flags.writeable:
                self.extras[name] = x.copy()
        chains = self.chains.chains
        if isinstance(chains, PackedBits) and not chains.words.flags.writeable:
            self.chains.chains = PackedBits(chains.words.copy(), chains.n_units)
        elif isinstance(chains, np.ndarray) and not chains.flags.writeable:
            self.chains.chains = chains.copy()
        if self.population is not None and not all(x.flags.writeable for x in self.population.arrays().values()):
            self.population = copy.deepcopy(self.population)

    def start_anew(self) -> None:
        """Forget what a run that failed has gathered beside the parameters, so that another one can go on."""
        for name in self.extras.keys() - {*_PARAMETERS, *_OF_DATA}:
            del self.extras[name]
        if not _are_finite(self.chains.chains):
            self.chains.chains = None
        if self.population is not None and not all(map(_are_finite, self.population.arrays().values())):
            self.population = None
        if self.resident is not None:
            self.resident.clear_slots()
            return
        for slot in self.slots:
            for value in slot:
                value[...] = 0

    def is_finite(self) -> bool:
        """Whether all parameters are, those among the extras too, and the states of chains, and can be added up."""
        others = _are_finite(self.chains.chains) and all(
            are_usable((x,)) for k, x in self.extras.items() if k in _PARAMETERS
        )
        if self.resident is not None:
            return others and self.resident.is_finite()
        return others and are_usable(self.parameters)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block the arrays here are up to date, and may be changed."""
        resident, self.resident = self.resident, None
        if resident is not None:
            resident.settle()
        try:
            yield
        finally:
            self.resident = resident
            if resident is not None:
                resident.take_over()


class Inside(NamedTuple):
    """What callbacks of this package ask an estimator beside its public methods.

    Attributes
    ----------
    backend : callable
        Returns the backend of its device.
    states : callable
        Takes rows in the form `fit` takes and an advice; returns them as states of the visible layer of its `model_`,
        or raises ValueError with the advice where they are none.
    log_volume : callable
        Returns the sum of the logs of the deviations by which states are divided, in nats.
    rescaled : callable
        Tells whether states are divided by deviations, which training may move.
    save : callable or None
        Takes a path, the run and how many minibatches of the next pass are done; writes a checkpoint. None where a run
        cannot be gone on with.
    """

    backend: Callable[[], Backend]
    states: Callable[[Any, str], States]
    log_volume: Callable[[], float]
    rescaled: Callable[[], bool]
    save: Callable[[Path, FitRun, int], None] | None


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
    inside : Inside
        For callbacks of this package.
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
    inside: Inside = field(repr=False)
    done: int = 0
    stop_requested: bool = False
    updates_at_epoch_start: int = field(default=0, repr=False)
    #: the processes that do it together; None: this one alone
    ranks: Ranks | None = field(default=None, repr=False)
    #: who is told of it
    listeners: list[Any] = field(default_factory=list, repr=False)
    #: the checkpoint that the run goes on from
    taken_up: Any = field(default=None, repr=False)
    #: minibatches of the coming pass that were done before it was cut off, and the seconds they took
    skipped: int = field(default=0, repr=False)
    seconds_before: float = field(default=0.0, repr=False)
    pass_began: float = field(default=0.0, repr=False)

    def agree(self, wish: bool) -> bool:
        """Whether any of the processes that do the run wishes something, of which all must ask at once."""
        return agree(self.ranks, wish)

    def all_do(self, action: Callable[[], None]) -> None:
        """Do something that may fail on some of several processes: then it fails on all of them."""
        if self.ranks is None:
            action()
        else:
            all_do(self.ranks, action)

    def first_does(self, action: Callable[[], None]) -> None:
        """Do what concerns files: of several processes the first one does it, and an error is one of all."""
        first = self.ranks is None or self.ranks.rank == 0
        self.all_do(action if first else lambda: None)

    def record(self, name: str, value: float) -> None:
        """Record a metric of the epoch that has just finished."""
        column = self.history.setdefault(name, [])
        column.extend([np.nan] * (len(self.history["epoch"]) - 1 - len(column)))
        column.append(float(value))

    def stop(self) -> None:
        """End the run after the current epoch."""
        self.stop_requested = True

    @property
    def seconds_of_pass(self) -> float:
        """Time that the current pass has taken so far."""
        return self.seconds_before + time.perf_counter() - self.pass_began

    @property
    def batches_done(self) -> int:
        """Minibatches finished in the current epoch."""
        return self.state.chains.updates - self.updates_at_epoch_start

    @property
    def n_batches(self) -> int:
        """Minibatches of the current epoch, or of the last one."""
        return self.batches[min(self.done, len(self.batches) - 1)] if self.batches else 0


def _writable(parameters: Parameters) -> Parameters:
    return Parameters(*(x if x.flags.writeable else x.copy() for x in parameters))


def _are_finite(states: Any) -> bool:
    """Whether states of a layer are, and can be added up; bits, and none at all, are."""
    return not isinstance(states, np.ndarray) or states.dtype.kind != "f" or are_usable((states,))
