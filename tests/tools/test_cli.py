"""The command line as a whole: usage, help, exit status, how errors and warnings look, `info`."""

import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastrbm
from cli_cases import KINDS, assert_fails, run, train_arguments
from fastrbm._cli import main as cli
from fastrbm._cli import messages, options

SMALL = ["--components", "12", "--epochs", "1", "--batch-size", "100"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.npz"
    assert run("train", "digits", "--out", path, "--quiet", *SMALL) == 0
    return path


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize("command", [(), *((name,) for name in cli.COMMANDS if name != "bench")])
def test_help(capsys, command):
    assert run(*command, "--help") == 0
    shown = capsys.readouterr().out
    assert "usage: fastrbm" in shown and "None" not in shown and "`" not in shown and "==SUPPRESS==" not in shown


def test_every_command_is_listed(capsys):
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^ +{name} ", shown, re.MULTILINE) for name in cli.COMMANDS)


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"fastrbm {fastrbm.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train", "digits"], "required: --out"),
        (["train", "--out", "m.npz"], "required: DATA"),
        (["train", "digits", "--out", "m.npz", "--components", "0"], "--components/--n-components: must be an int"),
        (["train", "digits", "--out", "m.npz", "--components", "x"], "got 'x'"),
        (
            ["train", "digits", "--out", "m.npz", "--learning-rate", "-1"],
            "--learning-rate: must be a float in the range",
        ),
        (["train", "digits", "--out", "m.npz", "--learning-rate", "nan"], "--learning-rate: must be"),
        (["train", "digits", "--out", "m.npz", "--momentum", "1"], "--momentum: must be from 0 to below 1"),
        (["train", "digits", "--out", "m.npz", "--algorithm", "sgd"], "must be one of cd, em, exact, fpcd, pcd, pt"),
        (["train", "digits", "--out", "m.npz", "--binarize", "half"], "invalid choice: 'half'"),
        (["train", "digits", "--out", "m.npz", "--model", "DBN"], "invalid choice: 'DBN'"),
        (["train", "digits", "--out", "m.npz", "--scale", "0"], "--scale: must be positive"),
        (["train", "digits", "--out", "m.npz", "--comp", "3"], "unrecognized arguments: --comp"),
        (["sample", "m.npz"], "required: --out"),
        (["sample", "m.npz", "--out", "x.npy", "--shape", "3"], "--shape: expected 2 arguments"),
        (["transform", "m.npz", "digits"], "required: --out"),
        (["info", "a", "b"], "unrecognized arguments: b"),
    ],
)
def test_wrong_usage_has_status_2(capsys, argv, message):
    assert_fails(capsys, message, *argv, status=2)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- info


def test_info_tells_what_would_be_picked(capsys):
    assert run("info", "--kernels", "--batch-size", "10", "--density", "0.1", "--hidden", "50") == 0
    out = capsys.readouterr().out
    assert "784 visible units, 50 hidden units, 0.1 of them active" in out
    assert re.search(r"products of 10 states in a minibatch +rows", out) and "lowbit" in out
    assert run("info", "--kernels", "--batch-size", "100000", "--density", "1") == 0
    assert re.search(r"products of 100000 states in a minibatch +look-ups", capsys.readouterr().out)
    assert_fails(capsys, "need --kernels", "info", "--density", "0.1")


def test_info_prints_versions(capsys):
    assert run("info") == 0
    assert "fastrbm" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_info_says_what_a_model_file_holds(tmp_path, capsys, kind):
    np.save(tmp_path / "d.npy", KINDS[kind][1])
    path = tmp_path / "m.npz"
    assert (
        run("train", tmp_path / "d.npy", "--out", path, "--quiet", "--l2", *train_arguments(kind)) == 2
    )  # no such option
    assert run("train", tmp_path / "d.npy", "--out", path, "--quiet", *train_arguments(kind)) == 0
    capsys.readouterr()
    assert run("info", path) == 0
    out = capsys.readouterr().out
    machine = fastrbm.load(path)
    assert out.startswith(f"{type(machine).__name__}: {machine.components_.shape[1]} {machine.units[0]} and 4 ")
    assert "trained for 2 epochs (--resume goes on bit for bit)" in out and "--components 4" in out


