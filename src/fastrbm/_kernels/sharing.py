"""A backend whose kernels are shared out among processes: each does some rows, or some hidden units, and all get all.

What comes out has the bits that one process has: a row does not depend on those beside it, draws go by the numbers of
chains, and a hidden unit's gradient is summed by one process over all samples in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .bits import BIT_UNITS, PackedBits, States, on_host
from .contract import Backend
from .datatypes import ChainState, Drawn, Parameters, Phase, Resident, TrainingPlan
from .draws import Draw
from .levels import GreyLevels, as_floats
from .partition import check_partition, states_between
from .ranks import Hook, RankError, Ranks, Share, share_of

#: multiply-adds of a kernel from which it is shared out; below, what it moves takes longer than to do all of it
LEAST_WORK = 1 << 22
_ROWS = 32  # shares are multiples of so many: words of the kernels' lanes
_UNITS = 64  # and of so many hidden units: words of packed rows
_FIXED = 6  # hidden units whose values each part of a sum over states has fixed
_PARTS = 1 << _FIXED
_LEAST_LISTED = 14  # hidden units, of sums that are cut into parts

_sharing: ContextVar[Ranks | None] = ContextVar("_sharing", default=None)


@contextmanager
def shared_by(ranks: Ranks) -> Iterator[None]:
    """Within the block backends that this thread asks for are shared out; all processes must do the same."""
    token = _sharing.set(ranks)
    try:
        yield
    finally:
        _sharing.reset(token)


def as_shared(backend: Backend) -> Backend:
    """Share a backend out, within a block of `shared_by`."""
    ranks = _sharing.get()
    return backend if ranks is None else SharingBackend(backend, ranks)


class SharingBackend(Backend):
    """The kernels of a backend, shared out.

    Parameters
    ----------
    inner : Backend
        That of this process.
    ranks : Ranks
    """

    concurrent = False

    def __init__(self, inner: Backend, ranks: Ranks):
        self.name = inner.name
        self.inner, self._ranks = inner, ranks
        shared = vars(SharingBackend)
        for name in dir(Backend):  # the others are done by every process
            if not name.startswith("_") and name not in shared and callable(getattr(inner, name)):
                setattr(self, name, getattr(inner, name))

    def arrays(self) -> None:
        """Say that values are on the host, where they can be moved."""
        return None

    @contextmanager
    def resident(
        self, parameters: Parameters, slots: Sequence[Parameters], state: ChainState
    ) -> Iterator[Resident | None]:
        """See `Backend.resident`: values are on the host."""
        yield None

    # -- rows ---------------------------------------------------------------------------------------------------

    def _by_rows(self, n: int, work: float, call: Callable[[slice], tuple[Any, ...]]) -> tuple[Any, ...]:
        """Results for n rows, of which `call` makes those of a slice."""
        if work < LEAST_WORK:
            return call(slice(0, n))
        counts = share_of(n, self._ranks, _ROWS)
        first = sum(counts[: self._ranks.rank])
        own = call(slice(first, first + counts[self._ranks.rank]))
        return tuple(self._joined(on_host(x), counts) for x in own)

    def _joined(self, own: Any, counts: Sequence[int]) -> Any:
        if isinstance(own, PackedBits):
            return PackedBits(self._joined(own.words, counts), own.n_units)
        first = sum(counts[: self._ranks.rank])
        out = np.empty((sum(counts), *own.shape[1:]), own.dtype)
        out[first : first + len(own)] = own
        self._ranks.join(out, counts)
        return out

    def inputs(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.inputs`."""

        def own(rows: slice) -> tuple[Any]:
            return (self.inner.inputs(states[rows], weights, bias, transpose=transpose),)

        n = states.shape[0]
        out: NDArray[Any] = self._by_rows(n, float(n) * weights.size, own)[0]
        return out

    def means(
        self, unit: str, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.means`."""

        def own(rows: slice) -> tuple[Any]:
            return (self.inner.means(unit, states[rows], weights, bias, transpose=transpose),)

        n = states.shape[0]
        out: NDArray[Any] = self._by_rows(n, float(n) * weights.size, own)[0]
        return out

    def samples(
        self,
        unit: str,
        states: States,
        weights: NDArray[Any],
        bias: NDArray[Any],
        draw: Draw,
        *,
        transpose: bool = False,
    ) -> Drawn:
        """See `Backend.samples`."""

        def own(rows: slice) -> tuple[Any]:
            at = draw._replace(first_chain=draw.first_chain + rows.start)
            return (self.inner.samples(unit, states[rows], weights, bias, at, transpose=transpose),)

        n = states.shape[0]
        return self._by_rows(n, float(n) * weights.size, own)[0]

    def run_chains(
        self, hidden: States, parameters: Parameters, units: tuple[str, str], draw: Draw, n_sweeps: int
    ) -> tuple[Drawn, Drawn]:
        """See `Backend.run_chains`."""

        def own(rows: slice) -> tuple[Drawn, Drawn]:
            at = draw._replace(first_chain=draw.first_chain + rows.start)
            return self.inner.run_chains(hidden[rows], parameters, units, at, n_sweeps)

        n = hidden.shape[0]
        visible, hidden = self._by_rows(n, float(n) * parameters.weights.size * n_sweeps, own)
        return visible, hidden

    def anneal(
        self,
        states: States,
        parameters: Parameters,
        units: tuple[str, str],
        bases: tuple[NDArray[Any], NDArray[Any]],
        sum_out: str,
        betas: NDArray[np.float64],
        draw: Draw,
        log_weights: NDArray[np.float64],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> States:
        """See `Backend.anneal`; progress is that of this process."""

        def own(rows: slice) -> tuple[States, NDArray[np.float64]]:
            at = draw._replace(first_chain=draw.first_chain + rows.start)
            logs = log_weights[rows].copy()
            kept = self.inner.anneal(
                states[rows], parameters, units, bases, sum_out, betas, at, logs, on_progress
            )  # fmt: skip
            return kept, logs

        n = states.shape[0]
        kept, logs = self._by_rows(n, float(n) * parameters.weights.size * len(betas), own)
        log_weights[...] = logs
        end: States = kept
        return end

    # -- states -------------------------------------------------------------------------------------------------

    def seconds_for_states(self, units: tuple[str, str], n_states: float, n_other: int, dtype: Any) -> float:
        """Return the estimate of the first process, by which all decide."""
        seconds: float = self._ranks.share(self.inner.seconds_for_states(units, n_states, n_other, dtype))
        return seconds

    def log_partition_sum(
        self,
        parameters: Parameters,
        units: tuple[str, str],
        *,
        dtype: Any = np.float64,
        log_weights: NDArray[np.float64] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> float:
        """See `Backend.log_partition_sum`: each process has the states of some values of the last hidden units.

        How the sum is cut does not depend on how many processes there are, and the parts are added in their order.
        """
        n_hidden = len(parameters.hidden_bias)
        if units[1] not in BIT_UNITS or n_hidden < _LEAST_LISTED:
            return self.inner.log_partition_sum(
                parameters, units, dtype=dtype, log_weights=log_weights, on_progress=on_progress
            )
        check_partition(parameters, units, log_weights)
        counts = share_of(_PARTS, self._ranks, 1)
        first = sum(counts[: self._ranks.rank])
        totals, size = np.zeros((_PARTS, 1)), 1 << (n_hidden - _FIXED)
        weights, visible_bias, hidden_bias = (x.astype(np.float64) for x in parameters)
        states = states_between(0, _PARTS, _FIXED)
        if units[1] == "ising":
            states = 2 * states - 1
        kept = Parameters(np.ascontiguousarray(weights[:-_FIXED]), visible_bias, hidden_bias[:-_FIXED])
        for part in range(first, first + counts[self._ranks.rank]):
            fixed = states[part]
            # sums in an order of our own: that of BLAS depends on the processor
            field = (fixed[:, None] * weights[-_FIXED:]).sum(axis=0)
            constant = float((fixed * hidden_bias[-_FIXED:]).sum())
            own = None if log_weights is None else log_weights[part * size : (part + 1) * size]
            totals[part] = constant + self.inner.log_partition_sum(
                kept._replace(visible_bias=visible_bias + field), units, dtype=dtype, log_weights=own
            )
            if own is not None:
                own += constant
            if on_progress is not None:
                on_progress((part - first + 1) * size, counts[self._ranks.rank] * size)
        self._ranks.join(totals, counts)
        if log_weights is not None:
            self._ranks.join(log_weights.reshape(_PARTS, size), counts)
        top = totals.max()
        return float(top + np.log(np.exp(totals - top).sum()))

    # -- hidden units -------------------------------------------------------------------------------------------

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """See `Backend.moments`."""
        return self._by_units([phase], lambda parts: self.inner.moments(parts[0], dtype))

    def gradient(self, data: Phase, model: Phase, dtype: Any) -> Parameters:
        """See `Backend.gradient`."""
        return self._by_units([data, model], lambda parts: self.inner.gradient(parts[0], parts[1], dtype))

    def gradient_step(self, parameters: Parameters, slots: Any, data: Phase, model: Phase, update: Any) -> None:
        """See `Backend.gradient_step`."""
        self.ascend(parameters, slots, self.gradient(data, model, parameters.weights.dtype), update)

    def _by_units(self, phases: list[Phase], call: Callable[[list[Phase]], Parameters]) -> Parameters:
        """Moments whose hidden units are shared out."""
        n_hidden, n_visible = phases[0].hidden.shape[1], phases[0].visible.shape[1]
        if float(n_hidden) * n_visible * phases[0].visible.shape[0] < LEAST_WORK:
            return call(phases)
        counts = share_of(n_hidden, self._ranks, _UNITS)
        count = counts[self._ranks.rank]
        first = sum(counts[: self._ranks.rank]) if count else 0
        # a process without hidden units has the visible biases to make, as all have
        units = slice(first, first + (count or min(_UNITS, n_hidden)))
        own = call([phase._replace(hidden=_columns(phase.hidden, units)) for phase in phases])
        weights, hidden_bias = (self._joined(x[:count], counts) for x in (own.weights, own.hidden_bias))
        return Parameters(weights, own.visible_bias, hidden_bias)

    # -- passes -------------------------------------------------------------------------------------------------

    def train(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        on_batch: Callable[[], None] | None = None,
    ) -> None:
        """See `Backend.train`: native where the gradient is a sum of integers, else composed of shared kernels."""
        if isinstance(rows, GreyLevels) and (plan.stochastic_input or parameters.weights.dtype != np.float32):
            for part, local in as_floats([(rows, order)], plan.batch_size, parameters.weights.dtype):
                self.train(parameters, slots, part, local, plan, units, state, on_batch)
            return
        while len(order):
            hook = cast("Hook | None", on_batch)  # what fits of several processes give
            done = self._train_share(parameters, slots, rows, order, plan, units, state, hook)
            if done is None:
                super().train(parameters, slots, rows, order, plan, units, state, on_batch)
                return
            order = order[done * plan.batch_size :]
            # the weights have outgrown fixed point: one minibatch by other kernels, then try again
            super().train(parameters, slots, rows, order[: plan.batch_size], plan, units, state, on_batch)
            order = order[plan.batch_size :]

    def _train_share(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        on_batch: Hook | None,
    ) -> int | None:
        """Minibatches in one native call of all, fewer where weights outgrow fixed point; None without such a one."""
        ranks, size = self._ranks, plan.batch_size
        of_batch, n_batches = share_of(size, ranks, _ROWS), -(-len(order) // size)
        places = np.arange(len(order), dtype=np.int64)
        own = places[places % size // of_batch[0] == ranks.rank]
        chains, counts = state.chains, [0] * ranks.size
        if chains is not None and plan.persistent:
            counts = share_of(chains.shape[0], ranks, _ROWS)
            first = sum(counts[: ranks.rank])
            state.chains = chains[first : first + counts[ranks.rank]]
        share = Share(
            n_batches, min(size, len(order)), len(order) - (n_batches - 1) * size, sum(counts),
            sum(of_batch[: ranks.rank]), sum(counts[: ranks.rank]), ranks.start_add,
        )  # fmt: skip
        failed: list[BaseException] = []

        def look() -> None:
            try:
                wish = on_batch is not None and on_batch.look()
            except BaseException as error:
                failed.append(error)
                raise _Wish from error
            if wish:
                raise _Wish

        local = plan._replace(batch_size=max(1, of_batch[ranks.rank]))
        before, found = state.updates, None
        try:
            found = self.inner.train_share(parameters, slots, rows, order[own], local, units, state, share, look)
        except (_Wish, KeyboardInterrupt) as error:  # all have stopped after the same minibatch
            found = state.updates - before, False
            if isinstance(error, KeyboardInterrupt):
                failed.append(error)
        finally:
            if found is None:  # there is no such kernel, or sums could not be added
                state.chains = chains
        if found is None:
            return None
        if chains is not None and plan.persistent:
            state.chains = self._joined(state.chains, counts)
        done, outgrown = found
        if done < n_batches and not outgrown:
            self._stopped(failed, on_batch)
        return done

    def _stopped(self, failed: list[BaseException], on_batch: Hook | None) -> None:
        """Raise what has stopped all processes: an error, or a pause that at least one wished."""
        said = self._ranks.gather([f"{type(error).__name__}: {error}" for error in failed])
        if failed:
            raise failed[0]
        for rank, each in enumerate(said):
            if each:
                raise RankError(f"process {rank}: {each[0]}")
        assert on_batch is not None  # nobody else wishes
        raise on_batch.pause()


class _Wish(Exception):
    """A process wishes all to stop."""


def _columns(states: States, units: slice) -> States:
    """Some units of a layer, from a whole word on."""
    if not isinstance(states, PackedBits):
        return np.ascontiguousarray(states[:, units])
    last = min(units.stop, states.n_units)
    words = states.words[:, units.start // 64 : -(-last // 64)]
    return PackedBits(np.ascontiguousarray(words), last - units.start)
