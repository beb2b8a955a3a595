"""Rows of X as inputs of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.finite import check_finite
from .._data.ranges import InputScale, Range, is_rounding

_BLOCK = 4096  # rows that are converted at a time


class Values:
    """What the network gets in the place of a row: grey levels in [0, 1], standardised columns, or the row as it is.

    Columns of Gaussian visible units are standardised by the rows of the fit, whatever the machine does with them, as
    networks are trained best on such inputs.

    Parameters
    ----------
    rbm : estimator
        The first machine, fitted or not.
    x : ndarray
        Rows of the fit.
    rows : ndarray of int or None
        Which of them means and deviations are taken of, and how often each; None: all.
    weights : ndarray or None
        Of all rows.

    Attributes
    ----------
    centre, deviation : ndarray of float64, shape (n_features,)
        An input is (x - centre) / deviation; uint8 images are divided by 255 before.
    """

    def __init__(
        self,
        rbm: Any,
        x: NDArray[Any],
        rows: NDArray[np.int64] | None = None,
        weights: NDArray[np.float64] | None = None,
    ):
        self._bernoulli = rbm.units[0] == "bernoulli"
        self._mode, self._columns = rbm.out_of_range, getattr(rbm, "feature_names_in_", None)
        self._given: float | None = None
        self._fitted: float | None = getattr(rbm, "input_scale_", None)
        self.centre, self.deviation = np.zeros(x.shape[1]), np.ones(x.shape[1])
        if self._bernoulli:
            self._given = None if isinstance(rbm.input_scale, str) else float(rbm.input_scale)
            if self._fitted is None:
                scale = InputScale(self._given)
                scale.look(x)
                self._fitted = scale.value
        elif rbm.units[0] == "gaussian":
            check_finite(x)
            x = x if rows is None else x[rows]
            if weights is None:
                self.centre = x.mean(axis=0, dtype=np.float64)
                self.deviation = x.std(axis=0, dtype=np.float64)
            else:
                share = weights if rows is None else weights[rows]
                self.centre = np.average(x, axis=0, weights=share)
                self.deviation = np.sqrt(np.average((x - self.centre) ** 2, axis=0, weights=share))
            # of a constant column, which rounding may have made another
            small = self.deviation <= 10 * np.finfo(np.float64).eps * np.abs(self.centre)
            self.deviation[small] = 1.0

    def numbers(self) -> dict[str, Any]:
        """All but the arrays, as JSON has it."""
        names = None if self._columns is None else list(map(str, self._columns))
        return {
            "bernoulli": self._bernoulli,
            "mode": self._mode,
            "given": self._given,
            "fitted": self._fitted,
            "columns": names,
        }

    @classmethod
    def of(cls, numbers: dict[str, Any], centre: NDArray[Any], deviation: NDArray[Any]) -> Values:
        """What `numbers` and the arrays tell."""
        made = cls.__new__(cls)
        made._bernoulli, made._mode = bool(numbers["bernoulli"]), str(numbers["mode"])
        made._given, made._fitted = (None if x is None else float(x) for x in (numbers["given"], numbers["fitted"]))
        made._columns = numbers["columns"]
        made.centre, made.deviation = centre.astype(np.float64), deviation.astype(np.float64)
        if not (made.deviation > 0).all() or made.centre.shape != made.deviation.shape:
            raise ValueError("deviation must be above 0, one for each column")
        return made

    @property
    def float_factor(self) -> float:
        """What floats are multiplied with: the option ``input_scale`` where it was given."""
        return 1.0 if self._given is None else self._given

    @property
    def standardised(self) -> bool:
        """Whether columns are standardised."""
        return bool(self.centre.any() or (self.deviation != 1).any())

    def checked(self, x: NDArray[Any], name: str, *, quiet: bool = False) -> Inputs:
        """Rows that have been looked at: ValueError for NaN, a warning for values outside [0, 1] of Bernoulli units."""
        check_finite(x)
        factor = 1.0
        if self._bernoulli:
            scale = InputScale(self._given, self._fitted)
            scale.look(x)
            scale.check_fit()
            factor = scale.factor(x)
            low, high = float(x.min()) * factor, float(x.max()) * factor
            if not quiet and not is_rounding(low, high, x.dtype):
                column = int(np.argmax(((x * factor < 0) | (x * factor > 1)).any(axis=0)))
                Range(self._mode, name, lambda: self._columns, factor != 1).found(low, high, column)
        return Inputs(self, x, factor)

    def restored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Inputs in the scale of the data; those of images stay in [0, 1]."""
        if not self.standardised:
            return values
        return values * self.deviation.astype(values.dtype) + self.centre.astype(values.dtype)


class Inputs:
    """Rows that become inputs a minibatch at a time."""

    def __init__(self, values: Values, x: NDArray[Any], factor: float):
        self._values, self._x, self._factor = values, x, factor

        given = np.dtype(x.dtype)
        #: float type of what is made of the rows: theirs; None for others
        self.float_type = given if given in (np.float32, np.float64) else None

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        """Inputs of some rows, or a block of them."""
        x = self._x[rows].astype(np.float64)
        if self._factor != 1:
            x *= self._factor
        if self._values.standardised:
            x = (x - self._values.centre) / self._values.deviation
        return x

    def taken(self, rows: NDArray[np.int64]) -> Inputs:
        """Some of the rows."""
        return Inputs(self._values, self._x[rows], self._factor)

    def blocks(self, dtype: Any) -> Any:
        """All inputs, piece by piece."""
        for first in range(0, len(self._x), _BLOCK):
            yield slice(first, first + _BLOCK), np.ascontiguousarray(self[first : first + _BLOCK], dtype=dtype)
