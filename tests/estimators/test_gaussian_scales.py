"""Columns of any scale: deviations of the data are standardised columns; learned ones stay in bounds; lost runs."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import fastrbm
from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, LearnedSigma
from fastrbm.init import Initializer, Start

PIXELS = load_digits().data[:400] / 16
VARYING = PIXELS[:, PIXELS.std(axis=0) > 0]


def log_volume(X):
    return float(np.log(X.std(axis=0)).sum())


@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": "adam"}, {"optimizer": "rmsprop"}, {"optimizer": fastrbm.SGD(momentum=0.5, nesterov=True)},
     {"algorithm": "cd"}, {"algorithm": "exact", "n_components": 6}, {"scaling": "variance"},
     {"scaling": "variance", "optimizer": "adam", "hidden": "ising"}, {"learning_rate": 0.05}, {"centered": True},
     {"regularizers": fastrbm.L2(0.01)}, {"scaling": "variance", "regularizers": fastrbm.DropConnect(0.2)},
     {"visible_bias": "data"}, {"batch_size": 64, "dtype": np.float32}],
)  # fmt: skip
def test_deviations_of_the_data_are_standardised_columns(options):
    # the order of shuffled rows depends on their values
    options = dict(n_components=8, n_iter=3, random_state=0, dtype=np.float64, shuffle=False) | options
    rng = np.random.default_rng(0)
    raw = VARYING * 10 ** rng.uniform(-4, 4, VARYING.shape[1])
    if options["dtype"] == np.float64:
        raw += raw.std(axis=0) * rng.normal(size=raw.shape[1]) * 20
    standard = StandardScaler().fit_transform(raw)
    a = GaussianRBM(**options).fit(standard)
    b = GaussianRBM(sigma="data", **options).fit(raw)
    tolerance = 1e-6 if options["dtype"] == np.float64 else 1e-3
    np.testing.assert_allclose(a.transform(standard), b.transform(raw), atol=tolerance)
    np.testing.assert_allclose(a.score(standard), b.score(raw) + log_volume(raw), atol=1e3 * tolerance)
    np.testing.assert_allclose(b.sigma_, raw.std(axis=0), rtol=1e-5)
    sampled = (b.sample(500, 20, random_state=1) - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(sampled, a.sample(500, 20, random_state=1), atol=100 * tolerance)


@pytest.mark.parametrize("rate", [1e-5, 1e-3, 0.01])
@pytest.mark.parametrize("sigma", ["data", "learned"])
@pytest.mark.parametrize("scaling", ["sigma", "variance"])
@pytest.mark.parametrize("scale,shift", [(1, 0), (1 / 255, 0), (1000, 5000), (1e-6, 1e-5)])
def test_training_is_safe_for_columns_of_any_scale(rate, sigma, scaling, scale, shift):
    X = PIXELS * scale + shift  # three columns are constant
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        rbm = GaussianRBM(
            16, sigma=sigma, scaling=scaling, learning_rate=rate, n_iter=5, random_state=0, algorithm="cd"
        ).fit(X)
    spread = np.where(X.std(axis=0) > 1e-9 * np.abs(X).max(), X.std(axis=0), 1)
    error = np.square((rbm.reconstruct(X) - X) / spread).mean()
    assert error < 1.05  # no worse than the means of the columns
    assert np.isfinite(rbm.score(X))
    assert (rbm.sigma_ <= 1.5 * spread).all(), (rbm.sigma_ / spread).max()


def test_the_default_rate_learns():
    rbm = GaussianRBM(16, sigma="data", n_iter=10, random_state=0).fit(VARYING)
    begin = GaussianRBM(16, sigma="data", n_iter=0, random_state=0).fit(VARYING)
    learned = GaussianRBM(16, sigma="learned", n_iter=10, random_state=0).fit(VARYING)
    assert rbm.score(VARYING) > begin.score(VARYING) + 3
    assert learned.score(VARYING) > rbm.score(VARYING)


def test_learned_deviations_stay_in_bounds_and_say_so():
    X = np.random.default_rng(0).normal(size=(300, 6)) * [1, 10, 0.1, 1, 1, 1]
    X[:, 5] = X[:, 4]
    with pytest.warns(ConvergenceWarning, match=r"learned deviations of \d of 6 columns ran to a bound"):
        rbm = GaussianRBM(
            8, sigma=LearnedSigma(rate=30.0), learning_rate=0.2, n_iter=40, random_state=0, algorithm="cd"
        ).fit(X)
    ratio = rbm.sigma_ / X.std(axis=0)
    assert (ratio <= 10 + 1e-3).all() and (ratio >= 1e-3 - 1e-6).all()


def test_given_deviations_have_rates_in_their_units():
    X = 1e-3 * np.random.default_rng(0).normal(size=(200, 5))
    small = GaussianRBM(4, sigma=1e-3, n_iter=5, random_state=0, shuffle=False).fit(X)
    unit = GaussianRBM(4, n_iter=5, random_state=0, shuffle=False).fit(1e3 * X)
    np.testing.assert_allclose(small.transform(X), unit.transform(1e3 * X), atol=1e-5)


@pytest.mark.parametrize("sigma", ["data", "learned", 0.3])
def test_a_saved_fit_goes_on_with_the_same_bits(tmp_path, sigma):
    options = dict(n_components=5, sigma=sigma, random_state=0, warm_start=True)
    once = GaussianRBM(n_iter=4, **options).fit(VARYING)
    path = GaussianRBM(n_iter=2, **options).fit(VARYING).save(tmp_path / "model.npz")
    again = fastrbm.load(path).fit(VARYING)
    np.testing.assert_array_equal(again.components_, once.components_)
    np.testing.assert_array_equal(again.sigma_, once.sigma_)


def test_chunks_and_partial_fit_are_standardised_too():
    pieces = [VARYING[:100], VARYING[100:]]
    a = GaussianRBM(5, sigma="data", n_iter=2, random_state=0, shuffle=False).fit(VARYING)
    b = GaussianRBM(5, sigma="data", n_iter=2, random_state=0, shuffle=False).fit(pieces)
    np.testing.assert_allclose(a.components_, b.components_, atol=1e-4)
    rbm = GaussianRBM(5, sigma="data", random_state=0).partial_fit(1e4 + 100 * VARYING)
    for _ in range(50):
        rbm.partial_fit(1e4 + 100 * VARYING)
    assert np.isfinite(rbm.components_).all() and np.abs(rbm.components_).max() < 10


# -- chains that got lost ----------------------------------------------------------------------------------------------

BITS = (np.tile(load_digits().data, (2, 1)) > 7).astype(float)


class SpinsOneSided(Initializer):
    """The same, of spins s = 2 x - 1."""

    def weights(self, n_hidden, n_visible, key, units):
        return Start(np.full((n_hidden, n_visible), 0.5), np.zeros(n_visible), np.full(n_hidden, 5.0))


class OneSided(Initializer):
    """A model of two modes, one of which has e^10 times the weight of the other."""

    def __init__(self, bias=-10.0):
        self.bias = bias

    def weights(self, n_hidden, n_visible, key, units):
        return Start(np.full((n_hidden, n_visible), 2.0), np.full(n_visible, -1.0), np.full(n_hidden, self.bias))


def two_kinds(n=1000):
    return np.repeat(np.arange(n)[:, None] % 2, 20, axis=1).astype(float)


@pytest.mark.parametrize("cls", [BernoulliRBM, IsingRBM])
def test_collapsed_chains_are_said_once_with_the_remedy(cls):
    X = two_kinds() if cls is BernoulliRBM else 2 * two_kinds() - 1
    options = dict(n_components=1, n_iter=70, learning_rate=1e-9, batch_size=100, random_state=0)
    if cls is IsingRBM:  # the same model of spins
        options |= {"init": SpinsOneSided()}
    else:
        options |= {"init": OneSided()}
    with pytest.warns(ConvergenceWarning, match="chains have collapsed.*learning_rate.*n_chains") as found:
        cls(**options).fit(X)
    assert len(found) == 1 and found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls(**options | {"algorithm": "cd"}).fit(X)  # has no chains to speak of
        cls(**options | {"n_iter": 1, "batch_size": 5}).fit(X[:50])  # too short a fit to look
        cls(**options).fit(X[1::2])  # rows of one kind are samples of one kind
        noise = np.random.default_rng(0).permuted(X, axis=0)
        cls(**options | {"init": "normal", "learning_rate": 0.01}).fit(noise)


def test_persistent_chains_in_one_place_are_enough():
    with pytest.warns(ConvergenceWarning, match="chains have collapsed"):
        options = dict(learning_rate=1e-9, batch_size=50, init=OneSided(), n_gibbs_steps=50)
        BernoulliRBM(1, n_iter=1, random_state=0, **options).fit(two_kinds(100))


def test_looking_at_chains_changes_no_bit_and_no_draw():
    options = dict(n_components=16, random_state=0, warm_start=True)
    once = BernoulliRBM(n_iter=60, **options).fit(BITS)
    twice = BernoulliRBM(n_iter=30, **options).fit(BITS).fit(BITS)
    np.testing.assert_array_equal(once.components_, twice.components_)
    np.testing.assert_array_equal(once.gibbs(BITS[:5]), twice.gibbs(BITS[:5]))


def test_models_that_do_not_know_the_deviations_of_their_data_keep_them():
    """As files of fastrbm 0.1 have them."""
    X = 1000 * VARYING
    rbm = GaussianRBM(4, sigma="learned", n_iter=1, random_state=0, warm_start=True).fit(X)
    for name in ("log_variance_of_data", "offset"):
        del rbm._state.extras[name]
    before = rbm.sigma_.copy()
    assert before.max() > 100
    np.testing.assert_allclose(rbm.set_params(learning_rate=1e-9).fit(X).sigma_, before, rtol=1e-3)
