"""Tables that the command reads: formats, headers, index and label columns, missing values, what it says of them."""

import gzip
import json
import os
import sys
import warnings

import h5py
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

import fastrbm
from cli_cases import assert_fails, run
from fastrbm import datasets
from fastrbm._cli import tables
from fastrbm._cli import text as text_module
from fastrbm._cli.tables import Choice

BITS = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]])
ROWS = np.array([[0.5, 1.25, -3.0], [1e-3, 0.1, 7.0], [2.0, 0.3, 1e10], [4.0, 5.0, 6.5]])
SMALL = ["--components", "3", "--epochs", "1"]


@pytest.fixture(params=["polars", "numpy"])
def reader(request, monkeypatch):
    """Text by polars, and without it."""
    if request.param == "numpy":
        monkeypatch.setitem(sys.modules, "polars", None)
    return request.param


def text_of(rows, names=None, index=None, separator=","):
    lines = [] if names is None else [separator.join(names)]
    for k, row in enumerate(rows.tolist()):
        lines.append(separator.join([*([] if index is None else [str(index[k])]), *map(repr, row)]))
    return "\n".join(lines) + "\n"


def read(tmp_path, text, name="d.csv", **choice):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tables.read(str(path), Choice(**choice))


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("names", [None, ("a", "b", "c")])
def test_numbers_are_exact(reader, tmp_path, monkeypatch, separator, names):
    monkeypatch.setattr(text_module, "_field_by_field", None)  # a plain table needs no second look
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 3)) * 10.0 ** rng.integers(-300, 300, (50, 3))
    table = read(tmp_path, text_of(rows, names, separator=separator))
    assert_array_equal(table.rows, rows)
    assert table.rows.dtype == np.float64 and table.rows.flags.c_contiguous and table.columns == names


