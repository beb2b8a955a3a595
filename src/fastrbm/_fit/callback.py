"""Base class of what listens to a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from .state import FitRun


class Callback:
    """Base class; override what you need. A plain callable taking the run is called at each epoch's end."""

    #: whether others are told first, wherever it stands among them
    told_last = False

    def on_fit_begin(self, run: FitRun) -> None:
        """Do what comes before the first epoch."""

    def on_batch(self, run: FitRun) -> None:
        """At minibatch boundaries, about every 50 ms, at least once a pass; ``run.batches_done`` are finished."""

    def wants_rest(self, run: FitRun) -> bool:
        """Asked wherever `on_batch` is called: whether `on_rest` is to be. It must take no time."""
        return False

    def on_rest(self, run: FitRun) -> None:
        """After a minibatch, when training rests and all of ``run.state`` is of that moment, chains and steps too."""

    def on_epoch_end(self, run: FitRun) -> None:
        """After each epoch; ``run.record`` stores a metric, ``run.stop`` ends the run."""

    def on_fit_failed(self, run: FitRun, error: BaseException) -> None:
        """Before `on_fit_end` of a run that `error` ends: divergence, an interrupt, an error of a callback."""

    def on_fit_end(self, run: FitRun) -> None:
        """After the last epoch, also when the run is interrupted; callbacks are told in their order."""

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """What a run that goes on needs of this callback: values that JSON has, and arrays; None for nothing."""
        return None

    def set_state(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Take over what `get_state` returned, after `on_fit_begin` of a run that goes on."""


class _Function(Callback):
    def __init__(self, function: Callable[[FitRun], Any]):
        self.function = function

    def on_epoch_end(self, run: FitRun) -> None:
        self.function(run)


def as_list(callbacks: Any) -> list[Any]:
    """Make a list of the option `callbacks`, which may be one callback alone."""
    return list(callbacks) if isinstance(callbacks, (tuple, list)) else [callbacks]


def as_callback(callback: Any) -> Callback:
    """Accept a Callback or a callable."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return _Function(callback)
    raise TypeError(
        f"callbacks must be Callback objects or functions of one argument, one or a list of them, got {callback!r}"
    )
