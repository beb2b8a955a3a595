"""What lean strategies are worth: each against whole products, with one trained model, per instruction set.

Run as a module this file is the child: ``python -m benchmarks.lean MODEL.npz ROWS.npy JSON``. It measures with the
instruction set that its interpreter was started for and prints one JSON list.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import isolated
from .data import THRESHOLD, synthetic
from .protocol import PAUSE, Neighbours

#: What a measured call gives: the arrays that must not depend on the strategy.
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Size:
    """How much is trained and drawn."""

    n_hidden: int = 500
    n_epochs: int = 20
    n_train: int = 60000
    n_pass: int = 3000  #: rows of the timed pass of CD-k; the slowest strategy takes seconds for them
    n_features_drawn: int = 10000  #: rows of `sample_hidden`
    n_steps: int = 100
    chains: tuple[int, ...] = (1000, 10)
    sweeps: tuple[int, ...] = (1, 5, 10)


QUICK = Size(24, 1, 400, 200, 200, 3, (20, 10), (1, 2))


@dataclass(frozen=True)
class LeanRow:
    """One line of the table: one strategy doing one piece of work with one instruction set."""

    target: str
    work: str
    strategy: str
    seconds: tuple[float, ...]
    dense_seconds: tuple[float, ...]
    same: bool  #: whether all arrays that came back are those of "dense", bit for bit
    counts: Mapping[str, int]  #: of `fastrbm.count_work`, for one call
    others: float | None = None  #: share of the threads' time other programs took; None where unknown

    @property
    def ratio(self) -> float:
        """How many times as long whole products took: the quotient of the medians."""
        return statistics.median(self.dense_seconds) / statistics.median(self.seconds)

    @property
    def skipped(self) -> float | None:
        """Share of the multiply-adds in full precision that were spared; None where nothing was counted."""
        whole = self.counts["dense_products"]
        return 1 - self.counts["products"] / whole if whole else None

    def share(self, name: str) -> float | None:
        """Return the share of the units drawn that a counter holds; None where nothing was counted."""
        decisions = self.counts["decisions"]
        return self.counts[name] / decisions if decisions else None


def rows_of_digits(n_rows: int, *, quick: bool = False) -> tuple[str, np.ndarray]:
    """Return the name of the data and at most n_rows rows of zeros and ones, uint8; never downloads."""
    from fastrbm.datasets import load_mnist

    label = "enlarged, shifted digits of scikit-learn"
    if not quick:
        try:
            images = load_mnist(subset="train", download=False).images
        except FileNotFoundError:
            label += ": MNIST was not found"
        else:
            return "MNIST", (images[:n_rows] > THRESHOLD).astype(np.uint8)
    return label, (synthetic(n_rows) > THRESHOLD).astype(np.uint8)


def trained(rows: np.ndarray, size: Size, threads: int) -> Any:
    """Return the machine that every strategy works with."""
    from fastrbm import BernoulliRBM

    return BernoulliRBM(
        size.n_hidden,
        algorithm="cd",
        learning_rate=0.05,
        batch_size=100,
        n_iter=size.n_epochs,
        random_state=0,
        strategy="dense",
        n_threads=threads,
    ).fit(rows)


def works(size: Size, rows: np.ndarray) -> Iterator[tuple[str, Callable[[Any], Callable[[], Arrays]]]]:
    """Yield names of pieces of work, and functions that make one ready for a machine; only its call is timed."""
    for k in size.sweeps:
        yield f"CD-{k}, one pass of {len(rows[: size.n_pass])} rows", _training(k, rows[: size.n_pass])
    for n_chains in size.chains:
        yield f"sample, {n_chains} chains, {size.n_steps} steps", _sampling(n_chains, size.n_steps)
    drawn = rows[: size.n_features_drawn]
    yield f"sample_hidden, {len(drawn)} rows", lambda machine: lambda: (machine.sample_hidden(drawn, random_state=0),)


def _training(k: int, rows: np.ndarray) -> Callable[[Any], Callable[[], Arrays]]:
    def prepare(machine: Any) -> Callable[[], Arrays]:
        # `fit` goes on with the machine's own arrays, so each call trains a copy that starts from the same weights.
        fresh = copy.deepcopy(machine).set_params(n_gibbs_steps=k, n_iter=1, warm_start=True)

        def call() -> Arrays:
            fresh.fit(rows)
            return fresh.components_, fresh.intercept_hidden_, fresh.intercept_visible_

        return call

    return prepare


def _sampling(n_chains: int, n_steps: int) -> Callable[[Any], Callable[[], Arrays]]:
    return lambda machine: lambda: (machine.sample(n_chains, n_steps, random_state=0),)


def strategies() -> list[str]:
    """Return the names of the strategies that are compared, "dense" first."""
    from fastrbm._kernels.strategies import STRATEGIES

    return ["dense", *(name for name in STRATEGIES if name not in ("auto", "dense"))]


def rotate(
    sides: Mapping[str, Callable[[], Callable[[], Any]]],
    rounds: int,
    *,
    pause: float = PAUSE,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, tuple[float, ...]]:
    """Time any number of sides in turn; every round begins with another one.

    Parameters
    ----------
    sides : mapping of str to callable
        Each returns the function to time, having made ready what does not count.
    rounds : int
        Number of timed calls of each.
    pause : float
        Seconds of rest before each timed call.
    clock : callable
        Returns the time in seconds.

    Returns
    -------
    dict
        The seconds of every side, one entry per round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            call = sides[name]()
            time.sleep(pause)
            begin = clock()
            call()
            seconds[name].append(clock() - begin)
    return {name: tuple(values) for name, values in seconds.items()}


