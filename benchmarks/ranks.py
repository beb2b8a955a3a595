"""One model on several processes: what is measured here, and what that predicts for more.

``mpirun -n 2 python -m benchmarks.ranks`` (with ``--bind-to none``, or one processor for each process) measures the
all-reduce of the integers of a gradient, minibatches by one process with as many threads as there are processes, and
the same by all processes with one thread each; then it predicts how efficient N nodes of this kind are.

The model: a minibatch of n rows takes ``a n + u`` seconds on one node, `u` being the update, which every node makes; an
all-reduce of S bytes by N nodes takes ``2 log2(N) latency + 2 (N - 1) / N S / bandwidth`` (recursive halving and
doubling; Thakur, Rabenseifner, Gropp, Int. J. High Perform. Comput. Appl. 19, 2005). Nothing is taken to overlap.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastrbm import BernoulliRBM, distributed
from fastrbm._versions import processor_name

SHAPES = ((784, 256), (784, 1024), (784, 3824))
#: latency in microseconds and bandwidth in GB/s of networks that were not measured: nominal values of their kinds
NETWORKS = {"10 Gb/s Ethernet": (30.0, 1.1), "100 Gb/s InfiniBand": (2.0, 11.0)}
NODES = (2, 4, 8, 16, 32, 64)


class Link(NamedTuple):
    """What an all-reduce costs: seconds of a message, and bytes a second."""

    latency: float
    bandwidth: float

    def seconds(self, n_nodes: int, n_bytes: float) -> float:
        """Of an all-reduce."""
        if n_nodes == 1:
            return 0.0
        return 2 * math.log2(n_nodes) * self.latency + 2 * (n_nodes - 1) / n_nodes * n_bytes / self.bandwidth


class Node(NamedTuple):
    """Seconds of a minibatch: for each row, and for the update."""

    row: float
    update: float

    def seconds(self, n_rows: float) -> float:
        """Of a minibatch."""
        return self.row * n_rows + self.update


def efficiency(node: Node, link: Link, n_nodes: int, batch: int, n_bytes: float) -> float:
    """Share of N times the speed of one node that N nodes reach, each with its part of the minibatch."""
    together = node.seconds(batch / n_nodes) + link.seconds(n_nodes, n_bytes)
    return node.seconds(batch) / (n_nodes * together)


def rows_wanted(node: Node, link: Link, n_nodes: int, n_bytes: float, wanted: float = 0.8) -> float:
    """Rows of each node's part of a minibatch from which N nodes reach an efficiency."""
    extra = wanted * (node.update + link.seconds(n_nodes, n_bytes)) - node.update / n_nodes
    return max(1.0, extra / ((1 - wanted) * node.row))


def gradient_bytes(n_visible: int, n_hidden: int) -> int:
    """Bytes of the integers of one gradient."""
    return 4 * (n_visible * n_hidden + n_hidden + 2 * n_visible + 1)


def measure_link(ranks: Any, rounds: int) -> Link:
    """Latency and bandwidth of the all-reduce, from its time for little and for much."""
    times = []
    for n in (16, 1 << 20):
        x = np.ones(n, np.int32)
        seconds = []
        for _ in range(rounds):
            ranks.gather(None)
            begin = time.perf_counter()
            ranks.start_add(x)()
            seconds.append(time.perf_counter() - begin)
        times.append(statistics.median(seconds))
    steps, share = 2 * math.log2(ranks.size), 2 * (ranks.size - 1) / ranks.size
    return Link(times[0] / steps, share * 4 * (1 << 20) / max(times[1] - times[0], 1e-9))


def seconds_per_minibatch(fit: Any, shape: tuple[int, int], batch: int, n_threads: int, rounds: int) -> float:
    """Of a fit by `fit`, without what it takes to begin: the difference of a long and a short one."""
    n_visible, n_hidden = shape
    rows = (np.random.default_rng(0).random((8 * batch, n_visible)) < 0.2).astype(np.uint8)
    found = []
    for _ in range(rounds):
        took = []
        for n_iter in (1, 4):
            rbm = BernoulliRBM(
                n_hidden, batch_size=batch, n_iter=n_iter, learning_rate=1e-3, random_state=0, n_threads=n_threads
            )
            begin = time.perf_counter()
            fit(rbm, rows)
            took.append(time.perf_counter() - begin)
        found.append((took[1] - took[0]) / (3 * 8))
    return statistics.median(found)


def together(ranks: Any) -> Any:
    """Make a function that fits by all processes, each with its rows."""
    return lambda rbm, rows: distributed.fit(rbm, np.array_split(rows, ranks.size)[ranks.rank], comm=ranks)


