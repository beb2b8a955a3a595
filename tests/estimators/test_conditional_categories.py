"""SoftmaxRBM(conditional=True): that an entry is there says something, also while its category is unknown."""

import numpy as np
import pytest
from scipy.special import expit, softmax

import fastrbm
from fastrbm import SoftmaxRBM
from fastrbm.init import Normal

K = 4


@pytest.fixture(scope="module")
def ratings():
    """Two kinds of users, of different tastes, who rate different items; half of the ratings are kept back."""
    rng = np.random.default_rng(0)
    kind = rng.random((800, 1)) < 0.5
    full = np.where(kind, rng.integers(2, 4, (800, 8)), rng.integers(0, 2, (800, 8))).astype(float)
    rated = rng.random(full.shape) < np.where(kind, np.linspace(0.2, 0.9, 8), np.linspace(0.9, 0.2, 8))
    hidden = rated & (rng.random(full.shape) < 0.5)
    return full, np.where(rated, np.where(hidden, -1, full), np.nan), hidden


def test_which_entries_are_there_improves_predictions(ratings):
    full, X, hidden = ratings
    options = dict(n_categories=K, random_state=0, n_iter=30, learning_rate=0.1)
    with_it = SoftmaxRBM(5, conditional=True, **options).fit(X)
    without = SoftmaxRBM(5, **options).fit(np.where(X < 0, np.nan, X))
    errors = [
        np.sqrt(np.mean((machine.predict_expected(rows) - full)[hidden] ** 2))
        for machine, rows in ((with_it, X), (without, np.where(X < 0, np.nan, X)))
    ]
    assert errors[0] < 0.58 and errors[1] > 0.6  # 0.5 is the error of the mean of two neighbouring categories


def test_the_formulas_of_a_row(ratings):
    """Hidden inputs are b + sum of W over known categories + sum of D over what is there."""
    _, X, _ = ratings
    machine = SoftmaxRBM(5, n_categories=K, conditional=True, random_state=0, n_iter=3, dtype=np.float64).fit(X)
    W, D = machine.components_[:, : 8 * K].reshape(5, 8, K), machine.components_[:, 8 * K :]
    a = machine.intercept_visible_[: 8 * K].reshape(8, K)
    assert machine.components_.shape == (5, 9 * 8 - 32) and D.any() and not machine.intercept_visible_[8 * K :].any()
    for row in X[:20]:
        x = machine.intercept_hidden_ + D[:, ~np.isnan(row)].sum(axis=1)
        energy = 0.0
        for i, k in enumerate(row):
            if k >= 0:
                x = x + W[:, i, int(k)]
                energy -= a[i, int(k)]
        np.testing.assert_allclose(machine.transform(row[None])[0], expit(x), rtol=1e-6)
        np.testing.assert_allclose(machine.free_energy(row[None]), energy - np.logaddexp(0, x).sum(), rtol=1e-9)
        wanted = softmax(a + np.einsum("jik,j->ik", W, expit(x)), axis=1)
        np.testing.assert_allclose(machine.predict_proba(row[None])[0], wanted, rtol=1e-6)


def test_pseudo_likelihoods_are_of_known_entries_alone(ratings):
    _, X, _ = ratings
    machine = SoftmaxRBM(5, n_categories=K, conditional=True, random_state=0, n_iter=3, dtype=np.float64).fit(X)
    for row in X[:10]:
        total = 0.0
        for i in np.flatnonzero(row >= 0):
            others = np.repeat(row[None], K, axis=0)
            others[:, i] = np.arange(K)
            total += -machine.free_energy(others)[int(row[i])] - np.logaddexp.reduce(-machine.free_energy(others))
        np.testing.assert_allclose(machine.score_samples(row[None]), total, rtol=1e-9, atol=1e-12)
        known = max(1, int(np.sum(row >= 0)))
        np.testing.assert_allclose(machine.score_samples(row[None], normalize=True), total / known, atol=1e-12)


