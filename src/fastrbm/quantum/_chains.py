"""Chains of spin states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels.draws import Key, Stream, uniforms
from .._kernels.waves import SpinWave
from ._states import random_states

RULES = ("heat-bath", "metropolis")


def check_rule(rule: Any) -> None:
    """Raise ValueError unless there is such a rule."""
    if rule not in RULES:
        raise ValueError(f"rule must be one of {list(RULES)}, got {rule!r}")


class Chains:
    """Chains that go on from call to call; every draw has an address, the sweep, the chain and the move."""

    def __init__(self, n_sites: int, n_chains: int, magnetisation: int | None, key: Key, rule: str):
        drawn = uniforms(key.at(0, Stream.START), n_chains, n_sites, np.float64)
        self.states = random_states(magnetisation, drawn)
        self._key, self._in_order = key, rule == "heat-bath"
        self._sweeps = 0
        self.n_accepted = 0

    def sweep(self, kernel: SpinWave, n_sweeps: int) -> None:
        """Go on by some sweeps."""
        draw = self._key.at(self._sweeps, Stream.SPIN_MOVES)
        self.n_accepted += int(kernel.sweep(self.states, draw, n_sweeps, in_order=self._in_order).sum())
        self._sweeps += n_sweeps

    def record(self, kernel: SpinWave, n_samples: int, n_sweeps: int) -> NDArray[np.int8]:
        """States after each `n_sweeps` sweeps, shape (n_chains, n_samples, n_sites)."""
        n_chains, n_sites = self.states.shape
        out = np.empty((n_chains, n_samples, n_sites), np.int8)
        for sample in range(n_samples):
            self.sweep(kernel, n_sweeps)
            out[:, sample] = self.states
        return out
