"""Initialisers: the published table, laws of the saddle point, and what models they make."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.base import clone

import fastrbm
from fastrbm import Model
from fastrbm._kernels.draws import Key
from fastrbm.init import (
    FanIn,
    Given,
    LayerCorrelation,
    Normal,
    Xavier,
    data_bias,
    get_initializer,
    lc_beta,
    lc_scale,
)
from fastrbm.units import get_unit, unit_names

# arXiv:2409.07708, hidden units {0, 1}; c = 0, -1, ..., -6
PUBLISHED = {
    0.25: [1.597, 1.873, 2.216, 2.558, 2.887, 3.196, 3.488],
    0.5: [1.529, 1.840, 2.227, 2.618, 2.989, 3.338, 3.666],
    1.0: [1.510, 1.879, 2.344, 2.812, 3.255, 3.669, 4.058],
    2.0: [1.551, 2.009, 2.596, 3.190, 3.749, 4.271, 4.759],
}
ENTRIES = [(alpha, -float(k), value) for alpha, row in PUBLISHED.items() for k, value in enumerate(row)]


@pytest.mark.parametrize(("alpha", "c", "printed"), ENTRIES)
def test_layer_correlation_reproduces_the_published_table(alpha, c, printed):
    # one entry is printed as 2.216, which is not the maximum of the formulas printed beside it
    expected = 2.2136 if (alpha, c) == (0.25, -2.0) else printed
    assert lc_beta(alpha, c) == pytest.approx(expected, abs=0.001)


def overlap_by_iteration(beta, alpha, c, hidden):
    """q_v by plain iteration and plain quadrature: nothing in common with the package but the two equations."""
    z = np.linspace(-9, 9, 6001)
    share = np.exp(-z * z / 2)
    share /= share.sum()
    p, r = 1 / (1 + alpha), alpha / (1 + alpha)
    q = 0.5
    for _ in range(3000):
        y = c + beta * math.sqrt(p * q) * z
        s = expit(y + beta**2 * p * (1 - q) / 2) if hidden == "bernoulli" else np.tanh(y)
        new = share @ np.tanh(beta * math.sqrt(r * (share @ s**2)) * z) ** 2
        if abs(new - q) < 1e-14:
            break
        q = new
    return new


@pytest.mark.parametrize(
    ("alpha", "c", "hidden"), [(0.25, -2.0, "bernoulli"), (1.7, 0.8, "bernoulli"), (2, 1, "ising")]
)
def test_layer_correlation_is_where_the_overlap_answers_most_to_the_hidden_bias(alpha, c, hidden):
    def answer(beta):
        up, down = (overlap_by_iteration(beta, alpha, c + d, hidden) for d in (1e-4, -1e-4))
        return -abs(up - down) / 2e-4

    found = lc_beta(alpha, c, hidden)
    best = minimize_scalar(answer, bounds=(found - 0.5, found + 0.5), method="bounded", options={"xatol": 1e-5})
    assert found == pytest.approx(best.x, abs=0.001)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1, 4, 100])
def test_layer_correlation_of_spins_without_bias_has_a_closed_form(alpha):
    closed = math.sqrt((1 + alpha) / math.sqrt(alpha))
    assert lc_beta(alpha, 0.0, "ising") == pytest.approx(closed, rel=1e-12)
    # which the saddle point approaches
    assert lc_beta(alpha, 1e-3, "ising") == pytest.approx(closed, abs=0.001)


def test_layer_correlation_of_equal_spin_layers_is_xavier():
    assert lc_scale(50, 50, hidden="ising") == pytest.approx(math.sqrt(2 / 100))
    assert lc_scale(784, 196) == pytest.approx(lc_beta(0.25) / math.sqrt(980))


@pytest.mark.parametrize("hidden", ["bernoulli", "ising"])
@pytest.mark.parametrize(("alpha", "c"), list(itertools.product([0.01, 100], [-10.0, -3.0, 0.5, 5.0])))
def test_layer_correlation_is_smooth_at_extremes(hidden, alpha, c):
    near = np.array([lc_beta(alpha, c + d, hidden) for d in (-0.02, 0.0, 0.02)])
    assert np.isfinite(near).all() and (near > 0.5).all() and (near < 60).all()
    # no jumps: the second difference is that of a smooth function
    assert abs(near[0] - 2 * near[1] + near[2]) < 2e-3 * near[1]
    assert abs(near[2] - near[0]) < 0.05 * near[1]


def all_bits(n):
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


def probabilities(start, units):
    """Exact joint distribution over (v, h), states in the order of all_bits."""
    model = Model(start.weights, start.visible_bias, start.hidden_bias, *units)
    n_hidden, n_visible = start.weights.shape
    layers = [
        all_bits(n) if unit == "bernoulli" else 2 * all_bits(n) - 1
        for n, unit in zip((n_visible, n_hidden), units, strict=True)
    ]
    v, h = (np.array(x) for x in zip(*itertools.product(*layers), strict=True))
    weight = np.exp(-model.energy(v, h))
    return weight / weight.sum()


@pytest.mark.parametrize("hidden", ["bernoulli", "ising"])
def test_layer_correlation_makes_the_same_distribution_of_bits_and_of_spins(hidden):
    initialiser = LayerCorrelation(hidden_bias=-0.7)
    bits = initialiser.weights(3, 5, Key(4), ("bernoulli", hidden))
    spins = initialiser.weights(3, 5, Key(4), ("ising", hidden))
    assert not spins.visible_bias.any() and (spins.hidden_bias == -0.7).all()
    np.testing.assert_allclose(bits.weights, 2 * spins.weights)
    p_bits, p_spins = probabilities(bits, ("bernoulli", hidden)), probabilities(spins, ("ising", hidden))
    np.testing.assert_allclose(p_bits, p_spins, rtol=1e-12)


@pytest.mark.parametrize(
    ("initialiser", "units", "scale"),
    [
        (Normal(0.3), ("bernoulli", "bernoulli"), 0.3),
        (Xavier(), ("gaussian", "bernoulli"), math.sqrt(2 / 700)),
        (FanIn(2.5), ("bernoulli", "bernoulli"), 2.5 / math.sqrt(300)),
        (LayerCorrelation(-1.0), ("ising", "ising"), lc_scale(300, 400, -1.0, "ising")),
        (LayerCorrelation(), ("bernoulli", "bernoulli"), 2 * lc_scale(300, 400)),
    ],
)
def test_weights_have_the_promised_standard_deviation(initialiser, units, scale):
    weights = initialiser.weights(400, 300, Key(1), units).weights
    assert weights.shape == (400, 300) and weights.dtype == np.float64
    # standard error of a standard deviation: sigma / sqrt(2 n)
    assert weights.std() == pytest.approx(scale, rel=5 / math.sqrt(2 * weights.size))
    assert abs(weights.mean()) < 5 * scale / math.sqrt(weights.size)


def test_normal_draws_what_estimators_have_drawn_so_far():
    start = get_initializer("normal").weights(6, 9, Key(12), ("bernoulli", "bernoulli"))
    np.testing.assert_array_equal(start.weights, Key(12).normal((6, 9), 0.01))
    assert start.visible_bias is None and start.hidden_bias is None


def test_names_objects_and_arrays_are_resolved():
    assert isinstance(get_initializer("normal"), Normal)
    assert isinstance(get_initializer("xavier"), Xavier)
    assert isinstance(get_initializer("lc"), LayerCorrelation)
    mine = Normal(0.2)
    assert get_initializer(mine) is mine
    values = np.arange(6.0).reshape(2, 3)
    start = get_initializer(values).weights(2, 3, Key(0), ("bernoulli", "bernoulli"))
    np.testing.assert_array_equal(start.weights, values)
    start.weights[0, 0] = 7
    assert values[0, 0] == 0  # training must not change the caller's array


def test_options_can_be_read_and_cloned():
    assert Normal(0.5).get_params() == {"scale": 0.5}
    assert clone(LayerCorrelation(-2.0)).hidden_bias == -2.0
    assert Normal().set_params(scale=0.1).scale == 0.1


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("glorot", "init must be one of"),
        (3, "init must be one of"),
        (None, "init must be one of"),
        (Normal(-1.0), "scale"),
        (Normal("big"), "scale"),
        (LayerCorrelation(np.inf), "hidden_bias"),
        (np.zeros(3), "shape"),
        (np.full((2, 2), np.nan), "finite"),
        (np.array([["a"]]), "dtype"),
    ],
)
def test_wrong_options_are_named(init, message):
    with pytest.raises(ValueError, match=message):
        get_initializer(init)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(3, 4\)"):
        Given(np.zeros((3, 4))).weights(4, 3, Key(0), ("bernoulli", "bernoulli"))


@pytest.mark.parametrize("units", [("gaussian", "bernoulli"), ("bernoulli", "onehot")])
def test_layer_correlation_refuses_units_that_it_is_not_derived_for(units):
    with pytest.raises(ValueError, match="derived"):
        LayerCorrelation().weights(3, 4, Key(0), units)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), "alpha"),
        ((-1.0,), "alpha"),
        ((np.inf,), "alpha"),
        ((1.0, np.nan), "c must"),
        ((1.0, 0.0, "relu"), "hidden"),
    ],
)
def test_layer_correlation_refuses_what_has_no_maximum(arguments, message):
    with pytest.raises(ValueError, match=message):
        lc_beta(*arguments)
    with pytest.raises(ValueError, match="n_hidden"):
        lc_scale(3, 0)


MEANS = {
    "bernoulli": [0.2, 0.5, 0.93],
    "ising": [-0.4, 0.0, 0.93],
    "gaussian": [-3.0, 0.0, 2.5],
    "onehot": [0.2, 0.5, 0.3],
}


@pytest.mark.parametrize("unit", sorted(MEANS))
def test_data_bias_gives_the_means_of_the_data(unit):
    bias = data_bias(MEANS[unit], unit)
    np.testing.assert_allclose(get_unit(unit).mean(bias), MEANS[unit], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("unit", "ends"), [("bernoulli", (0, 1)), ("ising", (-1, 1)), ("onehot", (0, 1))])
def test_data_bias_of_units_that_never_change_is_as_probable_as_the_clip(unit, ends):
    bias = data_bias(ends, unit, clip=0.01)
    assert np.isfinite(bias).all()
    off = bias[0] - bias[1] if unit == "onehot" else bias[0] * (2 if unit == "ising" else 1)
    # log odds of the value not seen
    assert off == pytest.approx(math.log(0.01) if unit == "onehot" else math.log(0.01 / 0.99))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], "relu"), "unit must be one of"),
        (([1.2], "bernoulli"), "mean must lie"),
        (([-0.1], "onehot"), "mean must lie"),
        (([np.nan],), "finite"),
        ((0.5,), "vector"),
        (([0.5], "bernoulli", 0.5), "clip"),
        (([0.5], "bernoulli", 0.0), "clip"),
    ],
)
def test_data_bias_refuses_what_is_no_mean(arguments, message):
    with pytest.raises(ValueError, match=message):
        data_bias(*arguments)


def test_the_table_of_data_biases_holds_known_units_only():
    assert set(MEANS) <= set(unit_names())


def test_data_biases_of_mixed_layers_are_those_of_their_parts():
    mean = np.array([0.3, 0.9, -2.0, 5.0, 0.2, 0.3, 0.5, 1.5])
    unit = "mixed(bernoulli*2,gaussian*2,onehot(3)*3,binomial(3)*1)"
    wanted = [
        *data_bias(mean[:2]), *data_bias(mean[2:4], "gaussian"), *data_bias(mean[4:7], "onehot(3)"),
        *data_bias(mean[7:], "binomial(3)"),
    ]  # fmt: skip
    np.testing.assert_array_equal(data_bias(mean, unit), wanted)
    X = np.tile(mean, (40, 1)) * 0 + np.array([1.0, 0, 0.5, -1, 0, 1, 0, 2])
    rbm = fastrbm.RBM(3, visible=unit, visible_bias="data", n_iter=0, random_state=0).fit(X)
    assert rbm.intercept_visible_[2] == 0.5 and rbm.intercept_visible_[0] > 2


@pytest.mark.parametrize("unit", ["relu", "mixed(bernoulli*2,relu*2)"])
def test_units_without_a_data_bias_name_the_remedy(unit):
    with pytest.raises(ValueError, match=r"unit must be one of .*mixed layer.* use visible_bias='zeros'"):
        fastrbm.RBM(2, visible=unit, visible_bias="data").fit(np.ones((5, 4)))


def test_means_that_rounding_has_put_outside_are_clipped():
    for unit, end in (("bernoulli", 1.0), ("ising", 1.0), ("onehot", 1.0), ("binomial(3)", 3.0)):
        for excess in (6e-8, 1e-16, 1e-6):
            np.testing.assert_array_equal(data_bias([end * (1 + excess)], unit), data_bias([end], unit))
        with pytest.raises(ValueError, match="mean must lie in"):
            data_bias([end * 1.001], unit)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_that_is_always_on_stops_nothing(seed, dtype):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    X = (rng.random((n, 4)) < 0.5).astype(float)
    X[:, 0], X[:, 1] = 1, 0
    options = dict(n_iter=3, random_state=seed, batch_size=int(rng.integers(1, n + 1)), dtype=dtype)
    em = fastrbm.PottsRBM(3, algorithm="em", learning_rate=1.0, **options).fit(X)
    weights = rng.random(n) + 1e-3
    for fitted in (em, fastrbm.BernoulliRBM(3, visible_bias="data", **options).fit(X, sample_weight=weights)):
        assert all(np.isfinite(x).all() for x in fitted.model_.parameters)


def test_the_case_of_the_report():
    X = np.eye(6)[:, :3]
    X[:, 0] = 1
    rbm = fastrbm.PottsRBM(3, algorithm="em", learning_rate=1.0, batch_size=6, random_state=0).fit(X)
    assert np.isfinite(rbm.log_likelihood(X)).all()
