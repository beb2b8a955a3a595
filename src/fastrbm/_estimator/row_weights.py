"""In what order rows are, and how often or how much each counts, before they are shuffled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from .._data import Rows
from .._data.chunks import ChunkedData
from .._data.content import content_order
from .._data.split import Split
from .._kernels.maps import watch

#: weights that are whole numbers up to this are repetitions
MOST_REPETITIONS = 16


def begin_order(
    data: Rows, shuffle: bool, sample_weight: NDArray[np.float64] | None, shared: dict[Any, Any] | None
) -> NDArray[np.int64] | None:
    """The order of the rows that passes permute: by their content, so that none other makes a difference.

    `shared` keeps it for other estimators that are fitted to the same rows.
    """
    if not shuffle or isinstance(data, ChunkedData):
        return None
    if sample_weight is not None or shared is None:
        return content_order(data, sample_weight)
    key = ("order", id(data))
    if key not in shared:
        shared[key] = data, content_order(data)  # with the rows, so that no others get their number meanwhile
    order: NDArray[np.int64] = shared[key][1]
    return order


def as_repetitions(weights: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """How often rows come, if all weights are small whole numbers."""
    if weights.max() > MOST_REPETITIONS or (weights != np.floor(weights)).any():
        return None
    return weights.astype(np.int64)


def weighted(
    split: Split, sample_weight: NDArray[np.float64] | None, factors: NDArray[np.float64] | None = None
) -> tuple[Split, NDArray[np.float64] | None]:
    """The rows that are trained on, as often as their weights say, and the weights that are left to say.

    `factors`, those of the classes of the rows, are no repetitions.
    """
    if factors is not None:
        split = split.without(factors == 0)
        if not len(split):
            raise ValueError("class_weight must be above 0 for some of the rows that are trained on")
    if sample_weight is None:
        return split, factors
    split = split.without(sample_weight == 0)
    if not len(split):
        raise ValueError("sample_weight must have values above 0 among the rows that are trained on")
    times = as_repetitions(sample_weight)
    if times is not None:
        return split.repeated(times), factors
    return split, sample_weight if factors is None else sample_weight * factors


def checked_weights(sample_weight: Any, X: Any) -> NDArray[np.float64] | None:
    """Weights as they are given, one for each row, not negative, with a finite sum."""
    if sample_weight is None:
        return None
    weights: NDArray[np.float64] = _check_sample_weight(
        watch(sample_weight), X, dtype=np.float64, ensure_non_negative=True
    )
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise ValueError(
                f"sample_weight must have a finite sum, got values up to {weights.max():g}: divide them by the largest"
            )
    return weights
