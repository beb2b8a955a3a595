"""The machines of a stack: how they are made, started and drawn from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from .._checks import is_integer, warn_user
from .._estimator.fitting import Fitting
from .._kernels import PackedBits, get_backend
from .._kernels.draws import Draw, Key
from ..classifiers import _parts
from ..estimators import BernoulliRBM, GaussianRBM
from ..init import FanIn, Initializer, Start, get_initializer
from ..model import Model


def default_rbm() -> BernoulliRBM:
    """The machine that widths stand for, where rows are bits or grey."""
    return BernoulliRBM(
        500,
        algorithm="cd",
        learning_rate=0.1,
        n_iter=10,
        init=FanIn(1.0),
        visible_bias="data",
        stochastic_input=True,
    )


def default_gaussian_rbm() -> GaussianRBM:
    """The machine that the first width stands for, where rows are real numbers."""
    return GaussianRBM(500, sigma="data", algorithm="cd", learning_rate=0.001, n_iter=20, init=FanIn(1.0))


def check_layers(layers: Any, rbm: Any) -> None:
    """Raise unless they are widths and machines, and the machine for widths is one."""
    _parts.check_rbm(rbm)
    if isinstance(layers, str) or not isinstance(layers, (Sequence, np.ndarray)) or len(layers) == 0:
        raise TypeError(f"layers must be a list of widths or estimators of fastrbm, lowest first, got {layers!r}")
    for k, one in enumerate(layers):
        if is_integer(one):
            if one < 1:
                raise ValueError(f"layers must have widths of at least 1, got {one} at {k}")
        elif isinstance(one, type) or not isinstance(one, Fitting):
            raise TypeError(
                f"layers must be widths or estimators of fastrbm, such as BernoulliRBM(), got {one!r} at {k}"
            )


def machines(layers: Any, rbm: Any, x: Any) -> list[Any]:
    """Unfitted machines for rows x, whose results are arrays."""
    found = []
    for k, one in enumerate(layers):
        if not is_integer(one):
            made = clone(one)
        else:
            made = clone(rbm) if rbm is not None else None
            if made is None or (k and made.units[0] != "bernoulli"):
                made = default_rbm() if k or _parts.is_grey(x) else default_gaussian_rbm()
            made.set_params(n_components=int(one))
        found.append(made.set_output(transform="default"))
    return found


class Transposed(Initializer):
    """Weights and biases of the machine below, upside down.

    Parameters
    ----------
    rbm : estimator
        Fitted.
    """

    def __init__(self, rbm: Any):
        self.rbm = rbm

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """See `Initializer.weights`."""
        model = self.rbm.model_
        weights, visible_bias, hidden_bias = (x.astype(np.float64) for x in model.parameters)
        return Start(np.ascontiguousarray(weights.T), hidden_bias, visible_bias)


@contextmanager
def rows_of_layer(number: int) -> Iterator[None]:
    """Within the block, what a machine says about the range of X is said about the hidden means that it is given.

    Parameters
    ----------
    number : int
        Of the hidden layer, 1 for the lowest; 0 leaves all as it is, as X is what the machine is given then.
    """
    if not number:
        yield
        return
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            yield
    except ValueError as error:
        if _RANGE.match(str(error)) is None:
            raise
        raise ValueError(_in_terms_of(number, str(error))) from error
    finally:
        for one in found:
            warn_user(_in_terms_of(number, str(one.message)), one.category)


_RANGE = re.compile(r"X (?:must|should) hold values in \[0, 1\].*?(got values from .* in column \d+).*", re.DOTALL)


def _in_terms_of(number: int, text: str) -> str:
    match = _RANGE.match(text)
    if match is None:
        return text
    return (
        f"the hidden means of layer {number} should be in [0, 1] for layer {number + 1}, whose visible units are "
        f"Bernoulli ones, {match[1]}. Take a machine with other visible units for layer {number + 1} "
        "(GaussianRBM(sigma='data')), or say what is meant by its out_of_range='allow'"
    )


def fits_upside_down(lower: Any, upper: Any, n_visible: int) -> bool:
    """Whether a machine may start as the one below upside down."""
    return upper.n_components == n_visible and upper.units == lower.units[::-1] and upper.temperature == 1


def fit_stack(stack: list[Any], x: Any, weights: NDArray[Any] | None = None, *, tied: bool) -> None:
    """Fit machines one after the other, each to the hidden means of the one below."""
    below, n_tied = x, 0
    for k, rbm in enumerate(stack):
        start = rbm.init
        if tied and k and fits_upside_down(stack[k - 1], rbm, stack[k - 1].components_.shape[1]):
            n_tied += 1
            rbm.set_params(init=get_initializer(Transposed(stack[k - 1])))
        try:
            with rows_of_layer(k):
                rbm.fit(below, **_parts.weighted(weights))
        finally:
            rbm.set_params(init=start)
        if k + 1 < len(stack):
            with rows_of_layer(k):
                below = rbm.transform(below)
            if np.asarray(below).dtype != np.float32 and rbm.components_.dtype == np.float32:
                below = below.astype(np.float32)
    if tied and not n_tied:
        raise ValueError(
            "tied must be False where no machine has as many hidden units as the one below has visible ones, of the "
            f"same types, got hidden units {[rbm.n_components for rbm in stack]} over {x.shape[1]} columns"
        )


def visible_given(rbm: Any, hidden: NDArray[Any], draw: Draw | None) -> NDArray[Any]:
    """States of the visible layer drawn given the hidden one, or its means where `draw` is None; in its own scale."""
    model, backend = rbm.model_, get_backend(rbm.device, rbm.n_threads)
    h = np.ascontiguousarray(hidden, dtype=model.weights.dtype)
    if draw is None:
        values: Any = model.mean_visible(h, backend)
    else:
        values = backend.samples(model.visible, h, model.weights, model.visible_bias, draw, transpose=True)
    if isinstance(values, PackedBits):
        values = 2 * values.dense(np.int8) - 1 if model.visible == "ising" else values.dense()
    sigma = getattr(rbm, "sigma_", None)
    return values if sigma is None else values * sigma.astype(values.dtype)


def log_sum_over_visible(rbm: Any, hidden: NDArray[Any]) -> NDArray[np.float64]:
    """Log of the sum over visible states of exp(-energy), at hidden states."""
    model = rbm.model_
    turned = Model(model.weights.T, model.hidden_bias, model.visible_bias, model.hidden, model.visible)
    return -turned.free_energy(hidden, get_backend(rbm.device, rbm.n_threads))
