"""Whole passes of log p(label | row): native calls against minibatches composed in float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastrbm._kernels import ChainState, Parameters, cpu, get_backend, pack
from fastrbm._kernels.cpu import CpuBackend, labels, runtime
from fastrbm._kernels.draws import Key
from fastrbm._kernels.rules import Rule, Update
from fastrbm.classifiers._labelled import LabelledTraining, Machine, Objective
from kernel_cases import TARGETS

SHAPES = [(1, 1, 1, 1), (7, 5, 3, 2), (33, 70, 100, 3), (250, 130, 65, 11), (130, 49, 501, 10)]  # rows, units, classes
BATCH, PURE = 100, Objective(1.0, 0.0, 0.0)
RULES = {"sgd": 0, "nesterov": 1, "rmsprop": 1, "adam": 2}


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(labels, "_MINIBATCHES", 1)


def case(shape, density, binary, of_classes=0.5, dtype=np.float32):
    """A machine, rows in an order, labels, and shares that add up to 1 in each minibatch."""
    n, n_visible, n_hidden, n_classes = shape
    rng = np.random.default_rng(n + n_hidden)

    def normal(scale, *size):
        return rng.normal(0, scale, size).astype(np.float32).astype(dtype)

    features = Parameters(normal(0.3, n_hidden, n_visible), normal(0.3, n_visible), normal(0.3, n_hidden))
    classes = Parameters(normal(of_classes, n_classes, n_hidden), np.zeros(n_hidden, dtype), normal(0.3, n_classes))
    rows = np.where(rng.random((n, n_visible)) < density, 1.0 if binary else rng.random((n, n_visible)), 0.0)
    shares = rng.random(n).astype(np.float32)
    for first in range(0, n, BATCH):
        shares[first : first + BATCH] /= shares[first : first + BATCH].sum()
    order, known = rng.permutation(n), rng.integers(0, n_classes, n).astype(np.int32)
    return Machine(features, classes), rows.astype(np.float32), order, known, shares


def update(kind):
    return Update(Rule(kind, decay=0.9, epsilon=1e-3), 0.05, 0.5 if RULES[kind] else 0.0)


def run_of(machine, kind):
    slots = [Machine(*(Parameters(*map(np.zeros_like, part)) for part in machine)) for _ in range(RULES[kind])]
    return LabelledTraining(machine.copy(), slots, Key(0))


def arrays(run):
    return [x for machine in (run.machine, *run.slots) for part in machine for x in part]


def native(backend, kind, machine, rows, order, known, shares):
    run = run_of(machine, kind)
    losses = run.ascend_many(backend, update(kind), PURE, rows, order, known, shares, BATCH)
    assert len(losses) == run.updates == -(-len(order) // BATCH) and run.step == 2 * run.updates
    return [losses, *arrays(run)]


def composed(kind, machine, rows, order, known, shares):
    run, losses = run_of(machine, kind), []
    for first in range(0, len(order), BATCH):
        part = slice(first, first + BATCH)
        losses.append(
            run.ascend(
                get_backend("reference"), update(kind)._replace(done=run.updates), PURE,
                rows[order[part]].astype(np.float64), known[part], None if shares is None else shares[part],
            )
        )  # fmt: skip
    return [np.array(losses), *arrays(run)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.1, 0.7])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("shared", [True, False])
def test_a_pass_is_that_of_the_definition(target, shape, density, binary, kind, shared):
    machine, rows, order, known, shares = case(shape, density, binary)
    given = shares if shared else None
    found = native(CpuBackend(2), kind, machine, pack(rows > 0) if binary else rows, order, known, given)
    wide = case(shape, density, binary, dtype=np.float64)[0]
    wanted = composed(kind, wide, rows, order, known, None if given is None else given.astype(np.float64))
    for x, y in zip(found, wanted, strict=True):
        assert_allclose(x, y, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("of_classes", [0.0, 9.0])
def test_weights_of_classes_of_any_size_the_kernels_take(target, of_classes):
    machine, rows, order, known, _ = case(SHAPES[3], 0.3, True, of_classes)
    found = native(CpuBackend(2), "sgd", machine, pack(rows > 0), order, known, None)
    wide = case(SHAPES[3], 0.3, True, of_classes, np.float64)[0]
    for x, y in zip(found, composed("sgd", wide, rows, order, known, None), strict=True):
        assert_allclose(x, y, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_bits_are_the_same_everywhere_and_either_way(monkeypatch, shape, binary, kind):
    """By lists of what is not 0, or by whole products."""
    machine, rows, order, known, shares = case(shape, 0.3, binary)
    found, before = [], cpu.current_target()
    try:
        for few in (0.0, 2.0):
            monkeypatch.setattr(labels, "_FEW", few)
            for name in TARGETS:
                cpu.use_target(name)
                for n_threads in (1, 2, 3):
                    given = pack(rows > 0) if binary else rows
                    found.append(native(CpuBackend(n_threads), kind, machine, given, order, known, shares))
    finally:
        cpu.use_target(before)
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert_array_equal(x, y)


@pytest.mark.parametrize("binary", [True, False])
def test_weights_that_outgrow_the_kernels_are_left_to_others(binary):
    machine, rows, order, known, _ = case(SHAPES[2], 0.3, binary)
    given = pack(rows > 0) if binary else rows
    large = machine.copy()
    large.classes.weights[1, 2] = 41
    assert not len(run_of(large, "sgd").ascend_many(CpuBackend(2), update("sgd"), PURE, given, order, known, None, 10))
    large.classes.weights[1, 2] = np.nan
    assert not len(run_of(large, "sgd").ascend_many(CpuBackend(2), update("sgd"), PURE, given, order, known, None, 10))
    if binary:
        large = machine.copy()
        large.features.weights[1, 2] = 1e5
        run = run_of(large, "sgd")
        assert not len(run.ascend_many(CpuBackend(2), update("sgd"), PURE, given, order, known, None, 10))
        assert_array_equal(run.machine.features.weights, large.features.weights)


def test_other_objectives_and_types_are_left_to_others():
    machine, rows, order, known, _ = case(SHAPES[2], 0.3, True)
    for objective in (Objective(1.0, 0.1, 0.0), Objective(0.0, 1.0, 0.0), Objective(1.0, 0.0, 0.1)):
        run = run_of(machine, "sgd")
        assert not len(run.ascend_many(CpuBackend(1), update("sgd"), objective, rows, order, known, None, 10))
    wide = case(SHAPES[2], 0.3, True, dtype=np.float64)[0]
    for backend in (CpuBackend(1), get_backend("reference")):
        run = run_of(wide, "sgd")
        assert not len(run.ascend_many(backend, update("sgd"), PURE, rows.astype(float), order, known, None, 10))


def test_the_kernel_checks_what_it_is_given():
    machine, rows, order, known, shares = case(SHAPES[1], 0.3, False)
    backend, state = CpuBackend(1), ChainState(0, None)

    def train(order=order, known=known, shares=shares, classes=machine.classes):
        backend.train_labels(machine.features, classes, [], rows, order, known, shares, BATCH, update("sgd"), state)

    for wrong, message in (
        ({"order": order + 1}, "order must fit"),
        ({"known": known + 2}, "labels must fit"),
        ({"known": known[1:]}, "labels and shares must fit"),
        ({"shares": shares[1:]}, "labels and shares must fit"),
        ({"classes": Parameters(machine.classes.weights[:, 1:].copy(), *machine.classes[1:])}, "classes must fit"),
    ):
        with pytest.raises(ValueError, match=message):
            train(**wrong)
    assert state.updates == 0
    train()
    assert state.updates == 1
