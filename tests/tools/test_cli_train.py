"""`fastrbm train`: what it writes and says, where it may write, going on, Ctrl-C, models of no use."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastrbm
from cli_cases import BITS, KINDS, assert_fails, run, train_arguments
from fastrbm._cli import messages

SMALL = ["--components", "12", "--epochs", "1", "--batch-size", "100"]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, BITS)
    return path


def test_it_says_what_it_did(tmp_path, capsys):
    path = tmp_path / "model.npz"
    assert run("train", "digits", "--out", path, *SMALL) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "digits: 1797 rows, 64 columns, values 0..255"
    for part in (
        "64 visible units, 12 hidden units",
        "1 epochs in",
        "pseudo-likelihood -",
        "on 200 training rows",
        str(path),
    ):
        assert part in out
    assert err == ""
    loaded = fastrbm.load(path)
    assert loaded.components_.shape == (12, 64) and np.isfinite(loaded.components_).all()


def test_quiet_prints_nothing(tmp_path, capsys):
    assert run("train", "digits", "--out", tmp_path / "m.npz", "--quiet", *SMALL) == 0
    assert capsys.readouterr() == ("", "")


def test_the_time_that_is_printed_includes_scoring(rows, tmp_path, capsys, monkeypatch):
    """And scoring looks at few rows, whatever the size of the data."""
    seen = []
    scored = fastrbm.BernoulliRBM.score_samples

    class Clock:
        now = 0.0

        @staticmethod
        def perf_counter():
            return Clock.now

    def fit(self, X, y=None, sample_weight=None, fit=fastrbm.BernoulliRBM.fit):
        Clock.now += 3
        return fit(self, X, y, sample_weight)

    def score_samples(self, X):
        seen.append(len(X))
        Clock.now += 4
        return np.zeros(len(X))

    assert scored is not None
    monkeypatch.setattr(fastrbm.BernoulliRBM, "fit", fit)
    monkeypatch.setattr(fastrbm.BernoulliRBM, "score_samples", score_samples)
    monkeypatch.setattr("fastrbm._cli.train.time", Clock)
    assert run("train", "digits", "--out", tmp_path / "m.npz", *SMALL) == 0
    assert "1 epochs in 3.00 s, 7.00 s with scoring and writing" in capsys.readouterr().out
    assert seen == [200]


def test_nothing_is_scored_without_a_line_that_shows_it_after_each_pass(rows, tmp_path, monkeypatch, capsys):
    """No tqdm, no terminal: no pass over all rows for a line of progress."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    calls = []
    original = fastrbm.BernoulliRBM.score_samples
    monkeypatch.setattr(
        fastrbm.BernoulliRBM, "score_samples", lambda self, X: (calls.append(len(X)), original(self, X))[1]
    )
    assert run("train", rows, "--out", tmp_path / "m.npz", "--epochs", 5, "--components", 3) == 0
    assert calls == [len(BITS)]


def test_equal_seeds_give_equal_models(tmp_path):
    weights = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        path = tmp_path / f"{name}.npz"
        assert run("train", "digits", "--out", path, "--quiet", "--seed", seed, *SMALL) == 0
        weights[name] = fastrbm.load(path).components_
    assert_array_equal(weights["a"], weights["b"])
    assert (weights["a"] != weights["c"]).any()


def test_held_out_rows_are_reported(rows, tmp_path, capsys):
    argv = ["--validation-fraction", "0.25", "--early-stopping", "--n-iter-no-change", "1", "--tol", "10"]
    assert run("train", rows, "--out", tmp_path / "m.npz", "--components", 3, *argv) == 0
    out = capsys.readouterr().out
    assert "validation log likelihood: -" in out and re.search(r"the parameters are those of epoch \d", out)


