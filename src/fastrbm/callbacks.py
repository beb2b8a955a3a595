"""Callbacks of the fit loop: progress, metrics, and a base class for your own."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._checks import check_integer, check_number
from ._fit.callback import Callback
from ._fit.checkpoints import CheckpointTrajectory
from ._fit.saving import Checkpoint, Terminated
from ._fit.state import FitRun, Snapshot
from ._kernels import Backend, Parameters
from ._kernels.draws import Key
from .likelihood import LogPartition, exact, log_partition
from .likelihood.partition import METHODS
from .model import Model
from .units import get_unit

__all__ = [
    "Callback",
    "Checkpoint",
    "CheckpointTrajectory",
    "EarlyStopping",
    "FreeEnergyGap",
    "LogLikelihood",
    "ProgressBar",
    "PseudoLikelihood",
    "ReconstructionError",
    "Terminated",
    "Verbose",
]


#: of an annealed estimate, by default
N_CHAINS, N_TEMPERATURES = 100, 128
_CHEAP = 0.25  # seconds an exact sum may take after each pass
_MONITOR = 1 << 48  # in place of the numbers of sampling calls


def _average(scores: Any) -> float:
    return float(scores.mean())


def _is_due(run: FitRun, every: int) -> bool:
    """Whether the pass that has just finished is measured: each `every`-th one, and the last of the run."""
    return run.state.epoch % every == 0 or run.done >= run.n_epochs or run.stop_requested


def _is_binary(run: FitRun) -> bool:
    return get_unit(run.estimator.units[0]).binary


class PseudoLikelihood(Callback):
    """Records the mean pseudo-likelihood of some rows as "pseudo_likelihood" after each epoch; see `score_samples`.

    Parameters
    ----------
    X : array-like, shape (n_samples, n_features)
        Rows to score, in the form `fit` takes. A few hundred are enough for a curve.
    name : str, default="pseudo_likelihood"
        Column of the history.
    every : int, default=1
        Passes between records; the last pass of a run is always recorded. The history has NaN for the others.
    """

    def __init__(self, X: Any, name: str = "pseudo_likelihood", every: int = 1):
        self.X = X
        self.name = name
        self.every = check_integer("every", every)

    def on_fit_begin(self, run: FitRun) -> None:
        """Check the rows: those of binary units may be anything finite, others must be states."""
        if not _is_binary(run):
            run.estimator.score_samples(self.X)

    def on_epoch_end(self, run: FitRun) -> None:
        """Score the rows and record their mean."""
        if _is_due(run, self.every):
            run.record(self.name, _average(run.estimator.score_samples(self.X)))


class ReconstructionError(Callback):
    """Records the mean squared difference between rows and their mean-field reconstruction.

    Parameters
    ----------
    X : array-like, shape (n_samples, n_features)
        Rows in the form `fit` takes.
    name : str, default="reconstruction_error"
        Column of the history.
    every : int, default=1
        Passes between records; the last pass of a run is always recorded. The history has NaN for the others.
    """

    def __init__(self, X: Any, name: str = "reconstruction_error", every: int = 1):
        self.X = X
        self.name = name
        self.every = check_integer("every", every)

    def on_epoch_end(self, run: FitRun) -> None:
        """Reconstruct the rows and record the error."""
        if _is_due(run, self.every):
            run.record(self.name, run.estimator.reconstruction_error(self.X))


class ProgressBar(Callback):
    """A tqdm bar over minibatches with the last recorded metrics.

    Parameters
    ----------
    **options
        Passed to ``tqdm.auto.tqdm``.
    """

    def __init__(self, **options: Any):
        self.options = options
        self._bar: Any = None
        self._shown = 0

    def on_fit_begin(self, run: FitRun) -> None:
        """Open the bar."""
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError('ProgressBar needs tqdm: pip install "fastrbm[plot]"') from error
        self._shown = 0
        self._bar = tqdm(total=sum(run.batches), unit="batch", **self.options)

    def _advance(self, to: int) -> None:
        self._bar.update(to - self._shown)
        self._shown = to

    def on_batch(self, run: FitRun) -> None:
        """Move the bar on."""
        self._advance(sum(run.batches[: run.done]) + run.batches_done)

    def on_epoch_end(self, run: FitRun) -> None:
        """Move to the epoch's end and show the metrics."""
        self._advance(sum(run.batches[: run.done]))
        metrics = {k: f"{v[-1]:.4g}" for k, v in run.history.items() if k not in ("epoch", "seconds") and v}
        self._bar.set_postfix(epoch=run.state.epoch, **metrics)

    def on_fit_end(self, run: FitRun) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _error(run: FitRun, X: Any) -> float:
    return float(run.estimator.reconstruction_error(X))


