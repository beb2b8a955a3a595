"""What a call of `partial_fit` takes on small minibatches, beside scikit-learn's: ``python -m benchmarks.calls``.

Where rows are few and small, a call is checks more than arithmetic. Sides take turns, every round begins with another
one, and the least of all calls is told: no call takes less than its work, and a busy machine only adds to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: (features, hidden units)
SHAPES = ((8, 4), (64, 16), (784, 256))
DTYPES = ("float64", "float32", "uint8")
N_ROWS = 10
SKLEARN, FAST, SAME_DRAWS = "scikit-learn", "fastrbm", "fastrbm.compat"


@dataclass(frozen=True)
class CallRow:
    """One line of the table: seconds of the least of the calls of every side."""

    work: str
    seconds: dict[str, float]

    def ratio(self, side: str) -> float:
        """How many times as long scikit-learn took."""
        return self.seconds[SKLEARN] / self.seconds[side]


def sides(n_hidden: int) -> dict[str, Any]:
    """Return new estimators of all sides by their names."""
    from sklearn.neural_network import BernoulliRBM

    import fastrbm
    import fastrbm.compat

    classes = {SKLEARN: BernoulliRBM, FAST: fastrbm.BernoulliRBM, SAME_DRAWS: fastrbm.compat.BernoulliRBM}
    return {name: cls(n_hidden, random_state=0) for name, cls in classes.items()}


def rows() -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield what is trained on: a name, the number of hidden units, and rows of zeros and ones, or grey ones."""
    for n_features, n_hidden in SHAPES:
        values = np.random.default_rng(0).random((N_ROWS, n_features))
        for dtype in DTYPES:
            yield f"{N_ROWS} rows, {n_features}x{n_hidden}, bits as {dtype}", n_hidden, (values < 0.3).astype(dtype)
        yield f"{N_ROWS} rows, {n_features}x{n_hidden}, grey as float64", n_hidden, values


def least(
    calls: dict[str, Callable[[], Any]],
    rounds: int,
    per_round: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the seconds of the least call of every side, in turns."""
    found = dict.fromkeys(calls, float("inf"))
    names = list(calls)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            call = calls[name]
            for _ in range(per_round):
                begin = clock()
                call()
                found[name] = min(found[name], clock() - begin)
    return found


def measure(rounds: int, per_round: int) -> Iterator[CallRow]:
    """Time calls on all shapes and types, one thread each: with more, BLAS waits for its own on a busy machine."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        for work, n_hidden, X in rows():
            calls = {}
            for name, rbm in sides(n_hidden).items():
                rbm.partial_fit(X)  # a scikit-learn of old returns None
                calls[name] = lambda rbm=rbm, X=X: rbm.partial_fit(X)
            yield CallRow(work, least(calls, rounds, per_round))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m fastrbm.benchmarks.calls", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="rounds in which the sides take turns (default 10)")
    parser.add_argument("--calls", type=int, default=20, help="calls of a side in a round (default 20)")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.calls < 1:
        parser.error(f"--rounds and --calls must be positive, got {given.rounds} and {given.calls}")
    ours = (FAST, SAME_DRAWS)
    print(f"| partial_fit of | {SKLEARN}, us |" + "".join(f" {name}, us | ratio |" for name in ours))
    print("|---|---|" + "---|---|" * len(ours))
    for line in measure(given.rounds, given.calls):
        cells = [f"{1e6 * line.seconds[name]:.0f} | {line.ratio(name):.2f}x" for name in ours]
        print(f"| {line.work} | {1e6 * line.seconds[SKLEARN]:.0f} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
