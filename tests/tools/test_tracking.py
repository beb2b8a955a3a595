"""`fastrbm.tracking`: what a run of MLflow has, how it ends, stores that cannot be written to.

Most of it is told to a stand-in of MLflow, which opens no database; one test goes through the real one.
"""

import json
import math
import sqlite3
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastrbm
from fastrbm import Adam, BernoulliRBM, DivergenceError, GaussianRBM, fit_many
from fastrbm.callbacks import Callback
from fastrbm.tracking import MLflowCallback, TrackingWarning

X = (np.random.default_rng(0).random((60, 9)) < 0.4).astype(np.uint8)


class Client:
    """Keeps what it is told; `fails` names the method that raises."""

    runs: dict = {}
    fails = ""
    calls: list = []

    def __init__(self, tracking_uri=None):
        self.uri = tracking_uri

    def _called(self, name):
        Client.calls.append(name)
        if name == Client.fails:
            raise OSError(f"{name}: disk full")

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location=None):
        self._called("create_experiment")
        return name

    def create_run(self, experiment, run_name=None):
        self._called("create_run")
        run_id = str(len(Client.runs))
        Client.runs[run_id] = {
            "uri": self.uri, "experiment": experiment, "name": run_name, "params": {}, "metrics": {}, "tags": {},
            "files": {}, "status": "RUNNING",
        }  # fmt: skip
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id))

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self._called("log_metrics" if metrics else "log_batch")
        run = Client.runs[run_id]
        run["params"] |= {p.key: p.value for p in params}
        run["tags"] |= {t.key: t.value for t in tags}
        for m in metrics:
            assert math.isfinite(m.value)
            run["metrics"].setdefault(m.key, []).append((m.step, m.value))

    def log_artifact(self, run_id, path, artifact_path=None):
        self._called("log_artifact")
        name = f"{artifact_path}/{Path(path).name}" if artifact_path else Path(path).name
        Client.runs[run_id]["files"][name] = Path(path).read_bytes()

    def set_tag(self, run_id, key, value):
        self._called("set_tag")
        Client.runs[run_id]["tags"][key] = value

    def set_terminated(self, run_id, status):
        Client.runs[run_id]["status"] = status


@pytest.fixture
def runs(monkeypatch):
    """The stand-in in the place of MLflow; the runs that it was told."""

    def pair(key, value, *rest):
        return types.SimpleNamespace(key=key, value=value, step=rest[-1] if rest else None)

    entities = types.SimpleNamespace(Param=pair, RunTag=pair, Metric=pair)
    module = types.SimpleNamespace(
        MlflowClient=Client, entities=entities, is_tracking_uri_set=lambda: True, get_tracking_uri=lambda: "stand-in:"
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    Client.runs, Client.fails, Client.calls = {}, "", []
    return Client.runs


def test_a_run_has_options_metrics_model_pictures_and_versions(runs, tmp_path):
    callback = MLflowCallback("digits", "first", tags={"why": "test"}, image_shape=(3, 3))
    late = []

    def measure(run):  # after the callback, and not after every pass
        if run.state.epoch != 2:
            late.append((run.state.epoch, run.state.epoch / 4))
            run.record("late", late[-1][1])

    model = BernoulliRBM(4, n_iter=3, optimizer=Adam(beta1=0.5), random_state=0, callbacks=[callback, measure]).fit(X)
    run = runs[callback.run_id_]
    assert (run["experiment"], run["name"], run["status"]) == ("digits", "first", "FINISHED")
    assert run["params"]["optimizer__beta1"] == "0.5" and run["params"]["estimator"] == "BernoulliRBM"
    assert "callbacks" not in run["params"] and set(run["params"]) >= set(model.get_params(deep=False)) - {"callbacks"}
    assert run["metrics"]["late"] == late and [s for s, _ in run["metrics"]["seconds"]] == [1, 2, 3]
    assert "epoch" not in run["metrics"]
    assert run["tags"]["why"] == "test" and run["tags"]["fastrbm"] == fastrbm.__version__
    assert {"numpy", "python", "instruction set"} <= set(json.loads(run["files"]["environment.json"]))
    path = tmp_path / "model.npz"
    path.write_bytes(run["files"]["model/model.npz"])
    loaded = fastrbm.load(path)
    np.testing.assert_array_equal(loaded.components_, model.components_)
    assert loaded.n_iter_ == 3
    assert {"plots/filters.png", "plots/learning_curve.png"} <= set(run["files"])


def test_the_model_is_that_which_early_stopping_put_back(runs, tmp_path):
    callback = MLflowCallback()
    model = BernoulliRBM(
        4, n_iter=9, random_state=0, callbacks=[callback], validation_fraction=0.5, early_stopping=True,
        n_iter_no_change=1, tol=1e9,
    ).fit(X)  # fmt: skip
    path = tmp_path / "model.npz"
    path.write_bytes(runs[callback.run_id_]["files"]["model/model.npz"])
    np.testing.assert_array_equal(fastrbm.load(path).components_, model.components_)
    assert "validation_log_likelihood" in runs[callback.run_id_]["metrics"]


def test_parts_may_be_left_out(runs, monkeypatch):
    BernoulliRBM(4, n_iter=1, callbacks=[MLflowCallback(model=False, plots=False, image_shape=(3, 3))]).fit(X)
    assert set(runs["0"]["files"]) == {"environment.json"}
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    BernoulliRBM(4, n_iter=1, callbacks=[MLflowCallback(image_shape=(3, 3))]).fit(X)
    assert set(runs["1"]["files"]) == {"environment.json", "model/model.npz"} and runs["1"]["status"] == "FINISHED"


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM])
def test_a_run_that_diverges_has_failed(runs, kind, many):
    callback = MLflowCallback()
    model = kind(4, learning_rate=1e39, callbacks=[callback])
    with pytest.raises(DivergenceError):
        fit_many([model], X) if many else model.fit(X)
    run = runs[callback.run_id_]
    assert run["status"] == "FAILED" and run["tags"]["error"].startswith("DivergenceError: ")


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (RuntimeError("enough"), "FAILED")])
def test_a_run_that_is_interrupted_was_killed(runs, error, status):
    class Raises(Callback):
        def on_epoch_end(self, run):
            if run.done == 2:
                raise error

    with pytest.raises(type(error)):
        BernoulliRBM(4, n_iter=5, callbacks=[MLflowCallback(), Raises()]).fit(X)
    assert runs["0"]["status"] == status and len(runs["0"]["metrics"]["seconds"]) == 2
    assert "model/model.npz" in runs["0"]["files"]


