"""Options that have passed their checks: they need no second look while they stay the same."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

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
