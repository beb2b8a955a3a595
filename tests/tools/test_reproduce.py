"""Published experiments run again: every short form, what a report holds, and what goes wrong in a clear way."""

import json
import secrets
import socket
import traceback

import numpy as np
import pytest

from fastrbm import BernoulliRBM, datasets, plot, reproduce
from fastrbm._cli import main
from fastrbm._cli import reproduce as command
from fastrbm.reproduce import Report

#: names of figures of each short form that must be there, and what they may be: (low, high)
EXPECTED = {
    "fashion-mnist": {"best machine": (70, 100)},
    "digits": {"searched pipeline, split by image": (0.85, 1), "pixels, split by image": (0.85, 1)},
    "generative-789": {"8 hidden, exact gradient": (-21.6, -10), "55 one-hot, expectation": (-16, -10)},
    "mnist-likelihood": {"16 hidden, PCD-1": (-35, -20), "half the 95 % interval": (0, 0.3)},
    "bars-and-stripes": {"gap, exact gradient": (0, 0.05), "gap, PCD-5": (0, 0.4), "gap, CD-10": (0, 0.4)},
    "lc-init": {"entries of the table": (27, 28)},
    "lcd": {"prediction, lcd: dense over its time": (0, 1000)},
    "autoencoder": {"from deep belief network": (5, 45), "from random weights, ReLU": (5, 60)},
    "quantum-ising": {"12 sites": (0, 1e-3), "Heisenberg": (0, 1e-2)},
    "ratings": {},
    "anomaly": {"AUC, isolation forest": (0.6, 1), "AUC, free energy": (0.5, 1)},
}


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise OSError("the test is offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("FASTRBM_DATA", raising=False)


@pytest.fixture
def unseeded(monkeypatch):
    """Where the package drew from a source without a seed, which would make the figures of a seed others each time."""
    places = []

    def watch(module, name, is_unseeded):
        original = getattr(module, name)

        def watched(*args, **options):
            stack = traceback.extract_stack()[:-1]
            ours = [f"{f.filename}:{f.lineno}" for f in stack if "/fastrbm/" in f.filename]
            if is_unseeded(*args, **options) and ours and "/fastrbm/" in stack[-1].filename:
                places.append(ours[-1])
            return original(*args, **options)

        monkeypatch.setattr(module, name, watched)

    watch(np.random, "default_rng", lambda seed=None: seed is None)
    watch(secrets, "randbits", lambda *_: True)
    return places


def test_a_draw_without_a_seed_is_noticed(unseeded):
    datasets.binarize(np.full((2, 3), 0.5))
    datasets.binarize(np.full((2, 3), 0.5), "threshold")
    datasets.binarize(np.full((2, 3), 0.5), random_state=0)
    BernoulliRBM(2, n_iter=1, random_state=0).fit(np.eye(3))
    assert len(unseeded) == 1
    BernoulliRBM(2, n_iter=1).fit(np.eye(3))
    assert len(unseeded) > 1


def test_the_command_knows_all_experiments():
    assert command.NAMES == tuple(reproduce.EXPERIMENTS) and set(EXPECTED) == set(command.NAMES)


@pytest.mark.parametrize("name", list(reproduce.EXPERIMENTS))
def test_short_forms(name, tmp_path, offline, unseeded):
    report = reproduce.run(name, quick=True, seeds=1, out=tmp_path / "deep" / name)
    assert not unseeded
    folder = tmp_path / "deep" / name
    read = json.loads((folder / "report.json").read_text())
    text = (folder / "report.md").read_text()
    assert read["name"] == name and read["quick"] is True and text.startswith(f"# {report.title}")
    assert report.rows and all(np.isfinite(row.ours).all() for row in report.rows)
    assert all(row.published is None and row.target is None for row in report.rows)  # nothing here compares
    assert report.pictures and all((folder / name).stat().st_size > 1000 for name, _ in report.pictures)
    assert all(f"]({picture})" in text for picture, _ in report.pictures)
    for what, (low, high) in EXPECTED[name].items():
        found = [row.mean for row in report.rows if row.what.startswith(what) or what in row.what]
        assert found and low <= found[0] <= high, (what, found)
    assert read["facts"]["seeds"] == "0"
    from matplotlib import pyplot

    assert not pyplot.get_fignums()  # a report leaves no figures open


def test_same_seeds_same_figures():
    first, second = (reproduce.run("bars-and-stripes", quick=True, seeds=(3,)) for _ in range(2))
    assert [row.ours for row in first.rows] == [row.ours for row in second.rows]
    assert not first.pictures  # nowhere to put them


def test_rows_of_a_report():
    report = Report("x", "Title", "Source.")
    row = report.row("accuracy | a", [0.5, 0.7], published=0.55, target=0.65, seconds=250.0, digits=3)
    assert row.mean == pytest.approx(0.6) and row.deviation == pytest.approx(np.sqrt(0.02)) and row.reached is False
    assert report.row("gap", 0.01, target=0.02, better="lower").reached is True
    assert report.row("text", 1.0, published="up to 3").reached is None
    report.table("Some numbers", ["a", "b"], [[1, 2.34567], ["x", "y"]])
    report.value("curve", np.array([1.0, np.nan, np.inf]))
    text = report.markdown()
    assert "| accuracy \\| a | 0.550 | **0.600** ± 0.141 | 0.650 | missed | 4.2 min |" in text
    assert "reached" in text and "| 1 | 2.346 |" in text and "up to 3" in text
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert found["values"]["curve"] == [1.0, None, None] and found["rows"][0]["ours"] == [0.5, 0.7]
    for bad in ([], float("nan"), [1.0, float("nan")]):
        with pytest.raises(ValueError, match="ours must hold"):
            report.row("bad", bad)
    with pytest.raises(ValueError, match="better must be"):
        report.row("bad", 1.0, better="more")
    with pytest.raises(ValueError, match="2 cells"):
        report.table("bad", ["a", "b"], [[1]])
    assert len(report.rows) == 3


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"name": "digit"}, ValueError, "did you mean 'digits'"),
        ({"name": 3}, ValueError, "name must be one of"),
        ({"seeds": 0}, ValueError, "seeds must be a positive integer"),
        ({"seeds": "3"}, TypeError, "seeds must be a count"),
        ({"seeds": (1, 1)}, ValueError, "each of them once"),
        ({"seeds": ()}, ValueError, "at least one"),
        ({"seeds": (0.5,)}, ValueError, "seeds must be"),
        ({"n_threads": 0}, ValueError, "n_threads must be"),
    ],
)
def test_bad_arguments(wrong, error, words, tmp_path):
    arguments = {"name": "digits", "quick": True, "out": tmp_path / "out"} | wrong
    with pytest.raises(error, match=words):
        reproduce.run(**arguments)
    assert not (tmp_path / "out").exists()


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(["reproduce", "bars-and-stripes", "--quick", "--seeds", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# Bars and stripes") and "gap, exact gradient" in shown
    assert (tmp_path / "fastrbm-reproduce" / "bars-and-stripes" / "report.md").exists()
    with pytest.raises(SystemExit, match="2"):
        main.main(["reproduce", "nothing"])
    (tmp_path / "file").write_text("")
    assert main.main(["reproduce", "digits", "--quick", "--out", "file"]) == 1
    assert "--out: file is a file" in capsys.readouterr().err


def test_damaged_and_missing_data(tmp_path, capsys, monkeypatch, offline):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (tmp_path / "mnist" / name).write_bytes(b"\0\0\x08\x03 no images at all")
    assert main.main(["reproduce", "generative-789", "--seeds", "1", "--data-dir", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("fastrbm: error: ") and "idx" in told and "Traceback" not in told
    assert main.main(["reproduce", "fashion-mnist", "--seeds", "1", "--data-dir", str(tmp_path / "none")]) == 1
    assert "fastrbm: error: " in capsys.readouterr().err


def test_pictures_are_missed_before_the_work(tmp_path, monkeypatch, capsys):
    import importlib.util

    find = importlib.util.find_spec

    def without(name, *more):
        return None if name == "matplotlib" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert main.main(["reproduce", "digits", "--quick", "--out", str(tmp_path / "out")]) == 1
    assert 'need matplotlib: pip install "fastrbm[plot]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_of_them_in_one_report(tmp_path, monkeypatch):
    """Experiments that cannot be run are left out with the reason, and the others are run."""

    def ready(settings, report):
        report.row("figure", [float(seed) for seed in settings.seeds])
        report.picture("picture", plot.plot_curves({"a": ([1, 2], [1, 2])}), "A line.")

    def wanting(settings, report):
        raise ImportError('this needs a package: pip install "fastrbm[some]"')

    import types

    from fastrbm.reproduce import _registry

    monkeypatch.setattr(_registry, "EXPERIMENTS", dict(list(reproduce.EXPERIMENTS.items())[:2]))
    modules = {".fashion_mnist": types.SimpleNamespace(run=ready), ".digits": types.SimpleNamespace(run=wanting)}
    monkeypatch.setattr(_registry.importlib, "import_module", lambda name, package: modules[name])
    told = []
    reports = reproduce.run_all(seeds=2, out=tmp_path, on_report=told.append)
    assert [report.name for report in told] == ["fashion-mnist", "digits"] and told == reports
    text = (tmp_path / "report.md").read_text()
    assert (
        "](fashion-mnist/picture.png)" in text and 'Left out: this needs a package: pip install "fastrbm[some]"' in text
    )
    assert (tmp_path / "fashion-mnist" / "picture.png").exists() and text.count("\n## ") == 2
