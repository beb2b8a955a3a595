"""Free energy and pseudo-likelihood of the CPU backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ...units import Ising, get_unit
from ..bits import PackedBits, as_dense
from ..contract import Backend, Parameters, States
from ..exponentials import SERIES
from ..pseudo import pseudo_likelihood
from ..reference import ReferenceBackend
from . import layers as any_units
from .runtime import extension as _cpu
from .runtime import threads_for

#: specs of units whose layers are one native call
_FAST_UNITS = {"bernoulli"}


def is_native(unit: str) -> bool:
    """Whether a layer of `unit` is one native call; others go through `layers`."""
    return unit in _FAST_UNITS


def check_unit(unit: str, operation: str) -> None:
    """Raise unless the backend has native kernels for `unit`."""
    if not is_native(unit):
        raise ValueError(
            f"the cpu backend has {operation} for units {sorted(_FAST_UNITS)}, got {unit!r}; use device='reference'"
        )


def dense_blocks(states: States, dtype: Any, limit: int = 4 << 20) -> Iterator[slice]:
    """Row slices small enough that unpacked or intermediate copies stay below `limit` bytes."""
    step = max(128, limit // max(1, states.shape[1] * np.dtype(dtype).itemsize) // 128 * 128)
    for first in range(0, states.shape[0], step):
        yield slice(first, min(first + step, states.shape[0]))


class Scores(Backend):
    """The part of the backend that says how good states are; products come from the other."""

    n_threads: int | None

    @abstractmethod
    def _fixed(self, states: States, weights: NDArray[Any], transposed: bool = False) -> Any: ...

    @abstractmethod
    def _layer(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], transpose: bool, what: str
    ) -> NDArray[Any]: ...

    def free_energy(self, unit: str, states: States, parameters: Parameters) -> NDArray[np.float64]:
        """See `Backend.free_energy`."""
        if not is_native(unit):
            return any_units.free_energy(self, unit, states, parameters, self.n_threads)
        weights, visible_bias, hidden_bias = parameters
        energy = np.empty(states.shape[0])
        packed = isinstance(states, PackedBits) and states.shape[0]
        fixed = self._fixed(states, weights) if packed else None
        if fixed is not None:
            assert isinstance(states, PackedBits)
            threads = threads_for(float(states.shape[0]) * weights.size, self.n_threads)
            _cpu.run_rows(states.words, fixed, hidden_bias, False, threads, visible_bias=visible_bias, energy=energy)
            return energy
        for rows in dense_blocks(states, weights.dtype):
            v = as_dense(states[rows], weights.dtype)
            x = self._layer(v, weights, hidden_bias, False, "inputs")
            field = any_units.along(v, visible_bias, self.n_threads).astype(np.float64)
            energy[rows] = -field - np.logaddexp(0, x, dtype=np.float64).sum(axis=1)
        return energy

    def probabilities(self, log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Backend.probabilities`."""
        p = np.empty(len(log_weights))
        _cpu.exponentials(log_weights, log_weights.max(), SERIES, p)
        p /= p.sum()
        return p

    def pseudo_likelihood(
        self, unit: str, states: States, parameters: Parameters, visible: str = "bernoulli"
    ) -> NDArray[np.float64]:
        """See `Backend.pseudo_likelihood`: two layers of bits natively, others in NumPy.

        Bits of any weights take the same time, and no row counts for another. Ising hidden units are written as bits;
        Bernoulli visibles beside others than binary ones go through the reference.
        """
        if visible != "bernoulli":
            threads = threads_for(float(states.shape[0]) * parameters.weights.size, self.n_threads)
            with threadpool_limits(1, user_api="blas"):  # Python threads share the rows
                return pseudo_likelihood(visible, unit, states, parameters, threads)
        if not is_native(unit):
            if isinstance(get_unit(unit), Ising):
                return self.pseudo_likelihood("bernoulli", states, any_units.ising_as_bernoulli(parameters))
            return ReferenceBackend().pseudo_likelihood(unit, states, parameters)
        weights, visible_bias, hidden_bias = parameters
        score = np.zeros(states.shape[0])
        threads = threads_for(4.0 * score.size * weights.size, self.n_threads)
        for rows in dense_blocks(states, weights.dtype):
            part = states[rows]
            x = self._layer(part, weights, hidden_bias, False, "inputs")
            bits = part.words if isinstance(part, PackedBits) else None
            dense = None if isinstance(part, PackedBits) else as_dense(part, weights.dtype)
            _cpu.pseudo_likelihood(x, weights, visible_bias, bits, dense, score[rows], threads)
        return score
