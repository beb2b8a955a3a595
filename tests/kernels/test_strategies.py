"""Fixed-point products and lean strategies: whatever way a product is done, the states are the same bits."""

import numpy as np
import pytest

import fastrbm
from fastrbm import BernoulliRBM
from fastrbm._kernels import ChainState, Parameters, TrainingPlan, get_backend, pack
from fastrbm._kernels import cpu as cpu_package
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.cpu.strategy import choose_for_chains
from fastrbm._kernels.cpu.words import to_words
from fastrbm._kernels.draws import Draw, Stream
from fastrbm._kernels.strategies import STRATEGIES, count_work
from kernel_cases import TARGETS

UNITS = ("bernoulli", "bernoulli")
LEAN = [name for name in STRATEGIES if name not in ("auto", "dense")]
native = cpu_package._cpu


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def model(n_visible, n_hidden, scale=0.3, seed=0):
    rng = np.random.default_rng([seed, n_visible, n_hidden])
    return Parameters(
        rng.normal(0, scale, (n_hidden, n_visible)).astype(np.float32),
        rng.normal(0, scale, n_visible).astype(np.float32),
        rng.normal(0, scale, n_hidden).astype(np.float32),
    )


def bits(n, n_units, density=0.4, seed=1):
    return pack(np.random.default_rng([seed, n, n_units]).random((n, n_units)) < density)


# -- fixed point -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("n_visible,n_hidden", [(1, 1), (33, 65), (257, 40)])
def test_fixed_weights_are_rounded_and_cannot_overflow(target, scale, n_visible, n_hidden):
    weights = model(n_visible, n_hidden, scale).weights
    fixed = native.quantise_weights(weights, True, 2)
    integers = fixed.dense().astype(np.int64)
    exact = weights.astype(np.float64) * 2.0**fixed.exponent
    assert np.abs(integers - exact).max() <= np.where(np.abs(exact) < 2**22, 0.5, 1.0).max()
    for axis in (0, 1):
        assert np.abs(integers).sum(axis=axis).max() < 2**31
    if fixed.exponent < 26 and scale:  # as large as it may be, but for what the bound itself rounds away
        assert max(np.abs(integers).sum(axis=axis).max() for axis in (0, 1)) > 2**29 * 0.9


def test_all_targets_round_alike():
    before = cpu_package.current_target()
    weights = model(130, 75, 3.0).weights
    weights[0, :3] = [2.5 / 2**20, -2.5 / 2**20, 0.4999999]
    seen = []
    try:
        for name in TARGETS:
            cpu_package.use_target(name)
            fixed = native.quantise_weights(weights, False, 1)
            seen.append((fixed.exponent, fixed.dense().tobytes()))
    finally:
        cpu_package.use_target(before)
    assert len(set(seen)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, 600.0])
def test_weights_too_large_for_fixed_point_are_refused(target, bad):
    weights = model(40, 30).weights
    weights[7, 11] = bad
    assert native.quantise_weights(weights, False, 2) is None


def test_inputs_are_exact_sums_of_the_rounded_weights(target):
    weights, _, bias = model(300, 90, 1.0)
    v = bits(77, 300)
    fixed = native.quantise_weights(weights, False, 1)
    sums = v.dense(np.int64) @ fixed.dense().astype(np.int64).T
    unit = np.float32(2.0**-fixed.exponent)
    np.testing.assert_array_equal(CpuBackend(2).inputs(v, weights, bias), bias + unit * sums.astype(np.float32))


def test_error_against_float64_is_that_of_sgemm():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.1, (256, 784)).astype(np.float32)
    bias = np.zeros(256, np.float32)
    v = bits(500, 784)
    exact = v.dense(np.float64) @ weights.T.astype(np.float64)
    ours = np.abs(CpuBackend(2).inputs(v, weights, bias) - exact)
    blas = np.abs(v.dense(np.float32) @ weights.T - exact)
    assert ours.max() < 1.5 * blas.max() and np.sqrt((ours**2).mean()) < 1.5 * np.sqrt((blas**2).mean())


