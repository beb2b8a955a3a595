"""Lean strategies on a CUDA device, or in Numba's simulator of one: the states of whole products, bit for bit."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastrbm._kernels import Parameters, pack  # noqa: E402
from fastrbm._kernels.cpu import CpuBackend  # noqa: E402
from fastrbm._kernels.cuda import strategy as strategies  # noqa: E402
from fastrbm._kernels.cuda.backend import CudaBackend  # noqa: E402
from fastrbm._kernels.cuda.kernels import landmarks, lowbit, target  # noqa: E402
from fastrbm._kernels.cuda.kernels.tiles import SMALL, make_product  # noqa: E402
from fastrbm._kernels.cuda.launching import Kernels, rows_of  # noqa: E402
from fastrbm._kernels.cuda.memory import DeviceBits, upload  # noqa: E402
from fastrbm._kernels.cuda.quantise import QuantisedWeights  # noqa: E402
from fastrbm._kernels.draws import Draw, Stream  # noqa: E402
from fastrbm._kernels.strategies import count_work  # noqa: E402

if not target.SIMULATED and not target.cuda.is_available():
    pytest.skip("neither a GPU nor NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)

# what the simulator computes in scalars of NumPy wraps and saturates there as on a device
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar")
UNITS = ("bernoulli", "bernoulli")
#: those that spare work
LEAN = [name for name in strategies.STRATEGIES if name != "dense"]
DRAW = Draw(2**40 + 9, 2**33 - 2, Stream.VISIBLE, 7)


def model(n_visible, n_hidden, scale=0.3, seed=0):
    rng = np.random.default_rng([seed, n_visible, n_hidden])
    shapes = ((n_hidden, n_visible), (n_visible,), (n_hidden,))
    return Parameters(*(rng.normal(0, scale, shape).astype(np.float32) for shape in shapes))


def bits(n, n_units, density=0.4):
    return pack(np.random.default_rng([1, n, n_units]).random((n, n_units)) < density)


def assert_like_whole_products(strategy, p, n, sweeps, density=0.4):
    """Compare with the CPU; returns what was counted."""
    start = bits(n, len(p.hidden_bias), density)
    given = start.words.copy()
    wanted = CpuBackend(1, "dense").run_chains(start, p, UNITS, DRAW, sweeps)
    with count_work() as work:
        got = CudaBackend(strategy=strategy).run_chains(start, p, UNITS, DRAW, sweeps)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g.words, w.words)
    np.testing.assert_array_equal(start.words, given)
    assert work["decisions"] == sweeps * n * (len(p.visible_bias) + len(p.hidden_bias))
    assert work["dense_products"] == 2 * sweeps * n * p.weights.size
    if strategy == "lowbit":
        assert work["filtered"] + work["recomputed"] == work["decisions"]
    return work


def patch(monkeypatch, module, table, make, **constants):
    """Let a module of kernels have other constants, and be compiled with them: what was compiled keeps its own."""
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)
    if not target.SIMULATED:
        for name, held in list(vars(module).items()):
            if getattr(getattr(held, "py_func", None), "__module__", None) == module.__name__:
                monkeypatch.setattr(module, name, target.device(held.py_func))
    monkeypatch.setattr(strategies, table, Kernels(make))


# one unit; less and more than one tile of chains and of each layer
@pytest.mark.parametrize("n,n_visible,n_hidden,sweeps", [(1, 1, 1, 3), (3, 33, 7, 2), (34, 35, 66, 1)])
@pytest.mark.parametrize("strategy", LEAN)
def test_chains_are_those_of_whole_products(strategy, n, n_visible, n_hidden, sweeps):
    assert_like_whole_products(strategy, model(n_visible, n_hidden), n, sweeps)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 3.0, 40.0, 1000.0])
@pytest.mark.parametrize("strategy", LEAN)
def test_any_scale_of_weights(strategy, scale):
    """The largest do not fit fixed point: whole products in float32."""
    p = model(20, 12, scale)
    if scale < 1000:
        assert_like_whole_products(strategy, p, 5, 3)
        return
    start = bits(5, 12)
    wanted = CudaBackend(strategy="dense").run_chains(start, p, UNITS, DRAW, 3)
    got = CudaBackend(strategy=strategy).run_chains(start, p, UNITS, DRAW, 3)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g.words, w.words)


@pytest.mark.parametrize("strategy", LEAN)
@pytest.mark.parametrize("size", [100.0, -100.0])
def test_large_sums_that_a_bias_cancels(strategy, size):
    """Sums near the end of 32 bits, where a range may wrap, and rounding of the input itself decides."""
    rng = np.random.default_rng(2)
    weights = (size + rng.normal(0, 0.01, (12, 40))).astype(np.float32)
    p = Parameters(weights, np.full(40, -6 * size, np.float32), np.full(12, -20 * size, np.float32))
    assert_like_whole_products(strategy, p, 20, 2, 0.5)


def test_ranges_beyond_32_bits():
    """Sums of -2^31 and a little are in ranges that begin below -2^31, and what is left open must come back."""
    size = 126322176 / 2**18
    weights = np.full((17, 17), -size, np.float32)
    p = Parameters(weights, np.full(17, 17 * size, np.float32), np.full(17, 8 * size, np.float32))
    work = assert_like_whole_products("lowbit", p, 8, 1, 1.0)
    assert work["recomputed"] > 0


def test_lowbit_decides_most_units():
    work = assert_like_whole_products("lowbit", model(40, 30), 33, 2)
    assert 0 < work["recomputed"] < 0.02 * work["decisions"]
    assert 0 < work["products"] < 0.02 * work["dense_products"]


def test_delta_takes_flips_where_there_are_few():
    p = model(64, 40, 0.02)
    still = Parameters(p.weights, *(np.where(x > 0, 8, -8).astype(np.float32) for x in p[1:]))
    work = assert_like_whole_products("delta", still, 5, 6)
    # tiles of both layers in the first sweep; of visible ones in the second, as the first hidden states were others
    assert work["refreshes"] == 2 + 2 + 2
    assert work["dense_products"] / 4 <= work["products"] < 0.35 * work["dense_products"]
    lively = assert_like_whole_products("delta", model(64, 40, 0.02), 5, 2)
    assert lively["products"] == lively["dense_products"]
    assert lively["refreshes"] == 8


def calm(n_visible, n_hidden, bias, scale=0.02):
    """Units that mostly stay as they are."""
    p = model(n_visible, n_hidden, scale)
    return Parameters(p.weights, *(np.where(x > 0, bias, -bias).astype(np.float32) for x in p[1:]))


@pytest.mark.parametrize("strategy", ["bounds", "lcd"])
def test_landmarks_decide_where_little_flips(strategy):
    """One landmark for each layer, and a second one of visible units as the first hidden states were others."""
    work = assert_like_whole_products(strategy, calm(40, 30, 6), 4, 5)
    assert work["decisions"] * 3 / 5 <= work["filtered"] < work["decisions"]
    assert 0 < work["recomputed"] < 0.1 * work["decisions"]
    assert work["refreshes"] <= 2 + 1 + 2 + 2
    assert work["products"] < 0.6 * work["dense_products"]


def test_landmarks_are_moved_on(monkeypatch):
    """Some half-steps renew, by whole products or by flips where they are few, and what follows starts from there."""
    patch(monkeypatch, landmarks, "LANDMARKS", landmarks.make_landmark_kernel, _OPEN_OF=100, _REST=2)
    works = [assert_like_whole_products(name, calm(40, 30, 4, 0.05), 2, 8) for name in ("bounds", "lcd")]
    of_bounds, of_lcd = works
    assert 2 + 1 < of_lcd["refreshes"] < of_bounds["refreshes"]
    assert of_lcd["products"] < of_bounds["products"] < of_bounds["dense_products"]
    for name in ("filtered", "recomputed"):
        assert 0 < of_lcd[name] == of_bounds[name]
    assert of_lcd["filtered"] + of_lcd["recomputed"] < 0.8 * of_lcd["decisions"]


@pytest.mark.only_on("simulator", reason="calls device functions from the host")
def test_when_landmarks_are_renewed():
    """The first one; where one grew old; for long where one is of no use later on; and not while all is well."""
    assert landmarks.planned(0, 0, 64, 0, 0) == (0, 0)
    assert landmarks.planned(1, 0, 64, 0, 0) == (0, 1)
    assert landmarks.planned(5, 8, 64, 0, 4) == (0, 5)
    assert landmarks.planned(5, 9, 64, 0, 4) == (0, 0)
    assert landmarks.planned(2, 9, 64, 0, 1) == (0, 0)
    assert landmarks.planned(4, 9, 64, 0, 1) == (15, 0)
    assert landmarks.planned(3, 0, 64, 15, 0) == (14, 0)


@pytest.mark.only_on("simulator", reason="calls device functions from the host")
def test_how_far_flips_move_a_sum():
    """Cauchy-Schwarz or the largest weight, never less, and beyond 32 bits."""
    for weights in ([3, -4, 0], [1, 1, 1, 1], [2**30, -(2**30), 2**30 - 1], [0, 0]):
        square, largest = sum(w * w for w in weights), max(map(abs, weights))
        sizes = np.sort(np.abs(weights).astype(np.int64))[::-1]
        for n_flips in range(len(weights) + 1):
            reach = landmarks.reach_of(np.int64(square), np.int32(largest), np.int32(n_flips))
            assert sizes[:n_flips].sum() <= reach <= min(largest * n_flips, 1.001 * (square * n_flips) ** 0.5 + 1)


def test_a_reach_that_is_too_short_is_noticed(monkeypatch):
    """The comparison can fail: units that flips may have moved come out otherwise."""
    patch(monkeypatch, landmarks, "LANDMARKS", landmarks.make_landmark_kernel, _ROUNDED_UP=np.float32(0.1))
    with pytest.raises(AssertionError):
        assert_like_whole_products("bounds", calm(40, 30, 3), 3, 8)


def test_chains_go_on_where_they_were():
    p, start = model(9, 5), DeviceBits.from_host(bits(3, 5))
    for strategy in LEAN:
        backend = CudaBackend(strategy=strategy)
        visible, hidden = backend.run_chains(start, p, UNITS, DRAW, 2)
        assert isinstance(visible, DeviceBits)
        again = backend.run_chains(hidden, p, UNITS, DRAW._replace(step=DRAW.step + 2), 1)
        wanted = CpuBackend(1).run_chains(bits(3, 5), p, UNITS, DRAW, 3)
        for g, w in zip(again, wanted, strict=True):
            np.testing.assert_array_equal(g.to_host().words, w.words)


def test_a_filter_that_decides_too_much_is_noticed(monkeypatch):
    """The comparison can fail: a test that decides too soon lets other states come out."""
    patch(monkeypatch, lowbit, "LOWBIT", lowbit.make_low_kernel, ABOVE=np.float32(1 - 0.1))
    weights = (100 + model(40, 32, 0.01).weights).astype(np.float32)
    p = Parameters(weights, np.full(40, -3200, np.float32), np.full(32, -2000, np.float32))
    with pytest.raises(AssertionError):
        assert_like_whole_products("lowbit", p, 32, 1, 1.0)


@pytest.mark.only_on("simulator", reason="by the device in all other tests")
@pytest.mark.parametrize("n_limbs", [2, 4])
def test_products_by_instruction(n_limbs):
    """The simulated instruction and the short cut of the simulator agree, and both on all or 16 bits of the weights."""
    rng = np.random.default_rng(0)
    weights = QuantisedWeights(upload(rng.normal(0, 3, (9, 33)).astype(np.float32)))
    assert weights.fill()
    coarse, _ = strategies.coarse_weights(weights)
    rows, cuda, shape = rows_of(DeviceBits.from_host(bits(5, 33))), target.cuda, (SMALL.rows, 33)

    def sums(by_instruction):
        product = make_product(SMALL, by_instruction, n_limbs)

        @cuda.jit
        def kernel(rows, fragments, out):
            shared = cuda.shared.array(shape, np.int32)
            product(rows, 0, fragments, 2, 0, shared)
            for row in range(5):
                out[row, cuda.threadIdx.x % 9] = shared[row, cuda.threadIdx.x % 9]

        out = upload(np.zeros((5, 9), np.int32))
        target.launch(
            kernel, 1, SMALL.threads, rows, coarse.fragments if n_limbs == 2 else weights.to_hidden, out
        )  # fmt: skip
        return out.copy_to_host()

    got, states = sums(True), bits(5, 33).dense(np.int64)
    np.testing.assert_array_equal(got, sums(False))
    scaled = weights.weights.copy_to_host() / weights.quantum.copy_to_host()[0]
    integers = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int64)
    if n_limbs == 4:
        np.testing.assert_array_equal(got, states @ integers.T)
        return
    kept = integers >> coarse.shifts.copy_to_host()[:, None]
    assert 2**14 <= np.abs(kept).max(axis=1).min() and -(2**15) <= kept.min() and kept.max() < 2**15
    np.testing.assert_array_equal(got - 2**15 * states.sum(axis=1, keepdims=True), states @ kept.T)


def test_strategies_are_checked():
    with pytest.raises(ValueError, match="strategy must be one of"):
        CudaBackend(strategy="other")
