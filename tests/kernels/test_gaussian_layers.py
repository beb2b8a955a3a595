"""Native training with real visible or one-hot hidden layers, and the kernels that only they use."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastrbm._kernels import ChainState, PackedBits, Parameters, TrainingPlan, cpu, get_backend, pack
from fastrbm._kernels.contract import Backend, values_of
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.cpu.runtime import extension as _cpu
from fastrbm._kernels.draws import Draw, Stream, uniforms
from fastrbm.units import OneHot
from kernel_cases import RULES, TARGETS

# a wrapped chain number, a step beyond 32 bits, a seed beyond 63
FAR = Draw(2**63 + 5, 2**40 + 3, Stream.HIDDEN, 2**32 - 3)
PAIRS = [
    ("bernoulli", "onehot"),
    ("bernoulli", "onehot(5)"),
    ("ising", "onehot"),
    ("gaussian", "bernoulli"),
    ("gaussian", "onehot(5)"),
]
#: (rows, visible, hidden), hidden units in fives: odd ones, around panels of 32 and 64, more than a block of 1024
SHAPES = [(1, 1, 5), (17, 33, 5), (70, 145, 70), (35, 63, 1030), (40, 1040, 35)]
reference = get_backend("reference")


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    # tiny problems would run on one thread otherwise
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


# ---- softmax ----------------------------------------------------------------------------------------------------


def inputs_of(n, width, seed=0):
    """Inputs of very different sizes."""
    rng = np.random.default_rng([seed, n, width])
    x = rng.normal(size=(n, width)) * 10.0 ** rng.uniform(-2, 3, (n, 1))
    x[::5] = 0
    return x.astype(np.float32)


@pytest.mark.parametrize(("n", "width", "group"), [(1, 1, 1), (3, 6, 3), (33, 70, 7), (64, 64, 64), (31, 300, 300)])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_native_softmax_layers_follow_their_definition(target, n, width, group, n_threads):
    unit, x = OneHot(group), inputs_of(n, width)
    means = x.copy()
    _cpu.onehot_rows(means, group, None, None, n_threads)
    below = (x.reshape(n, -1, group).max(axis=-1, keepdims=True) - x.reshape(n, -1, group)).reshape(n, width)
    wanted = unit.mean(x.astype(np.float64))
    assert (np.abs(means - wanted) <= wanted * (1e-6 + below * 2.0**-23) + 2e-38).all()
    words = np.full((n, -(-width // 64)), 2**64 - 1, dtype=np.uint64)
    _cpu.onehot_rows(x.copy(), group, FAR, words, n_threads)
    got = PackedBits(words, width).dense(np.float32)
    wanted = unit.sample(x, uniforms(FAR, n, width, np.float32))
    assert not unit.outside(got).any() and not (words[:, -1] >> np.uint64((width - 1) % 64) >> np.uint64(1)).any()
    # up to rounding at a tie
    assert (got != wanted).any(axis=1).mean() <= (0.02 if n > 50 else 0)


def test_softmax_layers_are_the_same_on_all_instruction_sets_and_threads():
    before, results = cpu.current_target(), []
    for name in TARGETS:
        cpu.use_target(name)
        for n_threads in (1, 2, 3):
            means, words = inputs_of(100, 75), np.empty((100, 2), np.uint64)
            _cpu.onehot_rows(means, 15, None, None, n_threads)
            _cpu.onehot_rows(inputs_of(100, 75), 15, FAR, words, n_threads)
            results.append((means, words))
    cpu.use_target(before)
    for means, words in results[1:]:
        assert_array_equal(means, results[0][0])
        assert_array_equal(words, results[0][1])


def test_late_classes_of_many_are_drawn_as_often_as_early_ones(target):
    n = 1 << 16
    words = np.empty((64, n // 64), np.uint64)
    _cpu.onehot_rows(np.zeros((64, n), np.float32), n, FAR, words, 2)
    chosen = PackedBits(words, n).dense(np.uint8).argmax(axis=1)
    assert_allclose(chosen / n, uniforms(FAR, 64, n, np.float32)[:, 0], atol=2 / n)


# ---- training ---------------------------------------------------------------------------------------------------


def run_training(backend, units, persistent, *, rule="momentum", sampled=False, sweeps=2, shape=(70, 45, 35), batch=16):
    n, n_visible, n_hidden = shape
    rng = np.random.default_rng([n, n_visible, n_hidden])
    scale = 0.5 / max(25, n_hidden)  # sums of real visible units that do not run away
    parameters = Parameters(
        *(rng.normal(0, scale, s).astype(np.float32) for s in ((n_hidden, n_visible), n_visible, n_hidden))
    )
    update, n_slots = RULES[rule]
    slots = [parameters.zeros_like() for _ in range(n_slots)]
    x = rng.normal(1, 2, (n, n_visible)).astype(np.float32)
    rows = x if units[0] == "gaussian" else pack(x > 1)
    rate = 2.0 / max(40, n_hidden)
    plan = TrainingPlan(7, batch, persistent, sweeps, rate, update.momentum, False, update.rule, sampled)
    chains = None
    if persistent:
        hidden = pack(np.eye(n_hidden)[rng.integers(n_hidden, size=9)])
        if units[1] == "onehot(5)":
            hidden = pack(np.tile(np.eye(5), (9, n_hidden // 5))[:9])
        chains = values_of(units[1], hidden, np.float32)
    state = ChainState(100, chains)
    backend.train(parameters, slots, rows, rng.permutation(n), plan, units, state)
    assert (state.updates, state.step) == (-(-n // batch), 100 + -(-n // batch) * (sweeps + 1))
    return parameters, state


def is_native(monkeypatch):
    def refuse(self, parameters, slots, rows, order, *rest):
        assert not len(order), "training went through the composed form"

    monkeypatch.setattr(Backend, "train", refuse)


@pytest.mark.parametrize("units", PAIRS, ids="-".join)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_native_training_follows_the_composed_form(target, units, persistent, sampled, sweeps, shape, monkeypatch):
    options = dict(sampled=sampled, sweeps=sweeps, shape=shape)
    wanted, wanted_state = run_training(reference, units, persistent, **options)
    is_native(monkeypatch)
    got, state = run_training(CpuBackend(2), units, persistent, **options)
    for g, w in zip(got, wanted, strict=True):
        assert_allclose(g, w, atol=3e-5)
    if persistent:
        assert_array_equal(state.chains.words, wanted_state.chains.words)


@pytest.mark.parametrize("units", PAIRS, ids="-".join)
@pytest.mark.parametrize("rule", RULES)
def test_native_training_by_any_rule_follows_the_composed_form(target, units, rule, monkeypatch):
    wanted, _ = run_training(reference, units, False, rule=rule)
    is_native(monkeypatch)
    got, _ = run_training(CpuBackend(2), units, False, rule=rule)
    for g, w in zip(got, wanted, strict=True):
        assert_allclose(g, w, atol=2e-3 if RULES[rule][0].rule.kind in ("rmsprop", "adam", "amsgrad") else 1e-4)


@pytest.mark.parametrize("units", PAIRS, ids="-".join)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("precision", ["full", "fast"])
def test_native_training_does_not_depend_on_threads_or_instruction_set(units, persistent, sampled, precision):
    before, results = cpu.current_target(), []
    try:
        for name, n_threads in [(t, n) for t in TARGETS for n in (1, 2, 3)]:
            cpu.use_target(name)
            backend = CpuBackend(n_threads, precision=precision)
            parameters, state = run_training(
                backend, units, persistent, sampled=sampled, shape=(150, 145, 70), batch=64
            )
            results.append((*parameters, *([state.chains.words] if persistent else [])))
    finally:
        cpu.use_target(before)
    for other in results[1:]:
        for g, w in zip(other, results[0], strict=True):
            assert_array_equal(g, w)


@pytest.mark.parametrize("shape", [*SHAPES, (33, 62, 65)], ids=str)
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_fast_gradients_of_real_states_are_close(target, shape, spread):
    """One update from means: hidden means are off by a few 1e-4 in their inputs, columns may be very unequal."""
    n, n_visible, n_hidden = shape
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(n, n_visible)) * 10 ** rng.uniform(-spread, 0, n_visible)).astype(np.float32)
    x[0] = 0
    weights = (rng.normal(size=(n_hidden, n_visible)) / np.sqrt(n_visible)).astype(np.float32)
    weights[0] = 0
    plan = TrainingPlan(7, n, False, 1, 1.0, 0.0, False)
    means = []
    for backend in (CpuBackend(2, precision="fast"), CpuBackend(2)):
        parameters = Parameters(weights.copy(), np.zeros(n_visible, np.float32), np.zeros(n_hidden, np.float32))
        backend.train(parameters, (), x, np.arange(n), plan, ("gaussian", "onehot(5)"), ChainState(0, None))
        means.append(parameters.hidden_bias)
    assert_allclose(*means, atol=(2e-3 if n_hidden < 1000 else 2e-2) if n > 1 else 0.1)


@pytest.mark.parametrize("precision", ["full", "fast"])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e12])
def test_gradients_of_real_states_of_any_size(target, sampled, size, precision):
    """Columns of very different sizes keep the relative precision of float32."""
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(64, 40)) * np.where(np.arange(40) % 2, size, 1)).astype(np.float32)
    plan = TrainingPlan(7, 64, False, 1, 1.0, 0.0, False, sampled_hidden=sampled)
    results = []
    for backend in (CpuBackend(2, precision=precision), reference):
        parameters = Parameters(np.zeros((10, 40), np.float32), np.zeros(40, np.float32), np.zeros(10, np.float32))
        backend.train(parameters, (), x, np.arange(64), plan, ("gaussian", "bernoulli"), ChainState(0, None))
        results.append(parameters)
    for got, wanted in zip(*results, strict=True):
        columns = np.abs(wanted).max(axis=0) if wanted.ndim == 2 else np.maximum(np.abs(wanted), 1e-3)
        assert_allclose(got / columns, wanted / columns, atol=2e-5)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("precision", ["full", "fast"])
def test_states_that_are_not_finite_show_in_the_parameters(target, sampled, precision):
    x = np.ones((20, 30), np.float32)
    x[3, 7] = np.inf
    plan = TrainingPlan(7, 20, False, 1, 0.1, 0.0, False, sampled_hidden=sampled)
    parameters = Parameters(np.full((10, 30), 0.1, np.float32), np.zeros(30, np.float32), np.zeros(10, np.float32))
    backend = CpuBackend(2, precision=precision)
    backend.train(parameters, (), x, np.arange(20), plan, ("gaussian", "bernoulli"), ChainState(0, None))
    assert not np.isfinite(parameters.weights[:, 7]).any()
