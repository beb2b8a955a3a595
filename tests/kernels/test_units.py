"""Laws that every registered unit obeys."""

import copy
import pickle

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from fastrbm import units
from fastrbm._kernels.draws import Draw, uniforms
from fastrbm.units import Binomial, Mixed, OneHot, ReLU, Unit, get_unit, register, unit_names
from fastrbm.units._base import _REGISTRY

THETA = np.concatenate([np.linspace(-30, 30, 61), [-700.0, -1e-9, 1e-9, 700.0]])
N_UNITS = 4  # of a layer, whose last axis a law is about
EDGES = {"bernoulli": [0, 1], "ising": [-1, 1], "binomial(1)": [0, 1], "binomial(7)": [0, 7]}
SPECS = [
    "bernoulli",
    "ising",
    "gaussian",
    "relu",
    "onehot",
    "onehot(2)",
    "onehot(1)",
    "binomial(1)",
    "binomial(2)",
    "binomial(7)",
    "mixed(ising*1,onehot(2)*2,binomial(3)*1)",
    "mixed(gaussian*1,onehot*2,relu*1)",
]


@pytest.fixture(params=SPECS)
def unit(request):
    return get_unit(request.param)


def rows_of(theta, seed=0):
    """Layers whose units have different parameters, all of `theta` in turn."""
    rng = np.random.default_rng(seed)
    return np.stack([theta, *(rng.permutation(theta) for _ in range(N_UNITS - 1))], axis=1)


def layer_states(unit, n_units=N_UNITS):
    return unit.states(0, unit.n_states(n_units), n_units)


def random_states(unit, n, seed=0):
    theta = np.random.default_rng(seed).normal(size=(n, N_UNITS))
    return unit.sample(theta, uniforms(Draw(seed, 0, 0), n, N_UNITS, np.float64))


def test_every_registered_unit_is_here():
    assert {get_unit(spec).name for spec in SPECS} == set(unit_names())
    assert {type(get_unit(spec)).__name__ for spec in SPECS} <= set(units.__all__)


# ---- specs ------------------------------------------------------------------------------------------------------


def test_a_unit_is_its_spec(unit):
    again = get_unit(unit.spec)
    assert again == unit and hash(again) == hash(unit) and again is not unit and str(again) == unit.spec
    assert get_unit(unit) is unit and unit != unit.spec and unit != get_unit("binomial(200)")
    assert eval(repr(unit)) == unit == copy.deepcopy(unit) == pickle.loads(pickle.dumps(unit))  # noqa: S301
    for name in ("n", "parts", "n_classes", "anything"):
        with pytest.raises(AttributeError, match="units are immutable"):
            setattr(unit, name, 3)


def test_specs_are_read_with_spaces_and_written_without():
    assert get_unit(" mixed( gaussian * 3, onehot( 2 )*4 ) ").spec == "mixed(gaussian*3,onehot(2)*4)"
    assert Mixed(("gaussian", 3), (OneHot(2), np.int64(4))).spec == "mixed(gaussian*3,onehot(2)*4)"
    assert OneHot().spec == "onehot" and OneHot(10).spec == "onehot(10)" and Binomial(5) == get_unit("binomial(5)")


@pytest.mark.parametrize(
    "spec, message",
    [
        ("spin", "unit must be one of .*bernoulli.*got 'spin'"),
        ("binomial(3", "unit must be one of .*got 'binomial\\(3'"),
        ("bernoulli(2)", "unit 'bernoulli' takes no parameters, got '2'"),
        ("gaussian()", "unit 'gaussian' takes no parameters, got ''"),
        ("binomial", "unit 'binomial' needs parameters in parentheses"),
        ("mixed", "units 'mixed' must have at least one part"),
        ("binomial(0)", "n of units 'binomial' must be an integer from 1 to 255, got 0"),
        ("binomial(256)", "from 1 to 255, got 256"),
        ("binomial(2.5)", "from 1 to 255, got '2.5'"),
        ("onehot(-1)", "n_classes of units 'onehot' must be a positive integer, got -1"),
        ("mixed(gaussian)", "must be written unit\\*width, got 'gaussian'"),
        ("mixed(gaussian*x)", "the width of units 'gaussian' in units 'mixed' must be a positive integer, got 'x'"),
        ("mixed(onehot(3)*4)", "units 'onehot\\(3\\)' must have a multiple of 3 units, got 4"),
        ("mixed(mixed(ising*2)*2)", "must not be mixed themselves"),
        ("mixed(spin*2)", "unit must be one of"),
    ],
)
def test_specs_that_say_nothing_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        get_unit(spec)


