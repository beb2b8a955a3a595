"""A training run on the device: parameters, optimiser slots, chains and rows stay there from one pass to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, are_bits
from ..contract import Backend, ChainState, Parameters, TrainingPlan, train_batch, values_of
from ..levels import GreyLevels
from .gradients import ADAM_LIKE, rule_of, slots_of
from .kernels.gaussian import make_gaussian_pass_kernel
from .kernels.quantise import DONE
from .kernels.target import clear, cuda
from .kernels.training import Plan, Span, TrainingModel, TrainingRows, TrainingStates, make_pass_kernel
from .launching import Kernels, are_finite, choose_tile, most_tiles, nothing
from .memory import DeviceBits, DeviceRows, download, empty, flat, guarding, upload
from .other_units import UnitLayers, chains_as_bits, chains_as_values
from .quantise import QuantisedWeights
from .scratch import Scratch

PASS = Kernels(make_pass_kernel)
GREY_PASS = Kernels(partial(make_pass_kernel, is_grey=True))
GAUSSIAN_PASS = Kernels(make_gaussian_pass_kernel)
UNITS_PASS = Kernels(partial(make_pass_kernel, others=True))
LEVEL_PASS = Kernels(partial(make_pass_kernel, is_grey=True, exact=True))
#: multiply-adds of one launch: some tens of milliseconds, after which signals and callbacks have their turn
_WORK_OF_LAUNCH = 1 << 42
#: share of the free memory that rows may take; larger data come in chunks
SHARE_OF_MEMORY = 0.6
#: bytes of one chunk of rows that come one after another
CHUNK_BYTES = 64 << 20


def room_for(n_bytes: float) -> bool:
    """Whether rows of so many bytes may stay on the device, beside all else."""
    return bool(n_bytes <= SHARE_OF_MEMORY * cuda.current_context().get_memory_info()[0])


class TrainingSession:
    """Device copies of what a run changes.

    Parameters
    ----------
    parameters : Parameters
    slots : sequence of Parameters
        Host arrays of float32, which `settle` brings up to date.
    state : ChainState
        Its chains are taken over by the first pass, and brought up to date by `settle`.
    short : bool
        Whether states are drawn with weights of 16 bits.
    """

    def __init__(
        self, parameters: Parameters, slots: Sequence[Parameters], state: ChainState, short: bool = False
    ) -> None:
        self.host = [parameters, *slots]
        self.state = state
        self._dirty = False
        self._device = [[upload(x) for x in values] for values in self.host]
        self.weights = QuantisedWeights(self._device[0][0], short)
        self._fits: bool | None = None
        self._chains: Any = None
        self._units = ("bernoulli", "bernoulli")
        self._layers: UnitLayers | None = None
        self._rows: tuple[Any, Any] | None = None
        self._scratch = Scratch()

    # -- what is where --------------------------------------------------------------------------------------------

    def owns(self, parameters: Parameters, slots: Sequence[Parameters], state: ChainState) -> bool:
        """Whether these are the arrays of this session."""
        mine, asked = self.host, [parameters, *slots]
        return state is self.state and len(mine) == len(asked) and all(
            x is y for a, b in zip(mine, asked, strict=True) for x, y in zip(a, b, strict=True)
        )  # fmt: skip

    def settle(self) -> None:
        """Bring the arrays of the host up to date."""
        if not self._dirty:
            return
        for values, copies in zip(self.host, self._device, strict=True):
            for value, copy in zip(values, copies, strict=True):
                value[...] = download(copy)
        if self._chains is not None:
            self.state.chains = (
                values_of(self._units[1], self._chains.to_host(), self.host[0].weights.dtype)
                if are_bits(self._chains) else download(self._chains)
            )  # fmt: skip
        self._dirty = False

    def take_over(self) -> None:
        """Bring the device up to date after the host's arrays were changed."""
        assert not self._dirty
        for values, copies in zip(self.host, self._device, strict=True):
            for value, copy in zip(values, copies, strict=True):
                copy.copy_to_device(np.ascontiguousarray(value))
        self._chains, self._fits = None, None

    def snapshot(self) -> list[Any]:
        """Copies of the parameters on the device."""
        copies = []
        for value in self._device[0]:
            copies.append(empty(value.shape, value.dtype))
            copies[-1].copy_to_device(value)
        return copies

    def restore(self, snapshot: list[Any]) -> None:
        """Put a snapshot back."""
        for value, before in zip(self._device[0], snapshot, strict=True):
            value.copy_to_device(before)
        self._fits, self._dirty = None, True

    def clear_slots(self) -> None:
        """Zeros in the slots."""
        for slot in self._device[1:]:
            for copy in slot:
                clear(copy)
        self._dirty = True

    def is_finite(self) -> bool:
        """Whether all parameters are: the one small read after a pass."""
        return are_finite(self._device[0])

    # -- passes ---------------------------------------------------------------------------------------------------

    def run(
        self,
        rows: Any,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        on_batch: Callable[[], None] | None,
    ) -> int:
        """Do minibatches of ``rows[order]`` and return the rows done: fewer where weights grow too large."""
        done, self._units = 0, units
        if self._layers is None:
            self._layers = UnitLayers(units, self.weights.n_visible, self.weights.n_hidden)
        for source, local, stream in self._resident(rows, order, plan.batch_size):
            while len(local):
                if self._fits is None:
                    self._fits = self.weights.fill()
                    if self._fits:
                        self._layers.start(self.weights)
                if not self._fits:
                    return done
                if plan.persistent:
                    self._chains = chains_as_bits(self.state.chains if self._chains is None else self._chains)
                here = self._run_chunk(source, local, plan, self._layers, on_batch, stream)
                done += here
                local = local[here:]
        return done

    def compose(
        self,
        backend: Backend,
        rows: Any,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        on_batch: Callable[[], None] | None,
    ) -> None:
        """Minibatches of ``rows[order]`` through the kernels that every backend has, on the arrays of the device."""
        parameters, *slots = (Parameters(*values) for values in self._device)
        self._units = units
        if plan.persistent:
            chains = self.state.chains if self._chains is None else self._chains
            self._chains = chains_as_values(
                chains, lambda bits: backend.values(units[1], bits, parameters.weights.dtype)
            )  # fmt: skip
        mine = ChainState(self.state.step, self._chains, self.state.updates)
        self._dirty, self._fits = True, None
        for source, local, _ in self._resident(rows, order, plan.batch_size):
            held: Any = (
                DeviceBits(source, parameters.weights.shape[1]) if source.dtype == np.uint32 else DeviceRows(source)
            )
            places = upload(local)
            for first in range(0, len(local), plan.batch_size):
                with backend.holding(parameters.weights):
                    batch = held[places[first : first + plan.batch_size]]
                    if source.dtype == np.uint8:
                        batch = GreyLevels(download(batch))
                    train_batch(backend, parameters, slots, batch, plan, units, mine)
                self._chains, self.state.step, self.state.updates = mine.chains, mine.step, mine.updates
                if on_batch is not None:
                    on_batch()

    def _resident(
        self, rows: Any, order: NDArray[np.int64], batch_size: int
    ) -> Iterator[tuple[Any, NDArray[np.int64], Any]]:
        """Chunks of the data on the device: (rows, order within them, stream).

        All that is done with a chunk of rows must be asked of its stream: the default one waits for the copy
        of the next chunk.
        """
        if isinstance(rows, (DeviceBits, DeviceRows)):
            yield (rows.words if isinstance(rows, DeviceBits) else rows.values), order, 0
            return
        held = rows.words if isinstance(rows, PackedBits) else rows
        if isinstance(rows, GreyLevels):
            held = np.ascontiguousarray(rows.values)
        if self._rows is not None and self._rows[0] is held:
            yield self._rows[1], order, 0
            return
        self._rows = None  # what it held is free now
        if room_for(held.nbytes):
            self._rows = held, upload(_device_view(held))
            yield self._rows[1], order, 0
            return
        yield from _in_chunks(held, order, batch_size)

    def _run_chunk(
        self,
        source: Any,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        layers: UnitLayers,
        on_batch: Callable[[], None] | None,
        stream: Any,
    ) -> int:
        n_batches = -(-len(order) // plan.batch_size)
        weights, state = self.weights, self.state
        n_hidden, n_visible = weights.n_hidden, weights.n_visible
        batch = min(plan.batch_size, len(order))
        chains = self._chains.words if plan.persistent else self._scratch.bits("chains", batch, n_hidden)
        n_model = int(chains.shape[0])
        tile = choose_tile(max(batch, n_model), max(n_hidden, n_visible))
        is_grey, exact = source.dtype != np.uint32 and not plan.stochastic_input, source.dtype == np.uint8
        first_update, first_step = state.updates, state.step
        per_batch = plan.n_sweeps + 1
        none = nothing(np.int64, 0)
        data = TrainingRows(
            flat(source) if source.dtype == np.uint32 else nothing(np.uint32),
            source if source.dtype == np.float32 else nothing(np.float32, (1, 1)),
            source if exact else nothing(np.uint8, (1, 1)), upload(order, stream), len(order),
        )  # fmt: skip
        states = TrainingStates(
            flat(self._scratch.bits("data", batch if plan.stochastic_input else 1, n_visible)), flat(chains),
            flat(self._scratch.bits("visible", n_model, n_visible)), n_model, none,
        )  # fmt: skip
        arguments = (
            data, states, *map(slots_of, zip(*self._device, strict=True)),
            rule_of(plan.update(0), len(self.host) - 1, _adam_scales(plan, first_update, n_batches), stream),
            self._model(),
        )  # fmt: skip
        if layers.gaussian:
            kernels, both = GAUSSIAN_PASS, self._scratch.of_gaussian(weights, layers, batch, n_model)
            arguments = (*arguments, both, _numbers_of(plan, weights.short))
        else:
            kernels = LEVEL_PASS if exact else GREY_PASS if is_grey else UNITS_PASS if layers.others else PASS
            scratch = self._scratch.of_gradient(weights, batch, n_model, is_grey, exact)
            arguments = (*arguments, scratch, _numbers_of(plan, weights.short), layers.arguments(max(batch, n_model)))
        clear(weights.control[DONE : DONE + 1], stream)
        work = 5.0 * batch * n_hidden * n_visible * plan.n_sweeps
        per_launch = max(1, min(n_batches, int(_WORK_OF_LAUNCH / work)))
        tiles = most_tiles(tile, max(batch, n_model), n_hidden, n_visible)
        self._dirty = True
        parity, done, noted = weights.parity, 0, False
        try:
            while done < n_batches:
                span = Span(
                    done, min(per_launch, n_batches - done), first_step + done * per_batch, (parity + done) % 2
                )  # fmt: skip
                # a launch whose products leave out half of the bytes ends when the weights are short no more
                shape, noted = weights.tile(tile) if kernels is PASS else tile, False
                kernels.launch_cooperative(shape, tiles, *arguments, span, stream=stream)
                done, noted = self._note(first_update, first_step, per_batch, stream), True
                if not self._fits:
                    break
                if on_batch is not None:
                    on_batch()
                    if self._fits is None:  # it may have changed the arrays of the host, which were taken over
                        break
        finally:
            # also after an interrupt: what the device has done is what counts
            if not noted:
                done = self._note(first_update, first_step, per_batch, stream)
            weights.parity = (parity + done) % 2
        return min(len(order), done * plan.batch_size)

    def _note(self, first_update: int, first_step: int, per_batch: int, stream: Any) -> int:
        """Read how far the device has come."""
        control = download(self.weights.control, stream)
        self._fits, done = self.weights.note(control), int(control[DONE])
        self.state.updates = first_update + done
        self.state.step = first_step + done * per_batch
        return done

    def _model(self) -> TrainingModel:
        w = self.weights
        return TrainingModel(
            w.n_hidden, w.n_visible, w.to_hidden, w.to_visible, w.quantum, w.magnitudes, w.control, w.shift
        )  # fmt: skip


def _device_view(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.view(np.uint32) if rows.dtype == np.uint64 else rows


def _numbers_of(plan: TrainingPlan, short: bool) -> Plan:
    return Plan(
        plan.batch_size, plan.n_sweeps, bool(plan.persistent), bool(plan.stochastic_input), bool(plan.sampled_hidden),
        plan.seed & 0xFFFFFFFF, plan.seed >> 32, short,
    )  # fmt: skip


def _adam_scales(plan: TrainingPlan, first_update: int, n_batches: int) -> NDArray[np.float32] | None:
    """What Adam's running means are multiplied with, by minibatch; None for other rules."""
    if plan.rule.kind not in ADAM_LIKE:
        return None
    return np.array([plan.update(first_update + k).scales() for k in range(n_batches)], dtype=np.float32)


def _in_chunks(
    held: NDArray[Any], order: NDArray[np.int64], batch_size: int
) -> Iterator[tuple[Any, NDArray[np.int64], Any]]:
    """Rows in the order of their use through two buffers: one is filled while the device works on the other."""
    row_bytes = held.shape[1] * held.itemsize
    chunk = max(1, CHUNK_BYTES // (row_bytes * batch_size)) * batch_size
    view = _device_view(held)
    compute, copying = cuda.stream(), cuda.stream()
    with guarding("two chunks of the rows", 2 * chunk * row_bytes):
        shape = (min(chunk, len(order)), view.shape[1])
        staging = [cuda.pinned_array(shape, view.dtype) for _ in range(2)]
        buffers = [cuda.device_array(shape, view.dtype) for _ in range(2)]

    chunks = [order[first : first + chunk] for first in range(0, len(order), chunk)]

    def gather(number: int) -> None:
        if number < len(chunks):
            # "clip" as anything else goes through another copy; there is nothing to clip
            np.take(view, chunks[number], axis=0, out=staging[number % 2][: len(chunks[number])], mode="clip")

    with ThreadPoolExecutor(1) as worker:
        gathered = worker.submit(gather, 0)
        for number in range(-1, len(chunks)):
            # chunk `number` is on the device; the next is copied and the one after it gathered while it is used
            copying.synchronize()
            gathered.result()
            if number + 1 < len(chunks):
                buffers[(number + 1) % 2].copy_to_device(staging[(number + 1) % 2], stream=copying)
                gathered = worker.submit(gather, number + 2)
            if number >= 0:
                yield buffers[number % 2], np.arange(len(chunks[number]), dtype=np.int64), compute
