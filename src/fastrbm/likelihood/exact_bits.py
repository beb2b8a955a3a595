"""Exact moments of two layers of bits for every minibatch: the same bits on all processors, and few calls.

Log weights of the states are free energies by fixed-point products (float64 ones by products in a fixed order), their
exponentials are made of multiplications and additions alone (`Backend.probabilities`), and the sums over states are
sums of integers or go in a fixed order. No product goes through BLAS, and no function that libraries choose by the
processor is called.
"""

from __future__ import annotations

import numpy as np

from .._kernels import BIT_UNITS, Backend, Parameters, Phase, on_host
from ..model import Model
from ._result import Moments
from .exact_rules import all_states, as_spins

_BLOCK = 1 << 14  # states whose means are held at once


def applies_to(units: tuple[str, str]) -> bool:
    """Whether the layers are bits, or spins, which are written as bits."""
    return BIT_UNITS.issuperset(units)


def moments_of_bits(parameters: Parameters, units: tuple[str, str], backend: Backend) -> Moments:
    """Means under the model; the states of the smaller layer are listed, of the hidden one where both are of a size."""
    if "ising" in units:
        parameters = Model(*parameters, *units).as_bernoulli()[0].parameters
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
        found = backend.moments(Phase(states, means, p[k * _BLOCK : (k + 1) * _BLOCK]), weights.dtype)
        of_both += found.weights.T
        of_other += found.hidden_bias
        of_layer += found.visible_bias
    if of_hidden:
        return as_spins(Moments(of_other, of_layer, of_both), units)
    return as_spins(Moments(of_layer, of_other, np.ascontiguousarray(of_both.T)), units)
