"""`score_samples` of every estimator: the sum of conditionals by its own free energy, in the scale of the data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, LearnedSigma, PottsRBM, SoftmaxRBM, load
from fastrbm.callbacks import EarlyStopping, PseudoLikelihood
from fastrbm.units import get_unit

DIGITS = load_digits().data[:120, 18:30]
BITS = (DIGITS > 8).astype(float)
REAL = 3.0 * DIGITS + np.random.default_rng(0).normal(size=DIGITS.shape) - 20
FOURS = DIGITS // 4.5
OPTIONS = dict(n_components=5, n_iter=3, batch_size=20, random_state=0)
SMALL = OPTIONS | dict(learning_rate=0.005)
CASES = {
    "Bernoulli": (BernoulliRBM(**OPTIONS), BITS),
    "temperature": (BernoulliRBM(**OPTIONS, temperature=2.0), BITS),
    "Ising": (IsingRBM(**OPTIONS), 2 * BITS - 1),
    "Potts": (PottsRBM(**OPTIONS), BITS),
    "Softmax": (SoftmaxRBM(**OPTIONS), FOURS),
    "Softmax relu": (SoftmaxRBM(**SMALL, hidden="relu"), FOURS),
    "Gaussian": (GaussianRBM(**SMALL), (REAL - REAL.mean(0)) / REAL.std(0).clip(1)),
    "Gaussian given": (GaussianRBM(**SMALL, sigma=np.linspace(5, 20, 12)), REAL),
    "Gaussian data": (GaussianRBM(**SMALL, sigma="data"), REAL),
    "Gaussian learned": (GaussianRBM(**SMALL, sigma=LearnedSigma()), REAL),
    "Gaussian variance": (GaussianRBM(**SMALL, sigma="data", scaling="variance", hidden="ising"), REAL),
    "Gaussian onehot": (GaussianRBM(**SMALL, sigma="data", hidden="onehot"), REAL),
    "Gaussian gaussian": (GaussianRBM(**SMALL, sigma="data", hidden="gaussian"), REAL),
    "Gaussian relu": (GaussianRBM(**SMALL, sigma="data", hidden="relu"), REAL),
    "RBM relu": (RBM(**SMALL, visible="relu"), np.abs(REAL) / 20),
    "RBM binomial": (RBM(**SMALL, visible="binomial(16)"), DIGITS),
    "RBM onehot": (RBM(**OPTIONS, visible="onehot(2)"), np.eye(2)[BITS[:, :6].astype(int)].reshape(-1, 12)),
    "RBM mixed": (
        RBM(**SMALL, visible="mixed(gaussian*3,binomial(3)*3,bernoulli*2,relu*4)", hidden="binomial(2)"),
        np.hstack([REAL[:, :3] / 20, FOURS[:, 3:6], BITS[:, 6:8], DIGITS[:, 8:] / 10]),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    rbm, X = CASES[request.param]
    return clone(rbm).set_params(dtype=np.float64).fit(X), X


def values_of(rbm, X):
    """For each variable its columns of X, what they can be, and the length of a step between real values, or None."""
    if isinstance(rbm, SoftmaxRBM):
        categories = np.arange(rbm.n_categories_)[:, None]
        return [(slice(i, i + 1), categories, None) for i in range(X.shape[1])]
    found, first = [], 0
    unit = get_unit(rbm.units[0])
    for part, width in getattr(unit, "parts", ((unit, X.shape[1]),)):
        size = (part.n_classes or width) if part.name == "onehot" else 1
        for at in range(first, first + width, size):
            if part.finite:
                found.append((slice(at, at + size), part.states(0, part.n_states(size), size), None))
                continue
            sigma = float(np.broadcast_to(getattr(rbm, "sigma_", 1.0), X.shape[1])[at])
            low = 0.0 if part.name == "relu" else X.min() - 25 * sigma
            grid = np.linspace(low, X.max() + 25 * sigma, 40001)
            found.append((slice(at, at + 1), grid[:, None], grid[1] - grid[0]))
        first += width
    return found


def test_scores_are_the_sums_of_conditionals(case):
    rbm, X = case
    rows = X[[0, 7, 50]]
    wanted = np.zeros(len(rows))
    for columns, values, step in values_of(rbm, X):
        for n, row in enumerate(rows):
            others = np.repeat(row[None], len(values), axis=0)
            others[:, columns] = values
            logs = -rbm.free_energy(others)
            if step is not None:  # trapezoids: exact but for the ends of half-lines
                logs += np.log(step)
                logs[[0, -1]] -= np.log(2)
            wanted[n] += -rbm.free_energy(row[None])[0] - logsumexp(logs)
    half_line = "relu" in rbm.units[0]
    assert_allclose(rbm.score_samples(rows), wanted, rtol=1e-5 if half_line else 1e-10, atol=1e-10)
    n_variables = len(values_of(rbm, X))
    assert_allclose(rbm.score_samples(rows, normalize=True), rbm.score_samples(rows) / n_variables, rtol=1e-12)


def test_scores_do_not_depend_on_the_way_rows_come(case, tmp_path):
    rbm, X = case
    wanted = rbm.score_samples(X)
    assert wanted.dtype == np.float64 and wanted.shape == (len(X),) and np.isfinite(wanted).all()
    assert_allclose(rbm.score_samples([X[:7], X[7:]]), wanted, rtol=1e-10)
    assert_allclose(np.concatenate([rbm.score_samples(X[:50]), rbm.score_samples(X[50:])]), wanted, rtol=1e-10)
    assert_allclose(clone(rbm).set_params(dtype=np.float32).fit(X).score_samples(X), wanted, rtol=1e-3)
    rbm.save(tmp_path / "m.npz")
    assert_array_equal(load(tmp_path / "m.npz").score_samples(X), wanted)
    rbm.device = "reference"
    try:
        assert_allclose(rbm.score_samples(X[:10]), wanted[:10], rtol=1e-9)
    finally:
        rbm.device = "auto"


@pytest.mark.parametrize("name", CASES)
def test_grid_searches_and_early_stopping(name):
    rbm, X = CASES[name]
    rbm = clone(rbm).set_params(scoring="pseudo_likelihood")
    search = GridSearchCV(rbm, {"n_components": [2, 4]}, cv=2, error_score="raise").fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert rbm.fit(X).score(X) == pytest.approx(rbm.score_samples(X).mean())
    early = clone(rbm).set_params(validation_fraction=0.3, early_stopping="pseudo_likelihood").fit(X)
    column = np.array(early.history_["validation_pseudo_likelihood"])
    assert np.isfinite(column[-1])
    watched = PseudoLikelihood(X[:20])
    seen = clone(rbm).set_params(callbacks=[watched, EarlyStopping(PseudoLikelihood(X[:20], "again"))]).fit(X)
    assert_allclose(seen.history_["pseudo_likelihood"], seen.history_["again"])
    assert np.isfinite(seen.history_["pseudo_likelihood"]).all()


def test_the_units_of_the_data_shift_densities_only():
    """A hundred times as large numbers have a hundredth of the density in each feature."""
    scores = [
        GaussianRBM(**SMALL, sigma="data", dtype=np.float64).fit(factor * REAL).score_samples(factor * REAL)
        for factor in (1, 100)
    ]
    assert_allclose(scores[1], scores[0] - 12 * np.log(100), rtol=1e-4)


@pytest.mark.parametrize("hidden", ["bernoulli", "onehot", "relu"])
def test_missing_entries_are_left_out(hidden):
    X = FOURS.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    X[5] = np.nan
    rbm = SoftmaxRBM(**SMALL, hidden=hidden, n_categories=4, dtype=np.float64).fit(X)
    scores = rbm.score_samples(X)
    wanted = np.zeros(len(X))
    for n in range(20):
        for i in np.flatnonzero(~np.isnan(X[n])):
            others = np.repeat(X[n : n + 1], 4, axis=0)
            others[:, i] = np.arange(4)
            logs = -rbm.free_energy(others)
            wanted[n] += logs[int(X[n, i])] - logsumexp(logs)
    assert_allclose(scores[:20], wanted[:20], atol=1e-10)
    assert scores[5] == 0
    there = (~np.isnan(X)).sum(axis=1)
    assert_allclose(rbm.score_samples(X, normalize=True), scores / np.maximum(there, 1))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("Bernoulli", "Potts", "temperature")])
def test_bad_rows(name):
    rbm, X = CASES[name]
    rbm = clone(rbm).set_params(n_iter=1).fit(X)
    for value in (np.inf, -np.inf) if isinstance(rbm, SoftmaxRBM) else (np.inf, np.nan):
        bad = X.copy()
        bad[3, 2] = value
        with pytest.raises(ValueError, match="X"):
            rbm.score_samples(bad)
    with pytest.raises(ValueError, match="features"):
        rbm.score_samples(X[:, :5])


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        ("relu", "X must hold finite numbers of at least 0 for 'relu' visible units.*got -1 in row 4, column 3"),
        ("binomial(16)", "X must hold whole numbers from 0 to 16 .*got -1 in row 4, column 3"),
        ("onehot(2)", "X must hold one 1 in each 2 neighbouring columns .*got -1 in row 4, column 3"),
        ("mixed(gaussian*3,bernoulli*3)", "X must hold .*0 and 1 only.*got -1 in row 4, column 3"),
    ],
)
@pytest.mark.parametrize("mode", ["warn", "error", "allow"])
def test_rows_that_are_no_states_have_no_score(visible, message, mode):
    X = np.eye(2)[BITS[:, :3].astype(int)].reshape(-1, 6)
    rbm = RBM(**SMALL, visible=visible, out_of_range=mode).fit(X)
    X[4, 3] = -1
    for rows in (X, [X[:3], X[3:]]):
        with pytest.raises(ValueError, match=message if rows is X or mode == "allow" else "X must hold"):
            rbm.score_samples(rows)


def test_models_without_a_density_are_refused():
    rbm = GaussianRBM(2, hidden="relu", n_iter=1, random_state=0).fit(REAL / 20)
    rbm.components_[:] = 1.5
    for call in (rbm.score_samples, rbm.set_params(scoring="pseudo_likelihood").score):
        with pytest.raises(ValueError, match="conditional density of visible unit 0 .'gaussian'. does not exist"):
            call(REAL)
    with pytest.raises(ValueError, match="too large for"):
        GaussianRBM(2, n_iter=1, random_state=0, dtype=np.float64).fit(REAL / 20).score_samples(1e148 * REAL)