@pytest.mark.parametrize("name", ["d.tsv", "d.csv.gz", "d.tsv.gz", "d.csv", "d.txt"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [False, True])
def test_no_row_is_lost(reader, tmp_path, name, bom, newline, header):
    """Byte order marks, ends of lines, blank lines at the end: all rows are there."""
    separator = "\t" if "tsv" in name else ","
    names = ("x", "y", "z") if header else None
    content = bom + (text_of(ROWS, names, separator=separator) + "\n\n").replace("\n", newline).encode()
    table = read(tmp_path, gzip.compress(content) if name.endswith("gz") else content, name)
    assert_array_equal(table.rows, ROWS)
    assert table.columns == names and ("header found" in table.notes) is header


@pytest.mark.parametrize("field", ["", "NA", "nan", "NaN", "null", "N/A", "?"])
@pytest.mark.parametrize("where", [(0, 0), (0, 2), (2, 1)])
@pytest.mark.parametrize("header", [False, True])
def test_missing_values_are_missing_values(reader, tmp_path, field, where, header):
    fields = [[repr(x) for x in row] for row in ROWS.tolist()]
    fields[where[0]][where[1]] = field
    text = ("a,b,c\n" if header else "") + "\n".join(",".join(row) for row in fields) + "\n"
    table = read(tmp_path, text)
    wanted = ROWS.copy()
    wanted[where] = np.nan
    assert_array_equal(table.rows, wanted)


HEADERS = {
    "words": (("a", "b", "c", "d"), ROWS[:, [0, 1, 2, 1]], True),
    "digits from 0": (tuple("01234"), ROWS[:, [0, 1, 2, 1, 0]], True),
    "digits from 0 over bits": (tuple(map(str, range(64))), np.tile(BITS, 22)[:, :64], True),
    "digits from 1": (tuple("12345"), ROWS[:, [0, 1, 2, 1, 0]], True),
    "few digits over other numbers": (("0", "1", "2"), ROWS, True),
    "quoted": (('"a"', '"b, c"', '"d"'), ROWS, True),
    "quoted digits": (('"0"', '"1"', '"2"', '"3"', '"4"'), ROWS[:, [0, 1, 2, 1, 0]], True),
    "one word among numbers": (("1", "2", "x"), ROWS, True),
    "none": (None, ROWS, False),
    "none, of bits": (None, BITS, False),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_are_found(reader, tmp_path, case):
    names, rows, found = HEADERS[case]
    table = read(tmp_path, text_of(rows, names))
    assert_array_equal(table.rows, rows)
    assert (table.columns is not None) is found
    if found:
        assert table.columns == tuple(name.strip('"') for name in names)


def test_a_header_that_may_be_data_is_asked_for(reader, tmp_path):
    text = "0,1\n1,1\n0,0\n"
    with pytest.raises(ValueError, match="--header or --no-header"):
        read(tmp_path, text)
    assert_array_equal(read(tmp_path, text, header=True).rows, [[1, 1], [0, 0]])
    assert_array_equal(read(tmp_path, text, header=False).rows, [[0, 1], [1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("head", "index"),
    [
        (("", "a", "b", "c"), [5, 3, 9, 1]),  # pandas
        (("Unnamed: 0", "a", "b", "c"), [5, 3, 9, 1]),
        (("a", "b", "c"), ["r1", "r2", "r3", "r4"]),  # R: no name for the names of rows
        (("", "0", "1", "2"), [0, 1, 2, 3]),  # pandas without names of columns
        (("id", "a", "b", "c"), [0, 1, 2, 3]),
        (("id", "a", "b", "c"), [1, 2, 3, 4]),
        (None, [0, 1, 2, 3]),
        (None, [1, 2, 3, 4]),
    ],
)
def test_index_columns_are_dropped_and_that_is_said(reader, tmp_path, head, index):
    text = text_of(ROWS, head, index)
    table = read(tmp_path, text)
    assert_array_equal(table.rows, ROWS)
    assert "index column dropped" in table.notes
    if head is None or head[0] == "id":
        kept = read(tmp_path, text, numbered=False)
        assert_array_equal(kept.rows, np.column_stack([index, ROWS]))
        assert_array_equal(read(tmp_path, text, columns="all").rows, kept.rows)
    assert_array_equal(read(tmp_path, text_of(ROWS, None, [7, 1, 2, 3]), numbered=True).rows, ROWS)


def test_a_single_column_is_no_index(reader, tmp_path):
    assert_array_equal(read(tmp_path, "n\n0\n1\n2\n3\n").rows, [[0], [1], [2], [3]])


LABELLED = "sepal,petal,species\n0.5,0.25,setosa\n1,0,virginica\n0,1,setosa\n"


@pytest.mark.parametrize("option", ["drop", "label"])
def test_columns_of_words_are_named(reader, tmp_path, option):
    with pytest.raises(ValueError, match="'species'.*--label species"):
        read(tmp_path, LABELLED)
    with pytest.raises(ValueError, match="got 'setosa' in line 2, column 'species': leave the column out by --drop"):
        read(tmp_path, LABELLED, columns="all")
    table = read(tmp_path, LABELLED, **{option: "species"})
    assert_array_equal(table.rows, [[0.5, 0.25], [1, 0], [0, 1]])
    if option == "label":
        assert table.labels.tolist() == ["setosa", "virginica", "setosa"] and table.label == "species"
    assert_array_equal(read(tmp_path, LABELLED, columns="0:1").rows, table.rows)


@pytest.mark.parametrize("name", ["label", "class", "Target", "LABELS"])
def test_labels_are_never_guessed(reader, tmp_path, name):
    text = f"a,b,{name}\n0,1,1\n1,0,0\n"
    with pytest.raises(ValueError, match=f"may hold labels: leave it out by --label {name}, or keep it by"):
        read(tmp_path, text)
    assert read(tmp_path, text, columns="all").rows.shape == (2, 3)
    assert read(tmp_path, text, label=name).rows.shape == (2, 2)


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ({"columns": "c,a"}, [2, 0]),
        ({"columns": "1:2"}, [1, 2]),
        ({"columns": "b:c"}, [1, 2]),
        ({"columns": "0, -1"}, [0, 2]),
        ({"drop": "b"}, [0, 2]),
        ({"drop": "0:1"}, [2]),
        ({"columns": "all", "drop": "2"}, [0, 1]),
        ({"columns": "0:2", "label": "b"}, [0, 2]),
    ],
)
def test_columns_are_chosen(reader, tmp_path, choice, kept):
    table = read(tmp_path, text_of(ROWS, "abc"), **choice)
    assert_array_equal(table.rows, ROWS[:, kept])
    assert table.columns == tuple("abc"[k] for k in kept)
    np.save(tmp_path / "d.npy", ROWS)
    if not any(letter in str(choice) for letter in ("'b", "'c", "a,")):
        assert_array_equal(tables.read(str(tmp_path / "d.npy"), Choice(**choice)).rows, ROWS[:, kept])


@pytest.mark.parametrize(
    ("text", "choice", "message"),
    [
        ("", {}, "empty file"),
        ("a,b\n", {}, "a header only"),
        ("a,b\n1,2\n3\n", {}, "must have 2 columns, got 1 in line 3"),
        ("a,b\n1,2\n3,4,5\n", {}, "must have 2 columns, got 3 in line 3"),
        ("a,b\n1,2\n3,x\n", {}, "got 'x' in line 3, column 'b'"),
        ("1,5;2,5\n3,5;4,5\n", {}, "must hold numbers, got"),
        (
            "a,b\n1,2\n",
            {"columns": "c"},
            "--columns must name columns of .* numbers from 0 to 1 or one of a, b, got 'c'",
        ),
        ("a,b\n1,2\n", {"drop": "a,b"}, "no column left"),
        ("a,b\n1,2\n", {"columns": "1:0"}, "ends before it begins"),
        ("a,a\n1,2\n", {"columns": "a"}, "has 2 columns 'a'"),
        ("a,b\n1,2\n", {"label": "0:1"}, "--label must be one column"),
        (b"a,b\n1,\xff\n", {}, "must be text in UTF-8, got byte 0xff at 6"),
    ],
)
def test_texts_that_are_no_tables(reader, tmp_path, text, choice, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text, **choice)
    assert "d.csv" in str(caught.value) or "--" in str(caught.value)


def test_blank_lines_are_no_rows(reader, tmp_path):
    lines = text_of(ROWS, "abc").splitlines()
    text = "\n\n" + "\n".join([*lines[:3], "", ",,", *lines[3:]]) + "\n\n\n"
    table = read(tmp_path, text)
    assert_array_equal(table.rows, ROWS)
    assert table.columns == tuple("abc")


# ---------------------------------------------------------------- other formats


def write_parquet(path, rows):
    pl.DataFrame(rows, schema=["a", "b", "c"]).write_parquet(path)
    return path


def write_hdf5(path, rows):
    with h5py.File(path, "w") as file:
        file["inner/X"] = rows
        file["y"] = np.arange(len(rows))
    return path


WRITERS = {
    "d.npy": lambda path, rows: (np.save(path, rows), path)[1],
    "d.npz": lambda path, rows: (np.savez(path, X=rows, y=np.arange(len(rows))), path)[1],
    "packed.npz": lambda path, rows: (np.savez_compressed(path, rows), path)[1],
    "d.parquet": write_parquet,
    "d.h5": write_hdf5,
    "named.hdf5": lambda path, rows: f"{write_hdf5(path, rows)}:inner/X",
    "d.csv": lambda path, rows: (path.write_text(text_of(rows)), path)[1],
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("rows", [ROWS, ROWS.astype(np.float32), BITS])
def test_formats_hold_the_same(tmp_path, name, rows):
    path = WRITERS[name](tmp_path / name, rows)
    assert_array_equal(tables.read(str(path), Choice()).rows, rows)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_archives(tmp_path, kind, capsys):
    path = tmp_path / "s.npz"
    sparse.save_npz(path, getattr(sparse, f"{kind}_array")(BITS))
    table = tables.read(str(path), Choice())
    assert sparse.issparse(table.rows) and (table.rows.toarray() == BITS).all()
    for model in ("BernoulliRBM", "GaussianRBM", "IsingRBM", "SoftmaxRBM"):
        assert run("train", path, "--out", tmp_path / "m.npz", "--model", model, *SMALL) == 0
        assert "4 rows, 3 columns, values 0..1, sparse" in capsys.readouterr().out
        assert run("transform", tmp_path / "m.npz", path, "--out", tmp_path / "f.npy", "--force") == 0
        capsys.readouterr()
        assert np.load(tmp_path / "f.npy").shape == (4, 3)


def test_parquet_columns(tmp_path):
    path = tmp_path / "d.parquet"
    pl.DataFrame({"__index_level_0__": [3, 1, 2], "a": [1, None, 3], "b": [True, False, True]}).write_parquet(path)
    table = tables.read(str(path), Choice())
    assert_array_equal(table.rows, [[1, 1], [np.nan, 0], [3, 1]])
    assert table.columns == ("a", "b") and table.notes == ("index column dropped",)
    pl.DataFrame({"a": [0.5, 1], "kind": ["x", "y"]}).write_parquet(path)
    with pytest.raises(ValueError, match="String in column 'kind': leave the column out by --drop kind"):
        tables.read(str(path), Choice())
    assert tables.read(str(path), Choice(label="kind")).labels.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("library", "name", "extra"), [("polars", "d.parquet", "polars"), ("h5py", "d.h5", "h5py")]
)  # fmt: skip
def test_missing_libraries_are_named_with_the_remedy(tmp_path, monkeypatch, capsys, library, name, extra):
    path = WRITERS[name](tmp_path / name, BITS)
    monkeypatch.setitem(sys.modules, library, None)
    assert_fails(capsys, f'need {extra}: pip install "fastrbm[io]"', "train", path, "--out", tmp_path / "m.npz")


@pytest.mark.parametrize("name", ["d.npy", "d.npz", "d.parquet", "d.h5", "d.csv.gz", "d.csv"])
@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk", b"\x93NUMPY\x01\x00", b"\x1f\x8bjunk", b"PAR1"])
def test_damaged_files_are_one_line(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert_fails(capsys, name.split(".")[0], "train", tmp_path / name, "--out", tmp_path / "m.npz")


@pytest.mark.parametrize("name", ["g.parquet", "g.npy", "g.npz", "s.npz", "g.h5", "g.csv.gz", "g.csv"])
def test_damage_anywhere_is_an_error_that_names_the_file(tmp_path, capfd, name):
    """Or numbers: nothing else comes out, on stderr neither, and nothing that is no ValueError."""
    rng, path = np.random.default_rng(0), tmp_path / name
    if name == "s.npz":
        sparse.save_npz(path, sparse.csr_array(BITS))
    elif name == "g.csv.gz":
        path.write_bytes(gzip.compress(text_of(ROWS, "abc").encode()))
    else:
        WRITERS[name.replace("g.", "d.")](path, np.tile(ROWS, (20, 1)))
    whole = path.read_bytes()
    for k in range(60):
        broken = bytearray(whole)
        if k % 4 == 0:
            del broken[int(rng.integers(len(broken))) :]
        for at in rng.integers(len(broken), size=k % 4) if broken else ():
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        try:
            tables.read(str(path), Choice())
        except (ValueError, MemoryError) as error:
            assert isinstance(error, MemoryError) or (name in str(error) and "\n" not in str(error))
    assert capfd.readouterr().err == ""


def test_a_panic_of_polars_is_an_error_like_others(tmp_path, monkeypatch, capfd):
    class PanicException(BaseException):
        pass

    def panic(path):
        os.write(2, b"stack backtrace")
        raise PanicException("called unwrap\non nothing")

    path = write_parquet(tmp_path / "d.parquet", ROWS)
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(ValueError, match="d.parquet cannot be read: called unwrap$"):
        tables.read(str(path), Choice())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.5, 1.0]), "must hold a table of numbers; got shape (2,)"),
        (np.empty((0, 3)), "must hold a table of numbers"),
        (np.array([["a"]]), "must hold a table of numbers"),
        (np.array([[1j]]), "must hold a table of numbers"),
        (np.array([[None]], dtype=object), "cannot be read"),
        (np.zeros(3, dtype=[("a", "f8")]), "structured array"),
        (np.array(1.0), "must hold a table of numbers; got shape ()"),
    ],
)
def test_arrays_that_are_no_tables(tmp_path, capsys, array, message):
    np.save(tmp_path / "d.npy", array, allow_pickle=True)
    assert_fails(capsys, message, "train", tmp_path / "d.npy", "--out", tmp_path / "m.npz")
    assert not (tmp_path / "m.npz").exists()


