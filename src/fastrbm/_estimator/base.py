"""What all estimators share: options, rows, parameters."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from .._data import Rows
from .._data.bits import SpinData, VisibleData, check_indices
from .._data.chunks import ChunkedData, ChunkSource, RowSource, source_of
from .._data.device import DeviceData, check_device_array, is_device_array, look_at_device_rows
from .._data.ranges import InputScale, Range
from .._data.shards import ShardedData, ShardSource
from .._data.tables import as_array
from .._data.values import UnitData
from .._fit.scale import VisibleScale
from .._fit.state import TrainingState
from .._kernels import BIT_UNITS, Backend, Parameters, States, as_dense, get_backend
from .._kernels.datatypes import FLOAT_TYPES
from .._kernels.draws import Key
from .._kernels.maps import guard, watch
from ..model import Model
from ..regularizers import weight_deviation
from . import checked, names, options
from .sklearn_callbacks import CallbackSupport

AnySource = RowSource | ChunkSource | ShardSource


class View(NamedTuple):
    """The fitted model as kernels are fastest with it: spins as bits, Gaussian units standardised.

    Attributes
    ----------
    parameters : Parameters
    units : (visible, hidden)
    constant : float
        What its energies lack to be those of `BaseRBM.model_`.
    """

    parameters: Parameters
    units: tuple[str, str]
    constant: float = 0.0


class BaseRBM(CallbackSupport, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What `Fitting`, `Scoring`, `Sampling` and `Stored` stand on; an estimator is a class over these four.

    An estimator declares its unit types, either as ``_units`` or by the property `units`, and its documentation.
    Options of its own come first in its constructor, which passes the others on as ``**options``. It may replace these
    hooks, and calls the replaced one where it adds to it:

    ``_check_options()``
        raises ValueError for options that cannot be used, before anything is changed. What depends on another option is
        a row in the table of `fastrbm._estimator.options`.
    ``_wrap(X, dtype, scale, limits)``
        makes `Rows` of a validated array.
    ``_check_rows(data)``
        raises ValueError for rows that the options cannot be trained on.
    ``_initial_state(data, split, dtype, sample_weight)``
        makes the state that a fit starts from.
    ``_scale()``
        tells how shown parameters become those of kernels, and back.
    ``_variance_rate()``
        is the learning rate of log variances in units of the learning rate; 0 where deviations are fixed.
    ``_units_per_feature()``
        is how many visible units a column of X has.
    ``_n_entries(states, unit)``
        is how many features of each row a pseudo-likelihood is the sum over.
    ``_begin(given, sample_weight, shared, point)``
        checks the data and sets a fit up.
    """

    _units: ClassVar[tuple[str, str]]
    #: fitted attributes of its own that a subclass wants in its model files
    _stored: ClassVar[tuple[str, ...]] = ()
    _parameter_constraints: ClassVar[dict[str, Any]] = options.CONSTRAINTS
    input_scale_: float

    @names.checked
    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Any = 0.1,
        batch_size: Any = 10,
        n_iter: int = 10,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
        algorithm: Any = "pcd",
        n_gibbs_steps: Any = 1,
        n_chains: int | None = None,
        strategy: str = "auto",
        precision: str = "full",
        hidden_statistics: str = "mean",
        optimizer: Any = "sgd",
        regularizers: Any = (),
        centered: bool = False,
        init: Any = "normal",
        visible_bias: str = "zeros",
        temperature: float = 1.0,
        random_stream: str = "philox",
        stochastic_input: bool = False,
        shuffle: bool = True,
        warm_start: bool = False,
        validation_fraction: float = 0.0,
        early_stopping: bool | str = False,
        n_iter_no_change: int = 5,
        tol: float = 0.0,
        scoring: str = "auto",
        callbacks: Any = (),
        device: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
        input_scale: float | str = "auto",
        out_of_range: str = "warn",
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.steps_per_epoch = steps_per_epoch
        self.verbose = verbose
        self.random_state = random_state
        self.algorithm = algorithm
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.strategy = strategy
        self.precision = precision
        self.hidden_statistics = hidden_statistics
        self.optimizer = optimizer
        self.regularizers = regularizers
        self.centered = centered
        self.init = init
        self.visible_bias = visible_bias
        self.temperature = temperature
        self.random_stream = random_stream
        self.stochastic_input = stochastic_input
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scoring = scoring
        self.callbacks = callbacks
        self.device = device
        self.n_threads = n_threads
        self.dtype = dtype
        self.input_scale = input_scale
        self.out_of_range = out_of_range

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a constructor with ``**options`` the signature of all its options; watch what its methods read."""
        super().__init_subclass__(**options)
        guard(cls)
        init: Any = vars(cls).get("__init__")
        if init is None:
            return
        own = inspect.signature(init).parameters.values()
        if not any(p.kind == p.VAR_KEYWORD for p in own):
            return
        merged = {p.name: p for p in own if p.kind != p.VAR_KEYWORD}
        inherited = inspect.signature(super(cls, cls).__init__).parameters.values()
        merged |= {p.name: p for p in inherited if p.name not in merged}
        checked = names.checked(init)
        checked.__signature__ = inspect.Signature(list(merged.values()))
        cls.__init__ = checked  # type: ignore[method-assign]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return options by their names, those of objects in lists too: ``regularizers__l2__strength``."""
        params: dict[str, Any] = super().get_params(deep)
        return params | names.params_of_lists(self) if deep else params

    def set_params(self, **params: Any) -> Any:
        """Set options by their names; see `get_params`."""
        return super().set_params(**names.set_params_of_lists(self, params))

    @property
    def units(self) -> tuple[str, str]:
        """Specs of the (visible, hidden) units."""
        return self._units

    def _check_options(self) -> None:
        """Raise ValueError for options that cannot be used, whatever the data are."""
        if checked.known_of(self) is not None:
            if self.device == "cuda":  # may have gone meanwhile
                self._backend()
            return
        self._validate_params()
        options.check(self)
        self._backend()
        options.check_exclusions(self)
        checked.note_passed(self)

    def _backend(self) -> Backend:
        return get_backend(self.device, self.n_threads, self.strategy, self.precision, self._work)

    def _work(self) -> int | None:
        """Multiply-adds of one layer for one minibatch, by which device="auto" decides; None before data are seen.

        One number for everything an estimator does, so that it stays on one device.
        """
        n_visible = getattr(self, "n_features_in_", None)
        if n_visible is None:
            return None
        return int(n_visible * self.n_components * options.chains_of(self, self.n_iter))

    # -- data -----------------------------------------------------------------------------------------------

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Two-dimensional numeric array, maybe of a device, or CSR matrix; finiteness is checked when it is packed."""
        if is_device_array(X):
            X = check_device_array(
                X, type(self).__name__, device=self.device, unit=self.units[0], random_stream=self.random_stream
            )
            return validate_data(self, X, skip_check_array=True, reset=reset)
        if not reset and checked.is_plain_table(self, X):
            return watch(X)
        if sp.issparse(X):
            check_indices(X)
        sparse: Any = ("csr", "csc") if self.units[0] == "bernoulli" else False
        x = check_array(
            as_array(X, bool(sparse)),
            accept_sparse=sparse,
            dtype="numeric",
            ensure_all_finite=False,
            estimator=self,
            input_name="X",
        )
        # names of columns are those of the table, and so are counted first
        validate_data(self, X if hasattr(X, "columns") else x, skip_check_array=True, reset=reset)
        if hasattr(x, "tocsr"):
            x = x.tocsr()
        if x.dtype.kind not in "buif":
            raise ValueError(f"X must be numeric, got dtype {x.dtype}")
        return x

    def _data(self, X: Any, *, check_range: bool = True) -> Rows:
        """Rows for a fitted estimator; those that are read piece by piece are looked over."""
        self._check_fitted()
        n_visible = self._arrays()[0].shape[1]
        source = source_of(X)
        scale = self._scale_policy(fitted=True)
        if source is not None:
            data: Rows = self._chunked(source, self._float_type(), scale, self._limits(check_range), reset=False)
        else:
            X = self._validated(X, reset=False)
            self._look(scale, X)
            data = self._wrap(X, self._float_type(), scale.factor(X), self._limits(check_range))
        scale.check_fit()
        checked.check_width(n_visible, data.shape[1])
        return data

    def _limits(self, check_range: bool = True) -> Range:
        """What is done with values outside [0, 1]."""
        grey = self.input_scale == "auto" and getattr(self, "input_scale_", 1.0) != 1
        return Range(
            self.out_of_range if check_range else "allow",
            type(self).__name__,
            lambda: getattr(self, "feature_names_in_", None),
            grey,
        )

    def _scale_policy(self, fitted: bool) -> InputScale:
        """What decides the factor of the values: the option, what the fit has seen, or the values."""
        if self.units[0] != "bernoulli":
            return InputScale(1.0)
        if not isinstance(self.input_scale, str):
            return InputScale(float(self.input_scale))
        if not fitted or not hasattr(self, "input_scale_"):
            return InputScale()
        return InputScale(None, self.input_scale_, getattr(self, "_in_range", True))

    def _look(self, scale: InputScale, X: Any) -> None:
        if is_device_array(X):
            look_at_device_rows(scale, X)
        else:
            scale.look(X)

    def _chunked(self, source: AnySource, dtype: Any, scale: InputScale, limits: Range, *, reset: bool) -> ChunkedData:
        """Rows that are read piece by piece."""

        def validate(piece: Any, first: bool) -> Any:
            if is_device_array(piece):
                raise TypeError("chunks of X must be on the host, got one on a CUDA device: pass the rows as one array")
            return self._validated(piece, reset=first and reset)

        def wrap(x: Any, factor: float) -> Rows:
            return self._wrap(x, dtype, factor, limits)

        if isinstance(source, ShardSource):
            return ShardedData(source, validate, wrap, dtype, scale, limits)
        return ChunkedData(source, validate, wrap, dtype, scale, limits)

    def _wrap(self, X: Any, dtype: Any, scale: float, limits: Range) -> Rows:
        dtype = dtype if dtype in FLOAT_TYPES else np.dtype(np.float64)
        name = type(self).__name__
        if is_device_array(X):
            return DeviceData(X, scale, dtype, limits=limits, name=name)
        if self.units[0] in BIT_UNITS:
            kind = VisibleData if self.units[0] == "bernoulli" else SpinData
            return kind(X, scale, dtype, limits=limits, name=name, n_threads=self.n_threads)
        return UnitData(X, self.units[0], dtype, sigma=self._scale().sigma, limits=limits, name=name)

    def _check_rows(self, data: Rows) -> None:
        """Raise ValueError for rows that the options cannot be trained on."""

    def _output_dtype(self, data: Rows) -> Any:
        """Float type of results for these rows: that of their values; the computing type for images; else float64."""
        dtype = np.dtype(data.given_dtype).newbyteorder("=")
        if dtype in FLOAT_TYPES:
            return dtype
        return self._float_type() if dtype in (np.uint8, np.bool_) else np.dtype(np.float64)

    # -- parameters -----------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        """Raise NotFittedError unless there are parameters, fitted or set by hand."""
        check_is_fitted(self, ("components_", "intercept_visible_", "intercept_hidden_"))
        options.check_used(self)

    def _arrays(self) -> list[NDArray[Any]]:
        """Weights, visible and hidden biases; ValueError unless those that were set by hand fit each other."""
        given = [np.asarray(x) for x in (self.components_, self.intercept_visible_, self.intercept_hidden_)]
        checked.check_arrays(given[0], given[1], given[2], self.units)
        return given

    def _float_type(self) -> Any:
        """Type of the parameters; those that were set by hand may have others."""
        return np.dtype(np.float32 if np.asarray(self.components_).dtype == np.float32 else np.float64)

    def _parameters(self) -> Parameters:
        """Fitted arrays as kernels take them; attributes set by hand are respected."""
        given, dtype = self._arrays(), self._float_type()
        return Parameters(*(np.ascontiguousarray(x, dtype=dtype) for x in given))

    def _scale(self) -> VisibleScale:
        """Between shown parameters and those of kernels."""
        return VisibleScale(1 / self.temperature)

    def _variance_rate(self) -> float:
        """Learning rate of log variances in units of the learning rate."""
        return 0.0

    def _units_per_feature(self) -> int:
        """Visible units for each column of X."""
        return 1

    def _log_volume(self) -> float:
        """Sum of the logs of the deviations by which rows were divided."""
        sigma = self._scale().sigma
        return 0.0 if sigma is None else float(np.log(sigma, dtype=np.float64).sum())

    def _view(self) -> View:
        parameters = self._scale().to_kernels(self._parameters())
        if "ising" not in self.units:
            return View(parameters, self.units)
        model, constant = Model(*parameters, *self.units).as_bernoulli()
        return View(model.parameters, model.units, constant)

    @property
    def model_(self) -> Model:
        """The fitted model (copies): at its temperature, Gaussian visible units in units of their deviations."""
        self._check_fitted()
        parameters = self._scale().to_kernels(self._parameters()).copy()
        return Model(*parameters, *self.units)

    @property
    def _n_features_out(self) -> int:
        """Hidden units, for scikit-learn's names of columns."""
        return len(self.components_)

    def _publish(self, state: TrainingState) -> None:
        """Fitted attributes that live on the arrays being trained, so that they are right at any moment."""
        self.components_ = state.parameters.weights
        self.intercept_visible_ = state.parameters.visible_bias
        self.intercept_hidden_ = state.parameters.hidden_bias
        self.n_iter_ = state.epoch
        self._state = state

    def _publish_chains(self, state: TrainingState) -> None:
        self.n_iter_ = state.epoch
        hidden: States | None = None if state.population is None else state.population.model_chains
        hidden = hidden if state.chains.chains is None else state.chains.chains
        if hidden is not None:
            self.h_samples_ = as_dense(hidden, self.components_.dtype).astype(self.components_.dtype, copy=False)
        else:
            self.__dict__.pop("h_samples_", None)
        if "rho" in state.extras:
            self.weight_deviation_ = weight_deviation(state.extras["rho"])
        else:
            self.__dict__.pop("weight_deviation_", None)

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
        tags.input_tags.sparse = self.units[0] == "bernoulli"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
