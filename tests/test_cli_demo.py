"""The demo: honest splits, what it prints and writes, and that it never touches the network."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastrbm import datasets
from fastrbm._cli import demo as _cli_demo
from fastrbm._cli import main as cli

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def as_set(images):
    return {row.tobytes() for row in images}


@pytest.mark.parametrize("validation", [False, True])
def test_no_copy_of_a_test_digit_is_learnt_from(validation):
    task = _cli_demo._digits(validation)
    assert len(task.images) == 5 * len(task.raw_images)
    assert_array_equal(task.images[: len(task.raw_images)], task.raw_images)
    assert not as_set(task.images) & as_set(datasets.nudge(task.test_images, task.shape))
    assert np.bincount(task.test_labels).min() >= 30


def test_validation_images_come_from_the_training_set_only():
    learnt, tried = _cli_demo._digits(False), _cli_demo._digits(True)
    assert as_set(tried.raw_images) | as_set(tried.test_images) == as_set(learnt.raw_images)


TINY = _cli_demo.Settings(
    {"n_components": 16, "algorithm": "cd", "learning_rate": 0.1, "batch_size": 50, "n_iter": 2},
    momentum=0.5,
    classifier={"C": 1.0, "max_iter": 50},
    raw_classifier={"C": 1.0, "max_iter": 50},
    race={"n_components": 8, "learning_rate": 0.1, "batch_size": 100},
    race_rows=300,
)


@pytest.fixture
def tiny(monkeypatch):
    for name in ("_DIGITS", "_DIGITS_QUICK", "_FASHION", "_FASHION_QUICK"):
        monkeypatch.setattr(_cli_demo, name, TINY)


def local_copy(subset, download=True):
    assert download is False
    rng = np.random.default_rng(0)
    n = 600 if subset == "train" else 200
    labels = np.arange(n) % 10
    images = rng.integers(0, 60, (n, 784), dtype=np.uint8)
    images[np.arange(n)[:, None], 70 * labels[:, None] + np.arange(70)] += 150
    return datasets.Dataset(images, labels, (28, 28), "fashion-mnist")


def no_copy(subset, download=True):
    assert download is False
    raise datasets.DatasetNotFoundError("not here")


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_demo_writes_pictures_and_models_and_prints_a_table(tiny, monkeypatch, tmp_path, capsys, quick):
    monkeypatch.setattr(datasets, "load_fashion_mnist", local_copy)
    assert cli.main(["demo", "--out", str(tmp_path / "new" / "out"), "--threads", "1", *quick]) == 0
    for name in ("digits", "fashion-mnist"):
        folder = tmp_path / "new" / "out" / name
        assert sorted(path.name for path in folder.iterdir()) == [
            "filters.png",
            "learning_curve.png",
            "model.npz",
            "samples.png",
        ]
    out = capsys.readouterr().out
    table = {line[:33].strip(): line[33:].split() for line in out.splitlines()}
    assert table["data set"] == ["digits", "fashion-mnist"]
    assert table["hidden units"] == ["16", "16"]
    for label in ("pseudo-likelihood", "pseudo-likelihood, fastrbm", "pseudo-likelihood, scikit-learn"):
        assert all(-784 < float(value) < 0 for value in table[label])
    for label in ("test accuracy, RBM features", "test accuracy, pixels"):
        assert all(30 < float(value.rstrip("%")) <= 100 for value in table[label])
    assert "1 threads each" in out
    assert "300 x 8, batch 100" in out


def test_demo_without_fashion_mnist_says_so(tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(datasets, "load_fashion_mnist", no_copy)
    assert cli.main(["demo", "--out", str(tmp_path), "--quick"]) == 0
    assert "fashion-mnist: left out" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_demo_refuses_a_file_in_place_of_the_folder(tiny, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert cli.main(["demo", "--out", str(tmp_path / "taken")]) == 1
    assert "fastrbm: error:" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["matplotlib", "tqdm"])
def test_demo_names_the_remedy_before_it_starts(monkeypatch, tmp_path, capsys, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert cli.main(["demo", "--out", str(tmp_path / "out")]) == 1
    assert 'pip install "fastrbm[plot]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_race_uses_whole_batches_of_mixed_rows():
    numbers = np.arange(1, 101, dtype=np.uint8)
    task = _cli_demo._digits(False)._replace(images=255 * np.unpackbits(numbers[:, None], axis=1))
    settings = TINY._replace(race={"batch_size": 30}, race_rows=99)
    chosen = np.packbits(_cli_demo._race_images(task, settings), axis=1)[:, 0]
    assert len(set(chosen)) == len(chosen) == 90
    assert set(chosen) <= set(numbers) and (np.diff(chosen.astype(int)) < 0).any()


def test_demo_can_score_the_validation_images(tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(datasets, "load_fashion_mnist", no_copy)
    _cli_demo.run(Path(tmp_path), n_threads=1, validation=True)
    assert "validation accuracy, RBM features" in capsys.readouterr().out
