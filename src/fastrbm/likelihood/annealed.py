"""Annealed importance sampling between a model without weights and the model, both ways.

Chains of one layer go from inverse temperature 0, where everything is known, to 1, where it is wanted, and collect log
weights with the other layer summed out (`Backend.anneal`). The mean of the weights is Z / Z_0. Chains that start at the
model and go the other way have Z_0 / Z for their mean.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from .._kernels import Backend, PackedBits
from .._kernels.draws import Draw, Key, Stream, uniforms
from ..model import Model
from ..units import get_unit
from . import exact
from ._result import Estimate, LogPartition, acceptance_ratio, log_mean

SCHEDULES = ("adaptive", "linear", "salakhutdinov")
STARTS = ("uniform", "biases", "base-rate")
_EXACT_SAMPLES = 20  # units of a layer whose states are listed to draw from the model exactly
_PILOT_CHAINS, _PILOT_STEPS = 64, 128
_PILOT_FIRST = 1 << 31  # number of its first chain: its starts are no others'
_BURN_IN = 1000
_REPEATS = 200  # of the bootstrap
_FEW = 4  # effective chains
_NORMAL = 1.96  # standard errors of a 95 % interval

Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Path:
    """What is annealed: the model, its biases at inverse temperature 0, and the layer that chains keep."""

    model: Model
    bases: tuple[NDArray[Any], NDArray[Any]]
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

    def start(self, n_chains: int, first: int) -> PackedBits:
        """Kept layer drawn at inverse temperature 0."""
        means = get_unit(self.model.units[self.kept]).mean(self.bases[self.kept])
        draw = self.key.at(0, Stream.START, first)
        return self.backend.draw_bits(np.tile(means, (n_chains, 1)), draw)

    def anneal(
        self,
        states: PackedBits,
        betas: NDArray[np.float64],
        stage: int,
        first: int = 0,
        step: int = 0,
        progress: Progress = None,
    ) -> tuple[NDArray[np.float64], PackedBits]:
        """Log weights along `betas` and the last states; `stage` separates the draws of different runs."""
        log_weights = np.zeros(len(states))
        draw = Draw(self.key.fold_in(stage).seed, step, 0, first)
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
        return log_weights, states


_PILOT, _FORWARD, _REVERSE, _BURN = range(4)  # stages


def bases_of(model: Model, start: Any, data: PackedBits | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Biases at inverse temperature 0, of the model as {0, 1} units: (visible, hidden).

    `model` has Bernoulli or Ising layers, and biases given as `start` are those of its own units.
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
            if data is None:
                raise ValueError("start='base-rate' needs data, got data=None")
            # one pseudo-count each keeps units that never change finite
            rate = (data.dense(np.float64).sum(axis=0) + 1) / (len(data) + 2)
            return np.log(rate / (1 - rate)).astype(dtype), np.zeros_like(hidden)
        raise ValueError(f"start must be one of {list(STARTS)} or an array of visible biases, got {start!r}")
    base = np.ascontiguousarray(start, dtype=dtype)
    if base.shape != visible.shape or not np.isfinite(base).all():
        raise ValueError(f"start must be finite visible biases of shape {visible.shape}, got shape {base.shape}")
    return visible_scale * base, np.zeros_like(hidden)


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
    return _adapted(path, share)


def _adapted(path: Path, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Temperatures of equal effective sample size, by a short pilot run.

    The effective sample size of one step is that of weights with the variance g(beta) (step)^2 of the log, g the
    variance of d log f / d beta. Equal steps of the integral of sqrt(g), the thermodynamic length, make it equal
    (Grosse, Maddison, Salakhutdinov, NeurIPS 2013, for why that is close to the best).
    """
    pilot = np.linspace(0, 1, _PILOT_STEPS + 1)
    states, length = path.start(_PILOT_CHAINS, _PILOT_FIRST), [0.0]
    for step in range(_PILOT_STEPS):
        log_weights, states = path.anneal(states, pilot[step : step + 2], _PILOT, step=step)
        length.append(length[-1] + float(log_weights.std()))
    # a tenth of the temperatures evenly: where the pilot saw nothing there may be something
    total = length[-1]
    position = 0.9 * np.array(length) / total + 0.1 * pilot if total > 0 else pilot
    betas = np.interp(share, position, pilot)
    betas[0], betas[-1] = 0.0, 1.0
    return betas


