"""RBMOutlierDetector: its scores are free energies, its threshold is the quantile that it says."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrbm import BernoulliRBM, GaussianRBM
from fastrbm.classifiers import RBMOutlierDetector

DIGITS = load_digits()
NORMAL = DIGITS.target < 5
GREY = DIGITS.data / 16
SMALL = BernoulliRBM(16, n_iter=5)


def scrambled(x):
    """Rows with the values of other rows in every column: the same means, another distribution."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(column) for column in x.T], axis=1)


@pytest.mark.parametrize(
    "x,kind",
    [
        ((GREY > 0.5).astype(float), BernoulliRBM),
        (GREY, BernoulliRBM),
        ((GREY * 255).astype(np.uint8), BernoulliRBM),
        (DIGITS.data * 100 - 3, GaussianRBM),
    ],
)
def test_outliers_of_all_kinds_of_rows(x, kind):
    rows, new = x[NORMAL][:600], x[NORMAL][600:]
    model = RBMOutlierDetector(random_state=0).set_params(contamination=0.05).fit(rows)
    assert type(model.rbm_) is kind
    given = np.concatenate([new, scrambled(new)])
    labels = np.repeat([1, 0], len(new))
    assert roc_auc_score(labels, model.score_samples(given)) > 0.9
    np.testing.assert_array_equal(model.predict(given) == -1, model.decision_function(given) < 0)
    np.testing.assert_allclose(model.score_samples(new), -model.rbm_.free_energy(new))


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_alarms_on_the_training_rows_are_the_share(contamination):
    x = GREY[:400]
    model = RBMOutlierDetector(SMALL, contamination=contamination, random_state=0)
    assert (model.fit_predict(x) == -1).sum() == round(400 * contamination)


def test_auto_needs_no_share():
    """The threshold is Tukey's lower fence of the scores; weights are repetitions."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))
    strange = 6 * rng.normal(size=(12, 5)) @ rng.normal(size=(5, 5))
    x = np.r_[normal, strange]
    detector = RBMOutlierDetector(contamination="auto", random_state=0).fit(x)
    scores = detector.score_samples(x)
    low, high = np.quantile(scores, [0.25, 0.75], method="averaged_inverted_cdf")
    assert detector.offset_ == pytest.approx(low - 1.5 * (high - low))
    found = detector.predict(x) == -1
    assert found[400:].mean() > 0.7 and found[:400].mean() < 0.06
    few = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], 5, axis=0)
    times = rng.integers(0, 3, 15)
    rbm = BernoulliRBM(3, n_iter=3)
    weighted = RBMOutlierDetector(rbm, contamination="auto", random_state=0).fit(few, sample_weight=times)
    repeated = RBMOutlierDetector(rbm, contamination="auto", random_state=0).fit(np.repeat(few, times, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_)


def test_held_out_rows_give_an_honest_threshold():
    """On new rows the rate of alarms is nearer to the share than with a threshold of the rows that were learned."""
    x = GREY[NORMAL]
    known, new = x[:300], x[300:]
    rbm = BernoulliRBM(200, n_iter=300, algorithm="cd", learning_rate=0.1)
    rates = [
        (RBMOutlierDetector(rbm, calibration_fraction=f, random_state=0).fit(known).predict(new) == -1).mean()
        for f in (0.0, 0.3)
    ]
    assert abs(rates[1] - 0.1) < abs(rates[0] - 0.1) and rates[0] > 0.1


def test_weights_are_repetitions():
    times = np.arange(100) % 3
    model = RBMOutlierDetector(BernoulliRBM(8, dtype=np.float64), random_state=0)
    weighted = clone(model).fit(GREY[:100], sample_weight=times)
    repeated = clone(model).fit(np.repeat(GREY[:100], times, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_, rel=1e-9)
    with pytest.raises(ValueError, match="(?i)sample.weight"):
        model.fit(GREY[:100], sample_weight=np.zeros(100))
    held = clone(model).set_params(calibration_fraction=0.5)
    assert np.isfinite(held.fit(GREY[:100], sample_weight=times).offset_)


def test_threads_pickles_sparse_rows_and_pipelines():
    x = GREY[:200]
    model = RBMOutlierDetector(SMALL, calibration_fraction=0.2, random_state=0).set_params(rbm__n_threads=1).fit(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).decision_function(x), model.decision_function(x))
    other = clone(model).set_params(rbm__n_threads=2).fit(x)
    np.testing.assert_array_equal(other.decision_function(x), model.decision_function(x))
    sparse = clone(model).fit(sp.csr_matrix(x))
    np.testing.assert_allclose(sparse.decision_function(sp.csr_matrix(x)), model.decision_function(x))
    assert set(make_pipeline(StandardScaler(), RBMOutlierDetector()).fit_predict(DIGITS.data[:100])) == {-1, 1}
    search = GridSearchCV(RBMOutlierDetector(), {"rbm__n_components": [4, 8]}, scoring=lambda m, X, y=None: m.offset_)
    search.fit(x)


@pytest.mark.parametrize(
    "options,error,words",
    [
        ({"contamination": 0}, ValueError, "contamination"),
        ({"contamination": 0.6}, ValueError, "contamination"),
        ({"calibration_fraction": 1.0}, ValueError, "calibration_fraction"),
        ({"calibration_fraction": 0.001}, ValueError, "calibration_fraction must leave rows on both sides"),
        ({"rbm": StandardScaler()}, TypeError, "rbm must be None or an estimator of fastrbm"),
        ({"random_state": 0.5}, ValueError, "random_state"),
    ],
)
def test_bad_options_leave_a_fit_as_it_was(options, error, words):
    model = RBMOutlierDetector(SMALL, random_state=0).fit(GREY[:100])
    before = {**vars(model)}
    with pytest.raises(error, match=words):
        model.set_params(**options).fit(GREY[:90, :50])
    assert {**vars(model), **{name: before[name] for name in options}} == before
