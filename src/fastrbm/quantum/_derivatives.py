"""Derivatives of log psi over states, and what stochastic reconfiguration makes of them.

With p the weights of the states, O the derivatives and X = sqrt(p) (O - mean of O), the quantum geometric tensor is
S = X^H X and the force F = X^H e, e = sqrt(p) (local energy - mean). The natural gradient solves (S + shift) x = F.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.fft import irfft, rfft
from scipy.sparse.linalg import LinearOperator, cg

SOLVERS = ("auto", "direct", "cg")
#: "auto" solves systems directly to this size
MOST_DIRECT = 2500


def log_derivatives(spins: NDArray[Any], tanh_theta: NDArray[Any], symmetric: bool, biases: bool) -> NDArray[Any]:
    """Derivatives of log psi by visible biases, hidden biases and weights, shape (n_states, n_parameters)."""
    n_states, n_sites = spins.shape
    fields, inputs = spins, tanh_theta
    if symmetric:
        filters = tanh_theta.reshape(n_states, -1, n_sites)
        weights = _correlations(filters, spins)
        fields, inputs = spins.sum(axis=1, keepdims=True, dtype=np.float64), filters.sum(axis=2)
    else:
        weights = tanh_theta[:, :, None] * spins[:, None, :]
    weights = weights.reshape(n_states, -1)
    return np.concatenate([fields, inputs, weights], axis=1) if biases else weights


def _correlations(filters: NDArray[Any], spins: NDArray[Any]) -> NDArray[Any]:
    """Sum over t of filters[..., t] spins[..., t + d], on a ring."""
    if np.iscomplexobj(filters):
        return _correlations(filters.real, spins) + 1j * _correlations(filters.imag, spins)
    n = spins.shape[1]
    return irfft(rfft(filters).conj() * rfft(spins.astype(np.float64))[:, None], n)


class Tangent:
    """X of a batch of states: see the module."""

    def __init__(
        self,
        spins: NDArray[np.int8],
        tanh_theta: NDArray[Any],
        weights: NDArray[np.float64],
        *,
        symmetric: bool,
        biases: bool,
    ):
        self._spins, self._tanh, self._biases = spins.astype(np.float64), tanh_theta, biases
        self._root = np.sqrt(weights)
        self._raw = log_derivatives(spins, tanh_theta, True, biases) if symmetric else None
        self.n_states = len(spins)
        self._mean = self._raw_adjoint(weights).conj()
        self.n_parameters = len(self._mean)

    def apply(self, vector: NDArray[Any]) -> NDArray[Any]:
        """X v."""
        return self._root * (self._raw_apply(vector) - self._mean @ vector)

    def adjoint(self, vector: NDArray[Any]) -> NDArray[Any]:
        """X^H u."""
        scaled = self._root * vector
        return self._raw_adjoint(scaled) - self._mean.conj() * scaled.sum()

    def dense(self) -> NDArray[Any]:
        """X, shape (n_states, n_parameters)."""
        raw = self._raw
        if raw is None:
            raw = log_derivatives(self._spins, self._tanh, False, self._biases)
        return self._root[:, None] * (raw - self._mean)

    def gram(self) -> NDArray[Any]:
        """X X^H, shape (n_states, n_states); products of outer products are products of products."""
        if self._raw is not None:
            x = self.dense()
            return x @ x.conj().T
        of_spins, of_tanh = self._spins @ self._spins.T, self._tanh @ self._tanh.conj().T
        gram = of_spins * of_tanh
        if self._biases:
            gram += of_spins + of_tanh
        with_mean = self._raw_apply(self._mean.conj())
        gram -= with_mean[:, None] + with_mean.conj() - np.vdot(self._mean, self._mean).real
        return self._root[:, None] * gram * self._root

    def _raw_apply(self, vector: NDArray[Any]) -> NDArray[Any]:
        if self._raw is not None:
            return self._raw @ vector
        n_sites, n_hidden = self._spins.shape[1], self._tanh.shape[1]
        fields, biases, weights = np.split(vector, [n_sites, n_sites + n_hidden] if self._biases else [0, 0])
        inputs = self._spins @ weights.reshape(n_hidden, n_sites).T
        if not self._biases:
            return (inputs * self._tanh).sum(axis=1)
        return self._spins @ fields + ((inputs + biases) * self._tanh).sum(axis=1)

    def _raw_adjoint(self, vector: NDArray[Any]) -> NDArray[Any]:
        if self._raw is not None:
            return (vector @ self._raw.conj()) if np.iscomplexobj(self._raw) else vector @ self._raw
        scaled = self._tanh.conj() * vector[:, None]
        weights = scaled.T @ self._spins
        if not self._biases:
            return weights.ravel()
        return np.concatenate([vector @ self._spins, scaled.sum(axis=0), weights.ravel()])


def natural_gradient(
    tangent: Tangent, errors: NDArray[Any], shift: float, solver: str, start: NDArray[Any] | None
) -> NDArray[Any]:
    """Solve (X^H X + shift) x = X^H errors.

    Directly as it stands or, with fewer states than parameters, as x = X^H (X X^H + shift)^-1 errors; or by conjugate
    gradients from `start`, for which X^H X is never formed.
    """
    smaller = min(tangent.n_states, tangent.n_parameters)
    if solver == "cg" or (solver == "auto" and smaller > MOST_DIRECT):
        force = tangent.adjoint(errors)
        operator = LinearOperator(
            (tangent.n_parameters, tangent.n_parameters),
            matvec=lambda v: tangent.adjoint(tangent.apply(v)) + shift * v,
            dtype=force.dtype,
        )
        found, _ = cg(operator, force, x0=start, rtol=1e-8, maxiter=500)
        return found
    if tangent.n_parameters <= tangent.n_states:
        x = tangent.dense()
        tensor = x.conj().T @ x
        tensor[np.diag_indices_from(tensor)] += shift
        return linalg.solve(tensor, x.conj().T @ errors, assume_a="pos", check_finite=False)
    gram = tangent.gram()
    gram[np.diag_indices_from(gram)] += shift
    return tangent.adjoint(linalg.solve(gram, errors, assume_a="pos", check_finite=False))
