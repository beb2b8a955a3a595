"""Grey levels: products, gradients and training by their definition, bit for bit, on every instruction set."""

import numpy as np
import pytest
from scipy.special import expit

from fastrbm import BernoulliRBM
from fastrbm._kernels import Backend, ChainState, GreyLevels, Phase, TrainingPlan, cpu
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.draws import Draw, Stream
from fastrbm._kernels.levels import level_inputs, level_moments, quantised
from kernel_cases import RULES, UNITS, bits, grey, levels, model, reference, same_on_targets

native = runtime.extension
SIZES = [(1, 1, 1), (5, 3, 7), (17, 64, 33), (33, 65, 31), (64, 130, 70), (129, 257, 5), (70, 515, 6), (200, 31, 130)]
KINDS = ["normal", "small", "large", "one is large", "as large as can be", "0"]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


@pytest.fixture(params=[*cpu.selectable_targets(), "avx512 without VNNI"])
def target(request):
    before, name = cpu.current_target(), request.param.split()[0]
    if name not in cpu.selectable_targets():
        pytest.skip(f"{name} is not there")
    try:
        cpu.use_target(name)
        native.allow_vnni(name == request.param)
        yield name
    finally:
        native.allow_vnni(True)
        cpu.use_target(before)


def weights_of(kind, n_visible, n_hidden):
    weights = model(n_visible, n_hidden).weights
    if kind == "small":
        return weights * np.float32(1e-6)
    if kind == "large":
        return weights * np.float32(400 / np.abs(weights).max() / max(1, np.sqrt(n_visible * n_hidden) / 40))
    if kind == "one is large":
        weights *= np.float32(1e-3)
        weights[-1, -1] = 31.5
    if (
        kind == "as large as can be"
    ):  # in small layers integers of 2^31 - 2^15 and more, whose upper half is the largest
        weights[:] = 0
        np.fill_diagonal(weights, [511.998 if weights.size < 2 else 500.0] * min(weights.shape))
        weights[0, 0] *= -1
    return weights * np.float32(kind != "0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_inputs_are_those_of_the_definition(target, n, n_visible, n_hidden, kind):
    rows, weights = levels(n, n_visible), weights_of(kind, n_visible, n_hidden)
    bias = model(n_visible, n_hidden).hidden_bias
    wanted = level_inputs(rows, weights, bias)
    assert wanted is not None
    quantum = n_visible * 2.0 ** -quantised(weights)[1]
    np.testing.assert_allclose(wanted, rows.dense(np.float64) @ weights.T + bias, rtol=1e-6, atol=1e-6 + quantum)
    np.testing.assert_array_equal(reference.inputs(rows, weights, bias), wanted)
    draw = Draw(11, 5, Stream.HIDDEN, 3)
    for n_threads in (1, 2, 3):
        backend = CpuBackend(n_threads)
        np.testing.assert_array_equal(backend.inputs(rows, weights, bias), wanted)
        drawn = backend.samples("bernoulli", rows, weights, bias, draw)
        alone = np.empty_like(drawn.words)
        native.draw_inputs(wanted, draw, alone, 1)
        np.testing.assert_array_equal(drawn.words, alone)
        means = backend.means("bernoulli", rows, weights, bias)
        np.testing.assert_allclose(means, expit(wanted.astype(np.float64)), rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_the_definition_has_the_integers_of_bits(n, n_visible, n_hidden, kind):
    weights = weights_of(kind, n_visible, n_hidden)
    fixed = native.quantise_weights(weights, False, 1)
    integers, exponent = quantised(weights)
    assert exponent == fixed.exponent
    np.testing.assert_array_equal(integers, fixed.dense())
    if kind == "as large as can be":
        assert np.abs(integers).max() >= (2**31 - 2**15 if weights.size < 2 else 2**30 - 2**25)


def test_weights_that_do_not_fit_have_floating_point_products(target):
    rows, parameters = levels(40, 90), model(90, 30)
    parameters.weights[3, 4] = 600.0
    assert level_inputs(rows, parameters.weights, parameters.hidden_bias) is None
    floats = rows.dense(np.float32)
    for x, y in zip(*(results(CpuBackend(2), r, parameters) for r in (rows, floats)), strict=True):
        np.testing.assert_array_equal(x, y)


def results(backend, rows, parameters):
    weights, _, bias = parameters
    draw = Draw(11, 5, Stream.HIDDEN)
    yield backend.inputs(rows, weights, bias)
    yield backend.means("bernoulli", rows, weights, bias)
    yield backend.samples("bernoulli", rows, weights, bias, draw).words


@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_levels_of_black_and_white_are_bits(target, n, n_visible, n_hidden):
    v, model_v, parameters = bits(n, n_visible), bits(n + 3, n_visible, seed=3), model(n_visible, n_hidden)
    rows = GreyLevels(255 * v.dense(np.uint8))
    for x, y in zip(*(results(CpuBackend(2), r, parameters) for r in (v, rows)), strict=True):
        np.testing.assert_array_equal(x, y)
    for h, model_h in ((grey(n, n_hidden), grey(n + 3, n_hidden)), (bits(n, n_hidden), bits(n + 3, n_hidden))):
        for call in (
            lambda x, h=h: CpuBackend(2).moments(Phase(x, h), np.float32),
            lambda x, h=h, m=model_h: CpuBackend(2).gradient(Phase(x, h), Phase(model_v, m), np.float32),
        ):
            for x, y in zip(call(v), call(rows), strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("n,n_visible,n_hidden", [*SIZES, (1500, 20, 3)])
def test_moments_are_those_of_the_definition(target, n, n_visible, n_hidden):
    rows = levels(n, n_visible)
    certain = np.ones((n, n_hidden), np.float32)
    shares = np.random.default_rng(0).random(n)
    for h in (grey(n, n_hidden), certain, bits(n, n_hidden).dense(np.float32)):
        for s in (None, shares / shares.sum()):
            got, about = (
                CpuBackend(2).moments(Phase(rows, h, s), np.float32),
                reference.moments(Phase(rows, h, s), "f4"),
            )
            np.testing.assert_array_equal(got.weights, level_moments(rows, h, s))
            for x, y in zip(got, about, strict=True):
                np.testing.assert_allclose(x, y, atol=2e-5)
    drawn = bits(n, n_hidden)
    got = CpuBackend(2).moments(Phase(rows, drawn), np.float32)
    sums = drawn.dense(np.float64).T @ rows.values.astype(np.float64)
    share = np.float32(1) / np.float32(n)
    np.testing.assert_array_equal(got.weights, share * (sums * (1 / 255)).astype(np.float32))


def train(backend, rows, shape=(145, 70), persistent=True, sampled=False, rule="momentum", batch=64, n_chains=50,
          stochastic=False, scale=0.1, composed=False):  # fmt: skip
    update, n_slots = RULES[rule]
    parameters = model(*shape, scale=scale)
    slots = [parameters.zeros_like() for _ in range(n_slots)]
    plan = TrainingPlan(7, batch, persistent, 2, 0.1, update.momentum, stochastic, update.rule, sampled)
    state = ChainState(100, bits(n_chains, shape[1], density=0.1) if persistent else None)
    order = np.random.default_rng(0).permutation(rows.shape[0])
    call = Backend.train if composed else CpuBackend.train
    call(backend, parameters, slots, rows, order, plan, UNITS, state)
    return [*parameters, *(x for s in slots for x in s), *([state.chains.words] if persistent else [])]


CASES = [
    dict(),
    dict(persistent=False),
    dict(sampled=True),
    dict(sampled=True, persistent=False),
    dict(rule="adam"),
    dict(batch=7, n_chains=3),
    dict(batch=230, n_chains=600),
    dict(scale=3.0),
]


@pytest.mark.parametrize("shape", [(145, 70), (33, 131), (1, 1)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(map(str, case.items())))
def test_training_is_that_of_other_targets_and_of_single_kernels(shape, case):
    rows = levels(230, shape[0])
    same_on_targets(cpu.selectable_targets(), lambda n_threads: train(CpuBackend(n_threads), rows, shape, **case))
    whole = train(CpuBackend(2), rows, shape, **case)
    for x, y in zip(whole, train(CpuBackend(2), rows, shape, composed=True, **case), strict=True):
        np.testing.assert_array_equal(x, y)
    # what floats have is as near as rounding is
    for x, y in zip(whole[:3], train(CpuBackend(2), rows.dense(np.float32), shape, **case), strict=False):
        np.testing.assert_allclose(x, y, atol=1e-4 if case.get("scale") is None else 0.1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(map(str, case.items())))
def test_training_on_black_and_white_is_that_on_bits(target, case):
    v = bits(230, 145)
    for x, y in zip(*(train(CpuBackend(2), r, **case) for r in (v, GreyLevels(255 * v.dense(np.uint8)))), strict=True):
        np.testing.assert_array_equal(x, y)


def test_drawn_rows_are_those_of_floats(target):
    rows = levels(230, 145)
    for x, y in zip(
        *(train(CpuBackend(2), r, stochastic=True) for r in (rows, rows.dense(np.float32))), strict=True
    ):  # fmt: skip
        np.testing.assert_array_equal(x, y)


OPTIONS = [dict(), dict(algorithm="cd"), dict(centered=True), dict(regularizers="dropout"), dict(precision="fast")]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fits_of_images_are_those_of_other_targets(options):
    from fastrbm.regularizers import Dropout

    if options.get("regularizers"):
        options = {"regularizers": Dropout(0.3)}
    images = levels(150, 40).values

    def fitted(n_threads):
        rbm = BernoulliRBM(12, n_iter=2, batch_size=20, random_state=0, n_threads=n_threads, **options).fit(images)
        return rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_, rbm.transform(images)

    same_on_targets(cpu.selectable_targets(), fitted)
