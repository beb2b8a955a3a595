"""scikit-learn's estimator checks over every classifier of the package."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastrbm import BernoulliRBM, GaussianRBM
from fastrbm.classifiers import FreeEnergyClassifier, PatchFeatures, RBMClassifier, RBMOutlierDetector
from fastrbm.init import Normal

# some of scikit-learn's check data are outside [0, 1], and small
pytestmark = [
    pytest.mark.filterwarnings("ignore::fastrbm.DataRangeWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

REAL = GaussianRBM(32, sigma="data", algorithm="cd", learning_rate=0.02)
# whole rows in one minibatch and no chains: weights are the same as repetitions
EXACT = GaussianRBM(3, sigma="data", algorithm="exact", batch_size=10_000, n_iter=100, dtype=np.float64)
BITS = BernoulliRBM(3, algorithm="exact", batch_size=10_000, dtype=np.float64)


def not_so(estimator):
    """Checks that an option is at odds with, and why."""
    if getattr(estimator, "features", "") == "samples":
        return {
            "check_sample_weight_equivalence_on_dense_data": "repeated rows have a draw each",
            "check_classifiers_train": "states given two columns are mostly noise",
        }
    if getattr(estimator, "calibration_fraction", 0):
        other = "the threshold is not the quantile of the scores of all rows"
        return {
            "check_outliers_train": other,
            "check_outliers_fit_predict": other,
            "check_sample_weight_equivalence_on_dense_data": "other rows are held out",
        }
    if estimator.rbm is BITS:
        return {"check_classifiers_train": "data outside [0, 1] have no probabilistic meaning"}
    return {}


@parametrize_with_checks(
    [
        RBMClassifier(),
        RBMClassifier(REAL, "mlp", features="means+inputs"),
        RBMClassifier(REAL, features="samples", scale=False),
        RBMClassifier(REAL, DecisionTreeClassifier()),
        RBMClassifier(EXACT),
        RBMClassifier(BITS),
        FreeEnergyClassifier(),
        FreeEnergyClassifier(GaussianRBM(8, sigma="data"), offsets="estimated"),
        FreeEnergyClassifier(EXACT),
        FreeEnergyClassifier(BernoulliRBM(8, n_iter=2)),
        FreeEnergyClassifier(clone(REAL).set_params(n_iter=200, init=Normal(1.0)), mode="joint"),
        PatchFeatures(n_patches=2000),
        PatchFeatures(clone(REAL), patch=1, contrast=None, whitening=None, n_patches=500),
        RBMOutlierDetector(),
        RBMOutlierDetector(BITS),
        RBMOutlierDetector(contamination="auto"),
        RBMOutlierDetector(GaussianRBM(8, sigma="data"), calibration_fraction=0.2),
    ],
    expected_failed_checks=not_so,
)
def test_estimator_checks(estimator, check):
    check(estimator)
