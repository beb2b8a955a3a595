"""How free chains are drawn: by whole products, or with less work that gives the same states.

`kernels/chains`, `lowbit`, `delta` and `landmarks` have the kernels. What the strategies do and spare is counted as on
the CPU (`fastrbm.count_work`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..bits import n_words
from ..draws import Draw
from ..strategies import note_counters
from .kernels.arguments import Chains, Coarse, Draws, Flips, Landmark, Model, Norms
from .kernels.chains import make_chains_kernel
from .kernels.delta import integers_kernel, make_delta_kernel
from .kernels.landmarks import SLOTS, make_landmark_kernel, norms_kernel
from .kernels.lowbit import LIMBS, coarse_kernel, make_low_kernel, sizes_kernel
from .kernels.tiles import Tile
from .launching import Kernels, choose_tile, draws_from, launch_strided, most_tiles, nothing
from .memory import DeviceBits, download, empty, flat, zeros
from .quantise import QuantisedWeights

CHAINS = Kernels(make_chains_kernel)
LOWBIT = Kernels(make_low_kernel)
DELTA = Kernels(make_delta_kernel)
LANDMARKS = Kernels(make_landmark_kernel)


class _Sweeps(NamedTuple):
    """What all strategies are given."""

    hidden: DeviceBits
    weights: QuantisedWeights
    model: Model
    draws: Draws
    n_sweeps: int
    tile: Tile
    tiles: int


def run_sweeps(
    strategy: str, hidden: DeviceBits, weights: QuantisedWeights, biases: tuple[Any, Any], draw: Draw, n_sweeps: int
) -> tuple[DeviceBits, DeviceBits]:
    """See `Backend.run_chains`; at least one chain, biases of (visible, hidden) neurons on the device."""
    n, n_hidden, n_visible = len(hidden), weights.n_hidden, weights.n_visible
    tile = choose_tile(n, max(n_hidden, n_visible))
    sweeps = _Sweeps(
        hidden, weights, weights.model(biases[1], biases[0]), draws_from(draw), n_sweeps, tile,
        most_tiles(tile, n, n_hidden, n_visible),
    )  # fmt: skip
    return _RUNS.get(strategy, _run_dense)(sweeps) if n_sweeps else _run_dense(sweeps)


def _chains(sweeps: _Sweeps) -> tuple[Chains, tuple[DeviceBits, DeviceBits]]:
    """States that kernels change in place, and the same as (visible, hidden) layers: the caller's stay as they are."""
    n, n_visible = len(sweeps.hidden), sweeps.weights.n_visible
    visible = DeviceBits(zeros((n, 2 * n_words(n_visible)), np.uint32), n_visible)
    hidden = DeviceBits(_copy(sweeps.hidden.words), sweeps.hidden.n_units)
    return Chains(flat(hidden.words), flat(visible.words), nothing(np.int64, 0), n), (visible, hidden)


def _run_dense(sweeps: _Sweeps) -> tuple[DeviceBits, DeviceBits]:
    """Whole products."""
    chains, drawn = _chains(sweeps)
    CHAINS.launch_cooperative(
        sweeps.weights.tile(sweeps.tile), sweeps.tiles, chains, sweeps.model, sweeps.draws, sweeps.n_sweeps
    )
    return drawn


def _run_lowbit(sweeps: _Sweeps) -> tuple[DeviceBits, DeviceBits]:
    chains, drawn = _chains(sweeps)
    counters = zeros(2, np.int64)
    LOWBIT.launch_cooperative(
        sweeps.tile, sweeps.tiles, chains, sweeps.model, *coarse_weights(sweeps.weights), sweeps.draws,
        sweeps.n_sweeps, counters,
    )  # fmt: skip
    work, n_hidden, n_visible = _work(sweeps), sweeps.weights.n_hidden, sweeps.weights.n_visible
    of_visible, of_hidden = (int(x) for x in download(counters))
    work["recomputed"] = of_visible + of_hidden
    work["filtered"] = work["decisions"] - work["recomputed"]
    work["products"] = of_visible * n_hidden + of_hidden * n_visible
    note_counters(work)
    return drawn


