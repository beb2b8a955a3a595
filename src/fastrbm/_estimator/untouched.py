"""Failed calls leave an estimator as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def untouched(*estimators: Any) -> Iterator[None]:
    """Put all attributes of estimators, and their states of training, back if the block raises.

    Arrays are not copied: the block checks and sets up, and changes none that the estimators hold.
    """
    before = [dict(vars(estimator)) for estimator in estimators]
    states = [attributes.get("_state") for attributes in before]
    kept = [None if state is None else _fields(state) for state in states]
    try:
        yield
    except BaseException:
        for estimator, attributes, state, fields in zip(estimators, before, states, kept, strict=True):
            estimator.__dict__.clear()
            estimator.__dict__.update(attributes)
            if state is not None and fields is not None:
                state.__dict__.update(fields)
        raise


def _fields(state: Any) -> dict[str, Any]:
    """Attributes of a `TrainingState`, with copies of the containers that setting up changes in place."""
    fields = dict(vars(state))
    return fields | {name: copy.copy(fields[name]) for name in ("slots", "chains", "extras", "population")}
