"""The mathematical object: two layers of units and what couples them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._kernels import Backend, PackedBits, Parameters, get_backend
from .units import get_unit


@dataclass(frozen=True, eq=False)
class Model:
    """Restricted Boltzmann machine with energy E(v, h) = -a.T(v) - b.T(h) - T(h).W T(v).

    Parameters
    ----------
    weights : ndarray of float32 or float64, shape (n_hidden, n_visible)
        W.
    visible_bias : ndarray, shape (n_visible,)
        a.
    hidden_bias : ndarray, shape (n_hidden,)
        b.
    visible, hidden : str, default="bernoulli"
        Registered unit types of the layers.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, or unknown units.

    References
    ----------
    Hinton, "A practical guide to training restricted Boltzmann machines", UTML TR 2010-003.
    """

    weights: NDArray[Any]
    visible_bias: NDArray[Any]
    hidden_bias: NDArray[Any]
    visible: str = "bernoulli"
    hidden: str = "bernoulli"

    def __post_init__(self) -> None:
        get_unit(self.visible)
        get_unit(self.hidden)
        dtype = np.float64 if np.asarray(self.weights).dtype == np.float64 else np.float32
        for name, n_dim in (("weights", 2), ("visible_bias", 1), ("hidden_bias", 1)):
            value = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            if value.ndim != n_dim or 0 in value.shape:
                raise ValueError(f"{name} must be a non-empty {n_dim}-dimensional array, got shape {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
            object.__setattr__(self, name, value)
        wanted = (len(self.hidden_bias), len(self.visible_bias))
        if self.weights.shape != wanted:
            raise ValueError(f"weights must have shape (n_hidden, n_visible) = {wanted}, got {self.weights.shape}")

    @property
    def parameters(self) -> Parameters:
        """The three arrays as kernels take them."""
        return Parameters(self.weights, self.visible_bias, self.hidden_bias)

    @property
    def units(self) -> tuple[str, str]:
        """(visible, hidden) unit names."""
        return self.visible, self.hidden

    def _states(self, x: ArrayLike | PackedBits, n_units: int, name: str) -> Any:
        if isinstance(x, PackedBits):
            states: Any = x
        else:
            states = np.ascontiguousarray(np.atleast_2d(np.asarray(x)), dtype=self.weights.dtype)
        if len(states.shape) != 2 or states.shape[1] != n_units:
            raise ValueError(f"{name} must have shape (n_samples, {n_units}), got {states.shape}")
        return states

    def energy(self, v: ArrayLike, h: ArrayLike) -> NDArray[np.float64]:
        """Energy of joint states.

        Parameters
        ----------
        v : array-like, shape (n_samples, n_visible)
        h : array-like, shape (n_samples, n_hidden)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        tv = get_unit(self.visible).statistics(np.atleast_2d(np.asarray(v, dtype=np.float64)))
        th = get_unit(self.hidden).statistics(np.atleast_2d(np.asarray(h, dtype=np.float64)))
        return -(tv @ self.visible_bias) - th @ self.hidden_bias - np.einsum("nj,ji,ni->n", th, self.weights, tv)

    def free_energy(self, v: ArrayLike | PackedBits, backend: Backend | None = None) -> NDArray[np.float64]:
        """-log of the sum over h of exp(-E(v, h)), shape (n_samples,)."""
        states = self._states(v, len(self.visible_bias), "v")
        return (backend or get_backend()).free_energy(self.hidden, states, self.parameters)

    def mean_hidden(self, v: ArrayLike | PackedBits, backend: Backend | None = None) -> NDArray[Any]:
        """Means of the hidden layer given v, shape (n_samples, n_hidden)."""
        states = self._states(v, len(self.visible_bias), "v")
        return (backend or get_backend()).means(self.hidden, states, self.weights, self.hidden_bias)

    def mean_visible(self, h: ArrayLike | PackedBits, backend: Backend | None = None) -> NDArray[Any]:
        """Means of the visible layer given h, shape (n_samples, n_visible)."""
        states = self._states(h, len(self.hidden_bias), "h")
        return (backend or get_backend()).means(self.visible, states, self.weights, self.visible_bias, transpose=True)

    def at_temperature(self, temperature: float) -> Model:
        """Model whose energy is divided by `temperature` (positive)."""
        if not temperature > 0 or not np.isfinite(temperature):
            raise ValueError(f"temperature must be a positive number, got {temperature!r}")
        beta = self.weights.dtype.type(1 / temperature)
        weights, visible_bias, hidden_bias = (beta * x for x in self.parameters)
        return Model(weights, visible_bias, hidden_bias, self.visible, self.hidden)
