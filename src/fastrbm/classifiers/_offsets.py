"""Probabilities of classes from free energies that have no common zero: offsets and a scale by maximum likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from .._checks import check_integer
from .._estimator.attributes import number_of
from .._estimator.restoring import array_like
from ..likelihood import LogPartition

#: fields of an estimate of log Z that files have
_FIELDS = (
    "value", "stderr", "interval", "method", "ess", "seconds", "n_chains", "n_temperatures", "reliable", "message",
)  # fmt: skip


def plain_sum(found: LogPartition) -> dict[str, Any]:
    """An estimate of log Z as JSON has it."""
    return {name: getattr(found, name) for name in _FIELDS}


def rich_sum(plain: dict[str, Any]) -> LogPartition:
    """Return what `plain_sum` has told; an error of any kind for what is no estimate."""
    low, high = (number_of({"interval": one}, "interval") for one in plain["interval"])
    return LogPartition(
        value=number_of(plain, "value"),
        stderr=number_of(plain, "stderr", 0),
        interval=(low, high),
        method=str(plain["method"]),
        ess=number_of(plain, "ess", 0),
        seconds=number_of(plain, "seconds", 0),
        n_chains=check_integer("n_chains", plain["n_chains"], 0),
        n_temperatures=check_integer("n_temperatures", plain["n_temperatures"], 0),
        reliable=bool(plain["reliable"]),
        message=str(plain["message"]),
    )


def restored(offsets: NDArray[Any], own: dict[str, Any], n_classes: int) -> tuple[NDArray[np.float64], float]:
    """Offsets and scale of a model file."""
    return array_like("offsets", offsets, (n_classes,), np.float64), number_of(own, "scale", 0)


def learned_offsets(
    scores: NDArray[np.float64], index: NDArray[np.intp], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], float]:
    """Offsets b and the scale s of the model p(k | v) = softmax_k(s scores_k + b_k) that make the labels most likely.

    A convex problem of as many variables as there are classes. The likelihood is that of softened labels, of which a
    row of a class of n rows has 1 / (n + 2) for the other classes together (Platt, 1999, for two classes), so that it
    has a maximum where the classes are separable.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_rows, n_classes)
        Minus the free energies.
    index : ndarray, shape (n_rows,)
        Class of each row; each class has rows of a weight above 0.
    weights : ndarray of float64 or None

    Returns
    -------
    offsets : ndarray of float64, shape (n_classes,)
    scale : float
        At least 0; 0 where the scores say nothing about the labels, and offsets are the logs of the shares then.
    """
    n_classes = scores.shape[1]
    weights = np.ones(len(scores)) if weights is None else weights
    counts = np.bincount(index, weights=weights, minlength=n_classes)
    soft = 1 / (counts[index] + 2)
    targets = np.repeat(soft[:, None] / (n_classes - 1), n_classes, axis=1)
    targets[np.arange(len(index)), index] = 1 - soft
    share = weights / weights.sum()
    # variables are those of scores around 0 of a spread near 1
    centre = share @ scores
    x = scores - centre
    x -= x.mean(axis=1, keepdims=True)
    unit = float(np.sqrt(share @ (x * x).mean(axis=1))) or 1.0
    x /= unit
    prior = np.log(share @ targets)

    def value(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = log_softmax(z[0] * x + np.append(0.0, z[1:]), axis=1)
        wrong = share[:, None] * (np.exp(logs) - targets)
        gradient = np.append((wrong * x).sum(), wrong.sum(axis=0)[1:])
        return -float(share @ (targets * logs).sum(axis=1)), gradient

    def hessian(z: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.exp(log_softmax(z[0] * x + np.append(0.0, z[1:]), axis=1))
        mean = (p * x).sum(axis=1)
        weighted = share[:, None] * p
        found = np.empty((n_classes, n_classes))
        found[0, 0] = share @ ((p * x * x).sum(axis=1) - mean * mean)
        found[0, 1:] = found[1:, 0] = (weighted * (x - mean[:, None])).sum(axis=0)[1:]
        found[1:, 1:] = (np.diag(weighted.sum(axis=0)) - weighted.T @ p)[1:, 1:]
        return found

    start = np.append(1.0, (prior - prior[0])[1:])
    z = minimize(value, start, jac=True, hess=hessian, method="trust-exact", options={"gtol": 1e-10}).x
    if z[0] <= 0:
        return prior - prior.mean(), 0.0
    scale = float(z[0]) / unit
    offsets = np.append(0.0, z[1:]) - scale * centre
    return offsets - offsets.mean(), scale
