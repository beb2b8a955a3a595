"""Checkpoints of a fit, written so that nothing is lost: when, where, and what a signal does."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from .._checks import check_integer
from .callback import Callback
from .state import FitRun

_FILE = re.compile(r"checkpoint-(\d{12})\.npz")
_PART = re.compile(r"\.checkpoint-\d{12}\.npz\..*\.part")
_EVERY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "min": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0}
_COUNTS = {"pass": "passes", "passes": "passes", "minibatch": "minibatches", "minibatches": "minibatches"}
#: what a process ends with that wrote a checkpoint because of SIGTERM
TERMINATED = 128 + int(signal.SIGTERM)


class Terminated(SystemExit):
    """A fit has written a checkpoint and ends, because of SIGTERM; uncaught, the exit status is 143."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


def files_in(folder: Path) -> list[Path]:
    """Checkpoints of a folder, the newest first."""
    return sorted((x for x in folder.iterdir() if _FILE.fullmatch(x.name)), reverse=True) if folder.is_dir() else []


class _Signals:
    """Signals of the process, for all fits under way that have checkpoints."""

    def __init__(self) -> None:
        self._listeners: list[Checkpoint] = []
        self._before: dict[int, Any] = {}
        self._asked = False

    def listen(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint asked by signals, where this thread is the one that Python answers them in."""
        checkpoint.ask(0)
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._listeners:
            self._asked = False
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        self._listeners.append(checkpoint)

    def leave(self, checkpoint: Checkpoint) -> None:
        """Ask it no more."""
        if checkpoint not in self._listeners:
            return
        self._listeners.remove(checkpoint)
        if not self._listeners:
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self._asked:  # for the second time
            raise _error_of(number)
        self._asked = True
        for checkpoint in self._listeners:
            checkpoint.ask(number)


_SIGNALS = _Signals()


class Checkpoint(Callback):
    """Writes all that a fit needs to go on, every so often, and when the process is asked to end.

    ``fit(X, resume=path)`` goes on from the newest file, with the bits of a fit that was never cut off. A file appears
    under its name when it is complete and on the disk, so that one cut off at any moment has good ones: at most what
    was done since the newest is done again.

    Parameters
    ----------
    path : path-like
        Folder; it is made if it is not there. It must have no checkpoints, unless the fit goes on with them.
    every : str, default="10 min"
        Time, passes or minibatches from one file to the next: "30 s", "10 min", "2 h", "5 passes", "1000 minibatches".
    keep : int, default=2
        The newest files that stay, at least 2: a file that a disk has spoiled leaves another.

    Notes
    -----
    A first file is written before training begins. SIGTERM, which a scheduler sends before it kills, and SIGINT
    (Ctrl-C) are answered after a minibatch, within a tenth of a second or so: by a file, and `Terminated` (exit status
    143) or KeyboardInterrupt. A second signal does not wait. Python answers signals in its main thread alone; a fit in
    another one writes by its `every` only.

    A file that cannot be written, on a full disk for instance, is a RuntimeWarning: training goes on, the files before
    it stay, and the next one is tried when it is due.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.callbacks import Checkpoint
    >>> X, folder = np.random.default_rng(0).integers(0, 2, (40, 6)), tempfile.mkdtemp()
    >>> rbm = BernoulliRBM(3, n_iter=5, random_state=0, callbacks=[Checkpoint(folder, every="2 passes")]).fit(X)
    >>> again = BernoulliRBM(3, n_iter=5, random_state=0).fit(X, resume=folder)
    >>> bool((again.components_ == rbm.components_).all())
    True
    """

    told_last = True

    def __init__(self, path: str | os.PathLike[str], every: str = "10 min", keep: int = 2):
        self.path, self.every = Path(path), every
        self.keep = check_integer("keep", keep, 2)
        self._count, self._unit = _interval(every)
        self._asked = 0
        self._written: tuple[float, int, int] = (0.0, 0, 0)

    # -- of a fit -------------------------------------------------------------------------------------------------

    def on_fit_begin(self, run: FitRun) -> None:
        """Look at the folder, write a first file, and listen to signals."""
        if run.inside.save is None:
            raise ValueError(
                "callbacks must hold no Checkpoint with random_stream='sklearn', whose fits cannot be continued"
            )
        run.first_does(lambda: self._look_at_folder(run))
        if run.taken_up is None:
            self._write(run, 0)  # an error here is one of the call
        self._note(run)
        _SIGNALS.listen(self)

    def _look_at_folder(self, run: FitRun) -> None:
        """Make the folder; refuse one of another run; remove what a process left that was killed."""
        self.path.mkdir(parents=True, exist_ok=True)
        found = files_in(self.path)
        if found and (run.taken_up is None or run.taken_up.path.resolve().parent != self.path.resolve()):
            raise ValueError(
                f"path: {self.path} has checkpoints of another run: go on with it (fit(X, resume={str(self.path)!r})), "
                "give another folder, or remove them"
            )
        for part in self.path.iterdir():
            if _PART.fullmatch(part.name):
                part.unlink(missing_ok=True)

    def wants_rest(self, run: FitRun) -> bool:
        """Whether a file is due, or a signal has come."""
        return bool(self._asked) or self._is_due(run)

    def on_rest(self, run: FitRun) -> None:
        """Write a file, and answer a signal."""
        self._save(run, run.batches_done)

    def on_epoch_end(self, run: FitRun) -> None:
        """The same after a pass."""
        if run.agree(self.wants_rest(run) or run.stop_requested):
            self._save(run, 0)

    def on_fit_end(self, run: FitRun) -> None:
        """Leave signals to those who had them before."""
        _SIGNALS.leave(self)

    def ask(self, number: int) -> None:
        """Have a signal answered when training rests next."""
        self._asked = number

    # -- files ----------------------------------------------------------------------------------------------------

    def _is_due(self, run: FitRun) -> bool:
        at, updates, epoch = self._written
        if self._unit == "seconds":
            return time.monotonic() - at >= self._count
        done = run.state.epoch - epoch if self._unit == "passes" else run.state.chains.updates - updates
        return done >= self._count

    def _note(self, run: FitRun) -> None:
        self._written = time.monotonic(), run.state.chains.updates, run.state.epoch

    def _save(self, run: FitRun, batches: int) -> None:
        try:
            self._write(run, batches)
        except (OSError, ValueError) as error:
            # ValueError: parameters that are not finite, of which the end of the pass tells
            warnings.warn(f"no checkpoint could be written to {self.path}: {error}", RuntimeWarning, stacklevel=2)
        self._note(run)
        for number in (signal.SIGTERM, signal.SIGINT):
            if run.agree(self._asked == number):
                raise _error_of(number)

    def _write(self, run: FitRun, batches: int) -> None:
        save, path = run.inside.save, self.path / f"checkpoint-{run.state.chains.updates:012d}.npz"
        assert save is not None

        def write() -> None:
            save(path, run, batches)
            for old in files_in(self.path)[self.keep :]:
                old.unlink(missing_ok=True)

        run.first_does(write)


def _error_of(number: int) -> BaseException:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _interval(every: Any) -> tuple[float, str]:
    """Number and unit of an interval: seconds, passes or minibatches."""
    found = _EVERY.fullmatch(every) if isinstance(every, str) else None
    number, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if number > 0 and unit in _SECONDS:
        return number * _SECONDS[unit], "seconds"
    if number >= 1 and number.is_integer() and unit in _COUNTS:
        return number, _COUNTS[unit]
    raise ValueError(
        f"every must be a time, or a number of passes or minibatches, such as '10 min', '30 s', '2 h', '5 passes' or "
        f"'1000 minibatches', got {every!r}"
    )
