"""How much watching a fit can bear: rows and passes, so that it costs about a tenth of the training.

Costs are estimates of work in nanoseconds of one ordinary core, never measured: what is watched may end a fit, so it
must be the same on all machines and for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from .._data import Rows
from .._data.chunks import ChunkedData
from .._data.device import is_device_array, rows_to_host
from ..callbacks import Verbose
from ..likelihood import exact
from ..model import Model
from ..units import Mixed, Unit, get_unit

SHARE = 0.1  # of the training that watching may cost
FREE = 1e7  # nanoseconds of a run that watching may cost beside: nobody notices them, and small models are watched
_FEWEST, _MOST = 100, 1000  # rows that are watched, where there are so many
CALL = 2e5  # of one scoring method, beside its rows
_NATIVE_BATCH, _COMPOSED_BATCH = 5e3, 1e5
_LOOK_AROUND = 6e4  # Gibbs sweeps of single chains


class Pass(NamedTuple):
    """Work of a pass, and how many there are.

    Attributes
    ----------
    n_passes : int
        Of this run.
    cost : float
        Nanoseconds of one.
    weights : float
        Elements of the weights.
    units : float
        Visible and hidden units.
    """

    n_passes: int
    cost: float
    weights: float
    units: float

    @classmethod
    def of(
        cls,
        n_passes: int,
        shape: tuple[int, ...],
        n_rows: int,
        n_batches: int,
        n_sweeps: int = 1,
        composed: bool = True,
    ) -> Pass:
        """Work of a pass over `n_rows` rows by weights of this shape."""
        weights, units = float(math.prod(shape)), float(sum(shape))
        per_row = 0.015 * weights * (1 + n_sweeps) + 2 * units
        per_batch = _COMPOSED_BATCH if composed else _NATIVE_BATCH
        return cls(n_passes, n_batches * per_batch + n_rows * per_row, weights, units)

    def score(self, binary: bool) -> float:
        """Nanoseconds of one row's pseudo-likelihood."""
        return (0.12 if binary else 0.35) * self.weights + 2 * self.units

    def pseudo_likelihood(self, units: tuple[str, str], bits: bool) -> float:
        """Nanoseconds of one row's pseudo-likelihood, for visible units of any type."""
        visible, hidden = map(get_unit, units)
        if visible.binary:
            return self.score(bits)
        parts = visible.parts if isinstance(visible, Mixed) else ((visible, 1),)
        each = sum(width * _of_weight(unit, hidden) for unit, width in parts) / sum(width for _, width in parts)
        return each * self.weights + 100 * self.units

    def free_energy(self) -> float:
        """Nanoseconds of one row's free energy."""
        return 0.06 * self.weights + 2 * self.units

    def rows(self, cost: float, available: int) -> int:
        """Rows to watch, each at this cost: half of what watching may cost goes to them."""
        affordable = int(min(0.5 * SHARE * self.cost / cost, _MOST))
        return min(available, max(affordable, _FEWEST))

    def every(self, cost: float) -> int:
        """Passes from one measurement of this cost to the next."""
        return max(1, math.ceil(min(cost / (SHARE * self.cost + FREE / max(1, self.n_passes)), 1e9)))


def _of_weight(unit: Unit, hidden: Unit) -> float:
    """Nanoseconds of a weight of a visible unit: a product for each value it takes, or an integral."""
    if unit.finite:
        return 4.0 * (1 if unit.layerwise or unit.support is None else len(unit.support))
    return (20.0 if unit.name == "gaussian" else 300.0) if hidden.finite else 1000.0


def spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the rows, evenly spread."""
    return rows[np.arange(count) * len(rows) // count] if count < len(rows) else rows


def take(X: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of X, those of a device on the host: watching them is a small part of the work."""
    return rows_to_host(X, rows) if is_device_array(X) else _safe_indexing(X, rows)


def verbose_callback(X: Any, data: Rows, work: Pass) -> Verbose:
    """What the option ``verbose`` prints: a fixed subset of the rows, as often as its cost allows."""
    n, each = data.shape[0], work.score(data.binary)
    count = work.rows(each, n)
    rows = data.head(count) if isinstance(data, ChunkedData) else take(X, spread(np.arange(n), count))
    return Verbose(rows, work.every(CALL + count * each))


def annealing_cost(work: Pass, n_chains: int, n_temperatures: int) -> float:
    """Nanoseconds of an annealed estimate, the look around from all starts and pilot runs included."""
    return 1e8 + (_LOOK_AROUND + 2 * n_chains * n_temperatures) * (0.03 * work.weights + 3 * work.units)


def likelihood_cost(model: Model, work: Pass, n_chains: int, n_temperatures: int) -> tuple[str, float]:
    """How log Z is found, and what that and the calls around it cost in nanoseconds."""
    annealed = annealing_cost(work, n_chains, n_temperatures)
    whole = 1e9 * exact.nominal_seconds(exact.choose(model)) if exact.is_possible(model) else math.inf
    return ("exact", 2 * CALL + whole) if whole <= annealed else ("smc", 2 * CALL + annealed)
