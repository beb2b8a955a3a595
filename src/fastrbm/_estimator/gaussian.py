"""Data of real numbers: Gaussian visible units with fixed or learned standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._checks import check_number
from .._data import Rows
from .._data import columns as _columns
from .._data.split import Split
from .._fit.scale import SCALINGS, VisibleScale
from .._fit.state import TrainingState
from ..units import get_unit
from .files import Stored
from .fitting import Fitting
from .options import check_units
from .sampling import Sampling
from .scoring import Scoring


class LearnedSigma(BaseEstimator):
    """Standard deviations that are trained with the other parameters, as logs of variances.

    Parameters
    ----------
    initial : float, array-like of shape (n_features,) or "data", default="data"
        Where they start; "data": the standard deviations of the columns of X.
    rate : float, default=0.1
        Their learning rate in units of that of the weights; positive. Smaller than 1, as the likelihood is steep in
        them (Cho, Ilin, Raiko, "Improved learning of Gaussian-Bernoulli restricted Boltzmann machines", ICANN 2011).
    """

    def __init__(self, initial: Any = "data", rate: float = 0.1):
        self.initial = initial
        self.rate = rate

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("rate", self.rate, 0, include_low=False)
        _check_sigma("initial", self.initial)


class GaussianRBM(Fitting, Scoring, Sampling, Stored):
    """Restricted Boltzmann machine for real numbers: Gaussian visible units, binary hidden ones by default.

    The energy is sum_i (v_i - a_i)^2 / (2 sigma_i^2) - sum_i v_i (W^T h)_i / sigma_i^kappa - b.h, so that v_i given h
    is normal with standard deviation sigma_i and mean a_i + sigma_i^(2 - kappa) (W^T h)_i. Columns should have
    comparable sizes; a `fastrbm.DataRangeWarning` names one that is far larger than a sigma that was given. So
    standardise them (`sklearn.preprocessing.StandardScaler`), or take ``sigma="data"`` or ``"learned"``, which train on
    standardised rows (v - mean) / sigma: learning rates are then in units of the deviations, and safe for columns of
    any scale and offset. Rates are smaller than for binary data, 0.01 to 0.001, as the mean of a visible unit has no
    bounds.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    sigma : float, array-like of shape (n_features,), "data", "learned" or LearnedSigma, default=1.0
        Standard deviations: given, those of the columns of X (1 for constant ones), or learned from there, between
        1/1000 and 10 times those of the columns; `fit` warns where they ran to a bound.
    scaling : {"sigma", "variance"}, default="sigma"
        kappa = 1 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009; Hinton's practical guide)
        or kappa = 2 (Cho, Ilin, Raiko, 2011).
    hidden : str or Unit, default="bernoulli"
        Hidden units; see `RBM`.
    learning_rate : float or schedule, default=0.01
    **options
        As of `BernoulliRBM`.

    Attributes
    ----------
    components_, intercept_visible_, intercept_hidden_ : ndarray
        W, a and b of the energy above.
    sigma_ : ndarray, shape (n_features,)
        Standard deviations.

    Notes
    -----
    `model_`, `free_energy` and `log_partition` are of x = v / sigma, which has variance 1 given h; `log_likelihood` and
    `score_samples` are of v itself, in nats of a density. Their energy is that above without its constant, the sum of
    a_i^2 / (2 sigma_i^2). log Z is exact where the hidden layer can be listed, and estimated elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import GaussianRBM
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> GaussianRBM(2, learning_rate=0.01, random_state=0).fit(X).transform(X).shape
    (50, 2)
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        sigma: Any = 1.0,
        scaling: str = "sigma",
        hidden: Any = "bernoulli",
        learning_rate: Any = 0.01,
        **options: Any,
    ):
        super().__init__(n_components, learning_rate=learning_rate, **options)
        self.sigma = sigma
        self.scaling = scaling
        self.hidden = hidden

    @property
    def units(self) -> tuple[str, str]:
        """Specs of the (visible, hidden) units."""
        return "gaussian", get_unit(self.hidden).spec

    @property
    def sigma_(self) -> NDArray[Any]:
        """Standard deviations of the visible units given the hidden ones."""
        sigma = self._scale().sigma
        if sigma is None:
            raise AttributeError("sigma_ is there once the estimator is fitted")
        return sigma

    def _learned(self) -> LearnedSigma | None:
        if isinstance(self.sigma, LearnedSigma):
            return self.sigma
        return LearnedSigma() if isinstance(self.sigma, str) and self.sigma == "learned" else None

    def _check_options(self) -> None:
        check_units(self, "hidden")
        self._kappa()
        learned = self._learned()
        if learned is not None:
            learned.validate()
        else:
            _check_sigma("sigma", self.sigma)
        super()._check_options()

    # -- deviations -------------------------------------------------------------------------------------------

    def _scale(self) -> VisibleScale:
        state = getattr(self, "_state", None)
        log_variance = None if state is None else state.extras.get("log_variance")
        if log_variance is None:
            if not hasattr(self, "components_"):
                return VisibleScale()
            if isinstance(self.sigma, (str, LearnedSigma)):
                raise ValueError(
                    f"sigma must be numbers for parameters that were set by hand, got {self.sigma!r}, which a fit finds"
                )
            _check_sigma("sigma", self.sigma)
            n_visible = np.shape(self.components_)[1]
            if np.size(self.sigma) not in (1, n_visible):
                raise ValueError(
                    f"sigma must have one value for each of {n_visible} visible units, got {np.size(self.sigma)}"
                )
            sigma = np.broadcast_to(np.asarray(self.sigma, dtype=np.float64), (n_visible,))
            return VisibleScale(1.0, sigma, self._kappa())
        return VisibleScale(1.0, np.exp(0.5 * log_variance), self._kappa())

    def _kappa(self) -> int:
        if not isinstance(self.scaling, str) or self.scaling not in SCALINGS:
            raise ValueError(f"scaling must be one of {sorted(SCALINGS)}, got {self.scaling!r}")
        return SCALINGS[self.scaling]

    def _variance_rate(self) -> float:
        learned = self._learned()
        return 0.0 if learned is None else float(learned.rate)

    def _initial_state(self, data: Rows, split: Split, dtype: Any, sample_weight: Any) -> TrainingState:
        state = super()._initial_state(data, split, dtype, sample_weight)
        learned = self._learned()
        given = self.sigma if learned is None else learned.initial
        sigma = self._start_of(given, data, split, sample_weight)
        state.extras["log_variance"] = (2 * np.log(sigma)).astype(dtype)
        if learned is not None:
            deviations = sigma if isinstance(given, str) else _columns.deviations(data, split, sample_weight)
            state.extras["log_variance_of_data"] = (2 * np.log(deviations)).astype(dtype)
        if learned is not None or isinstance(given, str):
            self._standardise(state, sigma, _columns.means(data, split, sample_weight))
        return state

    def _standardise(self, state: TrainingState, sigma: NDArray[Any], means: NDArray[Any]) -> None:
        """Start where a model of standardised columns starts, and train on such."""
        weights, visible_bias, hidden_bias = state.parameters
        dtype = weights.dtype
        if self.scaling == "variance":
            weights *= sigma.astype(dtype)
        if self.visible_bias == "zeros":
            visible_bias[...] = visible_bias * sigma.astype(dtype) + means.astype(dtype)
        state.extras["offset"] = means.astype(dtype)
        hidden_bias -= (weights * (means / sigma ** self._kappa()).astype(dtype)).sum(axis=1)

    def _start_of(self, given: Any, data: Rows, split: Split, sample_weight: Any) -> NDArray[np.float64]:
        if not isinstance(given, str):
            sigma = np.asarray(given, dtype=np.float64)
            if sigma.ndim and sigma.shape != (data.shape[1],):
                raise ValueError(f"sigma must have one value for each of {data.shape[1]} columns, got {sigma.shape}")
            return np.broadcast_to(sigma, (data.shape[1],)).copy()
        return _columns.deviations(data, split, sample_weight)


def _check_sigma(name: str, sigma: Any) -> None:
    if isinstance(sigma, str):
        if sigma != "data":
            raise ValueError(f"{name} must be positive numbers, 'data' or (for sigma) 'learned', got {sigma!r}")
        return
    try:
        values = np.asarray(sigma, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be positive numbers or 'data', got {sigma!r}") from None
    if isinstance(sigma, bool) or values.ndim > 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"{name} must be positive finite numbers or 'data', got {sigma!r}")
