"""Arrays on the device as input: recognised, checked, packed and trained on where they are."""

import sys
import types

import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, config_context
from fastrbm._kernels import PackedBits, on_host
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.cuda import interop

cuda = pytest.importorskip("numba.cuda")
pytest.importorskip("numba_cuda")

from fastrbm._data.device import DeviceData  # noqa: E402
from fastrbm._kernels.cuda import memory  # noqa: E402
from fastrbm._kernels.cuda.kernels import target  # noqa: E402

on_simulator = pytest.mark.only_on("simulator", reason="its memory is that of the host")

RNG = np.random.default_rng(0)
BITS = RNG.random((9, 70)) < 0.4
GREY = RNG.random((9, 70)).round(3)


class Foreign:
    """An array on the device of a library that Numba does not know."""

    def __init__(self, array, **changes):
        self.held = cuda.to_device(array)
        if target.SIMULATED:
            interface = dict(self.held._ary.__array_interface__, version=3)
            interface.pop("descr", None)
        else:
            interface = self.held.__cuda_array_interface__
        self.__cuda_array_interface__ = interface | changes


class Elsewhere:
    """An array that speaks DLPack only."""

    def __init__(self, device_type=2):
        self.device_type = device_type

    def __dlpack_device__(self):
        return self.device_type, 0

    def __dlpack__(self, **options):
        raise BufferError


# -- recognising -------------------------------------------------------------------------------------------------------


def test_what_is_an_array_on_a_device():
    assert interop.is_device_array(cuda.to_device(GREY))
    assert interop.is_device_array(Foreign(GREY))
    assert interop.is_device_array(Elsewhere(2)) and interop.is_device_array(Elsewhere(13))
    for other in (GREY, Elsewhere(1), Elsewhere(3), [1, 2], None, "x", 3, BernoulliRBM, Foreign, lambda: None):
        assert not interop.is_device_array(other)


@on_simulator
def test_foreign_arrays_are_taken_without_a_copy():
    given = Foreign(GREY)
    taken = interop.as_device_array(given)
    assert np.shares_memory(*(x._ary for x in (taken, given.held)))
    np.testing.assert_array_equal(taken.copy_to_host(), GREY)


