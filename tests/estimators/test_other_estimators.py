"""Estimators of other units than Bernoulli ones: what they recover, predict, refuse."""

import os
import warnings

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import load_digits

import fastrbm
from fastrbm import (
    RBM,
    SGD,
    BernoulliRBM,
    GaussianRBM,
    IsingRBM,
    LearnedSigma,
    Model,
    PottsRBM,
    SoftmaxRBM,
)
from fastrbm.init import Normal
from fastrbm.schedules import Cosine


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data > 7).astype(np.uint8)


# ---- spins ------------------------------------------------------------------------------------------------------


def test_spins_and_bits_are_the_same_distribution_to_rounding():
    rng = np.random.default_rng(0)
    for units in (("ising", "ising"), ("ising", "bernoulli"), ("bernoulli", "ising")):
        spins = Model(rng.normal(size=(5, 7)), rng.normal(size=7), rng.normal(size=5), *units)
        bits, _ = spins.as_bernoulli()
        states = ((np.arange(2**7)[:, None] >> np.arange(7)) & 1).astype(float)
        shown = 2 * states - 1 if units[0] == "ising" else states
        one, other = (-m.free_energy(x) for m, x in ((spins, shown), (bits, states)))
        np.testing.assert_allclose(one - logsumexp(one), other - logsumexp(other), rtol=0, atol=1e-12)


def test_an_ising_estimator_is_the_bernoulli_estimator_with_spins(digits):
    X = digits[:300]
    ising = IsingRBM(6, n_iter=5, batch_size=50, learning_rate=0.01, random_state=0, dtype=np.float64)
    ising.fit(2.0 * X - 1)
    model, constant = ising.model_.as_bernoulli()
    bits = BernoulliRBM(6, n_iter=0, dtype=np.float64).fit(X)
    bits.components_, bits.intercept_visible_, bits.intercept_hidden_ = model.parameters
    S = 2.0 * X - 1
    np.testing.assert_allclose(ising.free_energy(S), bits.free_energy(X) + constant, rtol=1e-12)
    np.testing.assert_allclose(ising.transform(S), 2 * bits.transform(X) - 1, atol=1e-12)
    np.testing.assert_allclose(ising.log_likelihood(S), bits.log_likelihood(X), rtol=1e-12)
    np.testing.assert_allclose(ising.score_samples(S), bits.score_samples(X), rtol=1e-12)
    np.testing.assert_allclose(ising.reconstruct(S), 2 * bits.reconstruct(X) - 1, atol=1e-12)
    drawn = ising.sample(5, 10, random_state=3)
    assert drawn.dtype == np.int8 and set(np.unique(drawn)) == {-1, 1}
    np.testing.assert_array_equal(ising.sample_hidden(S, random_state=3), 2 * bits.sample_hidden(X, random_state=3) - 1)


@pytest.mark.parametrize("algorithm", ["exact", "pcd", "cd"])
def test_spins_train_as_well_as_bits(digits, algorithm):
    rate = 0.3 if algorithm == "exact" else 0.1
    shared = dict(algorithm=algorithm, optimizer=SGD(0.9), batch_size=100, n_iter=30, centered=True)
    likelihoods = {"bits": [], "spins": []}
    for seed in range(3):
        bits = BernoulliRBM(8, learning_rate=Cosine(rate, rate / 30), random_state=seed, **shared).fit(digits)
        # weights of spins are a quarter of those of bits and have four times the gradient
        spins = IsingRBM(8, learning_rate=Cosine(rate / 16, rate / 480), random_state=seed, **shared)
        S = 2 * digits.astype(np.int8) - 1
        likelihoods["bits"].append(bits.log_likelihood(digits).mean())
        likelihoods["spins"].append(spins.fit(S).log_likelihood(S).mean())
    assert np.mean(likelihoods["spins"]) > np.mean(likelihoods["bits"]) - 0.4
    assert np.mean(likelihoods["spins"]) > -26.5  # independent pixels: -31.6


# ---- mixtures ---------------------------------------------------------------------------------------------------


