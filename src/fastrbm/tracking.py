"""Training runs in MLflow: options, metrics, the model file, pictures, versions, and how each run ended.

Needs ``pip install "fastrbm[tracking]"``. No server is needed: by default runs go to a SQLite file.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _versions, plot
from ._checks import check_flag, check_image_shape, warn_user
from ._fit.callback import Callback
from ._fit.state import FitRun

__all__ = ["MLflowCallback", "TrackingWarning"]

#: file of runs in the working folder, when nothing else is said
DEFAULT_STORE = "sqlite:///mlflow.db"
#: seconds that a SQLite file which others are writing to is waited for
PATIENCE = 10.0
_SQLITE = "sqlite:///"
_URI = re.compile(r"[a-z][a-z0-9+-]+:|databricks")
_LONGEST = 6000  # characters of a parameter that MLflow keeps
_LONGEST_TAG = 5000
_AT_ONCE = 100  # parameters of one call
_NOT_LOGGED = ("epoch",)  # columns of the history that are the steps of the others


class TrackingWarning(UserWarning):
    """A run could not be written to its store; training goes on without it."""


@dataclass
class _Record:
    """One run that is being written.

    Attributes
    ----------
    client : mlflow.MlflowClient
    run_id : str
    written : dict of int
        Entries of each column of the history that were written, or belong to earlier runs.
    status : str
        How the run has ended.
    over : bool
        Whether it has.
    """

    client: Any
    run_id: str
    written: dict[str, int] = field(default_factory=dict)
    status: str = "FINISHED"
    over: bool = False


class MLflowCallback(Callback):
    """Writes every fit as a run of MLflow.

    A run has all options of the estimator (those of nested objects as ``optimizer__beta1``), all columns of
    ``history_`` with the pass as their step (entries that are not finite are left out), the model file
    ``model/model.npz`` for `fastrbm.load`, pictures as far as matplotlib is installed, and ``environment.json`` with
    the versions of what the fit ran with. It ends as FINISHED; as FAILED after divergence or an error, which the tag
    ``error`` tells; as KILLED after an interrupt.

    Parameters
    ----------
    experiment : str, default="fastrbm"
        Name of the experiment; made if there is none.
    run_name : str or None, default=None
        Of the runs; MLflow makes one up.
    tracking_uri : str or None, default=None
        Where runs go: a URI of MLflow, or the path of a SQLite file (``runs.db``). None: what MLflow is set to
        (``mlflow.set_tracking_uri``, ``MLFLOW_TRACKING_URI``), else the SQLite file ``mlflow.db`` in the working
        folder, which ``mlflow ui --backend-store-uri sqlite:///mlflow.db`` shows. Files of the runs lie in ``mlruns``
        beside a SQLite file. MLflow's older store of plain folders (``file:mlruns``) is no longer maintained; its newer
        versions take it with ``MLFLOW_ALLOW_FILE_STORE=true`` only.
    tags : dict or None, default=None
        Further tags of the runs.
    model : bool, default=True
        Whether the model file is kept. A run that failed keeps its last finite parameters.
    plots : bool, default=True
        Whether learning curves are drawn, and filters with `image_shape`.
    image_shape : (height, width) or None, default=None
        Of the visible layer, where rows are images.

    Attributes
    ----------
    run_id_ : str
        Id of the newest run that was begun.

    Raises
    ------
    ImportError
        From `fit`, if MLflow is missing.

    Warns
    -----
    TrackingWarning
        Once in a fit, if the store cannot be written to. Training goes on, and nothing more is written.

    Notes
    -----
    Every fit is a run of its own, also one that goes on with ``warm_start``, whose first step is the first new pass.

    Examples
    --------
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.tracking import MLflowCallback
    >>> model = BernoulliRBM(16, callbacks=[MLflowCallback("digits", tracking_uri="runs.db")])
    """

    def __init__(
        self,
        experiment: str = "fastrbm",
        run_name: str | None = None,
        *,
        tracking_uri: str | os.PathLike[str] | None = None,
        tags: dict[str, Any] | None = None,
        model: bool = True,
        plots: bool = True,
        image_shape: tuple[int, int] | None = None,
    ):
        if not isinstance(experiment, str) or not experiment:
            raise ValueError(f"experiment must be a name, got {experiment!r}")
        if tags is not None and not isinstance(tags, dict):
            raise TypeError(f"tags must be a dict or None, got {tags!r}")
        self.experiment, self.run_name, self.tracking_uri, self.tags = experiment, run_name, tracking_uri, tags
        self.model, self.plots = check_flag("model", model), check_flag("plots", plots)
        self.image_shape = None if image_shape is None else check_image_shape(image_shape)
        self._records: dict[int, _Record] = {}

    # -- what the fit tells ---------------------------------------------------------------------------------

    def on_fit_begin(self, run: FitRun) -> None:
        """Begin a run: options, tags, versions."""
        mlflow = _mlflow()
        n_visible = run.estimator.components_.shape[1]
        if self.image_shape is not None and math.prod(self.image_shape) != n_visible:
            raise ValueError(f"image_shape must have {n_visible} pixels, the visible units, got {self.image_shape}")
        try:
            record = self._records[id(run)] = self._begin(mlflow, run)
        except Exception as error:
            self._warn(error)
            return
        self.run_id_ = record.run_id
        self._write(run, self._describe)

    def on_epoch_end(self, run: FitRun) -> None:
        """Write what the history has."""
        self._write(run, _write_metrics)

    def on_fit_failed(self, run: FitRun, error: BaseException) -> None:
        """Note down what ended the run."""

        def note(record: _Record, _: FitRun) -> None:
            record.status = "FAILED" if isinstance(error, Exception) else "KILLED"
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            record.client.set_tag(record.run_id, "error", text[:_LONGEST_TAG])

        self._write(run, note)

    def on_fit_end(self, run: FitRun) -> None:
        """Write the last metrics, the model and the pictures, and end the run."""
        self._write(run, _write_metrics)
        if id(run) in self._records:
            self._records[id(run)].over = True
        self._write(run, self._write_files)
        self._write(run, lambda record, _: record.client.set_terminated(record.run_id, record.status))
        self._records.pop(id(run), None)

    # -- what is written ------------------------------------------------------------------------------------

    def _write(self, run: FitRun, write: Callable[[_Record, FitRun], None]) -> None:
        """Write to the store; one that fails is told of once, and not written to again in this fit."""
        record = self._records.get(id(run))
        if record is None:
            return
        try:
            write(record, run)
        except Exception as error:
            del self._records[id(run)]
            _give_up(record, error)
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        warn_user(
            f"the run cannot be written to {self._uri() or 'the store that MLflow is set to'}: {reason}. Training goes "
            "on and is not tracked any more",
            TrackingWarning,
        )

    def _uri(self) -> str | None:
        """Where runs go; None for what MLflow is set to."""
        given = self.tracking_uri
        if given is None:
            mlflow = _mlflow()
            return None if mlflow.is_tracking_uri_set() else DEFAULT_STORE
        text = os.fspath(given)
        return text if _URI.match(text) else _SQLITE + text

    def _begin(self, mlflow: Any, run: FitRun) -> _Record:
        uri = self._uri()
        place = _check_sqlite(uri or mlflow.get_tracking_uri())
        client = mlflow.MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            artifacts = None if place is None else (place.parent / "mlruns").as_uri()
            experiment = client.create_experiment(self.experiment, artifact_location=artifacts)
        else:
            experiment = found.experiment_id
        begun = client.create_run(experiment, run_name=self.run_name)
        return _Record(client, begun.info.run_id, {name: len(column) for name, column in run.history.items()})

    def _describe(self, record: _Record, run: FitRun) -> None:
        """Write options and versions."""
        from mlflow.entities import Param, RunTag

        options = run.estimator.get_params(deep=True)
        options.pop("callbacks", None)
        options["estimator"] = type(run.estimator).__name__
        params = [Param(name, repr(x)[:_LONGEST] if not isinstance(x, str) else x) for name, x in options.items()]
        for first in range(0, len(params), _AT_ONCE):
            record.client.log_batch(record.run_id, params=params[first : first + _AT_ONCE])
        facts = _versions.collect()
        tags = {"fastrbm": facts["fastrbm"], "n_visible": run.estimator.components_.shape[1], **(self.tags or {})}
        record.client.log_batch(record.run_id, tags=[RunTag(str(k), str(x)[:_LONGEST_TAG]) for k, x in tags.items()])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "environment.json"
            path.write_text(json.dumps({k: x if isinstance(x, int) else str(x) for k, x in facts.items()}, indent=1))
            record.client.log_artifact(record.run_id, str(path))

    def _write_files(self, record: _Record, run: FitRun) -> None:
        with tempfile.TemporaryDirectory() as folder:
            if self.model:
                path = Path(folder) / "model.npz"
                if self._saved(run, path):
                    record.client.log_artifact(record.run_id, str(path), "model")
            if self.plots:
                for path in self._drawn(run, Path(folder)):
                    record.client.log_artifact(record.run_id, str(path), "plots")

    def _saved(self, run: FitRun, path: Path) -> bool:
        """Whether the model could be saved: options that are functions have no place in a file."""
        try:
            run.estimator.save(path)
        except ValueError as error:
            warn_user(f"the model file is not tracked: {error}", TrackingWarning)
            return False
        return True

    def _drawn(self, run: FitRun, folder: Path) -> list[Path]:
        """Pictures of the run, on figures that no window shows."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return []
        paths = []
        names = [
            name
            for name, column in run.history.items()
            if name not in ("epoch", "seconds") and any(map(math.isfinite, column))
        ]
        if names:
            figure = Figure(figsize=(4.2 * len(names), 2.9), layout="constrained")
            axes = figure.subplots(1, len(names), squeeze=False)[0]
            plot.plot_learning_curve(run.history, metrics=names, ax=list(axes))
            paths.append(_drawn_on(figure, folder / "learning_curve.png"))
        if self.image_shape is not None:
            figure = Figure(figsize=(8, 8), layout="constrained")
            plot.plot_filters(run.estimator.components_, self.image_shape, ax=figure.add_subplot())
            paths.append(_drawn_on(figure, folder / "filters.png"))
        return paths


