"""Fast weights: persistent chains that are kept moving."""

from __future__ import annotations

from .._checks import check_number
from ._base import Sampler


class FastPCD(Sampler):
    """Persistent chains driven by additional weights that learn fast and decay fast.

    The chains sample from the parameters plus fast ones; both follow the same gradient, the fast ones with a rate of
    their own, and shrink by `decay` at each update. Where a chain stays, the fast weights make it improbable, and it
    moves on (Tieleman, Hinton, "Using fast weights to improve persistent contrastive divergence", ICML 2009).

    Parameters
    ----------
    rate : float, default=0.05
        Learning rate of the fast weights; positive.
    decay : float, default=0.95
        In [0, 1). The authors' 19/20.
    """

    def __init__(self, rate: float = 0.05, decay: float = 0.95):
        self.rate = rate
        self.decay = decay

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_number("rate", self.rate, 0, include_low=False)
        check_number("decay", self.decay, 0, 1, include_high=False)
