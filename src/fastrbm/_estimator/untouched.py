"""Failed calls leave an estimator as it was."""

from __future__ import annotations

import copy
from typing import Any


class untouched:
    """Put all attributes of estimators, and their states of training, back if a ``with`` block raises.

    Arrays are not copied: the block checks and sets up, and changes none that the estimators hold.
    """

    def __init__(self, *estimators: Any):
        self._before = []
        for estimator in estimators:
            attributes = dict(vars(estimator))
            state = attributes.get("_state")
            self._before.append((estimator, attributes, state, None if state is None else _fields(state)))

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            return
        for estimator, attributes, state, fields in self._before:
            estimator.__dict__.clear()
            estimator.__dict__.update(attributes)
            if state is not None and fields is not None:
                state.__dict__.update(fields)


def _fields(state: Any) -> dict[str, Any]:
    """Attributes of a `TrainingState`, with copies of the containers that setting up changes in place."""
    fields = dict(vars(state))
    fields["slots"], fields["extras"] = list(state.slots), dict(state.extras)
    fields["chains"] = _copy(state.chains)
    if state.population is not None:
        fields["population"] = copy.copy(state.population)
    return fields


def _copy(x: Any) -> Any:
    """What `copy.copy` makes of an object of a plain class, in less time."""
    made = object.__new__(type(x))
    made.__dict__.update(vars(x))
    return made