class Verbose(Callback):
    """Prints a line after a pass in scikit-learn's form, and records what it prints.

    Parameters
    ----------
    X : array-like
        Rows whose mean pseudo-likelihood (reconstruction error where visible units are not binary) is printed and
        recorded. The option ``verbose`` takes a fixed subset of the rows, 100 to 1000 of them.
    every : int, default=1
        Passes from one line to the next; the last pass always has one. The option ``verbose`` chooses it so that all
        lines together cost about a tenth of the training.

    Notes
    -----
    The time of a line is all that has passed since the line before it: training, and watching as well.
    """

    def __init__(self, X: Any, every: int = 1):
        self.X = X
        self.every = check_integer("every", every)
        self._since = time.perf_counter()

    def on_fit_begin(self, run: FitRun) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_epoch_end(self, run: FitRun) -> None:
        """Score the rows, record their mean and print a line."""
        if not _is_due(run, self.every):
            return
        name = "pseudo_likelihood" if _is_binary(run) else "reconstruction_error"
        score = _average(run.estimator.score_samples(self.X)) if name == "pseudo_likelihood" else _error(run, self.X)
        if len(run.history.get(name, ())) < len(run.history["epoch"]):
            run.record(name, score)
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        print(
            f"[{type(run.estimator).__name__}] Iteration {run.done}, {name.replace('_', '-')} = {score:.2f}, "
            f"time = {seconds:.2f}s"
        )


class LogLikelihood(Callback):
    """Records the mean log-likelihood of some rows after each pass, and how sure it is.

    Parameters
    ----------
    X : array-like, shape (n_samples, n_features)
        States of the visible layer (zeros and ones for Bernoulli units), in the form `fit` takes.
    name : str, default="log_likelihood"
        Column of the history. Its standard error, as far as it comes from log Z, goes to ``name + "_stderr"``, the ends
        of its 95 % interval to ``name + "_low"`` and ``name + "_high"``; the lower end is minus infinity where log Z is
        known from below alone (see `fastrbm.likelihood.LogPartition`).
    method : {"auto", "exact", "ais", "mais", "smc", "reverse", "bracket", "tempering"}, default="auto"
        Of `fastrbm.likelihood.log_partition`. "auto" is "exact" where that takes about a quarter of a second of an
        ordinary core at most, else "smc".
    every : int, default=1
        Passes between records; the last pass of a run is always recorded. The history has NaN for the others.
    n_chains : int, default=100
    n_temperatures : int, default=128
        Of the annealed estimates. Each looks at all starts of its path anew: a pass of training may move a model by
        many nats, and what was found before it misses what came since. So one takes a quarter of a second at least,
        which may be much more than a pass: `every` makes it seldom, as the option ``validation_fraction`` does.
    """

    def __init__(
        self,
        X: Any,
        name: str = "log_likelihood",
        method: str = "auto",
        every: int = 1,
        n_chains: int = N_CHAINS,
        n_temperatures: int = N_TEMPERATURES,
    ):
        if method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}")
        for option, value in (("every", every), ("n_chains", n_chains), ("n_temperatures", n_temperatures)):
            check_integer(option, value)
        self.X, self.name, self.method, self.every = X, name, method, every
        self.n_chains, self.n_temperatures = n_chains, n_temperatures
        self._chosen = method

    def on_fit_begin(self, run: FitRun) -> None:
        """Check the rows and choose the method."""
        model, backend = run.estimator.model_, run.inside.backend()
        self._rows = run.inside.states(self.X, "watch pseudo-likelihood or free energy")
        if self.method == "exact":
            exact.check_size(exact.choose(model), backend)
        elif self.method == "auto":
            cheap = exact.is_possible(model) and exact.nominal_seconds(exact.choose(model)) <= _CHEAP
            self._chosen = "exact" if cheap else "smc"

    def on_epoch_end(self, run: FitRun) -> None:
        """Estimate log Z, and record the mean log-likelihood and its error."""
        if not _is_due(run, self.every):
            return
        model, backend = run.estimator.model_, run.inside.backend()
        if run.inside.rescaled():  # rows are divided by deviations, which may have moved
            self._rows = run.inside.states(self.X, "watch free energy")
        key = run.state.key.fold_in(_MONITOR + run.state.epoch)
        log_z = self._log_partition(run, model, backend, key)
        unnormalised = float(-model.free_energy(self._rows, backend).mean()) - run.inside.log_volume()
        run.record(self.name, unnormalised - log_z.value)
        run.record(f"{self.name}_stderr", log_z.stderr)
        run.record(f"{self.name}_low", unnormalised - log_z.interval[1])
        run.record(f"{self.name}_high", unnormalised - log_z.interval[0])

    def _log_partition(self, run: FitRun, model: Model, backend: Backend, key: Key) -> LogPartition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the interval is recorded
            return log_partition(
                model,
                self._chosen,
                n_chains=self.n_chains,
                n_temperatures=self.n_temperatures,
                random_state=key,
                device=run.estimator.device,
                n_threads=run.estimator.n_threads,
                data=None if self._chosen == "exact" else self._rows,
            )