def _same(got: Arrays, wanted: Arrays) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))


def compare(
    machine: Any, rows: np.ndarray, size: Size, *, rounds: int, threads: int, pause: float = PAUSE
) -> list[LeanRow]:
    """Measure every strategy at every piece of work with the instruction set in use."""
    import fastrbm
    from fastrbm._kernels.cpu import current_target

    machines = {
        name: copy.deepcopy(machine).set_params(strategy=name, n_threads=threads, callbacks=(), verbose=0)
        for name in strategies()
    }
    lines = []
    for work, prepare in works(size, rows):
        results, counts = {}, {}
        # The warm-up is where results are compared and work is counted: both are the same in every call.
        for name, one in machines.items():
            with fastrbm.count_work() as counted:
                results[name] = prepare(one)()
            counts[name] = dict(counted)
        neighbours = Neighbours(threads)
        sides = {name: (lambda one=one, prepare=prepare: prepare(one)) for name, one in machines.items()}
        seconds = rotate(sides, rounds, pause=pause)
        others = neighbours.share()
        lines += [
            LeanRow(
                current_target(), work, name, seconds[name], seconds["dense"],
                _same(results[name], results["dense"]), counts[name], others,
            )
            for name in machines
        ]  # fmt: skip
    return lines


def targets() -> list[str]:
    """Return the instruction sets to measure: all of this machine's, or the one that FASTRBM_CPU asks for."""
    from fastrbm._kernels.cpu import current_target, supported_targets

    return [current_target()] if "FASTRBM_CPU" in os.environ else list(supported_targets())


def measure(*, rounds: int, threads: int, quick: bool = False, pause: float = PAUSE) -> tuple[str, list[LeanRow]]:
    """Train a machine and compare the strategies, in a fresh interpreter per instruction set.

    Parameters
    ----------
    rounds : int
        Timed calls of each strategy.
    threads : int
        Threads of every call.
    quick : bool
        Whether to take tiny sizes.
    pause : float
        Seconds of rest before each timed call.

    Returns
    -------
    (label, rows)
        What the machine is and was trained on; the lines of the table.
    """
    size = QUICK if quick else Size()
    label, rows = rows_of_digits(size.n_train, quick=quick)
    options = {"rounds": rounds, "threads": threads, "pause": pause, "quick": quick}
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        model, data = Path(folder, "model.npz"), Path(folder, "rows.npy")
        trained(rows, size, threads).save(model)
        np.save(data, rows[: max(size.n_pass, size.n_features_drawn)])
        for target in targets():
            found = isolated.child("lean", str(model), str(data), json.dumps(options), FASTRBM_CPU=target)
            lines += [LeanRow(**line) for line in found]
    n_features = rows.shape[1]
    return f"{n_features}x{size.n_hidden}, {size.n_epochs} epochs of CD-1 on {len(rows)} rows of {label}", lines


def _main(model: str, data: str, options: str) -> list[dict[str, Any]]:
    import fastrbm

    given = json.loads(options)
    size = QUICK if given.pop("quick") else Size()
    return [dataclasses.asdict(line) for line in compare(fastrbm.load(model), np.load(data), size, **given)]


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
