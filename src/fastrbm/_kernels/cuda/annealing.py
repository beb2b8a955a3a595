"""Annealed importance sampling: what one run of chains over many temperatures is launched with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..bits import n_words
from ..draws import Draw, Stream
from .kernels.annealing import make_annealing_kernel, signature
from .launching import Kernels, address, choose_tile, most_tiles, nothing
from .memory import DeviceBits, download, empty, flat, synchronize, upload, zeros
from .quantise import FixedWeights

ANNEALING = Kernels(make_annealing_kernel, signature)
#: multiply-adds of one launch: some tens of milliseconds, after which signals and callbacks have their turn
_WORK_OF_LAUNCH = 1 << 41
#: and temperatures: those of small models take the time of their barriers
_MOST_OF_LAUNCH = 1 << 12


def anneal(
    states: DeviceBits,
    fixed: FixedWeights,
    biases: Sequence[NDArray[np.float32]],
    bases: Sequence[NDArray[np.float32]],
    sum_hidden: bool,
    betas: NDArray[np.float64],
    draw: Draw,
    log_weights: NDArray[np.float64],
    on_progress: Callable[[int, int], None] | None,
) -> DeviceBits:
    """See `Backend.anneal`; at least one chain and two temperatures, biases and bases of (visible, hidden) units.

    `log_weights` are brought up to date at the end, whether it is one or an exception: the device stops after whole
    temperatures only.
    """
    n, n_steps = len(states), len(betas) - 1
    sizes = (fixed.n_visible, fixed.n_hidden)
    fragments = (fixed.to_visible, fixed.to_hidden)
    fields = [upload(bias - base) for bias, base in zip(biases, bases, strict=True)]
    summed, kept = (1, 0) if sum_hidden else (0, 1)
    streams = (int(Stream.VISIBLE), int(Stream.HIDDEN))
    kept_words = empty(states.words.shape, np.uint32)
    kept_words.copy_to_device(states.words)  # the caller's stay as they are
    out_words = zeros((n, 2 * n_words(sizes[summed])), np.uint32)
    weights = upload(log_weights)
    seed_low, seed_high, _, _, chain0 = address(draw)
    before = [
        flat(out_words), flat(kept_words), n, nothing(np.int64, 0), fragments[summed], fragments[kept],
        fields[summed], upload(bases[summed]), fields[kept], upload(bases[kept]), fixed.unit,
        upload(betas.astype(np.float32)),
    ]  # fmt: skip
    after = [
        seed_low, seed_high, draw.step, chain0, streams[summed], streams[kept],
        *(empty(n * -(-sizes[which] // 32), np.float32) for which in (summed, kept)), weights,
        empty(sizes[kept], np.float32), empty(1, np.float32), nothing(np.uint32), nothing(np.uint64),
        nothing(np.int32), nothing(np.float32, (1, 1)),
    ]  # fmt: skip
    tile = choose_tile(n, max(sizes))
    tiles = most_tiles(tile, n, fixed.n_hidden, fixed.n_visible)
    per_launch = max(1, min(_MOST_OF_LAUNCH, _WORK_OF_LAUNCH // (2 * n * sizes[0] * sizes[1])))
    try:
        for first in range(0, n_steps, per_launch):
            count = min(per_launch, n_steps - first)
            ANNEALING.launch_cooperative(tile, tiles, *before, first, count, *after)
            synchronize()  # so that an interrupt need not wait for launches to come
            if on_progress is not None:
                on_progress((first + count) * n, n_steps * n)
    finally:
        log_weights[...] = download(weights)
    return DeviceBits(kept_words, sizes[kept])