def test_arguments_of_the_wrong_kind_are_refused():
    for wrong in (True, 2.5, 0, None, 300):
        with pytest.raises(ValueError, match="n of units 'binomial' must be an integer from 1 to 255"):
            Binomial(wrong)
    with pytest.raises(ValueError, match="must be pairs \\(unit, width\\), got 'gaussian'"):
        Mixed("gaussian")
    with pytest.raises(ValueError, match="at least one part"):
        Mixed()
    for wrong in (3, None, ReLU):
        with pytest.raises(TypeError, match="unit must be a string or a fastrbm.units.Unit"):
            get_unit(wrong)
    with pytest.raises(TypeError):
        Binomial()
    with pytest.raises(ValueError, match="already registered"):

        @register
        class Again(Unit):
            name = "bernoulli"

    assert _REGISTRY["bernoulli"] is units.Bernoulli


def test_widths():
    get_unit("gaussian").check_width(7)
    get_unit("onehot").check_width(7)
    get_unit("onehot(3)").check_width(9)
    with pytest.raises(ValueError, match="a multiple of 3 units, got 7"):
        get_unit("onehot(3)").check_width(7)
    mixed = get_unit("mixed(gaussian*3,onehot(2)*4)")
    mixed.check_width(7)
    with pytest.raises(ValueError, match="must have 7 units, got 8"):
        mixed.check_width(8)
    for formula in (mixed.mean, mixed.cgf, get_unit("onehot(3)").cgf):
        with pytest.raises(ValueError, match="got 8"):
            formula(np.zeros((2, 8)))


# ---- the family -------------------------------------------------------------------------------------------------


def test_cgf_is_the_log_normaliser(unit):
    theta = rows_of(THETA)
    if unit.finite:
        states = layer_states(unit)
        wanted = logsumexp(theta @ unit.statistics(states).T + unit.base(states), axis=1)
        np.testing.assert_allclose(unit.cgf(theta).sum(axis=-1), wanted, rtol=1e-12, atol=1e-12)
    if unit.layerwise:
        return
    if unit.finite:
        values = np.array(unit.support)
        wanted = logsumexp(np.outer(THETA, unit.statistics(values)) + unit.base(values[:, None]), axis=1)
        np.testing.assert_allclose(unit.cgf(THETA), wanted, rtol=1e-12, atol=1e-300)
    else:
        low = THETA[np.abs(THETA) < 100]
        np.testing.assert_allclose(unit.cgf(low), log_integral(unit, low), rtol=1e-12, atol=1e-8)


