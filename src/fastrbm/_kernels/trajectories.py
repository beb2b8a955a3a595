"""Straight lines from model to model: how far models are apart, and which of them chains can exchange states between.

The distance between near models is the standard deviation of log f_2 - log f_1 over states of the first one, f being
the probabilities up to a constant of hidden states, the visible layer summed out. Distances along a line add up to its
thermodynamic length. Neighbours at a distance d whose differences are normal exchange states with a probability of
erfc(d / 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bits import States, as_dense, on_host
from .contract import Backend
from .datatypes import Parameters
from .draws import Draw, Key, Stream, uniforms
from .ladders import ModelLadder
from .resampling import effective_share, relative, systematic

#: distance of neighbours on a ladder: 0.38 of the exchanges are accepted there
SPACING = 1.25
#: part of it by which a rung may move to be a model of the list; where both of a pair do, 0.25 are accepted
_TOLERANCE = 0.15
#: rungs at most
MOST_RUNGS = 400
_STRIDE = 0.35  # largest distance of a step of the populations
_SWEEPS = 2  # Gibbs sweeps after each
_FINEST = 2.0**-12  # smallest step; positions of rungs are its multiples, so that the last bits of sums do not matter
_MOST_COMPARED = 24  # models of which the best way through is looked for
_LEAST_SHARE = 0.5  # effective chains of a population below which it is resampled


def without_weights(model: Parameters) -> Parameters:
    """Model of independent units with the biases of this one."""
    return Parameters(np.zeros_like(model.weights), model.visible_bias, model.hidden_bias)


class Line:
    """Models joined by straight lines in the space of parameters; the model k is at the position k.

    Parameters
    ----------
    models : sequence of Parameters
        At least two, of equal shape and type; the first one has no weights.
    numbers : sequence of int or None
        Their numbers in a longer list; None for 0, 1, ...
    """

    def __init__(self, models: Sequence[Parameters], numbers: Sequence[int] | None = None):
        self.models = list(models)
        self.numbers = np.arange(len(self.models)) if numbers is None else np.array(numbers)

    @property
    def end(self) -> int:
        """Position of the last model."""
        return len(self.models) - 1

    def at(self, position: float) -> Parameters:
        """Model at a position; those of the list themselves, bit for bit."""
        k = min(int(position), self.end)
        if k == position:
            return self.models[k]
        share = self.models[k].weights.dtype.type(position - k)
        return Parameters(*((1 - share) * x + share * y for x, y in zip(*self.models[k : k + 2], strict=True)))


class Exploration(NamedTuple):
    """Populations that have gone along a line.

    Attributes
    ----------
    positions : ndarray of float64, shape (n_stops,)
        Rising from 0 to the end of the line.
    lengths : ndarray of float64, shape (n_stops,)
        Thermodynamic length up to each.
    states : list of States
        Hidden states at each stop, of about equal weights within a population.
    log_weights : ndarray of float64, shape (n_populations,)
        Logs of estimates of Z_end / Z_start.
    """

    positions: NDArray[np.float64]
    lengths: NDArray[np.float64]
    states: list[States]
    log_weights: NDArray[np.float64]

    def near(self, position: float) -> States:
        """States at the last stop that is not beyond a position."""
        return self.states[int(np.searchsorted(self.positions, position, side="right")) - 1]


def explore(
    backend: Backend,
    line: Line,
    units: tuple[str, str],
    n_populations: int,
    size: int,
    key: Key,
    progress: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Take populations from the first model, where they are drawn exactly, to the last one.

    A step is as long as the distance of its ends allows. Chains collect log weights, are resampled where few of them
    carry the weight, and do Gibbs sweeps.

    Raises
    ------
    ValueError
        For energies that overflow.
    """
    n, position, stride = n_populations * size, 0.0, 1.0
    states = _drawn(backend, line.models[0], units[1], n, key)
    positions, lengths, kept = [0.0], [0.0], [states]
    log_weights, total = np.zeros((n_populations, size)), np.zeros(n_populations)
    while position < line.end:
        number = len(positions)
        stride = min(2 * stride, line.end - position)
        while True:
            model = line.at(position + stride)
            gains = _gains(backend, units, line.at(position), model, states)
            distance = float(np.sqrt(np.cumsum((gains - np.cumsum(gains)[-1] / n) ** 2)[-1] / n))
            if distance <= _STRIDE or stride <= _FINEST:
                break
            # down to multiples of the finest step
            stride = max(_FINEST, np.floor(stride / 2 / _FINEST) * _FINEST)
        position += stride
        log_weights += gains.reshape(n_populations, size)
        weights, log_mean = relative(log_weights)
        poor = effective_share(weights) < _LEAST_SHARE
        if position == line.end:
            poor[:] = True
        if poor.any():
            u = uniforms(key.at(number, Stream.RESAMPLE), n_populations, 1, np.float64)
            order = np.arange(n).reshape(n_populations, size)
            for k in np.flatnonzero(poor):
                order[k] = order[k][systematic(weights[k], u[k])]
            total[poor] += log_mean[poor]
            log_weights[poor] = 0.0
            states = states[order.ravel()]
        with np.errstate(over="ignore", invalid="ignore"):
            _, states = backend.run_chains(states, model, units, Draw(key.seed, number * _SWEEPS, 0), _SWEEPS)
        positions.append(position)
        lengths.append(lengths[-1] + distance)
        kept.append(states)
        if progress is not None:
            progress(int(1000 * position / line.end), 1000)
    return Exploration(np.array(positions), np.array(lengths), kept, total)


