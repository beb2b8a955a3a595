"""A classifier that is fine-tuned from a stack of machines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin

from .._estimator.attributes import restored_classes, stored_classes
from .._estimator.files import Form
from .._estimator.row_weights import as_repetitions, checked_weights, weighted
from .._estimator.untouched import untouched
from .._kernels.draws import Key
from ..classifiers import _parts
from ._finetuned import FineTuned
from ._network import Network
from ._training import Rows
from ._values import Values


class DBNClassifier(ClassifierMixin, FineTuned):
    """Network with a softmax output whose hidden layers start as a deep belief network.

    The stack learns from the rows without their labels; all layers are then trained by backpropagation to have the
    labels, -log p(y | v) being minimised.

    Parameters
    ----------
    dbn : DeepBeliefNetwork or None, default=None
        A copy of it is fitted; None takes ``DeepBeliefNetwork((500, 500))``. One that is fitted already is used as it
        is in a `sklearn.frozen.FrozenEstimator`. Its options are there for searches, as ``dbn__layers`` and
        ``dbn__rbm__n_iter``.
    pretrain : bool, default=True
        False starts the same network from random weights (Glorot, Bengio, 2010), for comparisons.
    activation : {"auto", "sigmoid", "tanh", "relu"}, default="auto"
        Of hidden layers. "auto" is that of the machines: sigmoid of Bernoulli hidden units, tanh of Ising ones,
        identity of Gaussian ones. With another one the weights of the machines are a start, but not their scale and
        biases, with which "relu" units are dead: the sums that go into a unit are shifted and scaled to mean 0 and, on
        the whole, variance 1 (Mishkin, Matas, 2016), layer by layer.
    hidden_dropout, input_dropout : float, default=0.0
        Share of the units of each hidden layer, or of the inputs, that is left out in each update; the others are
        scaled up, so that predictions need no scale.
    optimizer : {"adam", "sgd", "rmsprop"} or object of fastrbm.optimizers, default="adam"
    learning_rate : float or schedule, default=0.001
        Schedules are objects of `fastrbm.schedules`, or functions of (pass, number of passes).
    weight_decay : float, default=0.0
        Weights are multiplied by 1 - learning_rate * weight_decay in each update, apart from the optimiser.
    batch_size : int, default=64
    n_iter : int, default=30
        Passes of fine-tuning; those of the machines are their own.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, by which those of their rows are multiplied, as in scikit-learn: "balanced"
        makes the classes count alike. The stack knows no classes.
    augment : callable, list of callables or None, default=None
        ``augment(rows, draws)`` returns changed copies of a minibatch of inputs of the network (grey levels in [0, 1],
        standardised columns) by a `numpy.random.Generator`: `Flip`, `Shift`, or functions of yours. For fine-tuning
        alone.
    validation_fraction : float, default=0.0
        Share of the rows that neither the stack nor the network is trained on; they are scored in `history_`.
    early_stopping : bool or {"accuracy", "loss"}, default=False
        Stop when the accuracy (True is the same) or the loss of the rows held out has not got better for
        `n_iter_no_change` passes, and take the best parameters.
    n_iter_no_change : int, default=5
    dtype : numpy.float32, numpy.float64 or None, default=None
        Type of the network's arithmetic; None is float32.
    n_threads : int or None, default=None
        Of the fine-tuning; results are the same bits for any number.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the stack, the weights, the order of rows, dropout and `augment`.
    verbose : int, default=0
        Non-zero prints a line after each pass.

    Attributes
    ----------
    dbn_ : DeepBeliefNetwork or None
        The fitted stack, before fine-tuning; None without `pretrain`.
    coefs_ : list of ndarray, shapes (n_in, n_out)
        Weights of the layers, the softmax last, on inputs of the network.
    intercepts_ : list of ndarray, shapes (n_out,)
    classes_ : ndarray of shape (n_classes,)
    history_ : dict of list
        One entry per pass: "epoch", "seconds", "loss" (mean over the rows as they came, with dropout), and
        "validation_loss", "validation_accuracy".
    n_iter_, best_iteration_ : int
        Passes done, and that of the parameters.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    uint8 images are divided by 255. Columns are standardised where the lowest machine has Gaussian visible units.

    References
    ----------
    Hinton, Osindero, Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18 (2006).
    Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313 (2006).
    Srivastava et al., "Dropout", JMLR 15 (2014).
    Mishkin, Matas, "All you need is a good init", ICLR 2016.
    Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastrbm.deep import DBNClassifier, DeepBeliefNetwork
    >>> X, y = load_digits(return_X_y=True)
    >>> model = DBNClassifier(DeepBeliefNetwork([100, 50]), random_state=0).fit(X[:1000] / 16, y[:1000])
    >>> model.score(X[1000:] / 16, y[1000:]) > 0.88
    True
    """

    _stopping = ("accuracy", "loss")

    def __init__(
        self,
        dbn: Any = None,
        *,
        pretrain: bool = True,
        activation: str = "auto",
        hidden_dropout: float = 0.0,
        input_dropout: float = 0.0,
        optimizer: Any = "adam",
        learning_rate: Any = 0.001,
        weight_decay: float = 0.0,
        batch_size: int = 64,
        n_iter: int = 30,
        class_weight: Any = None,
        augment: Any = None,
        validation_fraction: float = 0.0,
        early_stopping: bool | str = False,
        n_iter_no_change: int = 5,
        dtype: Any = None,
        n_threads: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.dbn = dbn
        self.pretrain = pretrain
        self.activation = activation
        self.hidden_dropout = hidden_dropout
        self.input_dropout = input_dropout
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.class_weight = class_weight
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.dtype = dtype
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> DBNClassifier:
        """Fit the stack to X, then fine-tune the network to the labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels of any type, of at least two classes.
        sample_weight : array-like of shape (n_samples,) or None
            Not negative, of the machines of the stack and of the loss; whole numbers up to 16 are repetitions. Scores
            of rows held out do not know them.
        X_val, y_val : array-like or None
            Rows held out, in the place of `validation_fraction`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options, rows or labels. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If parameters become infinite or NaN; those of the last pass without are kept.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the loss ends far above that of the start.
        """
        self._check_options()
        with untouched(self):
            x = _parts.table_of(self, X, sparse=False, reset=True)
            y, classes, index = _parts.labels_of(self, y, x)
            weights = checked_weights(sample_weight, x)
            _parts.check_weighted_classes(classes, index, weights, every=False)
            key = Key.from_random_state(self.random_state)
            if (X_val is None) != (y_val is None):
                raise ValueError("X_val and y_val must be given together, got one of them")
            base = self._split(x, index, X_val, key)
            split, weight = weighted(base, weights, _parts.class_factors(self.class_weight, classes, index, weights))
            if X_val is not None:
                x_val = _parts.table_of(self, X_val, sparse=False, reset=False)
                _parts.check_known(y_val, "y_val")
                y_val = np.asarray(y_val)
                if y_val.shape != (len(x_val),) or not np.isin(y_val, classes).all():
                    raise ValueError("y_val must have one label of y for each row of X_val")
            dbn, stack = self._stack(x, base.held_out, weights, key)
            self.values_ = values = Values(stack[0], x, *_counted(weights))
            name = type(self).__name__
            inputs = values.checked(x, name, quiet=self.pretrain)
            held = None
            if X_val is not None:
                held = Rows(values.checked(x_val, name), np.searchsorted(classes, y_val))
            widths = [x.shape[1], *(rbm.n_components for rbm in stack)]
            layers = self._encoder(stack, values, widths, key, self._some(inputs, split, key))
            layers.append(self._random(widths[-1], len(classes), "softmax", key, len(layers)))
            training = self._train(Network(layers, "labels"), inputs, split, held, index, key, weight)
            self.dbn_, self.classes_ = dbn, classes
        self._run(training)
        return self

    def _own_form(self) -> Form:
        own, arrays = super()._own_form()
        objects, classes = stored_classes(self.classes_)
        return own | {"objects": objects}, arrays | {"classes": classes}

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        super()._put_together(parts, own, arrays)
        self.classes_ = restored_classes(own["objects"], arrays["classes"])
        if len(self.classes_) != len(self.intercepts_[-1]):
            raise ValueError(f"classes must be {len(self.intercepts_[-1])}, got {len(self.classes_)}")

    def _scores(self, X: Any) -> NDArray[np.float64]:
        """Inputs of the softmax, less a constant of the row: log p(y | v)."""
        inputs = self._inputs(X)
        *hidden, last = self.network_.layers
        logits = last._replace(activation="identity")
        blocks = (x for _, x in inputs.blocks(last.parameters.weights.dtype))
        return log_softmax(self._through([*hidden, logits], blocks).astype(np.float64), axis=1)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute log p(y | v); of two classes the log odds of the second one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes), or (n_samples,) of two classes
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the labels of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,)
        """
        best = self._scores(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return np.exp(self._scores(X))

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict logs of the probabilities; see `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
        """
        return self._scores(X)


def _counted(weights: NDArray[np.float64] | None) -> tuple[NDArray[np.int64] | None, NDArray[np.float64] | None]:
    """Rows that means are taken of, as often as whole weights say, or other weights; those held out count, too."""
    times = None if weights is None else as_repetitions(weights)
    return (None, weights) if times is None else (np.repeat(np.arange(len(times)), times), None)
