"""Wave functions of spins, natively."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..draws import Draw
from ..waves import Evaluation, SpinWave
from .runtime import extension as _cpu
from .runtime import threads_for


class NativeSpinWave(SpinWave):
    """`SpinWave` by the kernels of `src/tiles/wave.h`."""

    def __init__(
        self,
        weights: NDArray[Any],
        visible_bias: NDArray[Any],
        hidden_bias: NDArray[Any],
        moves: NDArray[np.int32],
        n_threads: int | None,
    ):
        super().__init__(weights, visible_bias, hidden_bias, moves)
        self._n_threads = n_threads
        self._native = _cpu.Wave(
            _parts(weights.T, 0.0),
            _parts(hidden_bias, 0.0),
            np.ascontiguousarray(_planes(visible_bias)),
            np.ascontiguousarray(moves),
            _parts(self._grow, 1.0),
            _parts(self._shrink, 1.0),
            np.ascontiguousarray(np.moveaxis(_planes(self._linear), 1, 2)),
            len(hidden_bias),
        )
        self._n_parts = 2 if np.iscomplexobj(weights) else 1

    def evaluate(self, states: NDArray[np.int8], *, ratios: bool = True) -> Evaluation:
        """See `SpinWave.evaluate`."""
        n, n_hidden, parts = len(states), len(self._hidden_bias), self._n_parts
        log_psi = np.empty((n, parts))
        tanh_theta = np.empty((n, parts, n_hidden + -n_hidden % 8))
        found = np.empty((n, len(self._moves), parts)) if ratios else None
        threads = threads_for(self._work(n, ratios), self._n_threads)
        self._native.evaluate(np.ascontiguousarray(states), log_psi, tanh_theta, found, threads)
        means = tanh_theta[:, :, :n_hidden]
        if parts == 1:
            return Evaluation(log_psi[:, 0], means[:, 0], None if found is None else found[:, :, 0])
        complex_means = np.empty((n, n_hidden), np.complex128)
        complex_means.real, complex_means.imag = means[:, 0], means[:, 1]
        joined = None if found is None else found.view(np.complex128)[:, :, 0]
        return Evaluation(log_psi.view(np.complex128)[:, 0], complex_means, joined)

    def sweep(self, states: NDArray[np.int8], draw: Draw, n_sweeps: int, *, in_order: bool) -> NDArray[np.uint32]:
        """See `SpinWave.sweep`."""
        accepted = np.zeros(len(states), np.uint32)
        threads = threads_for(self._work(len(states), True) * n_sweeps, self._n_threads)
        self._native.sweep(states, draw, n_sweeps, in_order, accepted, threads)
        return accepted

    def _work(self, n_states: int, ratios: bool) -> float:
        """Multiply-adds, about."""
        products = 2.0 * len(self._moves) * ratios + self._weights.shape[1]
        return n_states * products * len(self._hidden_bias) * self._n_parts**2


def _planes(x: NDArray[Any]) -> NDArray[np.float64]:
    """Real parts, and imaginary ones, along an axis before the last."""
    return np.stack([x.real, x.imag] if np.iscomplexobj(x) else [x], axis=-2)


def _parts(x: NDArray[Any], padding: float) -> NDArray[np.float64]:
    """The same, rows padded to a multiple of 8 by `padding`, a real number."""
    planes = _planes(x)
    n = x.shape[-1]
    out = np.zeros((*planes.shape[:-1], n + -n % 8))
    out[..., 0, n:] = padding
    out[..., :n] = planes
    return out
