"""How far annealed estimates of log Z are from the exact value: ``python -m fastrbm.benchmarks.annealing``.

Trains 20 hidden units on MNIST (binarised at > 127; the bundled digits where MNIST is not found), sums exactly, and
prints for each method, start and number of temperatures the root mean square error over seeds, how many 95 % intervals
hold the exact value, how many results say that they are not reliable, and the time of one estimate. The table of
docs/likelihood.rst.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence

import numpy as np

from fastrbm import BernoulliRBM, datasets
from fastrbm.likelihood import log_partition

N_HIDDEN, N_CHAINS = 20, 100
LINES = [
    ("mais", "uniform"),
    ("mais", "biases"),
    ("mais", "base-rate"),
    ("ais", "auto"),
    ("mais", "auto"),
    ("smc", "auto"),
    ("reverse", "auto"),
    ("bracket", "auto"),
    ("tempering", "auto"),
]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    parser = argparse.ArgumentParser(prog="python -m fastrbm.benchmarks.annealing", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="estimates of each kind (default 100)")
    parser.add_argument("--temperatures", type=int, nargs="+", default=[100, 1000])
    options = parser.parse_args(argv)
    try:
        images, name = datasets.load_mnist(download=False).images, "MNIST"
    except FileNotFoundError:
        images, name = datasets.load_digits().images, "digits"
    X = datasets.binarize(images[:20000], "threshold")
    rbm = BernoulliRBM(N_HIDDEN, n_iter=5, batch_size=64, learning_rate=0.05, random_state=0).fit(X)
    exact = log_partition(rbm, "exact")
    print(f"{name}, {N_HIDDEN} hidden units: log Z {exact.value:.4f} ({exact.seconds:.3f} s)")
    print(f"{N_CHAINS} chains each way, {options.seeds} seeds")
    print("| method | start | temperatures | rms error | stated | intervals that hold log Z | not reliable | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for method, start in LINES:
        for n in options.temperatures:
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # few effective chains: that is what the table shows
                found = [
                    log_partition(
                        rbm, method, start=start, data=X, n_chains=N_CHAINS, n_temperatures=n, random_state=seed
                    )
                    for seed in range(options.seeds)
                ]
            seconds = (time.perf_counter() - begin) / options.seeds
            error = np.sqrt(np.mean([(x.value - exact.value) ** 2 for x in found]))
            stated = np.sqrt(np.mean([x.stderr**2 for x in found]))
            inside = sum(x.interval[0] <= exact.value <= x.interval[1] for x in found)
            doubted = sum(not x.reliable for x in found)
            line = f"| {method} | {start} | {n} | {error:.4f} | {stated:.4f} | {inside} | {doubted} | {seconds:.3f} |"
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
