"""Energies of wave functions: sums over all states, or means over samples with their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer
from .._kernels.draws import Key
from .._kernels.waves import SpinWave
from .._shown import digits, table
from ..analysis import ChainHealth, chain_health
from ._chains import Chains, check_rule
from ._derivatives import Tangent
from .hamiltonians import SpinHamiltonian
from .wavefunction import RBMWaveFunction

__all__ = ["EnergyEstimate", "estimate_energy"]

METHODS = ("sampling", "exact")


@dataclass(frozen=True)
class EnergyEstimate:
    """What `estimate_energy` returns.

    Attributes
    ----------
    energy : float
    standard_error : float
        Of the energy, correlations along chains allowed for; 0 of a sum over all states.
    variance : float
        Of the local energies, 0 where psi is an eigenstate.
    health : ChainHealth or None
        Whether the local energies show that chains have mixed.
    """

    energy: float
    standard_error: float
    variance: float
    health: ChainHealth | None = None

    def _facts(self) -> dict[str, Any]:
        return {"energy": self.energy, "standard_error": self.standard_error, "variance": self.variance}

    def __repr__(self) -> str:
        return f"EnergyEstimate({', '.join(f'{k}={digits(x)}' for k, x in self._facts().items())})"

    def _repr_html_(self) -> str:
        note = "" if self.health is None else str(self.health).partition("\n")[0]
        return table("energy", self._facts().items(), note=note)


@dataclass(frozen=True)
class Batch:
    """States, what kernels find of them, and their weights, which add up to 1."""

    spins: NDArray[np.int8]
    tanh_theta: NDArray[Any]
    local: NDArray[Any]
    weights: NDArray[np.float64]

    @property
    def energy(self) -> float:
        """Mean of the local energies."""
        return float((self.weights @ self.local).real)

    @property
    def errors(self) -> NDArray[Any]:
        """Root of the weights times local energies without their mean."""
        return np.sqrt(self.weights) * (self.local - self.weights @ self.local)

    @property
    def variance(self) -> float:
        """Variance of the local energies."""
        return float(np.square(np.abs(self.errors)).sum())


def batch_of(
    kernel: SpinWave,
    hamiltonian: SpinHamiltonian,
    spins: NDArray[np.int8],
    diagonal: NDArray[np.float64],
    all_states: bool,
) -> Batch:
    """Local energies of states that are all there are, to be weighted by |psi|^2, or that are drawn from it."""
    found = kernel.evaluate(spins)
    assert found.ratios is not None
    weights = np.full(len(spins), 1 / len(spins))
    if all_states:
        logs = 2 * found.log_psi.real
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
    return Batch(spins, found.tanh_theta, diagonal + found.ratios @ hamiltonian.elements, weights)


def tangent_of(wave_function: RBMWaveFunction, batch: Batch) -> Tangent:
    """Derivatives of log psi over a batch."""
    kind = {"symmetric": wave_function.symmetric, "biases": wave_function.biases}
    return Tangent(batch.spins, batch.tanh_theta, batch.weights, **kind)


def check_problem(wave_function: Any, hamiltonian: Any, method: Any) -> None:
    """Raise for what is no wave function, Hamiltonian or method, or where they do not fit each other."""
    if not isinstance(wave_function, RBMWaveFunction):
        raise TypeError(f"wave_function must be an RBMWaveFunction, got {type(wave_function).__name__}")
    if not isinstance(hamiltonian, SpinHamiltonian):
        raise TypeError(f"hamiltonian must be a SpinHamiltonian, got {type(hamiltonian).__name__}")
    hamiltonian.check_sites(wave_function)
    if method not in METHODS:
        raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}")


def estimate_energy(
    wave_function: RBMWaveFunction,
    hamiltonian: SpinHamiltonian,
    *,
    method: Literal["sampling", "exact"] = "sampling",
    n_chains: int = 256,
    n_samples: int = 100,
    n_burn_in: int = 100,
    n_sweeps: int = 1,
    rule: Literal["heat-bath", "metropolis"] = "heat-bath",
    random_state: Any = None,
) -> EnergyEstimate:
    """Energy of a wave function.

    Parameters
    ----------
    wave_function : RBMWaveFunction
    hamiltonian : SpinHamiltonian
    method : {"sampling", "exact"}, default="sampling"
        Means over samples, or sums over all states: of 20 sites at most.
    n_chains, n_samples : int, default=256 and 100
        Chains, and states of each: at least 4.
    n_burn_in : int, default=100
        Sweeps before the first of them.
    n_sweeps : int, default=1
        Sweeps from one to the next.
    rule : {"heat-bath", "metropolis"}, default="heat-bath"
        As of `RBMWaveFunction.sample`; the moves are those of the Hamiltonian.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    EnergyEstimate

    Raises
    ------
    TypeError, ValueError
        For arguments that are none of these.
    """
    check_problem(wave_function, hamiltonian, method)
    check_rule(rule)
    for name, value, low in (("n_chains", n_chains, 1), ("n_samples", n_samples, 4), ("n_sweeps", n_sweeps, 1)):
        check_integer(name, value, low)
    check_integer("n_burn_in", n_burn_in, 0)
    Key.check(random_state)
    kernel = wave_function.kernel(hamiltonian.moves)
    if method == "exact":
        return exact_energy(kernel, hamiltonian)
    key = Key.from_random_state(random_state)
    chains = Chains(hamiltonian.n_sites, n_chains, hamiltonian.magnetisation, key, rule)
    chains.sweep(kernel, n_burn_in)
    return sampled_energy(kernel, hamiltonian, chains, n_samples, n_sweeps)


def exact_energy(kernel: SpinWave, hamiltonian: SpinHamiltonian) -> EnergyEstimate:
    """Energy by a sum over all states."""
    states = hamiltonian.states()
    batch = batch_of(kernel, hamiltonian, states, hamiltonian.diagonal(states), True)
    return EnergyEstimate(batch.energy, 0.0, batch.variance)


def sampled_energy(
    kernel: SpinWave, hamiltonian: SpinHamiltonian, chains: Chains, n_samples: int, n_sweeps: int
) -> EnergyEstimate:
    """Energy by chains that go on."""
    local = []
    for _ in range(n_samples):
        chains.sweep(kernel, n_sweeps)
        found = batch_of(kernel, hamiltonian, chains.states, hamiltonian.diagonal(chains.states), False)
        local.append(found.local)
    energies = np.stack(local, axis=1)
    health = chain_health(energies.real)
    variance = float(np.square(np.abs(energies - energies.mean())).mean())
    return EnergyEstimate(float(energies.real.mean()), float(health.standard_error[0]), variance, health)
