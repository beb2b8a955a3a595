"""What turns a gradient into a change of the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator


class SGD(BaseEstimator):
    """Stochastic gradient ascent with momentum.

    velocity <- momentum * velocity + learning_rate * gradient; parameters <- parameters + velocity.

    Parameters
    ----------
    momentum : float, default=0.0
        In [0, 1). 0 keeps no velocity.
    """

    def __init__(self, momentum: float = 0.0):
        self.momentum = momentum

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        m = self.momentum
        if isinstance(m, bool) or not isinstance(m, (int, float, np.floating, np.integer)) or not 0 <= m < 1:
            raise ValueError(f"momentum must be a number in [0, 1), got {m!r}")


def get_optimizer(optimizer: Any) -> SGD:
    """Resolve the estimator option ``optimizer``: "sgd" or an `SGD` object."""
    if isinstance(optimizer, str) and optimizer == "sgd":
        return SGD()
    if isinstance(optimizer, SGD):
        optimizer.validate()
        return optimizer
    raise ValueError(f"optimizer must be 'sgd' or an SGD object, got {optimizer!r}")
