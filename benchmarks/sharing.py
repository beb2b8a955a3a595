"""What fastrbm costs beside other libraries' threads in one process, and beside a busy processor.

``python -m benchmarks.sharing`` has two tables. Works of a few milliseconds, ours and another library's, are done apart
and in turns: how long do the turns take against the sum of both apart? Other libraries' idle threads go on running for
a while and take the processors of whoever is next. And a fit on a machine with a busy processor, with all threads and
with one: more threads ought not to be slower.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[[], Any]

N_FEATURES, N_HIDDEN = 784, 256
N_FIT, N_TRANSFORM = 2048, 8192
N_SQUARE = 700
#: rows and passes of fits beside busy processors
BESIDE_BUSY = ((2048, 1), (20000, 1), (20000, 10))


@dataclass(frozen=True)
class Turns:
    """Seconds of one round: each work alone, and both in turns."""

    ours: float
    other: float
    together: float

    @property
    def ratio(self) -> float:
        """How many times as long the turns took as both works apart."""
        return self.together / (self.ours + self.other)


def our_works() -> dict[str, Call]:
    """Return a fit and a transform of a few milliseconds, by their names."""
    import fastrbm

    rows = np.random.default_rng(0).random((N_TRANSFORM, N_FEATURES)) < 0.3
    rbm = fastrbm.BernoulliRBM(N_HIDDEN, batch_size=256, n_iter=1, random_state=0)
    fitted = fastrbm.BernoulliRBM(N_HIDDEN, batch_size=256, n_iter=1, random_state=0).fit(rows[:N_FIT])
    return {
        f"fit, {N_FIT} rows": lambda: rbm.fit(rows[:N_FIT]),
        f"transform, {N_TRANSFORM} rows": lambda: fitted.transform(rows),
    }


def other_works() -> Iterator[tuple[str, Call | None, str]]:
    """Yield works of other libraries: a name, the work or None, and why there is none."""
    square = np.random.default_rng(1).random((N_SQUARE, N_SQUARE), dtype=np.float32)
    yield f"NumPy's BLAS, {N_SQUARE} squared", lambda: square @ square, ""
    try:
        import torch
    except ImportError:
        yield f"PyTorch, {N_SQUARE} squared", None, "PyTorch is not installed"
    else:
        tensor = torch.from_numpy(square)
        yield f"PyTorch, {N_SQUARE} squared", lambda: tensor @ tensor, ""
    from sklearn.ensemble import HistGradientBoostingClassifier

    values = np.random.default_rng(2).random((20000, 20))
    model = HistGradientBoostingClassifier(max_iter=20).fit(values, values[:, 0] + values[:, 1] > 1)
    yield "HistGradientBoosting, predict", lambda: model.predict_proba(values), ""


def _seconds(calls: Sequence[Call], n: int) -> float:
    begin = time.perf_counter()
    for _ in range(n):
        for call in calls:
            call()
    return time.perf_counter() - begin


def take_turns(ours: Call, other: Call, n_turns: int) -> Turns:
    """Time `n_turns` calls of each work apart, and the same calls in turns."""
    for call in (ours, other):
        call()
    apart = []
    for call in (ours, other):
        time.sleep(0.1)  # idle threads of the work before have gone to sleep
        apart.append(_seconds([call], n_turns))
    time.sleep(0.1)
    return Turns(apart[0], apart[1], _seconds([ours, other], n_turns))


@contextmanager
def busy_processors(n: int) -> Iterator[None]:
    """Keep processors busy by processes of their own."""
    spinners = []
    try:
        for _ in range(n):
            command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
            spinners.append(subprocess.Popen(command, stdout=subprocess.PIPE))
            stdout = spinners[-1].stdout
            assert stdout is not None
            stdout.readline()  # it runs
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.communicate()


def beside_busy(n_busy: int, n_rows: int, n_iter: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds of fits with all threads and with one, in turns, while processors are busy."""
    import fastrbm

    rows = np.random.default_rng(0).random((n_rows, N_FEATURES)) < 0.3
    models = {
        name: fastrbm.BernoulliRBM(N_HIDDEN, batch_size=256, n_iter=n_iter, random_state=0, n_threads=n_threads)
        for name, n_threads in (("all", None), ("one", 1))
    }
    found: dict[str, list[float]] = {name: [] for name in models}
    with busy_processors(n_busy):
        for _ in range(rounds):
            for name, model in models.items():
                begin = time.perf_counter()
                model.fit(rows)
                found[name].append(time.perf_counter() - begin)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m fastrbm.benchmarks.sharing", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds, of which the median is told (default 9)")
    parser.add_argument("--turns", type=int, default=60, help="calls of each work in a round (default 60)")
    parser.add_argument("--busy", type=int, default=1, help="busy processors of the second table (default 1)")
    given = parser.parse_args(arguments)
    if min(given.rounds, given.turns, given.busy) < 1:
        parser.error(f"--rounds, --turns and --busy must be positive; got {given}")
    print("| ours | in turns with | ours, ms | theirs, ms | in turns over apart (least, most) |")
    print("|---|---|---|---|---|")
    ours = our_works()
    for name, other, why in other_works():
        if other is None:
            print(f"| | {name} | - | - | {why} |")
            continue
        for what, call in ours.items():
            rounds = [take_turns(call, other, given.turns) for _ in range(given.rounds)]
            ms = [1e3 * statistics.median(getattr(r, side) for r in rounds) / given.turns for side in ("ours", "other")]
            ratios = sorted(r.ratio for r in rounds)
            print(
                f"| {what} | {name} | {ms[0]:.1f} | {ms[1]:.1f} | {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f}, {ratios[-1]:.2f}) |",
                flush=True,
            )
    print(f"\n| fit, {given.busy} processors busy | all threads, s | one thread, s | all over one |")
    print("|---|---|---|---|")
    for n_rows, n_iter in BESIDE_BUSY:
        found = beside_busy(given.busy, n_rows, n_iter, given.rounds)
        all_threads, one = statistics.median(found["all"]), statistics.median(found["one"])
        seconds = f"{all_threads:.4f} | {one:.4f} | {all_threads / one:.2f}"
        print(f"| {n_rows} rows, {n_iter} passes | {seconds} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
