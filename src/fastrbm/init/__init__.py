"""Where training starts: weights and biases of a new model.

An initialiser has ``weights(n_hidden, n_visible, key, units)``, which returns the weights and, where it has an opinion,
the biases. `get_initializer` resolves what an estimator's option ``init`` may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._checks import check_number
from .._kernels.draws import Key
from ..units import Binomial, Mixed, get_unit
from ._layer_correlation import HIDDEN, lc_beta, lc_scale

__all__ = [
    "FanIn",
    "Given",
    "Initializer",
    "LayerCorrelation",
    "Normal",
    "Start",
    "Xavier",
    "data_bias",
    "get_initializer",
    "lc_beta",
    "lc_scale",
]


class Start(NamedTuple):
    """Weights and biases that training starts from, as an initialiser returns them.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_hidden, n_visible)
    visible_bias : ndarray of float64, shape (n_visible,), or None
        None leaves it to the caller, whose choice is zeros or `data_bias`.
    hidden_bias : ndarray of float64, shape (n_hidden,), or None
    """

    weights: NDArray[np.float64]
    visible_bias: NDArray[np.float64] | None = None
    hidden_bias: NDArray[np.float64] | None = None


# ---- initialisers -----------------------------------------------------------------------------------------------


class Initializer(BaseEstimator):
    """Contract of an initialiser. Subclasses keep their options as given, so that `get_params` and `clone` work."""

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """Make the weights and biases to start from.

        Parameters
        ----------
        n_hidden, n_visible : int
        key : Key
            Of the draws (stream WEIGHTS).
        units : (visible unit, hidden unit)

        Returns
        -------
        Start
        """
        raise TypeError(f"{type(self).__name__} does not define weights")


class Normal(Initializer):
    """Normal weights of a fixed standard deviation.

    Parameters
    ----------
    scale : float, default=0.01
        Not negative. 0.01 is scikit-learn's and the usual choice (Hinton, "A practical guide to training restricted
        Boltzmann machines", UTML TR 2010-003, section 8).
    """

    def __init__(self, scale: float = 0.01):
        self.scale = scale

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("scale", self.scale, 0)

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """See `Initializer.weights`."""
        self.validate()
        return Start(key.normal((n_hidden, n_visible), self.scale))


class Xavier(Initializer):
    """Normal weights of standard deviation sqrt(2 / (n_visible + n_hidden)).

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010,
    equation 12.
    """

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """See `Initializer.weights`."""
        return Start(key.normal((n_hidden, n_visible), math.sqrt(2 / (n_visible + n_hidden))))


class FanIn(Initializer):
    """Normal weights of standard deviation gain / sqrt(n_visible): inputs of hidden units do not grow with the layer.

    Parameters
    ----------
    gain : float, default=1.0
        Not negative. 1 is the usual choice for networks; 2 to 4 make hidden units differ from the start, which
        features for classifiers gain by.

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", in Neural Networks: Tricks of the Trade, 1998, section 4.6.
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("gain", self.gain, 0)

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """See `Initializer.weights`."""
        self.validate()
        return Start(key.normal((n_hidden, n_visible), self.gain / math.sqrt(n_visible)))


class LayerCorrelation(Initializer):
    """Normal weights of the size at which the layers tell most about each other; see `lc_beta`.

    The theory is for visible spins s of -1 and +1. A visible layer x of 0 and 1 gets the model of s = 2 x - 1: weights
    2 W and hidden biases c - sum over i of W_ji. The visible bias is 0 in both.

    Parameters
    ----------
    hidden_bias : float, default=0.0
        c of the model of spins. Negative values make hidden units sparse.
    """

    def __init__(self, hidden_bias: float = 0.0):
        self.hidden_bias = hidden_bias

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("hidden_bias", self.hidden_bias)

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """See `Initializer.weights`; ValueError for units other than "bernoulli" and "ising"."""
        self.validate()
        for layer, unit in zip(("visible", "hidden"), units, strict=True):
            if unit not in HIDDEN:
                raise ValueError(f"init='lc' is derived for {layer} units {sorted(HIDDEN)}, got {unit!r}")
        scale = lc_scale(n_visible, n_hidden, self.hidden_bias, units[1])
        weights = key.normal((n_hidden, n_visible), scale)
        visible_bias, hidden_bias = np.zeros(n_visible), np.full(n_hidden, float(self.hidden_bias))
        if units[0] == "bernoulli":
            hidden_bias -= weights.sum(axis=1)
            weights *= 2
        return Start(weights, visible_bias, hidden_bias)


class Given(Initializer):
    """Weights as they are given.

    Parameters
    ----------
    values : array-like, shape (n_hidden, n_visible)
        Finite.
    """

    def __init__(self, values: ArrayLike):
        self.values = values

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        values = np.asarray(self.values)
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiub":
            raise ValueError(
                "init must be an array of numbers of shape (n_hidden, n_visible), "
                f"got shape {values.shape} and dtype {values.dtype}"
            )
        if not np.isfinite(values).all():
            raise ValueError("init must hold finite weights, got NaN or infinity")

    def weights(self, n_hidden: int, n_visible: int, key: Key, units: tuple[str, str]) -> Start:
        """See `Initializer.weights`; ValueError for weights of another shape. Nothing is drawn."""
        self.validate()
        values = np.array(self.values, dtype=np.float64)
        if values.shape != (n_hidden, n_visible):
            raise ValueError(
                f"init must have shape (n_hidden, n_visible) = {(n_hidden, n_visible)}, got shape {values.shape}"
            )
        return Start(values)


_NAMES: dict[str, type[Initializer]] = {"normal": Normal, "xavier": Xavier, "lc": LayerCorrelation}


