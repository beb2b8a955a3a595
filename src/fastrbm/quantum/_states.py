"""Rows of spins, as they are given and as kernels take them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_spins(states: ArrayLike, n_sites: int) -> NDArray[np.int8]:
    """Rows of -1 and +1 as int8; ValueError unless they are."""
    given = np.asarray(states)
    if given.dtype == np.int8 and given.ndim == 2 and given.shape[1] == n_sites:
        spins = np.ascontiguousarray(given)
    else:
        if given.ndim == 1:
            given = given[None]
        if given.ndim != 2 or given.shape[1] != n_sites:
            raise ValueError(f"states must have shape (n_states, {n_sites}), got {np.shape(states)}")
        if given.dtype == bool or not np.issubdtype(given.dtype, np.number):
            raise ValueError(f"states must be spins of -1 and +1, got values of type {given.dtype}: use 2 * bits - 1")
        spins = np.where(given == 1, 1, np.where(given == -1, -1, 0)).astype(np.int8)
    if spins.size and not (np.abs(spins) == 1).all():
        raise ValueError("states must be spins of -1 and +1, got others: bits are made spins by 2 * bits - 1")
    return spins


def random_states(magnetisation: int | None, uniforms: NDArray[np.float64]) -> NDArray[np.int8]:
    """Spins at random, of a magnetisation if one is given, made of uniforms of shape (n_chains, n_sites)."""
    if magnetisation is None:
        return np.where(uniforms < 0.5, -1, 1).astype(np.int8)
    n_up = (uniforms.shape[1] + magnetisation) // 2
    ranks = uniforms.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.where(ranks < n_up, 1, -1).astype(np.int8)
