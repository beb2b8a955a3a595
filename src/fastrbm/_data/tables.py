"""Tables of any library as the arrays that scikit-learn checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._kernels.maps import watch


def as_array(x: Any, sparse: bool = False) -> Any:
    """Make an array of a table, or give back what scikit-learn makes one of.

    Data frames (pandas, polars, pyarrow tables and what else narwhals reads) are converted column by column, with NaN
    where a value is missing; tensors on the host by DLPack, without a copy; masked arrays get NaN where values are
    masked.

    Parameters
    ----------
    x : object
    sparse : bool, default=False
        Whether a frame whose columns are all sparse may become a sparse matrix.

    Returns
    -------
    ndarray, sparse matrix or `x` itself

    Raises
    ------
    TypeError
        For frames that are not computed yet, tensors that NumPy cannot read, and columns that are no numbers.
    """
    watch(x)
    if isinstance(x, np.ma.MaskedArray):
        if not np.ma.is_masked(x):
            return x.data
        values = np.array(x.data, dtype=np.result_type(x.dtype, np.float32))
        values[np.ma.getmaskarray(x)] = np.nan
        return values
    if isinstance(x, (np.ndarray, list, tuple)) or sp.issparse(x):
        return x
    frame = _frame(x)
    if frame is not None:
        return _of_frame(x, frame, sparse)
    if hasattr(type(x), "__dlpack__") and not hasattr(x, "__array_interface__"):
        return _of_tensor(x)
    return x


def _of_tensor(x: Any) -> NDArray[Any]:
    try:
        return watch(np.from_dlpack(x))
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"X must be an array that NumPy can read, got a {type(x).__module__}.{type(x).__name__} that it cannot "
            f"({error}): detach it from its gradient (.detach()), copy it to the host (.cpu()), or change its type "
            "(.float())"
        ) from error


def _frame(x: Any) -> Any:
    """What narwhals makes of a data frame; None for anything else."""
    kind = type(x)  # asking it, not the frame, does not compute a lazy one
    if not any(hasattr(kind, name) for name in ("columns", "column_names", "__narwhals_dataframe__")):
        return None
    try:
        import narwhals
    except ImportError:  # scikit-learn before 1.8 does without, and knows pandas itself
        return None
    if hasattr(x, "iloc") and not x.columns.is_unique:
        x = x.set_axis(range(x.shape[1]), axis=1)  # narwhals finds columns by their names
    frame = narwhals.from_native(x, pass_through=True)
    if isinstance(frame, narwhals.LazyFrame):
        raise TypeError(
            f"X must be a table whose values are there, got a lazy {type(x).__module__}.{type(x).__name__}: compute it "
            "first (.collect(), .compute())"
        )
    return frame if isinstance(frame, narwhals.DataFrame) else None


def _of_frame(x: Any, frame: Any, sparse: bool) -> Any:
    dtypes = list(getattr(x, "dtypes", ()))
    if dtypes and all(isinstance(dtype, np.dtype) and dtype.kind in "buif" for dtype in dtypes):
        return watch(x.to_numpy())  # pandas of plain columns, which may be one array already
    if sparse and dtypes and all(getattr(dtype, "fill_value", None) == 0 for dtype in dtypes):
        return x.sparse.to_coo().tocsr()
    columns = [_column(series, series.name) for series in frame.iter_columns()]
    if not columns:
        return np.empty((len(frame), 0))
    dtype = np.result_type(*(column.dtype for column in columns))
    out = np.empty((len(frame), len(columns)), dtype)
    for index, column in enumerate(columns):
        out[:, index] = watch(column)
    return out


def _column(series: Any, name: Any) -> NDArray[Any]:
    """Numbers of a column; booleans and numbers keep their type unless some are missing."""
    import narwhals

    dtype, native = series.dtype, series.to_native()
    if isinstance(dtype, (narwhals.Categorical, narwhals.Enum)):
        series = series.cast(narwhals.String)
        dtype = series.dtype
    if isinstance(dtype, (narwhals.String, narwhals.Object, narwhals.Decimal)):
        values, there = np.full(len(series), np.nan), ~series.is_null()
        try:
            values[there.to_numpy()] = [float(value) for value in series.filter(there).to_list()]
            return values
        except (TypeError, ValueError):
            wrong = next(value for value in series.to_list() if not _is_number(value))
            raise ValueError(
                f"X must hold numbers, got {wrong!r} in column {name!r}: leave the column out, or encode it "
                "(sklearn.preprocessing.OneHotEncoder, OrdinalEncoder)"
            ) from None
    if not (dtype.is_numeric() or isinstance(dtype, (narwhals.Boolean, narwhals.Unknown))):
        raise ValueError(f"X must hold numbers, got {dtype} in column {name!r}: leave the column out, or convert it")
    if isinstance(dtype, narwhals.Unknown):  # sparse columns of pandas, for one
        return np.asarray(native)
    if series.null_count():
        values = np.full(len(series), np.nan)
        there = ~series.is_null()
        values[there.to_numpy()] = series.filter(there).to_numpy()
        return values
    values = np.asarray(series.to_numpy())
    return values if values.dtype.kind in "buif" else values.astype(np.float64)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