@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 17, 130])
def test_rows_and_look_ups_give_the_same_chains(target, density, n):
    p = model(130, 75)
    results = []
    for transposed in (False, True):  # rows need the transpose; without it there are only look-ups
        h, v = to_words(bits(n, 75, density)), np.zeros((6, 192), np.uint32)
        v = np.zeros((6, h.shape[1]), np.uint32)
        fixed = native.quantise_weights(p.weights, transposed, 2)
        native.run_chains(h, v, n, fixed, p.visible_bias, p.hidden_bias, Draw(3, 5, 0), 3, 2)
        results.append((h[:, :n].copy(), v[:, :n].copy()))
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_training_goes_on_when_the_weights_outgrow_fixed_point(target):
    p = model(20, 10, 0.1)
    p.weights[3, 4] = 599.0  # falls below 512 after some steps: there and back
    rows = pack(np.tile(np.random.default_rng(0).random((1, 20)) < 0.5, (64, 1)))
    results = []
    for device in ("cpu", "reference"):
        q = p.copy()
        state = ChainState(0, bits(16, 10))
        plan = TrainingPlan(1, 16, True, 1, 200.0, 0.0, False)
        get_backend(device, 2).train(q, (), rows, np.arange(64), plan, UNITS, state)
        assert state.step == 8
        results.append(q)
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-3)


# -- strategies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", LEAN)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.3, 3.0, 30.0])
@pytest.mark.parametrize("n,n_visible,n_hidden", [(1, 1, 1), (10, 33, 7), (65, 130, 35), (300, 67, 129)])
def test_chains_are_those_of_whole_products(target, strategy, scale, n, n_visible, n_hidden):
    p = model(n_visible, n_hidden, scale)
    start, draw = bits(n, n_hidden), Draw(9, 2**33 + 5, Stream.VISIBLE, 7)
    wanted = CpuBackend(1, "dense").run_chains(start, p, UNITS, draw, 9)
    for n_threads in (1, 3):
        with count_work() as work:
            got = CpuBackend(n_threads, strategy).run_chains(start, p, UNITS, draw, 9)
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(g.words, w.words)
        assert work["decisions"] == 9 * n * (n_visible + n_hidden)
        assert work["dense_products"] == 18 * n * n_visible * n_hidden
        if strategy == "lowbit":
            assert work["filtered"] + work["recomputed"] == work["decisions"]


@pytest.mark.parametrize("strategy", LEAN)
def test_large_sums_that_a_bias_cancels(target, strategy):
    """Rounding of the input itself, not of the test, is what may tip a unit here."""
    rng = np.random.default_rng(2)
    weights = (100 + rng.normal(0, 0.01, (40, 300))).astype(np.float32)
    p = Parameters(weights, np.full(300, -2000.0, np.float32), np.full(40, -15000.0, np.float32))
    start, draw = bits(3000, 40, 0.5), Draw(3, 1, Stream.VISIBLE)
    wanted = CpuBackend(1, "dense").run_chains(start, p, UNITS, draw, 4)
    got = CpuBackend(2, strategy).run_chains(start, p, UNITS, draw, 4)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g.words, w.words)


@pytest.mark.parametrize("strategy", LEAN)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sweeps", [1, 2, 4])
def test_training_is_that_of_whole_products(target, strategy, persistent, sweeps):
    rows, results = bits(150, 70, 0.2), []
    for name, n_threads in (("dense", 1), (strategy, 1), (strategy, 3)):
        p = model(70, 45, 0.2)
        state = ChainState(3, bits(33, 45) if persistent else None)
        plan = TrainingPlan(5, 40, persistent, sweeps, 0.1, 0.5, False)
        CpuBackend(n_threads, name).train(p, [p.zeros_like()], rows, np.arange(150), plan, UNITS, state)
        results.append((*p, *([state.chains.words] if persistent else [])))
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("strategy", LEAN)
@pytest.mark.parametrize("transposed", [False, True])
def test_states_drawn_once_are_those_of_whole_products(target, strategy, transposed):
    weights, a, b = model(130, 75)
    v = bits(1100, 75 if transposed else 130)
    bias, draw = (a, Draw(4, 2, Stream.VISIBLE)) if transposed else (b, Draw(4, 2, Stream.HIDDEN))
    args = ("bernoulli", v, weights, bias, draw)
    wanted = CpuBackend(1, "dense").samples(*args, transpose=transposed)
    got = CpuBackend(3, strategy).samples(*args, transpose=transposed)
    np.testing.assert_array_equal(got.words, wanted.words)


def test_a_bound_that_is_too_small_is_noticed():
    """The comparison above can fail: 16-bit weights without their error bound give other states."""
    p = model(130, 75, 2.0)
    coarse = Parameters((np.round(p.weights * 64) / 64).astype(np.float32), p.visible_bias, p.hidden_bias)
    start, draw = bits(2000, 75), Draw(9, 5, Stream.VISIBLE)
    wanted = CpuBackend(1, "dense").run_chains(start, p, UNITS, draw, 2)
    got = CpuBackend(1, "lowbit").run_chains(start, coarse, UNITS, draw, 2)
    assert (got[0].words != wanted[0].words).any()