@pytest.mark.parametrize(
    "x,error,message",
    [
        (lambda: Foreign(GREY.astype(np.float16)), TypeError, "one of the types bool, uint8, .*got float16"),
        (lambda: Foreign(GREY.astype(">f8")), TypeError, "one of the types"),
        (lambda: Foreign(GREY[0]), ValueError, "Expected 2D array, got 1D array"),
        (lambda: Foreign(GREY, data=(0, False)), ValueError, "X has no memory: its address on the device is 0"),
        (lambda: Foreign(GREY, mask=Foreign(BITS)), TypeError, "mask"),
        (lambda: Elsewhere(), TypeError, r"DLPack only, .*pip install \"fastrbm\[cupy\]\""),
    ],
)
def test_arrays_that_cannot_be_taken(x, error, message, monkeypatch):
    monkeypatch.setattr(interop.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(error, match=message):
        interop.as_device_array(x())


def test_tensors_that_require_gradients_are_refused():
    class Tensor(Elsewhere):
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad. Use var.detach()")

    assert interop.is_device_array(Tensor())
    with pytest.raises(TypeError, match="no access to its memory on the device: .*requires grad"):
        interop.as_device_array(Tensor())


def test_arrays_of_another_device_are_refused():
    interop.check_ordinal("X", 1, 1)
    with pytest.raises(ValueError, match="X is on device 1, and the current device is 0"):
        interop.check_ordinal("X", 1, 0)


@pytest.mark.only_on("emulated", "device")
def test_freed_memory_is_refused():
    array = Foreign(np.zeros((1 << 12, 1 << 12)))
    interface = array.__cuda_array_interface__
    del array
    memory.free_what_is_pending()
    with pytest.raises(ValueError, match="was freed"):
        interop.as_device_array(types.SimpleNamespace(__cuda_array_interface__=interface))


# -- estimators --------------------------------------------------------------------------------------------------------


class HostedBackend(CpuBackend):
    """Computes on the host, with results on the device for states that are there: the way of the data is tested."""

    seen: list = []

    def __init__(self, n_threads, strategy, precision):
        super().__init__(n_threads, strategy, precision)


def _hosted(name):
    def method(self, *args, **options):
        self.seen.append((name, [type(x).__name__ for x in args]))
        result = getattr(CpuBackend, name)(self, *map(on_host, args), **options)
        if name == "train" or all(on_host(x) is x for x in args):
            return result
        return memory.DeviceBits.from_host(result) if isinstance(result, PackedBits) else memory.upload(result)

    return method


for _name in ("means", "samples", "free_energy", "pseudo_likelihood", "train", "draw_bits"):
    setattr(HostedBackend, _name, _hosted(_name))


@pytest.fixture
def hosted(monkeypatch):
    module = types.ModuleType("fastrbm._kernels.cuda.backend")
    module.CudaBackend = HostedBackend
    monkeypatch.setitem(sys.modules, "fastrbm._kernels.cuda.backend", module)
    monkeypatch.setattr(HostedBackend, "seen", [])


DATA = {
    "bool": BITS,
    "uint8": BITS.astype(np.uint8),
    "float32": BITS.astype(np.float32),
    "float64": BITS.astype(np.float64),
    "grey float32": GREY.astype(np.float32),
    "grey float64": GREY,
    "images": (GREY * 255).astype(np.uint8),
    "black and white": BITS.astype(np.uint8) * np.uint8(255),
}


def as_taken_there(kind):
    """Rows of the host whose results are those of the device: images there are floats, on the host grey levels."""
    x = DATA[kind]
    return np.multiply(x, np.float32(1 / 255), dtype=np.float32) if kind == "images" else x


@pytest.mark.parametrize("kind", DATA)
def test_estimators_give_the_same_for_data_on_the_device(kind, hosted):
    x = DATA[kind]
    options = dict(n_components=3, n_iter=2, batch_size=4, random_state=0)
    same = as_taken_there(kind)
    host = BernoulliRBM(device="cpu", **options).fit(same)
    there = BernoulliRBM(device="cuda", **options).fit(Foreign(x))
    np.testing.assert_array_equal(there.components_, host.components_)
    assert there.n_features_in_ == 70 and there.input_scale_ == (1 / 255 if kind == "images" else host.input_scale_)
    trained_on = {names[2] for name, names in HostedBackend.seen if name == "train"}
    assert trained_on == {"DeviceRows" if kind.startswith(("grey", "images")) else "DeviceBits"}
    for method in ("transform", "gibbs", "score_samples", "free_energy", "reconstruct", "reconstruction_error"):
        found, wanted = (getattr(rbm, method)(y) for rbm, y in ((there, Foreign(x)), (host, same)))
        np.testing.assert_array_equal(found, wanted)
        assert np.asarray(found).dtype == np.asarray(wanted).dtype
    start = dict(init=same, n_samples=9, n_steps=1, random_state=0)
    np.testing.assert_array_equal(there.sample(**start | dict(init=Foreign(x))), host.sample(**start))


@pytest.mark.parametrize(
    "options",
    [
        dict(algorithm="exact"),
        dict(algorithm="pt"),
        dict(centered=True),
        dict(visible_bias="data"),
        dict(validation_fraction=0.3, early_stopping="free_energy_gap"),
        dict(stochastic_input=True, optimizer="adam"),
    ],
    ids=str,
)
def test_every_way_of_training_takes_them(options, hosted):
    options = dict(n_components=3, n_iter=2, batch_size=4, random_state=0) | options
    for x in (BITS, GREY):
        host = BernoulliRBM(device="cpu", **options).fit(x)
        there = BernoulliRBM(device="cuda", **options).fit(Foreign(x))
        np.testing.assert_array_equal(there.components_, host.components_)
        host.partial_fit(x[:5]), there.partial_fit(Foreign(x[:5]))
        np.testing.assert_array_equal(there.components_, host.components_)


def test_likelihoods_and_weights_of_rows(hosted):
    options = dict(n_components=3, n_iter=1, random_state=0)
    host = BernoulliRBM(device="cpu", **options).fit(BITS, sample_weight=np.arange(9))
    there = BernoulliRBM(device="cuda", **options).fit(Foreign(BITS), sample_weight=np.arange(9))
    np.testing.assert_array_equal(there.components_, host.components_)
    np.testing.assert_allclose(there.log_likelihood(Foreign(BITS)), host.log_likelihood(BITS), rtol=1e-12)
    with pytest.raises(ValueError, match="X must hold 0 and 1 only"):
        there.log_likelihood(Foreign(GREY))


@pytest.mark.parametrize(
    "value,message",
    [
        (np.nan, "NaN"),
        (np.inf, "infinity"),
        (-0.25, r"values in \[0, 1\].*got values from -0.25 to 1, the first one outside in column 5"),
        (7.5, r"values in \[0, 1\].*to 7.5"),
    ],
)
def test_bad_values_raise_as_on_the_host(value, message, hosted):
    x = BITS.astype(np.float32)
    x[4, 5] = value
    for given, device in ((Foreign(x), "cuda"), (x, "cpu")):
        with pytest.raises(ValueError, match=message):
            BernoulliRBM(2, n_iter=1, device=device, out_of_range="error").fit(given)
    if np.isfinite(value):
        with pytest.warns(fastrbm.DataRangeWarning, match=message.replace("must", "should")):
            warned = BernoulliRBM(2, n_iter=1, device="cuda", random_state=0).fit(Foreign(x))
        same = BernoulliRBM(2, n_iter=1, device="cpu", random_state=0, out_of_range="allow").fit(x)
        np.testing.assert_allclose(warned.components_, same.components_, atol=1e-5)
        assert BernoulliRBM(2, n_iter=1, device="cuda", out_of_range="allow").fit(Foreign(x)).n_iter_ == 1


@pytest.mark.parametrize("shape,message", [((0, 4), r"0 sample\(s\)"), ((4, 0), r"0 feature\(s\)")])
def test_empty_arrays_raise_as_on_the_host(shape, message, hosted):
    with pytest.raises(ValueError, match=message):
        BernoulliRBM(2, device="cuda").fit(Foreign(np.zeros(shape)))


def test_wrong_number_of_features(hosted):
    rbm = BernoulliRBM(2, n_iter=1, device="cuda").fit(Foreign(BITS))
    with pytest.raises(ValueError, match="X has 69 features, but BernoulliRBM is expecting 70 features"):
        rbm.transform(Foreign(BITS[:, 1:].copy()))


@pytest.mark.parametrize("device", ["auto", "cpu", "reference"])
def test_other_devices_say_what_to_do(device):
    rbm = BernoulliRBM(2, n_iter=1, device=device)
    for x in (Foreign(BITS), cuda.to_device(BITS)):
        with pytest.raises(TypeError, match=f"X is an array on a CUDA device .*device='{device}' .*device='cuda'"):
            rbm.fit(x)
        with pytest.raises(TypeError, match="X is an array on a CUDA device"):
            rbm.fit(BITS).transform(x)


def test_what_is_not_taken_from_a_device(hosted):
    for rbm, message in (
        (IsingRBM(2, device="cuda"), "visible units 'ising'"),
        (GaussianRBM(2, device="cuda"), "visible units 'gaussian'"),
        (BernoulliRBM(2, device="cuda", random_stream="sklearn", shuffle=False), "random_stream='sklearn'"),
    ):
        with pytest.raises(TypeError, match=f"X must be on the host .*{message}"):
            rbm.fit(Foreign(BITS))
    with pytest.raises(TypeError, match="chunks of X must be on the host"):
        BernoulliRBM(2, device="cuda").fit([cuda.to_device(BITS), cuda.to_device(BITS)])


def test_rows_that_need_no_change_are_used_where_they_are():
    x = cuda.to_device(GREY.astype(np.float32))
    data = DeviceData(x, 1.0, np.float32)
    ((rows, order),) = data.batches(np.arange(9), 4)
    assert rows.values is x and len(order) == 9
    assert isinstance(data.encoded(rows[order[:2]])[0], np.ndarray)
    bits = DeviceData(cuda.to_device(BITS), 1.0, np.float32)
    assert isinstance(bits.states("or not"), PackedBits)


def test_rows_that_are_converted_come_in_pieces(monkeypatch):
    monkeypatch.setattr("fastrbm._data.device._PIECE_BYTES", 2 * 4 * 70 * 4)
    data = DeviceData(cuda.to_device(DATA["images"]), 1 / 255, np.float32)
    pieces = list(data.batches(np.arange(9)[::-1], 4))
    assert [len(order) for _, order in pieces] == [8, 1]
    whole = np.concatenate([rows.to_host()[order] for rows, order in pieces])
    np.testing.assert_array_equal(whole, np.multiply(DATA["images"], np.float32(1 / 255), dtype=np.float32)[::-1])


# -- results in kind ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bool", "grey float64", "images"])
@pytest.mark.parametrize("hidden", ["bernoulli", "ising"])
def test_results_stay_on_the_device_if_asked_to(kind, hidden, hosted, monkeypatch):
    monkeypatch.setattr("fastrbm._data.device._ROWS", 4)
    x, same = DATA[kind], as_taken_there(kind)
    options = dict(hidden=hidden, n_components=3, n_iter=1, random_state=0, out_of_range="allow")
    host, there = RBM(device="cpu", **options).fit(same), RBM(device="cuda", **options).fit(Foreign(x))
    for method in ("transform", "gibbs"):
        wanted = getattr(host, method)(same)
        with config_context(device_output=True):
            found = getattr(there, method)(Foreign(x))
            assert interop.is_device_array(found)
            if method == "transform":
                assert isinstance(there.transform(x), np.ndarray)
        np.testing.assert_array_equal(found.copy_to_host(), wanted)
        assert found.dtype == wanted.dtype
    assert isinstance(there.transform(Foreign(x)), np.ndarray)


def test_device_output_must_be_a_bool():
    with (
        pytest.raises(TypeError, match="device_output must be True or False, got 'yes'"),
        config_context(device_output="yes"),
    ):
        pass
