"""Data files: the IDX format, where files are found, checksums, downloads and the cache."""

import gzip
import hashlib
import struct
import sys
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
from numpy.testing import assert_array_equal

from fastrbm import datasets
from fastrbm.datasets import _datafiles

COUNTS = {"train": 6, "t10k": 2}
SHAPE = (3, 4)


def idx_bytes(array, code=0x08):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


class TinySet:
    """A made-up data set of the same layout as MNIST, with its own checksums."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        total = sum(COUNTS.values())
        self.images = rng.integers(0, 256, (total, *SHAPE), dtype=np.uint8)
        self.labels = rng.integers(0, 10, total, dtype=np.uint8)
        self.files = {}
        start = 0
        for part, count in COUNTS.items():
            rows = slice(start, start + count)
            self.files[f"{part}-images-idx3-ubyte"] = idx_bytes(self.images[rows])
            self.files[f"{part}-labels-idx1-ubyte"] = idx_bytes(self.labels[rows])
            start += count

    def source(self, openml, system=None):
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in self.files.items()}
        return _datafiles.Source(openml, system, COUNTS, SHAPE, digests)

    def write(self, folder, packed=True, only=""):
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in self.files.items():
            if only in file:
                path = folder / (file + ".gz" * packed)
                path.write_bytes(gzip.compress(content, 1) if packed else content)
        return folder


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Two made-up sets in place of the real ones, an empty cache, no FASTRBM_DATA, and no network."""
    mnist, fashion = TinySet(1), TinySet(2)
    sources = {
        "mnist": mnist.source("mnist_784"),
        "fashion-mnist": fashion.source("Fashion-MNIST", tmp_path / "system"),
    }
    for name, source in sources.items():
        monkeypatch.setitem(_datafiles.SOURCES, name, source)
    monkeypatch.delenv("FASTRBM_DATA", raising=False)
    monkeypatch.setenv("FASTRBM_CACHE", str(tmp_path / "cache"))
    calls = []

    def offline(name, **options):
        calls.append(name)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)
    return SimpleNamespace(mnist=mnist, fashion=fashion, calls=calls, root=tmp_path)


# ---------------------------------------------------------------- IDX format


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 3, 2), (0, 3, 2)])
def test_idx_round_trip(tmp_path, shape, packed):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "any-name"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    assert_array_equal(datasets.read_idx(path), array)
    assert datasets.read_idx(path).shape == shape


def test_idx_larger_than_one_block_fills_the_given_array(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3000, 700), dtype=np.uint8)
    path = tmp_path / "big.gz"
    path.write_bytes(gzip.compress(idx_bytes(array), 1))
    whole = np.zeros((3002, 700), dtype=np.uint8)
    assert np.shares_memory(datasets.read_idx(path, out=whole[1:-1]), whole)
    assert_array_equal(whole[1:-1], array)
    assert not whole[0].any() and not whole[-1].any()


GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
BROKEN = {
    "empty": (b"", "not an IDX file"),
    "other format": (b"\x89PNG\r\n\x1a\n", "not an IDX file.*89 50 4e 47"),
    "no axes": (b"\0\0\x08\0", "not an IDX file"),
    "too many axes": (b"\0\0\x08\x04" + bytes(16), "not an IDX file"),
    "floats": (idx_bytes(np.zeros(3, np.float32), code=0x0D), "type code 0x0d.*0x08"),
    "header cut": (GOOD[:9], "truncated in the IDX header"),
    "payload cut": (GOOD[:-1], "truncated.*24 bytes"),
    "payload missing": (GOOD[:16], r"truncated.*\(4, 3, 2\)"),
    "absurd size": (b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),
    "absurd size, packed": (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "truncated"),
    "left-over": (GOOD + b"\0", "bytes left over"),
    "left-over, packed": (gzip.compress(GOOD + b"\0"), "bytes left over"),
    "payload cut, packed": (gzip.compress(GOOD[:-1]), "truncated; 23 of 24 bytes"),
    "gzip cut": (gzip.compress(GOOD)[:-12], "damaged gzip"),
    "gzip checksum cut": (gzip.compress(GOOD)[:-6], "damaged gzip"),
    "gzip checksum wrong": (gzip.compress(GOOD)[:-8] + bytes(8), "damaged gzip"),
    "gzip header only": (b"\x1f\x8b" + b"\xff" * 30, "damaged gzip"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_idx_refuses_damaged_files(tmp_path, case):
    content, message = BROKEN[case]
    path = tmp_path / "data-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.read_idx(path)
    assert str(path) in str(caught.value)


def test_idx_flipped_byte_in_the_packed_stream_is_noticed(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    packed = bytearray(gzip.compress(idx_bytes(array)))
    packed[500] ^= 1
    (tmp_path / "x.gz").write_bytes(packed)
    with pytest.raises(ValueError, match="damaged gzip"):
        datasets.read_idx(tmp_path / "x.gz")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((4, 5), np.uint8), r"holds an array of shape \(4, 3, 2\), expected \(4, 5\)"),
        (np.empty((6, 4), np.uint8), "expected"),
        (np.empty((4, 6), np.int8), "C-contiguous uint8"),
        (np.empty((4, 12), np.uint8)[:, ::2], "C-contiguous uint8"),
    ],
)
def test_idx_refuses_an_array_that_does_not_fit(tmp_path, out, message):
    (tmp_path / "x").write_bytes(GOOD)
    with pytest.raises(ValueError, match=message):
        datasets.read_idx(tmp_path / "x", out=out)


