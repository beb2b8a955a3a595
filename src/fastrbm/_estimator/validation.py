"""What the options ``validation_fraction`` and ``early_stopping`` watch."""

from __future__ import annotations

from typing import Any

from sklearn.utils import _safe_indexing

from .._data import Rows
from .._data.device import is_device_array, rows_to_host
from .._data.split import Split
from .._fit.callback import Callback
from .._kernels import Backend
from ..callbacks import EarlyStopping, FreeEnergyGap, LogLikelihood, PseudoLikelihood
from ..likelihood import exact
from ..model import Model

#: what can be watched, and whether more of it is better
MONITORS = {"log_likelihood": True, "pseudo_likelihood": True, "free_energy_gap": False}
_PREFIX = "validation_"
_QUICK = 1.0  # seconds


def validation_callbacks(estimator: Any, X: Any, data: Rows, split: Split, backend: Backend) -> list[Callback]:
    """Callbacks that record held-out rows, and stop if the estimator asks for it.

    Without a name in ``early_stopping`` that is the log-likelihood of binary rows, if the log Z of such a model can be
    found quickly, else the free-energy gap.
    """
    assert split.held_out is not None and split.trained is not None
    asked = estimator.early_stopping
    if isinstance(asked, str):
        name = asked
    else:
        name = "log_likelihood" if data.binary and has_quick_partition(estimator.model_, backend) else "free_energy_gap"
    if name == "log_likelihood" and not data.are_states:
        raise ValueError(
            "early_stopping='log_likelihood' needs rows that are states of the visible units (0 and 1 for Bernoulli "
            "ones): the model has no probability for others; use 'free_energy_gap' or 'pseudo_likelihood', or binarise "
            "X (fastrbm.datasets.binarize)"
        )
    if name == "pseudo_likelihood" and not hasattr(estimator, "score_samples"):
        raise ValueError(
            f"early_stopping='pseudo_likelihood' needs binary visible units, got {estimator.units[0]!r}; "
            "use 'free_energy_gap' or 'log_likelihood'"
        )
    held = _rows(X, split.held_out)
    monitor: Any
    if name == "log_likelihood":
        monitor = LogLikelihood(held, _PREFIX + name)
    elif name == "pseudo_likelihood":
        monitor = PseudoLikelihood(held, _PREFIX + name)
    else:
        # as many rows of the training data, spread evenly
        step = max(1, len(split.trained) // len(split.held_out))
        monitor = FreeEnergyGap(held, _rows(X, split.trained[::step][: len(split.held_out)]), name)
    if not asked:
        return [monitor]
    return [EarlyStopping(monitor, MONITORS[name], estimator.n_iter_no_change, estimator.tol)]


def has_quick_partition(model: Model, backend: Backend) -> bool:
    """Whether log Z can be estimated, or summed up in a second."""
    return exact.can_be_annealed(model) or exact.choose(model).seconds(backend) <= _QUICK


def _rows(X: Any, rows: Any) -> Any:
    """Some rows of X, those of a device on the host: watching them is a small part of the work."""
    return rows_to_host(X, rows) if is_device_array(X) else _safe_indexing(X, rows)
