"""Kernel contract: every backend and instruction set against the NumPy reference, and against itself over threads."""

import numpy as np
import pytest

from fastrbm._kernels import Parameters, Phase, Rule, Update
from fastrbm._kernels import cpu as cpu_package
from fastrbm._kernels.bits import PackedBits, transpose
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.cpu.packing import pack_checked
from fastrbm._kernels.draws import Draw, Stream, uniforms, words
from kernel_cases import RULES, TARGETS, UNITS, bits, grey, model, reference

# (samples, visible, hidden): ones, sizes around the tile (6), panel (32), word (64) and lane-block (1024) borders
SIZES = [(1, 1, 1), (2, 3, 5), (7, 33, 6), (31, 64, 32), (33, 65, 63), (64, 127, 40), (130, 257, 97), (1030, 70, 37)]
SMALL = [(1, 1, 1), (10, 33, 7), (65, 130, 35)]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    # tiny problems would run on one thread otherwise
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def tolerance(dtype, depth):
    return dict(rtol=0, atol=(3e-7 if dtype == np.float32 else 1e-14) * (depth + 4))


def assert_same_states(got: PackedBits, wanted: PackedBits, draw, theta):
    """Equal, but where the uniform is within rounding of the probability."""
    differ = got.dense() != wanted.dense()
    if differ.any():
        p = 1 / (1 + np.exp(-theta.astype(np.float64)))
        assert np.abs(uniforms(draw, *theta.shape, theta.dtype) - p)[differ].max() < 3e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
