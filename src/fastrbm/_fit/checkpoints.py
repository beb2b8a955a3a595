"""A callback that keeps the models a run goes through."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer
from ..model import Model
from .callback import Callback
from .state import FitRun

_PARTS = ("weights", "visible_bias", "hidden_bias")


class CheckpointTrajectory(Callback):
    """Keeps copies of the model along a fit, evenly spaced in the logarithm of the updates.

    They serve `fastrbm.samplers.TrajectoryTempering`, ``log_partition("trajectory")`` and
    `fastrbm.likelihood.along_trajectory`.

    Parameters
    ----------
    n_models : int, default=16
        Kept at most, at least 3. The model at the start and the newest one are always among them; where there are more,
        the one goes whose neighbours are closest to each other in log(1 + updates).

    Attributes
    ----------
    models_ : list of Model
        Early ones first: `model_` of the estimator at these times. Gaussian visible units are in units of their
        deviations then.
    updates_ : list of int
        Minibatches that each of them has been trained with. 0 for the model at the start.
    epochs_ : list of int
        Passes that each of them has been trained for.
    sigmas_ : list of ndarray or None
        Deviations by which rows of the data are divided for each of the models; None for units that have none. The
        density of a row of the data is that of the divided one divided by their product.

    Notes
    -----
    Models are looked at before the first pass and after each one, so that they are the same whatever the speed of the
    machine. They take n_models (n_hidden + 1) (n_visible + 1) numbers of the type of the parameters: 25 MB for 16
    float32 models of 784 x 500 units.

    A fit that goes on (``warm_start``) goes on here, too, also after `partial_fit`, which tells no callbacks; another
    one begins anew. The callback may be pickled, alone or with its estimator; model files hold no callbacks.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.callbacks import CheckpointTrajectory
    >>> kept = CheckpointTrajectory(n_models=5)
    >>> X = np.random.default_rng(0).integers(0, 2, (40, 6))
    >>> rbm = BernoulliRBM(3, batch_size=10, n_iter=20, random_state=0, callbacks=[kept]).fit(X)
    >>> kept.updates_[0], kept.updates_[-1], len(kept.models_)
    (0, 80, 5)
    """

    def __init__(self, n_models: int = 16):
        self.n_models = check_integer("n_models", n_models, 3)
        self.models_: list[Model] = []
        self.updates_: list[int] = []
        self.epochs_: list[int] = []
        self.sigmas_: list[NDArray[Any] | None] = []
        self._seed: int | None = None

    def on_fit_begin(self, run: FitRun) -> None:
        """Keep the model at the start, or go on with those of the same run."""
        updates = run.state.chains.updates
        same = self._seed == run.state.key.seed and updates > 0 and len(self.updates_) > 0
        if not same or self.updates_[-1] > updates or self._is_other(run.estimator.model_):
            self.models_, self.updates_, self.epochs_, self.sigmas_ = [], [], [], []
            self._seed = run.state.key.seed
        self._keep(run)

    def _is_other(self, model: Model) -> bool:
        last = self.models_[-1]
        return (model.weights.shape, model.units, model.weights.dtype) != (
            last.weights.shape,
            last.units,
            last.weights.dtype,
        )

    def on_epoch_end(self, run: FitRun) -> None:
        """Keep the model, and drop one if there are too many."""
        self._keep(run)

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The models, and when they were looked at."""
        arrays: dict[str, NDArray[Any]] = {}
        for k, model in enumerate(self.models_):
            arrays |= {f"{name}_{k}": x for name, x in zip(_PARTS, model.parameters, strict=True)}
        arrays |= {f"sigma_{k}": x for k, x in enumerate(self.sigmas_) if x is not None}
        units = [list(model.units) for model in self.models_]
        return {"updates": self.updates_, "epochs": self.epochs_, "units": units, "seed": self._seed}, arrays

    def set_state(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on with the models of an earlier part of the run."""
        self.models_ = []
        for k, (visible, hidden) in enumerate(values["units"]):
            weights, visible_bias, hidden_bias = (arrays[f"{name}_{k}"] for name in _PARTS)
            self.models_.append(Model(weights, visible_bias, hidden_bias, visible, hidden))
        self.updates_, self.epochs_ = list(values["updates"]), list(values["epochs"])
        self.sigmas_ = [arrays.get(f"sigma_{k}") for k in range(len(self.models_))]
        self._seed = values["seed"]

    def _keep(self, run: FitRun) -> None:
        columns: list[list[Any]] = [self.models_, self.updates_, self.epochs_, self.sigmas_]
        updates = run.state.chains.updates
        if self.updates_ and self.updates_[-1] == updates:  # the newest one, which may have been changed since
            for column in columns:
                column.pop()
        sigma = getattr(run.estimator, "sigma_", None)
        new = run.estimator.model_, updates, run.state.epoch, None if sigma is None else np.array(sigma)
        for column, value in zip(columns, new, strict=True):
            column.append(value)
        if len(self.models_) > self.n_models:
            # gaps as ratios of whole numbers, which all machines compare alike
            after = [u + 1 for u in self.updates_]
            gaps = [after[k + 1] / after[k - 1] for k in range(1, len(after) - 1)]
            drop = 1 + int(np.argmin(gaps))
            for column in columns:
                del column[drop]
