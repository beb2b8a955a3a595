"""The model's half of the gradient: where its states come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, PackedBits, Parameters, Phase, States, TrainingPlan, pack
from .._kernels.draws import Draw, Key, Stream, uniforms
from ..likelihood import Moments, exact, exact_bits
from ..model import Model
from ..samplers import PopulationSampler
from ..units import get_unit
from .loop import DivergenceError
from .state import TrainingState

#: units of two values whose states algorithm="exact" lists for every minibatch, at most
UNITS_PER_MINIBATCH = 20
_POPULATION = 1 << 50  # in place of the numbers of sampling calls


def start_chains(unit: str, n_chains: int, n_units: int, key: Key, dtype: Any) -> States:
    """Hidden states that persistent chains start with: Bernoulli units off, as in scikit-learn, others drawn freely."""
    kind = get_unit(unit)
    if kind.name == "bernoulli":
        return PackedBits(np.zeros((n_chains, -(-n_units // 64)), dtype=np.uint64), n_units)
    drawn = kind.sample(
        np.zeros((n_chains, n_units), dtype), uniforms(key.at(0, Stream.START), n_chains, n_units, dtype)
    )
    return pack(drawn) if kind.packed else drawn


@dataclass
class Minibatch:
    """What the phases of one minibatch share.

    Attributes
    ----------
    visible : States
        Rows of the data as kernels take them.
    shares : ndarray or None
        Weights of the rows, adding up to 1.
    present : ndarray of 0 and 1, shape of the rows, or None
        Which visible units are there; the others are left out of both phases.
    drop, drop_rate : Draw or None, float
        Address of the draws of dropout, and its rate.
    """

    backend: Backend
    units: tuple[str, str]
    parameters: Parameters
    plan: TrainingPlan
    state: TrainingState
    visible: States
    shares: NDArray[Any] | None = None
    present: NDArray[Any] | None = None
    drop: Draw | None = None
    drop_rate: float = 0.0

    @property
    def dtype(self) -> Any:
        """Float type of the parameters."""
        return self.parameters.weights.dtype

    def kept(self, n: int, first: int = 0) -> NDArray[Any] | None:
        """Mask of the hidden units of n rows, or None: all."""
        if self.drop is None:
            return None
        address = self.drop._replace(first_chain=first)
        return self.backend.mask(1 - self.drop_rate, address, n, self.parameters.weights.shape[0], self.dtype)

    def hidden_means(self, visible: States, kept: NDArray[Any] | None, parameters: Parameters) -> NDArray[Any]:
        """Means of the hidden layer, 0 where units are dropped."""
        means = self.backend.means(self.units[1], visible, parameters.weights, parameters.hidden_bias)
        return means if kept is None else means * kept

    def hidden_states(self, visible: States, kept: NDArray[Any] | None, parameters: Parameters, step: int) -> States:
        """States of the hidden layer, 0 where units are dropped."""
        draw = Draw(self.plan.seed, step, Stream.HIDDEN)
        states = self.backend.samples(self.units[1], visible, parameters.weights, parameters.hidden_bias, draw)
        return states if kept is None else self.backend.dense(states, self.dtype) * kept

    def visible_states(self, hidden: States, parameters: Parameters, step: int) -> States:
        """States of the visible layer, 0 where they are missing."""
        draw = Draw(self.plan.seed, step, Stream.VISIBLE)
        states = self.backend.samples(
            self.units[0], hidden, parameters.weights, parameters.visible_bias, draw, transpose=True
        )
        return states if self.present is None else self.backend.dense(states, self.dtype) * self.present

    def sweeps(self, hidden: States, parameters: Parameters, kept: NDArray[Any] | None) -> tuple[States, States]:
        """Gibbs sweeps of the plan at the steps after the first one of the minibatch."""
        for sweep in range(1, self.plan.n_sweeps + 1):
            step = self.state.chains.step + sweep
            visible = self.visible_states(hidden, parameters, step)
            hidden = self.hidden_states(visible, kept, parameters, step)
        return visible, hidden


class Chains:
    """States of Gibbs chains that start at the data (CD) or go on from minibatch to minibatch (PCD)."""

    #: whether backends can do whole passes of minibatches of this kind
    plain = True

    def __init__(self, persistent: bool):
        self.persistent = persistent

    def prepare(self, state: TrainingState, units: tuple[str, str], n_chains: int) -> None:
        """Bring the chains of a new or continued run in line with the options."""
        if not self.persistent:
            state.chains.chains = None
        elif state.chains.chains is None or state.chains.chains.shape[0] != n_chains:
            weights = state.parameters.weights
            key = state.key.fold_in(state.chains.step)
            state.chains.chains = start_chains(units[1], n_chains, weights.shape[0], key, weights.dtype)

    def sampling(self, batch: Minibatch) -> Parameters:
        """Return the parameters that chains move by."""
        return batch.parameters

    def model(self, batch: Minibatch, data_states: States | None) -> Phase:
        """Run the chains; `data_states` are hidden states drawn given the rows."""
        parameters = self.sampling(batch)
        start: Any = batch.state.chains.chains if self.persistent else data_states
        kept = batch.kept(start.shape[0], batch.visible.shape[0] if self.persistent else 0)
        visible, hidden = batch.sweeps(start, parameters, kept)
        if self.persistent:
            batch.state.chains.chains = hidden
        if batch.plan.sampled_hidden:
            return Phase(visible, hidden, None if self.persistent else batch.shares)
        means = batch.hidden_means(visible, kept, batch.parameters)
        return Phase(visible, means, None if self.persistent else batch.shares)

    def after(self, batch: Minibatch, gradient: Parameters) -> None:
        """Do nothing: chains need no gradient."""


class FastWeights(Chains):
    """Persistent chains that move by additional weights which learn fast and decay fast: they keep the chains moving.

    Tieleman, Hinton, "Using fast weights to improve persistent contrastive divergence", ICML 2009.
    """

    plain = False

    def __init__(self, rate: float, decay: float):
        super().__init__(True)
        self.rate = rate
        self.decay = decay

    def _fast(self, state: TrainingState) -> Parameters:
        if "fast_0" not in state.extras:
            state.extras |= {f"fast_{i}": np.zeros_like(x) for i, x in enumerate(state.parameters)}
        return Parameters(*(state.extras[f"fast_{i}"] for i in range(3)))

    def sampling(self, batch: Minibatch) -> Parameters:
        """Add the fast weights to the parameters."""
        return Parameters(*(x + y for x, y in zip(batch.parameters, self._fast(batch.state), strict=True)))

    def after(self, batch: Minibatch, gradient: Parameters) -> None:
        """Fast weights follow the same gradient at a rate of their own and decay."""
        for fast, g in zip(self._fast(batch.state), gradient, strict=True):
            fast *= fast.dtype.type(self.decay)
            fast += fast.dtype.type(self.rate) * g


class PopulationChains:
    """States of the chains of a `PopulationSampler`, which go on from minibatch to minibatch."""

    persistent = True
    plain = False

    def __init__(self, sampler: PopulationSampler):
        self.sampler = sampler

    def prepare(self, state: TrainingState, units: tuple[str, str], n_chains: int) -> None:
        """Start a population, or keep the one there is."""
        state.chains.chains = None
        if not self.sampler.continues(state.population, n_chains):
            state.population = self.sampler.init(n_chains, state.parameters, units, self._seed(state))

    def _seed(self, state: TrainingState) -> int:
        return state.key.fold_in(_POPULATION).seed  # draws of their own: steps are counted apart from the minibatches'

    def model(self, batch: Minibatch, data_states: States | None) -> Phase:
        """Move the population on: as many rounds as the plan has sweeps."""
        state = batch.state
        visible = self.sampler.step(
            state.population, batch.parameters, batch.units, self._seed(state), batch.backend, batch.plan.n_sweeps
        )
        kept = batch.kept(visible.shape[0], batch.visible.shape[0])
        return Phase(visible, batch.hidden_means(visible, kept, batch.parameters))

    def after(self, batch: Minibatch, gradient: Parameters) -> None:
        """Do nothing: the population has moved already."""


class Exact:
    """Moments of the model by listing the states of one layer: the yardstick for chains on small models."""

    persistent = False
    plain = False

    def prepare(self, state: TrainingState, units: tuple[str, str], n_chains: int) -> None:
        """Refuse layers that are both too large."""
        state.chains.chains = None
        _check_exact(exact.choose(Model(*state.parameters, *units)))

    def model(self, batch: Minibatch, data_states: States | None) -> Moments:
        """Compute exact means under the model."""
        if exact_bits.applies_to(batch.units):
            return exact_bits.moments_of_bits(batch.parameters, batch.units, batch.backend)
        plan, p = exact.choose(Model(*batch.parameters, *batch.units)), np.empty(0)
        if plan.rule.lists:
            log_weights = exact.state_log_weights(plan, batch.backend)
            p = np.exp(log_weights - log_weights.max())
            p /= p.sum()
        try:
            return exact.moments_of(plan, p, batch.backend)
        except ValueError as error:  # two real layers, which had a partition sum when the fit began
            raise DivergenceError(f"{error}. Lower learning_rate, or use regularizers=L2(...)") from error

    def after(self, batch: Minibatch, gradient: Parameters) -> None:
        """Do nothing: there are no chains."""


def _check_exact(plan: exact.Plan) -> None:
    """Raise ValueError for models of which no layer has few enough states; closed forms list none."""
    if plan.rule.lists and plan.log2_states > UNITS_PER_MINIBATCH:
        counts = plan.model.weights.shape
        n_hidden, n_visible = counts if plan.layer == "hidden" else counts[::-1]
        raise ValueError(
            "algorithm='exact' lists the states of the smaller layer for every minibatch, those of "
            f"{UNITS_PER_MINIBATCH} units of two values at most, got {n_hidden} hidden and {n_visible} visible ones; "
            "use algorithm='pcd'"
        )


NegativePhase = Chains | PopulationChains | Exact
