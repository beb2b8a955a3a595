"""Wave functions of spins, in NumPy: psi = exp(a.s) prod_j 2 cosh(theta_j), theta = b + W s, spins s of -1 and +1.

A *move* turns one spin, or two of which one is `relation` times the other; theta changes by -2 sigma D, sigma the first
of the spins. With p = e^theta / (2 cosh theta) and q = 1 - p

    cosh(theta - 2 sigma D) / cosh(theta) = p exp(-2 sigma D) + q exp(2 sigma D),

whose terms are the new p and q but for their sum: no exponential is taken for a move. The wave function is that of
Carleo, Troyer, "Solving the quantum many-body problem with artificial neural networks", Science 355 (2017). The
definition that native kernels are compared with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .draws import Draw, words

#: largest exponent of a ratio
MOST = 700.0


class Evaluation(NamedTuple):
    """What `SpinWave.evaluate` finds; numbers are complex where the parameters are.

    Attributes
    ----------
    log_psi : ndarray, shape (n_states,)
        Its imaginary part is known modulo 2 pi.
    tanh_theta : ndarray, shape (n_states, n_hidden)
    ratios : ndarray, shape (n_states, n_moves), or None
        psi after each move over psi; 0 where the spins do not stand as the move wants them.
    """

    log_psi: NDArray[Any]
    tanh_theta: NDArray[Any]
    ratios: NDArray[Any] | None


class SpinWave:
    """A wave function and moves of its spins.

    Parameters
    ----------
    weights : ndarray of float64 or complex128, shape (n_hidden, n_sites)
    visible_bias : ndarray, shape (n_sites,)
    hidden_bias : ndarray, shape (n_hidden,)
    moves : ndarray of int32, shape (n_moves, 3)
        A site; a second one, or -1; the spin there in terms of the first, -1 or +1, for the move to be there.

    Raises
    ------
    FloatingPointError
        Where parameters are not finite, or so large that a ratio may not be a float64.
    """

    def __init__(
        self, weights: NDArray[Any], visible_bias: NDArray[Any], hidden_bias: NDArray[Any], moves: NDArray[np.int32]
    ):
        if not all(np.isfinite(part).all() for part in (weights, visible_bias, hidden_bias)):
            raise FloatingPointError("the parameters of the wave function are not finite")
        self._weights, self._visible_bias, self._hidden_bias = weights, visible_bias, hidden_bias
        self._moves = moves
        first, second = moves[:, 0], moves[:, 1]
        relation = np.where(second >= 0, moves[:, 2], 0)
        steps = weights.T[first] + relation[:, None] * weights.T[second]
        fields = visible_bias[first] + relation * visible_bias[second]
        exponents = 2 * np.abs(fields.real) + 2 * np.abs(steps.real).sum(axis=1)
        if not exponents.max() <= MOST:
            raise FloatingPointError(
                "the ratio of two amplitudes of the wave function may be as large as "
                f"exp({exponents.max():.3g}), more than a float64 holds"
            )
        self._grow, self._shrink = np.exp(2 * steps), np.exp(-2 * steps)
        self._linear = np.exp(2 * np.stack([fields, -fields], axis=1))

    def evaluate(self, states: NDArray[np.int8], *, ratios: bool = True) -> Evaluation:
        """Log psi, tanh theta and, if asked for, ratios of all moves, of states of shape (n_states, n_sites)."""
        theta, p, q = self._activate(states)
        size = np.where(theta.real < 0, -theta, theta)
        log_psi = states @ self._visible_bias + (size + np.log1p(np.exp(-2 * size))).sum(axis=1)
        found = None
        if ratios:
            found = np.empty((len(states), len(self._moves)), p.dtype)
            for move in range(len(self._moves)):
                found[:, move] = self._ratio(p, q, move, self._signs(states, move))[0]
        return Evaluation(log_psi, p - q, found)

    def sweep(self, states: NDArray[np.int8], draw: Draw, n_sweeps: int, *, in_order: bool) -> NDArray[np.uint32]:
        """Sweeps of chains in place, as many moves each as there are; counts the moves that each chain has made.

        Parameters
        ----------
        states : ndarray of int8, shape (n_chains, n_sites)
        draw : Draw
            Sweeps are at its step and those after it.
        n_sweeps : int
        in_order : bool
            Every move once, by heat bath: with probability r / (1 + r), r the ratio of the squares of psi. Otherwise
            moves at random, with probability min(1, r) (Metropolis).
        """
        n_chains, n_moves = len(states), len(self._moves)
        rows, accepted = np.arange(n_chains), np.zeros(n_chains, np.uint32)
        for sweep in range(n_sweeps):
            _, p, q = self._activate(states)
            drawn = words(draw._replace(step=draw.step + sweep), n_chains, 2 * n_moves)
            for step in range(n_moves):
                if in_order:
                    move = np.full(n_chains, step)
                else:
                    move = (drawn[:, 2 * step].astype(np.uint64) * np.uint64(n_moves) >> np.uint64(32)).astype(np.int64)
                u = (drawn[:, 2 * step + 1] + 0.5) * 2.0**-32
                signs = self._signs(states, move)
                ratio, up, down = self._ratio(p, q, move, signs)
                weight = np.square(np.abs(ratio))
                accept = (u < (weight * (1 - u) if in_order else weight)) & (signs != 0)
                for site in (self._moves[move, 0], self._moves[move, 1]):
                    there = accept & (site >= 0)
                    states[rows[there], site[there]] *= -1
                p[accept], q[accept] = (part[accept] / (up + down)[accept] for part in (up, down))
                accepted += accept
        return accepted

    def _activate(self, states: NDArray[np.int8]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return theta, p and q, rows of hidden units."""
        theta = states @ self._weights.T + self._hidden_bias
        minus = theta.real < 0
        low = np.exp(np.where(minus, 2 * theta, -2 * theta))
        low, high = low / (1 + low), 1 / (1 + low)
        return theta, np.where(minus, low, high), np.where(minus, high, low)

    def _signs(self, states: NDArray[np.int8], move: Any) -> NDArray[np.int8]:
        """Sigma of each state for one move, or for a move of each: 0 where it is not there."""
        first, second, relation = np.moveaxis(self._moves[move], -1, 0)
        rows = np.arange(len(states))
        here = states[rows, first]
        return np.where((second < 0) | (states[rows, second] == relation * here), here, np.int8(0))

    def _ratio(
        self, p: NDArray[Any], q: NDArray[Any], move: Any, signs: NDArray[np.int8]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Ratios, 0 where the sign is, and p and q after the move but for their sum."""
        plus = (signs > 0)[:, None]
        grow, shrink = self._grow[move], self._shrink[move]
        up, down = p * np.where(plus, shrink, grow), q * np.where(plus, grow, shrink)
        linear = np.where(plus[:, 0], self._linear[move][..., 1], self._linear[move][..., 0])
        return np.where(signs != 0, linear * (up + down).prod(axis=1), 0), up, down
