"""Lean Contrastive Divergence on the device: free chains with less than whole products, and the same states.

`lowbit`, `delta` and `bounds` have the kernels. What they do and spare is counted as on the CPU (`fastrbm.count_work`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import n_words
from ..draws import Draw
from ..strategies import note_counters
from .kernels.delta import delta_signature, integers_kernel, make_delta_kernel
from .kernels.landmarks import SLOTS, bounded_signature, make_bounded_kernel, norms_kernel
from .kernels.lowbit import LIMBS, coarse_kernel, low_signature, make_low_kernel, sizes_kernel
from .launching import Kernels, address, choose_tile, launch_strided, most_tiles, nothing
from .memory import DeviceBits, download, empty, flat, zeros
from .quantise import FixedWeights

LOWBIT = Kernels(make_low_kernel, low_signature)
DELTA = Kernels(make_delta_kernel, delta_signature)
BOUNDED = Kernels(make_bounded_kernel, bounded_signature)

#: strategies that are here
LEAN = ("delta", "bounds", "lcd", "lowbit")


def run_lean(
    strategy: str, hidden: DeviceBits, fixed: FixedWeights, biases: tuple[Any, Any], draw: Draw, n_sweeps: int
) -> tuple[DeviceBits, DeviceBits]:
    """See `Backend.run_chains`; at least one chain and one sweep, biases of (visible, hidden) units on the device."""
    n, n_hidden, n_visible = len(hidden), fixed.n_hidden, fixed.n_visible
    tile = choose_tile(n, max(n_hidden, n_visible))
    tiles = most_tiles(tile, n, n_hidden, n_visible)
    seed_low, seed_high, _, _, chain0 = address(draw)
    counters = zeros(2, np.int64)
    model = fixed.to_hidden, fixed.to_visible
    common = biases[1], biases[0], fixed.unit, seed_low, seed_high, draw.step, chain0, n_sweeps, nothing(np.uint32)
    if strategy == "lowbit":
        drawn, visible = _copy(hidden.words), zeros((n, 2 * n_words(n_visible)), np.uint32)
        LOWBIT.launch_cooperative(
            tile, tiles, flat(drawn), flat(visible), n, nothing(np.int64, 0), *model, *coarse_weights(fixed),
            *common, counters,
        )  # fmt: skip
        _note_lowbit(n, n_hidden, n_visible, n_sweeps, download(counters))
        return DeviceBits(visible, n_visible), DeviceBits(drawn, n_hidden)
    halves = [zeros((2 * n, 2 * n_words(size)), np.uint32) for size in (n_hidden, n_visible)]
    sums = [empty(n * size, np.int32) for size in (n_hidden, n_visible)]
    integers = [empty(n_hidden * n_visible, np.int32) for _ in range(2)]
    of_weights = fixed.flat, n_hidden, n_visible, fixed.unit
    launch_strided(integers_kernel, n_hidden * n_visible, *of_weights, *integers)
    if strategy in ("bounds", "lcd"):
        norms = [zeros(n_visible + n_hidden, kind) for kind in (np.int64, np.int32)]
        launch_strided(norms_kernel, n_hidden * n_visible, *of_weights, *norms)
        drawn, visible = _copy(hidden.words), zeros((n, 2 * n_words(n_visible)), np.uint32)
        counters = zeros(4, np.int64)
        BOUNDED.launch_cooperative(
            tile, tiles, flat(drawn), flat(visible), n, nothing(np.int64, 0), *model, *integers, *common, *norms,
            *map(flat, halves), sums[1], sums[0], strategy == "lcd", counters, zeros(2 * SLOTS, np.int64),
        )  # fmt: skip
        _note_bounded(n, n_hidden, n_visible, n_sweeps, download(counters))
        return DeviceBits(visible, n_visible), DeviceBits(drawn, n_hidden)
    halves[0][:n].copy_to_device(hidden.words)
    DELTA.launch_cooperative(
        tile, tiles, *map(flat, halves), n, nothing(np.int64, 0), *model, *integers, *common, *sums, counters
    )  # fmt: skip
    _note_delta(n, n_hidden, n_visible, n_sweeps, download(counters))
    # the last of each are in the first half after an even number of changes
    of_visible, of_hidden = (k % 2 * n for k in (n_sweeps - 1, n_sweeps))
    return (
        DeviceBits(_copy(halves[1][of_visible : of_visible + n]), n_visible),
        DeviceBits(_copy(halves[0][of_hidden : of_hidden + n]), n_hidden),
    )  # fmt: skip


def _copy(words: Any) -> Any:
    """The caller's rows stay as they are, and rows that are not wanted need not be kept."""
    copy = empty(words.shape, np.uint32)
    copy.copy_to_device(words)
    return copy


def coarse_weights(fixed: FixedWeights) -> list[Any]:
    """16 bits of the weights for both directions, and their shifts."""
    n_hidden, n_visible = fixed.n_hidden, fixed.n_visible
    model = fixed.flat, n_hidden, n_visible, fixed.unit
    sizes = zeros(n_visible + n_hidden, np.int32)
    half = [empty(fragments.size * LIMBS // 4, np.uint64) for fragments in (fixed.to_hidden, fixed.to_visible)]
    shifts = [empty(n, np.int32) for n in (n_hidden, n_visible)]
    launch_strided(sizes_kernel, fixed.flat.size, *model, sizes)
    launch_strided(coarse_kernel, fixed.flat.size // 8 + 1, *model, sizes, *half, *shifts)
    return half + shifts


def _work(n: int, n_hidden: int, n_visible: int, n_sweeps: int) -> dict[str, int]:
    return {
        "decisions": n_sweeps * n * (n_visible + n_hidden),
        "dense_products": 2 * n_sweeps * n * n_visible * n_hidden,
    }  # fmt: skip


def _note_lowbit(n: int, n_hidden: int, n_visible: int, n_sweeps: int, counters: NDArray[np.int64]) -> None:
    work, of_visible, of_hidden = _work(n, n_hidden, n_visible, n_sweeps), int(counters[0]), int(counters[1])
    work["recomputed"] = of_visible + of_hidden
    work["filtered"] = work["decisions"] - work["recomputed"]
    work["products"] = of_visible * n_hidden + of_hidden * n_visible
    note_counters(work)


def _note_delta(n: int, n_hidden: int, n_visible: int, n_sweeps: int, counters: NDArray[np.int64]) -> None:
    work = _work(n, n_hidden, n_visible, n_sweeps)
    work["products"], work["refreshes"] = int(counters[0]), int(counters[1])
    note_counters(work)


def _note_bounded(n: int, n_hidden: int, n_visible: int, n_sweeps: int, counters: NDArray[np.int64]) -> None:
    work = _work(n, n_hidden, n_visible, n_sweeps)
    for name, count in zip(("products", "refreshes", "recomputed", "filtered"), counters, strict=True):
        work[name] = int(count)
    note_counters(work)
