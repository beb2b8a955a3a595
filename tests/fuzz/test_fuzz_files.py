"""Model files and tables of data that are anything: read, or refused by a message that names the file."""

import copy
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import fuzz, little_memory, said
from hypothesis import given
from hypothesis import strategies as st

import fastrbm
from fastrbm import BernoulliRBM, GaussianRBM, SoftmaxRBM
from fastrbm._cli import tables
from fastrbm.classifiers import FreeEnergyClassifier
from fastrbm.samplers import Tempering
from model_files import parts_of, put_together

X = (np.random.default_rng(0).random((12, 5)) < 0.4).astype(float)
SAVED = {
    "bits": BernoulliRBM(3, n_iter=1, batch_size=5, random_state=0, optimizer="adam").fit(X),
    "gaussian": GaussianRBM(3, n_iter=1, batch_size=5, random_state=0, sigma="learned").fit(X),
    "tempered": BernoulliRBM(3, n_iter=1, n_chains=4, random_state=0, algorithm=Tempering(2)).fit(X),
    "classes": SoftmaxRBM(3, n_iter=1, random_state=0).fit(X),
    "classifier": FreeEnergyClassifier(BernoulliRBM(3, n_iter=1, random_state=0)).fit(X, np.arange(12) % 2),
}
FOLDER = Path(tempfile.mkdtemp())
WHOLE = {name: one.save(FOLDER / f"{name}.npz").read_bytes() for name, one in SAVED.items()}
PARTS = {name: parts_of(FOLDER / f"{name}.npz") for name in SAVED}


def loaded(path):
    """A file that is read is one that can be used, and reading it takes little memory."""
    try:
        with little_memory():
            found = fastrbm.load(path)
    except (ValueError, ImportError) as error:
        assert path.name in str(error)
        return
    said(lambda: found.transform(X) if hasattr(found, "transform") else found.predict(X))
    if any(isinstance(x, int) and x > 1000 for name, x in found.get_params().items() if "random_state" not in name):
        return  # a number that somebody may have meant: a training that takes years, or all of the memory
    said(lambda: found.fit(X) if not hasattr(found, "classes_") else found.fit(X, np.arange(12) % 2))


@pytest.mark.parametrize("name", SAVED)
def test_bytes_of_model_files(name):
    whole = WHOLE[name]

    @fuzz
    @given(
        st.lists(
            st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=9), st.integers(0, 9)), min_size=1, max_size=4
        )
    )
    def run(edits):
        content = bytearray(whole)
        for place, new, gone in edits:
            content[place : place + gone] = new
        path = FOLDER / "broken.npz"
        path.write_bytes(content)
        loaded(path)

    run()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
ARRAYS = st.builds(
    lambda shape, dtype, value: np.full(shape, value).astype(dtype),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.sampled_from(["f4", "f8", "i4", "u8", "u1", "?", "U3", "c8"]),
    st.sampled_from([0, 1, 2, 200]),
)


def _places(value, path=()):
    """All places of a header."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _places(one, (*path, key))


@pytest.mark.parametrize("name", SAVED)
def test_headers_and_arrays_with_checksums_that_are_right(name):
    header, arrays = PARTS[name]
    places = [path for path in _places(header) if path]

    @fuzz
    @given(
        changes=st.lists(st.tuples(st.sampled_from(places), JSON), max_size=2),
        replaced=st.dictionaries(st.sampled_from([*arrays, "more"]), ARRAYS, max_size=2),
        gone=st.sets(st.sampled_from(list(arrays)), max_size=1),
    )
    def run(changes, replaced, gone):
        text = copy.deepcopy(header)
        for (*path, last), value in changes:
            at = text
            for key in path:
                there = key in at if isinstance(at, dict) else isinstance(key, int) and key < len(at)
                at = at[key] if there else None
                if not isinstance(at, (dict, list)):
                    break
            if isinstance(at, dict) or (isinstance(at, list) and isinstance(last, int) and last < len(at)):
                at[last] = value
        kept = {key: x for key, x in (arrays | replaced).items() if key not in gone}
        path = FOLDER / "forged.npz"
        try:
            json.dumps(text)
            put_together(path, text, kept)
        except (TypeError, ValueError, UnicodeEncodeError):
            return
        loaded(path)

    run()


SUFFIXES = [".csv", ".tsv", ".npy", ".npz", ".txt", ".parquet", ".h5", ".arrow"]


@fuzz
@given(suffix=st.sampled_from(SUFFIXES), content=st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_tables_of_any_bytes(suffix, content):
    path = FOLDER / f"table{suffix}"
    path.write_bytes(content)
    try:
        tables.read(str(path), tables.Choice())
    except Exception as error:
        assert isinstance(error, (ValueError, OSError, ImportError, MemoryError)), repr(error)


@fuzz
@given(
    st.lists(
        st.lists(
            st.sampled_from(["0", "1", "0.5", "", "NA", "nan", "inf", "x", "-1", "1e400", '"', "1,5"]), max_size=4
        ),
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t", " "]),
)
def test_texts_that_look_like_tables(rows, separator):
    path = FOLDER / "text.csv"
    path.write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8")
    try:
        tables.read(str(path), tables.Choice())
    except Exception as error:
        assert isinstance(error, (ValueError, OSError)), repr(error)


@fuzz
@given(st.binary(max_size=300))
def test_what_follows_the_head_of_an_array_file(content):
    head = io.BytesIO()
    np.save(head, np.zeros((2, 3)))
    path = FOLDER / "array.npy"
    path.write_bytes(head.getvalue()[:60] + content)
    try:
        tables.read(str(path), tables.Choice())
    except Exception as error:
        assert isinstance(error, (ValueError, OSError, MemoryError)), repr(error)
