"""The command ``fastrbm evaluate``."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastrbm
from fastrbm import datasets
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
    assert out.startswith(f"rows.npy: 50 rows of {X.shape[1]}, 10 hidden units\n")
    wanted = rbm.log_likelihood(X[:50].astype(np.float32)).mean()
    assert f"log-likelihood       {wanted:.3f} nats per row\n" in out
    assert "(exact, " in out and "pseudo-likelihood" in out and "reconstruction error" in out


def test_json_and_annealing(trained, capsys):
    folder, rbm, X = trained
    options = ("--method", "bracket", "--chains", 50, "--temperatures", 50, "--seed", 3, "--json")
    assert run(folder / "m.npz", folder / "rows.npy", *options) == 0
    found = json.loads(capsys.readouterr().out)
    log_z = rbm.log_partition("bracket", n_chains=50, n_temperatures=50, random_state=3)
    assert found["method"] == "bracket" and found["rows"] == 50 and found["hidden"] == 10
    assert_allclose(found["log_partition"], log_z.value)
    assert_allclose(found["log_partition_interval"], log_z.interval)
    low, high = found["log_likelihood_interval"]
    assert low < found["log_likelihood"] < high
    assert_allclose(high - low, log_z.interval[1] - log_z.interval[0])
    rows = X[:50].astype(np.float32)
    assert_allclose(found["log_likelihood"], rbm.log_likelihood(rows, log_z=log_z).mean())
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
        with pytest.raises(SystemExit) as stopped:
            run(folder / "m.npz", folder / "rows.npy", *bad)
        assert stopped.value.code == 2
