"""Models at rising inverse temperatures, for chains that exchange their states: the form composed of single kernels."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bits import States, join_rows
from .datatypes import Drawn, Parameters
from .draws import Draw, Stream

if TYPE_CHECKING:
    from .contract import Backend


class Ladder(Protocol):
    """Two layers at rising inverse temperatures; a context, within which the temperatures and parameters stay.

    At beta the layers have the inputs beta (bias - base + W s) + base, the base of the hidden layer being 0. Row
    ``temperature * n_chains + chain`` of hidden states is a chain at that temperature.
    """

    def __enter__(self) -> Ladder: ...

    def __exit__(self, *error: object) -> None: ...

    def exchange(
        self, hidden: States, marks: NDArray[np.int8], first: int, log_u: NDArray[np.float64]
    ) -> tuple[States, NDArray[np.int8], NDArray[np.float64], NDArray[np.int64]]:
        """Exchange the states of neighbouring temperatures, the visible layer summed out.

        Parameters
        ----------
        hidden : PackedBits or ndarray, shape (n_temperatures * n_chains, n_hidden)
        marks : ndarray of int8, shape (n_temperatures * n_chains,)
            They travel with the states.
        first : {0, 1}
            Pairs are (first, first + 1), (first + 2, first + 3), ...; there must be one.
        log_u : ndarray, shape (n_pairs, n_chains)
            Logs of uniforms.

        Returns
        -------
        (hidden, marks, log_ratio, accepted) : tuple
            New arrays; logs of the ratios of probabilities, shape (n_pairs, n_chains), above which nothing is
            exchanged; and the number of exchanges of each pair.
        """
        ...

    def run_chains(self, hidden: States, draw: Draw, n_sweeps: int) -> tuple[Drawn, States]:
        """Gibbs sweeps at all temperatures as `Backend.run_chains`: visible states at the last one, all hidden ones.

        Row r of the hidden states is chain ``draw.first_chain + r``.
        """
        ...


class ComposedLadder:
    """`Ladder` of the kernels that every backend has.

    Parameters
    ----------
    backend : Backend
    parameters : Parameters
        At beta = 1.
    units : (visible unit, hidden unit)
    base : ndarray, shape (n_visible,)
    betas : ndarray of float64, shape (n_temperatures,)
    """

    def __init__(
        self,
        backend: Backend,
        parameters: Parameters,
        units: tuple[str, str],
        base: NDArray[Any],
        betas: NDArray[np.float64],
    ):
        self._backend, self._units = backend, units
        self._parameters, self._base, self._betas = parameters, base, betas.copy()
        self._models: list[Parameters] = []
        self._turned: list[Parameters] = []
        self._held = ExitStack()

    def __enter__(self) -> ComposedLadder:
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def _biases(self, beta: float) -> tuple[NDArray[Any], NDArray[Any]]:
        _, visible_bias, hidden_bias = self._parameters
        scale = visible_bias.dtype.type(beta)
        # the model itself to the last bit
        visible = visible_bias if beta == 1 else scale * (visible_bias - self._base) + self._base
        return visible, scale * hidden_bias

    def _hold(self, models: list[Parameters]) -> None:
        # what the backend makes of the weights serves all rounds
        self._held.enter_context(self._backend.holding(*(p.weights for p in models)))

    def exchange(
        self, hidden: States, marks: NDArray[np.int8], first: int, log_u: NDArray[np.float64]
    ) -> tuple[States, NDArray[np.int8], NDArray[np.float64], NDArray[np.int64]]:
        """See `Ladder.exchange`."""
        if not self._turned:  # models whose layers have changed places, for energies of hidden states
            weights = np.ascontiguousarray(self._parameters.weights.T)
            for beta in self._betas:
                visible, of_hidden = self._biases(beta)
                self._turned.append(Parameters(weights.dtype.type(beta) * weights, of_hidden, visible))
            self._hold(self._turned)
        n_pairs, n = log_u.shape
        log_ratio = np.empty((n_pairs, n))
        for pair in range(n_pairs):
            k = first + 2 * pair
            both = hidden[k * n : (k + 2) * n]
            hot, cold = (self._backend.free_energy(self._units[0], both, self._turned[j]) for j in (k, k + 1))
            gain = hot - cold  # -log f_k + log f_(k+1) of the hotter chains, then of the colder ones
            log_ratio[pair] = gain[:n] - gain[n:]
        accepted = log_u < log_ratio
        order = np.arange(len(marks))
        pairs = order[first * n : (first + 2 * n_pairs) * n].reshape(n_pairs, 2, n)
        pairs[...] = np.where(accepted[:, None], pairs[:, ::-1], pairs)
        return hidden[order], marks[order], log_ratio, accepted.sum(axis=1)

    def run_chains(self, hidden: States, draw: Draw, n_sweeps: int) -> tuple[Drawn, States]:
        """See `Ladder.run_chains`."""
        if not self._models:
            weights = self._parameters.weights
            for beta in self._betas:
                self._models.append(Parameters(weights.dtype.type(beta) * weights, *self._biases(beta)))
            self._hold(self._models)
        n, rows = hidden.shape[0] // len(self._betas), []
        for k, model in enumerate(self._models):
            start: Any = hidden[k * n : (k + 1) * n]
            at = draw._replace(stream=Stream.VISIBLE, first_chain=draw.first_chain + k * n)
            visible, states = self._backend.run_chains(start, model, self._units, at, n_sweeps)
            rows.append(states)
        return visible, join_rows(rows)
