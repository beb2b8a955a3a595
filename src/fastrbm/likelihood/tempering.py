"""Log Z from chains of neighbouring models that exchange their states, joined by Bennett's acceptance ratio.

The models are one at all temperatures, or those along a line of models (`trajectory`). The chains come from populations
that have been annealed along the path, so that each model begins near its own distribution; exchange then carries
states from the first model, where they are drawn anew every round, to the last and back. Groups of ladders do not mix.
How far their values are apart, whether both halves of the run agree, and how often states have gone from one end to the
other and back say what the value is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, Parameters, join_rows
from .._kernels.contract import States
from .._kernels.draws import Draw, Key, Stream, uniforms
from .._kernels.ladders import ModelLadder, count_trips
from . import populations
from ._result import Estimate, acceptance_ratio, log_mean
from .paths import DATA, LADDER, Path, Progress, adapted, lengths, rows_as_states

#: groups of ladders that are told apart
N_GROUPS = 8
#: Gibbs sweeps between exchanges
SWEEPS = 2
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
        Ladders, and temperatures (models) of each.
    acceptance : float
        Lowest share of exchanges of neighbours that were accepted.
    apart : float
        Log Z of every other ladder, those that start from data, minus that of the rest.
    """

    groups: NDArray[np.float64]
    value: float
    drift: float
    round_trips: int
    n_chains: int
    n_temperatures: int
    acceptance: float
    apart: float

    def estimate(self) -> Estimate:
        """Mean of the groups as an estimate, its error from the differences between them and between halves."""
        found = log_mean(self.groups)
        error = max(found.stderr, abs(self.drift) / 2)
        more = 1.0 if found.stderr == 0 else error / found.stderr
        low, high = self.value - more * (found.value - found.low), self.value + more * (found.high - found.value)
        return Estimate(self.value, error, low, high, float(self.round_trips))


class Rungs(NamedTuple):
    """What a ladder is made of.

    Attributes
    ----------
    models : list of Parameters
        Of which the hidden layer is the one that chains keep.
    units : (str, str)
        Of the layer that is summed out, and of the kept one.
    fresh : callable
        Takes a number of chains and the number of the first one; returns kept states of the first model.
    log_start : float
        Log Z of the first model.
    between : dict
        Lists of models that lie between the rung of that number and the next one.
    """

    models: list[Parameters]
    units: tuple[str, str]
    fresh: Callable[[int, int], States]
    log_start: float
    between: dict[int, list[Parameters]]


