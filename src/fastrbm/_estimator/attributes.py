"""Fitted attributes that estimators made of others have in common, to model files and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer


def columns_of(estimator: Any) -> dict[str, Any]:
    """Number and names of the columns, as model files have them."""
    names = getattr(estimator, "feature_names_in_", None)
    return {"n_features": estimator.n_features_in_, "feature_names": None if names is None else list(map(str, names))}


def set_columns(estimator: Any, own: Mapping[str, Any]) -> None:
    """Set what `columns_of` has told."""
    estimator.n_features_in_ = check_integer("n_features", own["n_features"])
    names = own["feature_names"]
    if names is not None:
        if len(names) != estimator.n_features_in_ or not all(isinstance(one, str) for one in names):
            raise ValueError(f"feature_names must be {estimator.n_features_in_} names, got {names!r}")
        estimator.feature_names_in_ = np.array(names, dtype=object)


def stored_classes(classes: NDArray[Any]) -> tuple[bool, NDArray[Any]]:
    """Whether labels are strings in an array of objects, and the labels in one that needs no pickle."""
    if classes.dtype.kind != "O":
        return False, classes
    if not all(isinstance(one, str) for one in classes):
        raise ValueError("classes_ must be numbers or strings to be saved, got other objects")
    return True, classes.astype(np.str_)


def restored_classes(objects: Any, classes: NDArray[Any]) -> NDArray[Any]:
    """Labels from what `stored_classes` has made; ValueError unless they are at least two, in order."""
    if classes.ndim != 1 or len(classes) < 2 or classes.dtype.kind not in "biufU":
        raise ValueError(f"classes must be at least 2 labels, got {classes.dtype} of shape {classes.shape}")
    if not (classes[1:] > classes[:-1]).all():
        raise ValueError("classes must be different labels in order")
    if objects and classes.dtype.kind != "U":
        raise ValueError(f"classes must be strings, got {classes.dtype}")
    return classes.astype(object) if objects else classes


def number_of(own: Mapping[str, Any], name: str, low: float = -np.inf, high: float = np.inf) -> float:
    """Return a number of a header that is not NaN and within bounds."""
    value = own[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, got {value!r}")
    return float(value)
