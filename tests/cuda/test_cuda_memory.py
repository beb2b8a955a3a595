"""Arrays on the device: copies, rows, packing, and memory that runs out."""

import numpy as np
import pytest

from fastrbm import BernoulliRBM
from fastrbm._kernels import on_host, pack

cuda = pytest.importorskip("numba.cuda")
pytest.importorskip("numba_cuda")

from fastrbm._kernels.cuda import dense, memory, packing  # noqa: E402

RNG = np.random.default_rng(0)
BITS = RNG.random((9, 70)) < 0.4
GREY = RNG.random((9, 70)).round(3)


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_units", [1, 31, 32, 33, 64, 70])
def test_bits_come_back_as_they_went(n_units):
    bits = pack(BITS[:, :n_units])
    there = memory.DeviceBits.from_host(bits)
    assert there.shape == bits.shape and len(there) == len(bits)
    back = there.to_host()
    assert back.n_units == n_units
    np.testing.assert_array_equal(back.words, bits.words)


@pytest.mark.parametrize(
    "rows", [slice(2, 5), slice(None, None, -2), slice(5, 2), np.array([3, 0, 3]), np.zeros(0, int)]
)
@pytest.mark.parametrize("kind", ["bits", "floats"])
def test_rows_are_taken_on_the_device(rows, kind):
    if kind == "bits":
        there, wanted = memory.DeviceBits.from_host(pack(BITS)), BITS[rows]
        np.testing.assert_array_equal(there[rows].to_host().dense(), wanted)
    else:
        there, wanted = memory.DeviceRows(memory.upload(GREY)), GREY[rows]
        np.testing.assert_array_equal(on_host(there[rows]), wanted)
    assert there[rows].shape == wanted.shape
    if isinstance(rows, np.ndarray):
        np.testing.assert_array_equal(there[memory.upload(rows)].shape, wanted.shape)


@pytest.mark.parametrize("view", [
    lambda x: x[::-1][:1], lambda x: x[3][None], lambda x: x[2:3, ::2], lambda x: x[:1][:, :1].T, lambda x: x[5:5],
    lambda x: x[::-1, ::-1][:1, :1], lambda x: x[0][::-1][:1],
], ids=["last", "added", "stepped", "turned", "none", "corner", "one"])  # fmt: skip
def test_views_that_are_one_row_or_one_number(view):
    """NumPy calls them contiguous whatever their strides are."""
    for x in (GREY, BITS.astype(np.uint8)):
        there = memory.upload(view(x))
        assert there.is_c_contiguous() if hasattr(there, "is_c_contiguous") else True
        np.testing.assert_array_equal(on_host(there), view(x))


@pytest.mark.parametrize("rows,error", [([9], IndexError), ([-1], IndexError), ([0.5], TypeError), ([[1]], TypeError)])
def test_rows_that_are_not_there(rows, error):
    with pytest.raises(error, match="rows must be"):
        memory.DeviceBits.from_host(pack(BITS))[np.array(rows)]


def test_running_out_of_memory_is_a_memory_error():
    class CudaAPIError(Exception):  # as the driver's is named
        code = 2

    class OutOfMemoryError(Exception):  # CuPy's, PyTorch's
        pass

    for error in (CudaAPIError(), OutOfMemoryError()):
        with pytest.raises(MemoryError, match=r"for the chains \(3.0 MiB wanted\): .* are free"):
            with memory.guarding("the chains", 3 << 20):
                raise error
    CudaAPIError.code = 700
    with pytest.raises(CudaAPIError), memory.guarding("the chains"):
        raise CudaAPIError()


# -- packing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_packs_as_the_host_does(dtype, layout):
    x = BITS.astype(dtype)
    there = cuda.to_device(np.asfortranarray(x) if layout == "F" else x)
    if layout == "strided":
        there, x = there[1::2, 3:], x[1::2, 3:]
    flags, bits = packing.pack_checked(there)
    assert flags == 0
    np.testing.assert_array_equal(bits.to_host().words, pack(x).words)


@pytest.mark.parametrize(
    "value,dtype,on,flags",
    [
        (0.5, np.float32, 1, packing.OTHER),
        (-0.0, np.float64, 1, 0),
        (-1e-30, np.float32, 1, packing.OTHER | packing.OUTSIDE),
        (1.5, np.float64, 1, packing.OTHER | packing.OUTSIDE),
        (np.nan, np.float32, 1, packing.OTHER | packing.OUTSIDE),
        (np.inf, np.float32, 1, packing.OTHER | packing.OUTSIDE),
        (2, np.uint8, 1, packing.OTHER | packing.OUTSIDE),
        (255, np.uint8, 255, 0),
        (7, np.uint8, 255, packing.OTHER),
    ],
)
def test_flags_of_values(value, dtype, on, flags):
    x = np.zeros((3, 40), dtype)
    x[1, 35] = value
    assert packing.pack_checked(cuda.to_device(x), on)[0] == flags


def test_floats_are_those_of_the_host():
    x = RNG.integers(0, 256, (4, 9)).astype(np.uint8)
    for dtype in (np.float32, np.float64):
        wanted = np.multiply(x, dtype(1 / 255), dtype=dtype)
        np.testing.assert_array_equal(on_host(packing.float_rows(cuda.to_device(x), dtype, 1 / 255)), wanted)
    there = cuda.to_device(GREY)
    assert packing.float_rows(there, np.float64) is there
    np.testing.assert_array_equal(on_host(packing.float_rows(there, np.float32)), GREY.astype(np.float32))


@pytest.mark.parametrize("n_units", [1, 32, 45, 70])
def test_bits_are_unpacked(n_units):
    out = cuda.to_device(np.zeros((9, n_units), np.bool_))
    packing.unpack_into(memory.DeviceBits.from_host(pack(BITS[:, :n_units])), out)
    np.testing.assert_array_equal(out.copy_to_host(), BITS[:, :n_units])


@pytest.mark.only_on("emulated", "device", reason="of the memory of a device")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_products_of_transposed_views(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (131, 70)).astype(dtype), rng.integers(-9, 9, (33, 70)).astype(dtype)
    there = [memory.upload(x) for x in (a, b)]
    out = memory.allocate("the product", (131, 33), dtype)
    np.testing.assert_array_equal(dense.product(there[0], dense.transposed(there[1]), out).copy_to_host(), a @ b.T)


@pytest.mark.only_on("emulated", "device", reason="of the memory of a device")
def test_memory_that_runs_out_leaves_everything_usable():
    X = (RNG.random((200, 50)) < 0.4).astype(np.float32)
    rbm = BernoulliRBM(20, n_iter=1, random_state=0, device="cuda").fit(X)
    before = rbm.components_.copy()
    with pytest.raises(MemoryError, match="of its"):
        memory.empty((1 << 42,), np.uint8)
    np.testing.assert_array_equal(rbm.components_, before)
    rbm.fit(X)
    np.testing.assert_array_equal(rbm.components_, before)
