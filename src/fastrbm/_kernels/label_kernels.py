"""The part of the contract of backends that machines with labels need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import States
from .datatypes import ChainState, Parameters
from .labels import LabelledLayer
from .rules import Update


class LabelKernels:
    """Kernels of rows with labels, in their composed form."""

    def labelled(self, inputs: NDArray[Any], classes: NDArray[Any]) -> LabelledLayer:
        """Hidden units of rows given classes: see `LabelledLayer`."""
        return LabelledLayer(inputs, classes)

    def train_labels(
        self,
        features: Parameters,
        classes: Parameters,
        slots: Sequence[tuple[Parameters, Parameters]],
        rows: States,
        order: NDArray[np.int64],
        labels: NDArray[np.int32],
        shares: NDArray[Any] | None,
        batch_size: int,
        update: Update,
        state: ChainState,
    ) -> NDArray[np.float64]:
        """Ascend log p(label | row) in minibatches of ``rows[order]``, one after another, in one native call.

        Parameters
        ----------
        features, classes : Parameters
            W (n_hidden, n_visible), b and c; U (n_classes, n_hidden), its visible bias without use, and d. They change
            in place, and so do slots and state.
        slots : sequence of (Parameters, Parameters)
            What the rule keeps of both.
        rows, order : as in `train`
        labels : ndarray of int32
            Of the rows in their order.
        shares : ndarray or None
            Of the rows in their order, adding up to 1 in each minibatch; None: equal ones.
        batch_size : int
        update : Update
            Of the first minibatch, but for what was done before: that is in the state.
        state : ChainState
            Its updates are counted.

        Returns
        -------
        ndarray of float64
            The mean of -log p(label | row) of each minibatch before its update. It ends before the first minibatch that
            has to be composed of other kernels: here before the first one of all.
        """
        return np.empty(0)
