"""How far training goes: time and memory of a pass over many rows, visible and hidden units, and of data on disk.

``python -m benchmarks.scale`` prints a table for each series, every point in a process of its own. A pass is the second
one of a fit, PCD-1; "once" is what comes before the first: checks, packing, first weights. Memory is the largest that
the process had during the fit, above what it had before, the data included in the latter. The exponent e says that time
grows with the e-th power of the size, from the point before. Beside the passes over data on disk stands the time in
which the same file is read without any training; the file is put out of the system's cache before each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: rows of a block that is read from disk at once
BLOCK = 4096


@dataclass(frozen=True)
class Scale:
    """A point: rows, visible and hidden units, ones in a row, rows of a minibatch, and where the data are."""

    n_rows: int
    n_visible: int
    n_hidden: int
    ones: int
    batch: int
    place: str = "sparse"


@dataclass(frozen=True)
class Found:
    """Seconds before the first pass and of a pass, bytes above those before the fit and of data, seconds of reading."""

    once: float
    seconds: float
    memory: float
    data: float
    reading: float = math.nan


#: name -> title, the size that grows, points
SERIES: dict[str, tuple[str, str, list[Scale]]] = {
    "rows": (
        "Rows, sparse: {n_visible} columns with {ones} ones a row, {n_hidden} hidden units, batch {batch}",
        "n_rows",
        [Scale(n, 10_000, 1000, 100, 1000) for n in (10_000, 100_000, 1_000_000)],
    ),
    "visible": (
        "Visible units, sparse: {n_rows} rows with {ones} ones each, {n_hidden} hidden units, batch {batch}",
        "n_visible",
        [Scale(20_000, n, 100, 100, 500) for n in (1000, 10_000, 100_000)],
    ),
    "hidden": (
        "Hidden units: {n_rows} rows of {n_visible} columns with {ones} ones each, batch {batch}",
        "n_hidden",
        [Scale(20_000, 784, n, 100, 500) for n in (1000, 10_000, 100_000)],
    ),
    "disk": (
        "Rows on disk: {n_visible} columns of one byte each, {n_hidden} hidden units, batch {batch}",
        "n_rows",
        [Scale(n, 4096, 16, 400, 1000, "disk") for n in (250_000, 1_000_000)],
    ),
}
QUICK: dict[str, list[Scale]] = {
    "rows": [Scale(n, 300, 10, 5, 50) for n in (200, 2000)],
    "visible": [Scale(200, n, 4, 5, 50) for n in (100, 1000)],
    "hidden": [Scale(200, 30, n, 5, 50) for n in (10, 100)],
    "disk": [Scale(n, 64, 4, 5, 50, "disk") for n in (500, 5000)],
}


def columns_of(n_rows: int, at: Scale, rng: np.random.Generator) -> np.ndarray:
    """Return the columns of the ones of some rows, sorted in each: one of each of `ones` equal parts of all columns."""
    width = at.n_visible // at.ones
    return (np.arange(at.ones) * width + rng.integers(0, width, (n_rows, at.ones))).astype(np.int32)


def sparse_rows(at: Scale) -> Any:
    """Return rows as a sparse matrix of bools, five bytes for each one."""
    import scipy.sparse as sp

    rng, columns = np.random.default_rng(0), np.empty((at.n_rows, at.ones), np.int32)
    for first in range(0, at.n_rows, BLOCK):
        columns[first : first + BLOCK] = columns_of(min(BLOCK, at.n_rows - first), at, rng)
    starts = np.arange(at.n_rows + 1, dtype=np.int32) * at.ones
    ones = np.ones(columns.size, bool)
    return sp.csr_matrix((ones, columns.ravel(), starts), shape=(at.n_rows, at.n_visible))


def write_rows(path: Path, at: Scale) -> None:
    """Write rows of bytes 0 and 1 to a file."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for first in range(0, at.n_rows, BLOCK):
            rows = np.zeros((min(BLOCK, at.n_rows - first), at.n_visible), np.uint8)
            np.put_along_axis(rows, columns_of(len(rows), at, rng), 1, axis=1)
            file.write(rows)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path, at: Scale) -> Iterator[np.ndarray]:
    """Yield the rows of a file, block by block, from the disk and not from the system's cache where it can be told."""
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while len(rows := np.fromfile(file, np.uint8, BLOCK * at.n_visible)):
            yield rows.reshape(-1, at.n_visible)


