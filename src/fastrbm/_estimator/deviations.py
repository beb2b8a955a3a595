"""Whether columns of real values are in the scale of the units that stand for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import warn_user
from .._data.ranges import DataRangeWarning
from .._kernels import States, as_dense
from ..units import Mixed, get_unit

#: root mean square of a column, in deviations of its unit, from which on a small weight decides a hidden unit alone
_FAR = 10.0


def _are_real(spec: str, n_units: int) -> NDArray[np.bool_]:
    """Which units of a layer are normal, or normal and not negative."""
    unit = get_unit(spec)
    if isinstance(unit, Mixed):
        return np.concatenate([_are_real(part.spec, width) for part, width in unit.parts])
    return np.full(n_units, unit.name in ("gaussian", "relu"))


def check_scale(rows: States, units: tuple[str, str], log_variance: Any, mode: str) -> None:
    """Say that columns are far larger than the deviations of their units, which were given.

    Parameters
    ----------
    rows : States
        Some rows of the data, as they are.
    units : tuple of two str
        Specs of the visible and of the hidden layer.
    log_variance : ndarray, shape (n_features,), or None
        Of the visible units; None is 0.
    mode : {"warn", "error", "allow"}
        The option `out_of_range`.

    Warns
    -----
    fastrbm.DataRangeWarning
        With "warn", for the column that is farthest out.

    Raises
    ------
    ValueError
        With "error", for the same.
    """
    n_units = rows.shape[1]
    real = _are_real(units[0], n_units)
    # a hidden layer without bounds is no switch
    if mode == "allow" or not real.any() or _are_real(units[1], 1).any():
        return
    sigma = np.ones(n_units) if log_variance is None else np.exp(0.5 * np.asarray(log_variance, dtype=np.float64))
    values = as_dense(rows, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.where(real, np.sqrt(np.square(values).mean(axis=0)) / sigma, 0.0)
    column = int(np.argmax(sizes))
    if not sizes[column] > _FAR:
        return
    message = (
        f"columns of X are far larger than the standard deviations of their units: the root mean square of column "
        f"{column} is {sizes[column] * sigma[column]:.4g}, sigma is {sigma[column]:.4g}. Hidden units then see little "
        "but the largest columns: standardise X (sklearn.preprocessing.StandardScaler), or use "
        "GaussianRBM(sigma='data')"
    )
    if mode == "error":
        raise ValueError(message)
    warn_user(f"{message}; out_of_range='allow' says that it is meant", DataRangeWarning)