def test_archives_of_several_arrays_and_data_sets_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", a=BITS, b=BITS)
    assert_fails(capsys, "must hold one array", "train", tmp_path / "d.npz", "--out", tmp_path / "m.npz")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["a"], file["b"] = BITS, BITS
    assert_fails(capsys, "d.h5:DATASET with one of", "train", tmp_path / "d.h5", "--out", tmp_path / "m.npz")
    assert_fails(capsys, "must have a data set 'c'", "train", f"{tmp_path / 'd.h5'}:c", "--out", tmp_path / "m.npz")
    assert run("train", f"{tmp_path / 'd.h5'}:b", "--out", tmp_path / "m.npz", "--quiet", *SMALL) == 0
    assert_fails(capsys, "got a model file", "train", tmp_path / "m.npz", "--out", tmp_path / "n.npz")


# ---------------------------------------------------------------- what values mean


def trained(tmp_path, rows, *argv, name="d.csv"):
    path = tmp_path / name
    np.save(path, rows) if name.endswith("npy") else path.write_text(text_of(np.asarray(rows)))
    assert run("train", path, "--out", tmp_path / "m.npz", *SMALL, *argv) == 0
    return fastrbm.load(tmp_path / "m.npz")


def fitted(rows, *, cls=fastrbm.BernoulliRBM, **options):
    chosen = {"batch_size": 64, "n_chains": 256, "random_state": 0, "visible_bias": "data"}
    chosen["learning_rate"] = fastrbm.schedules.Linear(0.1, 0.0005)
    return cls(3, n_iter=1, **(chosen | options)).fit(rows)