def _drawn(backend: Backend, base: Parameters, unit: str, n: int, key: Key) -> States:
    """Hidden states of a model without weights."""
    bias = base.hidden_bias
    nothing, weights = np.zeros((n, 1), dtype=bias.dtype), np.zeros((len(bias), 1), dtype=bias.dtype)
    return backend.samples(unit, nothing, weights, bias, key.at(0, Stream.START))


def _gains(
    backend: Backend, units: tuple[str, str], here: Parameters, there: Parameters, states: States
) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        gains = ModelLadder(backend, units, [here, there]).gains(states, 0)
    if not np.isfinite(gains).all():
        raise ValueError(
            "energies of chains along the trajectory are not finite: the parameters of a model are so large that they "
            "overflow, or it is not normalisable; scale them down, or use float64"
        )
    return gains


def rungs(found: Exploration, spacing: float = SPACING) -> NDArray[np.float64]:
    """Positions of the models of a ladder: evenly spaced by length, or that of a model of the list which is near.

    So models of the list that are too close to their neighbours are left out, and where they are too far apart there
    are models between them.
    """
    total = float(found.lengths[-1])
    n_gaps = min(max(1, int(np.ceil(total / spacing))), MOST_RUNGS - 1)
    given = np.arange(found.positions[-1] + 1)
    of_given = np.interp(given, found.positions, found.lengths)
    positions = {float(given[0]), float(given[-1])}
    for target in total * np.arange(1, n_gaps) / n_gaps:
        nearest = int(np.argmin(np.abs(of_given - target)))
        if abs(of_given[nearest] - target) <= _TOLERANCE * spacing:
            positions.add(float(given[nearest]))
        else:
            positions.add(float(np.rint(np.interp(target, found.lengths, found.positions) / _FINEST) * _FINEST))
    return np.array(sorted(positions))


def shortened(backend: Backend, line: Line, units: tuple[str, str], found: Exploration) -> Line:
    """Line through those models of the list that make it shortest, by the speed of the straight lines at their ends.

    Noise of training makes models go to and fro, and every step of that is a part of the length.
    """
    numbers = _some(found)
    n = len(numbers)
    speeds = np.zeros((n, n))
    for i, number in enumerate(numbers):
        here, states = line.models[number], found.near(number)
        means = on_host(backend.means(units[0], states, here.weights, here.visible_bias, transpose=True))
        dense = as_dense(states, here.weights.dtype)
        # d log f / d theta of hidden states is (h <v|h>, <v|h>, h); its centred moments, along all lines at once
        for j, other in enumerate(numbers):
            if j != i:
                weights, visible_bias, hidden_bias = (
                    y - x for x, y in zip(here, line.models[other], strict=True)
                )  # fmt: skip
                field = on_host(backend.inputs(states, weights, visible_bias, transpose=True))
                rates = np.einsum("ni,ni->n", field, means, dtype=np.float64) + dense @ hidden_bias.astype(np.float64)
                speeds[i, j] = rates.std()
    lengths = (speeds + speeds.T) / 2
    best, before = np.full(n, np.inf), np.zeros(n, dtype=np.int64)
    best[0] = 0.0
    for j in range(1, n):
        ways = best[:j] + lengths[:j, j]
        before[j] = int(np.argmin(np.rint(ways / _FINEST)))
        best[j] = ways[before[j]]
    chosen = [n - 1]
    while chosen[-1]:
        chosen.append(int(before[chosen[-1]]))
    chosen = [numbers[k] for k in chosen[::-1]]
    return Line([line.models[k] for k in chosen], [int(line.numbers[k]) for k in chosen])


