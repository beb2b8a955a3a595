"""NumPy backend: every kernel in its plainest form, the oracle for the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..units import OneHot, get_unit, softplus
from .bits import PackedBits, as_dense, pack
from .changes import parts_of
from .contract import Backend, Drawn, Parameters, Phase, States
from .draws import Draw, uniforms
from .levels import GreyLevels, level_inputs, level_moments
from .pseudo import log_densities


class ReferenceBackend(Backend):
    """Kernels as their formulas, for any registered unit."""

    name = "reference"

    def inputs(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.inputs`."""
        if isinstance(states, GreyLevels) and weights.dtype == np.float32 and not transpose:
            exact = level_inputs(states, weights, bias)
            if exact is not None:
                return exact
        x = as_dense(states, weights.dtype)
        return x @ (weights if transpose else weights.T) + bias

    def means(
        self, unit: str, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.means`."""
        return get_unit(unit).mean(self.inputs(states, weights, bias, transpose=transpose))

    def samples(
        self,
        unit: str,
        states: States,
        weights: NDArray[Any],
        bias: NDArray[Any],
        draw: Draw,
        *,
        transpose: bool = False,
    ) -> Drawn:
        """See `Backend.samples`."""
        theta = self.inputs(states, weights, bias, transpose=transpose)
        drawn = get_unit(unit).sample(theta, uniforms(draw, theta.shape[0], theta.shape[1], theta.dtype))
        return pack(drawn) if get_unit(unit).packed else drawn

    def draw_bits(self, probabilities: NDArray[Any], draw: Draw) -> PackedBits:
        """See `Backend.draw_bits`."""
        p = as_dense(probabilities, np.float32)
        return pack(uniforms(draw, p.shape[0], p.shape[1], p.dtype) < p)

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """See `Backend.moments`."""
        v, h = as_dense(phase.visible, dtype), as_dense(phase.hidden, dtype)
        shares = (np.full(len(v), 1 / len(v)) if phase.shares is None else phase.shares).astype(dtype)
        weighted = shares[:, None] * h
        of_weights = weighted.T @ v
        if isinstance(phase.visible, GreyLevels) and dtype == np.float32:
            of_weights = level_moments(phase.visible, h, phase.shares)
        return Parameters(of_weights, shares @ v, weighted.sum(axis=0))

    def free_energy(self, unit: str, states: States, parameters: Parameters) -> NDArray[np.float64]:
        """See `Backend.free_energy`."""
        weights, visible_bias, hidden_bias = (x.astype(np.float64) for x in parameters)
        v = as_dense(states, np.float64).astype(np.float64)
        return -(v @ visible_bias) - get_unit(unit).cgf(v @ weights.T + hidden_bias).sum(axis=1)

    def pseudo_likelihood(
        self, unit: str, states: States, parameters: Parameters, visible: str = "bernoulli"
    ) -> NDArray[np.float64]:
        """See `Backend.pseudo_likelihood`."""
        if visible != "bernoulli":
            return self._pseudo_likelihood_of_any(visible, unit, states, parameters)
        weights, visible_bias, hidden_bias = (x.astype(np.float64) for x in parameters)
        v = as_dense(states, np.float64).astype(np.float64)
        x = v @ weights.T + hidden_bias
        cgf = get_unit(unit).cgf
        before = cgf(x).sum(axis=1)
        total = np.zeros(len(v))
        for i in range(v.shape[1]):
            flip = 1 - 2 * v[:, i]
            gain = flip * visible_bias[i] + cgf(x + flip[:, None] * weights[:, i]).sum(axis=1) - before
            total -= softplus(gain)
        return total

    def _pseudo_likelihood_of_any(
        self, visible: str, unit: str, states: States, parameters: Parameters
    ) -> NDArray[np.float64]:
        """Log softmax of minus the free energy over what a unit, or a one-hot group, can be; densities by integrals."""
        wide = Parameters(*(x.astype(np.float64) for x in parameters))
        v = as_dense(states, np.float64).astype(np.float64)
        total = np.zeros(len(v))
        for part, columns in parts_of(get_unit(visible), v.shape[1]):
            if not part.finite:
                total += log_densities(part, columns, unit, v, wide)
                continue
            size = part.n_classes or columns.stop - columns.start if isinstance(part, OneHot) else 1
            values = part.states(0, part.n_states(size), size)
            for first in range(columns.start, columns.stop, size):
                at = slice(first, first + size)
                terms = []
                for value in values:
                    other = v.copy()
                    other[:, at] = value
                    terms.append(part.base(other[:, at]) - self.free_energy(unit, other, wide))
                chosen = np.array([(v[:, at] == value).all(axis=1) for value in values])
                # no unit of a group is on where the entry is missing
                there = chosen.any(axis=0)
                total[there] += np.where(chosen, terms, 0).sum(axis=0)[there] - logsumexp(terms, axis=0)[there]
        return total
