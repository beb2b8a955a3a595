"""Which strategy draws a layer on the CPU (`fastrbm._kernels.strategies` says what they are), made ready for weights.

``"auto"`` takes a strategy where it was measured to be faster (docs/performance).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..strategies import note_counters
from .runtime import current_target, extension, threads_for

LANDMARKS = 64
#: share of active units where it is not known before the run
GUESSED_DENSITY = 0.3
#: chains handled together: the exact sums of that many must stay in cache; look-up tables want more
_CHUNK = {"delta": 128, "lcd": 128, "bounds": 256, "lowbit": 512}


def choose_for_chains(strategy: str, n_chains: int, n_sweeps: int, int16: bool = False) -> str:
    """Choose the strategy of free chains."""
    if strategy != "auto":
        return strategy
    if current_target().startswith("amx"):
        return "dense"  # tiles do whole products faster than look-ups can a part; by their costs, not measured
    if int16 and current_target() == "avx512":
        return "dense"  # whole products of 16 bits leave a filter by 16-bit products nothing to gain
    # what a strategy must know of the weights has to be paid for by enough steps of enough chains
    if current_target() == "avx512":
        return "lowbit" if n_chains >= 64 and n_sweeps >= 8 and n_chains * n_sweeps >= 4096 else "dense"
    return "delta" if n_sweeps >= 8 and n_chains * n_sweeps >= 1024 else "dense"


def choose_for_training(strategy: str, n_sweeps: int) -> str:
    """Strategy of the sweeps inside a minibatch.

    CD-1 and PCD-1 have none that it could serve; the few of larger k do not pay for what a strategy must know of the
    new weights, on any instruction set that was measured.
    """
    return "dense" if strategy == "auto" or n_sweeps == 1 else strategy


def choose_for_rows(strategy: str) -> str:
    """Strategy of states drawn once given rows: those that need an earlier state of a chain have none here."""
    return "dense" if strategy in ("auto", "delta", "lcd") else strategy


def describe(n_visible: int, n_hidden: int, batch_size: int, density: float) -> list[tuple[str, str]]:
    """What would be picked, as (work, choice) pairs, for `fastrbm info --kernels`.

    Parameters
    ----------
    n_visible, n_hidden, batch_size : int
        Sizes of the model and of a minibatch or population of chains.
    density : float
        Share of active units.
    """

    def product(lanes: int, int16: bool = False) -> str:
        costs = extension.costs(lanes, density, int16)
        whole = "tiles" if extension.prefers_tiles(lanes) else "look-ups"
        choice = "rows" if extension.prefers_rows(lanes, density, int16) else whole
        figures = ", ".join(f"{way} {cost:.4f}" for way, cost in costs.items())
        return f"{choice} (cycles per multiply-add: {figures})"

    return [
        ("instruction set", current_target()),
        (f"products of {batch_size} states in a minibatch", product(batch_size)),
        ("the same with precision='fast'", product(batch_size, True)),
        (
            "gradient of hidden means",
            "tiles over samples, 32 visible units at once"
            if extension.prefers_tiles(batch_size)
            else "look-ups over samples, 16 or more visible units at once",
        ),
        ("gradient of sampled hidden states", "AND and popcount over samples"),
        ("grey data", "dense products for the positive phase, those of bits for the negative one"),
        ("sweeps inside a minibatch", choose_for_training("auto", 10)),
        *(
            (f"{batch_size} free chains, {sweeps} steps", choose_for_chains("auto", batch_size, sweeps))
            for sweeps in (1, 100)
        ),
        (f"states drawn once for {batch_size} rows", choose_for_rows("auto")),
        ("threads for a minibatch", str(threads_for(float(batch_size) * n_visible * n_hidden, None))),
    ]


@dataclass(frozen=True)
class ReadyFilters:
    """A strategy made ready for one set of weights."""

    native: Any
    fixed: Any


def landmark_bases(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Orthonormal directions that carry most of W: of visible states, shape (n_visible, k), and of hidden ones."""
    rank = min(LANDMARKS, *weights.shape)
    left, _, right = np.linalg.svd(weights.astype(np.float64), full_matrices=False)
    return (
        np.ascontiguousarray(right[:rank].T, dtype=np.float32),
        np.ascontiguousarray(left[:, :rank], dtype=np.float32),
    )


def make_filters(
    strategy: str, weights: NDArray[np.float32], n_threads: int, n_lanes: int, int16: bool
) -> ReadyFilters | None:
    """Make `strategy` ready; None for "dense"."""
    if strategy == "dense":
        return None
    fixed = extension.quantise_weights(weights, True, n_threads, int16)
    share = -(-n_lanes // n_threads)
    chunk = min(_CHUNK[strategy], max(64, -(-share // 64) * 64))
    native = extension.Filters(strategy, fixed, chunk, landmark_bases(weights) if strategy == "bounds" else None)
    native.prepare()
    return ReadyFilters(native, fixed)


def note_filters(filters: ReadyFilters | None) -> None:
    """Add what a run of `make_filters` did."""
    if filters is not None:
        note_counters(filters.native.counters())
