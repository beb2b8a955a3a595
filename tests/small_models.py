"""A model whose states can be listed, and how far samples are from its distribution."""

import itertools

import numpy as np

from fastrbm import Model


def small_model(dtype):
    rng = np.random.default_rng(4)
    return Model(
        rng.normal(0, 0.9, (5, 6)).astype(dtype),
        rng.normal(0, 0.5, 6).astype(dtype),
        rng.normal(0, 0.5, 5).astype(dtype),
    )


def exact_joint(model):
    """Joint states (v, h) and their probabilities."""
    v = np.array(list(itertools.product([0, 1], repeat=6)))
    h = np.array(list(itertools.product([0, 1], repeat=5)))
    pairs = [(i, j) for i in range(len(v)) for j in range(len(h))]
    vs, hs = v[[i for i, _ in pairs]], h[[j for _, j in pairs]]
    weight = np.exp(-model.energy(vs, hs))
    return vs, hs, weight / weight.sum()


def total_variation(visible, hidden, p):
    code = visible.dense(int) @ (1 << np.arange(5, -1, -1)) * 32 + hidden.dense(int) @ (1 << np.arange(4, -1, -1))
    frequency = np.bincount(code, minlength=len(p)) / len(code)
    return 0.5 * np.abs(frequency - p).sum()


def expected_variation(p, n):
    """Mean and standard error of the total variation of n independent draws from p (normal approximation)."""
    spread = np.sqrt(p * (1 - p) / n)
    return 0.5 * np.sqrt(2 / np.pi) * spread.sum(), 0.5 * np.sqrt((1 - 2 / np.pi) * (spread**2).sum())