def _drawn_on(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=100)
    return path


def _write_metrics(record: _Record, run: FitRun) -> None:
    """Write the entries of all columns that were not written yet; others may come after the end of a pass."""
    from mlflow.entities import Metric

    now, steps, metrics = int(1000 * time.time()), run.history.get("epoch", []), []
    for name, column in run.history.items():
        if name in _NOT_LOGGED:
            continue
        for k in range(record.written.get(name, 0), len(column)):
            if math.isfinite(column[k]):
                metrics.append(Metric(name, float(column[k]), now, int(steps[k])))
        record.written[name] = len(column)
    if metrics:
        record.client.log_batch(record.run_id, metrics=metrics)


def _mlflow() -> Any:
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise ImportError('MLflowCallback needs MLflow: pip install "fastrbm[tracking]"') from error


def _check_sqlite(uri: str) -> Path | None:
    """Path of a SQLite store, None for other stores; OSError at once for one that cannot be written to.

    MLflow itself tries again for minutes.
    """
    if not uri.startswith(_SQLITE):
        return None
    path = Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist")
    try:
        with sqlite3.connect(path, timeout=PATIENCE) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS fastrbm_can_write (x)")
            connection.rollback()
        connection.close()
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from None
    return path


def _give_up(record: _Record, error: Exception) -> None:
    """Mark a run that is no longer written to, as far as its store still takes that."""
    try:
        record.client.set_tag(record.run_id, "tracking_error", str(error)[:_LONGEST_TAG])
        record.client.set_terminated(record.run_id, record.status if record.over else "KILLED")
    except Exception:  # what is wrong with the store is said anyway
        return
