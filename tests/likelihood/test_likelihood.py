"""Partition sums and likelihoods against enumeration; annealed estimates against their stated errors."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

import fastrbm
from fastrbm import BernoulliRBM, Model
from fastrbm._kernels import get_backend
from fastrbm._kernels.draws import Key
from fastrbm.likelihood import (
    LogPartition,
    Moments,
    annealed,
    exact,
    kl_divergence,
    log_likelihood,
    log_partition,
    paths,
)
from fastrbm.likelihood._result import acceptance_ratio, log_mean


def states(n):
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


def random_model(n_visible, n_hidden, scale=0.5, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (n_hidden, n_visible), n_visible, n_hidden
    return Model(*(rng.normal(0, scale, s).astype(dtype) for s in shapes))


def enumerated(model):
    """Joint log weights, shape (visible states, hidden states)."""
    w, a, b = (x.astype(np.float64) for x in model.parameters)
    v, h = states(len(a)), states(len(b))
    return (v @ a)[:, None] + (h @ b)[None, :] + v @ w.T @ h.T


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    return (load_digits().data > 7).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(digits):
    """12 hidden units on 8x8 digits, and its exact log Z."""
    rbm = BernoulliRBM(12, n_iter=40, batch_size=32, learning_rate=0.1, random_state=0).fit(digits)
    return rbm, float(log_partition(rbm, "exact"))


# ---- exact ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_visible,n_hidden", [(1, 1), (5, 3), (3, 6), (7, 7)])
@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_sum_moments_and_distribution(n_visible, n_hidden, device, dtype):
    model = random_model(n_visible, n_hidden, dtype=dtype)
    joint = enumerated(model)
    p = np.exp(joint - logsumexp(joint))
    got = log_partition(model, "exact", moments=True, probabilities=True, device=device)
    tolerance = 1e-10 if dtype == np.float64 else 2e-6
    assert_allclose(got.value, logsumexp(joint), rtol=tolerance)
    assert_allclose(float(log_partition(model, "exact", device=device)), logsumexp(joint), rtol=tolerance)
    v, h = states(n_visible), states(n_hidden)
    assert isinstance(got.moments, Moments)
    assert_allclose(got.moments.visible, p.sum(axis=1) @ v, atol=5 * tolerance)
    assert_allclose(got.moments.hidden, p.sum(axis=0) @ h, atol=5 * tolerance)
    assert_allclose(got.moments.pairs, np.einsum("vh,vi,hj->ji", p, v, h), atol=5 * tolerance)
    smaller = p.sum(axis=0) if n_hidden <= n_visible else p.sum(axis=1)
    assert_allclose(np.exp(got.log_probabilities), smaller, atol=5 * tolerance)
    assert (got.method, got.stderr, got.interval) == ("exact", 0.0, (got.value, got.value))
    assert got.ess == np.inf


def test_probabilities_of_all_visible_states_sum_to_one():
    model = random_model(9, 5, scale=2.0)
    log_p = log_likelihood(model, states(9))
    assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-10)
    joint = enumerated(model)
    assert_allclose(log_p, logsumexp(joint, axis=1) - logsumexp(joint), atol=1e-9)


def test_auto_takes_the_exact_sum_where_it_is_quick_and_says_what_it_would_take_elsewhere():
    assert log_partition(random_model(30, 8)).method == "exact"
    big = random_model(300, 100, scale=0.05)
    assert log_partition(big, n_chains=20, n_temperatures=20, random_state=0).method == "smc"
    with pytest.raises(ValueError, match=r"2\^100 states of 100 hidden units would take about .* years.*'smc'"):
        log_partition(big, "exact")
    with pytest.raises(ValueError, match=r"2\^60 states of 60 visible units"):
        log_partition(random_model(60, 100), "exact")
    with pytest.raises(ValueError, match="at most 26 units, got 27"):
        log_partition(random_model(27, 27), "exact", moments=True)


# ---- annealed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ais", "mais", "smc", "reverse", "bracket"])
@pytest.mark.parametrize("start", ["biases", "base-rate", "uniform"])
def test_annealed_estimates_find_the_exact_value(trained, digits, method, start):
    rbm, wanted = trained
    got = log_partition(
        rbm, method, start=start, data=digits, n_chains=500, n_temperatures=2000, random_state=1, schedule="linear"
    )
    assert abs(got.value - wanted) < 0.4
    assert got.interval[0] <= got.value <= got.interval[1]
    assert 1 <= got.ess <= 500 and got.stderr > 0 and got.n_temperatures == 2000 and got.reliable
    assert got.n_chains == {"bracket": 1000, "smc": 512}.get(method, 500)


@pytest.mark.parametrize("method", ["ais", "mais", "smc", "reverse", "bracket"])
def test_intervals_cover_the_exact_value(trained, method):
    """At least 92 of 100 intervals of 95 % hold it, and the error is of the size that is stated."""
    rbm, wanted = trained
    found = [log_partition(rbm, method, n_chains=100, n_temperatures=100, random_state=s) for s in range(100)]
    inside = sum(x.interval[0] <= wanted <= x.interval[1] for x in found)
    assert inside >= 92 and np.mean([x.reliable for x in found]) >= 0.98
    errors = np.array([x.value - wanted for x in found])
    stated = np.sqrt(np.mean([x.stderr**2 for x in found]))
    assert 0.6 * stated < np.sqrt(np.mean(errors**2)) < 1.6 * stated


@pytest.mark.filterwarnings("ignore:only:sklearn.exceptions.ConvergenceWarning")
def test_summing_the_larger_layer_out_is_never_worse(trained):
    rbm, wanted = trained
    for n_temperatures in (10, 30, 100):
        rmse = {
            method: np.sqrt(
                np.mean([
                    (float(log_partition(rbm, method, n_chains=50, n_temperatures=n_temperatures, random_state=s))
                     - wanted) ** 2
                    for s in range(60)
                ])
            )
            for method in ("ais", "mais")
        }  # fmt: skip
        assert rmse["mais"] < rmse["ais"], (n_temperatures, rmse)


@pytest.mark.skipif("FASTRBM_DATA" not in os.environ, reason="FASTRBM_DATA does not name the folder of MNIST")
@pytest.mark.parametrize("method", ["ais", "mais", "reverse", "bracket"])
def test_intervals_cover_the_exact_value_on_mnist(method):
    from fastrbm import datasets

    X = datasets.binarize(datasets.load_mnist(download=False).images[:20000], "threshold")
    rbm = BernoulliRBM(20, n_iter=5, batch_size=64, learning_rate=0.05, random_state=0).fit(X)
    wanted = float(log_partition(rbm, "exact"))
    found = [log_partition(rbm, method, n_chains=100, n_temperatures=200, random_state=s) for s in range(100)]
    assert sum(x.interval[0] <= wanted <= x.interval[1] for x in found) >= 90


def test_weights_have_the_partition_sum_as_their_mean():
    """Not the log: exp of forward weights averages to Z / Z_0 with few temperatures, too; reverse ones to Z_0 / Z."""
    model = random_model(8, 5, scale=0.7, dtype=np.float32)
    wanted = logsumexp(enumerated(model))
    backend = get_backend()
    for sum_out in ("hidden", "visible"):
        bases = paths.bases_of(model, "uniform", None)
        path = paths.Path(model, bases, sum_out, backend, Key(3))
        betas = np.linspace(0, 1, 4)
        forward = path.anneal(path.start(200_000, 0), betas, paths.FORWARD)[0] + path.log_start - wanted
        states, exactly = annealed.model_samples(path, 200_000, 0)
        assert exactly
        reverse = path.anneal(states, betas[::-1].copy(), paths.REVERSE)[0] - path.log_start + wanted
        for log_weights in (forward, reverse):
            w = np.exp(log_weights)
            assert abs(w.mean() - 1) < 4.5 * w.std() / np.sqrt(len(w))


def test_samples_of_the_model_are_exact_where_its_states_can_be_listed():
    model = random_model(6, 4, scale=1.0, dtype=np.float32)
    p = np.exp(enumerated(model) - logsumexp(enumerated(model)))
    path = paths.Path(model, paths.bases_of(model, "uniform", None), "visible", get_backend(), Key(0))
    drawn = annealed.model_samples(path, 50_000, 0)[0].words[:, 0]
    counts = np.bincount(drawn.astype(int), minlength=16)
    expected = 50_000 * p.sum(axis=0)
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-square, 15 degrees of freedom: p = 8e-5


def test_populations_stand_in_for_exact_samples(digits):
    rbm = BernoulliRBM(24, n_iter=10, batch_size=32, learning_rate=0.1, random_state=0).fit(digits)
    wanted = float(log_partition(rbm, "exact"))
    for data in (None, digits):
        got = log_partition(rbm, "bracket", n_chains=200, n_temperatures=200, random_state=0, data=data)
        assert abs(got.value - wanted) < 0.3


@pytest.mark.parametrize("method", ["ais", "smc", "bracket", "tempering"])
def test_same_seed_same_bits_for_any_number_of_threads(trained, method):
    rbm, _ = trained
    a, b, c = (
        log_partition(rbm, method, n_chains=130, n_temperatures=50, random_state=7, n_threads=n) for n in (1, 2, 3)
    )
    assert a.value == b.value == c.value and a.interval == b.interval == c.interval
    assert log_partition(rbm, method, n_chains=130, n_temperatures=50, random_state=8).value != a.value


def test_chains_are_added_until_the_standard_error_is_reached(trained):
    rbm, wanted = trained
    few = log_partition(rbm, "ais", n_chains=40, n_temperatures=100, random_state=0)
    many = log_partition(rbm, "ais", n_chains=40, n_temperatures=100, random_state=0, stderr=few.stderr / 3)
    assert many.stderr <= few.stderr / 3 and many.n_chains % 40 == 0 and many.n_chains >= 200
    capped = log_partition(rbm, "ais", n_chains=40, n_temperatures=100, random_state=0, stderr=1e-9, max_chains=130)
    assert capped.n_chains == 120
    whole = log_partition(rbm, "ais", n_chains=120, n_temperatures=100, random_state=0)
    assert_allclose(capped.value, whole.value, rtol=1e-14)  # the same chains, in parts


def test_temperatures():
    model = random_model(20, 6, dtype=np.float32)
    path = paths.Path(model, paths.bases_of(model, "biases", None), "visible", get_backend(), Key(0))
    for schedule in paths.SCHEDULES:
        betas = paths.temperatures(path, schedule, 290)
        assert len(betas) == 291 and betas[0] == 0 and betas[-1] == 1 and (np.diff(betas) > 0).all()
    published = paths.temperatures(path, "salakhutdinov", 14500)
    assert_allclose(published[[500, 4500, 14500]], [0.5, 0.9, 1.0])
    given = [0.0, 0.1, 1.0]
    assert_array_equal(paths.temperatures(path, given, 5), given)


def test_adapted_temperatures_even_the_variance_out(trained):
    rbm, _ = trained
    model = rbm.model_
    spread = {}
    for schedule in ("linear", "adaptive"):
        path = paths.Path(model, paths.bases_of(model, "uniform", None), "visible", get_backend(), Key(5))
        betas = paths.temperatures(path, schedule, 40)
        chains, deviations = path.start(2000, 0), []
        for k in range(40):
            log_weights, chains = path.anneal(chains, betas[k : k + 2], 9, step=k)
            deviations.append(log_weights.std())
        spread[schedule] = np.std(deviations) / np.mean(deviations)
    assert spread["adaptive"] < 0.6 * spread["linear"]


def test_no_weights_need_no_chains_to_agree():
    model = Model(np.zeros((4, 9), np.float32), np.linspace(-2, 2, 9), np.linspace(-1, 1, 4))
    wanted = np.logaddexp(0, np.linspace(-2, 2, 9)).sum() + np.logaddexp(0, np.linspace(-1, 1, 4)).sum()
    for method in ("ais", "mais", "reverse", "bracket"):
        got = log_partition(model, method, start="biases", n_chains=10, n_temperatures=3, random_state=0)
        assert_allclose(got.value, wanted, rtol=1e-6)
        assert got.ess == pytest.approx(10)


def test_too_few_temperatures_are_told(trained):
    rbm, _ = trained
    with pytest.warns(
        ConvergenceWarning, match=r"ais estimate .* not reliable: only \d.\d of 200 chains carry the weight"
    ):
        got = log_partition(rbm, "ais", n_chains=200, n_temperatures=3, random_state=0, start="uniform")
    assert not got.reliable and "chains carry the weight" in got.message
    assert got.interval[0] <= trained[1] <= got.interval[1]


def test_a_contradiction_between_both_ways_widens_the_interval():
    """Reverse chains that never left a minor mode say less than the forward ones: the interval holds both."""
    rng = np.random.default_rng(0)
    value, _, (low, high), _ = annealed.bracket(rng.normal(5, 0.1, 200), rng.normal(-2, 0.1, 200), Key(0))
    assert low <= 2.05 and high >= 5 and low <= value <= high


def test_log_mean_of_log_normal_weights():
    """Weights of standard deviation 1.5 of the log: the delta method alone would miss too often."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        e = log_mean(rng.normal(0, 1.5, 60))
        inside += e.low <= 1.5**2 / 2 <= e.high
    assert inside >= 0.9 * 300
    assert log_mean(np.zeros(1)).stderr == np.inf
    assert log_mean(np.full(5, 3.0)) == (3.0, 0.0, 3.0, 3.0, pytest.approx(5))