def test_info_of_what_is_no_model(tmp_path, capsys, model):
    assert_fails(capsys, "absent.npz", "info", tmp_path / "absent.npz")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    assert_fails(capsys, "junk.npz", "info", tmp_path / "junk.npz")
    assert_fails(capsys, "leave one of them", "info", model, "--kernels")


# ---------------------------------------------------------------- errors and warnings


def test_damaged_files_are_one_line(tmp_path, capsys, model):
    """Whatever byte is wrong, in a model or in data: no traceback."""
    whole, rng = model.read_bytes(), np.random.default_rng(0)
    np.savez_compressed(tmp_path / "whole.npz", X=np.eye(9))
    data = (tmp_path / "whole.npz").read_bytes()
    for k in range(40):
        for name, content in (("m.npz", whole), ("d.npz", data)):
            broken = bytearray(content)
            if k % 4 == 0:
                del broken[int(rng.integers(len(broken))) :]
            else:
                for at in rng.integers(len(broken), size=3):
                    broken[at] = rng.integers(256)
            (tmp_path / name).write_bytes(bytes(broken))
        capsys.readouterr()
        assert run("info", tmp_path / "m.npz") in (0, 1)
        assert run("train", tmp_path / "d.npz", "--out", tmp_path / "o.npz", "--quiet", *SMALL) in (0, 1)
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith("fastrbm: ") for line in lines), lines


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


def test_warnings_are_one_plain_line(monkeypatch, capsys):
    def warn():
        for _ in range(2):
            warnings.warn("chains have\ncollapsed: try a smaller learning_rate", ConvergenceWarning, stacklevel=1)
        warnings.warn("gone soon", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(fastrbm, "show_versions", warn)
    assert run("info") == 0
    assert capsys.readouterr().err == "fastrbm: warning: chains have collapsed: try a smaller --learning-rate\n"


@pytest.mark.parametrize(
    ("python", "command"),
    [
        ("n_chains must be None with algorithm='cd', got 5", "--chains must be None with --algorithm cd, got 5"),
        ("pass out_of_range='allow' to use it", "pass --out-of-range allow to use it"),
        ("stochastic_input=True needs bits", "--stochastic-input needs bits"),
        ("with shuffle=False.", "with --no-shuffle."),
        ("use 'free_energy_gap' or 'pseudo_likelihood'", "use 'free_energy_gap' or 'pseudo_likelihood'"),
        ("or binarise X (fastrbm.datasets.binarize)", "or binarise X (--binarize threshold)"),
        ("path: m.npz is not a fastrbm model file", "m.npz is not a fastrbm model file"),
        ("X has 9 features, but BernoulliRBM is expecting 64", "DATA has 9 features, but BernoulliRBM is expecting 64"),
        ("needs matplotlib: pip install \"fastrbm[plot]\"", "needs matplotlib: pip install \"fastrbm[plot]\""),
        ("More n_temperatures than 1000, or", "More --temperatures than 1000, or"),
        ("the limit of random_state=3.", "the limit of --seed 3."),
    ],
)  # fmt: skip
def test_messages_are_in_terms_of_the_command(python, command):
    options.table()  # its names are known when an estimator has been made
    assert messages.in_cli_terms(python) == command


# ---------------------------------------------------------------- as a program


def test_python_m(tmp_path):
    def run_module(*argv):
        return subprocess.run([sys.executable, "-m", "fastrbm", *argv], capture_output=True, text=True, check=False)

    assert run_module("--version").stdout == f"fastrbm {fastrbm.__version__}\n"
    failed = run_module("info", str(tmp_path / "absent.npz"))
    assert failed.returncode == 1 and failed.stderr.startswith("fastrbm: error: ") and failed.stderr.count("\n") == 1
    assert run_module("fly").returncode == 2


def test_closed_pipe_is_no_traceback():
    code = "import sys; from fastrbm._cli.main import main; sys.exit(main(['info']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run([sys.executable, "-c", code], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.parametrize("argv", [["--help"], ["sample", "--help"], ["evaluate", "--help"]])
def test_help_does_not_wait_for_heavy_imports(argv):
    code = f"""
import sys
from fastrbm._cli import main as cli
try:
    cli.main({argv})
except SystemExit:
    pass
assert not {{"matplotlib", "sklearn", "scipy", "polars"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
