"""Options that have passed their checks: they need no second look while they stay the same."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..units import get_unit

#: values of these types cannot change behind one's back, and say all that there is to check
_PLAIN = frozenset({int, float, str, bool, type(None)})
_SOURCES = (np.random.RandomState, np.random.Generator)
Made = TypeVar("Made")
_MOST = 1024  # combinations that are remembered of a class


class _Passed:
    """Options of one class that have passed, with what is known of them.

    Attributes
    ----------
    read : callable
        Returns all options of an estimator, in the order of their names.
    known : dict
        What is known, by the options.
    last : tuple
        Types of the options that were met last, the options, and what is known of them.
    """

    def __init__(self, cls: Any):
        self.read: Callable[[Any], tuple[Any, ...]] = attrgetter(*cls._get_param_names())  # of several names
        self.known: dict[Any, dict[Any, Any]] = {}
        self.last: tuple[Any, Any, dict[Any, Any]] = (None, None, {})


_passed: WeakKeyDictionary[type, _Passed] = WeakKeyDictionary()


def _of_class(cls: type) -> _Passed:
    found = _passed.get(cls)
    if found is None:
        found = _passed[cls] = _Passed(cls)
    return found


def _key_of(values: tuple[Any, ...], types: tuple[type, ...]) -> Any:
    """What the checks of options look at, hashable; None where a value is an object that may change."""
    plain = values
    for at, (value, kind) in enumerate(zip(values, types, strict=True)):
        if kind in _PLAIN or (kind is tuple and not value):
            continue
        if not isinstance(value, _SOURCES):
            return None
        plain = (*plain[:at], None, *plain[at + 1 :])  # as good as any other of its type
    return plain, types  # 1 and True are equal, and their types are not


def known_of(estimator: Any) -> dict[Any, Any] | None:
    """What is known of these options, to be added to; None: they have not passed their checks, or may change.

    What is kept here must follow from the class and its options alone, without `random_state`.
    """
    of_class = _of_class(type(estimator))
    values = of_class.read(estimator)
    types = tuple(map(type, values))
    last = of_class.last
    # types first: values of the same types as plain ones can be compared
    if last[0] == types and last[1] == values:
        return last[2]
    key = _key_of(values, types)
    known = None if key is None else of_class.known.get(key)
    if known is not None and key[0] is values:  # no source of randomness, which would be kept alive
        of_class.last = types, values, known
    return known


def derived(estimator: Any, make: Callable[[Any], Made]) -> Made:
    """What a function makes of the options, remembered where they have passed; see `known_of`."""
    known = known_of(estimator)
    if known is None:
        return make(estimator)
    if make not in known:
        known[make] = make(estimator)
    made: Made = known[make]
    return made


def note_passed(estimator: Any) -> None:
    """Remember that the options are good."""
    of_class = _of_class(type(estimator))
    values = of_class.read(estimator)
    key = _key_of(values, tuple(map(type, values)))
    if key is None:
        return
    if len(of_class.known) >= _MOST:
        of_class.known.clear()
    of_class.known.setdefault(key, {})


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
