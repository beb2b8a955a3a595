"""Networks: gradients against finite differences, outputs against NumPy, updates against the rule in NumPy."""

import numpy as np
import pytest

from fastrbm._kernels import get_backend
from fastrbm.deep._network import Layer, Network

RNG = np.random.default_rng(0)
WIDTHS = (5, 4, 3, 4)


def network(hidden, last, loss):
    activations = (hidden, hidden, last)
    layers = [
        Layer.of(0.6 * RNG.normal(size=(n_out, n_in)), RNG.normal(size=n_out), activation, np.float64)
        for n_in, n_out, activation in zip(WIDTHS, WIDTHS[1:], activations, strict=False)
    ]
    return Network(layers, loss)


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu", "identity"])
@pytest.mark.parametrize(
    ("last", "loss"),
    [("softmax", "labels"), ("sigmoid", "cross_entropy"), ("sigmoid", "squared_error"), ("identity", "squared_error")],
)
@pytest.mark.parametrize("dropped", [False, True])
def test_gradient_is_that_of_finite_differences(hidden, last, loss, dropped):
    net, backend = network(hidden, last, loss), get_backend()
    x = RNG.random((6, WIDTHS[0]))
    targets = RNG.integers(WIDTHS[-1], size=6) if loss == "labels" else RNG.random((6, WIDTHS[-1]))
    kept = [(RNG.random((6, n)) < 0.7) / 0.7 if dropped else None for n in WIDTHS[:-1]]

    def masks(k, shape):
        return kept[k]

    def loss_of():
        return net.ascent(backend, x, targets, masks)[0].mean()

    _, gradients = net.ascent(backend, x, targets, masks)
    step = 1e-5
    for layer, gradient in zip(net.layers, gradients, strict=True):
        assert not gradient.visible_bias.any()
        for name in ("weights", "hidden_bias"):
            values, found = getattr(layer.parameters, name), getattr(gradient, name)
            for at in np.ndindex(values.shape):
                kept_value = values[at]
                values[at] = kept_value + step
                above = loss_of()
                values[at] = kept_value - step
                below = loss_of()
                values[at] = kept_value
                assert abs(found[at] + (above - below) / (2 * step)) < 1e-8


def test_gain_multiplies_gradients_exactly():
    net = network("sigmoid", "softmax", "labels")
    x, labels = RNG.random((6, 5)), RNG.integers(4, size=6)
    plain, larger = (net.ascent(get_backend(), x, labels, lambda k, shape: None, gain)[1] for gain in (1.0, 1024.0))
    for one, other in zip(plain, larger, strict=True):
        np.testing.assert_array_equal(1024 * one.weights, other.weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "identity", "softmax"])
def test_outputs_are_those_of_numpy(dtype, activation):
    layer = Layer.of(RNG.normal(size=(7, 5)), RNG.normal(size=7), activation, dtype)
    x = RNG.normal(size=(9, 5)).astype(dtype)
    z = x.astype(np.float64) @ layer.parameters.weights.T.astype(np.float64) + layer.parameters.hidden_bias
    e = np.exp(z - z.max(axis=1, keepdims=True))
    wanted = {
        "sigmoid": 1 / (1 + np.exp(-z)),
        "tanh": np.tanh(z),
        "relu": np.maximum(z, 0),
        "identity": z,
        "softmax": e / e.sum(axis=1, keepdims=True),
    }[activation]
    found = layer.outputs(get_backend(), x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
