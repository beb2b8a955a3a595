"""How a pair of unit types is summed over: the table of exact sums.

Each rule lists the states of one layer and sums the other one out in closed form. Which layer is listed is decided by
`choose`; rules see the model transposed so that it is the hidden one. `RULES` has the faster ways; every other layer
whose states can be listed takes the generic rule, whatever the other layer is.

A model of which one layer can be listed has a finite partition sum whatever the weights: it is a sum of finitely many
terms. Two layers with real-valued units (Gaussian, ReLU, mixed with these) have one if the singular values of the
weights between the real-valued units are below 1, since the energy then grows in all directions. Two Gaussian layers
have one only then; for them log Z is known in closed form. With ReLU units, which leave only some directions, that is
sufficient but not necessary, and there is no closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, PackedBits, get_backend
from .._kernels.partition import BLOCK_VALUES, log_sum_of_blocks
from ..model import Model
from ..units import get_unit
from ._result import Moments

_BLOCK = 4096  # states whose means are held at once
_LOW_UNITS = 9  # units whose states are one side of a product, in the quadratic rule

Progress = Callable[[int, int], None] | None
Terms = NDArray[np.float64] | None


@dataclass(frozen=True)
class Rule:
    """Exact sum over one pair of unit types.

    Attributes
    ----------
    log_sum : callable
        (transposed model, backend, dtype of products, terms or None, progress) -> log Z. Terms, one for each state of
        the hidden layer, are filled with the log weights of the states.
    moments : callable
        (transposed model, probabilities of the hidden states, backend) -> Moments of the transposed model.
    seconds : callable
        (transposed model, backend) -> rough time.
    lists : bool
        False when no states are listed: there are no terms.
    """

    log_sum: Callable[[Model, Backend, Any, Terms, Progress], float]
    moments: Callable[[Model, NDArray[np.float64], Backend], Moments]
    seconds: Callable[[Model, Backend], float]
    lists: bool = True


class Plan(NamedTuple):
    """How the exact sum of a model is done; `choose` makes it, once a call.

    Attributes
    ----------
    layer : str
        The one whose states are listed: "hidden" or "visible".
    rule : Rule
    model : Model
        With `layer` in the place of the hidden one.
    """

    layer: str
    rule: Rule
    model: Model

    @property
    def units(self) -> tuple[str, str]:
        """(visible, hidden) units of the model as it was given."""
        return self.model.units if self.layer == "hidden" else self.model.units[::-1]

    @property
    def n_units(self) -> int:
        """Number of units of the layer that is listed."""
        return len(self.model.hidden_bias)

    @property
    def log2_states(self) -> float:
        """Log to base 2 of the number of states that are listed."""
        return log2_states(self.model, "hidden")

    def seconds(self, backend: Backend) -> float:
        """Rough time of the sum."""
        return self.rule.seconds(self.model, backend)


def transposed(model: Model, layer: str) -> Model:
    """Model with `layer` in the place of the hidden one."""
    if layer == "hidden":
        return model
    weights, visible_bias, hidden_bias = model.parameters
    return Model(np.ascontiguousarray(weights.T), hidden_bias, visible_bias, *model.units[::-1])


def wide(model: Model) -> Model:
    """Return the model with parameters in float64."""
    if model.weights.dtype == np.float64:
        return model
    weights, visible_bias, hidden_bias = (x.astype(np.float64) for x in model.parameters)
    return Model(weights, visible_bias, hidden_bias, *model.units)


def log2_states(model: Model, layer: str) -> float:
    """Log to base 2 of the number of states of a layer."""
    return get_unit(getattr(model, layer)).log2_states(model.weights.shape[0 if layer == "hidden" else 1])


# ---- binary layers: the kernels of the backend ------------------------------------------------------------------


#: kernels keep the exponents of weights to base 2 as integers of 64 bits; where energies may reach this they are summed
#: in NumPy
_LARGEST_ENERGY = 2.0**50


def _sum_of_bits(model: Model, backend: Backend, dtype: Any, terms: Terms, progress: Progress) -> float:
    with np.errstate(over="ignore"):
        bound = sum(float(np.abs(x, dtype=np.float64).sum()) for x in model.parameters)
    if not bound < _LARGEST_ENERGY:
        backend, dtype = get_backend("reference"), np.float64
    return backend.log_partition_sum(
        model.parameters, model.units, dtype=dtype, log_weights=terms, on_progress=progress
    )


def all_states(n_units: int, first: int, count: int) -> PackedBits:
    """States first, first + 1, ... of a layer of bits: unit k is bit k."""
    return PackedBits(np.arange(first, first + count, dtype=np.uint64)[:, None], n_units)


def _moments_of_bits(model: Model, p: NDArray[np.float64], backend: Backend) -> Moments:
    """Conditional means have the type of the weights, sums over states are float64."""
    weights, bias, _ = model.parameters
    n_units, n_other = weights.shape
    of_both, of_other, of_layer = np.zeros(weights.shape), np.zeros(n_other), np.zeros(n_units)
    for first in range(0, len(p), _BLOCK):
        states = all_states(n_units, first, min(_BLOCK, len(p) - first))
        share = p[first : first + len(states)]
        means = backend.means(model.visible, states, weights, bias, transpose=True)
        s = states.dense(weights.dtype)
        weighted = np.ascontiguousarray((s * share[:, None].astype(s.dtype)).T)
        of_both += weighted @ means
        of_other += share @ means
        of_layer += weighted.sum(axis=1, dtype=np.float64)
    return Moments(of_other, of_layer, of_both)


def _n_states(model: Model) -> float:
    """States of the hidden layer; a number as large as any where there are more."""
    return float(2.0 ** min(log2_states(model, "hidden"), 1000))


def _seconds_of_states(model: Model, backend: Backend) -> float:
    return backend.seconds_for_states(model.units, _n_states(model), model.weights.shape[1], model.weights.dtype)


def _sum_of_spins(model: Model, backend: Backend, dtype: Any, terms: Terms, progress: Progress) -> float:
    # in float64: rounding the new biases to float32 would cost digits that the sum has
    bits, constant = wide(model).as_bernoulli()
    value = _sum_of_bits(bits, backend, dtype, terms, progress) - constant
    if terms is not None:
        terms -= constant
    return value


def _moments_of_spins(model: Model, p: NDArray[np.float64], backend: Backend) -> Moments:
    return as_spins(_moments_of_bits(model.as_bernoulli()[0], p, backend), model.units)


def as_spins(moments: Moments, units: tuple[str, str]) -> Moments:
    """Means of layers of spins (Ising), where they are, from those of the bits they are written as."""
    if "ising" not in units:
        return moments
    visible, hidden, of_both = moments
    (sv, ov), (sh, oh) = ((2, -1) if unit == "ising" else (1, 0) for unit in units)
    of_both = sh * sv * of_both + (sh * ov * hidden)[:, None] + oh * sv * visible + oh * ov
    return Moments(sv * visible + ov, sh * hidden + oh, of_both)


# ---- any layer whose states can be listed -----------------------------------------------------------------------


def _sum_by_states(model: Model, backend: Backend, dtype: Any, terms: Terms, progress: Progress) -> float:
    """Sum over the L states of a one-hot layer: a state picks its row of the weights."""
    weights, visible_bias, hidden_bias = wide(model).parameters
    cgf = get_unit(model.visible).cgf

    def block(first: int, stop: int) -> NDArray[np.float64]:
        return hidden_bias[first:stop] + cgf(weights[first:stop] + visible_bias).sum(axis=1)

    step = max(1, BLOCK_VALUES // len(visible_bias))
    return log_sum_of_blocks(block, len(hidden_bias), step, terms, progress)


def _sum_of_any(model: Model, backend: Backend, dtype: Any, terms: Terms, progress: Progress) -> float:
    """Sum in float64: there are no native kernels for these units."""
    return _sum_of_bits(model, backend, np.float64, terms, progress)


def _moments_by_states(model: Model, p: NDArray[np.float64], backend: Backend) -> Moments:
    """Add up means over all states, in float64 throughout."""
    weights, visible_bias, _ = wide(model).parameters
    visible, hidden = get_unit(model.visible), get_unit(model.hidden)
    n_units, n_other = weights.shape
    of_both, of_other, of_layer = np.zeros(weights.shape), np.zeros(n_other), np.zeros(n_units)
    step = max(1, min(_BLOCK, BLOCK_VALUES // max(n_units, n_other)))
    for first in range(0, len(p), step):
        share = p[first : first + step]
        s = hidden.statistics(hidden.states(first, first + len(share), n_units))
        means = visible.mean(s @ weights + visible_bias)
        weighted = s.T * share
        of_both += weighted @ means
        of_other += share @ means
        of_layer += weighted.sum(axis=1)
    return Moments(of_other, of_layer, of_both)


# ---- Gaussian layers --------------------------------------------------------------------------------------------


def _sum_of_quadratic(model: Model, backend: Backend, dtype: Any, terms: Terms, progress: Progress) -> float:
    r"""Sum over binary h with the Gaussian layer integrated out.

    log Z = n_v / 2 log(2 pi) + \|a\|^2 / 2 + logsumexp over h of q(h), q(h) = h.(b + W a) + h.(W W^T) h / 2. With h
    cut into low and high units q(h) = q(low) + q(high) + high.(W W^T) low: a state costs as many operations as there
    are high units, whatever the size of the Gaussian layer.
    """
    weights, visible_bias, hidden_bias = wide(model).parameters
    n_hidden, n_visible = weights.shape
    field, quadratic = hidden_bias + weights @ visible_bias, weights @ weights.T
    unit, cut = get_unit(model.hidden), min(n_hidden, _LOW_UNITS)
    constant = 0.5 * (n_visible * math.log(2 * math.pi) + float(visible_bias @ visible_bias))

    def q(h: NDArray[np.float64], units: slice) -> NDArray[np.float64]:
        return h @ field[units] + 0.5 * np.einsum("nj,nj->n", h @ quadratic[units, units], h)

    low = unit.states(0, 1 << cut, cut)
    of_low, coupling = constant + q(low, slice(cut)), quadratic[cut:, :cut] @ low.T

    def block(first: int, stop: int) -> NDArray[np.float64]:
        high = unit.states(first >> cut, stop >> cut, n_hidden - cut)
        return (high @ coupling + q(high, slice(cut, None))[:, None] + of_low).ravel()

    total = 1 << n_hidden
    return log_sum_of_blocks(block, total, min(total, BLOCK_VALUES), terms, progress)


def _moments_of_quadratic(model: Model, p: NDArray[np.float64], backend: Backend) -> Moments:
    """<v | h> = a + W^T h is linear, so <h> and <h h^T> say everything."""
    weights, visible_bias, _ = wide(model).parameters
    n_units, unit = len(weights), get_unit(model.hidden)
    second, first_moment = np.zeros((n_units, n_units)), np.zeros(n_units)
    for first in range(0, len(p), _BLOCK):
        share = p[first : first + _BLOCK]
        s = unit.states(first, first + len(share), n_units)
        second += (s.T * share) @ s
        first_moment += share @ s
    visible = visible_bias + first_moment @ weights
    return Moments(visible, first_moment, np.outer(first_moment, visible_bias) + second @ weights)


def _seconds_of_quadratic(model: Model, backend: Backend) -> float:
    n_hidden = model.weights.shape[0]
    return _n_states(model) * (n_hidden + 20) / _QUADRATIC_RATE


_QUADRATIC_RATE = 1e10  # units times states a second; measured


def check_precision(model: Model) -> NDArray[np.float64]:
    """Cholesky factor of I - W W^T, the inverse covariance of Gaussian hidden units; ValueError if it is none."""
    weights = wide(model).weights
    try:
        return np.linalg.cholesky(np.eye(len(weights)) - weights @ weights.T)
    except np.linalg.LinAlgError:
        raise ValueError(
            "a model of two Gaussian layers is not normalisable (its partition sum is infinite) unless the singular "
            f"values of weights are below 1, got {np.linalg.norm(weights, 2):.6g}"
        ) from None


def _sum_of_normal(model: Model, backend: Backend, dtype: Any, terms: Terms, progress: Progress) -> float:
    """Log Z = n / 2 log(2 pi) + (|a|^2 + c.M^-1 c - log det M) / 2 with c = b + W a, M = I - W W^T and n all units."""
    weights, a, b = wide(model).parameters
    root = check_precision(model)
    whitened = np.linalg.solve(root, b + weights @ a)
    log_det = 2 * float(np.log(np.diag(root)).sum())
    return 0.5 * (sum(weights.shape) * math.log(2 * math.pi) + float(a @ a + whitened @ whitened) - log_det)


def _moments_of_normal(model: Model, p: NDArray[np.float64], backend: Backend) -> Moments:
    """<h> = M^-1 c, <v> = a + W^T <h>, and the covariance of h and v is M^-1 W."""
    weights, a, b = wide(model).parameters
    root = check_precision(model)
    inverse = np.linalg.inv(root).T @ np.linalg.inv(root)
    hidden = inverse @ (b + weights @ a)
    visible = a + weights.T @ hidden
    return Moments(visible, hidden, inverse @ weights + np.outer(hidden, visible))


def _seconds_of_normal(model: Model, backend: Backend) -> float:
    n_hidden, n_visible = model.weights.shape
    return float(n_hidden) ** 2 * (n_hidden + n_visible) / 1e9


# ---- the table --------------------------------------------------------------------------------------------------

_BITS = Rule(_sum_of_bits, _moments_of_bits, _seconds_of_states)
_SPINS = Rule(_sum_of_spins, _moments_of_spins, _seconds_of_states)
_ONE_OF = Rule(_sum_by_states, _moments_by_states, _seconds_of_states)
_QUADRATIC = Rule(_sum_of_quadratic, _moments_of_quadratic, _seconds_of_quadratic)
_NORMAL = Rule(_sum_of_normal, _moments_of_normal, _seconds_of_normal, lists=False)
_GENERIC = Rule(_sum_of_any, _moments_by_states, _seconds_of_states)

#: (unit that is summed out, unit whose states are listed)
RULES = {
    ("bernoulli", "bernoulli"): _BITS,
    ("bernoulli", "ising"): _SPINS,
    ("ising", "bernoulli"): _SPINS,
    ("ising", "ising"): _SPINS,
    ("bernoulli", "onehot"): _ONE_OF,
    ("ising", "onehot"): _ONE_OF,
    ("gaussian", "onehot"): _ONE_OF,
    ("onehot", "onehot"): _ONE_OF,
    ("gaussian", "bernoulli"): _QUADRATIC,
    ("gaussian", "ising"): _QUADRATIC,
    ("gaussian", "gaussian"): _NORMAL,
}


def rule_of(model: Model, layer: str) -> Rule | None:
    """Rule that lists the states of `layer`, or None."""
    units = model.units if layer == "hidden" else model.units[::-1]
    if units in RULES:
        return RULES[units]
    return _GENERIC if get_unit(units[1]).finite else None


def choose(model: Model, layer: str | None = None) -> Plan:
    """Choose the layer whose states are listed, and how: the one with fewer states, the hidden one of equal ones.

    ValueError where nothing can be listed and there is no closed form, also of a `layer` that is asked for.
    """
    if layer is not None:
        rule = rule_of(model, layer)
        if rule is None:
            raise ValueError(f"there is no sum over the states of the {layer} layer for units {model.units}")
        return Plan(layer, rule, transposed(model, layer))
    found = []
    for n_units, layer in zip(model.weights.shape, ("hidden", "visible"), strict=True):
        rule = rule_of(model, layer)
        if rule is not None:
            found.append((rule is _GENERIC, log2_states(model, layer), n_units, layer, rule))
    if not found:
        raise ValueError(
            f"there is no exact sum for units {model.units}: the states of neither layer can be listed, and of two "
            "layers with real-valued units only Gaussian ones have a closed form"
        )
    *_, layer, rule = min(found, key=lambda entry: entry[:3])
    return Plan(layer, rule, transposed(model, layer))
