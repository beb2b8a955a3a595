"""The path that annealed estimates follow: from a model without weights, whose log Z is known, to the model.

At inverse temperature beta the layers have the natural parameters beta * (bias - base + W s) + base. Chains keep the
states of one layer; the other one is summed out of their weights (`Backend.anneal`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, PackedBits, as_dense
from .._kernels.contract import States
from .._kernels.draws import Draw, Key, Stream
from ..init import data_bias, has_data_bias
from ..model import Model
from ..units import get_unit
from . import exact_rules

SCHEDULES = ("adaptive", "linear", "salakhutdinov")
STARTS = ("auto", "uniform", "biases", "base-rate")
_PILOT_CHAINS, _PILOT_STEPS = 64, 128
_PILOT_FIRST = 1 << 31  # number of its first chain: its starts are no others'

#: of the draws of different runs along one path
PILOT, FORWARD, REVERSE, BURN, POPULATIONS, DATA, LADDER = range(7)

Progress = Callable[[int, int], None] | None
#: biases (visible, hidden)
Bases = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Path:
    """What is annealed: the model, its biases at inverse temperature 0, and the layer that chains keep."""

    model: Model
    bases: Bases
    sum_out: str
    backend: Backend
    key: Key

    @property
    def kept(self) -> int:
        """0 when chains keep the visible layer, 1 for the hidden one."""
        return 0 if self.sum_out == "hidden" else 1

    @property
    def log_start(self) -> float:
        """Log partition sum at inverse temperature 0."""
        units = self.model.units
        return float(sum(get_unit(u).cgf(b.astype(np.float64)).sum() for u, b in zip(units, self.bases, strict=True)))

    @property
    def rounding(self) -> float:
        """Error of log weights, in nats, that the type of the parameters may leave: they add up to energies."""
        largest_energy = sum(float(np.abs(x, dtype=np.float64).sum()) for x in self.model.parameters)
        return 4 * float(np.finfo(self.model.weights.dtype).eps) * largest_energy

    def start(self, n_chains: int, first: int, stage: int | None = None) -> States:
        """Kept layer drawn at inverse temperature 0; `first` is the number of the first chain."""
        unit, base = self.model.units[self.kept], self.bases[self.kept]
        key = self.key if stage is None else self.key.fold_in(stage)
        draw = key.at(0, Stream.START, first)
        if unit == "bernoulli":
            return self.backend.draw_bits(np.tile(get_unit(unit).mean(base), (n_chains, 1)), draw)
        nothing = np.zeros((n_chains, 1), dtype=base.dtype)
        return self.backend.samples(unit, nothing, np.zeros((len(base), 1), dtype=base.dtype), base, draw)

    def given(self, rows: States, first: int, stage: int) -> States:
        """Kept layer drawn given visible states, as the model has it."""
        if self.kept == 0:
            return rows
        weights, _, bias = self.model.parameters
        draw = self.key.fold_in(stage).at(0, Stream.HIDDEN, first)
        return self.backend.samples(self.model.units[1], rows, weights, bias, draw)

    def anneal(
        self,
        states: States,
        betas: NDArray[np.float64],
        stage: int,
        first: int = 0,
        step: int = 0,
        progress: Progress = None,
    ) -> tuple[NDArray[np.float64], States]:
        """Log weights along `betas` and the last states; `stage` separates the draws of different runs."""
        log_weights = np.zeros(len(states))
        draw = Draw(self.key.fold_in(stage).seed, step, 0, first)
        with np.errstate(over="ignore", invalid="ignore"):
            states = self.backend.anneal(
                states,
                self.model.parameters,
                self.model.units,
                self.bases,
                self.sum_out,
                betas,
                draw,
                log_weights,
                progress,
            )
        if not np.isfinite(log_weights).all():
            raise ValueError(
                "log weights of annealed chains are not finite: the parameters of the model are so large that energies "
                "overflow, or it is not normalisable; scale them down, or use float64"
            )
        return log_weights, states


def layer_to_sum_out(model: Model) -> str:
    """The larger layer: weights with more units summed out vary less."""
    n_hidden, n_visible = model.weights.shape
    return "visible" if n_hidden <= n_visible else "hidden"


def bases_of(model: Model, start: Any, data: States | None) -> Bases:
    """Biases at inverse temperature 0, of the model as `Model.as_bernoulli` writes it: (visible, hidden).

    Biases given as `start` are those of the model's own units.
    """
    _, visible, hidden = model.parameters
    dtype = visible.dtype
    # without weights exp(bias s) with s = 2 x - 1 is exp(2 bias x) up to a constant
    visible_scale, hidden_scale = (dtype.type(2 if unit == "ising" else 1) for unit in model.units)
    if isinstance(start, str):
        if start == "uniform":
            return np.zeros_like(visible), np.zeros_like(hidden)
        if start == "biases":
            return visible_scale * visible, hidden_scale * hidden
        if start == "base-rate":
            return _base_rate(model, data).astype(dtype), np.zeros_like(hidden)
        raise ValueError(f"start must be one of {list(STARTS)} or an array of visible biases, got {start!r}")
    base = np.ascontiguousarray(start, dtype=dtype)
    if base.shape != visible.shape or not np.isfinite(base).all():
        raise ValueError(f"start must be finite visible biases of shape {visible.shape}, got shape {base.shape}")
    return visible_scale * base, np.zeros_like(hidden)


def _base_rate(model: Model, data: States | None) -> NDArray[np.float64]:
    """Visible biases of the means of data, for units written as bits where they are spins."""
    if data is None:
        raise ValueError("start='base-rate' needs data, got data=None")
    if get_unit(model.visible).binary:
        # one pseudo-count each keeps units that never change finite
        rate = (as_dense(data, np.float64).sum(axis=0) + 1) / (len(data) + 2)
        return np.asarray(np.log(rate / (1 - rate)))
    if not has_data_bias(model.visible):
        raise ValueError(
            f"start='base-rate' needs visible units whose mean has an inverse in closed form, got {model.visible!r}; "
            "use start='uniform' or 'biases'"
        )
    return data_bias(as_dense(data, np.float64).mean(axis=0), model.visible, 1 / (len(data) + 2))


def candidates(model: Model, start: Any, data: States | None) -> dict[str, Bases]:
    """Starts by name that an estimate looks at: the one asked for, which comes first, and what can be had beside it."""
    names = ["uniform", "biases"]
    if data is not None and (get_unit(model.visible).binary or has_data_bias(model.visible)):
        names.append("base-rate")
    found = {name: bases_of(model, name, data) for name in names}
    if isinstance(start, str) and start == "auto":
        return found
    name = start if isinstance(start, str) else "given"
    return {name: bases_of(model, start, data)} | {other: bases for other, bases in found.items() if other != name}


def temperatures(path: Path, schedule: Any, n: int) -> NDArray[np.float64]:
    """Rising inverse temperatures, n + 1 of them, from 0 to 1."""
    if not isinstance(schedule, str):
        betas = np.ascontiguousarray(schedule, dtype=np.float64)
        if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not (np.diff(betas) > 0).all():
            raise ValueError("schedule must be an array that rises from 0 to 1, or one of " + str(list(SCHEDULES)))
        return betas
    share = np.linspace(0, 1, n + 1)
    if schedule == "linear":
        return share
    if schedule == "salakhutdinov":
        # 500, 4000 and 10000 of 14500 temperatures up to 0.5, 0.9 and 1: Salakhutdinov and Murray, ICML 2008
        return np.interp(share, np.array([0, 500, 4500, 14500]) / 14500, [0, 0.5, 0.9, 1])
    if schedule != "adaptive":
        raise ValueError(f"schedule must be one of {list(SCHEDULES)} or an array, got {schedule!r}")
    return adapted(path, share)


def adapted(
    path: Path, share: NDArray[np.float64], n_chains: int = _PILOT_CHAINS, n_steps: int = _PILOT_STEPS
) -> NDArray[np.float64]:
    """Temperatures of equal effective sample size, by a short pilot run.

    The effective sample size of one step is that of weights with the variance g(beta) (step)^2 of the log, g the
    variance of d log f / d beta. Equal steps of the integral of sqrt(g), the thermodynamic length, make it equal
    (Grosse, Maddison, Salakhutdinov, NeurIPS 2013, for why that is close to the best).
    """
    pilot, length = lengths(path, n_chains, n_steps)
    # a tenth of the temperatures evenly: where the pilot saw nothing there may be something
    total = length[-1]
    position = 0.9 * length / total + 0.1 * pilot if total > 0 else pilot
    betas = np.interp(share, position, pilot)
    betas[0], betas[-1] = 0.0, 1.0
    return betas


def lengths(
    path: Path, n_chains: int = _PILOT_CHAINS, n_steps: int = _PILOT_STEPS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse temperatures of a pilot run and the thermodynamic length up to each."""
    pilot = np.linspace(0, 1, n_steps + 1)
    states, length = path.start(n_chains, _PILOT_FIRST), [0.0]
    for step in range(n_steps):
        log_weights, states = path.anneal(states, pilot[step : step + 2], PILOT, step=step)
        length.append(length[-1] + float(log_weights.std()))
    return pilot, np.array(length)