def memory(name: str) -> float:
    """Return bytes of this process that are in memory now ("VmRSS") or were at most ("VmHWM"); NaN if not told."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return math.nan
    return next((1024.0 * int(line.split()[1]) for line in status.splitlines() if line.startswith(name)), math.nan)


def forget_most() -> None:
    """Let the largest memory so far be that of now, where the system can do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def measure(at: Scale, threads: int | None, folder: Path) -> Found:
    """Fit two passes over made-up rows."""
    import fastrbm

    reading, path = math.nan, folder / "rows.bin"
    if at.place == "disk":
        write_rows(path, at)
        begin = time.perf_counter()
        n_read = sum(len(rows) for rows in read_rows(path, at))
        reading = time.perf_counter() - begin
        assert n_read == at.n_rows
        X: Any = lambda: read_rows(path, at)  # noqa: E731 - a source of chunks is a function
        size = float(at.n_rows * at.n_visible)
    else:
        X = sparse_rows(at)
        size = float(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    ends: list[float] = []
    rbm = fastrbm.BernoulliRBM(
        at.n_hidden,
        learning_rate=0.01,
        batch_size=at.batch,
        n_iter=2,
        random_state=0,
        n_threads=threads,
        callbacks=lambda run: ends.append(time.perf_counter()),
    )
    forget_most()
    before, begin = memory("VmRSS"), time.perf_counter()
    rbm.fit(X)
    seconds = ends[1] - ends[0]
    return Found(max(0.0, ends[0] - begin - seconds), seconds, memory("VmHWM") - before, size, reading)


def in_a_process(at: Scale, threads: int | None, folder: Path) -> Found:
    """Measure in a process of its own, whose memory is that of this point alone."""
    command = [sys.executable, "-m", __spec__.name if __spec__ else "fastrbm.benchmarks.scale"]
    command += ["--point", json.dumps(asdict(at)), "--folder", str(folder)]
    command += [] if threads is None else ["--threads", str(threads)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Found(**json.loads(out.splitlines()[-1]))


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the e of time ~ size^e between two points."""
    return math.log(times[1] / times[0]) / math.log(sizes[1] / sizes[0])


def series(name: str, points: Sequence[Scale], threads: int | None, folder: Path) -> None:
    """Measure the points of a series, and print its table as they come."""
    title, size = SERIES[name][0].format(**asdict(points[0])), SERIES[name][1]
    print(f"\n{title}\n\n| {size} | data, MB | once, s | pass, s | reading, s | memory above, MB | exponent |")
    print("|---|---|---|---|---|---|---|")
    done: list[tuple[float, float]] = []
    for at in points:
        found = in_a_process(at, threads, folder)
        done.append((float(getattr(at, size)), found.seconds))
        grown = f"{exponent(*zip(*done[-2:], strict=True)):.2f}" if len(done) > 1 else "-"
        reading = "-" if math.isnan(found.reading) else f"{found.reading:.3g}"
        cells = [f"{found.data / 1e6:.4g}", f"{found.once:.3g}", f"{found.seconds:.3g}", reading]
        print(f"| {getattr(at, size)} | {' | '.join(cells)} | {found.memory / 1e6:.4g} | {grown} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m fastrbm.benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES), help="which (default all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, which show that everything works")
    parser.add_argument("--threads", type=int, help="threads of a fit (default all)")
    parser.add_argument("--folder", type=Path, help="where files of rows are written (default a temporary folder)")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.threads is not None and given.threads < 1:
        parser.error(f"--threads must be positive, got {given.threads}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.point:
            print(json.dumps(asdict(measure(Scale(**json.loads(given.point)), given.threads, Path(folder)))))
            return 0
        for name in given.series:
            series(name, QUICK[name] if given.quick else SERIES[name][2], given.threads, Path(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