# ---------------------------------------------------------------- look-up


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sub", ["", "mnist"])
def test_files_are_found_in_the_folder_or_its_sub_folder(tiny, packed, sub):
    tiny.mnist.write(tiny.root / "here" / sub, packed)
    data = datasets.load_mnist("all", path=tiny.root / "here")
    assert_array_equal(data.images, tiny.mnist.images.reshape(8, 12))
    assert_array_equal(data.labels, tiny.mnist.labels)
    assert (data.shape, data.name, data.labels.dtype) == (SHAPE, "mnist", np.int64)


def test_subsets_are_the_two_halves_of_all(tiny):
    folder = tiny.mnist.write(tiny.root / "here")
    for subset, rows in (("train", slice(0, 6)), ("test", slice(6, 8))):
        data = datasets.load_mnist(subset, path=folder)
        assert_array_equal(data.images, tiny.mnist.images.reshape(8, 12)[rows])
        assert_array_equal(data.labels, tiny.mnist.labels[rows])


def test_test_images_do_not_need_the_training_files(tiny):
    folder = tiny.mnist.write(tiny.root / "here", only="t10k")
    assert len(datasets.load_mnist("test", path=folder).images) == 2
    with pytest.raises(datasets.DatasetNotFoundError, match="lacks train-images-idx3-ubyte"):
        datasets.load_mnist("all", path=folder)


def test_places_are_tried_in_order(tiny, monkeypatch):
    """Fill the places from the last to the first; what counts is which file is opened."""
    opened = []
    original = _datafiles.read_idx
    monkeypatch.setattr(datasets, "read_idx", lambda p, **kw: (opened.append(Path(p)), original(p, **kw))[1])
    monkeypatch.setenv("FASTRBM_DATA", str(tiny.root / "env"))
    for place in ("cache/fashion-mnist", "system", "env", "env/fashion-mnist"):
        tiny.fashion.write(tiny.root / place)
        datasets.load_fashion_mnist("test")
        assert opened[-1].parent == tiny.root / place
    tiny.fashion.write(tiny.root / "explicit")
    datasets.load_fashion_mnist("test", path=tiny.root / "explicit")
    assert opened[-1].parent == tiny.root / "explicit"
    assert tiny.calls == []


def test_folder_with_the_other_set_is_passed_over(tiny, monkeypatch):
    monkeypatch.setenv("FASTRBM_DATA", str(tiny.mnist.write(tiny.root / "env")))
    tiny.fashion.write(tiny.root / "system")
    assert_array_equal(datasets.load_fashion_mnist("all").labels, tiny.fashion.labels)
    with pytest.raises(datasets.DatasetNotFoundError, match="it holds mnist"):
        datasets.load_fashion_mnist(path=tiny.root / "env")


def test_explicit_path_without_the_files_does_not_fall_through(tiny):
    tiny.fashion.write(tiny.root / "system")
    (tiny.root / "empty").mkdir()
    with pytest.raises(datasets.DatasetNotFoundError, match="lacks train-images") as caught:
        datasets.load_fashion_mnist(path=tiny.root / "empty")
    assert tiny.calls == [] and "system" not in str(caught.value)


def test_offline_error_lists_every_place_and_the_remedy(tiny, monkeypatch):
    monkeypatch.setenv("FASTRBM_DATA", str(tiny.root / "env"))
    with pytest.raises(datasets.DatasetNotFoundError) as caught:
        datasets.load_fashion_mnist()
    message = str(caught.value)
    for part in (
        "fashion-mnist was not found",
        f"FASTRBM_DATA, {tiny.root / 'env' / 'fashion-mnist'}: no such folder",
        f"system folder, {tiny.root / 'system'}: no such folder",
        f"cache, {tiny.root / 'cache' / 'fashion-mnist'}: no such folder",
        "OpenML, 'Fashion-MNIST': URLError",
        "train-labels-idx1-ubyte.gz",
        "dataset-fashion-mnist",
    ):
        assert part in message
    assert isinstance(caught.value, OSError) and tiny.calls == ["Fashion-MNIST"]
    assert isinstance(caught.value.__cause__, urllib.error.URLError)


