"""What a user may choose of the kernels, whichever backend they run on, and counts of what a strategy saves.

A strategy draws the same states as the whole product, bit for bit, with less work; it serves where only states are
wanted: free chains, the sweeps of CD-k and PCD-k before the last hidden layer, sampled features. A precision is
another matter: ``"fast"`` rounds the weights, so results differ.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

#: strategy -> what it does
STRATEGIES = {
    "auto": "what was measured to be fastest",
    "dense": "whole products, by table look-ups or by rows of active units",
    "delta": "rows of the units that flipped, where they are few",
    "bounds": "projection on 64 landmarks and the Cauchy-Schwarz inequality for the rest; exact sums of the undecided",
    "lcd": "delta, and no product at all where the state of an earlier step decides by the Cauchy-Schwarz inequality",
    "lowbit": "16-bit look-ups with a rigorous error bound; exact sums of the undecided",
}
#: "fast" rounds weights to 16 bits
PRECISIONS = ("full", "fast")
#: names of what `count_work` counts; backends count under these names
COUNTERS = ("decisions", "filtered", "recomputed", "products", "dense_products", "refreshes")


def check_strategy(strategy: Any) -> None:
    """Raise ValueError unless `strategy` is one of `STRATEGIES`."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {list(STRATEGIES)}, got {strategy!r}")


def check_precision(precision: Any) -> None:
    """Raise ValueError unless `precision` is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {list(PRECISIONS)}, got {precision!r}")


_open_counts: list[dict[str, int]] = []
_lock = threading.Lock()


def _after_fork() -> None:
    # a thread of the parent, which the child does not have, may have held it
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def count_work() -> Iterator[dict[str, int]]:
    """Count what strategies do inside a ``with`` block, in all threads of this process.

    Yields
    ------
    dict
        Filled as native calls return: ``decisions`` (units drawn), ``filtered`` (decided without their exact sum),
        ``recomputed`` (left open by a filter and summed exactly), ``products`` (multiply-adds of single inputs in full
        precision), ``dense_products`` (what whole products would have taken), ``refreshes`` (sums of a chunk of chains
        made anew by the delta product). All zero where no strategy was in use.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> rbm = fastrbm.BernoulliRBM(16, strategy="lowbit", random_state=0).fit(np.eye(32))
    >>> with fastrbm.count_work() as work:
    ...     _ = rbm.sample(8, n_steps=10)
    >>> work["filtered"] + work["recomputed"] == work["decisions"]
    True
    """
    counters = dict.fromkeys(COUNTERS, 0)
    with _lock:
        _open_counts.append(counters)
    try:
        yield counters
    finally:
        with _lock:
            _open_counts[:] = [other for other in _open_counts if other is not counters]


def note_counters(done: Mapping[str, int] | None) -> None:
    """Add what a call of kernels did, by the names in `COUNTERS`, to all open counts; None adds nothing."""
    if done is None:
        return
    with _lock:
        for counters in _open_counts:
            for name, value in done.items():
                counters[name] += value
