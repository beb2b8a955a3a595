"""Annealed chains that are resampled on their way: sequential Monte Carlo, or population annealing.

Chains in which a path would waste its work are replaced by copies of those that carry the weight. Several populations
go side by side without exchange; each gives an estimate of Z / Z_0 whose mean is right, and how far they are apart
says how good they are, also where no weight within one shows it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.contract import States
from .._kernels.draws import Stream, uniforms
from .._kernels.resampling import effective_share, relative, systematic
from .paths import Path, Progress

#: times that populations may be resampled
MOST_STOPS = 128
#: share of effective chains below which a population is resampled
LEAST_SHARE = 0.5


class Populations(NamedTuple):
    """What populations have come to.

    Attributes
    ----------
    log_weights : ndarray of float64, shape (n_populations,)
        Logs of unbiased estimates of Z_end / Z_start.
    ancestors : float
        Effective number of chains at the start from which those at the end descend.
    states : PackedBits or ndarray, shape (n_populations * size, n_units)
        Kept layer at the end, of equal weights.
    """

    log_weights: NDArray[np.float64]
    ancestors: float
    states: States


def split(n_chains: int) -> tuple[int, int]:
    """Number of populations and chains of each for so many chains or a few more."""
    n_populations = 16 if n_chains >= 128 else 8 if n_chains >= 16 else min(n_chains, 4)
    return n_populations, -(-n_chains // n_populations)


def anneal(
    path: Path,
    states: States,
    betas: NDArray[np.float64],
    n_populations: int,
    stage: int,
    first: int = 0,
    progress: Progress = None,
    most_stops: int = MOST_STOPS,
) -> Populations:
    """Anneal populations, as many rows of `states` each, along `betas`; `first` is the number of the first chain."""
    n_chains, n_steps = len(states), len(betas) - 1
    size = n_chains // n_populations
    stops = np.unique(np.linspace(0, n_steps, min(n_steps, most_stops) + 1).astype(int))
    log_weights, total = np.zeros((n_populations, size)), np.zeros(n_populations)
    ancestors, key = np.arange(n_chains).reshape(n_populations, size), path.key.fold_in(stage)
    for begin, end in zip(stops[:-1], stops[1:], strict=True):
        gained, states = path.anneal(
            states, betas[begin : end + 1], stage, first, int(begin), _part(progress, int(begin), n_steps, n_chains)
        )
        log_weights += gained.reshape(n_populations, size)
        weights, log_mean = relative(log_weights)
        poor = effective_share(weights) < LEAST_SHARE if end < n_steps else np.ones(n_populations, dtype=np.bool_)
        if poor.any():
            u = uniforms(key.at(int(end), Stream.RESAMPLE, first), n_populations, 1, np.float64)
            chosen = np.tile(np.arange(size), (n_populations, 1))
            for k in np.flatnonzero(poor):
                chosen[k] = systematic(weights[k], u[k])
            total[poor] += log_mean[poor]
            log_weights[poor] = 0.0
            ancestors = np.take_along_axis(ancestors, chosen, axis=1)
            states = states[(chosen + size * np.arange(n_populations)[:, None]).ravel()]
    families = np.bincount(ancestors.ravel(), minlength=n_chains).reshape(n_populations, size)
    return Populations(total, float((size**2 / np.square(families).sum(axis=1)).sum()), states)


def _part(progress: Progress, begin: int, n_steps: int, n_chains: int) -> Any:
    """Progress of one stretch within the whole."""
    if progress is None:
        return None

    def report(done: int, total: int) -> None:
        progress(begin * n_chains + done, n_steps * n_chains)

    return report
