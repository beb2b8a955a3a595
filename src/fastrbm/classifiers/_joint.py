"""One machine of rows and labels: label units beside the features in the visible layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels.draws import Key
from ..estimators import RBM, GaussianRBM, SoftmaxRBM
from ..units import Mixed, OneHot, get_unit
from ._parts import seeded, weighted

#: options of single estimators that an `RBM` does not have: its values are prepared before, and its units given
_OWN = ("visible", "hidden", "sigma", "scaling", "input_scale", "out_of_range")
#: numbers that a block of rows has at most, of hidden inputs
_BLOCK = 1 << 20


def check_kind(rbm: Any) -> None:
    """Raise ValueError for machines that have no form with label units."""
    if isinstance(rbm, SoftmaxRBM):
        raise ValueError(
            "rbm must take one value for each visible unit with mode='joint', got a SoftmaxRBM: use "
            "mode='per-class', or an RBM of one-hot columns with visible='onehot(k)'"
        )
    if isinstance(rbm, GaussianRBM) and not np.array_equal(rbm.sigma, 1):
        raise ValueError(
            "rbm must be a GaussianRBM with sigma='data' or 1 with mode='joint', whose Gaussian units have variance 1, "
            f"got sigma={rbm.sigma!r}: divide the rows by their deviations before"
        )


def joined(rbm: Any, n_features: int, n_classes: int) -> RBM:
    """The machine with a one-hot group of label units after its visible ones, unfitted."""
    unit = get_unit(rbm.units[0])
    parts = unit.parts if isinstance(unit, Mixed) else ((unit, n_features),)
    options = {name: value for name, value in rbm.get_params(deep=False).items() if name not in _OWN}
    grey = rbm.units[0] == "bernoulli"  # values were looked at
    return RBM(
        visible=Mixed(*parts, (OneHot(n_classes), n_classes)),
        hidden=rbm.units[1],
        out_of_range="allow" if grey or isinstance(rbm, GaussianRBM) else rbm.out_of_range,
        **options,
    )


def fitted(rbm: Any, x: NDArray[Any], index: NDArray[np.intp], weights: Any, key: Key) -> RBM:
    """Fit the machine of rows and labels.

    Parameters
    ----------
    rbm : estimator
        Unfitted machine of the features.
    x : ndarray, shape (n_rows, n_features)
        Values of visible units.
    index : ndarray, shape (n_rows,)
        Classes.
    weights : ndarray or None
        Of rows.
    key : Key
    """
    labels = np.eye(int(index.max()) + 1, dtype=x.dtype)[index]
    machine = seeded(joined(rbm, x.shape[1], labels.shape[1]), key, 0)
    machine.fit(np.hstack([x, labels]), **weighted(weights))
    return machine


def check(rbm: Any, n_classes: int) -> None:
    """Raise ValueError unless the last visible units are a group of so many."""
    unit = get_unit(rbm.units[0])
    if not (isinstance(unit, Mixed) and unit.parts[-1] == (OneHot(n_classes), n_classes)):
        raise ValueError(f"a machine with a group of {n_classes} label units is wanted, got one of {rbm.units[0]}")


def logits(rbm: RBM, x: NDArray[Any], n_classes: int) -> NDArray[np.float64]:
    """Minus the free energies of rows completed by each class, less what a row's have in common.

    The inputs of the hidden layer are one product for all classes; the label units add a row of weights each.
    """
    weights, visible, hidden = (a.astype(np.float64) for a in rbm.model_.parameters)
    n_features = weights.shape[1] - n_classes
    unit = get_unit(rbm.units[1])
    found = np.empty((len(x), n_classes))
    step = max(1, _BLOCK // len(hidden))
    for first in range(0, len(x), step):
        rows = slice(first, first + step)
        theta = x[rows].astype(np.float64) @ weights[:, :n_features].T + hidden
        for k in range(n_classes):
            found[rows, k] = visible[n_features + k] + unit.cgf(theta + weights[:, n_features + k]).sum(axis=-1)
    return found
