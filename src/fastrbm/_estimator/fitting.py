"""How estimators are fitted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from .._data import Rows, columns
from .._data.chunks import ChunkedData, ChunkSource, source_of
from .._data.device import DeviceData
from .._data.shards import Shard, ShardSource
from .._data.split import Split
from .._fit.callback import as_list
from .._fit.loop import DivergenceError, check_finite, put_back
from .._fit.state import FitRun, Inside, TrainingState
from .._kernels import BIT_UNITS, ChainState, Parameters, States, maps
from .._kernels.draws import Key
from .._kernels.ranks import all_do
from .._kernels.sharing import SharingBackend
from .._shown import History
from ..init import data_bias, get_initializer, nearest_means
from . import checked, options, resuming, watching
from .aftermath import some_rows, warn_of_bounds, warn_of_collapse, warn_of_saturation
from .base import AnySource, BaseRBM
from .deviations import check_scale
from .job import FitJob, kept_by
from .passes import Passes
from .row_weights import as_repetitions, begin_order, checked_weights, weighted
from .sklearn_callbacks import begin_callbacks, has_callbacks, with_callbacks
from .sklearn_draws import SklearnDraws
from .untouched import untouched
from .validation import validation_callbacks


class Fitting(SklearnDraws, Passes, BaseRBM):
    """How an estimator is fitted: `fit` and `partial_fit`."""

    def _check_options(self) -> None:
        super()._check_options()
        if self.random_stream == "sklearn":
            if type(self.random_state) is not int or not 0 <= self.random_state < 1 << 32:
                check_random_state(self.random_state)  # of a good number it would make a generator
        else:
            Key.check(self.random_state)

    # -- fitting --------------------------------------------------------------------------------------------

    def _initial_state(self, data: Rows, split: Split, dtype: Any, sample_weight: Any) -> TrainingState:
        key = Key.from_random_state(self.random_state)
        n_visible = data.shape[1]
        start = get_initializer(self.init).weights(self.n_components, n_visible, key, self.units)
        visible_bias = np.zeros(n_visible) if start.visible_bias is None else start.visible_bias
        if self.visible_bias == "data":
            visible_bias = self.temperature * self._bias_of(columns.means(data, split, sample_weight), len(split))
        hidden_bias = np.zeros(self.n_components) if start.hidden_bias is None else start.hidden_bias
        parameters = Parameters(
            *(np.ascontiguousarray(x.astype(dtype)) for x in (start.weights, visible_bias, hidden_bias))
        )
        return TrainingState(parameters, [], ChainState(0, None), key)

    def _bias_of(self, mean: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
        """Visible biases with which a model without weights has these means of its columns, as data hold them."""
        if self.units[0] == "ising":
            mean = 2 * mean - 1
        # of values that are used as they are though outside the range, it was said already
        return data_bias(nearest_means(mean, self.units[0]), self.units[0], 1 / (n_rows + 2))

    def _parameters_by_hand(self, state: TrainingState) -> Parameters | None:
        """Fitted attributes as kernels take them, unless they are the arrays of the state, in its shapes."""
        shown = vars(self).get("components_"), vars(self).get("intercept_visible_"), vars(self).get("intercept_hidden_")
        weights, visible_bias, hidden_bias = state.parameters
        same = shown[0] is weights and shown[1] is visible_bias and shown[2] is hidden_bias
        if same and visible_bias.shape == weights.shape[1:] and hidden_bias.shape == weights.shape[:1]:
            return None
        return self._parameters() if hasattr(self, "components_") else None

    def _prepare(self, state: TrainingState, n_rows: int, n_visible: int, n_epochs: int) -> None:
        """Bring a new or continued state in line with the options, and with parameters that were set by hand."""
        by_hand = self._parameters_by_hand(state)
        if by_hand is not None and by_hand.weights.shape != state.parameters.weights.shape:
            state.resize(by_hand)
        state.own()
        if state.parameters.weights.shape != (self.n_components, n_visible):
            raise ValueError(
                f"n_components and the features of X must stay {state.parameters.weights.shape} when training goes on, "
                f"got {(self.n_components, n_visible)}"
            )
        if by_hand is not None:  # or separated by a copy
            for value, given in zip(state.parameters, by_hand, strict=True):
                if given is not value:
                    value[...] = given
        n_slots = checked.derived(self, options.n_slots)
        del state.slots[n_slots:]
        while len(state.slots) < n_slots:
            state.slots.append(state.parameters.zeros_like())
        population, chains = state.population, state.chains.chains
        n_now = None if chains is None else chains.shape[0]
        if population is not None:
            n_now = population.model_chains.shape[0]
        options.negative_phase(self).prepare(state, self.units, options.chains_for(self, n_epochs, n_rows, n_now))

    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, resume: Any = None) -> Any:
        """Train for `n_iter` passes over the data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Values the visible units can take, in a table of any kind: arrays, data frames, tensors on the host.
            Bernoulli units take all of [0, 1], and uint8 images in 0..255; whether uint8 data are images is decided
            here, unless the option `input_scale` says it, and remembered as ``input_scale_``. Not copied to float as a
            whole. Sparse matrices for Bernoulli units only. Also rows on disk (h5py datasets and their like), a list of
            arrays, or a function that returns an iterator over arrays: these are read piece by piece in every pass, see
            `fastrbm.streams`.
        y : ignored
            For use in pipelines.
        sample_weight : array-like of shape (n_samples,) or None
            Not negative. Weights that are whole numbers up to 16 are repetitions: the fit is that of rows which come
            so often. By others rows count within their minibatch. Rows of weight 0 are left out.
        resume : path-like or None
            Folder of a `fastrbm.callbacks.Checkpoint`, or one of its files: the fit goes on where the newest good file
            was written, and ends with the bits of one that was never cut off. Data and options must be those of that
            fit; `n_iter` may be larger.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options or data, and where `resume` is of another fit. The estimator is then what it was before
            the call, an earlier fit included.
        FileNotFoundError
            If `resume` has no checkpoint.
        fastrbm.DivergenceError
            If parameters become infinite, NaN or too large for their type to add up (1e30 in float32); the last usable
            ones are kept.

        Warns
        -----
        fastrbm.DataRangeWarning
            For values outside [0, 1] (option `out_of_range`), and for values that are in another scale than those of an
            earlier fit that goes on.
        sklearn.exceptions.ConvergenceWarning
            If the persistent chains have collapsed, weights have become so large that two-valued hidden units are
            saturated by all rows, or learned deviations ran to a bound.
        """
        self._check_options()
        told = begin_callbacks(self, X, y)
        with untouched(self):
            point = None if resume is None else self._point(resume, X)
            if point is not None:
                self._forget()
                point.restore(self)
            if self.random_stream == "sklearn":
                job = self._begin_with_sklearn_draws(X, sample_weight)
            else:
                job = self._begin(X, sample_weight, point=point)
            maps.check()
            job.listen(told)
            job.begin()
        job.train()
        return self

    def _point(self, resume: Any, X: Any) -> resuming.Point:
        """Where a run goes on; the first of several processes reads it."""
        if not isinstance(X, Shard):
            return resuming.point_of(self, resume)
        read = X.ranks.rank == 0
        found = all_do(X.ranks, lambda: resuming.point_of(self, resume) if read else None)
        point: resuming.Point = X.ranks.share(found)
        return point

    def _begin(
        self,
        given: Any,
        sample_weight: Any,
        shared: dict[Any, Any] | None = None,
        point: resuming.Point | None = None,
    ) -> FitJob:
        """Check the data and set everything up for a run.

        `shared` keeps packed rows for others that fit the same; `point` is where a run that was cut off goes on.
        """
        go_on = point is not None or (self.warm_start and hasattr(self, "_state"))
        source = self._source(given, sample_weight)
        X, data, dtype = self._take_over(given, go_on, source, shared)
        sample_weight = checked_weights(sample_weight, X)
        ranks = given.ranks if isinstance(given, Shard) else None
        key = self._state.key if go_on else Key.from_random_state(self.random_state)
        print_of_rows = resuming.print_of(X, sample_weight)
        begin = begin_order(data, self.shuffle, sample_weight, shared)
        split = Split.of(X.shape[0], self.validation_fraction, key, begin)
        split, sample_weight = weighted(split, sample_weight)
        state = self._state if go_on else self._initial_state(data, split, dtype, sample_weight)
        state.key = key
        if ranks is not None:  # a seed of the operating system, or values of a library, may differ
            state = ranks.share(state)
            key = state.key
        if state.parameters.weights.dtype != dtype:
            raise ValueError(f"dtype must stay {state.parameters.weights.dtype} when training goes on, got {dtype}")
        first_epoch = state.epoch if point is None else point.first_epoch
        n_epochs = first_epoch + self.n_iter
        self._check_rows(data)
        if point is not None:
            point.check(print_of_rows())
        self._prepare(state, *data.shape, n_epochs)
        if not go_on:
            self.history_ = History(epoch=[], seconds=[])
        self._publish(state)
        backend = self._backend() if ranks is None else SharingBackend(self._backend(), ranks)
        epoch, batches, fused, resident = self._epochs(
            state, data, split, (first_epoch, n_epochs), sample_weight, backend
        )  # fmt: skip
        run = FitRun(self, self.n_iter, batches, state, self.history_, self._inside(print_of_rows), ranks=ranks)
        if point is not None:
            point.set_on(run)
        callbacks = as_list(self.callbacks)
        named = given if hasattr(given, "columns") else X  # what has the names of the columns that it is scored with
        if self.verbose or split.held_out is not None:
            plan = options.plan_of(self, state.key.seed, state.epoch, n_epochs, len(split))
            n_batches = batches[0] if batches else 1
            n_rows = len(split) if self.steps_per_epoch is None else n_batches * plan.batch_size
            composed = not self._plain(sample_weight)
            shape = state.parameters.weights.shape
            work = watching.Pass.of(self.n_iter, shape, n_rows, n_batches, plan.n_sweeps, composed)
            if self.verbose:
                callbacks.append(watching.verbose_callback(named, data, work))
            if split.held_out is not None:
                callbacks = [*validation_callbacks(self, named, data, split, work), *callbacks]
        # whoever makes chunks need not bear being called by several threads
        side_by_side = fused and backend.concurrent and not isinstance(data, ChunkedData)
        rows = None if isinstance(data, ChunkedData) or not self.n_iter else some_rows(data)
        if rows is not None and not go_on and "offset" not in state.extras:
            check_scale(rows, self.units, state.extras.get("log_variance"), self.out_of_range)
        devices = None if backend.name != "cuda" or isinstance(data, ChunkedData | DeviceData) else backend

        def after() -> None:
            chains = state.chains.chains if state.population is None else state.population.model_chains
            lost = False
            if chains is not None and rows is not None:
                trained = run.done * len(split) if self.steps_per_epoch is None else 0
                lost = warn_of_collapse(self._view(), chains, rows, trained, state.key, self._backend())
            if rows is not None and not lost:
                warn_of_saturation(self._view(), rows, self._backend())
            if "log_variance_of_data" in state.extras:
                warn_of_bounds(state.extras["log_variance"], state.extras["log_variance_of_data"])

        return FitJob(
            run, epoch, callbacks, side_by_side, lambda: self._publish_chains(state), resident, after, devices
        )  # fmt: skip

    def _inside(self, print_of_rows: Any) -> Inside:
        """What callbacks of this package ask an estimator beside its public methods."""

        def save(path: Path, run: FitRun, batches: int) -> None:
            resuming.write(self, path, run, batches, print_of_rows)

        def rescaled() -> bool:
            return self._scale().sigma is not None

        def states(X: Any, advice: str) -> States:
            return self._data(X).states(advice)

        return Inside(self._backend, states, self._log_volume, rescaled, None if print_of_rows is None else save)

    def _source(self, given: Any, sample_weight: Any) -> AnySource | None:
        """What reads rows piece by piece; None for data in memory. ValueError for options that need them there."""
        if isinstance(given, Shard):
            options.check_exclusions(self, X="rows of several processes", sample_weight=sample_weight)
            return ShardSource(given)
        source = source_of(given)
        form = "array" if source is None else "chunks" if isinstance(source, ChunkSource) else "rows on disk"
        options.check_exclusions(self, X=form, sample_weight=sample_weight)
        return None if self.random_stream == "sklearn" else source

    def _wrap_once(self, X: Any, dtype: Any, scale: float, shared: dict[Any, Any]) -> Rows:
        """`_wrap`, or what it made of the same rows for another estimator."""
        if self.units[0] not in BIT_UNITS:  # rows of others may depend on what is fitted
            return self._wrap(X, dtype, scale, self._limits())
        key = (type(self)._wrap, self.units[0], dtype, scale, self.out_of_range)
        if key not in shared:
            shared[key] = self._wrap(X, dtype, scale, self._limits())
        rows: Rows = shared[key]
        return rows

    def _take_over(
        self, X: Any, go_on: bool, source: AnySource | None = None, shared: dict[Any, Any] | None = None
    ) -> tuple[Any, Rows, Any]:
        """Validated X, its `Rows`, and the type to compute in; an earlier fit is given up."""
        scale = self._scale_policy(fitted=go_on)
        if not go_on:
            self._forget()
        data: Rows
        if source is not None:
            dtype = options.compute_dtype(self, None)
            X = data = self._chunked(source, dtype, scale, self._limits(), reset=not go_on)
        else:
            X = self._validated(X, reset=not go_on)
            dtype = options.compute_dtype(self, X)
            self._look(scale, X)
            data = self._wrap_once(X, dtype, scale.factor(X), {} if shared is None else shared)
        scale.check_fit()
        if not go_on:
            self.input_scale_ = scale.value
            self._in_range = data.in_range
        return X, data, dtype

    def _forget(self) -> None:
        """Drop what an earlier fit left that this one may not set again."""
        for name in (
            "h_samples_", "random_state_", "_state", "_trainer", "_call_key", "_calls", "best_iteration_",
            "weight_deviation_", "components_", "intercept_hidden_", "intercept_visible_", "input_scale_",
            "n_features_in_", "feature_names_in_",
        ):  # fmt: skip
            self.__dict__.pop(name, None)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Take one gradient step on X as a minibatch, whatever its size.

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
        ValueError, TypeError
            For unusable options or data. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If parameters become infinite, NaN or too large for their type to add up (1e30 in float32); the last usable
            ones are kept.
        """
        self._check_options()
        with untouched(self):
            update = self._begin_update(X, sample_weight)
            maps.check()
        update()
        return self

    def _begin_update(self, X: Any, sample_weight: Any) -> Callable[[], None]:
        """Check the data and set one update up."""
        first = not hasattr(self, "components_")
        scale = self._scale_policy(fitted=not first)
        X = self._validated(X, reset=first)
        self._look(scale, X)
        if self.random_stream == "sklearn":
            options.check_exclusions(self, sample_weight=sample_weight)
        scale.check_fit()
        if first:
            self.input_scale_ = scale.value
        if self.random_stream == "sklearn":
            return self._begin_update_with_sklearn_draws(X, scale.factor(X), first)
        dtype = options.compute_dtype(self, X) if first else self._float_type()
        data = self._wrap(X, dtype, scale.factor(X), self._limits())
        if first:
            self._in_range = data.in_range
        sample_weight = checked_weights(sample_weight, X)
        order = np.arange(X.shape[0], dtype=np.int64)
        if sample_weight is not None:
            if not sample_weight.any():
                raise ValueError("sample_weight must have values above 0")
            times = as_repetitions(sample_weight)
            if times is not None:
                order, sample_weight = np.repeat(order, times), None
        if not hasattr(self, "_state"):
            self._state = self._initial_state(data, Split(X.shape[0]), dtype, sample_weight)
        state = self._state
        self._check_rows(data)
        self._prepare(state, *data.shape, 1)
        first_pass = checked.derived(self, options.first_pass)
        plan = first_pass.plan._replace(seed=state.key.seed, batch_size=len(order))
        backend = self._backend()
        fused, n = self._fused(data, sample_weight, plan, backend, first_pass.plain), len(order)
        epoch, resident = self._pass(state, data, lambda _: plan, lambda _: order, sample_weight, n, backend, fused)
        if fused:  # one update in one launch has nothing to keep
            resident = nullcontext

        def update() -> None:
            backup = state.snapshot()
            try:
                with kept_by(state, resident):
                    epoch(None)
                check_finite(state, backup, "partial_fit")
                maps.check()
            except (DivergenceError, maps.ShrunkFileError):
                put_back(state, backup)
                raise
            finally:
                self._publish(state)
                self._publish_chains(state)

        return update


def begin_fit(estimator: Fitting, X: Any, sample_weight: Any, shared: dict[Any, Any]) -> FitJob | None:
    """Check the data and set a fit up; None for one with draws or callbacks of scikit-learn, which only `fit` does.

    Parameters
    ----------
    estimator : Fitting
        Whose options were checked by `check_fit`.
    X, sample_weight
        As `Fitting.fit` takes them.
    shared : dict
        Keeps rows that were packed, for other estimators that are fitted to the same.
    """
    if estimator.random_stream == "sklearn" or has_callbacks(estimator):
        return None
    with untouched(estimator):
        job = estimator._begin(X, sample_weight, shared)
        maps.check()
        return job


def check_fit(estimator: Fitting, sample_weight: Any) -> None:
    """Raise ValueError or TypeError for options that cannot be used, before any data are looked at."""
    estimator._check_options()
    options.check_exclusions(estimator, sample_weight=sample_weight)
