"""Fitting with ``random_stream="sklearn"``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .._data.bits import VisibleData
from .._fit.callback import as_list
from .._fit.loop import DivergenceError
from .._fit.state import FitRun, TrainingState
from .._kernels import ChainState, Parameters, as_dense
from .._kernels.datatypes import are_usable
from .._kernels.draws import Key
from .._shown import History
from . import watching
from .job import FitJob
from .sklearn_trainer import SklearnTrainer

#: bytes that chains may take where they are more than rows
_MOST_FOR_CHAINS = 1 << 30


class SklearnDraws:
    """What an estimator does differently when it repeats scikit-learn's draws. Attributes are those of `BaseRBM`."""

    def _begin_with_sklearn_draws(self: Any, given: Any, sample_weight: Any) -> FitJob:
        self._source(given, sample_weight)
        X, data, dtype = self._take_over(given, False)
        self._check_chains_of_sklearn(X.shape, dtype)
        rng = check_random_state(self.random_state)
        trainer = SklearnTrainer(self.n_components, X.shape[1], self.batch_size, self.learning_rate, rng, dtype)
        parameters = Parameters(*trainer.parameters)
        state = TrainingState(parameters, [], ChainState(0, None), Key(0))
        self.history_ = History(epoch=[], seconds=[])
        self._publish(state)
        del self._state  # nothing that warm_start could go on from
        self._trainer = trainer
        values = _float_rows(X, data, dtype)
        batches = [-(-data.shape[0] // self.batch_size)] * self.n_iter
        callbacks = as_list(self.callbacks)
        if self.verbose:
            work = watching.Pass.of(self.n_iter, state.parameters.weights.shape, data.shape[0], batches[0])
            callbacks.append(watching.verbose_callback(given if hasattr(given, "columns") else X, data, work))
        run = FitRun(self, self.n_iter, batches, state, self.history_, self._inside(None))

        def epoch(on_batch: Any, done: int = 0) -> None:
            def count() -> None:
                state.chains.updates += 1
                if on_batch is not None:
                    on_batch()

            trainer.epoch(values, self.batch_size, count)

        def publish() -> None:
            self.n_iter_ = state.epoch
            self.h_samples_ = trainer.chains

        return FitJob(run, epoch, callbacks, False, publish)

    def _check_chains_of_sklearn(self: Any, shape: tuple[int, int], dtype: Any) -> None:
        """Raise ValueError for a batch_size that takes memory by itself: scikit-learn has as many chains, always."""
        n_rows, n_features = shape
        needed = self.batch_size * 2 * (n_features + self.n_components) * np.dtype(dtype).itemsize
        if self.batch_size > n_rows and needed > _MOST_FOR_CHAINS:
            raise ValueError(
                f"batch_size={self.batch_size} would take {needed / 2**30:.3g} GiB with random_stream='sklearn', which "
                f"runs as many chains whatever the number of rows: use at most the {n_rows} rows of X"
            )

    def _begin_update_with_sklearn_draws(self: Any, X: Any, scale: float, first: bool) -> Callable[[], None]:
        # scikit-learn's partial_fit computes in float64 whatever it is given
        dtype = np.dtype(np.float64) if self.dtype is None else np.dtype(self.dtype)
        data = self._wrap(X, dtype, scale, self._limits())
        if first:
            self._in_range = data.in_range
        values = _float_rows(X, data, dtype)
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        if first:
            self._check_chains_of_sklearn(X.shape, dtype)
            self._trainer = SklearnTrainer(
                self.n_components, X.shape[1], self.batch_size, self.learning_rate, self.random_state_, dtype
            )
        elif not hasattr(self, "_trainer"):
            raise ValueError(
                "partial_fit with random_stream='sklearn' must go on from a fit of its own, got parameters from "
                "elsewhere: use random_stream='philox'"
            )
        trainer = self._trainer

        def update() -> None:
            trainer.rng, trainer.learning_rate = self.random_state_, self.learning_rate
            self.components_, self.intercept_visible_, self.intercept_hidden_ = trainer.parameters
            try:
                moved = trainer.moved(values)
            finally:
                self.h_samples_ = trainer.chains
            if not are_usable(moved):
                raise DivergenceError.of("partial_fit")
            trainer.put(moved)

        return update


def _float_rows(x: Any, data: VisibleData, dtype: Any) -> Any:
    """Return rows as one float copy, which this mode works on, as scikit-learn does."""
    if not data.changed:
        return x.astype(dtype, copy=False)
    return np.concatenate([as_dense(rows, dtype) for _, rows in data.slices()])