def test_expectation_maximisation_never_falls_and_beats_the_gradient(digits):
    X = digits[:800]
    em = PottsRBM(12, algorithm="em", learning_rate=1.0, batch_size=800, n_iter=1, random_state=0, warm_start=True)
    found = []
    for _ in range(25):
        found.append(em.fit(X).log_likelihood(X).mean())
    # each component's additional row is a penalty of a few thousandths of a nat
    assert (np.diff(found) > -0.01).all() and found[-1] > found[3]
    online = PottsRBM(12, algorithm="em", learning_rate=0.3, batch_size=100, n_iter=10, random_state=0).fit(X)
    gradient = PottsRBM(12, algorithm="exact", learning_rate=0.1, batch_size=100, n_iter=25, random_state=0).fit(X)
    ends = [m.log_likelihood(X).mean() for m in (em, online, gradient)]
    assert ends[0] > ends[2] + 0.5 and ends[1] > ends[2] and np.isfinite(em.components_).all()


def test_expectation_maximisation_finds_a_mixture_of_real_and_of_counted_columns():
    rng = np.random.default_rng(0)
    kind = rng.random(3000) < 0.3
    X = np.where(kind[:, None], [3.0, -2.0, 0.0], [-1.0, 1.0, 2.0]) + rng.normal(size=(3000, 3))
    rbm = RBM(2, visible="gaussian", hidden="onehot", algorithm="em", learning_rate=1, batch_size=3000, n_iter=40,
              random_state=0, init=Normal(0.5), dtype=np.float64).fit(X)  # fmt: skip
    means = rbm.components_ + rbm.intercept_visible_
    order = np.argsort(means[:, 0])
    np.testing.assert_allclose(means[order], [[-1.0, 1.0, 2.0], [3.0, -2.0, 0.0]], atol=0.15)
    assert abs((rbm.transform(X)[:, order[1]] > 0.5).mean() - kind.mean()) < 0.02
    counts = rng.binomial(4, np.where(kind[:, None], 0.8, [0.1, 0.5, 0.3]))
    found = RBM(2, visible="binomial(4)", hidden="onehot", algorithm="em", learning_rate=1, batch_size=3000, n_iter=40,
                random_state=0, init=Normal(0.5)).fit(counts)  # fmt: skip
    assert abs((found.transform(counts).max(axis=1)).mean()) > 0.9


@pytest.mark.parametrize("scaling", ["sigma", "variance"])
def test_expectation_maximisation_knows_the_deviations(scaling, mixture):
    X, sigma, truth = mixture
    rbm = GaussianRBM(2, hidden="onehot", algorithm="em", sigma=sigma, scaling=scaling, learning_rate=1.0, n_iter=60,
                      batch_size=len(X), random_state=0, init=Normal(0.3)).fit(X)  # fmt: skip
    assert abs(rbm.log_likelihood(X).mean() - truth) < 0.01
    with pytest.raises(ValueError, match="sigma must not be learned with algorithm='em'"):
        rbm.set_params(sigma="learned").fit(X)


def test_divergence_and_early_stopping_put_deviations_back(mixture):
    X = mixture[0][:400]
    rbm = GaussianRBM(2, sigma="learned", n_iter=2, random_state=0).fit(X)
    rbm.set_params(warm_start=True, learning_rate=1e30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(fastrbm.DivergenceError):
            rbm.fit(X)
    assert np.isfinite(rbm.sigma_).all() and np.isfinite(rbm.transform(X)).all()
    seen = {}

    def keep(run):
        seen[run.state.epoch] = run.estimator.sigma_.copy()

    stopped = GaussianRBM(
        2, sigma="learned", learning_rate=0.2, n_iter=30, validation_fraction=0.3, early_stopping="log_likelihood",
        n_iter_no_change=2, random_state=0, callbacks=(keep,),
    ).fit(X)  # fmt: skip
    assert stopped.best_iteration_ < stopped.n_iter_
    np.testing.assert_array_equal(stopped.sigma_, seen[stopped.best_iteration_])


@pytest.mark.parametrize(
    "options,message",
    [
        (dict(hidden="bernoulli"), "hidden units must be 'onehot' .PottsRBM. with algorithm='em'.*got 'bernoulli'"),
        (dict(hidden="onehot", visible="relu"), "visible units must be .* with algorithm='em'.*got 'relu'"),
        (dict(hidden="onehot", optimizer="adam"), "optimizer must be 'sgd' with algorithm='em'"),
        (dict(hidden="onehot", learning_rate=1.5), r"learning_rate must be in \(0, 1\]"),
        (dict(hidden="onehot", learning_rate=Cosine(1.5)), r"learning_rate must be a finite number in \[0, 1\]"),
        (dict(hidden="onehot", n_gibbs_steps=2), "n_gibbs_steps must be 1 with algorithm='em'"),
    ],
)
def test_expectation_maximisation_says_what_it_cannot_do(options, message, digits):
    with pytest.raises(ValueError, match=message):
        RBM(4, algorithm="em", **options).fit(digits)


# ---- real data --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixture():
    """Rows of two normal distributions with the same deviations, and their true mean log-density."""
    rng = np.random.default_rng(0)
    # near enough for chains to go from one to the other
    centers, sigma, share = np.array([[1.0, -0.5, 0.5], [-1.0, 0.5, -1.0]]), np.array([0.8, 1.0, 1.5]), 0.3
    kind = (rng.random(12_000) < share).astype(int)
    X = centers[kind] + sigma * rng.normal(size=(12_000, 3))
    terms = [
        np.log(p) - 0.5 * np.square((X - c) / sigma).sum(axis=1)
        for p, c in zip((1 - share, share), centers, strict=True)
    ]
    truth = logsumexp(terms, axis=0) - np.log(sigma).sum() - 1.5 * np.log(2 * np.pi)
    return X, sigma, truth.mean()


@pytest.mark.parametrize("scaling", ["sigma", "variance"])
@pytest.mark.parametrize("algorithm", ["exact", "pcd", "cd"])
def test_a_gaussian_estimator_recovers_a_known_mixture(mixture, scaling, algorithm):
    X, sigma, truth = mixture
    rbm = GaussianRBM(
        1, sigma=LearnedSigma(rate=0.3), scaling=scaling, algorithm=algorithm,
        n_gibbs_steps=1 if algorithm == "exact" else 3, optimizer="adam", learning_rate=Cosine(0.02, 0.0005),
        batch_size=200, n_iter=30, random_state=0,
    ).fit(X)  # fmt: skip
    assert abs(rbm.log_likelihood(X).mean() / truth - 1) < 0.01
    np.testing.assert_allclose(rbm.sigma_, sigma, rtol=0.05)
    drawn = rbm.sample(4000, 200, random_state=1)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.25)
    np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.1)


