"""Which start an annealed path should have: few chains from several starts, and starts matched to what they find.

No start is safe for all models. From the biases of a model with strong ones chains fall into the states of these; from
no biases they fall into wide states that the model with its biases has not. Each start gives a lower bound of log Z,
though, so the one that finds most is the one to take.

Starts that are matched to the means of the states found at the end make the path short: on models of images the logs of
populations differ by a tenth of what they do from the start before, and on models with stiff weights they find tens of
nats more. But they are narrow: a state with other means than those of most may be missed. So what they find is trusted
as far as a broad start confirms it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import as_dense
from .._kernels.contract import States
from .._kernels.exponentials import exponentials
from ..init import data_bias, has_data_bias
from ..units import Mixed, Unit, get_unit
from . import populations
from ._result import Estimate, log_mean
from .paths import DATA, POPULATIONS, Bases, Path, Progress, adapted, rows_as_states

#: standard deviation of the logs of estimates of single populations, in nats, up to which their mean can be trusted
MOST_SPREAD = 1.5
#: the same of a broad start that only confirms another one
MOST_SPREAD_TO_CONFIRM = 2.0
_CHAINS = 64  # at least; an eighth of those of the estimate
_STEPS, _SOME_STEPS = 64, 500  # at least; so many are half of those of the estimate, more are an eighth
_PILOT_CHAINS, _PILOT_STEPS = 32, 32
_STOPS = 32
_SETTLING = 100  # Gibbs sweeps of chains that start from data
_CLIP = 0.005  # least probability of a state of a unit at a matched start
_GRID = 4096.0  # matched biases are rounded to its inverse, so that the last bits of sums do not matter
_LARGEST = 60.0  # natural parameter that a mean is inverted to


class Scout(NamedTuple):
    """A cheap estimate from one start of the path, or from data.

    Attributes
    ----------
    name : str
        Of the start.
    broad : bool
        Whether the start is not matched to states that were found.
    found : Estimate
        Of log Z of the model as it is annealed.
    spread : float
        Standard deviation of the logs of its populations' estimates.
    bases : tuple of arrays or None
        Biases at inverse temperature 0; None for data.
    matched : tuple of arrays or None
        Those that have the means of the states at the end.
    """

    name: str
    broad: bool
    found: Estimate
    spread: float
    bases: Bases | None = None
    matched: Bases | None = None

    @property
    def sound(self) -> bool:
        """Whether its populations agree."""
        return self.spread <= MOST_SPREAD


def spread(log_weights: NDArray[np.float64]) -> float:
    """Standard deviation of the logs of estimates of single populations."""
    return float(log_weights.std(ddof=1)) if len(log_weights) > 1 else math.inf


def _size(n_chains: int) -> tuple[int, int]:
    return populations.split(max(n_chains // 8, _CHAINS))


def _betas(path: Path, n_temperatures: int) -> NDArray[np.float64]:
    # its upper end bounds that of the estimate: it has to be narrower where the estimate is
    n_steps = max(min(n_temperatures // 2, _SOME_STEPS), n_temperatures // 8, _STEPS)
    return adapted(path, np.linspace(0, 1, n_steps + 1), _PILOT_CHAINS, _PILOT_STEPS)


def scout(
    name: str,
    broad: bool,
    path: Path,
    n_chains: int,
    n_temperatures: int,
    progress: Progress = None,
    small: bool = True,
) -> Scout:
    """Populations along a path; small ones, or of as many chains and temperatures as are given."""
    n_populations, size = _size(n_chains) if small else populations.split(n_chains)
    states = path.start(n_populations * size, 0, POPULATIONS)
    betas = _betas(path, n_temperatures) if small else adapted(path, np.linspace(0, 1, n_temperatures + 1))
    stops = _STOPS if small else populations.MOST_STOPS
    found = populations.anneal(path, states, betas, n_populations, POPULATIONS, 0, progress, stops)
    estimate = log_mean(path.log_start + found.log_weights)
    return Scout(name, broad, estimate, spread(found.log_weights), path.bases, matched_bases(path, found))


def scout_of_data(path: Path, rows: States, n_temperatures: int) -> Scout:
    """Populations that start from data and go back: what the data know and chains from the start may have missed.

    It is no bound of log Z from above, as rows of data are no samples of the model.
    """
    rows = rows_as_states(rows, path.model.weights.dtype)
    n_populations, size = populations.split(_CHAINS)
    n_chains = n_populations * size
    chosen = rows[np.arange(n_chains) * max(1, len(rows) // n_chains) % len(rows)]
    _, states = path.anneal(path.given(chosen, 0, DATA), np.ones(_SETTLING + 1), DATA, step=1)
    betas = _betas(path, n_temperatures)[::-1].copy()
    found = populations.anneal(path, states, betas, n_populations, DATA, n_chains, most_stops=_STOPS)
    estimate = log_mean(found.log_weights - path.log_start)
    return Scout("data", False, inverted(estimate), spread(found.log_weights))


def choose(scouts: list[Scout]) -> Scout:
    """The start that has found most; of those that have found as much, the one whose populations agree best."""
    starts = [s for s in scouts if s.bases is not None]
    most = max((s.found for s in starts), key=lambda found: found.value)
    close = [
        s for s in starts if most.value - s.found.value <= 2 * math.hypot(s.found.stderr, most.stderr) + 0.05
    ]  # fmt: skip
    return min(close, key=lambda s: s.found.stderr)


def inverted(e: Estimate) -> Estimate:
    """Invert what is estimated: its log changes its sign."""
    return Estimate(-e.value, e.stderr, -e.high, -e.low, e.ess)


# ---- matched starts ---------------------------------------------------------------------------------------------


def matched_bases(path: Path, found: populations.Populations) -> Bases:
    """Biases (visible, hidden) with which layers without weights have the means that the populations have come to.

    Each population counts by its estimate of Z. The layer that is summed out has its means given the other.
    """
    kept, other = path.kept, 1 - path.kept
    model = path.model
    weights = exponentials(found.log_weights - found.log_weights.max())
    shares = np.repeat(weights, len(found.states) // len(weights))
    shares /= shares.sum()
    given = path.backend.means(
        model.units[other],
        found.states,
        model.weights,
        model.parameters[1 + other],
        transpose=other == 0,
    )
    means = {kept: shares @ as_dense(found.states, np.float64), other: shares @ given.astype(np.float64)}
    bases = [
        np.rint(natural_parameters(get_unit(model.units[layer]), means[layer]) * _GRID) / _GRID for layer in (0, 1)
    ]
    dtype = model.weights.dtype
    return bases[0].astype(dtype), bases[1].astype(dtype)


def natural_parameters(unit: Unit, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural parameters of a layer with these means, those near the ends of what is possible moved inwards."""
    if has_data_bias(unit.spec):
        return data_bias(means, unit.spec, _CLIP)
    if isinstance(unit, Mixed):
        ends = np.cumsum([width for _, width in unit.parts])[:-1]
        parts = zip(np.split(means, ends), unit.parts, strict=True)
        return np.concatenate([natural_parameters(one, part) for part, (one, _) in parts])
    low, high = np.full_like(means, -_LARGEST), np.full_like(means, _LARGEST)
    high = np.maximum(high, means + 1.0)
    for _ in range(64):  # the mean rises with the natural parameter
        middle: Any = 0.5 * (low + high)
        above = unit.mean(middle) > means
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(0.5 * (low + high))
