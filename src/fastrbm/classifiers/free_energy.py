"""Classes by free energies: an RBM for each class, or one RBM of rows and labels."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._checks import warn_user
from .._estimator.attributes import columns_of, restored_classes, set_columns, stored_classes
from .._estimator.files import Form, StoredParts
from .._estimator.row_weights import checked_weights
from .._estimator.untouched import untouched
from .._kernels.draws import Key
from ..estimators import SoftmaxRBM
from ..likelihood import LogPartition
from ..units import get_unit
from . import _joint, _offsets, _parts
from ._inputs import Inputs, check_grey
from ._offsets import learned_offsets

_SPLIT, _LOG_Z = 1 << 32, 1 << 33
_LOOKED_AT = 500  # rows


class FreeEnergyClassifier(StoredParts, _parts.Parts, ClassifierMixin, BaseEstimator):
    """Classifier by free energies F: p(k | v) is proportional to exp(-F of v with class k).

    Parameters
    ----------
    rbm : estimator of fastrbm or None, default=None
        Copies of it are fitted. None takes a `BernoulliRBM` of 100 hidden units where all values are in [0, 1] (uint8
        images count as such) or X is sparse, and a ``GaussianRBM(sigma="data")`` for others; that
        takes means and deviations from all rows, and has ``sigma=1`` for what they make of X. Its options are there for
        searches, as ``rbm__n_components``; for None they are those of the `BernoulliRBM`.
    mode : {"per-class", "joint"}, default="per-class"
        "per-class" trains an RBM on the rows of each class. "joint" trains one RBM whose visible layer has a one-hot
        group of label units after the features; p(y | v) of it is exact. It is an `RBM` with the options of `rbm`.
    offsets : {"learned", "estimated"}, default="learned"
        What is added to the free energies of the machines of "per-class", whose zeros differ by their log Z. "learned"
        finds an offset for each class and one scale of all free energies by maximum likelihood of the labels, which
        is a convex problem. "estimated" takes log Z of each machine and the shares of the classes; the scale is 1.
        With "joint" there are none, and only "learned" is taken.
    validation_fraction : float, default=0.0
        Share of the rows of each class, below 1, that "learned" offsets are found on, and no machine is trained on.
        Machines know the rows that they were trained on; with 0 it is these all the same, and probabilities are too
        sure of themselves.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the machines and of held-out rows. None takes the ``random_state`` of `rbm`.

    Attributes
    ----------
    rbms_ : list of estimators
        The fitted machines in the order of the classes ("per-class").
    rbm_ : RBM
        The fitted machine ("joint").
    offsets_ : ndarray of float64, shape (n_classes,)
        What is added to ``scale_`` times minus the free energies ("per-class").
    scale_ : float
        See `offsets_`.
    log_partitions_ : list of LogPartition
        What ``offsets="estimated"`` found.
    classes_ : ndarray of shape (n_classes,)
        Labels in order.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    RBMClassifier : A classifier on the features of an RBM.

    References
    ----------
    Hinton, "A practical guide to training restricted Boltzmann machines", UTML TR 2010-003, section 16.
    Larochelle, Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008.
    Platt, "Probabilistic outputs for support vector machines", 1999, for softened labels.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.classifiers import FreeEnergyClassifier
    >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 20, axis=0)
    >>> y = np.repeat(["right", "left"], 20)
    >>> FreeEnergyClassifier(BernoulliRBM(4), random_state=0).fit(X, y).predict([[0, 0, 0, 1], [1, 0, 0, 0]]).tolist()
    ['right', 'left']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "mode": [StrOptions({"per-class", "joint"})],
        "offsets": [StrOptions({"learned", "estimated"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        rbm: Any = None,
        *,
        mode: str = "per-class",
        offsets: str = "learned",
        validation_fraction: float = 0.0,
        random_state: Any = None,
    ):
        self.rbm = rbm
        self.mode = mode
        self.offsets = offsets
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _check_options(self) -> None:
        self._validate_params()
        _parts.check_rbm(self.rbm)
        Key.check(self.random_state)
        if self.mode == "joint" and self.offsets != "learned":
            raise ValueError(
                "offsets must be 'learned' with mode='joint', whose label units have biases that are learned with the "
                f"others, got {self.offsets!r}"
            )
        if self.validation_fraction and (self.mode == "joint" or self.offsets != "learned"):
            raise ValueError(
                "validation_fraction must be 0 unless offsets are learned with mode='per-class', got "
                f"{self.validation_fraction}: nothing would be found on the rows"
            )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> FreeEnergyClassifier:
        """Fit the machines, and what makes their free energies comparable.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What the RBM takes, in one table.
        y : array-like of shape (n_samples,)
            Labels of any type, of at least two classes.
        sample_weight : array-like of shape (n_samples,) or None
            Not negative, of the machines, the offsets and the shares of classes.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options, rows or labels. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If the parameters of a machine become infinite or NaN.

        Warns
        -----
        ConvergenceWarning
            Where an estimated log Z is not reliable.
        """
        self._check_options()
        with untouched(self):
            x = _parts.table_of(self, X, sparse=_parts.takes_sparse(self.rbm), reset=True)
            _, classes, index = _parts.labels_of(self, y, x)
            weights = checked_weights(sample_weight, x)
            _parts.check_weighted_classes(classes, index, weights, every=True)
            rbm = self._machine(self.rbm, x)
            key = Key.from_random_state(rbm.random_state if self.random_state is None else self.random_state)
            inputs = Inputs(rbm, x)
            rbm = inputs.standardise(rbm, x, weights)
            if self.mode == "joint":
                found = {"rbm_": self._fit_joint(rbm, inputs, x, index, weights, key)}
            else:
                found = self._fit_machines(_for_classes(rbm, x), inputs.values(x), (classes, index), weights, key)
            for name in ("rbms_", "rbm_", "offsets_", "scale_", "log_partitions_"):
                self.__dict__.pop(name, None)
            self.classes_, self._inputs = classes, inputs
            self.__dict__.update(found)
        return self

    def _fit_joint(self, rbm: Any, inputs: Inputs, x: Any, index: NDArray[np.intp], weights: Any, key: Key) -> Any:
        """The fitted machine of mode "joint"."""
        _joint.check_kind(rbm)
        x = inputs.dense(x)
        if rbm.units[0] == "bernoulli":
            check_grey(x, rbm, type(self).__name__, lambda: getattr(self, "feature_names_in_", None))
        return _joint.fitted(rbm, x, index, weights, key)

    def _fit_machines(self, rbm: Any, x: Any, labels: Any, weights: Any, key: Key) -> dict[str, Any]:
        """Fitted attributes of mode "per-class"."""
        classes, index = labels
        trained, judged = self._split(classes, index, weights, key)
        rbms = []
        for k in range(len(classes)):
            rows = trained[index[trained] == k]
            machine = _parts.seeded(clone(rbm), key, k)
            rbms.append(machine.fit(x[rows], **_parts.weighted(weights, rows)))
        if self.offsets == "learned":
            scores = _scores(rbms, x[judged])
            offsets, scale = learned_offsets(scores, index[judged], None if weights is None else weights[judged])
            return {"rbms_": rbms, "offsets_": offsets, "scale_": scale}
        sums = []
        for k, machine in enumerate(rbms):
            seed = key.fold_in(_LOG_Z).fold_in(k).seed
            sums.append(machine.log_partition(data=_some_states(machine, x[index == k]), random_state=seed))
        for label, one in zip(classes.tolist(), sums, strict=True):
            if not one.reliable:
                warn_user(f"log Z of the machine of class {label!r} is not reliable: {one.message}", ConvergenceWarning)
        prior = np.bincount(index, weights=weights, minlength=len(classes))
        offsets = np.log(prior / prior.sum()) - [float(one) for one in sums] - [_log_volume(one) for one in rbms]
        found: list[LogPartition] = sums
        return {"rbms_": rbms, "offsets_": offsets, "scale_": 1.0, "log_partitions_": found}

    def _split(
        self, classes: NDArray[Any], index: NDArray[np.intp], weights: Any, key: Key
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows that machines are trained on, and those that offsets are found on: a share of each class."""
        counts = np.ones(len(index), dtype=np.bool_) if weights is None else weights > 0
        if not self.validation_fraction:
            rows = np.flatnonzero(counts)
            return rows, rows
        parts: tuple[list[Any], list[Any]] = ([], [])
        for k, label in enumerate(classes.tolist()):
            rows = np.flatnonzero((index == k) & counts)
            n_held = round(self.validation_fraction * len(rows))
            if not 0 < n_held < len(rows):
                raise ValueError(
                    f"validation_fraction must leave rows of each class on both sides, got {self.validation_fraction} "
                    f"of {len(rows)} rows of class {label!r}: choose another, or 0"
                )
            order = rows[key.fold_in(_SPLIT).permutation(len(rows), k)]
            parts[0].append(order[n_held:])
            parts[1].append(order[:n_held])
        return np.sort(np.concatenate(parts[0])), np.sort(np.concatenate(parts[1]))

    # -- predictions ------------------------------------------------------------------------------------------

    def _logits(self, X: Any) -> NDArray[np.float64]:
        """Logs of the probabilities of classes, up to a number of each row."""
        check_is_fitted(self)
        x = _parts.table_of(self, X, sparse=self._inputs.sparse, reset=False)
        if hasattr(self, "rbm_"):
            return _joint.logits(self.rbm_, self._inputs.dense(x), len(self.classes_))
        return self.scale_ * _scores(self.rbms_, self._inputs.values(x)) + self.offsets_

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute the logs of the probabilities of classes up to a number of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            For two classes of shape (n_samples,): the difference, log p(second) - log p(first).
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Compute log p(k | v) of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return log_softmax(self._logits(X), axis=1)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Compute p(k | v) of the classes; see `predict_log_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,)
        """
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]

    # -- files ----------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        if hasattr(self, "rbm_"):
            return {"rbm": self.rbm_}
        return {f"rbm{k}": rbm for k, rbm in enumerate(self.rbms_)}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        of_inputs, arrays = self._inputs.form()
        objects, arrays["classes"] = stored_classes(self.classes_)
        own = columns_of(self) | {"objects": objects, "inputs": of_inputs}
        if hasattr(self, "rbms_"):
            arrays["offsets"], own["scale"] = self.offsets_, float(self.scale_)
        if hasattr(self, "log_partitions_"):
            own["log_partitions"] = [_offsets.plain_sum(one) for one in self.log_partitions_]
        return own, arrays

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        set_columns(self, own)
        self.classes_ = restored_classes(own["objects"], arrays["classes"])
        self._inputs = Inputs.of(own["inputs"], arrays, self.n_features_in_)
        n = len(self.classes_)
        if "rbm" in parts:
            self.rbm_ = _parts.machine_of(parts["rbm"], self.n_features_in_ + n)
            _joint.check(self.rbm_, n)
            return
        self.rbms_ = [_parts.machine_of(parts[f"rbm{k}"], self.n_features_in_) for k in range(n)]
        self.offsets_, self.scale_ = _offsets.restored(arrays["offsets"], own, n)
        if "log_partitions" in own:
            self.log_partitions_ = [_offsets.rich_sum(one) for one in own["log_partitions"]]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = _parts.takes_sparse(self.rbm)
        return tags


def _for_classes(rbm: Any, x: Any) -> Any:
    """The machine with what must be the same for all classes, whatever rows each one has."""
    if rbm.units[0] == "bernoulli":
        return rbm.set_params(input_scale=1.0)  # the values are scaled
    if isinstance(rbm, SoftmaxRBM) and rbm.n_categories is None and np.isfinite(x).any():
        return rbm.set_params(n_categories=max(1, int(np.nanmax(x)) + 1))
    return rbm


def _some_states(rbm: Any, x: Any) -> Any:
    """Some rows by which a search for log Z sees whether it has missed any; None where they are no states."""
    x = x[:: max(1, x.shape[0] // _LOOKED_AT)]
    dense = x.toarray() if hasattr(x, "toarray") else x
    if isinstance(rbm, SoftmaxRBM):
        return None if np.isnan(dense).any() else x
    return x if get_unit(rbm.units[0]).contains(dense) else None


def _scores(rbms: list[Any], x: Any) -> NDArray[np.float64]:
    """Minus the free energies of rows under each machine."""
    return np.stack([-one.free_energy(x) for one in rbms], axis=1)


def _log_volume(rbm: Any) -> float:
    """What densities of rows in the scale of the data have over those that kernels see."""
    return float(np.log(np.asarray(rbm.sigma_, dtype=np.float64)).sum()) if hasattr(rbm, "sigma_") else 0.0
