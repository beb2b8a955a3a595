"""From which sizes a device wins over the CPU kernels, and large tiles over small ones: what a device is tuned by."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .gpu_cases import Deadline
from .gpu_exercise import using_tile
from .ours import FastRBM
from .peers import Training
from .protocol import NO_TARGET, SKIPPED, Row

NAME, TILES = "crossing", "tiles"
#: large tiles for each multiprocessor at which both shapes are timed, of a layer of 784 inputs and 512 neurons
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
_CALLS = 20

#: (visible units, hidden units, rows of a minibatch), by rising work
SIZES = (
    (64, 32, 16),
    (196, 64, 16),
    (196, 128, 64),
    (784, 64, 64),
    (784, 128, 128),
    (784, 256, 128),
    (784, 512, 256),
    (784, 1024, 512),
)
_EPOCHS = 3  # the first of which is not counted


@dataclass(frozen=True)
class Point:
    """Seconds of an epoch on both, at one size."""

    work: int  #: multiply-adds of a layer for a minibatch, as `AUTO_WORK` counts them
    cpu: float
    device: float


def crossing(points: Sequence[Point]) -> int | None:
    """Return the least measured work from which the device wins at every size; None if it loses at the largest."""
    least = None
    for point in sorted(points, key=lambda point: -point.work):
        if point.device >= point.cpu:
            break
        least = point.work
    return least


def advice(points: Sequence[Point], complete: bool) -> str:
    """Say what to do with the crossing."""
    if not points:
        return "nothing was measured"
    least = crossing(points)
    where = "" if complete else " (the larger sizes were not measured)"
    if least is None:
        return f"the device loses up to {max(p.work for p in points)} multiply-adds: leave AUTO_WORK None{where}"
    note = ", the least that was measured" if least == min(p.work for p in points) else ""
    return f"the device wins from {least} multiply-adds{note}: put AUTO_WORK = {least} into cuda.availability{where}"


def _seconds(device: str, X: np.ndarray, n_hidden: int, batch: int, threads: int) -> float:
    training = Training(n_hidden, batch, _EPOCHS, 0.01, "pcd")
    model = FastRBM(device).unfitted(training, 0, threads).fit(X)
    return statistics.median(model.history_["seconds"][1:])


def measure(
    images: np.ndarray,
    threads: int,
    deadline: Deadline,
    device: str = "cuda",
    sizes: Sequence[tuple[int, int, int]] = SIZES,
    found: dict[str, float] | None = None,
) -> Iterator[Row]:
    """Time a PCD epoch of the first columns of binary rows at several sizes; the last row says what follows.

    Its number goes into `found` as "auto_work", where there is one.
    """
    points: list[Point] = []
    for n_visible, n_hidden, batch in sizes:
        name = f"{NAME}-{n_visible}x{n_hidden}-b{batch}"
        work = n_visible * n_hidden * batch
        said = f"PCD-1 epoch, {len(images)} rows, {n_visible}x{n_hidden}, batch {batch}: {work} multiply-adds"
        if not deadline.left():
            yield Row(name, said, "CPU kernels", "-", SKIPPED, "no time left")
            continue
        X = np.ascontiguousarray(images[:, :n_visible])
        cpu, there = (_seconds(x, X, n_hidden, batch, threads) for x in ("cpu", device))
        points.append(Point(work, cpu, there))
        yield Row(
            name, said, "CPU kernels", "-", NO_TARGET, ratio=cpu / there, peer_value=cpu, ours_value=there,
            peer_values=(cpu,), ours_values=(there,),
        )  # fmt: skip
    least = crossing(points)
    if found is not None and least is not None and len(points) == len(sizes):
        found["auto_work"] = least
    yield Row(NAME, 'device="auto"', "CPU kernels", "-", NO_TARGET, advice(points, len(points) == len(sizes)))


def best_from(small: Sequence[float], large: Sequence[float], multiples: Sequence[float] = MULTIPLES) -> float:
    """Return the least multiple from which large tiles are at least as fast at every one; twice the last for none."""
    best = 2 * multiples[-1]
    for multiple, of_small, of_large in reversed(list(zip(multiples, small, large, strict=True))):
        if of_large > of_small:
            break
        best = multiple
    return best


def measure_tiles(
    deadline: Deadline, found: dict[str, float], n_visible: int = 784, n_hidden: int = 512
) -> Iterator[Row]:
    """Time a layer of bits in both shapes of blocks; the last row says from where the large one is better.

    Its number goes into `found` as "large_from".
    """
    from fastrbm._kernels import get_backend, pack
    from fastrbm._kernels.cuda.kernels.tiles import LARGE, SMALL, WIDTH
    from fastrbm._kernels.cuda.launching import n_processors
    from fastrbm._kernels.cuda.memory import DeviceBits, synchronize, upload
    from fastrbm._kernels.draws import Draw, Stream

    rng, backend = np.random.default_rng(0), get_backend("cuda")
    weights = upload(rng.normal(0, 0.1, (n_hidden, n_visible)).astype(np.float32))
    bias = upload(np.zeros(n_hidden, np.float32))
    times: dict[str, list[float]] = {"small": [], "large": []}
    for multiple in MULTIPLES:
        across = -(-n_hidden // WIDTH)
        n = max(1, round(multiple * n_processors() / across)) * LARGE.rows
        states = DeviceBits.from_host(pack(rng.random((n, n_visible)) < 0.2))
        if not deadline.left():
            yield Row(f"{TILES}-{multiple:g}", f"{n} rows", "small tiles", "-", SKIPPED, "no time left")
            return
        for name, tile in (("small", SMALL), ("large", LARGE)):
            with backend.holding(weights), using_tile(tile):
                for call in range(-2, _CALLS):
                    if call == 0:
                        synchronize()
                        begin = time.perf_counter()
                    backend.samples("bernoulli", states, weights, bias, Draw(1, 1 + max(call, 0), Stream.HIDDEN))
                synchronize()
                times[name].append((time.perf_counter() - begin) / _CALLS)
        of_small, of_large = times["small"][-1], times["large"][-1]
        yield Row(
            f"{TILES}-{multiple:g}", f"layer of {n} rows, {n_visible}x{n_hidden}: {multiple:g} large tiles a processor",
            "small tiles", "-", NO_TARGET, ratio=of_small / of_large, peer_value=of_small, ours_value=of_large,
            peer_values=(of_small,), ours_values=(of_large,),
        )  # fmt: skip
    found["large_from"] = best_from(times["small"], times["large"], MULTIPLES)
    said = f"large tiles from {found['large_from']:g} for each multiprocessor on"
    yield Row(TILES, "shape of blocks", "small tiles", "-", NO_TARGET, said)