def test_each_strategy_spares_work(target):
    def count(strategy, p, n=200, sweeps=12):
        with count_work() as work:
            CpuBackend(2, strategy).run_chains(bits(n, len(p.hidden_bias)), p, UNITS, Draw(1, 0, 0), sweeps)
        return work

    p = model(200, 90, 0.3)
    low = count("lowbit", p)
    assert low["filtered"] > 0.97 * low["decisions"]
    # half of the units on for good: few flips
    still = Parameters(p.weights * np.float32(0.1), *(np.sign(x) * np.float32(8) for x in p[1:]))
    delta = count("delta", still)
    assert delta["products"] < 0.3 * delta["dense_products"] and delta["refreshes"] >= 1
    faint = Parameters(p.weights * np.float32(0.01), still.visible_bias, still.hidden_bias)
    lcd = count("lcd", faint)
    assert lcd["filtered"] > 0.5 * lcd["decisions"]
    one = np.outer(np.sign(p.hidden_bias), p.visible_bias).astype(np.float32)  # rank 1: a landmark holds all of it
    bounds = count("bounds", Parameters(one, p.visible_bias, p.hidden_bias))
    assert bounds["filtered"] > 0.9 * bounds["decisions"]
    assert sum(count("dense", p).values()) == 0


def test_auto_follows_what_was_measured(target):
    assert choose_for_chains("auto", 1000, 1) == choose_for_chains("auto", 10, 20) == "dense"
    by_target = {"avx512": "lowbit", "avx2": "delta", "baseline": "delta"}
    assert choose_for_chains("auto", 1000, 100) == by_target.get(target, "dense")
    assert choose_for_chains("bounds", 1, 1) == "bounds"


# -- through the estimator ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [*LEAN, "auto"])
def test_estimators_return_the_same_whatever_the_strategy(strategy):
    X = bits(90, 60, 0.3).dense(np.uint8)

    def everything(strategy):
        rbm = BernoulliRBM(33, batch_size=30, n_iter=2, n_gibbs_steps=3, random_state=0, strategy=strategy).fit(X)
        return rbm.components_, rbm.sample(40, 20), rbm.gibbs(X), rbm.sample_hidden(X, random_state=1)

    for got, wanted in zip(everything(strategy), everything("dense"), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_sample_hidden_follows_the_means():
    X = bits(30, 40).dense(np.uint8)
    rbm = BernoulliRBM(20, n_iter=3, random_state=0).fit(X)
    mean = np.mean([rbm.sample_hidden(X) for _ in range(400)], axis=0)
    assert np.abs(mean - rbm.transform(X)).max() < 5 * 0.5 / np.sqrt(400)
    np.testing.assert_array_equal(rbm.sample_hidden(X, random_state=3), rbm.sample_hidden(X, random_state=3))


def test_counting_is_over_with_its_block():
    rbm = BernoulliRBM(20, strategy="lowbit", random_state=0).fit(bits(30, 40).dense(np.uint8))
    with fastrbm.count_work() as outer:
        rbm.sample(5, 3)
        with fastrbm.count_work() as inner:
            rbm.sample(5, 3)
    rbm.sample(5, 3)
    # sample draws the hidden layer once to start with
    assert inner["decisions"] == 5 * (20 + 3 * 60) and outer["decisions"] == 2 * inner["decisions"]


@pytest.mark.parametrize(
    "options,message",
    [
        (dict(strategy="fast"), "strategy must be one of"),
        (dict(strategy="delta", device="reference"), "strategy must be 'auto' or 'dense' with device='reference'"),
        (dict(strategy="lcd", dtype=np.float64), "strategy must be 'auto' or 'dense' with dtype=float64"),
        (
            dict(strategy="lowbit", random_stream="sklearn", shuffle=False),
            "strategy must be 'auto' or 'dense' with random_stream='sklearn'",
        ),
    ],
)
def test_strategies_that_cannot_be_had_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BernoulliRBM(4, **options).fit(np.eye(4))


def test_more_threads_than_there_are_counters():
    p = model(40, 33)
    start, draw = bits(6000, 33), Draw(1, 0, Stream.VISIBLE)
    wanted = CpuBackend(1, "dense").run_chains(start, p, UNITS, draw, 2)
    got = CpuBackend(90, "delta").run_chains(start, p, UNITS, draw, 2)
    np.testing.assert_array_equal(got[0].words, wanted[0].words)
