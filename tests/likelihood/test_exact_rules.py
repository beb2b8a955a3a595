"""Models of all pairs of unit types against enumeration and quadrature."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from fastrbm import Model
from fastrbm._kernels import Parameters, get_backend, pack
from fastrbm.likelihood import exact, exact_rules, kl_divergence, log_likelihood, log_partition, paths
from fastrbm.units import Binomial, Mixed, _base, get_unit
from unit_grids import NORMAL, PAIRS, SPECS, SUMMED, enumerated, points, random_model, sizes_of

BINARY = [p for p in PAIRS if set(p) <= {"bernoulli", "ising"}]
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-10}
CASES = [(p, s) for p in SUMMED for s in sizes_of(p)]


# ---- the model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [0, 1])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_energy_conditionals_and_free_energy(pair, sizes):
    model = random_model(pair, sizes_of(pair)[sizes])
    v, h, logs = enumerated(model)
    dv, dh = (points(unit, x.shape[1])[1] for unit, x in zip(pair, (v, h), strict=True))
    i, j = np.random.default_rng(1).integers(0, [len(v), len(h)], (40, 2)).T
    assert_allclose(model.energy(v[i], h[j]), dv[i] + dh[j] - logs[i, j], atol=1e-10)
    at = np.flatnonzero(np.abs(v).max(axis=1) < 4)[:50]  # the grid of a hidden layer covers what these lead to
    assert_allclose(model.free_energy(v[at]), dv[at] - logsumexp(logs[at], axis=1), atol=1e-9)
    given_v = np.exp(logs[at] - logsumexp(logs[at], axis=1, keepdims=True))
    for backend in (None, get_backend("cpu"), get_backend("reference")):
        assert_allclose(model.mean_hidden(v[at], backend), given_v @ h, atol=1e-9)
    at = np.flatnonzero(np.abs(h).max(axis=1) < 4)[:50]
    given_h = np.exp(logs[:, at] - logsumexp(logs[:, at], axis=0))
    assert_allclose(model.mean_visible(h[at]), given_h.T @ v, atol=1e-9)


def test_units_may_be_objects_and_are_kept_as_specs():
    weights = np.zeros((6, 5), np.float32)
    model = Model(weights, np.zeros(5), np.zeros(6), Mixed(("gaussian", 3), (Binomial(4), 2)), " onehot( 3 )")
    assert model.units == ("mixed(gaussian*3,binomial(4)*2)", "onehot(3)")
    for units, message in (
        (("onehot(3)", "ising"), r"visible: a layer of units 'onehot\(3\)' must have a multiple of 3 units, got 5"),
        (("ising", "mixed(relu*5)"), r"hidden: a layer of units 'mixed\(relu\*5\)' must have 5 units, got 6"),
        (("spin", "ising"), "unit must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            Model(weights, np.zeros(5), np.zeros(6), *units)


@pytest.mark.parametrize("unit", ["bernoulli", "ising", "onehot"])
def test_packed_states_stand_for_the_values_of_the_units(unit):
    model = random_model((unit, unit), (5, 3), dtype=np.float32)
    v, h, _ = enumerated(model)
    assert_allclose(model.free_energy(pack(v > 0)), model.free_energy(v), rtol=1e-6)
    assert_allclose(model.mean_hidden(pack(v > 0)), model.mean_hidden(v), rtol=1e-6)
    assert_allclose(model.mean_visible(pack(h > 0)), model.mean_visible(h), rtol=1e-6)
    assert model.mean_hidden(v).dtype == np.float32 and model.free_energy(v).dtype == np.float64


@pytest.mark.parametrize("pair", [p for p in PAIRS if "ising" in p], ids="-".join)
@pytest.mark.parametrize("sizes", [0, 1])
def test_ising_layers_are_bernoulli_layers(pair, sizes):
    sizes = sizes_of(pair)[sizes]
    model = random_model(pair, sizes, scale=1.5)
    bits, constant = model.as_bernoulli()
    assert bits.units == tuple("bernoulli" if unit == "ising" else unit for unit in pair)
    rng = np.random.default_rng(0)

    def layer(unit, n_units):
        return points(unit, n_units)[0][rng.integers(0, len(points(unit, n_units)[0]), 40)]

    v, h = (layer(unit, n_units) for unit, n_units in zip(pair, sizes, strict=True))
    v, h = np.repeat(v, len(h), axis=0), np.tile(h, (len(v), 1))
    u, g = ((x + 1) / 2 if unit == "ising" else x for x, unit in zip((v, h), pair, strict=True))
    assert_allclose(model.energy(v, h), bits.energy(u, g) + constant, rtol=1e-12, atol=1e-12)
    assert_allclose(model.free_energy(v), bits.free_energy(u) + constant, rtol=1e-12, atol=1e-12)


def test_a_model_without_ising_layers_is_its_own_bernoulli_model():
    for pair in PAIRS:
        model = random_model(pair, sizes_of(pair)[0], dtype=np.float32)
        bits, constant = model.as_bernoulli()
        assert bits.weights.dtype == np.float32
        assert "ising" in pair or (bits is model and constant == 0)


def test_temperature_of_other_units():
    model = random_model(("ising", "onehot"), (4, 3))
    _, _, logs = enumerated(model)
    assert_allclose(float(log_partition(model.at_temperature(0.5))), logsumexp(2 * logs), rtol=1e-10)
    for unit in SPECS:
        if get_unit(unit).weighted:
            model = random_model((unit, "ising"), sizes_of((unit, "ising"))[0])
            with pytest.raises(ValueError, match="base measure of units that have one, such as the variance"):
                model.at_temperature(2.0)


# ---- exact sums -------------------------------------------------------------------------------------------------


def in_order(model, of_hidden, of_visible):
    """What belongs to the points of the layer that is listed, in the order of its states."""
    layer = exact.choose(model).layer
    spec, n_units = getattr(model, layer), model.weights.shape[0 if layer == "hidden" else 1]
    unit, x = get_unit(spec), points(spec, n_units)[0]
    number = {tuple(state): k for k, state in enumerate(unit.states(0, unit.n_states(n_units), n_units))}
    out = np.empty(len(x))
    out[[number[tuple(state)] for state in x]] = of_hidden if layer == "hidden" else of_visible
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pair,sizes", CASES, ids=str)
def test_exact_sum_moments_and_likelihood(pair, sizes, dtype):
    model = random_model(pair, sizes, dtype=dtype)
    v, h, logs = enumerated(model)
    log_z, tolerance = logsumexp(logs), TOLERANCE[dtype]
    p = np.exp(logs - log_z)
    listable = pair != NORMAL
    for device in ("cpu", "reference"):
        got = log_partition(model, "exact", moments=True, probabilities=listable, device=device)
        plain = log_partition(model, device=device)
        assert plain.method == "exact" and plain.moments is None and plain.log_probabilities is None
        assert_allclose([got.value, plain.value], log_z, rtol=tolerance, atol=tolerance)
        assert_allclose(got.moments.visible, p.sum(axis=1) @ v, atol=5 * tolerance)
        assert_allclose(got.moments.hidden, p.sum(axis=0) @ h, atol=5 * tolerance)
        assert_allclose(got.moments.pairs, h.T @ p.T @ v, atol=5 * tolerance)
        if listable:
            assert_allclose(
                np.exp(got.log_probabilities), in_order(model, p.sum(axis=0), p.sum(axis=1)), atol=5 * tolerance
            )
    log_p = log_likelihood(model, v)
    log_dv = points(pair[0], v.shape[1])[1]
    near = np.abs(v).max(axis=1) < 4
    assert_allclose(log_p[near], (logsumexp(logs, axis=1) - log_z - log_dv)[near], atol=20 * tolerance)
    assert_allclose(np.exp(log_p + log_dv).sum(), 1, atol=20 * tolerance)


@pytest.mark.parametrize("pair", [p for p in PAIRS if p not in SUMMED], ids="-".join)
def test_two_layers_with_real_units_have_no_exact_sum_but_for_gaussian_ones(pair):
    model = random_model(pair, sizes_of(pair)[0])
    with pytest.raises(ValueError, match="neither layer can be listed, and of two layers with real-valued units"):
        log_partition(model, "exact")


@pytest.mark.parametrize("pair", [p for p in SUMMED if p != NORMAL], ids="-".join)
def test_log_weights_of_the_states_add_up(pair):
    model = random_model(pair, sizes_of(pair)[0])
    _, _, logs = enumerated(model)
    terms = exact.state_log_weights(exact.choose(model), get_backend())
    assert_allclose(terms, in_order(model, logsumexp(logs, axis=0), logsumexp(logs, axis=1)), atol=1e-9)


@pytest.mark.parametrize("unit", ["bernoulli", "ising"])
@pytest.mark.parametrize("n_binary", [1, 8, 9, 10, 13, 20])
def test_a_gaussian_layer_of_any_size_beside_any_binary_one(unit, n_binary):
    """The sum in low and high units, and in blocks, against the generic one."""
    model = random_model(("gaussian", unit), (30, n_binary), scale=0.2)
    wanted = get_backend("reference").log_partition_sum(model.parameters, model.units)
    seen = []
    got = log_partition(model, "exact", progress=lambda done, total: seen.append((done, total)))
    assert_allclose(got.value, wanted, rtol=1e-12)
    assert seen[-1] == (2**n_binary, 2**n_binary)
    other_way = Model(model.weights.T, model.hidden_bias, model.visible_bias, unit, "gaussian")
    assert log_partition(other_way, "exact").value == got.value


def test_layers_too_large_for_enumeration_elsewhere():
    rng = np.random.default_rng(0)
    onehot = Model(rng.normal(0, 0.1, (700, 900)), rng.normal(size=900), rng.normal(size=700), "ising", "onehot")
    x = onehot.visible_bias + onehot.weights
    wanted = logsumexp(onehot.hidden_bias + np.logaddexp(x, -x).sum(axis=1))
    assert_allclose(float(log_partition(onehot)), wanted, rtol=1e-12)
    n = 60
    normal = Model(rng.normal(0, 0.03, (n, 90)), rng.normal(size=90), rng.normal(size=n), "gaussian", "gaussian")
    precision = np.block([[np.eye(90), -normal.weights.T], [-normal.weights, np.eye(n)]])
    field = np.concatenate([normal.visible_bias, normal.hidden_bias])
    covariance, mean = np.linalg.inv(precision), np.linalg.solve(precision, field)
    got = log_partition(normal, moments=True)
    wanted = 0.5 * ((n + 90) * np.log(2 * np.pi) - np.linalg.slogdet(precision)[1] + field @ mean)
    assert_allclose(got.value, wanted, rtol=1e-12)
    assert_allclose(got.moments.pairs, covariance[90:, :90] + np.outer(mean[90:], mean[:90]), atol=1e-12)


def test_strong_couplings_neither_overflow_nor_lose_the_answer():
    for pair in SUMMED:
        if pair == NORMAL:
            continue
        model = random_model(pair, sizes_of(pair)[0], scale=40.0)
        listed = exact.choose(model).model
        unit = get_unit(listed.hidden)
        h = unit.states(0, round(2 ** unit.log2_states(len(listed.hidden_bias))), len(listed.hidden_bias))
        x = h @ listed.weights + listed.visible_bias
        wanted = logsumexp(h @ listed.hidden_bias + unit.base(h) + get_unit(listed.visible).cgf(x).sum(axis=1))
        assert_allclose(float(log_partition(model, "exact")), wanted, rtol=1e-10)


def test_other_registered_units_take_the_generic_sum(monkeypatch):
    class Half(_base.Unit):
        """-1/2 or 1/2, the latter three times."""

        name, support = "half", (-0.5, 0.5)

        def statistics(self, x):
            return x

        def cgf(self, theta):
            return np.logaddexp(-0.5 * theta, 0.5 * theta + np.log(3))

        def mean(self, theta):
            p = 1 / (1 + np.exp(-theta) / 3)
            return p - 0.5

        def base(self, x):
            return (x > 0).sum(axis=-1) * np.log(3)

    class Real(_base.Unit):
        name = "real"

    monkeypatch.setitem(_base._REGISTRY, "half", Half)
    monkeypatch.setitem(_base._REGISTRY, "real", Real)
    for pair, sizes in ((("half", "ising"), (3, 4)), (("onehot", "half"), (3, 2)), (("half", "gaussian"), (2, 2))):
        model = random_model(("bernoulli", "bernoulli"), sizes)
        model = Model(*model.parameters, *pair)
        v, h = (
            points(unit, n)[0] if unit != "half" else points("bernoulli", n)[0] - 0.5
            for unit, n in zip(pair, sizes, strict=True)
        )
        logs = -np.stack([model.energy(v, np.tile(x, (len(v), 1))) for x in h], axis=1)
        logs += sum(points(unit, n)[1][0] for unit, n in zip(pair, sizes, strict=True) if unit == "gaussian")
        p = np.exp(logs - logsumexp(logs))
        got = log_partition(model, moments=True)
        assert_allclose(got.value, logsumexp(logs), rtol=1e-10)
        assert_allclose(got.moments.pairs, h.T @ p.T @ v, atol=1e-9)
        assert_allclose(log_likelihood(model, v), logsumexp(logs, axis=1) - logsumexp(logs), atol=1e-9)
        with pytest.raises(TypeError, match="'half' does not define sample"):
            log_partition(model, "ais")
    real = Model(np.ones((2, 2)), np.ones(2), np.ones(2), "real", "gaussian")
    with pytest.raises(ValueError, match="no exact sum for units .*'real'"):
        log_partition(real, "exact")
    with pytest.raises(TypeError, match="'real' does not define"):
        log_partition(real)


# ---- annealed estimates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [p for p in BINARY if "ising" in p], ids="-".join)
@pytest.mark.parametrize("method", ["ais", "mais", "reverse", "bracket"])
@pytest.mark.parametrize("start", ["biases", "base-rate", "uniform"])
def test_annealed_estimates_of_ising_layers(pair, method, start):
    model = random_model(pair, (30, 10), scale=0.3, dtype=np.float32)
    wanted = float(log_partition(model, "exact"))
    bits = np.random.default_rng(0).random((50, 30)) < 0.4
    data = 2.0 * bits - 1 if pair[0] == "ising" else bits
    got = log_partition(model, method, start=start, data=data, n_chains=200, n_temperatures=200, random_state=0)
    assert abs(got.value - wanted) < max(5 * got.stderr, 1e-3) and got.stderr < 0.2
    assert got.interval[0] <= got.value <= got.interval[1]
    if method == "bracket":
        assert got.interval[0] <= wanted <= got.interval[1]


def test_a_start_is_given_in_the_units_of_the_model():
    model = Model(np.zeros((3, 5)), np.linspace(-1, 1, 5), np.linspace(-2, 1, 3), "ising", "ising")
    wanted = np.log(2 * np.cosh(model.visible_bias)).sum() + np.log(2 * np.cosh(model.hidden_bias)).sum()
    for start in ("biases", "uniform", model.visible_bias):
        assert_allclose(
            log_partition(model, "mais", start=start, n_chains=2000, random_state=0).value, wanted, atol=0.1
        )
    # the path is the model at every temperature, so nothing is left to chance here
    assert log_partition(model, "mais", start="biases", n_chains=10, n_temperatures=3).ess == pytest.approx(10)
    visible, hidden = paths.bases_of(model, "biases", None)
    assert_array_equal(visible, 2 * model.visible_bias)
    assert_array_equal(hidden, 2 * model.hidden_bias)
    with pytest.raises(ValueError, match=r"data must hold -1 and \+1 only"):
        log_partition(model, "mais", start="base-rate", data=np.ones((2, 5)) * [0, 1, 1, 0, 1])


# ---- what is built on it ----------------------------------------------------------------------------------------


def test_divergence_from_rows_of_other_units():
    for pair in (("ising", "ising"), ("onehot", "gaussian"), ("ising", "onehot")):
        model = random_model(pair, (4, 2))
        v, _, logs = enumerated(model)
        log_p = logsumexp(logs, axis=1) - logsumexp(logs)
        share = np.array([0.5, 1 / 3, 1 / 6])
        wanted = (share * (np.log(share) - log_p[[0, 2, 3]])).sum()
        assert_allclose(kl_divergence(model, v[[0, 0, 0, 2, 2, 3]]), wanted, rtol=1e-8)
    with pytest.raises(ValueError, match="which units 'gaussian' of the visible layer do not have"):
        kl_divergence(random_model(("gaussian", "ising"), (2, 2)), np.zeros((1, 2)))


def test_float32_models_do_not_round_real_rows():
    model = random_model(("gaussian", "bernoulli"), (2, 3), dtype=np.float32)
    x = np.array([[1000.123456789, -0.3]])
    assert_allclose(log_likelihood(model, x), log_likelihood(exact_rules.wide(model), x), rtol=1e-13)


def test_rows_must_be_states():
    def check(unit, rows, message):
        model = random_model((unit, "bernoulli"), (3, 2))
        with pytest.raises(ValueError, match=message):
            log_likelihood(model, rows)

    check("ising", [[0, 1, 1]], r"X must hold -1 and \+1 only \(2 x - 1 for bits x\): the model has no probability")
    check("bernoulli", [[-1, 1, 1]], "X must hold 0 and 1 only")
    check("onehot", [[1, 0, 1]], "X must hold one 1 in each row and 0 elsewhere")
    check("onehot", [[0, 0, 0]], "X must hold one 1 in each row and 0 elsewhere")
    check("onehot", pack(np.ones((2, 3))), "X must hold one 1 in each row and 0 elsewhere")
    check("gaussian", [[np.nan, 0, 1]], "X must hold finite numbers only")
    check("relu", [[0, 1, 2], [2, 0, -1]], r"X must hold .* at least 0.*, got -1 in row 1, column 2$")
    check("binomial(2)", [[0, 1, 3.5]], "X must hold whole numbers from 0 to 2.*got 3.5 in row 0, column 2")
    check("mixed(relu*1,ising*2)", [[0, 1, 3.5]], r"in column 0; -1 and \+1 only.* in columns 1 to 2.*got 3.5")
    for unit in ("bernoulli", "ising", "onehot", "gaussian", "relu", "binomial(3)", "onehot(3)"):
        check(unit, np.ones((2, 4)), "X must have 3 columns like the model, got 4")


def test_sizes_beyond_reach_are_named():
    rng = np.random.default_rng(0)

    def model(n_visible, n_hidden, *units):
        return Model(rng.normal(0, 0.01, (n_hidden, n_visible)), np.zeros(n_visible), np.zeros(n_hidden), *units)

    with pytest.raises(
        ValueError, match=r"2\^60 states of 60 hidden units .* the limit is \d\d units; use method='smc'"
    ):
        log_partition(model(2, 60, "gaussian", "ising"), "exact")
    with pytest.raises(ValueError, match=r"2\^60 states of 60 visible units .* the limit is \d\d units"):
        log_partition(model(60, 2, "bernoulli", "gaussian"), "exact")
    with pytest.raises(ValueError, match=r"2\^50 states of 50 hidden units .*'smc'"):
        log_partition(model(80, 50, "ising", "bernoulli"), "exact")
    assert log_partition(model(300, 60, "ising", "ising"), n_chains=5, n_temperatures=5).method == "smc"
    with pytest.raises(ValueError, match=r"2\^55 states of 55 hidden units .* the limit is \d\d units"):
        log_partition(model(300, 55, "relu", "bernoulli"), "exact")
    with pytest.raises(ValueError, match=r"2\^60 states of 30 hidden units .* the limit is \d\d units; use"):
        log_partition(model(300, 30, "binomial(3)", "binomial(3)"), "exact")
    with pytest.raises(ValueError, match=r"2\^50 states of 50 hidden units .* the limit is 2\^40 states"):
        log_partition(model(300, 50, "relu", "mixed(ising*50)"), "exact")
    with pytest.raises(ValueError, match="at most 26 units, got 27 units 'bernoulli'"):
        log_partition(model(3, 27, "gaussian", "bernoulli"), probabilities=True)


def test_two_gaussian_layers_that_cannot_be_normalised():
    for weights in (np.eye(2), np.array([[0.1, 0.2], [3.0, 0.0]])):
        with pytest.raises(ValueError, match="not normalisable .* singular values of weights are below 1, got "):
            log_partition(Model(weights, np.zeros(2), np.zeros(2), "gaussian", "gaussian"))
    with pytest.raises(ValueError, match="cannot be listed .*real numbers"):
        log_partition(random_model(("gaussian", "gaussian"), (2, 2)), probabilities=True)


def test_backends_refuse_what_they_would_get_wrong():
    model = random_model(("ising", "ising"), (4, 3))
    with pytest.raises(ValueError, match="whose states can be enumerated, got 'gaussian'"):
        get_backend("reference").log_partition_sum(Parameters(*model.parameters), ("ising", "gaussian"))


@pytest.mark.parametrize("hidden", ["bernoulli", "ising", "onehot(2)", "gaussian", "relu", "binomial(3)"])
@pytest.mark.parametrize("visible", ["bernoulli", "ising"])
def test_pseudo_likelihood_of_binary_rows(visible, hidden):
    """Of Ising visibles by the model's bits: the flip of a spin is that of its bit."""
    model = random_model((visible, hidden), sizes_of((visible, hidden))[0])
    v = points(visible, len(model.visible_bias))[0]
    low, high = get_unit(visible).support
    wanted = np.zeros(len(v))
    for i in range(v.shape[1]):
        flipped = v.copy()
        flipped[:, i] = low + high - v[:, i]
        wanted -= np.logaddexp(0, model.free_energy(v) - model.free_energy(flipped))
    bits = model.as_bernoulli()[0]
    for device in ("cpu", "reference"):
        got = get_backend(device).pseudo_likelihood(bits.hidden, pack(v > 0), bits.parameters)
        assert_allclose(got, wanted, atol=1e-10)