def same(a, b):
    assert_array_equal(a.components_, b.components_)
    assert_array_equal(a.intercept_visible_, b.intercept_visible_)


GENOTYPES = np.random.default_rng(1).integers(0, 3, (30, 5))
GREY = np.random.default_rng(2).integers(0, 256, (30, 5))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
@pytest.mark.parametrize("name", ["d.csv", "d.npy"])
def test_whole_numbers_are_refused_with_the_remedy(tmp_path, capsys, dtype, name):
    """Bytes with few levels, numbers in a CSV: nothing is divided in silence."""
    rows = GENOTYPES.astype(dtype)
    path = tmp_path / name
    np.save(path, rows) if name == "d.npy" else path.write_text(text_of(rows))
    line = assert_fails(capsys, "whole numbers 0..2", "train", path, "--out", tmp_path / "m.npz")
    assert "--scale 2" in line and "--model SoftmaxRBM" in line
    same(trained(tmp_path, rows, "--scale", 2, name=name), fitted((GENOTYPES / 2).astype(np.float32)))
    assert run("train", path, "--out", tmp_path / "m.npz", "--model", "SoftmaxRBM", *SMALL) == 0


def test_grey_values_need_a_scale_unless_they_are_bytes_of_images(tmp_path, capsys):
    image = trained(tmp_path, GREY.astype(np.uint8), name="d.npy")
    same(image, fitted(GREY.astype(np.uint8)))
    path = tmp_path / "d.csv"
    path.write_text(text_of(GREY))
    line = assert_fails(capsys, "whole numbers 5..254", "train", path, "--out", tmp_path / "m.npz")
    assert "--scale 255" in line
    scaled = trained(tmp_path, GREY, "--scale", 255)
    np.testing.assert_allclose(scaled.components_, image.components_, atol=1e-5)


