"""Options that have passed their checks: they need no second look while they stay the same."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

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


def check_arrays(
    weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any], units: tuple[str, str]
) -> None:
    """Raise ValueError unless fitted arrays, which may have been set by hand, fit each other and the units."""
    shape = weights.shape
    if len(shape) != 2 or 0 in shape or visible_bias.shape != shape[1:] or hidden_bias.shape != shape[:1]:
        raise ValueError(
            "components_, intercept_visible_ and intercept_hidden_ must have shapes (n_hidden, n_visible), "
            f"(n_visible,) and (n_hidden,), got {shape}, {visible_bias.shape} and {hidden_bias.shape}: units must "
            "be taken away or added in all of them"
        )
    given = (weights, visible_bias, hidden_bias)
    if any(x.dtype.kind not in "buif" for x in given):
        raise ValueError(
            "components_, intercept_visible_ and intercept_hidden_ must hold numbers, got dtypes "
            f"{', '.join(str(x.dtype) for x in given)}"
        )
    for name, unit, width in zip(("visible", "hidden"), units, shape[::-1], strict=True):
        try:
            get_unit(unit).check_width(width)
        except ValueError as error:
            raise ValueError(f"components_ of shape {shape} do not fit the {name} units: {error}") from None


def check_width(wanted: int, got: int) -> None:
    """Raise ValueError unless rows have as many visible units as the fitted arrays."""
    if got != wanted:
        raise ValueError(
            f"components_ must have a column for each of the {got} visible units of X, got {wanted} columns: "
            "components_ was changed, or X is of another model"
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
