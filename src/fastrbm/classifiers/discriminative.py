"""A restricted Boltzmann machine that is a classifier itself: its visible layer is features and a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y, check_consistent_length, check_is_fitted

from .._data.bits import VisibleData
from .._data.content import content_order
from .._data.split import Split
from .._estimator.row_weights import checked_weights, weighted
from .._estimator.untouched import untouched
from .._kernels import Backend, Parameters, States, as_dense, get_backend
from .._kernels.datatypes import FLOAT_TYPES
from .._kernels.draws import Key
from .._kernels.labels import LabelledLayer, probabilities
from ..model import Model
from ..optimizers import get_optimizer
from ._fit import LabelledFit
from ._inputs import visible_rows
from ._labelled import LabelledTraining, Machine, Objective, normalised
from ._labelled_files import StoredLabelled
from ._labelled_options import check_options, starting, warn_of_unlabelled

_BLOCK = 4096  # rows that are scored at a time


class DiscriminativeRBM(
    StoredLabelled, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""Classifier by a restricted Boltzmann machine of features and a label (ClassRBM).

    Bernoulli hidden units h see features v and a label y, with the energy
    -h^T W v - b^T v - c^T h - d_y - U_y h. So the probability of a label is exact,
    p(y | v) is proportional to exp(d_y + sum_j log(1 + exp(c_j + U_yj + W_j v))), for any number of hidden units.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    objective : {"hybrid", "discriminative", "generative"}, default="hybrid"
        What is ascended: log p(y | v) + `generative_weight` log p(v, y), the first alone, or log p(v, y) alone. The
        gradient of log p(y | v) is exact, that of log p(v, y) is contrastive divergence.
    generative_weight : float, default=0.01
        At least 0; of the hybrid.
    unlabelled_weight : float, default=0.01
        Of log p(v) of the rows that `fit` is given as `unlabelled`; at least 0.
    learning_rate : float or schedule, default=0.005
        For Adam. `SGD` wants some 0.05, fewer hidden units or more passes: the labels see all hidden units move alike.
    batch_size : int, default=50
    n_iter : int, default=30
        Passes over the data.
    n_gibbs_steps : int, default=1
        Sweeps of the chains of the generative parts.
    optimizer : str or optimizer, default="adam"
        See `fastrbm.optimizers`.
    init : str, array-like or initializer, default="xavier"
        Of the weights of the features and of the classes. Visible biases are those of the means of the features,
        biases of the classes those of their frequencies.
    validation_fraction : float, default=0.0
        Share of the rows that is held out, in [0, 1); ``history_`` has their mean log p(y | v) and their accuracy.
    early_stopping : bool, default=False
        End the fit when the log p(y | v) of held-out rows no longer rises, and put the best parameters back. It needs
        a `validation_fraction`.
    n_iter_no_change : int, default=5
    tol : float, default=0.0
    shuffle, warm_start : bool, default=True and False
        Whether passes permute the rows, and whether `fit` goes on from the parameters that are there.
    random_state : int, RandomState, Generator or None
        The same one gives the same bits for any number of threads.
    out_of_range : {"warn", "error", "allow"}, default="warn"
        What is done with features outside [0, 1]; p(y | v) is defined for all numbers, log p(v, y) is not.
    device : {"auto", "cpu", "reference"}, default="auto"
    n_threads : int or None
    dtype : {None, float32, float64}
        Of the parameters; None: float32.
    verbose : int, default=0
        1 prints a line after each pass.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    components_ : ndarray, shape (n_components, n_features)
        W.
    intercept_hidden_, intercept_visible_ : ndarray
        c and b.
    class_components_ : ndarray, shape (n_classes, n_components)
        U.
    intercept_classes_ : ndarray, shape (n_classes,)
        d.
    n_iter_ : int
        Passes that were done.
    history_ : dict of list
        "loss", the mean of -log p(y | v) of the rows of a pass, each before its own update; with held-out rows
        "validation_log_probability" and "validation_accuracy".

    References
    ----------
    Larochelle, Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008.
    Larochelle, Mandel, Pascanu, Bengio, "Learning algorithms for the classification restricted Boltzmann machine",
    JMLR 13 (2012).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastrbm.classifiers import DiscriminativeRBM
    >>> X, y = load_digits(return_X_y=True)
    >>> machine = DiscriminativeRBM(100, random_state=0).fit(X[:1500] / 16, y[:1500])
    >>> machine.score(X[1500:] / 16, y[1500:]) > 0.9
    True
    """

    input_scale_: float

    def __init__(
        self,
        n_components: int = 256,
        *,
        objective: str = "hybrid",
        generative_weight: float = 0.01,
        unlabelled_weight: float = 0.01,
        learning_rate: Any = 0.005,
        batch_size: int = 50,
        n_iter: int = 30,
        n_gibbs_steps: int = 1,
        optimizer: Any = "adam",
        init: Any = "xavier",
        validation_fraction: float = 0.0,
        early_stopping: bool = False,
        n_iter_no_change: int = 5,
        tol: float = 0.0,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
        out_of_range: str = "warn",
        device: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.objective = objective
        self.generative_weight = generative_weight
        self.unlabelled_weight = unlabelled_weight
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.n_gibbs_steps = n_gibbs_steps
        self.optimizer = optimizer
        self.init = init
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.out_of_range = out_of_range
        self.device = device
        self.n_threads = n_threads
        self.dtype = dtype
        self.verbose = verbose

    # -- options and data ---------------------------------------------------------------------------------------

    def _backend(self) -> Backend:
        return get_backend("cpu" if self.device == "auto" else self.device, self.n_threads)

    def _rows(self, X: Any, *, reset: bool) -> VisibleData:
        return visible_rows(self, X, reset=reset)

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, unlabelled: Any = None
    ) -> DiscriminativeRBM:
        """Train on rows with labels, and on others without.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Features in [0, 1]; uint8 images are divided by 255 as by the other estimators.
        y : array-like, shape (n_samples,)
            Labels of any type.
        sample_weight : array-like, shape (n_samples,), or None
        unlabelled : array-like or sparse matrix, shape (n_others, n_features), or None
            Rows whose log p(v) is ascended with `unlabelled_weight`, `batch_size` in each minibatch, in turn.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad options and data; the estimator is as it was.
        DivergenceError
            If parameters became infinite or NaN; the last finite ones are kept.
        """
        with untouched(self):
            going_on = self.warm_start and hasattr(self, "components_")
            run = self._begin(X, y, sample_weight, unlabelled, None, going_on)
        try:
            for _ in range(self.n_iter):
                if not run.one_pass():
                    break
        finally:  # also of a run that diverged or was interrupted
            self._finish(run)
        return self

    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> DiscriminativeRBM:
        """Pass once over some rows, going on from what there is; no rows are held out.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like or None
            All labels that there will be; of the first call.

        Returns
        -------
        self
        """
        with untouched(self):
            going_on = hasattr(self, "components_")
            if not going_on and classes is None:
                raise ValueError(
                    "classes must be given in the first call of partial_fit: all labels that there will be"
                )
            if going_on and classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"classes must be those of the first call, {self.classes_}, got {np.unique(classes)}")
            run = self._begin(X, y, sample_weight, None, classes, going_on, held_out=False)
        try:
            run.one_pass()
        finally:
            self._finish(run)
        return self

    def _begin(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        unlabelled: Any,
        classes: Any,
        going_on: bool,
        held_out: bool = True,
    ) -> LabelledFit:
        """Check everything and set a fit up; `going_on` from the parameters and chains that are there."""
        check_options(self)
        data = self._rows(X, reset=not going_on)
        labels = _check_y(y, multi_output=False, y_numeric=False, estimator=self)
        check_classification_targets(labels)
        check_consistent_length(X, labels)
        if not going_on:
            self.classes_ = np.unique(labels if classes is None else classes)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have at least two classes, got one class: {self.classes_.tolist()[0]!r}")
        if not going_on:
            warn_of_unlabelled(self.classes_)
        codes = np.searchsorted(self.classes_, labels)
        codes = np.minimum(codes, len(self.classes_) - 1)
        if (self.classes_[codes] != labels).any():
            raise ValueError(f"y must hold classes of the first call, {self.classes_}, got {np.unique(labels)}")
        weight = checked_weights(sample_weight, X)
        others = None if unlabelled is None else self._rows(unlabelled, reset=False)
        key = self._training.key if going_on else Key.from_random_state(self.random_state)
        # by content, so that the order of the rows makes no difference, nor does a weight of 2 in place of a row twice
        begin = content_order(data, codes.astype(np.float64)) if self.shuffle else None
        split, weight = weighted(Split.of(data.shape[0], self.validation_fraction * held_out, key, begin), weight)
        machine = self._machine() if going_on else starting(self, data, split, codes, weight, key)
        optimizer = get_optimizer(self.optimizer)
        slots = [
            Machine(*(Parameters(*map(np.zeros_like, part)) for part in machine)) for _ in range(optimizer.n_slots())
        ]
        hybrid, generative = self.objective == "hybrid", self.objective == "generative"
        objective = Objective(
            float(not generative),
            float(self.generative_weight) if hybrid else float(generative),
            float(self.unlabelled_weight) if others is not None else 0.0,
            self.n_gibbs_steps,
        )
        training = LabelledTraining(machine, slots, key)
        if going_on:  # where the last call stopped, with the optimiser's memory if that is the same
            kept = self._training
            training.step, training.updates, training.n_passes = kept.step, kept.updates, kept.n_passes
            if len(kept.slots) == len(slots):
                training.slots = kept.slots
        return LabelledFit(self, self._backend(), training, objective, data, codes, weight, split, others)

    def _machine(self) -> Machine:
        """Copies of the fitted parameters."""
        dtype = self.components_.dtype
        features = Parameters(self.components_, self.intercept_visible_, self.intercept_hidden_)
        nothing = np.zeros(len(self.intercept_hidden_), dtype)
        return Machine(features, Parameters(self.class_components_, nothing, self.intercept_classes_)).copy()

    def _finish(self, run: LabelledFit) -> None:
        features, classes = run.best()
        self.components_, self.intercept_visible_, self.intercept_hidden_ = features
        self.class_components_, _, self.intercept_classes_ = classes
        self.history_, self.n_iter_ = run.history, run.n_passes
        self._training = run.training

    # -- what a fitted machine says -------------------------------------------------------------------------------

    def _layers(self, data: VisibleData) -> Iterator[tuple[States, LabelledLayer, NDArray[np.float64]]]:
        """Blocks of rows with their hidden units given each class, and scores of the classes."""
        backend, machine = self._backend(), self._machine()
        weights, _, bias = machine.features
        with backend.holding(weights):
            for _, states in data.slices():
                for first in range(0, states.shape[0], _BLOCK):
                    part = states[first : first + _BLOCK]
                    layer = backend.labelled(backend.inputs(part, weights, bias), machine.classes.weights)
                    yield part, layer, layer.scores(machine.classes.hidden_bias)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute log p(y | v); of two classes the log odds of the second one.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes), or (n_samples,) of two classes
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else normalised(scores)

    def _scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "components_")
        return np.concatenate([scores for _, _, scores in self._layers(self._rows(X, reset=False))])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Compute p(y | v), which is exact.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return probabilities(self._scores(X))

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Compute log p(y | v), exact also where it is far below 0.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return normalised(self._scores(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each row.

        Returns
        -------
        ndarray, shape (n_samples,), of the type of ``classes_``
        """
        best = self._scores(X).argmax(axis=1)  # before classes_: it says so if there is no fit
        return self.classes_[best]

    def transform(self, X: Any) -> NDArray[Any]:
        """Compute the means of the hidden units given the features alone, the label summed out.

        Returns
        -------
        ndarray, shape (n_samples, n_components)
        """
        check_is_fitted(self, "components_")
        data, dtype = self._rows(X, reset=False), self.components_.dtype
        blocks = []
        for part, layer, scores in self._layers(data):
            n = part.shape[0]
            found = layer.moments(probabilities(scores), np.full(n, -1, np.int32), np.full(n, 1 / n, dtype))
            blocks.append(found.model)
        given = np.dtype(data.given_dtype)
        wanted = given if given in FLOAT_TYPES else dtype if given in (np.uint8, np.bool_) else np.dtype(np.float64)
        return np.concatenate(blocks).astype(wanted, copy=False)

    def free_energy(self, X: Any) -> NDArray[np.float64]:
        """Compute -log of the sum over labels and hidden states of exp(-energy).

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            That is -log p(v) - log Z.
        """
        check_is_fitted(self, "components_")
        found = []
        for part, _, scores in self._layers(self._rows(X, reset=False)):
            field = as_dense(part, np.float64) @ self.intercept_visible_.astype(np.float64)
            found.append(-field - np.logaddexp.reduce(scores, axis=1))
        return np.concatenate(found)

    @property
    def model_(self) -> Model:
        """The machine as a `Model`: visible units are the features, and one one-hot group of the classes.

        All of `fastrbm.likelihood`, `fastrbm.samplers` and `fastrbm.plot` takes it.
        """
        check_is_fitted(self, "components_")
        n_classes = len(self.classes_)
        return Model(
            np.hstack([self.components_, self.class_components_.T]),
            np.concatenate([self.intercept_visible_, self.intercept_classes_]),
            self.intercept_hidden_,
            f"mixed(bernoulli*{self.n_features_in_},onehot*{n_classes})",
            "bernoulli",
        )

    @property
    def _n_features_out(self) -> int:
        return len(self.intercept_hidden_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