def test_deviations_that_are_given_or_those_of_the_columns(mixture):
    X, sigma, _ = mixture
    assert (GaussianRBM(2, n_iter=0).fit(X).sigma_ == 1).all()
    np.testing.assert_allclose(GaussianRBM(2, n_iter=0, sigma=sigma).fit(X).sigma_, sigma, rtol=1e-6)
    np.testing.assert_allclose(GaussianRBM(2, n_iter=0, sigma="data").fit(X).sigma_, X.std(axis=0), rtol=1e-6)
    constant = np.c_[X, np.full(len(X), 7.0)]
    assert GaussianRBM(2, n_iter=0, sigma="data").fit(constant).sigma_[3] == 1
    with pytest.raises(AttributeError, match="fitted"):
        GaussianRBM().sigma_  # noqa: B018


def test_units_of_measurement_do_not_matter_to_a_fitted_model(mixture):
    X = mixture[0][:2000]
    options = dict(n_components=3, sigma="data", learning_rate=0.01, random_state=0, dtype=np.float64)
    one = GaussianRBM(**options, n_iter=3).fit(X)
    scaled = GaussianRBM(**options, n_iter=0).fit(16 * X)
    scaled.components_, scaled.intercept_hidden_ = one.components_, one.intercept_hidden_
    scaled.intercept_visible_ = 16 * one.intercept_visible_
    np.testing.assert_allclose(one.transform(X), scaled.transform(16 * X), atol=1e-12)
    np.testing.assert_allclose(one.log_likelihood(X) - 3 * np.log(16.0), scaled.log_likelihood(16 * X), rtol=1e-10)
    np.testing.assert_allclose(16 * one.reconstruct(X), scaled.reconstruct(16 * X), rtol=1e-10)


@pytest.mark.parametrize(
    "options,message",
    [
        (dict(sigma=0.0), "sigma must be positive finite numbers"),
        (dict(sigma=[1.0, -1.0, 1.0]), "sigma must be positive finite numbers"),
        (dict(sigma=[1.0, 1.0]), "sigma must have one value for each of 3 columns"),
        (dict(sigma="columns"), "sigma must be positive numbers, 'data' or"),
        (dict(sigma=LearnedSigma(rate=0)), "rate must be a positive finite number"),
        (dict(scaling="precision"), "scaling must be one of"),
        (dict(hidden="spin"), "hidden: unit must be"),
        (dict(n_components=3, hidden="onehot(2)"), "hidden: .*multiple of 2 units, got 3"),
    ],
)
def test_bad_options_of_gaussian_estimators(options, message, mixture):
    with pytest.raises(ValueError, match=message):
        GaussianRBM(**options).fit(mixture[0][:50])