def log_integral(unit, theta):
    """Log of the integral of exp(theta x + base(x)) by Gauss-Legendre nodes around the mode or, at an edge, from it."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    low, high = theta - 12, theta + 12
    if unit.name == "relu":
        low, high = np.maximum(low, 0), np.where(theta < -3, 40 / np.abs(np.minimum(theta, -3)), high)
    half = (high - low) / 2
    x = low + half * (nodes[:, None] + 1)
    return logsumexp(theta * x + unit.base(x[..., None]), b=weights[:, None] * half, axis=0)


def test_cgf_of_mixed_units_is_the_sum_of_its_parts():
    mixed = get_unit("mixed(gaussian*1,onehot*2,relu*1)")
    theta = rows_of(THETA)
    parts = [("gaussian", slice(0, 1)), ("onehot", slice(1, 3)), ("relu", slice(3, 4))]
    wanted = sum(get_unit(name).cgf(theta[:, s]).sum(axis=1) for name, s in parts)
    np.testing.assert_allclose(mixed.cgf(theta).sum(axis=1), wanted)


def test_shapes(unit):
    theta = rows_of(THETA)
    assert unit.mean(theta).shape == unit.sample(theta, np.full(theta.shape, 0.3)).shape == theta.shape
    assert unit.cgf(theta).shape == theta.shape or unit.layerwise
    np.testing.assert_allclose(unit.cgf(theta[3]).sum(axis=-1), unit.cgf(theta).sum(axis=-1)[3])
    assert unit.cgf(theta[:0]).sum() == 0 and unit.sample(theta[:0], theta[:0]).shape == (0, N_UNITS)


def test_mean_is_the_derivative_of_cgf(unit):
    theta = rows_of(np.linspace(-12, 12, 49))
    step = 1e-5
    for k, shift in enumerate(step * np.eye(N_UNITS)):
        slope = (unit.cgf(theta + shift) - unit.cgf(theta - shift)).sum(axis=-1) / (2 * step)
        np.testing.assert_allclose(unit.mean(theta)[:, k], slope, atol=1e-8)


@pytest.mark.parametrize("theta", [-4.0, -0.3, 0.0, 1.1, 5.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sampling_frequencies(unit, theta, dtype):
    n = 50_000
    layer = np.array([theta, 0.5, -0.7, theta / 3], dtype)
    u = uniforms(Draw(1, 0, 0), n, N_UNITS, dtype)
    x = unit.sample(np.tile(layer, (n, 1)), u)
    assert x.dtype == dtype and unit.contains(x)
    spread = unit.statistics(x).std(axis=0) + 1e-3
    assert (np.abs(unit.statistics(x).mean(axis=0) - unit.mean(layer)) < 4 * spread / np.sqrt(n)).all()
    if unit.finite:
        states = layer_states(unit)
        p = np.exp(unit.statistics(states) @ layer + unit.base(states) - unit.cgf(layer.astype(float)).sum())
        names, counts = np.unique(x, axis=0, return_counts=True)
        seen = {tuple(row): count for row, count in zip(names, counts, strict=True)}
        found = np.array([seen.get(tuple(row), 0) for row in states.astype(dtype)])
        assert found.sum() == n
        assert (np.abs(found - n * p) < 4.5 * np.sqrt(n * p * (1 - p)) + 3).all()


@pytest.mark.parametrize("theta", [-1e6, -50.0, -6.5, -5.5, -1.0, 0.0, 2.0, 9.0])
def test_draws_of_real_units_have_the_right_distribution(theta):
    """Draws at rising uniforms: the density between two of them is the step, and they rise."""
    u = np.linspace(0.01, 0.99, 981)
    for spec in ("gaussian", "relu"):
        unit = get_unit(spec)
        x = unit.sample(np.full(981, theta), u)
        assert (np.diff(x) > 0).all() if spec == "relu" or abs(theta) < 100 else (np.diff(x) >= 0).all()
        if abs(theta) > 100 and spec == "gaussian":
            continue
        density = np.exp(theta * x + unit.base(x[:, None]) - unit.cgf(np.array([theta])))
        np.testing.assert_allclose(np.diff(x) * (density[1:] + density[:-1]) / 2, 0.001, rtol=0.01)


def test_draws_far_below_the_edge_are_exponential():
    """At theta = -t the rectified normal is an exponential of rate t, but for terms of 1 / t^2."""
    relu, u = get_unit("relu"), uniforms(Draw(3, 0, 0), 1, 1000, np.float64)
    for t in (1e4, 1e8, 1e15):
        np.testing.assert_allclose(relu.sample(np.full_like(u, -t), u), -np.log1p(-u) / t, rtol=3e2 / t**2 + 1e-12)
        np.testing.assert_allclose(relu.mean(np.array([-t])), 1 / t, rtol=3 / t**2 + 1e-14)


def test_the_two_forms_of_the_rectified_unit_meet():
    relu = get_unit("relu")
    edge = np.array([-6 - 1e-9, -6 + 1e-9])
    for u in (1e-9, 0.5, 1 - 1e-9):
        low, high = relu.sample(edge, np.full(2, u))
        np.testing.assert_allclose(low, high, rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(*relu.mean(edge), rtol=1e-8)


def test_draws_of_a_gaussian_are_normal():
    x = get_unit("gaussian").sample(np.full((100_000, 1), 1.5), uniforms(Draw(2, 0, 0), 100_000, 1, np.float64)) - 1.5
    for power, moment in enumerate([0, 1, 0, 3], start=1):
        assert abs((x**power).mean() - moment) < 0.15
    assert abs((x < 1).mean() - 0.8413447) < 0.006


def test_a_binomial_of_one_decides_like_a_bernoulli():
    theta = np.random.default_rng(0).normal(0, 3, (100, 50))
    u = uniforms(Draw(0, 0, 0), 100, 50, np.float64)
    np.testing.assert_array_equal(get_unit("binomial(1)").sample(theta, u), get_unit("bernoulli").sample(theta, u))


@pytest.mark.parametrize("n", [1, 20, 255])
@pytest.mark.parametrize("theta", [-40.0, -5.0, 0.0, 3.0, 40.0])
def test_binomial_draws_invert_the_distribution_function_at_both_tails(n, theta):
    unit, k = get_unit(f"binomial({n})"), np.arange(n + 1.0)
    logs = theta * k + gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - unit.cgf(np.array([theta]))
    tail = np.exp([logsumexp(logs[i:]) for i in range(n + 1)])  # P(x >= k)
    for u in (2.0**-33, 2.0**-24, 1e-3, 0.4, 0.9, 1 - 2.0**-24, 1 - 2.0**-33):
        x = int(unit.sample(np.array([[theta]]), np.array([[u]]))[0, 0])
        assert tail[x] > u * (1 - 1e-7) - 1e-13
        assert x == n or tail[x + 1] <= u * (1 + 1e-7) + 1e-13


def test_a_group_uses_the_uniform_of_its_first_unit_and_skips_what_is_impossible():
    theta = np.array([[-1e4, 0.0, -1e4, np.log(3.0), -1e4]])
    u = np.array([[1e-9], [0.2499], [0.2501], [1 - 1e-9]]) * [1, 0.3, 0.3, 0.3, 0.3]
    alone = get_unit("onehot").sample(np.repeat(theta, 4, axis=0), u)
    np.testing.assert_array_equal(alone.argmax(axis=1), [1, 1, 3, 3])
    other = np.array([[0.3, 0.1, -0.2, 0.4, 0.2]])
    both = get_unit("onehot(5)").sample(np.hstack([other, theta]).repeat(4, axis=0), np.hstack([u[::-1], u]))
    np.testing.assert_array_equal(both[:, 5:], alone)
    np.testing.assert_array_equal(both[:, :5], get_unit("onehot").sample(other.repeat(4, axis=0), u[::-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite_and_keep_the_dtype(unit, dtype):
    most = 1e30 if unit.finite else 1e15  # the square of theta is a value of a real unit's cgf
    theta = np.repeat(np.array([-most, -1e4, -100, -6, 0, 100, 1e4, most], dtype)[:, None], N_UNITS, axis=1)
    theta[:, 1] *= -1
    for u in (2.0**-24, 0.25, 1 - 2.0**-24):
        drawn = unit.sample(theta, np.full(theta.shape, u, dtype))
        assert unit.contains(drawn)
        for values in (unit.cgf(theta), unit.mean(theta), drawn):
            assert values.dtype == dtype and np.isfinite(values).all()
        if unit.spec in EDGES:
            low, high = EDGES[unit.spec]
            np.testing.assert_array_equal(drawn[:3, 0], low)
            np.testing.assert_array_equal(drawn[5:, 0], high)


# ---- states -----------------------------------------------------------------------------------------------------


def test_states_are_all_states(unit):
    if not unit.finite:
        assert unit.log2_states(N_UNITS) == np.inf
        for listing in (lambda: unit.states(0, 1, N_UNITS), lambda: unit.n_states(N_UNITS)):
            with pytest.raises(TypeError, match="cannot be listed"):
                listing()
        return
    states = layer_states(unit)
    assert unit.contains(states) and len(np.unique(states, axis=0)) == len(states) == unit.n_states(N_UNITS)
    np.testing.assert_allclose(unit.log2_states(N_UNITS), np.log2(len(states)))
    middle = len(states) // 2
    np.testing.assert_array_equal(unit.states(middle, len(states), N_UNITS), states[middle:])
    assert not unit.contains(states + 0.5)
    if unit.binary:
        np.testing.assert_array_equal(states[0b0110], np.array(unit.support)[[0, 1, 1, 0]])


def test_chains_can_start_from_the_first_state(unit):
    state = unit.first_state(N_UNITS)
    assert state.shape == (N_UNITS,) and unit.contains(state[None])


def test_what_is_no_state_is_found(unit):
    x = random_states(unit, 9)
    assert unit.contains(x) and unit.first_outside(x) is None and unit.first_outside(x[:0]) is None
    for wrong in (np.nan, np.inf, -np.inf):
        broken = x.copy()
        broken[4, 2] = broken[6, 0] = wrong
        assert unit.first_outside(broken) == (4, 2) and not unit.contains(broken)
    assert isinstance(unit.domain, str) and unit.domain


@pytest.mark.parametrize(
    "spec, row, column",
    [
        ("bernoulli", [0, 1, 0.5, 3], 2),
        ("ising", [1, -1, 0, 1], 2),
        ("relu", [0, 3.5, -0.1, 1], 2),
        ("binomial(3)", [0, 3, 1.5, 4], 2),
        ("binomial(3)", [0, 3, 1, 4], 3),
        ("onehot", [0, 1, 0, 1], 3),
        ("onehot", [0, 0, 0, 0], 0),
        ("onehot", [0, 0, 2, 0], 2),
        ("onehot(2)", [0, 1, 0, 0], 2),
        ("onehot(2)", [0, 1, 1, 1], 3),
        ("mixed(gaussian*1,onehot(2)*2,relu*1)", [-3, 0, 1, -1], 3),
        ("mixed(gaussian*1,onehot(2)*2,relu*1)", [-3, 0, 0, -1], 1),
    ],
)
def test_the_first_value_outside(spec, row, column):
    good = random_states(get_unit(spec), 3)
    assert get_unit(spec).first_outside(np.vstack([good, [row]])) == (3, column)


def test_base_is_of_the_layer(unit):
    x = random_states(unit, 5).astype(np.float32)
    assert unit.base(x).shape == (5,) and unit.base(x).dtype == np.float64
    squares = {"gaussian": [0, 1, 2, 3], "relu": [0, 1, 2, 3], "mixed(gaussian*1,onehot*2,relu*1)": [0, 3]}
    if not unit.finite:
        np.testing.assert_allclose(unit.base(x), -0.5 * (x[:, squares[unit.spec]].astype(float) ** 2).sum(axis=1))
    many = random_states(unit, 200)
    assert unit.weighted == (np.ptp(unit.base(many)) > 0) or unit.spec == "binomial(1)"


def test_binary_and_packed_units():
    assert [spec for spec in SPECS if get_unit(spec).binary] == ["bernoulli", "ising"]
    assert [spec for spec in SPECS if get_unit(spec).packed] == [
        spec for spec in SPECS if get_unit(spec).name in ("bernoulli", "onehot")
    ]
