"""Curves over sizes, density and threads, and the table of lean strategies: ``fastrbm bench --scaling``.

Each point is timed against the peers that have the algorithm, in turn, as the table is. What is timed is an epoch
without what a fit does once (first weights, packing): the difference of a longer and a shorter fit of the same rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import lean, report, scaling_report
from .curves import Curve, Point, Setting
from .data import Images, load_images
from .ours import FastRBM
from .peers import Peer, Training, all_peers
from .protocol import PAUSE, alternate

#: The peers that take part, by their names in `all_peers`.
PEERS = ("scikit-learn", "torch")

#: What can be measured: the curves and the table of strategies.
NAMES = ("batch", "hidden", "k", "density", "threads", "lean")

#: Epochs by which the longer of the two fits is longer.
_EXTRA = 2

#: Seconds that an epoch of fastrbm is to take; the rows of a point are chosen for it.
_EPOCH, _QUICK_EPOCH = 0.08, 0.002

#: Share of the shorter fit that the further epochs must take; less is the noise of drawing the first weights.
_LEAST_SHARE = 0.25

#: Least minibatches of an epoch.
_LEAST_BATCHES = 4

#: Small enough for the largest machine not to diverge; times do not depend on it.
_RATE = 0.01


def thread_counts(threads: int) -> list[int]:
    """Return 1, 2, 4 ... below the number of threads, and that number."""
    return [2**i for i in range(threads.bit_length()) if 2**i < threads] + [threads]


def all_curves(threads: int, *, quick: bool = False) -> list[Curve]:
    """Return every curve; quick ones have one or two small points."""
    few: Callable[[Sequence[Any]], Sequence[Any]] = (lambda values: values[:2]) if quick else (lambda values: values)
    n_hidden, batch = (16, 32) if quick else (256, 256)
    pcd = Training(n_hidden, batch, 1, _RATE, "pcd")
    shape = f"784x{n_hidden}"

    def settings(name: str, values: Sequence[int], base: Training = pcd) -> tuple[Setting, ...]:
        return tuple(Setting(value, replace(base, **{name: value}), threads) for value in few(values))

    return [
        Curve(
            "batch",
            f"Batch size: PCD-1, {shape}, {threads} threads",
            "batch size (rows)",
            settings("batch", (10, 32, 64, 128, 256, 512, 1024)),
        ),
        Curve(
            "hidden",
            f"Hidden units: PCD-1, 784 visible units, batch {batch}, {threads} threads",
            "hidden units",
            settings("n_hidden", (64, 128, 256, 512, 1024, 2048, 4096, 8192)),
        ),
        Curve(
            "k",
            f"Gibbs steps per update: CD-k, {shape}, batch {batch}, {threads} threads",
            "k (Gibbs steps per update)",
            settings("k", (1, 2, 5, 10, 20, 50), replace(pcd, algorithm="cd")),
        ),
        Curve(
            "density",
            f"Density of the data: PCD-1, {shape}, batch {batch}, independent synthetic bits, {threads} threads",
            "share of ones in the data",
            tuple(Setting(share, pcd, threads, share) for share in few((0.01, 0.05, 0.1, 0.2, 0.3, 0.5))),
        ),
        Curve(
            "threads",
            f"Threads: PCD-1, {shape}, batch {batch}",
            "threads",
            tuple(Setting(count, pcd, count) for count in few(thread_counts(report.cores()))),
        ),
    ]


@dataclass
class Scaling:
    """Measures points: options, data and sides."""

    rounds: int
    quick: bool = False
    pause: float = PAUSE
    peers: Mapping[str, Peer] = field(default_factory=lambda: {name: all_peers()[name] for name in PEERS})
    ours: FastRBM = field(default_factory=FastRBM)
    clock: Callable[[], float] = time.perf_counter

    @cached_property
    def images(self) -> Images:
        """The rows of the curves: 60000, or 2048 when quick."""
        return load_images(2048 if self.quick else 60000)

    def measure(self, curve: Curve) -> list[Point]:
        """Measure all points of a curve against all peers."""
        return [point for setting in curve.settings for point in self.points(setting)]

    def points(self, setting: Setting) -> list[Point]:
        """Measure one setting against every peer, on the same rows; what goes wrong becomes the point's reason."""
        X = self._rows(setting)
        points = []
        for name, peer in self.peers.items():
            if not (possible := peer.available()) or not (possible := peer.supports(setting.training)):
                points.append(Point(setting.x, len(X), name, reason=f"skipped: {possible.reason}"))
                continue
            try:
                points.append(self._against(setting, X, name, peer))
            except Exception as error:  # a broken point must not lose the others
                traceback.print_exc()
                reason = f"ERROR: {type(error).__name__}: {error}"
                points.append(Point(setting.x, len(X), name, reason=reason, failed=True))
        if all(not point.ours_seconds for point in points) and not any(point.failed for point in points):
            points.append(self._alone(setting, X))
        return points

    def _rows(self, setting: Setting) -> np.ndarray:
        """Return whole minibatches, so many that an epoch of fastrbm takes about as long as wanted."""
        if setting.density is None:
            X = self.images.binary
        else:
            draws = np.random.default_rng(0).random(self.images.binary.shape, dtype=np.float32)
            X = (draws < setting.density).astype(np.float32)
        batch = setting.training.batch
        few, least = min(len(X), max(_LEAST_BATCHES * batch, 1024)) // batch * batch, _LEAST_BATCHES
        if few == 0:
            raise ValueError(f"batch must be at most the number of rows, {len(X)}, got {batch}")
        self._ours(setting, X[:few], True)  # warms up
        while (seconds := self._ours(setting, X[:few], True)) <= 0 and 2 * few <= len(X):
            few *= 2
            least = few // batch
        seconds = max(seconds, 1e-6)
        wanted = int((_QUICK_EPOCH if self.quick else _EPOCH) / seconds * few)
        n_batches = max(least, wanted // batch)
        return X[: min(n_batches, len(X) // batch) * batch]

    def _epoch(self, fit: Callable[[Training], Any], training: Training) -> float:
        begin = self.clock()
        fit(training)
        middle = self.clock()
        fit(replace(training, n_epochs=training.n_epochs + _EXTRA))
        short, long = middle - begin, self.clock() - middle
        return (long - short) / _EXTRA if long - short > _LEAST_SHARE * short else 0.0

    def _ours(self, setting: Setting, X: np.ndarray, shuffle: bool, seed: int = 0) -> float:
        def fit(training: Training) -> Any:
            return self.ours.fit_epochs(X, training, seed=seed, threads=setting.threads, shuffle=shuffle)

        return self._epoch(fit, setting.training)

    def _theirs(self, setting: Setting, X: np.ndarray, peer: Peer, seed: int = 0) -> float:
        def fit(training: Training) -> Any:
            return peer.fit_epochs(X, training, seed=seed, threads=setting.threads)

        return self._epoch(fit, setting.training)

    def _against(self, setting: Setting, X: np.ndarray, name: str, peer: Peer) -> Point:
        few = X[: setting.training.batch]
        timing = alternate(
            lambda seed: self._theirs(setting, X, peer, seed),
            lambda seed: self._ours(setting, X, peer.shuffles, seed),
            self.rounds,
            threads=setting.threads,
            warm_up=(lambda: self._theirs(setting, few, peer), lambda: self._ours(setting, few, peer.shuffles)),
            pause=self.pause,
        )
        return Point(setting.x, len(X), name, timing.ours_results, timing.peer_results, timing.others)

    def _alone(self, setting: Setting, X: np.ndarray) -> Point:
        """Measure a setting that no peer has."""
        timing = alternate(
            lambda _: None,
            lambda seed: self._ours(setting, X, True, seed),
            self.rounds,
            threads=setting.threads,
            pause=self.pause,
        )
        return Point(setting.x, len(X), "-", timing.ours_results, (), timing.others)


def documentation() -> Path:
    """Return the folder of the documentation's tables, which only a checkout has."""
    docs = Path(__file__).resolve().parents[1] / "docs"
    if not (docs / "conf.py").is_file():
        raise ValueError("--docs writes into the docs/ of a checkout, and this is an installed package; give --out DIR")
    return docs / "performance"


def select(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that contain or match one of the patterns; all without patterns."""
    return [name for name in names if not patterns or any(word in name or fnmatch(name, word) for word in patterns)]


def run(names: Sequence[str], options: argparse.Namespace, out: Path) -> int:
    """Measure curves and the table of strategies, write and print them.

    Parameters
    ----------
    names : sequence of str
        Which of `NAMES`.
    options : argparse.Namespace
        Of `benchmarks.run.parser`.
    out : pathlib.Path
        Folder of the results unless ``options.docs``.

    Returns
    -------
    int
        0, or 1 when a point failed by an error or a strategy returned other bits than whole products.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError('--scaling draws pictures and needs matplotlib: pip install "fastrbm[plot]"')
    folder = documentation() if options.docs else out
    curves = {curve.name: curve for curve in all_curves(options.threads, quick=options.quick)}
    scaling = Scaling(options.rounds or (1 if options.quick else 5), quick=options.quick)
    where = report.environment(options.threads, scaling.rounds, scaling.images.label, quick=options.quick)
    results = scaling_report.Results(where)
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", end=" ", file=sys.stderr, flush=True)
        if name == "lean":
            results.lean_label, results.lean = lean.measure(
                rounds=scaling.rounds, threads=options.threads, quick=options.quick
            )
        else:
            results.curves.append((curves[name], scaling.measure(curves[name])))
        print("done", file=sys.stderr, flush=True)
        # Written after every curve, so that a run that is stopped leaves what it has.
        scaling_report.write(results, folder, docs=options.docs)
    print(scaling_report.markdown(results))
    print(f"Written to {folder}", file=sys.stderr)
    return 1 if broken(results) else 0


def broken(results: scaling_report.Results) -> bool:
    """Say whether a point ended in an error or a strategy changed a result."""
    points = [point for _, curve in results.curves for point in curve]
    return any(point.failed for point in points) or any(not line.same for line in results.lean)
