"""Parallel tempering: chains at rising inverse temperatures that exchange their states.

Hot chains move freely between the modes of a model and hand them down to the chain at inverse temperature 1. At beta
the layers have the inputs beta (bias - base + W s) + base, as in annealed importance sampling (`Backend.anneal`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_flag, check_integer, is_integer
from .._kernels import Backend, Parameters, pack
from .._kernels.bits import restored, stored
from .._kernels.contract import States
from .._kernels.draws import Draw, Stream, uniforms
from ..units import get_unit
from ._base import Population, PopulationSampler
from ._rungs import RungState

_N_TEMPERATURES = 10
# Gain of the n-th adaptation, _GAIN / (n + _DELAY)^_DECAY: a sum without bound, that of the squares bounded.
_GAIN, _DELAY, _DECAY = 4.0, 8, 0.7

# of a `TemperedState`, as model files have them beside its hidden states
_ARRAYS = ("betas", "swap_accepts", "swap_tries", "acceptance", "marks")
_NUMBERS = ("step", "round_trips", "adapting", "round", "n_adaptations")


@dataclass
class TemperedState(RungState, Population):
    """Chains at all temperatures and what their exchange has come to; `Tempering.step` changes it in place.

    Row ``temperature * n_chains + chain`` of `hidden` is a chain at ``betas[temperature]``; those with the same number
    `chain` exchange states among themselves only.

    Attributes
    ----------
    step : int
        Next unused Gibbs step.
    hidden : PackedBits or ndarray, shape (n_temperatures * n_chains, n_hidden)
        Hidden states. Bits for Bernoulli units.
    betas : ndarray of float64, shape (n_temperatures,)
        Inverse temperatures, rising to 1.
    swap_accepts, swap_tries : ndarray of int64, shape (n_temperatures - 1,)
        Of exchanges with the next temperature since the start or since `Tempering.freeze`.
    round_trips : int
        Journeys of states from beta = 1 to the hottest temperature and back, in the same time.
    adapting : bool
        Whether steps move the temperatures.
    round : int
        Rounds done; even and odd ones try different pairs.
    acceptance : ndarray of float64, shape (n_temperatures - 1,)
        Running means of the acceptance that the adaptation makes equal.
    n_adaptations : int
    marks : ndarray of int8, shape (n_temperatures * n_chains,)
        Of the states, which they travel with: 1 when last at beta = 1, 2 when at the hottest since, 0 before.
    """

    betas: NDArray[np.float64]
    adapting: bool
    acceptance: NDArray[np.float64]
    n_adaptations: int

    name = "tempered"

    @property
    def model_chains(self) -> States:
        """Hidden states of the chains at beta = 1."""
        return self.at(-1)

    def numbers(self) -> dict[str, Any]:
        """See `Population.numbers`."""
        return {name: getattr(self, name) for name in _NUMBERS}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Population.arrays`."""
        return {name: getattr(self, name) for name in _ARRAYS} | {"hidden": stored(self.hidden)}

    @classmethod
    def restore(cls, numbers: dict[str, Any], arrays: dict[str, NDArray[Any]], n_hidden: int) -> TemperedState:
        """See `Population.restore`."""
        parts: dict[str, Any] = {name: np.ascontiguousarray(arrays[name]) for name in _ARRAYS}
        hidden, betas, marks = restored(arrays["hidden"], n_hidden), parts["betas"], parts["marks"]
        rising = betas.ndim == 1 and len(betas) >= 2 and betas.dtype == np.float64 and (np.diff(betas) > 0).all()
        if not rising or not 0 <= betas[0] or betas[-1] != 1:
            raise ValueError(f"betas must be float64 and rise from at least 0 to 1, got {betas!r}")
        if marks.shape != (hidden.shape[0],) or marks.dtype != np.int8 or not len(marks) or len(marks) % len(betas):
            raise ValueError(
                f"marks and hidden must have as many rows at each of {len(betas)} temperatures, got {marks.shape} of "
                f"{marks.dtype} and {hidden.shape}"
            )
        if marks.min() < 0 or marks.max() > 2:
            raise ValueError("marks must be 0, 1 or 2")
        for name, dtype in (("swap_accepts", np.int64), ("swap_tries", np.int64), ("acceptance", np.float64)):
            if parts[name].shape != (len(betas) - 1,) or parts[name].dtype != dtype:
                raise ValueError(f"{name} must have shape {(len(betas) - 1,)} and type {np.dtype(dtype)}")
        for name in _NUMBERS:
            right = isinstance(numbers[name], bool) if name == "adapting" else is_integer(numbers[name])
            if not right or not 0 <= numbers[name] < 1 << 64:
                raise ValueError(f"{name} must be {'a flag' if name == 'adapting' else 'a whole number'}")
        return cls(hidden=hidden, **{name: numbers[name] for name in _NUMBERS}, **parts)


