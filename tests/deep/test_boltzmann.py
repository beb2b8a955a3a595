"""Deep Boltzmann machines against sums over all states."""

from itertools import product

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from fastrbm import DivergenceError
from fastrbm._kernels import Parameters, get_backend, pack
from fastrbm.deep import DeepBoltzmannMachine, _boltzmann

SIZES = [(4, 3, 2), (3, 3, 2, 2), (2, 3, 2, 2, 2)]
RNG = np.random.default_rng(0)
BARS = np.array([np.outer(s, np.ones(3)).ravel() for s in product([0, 1], repeat=3)])
BARS = np.repeat(np.unique(np.vstack([BARS, BARS.reshape(-1, 3, 3).transpose(0, 2, 1).reshape(-1, 9)]), axis=0), 10, 0)


def states_of(n):
    return np.array(list(product([0.0, 1.0], repeat=n)))


def machine(sizes, scale=1.0, seed=3):
    """A machine with parameters of our own, and these."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, scale, (above, below)) for below, above in zip(sizes[:-1], sizes[1:], strict=True)]
    biases = [rng.normal(0, 0.5, n) for n in sizes]
    rows = (rng.random((20, sizes[0])) < 0.5).astype(float)
    made = DeepBoltzmannMachine(sizes[1:], n_iter=0, pretrain_iter=0, dtype=np.float64, random_state=0).fit(rows)
    for value, wanted in zip(made._joint, _boltzmann.joined(sizes, weights, biases, np.float64), strict=True):
        value[...] = wanted
    return made, weights, biases


def log_weights(sizes, weights, biases):
    """Minus the energies of all states, and the states of each layer."""
    states = states_of(sum(sizes))
    layers = np.split(states, np.cumsum(sizes)[:-1], axis=1)
    total = sum(layer @ bias for layer, bias in zip(layers, biases, strict=True))
    for w, below, above in zip(weights, layers[:-1], layers[1:], strict=True):
        total = total + np.einsum("na,ab,nb->n", above, w, below)
    return total, layers


def log_likelihoods(sizes, weights, biases, rows):
    total, layers = log_weights(sizes, weights, biases)
    return np.array([logsumexp(total[(layers[0] == v).all(axis=1)]) for v in rows]) - logsumexp(total)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_restricted_machine_is_the_deep_one(sizes):
    made, weights, biases = machine(sizes)
    total, _ = log_weights(sizes, weights, biases)
    assert made.log_partition("exact").value == pytest.approx(logsumexp(total), abs=1e-10)
    for found, wanted in zip(made.weights_ + made.biases_, weights + biases, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("sizes", SIZES)
def test_chains_visit_rows_as_often_as_they_are_likely(sizes):
    made, weights, biases = machine(sizes)
    n = 40000
    drawn = made.sample(n, 60, random_state=1)
    rows = states_of(sizes[0])
    p = np.exp(log_likelihoods(sizes, weights, biases, rows))
    counts = np.array([(drawn == v).all(axis=1).sum() for v in rows])
    statistic = ((counts - n * p) ** 2 / (n * p)).sum()
    assert statistic < len(p) + 5 * np.sqrt(2 * len(p))
    means = made.sample(n, 60, means=True, random_state=2).mean(axis=0)
    np.testing.assert_allclose(means, p @ rows, atol=0.012)


@pytest.mark.parametrize("sizes", SIZES)
def test_mean_fields_are_fixed_points(sizes):
    made, weights, biases = machine(sizes)
    made.set_params(n_mean_field=500)
    rows = states_of(sizes[0])
    layers = [rows, *(made.transform(rows, level=k) for k in range(1, len(sizes)))]
    for k in range(1, len(sizes)):
        field = biases[k] + layers[k - 1] @ weights[k - 1].T
        if k + 1 < len(sizes):
            field = field + layers[k + 1] @ weights[k]
        np.testing.assert_allclose(layers[k], expit(field), atol=1e-9)
    np.testing.assert_array_equal(made.transform(rows), layers[-1])
    np.testing.assert_allclose(made.reconstruct(rows), expit(biases[0] + layers[1] @ weights[0]), atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_bound_is_below_the_likelihood_and_rises_with_passes(sizes):
    made, weights, biases = machine(sizes)
    rows = states_of(sizes[0])
    exact = log_likelihoods(sizes, weights, biases, rows)
    bounds = [made.set_params(n_mean_field=n).score_samples(rows) for n in (1, 2, 5, 100)]
    assert (np.diff(bounds, axis=0) > -1e-9).all()
    assert (bounds[-1] <= exact + 1e-9).all() and (exact - bounds[-1]).max() < 1.5
    # E[-E] + H by a sum over all hidden states
    total, layers = log_weights(sizes, weights, biases)
    for v, bound in zip(rows, bounds[-1], strict=True):
        here = (layers[0] == v).all(axis=1)
        q = np.ones(here.sum())
        for k in range(1, len(sizes)):
            p = made.transform(v[None], level=k)
            q = q * np.where(layers[k][here] > 0, p, 1 - p).prod(axis=1)
        q, energies = q[q > 0], total[here][q > 0]
        assert bound == pytest.approx(q @ (energies - np.log(q)) - logsumexp(total), abs=1e-8)
    assert made.score(rows) == pytest.approx(bounds[-1].mean())
    assert made.score_samples(rows, log_z=0.0) == pytest.approx(bounds[-1] + logsumexp(total))


def test_without_weights_to_the_top_the_bound_is_the_likelihood():
    made, weights, biases = machine((4, 3, 2))
    weights[1][...] = 0
    for value, wanted in zip(made._joint, _boltzmann.joined((4, 3, 2), weights, biases, np.float64), strict=True):
        value[...] = wanted
    rows = states_of(4)
    np.testing.assert_allclose(made.score_samples(rows), log_likelihoods((4, 3, 2), weights, biases, rows), atol=1e-10)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_gradient_is_that_of_the_bound(sizes):
    """Chains are replaced by all states, as often as they are likely; the rest is differences of the bound."""
    made, _, _ = machine(sizes)
    made.set_params(n_mean_field=300)
    joint, rows = made._joint, states_of(sizes[0])[::2]
    even = states_of(joint.weights.shape[1])
    p = np.exp(-get_backend("reference").free_energy("bernoulli", even, joint))
    chains = np.repeat(even, np.round(p / p.sum() * 200000).astype(int), axis=0)
    joins = _boltzmann.neighbours(sizes, np.float64)
    found = _boltzmann.contrast(get_backend("cpu"), joint, rows, pack(chains > 0), joins, 300)
    assert not found.weights[joins == 0].any()
    for value, gradient in zip(joint, found, strict=True):
        for at in np.ndindex(value.shape):
            if value.ndim == 2 and not joins[at]:
                continue
            kept, scores = value[at], []
            for change in (1e-5, -1e-5):
                value[at] = kept + change
                scores.append(made.score(rows))
            value[at] = kept
            assert gradient[at] == pytest.approx((scores[0] - scores[1]) / 2e-5, abs=2e-3)


def test_training_makes_rows_likely():
    options = dict(layers=[10, 8], batch_size=10, random_state=0, dtype=np.float64)
    alone = DeepBoltzmannMachine(n_iter=0, pretrain_iter=100, **options).fit(BARS)
    whole = DeepBoltzmannMachine(n_iter=300, pretrain_iter=100, learning_rate=0.05, **options).fit(BARS)
    uniform = 9 * np.log(0.5)
    assert alone.score(BARS) > uniform + 0.5
    assert whole.score(BARS) > alone.score(BARS) + 0.5 and whole.score(BARS) < -np.log(14)
    assert not whole.model_.weights[_boltzmann.neighbours((9, 10, 8), np.float64) == 0].any()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_between_layers_that_are_no_neighbours_stay_0(optimizer):
    made = DeepBoltzmannMachine([6, 5, 4], n_iter=3, optimizer=optimizer, learning_rate=0.01).fit(BARS)
    joins = _boltzmann.neighbours((9, 6, 5, 4), np.float32)
    assert not made.model_.weights[joins == 0].any() and made.model_.weights[joins == 1].all()


def test_results_do_not_depend_on_threads_or_form():
    options = dict(layers=[20, 10], n_iter=2, pretrain_iter=2, random_state=0)
    grey = RNG.random((300, 9)).astype(np.float32)
    for rows in (BARS, grey):
        one, two = (DeepBoltzmannMachine(n_threads=n, **options).fit(rows) for n in (1, 2))
        for a, b in zip(one._joint, two._joint, strict=True):
            np.testing.assert_array_equal(a, b)
    bits = DeepBoltzmannMachine(**options).fit(BARS.astype(np.uint8))
    np.testing.assert_array_equal(
        bits.transform(BARS.astype(np.uint8)), DeepBoltzmannMachine(**options).fit(BARS > 0).transform(BARS > 0)
    )


BAD = [
    (dict(layers=3), TypeError, "layers must be a list"),
    (dict(layers=[3]), ValueError, "layers must be two or more"),
    (dict(layers=[3, 0]), ValueError, "layers must be two or more"),
    (dict(n_chains=0), ValueError, "n_chains"),
    (dict(n_iter=-1), ValueError, "n_iter"),
    (dict(n_mean_field=0.5), (ValueError, TypeError), "n_mean_field"),
    (dict(learning_rate=0), ValueError, "learning_rate"),
    (dict(pretrain_rate=0), ValueError, "pretrain_rate"),
    (dict(optimizer="x"), ValueError, "optimizer"),
    (dict(dtype=int), ValueError, "dtype"),
    (dict(random_state="x"), ValueError, "random_state"),
    (dict(out_of_range="x"), ValueError, "out_of_range"),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD)
def test_bad_options(options, error, words):
    made = DeepBoltzmannMachine(**{"layers": [3, 2], **options})
    with pytest.raises(error, match=words):
        made.fit(BARS)
    assert not hasattr(made, "n_features_in_")


def test_a_fit_that_diverges_leaves_the_machine_as_it_was():
    made = DeepBoltzmannMachine([4, 3], n_iter=1, pretrain_iter=1, random_state=0).fit(BARS)
    before = made.transform(BARS)
    for options, words in (
        ({"learning_rate": 1e300}, "pass 1: lower learning_rate"),
        ({"pretrain_rate": 1e300}, "alone"),
    ):
        broken = DeepBoltzmannMachine([4, 3], n_iter=3, batch_size=10, random_state=0).set_params(**options)
        broken.__dict__.update({k: v for k, v in vars(made).items() if k not in made.get_params()})
        with pytest.raises(DivergenceError, match=words):
            broken.fit(BARS)
        np.testing.assert_array_equal(broken.transform(BARS), before)


def test_grey_rows_have_features_and_no_bound():
    made, _, _ = machine((4, 3, 2))
    assert made.transform(np.full((2, 4), 0.3)).shape == (2, 2)
    with pytest.raises(ValueError, match="X must be zeros and ones to have a bound"):
        made.score_samples(np.full((2, 4), 0.3))


def test_bad_levels():
    made, _, _ = machine((4, 3, 2))
    with pytest.raises(ValueError, match="level"):
        made.transform(states_of(4), level=3)
    assert isinstance(made._joint, Parameters)
