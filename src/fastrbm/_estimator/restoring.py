"""What a model file must be like: every array and number against every other, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import is_integer
from .._kernels import Parameters
from .._kernels.datatypes import FLOAT_TYPES
from .._shown import History
from ..model import Model

_LARGEST = 2**64 - 1
#: extras of a state by the shape they have; others are only looked at for being numbers
_LIKE_VISIBLE = ("log_variance", "offset_visible", "fast_1")
_LIKE_HIDDEN = ("offset_hidden", "mean_activation", "fast_2")
_LIKE_WEIGHTS = ("rho", "fast_0")


def numbers_of(values: Any, names: tuple[str, ...], most: int = _LARGEST) -> dict[str, int]:
    """Whole numbers of at least 0 that a header must have."""
    if not isinstance(values, Mapping):
        raise ValueError(f"numbers must be a mapping, got {values!r}")
    for name in names:
        if not is_integer(values.get(name)) or not 0 <= values[name] <= most:
            raise ValueError(f"{name} must be a whole number from 0 to {most}, got {values.get(name)!r}")
    return {name: int(values[name]) for name in names}


def array_like(name: str, x: NDArray[Any], shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return the array in C order; ValueError unless it has this shape and type and is finite."""
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(f"{name} must have shape {shape} and type {np.dtype(dtype)}, got {x.shape} of {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite")
    return np.ascontiguousarray(x)


def parameters_of(arrays: Mapping[str, NDArray[Any]], units: tuple[str, str]) -> Parameters:
    """Weights and biases of a file that fit each other and the units."""
    weights = arrays["components_"]
    if weights.ndim != 2 or weights.dtype not in FLOAT_TYPES:
        raise ValueError(f"components_ must be a matrix of float32 or float64, got {weights.shape} of {weights.dtype}")
    parameters = Parameters(
        array_like("components_", weights, weights.shape, weights.dtype),
        array_like("intercept_visible_", arrays["intercept_visible_"], weights.shape[1:], weights.dtype),
        array_like("intercept_hidden_", arrays["intercept_hidden_"], weights.shape[:1], weights.dtype),
    )
    Model(*parameters, *units)  # looks at the widths that units can have
    return parameters


def slots_of(arrays: Mapping[str, NDArray[Any]], count: int, like: Parameters) -> list[Parameters]:
    """Return what an optimiser keeps."""
    return [
        Parameters(
            *(array_like(f"slot_{k}_{i}", arrays[f"slot_{k}_{i}"], x.shape, x.dtype) for i, x in enumerate(like))
        )
        for k in range(count)
    ]


def extras_of(arrays: Mapping[str, NDArray[Any]], like: Parameters) -> dict[str, NDArray[Any]]:
    """Return what parts of the training keep under names of their own."""
    weights, visible, hidden = like
    found = {}
    for key, x in arrays.items():
        if not key.startswith("extra_"):
            continue
        name = key.removeprefix("extra_")
        if name in _LIKE_VISIBLE or name.startswith("log_variance_slot_"):
            found[name] = array_like(key, x, visible.shape, weights.dtype)
        elif name in _LIKE_HIDDEN:
            found[name] = array_like(key, x, hidden.shape, weights.dtype)
        elif name in _LIKE_WEIGHTS:
            found[name] = array_like(key, x, weights.shape, weights.dtype)
        elif x.dtype.kind in "buif":
            found[name] = x
        else:
            raise ValueError(f"{key} must be an array of numbers, got {x.dtype}")
    fast = {name for name in found if name.startswith("fast_")}
    if fast and fast != {"fast_0", "fast_1", "fast_2"}:
        raise ValueError(f"fast weights must be three arrays, got {sorted(fast)}")
    return found


def history_of(history: Any) -> History:
    """Return what passes have recorded, lists of numbers by names."""
    if not isinstance(history, Mapping) or not all(isinstance(x, list) for x in history.values()):
        raise ValueError(f"history must hold lists by names, got {history!r}")
    return History({"epoch": [], "seconds": [], **history})


def check_features(n_features: int, n_visible: int, names: Any, n_categories: int) -> None:
    """Raise ValueError unless the columns of X make the visible units."""
    if n_features * n_categories != n_visible:
        raise ValueError(f"n_features must fit {n_visible} visible units, got {n_features} of {n_categories}")
    if names is not None and (len(names) != n_features or not all(isinstance(x, str) for x in names)):
        raise ValueError(f"feature_names must be {n_features} names, got {names!r}")
