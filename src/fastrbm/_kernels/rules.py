"""Optimiser rules: how parameters follow their gradient. NumPy here, the oracle of the native versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Kinds of rules that native kernels have, too; the place is their number there. Others are done in NumPy.
NATIVE_RULES = ("sgd", "nesterov", "rmsprop", "adam", "amsgrad")


class Rule(NamedTuple):
    """What an optimiser does with a gradient g; its slots are arrays of the size of the parameters.

    ``sgd``: slot = momentum slot + rate g; value += slot (no slot where momentum is 0).
    ``nesterov``: slot = momentum slot + rate g; value += momentum slot + rate g.
    ``rmsprop``: slot = decay slot + (1 - decay) g^2; change = rate g / (sqrt(slot) + epsilon); with a second slot
    that = momentum that + change, and the change is that.
    ``adam``: first = momentum first + (1 - momentum) g, second = decay second + (1 - decay) g^2; value += rate
    first / (1 - momentum^t) / (sqrt(second / (1 - decay^t)) + epsilon) at update t.
    ``amsgrad``: Adam with the largest `second` so far, a third slot, in the place of `second`.

    Attributes
    ----------
    kind : str
        One in `RULES`.
    decay, epsilon : float
    l1, l2 : float
        The gradient of the weights is lessened by l1 sign(W) + l2 W.
    clip : float
        Largest magnitude of a gradient's entry, after that; 0 for none.
    """

    kind: str = "sgd"
    decay: float = 0.0
    epsilon: float = 1e-8
    l1: float = 0.0
    l2: float = 0.0
    clip: float = 0.0

    @property
    def native(self) -> bool:
        """Whether native kernels have the rule."""
        return self.kind in NATIVE_RULES

    @property
    def number(self) -> int:
        """Number of the rule in native kernels."""
        return NATIVE_RULES.index(self.kind)


class Update(NamedTuple):
    """One application of a rule.

    Attributes
    ----------
    rule : Rule
    rate, momentum : float
    done : int
        Earlier updates by this rule.
    """

    rule: Rule
    rate: float
    momentum: float = 0.0
    done: int = 0

    def scales(self) -> tuple[float, float]:
        """Factors of Adam's running means, which start at 0: 1 / (1 - momentum^t) and 1 / (1 - decay^t)."""
        t = self.done + 1
        return 1 / (1 - float(np.float32(self.momentum)) ** t), 1 / (1 - float(np.float32(self.rule.decay)) ** t)


#: Entries of a gradient nearer to 0 than this are the rounding of means of numbers of size 1, in single and double
#: precision. Rules that divide by the size of a gradient would make whole steps of them, each backend its own.
ROUNDING = {4: 2.0**-22, 8: 2.0**-50}

Arithmetic = Callable[[Update, NDArray[Any], Sequence[NDArray[Any]], NDArray[Any]], None]


def apply_rule(
    update: Update, value: NDArray[Any], slots: Sequence[NDArray[Any]], gradient: NDArray[Any], penalised: bool
) -> None:
    """Change `value` and its slots in place; `gradient` is kept. `penalised`: l1 and l2 act (on weights)."""
    rule, t = update.rule, value.dtype.type
    g = gradient.astype(value.dtype)
    if penalised and rule.l2:
        g -= t(rule.l2) * value
    if penalised and rule.l1:
        g -= t(rule.l1) * np.sign(value)
    if rule.clip:
        np.clip(g, -t(rule.clip), t(rule.clip), out=g)
    if rule.kind in ("rmsprop", "adam", "amsgrad"):
        g = np.where(np.abs(g) < t(ROUNDING[value.dtype.itemsize]), t(0), g)
    if rule.kind not in RULES:
        raise ValueError(f"rule must be one of {sorted(RULES)}, got {rule.kind!r}")
    RULES[rule.kind](update, value, slots, g)


def _sgd(update: Update, value: NDArray[Any], slots: Sequence[NDArray[Any]], g: NDArray[Any]) -> None:
    _move(update, value, slots, value.dtype.type(update.rate) * g)


def _rmsprop(update: Update, value: NDArray[Any], slots: Sequence[NDArray[Any]], g: NDArray[Any]) -> None:
    t = value.dtype.type
    keep = t(update.rule.decay)
    slots[0][...] = keep * slots[0] + (t(1) - keep) * (g * g)
    _move(update, value, slots[1:], t(update.rate) * g / (np.sqrt(slots[0]) + t(update.rule.epsilon)))


def _adam(update: Update, value: NDArray[Any], slots: Sequence[NDArray[Any]], g: NDArray[Any]) -> None:
    rule, t = update.rule, value.dtype.type
    momentum, keep = t(update.momentum), t(rule.decay)
    mean_scale, square_scale = (t(s) for s in update.scales())
    mean, square = slots[:2]
    mean[...] = momentum * mean + (t(1) - momentum) * g
    square[...] = keep * square + (t(1) - keep) * (g * g)
    if rule.kind == "amsgrad":
        square = np.maximum(slots[2], square, out=slots[2])
    value += t(update.rate) * (mean * mean_scale) / (np.sqrt(square * square_scale) + t(rule.epsilon))


def _move(update: Update, value: NDArray[Any], velocity: Sequence[NDArray[Any]], change: NDArray[Any]) -> None:
    """Add a change, or what momentum makes of it."""
    if not velocity:
        value += change
        return
    momentum = value.dtype.type(update.momentum)
    velocity[0][...] = momentum * velocity[0] + change
    value += momentum * velocity[0] + change if update.rule.kind == "nesterov" else velocity[0]


#: arithmetic by the kind of a rule
RULES: dict[str, Arithmetic] = {
    "sgd": _sgd,
    "nesterov": _sgd,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "amsgrad": _adam,
}
