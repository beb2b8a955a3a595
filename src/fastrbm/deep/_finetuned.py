"""What the classifier and the autoencoder share: a stack, its network, and how it is trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._checks import check_flag, check_integer, check_number
from .._data.content import order_of
from .._data.split import Split
from .._estimator.attributes import columns_of, set_columns
from .._estimator.files import Form, StoredParts
from .._kernels import Backend, get_backend
from .._kernels.datatypes import FLOAT_TYPES, check_float_type
from .._kernels.draws import Key
from .._shown import History
from ..classifiers import _parts
from ..estimators import SoftmaxRBM
from ..optimizers import get_optimizer
from ..schedules import check_scheduled, is_schedule
from ._network import ACTIVATIONS, Layer, Network
from ._training import FineTuning, Rows
from ._values import Inputs, Values
from .belief import DeepBeliefNetwork

#: numbers of the streams of seeds
_DBN, _WEIGHTS, _ROWS, _SOME = 0, 1, 2, 3
_BLOCK = 4096  # rows that are put in order at a time
_N_SOME = 1000  # rows by which layers are rescaled
_CHOICES = ("auto", "sigmoid", "tanh", "relu")


class FineTuned(StoredParts, _parts.Parts, BaseEstimator):
    """A network that starts from a stack of machines."""

    #: what `early_stopping` may be, besides True and False
    _stopping: tuple[str, ...] = ("loss",)
    dbn: Any
    dbn_: Any
    network_: Network
    values_: Values
    pretrain: bool
    activation: str
    dtype: Any

    def _part(self, name: str, value: Any) -> Any:
        return DeepBeliefNetwork() if name == "dbn" and value is None else None

    def _check_options(self) -> None:
        """Raise ValueError or TypeError for options that cannot be used, whatever the data are."""
        options: Any = self
        inner = self.dbn.estimator if isinstance(self.dbn, FrozenEstimator) else self.dbn
        if not (inner is None or isinstance(inner, DeepBeliefNetwork)):
            raise TypeError(f"dbn must be None or a DeepBeliefNetwork, maybe in a FrozenEstimator, got {self.dbn!r}")
        if isinstance(self.dbn, FrozenEstimator):
            check_is_fitted(inner)
        check_flag("pretrain", self.pretrain)
        if self.activation not in _CHOICES:
            raise ValueError(f"activation must be one of {list(_CHOICES)}, got {self.activation!r}")
        for name in ("hidden_dropout", "input_dropout"):
            check_number(name, getattr(self, name), 0, 1, include_high=False)
        get_optimizer(options.optimizer)
        check_scheduled("learning_rate", options.learning_rate)
        if not is_schedule(options.learning_rate):
            check_number("learning_rate", options.learning_rate, 0, include_low=False)
        check_number("weight_decay", options.weight_decay, 0)
        check_integer("batch_size", options.batch_size)
        check_integer("n_iter", options.n_iter)
        check_integer("n_iter_no_change", options.n_iter_no_change)
        check_number("validation_fraction", options.validation_fraction, 0, 1, include_high=False)
        if not isinstance(options.early_stopping, bool) and options.early_stopping not in self._stopping:
            raise ValueError(
                f"early_stopping must be True, False or one of {list(self._stopping)}, got {options.early_stopping!r}"
            )
        augment = getattr(self, "augment", None)
        for one in augment if isinstance(augment, (list, tuple)) else [augment]:
            if one is not None and (isinstance(one, type) or not callable(one)):
                raise TypeError(f"augment must be None, a function (rows, draws) or a list of them, got {one!r}")
        check_float_type(self.dtype)
        Key.check(options.random_state)
        get_backend("cpu", options.n_threads)

    def _backend(self) -> Backend:
        options: Any = self
        return get_backend("cpu", options.n_threads)

    # -- start ----------------------------------------------------------------------------------------------

    def _stack(
        self, x: NDArray[Any], held_out: NDArray[np.int64] | None, weights: NDArray[np.float64] | None, key: Key
    ) -> tuple[Any, list[Any]]:
        """The stack, fitted if that is asked for, or None, and its machines."""
        frozen = isinstance(self.dbn, FrozenEstimator)
        options: Any = self
        if frozen:
            dbn = self.dbn.estimator
            if dbn.n_features_in_ != x.shape[1]:
                raise ValueError(f"X must have the {dbn.n_features_in_} columns of the dbn, got {x.shape[1]}")
        else:
            dbn = clone(self.dbn) if self.dbn is not None else DeepBeliefNetwork()
            if options.random_state is not None:
                dbn.set_params(random_state=key.fold_in(_DBN).seed)
        if not self.pretrain:
            return None, dbn.rbms_ if frozen else dbn.machines(x)
        if not frozen:
            rows = slice(None) if held_out is None else np.delete(np.arange(len(x)), held_out)
            dbn.set_output(transform="default").fit(x[rows], **_parts.weighted(weights, rows))
        return dbn, dbn.rbms_

    def _activations(self, stack: list[Any]) -> list[str]:
        found = []
        for rbm in stack:
            if isinstance(rbm, SoftmaxRBM) or rbm.units[1] not in ACTIVATIONS:
                raise ValueError(
                    "dbn must be of machines with Bernoulli, Ising or Gaussian hidden units, and no SoftmaxRBM, to be "
                    f"fine-tuned, got {type(rbm).__name__} with units {rbm.units}"
                )
            found.append(ACTIVATIONS[rbm.units[1]] if self.activation == "auto" else self.activation)
        return found

    @property
    def _float(self) -> Any:
        return np.dtype(np.float32 if self.dtype is None else self.dtype)

    def _encoder(
        self, stack: list[Any], values: Values, widths: list[int], key: Key, some: NDArray[np.float64]
    ) -> list[Layer]:
        """Layers that begin as the machines, or at random (Glorot); `some` are inputs of the network."""
        layers: list[Layer] = []
        for k, activation in enumerate(self._activations(stack)):
            if not self.pretrain:
                layers.append(self._random(widths[k], widths[k + 1], activation, key, k))
                continue
            model = stack[k].model_
            weights, bias = model.weights.astype(np.float64), model.hidden_bias.astype(np.float64)
            if not k:
                weights = weights / getattr(stack[0], "sigma_", 1.0)
                bias = bias + weights @ values.centre
                weights = weights * values.deviation
            layer = Layer.of(weights, bias, activation, self._float)
            if activation != ACTIVATIONS[stack[k].units[1]]:
                layer = self._rescaled(layer, self._through(layers, [np.ascontiguousarray(some, self._float)]))
            layers.append(layer)
        return layers

    def _rescaled(self, layer: Layer, x: NDArray[Any]) -> Layer:
        """The layer with sums of mean 0 for each unit and of variance 1 over all, given some inputs.

        Machines have biases and scales for means of their own units; with these other activations are dead or huge.
        """
        sums = layer._replace(activation="identity").outputs(self._backend(), x).astype(np.float64)
        mean, scale = sums.mean(axis=0), sums.std(axis=0)
        scale = math.sqrt(float(np.square(scale).mean())) or 1.0
        weights, _, bias = layer.parameters
        return Layer.of(weights / scale, (bias - mean) / scale, layer.activation, self._float)

    def _random(self, n_in: int, n_out: int, activation: str, key: Key, number: int) -> Layer:
        scale = math.sqrt(2 / (n_in + n_out))
        weights = key.fold_in(_WEIGHTS).fold_in(number).normal((n_out, n_in), scale)
        return Layer.of(weights, np.zeros(n_out), activation, self._float)

    # -- training -------------------------------------------------------------------------------------------

    def _some(self, inputs: Inputs, split: Split, key: Key) -> NDArray[np.float64]:
        """Inputs of some of the rows that are trained on."""
        rows = np.arange(split.n_rows) if split.trained is None else split.trained
        return inputs[rows[key.fold_in(_SOME).permutation(len(rows), 0)[:_N_SOME]]]

    def _split(self, x: NDArray[Any], labels: NDArray[Any] | None, held: Any, key: Key) -> Split:
        """Which rows are trained on; by content, so that the order of the rows makes no difference."""
        options: Any = self
        if held is not None and options.validation_fraction:
            raise ValueError("validation_fraction must be 0 with X_val, got both: leave one of them")
        if options.early_stopping and held is None and not options.validation_fraction:
            raise ValueError("early_stopping needs rows that are held out: set validation_fraction, or pass X_val")
        begin = order_of((x[first : first + _BLOCK] for first in range(0, len(x), _BLOCK)), labels)
        return Split.of(len(x), options.validation_fraction, key.fold_in(_ROWS), begin)

    def _train(
        self,
        network: Network,
        inputs: Inputs,
        split: Split,
        held: Rows | None,
        labels: Any,
        key: Key,
        weight: NDArray[np.float64] | None = None,
    ) -> FineTuning:
        if split.held_out is not None:
            of_held = None if labels is None else labels[split.held_out]
            held = Rows(inputs.taken(split.held_out), of_held)
        rows = Rows(inputs, labels)
        return FineTuning(self, self._backend(), network, rows, split, held, key.fold_in(_ROWS), weight)

    def _run(self, training: FineTuning) -> None:
        try:
            while training.one_pass():
                self._publish(training)
        finally:  # a run that ends early keeps what it has
            self._publish(training)
        training.warn()

    def _publish(self, training: FineTuning) -> None:
        self._show(training.best)
        self.n_iter_, self.best_iteration_, self.history_ = training.n_passes, training.best_iteration, training.history

    def _show(self, network: Network) -> None:
        self.network_ = network
        self.coefs_ = [layer.parameters.weights.T for layer in self.network_.layers]
        self.intercepts_ = [layer.parameters.hidden_bias for layer in self.network_.layers]

    # -- files ----------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        return {} if self.dbn_ is None else {"dbn": self.dbn_}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        own = {
            "loss": self.network_.loss,
            "activations": [layer.activation for layer in self.network_.layers],
            "values": self.values_.numbers(),
            "n_iter": self.n_iter_,
            "best_iteration": self.best_iteration_,
            "history": self.history_,
            "frozen": isinstance(self.dbn, FrozenEstimator),
        }
        arrays = {"centre": self.values_.centre, "deviation": self.values_.deviation}
        for k, layer in enumerate(self.network_.layers):
            arrays[f"weights_{k}"], _, arrays[f"bias_{k}"] = layer.parameters
        return own | columns_of(self), arrays

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.dbn_ = parts.get("dbn")
        if own["frozen"] and self.dbn_ is not None:
            self.dbn = FrozenEstimator(self.dbn_)
        set_columns(self, own)
        layers, width, dtype = [], self.n_features_in_, arrays["weights_0"].dtype
        for k, activation in enumerate(own["activations"]):
            weights, bias = arrays[f"weights_{k}"], arrays[f"bias_{k}"]
            if weights.shape != (len(bias), width) or dtype not in FLOAT_TYPES:
                raise ValueError(f"weights_{k} must be floats of shape {(len(bias), width)}, got {weights.shape}")
            if activation not in (*_CHOICES[1:], "identity", "softmax"):
                raise ValueError(f"no activation: {activation!r}")
            layers.append(Layer.of(weights, bias, activation, dtype))
            width = len(bias)
        self._show(Network(layers, str(own["loss"])))
        self.values_ = Values.of(own["values"], arrays["centre"], arrays["deviation"])
        if len(self.values_.centre) != self.n_features_in_:
            raise ValueError(f"centre must have {self.n_features_in_} columns")
        self.n_iter_ = check_integer("n_iter", own["n_iter"], 0)
        self.best_iteration_ = check_integer("best_iteration", own["best_iteration"], 0)
        self.history_ = History({str(name): list(map(float, column)) for name, column in own["history"].items()})

    def _inputs(self, X: Any) -> Inputs:
        check_is_fitted(self)
        x = _parts.table_of(self, X, sparse=False, reset=False)
        return self.values_.checked(x, type(self).__name__)

    def _through(self, layers: list[Layer], blocks: Any) -> NDArray[Any]:
        """Outputs of the last of some layers, or the inputs where there are none."""
        backend, parts = self._backend(), []
        for x in blocks:
            for layer in layers:
                x = layer.outputs(backend, x)
            parts.append(x)
        return np.concatenate(parts)
