"""How far annealed estimates of log Z are from the exact value: ``python -m fastrbm.benchmarks.annealing``.

Trains small models, sums exactly, and prints for each method, start and number of temperatures the root mean square
error over seeds, how many 95 % intervals hold the exact value, how many results say that they are not reliable, how
many do neither, the median width of reliable intervals, and the time of one estimate. The tables of
docs/likelihood.rst.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrbm import RBM, BernoulliRBM, Model, datasets
from fastrbm.likelihood import log_partition
from fastrbm.units import get_unit

N_CHAINS = 100
METHODS = ("ais", "mais", "smc", "reverse", "bracket", "tempering")
#: starts that are compared on the model of MNIST
STARTS = ("uniform", "biases", "base-rate")
VISIBLE = [
    "bernoulli", "ising", "onehot(3)", "gaussian", "relu", "binomial(3)", "mixed(gaussian*3,bernoulli*5,onehot(4)*4)",
]  # fmt: skip
HIDDEN = ["bernoulli", "ising", "onehot(4)", "onehot", "binomial(2)", "gaussian", "relu"]
N_UNITS = 12  # of either layer of a pair, so that one can be listed


def mnist() -> Iterator[tuple[str, Model, Any]]:
    """20 hidden units on MNIST, on the bundled digits where it is not found."""
    try:
        images, name = datasets.load_mnist(download=False).images, "MNIST"
    except FileNotFoundError:
        images, name = datasets.load_digits().images, "digits"
    X = datasets.binarize(images[:20000], "threshold")
    rbm = BernoulliRBM(20, n_iter=5, batch_size=64, learning_rate=0.05, random_state=0).fit(X)
    yield name, rbm.model_, X


def digits() -> Iterator[tuple[str, Model, Any]]:
    """14 hidden units on the digits, the same with all parameters times 3, and 12 at a high rate for long."""
    X = datasets.binarize(datasets.load_digits().images, "threshold")
    good = BernoulliRBM(14, n_iter=10, batch_size=10, learning_rate=0.05, random_state=0).fit(X).model_
    yield "digits", good, None
    yield "times 3", Model(*(3 * x for x in good.parameters)), None
    yield "long", BernoulliRBM(12, n_iter=100, batch_size=10, learning_rate=0.1, random_state=1).fit(X).model_, None


def pairs() -> Iterator[tuple[str, Model, Any]]:
    """All pairs of unit types with an exact sum, on the twelve pixels of the digits that vary most."""
    grey = datasets.load_digits().images.reshape(-1, 64).astype(np.float64)
    for visible in VISIBLE:
        for hidden in HIDDEN:
            if get_unit(visible).finite or get_unit(hidden).finite:
                X = rows_for(visible, grey[:, np.argsort(-grey.var(axis=0))[:N_UNITS]] / grey.max())
                options = {"n_iter": 20, "batch_size": 32, "learning_rate": 0.01, "random_state": 0}
                yield f"{visible}-{hidden}", RBM(N_UNITS, visible=visible, hidden=hidden, **options).fit(X).model_, X


def rows_for(visible: str, grey: NDArray[np.float64]) -> NDArray[np.float32]:
    """Grey values from 0 to 1 as states of visible units."""
    normal = (grey - grey.mean(axis=0)) / grey.std(axis=0)
    bits = (grey > 0.5).astype(np.float64)

    def levels(n: int, columns: slice) -> NDArray[np.float64]:
        which = np.minimum((grey[:, columns] * n).astype(int), n - 1)
        return np.eye(n)[which].reshape(len(grey), -1)

    if visible.startswith("mixed"):
        return np.hstack([normal[:, :3], bits[:, 3:8], levels(4, slice(8, 9))]).astype(np.float32)
    states = {
        "bernoulli": lambda: bits,
        "ising": lambda: 2 * bits - 1,
        "onehot(3)": lambda: levels(3, slice(0, 4)),
        "gaussian": lambda: normal,
        "relu": lambda: 2 * grey,
        "binomial(3)": lambda: np.rint(3 * grey),
    }
    return states[visible]().astype(np.float32)


MODELS = {"mnist": mnist, "digits": digits, "pairs": pairs}


def line(model: Model, exact: float, method: str, start: str, data: Any, n: int, n_seeds: int) -> str:
    """What estimates of so many seeds come to."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # estimates that are not reliable: that is what the table shows
        options = {"start": start, "data": data, "n_chains": N_CHAINS, "n_temperatures": n}
        found = [log_partition(model, method, random_state=seed, **options) for seed in range(n_seeds)]
    seconds = (time.perf_counter() - begin) / n_seeds
    error = np.sqrt(np.mean([(x.value - exact) ** 2 for x in found]))
    stated = np.sqrt(np.mean([x.stderr**2 for x in found]))
    held = np.array([x.interval[0] <= exact <= x.interval[1] for x in found])
    sure = np.array([x.reliable for x in found])
    widths = [x.interval[1] - x.interval[0] for x in found if x.reliable]
    width = f"{np.median(widths):.2f}" if widths else "-"
    counts = held.sum(), (~sure).sum(), (sure & ~held).sum()
    return " | ".join([f"{error:.3f}", f"{stated:.3f}", *map(str, counts), width, f"{seconds:.3f}"])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    parser = argparse.ArgumentParser(prog="python -m fastrbm.benchmarks.annealing", description=__doc__)
    parser.add_argument("--models", choices=MODELS, nargs="+", default=["mnist"])
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=100, help="estimates of each kind (default 100)")
    parser.add_argument("--temperatures", type=int, nargs="+", default=[100, 1000])
    options = parser.parse_args(argv)
    print(f"{N_CHAINS} chains each way, {options.seeds} seeds")
    print(
        "| model | method | start | temperatures | rms error | stated | intervals that hold log Z | not reliable | "
        "silent misses | width | seconds |"
    )
    print("|" + "---|" * 11)
    for kind in options.models:
        for name, model, data in MODELS[kind]():
            exact = log_partition(model, "exact").value
            starts = [("mais", start) for start in STARTS] if kind == "mnist" else []
            for method, start in [*starts, *((method, "auto") for method in options.methods)]:
                for n in options.temperatures:
                    told = line(model, exact, method, start, data, n, options.seeds)
                    print(f"| {name} | {method} | {start} | {n} | {told} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