def test_acceptance_ratio_of_normal_work():
    """Crooks: normal forward weights N(m, s^2) go with reverse ones N(-m - s^2, s^2); the ratio is m + s^2 / 2."""
    rng = np.random.default_rng(1)
    for n, m in ((4000, 4000), (500, 8000)):
        got = acceptance_ratio(rng.normal(2.0, 1.5, n), rng.normal(-2.0 - 1.5**2, 1.5, m))
        assert abs(got - (2.0 + 1.5**2 / 2)) < 0.15


# ---- what is built on it --------------------------------------------------------------------------------------


def test_estimator_methods(trained, digits):
    rbm, wanted = trained
    assert isinstance(rbm.log_partition(), LogPartition)
    assert_allclose(float(rbm.log_partition()), wanted)
    log_p = rbm.log_likelihood(digits)
    assert log_p.shape == (len(digits),) and log_p.dtype == np.float64
    assert_allclose(log_p, -rbm.free_energy(digits) - wanted)
    assert_allclose(log_p, log_likelihood(rbm, digits))
    assert_allclose(log_p, rbm.log_likelihood(digits, log_z=wanted))
    images = digits * 255
    grey = BernoulliRBM(4, n_iter=1, random_state=0).fit(images)
    assert_allclose(grey.log_likelihood(images), grey.log_likelihood(digits.astype(np.float32)))
    a, b = (rbm.log_partition("ais", n_chains=50, n_temperatures=20).value for _ in range(2))
    assert a == b
    assert_allclose(rbm.score(digits), rbm.score_samples(digits).mean())
    assert_allclose(rbm.set_params(scoring="log_likelihood").score(digits), log_p.mean())
    rbm.set_params(scoring="pseudo_likelihood")


