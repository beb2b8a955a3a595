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
from fastrbm._kernels.rules import Rule, Update

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


def _labels(repetitions: int) -> None:
    """Minibatches of log p(label | row): a multiple of eight, which take lists of what is on."""
    n_classes, n = 10, 100 * 8 * repetitions
    classes = Parameters(np.zeros((n_classes, N_HIDDEN), np.float32), np.zeros(N_HIDDEN, np.float32),
                         np.zeros(n_classes, np.float32))  # fmt: skip
    order, labels = np.arange(n, dtype=np.int64), (np.arange(n) % n_classes).astype(np.int32)
    update = Update(Rule("sgd"), 0.05)
    CpuBackend(1).train_labels(
        _parameters(), classes, (), _bits(n, N_VISIBLE), order, labels, None, 100, update, ChainState(0, None)
    )


def _wave(repetitions: int) -> None:
    """Sweeps of one-spin moves over 64 chains of 64 sites, of complex weights."""
    rng = np.random.default_rng(2)
    weights = rng.normal(0, 0.1, (64, 64)) + 1j * rng.normal(0, 0.1, (64, 64))
    moves = np.array([[site, -1, 0] for site in range(64)], np.int32)
    wave = CpuBackend(1).wave(weights, np.zeros(64, complex), np.zeros(64, complex), moves)
    spins = np.where(rng.random((64, 64)) < 0.5, -1, 1).astype(np.int8)
    wave.sweep(spins, Draw(3, 0, 0), repetitions, in_order=True)


#: Name -> the kernel, called with the number of repetitions. Another size of the work is another name.
KERNELS: dict[str, Callable[[int], None]] = {
    "train-b256": _train(256, 1),
    "train-b10-8": _train(10, 8),
    "chains-64-4-dense": _chains("dense"),
    "chains-64-4-delta": _chains("delta"),
    "chains-64-4-lowbit": _chains("lowbit"),
    "means-256": _means,
    "pseudo-likelihood-16": _pseudo_likelihood,
    "labels-b100-8": _labels,
    "wave-64-64": _wave,
}

if __name__ == "__main__":
    KERNELS[sys.argv[1]](int(sys.argv[2]))