def measure(ranks: Any, shape: tuple[int, int], batch: int, rounds: int) -> dict[str, Any]:
    """Minibatches of one shape, in interleaved rounds."""
    alone, shared, ones = [], [], []
    for _ in range(rounds):
        # the others wait in a sleep, not in a spin of MPI's, while the first measures
        alone.append(_by_the_first(ranks, lambda: seconds_per_minibatch(_fit, shape, batch, ranks.size, 1)))
        ones.append(_by_the_first(ranks, lambda: seconds_per_minibatch(_fit, shape, batch // 4, 1, 1)))
        ones.append(_by_the_first(ranks, lambda: seconds_per_minibatch(_fit, shape, batch, 1, 1)))
        before = ranks.bytes_added
        shared.append(seconds_per_minibatch(together(ranks), shape, batch, 1, 1))
        added = (ranks.bytes_added - before) / (8 * 5)
    few, many = (statistics.median(ones[k::2]) for k in (0, 1))
    row = max((many - few) / (batch - batch // 4), 1e-9)
    return {
        "shape": shape,
        "batch": batch,
        "bytes": added,
        "one process": statistics.median(alone),
        "processes": statistics.median(shared),
        "efficiency": statistics.median(a / b for a, b in zip(alone, shared, strict=True)),
        "node": Node(row, max(many - batch * row, 0.0)),
    }


def _fit(rbm: BernoulliRBM, rows: Any) -> None:
    rbm.fit(rows)


def _by_the_first(ranks: Any, action: Any) -> Any:
    result = action() if ranks.rank == 0 else None
    while not ranks.arrived(3600):
        pass
    return ranks.share(result)


def report(found: dict[str, Any]) -> str:
    """What was measured, and predictions, as text."""
    link, n = Link(*found["link"]), found["processes"]
    lines = [
        f"all-reduce by {n} processes: {link.latency * 1e6:.1f} us a message, {link.bandwidth / 1e9:.2f} GB/s",
        f"{'model':>10} {'batch':>6} {'MB':>6} {f'1 x {n} threads':>15} {f'{n} x 1 thread':>14} {'efficiency':>10}",
    ]
    for case in found["cases"]:
        shape = "x".join(map(str, case["shape"]))
        lines.append(
            f"{shape:>10} {case['batch']:>6} {case['bytes'] / 1e6:>6.2f} {case['one process'] * 1e3:>12.2f} ms "
            f"{case['processes'] * 1e3:>11.2f} ms {case['efficiency']:>10.2f}"
        )
    links = {"as measured": link} | {name: Link(us * 1e-6, gb * 1e9) for name, (us, gb) in NETWORKS.items()}
    for name, kind in links.items():
        lines += ["", f"predicted efficiency of nodes of one such processor, {name}:"]
        lines.append(f"{'model':>10} {'batch':>6} " + " ".join(f"{k:>5}" for k in NODES))
        for case in found["cases"]:
            size, node = gradient_bytes(*case["shape"]), Node(*case["node"])
            for batch in (case["batch"], 16 * case["batch"]):
                shape = "x".join(map(str, case["shape"]))
                values = " ".join(f"{efficiency(node, kind, k, batch, size):>5.2f}" for k in NODES)
                lines.append(f"{shape:>10} {batch:>6} {values}")
        lines.append("rows of each node for 0.8:")
        for case in found["cases"]:
            size, node = gradient_bytes(*case["shape"]), Node(*case["node"])
            values = " ".join(f"{rows_wanted(node, kind, k, size):>5.0f}" for k in NODES)
            lines.append(f"{'x'.join(map(str, case['shape'])):>10} {'':>6} {values}")
    return "\n".join(lines)


def as_rst(found: dict[str, Any]) -> str:
    """The same for the page of the documentation that includes it."""
    n = found["processes"]
    text = "\n".join("    " + line if line else "" for line in report(found).splitlines())
    return f"""\
``mpirun -n {n} --bind-to none python -m benchmarks.ranks`` in the repository, on {processor_name()}, {n} cores of
one machine, messages through its shared memory; medians of interleaved rounds:

.. code-block:: text

{text}
"""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--quick", action="store_true", help="one small model, one round")
    parser.add_argument("--rst", metavar="FILE", help="write what was found for the documentation")
    options = parser.parse_args()
    ranks = distributed.MPIRanks()
    if ranks.size == 1:
        raise SystemExit("start it by mpirun -n 2 (or more)")
    shapes, rounds, batch = (((100, 64),), 1, 128) if options.quick else (SHAPES, options.rounds, options.batch)
    link = measure_link(ranks, 20 * rounds)
    cases = [measure(ranks, shape, batch, rounds) for shape in shapes]
    if ranks.rank:
        return
    found = {"processes": ranks.size, "link": link, "cases": cases}
    print(report(found))
    if options.rst:
        Path(options.rst).write_text(as_rst(found))


if __name__ == "__main__":
    main()