class Rungs(NamedTuple):
    """Models whose neighbours can exchange states.

    Attributes
    ----------
    line : Line
    found : Exploration
        Of the line.
    positions : ndarray of float64, shape (n_rungs,)
        On the line.
    last : States
        Hidden states of the last model, as the line through all models of the list has led to them.
    """

    line: Line
    found: Exploration
    positions: NDArray[np.float64]
    last: States

    @property
    def models(self) -> list[Parameters]:
        """Models at the positions."""
        return [self.line.at(position) for position in self.positions]

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Positions in terms of the numbers of the list."""
        return np.interp(self.positions, np.arange(self.line.end + 1), self.line.numbers)

    def states(self, n_chains: int) -> list[States]:
        """Hidden states near each rung, as many of each population; n_chains of them at most."""
        n_populations = len(self.found.log_weights)
        return [_of_each(self.found.near(position), n_populations, n_chains) for position in self.positions]

    def last_states(self, n_chains: int) -> States:
        """States of `last` in the same way."""
        return _of_each(self.last, len(self.found.log_weights), n_chains)


def _of_each(states: States, n_populations: int, n_chains: int) -> States:
    """Rows of populations in turn, so that equal parts of them belong to different ones."""
    size = len(states) // n_populations
    share = -(-n_chains // n_populations)
    rows = (np.arange(n_populations)[:, None] * size + np.arange(share) * size // share).ravel()
    return states[rows[:n_chains]]


def find_rungs(
    backend: Backend,
    models: Sequence[Parameters],
    units: tuple[str, str],
    n_populations: int,
    size: int,
    key: Key,
    shorten: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Rungs:
    """Models of a ladder along a list of models.

    Parameters
    ----------
    backend : Backend
    models : sequence of Parameters
        Of equal shape and type, the first one without weights.
    units : (visible unit, hidden unit)
    n_populations, size : int
        Of the exploration, 2 populations at least.
    key : Key
    shorten : bool
        Whether models may be left out. Populations go along the shortest way and from the first model straight to the
        last one, too, and the shortest way on which they find as much as on any is taken.
    progress : callable or None
    """
    line = Line(models)
    found = explore(backend, line, units, n_populations, size, key, progress)
    last, ways = found.states[-1], [(line, found)]
    if shorten and line.end > 1:
        shorter = [shortened(backend, line, units, found), Line([models[0], models[-1]], [0, line.end])]
        ends = {tuple(other.numbers): other for other in shorter if other.end < line.end}
        for number, other in enumerate(ends.values()):
            ways.append((other, explore(backend, other, units, n_populations, size, key.fold_in(1 + number), progress)))
    line, found = ways[_best([way for _, way in ways])]
    return Rungs(line, found, rungs(found), last)


def _best(ways: Sequence[Exploration]) -> int:
    """Which way populations find most on, as each gives a lower bound; the shortest of those that find as much."""
    values, errors = [], []
    for way in ways:
        weights, log_mean = relative(way.log_weights[None])
        total, squares = (float(np.cumsum(x[0])[-1]) for x in (weights, weights**2))
        n = len(way.log_weights)
        values.append(float(log_mean[0]))
        errors.append(float(np.sqrt(max(0.0, squares / total**2 - 1 / n) * n / (n - 1))))
    most = int(np.argmax(values))
    close = [
        k for k, value in enumerate(values) if values[most] - value <= 2 * float(np.hypot(errors[k], errors[most]))
    ]  # fmt: skip
    return min(close, key=lambda k: float(ways[k].lengths[-1]))


def _some(found: Exploration) -> list[int]:
    """Numbers of models of the list, with the first and the last one, evenly spaced by length if they are many."""
    end = int(found.positions[-1])
    if end < _MOST_COMPARED:
        return list(range(end + 1))
    of_given = np.interp(np.arange(end + 1), found.positions, found.lengths)
    targets = np.linspace(0, of_given[-1], _MOST_COMPARED)
    return sorted({0, end, *(int(np.argmin(np.abs(of_given - target))) for target in targets)})
