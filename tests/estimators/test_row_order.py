"""The order of the rows makes no difference to shuffled training; whole weights are repetitions."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastrbm import RBM, SGD, Adam, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM, fit_many
from fastrbm._data.content import content_order

RNG = np.random.default_rng(0)
BITS = (RNG.random((60, 9)) < 0.4).astype(np.float64)
OPTIONS = dict(n_components=4, n_iter=3, random_state=0, batch_size=7)

CASES = {
    "bits": (BernoulliRBM(**OPTIONS), BITS),
    "grey": (BernoulliRBM(**OPTIONS), RNG.random((60, 9))),
    "bytes": (BernoulliRBM(**OPTIONS), RNG.integers(0, 256, (60, 9)).astype(np.uint8)),
    "sparse": (BernoulliRBM(**OPTIONS), sp.csr_matrix(BITS)),
    "biases of the data": (BernoulliRBM(**OPTIONS, visible_bias="data", optimizer=Adam()), BITS),
    "momentum": (BernoulliRBM(**OPTIONS, optimizer=SGD(momentum=0.9), centered=True), BITS),
    "cd": (BernoulliRBM(**OPTIONS, algorithm="cd", hidden_statistics="sampled"), BITS),
    "exact": (BernoulliRBM(**OPTIONS, algorithm="exact"), BITS),
    "steps": (BernoulliRBM(**OPTIONS, steps_per_epoch=4), BITS),
    "spins": (IsingRBM(**OPTIONS), 2 * BITS - 1),
    "mixture": (PottsRBM(**OPTIONS, algorithm="em", learning_rate=0.5), BITS),
    "reals": (GaussianRBM(**OPTIONS, sigma="learned"), RNG.normal(size=(60, 9))),
    "categories": (SoftmaxRBM(**OPTIONS), np.where(BITS > 0, np.nan, RNG.integers(0, 3, (60, 9)))),
    "counts": (RBM(**OPTIONS, visible="binomial(3)", hidden="relu"), np.floor(4 * RNG.random((60, 9)))),
    "reference": (BernoulliRBM(**OPTIONS, device="reference"), BITS),
}
NAMES = ("components_", "intercept_visible_", "intercept_hidden_")


def same(a, b):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def fit(estimator, X, **kw):
    return type(estimator)(**estimator.get_params(deep=False)).fit(X, **kw)


@pytest.mark.parametrize("name", CASES)
def test_rows_in_another_order_give_the_same_bits(name):
    estimator, X = CASES[name]
    wanted = fit(estimator, X)
    for seed in range(3):
        same(fit(estimator, X[np.random.default_rng(seed).permutation(60)]), wanted)


@pytest.mark.parametrize("name", CASES)
def test_whole_weights_are_repetitions(name):
    estimator, X = CASES[name]
    weights = np.random.default_rng(1).integers(0, 4, 60)
    mixed = np.random.default_rng(2).permutation(60)
    again = X[np.repeat(np.arange(60), weights)]
    if name == "categories":  # that of rows of weight 0 count, too
        estimator = estimator.set_params(n_categories=3)
    if name == "bytes":
        estimator = estimator.set_params(input_scale=1 / 255)
    same(fit(estimator, X[mixed], sample_weight=weights[mixed]), fit(estimator, again))
    one = fit(estimator.set_params(shuffle=False), X, sample_weight=weights)
    two = fit(estimator, again)
    estimator.set_params(shuffle=True)
    for part in NAMES:
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part), err_msg=part)


def test_an_update_takes_them_so_too():
    weights = np.random.default_rng(1).integers(0, 4, 60)
    one = BernoulliRBM(3, random_state=0).partial_fit(BITS, sample_weight=weights)
    same(one, BernoulliRBM(3, random_state=0).partial_fit(np.repeat(BITS, weights, axis=0)))


def test_other_weights_count_within_their_minibatch_in_any_order():
    weights = np.random.default_rng(1).random(60)
    mixed = np.random.default_rng(2).permutation(60)
    rbm = BernoulliRBM(**OPTIONS)
    wanted = fit(rbm, BITS, sample_weight=weights)
    same(fit(rbm, BITS[mixed], sample_weight=weights[mixed]), wanted)
    np.testing.assert_allclose(fit(rbm, BITS, sample_weight=1e6 * weights).components_, wanted.components_, atol=1e-5)
    heavy = np.full(60, 1000.0)  # too many repetitions: a weight that is the same for all is none
    assert fit(rbm, BITS, sample_weight=heavy).n_iter_ == 3


def test_without_shuffling_rows_come_as_they_stand():
    a, b = (BernoulliRBM(**OPTIONS, shuffle=False).fit(X) for X in (BITS, BITS[::-1]))
    assert (a.components_ != b.components_).any()


def test_many_models_share_one_order():
    models = fit_many([BernoulliRBM(**OPTIONS), BernoulliRBM(6, n_iter=2, random_state=1)], BITS)
    same(models[0], fit(models[0], BITS[::-1]))


def test_hashes_tell_all_rows_apart():
    class Rows:
        def __init__(self, blocks):
            self.contents = lambda: iter(blocks)

    rng = np.random.default_rng(0)
    for states in (
        rng.normal(size=(5000, 7)).astype(np.float32), rng.normal(size=(5000, 3)), np.eye(2000, dtype=np.float32),
        np.triu(np.ones((2000, 2000), np.float32)), -np.eye(2000, dtype=np.float32),
        2.0 ** np.arange(-120, 120)[:, None],
    ):  # fmt: skip
        order = content_order(Rows([states]))
        mixed = rng.permutation(len(states))
        np.testing.assert_array_equal(states[mixed][content_order(Rows([states[mixed]]))], states[order])
        half = len(states) // 2
        np.testing.assert_array_equal(content_order(Rows([states[:half], states[half:]])), order)
    zeros = np.zeros((4, 3), np.float32)
    np.testing.assert_array_equal(content_order(Rows([zeros])), content_order(Rows([-zeros])))
