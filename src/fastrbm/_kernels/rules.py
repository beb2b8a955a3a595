"""Optimiser rules: how parameters follow their gradient. NumPy here, the oracle of the native versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: number of a rule in src/kernels.h
RULES = ("sgd", "nesterov", "rmsprop", "adam", "amsgrad")


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
        One of `RULES`.
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


def apply_rule(
    update: Update, value: NDArray[Any], slots: Sequence[NDArray[Any]], gradient: NDArray[Any], penalised: bool
) -> None:
    """Change `value` and its slots in place; `gradient` is kept. `penalised`: l1 and l2 act (on weights)."""
    rule, t = update.rule, value.dtype.type
    g = gradient.astype(value.dtype)
    rate, momentum, keep, epsilon = t(update.rate), t(update.momentum), t(rule.decay), t(rule.epsilon)
    if penalised and rule.l2:
        g -= t(rule.l2) * value
    if penalised and rule.l1:
        g -= t(rule.l1) * np.sign(value)
    if rule.clip:
        np.clip(g, -t(rule.clip), t(rule.clip), out=g)
    if rule.kind in ("adam", "amsgrad"):
        mean_scale, square_scale = (t(s) for s in update.scales())
        mean, square = slots[:2]
        mean[...] = momentum * mean + (t(1) - momentum) * g
        square[...] = keep * square + (t(1) - keep) * (g * g)
        if rule.kind == "amsgrad":
            square = np.maximum(slots[2], square, out=slots[2])
        value += rate * (mean * mean_scale) / (np.sqrt(square * square_scale) + epsilon)
        return
    if rule.kind == "rmsprop":
        slots[0][...] = keep * slots[0] + (t(1) - keep) * (g * g)
        change = rate * g / (np.sqrt(slots[0]) + epsilon)
        velocity = slots[1:]
    else:
        change, velocity = rate * g, slots
    if not velocity:
        value += change
        return
    velocity[0][...] = momentum * velocity[0] + change
    value += momentum * velocity[0] + change if rule.kind == "nesterov" else velocity[0]
