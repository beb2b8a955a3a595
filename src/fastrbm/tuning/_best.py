"""Methods of a search that are those of the estimator it has found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted


def _has(name: str) -> Callable[[Any], bool]:
    """Check whether the best estimator has a method, or the one that is searched before a fit."""

    def check(search: Any) -> bool:
        getattr(getattr(search, "best_estimator_", search.estimator), name)  # its AttributeError says what is missing
        return True

    return check


class Best:
    """What delegates to ``best_estimator_``, as the searches of scikit-learn do; each where the estimator has it."""

    estimator: Any
    best_estimator_: Any

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    @available_if(_has("predict"))
    def predict(self, X: Any) -> Any:
        """Call the `predict` of the best estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._best().predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Call the `predict_proba` of the best estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._best().predict_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Call the `decision_function` of the best estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._best().decision_function(X)

    @available_if(_has("transform"))
    def transform(self, X: Any) -> Any:
        """Call the `transform` of the best estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        return self._best().transform(X)

    @available_if(_has("score_samples"))
    def score_samples(self, X: Any) -> Any:
        """Call the `score_samples` of the best estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._best().score_samples(X)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None) -> float:
        """Call the `score` of the best estimator, which is not the metric of the search.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None
            Labels, for classifiers.

        Returns
        -------
        float
        """
        best = self._best()
        return float(best.score(X) if y is None else best.score(X, y))

    @property
    def classes_(self) -> Any:
        """Labels in order, of a classifier."""
        return self._best().classes_

    @property
    def n_features_in_(self) -> int:
        """Columns of X."""
        return int(self._best().n_features_in_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        of_estimator = get_tags(self.estimator)
        tags.estimator_type, tags.classifier_tags = of_estimator.estimator_type, of_estimator.classifier_tags
        tags.input_tags.sparse = of_estimator.input_tags.sparse
        return tags
