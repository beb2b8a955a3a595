"""What comes in: models, and rows of visible states in the form that kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._kernels import PackedBits, pack
from .._kernels.maps import watch
from ..model import Model
from ..units import get_unit

_LOOKED_AT = 500  # rows


def as_model(model: Any) -> Model:
    """Model of a `Model` or of a fitted estimator."""
    if isinstance(model, Model):
        return model
    if hasattr(type(model), "model_"):
        found = model.model_  # says so if it is not fitted
        if isinstance(found, Model):
            return found
    raise TypeError(f"model must be a fastrbm.Model or a fitted estimator, got {type(model).__name__}")


def checked_rows(x: ArrayLike | PackedBits, model: Model, name: str) -> PackedBits | NDArray[np.float64]:
    """Rows of visible states, packed where the units have two values; a set bit is the larger one."""
    unit, n_visible = get_unit(model.visible), len(model.visible_bias)
    if isinstance(x, PackedBits) and unit.binary:
        rows: Any = x
    else:
        dense = x.dense(np.uint8) if isinstance(x, PackedBits) else watch(np.asarray(x))
        if dense.ndim != 2 or 0 in dense.shape or dense.dtype.kind not in "buif":
            raise ValueError(
                f"{name} must be a non-empty numeric array of shape (n_samples, {n_visible}), "
                f"got shape {dense.shape} of {dense.dtype}"
            )
        if dense.shape[1] != n_visible:
            raise _wrong_width(name, n_visible, dense.shape[1])
        wrong = unit.first_outside(dense)
        if wrong is not None:
            advice = ". Binarise the rows first (fastrbm.datasets.binarize)" if unit.binary else ""
            raise ValueError(
                f"{name} must hold {unit.domain}: the model has no probability for other values, "
                f"got {dense[wrong]:.6g} in row {wrong[0]}, column {wrong[1]}{advice}"
            )
        support = unit.support or ()
        rows = pack(np.greater(dense, support[0])) if len(support) == 2 else dense.astype(np.float64)
    if rows.shape[1] != n_visible:
        raise _wrong_width(name, n_visible, rows.shape[1])
    return rows


def _wrong_width(name: str, wanted: int, got: int) -> ValueError:
    return ValueError(f"{name} must have {wanted} columns like the model, got {got}")


def some_rows(rows: Any) -> Any:
    """Rows that are looked at for states that chains may have missed: some hundred of them, evenly spread."""
    return rows[:: max(1, len(rows) // _LOOKED_AT)]
