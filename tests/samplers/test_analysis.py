"""Chain health: known autocorrelations, agreement with another implementation, and chains that do not mix."""

import numpy as np
import pytest

from fastrbm.analysis import ChainHealth, chain_health


def autoregressive(rho, n_chains, n_steps, seed=3):
    """Stationary chains of x_t = rho x_(t-1) + noise: autocorrelation time (1 + rho) / (1 - rho)."""
    rng = np.random.default_rng(seed)
    x = np.empty((n_chains, n_steps))
    x[:, 0] = rng.normal(size=n_chains) / np.sqrt(1 - rho**2)
    for t in range(1, n_steps):
        x[:, t] = rho * x[:, t - 1] + rng.normal(size=n_chains)
    return x


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_autoregression(rho):
    x = autoregressive(rho, 8, 20_000)
    health = chain_health(x)
    time = (1 + rho) / (1 - rho)
    # relative error of a sum over a window of w lags is sqrt(2 (2 w + 1) / n); the window is a few times the time
    error = np.sqrt(2 * (8 * max(time, 1) + 1) / x.size)
    assert health.autocorrelation_time[0] == pytest.approx(time, rel=4 * error)
    assert health.effective_sample_size[0] == pytest.approx(x.size / time, rel=4 * error)
    deviation = 1 / np.sqrt(1 - rho**2)
    assert health.standard_error[0] == pytest.approx(deviation * np.sqrt(time / x.size), rel=4 * error)
    assert health.ok


def test_standard_error_is_that_of_the_mean():
    means, errors = [], []
    for seed in range(200):
        health = chain_health(autoregressive(0.8, 4, 500, seed))
        means.append(health.mean[0])
        errors.append(health.standard_error[0])
    # 200 repeats give a standard deviation to 5 %
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.2)


def test_values_of_another_implementation():
    # arviz-stats 0.8.0: rhat(method="rank"), ess(method="bulk"), mcse(method="mean")
    a = autoregressive(0.9, 4, 1001)
    health = chain_health(a)
    assert health.r_hat[0] == pytest.approx(1.0149769337555576, rel=1e-12)
    assert health.effective_sample_size[0] == pytest.approx(209.2387524307445, rel=1e-6)
    assert health.standard_error[0] == pytest.approx(0.1604363357716255, rel=0.005)


def test_independent_draws_count_fully():
    x = np.random.default_rng(0).normal(size=(4, 5000))
    health = chain_health(x)
    assert health.effective_sample_size[0] == pytest.approx(x.size, rel=0.05)
    assert health.r_hat[0] < 1.001
    assert health.mean[0] == pytest.approx(x.mean())
    assert "no sign against mixing" in str(health)


def test_two_stuck_chains_disagree():
    x = np.random.default_rng(1).normal(size=(2, 1000)) + np.array([[-5.0], [5.0]])
    health = chain_health(x)
    assert health.r_hat[0] > 1.5 and health.effective_sample_size[0] < 10
    assert not health.ok and "NOT MIXED" in str(health)
    # the error bar is that of two independent places, not of 2000 draws
    assert health.standard_error[0] > 2


def test_chains_of_different_spread_disagree():
    x = np.random.default_rng(1).normal(size=(4, 1000)) * np.array([[1.0], [1.0], [1.0], [4.0]])
    assert chain_health(x).r_hat[0] > 1.05  # only the folded values tell


def test_a_drifting_chain_disagrees_with_itself():
    x = np.random.default_rng(1).normal(size=(1, 1000)) + np.linspace(0, 5, 1000)
    assert chain_health(x).r_hat[0] > 1.5


def test_chains_that_stand_still_apart_have_an_infinite_r_hat():
    health = chain_health(np.repeat([[0.1], [0.3], [0.7]], 50, axis=1))
    assert health.r_hat[0] == np.inf and not health.ok
    assert health.effective_sample_size[0] < 10


def test_a_constant_tells_nothing():
    x = np.stack([np.full((3, 40), 0.1), np.random.default_rng(2).normal(size=(3, 40))], axis=2)
    health = chain_health(x)
    assert health.mean[0] == 0.1 and health.standard_error[0] == 0
    for vector in (health.autocorrelation_time, health.effective_sample_size, health.r_hat):
        assert np.isnan(vector[0]) and np.isfinite(vector[1])
    assert not health.ok


def test_binary_quantities_have_finite_diagnostics():
    x = (np.random.default_rng(2).random((4, 500)) < 0.5).astype(float)
    health = chain_health(x)
    assert health.r_hat[0] < 1.02 and health.effective_sample_size[0] > 1000


def test_quantities_are_judged_one_by_one():
    good, bad = np.random.default_rng(2).normal(size=(2, 4, 600))
    bad = bad + np.arange(4)[:, None]
    both = chain_health(np.stack([good, bad], axis=2))
    assert both.r_hat[0] == chain_health(good).r_hat[0] and both.r_hat[1] == chain_health(bad).r_hat[0]
    assert chain_health(good).ok and not both.ok
    assert len(str(both).splitlines()) == 4


def test_a_short_run_is_not_ok_however_well_it_mixes():
    x = np.random.default_rng(4).normal(size=(4, 50))
    assert not chain_health(x).ok


def test_max_lag_cuts_the_sum():
    x = autoregressive(0.9, 4, 5000)
    rho = 0.9
    cut = chain_health(x, max_lag=3).autocorrelation_time[0]
    assert cut == pytest.approx(1 + 2 * (rho + rho**2 + rho**3), rel=0.05)
    assert chain_health(x).autocorrelation_time[0] > 2 * cut


def test_swap_rates_are_kept():
    health = chain_health(np.random.default_rng(4).normal(size=(4, 50)), swap_rates=[0.25, 0.5])
    assert isinstance(health, ChainHealth)
    np.testing.assert_array_equal(health.swap_rates, [0.25, 0.5])
    assert "0.25 0.50" in str(health)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros(10), {}, "shape"),
        (np.zeros((2, 3)), {}, "at least 4 steps"),
        (np.zeros((0, 10)), {}, "shape"),
        (np.full((2, 10), np.nan), {}, "finite"),
        (np.zeros((2, 10)), {"max_lag": 0}, "max_lag"),
        (np.zeros((2, 10)), {"max_lag": 2.5}, "max_lag"),
        (np.zeros((2, 10)), {"swap_rates": [1.5]}, "swap_rates"),
        (np.zeros((2, 10)), {"swap_rates": 0.5}, "swap_rates"),
    ],
)
def test_wrong_input_is_named(samples, options, message):
    with pytest.raises(ValueError, match=message):
        chain_health(samples, **options)
