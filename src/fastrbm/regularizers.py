"""What is added to the likelihood to keep parameters small."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator


class L2(BaseEstimator):
    """Weight decay: strength / 2 times the sum of the squared weights is taken from the log-likelihood.

    The gradient of the weights is lessened by strength * weights; biases are left alone, as is usual (Hinton, "A
    practical guide to training restricted Boltzmann machines", UTML TR 2010-003, section 10).

    Parameters
    ----------
    strength : float, default=1e-4
        Not negative. Typical values lie between 1e-5 and 1e-2.
    """

    def __init__(self, strength: float = 1e-4):
        self.strength = strength

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        s = self.strength
        if isinstance(s, bool) or not isinstance(s, (int, float, np.floating, np.integer)) or not 0 <= s < np.inf:
            raise ValueError(f"strength must be a finite number of at least 0, got {s!r}")


def weight_decay(regularizers: Any) -> float:
    """Resolve the estimator option ``regularizers``: the factor of the weights in their gradient."""
    if not isinstance(regularizers, (tuple, list)):
        raise TypeError(f"regularizers must be a tuple or list of regularizers such as L2(1e-4), got {regularizers!r}")
    for one in regularizers:
        if not isinstance(one, L2):
            raise ValueError(f"regularizers must hold L2 objects, got {one!r}")
        one.validate()
    return float(sum(one.strength for one in regularizers))
