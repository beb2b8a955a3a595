"""The command line: what it writes and prints, how options reach the estimator, and how errors look."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastrbm
from fastrbm import datasets
from fastrbm._cli import main as cli

SMALL = ["--components", "12", "--epochs", "1", "--batch-size", "100"]


def run(*argv):
    return cli.main([str(part) for part in argv])


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.npz"
    assert run("train", "digits", "--out", path, "--quiet", *SMALL) == 0
    return path


def assert_fails(capsys, message, *argv):
    """One line on stderr, status 1, nothing that looks like a traceback."""
    assert run(*argv) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("fastrbm: error: ") and message in captured.err
    assert "Traceback" not in captured.err + captured.out


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize("command", [(), ("train",), ("sample",), ("demo",), ("info",)])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        run(*command, "--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: fastrbm" in shown and "None" not in shown


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fastrbm {fastrbm.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train", "digits"], "required: --out"),
        (["train", "--out", "m.npz"], "required: DATA"),
        (
            ["train", "digits", "--out", "m.npz", "--components", "0"],
            "--components: must be at least 1, got 0",
        ),
        (["train", "digits", "--out", "m.npz", "--components", "x"], "--components: invalid whole number"),
        (["train", "digits", "--out", "m.npz", "--learning-rate", "-1"], "--learning-rate: must be positive"),
        (
            ["train", "digits", "--out", "m.npz", "--learning-rate", "nan"],
            "--learning-rate: must be positive",
        ),
        (["train", "digits", "--out", "m.npz", "--momentum", "1"], "--momentum: must be from 0 to below 1"),
        (["train", "digits", "--out", "m.npz", "--algorithm", "sgd"], "invalid choice: 'sgd'"),
        (["train", "digits", "--out", "m.npz", "--binarize", "half"], "invalid choice: 'half'"),
        (["sample", "m.npz"], "required: --out"),
        (["sample", "m.npz", "--out", "x.npy", "--shape", "3"], "--shape: expected 2 arguments"),
        (["info", "more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_usage_has_status_2(capsys, argv, message):
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert "fastrbm: error: " in captured.err and message in captured.err and captured.out == ""


def test_info_tells_what_would_be_picked(capsys):
    assert run("info", "--kernels", "--batch-size", "10", "--density", "0.1", "--hidden", "50") == 0
    out = capsys.readouterr().out
    assert "784 visible units, 50 hidden units, 0.1 of them active" in out
    assert re.search(r"products of 10 states in a minibatch +rows", out) and "lowbit" in out
    assert run("info", "--kernels", "--batch-size", "100000", "--density", "1") == 0
    assert re.search(r"products of 100000 states in a minibatch +look-ups", capsys.readouterr().out)
    assert run("info", "--density", "0.1") == 1
    assert "need --kernels" in capsys.readouterr().err


def test_info_prints_versions(capsys):
    assert run("info") == 0
    assert "fastrbm" in capsys.readouterr().out


# ---------------------------------------------------------------- train


def test_train_writes_a_model_and_says_what_it_did(tmp_path, capsys):
    path = tmp_path / "model.npz"
    assert run("train", "digits", "--out", path, *SMALL) == 0
    out = capsys.readouterr().out
    for part in ("1797 rows of 64", "12 hidden units", "1 epochs in", "pseudo-likelihood -", str(path)):
        assert part in out
    loaded = fastrbm.load(path)
    assert loaded.components_.shape == (12, 64) and np.isfinite(loaded.components_).all()


def test_quiet_prints_nothing(model, capsys):
    assert capsys.readouterr() == ("", "")


def test_equal_seeds_give_equal_models(tmp_path):
    weights = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        path = tmp_path / f"{name}.npz"
        assert run("train", "digits", "--out", path, "--quiet", "--seed", seed, *SMALL) == 0
        weights[name] = fastrbm.load(path).components_
    assert_array_equal(weights["a"], weights["b"])
    assert (weights["a"] != weights["c"]).any()


class Recorder:
    """Stands in for the estimator and remembers how it was used."""

    made = None

    def __init__(self, *args, **options):
        Recorder.made = self
        self.args, self.options = args, options

    def fit(self, rows):
        self.rows = rows
        return self

    def save(self, path):
        self.path = path

    def score_samples(self, rows):
        return np.zeros(len(rows))


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(fastrbm, "BernoulliRBM", Recorder)
    return Recorder


DEFAULTS = {
    "learning_rate": 0.1,
    "batch_size": 10,
    "n_iter": 10,
    "random_state": 0,
    "algorithm": "pcd",
    "n_gibbs_steps": 1,
    "n_chains": None,
    "optimizer": "sgd",
    "stochastic_input": False,
    "precision": "full",
    "hidden_statistics": "mean",
    "device": "auto",
    "n_threads": None,
    "dtype": None,
}


@pytest.mark.parametrize(
    ("argv", "changed"),
    [
        ([], {}),
        (["--learning-rate", "0.02"], {"learning_rate": 0.02}),
        (["--batch-size", "7"], {"batch_size": 7}),
        (["--epochs", "3"], {"n_iter": 3}),
        (["--seed", "5"], {"random_state": 5}),
        (["--algorithm", "cd"], {"algorithm": "cd"}),
        (["--gibbs-steps", "4"], {"n_gibbs_steps": 4}),
        (["--chains", "6"], {"n_chains": 6}),
        (["--stochastic-input"], {"stochastic_input": True}),
        (["--precision", "fast"], {"precision": "fast"}),
        (["--hidden-statistics", "sampled"], {"hidden_statistics": "sampled"}),
        (["--device", "reference"], {"device": "reference"}),
        (["--threads", "1"], {"n_threads": 1}),
        (["--dtype", "float64"], {"dtype": np.dtype("float64")}),
    ],
)
def test_options_reach_the_estimator(recorder, tmp_path, argv, changed):
    assert run("train", "digits", "--out", tmp_path / "m.npz", "--quiet", *argv) == 0
    made = recorder.made
    assert made.args == (256,)
    assert {key: made.options[key] for key in DEFAULTS} == DEFAULTS | changed
    assert made.options["verbose"] == 0 and made.options["callbacks"] == ()
    assert_array_equal(made.rows, datasets.load_digits().images)


def test_momentum_and_components_reach_the_estimator(recorder, tmp_path):
    target = tmp_path / "m.npz"
    assert run("train", "digits", "--out", target, "--quiet", "--momentum", "0.5", "--components", "9") == 0
    assert recorder.made.args == (9,) and recorder.made.path == target
    assert recorder.made.options["optimizer"].momentum == 0.5


@pytest.mark.parametrize("method", ["bernoulli", "threshold", "otsu"])
def test_binarize_turns_the_data_into_bits(recorder, tmp_path, method):
    out = tmp_path / "m.npz"
    assert run("train", "digits", "--out", out, "--quiet", "--binarize", method, "--seed", 2) == 0
    expected = datasets.binarize(datasets.load_digits().images, method, random_state=2)
    assert_array_equal(recorder.made.rows, expected)


@pytest.mark.parametrize(("name", "function"), [("mnist", "load_mnist"), ("fashion-mnist", "load_fashion_mnist")])
def test_data_dir_reaches_the_loader(recorder, tmp_path, monkeypatch, name, function):
    asked = []

    def load(**options):
        asked.append(options)
        return datasets.load_digits()

    monkeypatch.setattr(datasets, function, load)
    assert run("train", name, "--out", tmp_path / "m.npz", "--data-dir", tmp_path, "--quiet") == 0
    assert asked == [{"subset": "train", "path": str(tmp_path)}]


BITS = np.array([[0, 1, 1], [1, 0, 0]])
TABLES = {
    "grey bytes": (np.array([[0, 9, 255]], np.uint8), np.array([[0, 9, 255]], np.uint8)),
    "grey whole numbers": (np.array([[0.0, 9.0, 255.0]]), np.array([[0, 9, 255]], np.uint8)),
    "bits as int64": (BITS, BITS.astype(np.uint8)),
    "bits as bool": (BITS.astype(bool), BITS.astype(np.uint8)),
    "bits as float": (BITS.astype(np.float32), BITS.astype(np.float32)),
    "probabilities": (BITS * 0.5, BITS * 0.5),
    "images": (np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.arange(12, dtype=np.uint8).reshape(2, 6)),
}


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("case", TABLES)
def test_tables_from_numpy_files(recorder, tmp_path, case, ending):
    given, expected = TABLES[case]
    path = tmp_path / f"data.{ending}"
    np.save(path, given) if ending == "npy" else np.savez(path, X=given, y=np.arange(len(given)))
    assert run("train", path, "--out", tmp_path / "m.npz", "--quiet") == 0
    assert recorder.made.rows.dtype == expected.dtype
    assert_array_equal(recorder.made.rows, expected)


@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_tables_from_text(recorder, tmp_path, header):
    path = tmp_path / "data.csv"
    path.write_text(header + "0,1,0.5\n1,0,0\n")
    assert run("train", path, "--out", tmp_path / "m.npz", "--quiet") == 0
    assert_array_equal(recorder.made.rows, [[0, 1, 0.5], [1, 0, 0]])
    path.write_text(header + "0,17,255\n")
    assert run("train", path, "--out", tmp_path / "m.npz", "--quiet") == 0
    assert recorder.made.rows.dtype == np.uint8
    assert_array_equal(recorder.made.rows, [[0, 17, 255]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.array([[-1.0, 0.5]]), "must hold values in [0, 1] or whole numbers 0..255; got -1.0 to 0.5"),
        (np.array([[0.5, 2.0]]), "must hold values in [0, 1]"),
        (np.array([[0, 256]]), "must hold values in [0, 1]"),
        (np.array([[0.5, np.nan]]), "must hold values in [0, 1]"),
        (np.array([0.5, 1.0]), "must hold a table of numbers; got shape (2,)"),
        (np.empty((0, 3)), "must hold a table of numbers"),
        (np.array([["a"]]), "must hold a table of numbers"),
        (np.array([[None]], dtype=object), "allow_pickle"),
    ],
)
def test_unfit_tables_are_refused(tmp_path, capsys, table, message):
    path = tmp_path / "data.npy"
    np.save(path, table, allow_pickle=True)
    assert_fails(capsys, message, "train", path, "--out", tmp_path / "m.npz")
    assert not (tmp_path / "m.npz").exists()


def test_archive_with_several_arrays_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", a=BITS, b=BITS)
    assert_fails(capsys, "must hold one array", "train", tmp_path / "d.npz", "--out", tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nonsense"], "DATA must be digits, mnist, fashion-mnist or the path of a .npy, .npz or .csv file"),
        (["absent.npy"], "absent.npy"),
        (["absent.csv"], "absent.csv"),
        (["digits", "--out", "model.pkl"], "--out must end in .npz"),
        (["digits", "--out", "no/such/folder/model.npz"], "does not exist"),
        (["absent.npy", "--data-dir", "x"], "--data-dir is for mnist and fashion-mnist only"),
        (["mnist", "--data-dir", "no-such-folder"], "mnist was not found"),
    ],
)
def test_train_errors_are_one_message(tmp_path, capsys, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    assert_fails(capsys, message, "train", "--out", "m.npz", *argv)


def test_traceback_on_request(tmp_path):
    with pytest.raises(ValueError, match="DATA must be"):
        run("--traceback", "train", "nonsense", "--out", tmp_path / "m.npz")


def test_unexpected_errors_are_not_hidden(monkeypatch):
    monkeypatch.setattr(fastrbm, "show_versions", lambda: {}["missing"])
    with pytest.raises(KeyError):
        run("info")


def test_interruption_is_reported(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(fastrbm, "show_versions", interrupted)
    assert run("info") == 130
    assert capsys.readouterr().err == "fastrbm: interrupted\n"


# ---------------------------------------------------------------- sample


def test_samples_are_bits_that_depend_on_the_seed(model, tmp_path, capsys):
    made = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / f"{name}.npy"
        assert run("sample", model, "--out", path, "--n", 20, "--steps", 5, "--seed", seed) == 0
        made[name] = np.load(path)
    assert made["a"].shape == (20, 64) and made["a"].dtype == np.uint8 and set(np.unique(made["a"])) == {0, 1}
    assert_array_equal(made["a"], made["b"])
    assert (made["a"] != made["c"]).any()
    assert "wrote 20 samples of 64" in capsys.readouterr().out


def test_samples_as_a_picture(model, tmp_path):
    pytest.importorskip("matplotlib")
    for argv in ([], ["--shape", "4", "16"]):
        path = tmp_path / "samples.png"
        assert run("sample", model, "--out", path, "--n", 9, "--steps", 2, *argv) == 0
        assert path.read_bytes()[:4] == b"\x89PNG"


def test_sample_errors(model, tmp_path, capsys):
    out = tmp_path / "x.npy"
    assert_fails(capsys, "absent.npz", "sample", tmp_path / "absent.npz", "--out", out)
    assert_fails(capsys, "--out must end in .npy or .png", "sample", model, "--out", tmp_path / "x.gif")
    picture = tmp_path / "x.png"
    assert_fails(capsys, "--shape H W does not fit", "sample", model, "--out", picture, "--shape", 5, 5)
    (tmp_path / "junk.npz").write_bytes(b"junk")
    assert_fails(capsys, "", "sample", tmp_path / "junk.npz", "--out", out)


def test_picture_of_a_width_that_is_no_square_needs_a_shape(tmp_path, capsys):
    np.save(tmp_path / "d.npy", np.eye(6))
    model = tmp_path / "m.npz"
    assert run("train", tmp_path / "d.npy", "--out", model, "--quiet", *SMALL) == 0
    assert_fails(capsys, "--shape H W is needed", "sample", model, "--out", tmp_path / "x.png")


# ---------------------------------------------------------------- as a program


def test_closed_pipe_is_no_traceback():
    code = "import sys; from fastrbm._cli.main import main; sys.exit(main(['info']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run([sys.executable, "-c", code], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and done.stderr == b""


def test_help_does_not_wait_for_heavy_imports():
    code = """
import sys
from fastrbm._cli import main as cli
try:
    cli.main(["train", "--help"])
except SystemExit:
    pass
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
