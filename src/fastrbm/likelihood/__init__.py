"""Partition sums and likelihoods: exact where the smaller layer can be listed, annealed estimates elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._kernels import PackedBits
from .._kernels.maps import reads
from ..units import get_unit
from ._result import LogPartition, Moments
from .exact_rules import wide
from .partition import along_trajectory, log_partition
from .rows import as_model, checked_rows, some_rows

__all__ = ["LogPartition", "Moments", "along_trajectory", "kl_divergence", "log_likelihood", "log_partition"]


@reads
def log_likelihood(model: Any, X: ArrayLike | PackedBits, log_z: Any = None, **options: Any) -> NDArray[np.float64]:
    """Compute the log probability of rows under the model in nats, log p(v) = -F(v) - log Z.

    For real-valued units it is a density.

    Parameters
    ----------
    model : Model or fitted estimator
    X : array-like of shape (n_samples, n_visible)
        Rows of visible states: 0 and 1 (Bernoulli), -1 and +1 (Ising), one 1 a row or group (one-hot), whole numbers
        (binomial), numbers of at least 0 (ReLU), or any (Gaussian).
    log_z : float, LogPartition or None
        Known log partition sum; None computes it by `log_partition` with `options`, rows of X being its `data`.
    **options
        Of `log_partition`.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    model = as_model(model)
    rows = checked_rows(X, model, "X")
    if log_z is None:
        log_z = log_partition(model, **({"data": some_rows(rows)} | options))
    elif options:
        raise ValueError(f"log_z is given, so options of log_partition are not used, got {sorted(options)}")
    elif not np.isfinite(float(log_z)):
        raise ValueError(f"log_z must be finite, got {float(log_z)!r}")
    constant = 0.0
    if model.units != ("bernoulli", "bernoulli"):
        # float64: else rows of real numbers and the biases of the bits would be rounded to the type of the weights
        model, constant = wide(model).as_bernoulli()
    return -model.free_energy(rows) - (float(log_z) + constant)


@reads
def kl_divergence(model: Any, X: ArrayLike | PackedBits, log_z: Any = None, **options: Any) -> float:
    """Compute the Kullback-Leibler divergence from the distribution of the rows of X to the model, in nats.

    It sums p(v) log(p(v) / p_model(v)) over the distinct rows v, p(v) being the share of rows equal to v. It is meant
    for visible layers so small that the rows can be expected to cover what is possible; with rows that hardly repeat
    it says no more than the log-likelihood.

    Parameters
    ----------
    model, X, log_z, **options
        As for `log_likelihood`.

    Returns
    -------
    float
        At least 0 up to rounding and the error of log Z.

    Raises
    ------
    ValueError
        Also for real-valued visible units: rows have no density that could be compared.
    """
    model = as_model(model)
    if not get_unit(model.visible).finite:
        raise ValueError(
            f"kl_divergence compares probabilities of states, which units {model.visible!r} of the visible layer do "
            "not have; use log_likelihood"
        )
    rows = checked_rows(X, model, "X")
    keys: NDArray[Any] = rows.words if isinstance(rows, PackedBits) else rows
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    share = counts / len(rows)
    log_p = log_likelihood(model, rows[first], log_z, **options)
    return float(share @ (np.log(share) - log_p))
