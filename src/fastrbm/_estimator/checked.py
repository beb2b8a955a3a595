"""Options that have passed their checks: they need no second look while they stay the same."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .._kernels import Parameters
from ..units import get_unit

#: values of these types cannot change behind one's back, and say all that there is to check
_PLAIN = frozenset({int, float, str, bool, type(None)})
_SOURCES = (np.random.RandomState, np.random.Generator)
_MOST = 1024  # combinations that are remembered of a class

_passed: WeakKeyDictionary[type, set[Any]] = WeakKeyDictionary()
_names: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


def key_of(estimator: Any) -> Any:
    """What the checks of options look at, hashable; None where a value is an object that may change."""
    cls = type(estimator)
    names = _names.get(cls)
    if names is None:
        names = _names[cls] = tuple(cls._get_param_names())
    values, types = [], []
    for name in names:
        value = getattr(estimator, name)
        kind = type(value)
        if kind not in _PLAIN:
            if isinstance(value, _SOURCES):  # as good as any other of its type
                value = None
            elif not (kind is tuple and not value):
                return None
        values.append(value)
        types.append(kind)  # 1 and True are equal
    return tuple(values), tuple(types)


def is_plain_table(estimator: Any, X: Any) -> bool:
    """Whether scikit-learn's check of rows would return X as it is, without a warning, for a fitted estimator."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype.kind in "buif"
        and len(X) > 0
        and X.shape[1] > 0
        and X.shape[1] == vars(estimator).get("n_features_in_")
        and "feature_names_in_" not in vars(estimator)
    )


def check_shapes(parameters: Parameters, units: tuple[str, str]) -> None:
    """Raise ValueError unless fitted arrays, which may have been set by hand, fit each other and the units."""
    weights, visible_bias, hidden_bias = parameters
    if weights.ndim != 2 or visible_bias.shape != weights.shape[1:] or hidden_bias.shape != weights.shape[:1]:
        raise ValueError(
            "components_ must have shape (n_hidden, n_visible), intercept_visible_ (n_visible,) and intercept_hidden_ "
            f"(n_hidden,), got {weights.shape}, {visible_bias.shape} and {hidden_bias.shape}"
        )
    for name, unit, width in zip(("visible", "hidden"), units, weights.shape[::-1], strict=True):
        try:
            get_unit(unit).check_width(width)
        except ValueError as error:
            raise ValueError(f"components_ of shape {weights.shape} do not fit the {name} units: {error}") from None


def check_width(parameters: Parameters, n_visible: int) -> None:
    """Raise ValueError unless rows of so many visible units fit the fitted arrays."""
    if n_visible != parameters.weights.shape[1]:
        raise ValueError(
            f"components_ must have a column for each of the {n_visible} visible units of X, got shape "
            f"{parameters.weights.shape}: components_ was changed, or X is of another model"
        )


def has_passed(estimator: Any, key: Any) -> bool:
    """Whether an estimator of this class has passed with these options."""
    return key is not None and key in _passed.get(type(estimator), ())


def note_passed(estimator: Any, key: Any) -> None:
    """Remember that the options are good."""
    if key is None:
        return
    known = _passed.setdefault(type(estimator), set())
    if len(known) >= _MOST:
        known.clear()
    known.add(key)
