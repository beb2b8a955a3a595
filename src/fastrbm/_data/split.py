"""Which rows are trained on, which are held out, and in what order those of a pass come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.draws import Key

#: from the number of one round through the rows to that of the next within a pass
ROUND = 1 << 40
_SPLIT = 1 << 62  # in place of the number of a pass

Order = Callable[[int], Any]  # rows of a pass, in a form that `batches` of the data takes


class Split(NamedTuple):
    """Which rows are trained on and which are held out.

    Attributes
    ----------
    n_rows : int
    held_out : ndarray of int, sorted, or None
    trained : ndarray of int, or None
        In the order that passes permute; None: all rows in their order.
    """

    n_rows: int
    held_out: NDArray[np.int64] | None = None
    trained: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, n: int, fraction: float, key: Key, begin: NDArray[np.int64] | None = None) -> Split:
        """Hold a share of n rows out, always the same ones for a key; `begin` is the order that is permuted."""
        if not fraction:
            return cls(n, None, begin)
        n_held = max(1, round(fraction * n))
        if n_held >= n:
            raise ValueError(f"validation_fraction={fraction} leaves none of {n} rows of X to train on")
        held = np.zeros(n, dtype=np.bool_)
        held[key.permutation(n, _SPLIT)[:n_held]] = True
        begin = np.arange(n, dtype=np.int64) if begin is None else begin
        return cls(n, np.flatnonzero(held), begin[~held[begin]])

    def __len__(self) -> int:
        return self.n_rows if self.trained is None else len(self.trained)

    def without(self, rows: NDArray[np.bool_]) -> Split:
        """The same split with some rows left out of training."""
        trained = np.arange(self.n_rows, dtype=np.int64) if self.trained is None else self.trained
        return Split(self.n_rows, self.held_out, trained[~rows[trained]])

    def repeated(self, times: NDArray[np.int64]) -> Split:
        """The same split with rows that come several times in each pass."""
        trained = np.arange(self.n_rows, dtype=np.int64) if self.trained is None else self.trained
        return Split(self.n_rows, self.held_out, np.repeat(trained, times[trained]))

    def order(self, key: Key, shuffle: bool, length: Callable[[int], int] | None = None) -> Order:
        """Rows of a pass; a function of the key and the number of the pass only.

        Parameters
        ----------
        key : Key
        shuffle : bool
        length : callable or None
            Rows of a pass by its number, None for all of them once. More than there are come by further rounds.
        """
        n = len(self)

        def round_of(number: int) -> NDArray[np.int64]:
            rows = key.permutation(n, number) if shuffle else np.arange(n, dtype=np.int64)
            return rows if self.trained is None else self.trained[rows]

        def order(epoch: int) -> NDArray[np.int64]:
            wanted = n if length is None else length(epoch)
            rounds = [round_of(epoch + ROUND * k) for k in range(-(-wanted // n))]
            return rounds[0] if wanted == n else np.concatenate(rounds)[:wanted]

        return order
