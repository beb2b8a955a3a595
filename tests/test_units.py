"""Laws that every registered unit obeys."""

import numpy as np
import pytest
from scipy.special import logsumexp

from fastrbm._random import Draw, uniforms
from fastrbm.units import get_unit, register, unit_names
from fastrbm.units._base import Unit

THETA = np.concatenate([np.linspace(-30, 30, 61), [-700.0, -1e-9, 1e-9, 700.0]])
N_UNITS = 3  # of a layer, whose last axis a law is about
EDGES = {"bernoulli": [0, 0, 0, 1, 1, 1], "ising": [-1, -1, -1, 1, 1, 1]}


@pytest.fixture(params=unit_names())
def unit(request):
    return get_unit(request.param)


def rows_of(theta, seed=0):
    """Layers whose units have different parameters, all of `theta` in turn."""
    rng = np.random.default_rng(seed)
    return np.stack([theta, *(rng.permutation(theta) for _ in range(N_UNITS - 1))], axis=1)


def layer_states(unit, n_units=N_UNITS):
    return unit.states(0, round(2 ** unit.log2_states(n_units)), n_units)


def test_cgf_is_the_log_normaliser(unit):
    theta = rows_of(THETA)
    if unit.support is None:
        # trapezoids around the peak: the error falls faster than any power of the step
        theta = theta[np.abs(theta).max(axis=1) < 100]
        x = np.linspace(-12, 12, 2001)[:, None] + unit.mean(theta.ravel())
        logs = theta.ravel() * unit.statistics(x) + unit.base(x[..., None])
        wanted = (logsumexp(logs, axis=0) + np.log(24 / 2000)).reshape(theta.shape).sum(axis=1)
        np.testing.assert_allclose(unit.cgf(theta).sum(axis=-1), wanted, atol=1e-8)
        return
    states = layer_states(unit)
    wanted = logsumexp(theta @ unit.statistics(states).T + unit.base(states), axis=1)
    np.testing.assert_allclose(unit.cgf(theta).sum(axis=-1), wanted, rtol=1e-12, atol=1e-12)
    if not unit.layerwise:
        values = np.array(unit.support)
        wanted = logsumexp(np.outer(THETA, unit.statistics(values)) + unit.base(values[:, None]), axis=1)
        np.testing.assert_allclose(unit.cgf(THETA), wanted, rtol=1e-12, atol=1e-300)


def test_cgf_keeps_the_last_axis(unit):
    theta = rows_of(THETA)
    assert unit.cgf(theta).shape == ((len(theta), 1) if unit.layerwise else theta.shape)
    assert unit.mean(theta).shape == theta.shape
    np.testing.assert_allclose(unit.cgf(theta[3]).sum(axis=-1), unit.cgf(theta).sum(axis=-1)[3])


def test_mean_is_the_derivative_of_cgf(unit):
    theta = rows_of(np.linspace(-8, 8, 33))
    step = 1e-5
    for k, shift in enumerate(step * np.eye(N_UNITS)):
        slope = (unit.cgf(theta + shift) - unit.cgf(theta - shift)).sum(axis=-1) / (2 * step)
        np.testing.assert_allclose(unit.mean(theta)[:, k], slope, atol=2e-9)


@pytest.mark.parametrize("theta", [-4.0, -0.3, 0.0, 1.1, 5.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sampling_frequencies(unit, theta, dtype):
    n = 100_000
    layer = np.array([theta, 0.5, -0.7], dtype)
    u = uniforms(Draw(1, 0, 0), n, N_UNITS, dtype)
    x = unit.sample(np.tile(layer, (n, 1)), u)
    assert x.dtype == dtype and unit.contains(x)
    spread = unit.statistics(x).std(axis=0) + 1e-3
    assert (np.abs(unit.statistics(x).mean(axis=0) - unit.mean(layer)) < 4.5 * spread / np.sqrt(n)).all()


def test_draws_of_a_gaussian_are_normal():
    x = get_unit("gaussian").sample(np.full((100_000, 1), 1.5), uniforms(Draw(2, 0, 0), 100_000, 1, np.float64)) - 1.5
    for power, moment in enumerate([0, 1, 0, 3], start=1):
        assert abs((x**power).mean() - moment) < 0.15
    assert abs((x < 1).mean() - 0.8413447) < 0.006


def test_a_one_hot_draw_uses_one_uniform_of_a_row_and_skips_what_is_impossible():
    onehot = get_unit("onehot")
    theta = np.array([[-1e4, 0.0, -1e4, np.log(3.0), -1e4]])
    u = np.array([[1e-9], [0.2499], [0.2501], [1 - 1e-9]]) * [1, 0.3, 0.3, 0.3, 0.3]
    drawn = onehot.sample(np.repeat(theta, 4, axis=0), u)
    np.testing.assert_array_equal(drawn.argmax(axis=1), [1, 1, 3, 3])
    assert onehot.contains(drawn) and not onehot.contains(np.zeros((1, 5))) and not onehot.contains(np.ones((1, 5)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite_and_keep_the_dtype(unit, dtype):
    most = 1e30 if unit.support is not None else 1e15  # the square of theta is a value of a real unit's cgf
    theta = np.array([-most, -1e4, -100, 0, 100, 1e4, most], dtype)
    for values in (unit.cgf(theta), unit.mean(theta), unit.sample(theta, np.full(7, 0.5, dtype))):
        assert values.dtype == dtype and np.isfinite(values).all()
    if unit.name in EDGES:
        drawn = unit.sample(theta, np.full(7, 0.25, dtype))
        np.testing.assert_array_equal(drawn[[0, 1, 2, 4, 5, 6]], EDGES[unit.name])


def test_states_are_all_states(unit):
    if unit.support is None:
        assert unit.log2_states(4) == np.inf
        with pytest.raises(TypeError, match="cannot be listed"):
            unit.states(0, 1, 4)
        assert unit.contains(np.array([[0.3, -5.0]])) and not unit.contains(np.array([[np.nan, 0.0]]))
        return
    states = layer_states(unit, 4)
    assert unit.contains(states) and len(np.unique(states, axis=0)) == len(states)
    assert len(states) == (4 if unit.layerwise else len(unit.support) ** 4)
    np.testing.assert_array_equal(unit.states(1, 3, 4), states[1:3])
    assert not unit.contains(states + 0.5)
    if unit.binary:
        np.testing.assert_array_equal(states[0b0110], np.array(unit.support)[[0, 1, 1, 0]])


def test_base_is_of_the_layer(unit):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert unit.base(x).shape == (5,) and unit.base(x).dtype == np.float64
    wanted = -0.5 * (x.astype(np.float64) ** 2).sum(axis=1) if unit.name == "gaussian" else np.zeros(5)
    np.testing.assert_allclose(unit.base(x), wanted)


def test_registry_refuses_unknown_and_double_names():
    with pytest.raises(ValueError, match="unit must be one of .*bernoulli.*got 'spin'"):
        get_unit("spin")
    with pytest.raises(ValueError, match="already registered"):

        @register
        class Again(Unit):
            name = "bernoulli"
