"""The kernel calls whose instructions are counted: ``python -m benchmarks.hot KERNEL REPETITIONS``.

A program of its own that imports no more than the kernels: all of it runs some fifty times as slowly as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from fastrbm._kernels import ChainState, PackedBits, Parameters, TrainingPlan, pack
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.draws import Draw

N_VISIBLE, N_HIDDEN = 784, 256
_UNITS = ("bernoulli", "bernoulli")


def _parameters() -> Parameters:
    rng = np.random.default_rng(0)
    return Parameters(
        rng.normal(0, 0.05, (N_HIDDEN, N_VISIBLE)).astype(np.float32),
        rng.normal(-1, 0.5, N_VISIBLE).astype(np.float32),
        rng.normal(-1, 0.5, N_HIDDEN).astype(np.float32),
    )


def _bits(n: int, n_units: int) -> PackedBits:
    return pack(np.random.default_rng(1).random((n, n_units)) < 0.3)


def _train(batch: int, n_batches: int) -> Callable[[int], None]:
    """Return a run of minibatches in one call: what the call does once cancels between two lengths."""

    def run(repetitions: int) -> None:
        n = batch * n_batches * repetitions
        plan = TrainingPlan(7, batch, True, 1, 0.01, 0.0, False)
        state = ChainState(0, _bits(batch, N_HIDDEN))
        order = np.arange(n, dtype=np.int64)
        CpuBackend(1).train(_parameters(), (), _bits(n, N_VISIBLE), order, plan, _UNITS, state)

    return run


def _chains(strategy: str) -> Callable[[int], None]:
    def run(repetitions: int) -> None:
        start = _bits(64, N_HIDDEN)
        CpuBackend(1, strategy).run_chains(start, _parameters(), _UNITS, Draw(3, 0, 0), 4 * repetitions)

    return run


def _means(repetitions: int) -> None:
    parameters, rows = _parameters(), _bits(256, N_VISIBLE)
    for _ in range(repetitions):
        CpuBackend(1).means("bernoulli", rows, parameters.weights, parameters.hidden_bias)


def _pseudo_likelihood(repetitions: int) -> None:
    parameters, rows = _parameters(), _bits(16, N_VISIBLE)
    for _ in range(repetitions):
        CpuBackend(1).pseudo_likelihood("bernoulli", rows, parameters)


#: Name -> the kernel, called with the number of repetitions. Another size of the work is another name.
KERNELS: dict[str, Callable[[int], None]] = {
    "train-b256": _train(256, 1),
    "train-b10-8": _train(10, 8),
    "chains-64-4-dense": _chains("dense"),
    "chains-64-4-delta": _chains("delta"),
    "chains-64-4-lowbit": _chains("lowbit"),
    "means-256": _means,
    "pseudo-likelihood-16": _pseudo_likelihood,
}

if __name__ == "__main__":
    KERNELS[sys.argv[1]](int(sys.argv[2]))
