"""scikit-learn's own tests of its RBM, run with our classes in its place, and its estimator checks."""

import importlib.util

import numpy as np
import pytest
import sklearn.neural_network.tests as sklearn_tests
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastrbm
from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM, compat

# pins the fourth decimal of weights trained with NumPy's draws in scikit-learn's order
PINS_NUMPY_DRAWS = {"test_fit_gibbs"}

# most of scikit-learn's check data are outside [0, 1]
pytestmark = pytest.mark.filterwarnings("ignore::fastrbm.DataRangeWarning")


def sklearn_rbm_tests(cls):
    """Functions of a fresh copy of scikit-learn's test module that uses `cls`."""
    path = f"{sklearn_tests.__path__[0]}/test_rbm.py"
    spec = importlib.util.spec_from_file_location(f"rbm_tests_with_{cls.__module__.replace('.', '_')}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.BernoulliRBM = cls
    return {name: f for name, f in vars(module).items() if name.startswith("test_")}


COMPAT = sklearn_rbm_tests(compat.BernoulliRBM)
FAST = {k: f for k, f in sklearn_rbm_tests(BernoulliRBM).items() if k not in PINS_NUMPY_DRAWS}
globals().update({f"test_compat_{name[5:]}": f for name, f in COMPAT.items()})
globals().update({f"test_fast_{name[5:]}": f for name, f in FAST.items()})


def test_the_whole_suite_was_taken():
    assert len(COMPAT) >= 14 and set(COMPAT) - set(FAST) == PINS_NUMPY_DRAWS


def checks_of_other_data(estimator):
    """Checks whose data are of their own making, and no data of the estimator."""
    if isinstance(estimator, SoftmaxRBM):
        return {"check_sample_weight_equivalence_on_dense_data": "fits numbers from 0 to 1, which are no categories"}
    return {}


@parametrize_with_checks(
    [
        BernoulliRBM(),
        BernoulliRBM(algorithm="cd", optimizer=fastrbm.SGD(momentum=0.5), dtype=np.float64),
        BernoulliRBM(device="reference", n_components=8, n_iter=2),
        compat.BernoulliRBM(),
        # whole rows in one minibatch and no chains: weights are the same as repetitions
        BernoulliRBM(3, algorithm="exact", batch_size=10_000, dtype=np.float64),
        IsingRBM(8, out_of_range="allow"),
        PottsRBM(8),
        GaussianRBM(8, learning_rate=1e-3),
        GaussianRBM(3, sigma="learned", algorithm="exact", batch_size=10_000, learning_rate=1e-3, dtype=np.float64),
        SoftmaxRBM(8),
        RBM(8, visible="gaussian", hidden="ising", learning_rate=1e-3),
        RBM(8, hidden="relu", learning_rate=1e-3, optimizer="adam", centered=True),
        RBM(8, hidden="binomial(3)", algorithm="pt", n_iter=2),
    ],
    expected_failed_checks=checks_of_other_data,
)
def test_estimator_checks(estimator, check):
    check(estimator)


# Values below 0 are no states of a ReLU layer, and raise; it passes the same checks on data squeezed into [0, 1], but
# for one that fits negative values of its own making and wants them accepted.
FITS_NEGATIVE_VALUES = "check_positive_only_tag_during_fit"


@parametrize_with_checks([RBM(8, visible="relu", learning_rate=0.01)], expected_failed_checks=checks_of_other_data)
def test_relu_passes_checks_on_data_in_range(estimator, check, monkeypatch):
    name = getattr(check, "func", check).__name__

    def squeeze(estimator, X, X_test=None, kernel=None):
        low, high = X.min(), X.max()
        X = (X - low) / (high - low)
        return X if X_test is None else (X, np.clip((X_test - low) / (high - low), 0, 1))

    monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_X", squeeze)
    if name == FITS_NEGATIVE_VALUES:
        with pytest.raises(AssertionError, match="raised ValueError unexpectedly.*negative input"):
            check(estimator)
    else:
        check(estimator)


@pytest.mark.parametrize("dtype,tolerance", [(np.float32, 1e-4), (np.float64, 1e-10)])
@pytest.mark.parametrize("partial", [False, True])
def test_sklearn_stream_reproduces_a_whole_fit(dtype, tolerance, partial):
    from sklearn.datasets import load_digits
    from sklearn.neural_network import BernoulliRBM as Original

    X = (load_digits().data / 16).astype(dtype)
    options = dict(n_components=48, learning_rate=0.06, batch_size=13, n_iter=5, random_state=3)
    ours, theirs = (
        BernoulliRBM(random_stream="sklearn", shuffle=False, **options),
        Original(**options),
    )
    if partial:
        for rbm in (ours, theirs):
            for batch in np.array_split(X, 100):
                rbm.partial_fit(batch)
    else:
        ours.fit(X)
        theirs.fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_"):
        got, wanted = getattr(ours, name), getattr(theirs, name)
        assert got.dtype == wanted.dtype, name
        np.testing.assert_allclose(got, wanted, atol=tolerance, rtol=0, err_msg=name)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=tolerance)
    np.testing.assert_array_equal(ours.gibbs(X), theirs.gibbs(X))


def test_patch_and_unpatch():
    import sklearn.neural_network as nn

    original = nn.BernoulliRBM
    try:
        fastrbm.patch_sklearn()
        assert nn.BernoulliRBM is BernoulliRBM
        fastrbm.patch_sklearn(compatible=True)
        assert nn.BernoulliRBM is compat.BernoulliRBM
        from sklearn.neural_network import BernoulliRBM as imported

        assert imported is compat.BernoulliRBM
    finally:
        fastrbm.unpatch_sklearn()
    assert nn.BernoulliRBM is original
    fastrbm.unpatch_sklearn()
    assert nn.BernoulliRBM is original
    with pytest.raises(TypeError, match="compatible"):
        fastrbm.patch_sklearn(compatible="yes")
