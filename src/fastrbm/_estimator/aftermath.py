"""What is said once, after a fit, about chains, deviations, weights and losses that got lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._checks import warn_user
from .._data import Rows
from .._fit.minibatch import HIGHEST_LOG_VARIANCE, LOWEST_LOG_VARIANCE
from .._kernels import Backend, PackedBits, States, as_dense, on_host
from .._kernels.draws import Key, Stream
from ..samplers import Gibbs
from .base import View

#: rows, and chains of the training, that are looked at; fewer chains than the second say nothing
_ROWS, _FEWEST = 256, 8
#: chains that are run afterwards, sweeps of each at most and at least, and their share of the work of the training
_CHAINS, _MOST_SWEEPS, _LEAST_SWEEPS, _SHARE = 64, 200, 50, 0.05
#: of the spread of the rows' reconstructions: below it chains are taken to be in one place, those of the training,
#: which its changes keep apart, and those of the finished model
_COLLAPSED_IN_TRAINING, _COLLAPSED = 0.02, 0.1
_LOOKED_AT = 64  # rows that tell whether all saturate the hidden units
_SURE = 10.0  # input of a two-valued unit whose mean is that of a switch
_STREAM = 1 << 49  # in place of the numbers of sampling calls
_NEAR = 1e-3  # of a bound of log variances
_RISE = 1.5  # a loss this many times that of the start has not been minimised


def some_rows(data: Rows) -> States | None:
    """Take the first rows, as kernels have them; None of no rows."""
    for _, states in data.slices():
        return on_host(states[:_ROWS])
    return None


def warn_of_collapse(view: View, chains: States, rows: States, rows_trained: int, key: Key, backend: Backend) -> bool:
    """Warn if the chains of a model are all in one place, while it tells the rows apart.

    Looked at are the persistent chains, and after longer fits some that are run anew, for a twentieth of the work of
    the training. The spread of both, and of the rows, is that of the reconstructions.

    Parameters
    ----------
    view : View
        The model.
    chains : States
        Hidden states of the persistent chains.
    rows : States
        Some rows of the data.
    rows_trained : int
        Rows of all minibatches of the fit.
    key : Key
        Of the draws.
    backend : Backend

    Returns
    -------
    bool
        Whether there was a warning.
    """
    weights, visible_bias, hidden_bias = view.parameters

    def spread(hidden: Any) -> float:
        means = on_host(backend.means(view.units[0], hidden, weights, visible_bias, transpose=True))
        with np.errstate(over="ignore", invalid="ignore"):  # of chains that run away, which have not collapsed
            return float(np.asarray(means, dtype=np.float64).var(axis=0).mean())

    def hidden_means(visible: States) -> Any:
        return backend.means(view.units[1], visible, weights, hidden_bias)

    of_rows = spread(hidden_means(rows))
    collapsed = chains.shape[0] >= _FEWEST and spread(chains[:_ROWS]) < _COLLAPSED_IN_TRAINING * of_rows
    n_sweeps = min(_MOST_SWEEPS, int(_SHARE * rows_trained / _CHAINS))
    if not collapsed and n_sweeps >= _LEAST_SWEEPS:
        run, nothing = key.fold_in(_STREAM), np.zeros((_CHAINS, len(weights)), weights.dtype)
        at = run.at(0, Stream.START)
        start = backend.samples(view.units[0], nothing, weights, visible_bias, at, transpose=True)
        sampler = Gibbs(n_sweeps)
        state = sampler.init_from_visible(start, view.parameters, view.units, run.seed, backend)
        visible = sampler.step(state, view.parameters, view.units, run.seed, backend)
        collapsed = spread(hidden_means(visible)) < _COLLAPSED * of_rows
    if collapsed:
        warn_user(
            "the chains have collapsed: samples of the model are all nearly the same. Use a smaller learning_rate, "
            "larger minibatches, more n_chains, visible_bias='data', or algorithm='cd' or 'pt'",
            ConvergenceWarning,
        )
    return bool(collapsed)


def warn_of_saturation(view: View, rows: States, backend: Backend) -> None:
    """Warn if the rows no longer tell hidden units apart from switches, and their reconstructions are useless.

    Weights that one update has thrown far away are finite, and stay where they are: each hidden unit is all but sure of
    each row, and the rows are reconstructed worse than by the means of their columns.

    Parameters
    ----------
    view : View
        The model; others than those of two-valued units pass.
    rows : States
        Some rows of the data.
    backend : Backend
    """
    if not {*view.units} <= {"bernoulli", "ising"} or rows.shape[0] < _FEWEST:
        return
    weights, visible_bias, hidden_bias = view.parameters
    rows = rows[:_LOOKED_AT]
    with np.errstate(over="ignore", invalid="ignore"):
        inputs = np.abs(np.asarray(on_host(backend.inputs(rows, weights, hidden_bias)), dtype=np.float64))
        if not inputs.min() > _SURE:
            return
        hidden = backend.means(view.units[1], rows, weights, hidden_bias)
        made = on_host(backend.means(view.units[0], hidden, weights, visible_bias, transpose=True))
        x = as_dense(rows, np.float64)
        if view.units[0] == "ising" and isinstance(rows, PackedBits):
            x = 2 * x - 1
        spread = np.square(x - x.mean(axis=0)).sum()  # 0 of rows that are all the same, where there is nothing to tell
        useless = 0 < spread < np.square(made - x).sum()
    if useless:
        warn_user(
            "the hidden units are saturated by all rows, and reconstruct them worse than the means of their columns "
            "do: the weights are too large. Use a smaller learning_rate, or regularizers=L2(...)",
            ConvergenceWarning,
        )


def warn_of_bounds(log_variance: Any, of_data: Any) -> None:
    """Warn if learned deviations have run to a bound."""
    relative = np.asarray(log_variance, dtype=np.float64) - of_data
    high = int((relative >= HIGHEST_LOG_VARIANCE - _NEAR).sum())
    low = int((relative <= _NEAR - LOWEST_LOG_VARIANCE).sum())
    if high or low:
        far = np.exp(0.5 * HIGHEST_LOG_VARIANCE), np.exp(-0.5 * LOWEST_LOG_VARIANCE)
        warn_user(
            f"the learned deviations of {high + low} of {len(relative)} columns ran to a bound ({far[0]:g} times that "
            f"of the data: {high}, {far[1]:g} times: {low}). Use a smaller learning_rate or LearnedSigma(rate=...), or "
            "sigma='data'",
            ConvergenceWarning,
        )


def warn_of_rise(loss: float, start: float) -> None:
    """Warn if the mean loss of the last pass is far above one from before the training.

    Parameters
    ----------
    loss : float
        Of the parameters that are kept.
    start : float
        Of the first minibatch, or of a model that knows nothing; whichever is more.
    """
    if loss > _RISE * start:
        warn_user(
            f"the training has not converged: the loss of its last pass is {loss:.3g}, and {start:.3g} is what it had "
            "at the start. Use a smaller learning_rate",
            ConvergenceWarning,
        )
