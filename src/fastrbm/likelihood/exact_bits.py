"""Exact moments of two layers of bits for every minibatch: the same bits on all processors, and few calls.

Log weights of the states are free energies by fixed-point products, their exponentials are made of multiplications and
additions alone, and the sums over states are sums of integers. No product goes through BLAS, and no function that
libraries choose by the processor is called.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, Parameters, Phase, on_host
from ._result import Moments
from .exact_rules import Plan, all_states

_BLOCK = 1 << 14  # states whose means are held at once
#: (ln 2)^k / k!, from the 12th on: remainder of the series 2e-16 for |f| <= 1/2
_SERIES = (
    2.5678435993488205e-11, 4.445538271870811e-10, 7.054911620801121e-09, 1.0178086009239696e-07,
    1.3215486790144305e-06, 1.5252733804059838e-05, 1.540353039338161e-04, 1.3333558146428443e-03,
    9.618129107628477e-03, 5.550410866482158e-02, 2.402265069591007e-01, 6.931471805599453e-01, 1.0,
)  # fmt: skip


def applies_to(plan: Plan) -> bool:
    """Whether the layers are bits of float32 parameters."""
    return plan.model.units == ("bernoulli", "bernoulli") and plan.model.weights.dtype == np.float32


def exponentials(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^x for x <= 0, by operations that are rounded alike everywhere."""
    t = np.maximum(x * 1.4426950408889634, -1000.0)
    whole = np.rint(t)
    f = t - whole
    p = np.full_like(f, _SERIES[0])
    for c in _SERIES[1:]:
        p = p * f + c
    return np.ldexp(p, whole.astype(np.int32))


def moments_of_bits(plan: Plan, backend: Backend) -> Moments:
    """Means under the model; the states of ``plan.layer`` are listed."""
    weights, other_bias, bias = plan.model.parameters
    turned = Parameters(np.ascontiguousarray(weights.T), bias, other_bias)
    n_units, n_other = weights.shape
    n_states = 1 << n_units
    blocks = [all_states(n_units, first, min(_BLOCK, n_states - first)) for first in range(0, n_states, _BLOCK)]
    log_p = np.concatenate([-on_host(backend.free_energy("bernoulli", states, turned)) for states in blocks])
    p = exponentials(log_p - log_p.max())
    p /= p.sum()
    of_both, of_other, of_layer = np.zeros((n_units, n_other)), np.zeros(n_other), np.zeros(n_units)
    for k, states in enumerate(blocks):
        means = backend.means("bernoulli", states, turned.weights, turned.hidden_bias)
        found = backend.moments(Phase(states, means, p[k * _BLOCK : (k + 1) * _BLOCK]), np.float32)
        of_both += found.weights.T
        of_other += found.hidden_bias
        of_layer += found.visible_bias
    if plan.layer == "hidden":
        return Moments(of_other, of_layer, of_both)
    return Moments(of_layer, of_other, np.ascontiguousarray(of_both.T))