def _run_landmarks(sweeps: _Sweeps, walks: bool) -> tuple[DeviceBits, DeviceBits]:
    """By the distance from a landmark, which whole products renew, or flips if it `walks`."""
    chains, drawn = _chains(sweeps)
    weights, counters = sweeps.weights, zeros(4, np.int64)
    norms = Norms(*(zeros(weights.n_visible + weights.n_hidden, kind) for kind in (np.int64, np.int32)))
    launch_strided(norms_kernel, weights.flat.size, weights.arguments, norms)
    of_hidden, of_visible = (
        Landmark(flat(halves), integers, sums)
        for halves, (integers, sums) in zip(reversed(_halves(sweeps)), _flips(sweeps), strict=True)
    )
    LANDMARKS.launch_cooperative(
        sweeps.tile, sweeps.tiles, chains, sweeps.model, sweeps.draws, sweeps.n_sweeps, norms, of_hidden, of_visible,
        walks, counters, zeros(2 * SLOTS, np.int64),
    )  # fmt: skip
    work = _work(sweeps)
    for name, count in zip(("products", "refreshes", "recomputed", "filtered"), download(counters), strict=True):
        work[name] = int(count)
    note_counters(work)
    return drawn


def _run_delta(sweeps: _Sweeps) -> tuple[DeviceBits, DeviceBits]:
    n, n_sweeps, counters = len(sweeps.hidden), sweeps.n_sweeps, zeros(2, np.int64)
    hidden, visible = _halves(sweeps)
    hidden[:n].copy_to_device(sweeps.hidden.words)
    DELTA.launch_cooperative(
        sweeps.tile, sweeps.tiles, Chains(flat(hidden), flat(visible), nothing(np.int64, 0), n), sweeps.model,
        *_flips(sweeps), sweeps.draws, n_sweeps, counters,
    )  # fmt: skip
    work = _work(sweeps)
    work["products"], work["refreshes"] = (int(x) for x in download(counters))
    note_counters(work)
    # the last of each are in the first half after an even number of changes
    of_visible, of_hidden = (k % 2 * n for k in (n_sweeps - 1, n_sweeps))
    return (
        DeviceBits(_copy(visible[of_visible : of_visible + n]), sweeps.weights.n_visible),
        DeviceBits(_copy(hidden[of_hidden : of_hidden + n]), sweeps.weights.n_hidden),
    )


_RUNS: dict[str, Callable[[_Sweeps], tuple[DeviceBits, DeviceBits]]] = {
    "dense": _run_dense,
    "delta": _run_delta,
    "bounds": partial(_run_landmarks, walks=False),
    "lcd": partial(_run_landmarks, walks=True),
    "lowbit": _run_lowbit,
}
#: strategies that are here
STRATEGIES = tuple(_RUNS)


def _halves(sweeps: _Sweeps) -> tuple[Any, Any]:
    """Room for two states of each chain: of the hidden and of the visible layer."""
    n, sizes = len(sweeps.hidden), (sweeps.weights.n_hidden, sweeps.weights.n_visible)
    hidden, visible = (zeros((2 * n, 2 * n_words(size)), np.uint32) for size in sizes)
    return hidden, visible


def _flips(sweeps: _Sweeps) -> tuple[Flips, Flips]:
    """Weights of single inputs, and room for the sums, of the hidden and of the visible layer."""
    n, weights = len(sweeps.hidden), sweeps.weights
    by_visible, by_hidden = (empty(weights.flat.size, np.int32) for _ in range(2))
    launch_strided(integers_kernel, weights.flat.size, weights.arguments, by_visible, by_hidden)
    sums = [empty(n * size, np.int32) for size in (weights.n_hidden, weights.n_visible)]
    return Flips(by_visible, sums[0]), Flips(by_hidden, sums[1])


def _copy(words: Any) -> Any:
    """The caller's rows stay as they are, and rows that are not wanted need not be kept."""
    copy = empty(words.shape, np.uint32)
    copy.copy_to_device(words)
    return copy


def coarse_weights(weights: QuantisedWeights) -> tuple[Coarse, Coarse]:
    """16 bits of the weights into the hidden and into the visible layer."""
    n_hidden, n_visible = weights.n_hidden, weights.n_visible
    sizes = zeros(n_visible + n_hidden, np.int32)
    to_hidden, to_visible = (
        Coarse(empty(fragments.size * LIMBS // 4, np.uint64), empty(n, np.int32))
        for fragments, n in ((weights.to_hidden, n_hidden), (weights.to_visible, n_visible))
    )
    launch_strided(sizes_kernel, weights.flat.size, weights.arguments, sizes)
    launch_strided(coarse_kernel, weights.flat.size // 8 + 1, weights.arguments, sizes, to_hidden, to_visible)
    return to_hidden, to_visible


def _work(sweeps: _Sweeps) -> dict[str, int]:
    n, n_hidden, n_visible = len(sweeps.hidden), sweeps.weights.n_hidden, sweeps.weights.n_visible
    return {
        "decisions": sweeps.n_sweeps * n * (n_visible + n_hidden),
        "dense_products": 2 * sweeps.n_sweeps * n * n_visible * n_hidden,
    }
