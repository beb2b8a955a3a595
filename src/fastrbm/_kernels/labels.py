"""Hidden layers given inputs and a class, in NumPy: what labels of rows are to a machine that has them as units.

With x the inputs of the hidden units from the features, U what each class adds to them and d the biases of the classes,

    log p(y | v) = d_y + sum_j log(1 + exp(x_j + U_yj)) - log of the sum of such terms over the classes

(Larochelle, Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008). The definition
that native kernels are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .exponentials import exponentials

_BLOCK = 1 << 20  # elements of rows x classes x units at a time


class LabelMoments(NamedTuple):
    """What the gradient of a machine with labels is made of.

    Attributes
    ----------
    data, model : ndarray, shape (n_rows, n_hidden)
        Means of the hidden units given the row and its label (0 without one), and given the row alone.
    of_data, of_model : ndarray, shape (n_classes, n_hidden)
        Sums over the rows, by their weights, of class and mean: of the labels, and of the model's classes.
    """

    data: NDArray[Any]
    model: NDArray[Any]
    of_data: NDArray[Any]
    of_model: NDArray[Any]


class LabelledLayer:
    """Hidden units of some rows, given each class.

    Parameters
    ----------
    inputs : ndarray, shape (n_rows, n_hidden)
        Of the hidden units, from the features of the rows.
    classes : ndarray, shape (n_classes, n_hidden)
        What each class adds to them; of the same type.
    """

    def __init__(self, inputs: NDArray[Any], classes: NDArray[Any]):
        self._inputs, self._classes = inputs, classes

    def scores(self, bias: NDArray[Any]) -> NDArray[np.float64]:
        """Bias of a class plus the sum over hidden units of log(1 + e^input): log p(class | row) up to a constant.

        Shape (n_rows, n_classes).
        """
        scores = np.empty((len(self._inputs), len(self._classes)))
        for rows, o in self._blocks():
            scores[rows] = np.logaddexp(0, o).sum(axis=2) + bias
        return scores

    def moments(self, shares: NDArray[np.float64], labels: NDArray[np.int32], weights: NDArray[Any]) -> LabelMoments:
        """Means of the hidden units; `scores` must have been called before.

        Parameters
        ----------
        shares : ndarray of float64, shape (n_rows, n_classes)
            Probabilities of the classes.
        labels : ndarray of int32, shape (n_rows,)
            Below 0 for rows without one.
        weights : ndarray, shape (n_rows,)
            Of the rows, of the type of the inputs.
        """
        dtype, shape = self._inputs.dtype, self._inputs.shape
        data, model = np.zeros(shape, dtype), np.empty(shape, dtype)
        of_data, of_model = np.zeros((2, *self._classes.shape))
        for rows, o in self._blocks():
            means = 0.5 * (1 + np.tanh(0.5 * o))
            model[rows] = np.einsum("nc,ncj->nj", shares[rows], means)
            of_model += np.einsum("nc,ncj->cj", shares[rows] * weights[rows, None], means)
            known = np.flatnonzero(labels[rows] >= 0)
            own = means[known, labels[rows][known]]
            data[rows.start + known] = own
            np.add.at(of_data, labels[rows][known], weights[rows][known, None] * own)
        return LabelMoments(data, model, of_data.astype(dtype), of_model.astype(dtype))

    def _blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        step = max(1, _BLOCK // self._classes.size)
        for first in range(0, len(self._inputs), step):
            rows = slice(first, first + step)
            yield rows, self._inputs[rows, None].astype(np.float64) + self._classes


def probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of the classes of each row, from logs that lack a constant; rounded alike on all processors."""
    p = exponentials(scores - scores.max(axis=1, keepdims=True))
    total = p[:, 0].copy()
    for column in p.T[1:]:
        total += column
    return p / total[:, None]
