"""Callbacks of the fit loop: progress, metrics, and a base class for your own."""

from __future__ import annotations

from typing import Any

from ._callback import Callback
from ._run import FitRun
from .monitors import EarlyStopping, FreeEnergyGap, LogLikelihood

__all__ = [
    "Callback",
    "EarlyStopping",
    "FreeEnergyGap",
    "LogLikelihood",
    "ProgressBar",
    "PseudoLikelihood",
    "ReconstructionError",
    "Verbose",
]


def _average(scores: Any) -> float:
    return float(scores.mean())


class PseudoLikelihood(Callback):
    """Records the mean pseudo-likelihood of some rows as "pseudo_likelihood" after each epoch.

    Parameters
    ----------
    X : array-like, shape (n_samples, n_features)
        Rows to score, in the form `fit` takes. A few hundred are enough for a curve.
    name : str, default="pseudo_likelihood"
        Column of the history.
    """

    def __init__(self, X: Any, name: str = "pseudo_likelihood"):
        self.X = X
        self.name = name

    def on_epoch_end(self, run: FitRun) -> None:
        """Score and record."""
        run.record(self.name, _average(run.estimator.score_samples(self.X)))


class ReconstructionError(Callback):
    """Records the mean squared difference between rows and their mean-field reconstruction.

    Parameters
    ----------
    X : array-like, shape (n_samples, n_features)
        Rows in the form `fit` takes.
    name : str, default="reconstruction_error"
        Column of the history.
    """

    def __init__(self, X: Any, name: str = "reconstruction_error"):
        self.X = X
        self.name = name

    def on_epoch_end(self, run: FitRun) -> None:
        """Reconstruct and record."""
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
        """Move."""
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
    """Prints one line an epoch in scikit-learn's form.

    Parameters
    ----------
    X : array-like
        Rows whose mean pseudo-likelihood (reconstruction error where visible units are not binary) is printed and
        recorded.
    """

    def __init__(self, X: Any):
        self.X = X

    def on_epoch_end(self, run: FitRun) -> None:
        """Score, record, print."""
        name = "pseudo_likelihood" if hasattr(run.estimator, "score_samples") else "reconstruction_error"
        score = _average(run.estimator.score_samples(self.X)) if name == "pseudo_likelihood" else _error(run, self.X)
        if len(run.history.get(name, ())) < len(run.history["epoch"]):
            run.record(name, score)
        print(
            f"[{type(run.estimator).__name__}] Iteration {run.done}, {name.replace('_', '-')} = {score:.2f}, "
            f"time = {run.history['seconds'][-1]:.2f}s"
        )
