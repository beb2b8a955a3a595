"""Minibatch training: every instruction set against the composed form, and against itself over threads."""

import numpy as np
import pytest

from fastrbm._kernels import ChainState, TrainingPlan
from fastrbm._kernels import cpu as cpu_package
from fastrbm._kernels.contract import values_of
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.rules import Rule
from kernel_cases import RULES, TARGETS, UNITS, bits, grey, model, reference

SPINS = [("ising", "bernoulli"), ("bernoulli", "ising"), ("ising", "ising")]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    # tiny problems would run on one thread otherwise
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def run_training(
    backend,
    dtype,
    kind,
    persistent,
    sweeps=2,
    momentum=0.5,
    stochastic=False,
    n=70,
    shape=(45, 38),
    rule="l2",
    sampled=False,
    units=UNITS,
):
    n_visible, n_hidden = shape
    parameters = model(n_visible, n_hidden, dtype, scale=0.1)
    update, n_slots = RULES[rule]
    slots = [parameters.zeros_like() for _ in range(max(n_slots, int(momentum > 0)))]
    rows = bits(n, n_visible) if kind == "bits" else grey(n, n_visible, dtype)
    plan = TrainingPlan(7, 16, persistent, sweeps, 0.1, momentum, stochastic, update.rule, sampled)
    chains = values_of(units[1], bits(9, n_hidden, density=0.1), np.dtype(dtype))
    state = ChainState(100, chains if persistent else None)
    order = np.random.default_rng(0).permutation(n)
    backend.train(parameters, slots, rows, order, plan, units, state)
    assert state.updates == -(-n // 16)
    assert state.step == 100 + -(-n // 16) * (sweeps + 1)
    return parameters, state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind,stochastic", [("bits", False), ("grey", False), ("grey", True)])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sweeps,momentum", [(1, 0.0), (3, 0.5)])
@pytest.mark.parametrize("sampled", [False, True])
def test_training_matches_the_composed_reference(
    target, dtype, kind, stochastic, persistent, sweeps, momentum, sampled
):
    args = (dtype, kind, persistent, sweeps, momentum, stochastic)
    got, got_state = run_training(CpuBackend(2), *args, sampled=sampled)
    wanted, wanted_state = run_training(reference, *args, sampled=sampled)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, atol=2e-6 if dtype == np.float32 else 1e-13)
    if persistent:
        np.testing.assert_array_equal(got_state.chains.words, wanted_state.chains.words)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind,stochastic", [("bits", False), ("grey", False), ("grey", True)])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
def test_n_threads_agnosticism(dtype, kind, stochastic, persistent, sampled):
    args = (dtype, kind, persistent, 2, 0.5, stochastic, 200, (130, 150), "l2", sampled)
    results = [run_training(CpuBackend(n), *args) for n in (1, 2, 3)]
    for parameters, state in results[1:]:
        for g, w in zip(parameters, results[0][0], strict=True):
            np.testing.assert_array_equal(g, w)
        if persistent:
            np.testing.assert_array_equal(state.chains.words, results[0][1].chains.words)


@pytest.mark.parametrize("units", SPINS)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sampled", [False, True])
def test_training_by_any_rule_and_of_spins_matches_the_reference(target, units, persistent, rule, sampled):
    momentum = RULES[rule][0].momentum
    args = (np.float32, "bits", persistent, 2, momentum)
    got, got_state = run_training(CpuBackend(2), *args, rule=rule, sampled=sampled, units=units)
    wanted, state = run_training(reference, *args, rule=rule, sampled=sampled, units=units)
    if persistent:
        assert (got_state.chains != state.chains).mean() < 0.01 if units[1] == "ising" else True
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, atol=2e-3 if "ams" in rule or "adam" in rule or "rms" in rule else 1e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("units", [UNITS, *SPINS])
def test_rules_and_spins_do_not_depend_on_threads_or_instruction_set(rule, units):
    before, results = cpu_package.current_target(), []
    try:
        for name, n_threads in [(t, n) for t in TARGETS for n in (1, 2, 3)]:
            cpu_package.use_target(name)
            momentum = RULES[rule][0].momentum
            parameters, state = run_training(
                CpuBackend(n_threads), np.float32, "bits", True, 2, momentum, shape=(145, 70), rule=rule, units=units
            )
            results.append((*parameters, getattr(state.chains, "words", state.chains)))
    finally:
        cpu_package.use_target(before)
    for other in results[1:]:
        for g, w in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("kind", ["bits", "grey"])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
def test_targets_return_identical_bits(kind, persistent, sampled):
    before = cpu_package.current_target()
    results = []
    try:
        for name in TARGETS:
            cpu_package.use_target(name)
            parameters, _ = run_training(CpuBackend(1), np.float32, kind, persistent, sampled=sampled)
            v = bits(70, 45)
            cpu = CpuBackend(1)
            scores = [cpu.pseudo_likelihood("bernoulli", x, parameters) for x in (v, grey(70, 45))]
            results.append((*parameters, *scores, cpu.free_energy("bernoulli", v, parameters)))
    finally:
        cpu_package.use_target(before)
    for other in results[1:]:
        for g, w in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(g, w)


def test_an_exception_between_batches_leaves_a_consistent_state(monkeypatch):
    class Stop(Exception):
        pass

    def stop():
        raise Stop

    rng = np.random.default_rng(0)
    parameters = model(784, 256, scale=0.01)
    rows = bits(60_000, 784)
    state = ChainState(0, bits(64, 256))
    plan = TrainingPlan(1, 64, True, 5, 0.01, 0.0, False)
    order = rng.permutation(60_000)
    with pytest.raises(Stop):
        CpuBackend(2).train(parameters, (), rows, order, plan, UNITS, state, stop)
    done = state.step // 6
    assert 0 < done < 60_000 // 64 and state.step % 6 == 0
    again, again_state = model(784, 256, scale=0.01), ChainState(0, bits(64, 256))
    CpuBackend(2).train(again, (), rows, order[: 64 * done], plan, UNITS, again_state)
    for g, w in zip(parameters, again, strict=True):
        np.testing.assert_array_equal(g, w)
    np.testing.assert_array_equal(state.chains.words, again_state.chains.words)


@pytest.mark.parametrize(
    "batch,n_chains", [(1, 1), (10, 10), (16, 16), (31, 1), (1, 31), (20, 12), (16, 17), (32, 1), (1, 32)]
)
@pytest.mark.parametrize("shape", [(45, 38), (1041, 9)])
def test_samples_of_one_word_and_of_two(target, batch, n_chains, shape):
    # weights that follow a rate alone take a shorter way than those whose gradients are limited, to the same bits;
    # up to 32 samples, those of both phases are looked up at once
    results = []
    for backend, rule in [
        (CpuBackend(2), Rule()),
        (CpuBackend(1), Rule()),
        (CpuBackend(2), Rule(clip=1e30)),
        (reference, Rule()),
    ]:
        parameters = model(*shape, np.float32, scale=0.1)
        state = ChainState(100, bits(n_chains, shape[1], density=0.3))
        plan = TrainingPlan(7, batch, True, 1, 0.1, 0.0, False, rule)
        order = np.random.default_rng(0).permutation(2 * batch + 1)
        backend.train(parameters, [], bits(2 * batch + 1, shape[0]), order, plan, UNITS, state)
        results.append((*parameters, state.chains.words))
    for other in results[1:3]:
        for x, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(x, wanted)
    for x, wanted in zip(results[0], results[3], strict=True):
        np.testing.assert_allclose(x, wanted, atol=2e-6)