def test_gradients_of_what_is_there(ratings):
    """Where all that is there is known, one category is on in both phases: D moves as the sum of W over categories."""
    full, X, _ = ratings
    known = np.where(X < 0, np.nan, X)
    options = dict(n_categories=K, conditional=True, init=Normal(0.0), batch_size=50, n_iter=10, dtype=np.float64)
    machine = SoftmaxRBM(5, random_state=0, **options).fit(known)
    W, D = machine.components_[:, : 8 * K].reshape(5, 8, K), machine.components_[:, 8 * K :]
    assert np.abs(D).max() > 1e-3
    np.testing.assert_allclose(W.sum(axis=2), D, atol=1e-12)
    unknown = np.where(np.isnan(X[:, :1]), np.nan, -1.0)  # the first column is never known
    machine = SoftmaxRBM(5, random_state=0, **options).fit(np.hstack((unknown, known[:, 1:])))
    W, D = machine.components_[:, : 8 * K].reshape(5, 8, K), machine.components_[:, 8 * K :]
    assert not W[:, 0].any() and D[:, 0].any()


def test_whole_rows_have_a_likelihood(ratings):
    full = ratings[0]
    machine = SoftmaxRBM(4, n_categories=K, conditional=True, algorithm="pcd", random_state=0, n_iter=3).fit(
        full[:, :3]
    )
    every = np.array(np.meshgrid(*[np.arange(K)] * 3)).reshape(3, -1).T.astype(float)
    np.testing.assert_allclose(np.exp(machine.log_likelihood(every)).sum(), 1, rtol=1e-5)
    assert (machine.sample(5, n_steps=20, random_state=0)[:, 3 * K :] == 1).all()
    with pytest.raises(ValueError, match="NaN here"):
        machine.log_likelihood(np.full((1, 3), -1.0))


def test_files_copies_and_more_rows(ratings, tmp_path):
    _, X, _ = ratings
    machine = SoftmaxRBM(5, n_categories=K, conditional=True, random_state=0, n_iter=2).fit(X)
    again = fastrbm.load(machine.save(tmp_path / "model.npz"))
    assert again.conditional is True and again.units == machine.units
    np.testing.assert_array_equal(again.predict_proba(X), machine.predict_proba(X))
    np.testing.assert_array_equal(again.partial_fit(X).components_, machine.partial_fit(X).components_)
    imputed = again.impute(X)
    np.testing.assert_array_equal(imputed[X >= 0], X[X >= 0])
    assert ((imputed >= 0) & (imputed < K)).all()
    wide = machine.fit(np.hstack((X, X)))  # another number of columns
    assert wide.components_.shape == (5, 16 * (K + 1))


def test_bad_values(ratings):
    _, X, _ = ratings
    machine = SoftmaxRBM(5, n_categories=K, conditional=True, n_iter=1)
    with pytest.raises(ValueError, match=r"or -1 \(there, but unknown\) or NaN \(not there\).* got -2 in row 0"):
        machine.fit(np.where(np.arange(8) == 3, -2.0, X))
    with pytest.raises(ValueError, match="or NaN, got -1 in row"):
        SoftmaxRBM(5, n_categories=K).fit(X)
    with pytest.raises(ValueError, match="conditional. parameter of SoftmaxRBM must be"):
        SoftmaxRBM(5, conditional="yes").fit(X)
    with pytest.raises(ValueError, match="algorithm must be 'cd'"):
        SoftmaxRBM(5, n_categories=K, conditional=True, algorithm="pcd").fit(X)
    machine.fit(X)
    for values in ((1, 2, 3), (1, 2, 3, np.nan), [[1, 2, 3, 4]]):
        with pytest.raises(ValueError, match="values must be 4 finite numbers"):
            machine.predict_expected(X, values)
    stars = machine.predict_expected(X, (1, 2, 3, 4))
    np.testing.assert_allclose(stars, machine.predict_expected(X) + 1, rtol=1e-6)
