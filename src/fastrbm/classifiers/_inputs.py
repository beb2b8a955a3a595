"""Rows of X as values of visible units, in one scale for all machines of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from .._data.bits import VisibleData, check_indices
from .._data.finite import check_finite
from .._data.ranges import InputScale, Range, is_rounding
from .._data.tables import as_array
from .._estimator.attributes import number_of
from .._estimator.files import Form
from .._estimator.restoring import array_like
from ..estimators import GaussianRBM


class Inputs:
    """What is done with X before a machine gets it.

    Machines of single classes see some of the rows each, and would decide by these whether uint8 values are grey levels
    of images; here all rows decide.

    Parameters
    ----------
    rbm : estimator
        Unfitted.
    x : array or CSR matrix
        All rows of the fit.
    """

    def __init__(self, rbm: Any, x: Any):
        #: whether sparse matrices are taken
        self.sparse = rbm.units[0] == "bernoulli"
        self._bernoulli = rbm.units[0] == "bernoulli"
        self._given = None if not self._bernoulli or isinstance(rbm.input_scale, str) else float(rbm.input_scale)
        self._factor: float | None = None
        self._centre: NDArray[np.float64] | None = None
        self._deviation: NDArray[np.float64] | None = None
        if self._bernoulli:
            scale = InputScale(self._given)
            scale.look(x)
            self._factor = scale.value

    def form(self) -> Form:
        """What `of` makes the same from."""
        arrays = {"centre": self._centre, "deviation": self._deviation}
        own: dict[str, Any] = {"bernoulli": self._bernoulli, "given": self._given, "factor": self._factor}
        own["standardised"] = self._centre is not None
        return own, {name: x for name, x in arrays.items() if x is not None}

    @classmethod
    def of(cls, own: dict[str, Any], arrays: dict[str, NDArray[Any]], n_features: int) -> Inputs:
        """Return what a model file tells; an error of any kind for what cannot be."""
        made = cls.__new__(cls)
        made.sparse = made._bernoulli = bool(own["bernoulli"])
        tiny = np.finfo(float).tiny
        made._given, made._factor = (
            None if own[name] is None else number_of(own, name, tiny) for name in ("given", "factor")
        )
        if made._bernoulli and made._factor is None:
            raise ValueError("factor must be there for Bernoulli units")
        made._centre = made._deviation = None
        if own["standardised"]:
            made._centre = array_like("centre", arrays["centre"], (n_features,), np.float64)
            made._deviation = array_like("deviation", arrays["deviation"], (n_features,), np.float64)
            if not (made._deviation > 0).all():
                raise ValueError("deviation must be above 0")
        return made

    def values(self, x: Any) -> Any:
        """Rows in the scale of the fit; those of Bernoulli units are left to a machine with ``input_scale=1``."""
        if self._bernoulli:
            scale = InputScale(self._given, self._factor)
            scale.look(x)
            scale.check_fit()
            factor = scale.factor(x)
            if factor == 1:
                return x
            return x.astype(np.float32 if x.dtype in (np.uint8, np.float32) else np.float64) * factor
        if self._centre is not None and self._deviation is not None:
            return (x - self._centre) / self._deviation
        return x

    def standardise(self, rbm: Any, x: Any, index: NDArray[np.intp], weights: NDArray[np.float64] | None) -> Any:
        """Take means of real columns, and deviations within the classes, from all rows; the machine would from its own.

        Deviations within the classes, pooled as in linear discriminant analysis, are the units in which classes differ
        by what matters: those over all rows are too large where classes are far apart. They are at least a tenth of
        the latter, as a column that is constant within classes has none, and other classes differ in it by any number
        of its units.

        Parameters
        ----------
        rbm : estimator
        x : array or CSR matrix
            Rows of the fit.
        index : ndarray of int
            Class of each row.
        weights : ndarray or None
            Of rows.

        Returns
        -------
        estimator
            The machine for rows that `values` returns.
        """
        if not isinstance(rbm, GaussianRBM) or not isinstance(rbm.sigma, str) or rbm.sigma != "data":
            return rbm
        check_finite(x)
        x = x.astype(np.float64)
        self._centre = np.average(x, axis=0, weights=weights)
        deviation = np.sqrt(np.average((x - self._centre) ** 2, axis=0, weights=weights))
        counts = np.bincount(index, weights)
        sums = np.zeros((len(counts), x.shape[1]))
        np.add.at(sums, index, x if weights is None else weights[:, None] * x)
        inside = (x - sums[index] / counts[index, None]) ** 2
        pooled = np.sqrt(np.average(inside, axis=0, weights=weights))
        # of a constant column, which rounding may have made another
        small = 10 * np.finfo(np.float64).eps * np.abs(self._centre)
        self._deviation = np.where(deviation > small, np.maximum(pooled, 0.1 * deviation), 1.0)
        return rbm.set_params(sigma=1.0)

    def dense(self, x: Any) -> NDArray[Any]:
        """Values as floats of a dense array, finite."""
        x = self.values(x)
        x = x.toarray() if hasattr(x, "toarray") else x
        check_finite(x)
        return x.astype(np.float32 if x.dtype in (np.uint8, np.bool_, np.float32) else np.float64)


def check_grey(x: NDArray[Any], rbm: Any, name: str, columns: Any) -> None:
    """Say by the option ``out_of_range`` of the machine where values of Bernoulli units are outside [0, 1]."""
    low, high = float(x.min()), float(x.max())
    if not is_rounding(low, high, x.dtype):
        column = int(np.argmax(((x < 0) | (x > 1)).any(axis=0)))
        Range(rbm.out_of_range, name, columns).found(low, high, column)


def visible_rows(estimator: Any, X: Any, *, reset: bool) -> VisibleData:
    """Rows as states of Bernoulli units, by the options `out_of_range`, `dtype` and `n_threads` of an estimator.

    With `reset` it gets ``n_features_in_``, ``feature_names_in_`` and ``input_scale_``, else it is asked for them.
    """
    if hasattr(X, "indptr"):
        check_indices(X)
    x = check_array(
        as_array(X, True),
        accept_sparse="csr",
        dtype="numeric",
        ensure_all_finite=False,
        estimator=estimator,
        input_name="X",
    )
    # a table for its names of columns, which the array of its values has not
    validate_data(estimator, X if hasattr(X, "columns") else x, skip_check_array=True, reset=reset)
    scale = InputScale(None, None if reset else float(estimator.input_scale_))
    scale.look(x)
    if reset:
        estimator.input_scale_ = scale.value
    scale.check_fit(scaled=False)  # these estimators have no such option
    name = type(estimator).__name__
    limits = Range(estimator.out_of_range, name, lambda: getattr(estimator, "feature_names_in_", None), scaled=False)
    dtype = np.dtype(np.float32 if estimator.dtype is None else estimator.dtype)
    return VisibleData(x, scale.factor(x), dtype, limits=limits, name=name, n_threads=estimator.n_threads)
