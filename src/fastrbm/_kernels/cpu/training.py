"""Minibatch training of the CPU backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...units import get_unit
from ..bits import BIT_UNITS, PackedBits, pack
from ..contract import Backend, ChainState, Parameters, States, TrainingPlan, values_of
from ..levels import GreyLevels, as_floats
from ..ranks import Share
from ..strategies import note_counters
from .runtime import extension as _cpu
from .runtime import threads_for
from .strategy import GUESSED_DENSITY, choose_for_training, landmark_bases
from .words import from_words, to_words


class Training(Backend):
    """The part of the backend that runs minibatches."""

    n_threads: int | None
    strategy: str
    int16: bool

    def trains_whole_passes(self, units: tuple[str, str], rows_are_bits: bool, plan: TrainingPlan) -> bool:
        """Whether `train` does float32 minibatches of such rows in one native call.

        Parameters
        ----------
        units : (visible unit type, hidden unit type)
        rows_are_bits : bool
            Rows are `PackedBits`; else they are dense, in [0, 1] for binary visible units.
        plan : TrainingPlan
        """
        if not plan.rule.native:
            return False
        if not (BIT_UNITS.issuperset(units) or units[1] == "bernoulli" or get_unit(units[1]).name == "onehot"):
            return False
        drawn_as_bits = rows_are_bits or plan.stochastic_input
        if units[0] == "gaussian":
            return not drawn_as_bits
        return units[0] in BIT_UNITS and (drawn_as_bits or units == ("bernoulli", "bernoulli"))

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
        """See `Backend.train`: float32 layers of bits in one native call, the rest through the composed form."""
        if isinstance(rows, GreyLevels) and (plan.stochastic_input or parameters.weights.dtype != np.float32):
            for part, local in as_floats([(rows, order)], plan.batch_size, parameters.weights.dtype):
                self.train(parameters, slots, part, local, plan, units, state, on_batch)
            return
        native = self.trains_whole_passes(units, isinstance(rows, PackedBits), plan)
        if not native or parameters.weights.dtype != np.float32 or len(order) == 0:
            super().train(parameters, slots, rows, order, plan, units, state, on_batch)
            return
        while len(order):
            done, _ = self._train_native(parameters, slots, rows, order, plan, units, state, on_batch)
            order = order[done:]
            # the weights have outgrown fixed point: one minibatch by dense products, then try again
            super().train(parameters, slots, rows, order[: plan.batch_size], plan, units, state, on_batch)
            order = order[plan.batch_size :]

    def train_share(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        share: Share,
        on_batch: Callable[[], None] | None = None,
    ) -> tuple[int, bool] | None:
        """See `Backend.train_share`: float32 layers whose rows are bits, drawn as bits, or grey levels."""
        exact = isinstance(rows, PackedBits | GreyLevels) or plan.stochastic_input
        native = exact and self.trains_whole_passes(units, isinstance(rows, PackedBits), plan)
        if not native or parameters.weights.dtype != np.float32:
            return None
        before = state.updates
        outgrown = self._train_native(parameters, slots, rows, order, plan, units, state, on_batch, share)[1]
        return state.updates - before, outgrown

    def _train_native(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        on_batch: Callable[[], None] | None,
        share: Share | None = None,
    ) -> tuple[int, bool]:
        """Minibatches in one native call; the rows done, and whether the weights have outgrown fixed point."""
        chains = pack(state.chains > 0) if isinstance(state.chains, np.ndarray) else state.chains
        words = to_words(chains) if chains is not None and plan.persistent else None
        n_chains = 0 if chains is None else len(chains)
        packed = rows.words if isinstance(rows, PackedBits) else None
        levels = rows.values if isinstance(rows, GreyLevels) else None
        grey = rows if isinstance(rows, np.ndarray) else None
        # a process may have no rows of a minibatch, or of none
        n_rows = max(len(order), share is not None)
        batch = min(plan.batch_size, n_rows)
        active = _cpu.density(packed, rows.shape[1]) if packed is not None else GUESSED_DENSITY
        by_rows = units[0] in BIT_UNITS and _cpu.prefers_rows(min(batch, n_chains or batch), active, self.int16)
        threads = threads_for(float(batch) * parameters.weights.size, self.n_threads)
        strategy = choose_for_training(self.strategy, plan.n_sweeps) if BIT_UNITS.issuperset(units) else "dense"
        run = _cpu.Training(
            parameters, slots, plan, units, state.updates, n_rows, words, n_chains, grey is not None, by_rows,
            threads, strategy, landmark_bases(parameters.weights) if strategy == "bounds" else None, self.int16,
            levels is not None, share,
        )  # fmt: skip
        try:
            return int(run.run(packed, grey, order, state, on_batch, levels)), run.outgrown
        finally:
            note_counters(run.counters())
            if words is not None:
                chains = from_words(words, n_chains, parameters.weights.shape[0])
                state.chains = values_of(units[1], chains, parameters.weights.dtype)