def test_a_model_remembers_the_scale(tmp_path, capsys):
    """--scale is said once, when it is trained; saying another one later counts for that command."""
    model, features, rows = tmp_path / "m.npz", tmp_path / "f.npy", GREY / 255
    machine = trained(tmp_path, GREY, "--scale", 255)
    assert machine.input_scale == pytest.approx(1 / 255) and machine.input_scale_ == machine.input_scale
    capsys.readouterr()
    wanted = machine.set_params(input_scale="auto").transform(rows)
    half = tmp_path / "half.csv"
    half.write_text(text_of(rows / 2))
    for name, argv in (("d.csv", []), ("d.csv", ["--scale", 255]), ("half.csv", ["--scale", 0.5])):
        assert run("transform", model, tmp_path / name, "--out", features, "--force", "--quiet", *argv) == 0
        np.testing.assert_allclose(np.load(features), wanted, rtol=1e-5)
    np.save(tmp_path / "bits.npy", GREY > 128)  # bits are bits
    assert run("transform", model, tmp_path / "bits.npy", "--out", features, "--force", "--quiet") == 0
    np.testing.assert_allclose(np.load(features), machine.transform((GREY > 128).astype(float)), rtol=1e-5)
    assert run("evaluate", model, tmp_path / "d.csv", "--binarize", "threshold", "--json") == 0
    score = machine.score_samples((GREY > 127.5).astype(float)).mean()
    assert json.loads(capsys.readouterr().out)["pseudo_likelihood"] == pytest.approx(score)
    assert_fails(capsys, "add --binarize threshold", "evaluate", model, tmp_path / "d.csv")
    message = "holds values 5..254, which must lie in [0, 100] with --scale 100"
    assert_fails(capsys, message, "transform", model, tmp_path / "d.csv", "--out", features, "--force", "--scale", 100)
    assert run("train", tmp_path / "d.csv", "--resume", model, "--epochs", 1, "--quiet") == 0
    assert fastrbm.load(model).input_scale == machine.input_scale_
    argv = ["--scale", 255, "--input-scale", 0.5]
    assert_fails(capsys, "give one of them", "train", tmp_path / "d.csv", "--out", model, *argv, status=2)
    samples = tmp_path / "s.npy"
    assert run("sample", model, "--out", samples, "--n", 20, "--steps", 3) == 0
    assert set(np.unique(np.load(samples))) == {0, 1}
    assert run("sample", model, "--out", tmp_path / "s.png", "--n", 20, "--steps", 3, "--shape", 1, 5) == 0


