"""Outliers by free energy."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .._estimator.attributes import columns_of, number_of, set_columns
from .._estimator.files import Form, StoredParts
from .._estimator.row_weights import checked_weights
from .._estimator.untouched import untouched
from .._kernels.draws import Key
from . import _parts

_RBM, _SPLIT = 0, 1
#: what sums of weights may miss a share by
_ROUNDING = 1e-9


class RBMOutlierDetector(StoredParts, _parts.Parts, OutlierMixin, BaseEstimator):
    """Outlier detector: rows whose free energy under an RBM is high are outliers.

    log p(v) = -F(v) - log Z, so free energies order rows as probabilities do, and log Z is not needed.

    Parameters
    ----------
    rbm : estimator of fastrbm or None, default=None
        A copy of it is fitted. None takes a `BernoulliRBM` of 100 hidden units where all values are in [0, 1] (uint8
        images count as such) or X is sparse, and a ``GaussianRBM(sigma="data")`` for others. Its options are there for
        searches, as ``rbm__n_components``; for None they are those of the `BernoulliRBM`.
    contamination : float, default=0.1
        Share of outliers in the training rows, above 0 and at most 0.5: the threshold is that quantile of their scores.
        For training rows that are all normal it is the rate of false alarms.
    calibration_fraction : float, default=0.0
        Share of the rows, below 1, that the RBM is not trained on and that the threshold is found on. Rows that were
        trained on have lower free energies than others like them, so a threshold found on them gives more alarms on
        new rows than `contamination` says. With 0 the training rows are taken.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the RBM and of the choice of the held-out rows. None leaves the RBM its own ``random_state``.

    Attributes
    ----------
    rbm_ : estimator
        The fitted RBM.
    offset_ : float
        The threshold: ``decision_function`` is ``score_samples`` minus it.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    A free energy adds up terms of all features, so wide rows of grey values need normal ones of the same kind to be
    compared with: an image with more ink has another free energy than one with less. What is an outlier on one kind of
    data says little on another.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.classifiers import RBMOutlierDetector
    >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
    >>> detector = RBMOutlierDetector(contamination=0.05, random_state=0).fit(X)
    >>> detector.predict([[0, 0, 1, 1], [0, 1, 1, 0]])
    array([ 1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        rbm: Any = None,
        *,
        contamination: float = 0.1,
        calibration_fraction: float = 0.0,
        random_state: Any = None,
    ):
        self.rbm = rbm
        self.contamination = contamination
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> RBMOutlierDetector:
        """Fit the RBM, then find the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What the RBM takes, in one table.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None
            Not negative, of the RBM and of the quantile.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options or rows. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If the parameters of the RBM become infinite or NaN.
        """
        self._validate_params()
        _parts.check_rbm(self.rbm)
        Key.check(self.random_state)
        with untouched(self):
            x = _parts.table_of(self, X, sparse=_parts.takes_sparse(self.rbm), reset=True)
            weights = checked_weights(sample_weight, x)
            rbm = self._machine(self.rbm, x)
            key = Key.from_random_state(self.random_state)
            if self.random_state is not None:
                _parts.seeded(rbm, key, _RBM)
            trained, judged = self._split(x.shape[0], key)
            rbm.fit(x[trained], **_parts.weighted(weights, trained))
            scores = -rbm.free_energy(x[judged])
            offset = _quantile(scores, None if weights is None else weights[judged], self.contamination)
            self.rbm_, self.offset_ = rbm, offset
        return self

    def _split(self, n_rows: int, key: Key) -> tuple[Any, Any]:
        """Rows that are trained on, and those that the threshold is found on."""
        if not self.calibration_fraction:
            return slice(None), slice(None)
        n_held = round(self.calibration_fraction * n_rows)
        if not 0 < n_held < n_rows:
            raise ValueError(
                f"calibration_fraction must leave rows on both sides, got {self.calibration_fraction} of "
                f"n_samples={n_rows}: choose another, or 0 for a threshold from the training rows"
            )
        order = key.permutation(n_rows, _SPLIT)
        return np.sort(order[n_held:]), np.sort(order[:n_held])

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Compute minus the free energies of rows: higher is more normal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            log p(v) up to the constant log Z.
        """
        check_is_fitted(self)
        x = _parts.table_of(self, X, sparse=_parts.takes_sparse(self.rbm_), reset=False)
        return -self.rbm_.free_energy(x)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute how far the scores of rows are above the threshold; below 0 are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Tell normal rows, 1, from outliers, -1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int64, shape (n_samples,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)

    # -- files ----------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        return {"rbm": self.rbm_}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        return columns_of(self) | {"offset": self.offset_}, {}

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        set_columns(self, own)
        self.rbm_ = _parts.machine_of(parts["rbm"], self.n_features_in_)
        self.offset_ = number_of(own, "offset")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = _parts.takes_sparse(self.rbm)
        return tags


def _quantile(scores: NDArray[np.float64], weights: NDArray[np.float64] | None, share: float) -> float:
    """A value that this share of the weight is below: between two scores, or the score that it falls on."""
    order = np.argsort(scores, kind="stable")
    weights = np.ones(len(scores)) if weights is None else weights
    order = order[weights[order] > 0]
    if not len(order):
        raise ValueError("sample_weight must be above 0 for some of the rows that the threshold is found on")
    total = np.cumsum(weights[order])
    wanted = share * total[-1]
    at = int(np.searchsorted(total, wanted * (1 - _ROUNDING)))
    low = float(scores[order[at]])
    if at + 1 < len(order) and total[at] <= wanted * (1 + _ROUNDING):
        return 0.5 * (low + float(scores[order[at + 1]]))
    return low
