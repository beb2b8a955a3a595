"""Runs whose minibatches are composed of kernels on a device, and whose arrays all stay there.

A mirror of the state, of arrays of the device, is what minibatches change; `Step` does not know the difference. Rows of
the data are copied once where there is room for them. Between the passes nothing is read but a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data import Rows
from .._data.split import Order
from .._kernels import ChainState, TrainingPlan
from .._kernels.array_kernels import ArrayKernels
from .._kernels.bits import are_bits
from ..samplers.tempering import TemperedState, Tempering
from ..units import get_unit
from .loop import Epoch, Plans, at_rest, share_of
from .minibatch import Setup, Step
from .negative import Chains, PopulationChains
from .state import Snapshot, TrainingState

#: whose draws have kernels on devices; all layers of a run must be of these
_UNITS = frozenset({"bernoulli", "ising", "onehot", "gaussian", "relu", "binomial"})


def stays_on_device(setup: Setup) -> bool:
    """Whether all that a minibatch does can be done by arrays of a device."""
    negative = setup.negative
    tempered = isinstance(negative, PopulationChains) and type(negative.sampler) is Tempering
    known = all(get_unit(unit).name in _UNITS for unit in setup.units)
    return known and (tempered or isinstance(negative, Chains))


class DeviceRun:
    """Newest values of a training state while a device has them (`fastrbm._kernels.contract.Resident`).

    Parameters
    ----------
    state : TrainingState
        Of the host; `settle` brings it up to date.
    setup : Setup
    arrays : ArrayKernels
    """

    def __init__(self, state: TrainingState, setup: Setup, arrays: ArrayKernels):
        self.state, self._given, self.arrays = state, setup, arrays
        self._put: Any = arrays.put
        self._get: Any = arrays.get
        self._rows: tuple[Any, Any] | None = None
        self.mirror = state
        self.setup = setup
        self._dirty = False

    @contextmanager
    def resident(self) -> Iterator[DeviceRun]:
        """Within the block the device has the newest values."""
        self.take_over()
        scale = self._given.scale
        plain = scale.trivial and scale.offset is None and not self._given.variance_rate
        sigma, offset = (None if x is None or plain else self.arrays.put(x) for x in (scale.sigma, scale.offset))
        self.setup = replace(self._given, scale=replace(scale, sigma=sigma, offset=offset))
        try:
            yield self
        finally:
            self.settle()
            self.mirror, self._rows = self.state, None

    # -- between host and device ----------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Go on from the arrays of the host."""
        state, put = self.state, self.arrays.put
        population: Any = state.population
        if isinstance(population, TemperedState):
            population = replace(population, hidden=put(population.hidden))
        self.mirror = TrainingState(
            put(state.parameters), [put(slot) for slot in state.slots],
            ChainState(state.chains.step, put(state.chains.chains), state.chains.updates), state.key, state.epoch,
            population, {name: put(x) for name, x in state.extras.items()},
        )  # fmt: skip
        self._dirty = False

    def settle(self) -> None:
        """Bring the arrays of the host up to date."""
        if not self._dirty:
            return
        state, mirror, get = self.state, self.mirror, self.arrays.get
        pairs = [(state.parameters, mirror.parameters), *zip(state.slots, mirror.slots, strict=True)]
        for values, newest in pairs:
            for value, new in zip(values, newest, strict=True):
                value[...] = get(new)
        state.chains.chains = get(mirror.chains.chains)
        if isinstance(mirror.population, TemperedState):
            state.population = replace(mirror.population, hidden=get(mirror.population.hidden))
        for name in state.extras.keys() - mirror.extras.keys():
            del state.extras[name]
        for name, x in mirror.extras.items():
            if name in state.extras and state.extras[name].shape == x.shape:
                state.extras[name][...] = get(x)
            else:
                state.extras[name] = get(x)
        self._dirty = False

    def snapshot(self) -> Snapshot:
        """Copy of what the model is, on the device."""
        return self.mirror.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back."""
        self.mirror.restore(snapshot)
        self._dirty = True

    def clear_slots(self) -> None:
        """Forget what a run that failed has gathered."""
        mirror, finite = self.mirror, self.arrays.are_finite
        mirror.start_anew()
        if not finite([mirror.chains.chains]):
            mirror.chains.chains = None
        if mirror.population is not None and not finite([mirror.population.model_chains]):
            mirror.population = None
        self._dirty = True

    def is_finite(self) -> bool:
        """Whether all parameters are, and the states of chains: the one small read after a pass."""
        mirror = self.mirror
        among_extras = [x for name, x in mirror.extras.items() if name in ("log_variance", "rho")]
        return bool(self.arrays.are_finite([*mirror.parameters, *among_extras, mirror.chains.chains]))

    # -- minibatches ----------------------------------------------------------------------------------------------

    def epoch(self, data: Rows, plans: Plans, order: Order, sample_weight: NDArray[Any] | None = None) -> Epoch:
        """Make one pass over the data, as `composed_epoch` does."""

        def epoch(on_batch: Callable[[], None] | None, done: int = 0) -> None:
            plan = plans(self.state.epoch)
            rows, done = order(self.state.epoch)[done * plan.batch_size :], 0
            for part, local in data.batches(rows, plan.batch_size):
                shares = _shares(sample_weight, rows[done : done + len(local)], plan.batch_size)
                for batch, of_batch in self._batches(data, part, local, plan, shares):
                    with np.errstate(over="ignore", invalid="ignore"):
                        Step(self.setup, self.arrays, plan, self.mirror)(*batch, of_batch)
                    self._dirty = True
                    mine, theirs = self.state.chains, self.mirror.chains
                    mine.step, mine.updates = theirs.step, theirs.updates
                    at_rest(on_batch)
                done += len(local)

        return epoch

    def _batches(
        self, data: Rows, part: Any, local: NDArray[np.int64], plan: TrainingPlan, shares: NDArray[Any] | None
    ) -> Iterator[tuple[tuple[Any, Any], Any]]:
        """Rows of each minibatch and which of their units are there, and the shares of the rows."""
        dtype, size = self.mirror.parameters.weights.dtype, plan.batch_size
        held = self._held(data, part, dtype)
        on_device = None if shares is None else self.arrays.put(shares, dtype)
        places: Any = None if held is None else self.arrays.indices(local)
        for first in range(0, len(local), size):
            of_batch = None if on_device is None else on_device[first : first + size]
            if held is None:
                yield self._copied(data, part[local[first : first + size]], dtype), of_batch
                continue
            here = places[first : first + size]
            yield tuple(None if x is None else x[here] for x in held), of_batch  # type: ignore[misc]

    def _held(self, data: Rows, part: Any, dtype: Any) -> Any:
        """All rows of a part on the device and which of their units are there; None where there is no room."""
        if self._rows is not None and self._rows[0] is part:
            return self._rows[1]
        n_rows, n_units = part.shape[0], self.mirror.parameters.weights.shape[1]
        # bits for the most part, but whether they are is only known when they are encoded
        if not self.arrays.room_for(2.0 * n_rows * n_units * np.dtype(dtype).itemsize):
            return None
        self._rows = None  # what it held is free now
        self._rows = part, self._copied(data, part, dtype)
        return self._rows[1]

    def _copied(self, data: Rows, rows: Any, dtype: Any) -> tuple[Any, Any]:
        states, present = data.encoded(rows)
        return self.arrays.put(states, None if are_bits(states) else dtype), self.arrays.put(present, dtype)


def _shares(sample_weight: NDArray[Any] | None, rows: NDArray[np.int64], batch_size: int) -> NDArray[Any] | None:
    """Weights of rows, adding up to 1 in each minibatch."""
    if sample_weight is None:
        return None
    parts = [share_of(sample_weight, rows[first : first + batch_size]) for first in range(0, len(rows), batch_size)]
    return np.concatenate(parts)  # type: ignore[arg-type]
