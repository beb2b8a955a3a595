"""Scores of rows under a fitted estimator: free energies, pseudo-likelihoods, likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from .. import likelihood
from .._fit.callback import as_list
from .._fit.checkpoints import CheckpointTrajectory
from .._kernels import States, on_host
from ..likelihood.rows import some_rows
from ..units import Unit, get_unit
from .base import BaseRBM


def _is_binary(estimator: BaseRBM) -> bool:
    return bool(get_unit(estimator.units[0]).binary)


def _check_states(unit: Unit, states: Any, first_row: int) -> None:
    """Raise ValueError unless rows are states; those that are bits are."""
    at = unit.first_outside(states) if isinstance(states, np.ndarray) else None
    if at is not None:
        raise ValueError(
            f"X must hold {unit.domain} for {unit.spec!r} visible units to have a pseudo-likelihood, got "
            f"{states[at]:g} in row {first_row + at[0]}, column {at[1]}"
        )


class Scoring(BaseRBM):
    """What an estimator says about rows."""

    def free_energy(self, X: Any) -> NDArray[np.float64]:
        """Compute the free energy of rows under `model_`, F(v) = -log sum_h exp(-E(v, h)).

        It is a formula of v, so any finite values are allowed. Missing entries (`SoftmaxRBM`) are left out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        data = self._data(X, check_range=False)
        view, backend = self._view(), self._backend()
        base = get_unit(view.units[0]).base
        parts = [
            on_host(backend.free_energy(view.units[1], states, view.parameters))
            - (base(states) if isinstance(states, np.ndarray) else 0.0)
            for _, states in data.slices()
        ]
        return np.concatenate(parts) + view.constant

    def score_samples(self, X: Any, normalize: bool = False) -> NDArray[np.float64]:
        """Compute the pseudo-likelihood of rows, the sum over features of log p(v_i | all other v).

        It needs no partition sum and has no noise. For binary features scikit-learn flips one at random and multiplies
        by their number; this is the mean over all flips, on the same scale. The other values of a group of one-hot
        units (a column of `SoftmaxRBM`) are the other categories, those of binomial units all whole numbers to n. For
        real-valued units p is a density, of v in the scale of the data (for `GaussianRBM` with any `sigma`), so scores
        may be positive. Features of one model may be of several types (`fastrbm.units.Mixed`). Missing entries
        (`SoftmaxRBM`) are left out of both the sum and the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            For binary features any finite values; the formula is meant for 0 and 1 (a flip sets v_i to 1 - v_i). For
            others states of the visible units.
        normalize : bool, default=False
            Divide by the number of features; by that of the entries that are there where some are missing.

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        Raises
        ------
        ValueError
            For rows that are no states of units other than binary ones. For real-valued features beside real-valued
            hidden units to which the squares of a feature's weights add up to 1 or more: it has no density then.

        Notes
        -----
        A value of a feature costs as much as a free energy, bits less. Densities of real-valued features are integrals
        over some 20 to 60 values of each one, in NumPy: a row of `GaussianRBM` with 784 features and 64 hidden units
        takes about 2 ms, other pairs up to ten times as long; Gaussian features beside Gaussian hidden units or one
        group of one-hot ones have closed forms.
        """
        binary = _is_binary(self)
        data = self._data(X, check_range=not binary)
        view, backend = self._view(), self._backend()
        unit = get_unit(view.units[0])
        scores, counts = [], []
        for rows, states in data.slices():
            if not (binary or data.missing):
                _check_states(unit, states, rows.start)
            scores.append(on_host(backend.pseudo_likelihood(view.units[1], states, view.parameters, unit.spec)))
            counts.append(np.broadcast_to(self._n_entries(states, unit), len(scores[-1])))
        score = np.concatenate(scores) - self._log_volume()
        return score / np.maximum(np.concatenate(counts), 1) if normalize else score

    def _n_entries(self, states: States, unit: Unit) -> Any:
        """How many features of each row a pseudo-likelihood is the sum over."""
        return unit.n_variables(states.shape[1])

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Compute the mean score of rows, which a grid search maximises.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None
            Not negative; the mean is weighted.

        Returns
        -------
        float
            By the option `scoring`: the mean of `score_samples`, or of `log_likelihood`, which needs a log Z that can
            be found.
        """
        self._check_options()
        if self.scoring == "log_likelihood" or (self.scoring == "auto" and not _is_binary(self)):
            scores = self.log_likelihood(X)
        else:
            scores = self.score_samples(X)
        if sample_weight is None:
            return float(scores.mean())
        weights = _check_sample_weight(sample_weight, scores, dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight must have values above 0")
        return float(np.average(scores, weights=weights / weights.max()))

    def log_partition(self, method: str = "auto", **options: Any) -> likelihood.LogPartition:
        """Find the log partition sum of the model; see `fastrbm.likelihood.log_partition`.

        Parameters
        ----------
        method : str, default="auto"
            One of those of `fastrbm.likelihood.log_partition`.
        **options
            Of `fastrbm.likelihood.log_partition`; the seed is by default that of the fit, so that repeated calls agree.
            ``data`` are rows in the form `fit` takes.
            With "trajectory" the models of a `fastrbm.callbacks.CheckpointTrajectory` among the estimator's callbacks
            are the `trajectory` by default.

        Returns
        -------
        LogPartition
        """
        if options.get("data") is not None:
            options["data"] = some_rows(self._data(options["data"]).states("leave data out"))
        return self._find_log_partition(method, options)

    def _find_log_partition(self, method: str, options: dict[str, Any]) -> likelihood.LogPartition:
        """`log_partition` with data that are states."""
        model = self.model_
        if method == "trajectory" and options.get("trajectory") is None:
            kept = [one for one in as_list(self.callbacks) if isinstance(one, CheckpointTrajectory) and one.models_]
            options["trajectory"] = kept[0].models_ if kept else None
        options.setdefault("random_state", self._state.key if hasattr(self, "_state") else self.random_state)
        options.setdefault("n_threads", self.n_threads)
        options.setdefault("device", self.device)
        return likelihood.log_partition(model, method, **options)

    def log_likelihood(self, X: Any, method: str = "auto", *, log_z: Any = None, **options: Any) -> NDArray[np.float64]:
        """Compute the log probability of rows in nats, log p(v) = -F(v) - log Z.

        For real-valued units it is a density, of v in the scale of the data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            States of the visible layer: zeros and ones (or images of 0 and 255) for Bernoulli units, no NaN.
        method : str, default="auto"
            How log Z is found, one of those of `fastrbm.likelihood.log_partition`; rows of X show whether chains have
            missed states.
        log_z : float, LogPartition or None
            Known log Z, in place of finding it.
        **options
            Of `fastrbm.likelihood.log_partition`.

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        Raises
        ------
        ValueError
            For rows with other values: the model has no probability for them.

        Warns
        -----
        ConvergenceWarning
            Where log Z is not reliable.
        """
        rows = self._data(X).states("take the pseudo-likelihood, score_samples of a single machine")
        if log_z is None:
            if options.get("data") is not None:
                log_z = self.log_partition(method, **options)
            else:
                log_z = self._find_log_partition(method, options | {"data": some_rows(rows)})
        elif options or method != "auto":
            raise ValueError("log_z is given, so method and options of log_partition are not used: leave one of them")
        return likelihood.log_likelihood(self.model_, rows, log_z) - self._log_volume()