class Tempering(PopulationSampler):
    """Chains at rising inverse temperatures that exchange their states.

    A round of `step` first tries to exchange the states of neighbouring temperatures, of even and of odd pairs by turns
    (which carries states further than pairs chosen at random; Syed et al. 2022), then does Gibbs sweeps at every
    temperature. Exchanges are decided on the hidden states with the visible layer summed out, and accepted with
    probability min(1, f_j(h_k) f_k(h_j) / (f_j(h_j) f_k(h_k))), f the unnormalised probabilities.

    Parameters
    ----------
    n_temperatures : int or None
        At least 2, evenly spaced from beta = 0 to 1 at the start. None: 10, or as many as `betas`.
    betas : array-like or None
        Inverse temperatures that rise from at least 0 to 1.
    n_steps : int, default=1
        Gibbs sweeps between exchanges.
    adapt : bool or None
        Whether temperatures move until the exchange rates are equal (see Notes), the first and the last staying where
        they are. None: unless `betas` are given.
    base : None, "model" or array-like of shape (n_visible,)
        Visible biases at beta = 0, where nothing else acts: zeros, those of the model, or others, such as
        `fastrbm.init.data_bias` of the data.

    Notes
    -----
    Moving temperatures is a stochastic approximation on the logs of their distances (Miasojedow et al. 2013; here with
    the mean rate for its aim, as both ends are fixed). While it goes on, chains do not have exactly the distributions
    of their temperatures: call `freeze` before samples are used, as `temper` does. In training, where the model itself
    drifts, it may go on; its gain falls as training settles.

    Gaussian units keep variance 1 at all temperatures: only what is linear in the exponent is scaled.

    References
    ----------
    Desjardins, Courville, Bengio, Vincent, Delalleau, "Tempered Markov chain Monte Carlo for training of restricted
    Boltzmann machines", AISTATS 2010.
    Miasojedow, Moulines, Vihola, "An adaptive parallel tempering algorithm", J. Comput. Graph. Stat. 22 (2013).
    Syed, Bouchard-Côté, Deligiannidis, Doucet, "Non-reversible parallel tempering", J. R. Stat. Soc. B 84 (2022).
    """

    def __init__(
        self,
        n_temperatures: int | None = None,
        *,
        betas: ArrayLike | None = None,
        n_steps: int = 1,
        adapt: bool | None = None,
        base: str | ArrayLike | None = None,
    ):
        self.n_temperatures = n_temperatures
        self.betas = betas
        self.n_steps = n_steps
        self.adapt = adapt
        self.base = base

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        n = self.n_temperatures
        if n is not None:
            check_integer("n_temperatures", n, 2, otherwise="None")
        check_integer("n_steps", self.n_steps)
        if self.adapt is not None:
            check_flag("adapt", self.adapt, otherwise="None")
        if self.betas is not None:
            betas = np.asarray(self.betas, dtype=np.float64)
            rising = betas.ndim == 1 and len(betas) >= 2 and (np.diff(betas) > 0).all()
            if not rising or betas[0] < 0 or betas[-1] != 1:
                raise ValueError(f"betas must rise from at least 0 to 1, two of them or more, got {self.betas!r}")
            if n is not None and n != len(betas):
                raise ValueError(f"n_temperatures must be that of betas, {len(betas)}, or None, got {n!r}")
        if isinstance(self.base, str) and self.base != "model":
            raise ValueError(f"base must be None, 'model' or an array of visible biases, got {self.base!r}")

    def _ladder(self) -> NDArray[np.float64]:
        """Inverse temperatures at the start."""
        if self.betas is not None:
            return np.array(self.betas, dtype=np.float64)
        return np.linspace(0, 1, self.n_temperatures or _N_TEMPERATURES)

    def _base(self, parameters: Parameters) -> NDArray[Any]:
        bias = parameters.visible_bias
        if self.base is None:
            return np.zeros_like(bias)
        if isinstance(self.base, str):
            return bias
        base = np.asarray(self.base, dtype=bias.dtype)
        if base.shape != bias.shape or not np.isfinite(base).all():
            raise ValueError(f"base must be finite visible biases of shape {bias.shape}, got shape {base.shape}")
        return base

    def init(self, n_chains: int, parameters: Parameters, units: tuple[str, str], seed: int) -> TemperedState:
        """Start chains at all temperatures, their hidden states drawn without weights and biases.

        Parameters
        ----------
        n_chains : int
            At each temperature.
        parameters : Parameters
        units : (visible unit, hidden unit)
        seed : int
            Key of all draws.

        Returns
        -------
        TemperedState
        """
        self.validate()
        check_integer("n_chains", n_chains)
        self._base(parameters)
        betas, unit = self._ladder(), get_unit(units[1])
        n_rows, n_hidden = len(betas) * n_chains, len(parameters.hidden_bias)
        dtype = parameters.weights.dtype
        theta = np.zeros((n_rows, n_hidden), dtype=dtype)
        hidden: Any = unit.sample(theta, uniforms(Draw(seed, 0, Stream.START), n_rows, n_hidden, dtype))
        if unit.binary and unit.support == (0.0, 1.0):
            hidden = pack(hidden)
        n_pairs = len(betas) - 1
        adapt = self.betas is None if self.adapt is None else bool(self.adapt)
        return TemperedState(
            step=0,
            hidden=hidden,
            betas=betas,
            swap_accepts=np.zeros(n_pairs, dtype=np.int64),
            swap_tries=np.zeros(n_pairs, dtype=np.int64),
            round_trips=0,
            adapting=adapt,
            round=0,
            acceptance=np.full(n_pairs, np.nan),
            n_adaptations=0,
            marks=np.zeros(n_rows, dtype=np.int8),
        )

    def continues(self, population: Any, n_chains: int) -> bool:
        """See `PopulationSampler.continues`: as many temperatures, and so many chains at each."""
        return isinstance(population, TemperedState) and population.hidden.shape[0] == n_chains * len(self._ladder())

    def freeze(self, state: TemperedState) -> None:
        """End the adaptation: from here on every temperature keeps its distribution. Counts start anew."""
        state.adapting = False
        state.count_anew()

    def step(
        self,
        state: TemperedState,
        parameters: Parameters,
        units: tuple[str, str],
        seed: int,
        backend: Backend,
        n_rounds: int = 1,
    ) -> States:
        """Do rounds of exchanges and `n_steps` sweeps; `state` goes on in place.

        Parameters
        ----------
        state : TemperedState
        parameters : Parameters
            Of the model, at beta = 1. They may have changed since the last call.
        units : (visible unit, hidden unit)
        seed : int
        backend : Backend
        n_rounds : int, default=1
            At least 1.

        Returns
        -------
        PackedBits or ndarray, shape (n_chains, n_visible)
            Last visible states at beta = 1. Their hidden states are ``state.at(-1)``.
        """
        check_integer("n_rounds", n_rounds)
        base = self._base(parameters)
        n, done, exchanged = state.n_chains, 0, False
        while done < n_rounds:
            # as long as the temperatures stay, what the backend makes of the weights serves all rounds
            with backend.ladder(parameters, units, base, state.betas, n, self.n_steps) as ladder:
                while done < n_rounds:
                    if not exchanged:
                        exchanged = True
                        turn, log_ratio = state.exchange(ladder, seed, backend)
                        if state.adapting and _adapt(state, turn, log_ratio):
                            break  # sweeps are those of the temperatures of now
                    visible = state.sweep(ladder, seed, self.n_steps)
                    done, exchanged = done + 1, False
        return visible