class Record(NamedTuple):
    """What chains of a ladder have seen.

    Attributes
    ----------
    rungs : Rungs
    n_groups : int
    ups, downs : ndarray of float64, shape (n_pairs, n_rounds, n_chains)
        Gains of log f towards the next model of the states of a model, and towards it of those of the next one.
    seen : ndarray of bool, shape (n_pairs, n_rounds)
        Whether the pair had its turn.
    inside : dict
        By the number of the rung: arrays (n_models, n_rounds, 2, n_chains) of the gains towards models between it and
        the next one, of its states and of those of the next.
    accepted : ndarray of int64, shape (n_pairs,)
    trips : int
    """

    rungs: Rungs
    n_groups: int
    ups: NDArray[np.float64]
    downs: NDArray[np.float64]
    seen: NDArray[np.bool_]
    inside: dict[int, NDArray[np.float64]]
    accepted: NDArray[np.int64]
    trips: int

    def log_z(self, rounds: slice, chains: slice) -> NDArray[np.float64]:
        """Log Z of all models, from some of the rounds and chains."""
        found = [self.rungs.log_start]
        for k in range(len(self.ups)):
            up, down = (of[k, rounds][self.seen[k, rounds]][:, chains].ravel() for of in (self.ups, self.downs))
            found.append(found[-1] + acceptance_ratio(up, down))
        return np.array(found)

    def log_z_between(self, k: int, number: int, step: float, rounds: slice, chains: slice) -> float:
        """Log Z of a model between the rung k and the next one, minus that of the rung; `step` is that of the next.

        The mean of f / f_k under both rungs at once, each state of them weighted by how probable it is under their
        mixture (Shirts and Chodera, J. Chem. Phys. 129, 124105, 2008).
        """
        turn = self.seen[k, rounds]
        here, there = (
            self.inside[k][number, rounds][turn][:, side, chains].ravel() for side in (0, 1)
        )  # fmt: skip
        up, down = (of[k, rounds][turn][:, chains].ravel() for of in (self.ups, self.downs))
        gains, to_next = np.concatenate([here, there]), np.concatenate([up, -down])
        return float(np.logaddexp.reduce(gains - np.logaddexp(0.0, to_next - step)) - np.log(len(here)))

    def ladders(self) -> list[list[Ladder]]:
        """For each rung its own `Ladder`, and after it those of the models between it and the next one."""
        n_pairs, n_rounds, n = self.ups.shape
        half, size, every = n_rounds // 2, n // self.n_groups, slice(None)
        parts = [(every, slice(g * size, (g + 1) * size)) for g in range(self.n_groups)]
        parts += [(every, every), (every, slice(0, None, 2)), (every, slice(1, None, 2))]
        if half >= 2:
            parts += [(slice(half), every), (slice(half, None), every)]
        at_rungs = [self.log_z(*part) for part in parts]
        acceptance = self.accepted / np.maximum(1, self.seen.sum(axis=1) * n)

        def ladder(values: list[float], last_pair: int) -> Ladder:
            groups, rest = np.array(values[: self.n_groups]), values[self.n_groups :]
            drift = rest[4] - rest[3] if half >= 2 else np.inf
            least = float(acceptance[: last_pair + 1].min()) if last_pair >= 0 else 1.0
            return Ladder(groups, float(rest[0]), float(drift), self.trips, n, n_pairs + 1, least, rest[2] - rest[1])

        found = []
        for k in range(n_pairs + 1):
            found.append([ladder([float(values[k]) for values in at_rungs], k - 1)])
            for number in range(len(self.inside.get(k, ()))):
                values = [
                    values[k] + self.log_z_between(k, number, float(values[k + 1] - values[k]), *part)
                    for values, part in zip(at_rungs, parts, strict=True)
                ]
                found[-1].append(ladder(values, k))
        return found


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
    n_groups, n = groups_of(n_chains)
    betas = _ladder(path)
    models, units = _models(path, betas)
    states = _annealed(path, betas, n, n_groups)
    if rows is not None:
        states[-1] = with_data(path, states[-1], rows, n)
    rungs = Rungs(models, units, lambda number, first: path.start(number, first, LADDER), path.log_start, {})
    record = exchange(path.backend, path.key.fold_in(LADDER), rungs, states, n_groups, n_rounds, progress)
    return record.ladders()[-1][0]


