"""Values on the device under NumPy's operators and functions: those of NumPy, whatever they are."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
arrays = pytest.importorskip("fastrbm._kernels.cuda.arrays")
memory = pytest.importorskip("fastrbm._kernels.cuda.memory")
pool = pytest.importorskip("fastrbm._kernels.cuda.pool")
DeviceArray = arrays.DeviceArray

rng = np.random.default_rng(0)
SHAPES = [((5, 7), (5, 7)), ((5, 7), (7,)), ((5, 1), (5, 7)), ((1, 7), (5, 1)), ((3,), (3,)), ((1, 1), (4, 1))]
ODD = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e-40, 3e38])
EXACT = (np.add, np.subtract, np.multiply, np.divide, np.minimum, np.maximum, np.less, np.greater)
OF_ONE = (np.square, np.absolute, np.sign, np.sqrt, np.negative)


def same(got, wanted):
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    np.testing.assert_array_equal(got.to_host(), wanted)


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", EXACT)
def test_two_operands(function, dtype):
    for first, second in SHAPES:
        x, y = (rng.normal(size=shape).astype(dtype) for shape in (first, second))
        wanted = function(x, y).astype(dtype)  # comparisons are 0 and 1 of the type of what is compared
        same(function(DeviceArray.of(x), DeviceArray.of(y)), wanted)
    x, y = (z.astype(dtype).ravel() for z in np.meshgrid(ODD, ODD))
    same(function(DeviceArray.of(x), DeviceArray.of(y)), function(x, y).astype(dtype))
    for number in (2, 0.1, dtype(0.1)):
        same(function(DeviceArray.of(x), number), function(x, dtype(number)).astype(dtype))
        same(function(number, DeviceArray.of(x)), function(dtype(number), x).astype(dtype))


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_operand(dtype):
    for x in (rng.normal(size=(4, 9)).astype(dtype), ODD.astype(dtype)):
        for function in OF_ONE:
            same(function(DeviceArray.of(x)), function(x))
        for function in (np.exp, np.expm1):
            near = np.clip(x, -20, 20)
            got = function(DeviceArray.of(near)).to_host()
            np.testing.assert_allclose(got, function(near), rtol=4 * np.finfo(dtype).eps)
    x = np.linspace(-30, 30, 41).astype(dtype)
    got = np.logaddexp(DeviceArray.of(x), dtype(0)).to_host()
    np.testing.assert_allclose(got, np.logaddexp(x, dtype(0)), rtol=4 * np.finfo(dtype).eps)


def test_types_are_those_of_numpy():
    x, y = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4)
    a, b = DeviceArray.of(x), DeviceArray.of(y)
    same(a * b, x * y)
    same(2 * a, 2 * x)
    same(np.float32(0.3) / a, np.float32(0.3) / x)
    same(np.square(a, dtype=np.float64), np.square(x, dtype=np.float64))
    same(a.astype(np.float64), x.astype(np.float64))
    same(b.astype(np.float32), y.astype(np.float32))
    assert a.astype(np.float32, copy=False) is a and a.astype(np.float32) is not a
    same(np.where(a > 0, a, np.float32(0)), np.where(x > 0, x, np.float32(0)))
    same(np.clip(a, -0.5, 0.5), np.clip(x, -0.5, 0.5))
    same(np.zeros_like(a), np.zeros_like(x))
    same(np.full_like(a, 1.5), np.full_like(x, 1.5))


def test_in_place():
    x = rng.normal(size=(3, 4)).astype(np.float32)
    a = DeviceArray.of(x)
    same_one = a
    a += np.float32(1)
    a *= a[...]
    a[...] += DeviceArray.of(x[0])
    assert a is same_one
    same(a, np.square(x + np.float32(1)) + x[0])
    a[...] = 0.5
    same(a, np.full_like(x, 0.5))
    held = a.copy()
    np.maximum(a, np.float32(2), out=a)
    same(held, np.full_like(x, 0.5))
    same(a, np.full_like(x, 2))
    np.clip(a, -1, 1, out=a)
    same(a, np.full_like(x, 1))


def test_parts_and_sums():
    x = rng.normal(size=(37, 41)).astype(np.float32)
    a, v = DeviceArray.of(x), DeviceArray.of(x[0])
    same(a[3:9], x[3:9])
    same(a[memory.upload(np.array([5, 0, 5]))], x[[5, 0, 5]])
    same(v[2:7], x[0, 2:7])
    same(v[:, None], x[0][:, None])
    same(a.T, np.ascontiguousarray(x.T))
    same(np.outer(v, v), np.outer(x[0], x[0]))
    same(DeviceArray.joined([a[:2], a[30:]]), np.concatenate([x[:2], x[30:]]))
    for axis in (0, 1):
        np.testing.assert_allclose(a.sum(axis=axis).to_host(), x.sum(axis=axis, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(a.sum().to_host(), [x.sum(dtype=np.float64)], rtol=1e-6)
    np.testing.assert_allclose(v.sum().to_host(), [x[0].sum(dtype=np.float64)], rtol=1e-6)
    assert len(a) == 37 and a.ndim == 2 and a.size == 37 * 41 and "float32" in repr(a)


def test_nothing_is_copied_unasked():
    a = DeviceArray.of(np.ones((2, 3), np.float32))
    for mistake in (
        lambda: a + np.ones(3), lambda: np.ones(3) + a, lambda: np.asarray(a), lambda: np.sin(a),
        lambda: np.linalg.norm(a),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            mistake()
    for key in (0, (0, 1), slice(0, 3, 2)):
        with pytest.raises((IndexError, TypeError)):
            a[:, None] if key == 0 else DeviceArray.of(np.ones(4, np.float32))[key]
    with pytest.raises(IndexError):
        a[:1] = 0
    with pytest.raises(ValueError, match="broadcast"):
        a[...] = DeviceArray.of(np.ones((4, 3), np.float32))
    with pytest.raises(ValueError, match="cannot go into"):
        DeviceArray.of(np.ones((1, 3), np.float32))[...] = a
    with pytest.raises(TypeError, match="float32 or float64"):
        a.astype(np.int32)


@pytest.fixture
def keeping(monkeypatch):
    """Let the pool keep memory, which it does not in these tests otherwise."""
    pool.POOL.clear()
    monkeypatch.setattr(pool.POOL, "limit", 1 << 24)
    yield pool.POOL
    pool.POOL.clear()


@pytest.mark.only_on("emulated", "device", reason="memory of the simulated device is that of the host")
def test_memory_that_is_free_serves_what_comes_next(keeping):
    x = memory.empty((10, 3), np.float32)
    view, place = x[2:4], x.device_ctypes_pointer.value
    del x
    assert keeping.kept == 0  # the view needs it
    del view
    assert keeping.kept == 512
    y = memory.upload(np.arange(20.0))
    assert y.device_ctypes_pointer.value == place and keeping.kept == 0
    np.testing.assert_array_equal(memory.download(y), np.arange(20.0))
    del y
    large = memory.empty(pool.LARGEST + 1, np.uint8)
    del large
    assert keeping.kept == 512
    memory.free_what_is_pending()
    assert keeping.kept == 0


@pytest.mark.only_on("emulated", "device", reason="memory of the simulated device is that of the host")
def test_no_more_is_kept_than_the_limit(keeping, monkeypatch):
    monkeypatch.setattr(keeping, "limit", 1024)
    held = [memory.empty(100, np.float32) for _ in range(5)]
    held.clear()
    assert keeping.kept == 1024


@pytest.mark.only_on("emulated", "device", reason="memory of the simulated device is that of the host")
def test_arrays_that_callers_get_have_memory_of_their_own(keeping):
    from fastrbm import BernoulliRBM, config_context

    X = memory.upload((rng.random((40, 20)) < 0.4).astype(np.float32))
    rbm = BernoulliRBM(9, batch_size=10, n_iter=1, random_state=0, device="cuda").fit(X)
    with config_context(device_output=True):
        features, drawn = rbm.transform(X), rbm.gibbs(X)
    kept = keeping.kept
    del features, drawn
    assert keeping.kept == kept


@pytest.mark.only_on("emulated", "device", reason="memory of the simulated device is that of the host")
def test_fits_with_memory_that_is_used_anew_have_the_same_bits(keeping):
    from fastrbm import BernoulliRBM

    X = (rng.random((40, 20)) < 0.4).astype(np.float32)
    options = dict(n_components=9, batch_size=10, n_iter=2, random_state=0, device="cuda")
    for more in ({}, dict(centered=True), dict(algorithm="fpcd")):
        got = BernoulliRBM(**options, **more).fit(X)
        assert keeping.kept
        keeping.limit = 0
        wanted = BernoulliRBM(**options, **more).fit(X)
        keeping.limit = 1 << 24
        np.testing.assert_array_equal(got.components_, wanted.components_)
