"""What kernels are given and what they change: parameters, states, half gradients, plans and states of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .bits import States
from .rules import Rule, Update

#: types of parameters and of the arithmetic with them
FLOAT_TYPES = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
#: magnitudes by the bytes of a float type that may be multiplied with each other: sums of such products are finite
LARGEST = {4: 1e15, 8: 1e150}
#: states that were drawn: `PackedBits` where the unit is `packed`, else a dense array; which, only the unit's spec says
Drawn = Any


class Parameters(NamedTuple):
    """Arrays of a two-layer model, all of one dtype (float32 or float64), C-contiguous.

    Attributes
    ----------
    weights : ndarray, shape (n_hidden, n_visible)
    visible_bias : ndarray, shape (n_visible,)
    hidden_bias : ndarray, shape (n_hidden,)
    """

    weights: NDArray[Any]
    visible_bias: NDArray[Any]
    hidden_bias: NDArray[Any]

    def copy(self) -> Parameters:
        """Return an independent copy."""
        return Parameters(*(x.copy() for x in self))

    def zeros_like(self) -> Parameters:
        """Zeros of the same shapes (a slot of an optimiser)."""
        return Parameters(*(np.zeros_like(x) for x in self))


class Phase(NamedTuple):
    """Half of a contrastive gradient: states of the visible layer, means or drawn states of the hidden one.

    Attributes
    ----------
    visible : PackedBits or ndarray, shape (n_samples, n_visible)
    hidden : ndarray (means) or PackedBits (states), shape (n_samples, n_hidden)
        The same kind in both halves.
    shares : ndarray, shape (n_samples,), or None
        Weights of the samples in the mean, adding up to 1; None for equal ones.
    """

    visible: States
    hidden: States
    shares: NDArray[Any] | None = None


class TrainingPlan(NamedTuple):
    """How a run of minibatches is done.

    Attributes
    ----------
    seed : int
        Key of all draws.
    batch_size : int
        Rows of a minibatch; the last one of a run may be shorter.
    persistent : bool
        Negative phase from persistent chains (PCD) instead of from the data (CD).
    n_sweeps : int
        Gibbs sweeps of the negative phase, at least 1.
    rate : float
        Learning rate.
    momentum : float
        Of the rule; beta 1 of Adam.
    stochastic_input : bool
        Draw binary visible states from grey rows each time they are used.
    rule : Rule
        How parameters follow their gradient.
    sampled_hidden : bool
        Gradients of sampled hidden states in place of their means. The positive phase draws at the minibatch's first
        step, also with persistent chains, which leave that address free.
    """

    seed: int
    batch_size: int
    persistent: bool
    n_sweeps: int
    rate: float
    momentum: float
    stochastic_input: bool
    rule: Rule = Rule()
    sampled_hidden: bool = False

    def update(self, done: int) -> Update:
        """Application of the rule after `done` others."""
        return Update(self.rule, self.rate, self.momentum, done)


@dataclass
class ChainState:
    """What a run of minibatches leaves behind besides the parameters.

    Attributes
    ----------
    step : int
        Next unused Gibbs step; a minibatch takes ``n_sweeps + 1``.
    chains : PackedBits, ndarray or None
        Hidden states of the persistent chains.
    updates : int
        Minibatches done.
    """

    step: int
    chains: Drawn | None
    updates: int = 0


class Resident(Protocol):
    """Parameters, slots and chains of a run that a device holds."""

    def settle(self) -> None:
        """Bring the arrays of the host up to date."""

    def take_over(self) -> None:
        """Go on from the arrays of the host, which were up to date and may have been changed since."""

    def snapshot(self) -> Any:
        """Return a copy of the parameters."""

    def restore(self, snapshot: Any) -> None:
        """Put a snapshot back."""

    def clear_slots(self) -> None:
        """Set the slots to zero."""

    def is_finite(self) -> bool:
        """Whether all parameters are finite."""


def are_usable(arrays: Iterable[NDArray[Any]]) -> bool:
    """Whether all values of float arrays are finite, and small enough for their type to multiply and add them up.

    The parameters of a run that was thrown far away may still be finite; means and energies are not any more.
    """
    return all(not x.size or bool(np.maximum.reduce(np.abs(x), axis=None) <= LARGEST[x.itemsize]) for x in arrays)


def check_float_type(value: Any, name: str = "dtype") -> None:
    """Raise ValueError unless the value of an option is None or stands for float32 or float64."""
    if value is None:
        return
    try:
        known = np.dtype(value) in FLOAT_TYPES
    except (TypeError, ValueError):  # it stands for no type at all
        known = False
    if not known:
        raise ValueError(f"{name} must be None, numpy.float32 or numpy.float64, got {value!r}")
