"""What all estimators share: parameters, validation, fitting, and how public arrays become kernel arrays."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ._callback import as_callback
from ._data import VisibleData, decide_input_scale
from ._exact_training import check_exact, exact_epoch
from ._kernels import Backend, Parameters, TrainingPlan, get_backend
from ._random import Key
from ._run import FitRun, TrainingState
from ._stream_fit import StreamFit
from .callbacks import Verbose
from .model import Model
from .optimizers import SGD, get_optimizer
from .regularizers import weight_decay
from .samplers import Gibbs
from .training import Split, check_finite, fit_loop, minibatch_epoch
from .validation import MONITORS, validation_callbacks

# what scikit-learn's validation notes down before the data are known to be good
_SEEN_BY_VALIDATION = ("n_features_in_", "feature_names_in_")
_DTYPES = {np.dtype(np.float32), np.dtype(np.float64)}


class BaseRBM(StreamFit, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Machinery of the estimators; a subclass declares its units, its signature and its documentation."""

    units: ClassVar[tuple[str, str]]
    input_scale_: float

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "algorithm": [StrOptions({"cd", "pcd", "exact"})],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "n_chains": [None, Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions({"sgd"}), SGD],
        "regularizers": [tuple, list],
        "random_stream": [StrOptions({"philox", "sklearn"})],
        "stochastic_input": ["boolean"],
        "shuffle": ["boolean"],
        "warm_start": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean", StrOptions(set(MONITORS))],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scoring": [StrOptions({"pseudo_likelihood", "log_likelihood"})],
        "callbacks": [tuple, list],
        "strategy": [str],
        "precision": [str],
        "hidden_statistics": [StrOptions({"mean", "sampled"})],
        "device": [str],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "out_of_range": [StrOptions({"error", "allow"})],
    }

    # -- options --------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        """Everything that can be said about the options before the data are seen."""
        self._validate_params()
        for name in (
            "n_components",
            "batch_size",
            "n_iter",
            "n_gibbs_steps",
            "n_chains",
            "n_iter_no_change",
            "n_threads",
        ):
            if isinstance(getattr(self, name), (bool, np.bool_)):  # an Integral to Python, never meant as one
                raise ValueError(f"{name} must be an integer, got {getattr(self, name)!r}")
        for callback in self.callbacks:
            as_callback(callback)
        if not np.isfinite(self.learning_rate):
            raise ValueError(f"learning_rate must be a positive finite number, got {self.learning_rate!r}")
        get_optimizer(self.optimizer)
        weight_decay(self.regularizers)
        self._backend()
        if self.dtype is not None and not (_is_dtype(self.dtype) and np.dtype(self.dtype) in _DTYPES):
            raise ValueError(f"dtype must be None, numpy.float32 or numpy.float64, got {self.dtype!r}")
        for name, anywhere in (("strategy", ("auto", "dense")), ("precision", ("full",))):
            value, wanted = getattr(self, name), " or ".join(map(repr, anywhere))
            if value in anywhere:
                continue
            if self.dtype is not None and np.dtype(self.dtype) != np.float32:
                raise ValueError(f"{name} must be {wanted} with dtype=float64, got {value!r}")
            if self.random_stream == "sklearn":
                raise ValueError(f"{name} must be {wanted} with random_stream='sklearn', got {value!r}")
        if self.algorithm == "cd" and self.n_chains is not None:
            raise ValueError(
                f"n_chains must be None with algorithm='cd', whose chains start at the data, got {self.n_chains!r}"
            )
        if self.algorithm == "exact":
            self._check_exact()
        if self.early_stopping and self.validation_fraction == 0:
            raise ValueError("validation_fraction must be above 0 with early_stopping, which watches held-out rows")
        if self.random_stream == "sklearn":
            self._check_sklearn_stream()
        else:
            Key.check(self.random_state)

    def _check_exact(self) -> None:
        """Options that say how chains run have nothing to act on."""
        unused = {"n_gibbs_steps": 1, "n_chains": None, "hidden_statistics": "mean"}
        for name, wanted in unused.items():
            if getattr(self, name) != wanted:
                raise ValueError(
                    f"{name} must be {wanted!r} with algorithm='exact', which has no chains, "
                    f"got {getattr(self, name)!r}"
                )

    def _backend(self) -> Backend:
        return get_backend(self.device, self.n_threads, self.strategy, self.precision)

    def _compute_dtype(self, x: Any) -> Any:
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if self.random_stream == "sklearn":  # as scikit-learn: the type of the data
            return np.dtype(np.float32 if x.dtype == np.float32 else np.float64)
        return np.dtype(np.float32)

    # -- data -----------------------------------------------------------------------------------------------

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Two-dimensional numeric array or CSR matrix; finiteness is checked when it is packed."""
        X = validate_data(self, X, accept_sparse=("csr", "csc"), reset=reset, dtype="numeric", ensure_all_finite=False)
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        if X.dtype.kind not in "buif":
            raise ValueError(f"X must be numeric, got dtype {X.dtype}")
        return X

    def _data(self, X: Any, *, check_range: bool = True) -> VisibleData:
        """Rows for a fitted estimator."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        return self._wrap(X, self.components_.dtype, self.input_scale_, check_range=check_range)

    def _wrap(self, X: Any, dtype: Any, scale: float, *, check_range: bool = True) -> VisibleData:
        dtype = dtype if dtype in _DTYPES else np.dtype(np.float64)
        return VisibleData(
            X,
            scale,
            dtype,
            check_range=check_range and self.out_of_range == "error",
            name=type(self).__name__,
            n_threads=self.n_threads,
        )

    def _output_dtype(self, X: Any) -> Any:
        """Float type of results for this input: its own; the computing type for images; else float64."""
        dtype = np.dtype(getattr(X, "dtype", np.float64)) if not hasattr(X, "dtypes") else np.dtype(np.float64)
        if hasattr(X, "dtypes"):  # a data frame: the type its columns have in common
            dtype = np.result_type(*X.dtypes) if len(X.dtypes) else dtype
        if dtype in _DTYPES:
            return dtype
        return self.components_.dtype if dtype in (np.uint8, np.bool_) else np.dtype(np.float64)

    # -- parameters -----------------------------------------------------------------------------------------

    def _parameters(self) -> Parameters:
        """Fitted arrays as kernels take them; attributes set by hand are respected."""
        dtype = np.float32 if np.asarray(self.components_).dtype == np.float32 else np.float64
        return Parameters(
            *(
                np.ascontiguousarray(x, dtype=dtype)
                for x in (self.components_, self.intercept_visible_, self.intercept_hidden_)
            )
        )

    @property
    def model_(self) -> Model:
        """The fitted parameters as a `fastrbm.Model` (copies)."""
        check_is_fitted(self)
        weights, visible_bias, hidden_bias = (x.copy() for x in self._parameters())
        return Model(weights, visible_bias, hidden_bias, *self.units)

    def _publish(self, state: TrainingState) -> None:
        """Fitted attributes that live on the arrays being trained, so that they are right at any moment."""
        self.components_ = state.parameters.weights
        self.intercept_visible_ = state.parameters.visible_bias
        self.intercept_hidden_ = state.parameters.hidden_bias
        self._n_features_out = len(self.intercept_hidden_)
        self.n_iter_ = state.epoch
        self._state = state

    def _publish_chains(self, state: TrainingState) -> None:
        self.n_iter_ = state.epoch
        if state.chains.chains is not None:
            self.h_samples_ = state.chains.chains.dense(self.components_.dtype)

    # -- fitting --------------------------------------------------------------------------------------------

    def _initial_state(self, n_features: int, dtype: Any) -> TrainingState:
        key = Key.from_random_state(self.random_state)
        weights = np.ascontiguousarray(key.normal((self.n_components, n_features), 0.01).astype(dtype))
        parameters = Parameters(weights, np.zeros(n_features, dtype), np.zeros(self.n_components, dtype))
        return TrainingState(parameters, None, self._sampler().init(self._n_chains(), self.n_components), key)

    def _sampler(self) -> Gibbs:
        return Gibbs(self.n_gibbs_steps, self.algorithm == "pcd")

    def _n_chains(self) -> int:
        return self.batch_size if self.n_chains is None else self.n_chains

    def _prepare(self, state: TrainingState, n_features: int) -> TrainingPlan:
        """Bring a new or continued state in line with the options."""
        if state.parameters.weights.shape != (self.n_components, n_features):
            raise ValueError(
                f"n_components and the features of X must stay {state.parameters.weights.shape} when training goes on, "
                f"got {(self.n_components, n_features)}"
            )
        if hasattr(self, "components_"):  # set by hand, or separated by a copy
            for value, given in zip(state.parameters, self._parameters(), strict=True):
                if given is not value:
                    value[...] = given
        momentum = float(get_optimizer(self.optimizer).momentum)
        if momentum and state.velocity is None:
            state.velocity = state.parameters.zeros_like()
        if self.algorithm == "exact":
            check_exact(self.n_components, n_features)
        if self.algorithm != "pcd":
            state.chains.chains = None
        elif state.chains.chains is None or len(state.chains.chains) != self._n_chains():
            fresh = self._sampler().init(self._n_chains(), self.n_components, state.chains.step)
            state.chains.chains = fresh.chains
        return TrainingPlan(
            state.key.seed,
            int(self.batch_size),
            self.algorithm == "pcd",
            int(self.n_gibbs_steps),
            float(self.learning_rate),
            momentum,
            bool(self.stochastic_input),
            weight_decay(self.regularizers),
            self.hidden_statistics == "sampled",
        )

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train for `n_iter` passes over the data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Values in [0, 1], or uint8 images in 0..255: whether uint8 data are 0/1 or 0..255 is decided here, by
            their largest value, and remembered as ``input_scale_``. Not copied to float as a whole.
        y : ignored
            For use in pipelines.

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
        given = X
        go_on = self.warm_start and hasattr(self, "_state")
        callbacks = [*self.callbacks, *([Verbose(X)] if self.verbose else [])]
        seen = {name: value for name, value in vars(self).items() if name in _SEEN_BY_VALIDATION}
        try:
            X = self._validated(X, reset=not go_on)
            dtype = self._compute_dtype(X)
            scale = self.input_scale_ if go_on else decide_input_scale(X)
            data = self._wrap(X, dtype, scale)
        except Exception:
            for name in _SEEN_BY_VALIDATION:
                self.__dict__.pop(name, None)
            self.__dict__.update(seen)
            raise
        if not go_on:  # from here on the data are good, and an earlier fit is given up
            self._forget()
            self.input_scale_ = scale
        if self.random_stream == "sklearn":
            return self._fit_sklearn_stream(X, data, dtype, callbacks)
        if not go_on:
            for name in ("components_", "intercept_hidden_", "intercept_visible_"):
                self.__dict__.pop(name, None)
        state = self._state if go_on else self._initial_state(X.shape[1], dtype)
        if state.parameters.weights.dtype != dtype:
            raise ValueError(f"dtype must stay {state.parameters.weights.dtype} when training goes on, got {dtype}")
        plan = self._prepare(state, X.shape[1])
        if not go_on:
            self.history_: dict[str, list[Any]] = {"epoch": [], "seconds": []}
        self._publish(state)
        split = Split.of(X.shape[0], self.validation_fraction, state.key)
        run = FitRun(self, self.n_iter, len(split), plan.batch_size, state, self.history_)
        run.sweeps_per_batch = plan.n_sweeps + 1
        if split.held_out is not None:
            callbacks = [*validation_callbacks(self, given, data.binary, split), *callbacks]
        epoch = exact_epoch if self.algorithm == "exact" else minibatch_epoch
        order = split.order(state.key, self.shuffle)
        try:
            fit_loop(run, epoch(state, data, self._backend(), plan, self.units, order), callbacks)
        finally:
            self._publish_chains(state)
        return self

    def _forget(self) -> None:
        """Drop what an earlier fit left that this one may not set again."""
        for name in ("h_samples_", "random_state_", "_state", "_trainer", "_call_key", "_calls", "best_iteration_"):
            self.__dict__.pop(name, None)

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """One gradient step on X as a minibatch, whatever its size.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As in `fit`; the first call decides ``input_scale_``.
        y : ignored

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
            self.input_scale_ = decide_input_scale(X)
        if self.random_stream == "sklearn":
            return self._partial_fit_sklearn_stream(X, first)
        dtype = self._compute_dtype(X) if first else self.components_.dtype
        data = self._wrap(X, dtype, self.input_scale_)
        if not hasattr(self, "_state"):
            self._state = self._initial_state(X.shape[1], dtype)
        state = self._state
        plan = self._prepare(state, X.shape[1])._replace(batch_size=X.shape[0])
        backup = state.parameters.copy()
        order = np.arange(X.shape[0], dtype=np.int64)
        epoch = exact_epoch if self.algorithm == "exact" else minibatch_epoch
        try:
            epoch(state, data, self._backend(), plan, self.units, lambda _: order)(None)
        finally:
            self._publish(state)
            self._publish_chains(state)
            check_finite(state, backup, "partial_fit")
        return self

    # -- randomness after fitting ---------------------------------------------------------------------------

    def _next_key(self, random_state: Any = None) -> Key:
        """Key of a sampling call: the given one, or the next of the estimator's own."""
        if random_state is not None:
            return Key.from_random_state(random_state)
        if not hasattr(self, "_call_key"):
            self._call_key = self._state.key if hasattr(self, "_state") else Key.from_random_state(self.random_state)
        self._calls = getattr(self, "_calls", 0) + 1
        return self._call_key.fold_in(self._calls)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _is_dtype(value: Any) -> bool:
    try:
        np.dtype(value)
    except TypeError:
        return False
    return True
