"""What all estimators share: data and parameters."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.bits import SpinData, VisibleData, decide_input_scale
from .._data.device import DeviceData, as_device_array, decide_device_scale, is_device_array, validated
from .._data.values import UnitData
from .._fit.negative import dense
from .._fit.scale import VisibleScale
from .._fit.state import TrainingState
from .._kernels import Parameters
from .._kernels.draws import Key
from ..model import Model
from .options import RBMOptions

_DTYPES = {np.dtype(np.float32), np.dtype(np.float64)}


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


class BaseRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RBMOptions):
    """Machinery of the estimators; a subclass declares its units and its documentation."""

    _units: ClassVar[tuple[str, str]]
    #: fitted attributes of its own that a subclass wants in its model files
    _stored: ClassVar[tuple[str, ...]] = ()
    input_scale_: float

    @property
    def units(self) -> tuple[str, str]:
        """Specs of the (visible, hidden) units."""
        return self._units

    # -- data -----------------------------------------------------------------------------------------------

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Two-dimensional numeric array, maybe of a device, or CSR matrix; finiteness is checked when it is packed."""
        if is_device_array(X):
            return validated(self, X, reset=reset)
        sparse: Any = ("csr", "csc") if self.units[0] == "bernoulli" else False
        X = validate_data(self, X, accept_sparse=sparse, reset=reset, dtype="numeric", ensure_all_finite=False)
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        if X.dtype.kind not in "buif":
            raise ValueError(f"X must be numeric, got dtype {X.dtype}")
        return X

    def _data(self, X: Any, *, check_range: bool = True) -> Any:
        """Rows for a fitted estimator."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        return self._wrap(X, self.components_.dtype, self.input_scale_, check_range=check_range)

    def _wrap(self, X: Any, dtype: Any, scale: float, *, check_range: bool = True) -> Any:
        dtype = dtype if dtype in _DTYPES else np.dtype(np.float64)
        check_range = check_range and self.out_of_range == "error"
        if is_device_array(X):
            return DeviceData(X, scale, dtype, check_range=check_range, name=type(self).__name__)
        if self.units[0] in ("bernoulli", "ising"):
            kind = VisibleData if self.units[0] == "bernoulli" else SpinData
            return kind(X, scale, dtype, check_range=check_range, name=type(self).__name__, n_threads=self.n_threads)
        name, sigma = type(self).__name__, self._scale().sigma
        return UnitData(X, self.units[0], dtype, sigma=sigma, check_range=check_range, name=name)

    def _input_scale(self, X: Any) -> float:
        if is_device_array(X):
            return decide_device_scale(X)
        return decide_input_scale(X) if self.units[0] == "bernoulli" else 1.0

    def _output_dtype(self, X: Any) -> Any:
        """Float type of results for this input: its own; the computing type for images; else float64."""
        if is_device_array(X):  # the types of other libraries are none of NumPy
            X = as_device_array(X)
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

    def _scale(self) -> VisibleScale:
        """Between shown parameters and those of kernels."""
        return VisibleScale(1 / self.temperature)

    def _view(self) -> View:
        parameters = self._scale().to_kernels(self._parameters())
        if "ising" not in self.units:
            return View(parameters, self.units)
        model, constant = Model(*parameters, *self.units).as_bernoulli()
        return View(model.parameters, model.units, constant)

    @property
    def model_(self) -> Model:
        """The fitted model (copies): at its temperature, Gaussian visible units in units of their deviations."""
        check_is_fitted(self)
        parameters = self._scale().to_kernels(self._parameters()).copy()
        return Model(*parameters, *self.units)

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
        hidden: Any = None if state.tempered is None else state.tempered.at(-1)
        hidden = hidden if state.chains.chains is None else state.chains.chains
        if hidden is not None:
            self.h_samples_ = dense(hidden, self.components_.dtype).astype(self.components_.dtype, copy=False)
        if "rho" in state.extras:
            self.weight_deviation_ = np.logaddexp(state.extras["rho"], 0)

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
