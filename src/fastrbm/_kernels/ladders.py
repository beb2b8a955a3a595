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

    def energies(self, hidden: States, first: int) -> NDArray[np.float64]:
        """Free energies of hidden states, the visible layer summed out, for the exchange of neighbours.

        Parameters
        ----------
        hidden : PackedBits or ndarray, shape (n_temperatures * n_chains, n_hidden)
        first : {0, 1}
            Pairs are (first, first + 1), (first + 2, first + 3), ...

        Returns
        -------
        ndarray, shape (n_pairs, 2, 2 * n_chains)
            For the hotter temperature of a pair and the colder one: of its hotter chains, then of the colder ones.
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

    def energies(self, hidden: States, first: int) -> NDArray[np.float64]:
        """See `Ladder.energies`."""
        if not self._turned:  # models whose layers have changed places, for energies of hidden states
            weights = np.ascontiguousarray(self._parameters.weights.T)
            for beta in self._betas:
                visible, of_hidden = self._biases(beta)
                self._turned.append(Parameters(weights.dtype.type(beta) * weights, of_hidden, visible))
            self._hold(self._turned)
        n, found = hidden.shape[0] // len(self._betas), []
        for k in range(first, len(self._betas) - 1, 2):
            both = hidden[k * n : (k + 2) * n]
            found.append([self._backend.free_energy(self._units[0], both, self._turned[j]) for j in (k, k + 1)])
        return np.array(found).reshape(-1, 2, 2 * n)

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