def test_each_of_many_fits_is_a_run_and_one_that_goes_on_another(runs):
    callback = MLflowCallback()
    models = [BernoulliRBM(4, n_iter=2, random_state=k, callbacks=[callback]) for k in range(3)]
    fit_many(models, X)
    assert sorted(r["params"]["random_state"] for r in runs.values()) == ["0", "1", "2"]
    assert {r["status"] for r in runs.values()} == {"FINISHED"}
    models[0].set_params(warm_start=True).fit(X)
    assert [step for step, _ in runs["3"]["metrics"]["seconds"]] == [3, 4]


@pytest.mark.parametrize(
    ("method", "status"),
    [("create_experiment", None), ("create_run", None), ("log_batch", "KILLED"), ("log_metrics", "KILLED"),
     ("log_artifact", "KILLED")],
)  # fmt: skip
def test_a_store_that_fails_is_warned_of_once_and_training_goes_on(runs, method, status):
    Client.fails = method
    callback = MLflowCallback()
    with pytest.warns(TrackingWarning, match="disk full. Training goes on") as caught:
        model = BernoulliRBM(4, n_iter=4, random_state=0, callbacks=[callback]).fit(X)
    assert len([w for w in caught if w.category is TrackingWarning]) == 1 and caught[0].filename == __file__
    assert Client.calls.count(method) == 1
    np.testing.assert_array_equal(model.components_, BernoulliRBM(4, n_iter=4, random_state=0).fit(X).components_)
    assert [run["status"] for run in runs.values()] == ([] if status is None else [status])


@pytest.mark.parametrize("bad", ["folder", "locked", "garbage"])
def test_a_sqlite_file_that_cannot_be_written_to_is_found_at_once(runs, tmp_path, bad, monkeypatch):
    path = tmp_path / "runs.db"
    holder = None
    if bad == "folder":
        path = tmp_path / "no" / "runs.db"
    elif bad == "garbage":
        path.write_bytes(b"no database at all" * 100)
    else:
        monkeypatch.setattr("fastrbm.tracking.PATIENCE", 0.1)
        holder = sqlite3.connect(path)
        holder.execute("BEGIN EXCLUSIVE")
    with pytest.warns(TrackingWarning, match="cannot be written to sqlite:///"):
        BernoulliRBM(4, n_iter=1, callbacks=[MLflowCallback(tracking_uri=path)]).fit(X)
    if holder is not None:
        holder.close()
    assert Client.calls == []


def test_a_model_that_has_no_file_is_no_fault_of_the_store(runs):
    model = BernoulliRBM(4, n_iter=1, learning_rate=lambda epoch, n: 0.1, callbacks=[MLflowCallback(plots=False)])
    with pytest.warns(TrackingWarning, match="the model file is not tracked"):
        model.fit(X)
    assert runs["0"]["status"] == "FINISHED"


def test_unusable_options_are_refused(runs):
    for options in ({"experiment": ""}, {"tags": ["a"]}, {"model": 2}, {"plots": "yes"}, {"image_shape": (0, 3)}):
        with pytest.raises((ValueError, TypeError), match=next(iter(options)).replace("image_", "")):
            MLflowCallback(**options)
    with pytest.raises(ValueError, match="image_shape must have 9 pixels"):
        BernoulliRBM(4, callbacks=[MLflowCallback(image_shape=(2, 2))]).fit(X)


def test_a_missing_mlflow_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r'pip install "fastrbm\[tracking\]"'):
        BernoulliRBM(4, callbacks=[MLflowCallback()]).fit(X)


def test_the_real_store(tmp_path, monkeypatch):
    """Without a server: a SQLite file in the working folder, and files beside it."""
    mlflow = pytest.importorskip("mlflow", reason='MLflow is not installed: pip install "fastrbm[tracking]"')
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    callback = MLflowCallback("real")
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        model = BernoulliRBM(4, n_iter=2, random_state=0, validation_fraction=0.3, callbacks=[callback]).fit(X)
    assert (tmp_path / "mlflow.db").is_file() and not list(tmp_path.glob("fastrbm*"))
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    run = client.get_run(callback.run_id_)
    assert run.info.status == "FINISHED" and run.data.params["n_components"] == "4"
    history = client.get_metric_history(callback.run_id_, "validation_log_likelihood")
    assert [m.step for m in history] == [1, 2]
    (stored,) = tmp_path.glob("mlruns/*/artifacts/model/model.npz")
    np.testing.assert_array_equal(fastrbm.load(stored).components_, model.components_)
    with pytest.raises(DivergenceError):
        BernoulliRBM(4, learning_rate=1e39, callbacks=[callback]).fit(X)
    assert client.get_run(callback.run_id_).info.status == "FAILED"
