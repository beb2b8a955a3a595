"""Products by tiles, of integers cut into bytes, compared with NumPy's and those of other targets.

Targets are "amx", "amx_emulated" and "amx_plain", and on arm64 "neon_i8mm". Other tests of kernels run on one of them
too, but most of their minibatches are too small for tiles.
"""

import platform

import numpy as np
import pytest

import fastrbm
from fastrbm._kernels import ChainState, Phase, TrainingPlan, cpu
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.draws import Draw, Stream
from kernel_cases import RULES, UNITS, bits, grey, model, same_on_targets

native = runtime.extension
ARM64 = platform.machine() in ("aarch64", "arm64")
WITH_TILES = [name for name in cpu.selectable_targets() if name.startswith("amx") or name == "neon_i8mm"]
# (rows, visible, hidden): around the 16 outputs, 64 inputs and 32 lanes of tiles, the 64 outputs of a panel, the 1024
# inputs and lanes of a pass
SIZES = [
    (32, 1, 1), (33, 15, 17), (47, 63, 16), (64, 64, 64), (65, 65, 63), (97, 130, 81), (40, 1025, 70), (1030, 70, 20),
    (256, 200, 129), (31, 70, 40),
]  # fmt: skip
#: integers around the ends of their bytes, of one sign and both
EDGES = [0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**23 - 1, 2**23, 2**23 + 2**10, 2**24 - 2, 2**24, 2**30]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    # tiny problems would run on one thread otherwise
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


@pytest.fixture(params=WITH_TILES)
def tiled(request):
    """Each target that has tiles."""
    before = cpu.current_target()
    cpu.use_target(request.param)
    yield request.param
    cpu.use_target(before)


def weights_of(kind, n_visible, n_hidden):
    rng = np.random.default_rng([n_visible, n_hidden])
    if kind == "edges":  # / 2^26 is the finest quantum
        signs = rng.choice([-1, 1], (n_hidden, n_visible))
        return (signs * rng.choice(EDGES[:-1], (n_hidden, n_visible)) / 2**26).astype(np.float32)
    w = rng.normal(0, 0.02, (n_hidden, n_visible)).astype(np.float32)
    if kind == "one is large":  # the highest byte of one tile alone
        w[rng.integers(n_hidden), rng.integers(n_visible)] = -15.75
    return w


