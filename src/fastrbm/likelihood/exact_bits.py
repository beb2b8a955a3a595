"""Exact moments of two layers of bits for every minibatch: the same bits on all processors, and few calls.

Log weights of the states are free energies by fixed-point products, their exponentials are made of multiplications and
additions alone (`Backend.probabilities`), and the sums over states are sums of integers. No product goes through BLAS,
and no function that libraries choose by the processor is called.
"""

from __future__ import annotations

import numpy as np

from .._kernels import Backend, Parameters, Phase, on_host
from ._result import Moments
from .exact_rules import all_states

_BLOCK = 1 << 14  # states whose means are held at once


def applies_to(parameters: Parameters, units: tuple[str, str]) -> bool:
    """Whether the layers are bits of float32 parameters."""
    return units == ("bernoulli", "bernoulli") and parameters.weights.dtype == np.float32


def moments_of_bits(parameters: Parameters, backend: Backend) -> Moments:
    """Means under the model; the states of the smaller layer are listed, of the hidden one where both are of a size."""
    weights, other_bias, bias = parameters
    of_hidden = weights.shape[0] <= weights.shape[1]
    if not of_hidden:
        weights, other_bias, bias = np.ascontiguousarray(weights.T), bias, other_bias
    turned = Parameters(np.ascontiguousarray(weights.T), bias, other_bias)
    n_units, n_other = weights.shape
    n_states = 1 << n_units
    blocks = [all_states(n_units, first, min(_BLOCK, n_states - first)) for first in range(0, n_states, _BLOCK)]
    log_p = np.concatenate([-on_host(backend.free_energy("bernoulli", states, turned)) for states in blocks])
    p = backend.probabilities(log_p)
    of_both, of_other, of_layer = np.zeros((n_units, n_other)), np.zeros(n_other), np.zeros(n_units)
    for k, states in enumerate(blocks):
        means = backend.means("bernoulli", states, turned.weights, turned.hidden_bias)
        found = backend.moments(Phase(states, means, p[k * _BLOCK : (k + 1) * _BLOCK]), np.float32)
        of_both += found.weights.T
        of_other += found.hidden_bias
        of_layer += found.visible_bias
    if of_hidden:
        return Moments(of_other, of_layer, of_both)
    return Moments(of_layer, of_other, np.ascontiguousarray(of_both.T))
