"""Samples of a model by parallel tempering, with what tells whether they can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer
from .._kernels import as_dense, get_backend
from .._kernels.draws import Key
from ..analysis import ChainHealth, chain_health
from ..model import Model
from .tempering import Tempering
from .trajectory import TrajectoryTempering


@dataclass(frozen=True)
class TemperedSamples:
    """Samples that `temper` has drawn, and what tells whether they can be trusted.

    Attributes
    ----------
    visible : ndarray, shape (n_samples, n_visible)
        In the dtype of the model; rows of the same time stand together, ``row % n_chains`` is the chain.
    hidden : ndarray, shape (n_samples, n_hidden)
        Hidden states drawn with them.
    betas : ndarray of float64, shape (n_temperatures,)
        Inverse temperatures at which the samples were taken; of a `TrajectoryTempering` the positions of the models of
        its ladder (see `TrajectoryState`).
    swap_rates : ndarray of float64, shape (n_temperatures - 1,)
        Share of exchanges with the next temperature, or model, that were accepted after the burn-in.
    round_trips : int
        Journeys of states from beta = 1 to the hottest temperature, or from the model to the first one of the ladder,
        and back after the burn-in, all chains together.
    health : ChainHealth
        Of the free energy of the samples along the chains of the model itself.
    """

    visible: NDArray[Any]
    hidden: NDArray[Any]
    betas: NDArray[np.float64]
    swap_rates: NDArray[np.float64]
    round_trips: int
    health: ChainHealth


def temper(
    model: Model,
    n_samples: int = 1000,
    n_steps: int = 10,
    *,
    n_chains: int = 20,
    burn_in: int = 1000,
    sampler: Tempering | TrajectoryTempering | None = None,
    random_state: Any = None,
    progress: Callable[[int, int], None] | None = None,
    device: str = "auto",
    n_threads: int | None = None,
) -> TemperedSamples:
    """Draw samples of a model by parallel tempering, or along the models of its training.

    Parameters
    ----------
    model : Model
        Of a fitted estimator, ``rbm.model_``.
    n_samples : int, default=1000
        Rows wanted, at least 4 for each chain.
    n_steps : int, default=10
        Rounds (exchanges, then sweeps) from one sample of a chain to the next.
    n_chains : int, default=20
        Independent populations of chains; each has a chain at every temperature, or of every model of the ladder.
    burn_in : int, default=1000
        Rounds that are thrown away. In the first half of them the temperatures adapt, if they do.
    sampler : Tempering, TrajectoryTempering or None
        None for ``Tempering()``.
    random_state : int, RandomState, Generator or None
    progress : callable or None
        Called as ``progress(rounds done, rounds in all)`` at the end of the burn-in and after each sample.
    device : {"auto", "cpu", "cuda", "reference"}, default="auto"
        Kernels of the chains.
    n_threads : int or None
        Of the native kernels.

    Returns
    -------
    TemperedSamples

    Raises
    ------
    TypeError
        If `model` is not a `Model` or `sampler` none of these.
    ValueError
        For numbers out of range, and for models of a trajectory that are not like `model`.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a fastrbm.Model, got {type(model).__name__}")
    sampler = Tempering() if sampler is None else sampler
    if not isinstance(sampler, (Tempering, TrajectoryTempering)):
        raise TypeError(
            f"sampler must be a Tempering or TrajectoryTempering object or None, got {type(sampler).__name__}"
        )
    for name, value, least in (("n_samples", n_samples, 4), ("n_steps", n_steps, 1), ("n_chains", n_chains, 1)):
        check_integer(name, value, least)
    check_integer("burn_in", burn_in, 0)
    n_kept = -(-n_samples // n_chains)
    if n_kept < 4:
        raise ValueError(f"n_samples must be at least 4 n_chains = {4 * n_chains}, got {n_samples!r}")
    backend = get_backend(device, n_threads)
    seed = Key.from_random_state(random_state).seed
    parameters, units = model.parameters, model.units
    mover: Any = sampler  # takes the state that it has made itself
    if isinstance(sampler, TrajectoryTempering):
        state: Any = sampler.init(n_chains, parameters, units, seed, backend)
    else:
        state = sampler.init(n_chains, parameters, units, seed)
    total = burn_in + n_kept * n_steps
    for rounds in (burn_in // 2, burn_in - burn_in // 2):
        if rounds:
            mover.step(state, parameters, units, seed, backend, rounds)
        mover.freeze(state)
    if progress is not None:
        progress(burn_in, total)
    dtype = model.weights.dtype
    visible = np.empty((n_kept, n_chains, model.weights.shape[1]), dtype=dtype)
    hidden = np.empty((n_kept, n_chains, model.weights.shape[0]), dtype=dtype)
    energy = np.empty((n_chains, n_kept))
    for i in range(n_kept):
        states = mover.step(state, parameters, units, seed, backend, n_steps)
        visible[i], hidden[i] = as_dense(states, dtype), as_dense(state.at(-1), dtype)
        energy[:, i] = model.free_energy(states, backend)
        if progress is not None:
            progress(burn_in + (i + 1) * n_steps, total)
    rates = state.swap_rates
    return TemperedSamples(
        visible.reshape(n_kept * n_chains, -1)[:n_samples],
        hidden.reshape(n_kept * n_chains, -1)[:n_samples],
        state.positions if isinstance(sampler, TrajectoryTempering) else state.betas,
        rates,
        state.round_trips,
        chain_health(energy, swap_rates=rates),
    )
