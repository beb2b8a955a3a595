"""Types of what cooperative kernels are launched with: a kernel for others is another one, and may not fit whole."""

import ast
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from numba import typeof  # noqa: E402

from fastrbm._kernels import ChainState, TrainingPlan, pack  # noqa: E402
from fastrbm._kernels.cuda import launching, training  # noqa: E402
from fastrbm._kernels.cuda.backend import CudaBackend  # noqa: E402
from fastrbm._kernels.cuda.kernels import dense, target  # noqa: E402
from fastrbm._kernels.cuda.kernels.arguments import signature_of  # noqa: E402
from fastrbm._kernels.draws import Draw  # noqa: E402
from kernel_cases import RULES, UNITS, bits, grey, model  # noqa: E402

pytestmark = [
    pytest.mark.only_on("simulator", reason="the arrays of the simulator are looked into"),
    pytest.mark.filterwarnings("ignore:overflow encountered in scalar"),
]
VISIBLE, HIDDEN = 37, 20
DRAW = Draw(2**40 + 9, 2**33 - 2, 0, 2**33)


def held(argument):
    """What the arrays of the simulator hold, of tuples as well."""
    if isinstance(argument, tuple):
        return type(argument)(*map(held, argument))
    return getattr(argument, "_ary", argument)


@pytest.fixture
def launched(monkeypatch):
    """Types of the arguments of cooperative launches, and those that the signature says."""
    found = []

    def launch(kernel, blocks, threads, *arguments, stream=0):
        found.append([typeof(held(x)) for x in arguments])
        target.launch(kernel, blocks, threads, *arguments, stream=stream)

    cooperative = launching.Kernels.launch_cooperative

    def launch_cooperative(self, tile, tiles, *arguments, stream=0):
        with monkeypatch.context() as here:
            here.setattr(launching, "launch", launch)
            cooperative(self, tile, tiles, *arguments, stream=stream)
        assert found[-1] == list(signature_of(self[tile]).args)

    monkeypatch.setattr(launching.Kernels, "launch_cooperative", launch_cooperative)
    return found


@pytest.mark.parametrize("kind", ["bits", "stochastic", "grey"])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_training(launched, monkeypatch, kind, persistent, streamed):
    if streamed:
        monkeypatch.setattr(training, "SHARE_OF_MEMORY", 0.0)
    update, n_slots = RULES["adam"]
    parameters = model(VISIBLE, HIDDEN)
    rows = bits(10, VISIBLE) if kind == "bits" else grey(10, VISIBLE)
    plan = TrainingPlan(
        7 | 9 << 40, np.int32(8), persistent, np.int32(1), 0.1, 0.5, kind == "stochastic", update.rule
    )  # fmt: skip
    state = ChainState(np.int64(2**40), bits(3, HIDDEN) if persistent else None)
    slots = [parameters.zeros_like() for _ in range(n_slots)]
    CudaBackend().train(parameters, slots, rows, np.arange(10), plan, UNITS, state)
    assert launched


@pytest.mark.parametrize("strategy", ["dense", "delta", "lowbit", "bounds", "lcd"])
def test_chains(launched, strategy):
    CudaBackend(strategy=strategy).run_chains(bits(3, HIDDEN), model(VISIBLE, HIDDEN), UNITS, DRAW, np.int32(2))
    assert launched


@pytest.mark.parametrize("sum_out", ["hidden", "visible"])
def test_annealing(launched, sum_out):
    parameters = model(VISIBLE, HIDDEN)
    bases = tuple(0 * x for x in parameters[1:])
    states = pack(np.zeros((3, VISIBLE if sum_out == "hidden" else HIDDEN), bool))
    CudaBackend().anneal(states, parameters, UNITS, bases, sum_out, np.linspace(0, 1, 3), DRAW, np.zeros(3))
    assert launched


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_own_dense_product(dtype):
    """The simulator otherwise has NumPy's."""
    rng, side = np.random.default_rng(0), dense.SIDE
    a, b = rng.integers(-9, 9, (7, 5)).astype(dtype), rng.integers(-9, 9, (3, 5)).astype(dtype)
    out = target.cuda.to_device(np.zeros((7, 3), dtype))
    there = [target.cuda.to_device(x) for x in (a, b)]
    blocks = -(-7 // side), -(-3 // side)
    target.launch(dense.KERNELS[np.dtype(dtype)], blocks, (side, side), there[0], there[1].T, out)
    np.testing.assert_array_equal(out.copy_to_host(), a @ b.T)


def test_shared_arrays_are_known_by_their_place_in_the_text():
    """Also two of one line, and whichever thread asks first."""
    cuda = target.cuda

    @cuda.jit
    def kernel(out):
        left, right = cuda.shared.array(4, np.int64), cuda.shared.array(4, np.int64)
        left[cuda.threadIdx.x], right[cuda.threadIdx.x] = 1, 2
        cuda.syncthreads()
        out[cuda.threadIdx.x] = left[3 - cuda.threadIdx.x] + 10 * right[3 - cuda.threadIdx.x]

    for _ in range(3):
        out = cuda.to_device(np.zeros(4, np.int64))
        target.launch(kernel, 1, 4, out)
        np.testing.assert_array_equal(out.copy_to_host(), 21)


def test_no_function_takes_more_than_a_dozen_things():
    package = Path(launching.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len(names) <= 12, f"{path.name}: {node.name} takes {len(names)} parameters"
