"""What a kernel backend provides: array functions on packed or dense states, never on a Model.

States of a layer are a `PackedBits` (Bernoulli layers: set bits stand for 1 in all products) or a dense float array of
shape (n_samples, n_units) in the dtype of the weights; rows of data may be `GreyLevels`, whose products module `levels`
defines. Units are named by their spec (`fastrbm.units.get_unit`).
Weights have shape (n_hidden, n_visible); ``transpose=True`` means the other direction, hidden states to visible units.
Every random decision is addressed by a `Draw`, so two backends given the same address make the same decision up to
rounding at a tie.

A backend must provide the methods that raise TypeError here; `run_chains`, `anneal`, `train` and `log_partition_sum`
are composed from them and may be replaced by fused versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..units import get_unit
from .bits import PackedBits, as_dense
from .datatypes import FLOAT_TYPES, ChainState, Drawn, Parameters, Phase, Resident, States, TrainingPlan
from .draws import Draw, Stream, uniforms
from .exponentials import exponentials
from .label_kernels import LabelKernels
from .ladders import ComposedLadder, Ladder
from .partition import REFERENCE_RATE, log_partition_sum
from .ranks import ShareKernels
from .rules import Update, apply_rule
from .waves import SpinWave

if TYPE_CHECKING:
    from .array_kernels import ArrayKernels

T = TypeVar("T")
U = TypeVar("U")

__all__ = [
    "Backend",
    "ChainState",
    "Drawn",
    "Parameters",
    "Phase",
    "Resident",
    "States",
    "TrainingPlan",
    "train_batch",
    "values_of",
]


class Backend(LabelKernels, ShareKernels):
    """Table of kernels. Subclasses hold no state but their thread count."""

    name: str = "abstract"
    #: whether several threads may train through backends of this kind at once
    concurrent: bool = True

    def inputs(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """``bias + states @ weights.T`` (``@ weights`` when transposed), shape (n_samples, n_out)."""
        raise TypeError(f"backend {self.name!r} lacks inputs")

    def means(
        self, unit: str, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """Means of a layer of `unit` given the other, shape (n_samples, n_out)."""
        raise TypeError(f"backend {self.name!r} lacks means")

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
        """States of a layer of `unit` drawn given the other: `PackedBits` if the unit is `packed`, else dense."""
        raise TypeError(f"backend {self.name!r} lacks samples")

    def draw_bits(self, probabilities: NDArray[Any], draw: Draw) -> PackedBits:
        """Bits that are set with the given probabilities, shape (n_samples, n_units)."""
        raise TypeError(f"backend {self.name!r} lacks draw_bits")

    def dense(self, states: States, dtype: Any) -> NDArray[Any]:
        """States as values of a float type, where they are."""
        return as_dense(states, dtype).astype(dtype, copy=False)

    def mask(self, share: float, draw: Draw, n_rows: int, n_units: int, dtype: Any) -> NDArray[Any]:
        """Zeros, and ones for that share of units, shape (n_rows, n_units)."""
        return self.draw_bits(np.full((n_rows, n_units), share, np.float32), draw).dense(dtype)

    def normals(self, draw: Draw, n_rows: int, n_units: int, dtype: Any) -> NDArray[Any]:
        """Standard normal draws, the quantiles of the uniforms of an address, shape (n_rows, n_units)."""
        from scipy.special import ndtri

        return ndtri(uniforms(draw, n_rows, n_units, dtype)).astype(dtype, copy=False)

    def uniforms(self, draw: Draw, n_rows: int, n_units: int, dtype: Any) -> NDArray[Any]:
        """Uniforms of an address in (0, 1), shape (n_rows, n_units): those of `fastrbm._kernels.draws.uniforms`."""
        return uniforms(draw, n_rows, n_units, dtype)

    @contextmanager
    def holding(self, *weights: NDArray[Any]) -> Iterator[None]:
        """Within the block these weights do not change, so what is derived from them may be kept."""
        yield

    def values(self, unit: str, rows: States, dtype: Any) -> States:
        """Rows of data as states: see `values_of`."""
        return values_of(unit, rows, dtype)

    @contextmanager
    def resident(
        self, parameters: Parameters, slots: Sequence[Parameters], state: ChainState
    ) -> Iterator[Resident | None]:
        """Within the block `train` may keep the newest values of these arrays elsewhere, which is what is given.

        None: the arrays are always up to date. At the end of the block they are in any case.
        """
        yield None

    def arrays(self) -> ArrayKernels | None:
        """Return the same kernels for values that stay on a device; None where values are on the host in any case."""
        return None

    def on_all_devices(self, work: Callable[[T], U], items: Sequence[T], stop: Callable[[], None]) -> list[U]:
        """``[work(item) for item in items]``, side by side where the backend has several devices.

        After an exception `stop` is called, which should end what is under way, before the exception comes out.
        """
        return [work(item) for item in items]

    def gradient_step(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        data: Phase,
        model: Phase,
        update: Update,
    ) -> None:
        """Change parameters and slots in place by the contrastive gradient; the same as `gradient`, then `ascend`."""
        self.ascend(parameters, slots, self.gradient(data, model, parameters.weights.dtype), update)

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """Mean of (h v, v, h) over the samples, by their shares."""
        raise TypeError(f"backend {self.name!r} lacks moments")

    def gradient(self, data: Phase, model: Phase, dtype: Any) -> Parameters:
        """Contrastive gradient: moments of the data minus moments of the model."""
        return Parameters(*(x - y for x, y in zip(self.moments(data, dtype), self.moments(model, dtype), strict=True)))

    def ascend(self, parameters: Parameters, slots: Sequence[Parameters], gradient: Parameters, update: Update) -> None:
        """Change parameters and slots in place by a rule; penalties act on the weights."""
        for i, (value, g) in enumerate(zip(parameters, gradient, strict=True)):
            apply_rule(update, value, [slot[i] for slot in slots], g, i == 0)

    def free_energy(self, unit: str, states: States, parameters: Parameters) -> NDArray[np.float64]:
        """-a.v - sum over hidden units of cgf(input), shape (n_samples,); `unit` is that of the hidden layer."""
        raise TypeError(f"backend {self.name!r} lacks free_energy")

    def probabilities(self, log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers that add up to 1, in the ratios of these logs, by operations that are rounded alike everywhere."""
        p = exponentials(log_weights - log_weights.max())
        p /= p.sum()
        return p

    def wave(
        self, weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any], moves: NDArray[np.int32]
    ) -> SpinWave:
        """A wave function of spins and moves of them: see `SpinWave`."""
        return SpinWave(weights, visible_bias, hidden_bias, moves)

    def pseudo_likelihood(
        self, unit: str, states: States, parameters: Parameters, visible: str = "bernoulli"
    ) -> NDArray[np.float64]:
        """Sum over visible units of log p(v_i | all other v), a density of real-valued ones, shape (n_samples,).

        `unit` is that of the hidden layer, `visible` that of the visible one. A group of one-hot units counts as one
        unit; groups of which none is on are missing, and left out. All rows must be states, but for Bernoulli visibles:
        a flip sets v_i to 1 - v_i, and for grey rows this is the formula continued, as scikit-learn uses it. The error
        is below 1e-10 for float64, of the larger of 1 and what free energies lose to rounding; backends may do
        visibles other than Bernoulli ones in float64 whatever the parameters are. ValueError where an integral does
        not exist: two real-valued layers with couplings of 1 or more.
        """
        raise TypeError(f"backend {self.name!r} lacks pseudo_likelihood")

    def run_chains(
        self, hidden: States, parameters: Parameters, units: tuple[str, str], draw: Draw, n_sweeps: int
    ) -> tuple[Drawn, Drawn]:
        """Gibbs sweeps v ~ p(v|h), h ~ p(h|v) at steps draw.step, draw.step + 1, ...

        Parameters
        ----------
        hidden : PackedBits or ndarray, shape (n_chains, n_hidden)
            Start.
        parameters : Parameters
        units : (visible unit, hidden unit)
        draw : Draw
            Its stream is not used: the layers have their own.
        n_sweeps : int
            At least 1.

        Returns
        -------
        (visible, hidden) : tuple
            The last states, as `samples` returns them.
        """
        weights, visible_bias, hidden_bias = parameters
        for sweep in range(n_sweeps):
            at = draw._replace(step=draw.step + sweep, stream=Stream.VISIBLE)
            visible = self.samples(units[0], hidden, weights, visible_bias, at, transpose=True)
            hidden = self.samples(units[1], visible, weights, hidden_bias, at._replace(stream=Stream.HIDDEN))
        return visible, hidden

    def ladder(
        self,
        parameters: Parameters,
        units: tuple[str, str],
        base: NDArray[Any],
        betas: NDArray[np.float64],
        n_chains: int,
        n_sweeps: int,
    ) -> Ladder:
        """Model at all inverse temperatures, for rounds of tempering.

        Parameters
        ----------
        parameters : Parameters
            At beta = 1.
        units : (visible unit, hidden unit)
        base : ndarray, shape (n_visible,)
            Visible biases at beta = 0, of the dtype of the parameters.
        betas : ndarray of float64, shape (n_temperatures,)
        n_chains, n_sweeps : int
            Of each temperature in each round.
        """
        return ComposedLadder(self, parameters, units, base, betas)

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
        """Annealed importance sampling of chains between inverse temperatures; ``log_weights`` grow in place.

        At inverse temperature beta the layers have the inputs beta * (bias - base + W s) + base, so beta = 0 is a model
        without weights and with the biases `bases`, beta = 1 is `parameters`. For each pair of neighbours in `betas` a
        chain's log weight grows by log f(beta_k) - log f(beta_(k-1)) of the layer it keeps, f being the probability
        up to a constant with the other layer summed out; then both layers are drawn at beta_k (step draw.step + k - 1,
        the stream of each layer).

        Parameters
        ----------
        states : PackedBits or ndarray, shape (n_chains, n_units)
            Of the layer that is kept, at ``betas[0]``.
        parameters : Parameters
        units : (visible unit, hidden unit)
        bases : (visible, hidden) arrays, of the dtype of the parameters
        sum_out : {"hidden", "visible"}
        betas : ndarray of float64, at least one
            Rising or falling.
        draw : Draw
            Its stream is not used.
        log_weights : ndarray of float64, shape (n_chains,)
        on_progress : callable or None
            Called with (steps of chains done, their number) now and then.

        Returns
        -------
        PackedBits or ndarray
            The kept layer at ``betas[-1]``.
        """
        hidden = sum_out == "hidden"
        weights, *biases = parameters
        fields = [bias - base for bias, base in zip(biases, bases, strict=True)]
        summed, kept = (1, 0) if hidden else (0, 1)
        streams = (Stream.VISIBLE, Stream.HIDDEN)
        cgf = get_unit(units[summed]).cgf
        wide_base = bases[summed].astype(np.float64)
        n_steps = len(betas) - 1
        for k in range(1, n_steps + 1):
            before, beta = betas[k - 1], betas[k]
            d = self.inputs(states, weights, fields[summed], transpose=not hidden).astype(np.float64)
            log_weights += (beta - before) * (as_dense(states, np.float64) @ fields[kept].astype(np.float64))
            log_weights += (cgf(beta * d + wide_base) - cgf(before * d + wide_base)).sum(axis=1)
            scale = weights.dtype.type(beta)
            for layer in (summed, kept):
                at = draw._replace(step=draw.step + k - 1, stream=streams[layer])
                bias = scale * fields[layer] + bases[layer]
                states = self.samples(units[layer], states, scale * weights, bias, at, transpose=layer == 0)
            if on_progress is not None:
                on_progress(k * len(states), n_steps * len(states))
        return states

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
        """Minibatches of ``rows[order]`` one after another; parameters, slots and state change in place.

        An exception of `on_batch` leaves all of them as they were after the last whole minibatch. So does a signal
        in a fused version, which handles signals between minibatches; here one may fall inside a minibatch.
        `on_batch` may be called at any minibatch boundary, not necessarily at each.
        """
        for first in range(0, len(order), plan.batch_size):
            batch = rows[order[first : first + plan.batch_size]]
            train_batch(self, parameters, slots, batch, plan, units, state)
            if on_batch is not None:
                on_batch()

    def trains_whole_passes(self, units: tuple[str, str], rows_are_bits: bool, plan: TrainingPlan) -> bool:
        """Whether `train` does the minibatches of a pass better than whoever composes them of the other kernels.

        Parameters
        ----------
        units : (visible unit type, hidden unit type)
        rows_are_bits : bool
            Whether rows are `PackedBits`; others are dense.
        plan : TrainingPlan
        """
        return False

    def seconds_for_states(self, units: tuple[str, str], n_states: float, n_other: int, dtype: Any) -> float:
        """Estimate how long `log_partition_sum` takes, in seconds.

        Parameters
        ----------
        units : (unit type that is summed out, unit type whose states are listed)
        n_states : float
            States that are listed; may be infinite.
        n_other : int
            Neurons of the layer that is summed out.
        dtype : float64 or float32
            Precision of the products.
        """
        # a state costs something beside its neurons
        return n_states * (n_other + 10) / REFERENCE_RATE

    def log_partition_sum(
        self,
        parameters: Parameters,
        units: tuple[str, str],
        *,
        dtype: Any = np.float64,
        log_weights: NDArray[np.float64] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> float:
        """Log of the sum over all states of both layers of exp(-energy): log Z.

        The 2^n_hidden states h of the hidden layer are enumerated and the visible units summed out,
        log Z = logsumexp over h of [ b.h + sum over i of cgf(a_i + (W^T h)_i) ]. Whoever wants the visible layer
        enumerated, the smaller one, passes the transposed model.

        Parameters
        ----------
        parameters : Parameters
            Finite; n_hidden at least 1, at most 40 for units of two values.
        units : (visible unit, hidden unit)
            The states of the hidden layer must be such that they can be listed, 2^40 at most; T of them stands for h
            above, and their terms have the log base measure besides.
        dtype : float64 or float32
            Precision of the products over visible units, never of the sums. Relative error of log Z (absolute where
            |log Z| < 1) below 1e-10 or 2e-6.
        log_weights : ndarray of float64, shape (number of hidden states,), or None
            Filled with the terms [ ... ] of the states, in the order of `Unit.states`; of two values, unit k of state s
            is bit k of s.
        on_progress : callable or None
            Called as ``on_progress(states done, states in all)`` now and then, the last time when all are done. What
            it raises ends the sum.

        Returns
        -------
        float
        """
        if np.dtype(dtype) not in FLOAT_TYPES:
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        return log_partition_sum(parameters, units, log_weights, on_progress)


def values_of(unit: str, rows: States, dtype: Any) -> States:
    """Rows of data as states: those of spins are stored as bits, or as x with 2 x - 1 for the spin."""
    kind = get_unit(unit)
    if kind.name != "ising":
        return rows
    return np.dtype(dtype).type(2) * as_dense(rows, dtype) - np.dtype(dtype).type(1)


def train_batch(
    backend: Backend,
    parameters: Parameters,
    slots: Sequence[Parameters],
    batch: States,
    plan: TrainingPlan,
    units: tuple[str, str],
    state: ChainState,
) -> None:
    """Do one minibatch by the required kernels: the definition that fused versions are tested against."""
    visible_unit, hidden_unit = units
    weights, visible_bias, hidden_bias = parameters
    step = state.step
    hidden_draw = Draw(plan.seed, step, Stream.HIDDEN)
    if plan.stochastic_input and not hasattr(batch, "n_units"):  # bits, wherever they are, need no draw
        batch = backend.draw_bits(batch, Draw(plan.seed, step, Stream.INPUT))
    batch = backend.values(visible_unit, batch, weights.dtype)
    sampled = plan.sampled_hidden
    drawn = None
    if sampled or not plan.persistent:
        drawn = backend.samples(hidden_unit, batch, weights, hidden_bias, hidden_draw)
    data_hidden = drawn if sampled else backend.means(hidden_unit, batch, weights, hidden_bias)
    hidden = state.chains if plan.persistent else drawn
    assert data_hidden is not None and hidden is not None
    for sweep in range(1, plan.n_sweeps + 1):
        at = hidden_draw._replace(step=step + sweep)
        visible = backend.samples(
            visible_unit, hidden, weights, visible_bias, at._replace(stream=Stream.VISIBLE), transpose=True
        )
        if sweep < plan.n_sweeps or plan.persistent or sampled:
            hidden = backend.samples(hidden_unit, visible, weights, hidden_bias, at)
    model_hidden = hidden if sampled else backend.means(hidden_unit, visible, weights, hidden_bias)
    backend.gradient_step(
        parameters, slots, Phase(batch, data_hidden), Phase(visible, model_hidden), plan.update(state.updates)
    )
    state.updates += 1
    state.step = step + plan.n_sweeps + 1
    if plan.persistent:
        state.chains = hidden