def get_initializer(init: Any) -> Initializer:
    """Resolve the estimator option ``init``.

    Parameters
    ----------
    init : {"normal", "xavier", "lc"}, Initializer or array-like of shape (n_hidden, n_visible)

    Returns
    -------
    Initializer
        With valid options.

    Raises
    ------
    ValueError
        For anything else, or options out of range.
    """
    found = init
    if isinstance(init, str) and init in _NAMES:
        found = _NAMES[init]()
    elif isinstance(init, (np.ndarray, list, tuple)):
        found = Given(init)
    if not isinstance(found, Initializer):
        raise ValueError(
            f"init must be one of {sorted(_NAMES)}, an initialiser such as Normal(0.01), "
            f"or an array of weights, got {init!r}"
        )
    found.validate()
    return found


# ---- visible biases ---------------------------------------------------------------------------------------------


def _logit(mean: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    p = np.clip(mean, clip, 1 - clip)
    return np.log(p) - np.log1p(-p)


def _artanh(mean: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return 0.5 * _logit((1 + mean) / 2, clip)  # atanh(m) = logit((1 + m) / 2) / 2


def _same(mean: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return mean.copy()


def _log(mean: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return np.log(np.maximum(mean, clip))


# inverse of the unit's mean, and the range of means
_INVERSE_MEANS: dict[str, tuple[Callable[..., NDArray[np.float64]], float, float]] = {
    "bernoulli": (_logit, 0.0, 1.0),
    "ising": (_artanh, -1.0, 1.0),
    "gaussian": (_same, -np.inf, np.inf),
    "onehot": (_log, 0.0, 1.0),
    "binomial": (_logit, 0.0, 1.0),
}


#: what sums of shares may miss their range by, in units of the larger of 1 and its end: those of float32
_ROUNDING = 1e-5


def has_data_bias(unit: str) -> bool:
    """Whether `data_bias` knows the unit, or all units of a mixed layer."""
    kind = get_unit(unit)
    if isinstance(kind, Mixed):
        return all(has_data_bias(part.spec) for part, _ in kind.parts)
    return kind.name in _INVERSE_MEANS


def nearest_means(mean: ArrayLike, unit: str) -> NDArray[np.float64]:
    """Find the means that the unit can have which are nearest to those of rows with values outside its range.

    Parameters
    ----------
    mean : array-like, shape (..., n_visible)
    unit : str
        Means of units that `data_bias` does not know stay as they are.

    Returns
    -------
    ndarray of float64, of the same shape
    """
    kind, means = get_unit(unit), np.asarray(mean, dtype=np.float64)
    if not has_data_bias(unit):
        return means
    if isinstance(kind, Mixed):
        ends = np.cumsum([width for _, width in kind.parts])[:-1]
        parts = zip(np.split(means, ends, axis=-1), kind.parts, strict=True)
        return np.concatenate([nearest_means(part, one.spec) for part, (one, _) in parts], axis=-1)
    _, low, high = _INVERSE_MEANS[kind.name]
    return np.clip(means, low, high * kind.n if isinstance(kind, Binomial) else high)


def data_bias(mean: ArrayLike, unit: str = "bernoulli", clip: float = 1e-3) -> NDArray[np.float64]:
    """Find the visible bias with which a model without weights has the means of the data.

    The inverse of the unit's mean: log(p / (1 - p)) for Bernoulli units, atanh for Ising ones, log for a one-hot layer,
    the mean itself for Gaussian ones (variance 1).

    Parameters
    ----------
    mean : array-like, shape (n_visible,)
        Means of the columns of the data.
    unit : str, default="bernoulli"
        Unit of the visible layer: "bernoulli", "ising", "gaussian", "onehot" (also in groups), "binomial(n)", or a
        mixed layer of these.
    clip : float, default=1e-3
        Probabilities of either value of a unit (of each unit of a one-hot layer) are taken to be at least this, in
        (0, 0.5): a unit that never changes in the data would get an infinite bias. 1 / n_samples is usual too. Gaussian
        means have no bounds and stay as they are.

    Returns
    -------
    ndarray of float64, shape (n_visible,)

    Raises
    ------
    ValueError
        For an unknown unit, means that a unit cannot have, or a clip out of range.

    References
    ----------
    Hinton, "A practical guide to training restricted Boltzmann machines", UTML TR 2010-003, section 8.1.
    """
    kind = get_unit(unit)
    if not has_data_bias(unit):
        raise ValueError(
            f"unit must be one of {sorted(_INVERSE_MEANS)}, or a mixed layer of these, got {unit!r}, whose mean has no "
            "inverse in closed form: use visible_bias='zeros', or an initialiser that returns visible biases"
        )
    clip = check_number("clip", clip, 0, 0.5, include_low=False, include_high=False)
    means = np.asarray(mean, dtype=np.float64)
    if means.ndim != 1 or not np.isfinite(means).all():
        raise ValueError(f"mean must be a vector of finite numbers, got shape {means.shape}")
    if isinstance(kind, Mixed):
        kind.check_width(len(means))
        ends = np.cumsum([width for _, width in kind.parts])[:-1]
        parts = zip(np.split(means, ends), kind.parts, strict=True)
        return np.concatenate([data_bias(part, one.spec, clip) for part, (one, _) in parts])
    inverse, low, high = _INVERSE_MEANS[kind.name]
    if isinstance(kind, Binomial):
        means = means / kind.n  # that of one of its trials, which has the same natural parameter
    excess = _ROUNDING if np.isfinite(high) else 0.0
    rounded = np.clip(means, low, high)
    means = np.where(np.abs(means - rounded) <= excess, rounded, means)
    if len(means) and not (low <= means.min() and means.max() <= high):
        raise ValueError(f"mean must lie in [{low}, {high}] for {unit!r}, got {means.min()} to {means.max()}")
    return inverse(means, clip)
