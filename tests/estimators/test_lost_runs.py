"""Runs that got lost go on afterwards; what would make a run get lost is said before it begins."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import fastrbm
from fastrbm import RBM, Adam, BernoulliRBM, DivergenceError, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM
from fastrbm._kernels.datatypes import LARGEST
from fastrbm.callbacks import PseudoLikelihood
from fastrbm.regularizers import WeightUncertainty

REAL = np.random.default_rng(0).normal(size=(30, 6))

ESTIMATORS = {
    "bernoulli": lambda **options: BernoulliRBM(4, **options),
    "gaussian": lambda **options: GaussianRBM(4, **options),
    "learned": lambda **options: GaussianRBM(4, sigma="learned", **options),
    "two real layers": lambda **options: GaussianRBM(4, hidden="gaussian", **options),
    "relu": lambda **options: GaussianRBM(4, hidden="relu", **options),
}


@pytest.mark.parametrize("algorithm", ["pcd", "cd", "fpcd", "pt"])
@pytest.mark.parametrize("options", [{}, {"centered": True}, {"regularizers": WeightUncertainty()}], ids=str)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_fit_that_diverged_in_its_first_pass_goes_on_with_a_smaller_rate(kind, options, algorithm):
    X = np.eye(6) if kind == "bernoulli" else REAL
    rbm = ESTIMATORS[kind](random_state=0, algorithm=algorithm, learning_rate=1e30, n_iter=6, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # the error says it
        try:
            rbm.fit(X)
        except DivergenceError:
            pass
        else:
            pytest.skip("values of two states bear any rate")
    assert all(np.isfinite(x).all() for x in vars(rbm).values() if isinstance(x, np.ndarray))
    assert all(np.isfinite(x).all() for x in rbm._state.extras.values())
    if np.abs(rbm.components_).max() < 1:  # the parameters are those of the start
        rbm.set_params(learning_rate=1e-3, warm_start=True).fit(X)
        assert np.isfinite(rbm.components_).all()


@pytest.mark.parametrize("algorithm", ["pcd", "pt"])
def test_chains_that_run_away_are_a_divergence_though_parameters_are_finite(algorithm):
    rbm = GaussianRBM(4, hidden="gaussian", random_state=0, n_iter=1, algorithm=algorithm, learning_rate=1e-30)
    rbm.fit(REAL).set_params(warm_start=True, batch_size=30, n_gibbs_steps=200)
    rbm.components_ = rbm.components_ + np.float32(50.0)
    with pytest.raises(DivergenceError):
        rbm.fit(REAL)
    assert np.isfinite(rbm.components_).all()


@pytest.mark.parametrize("clamp", [None, [0.0] + 5 * [np.nan]], ids=["free", "held"])
def test_samples_of_a_model_without_likelihood_are_an_error_and_no_nan(clamp):
    rbm = GaussianRBM(4, hidden="gaussian", random_state=0, n_iter=0).fit(REAL)
    rbm.components_ *= 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError, match="ran away.*learning_rate"):
            rbm.sample(3, 2000, clamp=clamp)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize(
    "rbm",
    [
        PottsRBM(3, algorithm="em", learning_rate=1.0),
        RBM(3, visible="ising", hidden="onehot", algorithm="em", learning_rate=1.0, out_of_range="allow"),
        RBM(3, visible="binomial(3)", hidden="onehot", algorithm="em", learning_rate=1.0, out_of_range="allow"),
        BernoulliRBM(3, visible_bias="data"),
        IsingRBM(3, visible_bias="data", out_of_range="allow"),
        RBM(3, visible="mixed(gaussian*3,bernoulli*3)", visible_bias="data", out_of_range="allow"),
    ],
    ids=lambda rbm: repr(rbm)[:60],
)
@pytest.mark.filterwarnings("ignore::fastrbm.DataRangeWarning")
def test_means_outside_the_range_of_units_fit_like_the_nearest_ones(rbm, chunks):
    X = 20 * REAL + 5  # whole columns lie outside
    rbm.set_params(random_state=0).fit([X, X] if chunks else X)
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        assert np.isfinite(getattr(rbm, name)).all(), name


@pytest.mark.parametrize("watch", ["early_stopping", "callback"])
@pytest.mark.parametrize("visible", ["onehot(3)", "binomial(2)", "relu", "mixed(gaussian*2,onehot(2)*4)"])
def test_rows_that_have_no_pseudo_likelihood_are_refused_before_the_fit(visible, watch):
    X = np.random.default_rng(0).normal(size=(20, 6))
    rbm = RBM(3, visible=visible, out_of_range="allow", random_state=0)
    if watch == "callback":
        rbm.set_params(callbacks=PseudoLikelihood(X))
    else:
        rbm.set_params(validation_fraction=0.2, early_stopping="pseudo_likelihood")
    with pytest.raises(ValueError, match="X must hold .* visible units to have a pseudo-likelihood, got .* in row"):
        rbm.fit(X)
    assert not hasattr(rbm, "n_iter_")


def test_adam_starts_anew_after_a_divergence():
    rbm = GaussianRBM(4, sigma="learned", optimizer=Adam(), learning_rate=1e30, random_state=0)
    with pytest.raises(DivergenceError):
        rbm.fit(REAL)
    assert set(rbm._state.extras) <= {"log_variance", "log_variance_of_data", "offset"}
    assert_array_equal([np.abs(x).max() for slot in rbm._state.slots for x in slot], 0)
    assert isinstance(rbm, fastrbm.GaussianRBM)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_batch_size_beyond_the_rows_takes_no_memory(method):
    X = np.eye(6)
    getattr(BernoulliRBM(4, batch_size=10**9, random_state=0), method)(X)
    with pytest.raises(ValueError, match="batch_size=1000000000 would take .* GiB with random_stream='sklearn'"):
        getattr(fastrbm.compat.BernoulliRBM(4, batch_size=10**9, random_state=0), method)(X)


def test_data_biases_of_units_without_a_formula_are_refused_by_name():
    with pytest.raises(ValueError, match="'relu'.*visible_bias='zeros'"):
        RBM(3, visible="relu", visible_bias="data").fit(np.abs(REAL))


HUGE = {
    "bernoulli": lambda **options: BernoulliRBM(5, **options),
    "ising": lambda **options: IsingRBM(4, out_of_range="allow", **options),
    "gaussian": lambda **options: GaussianRBM(3, **options),
    "two real layers": lambda **options: GaussianRBM(3, hidden="relu", **options),
    "potts": lambda **options: PottsRBM(6, **options),
    "softmax": lambda **options: SoftmaxRBM(3, n_categories=3, **options),
    "conditional": lambda **options: SoftmaxRBM(3, n_categories=2, conditional=True, **options),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("kind", HUGE)
def test_finite_parameters_that_are_too_large_to_add_up_are_a_divergence(kind, optimizer):
    """One update of a huge rate: means would be NaN and energies infinite, of parameters that are all finite."""
    X = (np.random.default_rng(0).random((12, 6)) < 0.4).astype(np.float32)
    X = 2 * X - 1 if kind == "ising" else X
    told = 0
    for rate in np.geomspace(1e12, 3e38, 25).astype(np.float32).tolist():
        options = dict(optimizer=optimizer, dtype="float32", random_state=0, batch_size=12, n_iter=1)
        rbm = HUGE[kind](learning_rate=rate, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                rbm.fit(X)
                found = [getattr(rbm, method)(X) for method in ("transform", "reconstruct", "free_energy")]
                assert all(np.isfinite(x).all() for x in found)
                rbm.partial_fit(X)
            except DivergenceError as error:
                assert "too large to add up" in str(error) or "ran away" in str(error)
                told += 1
        found = [getattr(rbm, method)(X) for method in ("transform", "free_energy")]
        assert all(np.isfinite(x).all() for x in found)
    assert told > 3


METHODS = ["fit", "partial_fit", "transform", "reconstruct", "gibbs", "sample_hidden", "free_energy", "score"]


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM, IsingRBM])
@pytest.mark.filterwarnings("ignore::fastrbm.DataRangeWarning")
def test_values_that_the_type_of_the_parameters_cannot_add_up_are_refused(kind, method, chunks):
    X = np.where(REAL > 0, 1.0, -1.0)
    rbm = kind(3, random_state=0, out_of_range="allow" if kind is IsingRBM else "warn").fit(X)
    before = rbm.transform(X)
    huge = 1e35 * REAL
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises((ValueError, TypeError)) as caught:
            getattr(rbm, method)([huge, huge] if chunks else huge)
    if not (chunks and method == "partial_fit"):  # which takes no chunks
        assert "X must hold values of magnitudes up to 1e+15 to be computed with in float32" in str(caught.value)
    assert_array_equal(rbm.transform(X), before)
    kind(3, random_state=0, out_of_range="allow", dtype=np.float64, learning_rate=1e-80, n_iter=1).fit(huge)


@pytest.mark.parametrize("size", [1.0, 0.03, 1e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("kind", [BernoulliRBM, IsingRBM, PottsRBM, GaussianRBM])
@pytest.mark.filterwarnings("ignore")
def test_values_as_large_as_they_may_be_give_finite_answers_or_a_divergence(kind, device, dtype, size):
    X = size * LARGEST[np.dtype(dtype).itemsize] * np.array([[1.0, 0.0], [-1.0, 1.0], [0.5, -0.25]])
    for rate in (0.1, 1e-12, 1.0):
        rbm = kind(3, random_state=0, dtype=dtype, device=device, learning_rate=rate, n_iter=2, out_of_range="allow")
        try:
            rbm.fit(X)
        except (DivergenceError, ValueError) as error:
            assert "rate" in str(error) or "X must" in str(error)
            continue
        for method in ("transform", "reconstruct", "gibbs", "free_energy", "score_samples"):
            try:
                assert np.isfinite(getattr(rbm, method)(X)).all(), method
            except ValueError as error:  # of conditional densities that rounding would take away
                assert method == "score_samples" and "values are too large" in str(error)


def test_an_exact_gradient_that_loses_the_likelihood_is_a_divergence_that_keeps_the_parameters():
    rbm = GaussianRBM(
        4, hidden="gaussian", algorithm="exact", random_state=0, learning_rate=0.5, batch_size=5, n_iter=1
    )
    with pytest.raises(DivergenceError, match=r"not normalisable.*learning_rate"):
        rbm.fit(3 * REAL)
    assert np.linalg.svd(rbm.components_, compute_uv=False).max() < 1 and rbm.n_iter_ == 0
    assert np.isfinite(float(rbm.log_partition()))


def test_an_update_that_diverged_leaves_no_nan():
    rbm = GaussianRBM(4, regularizers=WeightUncertainty(), random_state=0).partial_fit(REAL)
    rbm.set_params(learning_rate=1e38)
    with pytest.raises(DivergenceError):
        for _ in range(3):
            rbm.partial_fit(REAL)
    assert all(np.isfinite(x).all() for x in vars(rbm).values() if isinstance(x, np.ndarray))


@pytest.mark.parametrize("algorithm", ["pcd", "cd", "fpcd", "pt"])
@pytest.mark.parametrize("cls", [BernoulliRBM, IsingRBM])
@pytest.mark.parametrize("rate", [1e4, 1e8])
def test_weights_that_are_finite_and_absurd_are_said_with_the_remedy(cls, algorithm, rate):
    rows = np.random.default_rng(0).random((200, 20)) < np.linspace(0.1, 0.9, 20)
    rows = rows.astype(np.float64) if cls is BernoulliRBM else 2.0 * rows - 1
    rbm = cls(8, algorithm=algorithm, learning_rate=rate, n_iter=10, random_state=0)
    with pytest.warns(ConvergenceWarning, match="smaller learning_rate") as found:
        rbm.fit(rows)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rbm.set_params(learning_rate=0.05).fit(rows)


@pytest.mark.parametrize("cls", [BernoulliRBM, IsingRBM])
def test_two_patterns_may_saturate_units_that_tell_them_apart(cls):
    """Bits and spins: units that are sure of each row, and from which it comes back."""
    rows = np.repeat([[0.0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]], 50, axis=0)
    rows = rows if cls is BernoulliRBM else 2 * rows - 1
    spins = 2 * np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0) - 1.0
    rbm = cls(4, algorithm="cd", learning_rate=1e-9, n_iter=1, warm_start=True, random_state=0).fit(rows)
    rbm.components_, rbm.intercept_visible_ = np.float32(30 * spins), np.zeros(6, np.float32)
    if cls is BernoulliRBM:
        rbm.intercept_visible_ = np.float32(-60 * spins[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        rbm.fit(rows)
    assert (np.abs(rows @ rbm.components_.T + rbm.intercept_hidden_) > 10).all()
    rbm.components_ = rbm.components_ * np.float32([1, 1, -1, 1, 1, -1])  # rows do not come back
    rbm.intercept_visible_ = -rbm.intercept_visible_
    with pytest.warns(ConvergenceWarning, match="saturated"):
        rbm.fit(rows)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [GaussianRBM, RBM])
def test_columns_far_from_the_scale_of_their_units_are_named(kind):
    X = REAL * [1, 1, 300, 1, 1, 1]
    options = dict(n_components=3, random_state=0, learning_rate=1e-6)
    if kind is RBM:
        options["visible"] = "mixed(gaussian*3,relu*1,gaussian*2)"
        X[:, 3] = np.abs(X[:, 3])
    with pytest.warns(fastrbm.DataRangeWarning, match=r"root mean square of column 2 is .*sigma is 1.*StandardScaler"):
        warned = kind(**options).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", fastrbm.DataRangeWarning)
        meant = kind(**options, out_of_range="allow").fit(X)
        kind(**options).fit(X / [1, 1, 300, 1, 1, 1])
        if kind is GaussianRBM:
            kind(**options, sigma="data").fit(X)
            kind(**options, sigma=[1, 1, 300, 1, 1, 1]).fit(X)
            kind(**options, hidden="gaussian").fit(X)  # no switch
    assert_array_equal(warned.components_, meant.components_)
    rbm = kind(**options, out_of_range="error")
    with pytest.raises(ValueError, match="root mean square of column 2"):
        rbm.fit(X)
    assert not hasattr(rbm, "components_")