def _adapt(state: TemperedState, turn: slice, log_ratio: NDArray[np.float64] | None) -> bool:
    """Widen distances whose exchanges are accepted more often than the mean, narrow the others; True if they moved.

    `log_ratio` is what `RungState.exchange` returned, of the pairs whose turn it was.
    """
    tried = np.empty(0)
    if log_ratio is not None:
        tried = np.add.reduce(np.exp(np.minimum(log_ratio, 0)), axis=1) / state.n_chains
    gain = _GAIN / (state.n_adaptations + _DELAY) ** _DECAY
    share, acceptance = min(gain, 1.0), state.acceptance
    state.n_adaptations += 1
    acceptance[turn] = acceptance[turn] * (1 - share) + share * tried
    total = np.add.reduce(acceptance)
    if np.isnan(total):
        acceptance[turn] = np.where(np.isnan(acceptance[turn]), tried, acceptance[turn])
        total = np.add.reduce(acceptance)
        if np.isnan(total):
            return False  # pairs of one parity have not had their turn yet
    logs = np.log(state.betas[1:] - state.betas[:-1])
    logs[turn] += gain * (tried - total / len(logs))
    distances = np.exp(logs - np.maximum.reduce(logs))
    reach = 1 - state.betas[0]
    # none below a thousandth of an even one: chains of equal temperatures would count as exchanges and carry nothing
    distances = np.maximum(distances / np.add.reduce(distances), 1e-3 / len(distances))
    state.betas[1:] = state.betas[0] + reach * np.add.accumulate(distances / np.add.reduce(distances))
    state.betas[-1] = 1.0
    return True
