"""What the options ``validation_fraction`` and ``early_stopping`` watch."""

from __future__ import annotations

from typing import Any

from .._data import Rows
from .._data.split import Split
from .._fit.callback import Callback
from ..callbacks import N_CHAINS, N_TEMPERATURES, EarlyStopping, FreeEnergyGap, LogLikelihood, PseudoLikelihood
from . import watching

#: what can be watched, and whether more of it is better
MONITORS = {"log_likelihood": True, "pseudo_likelihood": True, "free_energy_gap": False}
_PREFIX = "validation_"


def validation_callbacks(estimator: Any, X: Any, data: Rows, split: Split, work: watching.Pass) -> list[Callback]:
    """Callbacks that record held-out rows, and stop if the estimator asks for it.

    They look at a fixed subset of the rows, and only now and then, where all of it would cost more than a tenth of the
    training. Without a name in ``early_stopping`` they record the log-likelihood, or the free-energy gap of rows that
    have none: grey ones, and those with missing entries.
    """
    assert split.held_out is not None and split.trained is not None
    asked = estimator.early_stopping
    if isinstance(asked, str):
        name = asked
    else:
        name = "log_likelihood" if data.are_states and not data.missing else "free_energy_gap"
    if name == "log_likelihood" and not data.are_states:
        raise ValueError(
            "early_stopping='log_likelihood' needs rows that are states of the visible units (0 and 1 for Bernoulli "
            "ones): the model has no probability for others; use 'free_energy_gap' or 'pseudo_likelihood', or binarise "
            "X (fastrbm.datasets.binarize)"
        )
    of_row = work.pseudo_likelihood(estimator.units, data.binary) if name == "pseudo_likelihood" else work.free_energy()
    count = work.rows(of_row, len(split.held_out))
    held = watching.take(X, watching.spread(split.held_out, count))
    monitor: Any
    if name == "log_likelihood":
        method, cost = watching.likelihood_cost(estimator.model_, work, N_CHAINS, N_TEMPERATURES)
        monitor = LogLikelihood(held, _PREFIX + name, method, work.every(cost + count * of_row))
    elif name == "pseudo_likelihood":
        monitor = PseudoLikelihood(held, _PREFIX + name, work.every(watching.CALL + count * of_row))
    else:  # as many rows of the training data, spread evenly
        seen = watching.take(X, watching.spread(split.trained, min(count, len(split.trained))))
        monitor = FreeEnergyGap(held, seen, name, work.every(2 * (watching.CALL + count * of_row)))
    if not asked:
        return [monitor]
    return [EarlyStopping(monitor, MONITORS[name], estimator.n_iter_no_change, estimator.tol)]
