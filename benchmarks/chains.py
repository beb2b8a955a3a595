"""Gibbs sampling of many chains beside the peers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import quality
from .protocol import Measure, Row, alternate, judge, timed_row

if TYPE_CHECKING:
    from .cases import Bench, Case

N_HIDDEN = 500
_TARGETS: dict[int, dict[str, float | None]] = {
    10000: {"torch": 12.0, "torch-bfloat16": None, "torch-onednn": None, "jax": 12.0, "jaxbm": 12.0},
    1000: {"torch": None, "jax": None, "jaxbm": None, "thrml": None, "hamon": None},
}


def specifications() -> list[dict[str, Any]]:
    """Return the fields of the cases."""
    work = f"Gibbs sampling, 784x{N_HIDDEN}"
    return [
        dict(
            name=f"gibbs-h{N_HIDDEN}{'' if n == 10000 else f'-c{n}'}-{peer}", work=work, peer=peer, target=target,
            kind="gibbs", n_hidden=N_HIDDEN, n_chains=n,
        )
        for n, targets in _TARGETS.items()
        for peer, target in targets.items()
    ]  # fmt: skip


def gibbs(bench: Bench, case: Case) -> Row:
    """Run many chains of one model from the same rows; both sides must end in the same distribution.

    A peer that says so gets some of the chains, its time taken for all in proportion.
    """
    peer, parameters, threads = bench.peers[case.peer], bench.model(case.n_hidden), bench.threads
    n_chains, n_steps = (case.n_chains // 20, 5) if bench.quick else (case.n_chains, bench.gibbs_steps)
    V = bench.images.binary[:n_chains]
    n_peer = min(getattr(peer, "most_chains", None) or n_chains, n_chains)

    def theirs(seed: int) -> np.ndarray:
        return peer.gibbs(parameters, V[:n_peer], n_steps, seed=seed, threads=threads)

    def ours(seed: int) -> np.ndarray:
        return bench.ours.gibbs(parameters, V, n_steps, seed=seed, threads=threads)

    timing = alternate(
        theirs,
        ours,
        bench.rounds,
        threads=threads,
        # all steps, as some peers are compiled for their number
        warm_up=(lambda: theirs(0), lambda: ours(0)),
        pause=bench.pause,
    )
    timing = replace(timing, peer_seconds=tuple(t * n_chains / n_peer for t in timing.peer_seconds))
    # chains start from different rows, so the first ones are compared
    found = [[quality.free_energy(parameters, V[:n_peer]) for V in side] for side in (
        timing.peer_results, timing.ours_results
    )]  # fmt: skip
    # The chains are independent, so the error of the mean is known: four standard errors of a difference.
    error = 4 * float(np.std(found[0][0])) * math.sqrt(2 / (n_peer * bench.rounds))
    means = [[float(values.mean()) for values in side] for side in found]
    judgement = judge(Measure("mean free energy", "equal", absolute=error), *means)
    part = "" if n_peer == n_chains else f" (peer: {n_peer} of them)"
    work = f"{case.work}, {n_chains} chains{part}, {n_steps} steps"
    return timed_row(case.name, work, case.peer, case.target, timing, judgement, quick=bench.quick)
