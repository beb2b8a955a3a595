"""Log Z from chains at all temperatures that exchange their states, neighbours joined by Bennett's acceptance ratio.

The chains come from populations that have been annealed along the path, so that each temperature begins near its own
distribution; exchange then carries states from beta = 0, where they are drawn anew every round, to the model and back.
Groups of ladders do not mix. How far their values are apart, whether both halves of the run agree, and how often states
have gone from one end to the other and back say what the value is worth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import Parameters, join_rows
from .._kernels.contract import States
from .._kernels.draws import Draw, Stream, uniforms
from . import populations
from ._result import Estimate, acceptance_ratio, log_mean
from .paths import DATA, LADDER, Path, Progress, adapted, lengths, rows_as_states

#: groups of ladders that are told apart
N_GROUPS = 8
_SWEEPS = 2  # Gibbs sweeps between exchanges
_PER_LENGTH = 1.5  # temperatures for a unit of thermodynamic length: about half of the exchanges are accepted
_FEWEST, _MOST = 8, 400  # temperatures
_WARM_UP = 4  # one of so many rounds is not counted
_FINER = 16  # temperatures of the annealing for each of the ladder


class Ladder(NamedTuple):
    """What the chains have come to.

    Attributes
    ----------
    groups : ndarray of float64, shape (n_groups,)
        Log Z of each group of ladders.
    value : float
        Log Z of all together.
    drift : float
        Log Z of the second half of the rounds minus that of the first.
    round_trips : int
        Journeys of states from the model to the start and back.
    n_chains, n_temperatures : int
        Ladders, and temperatures of each.
    """

    groups: NDArray[np.float64]
    value: float
    drift: float
    round_trips: int
    n_chains: int
    n_temperatures: int

    def estimate(self) -> Estimate:
        """Mean of the groups as an estimate, its error from the differences between them and between halves."""
        found = log_mean(self.groups)
        error = max(found.stderr, abs(self.drift) / 2)
        more = 1.0 if found.stderr == 0 else error / found.stderr
        low, high = self.value - more * (found.value - found.low), self.value + more * (found.high - found.value)
        return Estimate(self.value, error, low, high, float(self.round_trips))


def run(path: Path, n_chains: int, n_rounds: int, rows: States | None = None, progress: Progress = None) -> Ladder:
    """Temper ladders of the path; half of those of a group start at the model from rows of data, where there are any.

    Parameters
    ----------
    path : Path
    n_chains : int
        Ladders, rounded up to a multiple of `N_GROUPS`.
    n_rounds : int
        Exchanges that are counted.
    rows : PackedBits, ndarray or None
        Visible states of data.
    progress : callable or None
    """
    n_groups = min(N_GROUPS, n_chains)
    n = -(-n_chains // n_groups) * n_groups
    betas = _ladder(path)
    n_temperatures = len(betas)
    models, units = _models(path, betas)
    states = _annealed(path, betas, n, n_groups)
    if rows is not None:
        states[-1] = _with_data(path, states[-1], rows, n)
    n_idle = -(-n_rounds // _WARM_UP)
    ups, downs = (np.zeros((n_temperatures - 1, n_rounds, n)) for _ in range(2))
    seen = np.zeros((n_temperatures - 1, n_rounds), dtype=np.bool_)
    marks, trips = np.zeros((n_temperatures, n), dtype=np.int8), 0
    key = path.key.fold_in(LADDER)
    with path.backend.holding(*(p.weights for pair in models for p in pair)):
        for number in range(n_rounds + n_idle):
            counted = number - n_idle
            for k in range(number % 2, n_temperatures - 1, 2):
                both = join_rows([states[k], states[k + 1]])
                hot, cold = (path.backend.free_energy(units[0], both, models[j][1]) for j in (k, k + 1))
                up, down = (hot - cold)[:n], (cold - hot)[n:]
                if counted >= 0:
                    ups[k, counted], downs[k, counted], seen[k, counted] = up, down, True
                u = uniforms(key.at(number, Stream.SWAP, k * n), n, 1, np.float64)[:, 0]
                accepted = np.flatnonzero(np.log(u) < up + down)
                order = np.arange(2 * n)
                order[accepted], order[n + accepted] = n + accepted, accepted
                both = both[order]
                states[k], states[k + 1] = both[:n], both[n:]
                marks[k : k + 2] = marks[k : k + 2].reshape(-1)[order].reshape(2, n)
            marks[0, marks[0] == 1] = 2
            trips += int((marks[-1] == 2).sum()) if counted >= 0 else 0
            marks[-1] = 1
            states[0] = path.start(n, (1 + number) * n, LADDER)
            for k in range(1, n_temperatures):
                draw = Draw(key.seed, number * _SWEEPS, 0, k * n)
                _, states[k] = path.backend.run_chains(states[k], models[k][0], units, draw, _SWEEPS)
            if progress is not None:
                progress(number + 1, n_rounds + n_idle)
    return _joined(path, ups, downs, seen, n_groups, trips)


def _ladder(path: Path) -> NDArray[np.float64]:
    """Inverse temperatures, as many as the path is long."""
    _, length = lengths(path)
    count = int(np.clip(np.ceil(_PER_LENGTH * length[-1]), _FEWEST, _MOST))
    return adapted(path, np.linspace(0, 1, count + 1))


def _models(path: Path, betas: NDArray[np.float64]) -> tuple[list[tuple[Parameters, Parameters]], tuple[str, str]]:
    """Models at the inverse temperatures with the kept layer as the hidden one, and with the layers exchanged.

    The second of a pair has the free energies of kept states. Also the units, the kept ones last.
    """
    weights, *biases = path.model.parameters
    bases, units = list(path.bases), list(path.model.units)
    if path.kept == 0:
        weights, biases, bases, units = np.ascontiguousarray(weights.T), biases[::-1], bases[::-1], units[::-1]
    turned = np.ascontiguousarray(weights.T)
    found = []
    for beta in betas:
        scale = weights.dtype.type(beta)
        summed, kept = (scale * (bias - base) + base for bias, base in zip(biases, bases, strict=True))
        found.append((Parameters(scale * weights, summed, kept), Parameters(scale * turned, kept, summed)))
    return found, (units[0], units[1])


def _annealed(path: Path, betas: NDArray[np.float64], n: int, n_groups: int) -> list[States]:
    """Kept layers at all temperatures, of populations that are annealed from one to the next."""
    states = [path.start(n, 0, LADDER)]
    for k in range(len(betas) - 1):
        between = np.linspace(betas[k], betas[k + 1], _FINER + 1)
        states.append(populations.anneal(path, states[-1], between, n_groups, LADDER, k * n).states)
    return states


def _with_data(path: Path, states: States, rows: States, n: int) -> States:
    """States of which those of every other ladder are drawn given rows of data."""
    rows = rows_as_states(rows, path.model.weights.dtype)
    chosen = rows[np.arange(n) * max(1, len(rows) // n) % len(rows)]
    both = join_rows([states, path.given(chosen, 0, DATA)])
    return both[np.arange(n) + n * (np.arange(n) % 2)]


def _joined(
    path: Path,
    ups: NDArray[np.float64],
    downs: NDArray[np.float64],
    seen: NDArray[np.bool_],
    n_groups: int,
    trips: int,
) -> Ladder:
    """Add up Bennett's ratios of neighbours for each group, all together, and both halves of the rounds."""
    n_pairs, n_rounds, n = ups.shape
    half = n_rounds // 2

    def log_z(rounds: slice, chains: slice) -> float:
        total = path.log_start
        for k in range(n_pairs):
            up, down = (of[k, rounds][seen[k, rounds]][:, chains].ravel() for of in (ups, downs))
            total += acceptance_ratio(up, down)
        return total

    size = n // n_groups
    groups = np.array([log_z(slice(None), slice(g * size, (g + 1) * size)) for g in range(n_groups)])
    every = slice(None)
    drift = log_z(slice(half, None), every) - log_z(slice(half), every) if half >= 2 else np.inf
    return Ladder(groups, log_z(every, every), float(drift), trips, n, n_pairs + 1)
