"""Results as the tables that scikit-learn's ``set_output`` asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config


def as_table(estimator: Any, values: Any, given: Any, columns: Any) -> Any:
    """Put an array into the container that `set_output` or scikit-learn's configuration names.

    Parameters
    ----------
    estimator : BaseRBM
    values : ndarray, shape (n_rows, n_columns), or array on a device, which stays as it is
    given : object
        What the values belong to; its index is taken over.
    columns : callable
        Returns names of the columns.
    """
    kind = _get_output_config("transform", estimator)["dense"]
    if kind == "default" or not isinstance(values, np.ndarray):
        return values
    return ADAPTERS_MANAGER.adapters[kind].create_container(values, given, columns=columns())


def visible_names(estimator: Any) -> np.ndarray[Any, Any]:
    """Names of the visible units: those of the columns of X, with the category where a column has several units."""
    n_visible = np.shape(estimator.components_)[1]
    names = getattr(estimator, "feature_names_in_", None)
    n_columns = getattr(estimator, "n_features_in_", n_visible)
    if names is None:
        names = [f"x{i}" for i in range(n_columns)]
    if n_columns != n_visible:
        names = [f"{name}_{k}" for name in names for k in range(n_visible // n_columns)]
    return np.asarray(names, dtype=object)