def real_couplings(model: Model) -> float:
    """Largest singular value of the weights between real-valued units; 0 where one layer has none."""
    real = [_real_columns(unit, n) for unit, n in zip(model.units, model.weights.shape[::-1], strict=True)]
    between = model.weights[np.ix_(real[1], real[0])].astype(np.float64)
    return float(np.linalg.norm(between, 2)) if between.size else 0.0


def doubt_of_existence(model: Model) -> str:
    """Say why the partition sum may be infinite; ValueError where it is, as two Gaussian layers show."""
    size = real_couplings(model)
    if size < 1:
        return ""
    if model.units == ("gaussian", "gaussian"):
        exact_rules.check_precision(model)
    return (
        f"the partition sum of units {model.units} may be infinite: the largest singular value of the weights between "
        f"real-valued units is {size:.4g}, and it is known to be finite below 1"
    )


def _real_columns(unit: str, n_units: int) -> NDArray[np.bool_]:
    """Which units of a layer take real values."""
    kind: Any = get_unit(unit)
    parts = getattr(kind, "parts", ((kind, n_units),))
    return np.concatenate([np.full(width, not part.finite) for part, width in parts])


def rows_as_states(rows: PackedBits | NDArray[Any], dtype: Any) -> States:
    """Rows of visible states in the type of the weights."""
    return rows if isinstance(rows, PackedBits) else np.ascontiguousarray(rows, dtype=dtype)
