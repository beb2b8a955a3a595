"""Layers of a network on the kernels of the package: outputs, and gradients by backpropagation.

Products, means of units and moments are those of the backend, so results are the same bits for any number of threads
and any instruction set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, Parameters, Phase
from .._kernels.datatypes import are_usable

#: the unit whose mean is the activation
_UNITS = {"sigmoid": "bernoulli", "tanh": "ising", "identity": "gaussian", "relu": "gaussian", "softmax": "onehot"}
#: activation that is the mean of a hidden unit
ACTIVATIONS = {"bernoulli": "sigmoid", "ising": "tanh", "gaussian": "identity"}

Masks = Callable[[int, tuple[int, int]], NDArray[Any] | None]


class Layer(NamedTuple):
    """Weights of shape (n_out, n_in), the hidden bias of shape (n_out,), and an activation.

    The visible bias is not used: it is there, and 0, as kernels that change parameters want one.
    """

    parameters: Parameters
    activation: str

    @classmethod
    def of(cls, weights: NDArray[Any], bias: NDArray[Any], activation: str, dtype: Any) -> Layer:
        """Make a layer of copies of arrays."""
        nothing = np.zeros(weights.shape[1], dtype)
        parts = Parameters(np.array(weights, dtype, order="C"), nothing, np.array(bias, dtype))
        return cls(parts, activation)

    def outputs(self, backend: Backend, x: NDArray[Any]) -> NDArray[Any]:
        """Activations given inputs, shape (n_samples, n_out)."""
        weights, _, bias = self.parameters
        found = backend.means(_UNITS[self.activation], x, weights, bias)
        return np.maximum(found, 0, out=found) if self.activation == "relu" else found

    def slope(self, outputs: NDArray[Any]) -> NDArray[Any] | None:
        """Derivative of the activation where it has these outputs; None for 1."""
        if self.activation == "sigmoid":
            return outputs * (1 - outputs)
        if self.activation == "tanh":
            return 1 - outputs * outputs
        return (outputs > 0).astype(outputs.dtype) if self.activation == "relu" else None


class Network(NamedTuple):
    """Layers, from inputs to outputs, and what is minimised.

    Attributes
    ----------
    layers : list of Layer
    loss : {"labels", "cross_entropy", "squared_error"}
        -log of the softmax output at a label; the sums over outputs of -t log p - (1 - t) log(1 - p), p being sigmoid
        outputs, or of (t - p)^2.
    """

    layers: list[Layer]
    loss: str

    def copy(self) -> Network:
        """Copy of all arrays."""
        return Network([Layer(layer.parameters.copy(), layer.activation) for layer in self.layers], self.loss)

    def is_finite(self) -> bool:
        """Whether all parameters are, and can be added up."""
        return all(are_usable(layer.parameters) for layer in self.layers)

    def outputs(self, backend: Backend, x: NDArray[Any]) -> NDArray[Any]:
        """Outputs of the last layer."""
        for layer in self.layers:
            x = layer.outputs(backend, x)
        return x

    def losses(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """Loss of each row."""
        tiny = np.finfo(outputs.dtype).tiny
        if self.loss == "labels":
            chosen = outputs[np.arange(len(targets)), targets]
            return -np.log(np.maximum(chosen, tiny).astype(np.float64))
        if self.loss == "squared_error":
            return np.square(targets - outputs).sum(axis=1, dtype=np.float64)
        on, off = np.log(np.maximum(outputs, tiny)), np.log(np.maximum(1 - outputs, tiny))
        return -(targets * on + (1 - targets) * off).sum(axis=1, dtype=np.float64)

    def ascent(
        self,
        backend: Backend,
        x: NDArray[Any],
        targets: NDArray[Any],
        masks: Masks,
        gain: float = 1.0,
        shares: NDArray[Any] | None = None,
    ) -> tuple[NDArray[np.float64], list[Parameters]]:
        """Losses of rows, and minus the gradient of their mean, of each layer.

        Parameters
        ----------
        backend : Backend
        x : ndarray, shape (n_samples, n_in)
        targets : ndarray
            Labels as numbers, or outputs that are wanted.
        masks : callable
            Returns what the inputs of a layer, by its number and their shape, are multiplied with, or None: dropout.
        gain : float, default=1.0
            The gradients are multiplied with it.
        shares : ndarray or None
            Weights of the rows in the mean, which add up to 1, of the type of the parameters; None: equal ones.

        References
        ----------
        Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986).
        """
        inputs, plain, multiplied = [], [], []
        for k, layer in enumerate(self.layers):
            mask = masks(k, x.shape)
            multiplied.append(mask)
            inputs.append(x if mask is None else x * mask)
            x = layer.outputs(backend, inputs[-1])
            plain.append(x)
        losses = self.losses(x, targets)
        delta = self._difference(x, targets)
        if gain != 1:
            delta *= delta.dtype.type(gain)
        return losses, self._backwards(backend, delta, inputs, plain, multiplied, shares)

    def _difference(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        """Minus the derivative of the losses by what goes into the last activation."""
        if self.loss == "labels":
            delta = -outputs
            delta[np.arange(len(targets)), targets] += 1
            return delta
        delta = targets - outputs
        if self.loss == "squared_error":
            slope = self.layers[-1].slope(outputs)
            delta = 2 * delta if slope is None else 2 * delta * slope
        return delta

    def _backwards(
        self,
        backend: Backend,
        delta: NDArray[Any],
        inputs: Sequence[NDArray[Any]],
        plain: Sequence[NDArray[Any]],
        masks: Sequence[NDArray[Any] | None],
        shares: NDArray[Any] | None,
    ) -> list[Parameters]:
        found = []
        for k in reversed(range(len(self.layers))):
            weights, nothing, _ = self.layers[k].parameters
            gradient = backend.moments(Phase(inputs[k], delta, shares), weights.dtype)
            found.append(Parameters(gradient.weights, nothing.copy(), gradient.hidden_bias))
            if not k:
                break
            delta = backend.inputs(delta, weights, nothing, transpose=True)
            for factor in (masks[k], self.layers[k - 1].slope(plain[k - 1])):
                if factor is not None:
                    delta *= factor
        return found[::-1]
