"""Deep belief networks: the bound against enumeration, samples, levels, tied starts, seeds."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.base import clone

from fastrbm import RBM, BernoulliRBM, DataRangeWarning, GaussianRBM, IsingRBM, SoftmaxRBM
from fastrbm.deep import DeepBeliefNetwork
from fastrbm.init import Normal

RNG = np.random.default_rng(1)
X = (RNG.random((60, 6)) < 0.4) | (RNG.random((60, 1)) < 0.3)
WIDE = BernoulliRBM(algorithm="cd", n_iter=30, learning_rate=0.1, init=Normal(1.0), dtype=np.float64)


def states(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def exact_log_p(dbn, rows):
    """Log p(v) of Bernoulli stacks by listing the states of all hidden layers."""
    top = dbn.rbms_[-1].model_
    h = states(len(top.visible_bias))
    log_p = -top.free_energy(h)
    log_z = logsumexp(log_p)
    if len(dbn.rbms_) == 1:
        return -top.free_energy(rows) - log_z
    log_p -= log_z
    for rbm in reversed(dbn.rbms_[:-1]):
        model = rbm.model_
        v = states(len(model.visible_bias)) if rbm is not dbn.rbms_[0] else np.asarray(rows, np.float64)
        a = h @ model.weights + model.visible_bias
        of_v = v @ a.T - np.logaddexp(0, a).sum(axis=1)
        log_p, h = logsumexp(of_v + log_p, axis=1), v
    return log_p


@pytest.mark.parametrize("layers", [[3, 4], [4, 3, 3], [3, 6], [2, 2]])
def test_bound_is_below_exact_log_likelihood(layers):
    dbn = DeepBeliefNetwork(layers, rbm=WIDE, random_state=0).fit(X)
    exact, n = exact_log_p(dbn, X), 1000
    bound = dbn.score_samples(X, n_draws=n)
    assert (bound < exact + 0.05).all()
    gap = exact - bound
    # the gap is the divergence of the draws' distribution from the posterior; it must be what listing says
    for row in (0, 7):
        assert gap[row] == pytest.approx(exact_gap(dbn, X[row]), abs=0.1)


def exact_gap(dbn, row):
    """KL(q(h1, h2, ... | v) || p(h1, h2, ... | v)) = log p(v) - E_q[log p(v, h) - log q(h | v)], by listing."""

    def climb(level, below, log_q):
        """E over the layers above of log p(below, above) - log q(above)."""
        if level == len(dbn.rbms_) - 1:
            top = dbn.rbms_[-1].model_
            every = -top.free_energy(states(len(top.visible_bias)))
            return -top.free_energy(below[None])[0] - logsumexp(every)
        model = dbn.rbms_[level].model_
        h = states(len(model.hidden_bias))
        b = model.weights @ below + model.hidden_bias
        log_h = h @ b - np.logaddexp(0, b).sum()
        a = h @ model.weights + model.visible_bias
        log_v = a @ below - np.logaddexp(0, a).sum(axis=1)
        return sum(np.exp(q) * (lv - q + climb(level + 1, one, q)) for one, q, lv in zip(h, log_h, log_v, strict=True))

    return exact_log_p(dbn, row[None])[0] - climb(0, row.astype(np.float64), 0.0)


def test_bound_of_one_machine_is_its_log_likelihood():
    dbn = DeepBeliefNetwork([3], rbm=WIDE, random_state=0).fit(X)
    np.testing.assert_allclose(dbn.score_samples(X), exact_log_p(dbn, X), rtol=1e-10)
    assert dbn.score(X) == pytest.approx(exact_log_p(dbn, X).mean())


def test_tied_machine_starts_with_the_likelihood_of_the_one_below():
    top = clone(WIDE).set_params(n_components=6, learning_rate=1e-12, n_iter=1)
    dbn = DeepBeliefNetwork([clone(WIDE).set_params(n_components=3), top], tied=True, random_state=0).fit(X)
    alone = dbn.rbms_[0].log_likelihood(X)
    np.testing.assert_allclose(dbn.score_samples(X), alone, atol=1e-6)  # the bound is tight, whatever the draws
    np.testing.assert_allclose(exact_log_p(dbn, X), alone, atol=1e-6)
    np.testing.assert_allclose(dbn.rbms_[1].components_, dbn.rbms_[0].components_.T, atol=1e-6)
    assert isinstance(dbn.rbms_[1].init, Normal)


def test_samples_have_the_exact_distribution():
    dbn = DeepBeliefNetwork([3, 2], rbm=WIDE, random_state=0).fit(X)
    drawn = dbn.sample(10_000, 50, random_state=1)
    assert drawn.dtype == bool and drawn.shape == (10_000, 6)
    wanted = np.exp(exact_log_p(dbn, states(6)))
    found = np.bincount(drawn @ (1 << np.arange(6)), minlength=64) / len(drawn)
    assert np.abs(found - wanted).max() < 5 * np.sqrt(0.25 / len(drawn))
    means = dbn.sample(10_000, 50, means=True, random_state=1)
    np.testing.assert_allclose(means.mean(axis=0), drawn.mean(axis=0), atol=0.02)


def test_levels_are_the_machines_one_after_the_other():
    dbn = DeepBeliefNetwork([5, 4, 3], random_state=0).fit(X)
    rows = X.astype(np.float32)
    for level, rbm in enumerate(dbn.rbms_, 1):
        rows = rbm.transform(rows)
        np.testing.assert_array_equal(dbn.transform(X.astype(np.float32), level=level), rows)
    np.testing.assert_array_equal(dbn.transform(X.astype(np.float32)), rows)
    assert dbn.reconstruct(X).shape == X.shape
    assert list(dbn.get_feature_names_out()) == [f"deepbeliefnetwork{k}" for k in range(3)]
    with pytest.raises(ValueError, match="level must be an integer from 1 to 3, got 4"):
        dbn.transform(X, level=4)


def test_same_seed_same_bits_for_any_threads_and_after_pickle():
    one, two = (
        DeepBeliefNetwork([40, 30], rbm=BernoulliRBM(n_iter=3, n_threads=n), random_state=3).fit(X) for n in (1, 2)
    )
    for a, b in zip(one.rbms_, two.rbms_, strict=True):
        np.testing.assert_array_equal(a.components_, b.components_)
    other = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(other.sample(4, 10), two.sample(4, 10))
    np.testing.assert_array_equal(other.score_samples(X, log_z=0.0), two.score_samples(X, log_z=0.0))
    np.testing.assert_array_equal(one.score_samples(X[7:9], log_z=0.0), two.score_samples(X, log_z=0.0)[7:9])


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        (GaussianRBM(5, sigma="data"), RNG.normal(3, 2, size=(50, 4))),
        (IsingRBM(5), np.where(RNG.random((50, 4)) < 0.5, -1, 1)),
        (SoftmaxRBM(5), RNG.integers(3, size=(50, 4))),
        (RBM(5, visible="binomial(3)"), RNG.integers(4, size=(50, 4))),
    ],
)
def test_units_of_all_kinds_at_the_bottom(first, rows):
    second = BernoulliRBM(3, out_of_range="allow")  # means of spins are from -1 to 1
    dbn = DeepBeliefNetwork([clone(first).set_params(n_iter=2), second], random_state=0).fit(rows)
    assert dbn.transform(rows).shape == (50, 3)
    assert len(dbn.sample(6, 20)) == 6
    if not isinstance(first, IsingRBM):  # a Bernoulli layer has no likelihood of spins
        assert np.isfinite(dbn.score_samples(rows)).all()


def test_spins_above_spins():
    rows = np.where(X, 1, -1)
    below, above = (IsingRBM(n, n_iter=3, out_of_range="allow") for n in (4, 3))
    dbn = DeepBeliefNetwork([below, above], random_state=0).fit(rows)
    assert set(np.unique(dbn.sample(20, 20))) == {-1, 1}
    assert np.isfinite(dbn.score_samples(rows)).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": 5}, TypeError, "layers must be a list of widths"),
        ({"layers": []}, TypeError, "layers must be a list of widths"),
        ({"layers": [3, 0]}, ValueError, "layers must have widths of at least 1, got 0 at 1"),
        ({"layers": [3, "x"]}, TypeError, "layers must be widths or estimators"),
        ({"layers": [3, BernoulliRBM]}, TypeError, "layers must be widths or estimators"),
        ({"rbm": 3}, TypeError, "rbm must be None or an estimator"),
        ({"tied": 1}, ValueError, "tied must be True or False"),
        ({"layers": [3, 4], "tied": True}, ValueError, "tied must be False where no machine"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_options_that_cannot_be_used(options, error, message):
    dbn = DeepBeliefNetwork([3], random_state=0).fit(X)
    before = dbn.rbms_
    with pytest.raises(error, match=message):
        dbn.set_params(**options).fit(X)
    assert dbn.rbms_ is before


def test_grey_rows_have_no_bound():
    dbn = DeepBeliefNetwork([3, 2], random_state=0).fit(X * 0.5)
    with pytest.raises(ValueError, match="0"):
        dbn.score_samples(X * 0.5)


def test_options_of_machines_have_names():
    dbn = DeepBeliefNetwork([3, 2]).set_params(rbm__n_iter=2, rbm__learning_rate=0.01)
    assert dbn.fit(X).rbms_[1].n_iter_ == 2


def test_values_outside_the_range_between_layers_are_said_of_the_layer():
    rows = np.random.default_rng(0).random((60, 5))
    relu = RBM(4, visible="bernoulli", hidden="relu", init=Normal(3.0), n_iter=1, learning_rate=1e-6)
    stack = DeepBeliefNetwork([relu, BernoulliRBM(3, n_iter=1)], random_state=0)
    words = r"the hidden means of layer 1 should be in \[0, 1\] for layer 2.*got values from .*GaussianRBM"
    with pytest.warns(DataRangeWarning, match=words) as found:
        stack.fit(rows)
    found = [one for one in found if one.category is DataRangeWarning]
    assert len(found) == 1 and found[0].filename == __file__
    with pytest.warns(DataRangeWarning, match=words):
        stack.transform(rows)
    strict = DeepBeliefNetwork([relu, BernoulliRBM(3, n_iter=1, out_of_range="error")], random_state=0)
    with pytest.raises(ValueError, match=words):
        strict.fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataRangeWarning)
        DeepBeliefNetwork([relu, BernoulliRBM(3, n_iter=1, out_of_range="allow")], random_state=0).fit(rows)
    with pytest.warns(DataRangeWarning, match="^X should hold values"):  # those of X are
        DeepBeliefNetwork([BernoulliRBM(3, n_iter=1), 2], random_state=0).fit(3 * rows)
