"""Deep Boltzmann machines as restricted ones: layers of even number against those of odd number.

Units of a layer are joined to those of its two neighbours alone, so given all even layers the units of the odd ones are
independent, and the other way round. A deep machine is a restricted one whose visible layer is v, h2, h4, ..., whose
hidden layer is h1, h3, ..., and whose weights are 0 between layers that are no neighbours. Kernels, samplers and sums
of the package are those of that machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.bits import VisibleData
from .._data.split import Split
from .._kernels import Backend, PackedBits, Parameters, Phase, States, as_dense
from .._kernels.draws import Key, Stream
from .._kernels.rules import Rule, Update
from ..init import FanIn

_BITS = "bernoulli"


def place(sizes: tuple[int, ...], k: int) -> slice:
    """Where layer k is among the units of its side."""
    start = sum(sizes[j] for j in range(k % 2, k, 2))
    return slice(start, start + sizes[k])


def joined(sizes: tuple[int, ...], weights: list[NDArray[Any]], biases: list[NDArray[Any]], dtype: Any) -> Parameters:
    """Parameters of the restricted machine from those of layers; ``weights[k]`` joins layer k + 1 to layer k."""
    n_even, n_odd = sum(sizes[::2]), sum(sizes[1::2])
    found = Parameters(np.zeros((n_odd, n_even), dtype), np.zeros(n_even, dtype), np.zeros(n_odd, dtype))
    for k, w in enumerate(weights):
        below, above = place(sizes, k), place(sizes, k + 1)
        if k % 2:
            found.weights[below, above] = w.T
        else:
            found.weights[above, below] = w
    for k, bias in enumerate(biases):
        found[2 if k % 2 else 1][place(sizes, k)] = bias
    return found


def split(sizes: tuple[int, ...], parameters: Parameters) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Weights and biases of layers, views of those of the restricted machine."""
    weights = []
    for k in range(len(sizes) - 1):
        below, above = place(sizes, k), place(sizes, k + 1)
        weights.append(parameters.weights[below, above].T if k % 2 else parameters.weights[above, below])
    return weights, [parameters[2 if k % 2 else 1][place(sizes, k)] for k in range(len(sizes))]


def neighbours(sizes: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """1 where units are of layers that are neighbours, 0 elsewhere."""
    ones = [np.ones((above, below)) for below, above in zip(sizes[:-1], sizes[1:], strict=True)]
    return joined(sizes, ones, [np.zeros(n) for n in sizes], dtype).weights


def mean_field(
    backend: Backend, parameters: Parameters, v: NDArray[Any], n_passes: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Means of the even layers, v first, and of the odd ones, by passes of coordinate ascent of the bound from 0.5."""
    weights, visible_bias, hidden_bias = parameters
    n_visible = v.shape[1]
    above = np.ascontiguousarray(weights[:, n_visible:]), np.ascontiguousarray(visible_bias[n_visible:])
    even = np.full((len(v), weights.shape[1]), 0.5, weights.dtype)
    even[:, :n_visible] = v
    for _ in range(n_passes):
        odd = backend.means(_BITS, even, weights, hidden_bias)
        even[:, n_visible:] = backend.means(_BITS, odd, *above, transpose=True)
    return even, backend.means(_BITS, even, weights, hidden_bias)


def gibbs(
    backend: Backend, parameters: Parameters, even: PackedBits, key: Key, first: int, n_steps: int
) -> tuple[Any, Any]:
    """States of even and odd layers after some steps, each of both sides; draws are those of steps from `first` on."""
    weights, visible_bias, hidden_bias = parameters
    states: Any = even
    odd: Any = None
    for step in range(first, first + n_steps):
        odd = backend.samples(_BITS, states, weights, hidden_bias, key.at(step, Stream.HIDDEN))
        states = backend.samples(_BITS, odd, weights, visible_bias, key.at(step, Stream.VISIBLE), transpose=True)
    return states, odd


def contrast(
    backend: Backend, parameters: Parameters, v: States, chains: Any, joins: NDArray[Any], n_passes: int
) -> Parameters:
    """Gradient of the bound: moments under mean fields of rows, less those of chains."""
    weights, _, hidden_bias = parameters
    even, odd = mean_field(backend, parameters, as_dense(v, weights.dtype), n_passes)
    of_chains = Phase(chains, backend.means(_BITS, chains, weights, hidden_bias))
    gradient = backend.gradient(Phase(even, odd), of_chains, weights.dtype)
    return gradient._replace(weights=gradient.weights * joins)


def minibatches(data: VisibleData, key: Key, n_pass: int, size: int) -> Iterator[States]:
    """Minibatches of a pass, in an order of its own."""
    for part, local in data.batches(Split(data.shape[0]).order(key, True)(n_pass), size):
        for first in range(0, len(local), size):
            yield part[local[first : first + size]]


def greedy_layer(
    backend: Backend,
    data: VisibleData,
    visible_bias: NDArray[Any],
    n_hidden: int,
    doubled: tuple[float, float],
    key: Key,
    rate: float,
    n_passes: int,
    batch_size: int,
) -> Parameters:
    """Train two layers by CD-1 where the rest of the deep machine is stood in for by weights that count twice.

    Parameters
    ----------
    doubled : (float, float)
        What weights count upwards and downwards: 2 for a layer that will have neighbours on both sides.
    """
    dtype, (up, down) = data.dtype, doubled
    start = FanIn(1.0).weights(n_hidden, data.shape[1], key, (_BITS, _BITS)).weights
    parameters = Parameters(
        np.ascontiguousarray(start, dtype), np.array(visible_bias, dtype), np.zeros(n_hidden, dtype)
    )
    update, step = Update(Rule(), rate), 0
    for n_pass in range(n_passes):
        for v in minibatches(data, key, n_pass, batch_size):
            weights, bias, hidden_bias = parameters
            upwards = weights * dtype.type(up)
            hidden = backend.means(_BITS, v, upwards, hidden_bias)
            drawn = backend.draw_bits(hidden, key.at(step, Stream.HIDDEN))
            downwards = weights * dtype.type(down)
            seen = backend.samples(_BITS, drawn, downwards, bias, key.at(step, Stream.VISIBLE), transpose=True)
            of_model = Phase(seen, backend.means(_BITS, seen, upwards, hidden_bias))
            backend.ascend(parameters, [], backend.gradient(Phase(v, hidden), of_model, dtype), update)
            step += 1
    return parameters
