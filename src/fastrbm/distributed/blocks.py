"""What a fitted estimator computes of rows that Dask holds, one partition at a time, wherever it is."""

from __future__ import annotations

from typing import Any

import numpy as np

#: methods whose results have a row, or a number, for each row
METHODS = (
    "transform", "score_samples", "predict", "predict_proba", "decision_function", "reconstruct", "log_likelihood",
)  # fmt: skip


def map_rows(estimator: Any, X: Any, method: str = "transform", **options: Any) -> Any:
    """Call a method of a fitted estimator on the partitions of a Dask array or frame, when they are computed.

    Parameters
    ----------
    estimator : object
        Fitted; the workers get a copy.
    X : dask.array.Array of shape (n_samples, n_features), or dask.dataframe.DataFrame
        Arrays must have all columns of a row in one chunk.
    method : str, default="transform"
        One that has a result for each row.
    **options
        Of the method.

    Returns
    -------
    dask.array.Array, or for frames dask.dataframe.DataFrame (of results with columns) or dask.dataframe.Series
        Nothing is computed yet. Results of a row do not depend on the partition that it is in.

    Raises
    ------
    TypeError
        For X that is not of Dask.
    ValueError
        For another method, one that the estimator lacks, and arrays whose rows are cut.
    """
    if method not in METHODS or not hasattr(estimator, method):
        raise ValueError(f"method must be one of {[m for m in METHODS if hasattr(estimator, m)]}, got {method!r}")
    kind = type(X).__module__.partition(".")[0]
    if kind not in ("dask", "dask_expr"):
        raise TypeError(f"X must be a Dask array or frame, got {type(X).__name__}: call {method}(X) for others")
    if hasattr(X, "map_partitions"):
        return _of_frame(estimator, X, method, options)
    if X.ndim != 2 or X.numblocks[1] != 1:
        raise ValueError(
            f"X must be a two-dimensional array with all columns of a row in one chunk, got chunks {X.chunks}: "
            "rechunk it, X.rechunk({1: -1})"
        )
    some = np.asarray(getattr(estimator, method)(np.zeros((1, X.shape[1]), X.dtype), **options))
    call = {"chunks": (X.chunks[0], some.shape[1:])} if some.ndim == 2 else {"drop_axis": 1}
    return X.map_blocks(_call, estimator, method, options, dtype=some.dtype, meta=some[:0], **call)


def _call(rows: Any, estimator: Any, method: str, options: dict[str, Any]) -> Any:
    return np.asarray(getattr(estimator, method)(rows, **options))


def _of_frame(estimator: Any, X: Any, method: str, options: dict[str, Any]) -> Any:
    import pandas as pd

    def call(part: pd.DataFrame) -> Any:
        if not len(part):
            return empty
        found = np.asarray(getattr(estimator, method)(part, **options))
        if found.ndim == 1:
            return pd.Series(found, index=part.index, name=method)
        return pd.DataFrame(found, index=part.index, columns=columns)

    row = pd.DataFrame(np.zeros((1, len(X.columns))), columns=list(X.columns)).astype(dict(X.dtypes))
    some = np.asarray(getattr(estimator, method)(row, **options))
    wide = some.ndim == 2
    columns = list(estimator.get_feature_names_out()) if method == "transform" else None
    if wide and columns is None:
        columns = [f"{method}{k}" for k in range(some.shape[1])]
    empty = pd.DataFrame(some, columns=columns).iloc[:0] if wide else pd.Series(some, name=method).iloc[:0]
    return X.map_partitions(call, meta=empty)
