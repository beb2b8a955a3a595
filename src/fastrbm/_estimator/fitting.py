"""How estimators are fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from .._data import columns as _columns
from .._data.bits import VisibleData
from .._data.split import Split
from .._data.stream import StreamData, source_of, stream_of
from .._fit.em import em_step
from .._fit.loop import Epoch, Step, check_finite, fit_loop, minibatch_epoch, stepwise_epoch
from .._fit.minibatch import Setup
from .._fit.minibatch import Step as GeneralStep
from .._fit.state import FitRun, TrainingState
from .._kernels import Backend, ChainState, Parameters, TrainingPlan
from .._kernels.draws import Key
from ..callbacks import Verbose
from ..init import data_bias, get_initializer, has_data_bias
from ..optimizers import get_optimizer
from ..regularizers import get_regularization
from ..schedules import is_schedule
from ..units import get_unit
from .base import BaseRBM
from .sklearn_draws import StreamFit
from .validation import validation_callbacks

# what scikit-learn's validation notes down before the data are known to be good
_SEEN_BY_VALIDATION = ("n_features_in_", "feature_names_in_")
_SHOWN = 1000  # rows of a stream whose likelihood `verbose` shows


@dataclass
class FitJob:
    """A fit that is ready to run.

    Attributes
    ----------
    run : FitRun
    epoch : callable
        One pass.
    callbacks : list
    fused : bool
        Whether passes are done by the backend, which leaves the interpreter to other threads meanwhile.
    backend : Backend or None
        That does whole passes.
    """

    run: FitRun
    epoch: Epoch
    callbacks: list[Any]
    fused: bool
    backend: Backend | None = None


class TrainedRBM(StreamFit, BaseRBM):
    """`fit` and `partial_fit`, and what a subclass may replace of them."""

    def _check_options(self) -> None:
        super()._check_options()
        if self.temperature != 1 and any(get_unit(u).weighted for u in self.units):
            raise ValueError(
                f"temperature must be 1 for units {self.units}: another one would change their shape, "
                f"got {self.temperature!r}"
            )
        if self.stochastic_input and not get_unit(self.units[0]).binary:
            raise ValueError(f"stochastic_input must be False for visible units {self.units[0]!r}, which are no bits")
        if self.algorithm == "em":
            self._check_em()
        if self.random_stream == "sklearn":
            self._check_sklearn_stream()
        else:
            self._check_random_state()

    def _check_em(self) -> None:
        if self.units[1] != "onehot":
            raise ValueError(
                f"algorithm='em' is for hidden units 'onehot' (PottsRBM), of which one is on, got {self.units[1]!r}"
            )
        if not has_data_bias(self.units[0]):
            raise ValueError(f"algorithm='em' has no formula for visible units {self.units[0]!r}")
        if not is_schedule(self.learning_rate) and self.learning_rate > 1:
            raise ValueError(f"learning_rate must be in (0, 1] with algorithm='em', got {self.learning_rate!r}")
        if self._variance_rate():
            raise ValueError(
                "sigma must not be learned with algorithm='em', which moves weights and hidden biases only"
            )

    # -- fitting --------------------------------------------------------------------------------------------

    def _initial_state(self, data: Any, split: Split, dtype: Any, sample_weight: Any) -> TrainingState:
        key = Key.from_random_state(self.random_state)
        n_visible = data.shape[1]
        start = get_initializer(self.init).weights(self.n_components, n_visible, key, self.units)
        visible_bias = np.zeros(n_visible) if start.visible_bias is None else start.visible_bias
        if self.visible_bias == "data":
            visible_bias = self.temperature * self._bias_of(_columns.means(data, split, sample_weight), len(split))
        hidden_bias = np.zeros(self.n_components) if start.hidden_bias is None else start.hidden_bias
        parameters = Parameters(
            *(np.ascontiguousarray(x.astype(dtype)) for x in (start.weights, visible_bias, hidden_bias))
        )
        return TrainingState(parameters, [], ChainState(0, None), key)

    def _bias_of(self, mean: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
        """Visible biases with which a model without weights has these means of its columns, as data hold them."""
        if self.units[0] == "ising":
            mean = 2 * mean - 1
        return data_bias(mean, self.units[0], 1 / (n_rows + 2))

    def _setup(self, n_rows: int) -> Setup:
        return Setup(
            self.units,
            self._negative(),
            get_regularization(self.regularizers),
            self._scale(),
            bool(self.centered),
            self._variance_rate(),
            n_rows,
        )

    def _check_rows(self, data: Any) -> None:
        """Raise ValueError for rows that the options cannot be trained on."""

    def _variance_rate(self) -> float:
        return 0.0

    def _fused(self, data: Any, sample_weight: Any) -> bool:
        """Whether the backend does whole passes itself."""
        reg = get_regularization(self.regularizers)
        plain = self._algorithm() in ("cd", "pcd") and reg.in_kernels and not self.centered
        plain = plain and self._scale().trivial and not self._variance_rate() and sample_weight is None
        visible, hidden = (get_unit(u).name for u in self.units)
        if visible == "gaussian":
            return plain and hidden in ("bernoulli", "onehot")
        bits = visible in ("bernoulli", "ising") and isinstance(data, (VisibleData, StreamData))
        return plain and bits and hidden in ("bernoulli", "ising", "onehot")

    def _prepare(self, state: TrainingState, n_visible: int, n_epochs: int) -> None:
        """Bring a new or continued state in line with the options."""
        if state.parameters.weights.shape != (self.n_components, n_visible):
            raise ValueError(
                f"n_components and the features of X must stay {state.parameters.weights.shape} when training goes on, "
                f"got {(self.n_components, n_visible)}"
            )
        if hasattr(self, "components_"):  # set by hand, or separated by a copy
            for value, given in zip(state.parameters, self._parameters(), strict=True):
                if given is not value:
                    value[...] = given
        n_slots = get_optimizer(self.optimizer).n_slots()
        del state.slots[n_slots:]
        while len(state.slots) < n_slots:
            state.slots.append(state.parameters.zeros_like())
        self._negative().prepare(state, self.units, self._n_chains(n_epochs))

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Train for `n_iter` passes over the data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Values the visible units can take; Bernoulli units take all of [0, 1], and uint8 images in 0..255: whether
            uint8 data are 0/1 or 0..255 is decided here, by their largest value, and remembered as ``input_scale_``.
            Not copied to float as a whole. Sparse matrices for Bernoulli units only. Also rows on disk (h5py datasets
            and their like), a list of arrays, or a function that returns an iterator over arrays: these are read piece
            by piece in every pass, see `fastrbm.streams`.
        y : ignored
            For use in pipelines.
        sample_weight : array-like of shape (n_samples,) or None
            Not negative. Rows count by their weight within their minibatch; those of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable options or data.
        fastrbm.DivergenceError
            If parameters become infinite or NaN; the last finite ones are kept.
        """
        self._check_options()
        if self.random_stream == "sklearn":
            return self._fit_sklearn_stream(X, sample_weight)
        job = self._begin(X, sample_weight)
        try:
            with self._resident(job):
                fit_loop(job.run, job.epoch, job.callbacks)
        finally:
            self._publish_chains(job.run.state)
        return self

    @contextmanager
    def _resident(self, job: FitJob) -> Iterator[None]:
        """Within the block a device keeps what a fused run changes."""
        state = job.run.state
        if job.backend is None:
            yield
            return
        with job.backend.resident(state.parameters, state.slots, state.chains) as state.resident:
            try:
                yield
            finally:
                state.resident = None

    def _begin(self, given: Any, sample_weight: Any, shared: dict[Any, Any] | None = None) -> FitJob:
        """Check the data and set everything up for a run; `shared` keeps packed rows for others that fit the same."""
        go_on = self.warm_start and hasattr(self, "_state")
        if sample_weight is not None and source_of(given) is not None:
            raise ValueError("sample_weight must be None for X that is read piece by piece")
        X, data, dtype = self._take_over(given, go_on, shared)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        key = self._state.key if go_on else Key.from_random_state(self.random_state)
        split = Split.of(X.shape[0], self.validation_fraction, key)
        if sample_weight is not None:
            split = split.without(sample_weight == 0)
            if not len(split):
                raise ValueError("sample_weight must have values above 0 among the rows that are trained on")
        state = self._state if go_on else self._initial_state(data, split, dtype, sample_weight)
        state.key = key
        if state.parameters.weights.dtype != dtype:
            raise ValueError(f"dtype must stay {state.parameters.weights.dtype} when training goes on, got {dtype}")
        n_epochs = state.epoch + self.n_iter
        self._check_rows(data)
        self._prepare(state, data.shape[1], n_epochs)
        if not go_on:
            self.history_: dict[str, list[Any]] = {"epoch": [], "seconds": []}
        self._publish(state)
        epoch, batches, backend = self._epochs(state, data, split, n_epochs, sample_weight)
        run = FitRun(self, self.n_iter, batches, state, self.history_)
        callbacks = list(self.callbacks)
        if self.verbose:
            callbacks.append(Verbose(data.head(_SHOWN) if isinstance(data, StreamData) else given))
        if split.held_out is not None:
            callbacks = [*validation_callbacks(self, given, data, split), *callbacks]
        # whoever makes chunks need not bear being called by several threads
        fused = backend is not None and backend.concurrent and not isinstance(data, StreamData)
        return FitJob(run, epoch, callbacks, fused, backend)

    def _wrap_once(self, X: Any, dtype: Any, scale: float, shared: dict[Any, Any]) -> Any:
        """`_wrap`, or what it made of the same rows for another estimator."""
        if self.units[0] not in ("bernoulli", "ising"):  # rows of others may depend on what is fitted
            return self._wrap(X, dtype, scale)
        key = (type(self)._wrap, self.units[0], dtype, scale, self.out_of_range)
        if key not in shared:
            shared[key] = self._wrap(X, dtype, scale)
        return shared[key]

    def _take_over(self, X: Any, go_on: bool, shared: dict[Any, Any] | None = None) -> tuple[Any, Any, Any]:
        """Validated X, its `VisibleData`, and the type to compute in; an earlier fit is given up once they are good."""
        seen = {name: value for name, value in vars(self).items() if name in _SEEN_BY_VALIDATION}
        try:
            stream = stream_of(self, X, go_on)
            if stream is not None:
                X = data = stream
                dtype, scale = data.dtype, data.scale
            else:
                X = self._validated(X, reset=not go_on)
                dtype = self._compute_dtype(X)
                scale = self.input_scale_ if go_on else self._input_scale(X)
                data = self._wrap_once(X, dtype, scale, {} if shared is None else shared)
        except Exception:
            for name in _SEEN_BY_VALIDATION:
                self.__dict__.pop(name, None)
            self.__dict__.update(seen)
            raise
        if not go_on:
            self._forget()
            self.input_scale_ = scale
            for name in ("components_", "intercept_hidden_", "intercept_visible_"):
                self.__dict__.pop(name, None)
        return X, data, dtype

    def _epochs(
        self, state: TrainingState, data: Any, split: Split, n_epochs: int, sample_weight: Any
    ) -> tuple[Epoch, list[int], Backend | None]:
        """One pass, the numbers of minibatches of all passes, and the backend if it does whole passes."""

        def plan(epoch: int) -> Any:
            return self._plan(state.key.seed, epoch, n_epochs)

        def length(epoch: int) -> int:
            if self.steps_per_epoch is None:
                return len(split)
            return int(self.steps_per_epoch) * self._batch_size_at(epoch, n_epochs)

        rows = data if isinstance(data, StreamData) else split
        order = rows.order(state.key, self.shuffle, length)
        sizes = [self._batch_size_at(epoch, n_epochs) for epoch in range(state.epoch, n_epochs)]
        batches = [-(-length(state.epoch + k) // size) for k, size in enumerate(sizes)]
        backend = self._backend()
        if self._fused(data, sample_weight):
            return minibatch_epoch(state, data, backend, plan, self.units, order), batches, backend
        begin = self._steps(state, backend, len(split))
        return stepwise_epoch(state, data, plan, begin, order, sample_weight), batches, None

    def _steps(self, state: TrainingState, backend: Backend, n_rows: int) -> Callable[[TrainingPlan], Step]:
        """What does the minibatches of a pass, by its plan, where the backend does not do whole passes."""
        if self.algorithm != "em":
            setup = self._setup(n_rows)
            return lambda plan: GeneralStep(setup, backend, plan, state)
        units, scale = self.units, self._scale()

        def begin(plan: TrainingPlan) -> Step:
            return lambda rows, _, shares: em_step(state, rows, backend, plan, units, n_rows, scale, shares)

        return begin

    def _forget(self) -> None:
        """Drop what an earlier fit left that this one may not set again."""
        for name in (
            "h_samples_", "random_state_", "_state", "_trainer", "_call_key", "_calls", "best_iteration_",
            "weight_deviation_",
        ):  # fmt: skip
            self.__dict__.pop(name, None)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """One gradient step on X as a minibatch, whatever its size.

        Options that change from pass to pass have the values of their first one.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `fit`; the first call decides ``input_scale_``.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable options or data.
        fastrbm.DivergenceError
            If parameters become infinite or NaN; the last finite ones are kept.
        """
        self._check_options()
        first = not hasattr(self, "components_")
        X = self._validated(X, reset=first)
        if first:
            self.input_scale_ = self._input_scale(X)
        if self.random_stream == "sklearn":
            return self._partial_fit_sklearn_stream(X, first, sample_weight)
        dtype = self._compute_dtype(X) if first else self.components_.dtype
        data = self._wrap(X, dtype, self.input_scale_)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            if not sample_weight.any():
                raise ValueError("sample_weight must have values above 0")
        if not hasattr(self, "_state"):
            self._state = self._initial_state(data, Split(X.shape[0]), dtype, sample_weight)
        state = self._state
        self._check_rows(data)
        self._prepare(state, data.shape[1], 1)
        plan = self._plan(state.key.seed, 0, max(1, self.n_iter))._replace(batch_size=X.shape[0])
        backup = state.snapshot()
        order = np.arange(X.shape[0], dtype=np.int64)
        backend = self._backend()
        try:
            if self._fused(data, sample_weight):
                minibatch_epoch(state, data, backend, lambda _: plan, self.units, lambda _: order)(None)
            else:
                begin = self._steps(state, backend, X.shape[0])
                stepwise_epoch(state, data, lambda _: plan, begin, lambda _: order, sample_weight)(None)
        finally:
            self._publish(state)
            self._publish_chains(state)
            check_finite(state, backup, "partial_fit")
        return self
