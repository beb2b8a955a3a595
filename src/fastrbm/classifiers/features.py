"""Features of an RBM, then a classifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
    is_regressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from .._data.ranges import InputScale
from .._estimator.attributes import columns_of, restored_classes, set_columns, stored_classes
from .._estimator.files import Form, StoredParts
from .._estimator.row_weights import checked_weights
from .._estimator.untouched import untouched
from .._kernels.draws import Key
from ..estimators import SoftmaxRBM
from . import _parts

#: numbers of the streams of seeds
_RBM, _CLASSIFIER, _STATES = 0, 1, 2
_KINDS = ("means", "samples", "means+inputs")


def _named(name: str) -> Any:
    """The classifier that a name stands for."""
    if name == "logistic":
        return LogisticRegression(C=0.1, max_iter=1000)
    return MLPClassifier((256,), alpha=1.0, max_iter=300)


def _has(method: str) -> Any:
    """Check for `available_if`: whether the classifier has a method."""

    def check(self: Any) -> bool:
        classifier = getattr(self, "classifier_", self.classifier)
        getattr(_named(classifier) if isinstance(classifier, str) else classifier, method)
        return True

    return check


class RBMClassifier(
    StoredParts, _parts.Parts, ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Classifier on the features that an RBM has learned from the rows without their labels.

    Parameters
    ----------
    rbm : estimator of fastrbm or None, default=None
        A copy of it is fitted. None takes a `BernoulliRBM` of 500 hidden units where all values are in [0, 1] (uint8
        images count as such) or X is sparse, and a ``GaussianRBM(sigma="data")`` of 500 for others. Its options are
        there for searches, as ``rbm__n_components``; for None they are those of the `BernoulliRBM`.
    classifier : {"logistic", "mlp"} or classifier of scikit-learn, default="logistic"
        What is fitted to the features, a copy of it. "logistic" is ``LogisticRegression(C=0.1)``, "mlp" an
        `MLPClassifier` of 256 hidden units. Its options are there for searches, as ``classifier__C``.
    features : {"means", "samples", "means+inputs"}, default="means"
        "means" are the means of the hidden units given a row. "samples" fits the classifier to states drawn from
        p(h | v), one for each training row; predictions are made of their means, so they have no noise, and a row's
        does not depend on its neighbours. "means+inputs" has the values of the row beside the means, uint8 images
        divided by 255.
    scale : bool, default=True
        Whether features are standardised, by means and deviations of the training rows.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the RBM, of the classifier and of drawn states. None leaves the first two to their own ``random_state``.

    Attributes
    ----------
    rbm_ : estimator
        The fitted RBM.
    scaler_ : StandardScaler or None
    classifier_ : estimator
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Labels in order.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    FreeEnergyClassifier : Probabilities of classes from the RBM itself.

    Notes
    -----
    `predict_proba`, `predict_log_proba` and `decision_function` are there where the classifier has them. The whole of X
    is held in memory; for rows that are read piece by piece fit the RBM and the classifier one after the other.

    References
    ----------
    Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313 (2006).
    Coates, Ng, Lee, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011, for
    standardised features.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastrbm.classifiers import RBMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> RBMClassifier(random_state=0).fit(X[:1000] / 16, y[:1000]).score(X[1000:] / 16, y[1000:]) > 0.9
    True
    """

    _foreign = ("classifier",)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "classifier": [StrOptions({"logistic", "mlp"}), HasMethods(["fit", "predict"])],
        "features": [StrOptions(set(_KINDS))],
        "scale": ["boolean"],
    }

    def __init__(
        self,
        rbm: Any = None,
        classifier: Any = "logistic",
        *,
        features: str = "means",
        scale: bool = True,
        random_state: Any = None,
    ):
        self.rbm = rbm
        self.classifier = classifier
        self.features = features
        self.scale = scale
        self.random_state = random_state

    def _default(self, grey: bool = True) -> Any:
        return _parts.feature_rbm() if grey else _parts.feature_gaussian_rbm()

    def _part(self, name: str, value: Any) -> Any:
        if name == "classifier" and isinstance(value, str) and value in ("logistic", "mlp"):
            return _named(value)
        return super()._part(name, value)

    def _check_options(self) -> None:
        self._validate_params()
        _parts.check_rbm(self.rbm)
        Key.check(self.random_state)
        if isinstance(self.classifier, type):
            raise TypeError(f"classifier must be an object, got the class {self.classifier.__name__}: add ()")
        if hasattr(self.classifier, "__sklearn_tags__") and is_regressor(self.classifier):
            raise TypeError(f"classifier must be a classifier, got the regressor {self.classifier!r}")
        if self.features == "means+inputs" and isinstance(self.rbm, SoftmaxRBM):
            raise ValueError(
                "features must be 'means' or 'samples' with a SoftmaxRBM, whose inputs are numbers of categories, "
                "got 'means+inputs'"
            )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RBMClassifier:
        """Fit the RBM to X, then the classifier to the features of X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What the RBM takes, in one table.
        y : array-like of shape (n_samples,)
            Labels of any type, of at least two classes.
        sample_weight : array-like of shape (n_samples,) or None
            Not negative; passed to the RBM, the scaler and the classifier.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options, rows or labels; for `sample_weight` where ``classifier.fit`` has no such parameter.
            The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If the parameters of the RBM become infinite or NaN.
        """
        self._check_options()
        with untouched(self):
            x = _parts.table_of(self, X, sparse=_parts.takes_sparse(self.rbm), reset=True)
            y, classes, index = _parts.labels_of(self, y, x)
            weights = checked_weights(sample_weight, x)
            _parts.check_weighted_classes(classes, index, weights, every=False)
            rbm = self._machine(self.rbm, x)
            given = self.classifier
            classifier = _named(given) if isinstance(given, str) else clone(given)
            if weights is not None and not has_fit_parameter(classifier, "sample_weight"):
                raise ValueError(
                    f"sample_weight must be None with a {type(classifier).__name__}, whose fit takes none: leave it "
                    "out, or choose another classifier"
                )
            key = Key.from_random_state(self.random_state)
            if self.random_state is not None:
                _parts.seeded(rbm, key, _RBM)
                _parts.seeded(classifier, key, _CLASSIFIER)
            weighted = _parts.weighted(weights)
            rbm.fit(x, **weighted)
            if self.features == "samples":
                features = rbm.sample_hidden(x, random_state=key.fold_in(_STATES)).astype(np.float32)
            else:
                features = _features(rbm, self.features, x)
            scaler = None
            if self.scale:
                scaler = StandardScaler(copy=False).set_output(transform="default").fit(features, **weighted)
                features = scaler.transform(features)
            classifier.fit(features, y, **weighted)
            self.rbm_, self.scaler_, self.classifier_ = rbm, scaler, classifier
            self.classes_, self._kind = classes, self.features
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Compute the features that predictions are made of: those of the RBM, standardised with `scale`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_features_out)
            A column for each hidden unit; with "means+inputs" then one for each column of X.
        """
        return self._transformed(X)

    def _transformed(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        x = _parts.table_of(self, X, sparse=_parts.takes_sparse(self.rbm_), reset=False)
        features = _features(self.rbm_, self._kind, x)
        return features if self.scaler_ is None else self.scaler_.transform(features)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the labels of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,)
        """
        features = self._transformed(X)
        return self.classifier_.predict(features)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict probabilities of the classes, those of the classifier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        features = self._transformed(X)
        return self.classifier_.predict_proba(features)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Predict logs of the probabilities; see `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
        """
        features = self._transformed(X)
        return self.classifier_.predict_log_proba(features)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Compute the scores of the classes, those of the classifier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        features = self._transformed(X)
        return self.classifier_.decision_function(features)

    # -- files ----------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        scaler = {} if self.scaler_ is None else {"scaler": self.scaler_}
        return {"rbm": self.rbm_, **scaler, "classifier": self.classifier_}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        objects, classes = stored_classes(self.classes_)
        return columns_of(self) | {"features": self._kind, "objects": objects}, {"classes": classes}

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        set_columns(self, own)
        self.classes_ = restored_classes(own["objects"], arrays["classes"])
        self.rbm_ = _parts.machine_of(parts["rbm"], self.n_features_in_)
        self.scaler_, self.classifier_, self._kind = parts.get("scaler"), parts["classifier"], own["features"]
        if self._kind not in _KINDS or not (self.scaler_ is None or isinstance(self.scaler_, StandardScaler)):
            raise ValueError(f"no features: {self._kind!r} and {self.scaler_!r}")
        for part in (self.scaler_, self.classifier_):
            if part is not None and getattr(part, "n_features_in_", self._n_features_out) != self._n_features_out:
                raise ValueError(f"{part!r} must take {self._n_features_out} features, got {part.n_features_in_}")
        if not np.array_equal(self.classifier_.classes_, self.classes_) or not hasattr(self.classifier_, "predict"):
            raise ValueError(f"{self.classifier_!r} is no classifier of {self.classes_}")

    @property
    def _n_features_out(self) -> int:
        """Number of features, for scikit-learn's names of columns."""
        return len(self.rbm_.components_) + (self.n_features_in_ if self._kind == "means+inputs" else 0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = _parts.takes_sparse(self.rbm)
        return tags


def _features(rbm: Any, kind: str, x: Any) -> NDArray[Any]:
    """Features of rows before they are standardised: floats of a new array."""
    means = rbm.transform(x)
    if kind != "means+inputs":
        return means
    scale = InputScale(None if isinstance(rbm.input_scale, str) else rbm.input_scale, rbm.input_scale_)
    scale.look(x)
    inputs = x.toarray() if hasattr(x, "toarray") else x
    return np.hstack([means, inputs.astype(means.dtype) * scale.factor(x)])
