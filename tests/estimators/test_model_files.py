"""What is no model file, or was one: refused with a reason, without a large allocation, and nothing is run."""

import json
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import fastrbm
from fastrbm import BernoulliRBM
from fastrbm._estimator import io
from fastrbm.samplers import Tempering
from model_files import parts_of, put_text, put_together

X = np.eye(5)
SMALL = BernoulliRBM(2, n_iter=1, random_state=0, batch_size=5).fit(X)


@pytest.fixture
def path(tmp_path):
    return SMALL.save(tmp_path / "model.npz")


def refused(path, match="model file"):
    """The error of a file, for which little memory was asked."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match) as raised:
            fastrbm.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert path.name in str(raised.value)
    return str(raised.value)


def is_the_same(loaded):
    assert loaded.get_params() == SMALL.get_params() and loaded.history_ == SMALL.history_
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_"):
        x, y = getattr(loaded, name), getattr(SMALL, name)
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype
    mine, theirs = SMALL._state, loaded._state
    assert (mine.key, mine.epoch, mine.chains.step, mine.chains.updates) == (
        theirs.key, theirs.epoch, theirs.chains.step, theirs.chains.updates,
    )  # fmt: skip


# -- damage --------------------------------------------------------------------------------------------------------


def test_every_byte_that_is_changed_is_noticed_or_of_no_account(path):
    """One bit, all bits, and none."""
    whole = bytearray(path.read_bytes())
    harmless = 0
    for place, byte in enumerate(whole):
        for changed in {byte ^ 1, byte ^ 0xFF, 0} - {byte}:
            whole[place] = changed
            path.write_bytes(whole)
            try:
                loaded = fastrbm.load(path)
            except ValueError as error:
                assert path.name in str(error)
            else:
                harmless += 1
                is_the_same(loaded)
        whole[place] = byte
    # times, systems, attributes of the archive's members: less than a tenth of a file of some kilobytes
    assert 0 < harmless < len(whole) / 2


def test_every_length_that_is_cut_off_is_noticed(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


def test_bytes_behind_a_file_are_noticed_or_of_no_account(path):
    whole = path.read_bytes()
    for more in (b"\0", b"x" * 100, whole):
        path.write_bytes(whole + more)
        try:
            is_the_same(fastrbm.load(path))
        except ValueError as error:
            assert path.name in str(error)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"no file of any kind " * 50, pickle.dumps([1, 2])])
def test_foreign_files(path, content):
    path.write_bytes(content)
    refused(path)


def test_other_archives(path):
    np.savez(path, X=X)
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", "text")
        archive.writestr("readme.txt", "text")
    refused(path)


def test_checksums_tell_what_zip_files_do_not(path):
    """A whole archive with one number that is not what was saved."""
    header, arrays = parts_of(path)
    put_together(path, header, arrays)
    is_the_same(fastrbm.load(path))
    with np.load(path) as archive:
        kept = dict(archive)
    np.savez(path, **kept | {"components_": kept["components_"] + 1})
    assert "the checksum of components_ is wrong" in refused(path)
    text = str(kept["header"])
    np.savez(path, **kept | {"header": np.array(text.replace('"n_components": 2', '"n_components": 3'))})
    assert "the checksum of its header is wrong" in refused(path)
    np.savez(path, **{name: x for name, x in kept.items() if name != "checksum"})
    assert "the checksum of its header is wrong" in refused(path)
    np.savez(path, **kept, more=np.ones(3))
    assert "its arrays are not those of its header" in refused(path)


# -- what is forged ------------------------------------------------------------------------------------------------


class Harm:
    done = False

    def __reduce__(self):
        return setattr, (Harm, "done", True)


@pytest.mark.parametrize("where", ["components_", "header", "more"])
def test_pickles_are_not_read(path, where):
    _, arrays = parts_of(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **arrays | {where: np.array([Harm()], dtype=object)})
    refused(path)
    assert not Harm.done


def npy(description, data=b""):
    text = description.encode() + b" " * (-(len(description) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


FORGED = {
    "a shape that wraps": "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
    "a large shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
    "a shape below zero": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -16), }",
    "a large type": "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (1,), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
    "fields": "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (2,), }",
    "a program": "{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (2,), }",
    "nothing": "",
    "no end": "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000,
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_shapes_and_types(path, what):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["components_.npy"] = npy(FORGED[what], b"\0" * 16)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused(path)


def test_archives_that_unpack_to_more_than_they_are(path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["components_.npy"] = npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (25000000,), }", bytes(100_000_000)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    del members
    assert path.stat().st_size < 200_000
    refused(path)


def test_members_that_share_their_bytes(path):
    """Of a directory that names one member many times."""
    raw = path.read_bytes()
    start = raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    entries = raw[start:end]
    tail = bytearray(raw[end:])
    times = 50
    count = struct.unpack_from("<H", tail, 10)[0]
    struct.pack_into("<HH", tail, 8, count * times, count * times)
    struct.pack_into("<L", tail, 12, len(entries) * times)
    path.write_bytes(raw[:start] + entries * times + bytes(tail))
    refused(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(n_features=10**12),
        lambda h: h["state"].update(slots=10**9),
        lambda h: h["state"].update(step=2**70),
        lambda h: h["options"].update(n_components="many"),
        lambda h: h["options"].update(random_stream={"array": ["x"], "dtype": "U100000000"}),
        lambda h: h["options"].update(init={"array": [0], "dtype": "object"}),
        lambda h: h.update(history={"epoch": "x" * 10}),
        lambda h: h.update(module="os", estimator="system"),
        lambda h: h["options"].update(optimizer={"class": "os.system", "options": {}}),
        lambda h: h.update(version=99),
        lambda h: h.update(format="other"),
        lambda h: h.update(feature_names=["a"] * 4),
    ],
    ids=str,
)
def test_forged_headers_with_right_checksums(path, change):
    header, arrays = parts_of(path)
    change(header)
    put_together(path, header, arrays)
    try:
        loaded = fastrbm.load(path)
    except ValueError as error:
        assert path.name in str(error)
    else:  # an option that its next fit will refuse
        with pytest.raises((ValueError, TypeError)):
            loaded.fit(X)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "null", "[]", '"x"', "{}", "{", "\ud800", "1e999"])
def test_forged_texts_of_headers(path, text):
    put_text(path, text, parts_of(path)[1])
    refused(path)


def test_a_folder_that_cannot_be_put_on_the_disk_is_no_error(tmp_path, monkeypatch):
    opened = io.os.open

    def refused_to_open(name, *more):
        if name == tmp_path:
            raise PermissionError(13, "Permission denied")
        return opened(name, *more)

    monkeypatch.setattr(io.os, "open", refused_to_open)
    is_the_same(fastrbm.load(SMALL.save(tmp_path / "model.npz")))


def test_files_of_version_1_have_no_checksums(path):
    header, arrays = parts_of(path)
    header["version"] = 1
    np.savez(path, header=np.array(json.dumps(header)), **arrays)
    is_the_same(fastrbm.load(path))


def test_arrays_in_the_order_of_columns(path):
    header, arrays = parts_of(path)
    arrays["components_"] = np.asfortranarray(arrays["components_"])
    put_together(path, header, arrays)
    is_the_same(fastrbm.load(path))


def test_a_large_model_is_read_into_one_copy(tmp_path):
    rbm = BernoulliRBM(400, n_iter=1, random_state=0, batch_size=5, algorithm=Tempering(2)).fit(np.ones((5, 3000)))
    path = rbm.save(tmp_path / "large.npz")
    tracemalloc.start()
    loaded = io.read_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * path.stat().st_size and loaded[1]["components_"].nbytes == 4 * 400 * 3000
