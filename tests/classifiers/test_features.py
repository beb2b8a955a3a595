"""RBMClassifier: it is the RBM, the scaler and the classifier that it says."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from fastrbm import BernoulliRBM, DataRangeWarning, GaussianRBM, SoftmaxRBM, compat
from fastrbm.classifiers import FreeEnergyClassifier, RBMClassifier, RBMOutlierDetector
from fastrbm.deep import DeepBeliefNetwork

DIGITS = load_digits()
X = DIGITS.data[:400] / 16
Y = np.array([f"digit {k}" for k in DIGITS.target[:400]])
SMALL = BernoulliRBM(64, algorithm="cd", visible_bias="data", random_state=3)


def small(**options):
    return RBMClassifier(**{"rbm": SMALL, "random_state": 0, **options})


def test_it_is_the_parts_one_after_the_other():
    model = small(random_state=None).fit(X, Y)
    rbm = clone(SMALL).fit(X)
    parts = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(rbm.transform(X), Y)
    np.testing.assert_array_equal(model.rbm_.components_, rbm.components_)
    np.testing.assert_allclose(model.predict_proba(X), parts.predict_proba(rbm.transform(X)), rtol=1e-9)
    np.testing.assert_allclose(model.transform(X), parts[0].transform(rbm.transform(X)))
    assert model.score(X, Y) == parts.score(rbm.transform(X), Y) > 0.8
    assert not hasattr(SMALL, "components_")


def test_features_are_what_they_are_called():
    plain = small(scale=False).fit(X, Y)
    np.testing.assert_array_equal(plain.transform(X), plain.rbm_.transform(X))
    assert plain.scaler_ is None
    both = small(scale=False, features="means+inputs").fit(X, Y)
    np.testing.assert_allclose(both.transform(X), np.hstack([plain.transform(X), X]))
    assert len(both.get_feature_names_out()) == 64 + 64 == both.classifier_.coef_.shape[1]
    drawn = small(scale=False, features="samples").fit(X, Y)
    np.testing.assert_array_equal(drawn.transform(X), plain.transform(X))
    # the states of the training rows, not their means, are what the classifier saw
    assert np.abs(drawn.classifier_.coef_ - plain.classifier_.coef_).max() > 1e-3
    np.testing.assert_array_equal(drawn.predict(X)[::-1], drawn.predict(X[::-1]))


def test_images_and_sparse_rows():
    images = (X * 255).astype(np.uint8)
    for features in ("means", "means+inputs"):
        rbm = clone(SMALL).set_params(shuffle=False, dtype=np.float64)  # the order of shuffled rows is that of bytes
        options = dict(rbm=rbm, features=features)
        grey = small(**options).fit(images, Y)
        as_floats = small(**options).fit(images / 255, Y)
        np.testing.assert_allclose(grey.predict_proba(images), as_floats.predict_proba(images / 255), atol=1e-4)
        sparse = small(**options).fit(sp.csr_matrix(images / 255), Y)
        columns = sp.csc_matrix(images / 255)
        np.testing.assert_allclose(sparse.predict_proba(columns), as_floats.predict_proba(images / 255))


def test_options_of_a_default_machine_are_not_those_of_another():
    for estimator in (RBMClassifier(), FreeEnergyClassifier(), RBMOutlierDetector(), DeepBeliefNetwork([4])):
        estimator.set_params(rbm__n_iter=1)
        estimator.fit(DIGITS.data / 16, DIGITS.target)
        with pytest.raises(ValueError, match="rbm must be given where values of X are outside"):
            estimator.fit(DIGITS.data, DIGITS.target)


def test_the_copy_of_scikit_learn_is_a_machine_too():
    rbm = compat.BernoulliRBM(5, n_iter=1)
    X, y = DIGITS.data[:200] / 16, DIGITS.target[:200]
    for estimator in (RBMClassifier(rbm), FreeEnergyClassifier(rbm), RBMOutlierDetector(rbm), DeepBeliefNetwork([rbm])):
        estimator.set_params(random_state=0).fit(X, y)
    with pytest.raises(TypeError, match="classifier must be a classifier, got the regressor"):
        RBMClassifier(SMALL, LinearRegression()).fit(X, y)


def test_default_machine_follows_the_values():
    assert type(RBMClassifier().set_params(rbm__n_iter=1, rbm__n_components=4).fit(X, Y).rbm_) is BernoulliRBM
    model = RBMClassifier(random_state=0).fit(DIGITS.data, DIGITS.target)
    assert type(model.rbm_) is GaussianRBM
    # nothing is said, as nothing is outside the range of real values
    assert model.score(DIGITS.data, DIGITS.target) > 0.9


def test_same_seed_same_predictions_at_any_number_of_threads():
    first = small(classifier="mlp").set_params(rbm__n_threads=1, classifier__max_iter=3).fit(X, Y)
    second = clone(first).set_params(rbm__n_threads=2).fit(X, Y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    other = clone(first).set_params(random_state=1).fit(X, Y)
    assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("seed", [np.random.RandomState(0), np.random.default_rng(0), 2**40])
def test_seeds_of_any_kind(seed):
    small(random_state=seed, features="samples").fit(X, Y)


def test_search_through_parts():
    grid = {"rbm__n_components": [4, 16], "classifier__C": [0.1, 1.0]}
    for rbm in (None, SMALL):
        base = RBMClassifier(rbm, random_state=0)
        search = GridSearchCV(base, grid, cv=2).fit(X[:300], Y[:300])
        assert len(search.cv_results_["params"]) == 4
        assert search.best_estimator_.rbm_.n_components == search.best_params_["rbm__n_components"]
        assert base.get_params()["rbm"] is rbm and base.classifier == "logistic"
    with pytest.raises(ValueError, match="Invalid parameter 'n_hidden'"):
        RBMClassifier().set_params(rbm__n_hidden=3)


def test_tools_of_scikit_learn():
    model = small()
    assert cross_val_score(model, X, Y, cv=2).mean() > 0.6
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, Y)
    assert calibrated.predict_proba(X).shape == (400, 10)
    pipeline = make_pipeline(FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1}), model).fit(X, Y)
    copy = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(copy.predict_proba(X), pipeline.predict_proba(X))
    with sklearn.config_context(transform_output="pandas"):
        table = small().fit(X, Y)
        np.testing.assert_array_equal(table.predict(X), small().fit(X, Y).predict(X))
        assert list(table.transform(X).columns) == list(table.get_feature_names_out())


def test_methods_are_those_of_the_classifier():
    assert not hasattr(small(classifier=LinearSVC()), "predict_proba")
    assert hasattr(small(classifier=LinearSVC()), "decision_function")
    assert not hasattr(small(classifier="mlp"), "decision_function")
    model = small(classifier=LinearSVC()).fit(X, Y)
    assert model.decision_function(X).shape == (400, 10) and model.score(X, Y) > 0.8


def test_weights_reach_all_parts():
    weights = np.where(Y == "digit 1", 0.0, 1.0)
    rest = weights > 0
    exact = BernoulliRBM(4, algorithm="exact", batch_size=1000, dtype=np.float64, n_iter=3)
    some = small(rbm=exact).fit(X, Y, sample_weight=weights)
    alone = small(rbm=exact).fit(X[rest], Y[rest])
    np.testing.assert_allclose(some.rbm_.components_, alone.rbm_.components_)
    np.testing.assert_allclose(some.scaler_.mean_, alone.scaler_.mean_)
    assert "digit 1" in some.classes_ and "digit 1" not in some.predict(X)
    with pytest.raises(ValueError, match="sample_weight must be None with a KNeighborsClassifier"):
        small(classifier=KNeighborsClassifier()).fit(X, Y, sample_weight=weights)
    with pytest.raises(ValueError, match="at least two classes"):
        small().fit(X, Y, sample_weight=(Y == "digit 1") * 1.0)


BAD = [
    ({"rbm": BernoulliRBM}, TypeError, "rbm must be None or an estimator of fastrbm"),
    ({"rbm": LogisticRegression()}, TypeError, "rbm must be None or an estimator of fastrbm"),
    ({"rbm": BernoulliRBM(0)}, ValueError, "n_components"),
    ({"classifier": "svm"}, ValueError, "classifier"),
    ({"classifier": LogisticRegression}, TypeError, "classifier must be an object"),
    ({"features": "states"}, ValueError, "features"),
    ({"scale": "yes"}, ValueError, "scale"),
    ({"random_state": -1}, ValueError, "random_state"),
    ({"rbm": SoftmaxRBM(), "features": "means+inputs"}, ValueError, "features must be"),
]


@pytest.mark.parametrize("options,error,words", BAD)
def test_bad_options_leave_a_fit_as_it_was(options, error, words):
    model = small().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(error, match=words):
        model.set_params(**options).fit(X[:, :50], Y)
    assert model.n_features_in_ == 64
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize(
    "x,y,error,words",
    [
        (X, np.repeat("one", 400), ValueError, "at least two classes, got one class: 'one'"),
        (X, None, ValueError, "requires y to be passed"),
        (X, Y[:-1], ValueError, "inconsistent"),
        (X, np.linspace(0, 1, 400), ValueError, "Unknown label type"),
        (np.where(X > 0.9, np.nan, X), Y, ValueError, "NaN"),
        ([X[:200], X[200:]], Y, TypeError, "X must be one table"),
        (lambda: iter([X]), Y, TypeError, "X must be one table"),
    ],
)
def test_bad_rows_and_labels_leave_a_fit_as_it_was(x, y, error, words):
    model = small().fit(X, Y)
    before = vars(model).copy()
    with pytest.raises(error, match=words):
        model.fit(x, y)
    assert vars(model) == before


def test_values_outside_the_range_are_said():
    with pytest.warns(DataRangeWarning):
        small().fit(X * 2, Y)
