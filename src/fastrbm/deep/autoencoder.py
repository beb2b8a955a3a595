"""Autoencoders that are fine-tuned from a stack of machines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from .._checks import check_integer
from .._estimator.files import Form
from .._estimator.untouched import untouched
from .._kernels.draws import Key
from ..classifiers import _parts
from ._finetuned import FineTuned
from ._network import Layer, Network
from ._training import Rows
from ._values import Values

_LOSSES = ("auto", "cross_entropy", "squared_error")


class DBNAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, FineTuned):
    """Encoder and decoder that start as a deep belief network, unrolled: up to the top layer, and down again.

    Layers of the decoder start as those of the encoder, transposed, and have weights of their own from then on.

    Parameters
    ----------
    dbn : DeepBeliefNetwork or None, default=None
        As of `DBNClassifier`; the top layer is the code. Gaussian hidden units at the top,
        ``RBM(30, hidden="gaussian")``, make a code of real numbers. None takes ``DeepBeliefNetwork((500, 500))``.
    pretrain : bool, default=True
        False starts the same network from random weights (Glorot, Bengio, 2010), for comparisons.
    loss : {"auto", "cross_entropy", "squared_error"}, default="auto"
        "cross_entropy" is for values in [0, 1], "auto" takes it for Bernoulli visible units, and the squared error for
        others.
    activation : {"auto", "sigmoid", "tanh", "relu"}, default="auto"
        Of hidden layers other than the code, which has that of the top machine; see `DBNClassifier`.
    hidden_dropout, input_dropout, optimizer, learning_rate, weight_decay, batch_size, n_iter, validation_fraction
        As of `DBNClassifier`.
    early_stopping : bool or "loss", default=False
        Stop when the loss of the rows held out has not got better for `n_iter_no_change` passes, and take the best
        parameters.
    n_iter_no_change, dtype, n_threads, random_state, verbose
        As of `DBNClassifier`.

    Attributes
    ----------
    dbn_ : DeepBeliefNetwork or None
        The fitted stack, before fine-tuning; None without `pretrain`.
    coefs_, intercepts_ : list of ndarray
        Weights of shapes (n_in, n_out) and biases of the layers, those of the encoder first.
    n_encoder_layers_ : int
    history_ : dict of list
        One entry per pass: "epoch", "seconds", "loss" and "validation_loss", sums over features, means over rows.
    n_iter_, best_iteration_, n_features_in_, feature_names_in_
        As of `DBNClassifier`.

    References
    ----------
    Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313 (2006).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastrbm.deep import DBNAutoencoder, DeepBeliefNetwork
    >>> X = load_digits().data / 16
    >>> model = DBNAutoencoder(DeepBeliefNetwork([64, 16]), n_iter=10, random_state=0).fit(X)
    >>> model.transform(X).shape, model.inverse_transform(model.transform(X)).shape
    ((1797, 16), (1797, 64))
    """

    def __init__(
        self,
        dbn: Any = None,
        *,
        pretrain: bool = True,
        loss: str = "auto",
        activation: str = "auto",
        hidden_dropout: float = 0.0,
        input_dropout: float = 0.0,
        optimizer: Any = "adam",
        learning_rate: Any = 0.001,
        weight_decay: float = 0.0,
        batch_size: int = 64,
        n_iter: int = 30,
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
        self.loss = loss
        self.activation = activation
        self.hidden_dropout = hidden_dropout
        self.input_dropout = input_dropout
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.dtype = dtype
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    def _check_options(self) -> None:
        if self.loss not in _LOSSES:
            raise ValueError(f"loss must be one of {list(_LOSSES)}, got {self.loss!r}")
        super()._check_options()

    def _activations(self, stack: list[Any]) -> list[str]:
        found = super()._activations(stack)
        auto = {"bernoulli": "sigmoid", "ising": "tanh", "gaussian": "identity"}
        return [*found[:-1], auto[stack[-1].units[1]]]

    def fit(self, X: Any, y: Any = None, *, X_val: Any = None) -> DBNAutoencoder:
        """Fit the stack to X, then fine-tune the network to reconstruct X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        X_val : array-like or None
            Rows held out, in the place of `validation_fraction`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options or rows. The estimator is then what it was before the call.
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
            key = Key.from_random_state(self.random_state)
            split = self._split(x, None, X_val, key)
            x_val = None if X_val is None else _parts.table_of(self, X_val, sparse=False, reset=False)
            dbn, stack = self._stack(x, split.held_out, None, key)
            grey = stack[0].units[0] == "bernoulli"
            loss = self.loss if self.loss != "auto" else "cross_entropy" if grey else "squared_error"
            if loss == "cross_entropy" and not grey:
                raise ValueError(
                    "loss must be 'auto' or 'squared_error' where the lowest machine has other visible units than "
                    f"Bernoulli ones, got 'cross_entropy' with {stack[0].units[0]!r} units"
                )
            self.values_ = values = Values(stack[0], x)
            name = type(self).__name__
            inputs = values.checked(x, name, quiet=self.pretrain)
            held = None if x_val is None else Rows(values.checked(x_val, name))
            widths = [x.shape[1], *(rbm.n_components for rbm in stack)]
            encoder = self._encoder(stack, values, widths, key, self._some(inputs, split, key))
            network = Network([*encoder, *self._decoder(stack, encoder, values, widths, grey, key)], loss)
            training = self._train(network, inputs, split, held, None, key)
            self.dbn_, self.n_encoder_layers_ = dbn, len(encoder)
        self._run(training)
        return self

    def _own_form(self) -> Form:
        own, arrays = super()._own_form()
        return own | {"n_encoder_layers": self.n_encoder_layers_}, arrays

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        super()._put_together(parts, own, arrays)
        most = len(self.network_.layers) - 1
        self.n_encoder_layers_ = check_integer("n_encoder_layers", own["n_encoder_layers"], 1, most)

    def _decoder(
        self, stack: list[Any], encoder: list[Layer], values: Values, widths: list[int], grey: bool, key: Key
    ) -> list[Layer]:
        layers = []
        for k in reversed(range(len(stack))):
            activation = encoder[k - 1].activation if k else "sigmoid" if grey else "identity"
            if not self.pretrain:
                layers.append(self._random(widths[k + 1], widths[k], activation, key, 2 * len(stack) - 1 - k))
                continue
            model = stack[k].model_
            weights, bias = model.weights.T.astype(np.float64), model.visible_bias.astype(np.float64)
            if not k and values.standardised:
                sigma = np.broadcast_to(getattr(stack[0], "sigma_", 1.0), bias.shape)
                weights = weights * (sigma / values.deviation)[:, None]
                bias = (bias * sigma - values.centre) / values.deviation
            layers.append(Layer.of(weights, bias, activation, self._float))
        return layers

    def transform(self, X: Any) -> NDArray[Any]:
        """Compute the codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_units of the top layer)
            Of the float type of X; of that of the network for integers and bool.
        """
        inputs = self._inputs(X)
        layers = self.network_.layers
        blocks = (x for _, x in inputs.blocks(layers[0].parameters.weights.dtype))
        return self._through(layers[: self.n_encoder_layers_], blocks).astype(
            inputs.float_type or self._float, copy=False
        )

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Reconstruct rows from their codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units of the top layer)

        Returns
        -------
        ndarray, shape (n_samples, n_features)
            In the scale of the data; images in [0, 1].
        """
        check_is_fitted(self)
        layers = self.network_.layers
        codes = check_array(X, dtype=layers[0].parameters.weights.dtype)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X must have the {self._n_features_out} columns of a code, got {codes.shape[1]}")
        return self.values_.restored(self._through(layers[self.n_encoder_layers_ :], [codes]))

    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Reconstruct rows: `inverse_transform` of their codes."""
        return self.inverse_transform(self.transform(X))

    def reconstruction_error(self, X: Any) -> float:
        """Compute the mean squared difference between the inputs of the network and its outputs.

        Inputs are images scaled to [0, 1], or standardised columns. The mean is over rows and features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        inputs, total = self._inputs(X), 0.0
        for rows, x in inputs.blocks(self.network_.layers[0].parameters.weights.dtype):
            found = self._through(self.network_.layers, [x])
            total += float(np.square(inputs[rows] - found).sum())
        return total / (len(inputs) * self.n_features_in_)

    def score(self, X: Any, y: Any = None) -> float:
        """Compute minus the `reconstruction_error`, which a search maximises.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
        """
        return -self.reconstruction_error(X)

    @property
    def _n_features_out(self) -> int:
        """Units of the code, for scikit-learn's names of columns."""
        return len(self.intercepts_[self.n_encoder_layers_ - 1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
