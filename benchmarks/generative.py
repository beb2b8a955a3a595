"""Exact likelihoods on MNIST's digits 7, 8, 9: ``python -m fastrbm.benchmarks.generative``.

All 21076 images of the training and the test part, binarised at pixel > 0 (or another threshold), mean log-likelihood
in nats over seeds. The lines are the published training of 8 hidden units (Bellavia, Belli, Lera, Maida, 2025: CD-2,
RMSprop, 400 x 20 minibatches that grow from 10 to 500 rows) and ours, for Bernoulli and Ising units, and 55 one-hot
hidden units. ``--curve`` prints CD, PCD and exact gradients on the same axes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastrbm import L2, SGD, BernoulliRBM, IsingRBM, PottsRBM, RMSprop, datasets
from fastrbm.callbacks import LogLikelihood
from fastrbm.schedules import Cosine, Linear

PUBLISHED = dict(
    algorithm="cd",
    n_gibbs_steps=2,
    optimizer=RMSprop(epsilon=1e-4),
    learning_rate=0.05,
    batch_size=Linear(10, 500),
    steps_per_epoch=20,
    n_iter=400,
    regularizers=(L2(1e-3),),
    visible_bias="data",
)
OURS = dict(
    algorithm="exact",
    centered=True,
    optimizer=SGD(0.9),
    learning_rate=Cosine(0.3, 0.01),
    batch_size=250,
    n_iter=20,
    visible_bias="data",
)
EM = dict(algorithm="em", learning_rate=1.0, batch_size=1 << 20, n_iter=100, visible_bias="data")
#: name -> (estimator, hidden units, options, whether rows are spins)
LINES: dict[str, tuple[Any, int, dict[str, Any], bool]] = {
    "8 Bernoulli, published training": (BernoulliRBM, 8, PUBLISHED, False),
    "8 Bernoulli, exact gradient": (BernoulliRBM, 8, OURS, False),
    # a step in the couplings of spins is 16 times one in weights: they are a quarter, and their gradient four times
    "8 Ising, exact gradient": (IsingRBM, 8, OURS | {"learning_rate": Cosine(0.3 / 16, 0.01 / 16)}, True),
    "55 one-hot, EM": (PottsRBM, 55, EM, False),
}
CURVE = {
    "cd": dict(algorithm="cd", batch_size=250, learning_rate=0.05),
    "pcd": dict(algorithm="pcd", batch_size=250, learning_rate=0.05),
    "exact": dict(algorithm="exact", batch_size=250, learning_rate=0.05),
}


def rows(threshold: int, digits: tuple[int, ...] = (7, 8, 9)) -> tuple[np.ndarray, str]:
    """Binary rows of some digits, and where they are from."""
    try:
        parts = [datasets.load_mnist(part, download=False) for part in ("train", "test")]
        name = "MNIST"
    except FileNotFoundError:
        parts, name, threshold = [datasets.load_digits()], "digits", threshold // 16
    images = np.concatenate([p.images[np.isin(p.labels, digits)] for p in parts])
    return (images > threshold).astype(np.uint8), name


def _make(cls: Any, n_hidden: int, options: dict[str, Any], seed: int) -> Any:
    return cls(n_hidden, random_state=seed, **options)


def line(make: Callable[[int], Any], X: np.ndarray, seeds: int) -> str:
    """Mean and deviation of the log-likelihood over seeds, and the time of a run."""
    found, seconds = [], []
    for seed in range(seeds):
        begin = time.perf_counter()
        rbm = make(seed).fit(X)
        seconds.append(time.perf_counter() - begin)
        found.append(rbm.log_likelihood(X, method="exact").mean())
    return f"{np.mean(found):.2f} | {np.std(found):.2f} | {np.median(seconds):.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 0."""
    parser = argparse.ArgumentParser(prog="python -m fastrbm.benchmarks.generative", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threshold", type=int, default=0, help="pixels above it are 1 (default 0)")
    parser.add_argument("--passes", type=int, help="in place of those of each line, to try it out")
    parser.add_argument("--only", default="", help="lines whose name holds this")
    parser.add_argument("--curve", action="store_true", help="CD, PCD and exact gradients after 1, 2, 4, ... passes")
    options = parser.parse_args(argv)
    X, name = rows(options.threshold)
    print(f"{name}, digits 7, 8, 9: {len(X)} rows, pixel > {options.threshold}")
    short = {} if options.passes is None else {"n_iter": options.passes}
    if options.curve:
        n = short.get("n_iter", 32)
        marks = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= n]
        print(f"| passes | {' | '.join(map(str, marks))} |\n|---|{'---|' * len(marks)}")
        for kind, extra in CURVE.items():
            watch = LogLikelihood(X, method="exact")
            rbm = BernoulliRBM(8, random_state=0, visible_bias="data", n_iter=n, callbacks=(watch,), **extra).fit(X)
            curve = rbm.history_["log_likelihood"]
            print(f"| {kind} | {' | '.join(format(curve[k - 1], '.1f') for k in marks)} |")
        return 0
    print("| model and training | nats per image | deviation | seconds |\n|---|---|---|---|")
    for title, (cls, n_hidden, extra, spins) in LINES.items():
        if options.only in title:
            given = 2 * X.astype(np.int8) - 1 if spins else X
            make = partial(_make, cls, n_hidden, extra | short)
            made = line(make, given, options.seeds)
            print(f"| {title} | {made} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
