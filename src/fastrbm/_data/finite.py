"""Whether values are finite, and where the first is that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import assert_all_finite


def check_finite(x: Any, name: str = "", *, place: Callable[[int], str] = str, first_row: int = 0) -> None:
    """Raise ValueError for NaN and infinity, in scikit-learn's words for what and with the first place of one.

    Parameters
    ----------
    x : ndarray or sparse matrix or array, shape (n_samples, n_features)
        Values of any type.
    name : str
        The estimator that takes no such values; advice on NaN names it.
    place : callable
        Of a number of a column: its number, with its name where it has one.
    first_row : int
        Number of the first row.
    """
    try:
        assert_all_finite(x, input_name="X")
    except ValueError as error:
        what = str(error).partition("\n")[0].rstrip(".")
        values = x.data if sp.issparse(x) else np.asarray(x)
        wrong = np.argwhere(np.isnan(values) if "NaN" in what else ~np.isfinite(values))[0]
        if sp.issparse(x):
            entries = x.tocoo()
            wrong = np.array([entries.row[wrong[0]], entries.col[wrong[0]]])
        where = f"row {first_row + int(wrong[0])}, column {place(int(wrong[1]))}" if len(wrong) == 2 else f"{wrong[0]}"
        advice = ""
        if name and "NaN" in what:
            advice = (
                f". {name} is trained on complete rows: leave the others out, or impute them before (sklearn.impute). "
                "sample(clamp=rows) of a fitted one fills in NaN; SoftmaxRBM takes categories of which some are missing"
            )
        raise ValueError(f"{what} in {where}{advice}") from None
