"""What passes over the data are made of: whole ones of a backend, or minibatches of single kernels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .._data import Rows
from .._data.chunks import ChunkedData
from .._data.split import Order, Split
from .._fit.em import em_step
from .._fit.loop import Epoch, Plans, Step, composed_epoch, native_epoch
from .._fit.minibatch import Setup
from .._fit.minibatch import Step as GeneralStep
from .._fit.on_device import DeviceRun, stays_on_device
from .._fit.state import TrainingState
from .._kernels import Backend, Resident, TrainingPlan
from ..regularizers import get_regularization
from . import options


class Passes:
    """How an estimator passes over data; for `BaseRBM`."""

    def _setup(self: Any, n_rows: int) -> Setup:
        return Setup(
            self.units,
            options.negative_phase(self),
            get_regularization(self.regularizers),
            self._scale(),
            bool(self.centered),
            self._variance_rate(),
            n_rows,
        )

    def _plain(self: Any, sample_weight: Any, are_plain: bool | None = None) -> bool:
        """Whether nothing needs whole arrays between minibatches; `are_plain` says it of the options, where known."""
        if are_plain is None:
            are_plain = options.are_plain(self)
        return are_plain and sample_weight is None and self._scale().trivial and not self._variance_rate()

    def _fused(
        self: Any, data: Rows, sample_weight: Any, plan: TrainingPlan, backend: Backend, are_plain: bool | None = None
    ) -> bool:
        """Whether the backend does whole passes itself."""
        return self._plain(sample_weight, are_plain) and backend.trains_whole_passes(self.units, data.binary, plan)

    def _epochs(
        self: Any, state: TrainingState, data: Rows, split: Split, run: tuple[int, int], sample_weight: Any,
        backend: Backend,
    ) -> tuple[Epoch, list[int], bool, Callable[[], AbstractContextManager[Resident | None]]]:  # fmt: skip
        """One pass, minibatches of all passes, whether the backend does whole ones, what keeps the newest values.

        `run` are the first pass and the one after the last.
        """
        first_epoch, n_epochs = run
        n_rows = data.shape[0] if isinstance(data, ChunkedData) else len(split)

        def plan(epoch: int) -> TrainingPlan:
            return options.plan_of(self, state.key.seed, epoch, n_epochs, n_rows)

        def length(epoch: int) -> int:
            if self.steps_per_epoch is None:
                return len(split)
            return int(self.steps_per_epoch) * options.batch_size_at(self, epoch, n_epochs, n_rows)

        rows = data if isinstance(data, ChunkedData) else split
        order = rows.order(state.key, self.shuffle, length)
        sizes = [options.batch_size_at(self, epoch, n_epochs, n_rows) for epoch in range(first_epoch, n_epochs)]
        batches = [-(-length(first_epoch + k) // size) for k, size in enumerate(sizes)]
        fused = self._fused(data, sample_weight, plan(state.epoch), backend)
        epoch, resident = self._pass(state, data, plan, order, sample_weight, len(split), backend, fused)
        return epoch, batches, fused, resident

    def _pass(
        self: Any, state: TrainingState, data: Rows, plans: Plans, order: Order, sample_weight: Any, n_rows: int,
        backend: Backend, fused: bool,
    ) -> tuple[Epoch, Callable[[], AbstractContextManager[Resident | None]]]:  # fmt: skip
        """One pass by whole kernels (`fused`) or by minibatches, and what keeps the newest values meanwhile."""
        if fused:
            epoch = native_epoch(state, data, backend, plans, self.units, order)
            return epoch, lambda: backend.resident(state.parameters, state.slots, state.chains)
        arrays = None if self.algorithm == "em" else backend.arrays()
        if arrays is not None and stays_on_device(setup := self._setup(n_rows)):
            run = DeviceRun(state, setup, arrays)
            return run.epoch(data, plans, order, sample_weight), run.resident
        begin = self._steps(state, backend, n_rows)
        return composed_epoch(state, data, plans, begin, order, sample_weight), nullcontext

    def _steps(self: Any, state: TrainingState, backend: Backend, n_rows: int) -> Callable[[TrainingPlan], Step]:
        """What does the minibatches of a pass, by its plan, where the backend does not do whole passes."""
        if self.algorithm != "em":
            setup = self._setup(n_rows)
            return lambda plan: GeneralStep(setup, backend, plan, state)
        units, scale = self.units, self._scale()

        def begin(plan: TrainingPlan) -> Step:
            return lambda rows, _, shares: em_step(state, rows, backend, plan, units, n_rows, scale, shares)

        return begin
