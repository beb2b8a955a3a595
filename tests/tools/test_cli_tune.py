"""`fastrbm tune`: what it writes and says, spaces as text, going on, Ctrl-C, wrong usage."""

import sys

import numpy as np
import pytest

import fastrbm
from cli_cases import BITS, assert_fails, run
from fastrbm._cli import tune

pytest.importorskip("optuna")
SMALL = ["--epochs", "2", "--trials", "4", "--metric", "pseudo_likelihood"]
SPACE = "components=2:6,learning_rate=0.01:0.3:log,batch_size=8|16"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, BITS)
    return path


def test_it_writes_the_best_model_and_says_so(rows, tmp_path, capsys):
    path = tmp_path / "best.npz"
    assert run("tune", rows, "--out", path, "--space", SPACE, *SMALL) == 0
    out, err = capsys.readouterr()
    model = fastrbm.load(path)
    assert "4 trials: 4 finished" in out and "pseudo-likelihood -" in out and str(path) in out and err == ""
    assert f"--components {model.n_components} --learning-rate {model.learning_rate:.6g}" in out
    assert 2 <= model.n_components <= 6 and model.batch_size in (8, 16) and model.n_iter_ == 2


def test_the_same_command_is_the_same_model(rows, tmp_path):
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in paths:
        assert run("tune", rows, "--out", path, "--quiet", *SMALL) == 0  # with the default space
    first, second = map(fastrbm.load, paths)
    np.testing.assert_array_equal(first.components_, second.components_)


def test_it_goes_on_in_its_storage(rows, tmp_path, capsys):
    arguments = ["tune", rows, "--out", tmp_path / "best.npz", "--space", SPACE, "--storage", tmp_path / "s.journal"]
    assert run(*arguments, *SMALL) == 0
    assert run(*arguments, *SMALL, "--trials", "6") == 0
    assert "6 trials: 6 finished" in capsys.readouterr().out


def test_likelihood_and_accuracy(rows, tmp_path, capsys):
    out = tmp_path / "best.npz"
    assert run("tune", rows, "--out", out, *SMALL[:4], "--space", SPACE) == 0
    assert "log-likelihood -" in capsys.readouterr().out
    table = tmp_path / "rows.csv"
    table.write_text("a,b,c,class\n" + "\n".join(f"{k % 2},{k // 2 % 2},1,{'xy'[k % 2]}" for k in range(40)))
    accuracy = ["--metric", "accuracy"]
    assert run("tune", table, "--label", "class", "--out", out, *SMALL[:4], *accuracy) == 0
    assert "accuracy" in capsys.readouterr().out
    assert_fails(capsys, "--label COLUMN", "tune", rows, "--out", out, *accuracy, status=2)


def test_an_interrupt_keeps_what_was_found(rows, tmp_path, capsys, monkeypatch):
    from fastrbm.tuning import generation

    train, calls = generation.Trainer.train, []

    def interrupted(self, *given):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        train(self, *given)

    monkeypatch.setattr(generation.Trainer, "train", interrupted)
    path = tmp_path / "best.npz"
    assert run("tune", rows, "--out", path, *SMALL, "--trials", "9", "--storage", tmp_path / "s.db") == 130
    assert "interrupted after 4 trials; the best model so far is in" in capsys.readouterr().err
    assert fastrbm.load(path).n_iter_ == 2
    calls[:] = [1]
    assert run("tune", rows, "--out", tmp_path / "none.npz", *SMALL) == 130
    assert not (tmp_path / "none.npz").exists()


def test_failures_are_said(rows, tmp_path, capsys):
    out = ["--out", tmp_path / "best.npz", *SMALL]
    assert run("tune", rows, *out, "--trials", "12", "--space", "learning_rate=0.1|1e39") == 0
    shown = capsys.readouterr().out
    assert "failed" in shown and "first failure: DivergenceError" in shown
    assert_fails(capsys, "none of 4 trials has succeeded", "tune", rows, *out, "--space", "learning_rate=1e39")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("components", "must be name=low:high"),
        ("components=8-32", "components must be an int"),
        ("components=2:a", "two numbers"),
        ("learning_rate=0.1:1:exp", "low:high:log"),
        ("learning_rate=-1:1", "learning_rate must be"),
        ("components=2:3,n_components=4:5", "twice"),
        ("optimizer=Adam(beta=2)", "Adam takes"),
    ],
)
def test_unusable_spaces_are_wrong_usage(rows, tmp_path, capsys, space, message):
    message = message.replace("components must", "n_components must") if "8-32" in space else message
    assert_fails(capsys, message, "tune", rows, "--out", tmp_path / "m.npz", "--space", space, status=2)


def test_other_mistakes(rows, tmp_path, capsys, monkeypatch):
    out = ["--out", tmp_path / "m.npz"]
    assert_fails(capsys, "must name options", "tune", rows, *out, "--space", "width=1:2", status=2)
    assert_fails(capsys, "is an option of", "tune", rows, *out, "--sigma", "1", status=2)
    assert_fails(capsys, "--storage", "tune", rows, *out, "--storage", tmp_path / "s.txt")
    assert_fails(capsys, "does not exist", "tune", rows, *out, "--storage", tmp_path / "no" / "s.db")
    assert_fails(capsys, "between 0 and 1", "tune", rows, *out, "--validation", "1", status=2)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert_fails(capsys, 'pip install "fastrbm[tuning]"', "tune", rows, *out)


def test_names_are_those_of_the_package():
    from fastrbm.tuning.measures import METRICS
    from fastrbm.tuning.studies import PRUNERS

    assert tune.METRICS == METRICS and tune.PRUNERS == (*PRUNERS, "none")
    assert tune.read_space("gibbs-steps=1:3, optimizer=sgd|Adam(beta1=0.5, beta2=0.9)")["n_gibbs_steps"] == (1, 3)
