"""Checkpoints of a fit: model files that hold, beside the state of the training, where in its passes it stands."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._data.chunks import ChunkedData
from .._fit.saving import files_in
from .._fit.state import FitRun
from . import files, io, restoring

#: options that change no bit of what is learned, or that a run may change when it goes on
_FREE = frozenset({"n_iter", "n_threads", "device", "verbose", "warm_start", "strategy", "callbacks"})
_ROWS = 64  # that are looked at to recognise data
_KEY = "checkpoint"

#: what recognises data: their shape and hashes, made when it is asked for
PrintOfRows = Callable[[], dict[str, Any]]


def print_of(X: Any, sample_weight: Any) -> PrintOfRows:
    """What recognises rows of the data: their shape, and a hash of some of them where they are in memory."""
    made: list[dict[str, Any]] = []

    def made_once() -> dict[str, Any]:
        if not made:
            weights = None if sample_weight is None else _hash(np.asarray(sample_weight, dtype=np.float64))
            made.append({"shape": [int(n) for n in X.shape], "rows": _hash_of_rows(X), "sample_weight": weights})
        return made[0]

    return made_once


def _hash_of_rows(X: Any) -> str | None:
    if isinstance(X, ChunkedData) or not (isinstance(X, np.ndarray) or sp.issparse(X)) or not X.shape[0]:
        return None
    rows = X[np.unique(np.linspace(0, X.shape[0] - 1, _ROWS).astype(np.int64))]
    return _hash(np.asarray(rows.toarray() if sp.issparse(rows) else rows, dtype=np.float64))


def _hash(x: NDArray[np.float64]) -> str:
    return hashlib.blake2b((x + 0.0).tobytes(), digest_size=16).hexdigest()  # -0 becomes 0


@dataclass
class Point:
    """Where a run that was cut off goes on.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    first_epoch : int
        Passes that were done before the run began.
    batches : int
        Minibatches of the next pass that are done.
    seconds : float
        They took.
    stopped : bool
        Whether a callback has ended the run.
    rows : dict
        What recognises the data.
    callbacks : list
        (class, which one of it, values) of callbacks that keep something.
    header, arrays
        Of the file; what callbacks keep has their numbers before the names.
    """

    path: Path
    first_epoch: int
    batches: int
    seconds: float
    stopped: bool
    rows: dict[str, Any]
    callbacks: list[tuple[str, int, dict[str, Any]]]
    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def restore(self, estimator: Any) -> None:
        """Give an estimator the state of that moment."""
        with _damage(self.path):
            files.restore(estimator, self.header, self.arrays)

    def check(self, rows: dict[str, Any]) -> None:
        """Raise ValueError unless the data are those of the run."""
        for name, meant in (("shape", "X"), ("rows", "X"), ("sample_weight", "sample_weight")):
            had, got = self.rows[name], rows[name]
            if had != got and not (name == "rows" and None in (had, got)):
                what = f"{tuple(had)} rows and columns, got {tuple(got)}" if name == "shape" else "the same values"
                raise ValueError(
                    f"{meant} must be the data of the run that {self.path} is of, {what}: resume goes on with it; "
                    "without resume another fit begins"
                )

    def set_on(self, run: FitRun) -> None:
        """Let a run that was set up begin here."""
        run.done, run.stop_requested = run.state.epoch - self.first_epoch, self.stopped
        run.skipped, run.seconds_before = self.batches, self.seconds
        run.taken_up = self

    def restore_callbacks(self, run: FitRun) -> None:
        """Give the callbacks what those of the run that was cut off had kept; ValueError if one is not there."""
        for number, (name, which, values) in enumerate(self.callbacks):
            same = [x for x in run.listeners if type(x).__name__ == name]
            if which >= len(same):
                raise ValueError(
                    f"callbacks must have {which + 1} of {name}, as the run that {self.path} is of had, got {len(same)}"
                )
            prefix = f"callback_{number}/"
            of_it = {key.removeprefix(prefix): x for key, x in self.arrays.items() if key.startswith(prefix)}
            with _damage(self.path):
                same[which].set_state(values, of_it)


def write(estimator: Any, path: Path, run: FitRun, batches: int, rows: PrintOfRows) -> None:
    """Write a checkpoint; what was learned is on the host, and `batches` of the next pass are done."""
    header, arrays = files.form_of(estimator)
    kept: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for listener in run.listeners:
        name = type(listener).__name__
        which = seen[name] = seen.get(name, -1) + 1
        state = listener.get_state()
        if state is not None:
            values, own = state
            arrays |= {f"callback_{len(kept)}/{key}": x for key, x in own.items()}
            kept.append({"class": name, "which": which, "values": values})
    header[_KEY] = {
        "first_epoch": run.state.epoch - run.done,
        "batches": batches,
        "seconds": run.seconds_of_pass if batches else 0.0,
        "stopped": run.stop_requested,
        "rows": rows(),
        "callbacks": kept,
    }
    io.write_model(path, header, arrays)


def point_of(estimator: Any, path: str | os.PathLike[str]) -> Point:
    """Where a run goes on: what the newest good checkpoint says.

    Parameters
    ----------
    estimator : Stored
        Whose fit it is to be.
    path : path-like
        Of a folder of checkpoints, or of one of them.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If none is good, or it is of another estimator or of other options.
    """
    if estimator.random_stream == "sklearn":
        raise ValueError("resume must be None with random_stream='sklearn', whose fits cannot be continued")
    found, header, arrays = newest(path)
    own = files.name_of(estimator)
    if {key: header.get(key) for key in own} != own:
        raise ValueError(
            f"resume: {found} is of a {header.get('estimator')}, which is not the {own['estimator']} that is fitted"
        )
    _check_options(estimator, header.get("options"), found)
    with _damage(found):
        return _read(header, arrays, found)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Errors of what a file holds say which file it is."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"resume: {path} is a damaged checkpoint ({error!r})") from error


def newest(path: str | os.PathLike[str]) -> tuple[Path, dict[str, Any], dict[str, NDArray[Any]]]:
    """The newest checkpoint of a folder that can be read, or the one that a file is."""
    given = Path(path)
    candidates = files_in(given) if given.is_dir() else [given]
    if not candidates or not candidates[0].exists():
        raise FileNotFoundError(f"resume: there is no checkpoint in {given}: leave resume out to begin a fit")
    said = []
    for candidate in candidates:
        try:
            header, arrays = io.read_model(candidate)
            if not isinstance(header.get(_KEY), Mapping):
                raise ValueError(f"path: {candidate} is a model file, not a checkpoint: load it, and set warm_start")
            return candidate, header, arrays
        except ValueError as error:
            said.append(str(error))
    raise ValueError("resume: no checkpoint can be read: " + "; ".join(said))


def _read(header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path) -> Point:
    found = header[_KEY]
    numbers = restoring.numbers_of(found, ("first_epoch", "batches"))
    which = [restoring.numbers_of(x, ("which",))["which"] for x in found["callbacks"]]
    callbacks = [(str(x["class"]), k, x["values"]) for x, k in zip(found["callbacks"], which, strict=True)]
    return Point(
        path, numbers["first_epoch"], numbers["batches"], float(found["seconds"]), bool(found["stopped"]),
        dict(found["rows"]), callbacks, header, arrays,
    )  # fmt: skip


def _check_options(estimator: Any, stored: Any, path: Path) -> None:
    given = files.plain_options(estimator)
    if not isinstance(stored, Mapping):
        raise ValueError(f"resume: {path} is a damaged checkpoint (it has no options)")
    for name in sorted(given.keys() - _FREE):
        if name == "random_state" and None in (given[name], stored.get(name)):
            continue  # the draws go on as they began
        if given[name] != stored.get(name):
            raise ValueError(
                f"{name} must be {stored.get(name)!r}, as in the run that {path} is of, to go on with it, "
                f"got {given[name]!r}"
            )