class FreeEnergyGap(Callback):
    """Records how much less probable held-out rows are than rows of the training data.

    That is the difference of their mean free energies, which needs no partition sum; it grows when a model learns its
    training rows by heart (Hinton, UTML TR 2010-003, section 6).

    Parameters
    ----------
    X : array-like
        Held-out rows.
    X_train : array-like
        As many rows of the training data, about.
    name : str, default="free_energy_gap"
        Column of the history.
    every : int, default=1
        Passes between records; the last pass of a run is always recorded. The history has NaN for the others.
    """

    def __init__(self, X: Any, X_train: Any, name: str = "free_energy_gap", every: int = 1):
        self.X, self.X_train, self.name = X, X_train, name
        self.every = check_integer("every", every)

    def on_epoch_end(self, run: FitRun) -> None:
        """Record the difference of the mean free energies."""
        if not _is_due(run, self.every):
            return
        held, seen = (run.estimator.free_energy(x).mean() for x in (self.X, self.X_train))
        run.record(self.name, float(held - seen))


class EarlyStopping(Callback):
    """Ends a run when a measure of held-out rows no longer gets better, and puts the best parameters back.

    Of a measure that says how sure it is, a `LogLikelihood`, the lower end of the interval counts: a pass is better if
    it is surely so good. An estimate of which nothing is sure from below is no gain.

    Parameters
    ----------
    monitor : Callback that records a column ``monitor.name``
        Such as `LogLikelihood`, `PseudoLikelihood` or `FreeEnergyGap`; it need not stand in the list of callbacks
        itself.
    higher_is_better : bool, default=True
        False for a `FreeEnergyGap`.
    patience : int, default=5
        Passes without a gain that are waited for. Passes that the monitor does not measure count too, but a run ends
        only after one that it does.
    min_delta : float, default=0.0
        Gain that counts, in the unit of the measure.
    """

    def __init__(self, monitor: Any, higher_is_better: bool = True, patience: int = 5, min_delta: float = 0.0):
        self.monitor, self.higher_is_better = monitor, higher_is_better
        self.patience = check_integer("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, 0)

    def on_fit_begin(self, run: FitRun) -> None:
        """Forget what earlier runs have measured."""
        self._best, self._best_epoch = -np.inf, run.state.epoch
        self._kept: Snapshot | None = None
        self.monitor.on_fit_begin(run)

    def on_epoch_end(self, run: FitRun) -> None:
        """Measure held-out rows; keep the parameters, or count the pass."""
        self.monitor.on_epoch_end(run)
        column = run.history.get(self.monitor.name, [])
        if len(column) < len(run.history["epoch"]) or np.isnan(column[-1]):  # this pass was not measured
            return
        sure = run.history.get(f"{self.monitor.name}_low") if self.higher_is_better else None
        value = sure[-1] if sure else column[-1]
        score = value if self.higher_is_better else -value
        if score - self._best > self.min_delta:
            self._best, self._best_epoch = score, run.state.epoch
            self._kept = run.state.snapshot()
        elif run.state.epoch - self._best_epoch >= self.patience:
            run.stop()

    def get_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The best value so far, its pass, and the parameters that were kept."""
        arrays = {}
        if self._kept is not None:
            parameters, extras = self._kept
            arrays = {f"kept_{k}": x for k, x in enumerate(parameters)} | {f"extra_{k}": x for k, x in extras.items()}
        return {"best": float(self._best), "best_epoch": int(self._best_epoch)}, arrays

    def set_state(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Go on with what an earlier part of the run has measured."""
        self._best, self._best_epoch = float(values["best"]), int(values["best_epoch"])
        self._kept = None
        if "kept_0" in arrays:
            extras = {name.removeprefix("extra_"): x for name, x in arrays.items() if name.startswith("extra_")}
            self._kept = Parameters(*(arrays[f"kept_{k}"] for k in range(3))), extras

    def on_fit_end(self, run: FitRun) -> None:
        """Put the best parameters back; ``best_iteration_`` tells the pass they are of."""
        self.monitor.on_fit_end(run)
        if self._kept is None:  # nothing was measured: the parameters are those of the last pass
            self._best_epoch = run.state.epoch
        else:
            run.state.restore(self._kept)
        run.estimator.best_iteration_ = self._best_epoch
