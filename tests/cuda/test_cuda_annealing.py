"""Annealing on a CUDA device, or in Numba's simulator of one: the bits of the CPU kernels."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastrbm._kernels import Parameters, pack  # noqa: E402
from fastrbm._kernels.cpu import CpuBackend  # noqa: E402
from fastrbm._kernels.cuda import annealing  # noqa: E402
from fastrbm._kernels.cuda.backend import CudaBackend  # noqa: E402
from fastrbm._kernels.cuda.kernels import target  # noqa: E402
from fastrbm._kernels.cuda.kernels.scalar import log_of  # noqa: E402
from fastrbm._kernels.cuda.memory import DeviceBits  # noqa: E402
from fastrbm._kernels.draws import Draw  # noqa: E402
from fastrbm._kernels.reference import ReferenceBackend  # noqa: E402

if not target.SIMULATED and not target.cuda.is_available():
    pytest.skip("neither a GPU nor NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)

UNITS = ("bernoulli", "bernoulli")
DRAW = Draw(2**40 + 5, 2**33 - 2, 0, 11)
RISING, FALLING = np.array([0.0, 0.3, 1.0]), np.array([1.0, 0.45, 0.1])


def model(n_visible, n_hidden, scale=0.3, seed=0, dtype=np.float32):
    rng = np.random.default_rng([seed, n_visible, n_hidden])
    shapes = ((n_hidden, n_visible), (n_visible,), (n_hidden,))
    return Parameters(*(rng.normal(0, scale, s).astype(dtype) for s in shapes))


def annealed(backend, n, n_visible, n_hidden, sum_out, betas, scale=0.3, dtype=np.float32, units=UNITS, progress=None):
    parameters = model(n_visible, n_hidden, scale, dtype=dtype)
    bases = tuple((0.3 * x).astype(dtype) for x in model(n_visible, n_hidden, scale, 1)[1:])
    start = pack(np.random.default_rng(2).random((n, n_visible if sum_out == "hidden" else n_hidden)) < 0.4)
    given, log_weights = start.words.copy(), np.linspace(0, 1, n)
    try:
        states = backend.anneal(start, parameters, units, bases, sum_out, betas, DRAW, log_weights, progress)
    except KeyboardInterrupt:
        return log_weights, None
    np.testing.assert_array_equal(start.words, given)
    return log_weights, states.words


def assert_same(got, wanted):
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g, w)


# one chain; less and more than one tile of chains and of each layer
@pytest.mark.parametrize("n,n_visible,n_hidden", [(1, 1, 1), (3, 33, 6), (35, 7, 40), (33, 65, 34)])
@pytest.mark.parametrize("sum_out", ["hidden", "visible"])
@pytest.mark.parametrize("betas", [RISING, FALLING], ids=["rising", "falling"])
def test_annealing_is_that_of_the_cpu(n, n_visible, n_hidden, sum_out, betas):
    args = (n, n_visible, n_hidden, sum_out, betas)
    got = annealed(CudaBackend(), *args)
    assert_same(got, annealed(CpuBackend(1), *args))
    wanted, wanted_states = annealed(ReferenceBackend(), *args)
    np.testing.assert_allclose(got[0], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got[1], wanted_states)


@pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply")
@pytest.mark.parametrize("scale", [0.0, 1e-3, 100.0, 3000.0])
@pytest.mark.parametrize("sum_out", ["hidden", "visible"])
def test_extreme_weights(scale, sum_out):
    """The largest do not fit fixed point: the composed form."""
    args = (5, 30, 20, sum_out, np.array([0.0, 0.25]), scale)
    got, states = annealed(CudaBackend(), *args)
    wanted, wanted_states = annealed(CpuBackend(1), *args)
    assert np.isfinite(got).all()
    if scale <= 100:
        assert_same((got, states), (wanted, wanted_states))
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [dict(dtype=np.float64), dict(betas=np.array([0.5])), dict(n=0), dict(units=("bernoulli", "ising"))],
    ids=str,
)
def test_what_is_composed_is_that_of_the_reference(options):
    args = dict(n=3, n_visible=9, n_hidden=4, sum_out="hidden", betas=RISING) | options
    got, wanted = (annealed(backend, **args) for backend in (CudaBackend(), ReferenceBackend()))
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-5)
    np.testing.assert_array_equal(got[1], wanted[1])


def test_launches_change_no_bit(monkeypatch):
    args, seen = (3, 33, 6, "hidden", np.linspace(0, 1, 6)), []
    whole = annealed(CudaBackend(), *args, progress=lambda *at: seen.append(at))
    assert seen == [(15, 15)]
    monkeypatch.setattr(annealing, "_MOST_OF_LAUNCH", 2)
    assert_same(annealed(CudaBackend(), *args, progress=lambda *at: seen.append(at)), whole)
    assert seen[1:] == [(6, 15), (12, 15), (15, 15)]
    monkeypatch.setattr(annealing, "_WORK_OF_LAUNCH", 1)
    seen.clear()
    assert_same(annealed(CudaBackend(), *args, progress=lambda *at: seen.append(at)), whole)
    assert seen == [(3 * k, 15) for k in range(1, 6)]


def test_an_exception_leaves_the_weights_of_whole_temperatures(monkeypatch):
    monkeypatch.setattr(annealing, "_MOST_OF_LAUNCH", 2)

    def progress(done, total):
        if done == 12:
            raise KeyboardInterrupt

    betas = np.linspace(0, 1, 8)
    got, states = annealed(CudaBackend(), 3, 33, 6, "hidden", betas, progress=progress)
    assert states is None
    np.testing.assert_array_equal(got, annealed(CpuBackend(1), 3, 33, 6, "hidden", betas[:5])[0])


def test_states_on_the_device_stay_there():
    p = model(9, 4)
    zero = tuple(np.zeros_like(x) for x in p[1:])
    start = pack(np.ones((3, 9)))
    results = []
    for states in (start, DeviceBits.from_host(start)):
        log_weights = np.zeros(3)
        found = CudaBackend().anneal(states, p, UNITS, zero, "hidden", RISING, DRAW, log_weights)
        results.append((log_weights, found))
    assert isinstance(results[1][1], DeviceBits)
    assert_same((results[1][0], results[1][1].to_host().words), (results[0][0], results[0][1].words))


@pytest.mark.only_on("simulator", reason="device functions are called from the host")
def test_logarithms_of_products():
    rng = np.random.default_rng(0)
    x = np.exp2(rng.uniform(-32, 32, 300)).astype(np.float32)
    x[:4] = [1.0, 2.0**-32, 2.0**32, np.sqrt(2)]
    got = np.array([log_of(value) for value in x])
    np.testing.assert_allclose(got, np.log(x.astype(np.float64)), rtol=2e-7, atol=3e-8)