def groups_of(n_chains: int) -> tuple[int, int]:
    """Number of groups, and of ladders rounded up to a multiple of it."""
    n_groups = min(N_GROUPS, n_chains)
    return n_groups, -(-n_chains // n_groups) * n_groups


def exchange(
    backend: Backend,
    key: Key,
    rungs: Rungs,
    states: list[States],
    n_groups: int,
    n_rounds: int,
    progress: Progress = None,
    mark: int = 0,
) -> Record:
    """Run ladders that start with these kept states of each rung; a quarter of the rounds more goes before.

    With ``mark=1`` a journey from the first model to the last counts also where its state has not been at the last one
    before: states of the first model are new ones in any case.
    """
    n, n_rungs, n_idle, states = len(states[0]), len(states), -(-n_rounds // _WARM_UP), list(states)
    ups, downs = (np.zeros((n_rungs - 1, n_rounds, n)) for _ in range(2))
    seen, accepts = np.zeros((n_rungs - 1, n_rounds), dtype=np.bool_), np.zeros(n_rungs - 1, dtype=np.int64)
    inside = {k: np.zeros((len(models), n_rounds, 2, n)) for k, models in rungs.between.items()}
    marks, trips = np.full((n_rungs, n), mark, dtype=np.int8), 0
    with ModelLadder(backend, rungs.units, rungs.models) as ladder:
        for number in range(n_rounds + n_idle):
            counted = number - n_idle
            for k in range(number % 2, n_rungs - 1, 2):
                both = join_rows([states[k], states[k + 1]])
                gains = ladder.gains(both, k)
                up, down = gains[:n], -gains[n:]
                u = uniforms(key.at(number, Stream.SWAP, k * n), n, 1, np.float64)[:, 0]
                accepted = np.flatnonzero(np.log(u) < up + down)
                if counted >= 0:
                    ups[k, counted], downs[k, counted], seen[k, counted] = up, down, True
                    accepts[k] += len(accepted)
                    for i, model in enumerate(rungs.between.get(k, ())):
                        one = ModelLadder(backend, rungs.units, [rungs.models[k], model])
                        inside[k][i, counted] = one.gains(both, 0).reshape(2, n)
                order = np.arange(2 * n)
                order[accepted], order[n + accepted] = n + accepted, accepted
                both = both[order]
                states[k], states[k + 1] = both[:n], both[n:]
                marks[k : k + 2] = marks[k : k + 2].reshape(-1)[order].reshape(2, n)
            came_back = count_trips(marks[0], marks[-1])
            trips += came_back if counted >= 0 else 0
            states[0] = rungs.fresh(n, (1 + number) * n)
            for k in range(1, n_rungs):
                draw = Draw(key.seed, number * SWEEPS, 0, k * n)
                _, states[k] = backend.run_chains(states[k], rungs.models[k], rungs.units, draw, SWEEPS)
            if progress is not None:
                progress(number + 1, n_rounds + n_idle)
    return Record(rungs, n_groups, ups, downs, seen, inside, accepts, trips)


def _ladder(path: Path) -> NDArray[np.float64]:
    """Inverse temperatures, as many as the path is long."""
    _, length = lengths(path)
    count = int(np.clip(np.ceil(_PER_LENGTH * length[-1]), _FEWEST, _MOST))
    return adapted(path, np.linspace(0, 1, count + 1))


def _models(path: Path, betas: NDArray[np.float64]) -> tuple[list[Parameters], tuple[str, str]]:
    """Models at the inverse temperatures with the kept layer as the hidden one; also the units, the kept ones last."""
    weights, *biases = path.model.parameters
    bases, units = list(path.bases), list(path.model.units)
    if path.kept == 0:
        weights, biases, bases, units = np.ascontiguousarray(weights.T), biases[::-1], bases[::-1], units[::-1]
    found = []
    for beta in betas:
        scale = weights.dtype.type(beta)
        summed, kept = (scale * (bias - base) + base for bias, base in zip(biases, bases, strict=True))
        found.append(Parameters(scale * weights, summed, kept))
    return found, (units[0], units[1])


def _annealed(path: Path, betas: NDArray[np.float64], n: int, n_groups: int) -> list[States]:
    """Kept layers at all temperatures, of populations that are annealed from one to the next."""
    states = [path.start(n, 0, LADDER)]
    for k in range(len(betas) - 1):
        between = np.linspace(betas[k], betas[k + 1], _FINER + 1)
        states.append(populations.anneal(path, states[-1], between, n_groups, LADDER, k * n).states)
    return states


def with_data(path: Path, states: States, rows: States, n: int) -> States:
    """States of which those of every other ladder are drawn given rows of data."""
    rows = rows_as_states(rows, path.model.weights.dtype)
    chosen = rows[np.arange(n) * max(1, len(rows) // n) % len(rows)]
    both = join_rows([states, path.given(chosen, 0, DATA)])
    return both[np.arange(n) + n * (np.arange(n) % 2)]