def test_likelihood_guides_a_grid_search(digits):
    from sklearn.model_selection import GridSearchCV

    rbm = BernoulliRBM(6, n_iter=3, batch_size=32, random_state=0, scoring="log_likelihood")
    search = GridSearchCV(rbm, {"learning_rate": [1e-4, 0.1]}, cv=2).fit(digits[:400])
    assert search.best_params_ == {"learning_rate": 0.1}


def test_divergence_from_data():
    model = random_model(4, 3, scale=1.0)
    joint = enumerated(model)
    p_model = np.exp(logsumexp(joint, axis=1) - logsumexp(joint))
    X = states(4)[[0, 0, 0, 5, 5, 9]]
    p = np.array([3, 2, 1]) / 6
    wanted = (p * np.log(p / p_model[[0, 5, 9]])).sum()
    assert_allclose(kl_divergence(model, X), wanted, rtol=1e-9)
    assert_allclose(kl_divergence(model, X, log_z=logsumexp(joint)), wanted, rtol=1e-9)
    # rows in the proportions of the model are next to no divergence
    counts = np.round(p_model * 100_000).astype(int)
    assert 0 <= kl_divergence(model, np.repeat(states(4), counts, axis=0)) < 1e-6


def test_model_of_one_temperature_is_the_model_of_another():
    model = random_model(6, 4)
    cold = model.at_temperature(0.5)
    assert_allclose(float(log_partition(cold)), logsumexp(2 * enumerated(model)), rtol=1e-9)


