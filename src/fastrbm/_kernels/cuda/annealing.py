"""Annealed importance sampling: what one run of chains over many temperatures is launched with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, join_rows, n_words
from ..draws import Draw, Stream
from .devices import on_all
from .kernels.annealing import AnnealedLayer, AnnealingScratch, make_annealing_kernel
from .launching import Kernels, choose_tile, draws_from, most_tiles, nothing
from .memory import DeviceBits, download, empty, flat, synchronize, upload, zeros
from .quantise import QuantisedWeights

ANNEALING = Kernels(make_annealing_kernel)
#: multiply-adds of one launch: some tens of milliseconds, after which signals and callbacks have their turn
_WORK_OF_LAUNCH = 1 << 41
#: of each device; fewer are no work for one
LEAST_CHAINS = 1 << 9
#: and temperatures: those of small models take the time of their barriers
_MOST_OF_LAUNCH = 1 << 12


def anneal(
    states: DeviceBits,
    weights: QuantisedWeights,
    biases: Sequence[NDArray[np.float32]],
    bases: Sequence[NDArray[np.float32]],
    sum_hidden: bool,
    betas: NDArray[np.float64],
    draw: Draw,
    log_weights: NDArray[np.float64],
    on_progress: Callable[[int, int], None] | None,
) -> DeviceBits:
    """See `Backend.anneal`; at least one chain and two temperatures, biases and bases of (visible, hidden) neurons.

    `log_weights` are brought up to date at the end, whether it is one or an exception: the device stops after whole
    temperatures only.
    """
    n, n_steps = len(states), len(betas) - 1
    sizes, fragments = (weights.n_visible, weights.n_hidden), (weights.to_visible, weights.to_hidden)
    summed, kept = (1, 0) if sum_hidden else (0, 1)
    streams = (int(Stream.VISIBLE), int(Stream.HIDDEN))
    words = [zeros((n, 2 * n_words(size)), np.uint32) for size in sizes]
    words[kept].copy_to_device(states.words)  # the caller's stay as they are
    layers = [
        AnnealedLayer(
            flat(words[k]), fragments[k], upload(biases[k] - bases[k]), upload(bases[k]), streams[k],
            empty(n * -(-sizes[k] // 32), np.float32),
        )
        for k in (summed, kept)
    ]  # fmt: skip
    scratch = AnnealingScratch(empty(sizes[kept], np.float32), empty(1, np.float32))
    totals, temperatures, none = upload(log_weights), upload(betas.astype(np.float32)), nothing(np.int64, 0)
    tile = choose_tile(n, max(sizes))
    tiles = most_tiles(tile, n, weights.n_hidden, weights.n_visible)
    per_launch = max(1, min(_MOST_OF_LAUNCH, _WORK_OF_LAUNCH // (2 * n * sizes[0] * sizes[1])))
    try:
        for first in range(0, n_steps, per_launch):
            count = min(per_launch, n_steps - first)
            ANNEALING.launch_cooperative(
                tile, tiles, *layers, n, none, weights.quantum, temperatures, first, count, draws_from(draw), scratch,
                totals,
            )  # fmt: skip
            synchronize()  # so that an interrupt need not wait for launches to come
            if on_progress is not None:
                on_progress((first + count) * n, n_steps * n)
    finally:
        log_weights[...] = download(totals)
    return DeviceBits(words[kept], sizes[kept])


def anneal_on_all(
    n_parts: int,
    states: PackedBits,
    weights: NDArray[np.float32],
    rest: tuple[Any, ...],
    draw: Draw,
    log_weights: NDArray[np.float64],
    on_progress: Callable[[int, int], None] | None,
) -> PackedBits:
    """`anneal` with the chains shared among devices: draws are addressed by chain, so that none knows of it.

    Parameters
    ----------
    n_parts : int
        Groups of chains.
    states : PackedBits
    weights : ndarray of float32
    rest : (biases, bases, sum_hidden, betas)
        As `anneal` takes them.
    draw, log_weights, on_progress
        As `anneal` takes them.
    """
    n, n_steps = len(states), len(rest[-1]) - 1
    bounds = [n * k // n_parts for k in range(n_parts + 1)]
    done, lock, stopped = [0] * n_parts, Lock(), Event()

    def part(k: int) -> PackedBits:
        def progress(so_far: int, _: int) -> None:
            with lock:
                if stopped.is_set():
                    raise InterruptedError("another device has failed, or the call was interrupted")
                done[k] = so_far
                if on_progress is not None:
                    on_progress(sum(done), n * n_steps)

        here = slice(bounds[k], bounds[k + 1])
        quantised = QuantisedWeights(upload(weights))
        quantised.fill()  # as on the device that was asked first
        start = DeviceBits.from_host(states[here])
        at = draw._replace(first_chain=draw.first_chain + here.start)
        biases, bases, sum_hidden, betas = rest
        return anneal(start, quantised, biases, bases, sum_hidden, betas, at, log_weights[here], progress).to_host()

    kept: PackedBits = join_rows(on_all(part, range(n_parts), stopped.set))
    return kept
