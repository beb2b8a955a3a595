"""Rows of visible states, whatever form they come in.

`Rows` is what training and scoring take. It is made of: bits (`bits`, those of spins too), values of any other unit
type (`values`), categories (`categories`), arrays on a CUDA device (`device`) and data that are read piece by piece
(`chunks`). `tables` makes arrays of data frames and tensors, `ranges` says what values mean, `split` which rows are
trained on and in what order; `columns` looks at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._kernels import States


class Rows(Protocol):
    """Rows of the visible layer, checked once, converted a block at a time or not at all.

    Attributes
    ----------
    shape : (n_rows, n_visible)
    given_dtype : numpy dtype
        Type of the values as they were given.
    dtype : numpy dtype
        Type that rows are converted to, float32 or float64.
    binary : bool
        Whether `batches` gives `PackedBits`: all values are one of two states.
    are_states : bool
        Whether rows are states of the layer, which have a probability. Grey ones, and such with missing entries, are
        none.
    missing : bool
        Whether some entries are missing.
    in_range : bool
        Whether no value of Bernoulli units is outside [0, 1].
    """

    shape: tuple[int, int]
    given_dtype: Any
    dtype: Any
    binary: bool
    missing: bool
    in_range: bool

    @property
    def are_states(self) -> bool: ...

    def batches(self, order: Any, batch_size: int) -> Iterator[tuple[States, NDArray[np.int64]]]:
        """Pairs (rows as they are held, order within them) whose concatenation is the data in `order`.

        `order` is what an `Order` of `split` gives for a pass. Every piece but the last holds whole minibatches.
        """
        ...

    def encoded(self, batch: States) -> tuple[States, NDArray[np.bool_] | None]:
        """Rows of `batches` as training takes them, and which of their units are there; None where all are."""
        ...

    def slices(self) -> Iterator[tuple[slice, States]]:
        """Pairs (rows, states as kernels take them) in order; Gaussian states are divided by their deviations."""
        ...

    def contents(self) -> Iterator[States]:
        """Blocks of rows in order, in a form that depends on the values alone, not on what was fitted."""
        ...

    def states(self, advice: str) -> States:
        """All rows as states of the layer; ValueError with `advice` where they are none."""
        ...
