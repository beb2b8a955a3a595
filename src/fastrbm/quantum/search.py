"""Ground states by stochastic reconfiguration: imaginary time in the space of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .._checks import check_integer, warn_user
from .._fit.loop import DivergenceError
from .._kernels.draws import Key
from .._shown import digits, frame, table
from ..analysis import ChainHealth
from ..schedules import Exponential, check_scheduled, value_at
from ._chains import Chains, check_rule
from ._derivatives import SOLVERS, natural_gradient
from .energies import Batch, EnergyEstimate, batch_of, check_problem, exact_energy, sampled_energy, tangent_of
from .hamiltonians import SpinHamiltonian
from .wavefunction import RBMWaveFunction

__all__ = ["GroundState", "Progress", "find_ground_state"]

#: largest angle between the states before and after a step
MOST_ANGLE = 0.1


@dataclass(frozen=True)
class Progress:
    """One step of a search, as a callback sees it.

    Attributes
    ----------
    iteration : int
        From 0.
    energy, standard_error, variance : float
        Before the step. The error is that of the means of the chains; 0 of sums over all states.
    wave_function : RBMWaveFunction
        After the step.
    """

    iteration: int
    energy: float
    standard_error: float
    variance: float
    wave_function: RBMWaveFunction


@dataclass(frozen=True)
class GroundState:
    """What `find_ground_state` returns.

    Attributes
    ----------
    energy : float
        Of `wave_function`, an upper bound of the ground state's but for its error.
    standard_error : float
        Of the energy, correlations along chains allowed for; 0 of a sum over all states.
    variance : float
        Of the local energies, 0 of an eigenstate.
    wave_function : RBMWaveFunction
    history : dict of str to ndarray of float64, shape (n_iterations,)
        "energy", "standard_error" and "variance" of each step, before it.
    health : ChainHealth or None
        Of the chains of the last estimate.
    """

    energy: float
    standard_error: float
    variance: float
    wave_function: RBMWaveFunction
    history: dict[str, NDArray[np.float64]]
    health: ChainHealth | None = None

    def _facts(self) -> dict[str, Any]:
        found = {"energy": self.energy, "standard_error": self.standard_error, "variance": self.variance}
        return found | {"steps": len(self.history["energy"]), "chains have mixed": self.health and self.health.ok}

    def __repr__(self) -> str:
        shown = (f"{k}={digits(x)}" for k, x in list(self._facts().items())[:3])
        return f"GroundState({', '.join(shown)}, {len(self.history['energy'])} steps)"

    def _repr_html_(self) -> str:
        return table("ground state", self._facts().items())

    def to_frame(self) -> Any:
        """Return a pandas frame of the history, a row for each step; ImportError without pandas."""
        return frame(self.history)


def find_ground_state(
    wave_function: RBMWaveFunction,
    hamiltonian: SpinHamiltonian,
    *,
    method: Literal["sampling", "exact"] = "sampling",
    n_iterations: int = 200,
    n_chains: int = 512,
    n_samples: int = 2,
    n_sweeps: int = 1,
    n_burn_in: int = 20,
    rule: Literal["heat-bath", "metropolis"] = "heat-bath",
    learning_rate: Any = 0.05,
    shift: Any = None,
    solver: Literal["auto", "direct", "cg"] = "auto",
    n_final_samples: int = 100,
    callback: Callable[[Progress], Any] | None = None,
    random_state: Any = None,
) -> GroundState:
    """Lower the energy of a wave function by stochastic reconfiguration.

    Each step moves the parameters against x of (S + shift) x = F, S the covariance of the derivatives of log psi and F
    their covariance with the local energies.

    Parameters
    ----------
    wave_function : RBMWaveFunction
        Where the search starts. It stays as it is.
    hamiltonian : SpinHamiltonian
    method : {"sampling", "exact"}, default="sampling"
        Means over samples, or sums over all states: of 20 sites at most.
    n_iterations : int, default=200
    n_chains : int, default=512
        Chains; they go on from step to step.
    n_samples : int, default=2
        States of each chain in a step.
    n_sweeps : int, default=1
        Sweeps before each of them.
    n_burn_in : int, default=20
        Sweeps before the first step.
    rule : {"heat-bath", "metropolis"}, default="heat-bath"
        As of `RBMWaveFunction.sample`; the moves are those of the Hamiltonian.
    learning_rate : float or schedule, default=0.05
        Length of a step in imaginary time.
    shift : float, schedule or None
        Added to the diagonal of S; None falls from 0.01 to 1e-4.
    solver : {"auto", "direct", "cg"}, default="auto"
        The system of parameters or, with fewer states than parameters, of states, solved as it is; or conjugate
        gradients, for which S is never formed. "auto" solves systems of up to 2500 directly.
    n_final_samples : int, default=100
        States of each chain for the energy that is returned: at least 4.
    callback : callable or None
        Called with a `Progress` after each step; the search ends where it returns True.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    GroundState

    Raises
    ------
    TypeError, ValueError
        For arguments that are none of these.
    DivergenceError
        Where parameters or energies are no longer finite.

    References
    ----------
    Sorella, "Green function Monte Carlo with stochastic reconfiguration", Phys. Rev. Lett. 80 (1998).
    Chen, Heyl, "Empowering deep neural quantum states through efficient optimization", Nature Physics 20 (2024): the
    system of states.

    Examples
    --------
    >>> from fastrbm.quantum import RBMWaveFunction, TransverseFieldIsing, find_ground_state, free_fermion_energy
    >>> psi = RBMWaveFunction(8, alpha=2, symmetric=True, random_state=0)
    >>> found = find_ground_state(psi, TransverseFieldIsing(8, field=1.0), method="exact")
    >>> bool(abs(found.energy / free_fermion_energy(8, 1.0) - 1) < 1e-3)
    True
    """
    _check(wave_function, hamiltonian, method, solver, rule, callback)
    sizes = {"n_iterations": n_iterations, "n_chains": n_chains, "n_samples": n_samples, "n_sweeps": n_sweeps}
    for name, value in sizes.items():
        check_integer(name, value)
    check_integer("n_burn_in", n_burn_in, 0)
    check_integer("n_final_samples", n_final_samples, 4)
    if shift is None:
        shift = Exponential(1e-2, 1e-4)
    for name, option in (("learning_rate", learning_rate), ("shift", shift)):
        check_scheduled(name, option)
        for iteration in (0, n_iterations - 1):
            if not value_at(name, option, iteration, n_iterations, 0.0) > 0:
                raise ValueError(f"{name} must be positive, got {option!r}")
    key = Key.from_random_state(random_state)
    # BLAS on one thread: its sums depend on how many there are
    with threadpool_limits(1, user_api="blas"):
        source: _Exact | _Sampled
        if method == "exact":
            source = _Exact(hamiltonian)
        else:
            chains = Chains(hamiltonian.n_sites, n_chains, hamiltonian.magnetisation, key, rule)
            source = _Sampled(hamiltonian, chains, n_samples, n_sweeps)
        history: dict[str, list[float]] = {"energy": [], "standard_error": [], "variance": []}
        step: NDArray[Any] | None = None
        for iteration in range(n_iterations):
            kernel = _kernel(wave_function, hamiltonian, iteration)
            if iteration == 0:
                source.start(kernel, n_burn_in)
            batch = source.batch(kernel)
            rate, most = (
                value_at(name, option, iteration, n_iterations, 0.0)
                for name, option in (("learning_rate", learning_rate), ("shift", shift))
            )
            tangent = tangent_of(wave_function, batch)
            if not np.isfinite(batch.variance):
                raise _diverged(iteration, "the local energies")
            step = natural_gradient(tangent, batch.errors, most, solver, step)
            if not np.isfinite(step).all():
                raise _diverged(iteration, "the natural gradient")
            # how far the state goes, as an angle between it and where it was, to first order
            angle = float(np.linalg.norm(tangent.apply(step)))
            rate = min(rate, MOST_ANGLE / angle) if angle > 0 else rate
            wave_function = wave_function.with_parameters(wave_function.parameters - rate * step)
            figures = (batch.energy, source.standard_error(batch), batch.variance)
            for values, figure in zip(history.values(), figures, strict=True):
                values.append(figure)
            if callback is not None and callback(Progress(iteration, *figures, wave_function)) is True:
                break
        found = source.final(_kernel(wave_function, hamiltonian, len(history["energy"])), n_final_samples)
    arrays = {name: np.array(values) for name, values in history.items()}
    return GroundState(found.energy, found.standard_error, found.variance, wave_function, arrays, found.health)


class _Exact:
    """Sums over all states."""

    def __init__(self, hamiltonian: SpinHamiltonian):
        self._hamiltonian, self._states = hamiltonian, hamiltonian.states()
        self._diagonal = hamiltonian.diagonal(self._states)

    def start(self, kernel: Any, n_burn_in: int) -> None:
        """Nothing to do."""

    def batch(self, kernel: Any) -> Batch:
        """All states."""
        return batch_of(kernel, self._hamiltonian, self._states, self._diagonal, True)

    def standard_error(self, batch: Batch) -> float:
        """There is none."""
        return 0.0

    def final(self, kernel: Any, n_samples: int) -> EnergyEstimate:
        """The energy that is returned."""
        return exact_energy(kernel, self._hamiltonian)


class _Sampled:
    """Means over samples."""

    def __init__(self, hamiltonian: SpinHamiltonian, chains: Chains, n_samples: int, n_sweeps: int):
        self._hamiltonian, self._chains = hamiltonian, chains
        self._n_samples, self._n_sweeps = n_samples, n_sweeps

    def start(self, kernel: Any, n_burn_in: int) -> None:
        """Forget the first states of the chains."""
        self._chains.sweep(kernel, n_burn_in)

    def batch(self, kernel: Any) -> Batch:
        """Go on by some states of each chain."""
        spins = self._chains.record(kernel, self._n_samples, self._n_sweeps).reshape(-1, self._hamiltonian.n_sites)
        return batch_of(kernel, self._hamiltonian, spins, self._hamiltonian.diagonal(spins), False)

    def standard_error(self, batch: Batch) -> float:
        """Of the means of the chains; of one chain, as if its states were independent."""
        local = batch.local.real.reshape(-1, self._n_samples)
        means = local.mean(axis=1) if len(local) > 1 else local[0]
        return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("inf")

    def final(self, kernel: Any, n_samples: int) -> EnergyEstimate:
        """The energy that is returned."""
        return sampled_energy(kernel, self._hamiltonian, self._chains, n_samples, self._n_sweeps)


def _check(wave_function: Any, hamiltonian: Any, method: Any, solver: Any, rule: Any, callback: Any) -> None:
    check_problem(wave_function, hamiltonian, method)
    check_rule(rule)
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {list(SOLVERS)}, got {solver!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of a Progress, or None, got {callback!r}")
    if wave_function.symmetric and not hamiltonian.periodic:
        raise ValueError("wave_function has symmetric=True, which only the states of a ring have: use symmetric=False")
    if wave_function.dtype != np.complex128 and (hamiltonian.elements > 0).any():
        warn_user(
            "the ground state may have signs that a positive psi does not have, as the Hamiltonian has positive "
            "elements off its diagonal: use parameters='complex' (or, of an antiferromagnet, marshall=True)",
            UserWarning,
        )


def _kernel(wave_function: RBMWaveFunction, hamiltonian: SpinHamiltonian, iteration: int) -> Any:
    try:
        return wave_function.kernel(hamiltonian.moves)
    except FloatingPointError as error:
        raise _diverged(iteration, str(error)) from error


def _diverged(iteration: int, what: str) -> DivergenceError:
    return DivergenceError(
        f"the search diverged before step {iteration}: {what}. Lower learning_rate, raise shift, or draw more samples"
    )
