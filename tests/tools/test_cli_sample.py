"""`fastrbm sample` and `fastrbm transform`: values of every unit, formats, pictures, what is not overwritten."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastrbm
from cli_cases import BITS, KINDS, assert_fails, run, train_arguments
from fastrbm._cli import tables


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model file of every kind, and the table that it was trained on."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for kind, (_, rows, _, _) in KINDS.items():
        data, path = folder / f"{kind}.npy", folder / f"{kind}.npz"
        np.save(data, rows)
        assert run("train", data, "--out", path, "--quiet", *train_arguments(kind)) == 0
        made[kind] = path, data
    return made


# ---------------------------------------------------------------- sample


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_values_of_the_units(models, tmp_path, kind):
    """No cast that makes 255 of a spin, or whole numbers of real ones."""
    _, _, dtype, values = KINDS[kind]
    path = tmp_path / "s.npy"
    assert run("sample", models[kind][0], "--out", path, "--n", 60, "--steps", 20, "--seed", 3) == 0
    samples = np.load(path)
    assert samples.shape == (60, 6) and samples.dtype == dtype
    machine = fastrbm.load(models[kind][0])
    drawn = machine.sample(60, 20, random_state=3)
    if kind == "SoftmaxRBM":
        assert_array_equal(np.eye(3)[samples].reshape(60, 18), drawn)
    else:
        assert_array_equal(samples, drawn)
    if values is None:
        assert (samples != np.rint(samples)).any()
    else:
        assert set(np.unique(samples)) == values
    # and they are data: what the model makes of them can be asked for
    assert run("transform", models[kind][0], path, "--out", tmp_path / "f.npy", "--quiet") == 0
    assert np.load(tmp_path / "f.npy").shape == (60, 4)


@pytest.mark.parametrize("kind", ["BernoulliRBM", "IsingRBM", "GaussianRBM", "SoftmaxRBM"])
@pytest.mark.parametrize("ending", ["npz", "csv", "tsv", "parquet"])
def test_formats_of_samples(models, tmp_path, kind, ending):
    for name in (f"s.{ending}", "s.npy"):
        assert run("sample", models[kind][0], "--out", tmp_path / name, "--n", 7, "--steps", 3, "--quiet") == 0
    table = tables.read(str(tmp_path / f"s.{ending}"), tables.Choice())
    assert_allclose(table.rows, np.load(tmp_path / "s.npy"), rtol=1e-6)
    assert table.columns == (None if ending == "npz" else tuple(f"v{k}" for k in range(6)))


def test_samples_depend_on_the_seed_alone(models, tmp_path, capsys):
    made = {}
    for name, seed, more in (("a", 1, []), ("b", 1, ["--threads", 1]), ("c", 2, [])):
        path = tmp_path / f"{name}.npy"
        argv = ["--n", 20, "--steps", 5, "--seed", seed, *more]
        assert run("sample", models["BernoulliRBM"][0], "--out", path, *argv) == 0
        made[name] = np.load(path)
    assert_array_equal(made["a"], made["b"])
    assert (made["a"] != made["c"]).any()
    assert "wrote 20 samples of 6 (uint8, 0..1)" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_progress_changes_no_sample(models, kind):
    """Neither of free chains nor of those with held units; and it may stop them."""
    machine, told = fastrbm.load(models[kind][0]), []
    for steps in (1, 7, 250):
        told.clear()
        with_bar = machine.sample(5, steps, random_state=0, progress=lambda *at: told.append(at))
        assert_array_equal(with_bar, machine.sample(5, steps, random_state=0))
        assert told[-1] == (steps, steps) and len(told) <= 100 and sorted(told) == told
    held = np.full(machine.components_.shape[1], np.nan)
    told.clear()
    machine.sample(5, 9, clamp=held, random_state=0, progress=lambda *at: told.append(at))
    assert told[-1] == (9, 9)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        machine.sample(5, 10, random_state=0, progress=stop)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_as_a_picture(models, tmp_path, kind):
    pytest.importorskip("matplotlib")
    path = tmp_path / "samples.png"
    for shape in ((2, 3), (1, 6)):  # the second one takes the place of the first, which is a picture of this package
        assert run("sample", models[kind][0], "--out", path, "--n", 9, "--steps", 2, "--shape", *shape) == 0
        assert path.read_bytes()[:4] == b"\x89PNG"


def test_errors_of_samples_come_before_the_work(models, tmp_path, capsys, monkeypatch):
    model = models["BernoulliRBM"][0]
    (tmp_path / "photo.png").write_bytes(b"\x89PNG somebody's")
    np.save(tmp_path / "old.npy", BITS)
    monkeypatch.setattr(fastrbm.BernoulliRBM, "sample", None)
    for name, argv, message in (
        ("x.gif", [], "--out must end in .npy or .npz or .csv or .tsv or .parquet or .png"),
        ("x.png", [], "--shape H W is needed for a picture of 6 columns"),
        ("x.png", ["--shape", 5, 5], "--shape H W does not fit"),
        ("photo.png", ["--shape", 2, 3], "photo.png exists and is no picture of this package"),
        ("old.npy", [], "old.npy exists and is no model"),
        ("no/x.npy", [], "does not exist"),
    ):
        assert_fails(capsys, message, "sample", model, "--out", tmp_path / name, *argv)
    assert_fails(capsys, "would be lost", "sample", model, "--out", model, "--force")
    assert_fails(capsys, "absent.npz", "sample", tmp_path / "absent.npz", "--out", tmp_path / "x.npy")
    assert (tmp_path / "photo.png").read_bytes() == b"\x89PNG somebody's"
    monkeypatch.undo()
    assert run("sample", model, "--out", tmp_path / "old.npy", "--force", "--steps", 2) == 0
    assert np.load(tmp_path / "old.npy").shape == (100, 6)


def test_samples_that_are_not_finite_have_status_1(models, tmp_path, capsys):
    machine = fastrbm.load(models["GaussianRBM"][0])
    machine.components_[:] = 3e38  # finite, and sums of it are not
    machine.save(tmp_path / "m.npz")
    assert_fails(capsys, "infinite", "sample", tmp_path / "m.npz", "--out", tmp_path / "s.npy", "--steps", 2)
    assert not (tmp_path / "s.npy").exists()


# ---------------------------------------------------------------- transform


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "parquet"])
def test_features_are_those_of_the_estimator(models, tmp_path, kind, ending):
    model, data = models[kind]
    path = tmp_path / f"f.{ending}"
    assert run("transform", model, data, "--out", path) == 0
    machine = fastrbm.load(model)
    rows = KINDS[kind][1]
    features = machine.transform(rows.astype(bool) if machine.units[0] == "bernoulli" else rows)
    table = tables.read(str(path), tables.Choice())
    assert_array_equal(table.rows.astype(features.dtype), features)
    if ending in ("csv", "parquet"):
        assert table.columns == tuple(machine.get_feature_names_out())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_labels_stand_beside_the_features(models, tmp_path):
    text = "a,b,c,d,e,f,kind\n0,1,1,0,0,1,x\n1,0,0,1,1,0,y\n"
    (tmp_path / "d.csv").write_text(text)
    for ending in ("csv", "parquet", "npz"):
        path = tmp_path / f"f.{ending}"
        argv = ["--label", "kind", "--quiet"]
        assert run("transform", models["BernoulliRBM"][0], tmp_path / "d.csv", "--out", path, *argv) == 0
    assert tables.read(str(tmp_path / "f.csv"), tables.Choice(label="kind")).labels.tolist() == ["x", "y"]
    assert pl.read_parquet(tmp_path / "f.parquet")["kind"].to_list() == ["x", "y"]
    with np.load(tmp_path / "f.npz") as archive:
        assert archive["y"].tolist() == ["x", "y"] and archive["X"].shape == (2, 4)


@pytest.mark.parametrize("trained_on", ["bytes", "bits"])
def test_values_mean_the_same_whatever_the_training_data_were(tmp_path, trained_on):
    """Bits after grey bytes are no dark images, bytes after bits are no bits: what comes in decides."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 6), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "bits.npy", BITS.astype(np.uint8))
    data = tmp_path / {"bytes": "images.npy", "bits": "bits.npy"}[trained_on]
    assert run("train", data, "--out", tmp_path / "m.npz", "--components", 4, "--quiet") == 0
    machine = fastrbm.load(tmp_path / "m.npz")
    for name, rows in (("bits.npy", BITS.astype(np.float32)), ("images.npy", images / np.float32(255))):
        assert run("transform", tmp_path / "m.npz", tmp_path / name, "--out", tmp_path / f"f-{name}", "--quiet") == 0
        assert_allclose(np.load(tmp_path / f"f-{name}"), machine.transform(rows), rtol=1e-5)


def test_errors_of_features_come_before_the_work(models, tmp_path, capsys, monkeypatch):
    model, data = models["BernoulliRBM"]
    np.save(tmp_path / "narrow.npy", BITS[:, :3])
    for name, argv, message in (
        (data, ["--out", tmp_path / "f.txt"], "--out must end in"),
        (data, ["--out", data, "--force"], "would be lost"),
        (data, ["--out", tmp_path / "narrow.npy"], "narrow.npy exists"),
        (tmp_path / "narrow.npy", ["--out", tmp_path / "f.npy"], "3 features"),
        (tmp_path / "absent.npy", ["--out", tmp_path / "f.npy"], "absent.npy"),
    ):
        assert_fails(capsys, message, "transform", model, name, *argv)
    monkeypatch.setattr("fastrbm._cli.output.np.save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert_fails(capsys, "No space left", "transform", model, data, "--out", tmp_path / "f.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["narrow.npy"]
