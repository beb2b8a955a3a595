"""algorithm="exact": the gradient of the log-likelihood itself, and CD-1 measured with it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastrbm import L2, SGD, BernoulliRBM, Model
from fastrbm.likelihood import log_likelihood, log_partition

# four patterns of 12 pixels, 30 copies each with 5 % of the pixels flipped
PATTERNS = np.array([[1, 0, 0, 1] * 3, [0, 1, 1, 0] * 3, [1] * 6 + [0] * 6, [0] * 6 + [1] * 6])


def toy(seed=0):
    rng = np.random.default_rng(seed)
    X = np.repeat(PATTERNS, 30, axis=0)
    return np.where(rng.random(X.shape) < 0.05, 1 - X, X).astype(np.float32)


def start(n_hidden=6, scale=0.5, n_visible=12, seed=1, **options):
    """A fitted estimator with given parameters and no step done."""
    rbm = BernoulliRBM(n_hidden, n_iter=0, random_state=0, **options).fit(toy()[:, :n_visible])
    rng = np.random.default_rng(seed)
    rbm.components_ = rng.normal(0, scale, (n_hidden, n_visible)).astype(rbm.components_.dtype)
    rbm.intercept_visible_ = rng.normal(0, scale, n_visible).astype(rbm.components_.dtype)
    rbm.intercept_hidden_ = rng.normal(0, scale, n_hidden).astype(rbm.components_.dtype)
    return rbm


def parameters(rbm):
    return [np.array(x, np.float64) for x in (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_)]


def numerical_gradient(rbm, X, step=1e-5):
    """Central differences of the mean log-likelihood."""
    values = parameters(rbm)
    gradient = []
    for i, value in enumerate(values):
        g = np.empty_like(value)
        for index in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                changed = [x.copy() for x in values]
                changed[i][index] += sign * step
                ends.append(log_likelihood(Model(*changed), X).mean())
            g[index] = (ends[0] - ends[1]) / (2 * step)
        gradient.append(g)
    return gradient


@pytest.mark.parametrize("n_hidden,n_visible", [(5, 12), (9, 4)])
@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_step_is_the_gradient_of_the_likelihood(n_hidden, n_visible, device):
    X = toy()[:, :n_visible]
    rbm = start(
        n_hidden,
        n_visible=n_visible,
        algorithm="exact",
        dtype=np.float64,
        learning_rate=1.0,
        batch_size=200,
        device=device,
    )
    wanted, before = numerical_gradient(rbm, X), parameters(rbm)
    rbm.partial_fit(X)
    for after, b, g in zip(parameters(rbm), before, wanted, strict=True):
        assert_allclose(after - b, g, atol=1e-8)


def test_full_batches_raise_the_likelihood_at_every_step():
    X = toy()
    rbm = BernoulliRBM(
        8, algorithm="exact", learning_rate=0.2, batch_size=len(X), n_iter=5, random_state=0, warm_start=True
    )
    reached = []
    for _ in range(120):
        reached.append(rbm.fit(X).log_likelihood(X).mean())
    assert (np.diff(reached) > -1e-6).all()
    assert reached[-1] > reached[0] + 0.5


def test_minibatches_reach_what_is_known_of_the_patterns():
    """The likelihood of the mixture that made the rows is a bound that a good model comes near."""
    X = toy()
    rbm = BernoulliRBM(8, algorithm="exact", learning_rate=0.2, batch_size=20, n_iter=400, random_state=0).fit(X)
    distance = (X[:, None] != PATTERNS).sum(axis=2)
    truth = np.log(np.mean(0.05**distance * 0.95 ** (12 - distance), axis=1)).mean()
    assert rbm.log_likelihood(X).mean() > truth - 0.35


def test_cd1_is_biased_and_pcd_less_so():
    """At a trained model the mean CD-1 step over many seeds differs from the exact gradient; that of CD-50 does not."""
    X = toy()
    rbm = BernoulliRBM(8, algorithm="exact", learning_rate=0.2, batch_size=120, n_iter=300, random_state=0).fit(X)
    values = parameters(rbm)

    def step(seed, **options):
        other = BernoulliRBM(8, n_iter=0, batch_size=len(X), learning_rate=1.0, random_state=seed, **options).fit(X)
        other.components_, other.intercept_visible_, other.intercept_hidden_ = (x.astype(np.float32) for x in values)
        other.partial_fit(X)
        return np.concatenate([(a - b).ravel() for a, b in zip(parameters(other), values, strict=True)])

    exact = step(0, algorithm="exact")
    deviation = {}
    for k in (1, 50):
        steps = np.array([step(seed, algorithm="cd", n_gibbs_steps=k) for seed in range(400)])
        z = (steps.mean(axis=0) - exact) / (steps.std(axis=0, ddof=1) / np.sqrt(len(steps)))
        deviation[k] = np.sqrt(np.mean(z**2))
    assert deviation[1] > 3
    assert deviation[50] < 1.3 < deviation[1]


@pytest.mark.parametrize(
    "options", [dict(optimizer=SGD(0.9)), dict(regularizers=[L2(0.1)]), dict(stochastic_input=True)]
)
def test_options_of_the_update_act(options):
    X = toy() if "stochastic_input" not in options else np.clip(toy(), 0.2, 0.8)
    common = dict(algorithm="exact", n_iter=3, batch_size=40, learning_rate=0.1, random_state=0)
    plain, other = (BernoulliRBM(5, **common, **more).fit(X) for more in ({}, options))
    assert np.abs(plain.components_ - other.components_).max() > 1e-4


def test_reproducible_for_threads_resume_and_file(tmp_path):
    import fastrbm

    X = toy()
    options = dict(algorithm="exact", batch_size=32, random_state=3, optimizer=SGD(0.5))
    whole = BernoulliRBM(6, n_iter=4, n_threads=1, **options).fit(X)
    parts = BernoulliRBM(6, n_iter=2, n_threads=2, warm_start=True, **options).fit(X)
    parts.save(tmp_path / "m.npz")
    for machine in (parts, fastrbm.load(tmp_path / "m.npz")):
        assert_array_equal(machine.fit(X).components_, whole.components_)
    assert not hasattr(whole, "h_samples_")


def test_float64_and_grey_rows():
    X = np.clip(toy(), 0.1, 0.9)
    rbm = BernoulliRBM(5, algorithm="exact", n_iter=2, batch_size=32, random_state=0, dtype=np.float64).fit(X)
    assert rbm.components_.dtype == np.float64
    single = BernoulliRBM(5, algorithm="exact", n_iter=2, batch_size=32, random_state=0).fit(X)
    assert_allclose(single.components_, rbm.components_, atol=1e-5)


@pytest.mark.parametrize(
    "options,message",
    [
        (dict(n_gibbs_steps=2), "n_gibbs_steps must be 1 with algorithm='exact'"),
        (dict(n_chains=5), "n_chains must be None with algorithm='exact'"),
        (dict(hidden_statistics="sampled"), "hidden_statistics must be 'mean' with algorithm='exact'"),
        (dict(random_stream="sklearn", shuffle=False), "algorithm must be 'pcd' with random_stream='sklearn'"),
    ],
)
def test_options_without_meaning_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BernoulliRBM(2, algorithm="exact", **options).fit(toy())


def test_too_many_units_are_refused():
    with pytest.raises(ValueError, match="20 units of two values at most, got 30 hidden and 25 visible"):
        BernoulliRBM(30, algorithm="exact").fit(np.zeros((4, 25)))


def test_interrupted_run_keeps_whole_minibatches():
    class Stop(Exception):
        pass

    from fastrbm.callbacks import Callback

    class AfterTwo(Callback):
        seen = 0

        def on_batch(self, run):
            self.seen += 1
            if self.seen == 2:
                raise Stop

    X = toy()
    rbm = BernoulliRBM(5, algorithm="exact", batch_size=40, random_state=0, shuffle=False, callbacks=[AfterTwo()])
    with pytest.raises(Stop):
        rbm.fit(X)
    two = BernoulliRBM(5, algorithm="exact", batch_size=40, random_state=0, shuffle=False, n_iter=1).fit(X[:80])
    assert_array_equal(rbm.components_, two.components_)
    assert np.isfinite(float(log_partition(rbm)))
