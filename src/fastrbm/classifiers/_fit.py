"""Passes over labelled rows: minibatches, history, held-out rows, divergence."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.bits import VisibleData
from .._data.split import Split
from .._estimator.aftermath import warn_of_rise
from .._fit.loop import DivergenceError, share_of
from .._kernels import Backend, States
from .._kernels.labels import probabilities
from .._kernels.levels import as_floats
from .._kernels.rules import Update
from .._shown import History
from ..optimizers import get_optimizer
from ..schedules import value_at
from ._labelled import LabelledTraining, Machine, Objective

_OTHERS = 1 << 47  # of the key of the order of rows without labels


class LabelledFit:
    """A fit that is done a pass at a time.

    Parameters
    ----------
    options : DiscriminativeRBM
        Its options, which do not change.
    backend : Backend
    training : LabelledTraining
    objective : Objective
    data : VisibleData
    labels : ndarray of int
        Numbers of the classes of all rows.
    weight : ndarray or None
        Of all rows.
    split : Split
    others : VisibleData or None
        Rows without labels.
    """

    def __init__(
        self,
        options: Any,
        backend: Backend,
        training: LabelledTraining,
        objective: Objective,
        data: VisibleData,
        labels: NDArray[np.int64],
        weight: NDArray[Any] | None,
        split: Split,
        others: VisibleData | None,
    ):
        self.options, self.backend, self.training, self.objective = options, backend, training, objective
        self.data, self.labels, self.weight, self.others = data, labels.astype(np.int32), weight, others
        self.split = split
        self.history = History(epoch=[], seconds=[], loss=[])
        self.n_passes = 0
        self._start = math.log(len(options.classes_))  # loss of equal probabilities
        self._begun = False
        self._order = split.order(training.key, options.shuffle)
        self._best: tuple[float, int, Machine] | None = None

    def best(self) -> Machine:
        """Parameters of the best pass where early stopping was asked for, else the newest ones."""
        return self.training.machine if self._best is None else self._best[2]

    def warn(self) -> None:
        """Warn if the loss has risen over all passes."""
        if self.n_passes:
            kept = self.n_passes if self._best is None else self._best[1]
            warn_of_rise(self.history["loss"][kept - 1], self._start)

    def one_pass(self) -> bool:
        """Pass over the data once and look at the rows held out; False if that was the last pass.

        `DivergenceError`: the parameters are those from before the pass.
        """
        begin, backup = time.perf_counter(), self.training.machine.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            loss = self._minibatches()
        if not (self.training.machine.is_finite() and np.isfinite(loss)):
            self.training.machine = backup
            raise DivergenceError(
                f"parameters became infinite, NaN or too large to add up in pass {self.n_passes + 1}; the last "
                "usable ones were kept. Lower learning_rate (or momentum), or scale the data"
            )
        self.n_passes += 1
        self.training.n_passes += 1
        self.history["epoch"].append(self.n_passes)
        self.history["loss"].append(loss)
        go_on = self._watch()
        self.history["seconds"].append(time.perf_counter() - begin)
        if self.options.verbose:
            told = ", ".join(f"{name} {column[-1]:.4g}" for name, column in self.history.items() if name != "epoch")
            print(f"[{type(self.options).__name__}] pass {self.n_passes}, {told}")
        return go_on

    def _minibatches(self) -> float:
        size, rows, done = self.options.batch_size, self._order(self.training.n_passes), 0
        others, total = self._others(len(rows)), 0.0
        for part, local in as_floats(self.data.batches(rows, size), size, self.data.dtype):
            total += self._piece(part, local, rows[done : done + len(local)], others)
            done += len(local)
        return total / self._size(rows) if done else float("nan")

    def _piece(self, part: States, local: NDArray[np.int64], rows: NDArray[np.int64], others: Any) -> float:
        """Minibatches of ``part[local]``, which are `rows` of all; the sum of the losses of the rows by their weights.

        As many as possible go in one native call, the others one by one.
        """
        size, update, done, total = self.options.batch_size, self._update(), 0, 0.0
        cut = range(0, len(rows), size)
        labels = self.labels[rows]
        shares: NDArray[Any] | None = None
        if self.weight is not None:
            each = [share_of(self.weight, rows[k : k + size]) for k in cut]
            shares = np.concatenate(each).astype(self.data.dtype)  # type: ignore[arg-type]

        while done < len(rows):
            left = None if shares is None else shares[done:]
            losses = self.training.ascend_many(
                self.backend, update, self.objective, part, local[done:], labels[done:], left, size
            )
            total += sum(self._size(rows[done:][k * size : (k + 1) * size]) * x for k, x in enumerate(losses))
            self._note(losses)
            done += size * len(losses)
            if done >= len(rows):
                break
            loss = self.training.ascend(
                self.backend,
                update._replace(done=self.training.updates),
                self.objective,
                part[local[done : done + size]],
                labels[done : done + size],
                None if shares is None else shares[done : done + size],
                None if others is None else next(others),
            )
            total += self._size(rows[done : done + size]) * loss
            self._note([loss])
            done += size
        return total

    def _note(self, losses: Any) -> None:
        """Keep the loss of the first minibatch, from before its update, if it is above that of equal probabilities."""
        if len(losses) and not self._begun:
            self._begun, self._start = True, max(self._start, float(losses[0]))

    def _size(self, rows: NDArray[np.int64]) -> float:
        """Weight of some rows."""
        return float(len(rows) if self.weight is None else self.weight[rows].sum())

    def _update(self) -> Update:
        optimizer, options = get_optimizer(self.options.optimizer), self.options
        rate = value_at("learning_rate", options.learning_rate, self.n_passes, options.n_iter, 0)
        return Update(optimizer.rule(), rate, optimizer.momentum_at(self.n_passes, options.n_iter))

    def _others(self, n_rows: int) -> Any:
        """Minibatches of rows without labels, in turn over the passes."""
        if self.others is None or not self.objective.unlabelled:
            return None
        size, n = self.options.batch_size, self.others.shape[0]
        per_pass = -(-n_rows // size) * size
        key = self.training.key.fold_in(_OTHERS)
        whole = Split(n).order(key, self.options.shuffle, lambda _: per_pass)(self.training.n_passes)
        return self._pieces(whole, size)

    def _pieces(self, order: NDArray[np.int64], size: int) -> Any:
        assert self.others is not None
        for part, local in as_floats(self.others.batches(order, size), size, self.data.dtype):
            for first in range(0, len(local), size):
                yield part[local[first : first + size]]

    def _watch(self) -> bool:
        """Score the rows held out; False if the fit should end."""
        held = self.split.held_out
        if held is None:
            return True
        total, right, n = 0.0, 0, 0
        for part, local in as_floats(self.data.batches(held, 4096), 4096, self.data.dtype):
            for first in range(0, len(local), 4096):
                states: States = part[local[first : first + 4096]]
                p = probabilities(self.training.machine.scores(self.backend, states))
                wanted = self.labels[held[n : n + len(p)]]
                n += len(p)
                total += float(np.log(np.maximum(p[np.arange(len(p)), wanted], 1e-300)).sum())
                right += int((p.argmax(axis=1) == wanted).sum())
        score = total / n
        self.history.setdefault("validation_log_probability", []).append(score)
        self.history.setdefault("validation_accuracy", []).append(right / n)
        if not self.options.early_stopping:
            return True
        if self._best is None or score - self._best[0] > self.options.tol:
            self._best = (score, self.n_passes, self.training.machine.copy())
            return True
        return self.n_passes - self._best[1] < self.options.n_iter_no_change