def model_samples(path: Path, n: int, first: int, data: PackedBits | None, progress: Progress = None) -> PackedBits:
    """Kept layer drawn from the model: exactly where its states can be listed, else by a long Gibbs run."""
    model, kept = path.model, path.kept
    n_units = model.weights.shape[1 - kept]
    if n_units <= _EXACT_SAMPLES:
        log_p = exact.state_log_weights(exact.choose(model, "visible" if kept == 0 else "hidden"), path.backend)
        cumulative = np.cumsum(np.exp(log_p - logsumexp(log_p)))
        u = uniforms(path.key.fold_in(_BURN).at(0, Stream.START, first), n, 1, np.float64)[:, 0]
        index = np.searchsorted(cumulative, u * cumulative[-1], side="right").clip(max=len(cumulative) - 1)
        return PackedBits(index.astype(np.uint64)[:, None], n_units)
    key = path.key.fold_in(_BURN)
    if data is None:
        start = path.start(n, first)
        _, start = path.anneal(start, np.linspace(0, 1, _BURN_IN + 1), _BURN, first, progress=progress)
    else:
        start = data[(first + np.arange(n)) % len(data)]
        if kept == 1:
            weights, _, bias = model.parameters
            draw = key.at(0, Stream.HIDDEN, first)
            start = path.backend.samples(model.units[1], start, weights, bias, draw)
    betas = np.ones(_BURN_IN + 1)
    _, states = path.anneal(start, betas, _BURN, first, step=_BURN_IN, progress=progress)
    return states


def _collect(
    path: Path,
    betas: NDArray[np.float64],
    stage: int,
    start: Callable[[int], PackedBits],
    target: float | None,
    most: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """Log weights of the chains that ``start(chains so far)`` gives, of more until their error is at most `target`."""
    log_weights = np.zeros(0)
    while True:
        first = len(log_weights)
        states = start(first)
        new, _ = path.anneal(states, betas, stage, first, progress=progress)
        log_weights = np.concatenate([log_weights, new])
        if target is None or log_mean(log_weights).stderr <= target or len(log_weights) + len(states) > most:
            return log_weights


def forward(
    path: Path,
    betas: NDArray[np.float64],
    n: int,
    target: float | None = None,
    most: int = 0,
    progress: Progress = None,
) -> NDArray[np.float64]:
    """Log weights of chains from 0 to 1, n at a time; their mean is Z / Z_0."""
    return _collect(path, betas, _FORWARD, lambda first: path.start(n, first), target, most, progress)


def reverse(
    path: Path,
    betas: NDArray[np.float64],
    n: int,
    target: float | None = None,
    most: int = 0,
    data: PackedBits | None = None,
    progress: Progress = None,
) -> NDArray[np.float64]:
    """Log weights of chains from 1 to 0, n at a time; their mean is Z_0 / Z."""

    def start(first: int) -> PackedBits:
        return model_samples(path, n, first, data, progress)

    return _collect(path, betas[::-1].copy(), _REVERSE, start, target, most, progress)


def estimate(
    method: str,
    path: Path,
    betas: NDArray[np.float64],
    n_chains: int,
    target: float | None,
    most: int,
    data: PackedBits | None,
    progress: Progress,
) -> LogPartition:
    """Estimate by method "ais", "mais", "reverse" or "bracket"."""
    begin, start = time.perf_counter(), path.log_start
    there = back = None
    if method != "reverse":
        there = forward(path, betas, n_chains, target, most, progress)
    if method in ("reverse", "bracket"):
        back = reverse(path, betas, n_chains, target, most, data, progress)
    if there is not None and back is not None:
        value, stderr, interval, ess = _bracket(there, back, path.key)
        n_chains = len(there) + len(back)
    else:
        log_weights = there if there is not None else back
        assert log_weights is not None
        found = log_mean(log_weights)
        found = found if there is not None else _inverted(found)
        value, stderr, interval, ess = found.value, found.stderr, (found.low, found.high), found.ess
        n_chains = len(log_weights)
    if ess < max(_FEW, n_chains / 100):
        warnings.warn(
            f"only {ess:.1f} of {n_chains} chains carry the weight of the {method} estimate of log Z: it may be far "
            f"off. More n_temperatures than {len(betas) - 1}, or another start, spread it better",
            ConvergenceWarning,
            stacklevel=4,
        )
    return LogPartition(
        start + value,
        stderr,
        (start + interval[0], start + interval[1]),
        method,
        ess,
        time.perf_counter() - begin,
        n_chains,
        len(betas) - 1,
    )


def _inverted(e: Estimate) -> Estimate:
    """Invert what is estimated: its log changes its sign."""
    return Estimate(-e.value, e.stderr, -e.high, -e.low, e.ess)


def _bracket(
    there: NDArray[np.float64], back: NDArray[np.float64], key: Key
) -> tuple[float, float, tuple[float, float], float]:
    low, high = log_mean(there), _inverted(log_mean(back))
    value = acceptance_ratio(there, back)
    pick = np.random.Generator(np.random.Philox(key=key.seed))
    repeats = [acceptance_ratio(pick.choice(there, len(there)), pick.choice(back, len(back))) for _ in range(_REPEATS)]
    stderr = float(np.std(repeats, ddof=1))
    # The lower end of what bounds from below on average, the upper end of what bounds from above; and both values, in
    # case that they contradict each other because the chains of one way have not met what matters.
    # Bennett's value may leave both, and is no surer than its own error.
    ends = min(low.low, high.value, value - _NORMAL * stderr), max(high.high, low.high, value + _NORMAL * stderr)
    return value, stderr, ends, min(low.ess, high.ess)
