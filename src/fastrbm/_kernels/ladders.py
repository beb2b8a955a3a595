"""Models whose chains exchange states, at rising inverse temperatures or any others, composed of single kernels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Self

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


def turned(model: Parameters) -> Parameters:
    """Model whose layers have changed places: its free energies are those of hidden states."""
    return Parameters(model.weights.T.copy(), model.hidden_bias, model.visible_bias)


def count_trips(first: NDArray[np.int8], last: NDArray[np.int8]) -> int:
    """Mark the states at both ends of a ladder, in place; return how many have just come back to the last model.

    Marks are 1 when last at the last model, 2 when at the first one since, 0 before.
    """
    first[first == 1] = 2
    trips = int(np.count_nonzero(last == 2))
    last[:] = 1
    return trips


class ModelLadder:
    """`Ladder` of any models of equal shape and units, of the kernels that every backend has.

    Parameters
    ----------
    backend : Backend
    units : (visible unit, hidden unit)
    models : sequence of Parameters
        Neighbours exchange states.
    """

    def __init__(self, backend: Backend, units: tuple[str, str], models: Sequence[Parameters]):
        self._backend, self._units, self._models = backend, units, list(models)
        self._turned: list[Parameters] = []
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self._hold(self._models)
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def _hold(self, models: list[Parameters]) -> None:
        # what the backend makes of the weights serves all rounds
        self._held.enter_context(self._backend.holding(*(p.weights for p in models)))

    def _make_turned(self) -> list[Parameters]:
        return [turned(model) for model in self._models]

    def gains(self, states: States, first: int) -> NDArray[np.float64]:
        """Log f of the next model minus log f of this one, of hidden states, the visible layer summed out.

        Parameters
        ----------
        states : PackedBits or ndarray, shape (n_states, n_hidden)
        first : int
            Number of the model.

        Returns
        -------
        ndarray, shape (n_states,)
        """
        if not self._turned:
            self._turned = self._make_turned()
            self._hold(self._turned)
        here, there = (self._backend.free_energy(self._units[0], states, self._turned[first + j]) for j in (0, 1))
        return here - there

    def exchange(
        self, hidden: States, marks: NDArray[np.int8], first: int, log_u: NDArray[np.float64]
    ) -> tuple[States, NDArray[np.int8], NDArray[np.float64], NDArray[np.int64]]:
        """See `Ladder.exchange`."""
        n_pairs, n = log_u.shape
        log_ratio = np.empty((n_pairs, n))
        for pair in range(n_pairs):
            k = first + 2 * pair
            gain = self.gains(hidden[k * n : (k + 2) * n], k)  # of the hotter chains, then of the colder ones
            log_ratio[pair] = gain[:n] - gain[n:]
        accepted = log_u < log_ratio
        order = np.arange(len(marks))
        pairs = order[first * n : (first + 2 * n_pairs) * n].reshape(n_pairs, 2, n)
        pairs[...] = np.where(accepted[:, None], pairs[:, ::-1], pairs)
        return hidden[order], marks[order], log_ratio, accepted.sum(axis=1)

    def run_chains(self, hidden: States, draw: Draw, n_sweeps: int) -> tuple[Drawn, States]:
        """See `Ladder.run_chains`."""
        n, rows = hidden.shape[0] // len(self._models), []
        for k, model in enumerate(self._models):
            start: Any = hidden[k * n : (k + 1) * n]
            at = draw._replace(stream=Stream.VISIBLE, first_chain=draw.first_chain + k * n)
            visible, states = self._backend.run_chains(start, model, self._units, at, n_sweeps)
            rows.append(states)
        return visible, join_rows(rows)


class ComposedLadder(ModelLadder):
    """One model at several inverse temperatures.

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
        weights, visible_bias, hidden_bias = parameters
        models = []
        for beta in betas:
            scale = weights.dtype.type(beta)
            # the model itself to the last bit
            visible = visible_bias if beta == 1 else scale * (visible_bias - base) + base
            models.append(Parameters(scale * weights, visible, scale * hidden_bias))
        super().__init__(backend, units, models)
