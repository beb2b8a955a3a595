"""The table of kernels on a CUDA device.

States and parameters may be arrays of the host, as for every backend: they are copied to the device, and what comes out
is copied back. Where weights or states are arrays of the device already (`DeviceBits`, arrays of Numba), results stay
there too. Between the two nothing else differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...units import get_unit
from ..bits import PackedBits, are_bits
from ..contract import ChainState, Drawn, Parameters, States, TrainingPlan
from ..draws import Draw
from ..levels import GreyLevels, as_floats
from ..partition import check_partition
from ..strategies import check_precision, check_strategy
from . import devices
from .annealing import LEAST_CHAINS, anneal, anneal_on_all
from .composed import ArrayBackend
from .gradients import MOST_COUNTED, Gradients
from .memory import bits_on_device, host_parameters, on_device, on_host, to_device
from .other_units import have_passes
from .partition import log_partition_sum, seconds_for
from .scores import Scores
from .strategy import run_sweeps
from .training import TrainingSession

T = TypeVar("T")
U = TypeVar("U")
_BERNOULLI = ("bernoulli", "bernoulli")
#: exact sums over spins are done as sums over bits
_TWO_VALUES = {"bernoulli", "ising"}
#: states times neurons a second of the composed form, by NumPy on the host; measured
_COMPOSED_RATE = 3e7


class CudaBackend(Gradients, Scores):
    """Kernels on the current CUDA device.

    Parameters
    ----------
    n_threads : int or None
        Of the CPU kernels that do what stays on the host.
    strategy : str
        How free chains (`run_chains`) are drawn: as module `strategy` has it, "auto" by whole products. Layers of
        training and of single draws are whole products with any of them.
    precision : {"full", "fast"}
        "fast" rounds weights to 16 bits as on the CPU; Gaussian visible states stay float32.
    """

    name = "cuda"
    concurrent = False

    def __init__(self, n_threads: int | None = None, strategy: str = "auto", precision: str = "full"):
        super().__init__(n_threads)
        check_strategy(strategy)
        check_precision(precision)
        self.short = precision == "fast"
        self.strategy = strategy
        self._session: TrainingSession | None = None

    def run_chains(
        self, hidden: States, parameters: Parameters, units: tuple[str, str], draw: Draw, n_sweeps: int
    ) -> tuple[Drawn, Drawn]:
        """See `Backend.run_chains`: in one launch between two layers of bits."""
        n = len(hidden)
        native = tuple(units) == _BERNOULLI and are_bits(hidden) and n
        weights = self._quantised(parameters.weights, self.short) if native else None
        if weights is None:
            return super().run_chains(hidden, parameters, units, draw, n_sweeps)
        biases = to_device(parameters.visible_bias), to_device(parameters.hidden_bias)
        visible, states = run_sweeps(self.strategy, bits_on_device(hidden), weights, biases, draw, n_sweeps)
        given = hidden, parameters.weights
        return self._given_back(visible, *given), self._given_back(states, *given)

    def anneal(
        self,
        states: Any,
        parameters: Parameters,
        units: tuple[str, str],
        bases: tuple[NDArray[Any], NDArray[Any]],
        sum_out: str,
        betas: NDArray[np.float64],
        draw: Draw,
        log_weights: NDArray[np.float64],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """See `Backend.anneal`: many temperatures of Bernoulli layers in one launch, with the log weights of the CPU.

        The weights of the host are those of whole temperatures whenever an exception gets out.
        """
        native = tuple(units) == _BERNOULLI and len(states) and len(betas) > 1
        weights = self._quantised(parameters.weights) if native else None
        if weights is None:
            hosts = host_parameters(parameters)
            bases = on_host(bases[0]), on_host(bases[1])
            drawn = super().anneal(
                on_host(states), hosts, units, bases, sum_out, betas, draw, log_weights, on_progress
            )  # fmt: skip
            return self._taken_along(drawn, states, parameters.weights)
        rest = host_parameters(parameters)[1:], (on_host(bases[0]), on_host(bases[1])), sum_out == "hidden", betas
        if isinstance(states, PackedBits) and not on_device(parameters.weights):
            n_parts = min(devices.count(), len(states) // LEAST_CHAINS)
            if n_parts > 1:
                return anneal_on_all(n_parts, states, parameters.weights, rest, draw, log_weights, on_progress)
        kept = anneal(bits_on_device(states), weights, *rest, draw, log_weights, on_progress)
        return self._given_back(kept, states, parameters.weights)

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
        """See `Backend.train`: layers of bits in few launches, the rest minibatch by minibatch."""
        if are_bits(rows):
            plan = plan._replace(stochastic_input=False)  # nothing to draw
        session = self._session
        if session is not None and not session.owns(parameters, slots, state):
            session.settle()
            session = None
        if len(order) == 0:
            return
        n_counted = max(plan.batch_size, 0 if state.chains is None else len(state.chains))
        as_bits = are_bits(rows) or plan.stochastic_input
        native = have_passes(units, as_bits) or (tuple(units) == _BERNOULLI and not plan.sampled_hidden)
        native = native and parameters.weights.dtype == np.float32 and plan.rule.native
        if plan.sampled_hidden:  # counted as coincidences of bits
            native = native and as_bits and n_counted <= MOST_COUNTED
        if isinstance(rows, GreyLevels) and (plan.stochastic_input or not native):
            for part, local in as_floats([(rows, order)], plan.batch_size, parameters.weights.dtype):
                self.train(parameters, slots, part, local, plan, units, state, on_batch)
            return
        own = session or TrainingSession(parameters, slots, state, self.short)
        try:
            while len(order):
                if native:
                    order = order[own.run(rows, order, plan, units, on_batch) :]
                    if not len(order):
                        break
                # where the weights are too large to be quantised: one minibatch through dense products, then try again
                own.compose(self, rows, order[: plan.batch_size] if native else order, plan, units, on_batch)
                order = order[plan.batch_size :] if native else order[:0]
        finally:
            if own is not session:
                own.settle()

    def trains_whole_passes(self, units: tuple[str, str], rows_are_bits: bool, plan: TrainingPlan) -> bool:
        """See `Backend.trains_whole_passes`: wherever the arrays stay on the device from minibatch to minibatch."""
        visible, hidden = (get_unit(unit).name for unit in units)
        others = visible in ("bernoulli", "ising") and hidden in ("bernoulli", "ising", "onehot")
        return plan.rule.native and (others or have_passes(units, rows_are_bits))

    def arrays(self) -> ArrayBackend:
        """See `Backend.arrays`."""
        return ArrayBackend(self)

    def on_all_devices(self, work: Callable[[T], U], items: Sequence[T], stop: Callable[[], None]) -> list[U]:
        """See `Backend.on_all_devices`."""
        return devices.on_all(work, items, stop)

    @contextmanager
    def resident(
        self, parameters: Parameters, slots: Sequence[Parameters], state: ChainState
    ) -> Iterator[TrainingSession]:
        """See `Backend.resident`: the arrays stay on the device between passes."""
        session = TrainingSession(parameters, slots, state, self.short)
        self._session = session
        try:
            yield session
        finally:
            self._session = None
            session.settle()

    def log_partition_sum(
        self,
        parameters: Parameters,
        units: tuple[str, str],
        *,
        dtype: Any = np.float64,
        log_weights: NDArray[np.float64] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> float:
        """See `Backend.log_partition_sum`: Bernoulli layers on the device, others by the composed form."""
        if tuple(units) != _BERNOULLI or np.dtype(dtype) not in (np.float32, np.float64):
            return super().log_partition_sum(
                parameters, units, dtype=dtype, log_weights=log_weights, on_progress=on_progress
            )
        check_partition(parameters, units, log_weights)
        return log_partition_sum(parameters, dtype, log_weights, on_progress)

    def seconds_for_states(self, units: tuple[str, str], n_states: float, n_other: int, dtype: Any) -> float:
        """Estimate the seconds of an exact sum over `n_states` of the listed layer.

        Parameters
        ----------
        units : (unit type that is summed out, unit type whose states are listed)
        n_states : float
        n_other : int
            Neurons of the layer that is summed out.
        dtype : float32 or float64
            Precision of the products.

        Returns
        -------
        float
            Rather too long than too short: no device has been measured. Layers of other than two values are summed by
            the composed form, on the host.
        """
        if not _TWO_VALUES.issuperset(units) or np.dtype(dtype) not in (np.float32, np.float64):
            return n_states * (n_other + 10) / _COMPOSED_RATE
        return seconds_for(n_states, n_other, dtype)