@pytest.mark.parametrize("choice", ["warn", "allow"])
def test_values_out_of_range_are_used_where_that_is_asked_for(tmp_path, capsys, choice):
    rows = np.random.default_rng(0).random((10, 3)) * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = fitted(rows, visible_bias="zeros")
    same(trained(tmp_path, rows, "--out-of-range", choice), wanted)
    err = capsys.readouterr().err
    assert (choice == "warn") is ("DATA should hold values in [0, 1]" in err) and "MinMaxScaler" not in err


@pytest.mark.parametrize("argv", [[], ["--scale", 255]])
def test_images_are_divided_for_real_units_too(tmp_path, argv):
    more = ["--model", "GaussianRBM", "--quiet", *argv]
    assert run("train", "digits", "--out", tmp_path / "m.npz", *SMALL, *more) == 0
    images = datasets.load_digits().images / np.float32(255)
    wanted = fastrbm.GaussianRBM(3, n_iter=1, batch_size=64, n_chains=256, random_state=0, visible_bias="data")
    same(fastrbm.load(tmp_path / "m.npz"), wanted.fit(images))


@pytest.mark.parametrize(("levels", "top", "image"), [(16, 15, False), (8, 200, False), (20, 40, True), (2, 255, True)])
def test_bytes_are_images_where_there_are_many_levels_or_white(tmp_path, capsys, levels, top, image):
    rows = np.random.default_rng(0).choice(np.linspace(0, top, levels).astype(np.uint8), (40, 6))
    np.save(tmp_path / "d.npy", rows)
    status = run("train", tmp_path / "d.npy", "--out", tmp_path / "m.npz", *SMALL, "--quiet")
    assert status == (0 if image else 1), capsys.readouterr().err


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float64])
def test_bits_are_bits(tmp_path, dtype):
    same(trained(tmp_path, BITS.astype(dtype), name="d.npy"), fitted(BITS.astype(bool)))


def test_probabilities_are_used_as_they_are_and_rounding_is_no_error(tmp_path):
    rows = np.random.default_rng(0).random((10, 3))
    same(trained(tmp_path, rows), fitted(rows))
    nearly = rows.copy()
    nearly[0] = 0, 1, 0.5
    nudged = nearly + np.where(nearly == 1, 2e-16, 0) - np.where(nearly == 0, 1e-9, 0)
    same(trained(tmp_path, nudged), fitted(nearly))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[-1.0, 0.5], [0, 1]], "values -1..1 in column 0, and Bernoulli units take values in [0, 1]"),
        ([[0.5, 2.5], [0, 1]], "values 0..2.5 in column 1"),
        ([[-1, 2], [0, 1]], "whole numbers -1..2"),
        ([[0.5, np.nan], [0, 1]], "got a missing value in row 0 (from 0), column '1'"),
        ([[0.5, 0.25], [np.inf, 1]], "got inf in row 1 (from 0), column '0'"),
    ],
)
def test_values_that_bernoulli_units_do_not_take(tmp_path, capsys, rows, message):
    for name in ("d.npy", "d.csv"):
        path = tmp_path / name
        np.save(path, rows) if name == "d.npy" else path.write_text(text_of(np.array(rows)))
        assert_fails(capsys, message, "train", path, "--out", tmp_path / "m.npz")
    assert not (tmp_path / "m.npz").exists()


