"""A restricted Boltzmann machine as the wave function of spins."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_flag, check_integer, check_number
from .._kernels import check_n_threads, get_backend
from .._kernels.draws import Key
from .._kernels.waves import Evaluation, SpinWave
from ..model import Model
from ._chains import Chains, check_rule
from ._derivatives import log_derivatives
from ._states import as_spins

__all__ = ["RBMWaveFunction"]

#: what keys of draws are folded with
_IMAGINARY, _SAMPLES = 1, 2


class RBMWaveFunction:
    """psi(s) = exp(a.s) prod_j 2 cosh(b_j + W_j.s) of spins s of -1 and +1.

    Parameters
    ----------
    n_sites : int
    n_hidden : int or None
        Hidden units; a multiple of `n_sites` with ``symmetric=True``. Either this or `alpha` is needed.
    alpha : int or None
        Hidden units for each site.
    parameters : {"real", "complex"}, default="real"
        Real ones make psi positive.
    symmetric : bool, default=False
        Whether psi is the same for all translations of a ring: each of `alpha` filters stands at every site. The
        parameters are one visible bias, and alpha hidden biases and filters.
    biases : bool, default=True
        Whether there are biases. Without them psi(s) = psi(-s), and no ground state is sought among ordered ones.
    scale : float, default=0.05
        Deviation of the first weights. Biases start from 0.
    random_state : int, RandomState, Generator or None
        Of the first weights, and of samples whose seed is not given.
    n_threads : int or None
        Of the kernels; None for all processors. Results do not depend on it.

    Attributes
    ----------
    n_sites, n_hidden, n_parameters : int
    symmetric, biases : bool
    dtype : numpy.dtype
        float64 or complex128.

    Raises
    ------
    ValueError
        For parameters that are none of these.

    References
    ----------
    Carleo, Troyer, "Solving the quantum many-body problem with artificial neural networks", Science 355 (2017).

    Examples
    --------
    >>> from fastrbm.quantum import RBMWaveFunction
    >>> psi = RBMWaveFunction(4, alpha=2, symmetric=True, random_state=0)
    >>> psi.n_parameters
    11
    >>> bool(abs(psi.log_psi([1, 1, -1, 1]) - psi.log_psi([1, -1, 1, 1]))[0] < 1e-12)
    True
    """

    def __init__(
        self,
        n_sites: int,
        n_hidden: int | None = None,
        *,
        alpha: int | None = None,
        parameters: Literal["real", "complex"] = "real",
        symmetric: bool = False,
        biases: bool = True,
        scale: float = 0.05,
        random_state: Any = None,
        n_threads: int | None = None,
    ):
        self.n_sites = check_integer("n_sites", n_sites)
        self.symmetric = check_flag("symmetric", symmetric)
        self.biases = check_flag("biases", biases)
        if (n_hidden is None) == (alpha is None):
            raise ValueError(f"one of n_hidden and alpha must be given, got n_hidden={n_hidden!r} and alpha={alpha!r}")
        if alpha is not None:
            self.n_hidden = check_integer("alpha", alpha) * self.n_sites
        else:
            self.n_hidden = check_integer("n_hidden", n_hidden)
        if self.symmetric and self.n_hidden % self.n_sites:
            raise ValueError(
                f"n_hidden must be a multiple of n_sites = {self.n_sites} with symmetric=True, got {n_hidden!r}: "
                "use alpha"
            )
        if parameters not in ("real", "complex"):
            raise ValueError(f"parameters must be 'real' or 'complex', got {parameters!r}")
        check_number("scale", scale, 0.0)
        check_n_threads(n_threads)
        self.n_threads = n_threads
        self.dtype = np.dtype(np.complex128 if parameters == "complex" else np.float64)
        self._key, self._calls = Key.from_random_state(random_state), 0
        width = self.n_hidden // self.n_sites if self.symmetric else self.n_hidden
        of_biases = ((1 if self.symmetric else self.n_sites,), (width,)) if self.biases else ((0,), (0,))
        self._shapes = (*of_biases, (width, self.n_sites))
        self.n_parameters = sum(int(np.prod(shape)) for shape in self._shapes)
        weights: NDArray[Any] = self._key.normal((width, self.n_sites), scale)
        if self.dtype == np.complex128:
            weights = weights + 1j * self._key.fold_in(_IMAGINARY).normal((width, self.n_sites), scale)
        self._set(np.concatenate([np.zeros(self.n_parameters - weights.size, self.dtype), weights.ravel()]))

    def __repr__(self) -> str:
        kind = "complex" if self.dtype == np.complex128 else "real"
        options = (", symmetric=True" if self.symmetric else "") + ("" if self.biases else ", biases=False")
        return f"RBMWaveFunction({self.n_sites}, {self.n_hidden}, parameters={kind!r}{options})"

    @property
    def parameters(self) -> NDArray[Any]:
        """The vector of parameters: visible biases, hidden biases, weights row by row. A copy."""
        return self._vector.copy()

    @property
    def visible_bias(self) -> NDArray[Any]:
        """a, shape (n_sites,)."""
        if not self.biases:
            return np.zeros(self.n_sites, self.dtype)
        return np.broadcast_to(self._split[0], self.n_sites).copy()

    @property
    def hidden_bias(self) -> NDArray[Any]:
        """b, shape (n_hidden,)."""
        if not self.biases:
            return np.zeros(self.n_hidden, self.dtype)
        return np.repeat(self._split[1], self.n_sites if self.symmetric else 1)

    @property
    def weights(self) -> NDArray[Any]:
        """W, shape (n_hidden, n_sites); of a symmetric function filter f at site t is row f * n_sites + t."""
        filters = self._split[2]
        if not self.symmetric:
            return filters.copy()
        n = self.n_sites
        site = np.arange(n)
        return np.ascontiguousarray(filters[:, (site[None] - site[:, None]) % n].reshape(-1, n))

    def with_parameters(self, parameters: ArrayLike) -> RBMWaveFunction:
        """Return the same kind of function with other parameters.

        Parameters
        ----------
        parameters : array-like, shape (n_parameters,)
            As `parameters` has them.

        Raises
        ------
        ValueError
            For another shape, values that are not finite, or complex ones for real parameters.
        """
        vector = np.array(parameters)
        if vector.shape != (self.n_parameters,):
            raise ValueError(f"parameters must have shape ({self.n_parameters},), got {vector.shape}")
        if np.iscomplexobj(vector) and self.dtype != np.complex128:
            raise ValueError("parameters must be real for this function; use parameters='complex'")
        vector = vector.astype(self.dtype)
        if not np.isfinite(vector).all():
            raise ValueError("parameters must be finite, got NaN or infinity")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._set(vector)
        return other

    def _set(self, vector: NDArray[Any]) -> None:
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self._shapes)])
        self._vector = vector
        self._split = [
            vector[start:end].reshape(shape)
            for start, end, shape in zip(ends[:-1], ends[1:], self._shapes, strict=True)
        ]

    def kernel(self, moves: NDArray[np.int32]) -> SpinWave:
        """Kernels of this function for moves of spins, as `SpinHamiltonian.moves` has them."""
        backend = get_backend("cpu", n_threads=self.n_threads)
        return backend.wave(self.weights, self.visible_bias, self.hidden_bias, moves)

    def log_psi(self, states: ArrayLike) -> NDArray[Any]:
        """Logarithm of psi, not normalised.

        Parameters
        ----------
        states : array-like, shape (n_states, n_sites) or (n_sites,)
            Spins, -1 and +1.

        Returns
        -------
        ndarray of float64 or complex128, shape (n_states,)
            An imaginary part is known modulo 2 pi.

        Raises
        ------
        ValueError
            For states that are no spins, or another number of sites.
        """
        return self._evaluate(states, _single(self.n_sites), False).log_psi

    def move_ratios(self, states: ArrayLike, moves: ArrayLike) -> NDArray[Any]:
        """Psi after moves over psi before them, 0 where a move is not there.

        Parameters
        ----------
        states : array-like, shape (n_states, n_sites)
        moves : array-like of int, shape (n_moves, 3)
            As `SpinHamiltonian.moves`.

        Returns
        -------
        ndarray of float64 or complex128, shape (n_states, n_moves)

        Raises
        ------
        ValueError
            For states that are no spins, and moves that are none.
        """
        table = np.asarray(moves)
        if table.ndim != 2 or table.shape[1] != 3 or not len(table) or not np.issubdtype(table.dtype, np.integer):
            raise ValueError(f"moves must be integers of shape (n_moves, 3), got {table.dtype} of shape {table.shape}")
        first, second, relation = table.T
        right = (0 <= first) & (first < self.n_sites) & (-1 <= second) & (second < self.n_sites) & (first != second)
        if not (right & ((second < 0) | (np.abs(relation) == 1))).all():
            raise ValueError(
                f"moves must have sites from 0 to {self.n_sites - 1}, a second one or -1, and -1 or 1 for how the two "
                "stand"
            )
        found = self._evaluate(states, table.astype(np.int32), True).ratios
        assert found is not None
        return found

    def flip_ratios(self, states: ArrayLike, sites: ArrayLike | None = None) -> NDArray[Any]:
        """Psi after single flips or flips of pairs over psi before them.

        Parameters
        ----------
        states : array-like, shape (n_states, n_sites)
        sites : array-like of int, shape (n_flips,) or (n_flips, 2), or None
            Sites, or pairs of different ones, whichever way they stand; None for every site.

        Returns
        -------
        ndarray of float64 or complex128, shape (n_states, n_flips)

        Raises
        ------
        ValueError
            For states that are no spins, and sites that are none.
        """
        given = np.arange(self.n_sites) if sites is None else np.asarray(sites)
        if given.ndim not in (1, 2) or (given.ndim == 2 and given.shape[1] != 2):
            raise ValueError(f"sites must have shape (n_flips,) or (n_flips, 2), got {given.shape}")
        if not np.issubdtype(given.dtype, np.integer) or (
            given.size and not 0 <= given.min() <= given.max() < self.n_sites
        ):
            raise ValueError(f"sites must be integers from 0 to {self.n_sites - 1}, got {sites!r}")
        if given.ndim == 2 and (given[:, 0] == given[:, 1]).any():
            raise ValueError(f"sites must be pairs of different ones, got {sites!r}")
        if given.ndim == 1:
            return self.move_ratios(states, np.column_stack([given, np.full(len(given), -1), np.zeros_like(given)]))
        apart, alike = (np.column_stack([given, np.full(len(given), relation)]) for relation in (-1, 1))
        return self.move_ratios(states, apart) + self.move_ratios(states, alike)  # one of the two is 0

    def log_derivatives(self, states: ArrayLike) -> NDArray[Any]:
        """Derivatives of log psi by each parameter.

        Parameters
        ----------
        states : array-like, shape (n_states, n_sites)

        Returns
        -------
        ndarray of float64 or complex128, shape (n_states, n_parameters)

        Raises
        ------
        ValueError
            For states that are no spins, or another number of sites.
        """
        spins = as_spins(states, self.n_sites)
        tanh_theta = self._evaluate(spins, _single(self.n_sites), False).tanh_theta
        return log_derivatives(spins, tanh_theta, self.symmetric, self.biases)

    def sample(
        self,
        n_samples: int,
        *,
        n_chains: int = 16,
        n_burn_in: int = 100,
        n_sweeps: int = 1,
        rule: Literal["heat-bath", "metropolis"] = "heat-bath",
        magnetisation: int | None = None,
        random_state: Any = None,
    ) -> NDArray[np.int8]:
        """Draw states from the square of psi by chains.

        Parameters
        ----------
        n_samples : int
            States of each chain.
        n_chains : int, default=16
        n_burn_in : int, default=100
            Sweeps before the first state that is kept.
        n_sweeps : int, default=1
            Sweeps from one state to the next; a sweep has as many moves as there are sites, or pairs of neighbours.
        rule : {"heat-bath", "metropolis"}, default="heat-bath"
            Every move once, in order, drawn given all other spins; or moves at random, accepted by Metropolis' rule.
        magnetisation : int or None
            Sum of the spins, which neighbours that change places keep; None: single spins are turned.
        random_state : int, RandomState, Generator or None
            None goes on with the function's own draws, so repeated calls differ.

        Returns
        -------
        ndarray of int8, shape (n_chains, n_samples, n_sites)

        Raises
        ------
        ValueError
            For parameters that are none of these.
        """
        check_integer("n_samples", n_samples)
        check_integer("n_sweeps", n_sweeps)
        check_integer("n_burn_in", n_burn_in, 0)
        check_rule(rule)
        check_integer("n_chains", n_chains)
        Key.check(random_state)
        moves = _single(self.n_sites)
        if magnetisation is not None:
            check_integer("magnetisation", magnetisation, -self.n_sites, self.n_sites, otherwise="None")
            if (magnetisation + self.n_sites) % 2:
                raise ValueError(
                    f"magnetisation must be even or odd as n_sites = {self.n_sites} is, got {magnetisation}"
                )
            if self.n_sites < 2:
                raise ValueError("magnetisation needs at least 2 sites, which change places")
            site = np.arange(self.n_sites if self.n_sites > 2 else 1)
            moves = np.column_stack([site, (site + 1) % self.n_sites, np.full(len(site), -1)]).astype(np.int32)
        if random_state is None:
            self._calls += 1
            key = self._key.fold_in(_SAMPLES).fold_in(self._calls)
        else:
            key = Key.from_random_state(random_state).fold_in(_SAMPLES)
        chains = Chains(self.n_sites, n_chains, magnetisation, key, rule)
        kernel = self.kernel(moves)
        chains.sweep(kernel, n_burn_in)
        return chains.record(kernel, n_samples, n_sweeps)

    def as_model(self) -> Model:
        """Return the square of psi as a machine of Ising units, for the samplers and sums of the package.

        Each hidden unit is there twice, as psi^2 = exp(2 a.s) prod_j (2 cosh theta_j)^2.

        Returns
        -------
        Model

        Raises
        ------
        ValueError
            For complex parameters: the square of their magnitude is no such machine.
        """
        if self.dtype == np.complex128:
            raise ValueError(
                "as_model needs real parameters: |psi|^2 of complex ones is no restricted Boltzmann machine"
            )
        twice = np.tile(self.weights, (2, 1))
        return Model(twice, 2 * self.visible_bias, np.tile(self.hidden_bias, 2), visible="ising", hidden="ising")

    def _evaluate(self, states: ArrayLike, moves: NDArray[np.int32], ratios: bool) -> Evaluation:
        return self.kernel(moves).evaluate(as_spins(states, self.n_sites), ratios=ratios)


def _single(n_sites: int) -> NDArray[np.int32]:
    """Moves of one spin each."""
    return np.array([[site, -1, 0] for site in range(n_sites)], np.int32)
