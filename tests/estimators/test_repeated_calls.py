"""What a call remembers of those before: checks that were passed, what options mean; never longer than they hold."""

import copy

import numpy as np
import pytest

import fastrbm
from fastrbm import BernoulliRBM, compat, schedules
from fastrbm._estimator import checked

ROWS = (np.random.default_rng(0).random((10, 12)) < 0.4).astype(np.float64)
KINDS = [BernoulliRBM, compat.BernoulliRBM]


def updated(kind=BernoulliRBM, **options):
    rbm = kind(5, random_state=0, **options)
    for _ in range(2):  # the second call finds what the first has kept
        rbm.partial_fit(ROWS)
    return rbm


def arrays(rbm):
    return rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_


def same(one, other):
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(arrays(one), arrays(other), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "option, wrong",
    [
        ("learning_rate", -1.0),
        ("learning_rate", True),
        ("batch_size", 0),
        ("n_iter", True),
        ("random_state", "seed"),
        ("random_state", -1),
        ("optimizer", "descent"),
        ("device", "abacus"),
        ("dtype", "int8"),
        ("n_threads", 0),
    ],
)
@pytest.mark.parametrize("by", ["set_params", "attribute"])
def test_options_are_looked_at_again_when_they_have_changed(kind, option, wrong, by):
    rbm = updated(kind)
    right, before = getattr(rbm, option), copy.deepcopy(arrays(rbm))
    if by == "attribute":
        setattr(rbm, option, wrong)
    else:
        rbm.set_params(**{option: wrong})
    with pytest.raises((ValueError, TypeError), match=f"{option}|[sS]eed"):
        rbm.partial_fit(ROWS)
    assert all(np.array_equal(x, y) for x, y in zip(arrays(rbm), before, strict=True))
    setattr(rbm, option, right)
    other = updated(kind)
    assert same(rbm.partial_fit(ROWS), other.partial_fit(ROWS))


def test_scikit_learns_draws_refuse_seeds_that_numpy_has_no_generator_for():
    rbm = updated(compat.BernoulliRBM)
    rbm.random_state = 1 << 32
    with pytest.raises(ValueError, match="2\\*\\*32"):
        rbm.partial_fit(ROWS)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.01},
        {"n_gibbs_steps": 3},
        {"optimizer": "adam"},
        {"algorithm": "cd"},
        {"hidden_statistics": "sampled"},
        {"temperature": 2.0},
        {"centered": True},
        {"strategy": "delta", "n_gibbs_steps": 2},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_changed_options_count_from_the_next_call_on(changes):
    # with an option that is an object nothing is remembered: the same values through one give what must come out
    remembered, looked_up = updated(), updated(learning_rate=schedules.Constant(0.1))
    assert checked.known_of(remembered) is not None and checked.known_of(looked_up) is None
    for rbm in (remembered, looked_up):
        rbm.set_params(**changes)
        if rbm is looked_up and "learning_rate" in changes:
            rbm.set_params(learning_rate=schedules.Constant(changes["learning_rate"]))
        rbm.partial_fit(ROWS).partial_fit(ROWS[:4])
    assert same(remembered, looked_up)
    assert not same(remembered, updated().partial_fit(ROWS).partial_fit(ROWS[:4]))


def test_objects_that_change_are_looked_at_in_every_call():
    rbm = updated(optimizer=fastrbm.optimizers.SGD(momentum=0.5))
    rbm.optimizer.momentum = 2.0
    with pytest.raises(ValueError, match="momentum"):
        rbm.partial_fit(ROWS)
    rbm = updated(regularizers=[fastrbm.regularizers.L2(1e-3)])
    rbm.regularizers.append(fastrbm.regularizers.L2(-1.0))
    with pytest.raises(ValueError, match="strength"):
        rbm.partial_fit(ROWS)


@pytest.mark.parametrize("name", ["components_", "intercept_visible_", "intercept_hidden_"])
def test_arrays_that_were_set_by_hand_are_taken_and_checked(name):
    rbm, other = updated(), updated()
    setattr(rbm, name, getattr(rbm, name) + 1)
    getattr(other, name)[...] += 1  # in place, so that the state has it already
    assert same(rbm.partial_fit(ROWS), other.partial_fit(ROWS))
    setattr(rbm, name, getattr(rbm, name)[..., :-1])
    with pytest.raises(ValueError, match=name):
        rbm.partial_fit(ROWS)


def test_what_is_known_keeps_no_generator_alive():
    source = np.random.default_rng(3)
    rbm = BernoulliRBM(5, random_state=source).partial_fit(ROWS).partial_fit(ROWS)
    known = checked._passed[BernoulliRBM]
    assert checked.known_of(rbm) is not None
    assert all(value is not source for value in known.last[1])
    assert all(value is not source for values, _ in known.known for value in values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_diverged_update_leaves_the_parameters(kind):
    rbm = updated(kind, out_of_range="allow")
    before = copy.deepcopy(arrays(rbm))
    rbm.learning_rate = 1e308
    with pytest.raises(fastrbm.DivergenceError, match="partial_fit"), np.errstate(all="ignore"):
        rbm.partial_fit(30 * ROWS)
    assert all(np.array_equal(x, y) for x, y in zip(arrays(rbm), before, strict=True))
    assert all(np.isfinite(x).all() for x in arrays(rbm))


def test_levels_of_bytes_are_told_as_of_whole_data():
    white, bits = np.array([[0, 255], [1, 2]], np.uint8), np.array([[0, 1], [1, 1]], np.uint8)
    assert BernoulliRBM(2, random_state=0).partial_fit(white).input_scale_ == 1 / 255
    rbm = BernoulliRBM(2, random_state=0).partial_fit(bits).partial_fit(bits)
    assert rbm.input_scale_ == 1
    with pytest.warns(fastrbm.DataRangeWarning):
        rbm.partial_fit(white)
