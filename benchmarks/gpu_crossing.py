"""From which size a device wins over the CPU kernels: what ``device="auto"`` should go by."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .gpu_cases import Deadline
from .ours import FastRBM
from .peers import Training
from .protocol import NO_TARGET, SKIPPED, Row

NAME = "crossing"

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
) -> Iterator[Row]:
    """Time a PCD epoch of the first columns of binary rows at several sizes; the last row says what follows."""
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
    yield Row(NAME, 'device="auto"', "CPU kernels", "-", NO_TARGET, advice(points, len(points) == len(sizes)))