def test_real_rows_are_not_drawn_as_bits(mixture):
    with pytest.raises(ValueError, match="stochastic_input must be False for visible units 'gaussian'"):
        GaussianRBM(2, stochastic_input=True).fit(mixture[0])


# ---- categories -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ratings():
    """Two kinds of users who like different items, a third of the ratings missing."""
    rng = np.random.default_rng(0)
    taste = np.where(rng.random((600, 1)) < 0.5, np.arange(10) < 5, np.arange(10) >= 5)
    codes = np.where(
        taste,
        rng.choice(5, (600, 10), p=[0.02, 0.03, 0.05, 0.2, 0.7]),
        rng.choice(5, (600, 10), p=[0.7, 0.2, 0.05, 0.03, 0.02]),
    )
    codes = codes.astype(float)
    gone = rng.random(codes.shape) < 1 / 3
    return codes, np.where(gone, np.nan, codes), gone, taste


def test_missing_ratings_are_predicted_from_the_others(ratings):
    codes, known, gone, taste = ratings
    rbm = SoftmaxRBM(4, n_iter=40, learning_rate=0.05, random_state=0).fit(known)
    assert rbm.n_categories_ == 5
    imputed = rbm.impute(known)
    np.testing.assert_array_equal(imputed[~gone], codes[~gone])
    assert (imputed[gone] == codes[gone]).mean() > 0.6  # the best guess is right in 70 %
    assert ((imputed[gone] >= 3) == taste[gone]).mean() > 0.95
    p = rbm.predict_proba(known)
    assert p.shape == (600, 10, 5)
    np.testing.assert_allclose(p.sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_array_equal(rbm.predict(known), p.argmax(axis=2))


def test_bad_categories(ratings):
    known = ratings[1]
    for bad, message in (
        (
            np.where(np.isnan(known), 1.5, known),
            "X must hold .* whole numbers from 0 to 4 .* got 1.5 in row 0, column",
        ),
        (np.full((4, 2), np.nan), "missing entries only"),
        (known - 1, "Negative values in data passed to SoftmaxRBM"),
    ):
        with pytest.raises(ValueError, match=message):
            SoftmaxRBM(4).fit(bad)
    with pytest.raises(ValueError, match="got 4 in row"):
        SoftmaxRBM(4, n_categories=4).fit(known)
    for options, message in ((dict(n_categories=0), "n_categories"), (dict(hidden="spin"), "hidden: unit must be")):
        with pytest.raises(ValueError, match=message):
            SoftmaxRBM(4, **options).fit(known)


def test_a_stored_model_of_categories_predicts(ratings, tmp_path):
    known = ratings[1]
    rbm = SoftmaxRBM(4, n_iter=2, random_state=0).fit(known)
    again = fastrbm.load(rbm.save(tmp_path / "ratings.npz"))
    np.testing.assert_array_equal(again.predict(known), rbm.predict(known))
    assert again.n_categories_ == 5 and again.n_features_in_ == 10 and again.units == rbm.units
    with pytest.raises(ValueError, match="algorithm must be 'cd'"):
        SoftmaxRBM(4, algorithm="pcd").partial_fit(known)


# ---- values outside a unit's support ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator,good,bad,message",
    [
        (IsingRBM(2), -1.0, 0.0, "X must hold -1 and .1 only .*got 0 in row 3, column 2"),
        (RBM(2, visible="onehot(2)"), None, 1.0, "X must hold one 1 in each 2 neighbouring columns.*row 3"),
        (RBM(2, visible="binomial(3)"), 2.0, 4.0, "X must hold .*got 4 in row 3, column 2"),
        (RBM(2, visible="relu"), 0.5, -0.25, "X must hold .*got -0.25 in row 3, column 2"),
        (RBM(2, visible="mixed(bernoulli*2,gaussian*2)"), 1.0, np.inf, "infinity"),
        (GaussianRBM(2), 0.3, np.nan, "NaN"),
        (BernoulliRBM(2, out_of_range="error"), 0.5, 1.5, "X must hold values in .0, 1.*outside in column 2"),
        (PottsRBM(2, out_of_range="error"), 0.5, -1.5, "X must hold values in .0, 1.*outside in column 2"),
    ],
)
def test_values_outside_the_support_are_named(estimator, good, bad, message):
    X = np.tile([1.0, 0.0, 0.0, 1.0], (6, 1)) if good is None else np.full((6, 4), good)
    estimator.fit(X)
    X[3, 2] = bad
    for method in ("fit", "partial_fit", "transform"):
        with pytest.raises(ValueError, match=message):
            getattr(estimator, method)(X)


