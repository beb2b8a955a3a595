"""scikit-learn's estimator checks over stacks and what is fine-tuned from them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastrbm import RBM, BernoulliRBM, GaussianRBM
from fastrbm.deep import DBNAutoencoder, DBNClassifier, DeepBeliefNetwork, DeepBoltzmannMachine

# some of scikit-learn's check data are outside [0, 1], and small
pytestmark = [
    pytest.mark.filterwarnings("ignore::fastrbm.DataRangeWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

SMALL = DeepBeliefNetwork([8, 4])
BITS = DeepBeliefNetwork([5], rbm=BernoulliRBM(n_iter=2))
LINEAR = DeepBeliefNetwork([GaussianRBM(8, sigma="data"), RBM(3, hidden="gaussian", learning_rate=0.01)])


def not_so(estimator):
    """Checks that an option is at odds with, and why."""
    if getattr(estimator, "validation_fraction", 0):
        return {"check_fit2d_1sample": "a single row leaves none to train on, which the message says"}
    if isinstance(estimator, DeepBoltzmannMachine):
        reason = "grey rows are no states, so they have no bound, and score raises"
        names = ("fit_score_takes_y", "pipeline_consistency", "methods_subset_invariance")
        return {f"check_{name}": reason for name in (*names, "methods_sample_order_invariance")}
    if isinstance(estimator, DeepBeliefNetwork) and estimator is not LINEAR:
        reason = "grey rows are no states, so they have no likelihood, and score raises"
        names = ["check_fit_score_takes_y"]
        if estimator is BITS:  # others take Gaussian units for data of any scale
            names += ["check_pipeline_consistency", "check_methods_subset_invariance"]
            names += ["check_methods_sample_order_invariance"]
        return dict.fromkeys(names, reason)
    return {}


@parametrize_with_checks(
    [
        DeepBoltzmannMachine([6, 4], n_iter=2, pretrain_iter=1, out_of_range="allow"),
        SMALL,
        BITS,
        LINEAR,
        DBNClassifier(DeepBeliefNetwork([32, 16]), n_iter=60),
        DBNClassifier(SMALL, pretrain=False, activation="relu", n_iter=60, batch_size=8),
        DBNAutoencoder(SMALL, n_iter=3),
        DBNAutoencoder(LINEAR, n_iter=3, validation_fraction=0.1),
    ],
    expected_failed_checks=not_so,
)
def test_estimator_checks(estimator, check):
    check(estimator)
