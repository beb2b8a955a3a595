"""Laws that every registered unit obeys."""

import numpy as np
import pytest
from scipy.special import logsumexp

from fastrbm._random import Draw, uniforms
from fastrbm.units import get_unit, register, unit_names
from fastrbm.units._base import Unit

THETA = np.concatenate([np.linspace(-30, 30, 61), [-700.0, -1e-9, 1e-9, 700.0]])


@pytest.fixture(params=unit_names())
def unit(request):
    return get_unit(request.param)


def test_cgf_is_the_log_normaliser(unit):
    states = np.array(unit.support)
    wanted = logsumexp(np.outer(THETA, unit.statistics(states)), axis=1)
    np.testing.assert_allclose(unit.cgf(THETA), wanted, rtol=1e-12, atol=1e-300)


def test_mean_is_the_derivative_of_cgf(unit):
    theta = np.linspace(-8, 8, 33)
    step = 1e-5
    slope = (unit.cgf(theta + step) - unit.cgf(theta - step)) / (2 * step)
    np.testing.assert_allclose(unit.mean(theta), slope, atol=1e-9)


@pytest.mark.parametrize("theta", [-4.0, -0.3, 0.0, 1.1, 5.0])
def test_sampling_frequencies(unit, theta):
    n = 100_000
    u = uniforms(Draw(1, 0, 0), n, 1, np.float64)
    x = unit.sample(np.full((n, 1), theta), u)
    assert set(np.unique(x)) <= set(unit.support)
    mean = unit.mean(np.array([theta]))[0]
    spread = unit.statistics(x).std() + 1e-3
    assert abs(unit.statistics(x).mean() - mean) < 4 * spread / np.sqrt(n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite_and_keep_the_dtype(unit, dtype):
    theta = np.array([-1e30, -1e4, -100, 0, 100, 1e4, 1e30], dtype)
    for values in (unit.cgf(theta), unit.mean(theta), unit.sample(theta, np.full(7, 0.5, dtype))):
        assert values.dtype == dtype and np.isfinite(values).all()
    np.testing.assert_array_equal(unit.sample(theta, np.full(7, 0.25, dtype))[[0, 1, 2, 4, 5, 6]], [0, 0, 0, 1, 1, 1])


def test_registry_refuses_unknown_and_double_names():
    with pytest.raises(ValueError, match="unit must be one of .*bernoulli.*got 'spin'"):
        get_unit("spin")
    with pytest.raises(ValueError, match="already registered"):

        @register
        class Again(Unit):
            name = "bernoulli"