@pytest.mark.parametrize(
    "visible", ["ising", "onehot(2)", "gaussian", "relu", "binomial(3)", "mixed(bernoulli*2,gaussian*2)"]
)
def test_held_units_stay_and_the_others_are_drawn_given_them(visible):
    rng = np.random.default_rng(0)
    values = {"ising": [1, -1, 1, 1], "onehot(2)": [1, 0, 0, 1], "mixed(bernoulli*2,gaussian*2)": [1, 0, 0.5, -2.0]}
    row = np.array(values.get(visible, [2.0, 0.0, 1.0, 3.0]))
    rbm = RBM(3, visible=visible, random_state=0, n_iter=1, init=Normal(0.5)).fit(np.tile(row, (4, 1)))
    clamp = np.r_[row[:2], np.nan, np.nan]
    drawn = rbm.sample(400, 5, clamp=clamp, random_state=rng)
    np.testing.assert_allclose(drawn[:, :2], np.tile(row[:2], (400, 1)))
    assert len(np.unique(drawn[:, 2:], axis=0)) > 1
    with pytest.raises(ValueError, match="clamp must hold"):
        rbm.sample(2, 5, clamp=np.r_[np.inf if visible in ("gaussian", "relu") else 7.5, np.full(3, np.nan)])


@pytest.mark.parametrize("visible", ["onehot(3)", "mixed(onehot(3)*6)", "mixed(gaussian*1,onehot(3)*3,bernoulli*2)"])
def test_groups_of_one_layer_are_held_or_free_as_a_whole(visible):
    rbm = RBM(3, visible=visible, n_iter=1, random_state=0)
    first = 1 if "gaussian" in visible else 0
    X = np.zeros((20, 6))
    X[:, first] = 1
    if not first:
        X[:, 4] = 1
    rbm.fit(X)
    nothing = np.full(6, np.nan)
    for held in ([1, np.nan, np.nan], [np.nan, 0, np.nan], [0, 0, np.nan]):
        clamp = nothing.copy()
        clamp[first : first + 3] = held
        with pytest.raises(ValueError, match=f"whole groups .* in row 0, from column {first} on"):
            rbm.sample(2, 1, clamp=clamp)
    for held in ([0, 0, 0], [1, 1, 0], [0.5, 0.5, 0]):
        clamp[first : first + 3] = held
        with pytest.raises(ValueError, match="clamp must hold"):
            rbm.sample(2, 1, clamp=clamp)
    clamp[first : first + 3] = [0, 1, 0]
    drawn = rbm.sample(200, 2, clamp=clamp, random_state=1)
    assert (drawn[:, first : first + 3] == [0, 1, 0]).all()
    if not first:
        assert (drawn[:, 3:].sum(axis=1) == 1).all() and len(np.unique(drawn[:, 3:], axis=0)) == 3


# ---- the published study ----------------------------------------------------------------------------------------

DATA = os.environ.get("FASTRBM_DATA")


@pytest.mark.skipif(not DATA, reason="FASTRBM_DATA is not set: needs all images of MNIST")
def test_likelihoods_on_the_digits_7_8_9():
    from benchmarks import generative

    X, name = generative.rows(0)
    assert name == "MNIST" and len(X) == 21076
    for title, least in (("8 Bernoulli, exact gradient", -141.8), ("55 one-hot, EM", -126.5)):
        cls, n_hidden, options, _ = generative.LINES[title]
        assert cls(n_hidden, random_state=0, **options).fit(X).log_likelihood(X).mean() > least


@pytest.mark.parametrize("units", [("gaussian", "gaussian"), ("gaussian", "relu"), ("relu", "relu")])
def test_chains_of_real_layers_that_overflow_say_so(units):
    import warnings

    from fastrbm import RBM

    X = np.abs(np.random.default_rng(0).normal(size=(20, 5)))
    rbm = RBM(4, visible=units[0], hidden=units[1], learning_rate=1e-4, n_iter=1, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rbm.components_ = 0.01 * np.ones((4, 5), np.float32)
        assert np.isfinite(rbm.sample(3, 50)).all()
    rbm.components_ = np.full((4, 5), 1e3, np.float32)
    with pytest.raises(fastrbm.DivergenceError, match="ran away.*became infinite"):
        rbm.sample(3, 200)