def test_names_of_columns_are_kept(tmp_path, capsys):
    path = tmp_path / "d.csv"
    path.write_text("left,right,label\n0,1,5\n1,0,6\n1,1,7\n")
    assert run("train", path, "--label", "label", "--out", tmp_path / "m.npz", "--components", 2) == 0
    assert fastrbm.load(tmp_path / "m.npz").feature_names_in_.tolist() == ["left", "right"]
    # other commands, and going on, take the columns that the model knows, in its order
    (tmp_path / "e.csv").write_text("label,right,more,left\n5,1,9,0\n6,0,9,1\n7,1,9,1\n")
    weights = {}
    for name in ("d.csv", "e.csv"):
        argv = [] if name == "e.csv" else ["--label", "label"]
        assert run("transform", tmp_path / "m.npz", tmp_path / name, "--out", tmp_path / f"{name}.npy", *argv) == 0
        out = tmp_path / f"{name}.npz"
        assert run("train", tmp_path / name, "--resume", tmp_path / "m.npz", "--out", out, *argv) == 0
        weights[name] = np.load(tmp_path / f"{name}.npy"), fastrbm.load(out).components_
        assert fastrbm.load(out).feature_names_in_.tolist() == ["left", "right"]
    for a, b in zip(*weights.values(), strict=True):
        assert_array_equal(a, b)
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- where it may write


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("model.pkl", "--out must end in .npz"),
        ("no/such/folder/model.npz", "does not exist"),
        ("folder.npz", "is a folder"),
        ("rows.npy", "--out must end in .npz"),
        ("data.npz", "data.npz exists and is no model; choose another name, or add --force"),
        ("junk.npz", "junk.npz exists and is no model"),
    ],
)
def test_outputs_are_checked_before_the_work(rows, tmp_path, capsys, monkeypatch, out, message):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "junk.npz").write_bytes(b"junk")
    np.savez(tmp_path / "data.npz", X=BITS)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    monkeypatch.setattr(fastrbm.BernoulliRBM, "fit", None)
    assert_fails(capsys, message, "train", rows, "--out", tmp_path / out)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_folders_that_cannot_be_written_in_are_noticed_before(rows, tmp_path, capsys, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fastrbm._cli.output.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(fastrbm.BernoulliRBM, "fit", None)
    message = f"--out: the folder {tmp_path} cannot be written in (Permission denied)"
    assert_fails(capsys, message, "train", rows, "--out", tmp_path / "m.npz")


def test_models_are_overwritten_and_data_never(rows, tmp_path, capsys):
    target = tmp_path / "m.npz"
    for seed in (1, 2):
        assert run("train", rows, "--out", target, "--seed", seed, "--components", 3, "--quiet") == 0
    assert fastrbm.load(target).random_state == 2
    np.savez(tmp_path / "d.npz", X=BITS)
    (tmp_path / "link.npz").symlink_to(tmp_path / "d.npz")
    for out in ("d.npz", "link.npz"):
        message = "is read by this command and would be lost"
        assert_fails(capsys, message, "train", tmp_path / "d.npz", "--out", tmp_path / out, "--force")
    np.savez(tmp_path / "old.npz", X=BITS)
    assert run("train", rows, "--out", tmp_path / "old.npz", "--force", "--components", 3) == 0
    assert fastrbm.load(tmp_path / "old.npz").n_iter_ == 20


# ---------------------------------------------------------------- going on


OPTIONS = {
    "plain": [],
    "adam": ["--optimizer", "adam", "--learning-rate", "0.01"],
    "pt": ["--algorithm", "pt(n_temperatures=3)"],
    "centered": ["--centered", "--learning-rate", "0.05"],
    "momentum": ["--momentum", "0.5"],
}


@pytest.mark.parametrize("case", [*KINDS, *(f"BernoulliRBM/{name}" for name in OPTIONS)])
def test_going_on_is_one_longer_fit_bit_for_bit(tmp_path, capsys, case):
    kind, _, name = case.partition("/")
    np.save(tmp_path / "d.npy", KINDS[kind][1])
    common = [*train_arguments(kind), "--learning-rate", "0.01", *OPTIONS.get(name, []), "--quiet"]
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    assert run("train", tmp_path / "d.npy", "--out", one, *common, "--epochs", 5) == 0
    assert run("train", tmp_path / "d.npy", "--out", two, *common, "--epochs", 2) == 0
    assert run("train", tmp_path / "d.npy", "--resume", two, "--epochs", 3) == 0
    assert "3 epochs, 5 in all in" in capsys.readouterr().out
    a, b = fastrbm.load(one), fastrbm.load(two)
    for attribute in ("components_", "intercept_visible_", "intercept_hidden_", "h_samples_"):
        if hasattr(a, attribute):
            assert_array_equal(getattr(a, attribute), getattr(b, attribute))
    assert b.n_iter_ == 5 and not b.warm_start


@pytest.mark.parametrize("argv", [[], ["--scale", 255], ["--stochastic-input"], ["--model", "GaussianRBM"]])
def test_going_on_with_images_is_one_longer_fit(tmp_path, argv):
    """Grey bytes are divided in the same way."""
    common = ["digits", *argv, "--components", 4, "--learning-rate", "0.01", "--quiet"]
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    assert run("train", *common, "--out", one, "--epochs", 3) == 0
    assert run("train", *common, "--out", two, "--epochs", 1) == 0
    scale = argv if "--scale" in argv else []
    assert run("train", "digits", *scale, "--resume", two, "--epochs", 2, "--quiet") == 0
    assert_array_equal(fastrbm.load(one).components_, fastrbm.load(two).components_)


def test_going_on_may_go_elsewhere_and_with_other_options(rows, tmp_path):
    first, second = tmp_path / "1.npz", tmp_path / "2.npz"
    assert run("train", rows, "--out", first, "--components", 3, "--epochs", 2) == 0
    before = first.read_bytes()
    assert run("train", rows, "--resume", first, "--out", second, "--learning-rate", "1e-3", "--epochs", 1) == 0
    assert first.read_bytes() == before
    model = fastrbm.load(second)
    assert (model.n_iter_, model.learning_rate, model.batch_size) == (3, 1e-3, 64)


@pytest.mark.parametrize(
    ("argv", "message", "status"),
    [
        (["--model", "IsingRBM"], "--model IsingRBM is not that of --resume", 2),
        (["--sigma", "1"], "--sigma is an option of GaussianRBM", 2),
        (["--components", "9"], "--n-components and the features", 1),
    ],
)
def test_going_on_with_what_does_not_fit(rows, tmp_path, capsys, argv, message, status):
    assert run("train", rows, "--out", tmp_path / "m.npz", "--components", 3) == 0
    before = (tmp_path / "m.npz").read_bytes()
    message = message.replace("--n-components", "--components")
    assert_fails(capsys, message, "train", rows, "--resume", tmp_path / "m.npz", *argv, status=status)
    assert (tmp_path / "m.npz").read_bytes() == before
    assert_fails(capsys, "no.npz", "train", rows, "--resume", tmp_path / "no.npz", "--out", tmp_path / "x.npz")
    assert_fails(capsys, "rows.npy", "train", rows, "--resume", rows, "--out", tmp_path / "x.npz")


def test_fits_by_the_draws_of_sklearn_cannot_be_gone_on_with(rows, tmp_path, capsys):
    argv = ["--random-stream", "sklearn", "--no-shuffle", "--components", 3]
    assert run("train", rows, "--out", tmp_path / "m.npz", *argv) == 0
    assert_fails(capsys, "--random-stream sklearn", "train", rows, "--resume", tmp_path / "m.npz")


# ---------------------------------------------------------------- interruption, models of no use


def interrupt_after(monkeypatch, passes):
    """Ctrl-C in the pass after so many."""
    from fastrbm._fit.loop import Fit

    train = Fit.train

    def interrupted(self, on_batch):
        if self.run.done == passes:
            raise KeyboardInterrupt
        train(self, on_batch)

    monkeypatch.setattr(Fit, "train", interrupted)


@pytest.mark.parametrize("kind", ["BernoulliRBM", "GaussianRBM", "SoftmaxRBM"])
def test_interruption_keeps_the_model(tmp_path, capsys, monkeypatch, kind):
    """And it goes on to be what it would have been, schedules included."""
    data, whole, part = tmp_path / "d.npy", tmp_path / "whole.npz", tmp_path / "part.npz"
    np.save(data, KINDS[kind][1])
    argv = [*train_arguments(kind), "--learning-rate", "Linear(0.02, 0.001)", "--quiet"]
    assert run("train", data, "--out", whole, *argv, "--epochs", 5) == 0
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        assert run("train", data, "--out", part, *argv, "--epochs", 5) == 130
    error = capsys.readouterr().err
    assert (
        error.startswith("fastrbm: interrupted after 3 passes; what was learned so far is in")
        and error.count("\n") == 1
    )
    assert fastrbm.load(part).n_iter_ == 3
    assert run("train", data, "--resume", part, "--epochs", 2, "--quiet") == 0
    assert_array_equal(fastrbm.load(part).components_, fastrbm.load(whole).components_)


def test_a_signal_keeps_the_model(tmp_path):
    """The same by Ctrl-C itself."""
    out = tmp_path / "m.npz"
    argv = [
        "train",
        "digits",
        "--binarize",
        "threshold",
        "--out",
        str(out),
        "--epochs",
        "1000000",
        "--components",
        "16",
    ]
    code = """
import signal, sys
from fastrbm._cli.main import main
from fastrbm._fit.loop import Fit
signal.signal(signal.SIGINT, signal.default_int_handler)
end_epoch = Fit.end_epoch
def told(self):
    end_epoch(self)
    if self.run.done == 3:
        print("training", flush=True)
Fit.end_epoch = told
sys.exit(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("digits: ") and process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.startswith("fastrbm: interrupted after ") and err.count("\n") == 1, err
    machine = fastrbm.load(out)
    assert machine.n_iter_ >= 3 and np.isfinite(machine.components_).all()


def test_interruption_before_the_first_pass_leaves_no_file(rows, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastrbm.BernoulliRBM, "_begin", interrupted)
    assert run("train", rows, "--out", tmp_path / "m.npz") == 130
    assert capsys.readouterr().err == "fastrbm: interrupted\n" and not (tmp_path / "m.npz").exists()


def test_divergence_has_status_1_and_leaves_no_file(tmp_path, capsys):
    np.save(tmp_path / "d.npy", 1e3 * KINDS["GaussianRBM"][1])
    argv = ["--model", "GaussianRBM", "--components", 4, "--learning-rate", "1e30", "--epochs", 5]
    assert_fails(capsys, "--learning-rate", "train", tmp_path / "d.npy", "--out", tmp_path / "m.npz", *argv)
    assert not (tmp_path / "m.npz").exists()


def test_scores_that_are_not_finite_have_status_1(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fastrbm.BernoulliRBM, "score_samples", lambda self, X: np.full(len(X), np.nan))
    message = "the model is of no use: its pseudo-likelihood is nan; try a smaller --learning-rate"
    assert_fails(capsys, message, "train", rows, "--out", tmp_path / "m.npz", "--components", 3)


# ---------------------------------------------------------------- progress


class Terminal:
    """Stands in for stderr on a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_bars_are_for_terminals_and_long_work(monkeypatch):
    terminal = Terminal()
    with messages.progress("log Z", quiet=False) as bar:
        assert bar is None  # the tests' stderr is none
    monkeypatch.setattr(sys, "stderr", terminal)
    with messages.progress("log Z", quiet=True) as bar:
        assert bar is None
    with messages.progress("log Z", quiet=False) as bar:
        bar(1, 10)
    assert terminal.text.strip() == ""  # done before a second was over
    monkeypatch.setattr(messages, "_QUIET_UNTIL", 0.0)
    with messages.progress("log Z", quiet=False) as bar:
        for done in (5, 10):
            bar(done, 10)
        bar(1, 4)  # another stage
    assert "log Z" in terminal.text and "%" in terminal.text


# -- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_line_that_is_given_again_and_again(rows, tmp_path, capsys):
    """Begins where there is no checkpoint, goes on where there is one, and ends with the same bits."""
    line = ["train", rows, "--components", 8, "--epochs", 300, "--seed", 3, "--out", tmp_path / "m.npz"]
    saved = ["--checkpoint", tmp_path / "run", "--checkpoint-every", "1 pass", "--resume"]
    command = [sys.executable, "-m", "fastrbm", *map(str, [*line, *saved])]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and len(list((tmp_path / "run").glob("checkpoint-*"))) < 2:
        pass
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143 and "a checkpoint is in" in err and not (tmp_path / "m.npz").exists()
    assert run(*line, *saved) == 0
    assert "300 in all" in capsys.readouterr().out
    assert run(*line[:-1], tmp_path / "whole.npz") == 0
    assert_array_equal(*(fastrbm.load(tmp_path / name).components_ for name in ("m.npz", "whole.npz")))


def test_checkpoints_that_do_not_fit(rows, tmp_path, capsys):
    line = ["train", rows, "--out", tmp_path / "m.npz", *SMALL]
    folder = ["--checkpoint", tmp_path / "run"]
    for argv, message in (
        (["--resume"], "--resume without MODEL needs --checkpoint"),
        (["--checkpoint-every", "5 s"], "--checkpoint-every needs --checkpoint"),
        ([*folder, "--checkpoint-every", "often"], "--checkpoint-every must be a time"),
    ):
        assert_fails(capsys, message, *line, *argv, status=2)
    assert run(*line, *folder, "--quiet") == 0
    assert_fails(capsys, "has checkpoints already: go on with --resume", *line, *folder, status=2)
    assert_fails(capsys, "--components must be 12", *line, *folder, "--resume", "--components", 5)
