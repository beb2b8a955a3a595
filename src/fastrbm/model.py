"""The mathematical object: two layers of units and what couples them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_number
from ._kernels import Backend, PackedBits, Parameters, get_backend
from ._shown import digits, table
from .units import get_unit


@dataclass(frozen=True, eq=False)
class Model:
    """Restricted Boltzmann machine with energy E(v, h) = -a.T(v) - b.T(h) - T(h).W T(v).

    All units have T(x) = x. Units with a base measure add minus the log of it: the energy has + v.v / 2 for a Gaussian
    or ReLU visible layer, whose units have variance 1 given the other layer (before truncation), likewise for a hidden
    one; binomial units add -log C(n, v).

    Parameters
    ----------
    weights : ndarray of float32 or float64, shape (n_hidden, n_visible)
        W.
    visible_bias : ndarray, shape (n_visible,)
        a.
    hidden_bias : ndarray, shape (n_hidden,)
        b.
    visible, hidden : str or Unit, default="bernoulli"
        Unit types of the layers: "bernoulli" {0, 1}, "ising" {-1, +1}, "gaussian" real numbers, "relu" numbers of at
        least 0, "binomial(n)" whole numbers to n, "onehot(k)" groups of k units of which one is 1, "onehot" a layer of
        which one unit is 1, "mixed(...)" some of these side by side; see `fastrbm.units`. Stored as specs.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, unknown units, or layers that units cannot have.

    Notes
    -----
    Methods that take a `backend` choose one themselves if none is given: the CPU kernels. Nothing is checked for being
    normalisable: two layers that both have real-valued units are so only where their couplings are weak enough (see
    `fastrbm.likelihood.log_partition`); their conditionals exist whatever the weights.

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
        for name in ("visible", "hidden"):
            object.__setattr__(self, name, get_unit(getattr(self, name)).spec)
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
        for layer, n_units in (("visible", wanted[1]), ("hidden", wanted[0])):
            try:
                get_unit(getattr(self, layer)).check_width(n_units)
            except ValueError as error:
                raise ValueError(f"{layer}: {error}") from None

    def _facts(self) -> dict[str, str]:
        n_hidden, n_visible = self.weights.shape
        weights = np.sqrt(np.mean(np.square(self.weights, dtype=np.float64)))
        return {
            "visible": f"{n_visible} {self.visible}",
            "hidden": f"{n_hidden} {self.hidden}",
            "type": str(self.weights.dtype),
            "weights, root mean square": digits(float(weights)),
        }

    def __repr__(self) -> str:
        facts = self._facts()
        return f"<Model of {facts['visible']} and {facts['hidden']} units, {facts['type']}>"

    def _repr_html_(self) -> str:
        return table("restricted Boltzmann machine", self._facts().items())

    @property
    def parameters(self) -> Parameters:
        """The three arrays as kernels take them."""
        return Parameters(self.weights, self.visible_bias, self.hidden_bias)

    @property
    def units(self) -> tuple[str, str]:
        """Specs of the (visible, hidden) units."""
        return self.visible, self.hidden

    def _states(self, x: ArrayLike | PackedBits, n_units: int, name: str) -> Any:
        states: Any = x
        if not isinstance(x, PackedBits):
            states = np.ascontiguousarray(np.atleast_2d(np.asarray(x)), dtype=self.weights.dtype)
        if len(states.shape) != 2 or states.shape[1] != n_units:
            raise ValueError(f"{name} must have shape (n_samples, {n_units}), got {states.shape}")
        unit = get_unit(self.visible if name == "v" else self.hidden)
        if isinstance(states, PackedBits) and not unit.packed:
            # backends take a set bit for 1 and others for 0
            states = states.dense(self.weights.dtype)
            if unit.support is not None and len(unit.support) == 2:
                off, on = unit.support
                states = states * states.dtype.type(on - off) + states.dtype.type(off)
        return states

    def energy(self, v: ArrayLike, h: ArrayLike) -> NDArray[np.float64]:
        """Compute the energy of joint states.

        Parameters
        ----------
        v : array-like, shape (n_samples, n_visible)
        h : array-like, shape (n_samples, n_hidden)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        visible, hidden = get_unit(self.visible), get_unit(self.hidden)
        v, h = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (v, h))
        tv, th = visible.statistics(v), hidden.statistics(h)
        biases = tv @ self.visible_bias + th @ self.hidden_bias
        return -biases - np.einsum("nj,ji,ni->n", th, self.weights, tv) - visible.base(v) - hidden.base(h)

    def free_energy(self, v: ArrayLike | PackedBits, backend: Backend | None = None) -> NDArray[np.float64]:
        """-log of the sum over h of exp(-E(v, h)) (integral for real-valued units), shape (n_samples,)."""
        states = self._states(v, len(self.visible_bias), "v")
        energy = (backend or get_backend()).free_energy(self.hidden, states, self.parameters)
        # backends do not know what the visible units are
        return energy - get_unit(self.visible).base(states)

    def mean_hidden(self, v: ArrayLike | PackedBits, backend: Backend | None = None) -> NDArray[Any]:
        """Means of the hidden layer given v, shape (n_samples, n_hidden)."""
        states = self._states(v, len(self.visible_bias), "v")
        return (backend or get_backend()).means(self.hidden, states, self.weights, self.hidden_bias)

    def mean_visible(self, h: ArrayLike | PackedBits, backend: Backend | None = None) -> NDArray[Any]:
        """Means of the visible layer given h, shape (n_samples, n_visible)."""
        states = self._states(h, len(self.hidden_bias), "h")
        return (backend or get_backend()).means(self.visible, states, self.weights, self.visible_bias, transpose=True)

    def at_temperature(self, temperature: float) -> Model:
        """Divide the energy by `temperature` (positive); not for units with a base measure.

        That would be divided, too: Gaussian and ReLU units would have another variance than 1, and binomial ones
        another distribution.
        """
        if any(get_unit(unit).weighted for unit in self.units):
            raise ValueError(
                "a temperature would change the base measure of units that have one, such as the variance of Gaussian "
                f"units, which is 1; at_temperature needs units of other types, got {self.units}"
            )
        beta = self.weights.dtype.type(1 / check_number("temperature", temperature, 0, include_low=False))
        weights, visible_bias, hidden_bias = (beta * x for x in self.parameters)
        return Model(weights, visible_bias, hidden_bias, self.visible, self.hidden)

    def as_bernoulli(self) -> tuple[Model, float]:
        """Write {-1, +1} units as {0, 1} units by s = 2 x - 1.

        Returns
        -------
        model : Model
            With Bernoulli layers in the place of Ising ones; layers of other units stay as they are.
        constant : float
            E(v, h) of this model is that of the returned one at the {0, 1} states, plus this. So log Z of this model
            is that of the returned one, minus this.
        """
        weights, *biases = (x.astype(np.float64) for x in self.parameters)
        units, constant = list(self.units), 0.0
        for layer, other in ((0, 1), (1, 0)):
            if units[layer] == "ising":
                # s.(bias + W' t) = 2 x.(bias + W' t) - 1.bias - (W 1).t, t being the other layer
                constant += float(biases[layer].sum())
                biases[other] -= weights.sum(axis=other)
                biases[layer] *= 2
                weights *= 2
                units[layer] = "bernoulli"
        if tuple(units) == self.units:
            return self, 0.0
        weights, visible_bias, hidden_bias = (x.astype(self.weights.dtype) for x in (weights, *biases))
        return Model(weights, visible_bias, hidden_bias, *units), constant


def checked_trajectory(name: str, models: Any) -> list[Model]:
    """Return models of a training run as a list; ValueError or TypeError unless they are alike."""
    if isinstance(models, Model) or not isinstance(models, Iterable):
        raise TypeError(f"{name} must be a list of fastrbm.Model objects, got {type(models).__name__}")
    found = list(models)
    if not found:
        raise ValueError(f"{name} must have at least one model, got an empty list")
    for k, model in enumerate(found):
        if not isinstance(model, Model):
            raise TypeError(f"{name} must be a list of fastrbm.Model objects, got {type(model).__name__} at {k}")
        kind, wanted = (
            (one.weights.shape, one.units, one.weights.dtype.name) for one in (model, found[0])
        )  # fmt: skip
        if kind != wanted:
            raise ValueError(
                f"{name} must be models of equal shape, units and float type like the first one {wanted}, got {kind} "
                f"at {k}"
            )
    return found