@pytest.mark.parametrize("transposed", [False, True])
def test_inputs_and_means_match_the_reference(target, dtype, n, n_visible, n_hidden, transposed):
    weights, a, b = model(n_visible, n_hidden, dtype)
    states = bits(n, n_hidden if transposed else n_visible)
    bias = a if transposed else b
    cpu = CpuBackend(2)
    for dense in (states, grey(*states.shape, dtype)):
        x = cpu.inputs(dense, weights, bias, transpose=transposed)
        assert x.dtype == dtype
        wanted = reference.inputs(dense, weights.astype(np.float64), bias.astype(np.float64), transpose=transposed)
        np.testing.assert_allclose(x, wanted, **tolerance(dtype, states.shape[1]))
        p = cpu.means("bernoulli", dense, weights, bias, transpose=transposed)
        np.testing.assert_allclose(p, 1 / (1 + np.exp(-wanted)), **tolerance(dtype, states.shape[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
@pytest.mark.parametrize("transposed", [False, True])
def test_samples_make_the_reference_decisions(target, dtype, n, n_visible, n_hidden, transposed):
    weights, a, b = model(n_visible, n_hidden, dtype, scale=0.3)
    states = bits(n, n_hidden if transposed else n_visible)
    bias = a if transposed else b
    draw = Draw(seed=2**63 + 5, step=2**40 + 3, stream=Stream.HIDDEN, first_chain=2**32 - 3)
    for source in (states, grey(*states.shape, dtype)):
        got = CpuBackend(2).samples("bernoulli", source, weights, bias, draw, transpose=transposed)
        wanted = reference.samples("bernoulli", source, weights, bias, draw, transpose=transposed)
        theta = reference.inputs(source, weights, bias, transpose=transposed)
        assert_same_states(got, wanted, draw, theta)
        assert got.words.shape == wanted.words.shape
        padding = got.n_units % 64
        if padding:
            assert (got.words[:, -1] >> np.uint64(padding) == 0).all()


@pytest.mark.parametrize("scale", [0.0, 1e-30, 30.0, 1e4, 1e30])
def test_extreme_parameters_stay_finite_and_right(target, scale):
    weights, a, b = model(70, 37, scale=scale)
    states = bits(65, 70)
    p = CpuBackend(2).means("bernoulli", states, weights, b)
    x = reference.inputs(states, weights.astype(np.float64), b.astype(np.float64))
    wanted = 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    sure = np.abs(x) > 1e-3 * scale
    np.testing.assert_allclose(p[sure], wanted[sure], atol=1e-5 * max(1.0, min(scale, 30.0)))
    assert np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1
    draw = Draw(1, 2, Stream.HIDDEN)
    s = CpuBackend(2).samples("bernoulli", states, weights, b, draw).dense()
    certain = np.abs(x) > 1e-3 * scale + 40
    assert (s[certain] == (x[certain] > 0)).all()


@pytest.mark.parametrize("n,n_visible,n_hidden", SMALL)
def test_draw_bits_matches_the_reference(target, n, n_visible, n_hidden):
    p = grey(n, n_visible)
    p[0, 0], p[-1, -1] = 0.0, 1.0
    draw = Draw(3, 9, Stream.INPUT, 7)
    got = CpuBackend(2).draw_bits(p, draw).dense()
    np.testing.assert_array_equal(got, reference.draw_bits(p, draw).dense())
    assert not got[0, 0] or n_visible == 1
    assert got[-1, -1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["bits", "grey"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
@pytest.mark.parametrize("hidden", ["means", "states"])
def test_gradient_step_matches_the_reference(target, dtype, kind, rule, n, n_visible, n_hidden, hidden):
    update, n_slots = RULES[rule]
    before = model(n_visible, n_hidden, dtype)
    data = bits(n, n_visible) if kind == "bits" else grey(n, n_visible, dtype)
    n_model = max(1, n // 2)

    def factor(n):
        return grey(n, n_hidden, dtype) if hidden == "means" else bits(n, n_hidden, seed=4)

    phases = Phase(data, factor(n)), Phase(bits(n_model, n_visible, seed=3), factor(n_model))
    results = []
    for backend in (CpuBackend(2), reference):
        parameters = before.copy()
        # slots that squares are kept in are positive
        slots = [Parameters(*(0.1 * np.abs(x) + dtype(0.01) for x in before.copy())) for _ in range(n_slots)]
        backend.gradient_step(parameters, slots, *phases, update)
        results.append([x for p in (parameters, *slots) for x in p])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5 if dtype == np.float32 else 1e-13, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
def test_ascending_a_gradient_matches_the_reference(target, dtype, rule):
    update, n_slots = RULES[rule]
    before, gradient = model(301, 7, dtype), model(301, 7, dtype, seed=5)
    results = []
    for backend in (CpuBackend(3), reference):
        parameters, slots = before.copy(), [before.zeros_like() for _ in range(n_slots)]
        for count in range(3):
            backend.ascend(parameters, slots, gradient.copy(), update._replace(done=count))
        results.append([x for p in (parameters, *slots) for x in p])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6 if dtype == np.float32 else 1e-14, rtol=1e-6)


def test_rules_are_those_of_their_papers():
    """Two steps with known gradients, against the formulas written out."""
    value, g = np.array([1.0]), (np.array([0.5]), np.array([-2.0]))

    def run(rule, n_slots, momentum=0.0, rate=0.1):
        parameters = Parameters(value[:, None].copy(), value.copy(), value.copy())
        slots = [parameters.zeros_like() for _ in range(n_slots)]
        for count in range(2):
            gradient = Parameters(g[count][:, None], g[count], g[count])
            reference.ascend(parameters, slots, gradient, Update(rule, rate, momentum, count))
        return float(parameters.weights[0, 0]), float(parameters.visible_bias[0])

    assert run(Rule(), 0)[0] == pytest.approx(1 + 0.05 - 0.2)
    assert run(Rule(), 1, 0.5)[0] == pytest.approx(1 + 0.05 + (0.5 * 0.05 - 0.2))
    assert run(Rule("nesterov"), 1, 0.5)[0] == pytest.approx(1 + 0.5 * 0.05 + 0.05 + 0.5 * (0.025 - 0.2) - 0.2)
    s1, s2 = 0.1 * 0.25, 0.9 * 0.025 + 0.1 * 4
    wanted = 1 + 0.05 / (s1**0.5 + 1e-8) - 0.2 / (s2**0.5 + 1e-8)
    assert run(Rule("rmsprop", 0.9), 1)[0] == pytest.approx(wanted)
    # Adam's first step is the rate whatever the gradient
    m, s = 0.9 * 0.05 - 0.2, 0.99 * 0.0025 + 0.01 * 4
    wanted = 1.1 + 0.1 * (m / (1 - 0.81)) / ((s / (1 - 0.99**2)) ** 0.5 + 1e-8)
    assert run(Rule("adam", 0.99), 2, 0.9)[0] == pytest.approx(wanted)
    assert run(Rule("amsgrad", 0.99), 3, 0.9)[0] == pytest.approx(wanted)  # the second square is the larger one
    weight, bias = run(Rule(l1=0.3, l2=0.2), 0)
    assert weight == pytest.approx(1 + 0.1 * (0.5 - 0.5) + 0.1 * (-2 - 0.5)) and bias == pytest.approx(0.85)
    assert run(Rule(clip=0.25), 0)[1] == pytest.approx(1 + 0.025 - 0.025)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("n,n_visible,n_hidden", SMALL + [(520, 20, 33)])
def test_free_energy_and_pseudo_likelihood_match_the_reference(target, dtype, scale, n, n_visible, n_hidden):
    parameters = model(n_visible, n_hidden, dtype, scale)
    exact = Parameters(*(x.astype(np.float64) for x in parameters))
    cpu = CpuBackend(2)
    rtol = 1e-5 if dtype == np.float32 else 1e-11
    for v in (bits(n, n_visible), grey(n, n_visible, dtype)):
        got = cpu.free_energy("bernoulli", v, parameters)
        wanted = reference.free_energy("bernoulli", v, exact)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * 10 * max(scale, 1) * n_hidden)
        got = cpu.pseudo_likelihood("bernoulli", v, parameters)
        wanted = reference.pseudo_likelihood("bernoulli", v, exact)
        np.testing.assert_allclose(got, wanted, rtol=5 * rtol, atol=rtol * n_visible * max(scale, 1))


def test_pseudo_likelihood_of_values_outside_the_unit_interval(target):
    parameters = model(9, 4)
    v = np.linspace(-3, 5000, 18).reshape(2, 9).astype(np.float32)
    wanted = reference.pseudo_likelihood("bernoulli", v, parameters)
    np.testing.assert_allclose(CpuBackend(1).pseudo_likelihood("bernoulli", v, parameters), wanted, rtol=1e-4)


@pytest.mark.parametrize("n,n_visible,n_hidden", SMALL)
def test_run_chains_follows_the_composed_sweeps(target, n, n_visible, n_hidden):
    parameters = model(n_visible, n_hidden, scale=0.2)
    draw = Draw(11, 5, Stream.HIDDEN, 3)
    start = bits(n, n_hidden)
    got = CpuBackend(2).run_chains(start, parameters, UNITS, draw, 7)
    wanted = reference.run_chains(start, parameters, UNITS, draw, 7)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g.words, w.words)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_layer_functions_do_not_depend_on_threads(n_threads):
    parameters = model(130, 75)
    v = bits(700, 130)
    one, many = CpuBackend(1), CpuBackend(n_threads)
    draw = Draw(5, 6, Stream.HIDDEN)
    for x in (v, v.dense(np.float32), v.dense(np.float64)):
        p = (
            parameters
            if not (isinstance(x, np.ndarray) and x.dtype == np.float64)
            else Parameters(*(y.astype(np.float64) for y in parameters))
        )
        for call in (
            lambda k, x=x, p=p: k.means("bernoulli", x, p.weights, p.hidden_bias),
            lambda k, x=x, p=p: k.samples("bernoulli", x, p.weights, p.hidden_bias, draw).words,
            lambda k, x=x, p=p: k.free_energy("bernoulli", x, p),
            lambda k, x=x, p=p: k.pseudo_likelihood("bernoulli", x, p),
        ):
            np.testing.assert_array_equal(call(one), call(many))


@pytest.mark.parametrize("n,n_visible,n_hidden", [*SIZES, (2100, 90, 13)])
def test_counting_pairs_by_bytes_and_by_lanes_is_the_same(n, n_visible, n_hidden):
    phases = (
        Phase(bits(n, n_visible), bits(n, n_hidden, seed=4)),
        Phase(bits(n, n_visible, seed=3), bits(n, n_hidden, seed=5)),
    )
    before, results = cpu_package.current_target(), []
    try:
        for name in TARGETS:
            cpu_package.use_target(name)
            for allow in (True, False):
                runtime.extension.allow_vpopcnt(allow)
                parameters = model(n_visible, n_hidden)
                CpuBackend(1).gradient_step(parameters, (), *phases, Update(Rule(), 0.25))
                results.append(parameters)
    finally:
        runtime.extension.allow_vpopcnt(True)
        cpu_package.use_target(before)
    for other in results[1:]:
        for g, w in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_rows(target, n):
    parameters = model(10, 4)
    cpu = CpuBackend(2)
    v = bits(n, 10)
    assert cpu.means("bernoulli", v, parameters.weights, parameters.hidden_bias).shape == (n, 4)
    assert cpu.samples("bernoulli", v, parameters.weights, parameters.hidden_bias, Draw(0, 0, 0)).shape == (n, 4)
    assert cpu.free_energy("bernoulli", v, parameters).shape == (n,)
    assert cpu.pseudo_likelihood("bernoulli", v, parameters).shape == (n,)
    for out in cpu.run_chains(bits(n, 4), parameters, UNITS, Draw(0, 0, 0), 2):
        assert len(out) == n
    assert len(cpu.transpose(v)) == 10


@pytest.mark.parametrize("dtype,on", [(np.uint8, 1), (np.uint8, 255), (np.float32, 1), (np.float64, 1)])
@pytest.mark.parametrize("n,n_units", [(1, 1), (3, 63), (5, 64), (40, 129)])
def test_pack_checked_reports_what_it_saw(target, dtype, on, n, n_units):
    states = bits(n, n_units).dense()
    x = (states * on).astype(dtype)
    flags, packed = pack_checked(x, on, 2)
    assert flags == 0
    np.testing.assert_array_equal(packed.dense(), states)
    y = x.copy()
    y[-1, -1] = 3 if dtype == np.uint8 else 0.5
    assert pack_checked(y, on)[0] == 1
    if dtype != np.uint8:
        for bad in (np.nan, np.inf, -0.1, 1.5):
            y[-1, -1] = bad
            assert pack_checked(y, on)[0] == 3
    padded = np.zeros((n, n_units + 5), dtype)
    padded[:, :n_units] = x
    np.testing.assert_array_equal(pack_checked(padded[:, :n_units], on)[1].words, packed.words)


@pytest.mark.parametrize("n,n_units", [(1, 1), (65, 3), (3, 65), (100, 200)])
def test_transpose_is_its_own_inverse(target, n, n_units):
    b = bits(n, n_units)
    t = CpuBackend(2).transpose(b)
    np.testing.assert_array_equal(t.words, transpose(b).words)
    np.testing.assert_array_equal(CpuBackend(2).transpose(t).words, b.words)


def test_native_philox_is_the_numpy_stream(target):
    draw = Draw(seed=0xDEADBEEF12345678, step=2**45 + 9, stream=Stream.VISIBLE, first_chain=33)
    wanted = words(draw, 16, 12)
    for block in range(3):
        got = cpu_package._cpu.philox_block(draw, block)
        np.testing.assert_array_equal(got, wanted[:, 4 * block : 4 * block + 4].T)


def test_numbers_of_the_extension_have_the_names_of_python():
    from fastrbm._kernels.draws import Stream
    from fastrbm._kernels.rules import NATIVE_RULES, RULES
    from fastrbm._kernels.strategies import COUNTERS, STRATEGIES

    native = runtime.extension
    assert native.RULE_NUMBERS == {kind: number for number, kind in enumerate(NATIVE_RULES)}
    assert set(NATIVE_RULES) <= set(RULES)
    assert set(native.STRATEGY_NUMBERS) == set(STRATEGIES) - {"auto"}
    assert native.STREAM_NUMBERS == {
        name: int(getattr(Stream, name.upper())) for name in ("visible", "hidden", "input")
    }
    weights = native.quantise_weights(np.eye(3, dtype=np.float32), True, 1)
    assert tuple(native.Filters("delta", weights, 64).counters()) == COUNTERS