@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
@pytest.mark.parametrize("kind", ["small", "one is large", "edges"])
@pytest.mark.parametrize("int16", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_inputs_are_exact(tiled, n, n_visible, n_hidden, kind, int16, n_threads):
    weights = weights_of(kind, n_visible, n_hidden)
    fixed = native.quantise_weights(weights, False, n_threads, int16)
    integers = fixed.dense().astype(np.int64)
    if kind == "one is large" and not int16:
        assert (np.abs(integers) >= 2**23).sum() == 1
    for transpose, n_in, n_out in [(False, n_visible, n_hidden), (True, n_hidden, n_visible)]:
        states = bits(n, n_in)
        out = np.empty((n, n_out), np.float32)
        native.run_rows(states.words, fixed, np.zeros(n_out, np.float32), transpose, n_threads, inputs=out)
        wanted = states.dense(np.int64) @ (integers if transpose else integers.T)
        assert np.abs(wanted).max() < 2**31
        np.testing.assert_array_equal(out, wanted.astype(np.float32) * np.float32(2.0**-fixed.exponent))


@pytest.mark.parametrize("value", EDGES)
def test_single_integers_are_exact(tiled, value):
    """Every byte of an integer of its own: all inputs in turn, of both signs."""
    weights = (np.diag([value, -value, value] * 10 + [-value])).astype(np.float32) / np.float32(2**26)
    fixed = native.quantise_weights(weights, False, 1)
    np.testing.assert_array_equal(np.diag(fixed.dense())[:2], [value, -value])
    states = bits(64, 31, density=0.9)
    out = np.empty((64, 31), np.float32)
    native.run_rows(states.words, fixed, np.zeros(31, np.float32), False, 1, inputs=out)
    np.testing.assert_array_equal(out, states.dense(np.float32) @ weights.T)


def trained(n_threads, *, batch, n_chains, shape, rows, units=UNITS, sampled=False, rule="momentum", persistent=True,
            precision="full", strategy="dense", scale=0.1):  # fmt: skip
    update, n_slots = RULES[rule]
    parameters = model(*shape, scale=scale)
    slots = [parameters.zeros_like() for _ in range(n_slots)]
    plan = TrainingPlan(7, batch, persistent, 2, 0.1, update.momentum, rows == "drawn", update.rule, sampled)
    chains = bits(n_chains, shape[1], density=0.1)
    if units[1] == "ising":
        chains = 2 * chains.dense(np.float32) - 1
    data = {"bits": bits, "grey": grey, "drawn": grey}.get(rows)
    data = data(230, shape[0]) if data else np.random.default_rng(3).normal(0, 1, (230, shape[0])).astype(np.float32)
    state = ChainState(100, chains if persistent else None)
    order = np.random.default_rng(0).permutation(230)
    CpuBackend(n_threads, strategy, precision).train(parameters, slots, data, order, plan, units, state)
    return [*parameters, *(x for s in slots for x in s)]


@pytest.mark.parametrize("shape", [(145, 70), (70, 145), (33, 130), (1, 1)])
@pytest.mark.parametrize(
    "case",
    [
        dict(rows="bits", persistent=False),
        dict(rows="bits", sampled=True),
        dict(rows="bits", precision="fast"),
        dict(rows="bits", scale=30.0),
        dict(rows="bits", strategy="delta"),
        dict(rows="bits", strategy="lcd"),
        dict(rows="bits", rule="adam", units=("ising", "ising")),
        dict(rows="grey"),
        dict(rows="drawn"),
        dict(rows="gaussian", units=("gaussian", "bernoulli")),
        dict(rows="gaussian", units=("gaussian", "bernoulli"), sampled=True),
    ],
    ids=lambda case: ", ".join(map(str, case.values())),
)
def test_training_is_that_of_other_targets(shape, case):
    # minibatches of all kinds of lengths, the last of 30 rows; more chains than rows, and fewer
    same_on_targets(WITH_TILES, lambda n_threads: trained(n_threads, batch=100, n_chains=33, shape=shape, **case))
    same_on_targets(WITH_TILES, lambda n_threads: trained(n_threads, batch=40, n_chains=150, shape=shape, **case))


@pytest.mark.parametrize("n_model", [1, 31, 32, 600])
@pytest.mark.parametrize("n", [32, 64, 127, 128, 129, 1100])
def test_gradients_are_those_of_other_targets(n, n_model):
    """Means of any number of samples: of 128 and fewer they have a fourth byte."""

    def step(n_threads):
        parameters = model(145, 70)
        certain = np.ones((n, 70), np.float32)
        certain[::3] = grey(n, 70)[::3]
        phases = Phase(bits(n, 145), certain), Phase(bits(n_model, 145, seed=3), grey(n_model, 70))
        CpuBackend(n_threads).gradient_step(parameters, (), *phases, RULES["sgd"][0])
        return parameters

    same_on_targets(WITH_TILES, step)


@pytest.mark.parametrize("precision", ["full", "fast"])
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_chains_annealing_and_scores_are_those_of_other_targets(n, n_visible, n_hidden, precision):
    parameters = model(n_visible, n_hidden, scale=0.2)
    h = bits(n, n_hidden)
    base = np.zeros(n_visible, np.float32), np.zeros(n_hidden, np.float32)

    def everything(n_threads):
        backend = CpuBackend(n_threads, "dense", precision)
        draw = Draw(11, 5, Stream.HIDDEN, 3)
        chains = backend.run_chains(h, parameters, UNITS, draw, 3)
        log_weights = np.zeros(n)
        states = backend.anneal(
            h, parameters, UNITS, base, "visible", np.linspace(0, 1, 5), draw, log_weights
        )  # fmt: skip
        energy = backend.free_energy("bernoulli", bits(n, n_visible), parameters)
        return [*(x.words for x in chains), states.words, log_weights, energy]

    same_on_targets(WITH_TILES, everything)


def test_limbs_of_held_weights_follow_them(tiled):
    """A copy that was made for few rows gets limbs for many, and is not used for other weights."""
    weights, _, b = model(70, 33)
    backend = CpuBackend(2)
    with backend.holding(weights):
        few, many = (backend.inputs(bits(n, 70), weights, b) for n in (8, 80))
    np.testing.assert_array_equal(few, CpuBackend(1).inputs(bits(8, 70), weights, b))
    cpu.use_target("baseline")
    np.testing.assert_array_equal(many, CpuBackend(1).inputs(bits(80, 70), weights, b))


def test_tiles_are_taken_for_many_lanes_only(tiled):
    assert "tiles" not in native.costs(31, 0.3) and "tiles" in native.costs(32, 0.3)
    assert not native.prefers_rows(256, 0.3) and native.prefers_rows(256, 0.001) and native.prefers_rows(8, 0.2)


def test_emulations_are_never_chosen_by_themselves():
    assert ("amx_plain" in cpu.selectable_targets()) == native.is_built("amx_plain")  # see FASTRBM_TARGETS
    assert not {"amx_emulated", "amx_plain"} & {*cpu.supported_targets(), *cpu.missing_targets()}


def test_what_is_missing_is_said(capsys):
    missing = cpu.missing_targets()
    x86 = platform.machine() in ("x86_64", "AMD64")
    of_this_architecture = {"amx", "avx512", "avx2"} if x86 else {"neon_i8mm", "neon"} if ARM64 else set()
    assert {*cpu.supported_targets(), *missing} == of_this_architecture | {"baseline"}
    assert set(missing.values()) <= {"not on this machine", "not in this build"}
    fastrbm.show_versions()
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("instruction set"))
    assert all(name in line for name in of_this_architecture) and "amx_" not in line


def test_arm64_has_neon_whatever_the_processor():
    assert ("neon" in cpu.supported_targets()) == ARM64
    assert native.is_built("neon") == native.is_possible("neon") == native.is_possible("neon_i8mm") == ARM64
