"""Hamiltonians of spin-1/2 chains in the basis of sigma^z, by Pauli matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_flag, check_integer, check_number
from ._states import as_spins

if TYPE_CHECKING:
    from .wavefunction import RBMWaveFunction

__all__ = ["Heisenberg", "SpinHamiltonian", "TransverseFieldIsing"]

#: sites of which all states are listed, at most
MOST_LISTED = 20


class SpinHamiltonian(ABC):
    """A real Hamiltonian whose terms turn one spin, or two neighbours that stand oppositely.

    A subclass sets the attributes and has `diagonal`.

    Attributes
    ----------
    n_sites : int
    periodic : bool
        Whether the chain is a ring.
    magnetisation : int or None
        Sum of the spins that all states considered have; None for states of any.
    moves : ndarray of int32, shape (n_moves, 3)
        The site of a spin that is turned; another one that is turned with it, or -1; -1 where the two must be opposite,
        1 where they must be alike.
    elements : ndarray of float64, shape (n_moves,)
        Matrix element of each move.
    """

    n_sites: int
    periodic: bool
    magnetisation: int | None
    moves: NDArray[np.int32]
    elements: NDArray[np.float64]

    @abstractmethod
    def diagonal(self, states: ArrayLike) -> NDArray[np.float64]:
        """Diagonal elements of states.

        Parameters
        ----------
        states : array-like, shape (n_states, n_sites)
            Spins, -1 and +1.

        Returns
        -------
        ndarray of float64, shape (n_states,)
        """

    def local_energies(self, wave_function: RBMWaveFunction, states: ArrayLike) -> NDArray[Any]:
        """Local energies (H psi)(s) / psi(s).

        Parameters
        ----------
        wave_function : RBMWaveFunction
        states : array-like, shape (n_states, n_sites)

        Returns
        -------
        ndarray of float64 or complex128, shape (n_states,)

        Raises
        ------
        ValueError
            For states that are no spins, or another number of sites.
        """
        self.check_sites(wave_function)
        spins = as_spins(states, self.n_sites)
        ratios = wave_function.move_ratios(spins, self.moves)
        return self.diagonal(spins) + ratios @ self.elements

    def check_sites(self, wave_function: RBMWaveFunction) -> None:
        """Raise ValueError unless the wave function has as many sites."""
        if wave_function.n_sites != self.n_sites:
            raise ValueError(f"wave_function has {wave_function.n_sites} sites, the Hamiltonian has {self.n_sites}")

    def states(self) -> NDArray[np.int8]:
        """All states of the magnetisation, in the order of the binary numbers of their up spins, first site highest.

        Returns
        -------
        ndarray of int8, shape (n_states, n_sites)

        Raises
        ------
        ValueError
            For chains of more than 20 sites.
        """
        n = self.n_sites
        if n > MOST_LISTED:
            raise ValueError(f"all states are listed of {MOST_LISTED} sites at most, this chain has {n}")
        bits = np.arange(2**n, dtype=np.int64)[:, None] >> np.arange(n - 1, -1, -1) & 1
        if self.magnetisation is not None:
            bits = bits[bits.sum(axis=1) == (n + self.magnetisation) // 2]
        return (2 * bits - 1).astype(np.int8)

    def n_states(self) -> int:
        """Count the states of the magnetisation."""
        if self.magnetisation is None:
            return 2**self.n_sites
        return comb(self.n_sites, (self.n_sites + self.magnetisation) // 2)

    def to_sparse(self) -> Any:
        """The matrix over `states`, as a SciPy CSR array.

        Raises
        ------
        ValueError
            For chains of more than 20 sites.
        """
        from scipy.sparse import coo_array

        states = self.states()
        n, size = self.n_sites, len(states)
        places = 1 << np.arange(n - 1, -1, -1, dtype=np.int64)
        numbers = (states > 0) @ places
        every = np.arange(size)
        rows, columns, values = [every], [every], [self.diagonal(states)]
        for (first, second, relation), element in zip(self.moves, self.elements, strict=True):
            turned = places[first] | (places[second] if second >= 0 else 0)
            there = every if second < 0 else np.flatnonzero(states[:, second] == relation * states[:, first])
            rows.append(there)
            columns.append(np.searchsorted(numbers, numbers[there] ^ turned))
            values.append(np.full(len(there), element))
        entries = (np.concatenate(rows), np.concatenate(columns))
        return coo_array((np.concatenate(values), entries), shape=(size, size)).tocsr()


def _bonds(n_sites: Any, periodic: Any, coupling: Any) -> tuple[int, bool, float, NDArray[np.int32]]:
    """Check the parameters of a chain; its pairs of neighbours."""
    periodic = check_flag("periodic", periodic)
    n_sites = check_integer("n_sites", n_sites, 3 if periodic else 2)
    first = np.arange(n_sites if periodic else n_sites - 1)
    pairs = np.stack([first, (first + 1) % n_sites], axis=1).astype(np.int32)
    return n_sites, periodic, check_number("coupling", coupling), pairs


class TransverseFieldIsing(SpinHamiltonian):
    """H = -J sum sigma^z_i sigma^z_(i+1) - g sum sigma^x_i on a chain.

    Parameters
    ----------
    n_sites : int
        At least 2, of a ring 3.
    field : float
        g. The ground state is positive where it is.
    coupling : float, default=1
        J.
    periodic : bool, default=True
        Whether the last site is a neighbour of the first.

    Raises
    ------
    ValueError
        For parameters that are none of these.
    """

    def __init__(self, n_sites: int, field: float, coupling: float = 1.0, periodic: bool = True):
        self.n_sites, self.periodic, self.coupling, self._pairs = _bonds(n_sites, periodic, coupling)
        self.field = check_number("field", field)
        self.magnetisation = None
        self.moves = np.array([[site, -1, 0] for site in range(self.n_sites)], np.int32)
        self.elements = np.full(self.n_sites, -self.field)

    def __repr__(self) -> str:
        ring = f"periodic={self.periodic}"
        return f"TransverseFieldIsing({self.n_sites}, field={self.field:g}, coupling={self.coupling:g}, {ring})"

    def diagonal(self, states: ArrayLike) -> NDArray[np.float64]:
        """See `SpinHamiltonian.diagonal`."""
        spins = as_spins(states, self.n_sites)
        alike = (spins[:, self._pairs[:, 0]] * spins[:, self._pairs[:, 1]]).sum(axis=1, dtype=np.float64)
        return -self.coupling * alike


class Heisenberg(SpinHamiltonian):
    """H = J sum (sigma^x sigma^x + sigma^y sigma^y + sigma^z sigma^z) of neighbours, states of magnetisation 0.

    By spins of 1/2 it is 4 J sum S_i . S_(i+1).

    Parameters
    ----------
    n_sites : int
        Even.
    coupling : float, default=1
        J, antiferromagnetic where it is positive.
    periodic : bool, default=True
        Whether the last site is a neighbour of the first.
    marshall : bool, default=True
        Whether every other spin is turned about z by 180 degrees. Energies are the same, and the ground state of J > 0
        is positive then: real parameters have it. Without, it has signs that parameters must be complex for.

    Raises
    ------
    ValueError
        For parameters that are none of these.

    References
    ----------
    Marshall, "Antiferromagnetism", Proc. R. Soc. A 232 (1955).
    """

    def __init__(self, n_sites: int, coupling: float = 1.0, periodic: bool = True, *, marshall: bool = True):
        self.n_sites, self.periodic, self.coupling, self._pairs = _bonds(n_sites, periodic, coupling)
        if self.n_sites % 2:
            raise ValueError(f"n_sites must be even for states of magnetisation 0, got {n_sites!r}")
        self.marshall = check_flag("marshall", marshall)
        self.magnetisation = 0
        self.moves = np.column_stack([self._pairs, np.full(len(self._pairs), -1)]).astype(np.int32)
        self.elements = np.full(len(self._pairs), (-2.0 if self.marshall else 2.0) * self.coupling)

    def __repr__(self) -> str:
        options = f"coupling={self.coupling:g}, periodic={self.periodic}, marshall={self.marshall}"
        return f"Heisenberg({self.n_sites}, {options})"

    def diagonal(self, states: ArrayLike) -> NDArray[np.float64]:
        """See `SpinHamiltonian.diagonal`."""
        spins = as_spins(states, self.n_sites)
        alike = (spins[:, self._pairs[:, 0]] * spins[:, self._pairs[:, 1]]).sum(axis=1, dtype=np.float64)
        return self.coupling * alike