def test_download_false_never_asks_the_network(tiny):
    with pytest.raises(datasets.DatasetNotFoundError, match="FASTRBM_DATA: not set(.|\n)*download=False"):
        datasets.load_mnist(download=False)
    assert tiny.calls == []


def test_changed_byte_is_reported_with_both_digests(tiny):
    folder = tiny.mnist.write(tiny.root / "here", packed=False)
    path = folder / "train-images-idx3-ubyte"
    changed = path.read_bytes()[:-1] + b"\x01"
    path.write_bytes(changed)
    with pytest.raises(datasets.ChecksumError) as caught:
        datasets.load_mnist(path=folder)
    for part in (
        str(path),
        hashlib.sha256(changed).hexdigest(),
        _datafiles.SOURCES["mnist"].sha256[path.name],
    ):
        assert part in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_file_of_another_set_is_named(tiny):
    folder = tiny.mnist.write(tiny.root / "here", packed=False)
    tiny.fashion.write(folder, packed=False, only="train-images")
    with pytest.raises(datasets.ChecksumError, match="this is train-images-idx3-ubyte of fashion-mnist"):
        datasets.load_mnist(path=folder)


def test_damaged_labels_are_reported_not_passed_over(tiny, monkeypatch):
    folder = tiny.mnist.write(tiny.root / "env")
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"nothing")
    monkeypatch.setenv("FASTRBM_DATA", str(folder))
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte.gz: not an IDX file"):
        datasets.load_mnist()


@pytest.mark.parametrize("subset", ["Train", "", None, 0])
def test_unknown_subset(subset):
    with pytest.raises(ValueError, match="subset must be one of 'train', 'test', 'all'"):
        datasets.load_mnist(subset)


# ---------------------------------------------------------------- OpenML


def openml_bunch(made_up, dtype=np.float64):
    return SimpleNamespace(
        data=made_up.images.reshape(8, 12).astype(dtype),
        target=np.array([str(label) for label in made_up.labels], dtype=object),
    )


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_download_is_checked_kept_and_not_repeated(tiny, monkeypatch, dtype):
    calls = []

    def fetch(name, **options):
        calls.append((name, options["version"], options["as_frame"]))
        assert Path(options["data_home"]).parent == tiny.root / "cache"
        return openml_bunch(tiny.mnist, dtype)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    for subset, rows in (("all", slice(None)), ("test", slice(6, 8))):
        data = datasets.load_mnist(subset)
        assert_array_equal(data.images, tiny.mnist.images.reshape(8, 12)[rows])
        assert_array_equal(data.labels, tiny.mnist.labels[rows])
    assert calls == [("mnist_784", 1, False)]
    kept = sorted(path.name for path in (tiny.root / "cache" / "mnist").iterdir())
    assert kept == sorted(f"{file}.gz" for file in tiny.mnist.files)


@pytest.mark.parametrize("damage", ["pixel", "label", "order"])
def test_download_that_differs_is_refused_and_not_kept(tiny, monkeypatch, damage):
    bunch = openml_bunch(tiny.mnist)
    if damage == "pixel":
        bunch.data[0, 0] += 1 if bunch.data[0, 0] < 255 else -1
    elif damage == "label":
        bunch.target[0] = str((int(bunch.target[0]) + 1) % 10)
    else:
        bunch.data = bunch.data[::-1]
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda name, **options: bunch)
    with pytest.raises(datasets.ChecksumError, match="from OpenML's 'mnist_784' differs"):
        datasets.load_mnist()
    kept = [path.name for path in (tiny.root / "cache" / "mnist").iterdir()]
    assert kept == (["train-images-idx3-ubyte.gz"] if damage == "label" else [])


def test_download_of_another_size_is_refused(tiny, monkeypatch):
    bunch = openml_bunch(tiny.mnist)
    bunch.data = bunch.data[:7]
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda name, **options: bunch)
    with pytest.raises(datasets.DatasetNotFoundError, match=r"expected an array of shape \(8, 12\)"):
        datasets.load_mnist()


def test_interrupted_write_leaves_no_file(tmp_path):
    class Unwritable:
        @property
        def data(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _datafiles._write_gzip(tmp_path / "x.gz", b"head", Unwritable())
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- cache folder


def test_cache_folder_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTRBM_CACHE", str(tmp_path / "mine"))
    assert datasets.cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("FASTRBM_CACHE")
    assert "fastrbm" in datasets.cache_dir().name
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert datasets.cache_dir() == tmp_path / "xdg" / "fastrbm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert datasets.cache_dir() == Path.home() / ".cache" / "fastrbm"
