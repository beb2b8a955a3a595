"""Trajectory tempering: chains of the models that a training run has gone through, which exchange their states.

Where a rise in temperature melts all modes of a model at once, the models of its own training lead from none of them to
all, one after the other. So states travel along the trajectory where they would not along temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._checks import check_flag, check_integer
from .._kernels import Backend, Parameters, get_backend, join_rows
from .._kernels.contract import States
from .._kernels.draws import Key
from .._kernels.ladders import ModelLadder
from .._kernels.trajectories import find_rungs, without_weights
from ..model import Model, checked_trajectory
from ._rungs import RungState

_N_POPULATIONS, _LEAST_SIZE = 8, 16  # of the exploration
_EXPLORATION = 1 << 49  # in place of the numbers of sampling calls


@dataclass
class TrajectoryState(RungState):
    """Chains of all models of a ladder; `TrajectoryTempering.step` changes it in place. It may be pickled.

    Row ``rung * n_chains + chain`` of `hidden` is a chain of ``models[rung]``.

    Attributes
    ----------
    step : int
        Next unused Gibbs step.
    hidden : PackedBits or ndarray, shape (n_rungs * n_chains, n_hidden)
        Hidden states.
    models : list of Parameters
        Of the ladder, from a model without weights to the model that is sampled.
    positions : ndarray of float64, shape (n_rungs,)
        Where they are in the list of models: -1 for the model without weights, k for ``models[k]``, else on the
        straight line between those of the nearest whole numbers on the ladder.
    swap_accepts, swap_tries : ndarray of int64, shape (n_rungs - 1,)
        Of exchanges with the next model since the start or since `TrajectoryTempering.freeze`.
    round_trips : int
        Journeys of states from the last model to the first and back, in the same time.
    round : int
        Rounds done; even and odd ones try different pairs.
    marks : ndarray of int8, shape (n_rungs * n_chains,)
        Of the states, which they travel with: 1 when last at the model, 2 when at the first one since, 0 before.
    """

    models: list[Parameters]
    positions: NDArray[np.float64]


class TrajectoryTempering(BaseEstimator):
    """Replica exchange along a list of models, such as those that training has gone through.

    A round of `step` first tries to exchange the hidden states of neighbouring models, of even and of odd pairs by
    turns, then does Gibbs sweeps of every model. With f the unnormalised probabilities of hidden states, the visible
    layer summed out, neighbours j and k exchange theirs with probability min(1, f_j(h_k) f_k(h_j) / (f_j(h_j)
    f_k(h_k))). It leaves the distribution of every model as it is.

    Parameters
    ----------
    models : list of Model
        From early to late, of equal units, shape and type: ``models_`` of a `fastrbm.callbacks.CheckpointTrajectory`.
        Those that are logarithmically spaced do: noise of training makes models go to and fro, and all of that way has
        to be gone.
    n_steps : int, default=1
        Gibbs sweeps between exchanges.
    shorten : bool, default=True
        Whether models may be left out where that makes the way shorter. False: the way leads through all models, but
        for those that are too close to the one before.

    Notes
    -----
    The ladder begins with a model of independent units that has the biases of the first model of the list. Its chains
    are drawn afresh in every round. It ends with the model that is sampled, whether that is the last of the list or
    not. Between them `init` spaces the rungs so that about 0.38 of the exchanges are accepted, and 0.25 at least as far
    as its pilot run sees: populations go along the list and measure how far models are apart. Models that are too close
    are left out, gaps are bridged by linear interpolation of the parameters. ``state.swap_rates`` tells what came of
    it.

    Models of Gaussian layers are in units of their deviations. That is no matter here: hidden states are exchanged, and
    their distribution is the same whatever the visible layer is measured in. So models of a run that has learned its
    deviations can be used as they are.

    It does not train (``algorithm=``): the list is that of a run that has been.

    References
    ----------
    Béreux, Decelle, Furtlehner, Rosset, Seoane, "Fast training and sampling of restricted Boltzmann machines",
    ICLR 2025.
    """

    def __init__(self, models: Sequence[Model], *, n_steps: int = 1, shorten: bool = True):
        self.models = models
        self.n_steps = n_steps
        self.shorten = shorten

    def validate(self) -> list[Model]:
        """Return the models; raise ValueError or TypeError unless the options are usable."""
        check_integer("n_steps", self.n_steps)
        check_flag("shorten", self.shorten)
        return checked_trajectory("models", self.models)

    def init(
        self,
        n_chains: int,
        parameters: Parameters,
        units: tuple[str, str],
        seed: int,
        backend: Backend | None = None,
    ) -> TrajectoryState:
        """Find the models of the ladder and start chains of each.

        Parameters
        ----------
        n_chains : int
            Of each model.
        parameters : Parameters
            Of the model that is sampled.
        units : (visible unit, hidden unit)
        seed : int
            Key of all draws.
        backend : Backend or None
            Of the pilot run; None for that of the CPU.

        Returns
        -------
        TrajectoryState

        Raises
        ------
        ValueError
            For models that differ in units, shape or type, and for energies that overflow.
        """
        models = checked_trajectory("models", [*self.validate(), Model(*parameters, *units)])
        check_integer("n_chains", n_chains)
        arrays = [model.parameters for model in models]
        if all(np.array_equal(x, y) for x, y in zip(arrays[-2], arrays[-1], strict=True)):
            del arrays[-2]
        backend = get_backend("cpu") if backend is None else backend
        found = find_rungs(
            backend,
            [without_weights(arrays[0]), *arrays],
            units,
            _N_POPULATIONS,
            max(_LEAST_SIZE, -(-n_chains // _N_POPULATIONS)),
            Key(seed).fold_in(_EXPLORATION),
            bool(self.shorten),
        )
        n_pairs = len(found.positions) - 1
        return TrajectoryState(
            step=0,
            hidden=join_rows(found.states(n_chains)),
            models=found.models,
            positions=found.numbers - 1,
            swap_accepts=np.zeros(n_pairs, dtype=np.int64),
            swap_tries=np.zeros(n_pairs, dtype=np.int64),
            round_trips=0,
            round=0,
            marks=np.zeros((n_pairs + 1) * n_chains, dtype=np.int8),
        )

    def freeze(self, state: TrajectoryState) -> None:
        """Count exchanges and journeys anew, as after the burn-in."""
        state.count_anew()

    def step(
        self,
        state: TrajectoryState,
        parameters: Parameters,
        units: tuple[str, str],
        seed: int,
        backend: Backend,
        n_rounds: int = 1,
    ) -> States:
        """Do rounds of exchanges and `n_steps` sweeps; `state` goes on in place.

        Parameters
        ----------
        state : TrajectoryState
        parameters : Parameters
            Of the model that is sampled: those that `init` was given.
        units : (visible unit, hidden unit)
        seed : int
        backend : Backend
        n_rounds : int, default=1
            At least 1.

        Returns
        -------
        PackedBits or ndarray, shape (n_chains, n_visible)
            Last visible states of the model. Their hidden states are ``state.at(-1)``.
        """
        check_integer("n_rounds", n_rounds)
        check_integer("n_steps", self.n_steps)
        if not all(np.array_equal(x, y) for x, y in zip(parameters, state.models[-1], strict=True)):
            raise ValueError(
                "parameters must be those that init was given, as the ladder was made for them, got others: call init"
            )
        with ModelLadder(backend, units, state.models) as ladder:
            for _ in range(n_rounds):
                state.exchange(ladder, seed, backend)
                visible = state.sweep(ladder, seed, self.n_steps)
        return visible