def test_missing_entries_are_for_softmax_units(tmp_path, capsys):
    path = tmp_path / "ratings.csv"
    path.write_text("a,b,c\n0,,2\nNA,1,1\n2,0,0\n")
    line = assert_fails(capsys, "column 'b'", "train", path, "--out", tmp_path / "m.npz", "--model", "GaussianRBM")
    assert "row 0" in line and "--drop b" in line and "SoftmaxRBM" in line
    assert run("train", path, "--out", tmp_path / "m.npz", "--model", "SoftmaxRBM", *SMALL) == 0
    assert "3 rows, 3 columns (a, b, c), values 0..2, 2 missing, header found" in capsys.readouterr().out
    wanted = fastrbm.SoftmaxRBM(3, n_iter=1, batch_size=64, random_state=0, visible_bias="data")
    wanted.fit(np.array([[0, np.nan, 2], [np.nan, 1, 1], [2, 0, 0]]))
    same(fastrbm.load(tmp_path / "m.npz"), wanted)


def test_bits_are_spins_for_ising_units(tmp_path):
    spins = trained(tmp_path, BITS, "--model", "IsingRBM")
    same(spins, fitted(2 * BITS - 1, cls=fastrbm.IsingRBM))


def test_one_line_says_what_was_read(tmp_path, capsys):
    path = tmp_path / "wine.csv"
    path.write_text("id,alcohol,ash,magnesium,hue,proline,class\n0,1,2.5,3,4,5,1\n1,6,7,8,9,1680,2\n2,1,1,1,1,0.13,3\n")
    argv = ["--model", "GaussianRBM", "--label", "class", "--learning-rate", "1e-9"]
    assert run("train", path, "--out", tmp_path / "m.npz", *argv, *SMALL) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        "wine.csv: 3 rows, 5 columns (alcohol, ash, ..., proline), values 0.13..1680, labels in class, header found, "
        "index column dropped"
    )


@pytest.mark.parametrize("method", ["bernoulli", "threshold", "otsu"])
def test_binarize_turns_the_data_into_bits(tmp_path, method):
    argv = ["--quiet", "--binarize", method, "--seed", 2, *SMALL]
    assert run("train", "digits", "--out", tmp_path / "m.npz", *argv) == 0
    bits = datasets.binarize(datasets.load_digits().images, method, random_state=2)
    same(fastrbm.load(tmp_path / "m.npz"), fitted(bits, random_state=2))


@pytest.mark.parametrize(("name", "function"), [("mnist", "load_mnist"), ("fashion-mnist", "load_fashion_mnist")])
def test_data_dir_and_subset_reach_the_loader(tmp_path, monkeypatch, name, function):
    asked = []

    def load(**options):
        asked.append(options)
        return datasets.load_digits()

    monkeypatch.setattr(datasets, function, load)
    argv = ["--data-dir", tmp_path, "--subset", "all", "--quiet", *SMALL]
    assert run("train", name, "--out", tmp_path / "m.npz", *argv) == 0
    assert asked == [{"subset": "all", "path": str(tmp_path)}]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nonsense"], "DATA must be digits, mnist, fashion-mnist or the path of a file, .npy, .npz, .csv(.gz)"),
        (["absent.npy"], "absent.npy"),
        (["absent.csv"], "absent.csv"),
        (["absent.parquet"], "absent.parquet"),
        (["absent.h5:X"], "absent.h5"),
        ([".npy"], ".npy"),
        (["absent.npy", "--data-dir", "x"], "--data-dir is for mnist and fashion-mnist only"),
        (["digits", "--data-dir", "x"], "--data-dir is for mnist and fashion-mnist only"),
        (["digits", "--label", "x"], "are for files"),
        (["mnist", "--data-dir", "no-such-folder"], "mnist was not found"),
        (["folder.csv"], "is a folder"),
    ],
)
def test_data_that_are_not_there(tmp_path, capsys, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert_fails(capsys, message, "train", "--out", "m.npz", *argv)


@pytest.mark.parametrize("scale", [1e20, 1e200])
def test_huge_numbers_are_no_whole_ones(tmp_path, capsys, scale):
    np.save(tmp_path / "x.npy", scale * np.random.default_rng(0).normal(size=(20, 3)))
    line = assert_fails(capsys, "x.npy holds values -", "train", tmp_path / "x.npy", "--out", tmp_path / "m.npz")
    assert "GaussianRBM" in line and len(line) < 300


def test_infinity_is_no_missing_category(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("1,inf\n0,1\n")
    line = assert_fails(capsys, "got inf in row 0", "train", tmp_path / "x.csv", "--out", tmp_path / "m.npz")
    assert "Softmax" not in line
