"""Ground states and energies that need no samples: exact diagonalisation, and free fermions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer, check_number
from .hamiltonians import SpinHamiltonian

__all__ = ["ExactGroundState", "exact_ground_state", "free_fermion_energy"]

MOST_SITES = 16


class ExactGroundState(NamedTuple):
    """What `exact_ground_state` returns.

    Attributes
    ----------
    energy : float
    states : ndarray of int8, shape (n_states, n_sites)
    amplitudes : ndarray of float64, shape (n_states,)
        Of length 1; their sum is not negative.
    """

    energy: float
    states: NDArray[np.int8]
    amplitudes: NDArray[np.float64]


def exact_ground_state(hamiltonian: SpinHamiltonian) -> ExactGroundState:
    """Diagonalise a Hamiltonian of at most 16 sites (Lanczos, by SciPy).

    Parameters
    ----------
    hamiltonian : SpinHamiltonian

    Returns
    -------
    ExactGroundState

    Raises
    ------
    TypeError
        If it is no Hamiltonian.
    ValueError
        For more than 16 sites.
    """
    if not isinstance(hamiltonian, SpinHamiltonian):
        raise TypeError(f"hamiltonian must be a SpinHamiltonian, got {type(hamiltonian).__name__}")
    if hamiltonian.n_sites > MOST_SITES:
        raise ValueError(
            f"exact_ground_state takes {MOST_SITES} sites at most, got {hamiltonian.n_sites}; the periodic chain in a "
            "transverse field has free_fermion_energy at any size"
        )
    from scipy.sparse.linalg import eigsh

    matrix = hamiltonian.to_sparse()
    if matrix.shape[0] <= 64:
        energies, vectors = np.linalg.eigh(matrix.toarray())
    else:
        # a start that is orthogonal to no eigenvector, and the same in every call
        start = np.random.default_rng(0).normal(size=matrix.shape[0])
        energies, vectors = eigsh(matrix, k=1, which="SA", v0=start, tol=1e-12)
    amplitudes = vectors[:, 0]
    return ExactGroundState(
        float(energies[0]), hamiltonian.states(), -amplitudes if amplitudes.sum() < 0 else amplitudes
    )


def free_fermion_energy(n_sites: int, field: float, coupling: float = 1.0) -> float:
    """Ground state energy of the periodic chain in a transverse field, exact at any size.

    Parameters
    ----------
    n_sites : int
        At least 3.
    field : float
        g of `TransverseFieldIsing`.
    coupling : float, default=1
        J; where it is negative, the chain must have an even number of sites.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For parameters that are none of these.

    Notes
    -----
    Fermions of the Jordan-Wigner transformation are free. The momenta of the ground state are
    k = pi (2 m + 1) / n_sites. Its energy is - sum over k of sqrt(J^2 + g^2 - 2 J g cos k), J and g without signs.

    References
    ----------
    Pfeuty, "The one-dimensional Ising model with a transverse field", Annals of Physics 57 (1970).
    """
    n_sites = check_integer("n_sites", n_sites, 3)
    g, j = abs(check_number("field", field)), check_number("coupling", coupling)
    if j < 0 and n_sites % 2:
        raise ValueError(f"n_sites must be even where coupling is negative, got {n_sites}: the ring is frustrated")
    j = abs(j)
    k = np.pi * (2 * np.arange(n_sites) + 1) / n_sites
    return -float(np.sqrt(np.square(g - j) + 4 * g * j * np.square(np.sin(k / 2))).sum())
