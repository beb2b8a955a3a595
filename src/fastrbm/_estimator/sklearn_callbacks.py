"""Callbacks of scikit-learn (`sklearn.callback`, from its version 1.9 on), where the installed one has them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._fit.callback import Callback
from .._fit.state import FitRun

if TYPE_CHECKING:

    class CallbackSupport:
        """What an estimator with `set_callbacks` is."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Tell callbacks the end of a call."""
        return method

else:
    try:
        from sklearn.callback import CallbackSupportMixin as CallbackSupport
        from sklearn.callback import with_callbacks
    except ImportError:

        class CallbackSupport:
            """Nothing, with a scikit-learn that has no callbacks."""

        def with_callbacks(method):
            """Give the method back."""
            return method


class SklearnCallbacks(Callback):
    """Tells scikit-learn's callbacks about the fit and its passes; one that returns True ends the run.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        Of the fit.
    X, y : object
        As they were given to `fit`.
    """

    def __init__(self, context: Any, X: Any, y: Any):
        self._context = context
        self._given = {"X": X, "y": y}
        self._pass: Any = None

    def _told(self, run: FitRun) -> dict[str, Any]:
        def attributes() -> dict[str, Any]:
            own = {name: value for name, value in vars(run.estimator).items() if name not in _NOT_COPIED}
            return copy.deepcopy({name: own[name] for name in own.keys() - run.estimator.get_params(deep=False).keys()})

        return {"estimator": run.estimator, "reconstruction_attributes": attributes, **self._given}

    def on_fit_begin(self, run: FitRun) -> None:
        """Begin the tasks of the fit and of its first pass."""
        self._context.call_on_fit_task_begin(**self._told(run))
        if run.n_epochs:
            self._begin_pass(run)

    def _begin_pass(self, run: FitRun) -> None:
        self._pass = self._context.subcontext(task_name="epoch")
        self._pass.call_on_fit_task_begin(**self._told(run))

    def on_epoch_end(self, run: FitRun) -> None:
        """End the task of a pass, and begin that of the next one."""
        ended, self._pass = self._pass, None
        if ended.call_on_fit_task_end(**self._told(run)):
            run.stop()
        if run.done < run.n_epochs and not run.stop_requested:
            self._begin_pass(run)

    def on_fit_end(self, run: FitRun) -> None:
        """End the task of the fit, and of a pass that was not finished."""
        if self._pass is not None:
            self._pass.call_on_fit_task_end(estimator=run.estimator)
        self._context.call_on_fit_task_end(**self._told(run))


_NOT_COPIED = ("_skl_callbacks", "_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx")


def has_callbacks(estimator: Any) -> bool:
    """Whether there are callbacks of scikit-learn to tell, the estimator's or those of what it is fitted by."""
    return bool(getattr(estimator, "_skl_callbacks", None)) or hasattr(estimator, "_parent_callback_ctx")


def begin_callbacks(estimator: Any, X: Any, y: Any) -> list[Callback]:
    """Callbacks of the run that tell scikit-learn's, if the estimator has some."""
    if not has_callbacks(estimator):
        return []
    context = estimator._init_callback_context(max_subtasks=int(estimator.n_iter))
    return [SklearnCallbacks(context, X, y)]