GOOD = Model(np.zeros((2, 3)), np.zeros(3), np.zeros(2))


@pytest.mark.parametrize(
    "options,error,message",
    [
        (dict(method="magic"), ValueError, "method must be one of"),
        (dict(n_chains=0), ValueError, "n_chains must be a positive integer, got 0"),
        (dict(n_chains=True), ValueError, "n_chains must be a positive integer"),
        (dict(n_temperatures=2.5), ValueError, "n_temperatures must be a positive integer, got 2.5"),
        (dict(max_chains=-1), ValueError, "max_chains must be a positive integer"),
        (dict(stderr=0), ValueError, "stderr must be None or a positive finite number"),
        (dict(stderr=np.nan), ValueError, "stderr must be None or a positive finite number"),
        (dict(method="ais", schedule="quick"), ValueError, "schedule must be one of"),
        (dict(method="ais", schedule=[0.0, 0.5]), ValueError, "rises from 0 to 1"),
        (dict(method="ais", schedule=[0.0, 0.7, 0.5, 1.0]), ValueError, "rises from 0 to 1"),
        (dict(method="ais", start="cold"), ValueError, "start must be one of"),
        (dict(method="ais", start="base-rate"), ValueError, "start='base-rate' needs data"),
        (dict(method="ais", start=[0.0, 1.0]), ValueError, r"start must be finite visible biases of shape \(3,\)"),
        (dict(method="ais", start=[0.0, np.inf, 0.0]), ValueError, "start must be finite"),
        (dict(method="ais", data=np.full((2, 3), 0.5)), ValueError, "data must hold 0 and 1 only"),
        (dict(method="ais", data=np.zeros((0, 3))), ValueError, "data must be a non-empty numeric array"),
        (dict(method="ais", data=np.zeros((2, 4))), ValueError, "data must have 3 columns"),
        (dict(method="ais", moments=True), ValueError, "need method='exact'"),
        (dict(random_state=-1), ValueError, "random_state must be"),
        (dict(device="gpu"), ValueError, "device must be"),
        (dict(n_threads=0), ValueError, "n_threads must be"),
    ],
    ids=str,
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        log_partition(GOOD, **options)


def test_bad_models_and_rows():
    with pytest.raises(TypeError, match="model must be a fastrbm.Model or a fitted estimator, got str"):
        log_partition("model")
    with pytest.raises(ValueError, match="weights must be finite"):
        log_partition(Model(np.full((2, 3), np.nan), np.zeros(3), np.zeros(2)))
    with pytest.raises(ValueError, match="not fitted"):
        log_partition(BernoulliRBM())
    for function in (log_likelihood, kl_divergence):
        with pytest.raises(ValueError, match="X must have 3 columns like the model, got 4"):
            function(GOOD, np.zeros((2, 4)))
        with pytest.raises(ValueError, match="X must be a non-empty numeric array"):
            function(GOOD, np.zeros(3))
        with pytest.raises(ValueError, match="X must be a non-empty numeric array"):
            function(GOOD, np.array([["a", "b", "c"]]))
        with pytest.raises(ValueError, match="X must hold 0 and 1 only"):
            function(GOOD, np.array([[0, 1, np.nan]]))
        with pytest.raises(ValueError, match="log_z must be finite, got nan"):
            function(GOOD, np.zeros((1, 3)), log_z=np.nan)
        with pytest.raises(ValueError, match="log_z is given"):
            function(GOOD, np.zeros((1, 3)), log_z=0.0, method="ais")
    rbm = BernoulliRBM(2, n_iter=1, random_state=0).fit(np.random.default_rng(0).random((9, 3)))
    with pytest.raises(ValueError, match="X must hold 0 and 1 only"):
        rbm.log_likelihood(np.full((2, 3), 0.5))
    with pytest.raises(ValueError, match="log_z is given"):
        rbm.log_likelihood(np.zeros((2, 3)), "ais", log_z=1.0)


def test_progress_can_stop_a_run(trained):
    rbm, _ = trained

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log_partition(rbm, "ais", n_chains=2000, n_temperatures=20_000, progress=stop)


def test_helpers_agree_with_the_formula():
    model = random_model(5, 3)
    w, a, b = model.parameters
    h = states(3)
    wanted = h @ b + np.logaddexp(0, h @ w + a).sum(axis=1)
    assert_allclose(exact.state_log_weights(exact.choose(model, "hidden"), get_backend()), wanted, atol=1e-10)
    v = states(5)
    wanted = v @ a + np.logaddexp(0, v @ w.T + b).sum(axis=1)
    assert_allclose(exact.state_log_weights(exact.choose(model, "visible"), get_backend()), wanted, atol=1e-10)
    assert_array_equal(exact.all_states(3, 2, 4).dense(), states(3)[2:6])
    assert fastrbm.likelihood.log_partition is log_partition
