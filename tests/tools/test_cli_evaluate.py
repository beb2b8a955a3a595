"""The command ``fastrbm evaluate``."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose

import cli_cases
import fastrbm
from fastrbm import datasets
from fastrbm._cli import messages
from fastrbm._cli.main import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    X = datasets.binarize(datasets.load_digits().images, "threshold")
    rbm = fastrbm.BernoulliRBM(10, n_iter=5, batch_size=32, random_state=0).fit(X)
    rbm.save(folder / "m.npz")
    np.save(folder / "rows.npy", X[:50])
    np.save(folder / "grey.npy", np.full((3, X.shape[1]), 0.5))
    np.save(folder / "narrow.npy", X[:5, :9])
    return folder, rbm, X


def run(*arguments):
    return main([str(x) for x in ("evaluate", *arguments)])


def test_scores_of_a_file(trained, capsys):
    folder, rbm, X = trained
    assert run(folder / "m.npz", folder / "rows.npy") == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "rows.npy: 50 rows, 64 columns, values 0..1\nBernoulliRBM: 64 visible units, 10 hidden units\n"
    )
    wanted = rbm.log_likelihood(X[:50].astype(np.float32)).mean()
    assert f"log-likelihood       {wanted:.3f} nats per row\n" in out
    assert "(exact, " in out and "pseudo-likelihood" in out and "reconstruction error" in out


def test_json_and_annealing(trained, capsys):
    folder, rbm, X = trained
    options = ("--method", "bracket", "--chains", 50, "--temperatures", 50, "--seed", 3, "--json")
    assert run(folder / "m.npz", folder / "rows.npy", *options) == 0
    found = json.loads(capsys.readouterr().out)
    log_z = rbm.log_partition(
        "bracket", n_chains=50, n_temperatures=50, random_state=3, data=np.load(folder / "rows.npy")
    )
    assert found["reliable"] == log_z.reliable and found["message"] == log_z.message
    assert found["method"] == "bracket" and found["rows"] == 50 and found["hidden"] == 10
    assert_allclose(found["log_partition"], log_z.value)
    assert_allclose(found["log_partition_interval"], log_z.interval)
    low, high = found["log_likelihood_interval"]
    assert low < found["log_likelihood"] < high
    assert_allclose(high - low, log_z.interval[1] - log_z.interval[0])
    rows = X[:50].astype(np.float32)
    assert_allclose(found["log_likelihood"], rbm.log_likelihood(rows, log_z=log_z).mean())
    means = np.clip(rows.mean(axis=0, dtype=np.float64), 1e-12, 1 - 1e-12)
    independent = np.where(rows > 0, np.log(means), np.log1p(-means)).sum(axis=1).mean()
    assert_allclose(found["independent_columns"], independent, rtol=1e-6)
    assert_allclose(found["pseudo_likelihood"], rbm.score_samples(rows).mean())
    assert_allclose(found["reconstruction_error"], rbm.reconstruction_error(rows))


def test_standard_error_is_reached(trained, capsys):
    folder, _, _ = trained
    options = ("--method", "ais", "--chains", 50, "--temperatures", 100, "--stderr", 0.02, "--json")
    assert run(folder / "m.npz", folder / "rows.npy", *options) == 0
    assert json.loads(capsys.readouterr().out)["log_partition_stderr"] <= 0.02


def test_named_sets_are_binarised(trained, capsys):
    folder, _, _ = trained
    assert run(folder / "m.npz", "digits", "--binarize", "threshold") == 0
    assert capsys.readouterr().out.startswith("digits: ")


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("grey.npy",), "grey.npy holds grey values, for which there is no likelihood; add --binarize threshold"),
        (("narrow.npy",), "9 features"),
        (("missing.npy",), "missing.npy"),
        (("rows.npy", "--data-dir", "."), "--data-dir is for mnist and fashion-mnist only"),
    ],
)
def test_errors_are_one_line(trained, capsys, arguments, message):
    folder, _, _ = trained
    assert run(folder / "m.npz", folder / arguments[0], *arguments[1:]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_wrong_usage(trained):
    folder, _, _ = trained
    for bad in (("--method", "magic"), ("--chains", "0"), ("--stderr", "-1")):
        assert cli_cases.run("evaluate", folder / "m.npz", folder / "rows.npy", *bad) == 2


def test_standard_error_that_is_not_reached_is_said(trained, capsys):
    folder, _, _ = trained
    options = ("--method", "ais", "--chains", 20, "--max-chains", 40, "--temperatures", 5, "--stderr", 1e-4)
    assert run(folder / "m.npz", folder / "rows.npy", *options) == 0
    out, err = capsys.readouterr()
    warned = [line for line in err.splitlines() if "--stderr" in line]
    assert len(warned) == 1 and warned[0].startswith("fastrbm: warning: the standard error of log Z is ")
    assert "more than --stderr 0.0001" in warned[0] and "40 chains" in warned[0] and "--max-chains 40" in warned[0]
    assert "log-likelihood" in out


def test_everything_is_checked_before_the_annealing(trained, capsys, monkeypatch):
    folder, _, _ = trained
    monkeypatch.setattr(fastrbm.BernoulliRBM, "log_partition", None)
    for name, message in (("narrow.npy", "9 features"), ("grey.npy", "--binarize threshold")):
        cli_cases.assert_fails(capsys, message, "evaluate", folder / "m.npz", folder / name)


def test_bars_are_asked_for_on_a_terminal(trained, monkeypatch):
    folder, _, _ = trained
    bar, told = object(), []

    def log_partition(self, method, **options):
        told.append(options["progress"])
        return fastrbm.likelihood.LogPartition(1.0, 0.0, (1.0, 1.0), "exact")

    monkeypatch.setattr(messages, "progress", lambda *_: nullcontext(bar))
    monkeypatch.setattr(fastrbm.BernoulliRBM, "log_partition", log_partition)
    assert run(folder / "m.npz", folder / "rows.npy") == 0
    assert told == [bar]


@pytest.mark.parametrize("kind", cli_cases.KINDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_estimator(tmp_path, capsys, kind, as_json):
    """Each has the scores that it has, in the wording of the same command."""
    rows = cli_cases.KINDS[kind][1]
    np.save(tmp_path / "d.npy", rows)
    argv = ["--quiet", *cli_cases.train_arguments(kind)]
    assert cli_cases.run("train", tmp_path / "d.npy", "--out", tmp_path / "m.npz", *argv) == 0
    assert run(tmp_path / "m.npz", tmp_path / "d.npy", *(["--json"] if as_json else [])) == 0
    out, err = capsys.readouterr()
    machine = fastrbm.load(tmp_path / "m.npz")
    wanted = machine.log_likelihood(rows.astype(np.float64)).mean()
    pseudo = machine.score_samples(rows.astype(np.float64)).mean()
    assert err == ""
    if as_json:
        found = json.loads(out)
        assert_allclose(found["log_likelihood"], wanted, rtol=1e-5)
        assert_allclose(found["pseudo_likelihood"], pseudo, rtol=1e-5)
        assert ("accuracy" in found) is (kind == "SoftmaxRBM")
        return
    assert f"log-likelihood       {wanted:.3f} nats per row\n" in out and "reconstruction error" in out
    assert f"pseudo-likelihood    {pseudo:.3f} nats per row\n" in out and ("entries predicted" in out) is (
        kind == "SoftmaxRBM"
    )


def test_rows_with_missing_entries(tmp_path, capsys):
    rows = np.array([[0, 1, np.nan], [2, 0, 1], [1, np.nan, 0]])
    np.save(tmp_path / "d.npy", rows)
    fastrbm.SoftmaxRBM(3, n_iter=2, random_state=0).fit(rows).save(tmp_path / "m.npz")
    assert run(tmp_path / "m.npz", tmp_path / "d.npy") == 0
    out, err = capsys.readouterr()
    assert "log-likelihood       not found: " in out and "NaN" in out and "entries predicted" in out and err == ""
    assert run(tmp_path / "m.npz", tmp_path / "d.npy", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["log_likelihood"] is None and found["reason"] and 0 <= found["accuracy"] <= 1
    assert found["pseudo_likelihood"] < 0


def test_densities_that_do_not_exist(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    np.save(tmp_path / "d.npy", rows)
    rbm = fastrbm.GaussianRBM(2, hidden="gaussian", n_iter=1, random_state=0).fit(rows)
    rbm.components_[:] = 2
    rbm.save(tmp_path / "m.npz")
    assert run(tmp_path / "m.npz", tmp_path / "d.npy") == 0
    out, err = capsys.readouterr()
    assert "pseudo-likelihood    not found: the conditional density of visible unit 0" in out and err == ""
    assert run(tmp_path / "m.npz", tmp_path / "d.npy", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pseudo_likelihood"] is None and "does not exist" in found["pseudo_likelihood_reason"]


def test_methods_are_those_of_the_library():
    from fastrbm._cli.evaluate import METHODS
    from fastrbm.likelihood.partition import METHODS as wanted

    assert wanted[: len(METHODS)] == METHODS


def test_layers_too_large_for_a_sum(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(20, 60))
    np.save(tmp_path / "d.npy", rows)
    fastrbm.GaussianRBM(60, n_iter=1, random_state=0).fit(rows).save(tmp_path / "m.npz")
    assert run(tmp_path / "m.npz", tmp_path / "d.npy") == 0
    out = capsys.readouterr().out
    assert "nats per row, 95 % interval" in out and "(smc, +- " in out
    cli_cases.assert_fails(
        capsys, "an exact sum over", "evaluate", tmp_path / "m.npz", tmp_path / "d.npy", "--method", "exact"
    )


def test_scores_that_are_not_finite_have_status_1(trained, tmp_path, capsys):
    folder, rbm, _ = trained
    broken = fastrbm.load(folder / "m.npz")
    broken.components_[:] = 3e38  # finite, and energies are not
    broken.save(tmp_path / "m.npz")
    assert run(tmp_path / "m.npz", folder / "rows.npy") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("fastrbm: error: ")
