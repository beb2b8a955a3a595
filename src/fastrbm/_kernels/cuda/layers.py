"""One layer given the other, on the device.

Layers of bits go through `kernels/layer.py`: exact sums, the draws of the CPU kernels. Grey or Gaussian states, float64
and weights too large to be quantised go through products of dense matrices (`dense.py`). Unit types other than
Bernoulli have their products here; the formulas of spins, classes and Gaussian neurons are in `units.py`, those of
others where all backends have them, in `fastrbm.units`, on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...units import get_unit
from ..bits import PackedBits, are_bits, n_words, pack
from ..contract import Backend, Drawn, States
from ..draws import Draw, uniforms
from ..levels import GreyLevels
from .dense import product, transposed
from .kernels.arguments import GreyRows, Outputs, Weights
from .kernels.elementwise import (
    BERNOULLI_INPUTS,
    BERNOULLI_MEANS,
    draw_wide_kernel,
    finish_kernel,
    finish_levels_kernel,
    finish_wide_kernel,
    set_bits_kernel,
    spins_kernel,
    unpack_kernel,
    whole_kernel,
)
from .kernels.layer import INPUTS, ROWS, WORDS, make_draw_kernel, make_layer_kernel
from .kernels.scalar import ONE
from .kernels.tiles import STEP
from .launching import Kernels, address, choose_tile, launch_strided, launch_tiles, nothing, rows_of
from .memory import DeviceBits, bits_on_device, download, empty, flat, on_device, to_device, upload, zeros
from .quantise import QuantisedWeights
from .units import draws_in_place, means_in_place

_COPY = "copy"
LAYER = Kernels(make_layer_kernel)
DRAW = Kernels(make_draw_kernel)


def pack_states(values: Any) -> DeviceBits:
    """Bits of values 0 and 1."""
    n, n_neurons = values.shape
    words = zeros((n, 2 * n_words(n_neurons)), np.uint32)
    launch_strided(set_bits_kernel, n * -(-n_neurons // 32), values, int(words.shape[1]), flat(words))
    return DeviceBits(words, n_neurons)


def _outputs(words: Any, rows: Any) -> Outputs:
    """Where a single layer goes: it has no gradient to come."""
    return Outputs(words, nothing(np.uint32), 1, 0, nothing(np.uint64), 1, ONE, nothing(np.int32), rows)


class Layers(Backend):
    """The part of the backend that computes and draws layers."""

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads
        #: whether weights are rounded to 16 bits where means are wanted or states drawn
        self.short = False
        #: by the identity of the weights, which are kept alive here: their copy and its quantised form, once made
        self._held: dict[int, tuple[Any, dict[Any, Any]]] = {}

    @contextmanager
    def holding(self, *weights: NDArray[Any]) -> Iterator[None]:
        """See `Backend.holding`: one copy on the device serves all products."""
        before = self._held
        self._held = {**before, **{id(w): (w, {}) for w in weights}}
        try:
            yield
        finally:
            self._held = before

    def _copied(self, weights: Any) -> Any:
        """Weights on the device."""
        _, found = self._held.get(id(weights), (None, {}))
        if _COPY not in found:
            found[_COPY] = to_device(weights)
        return found[_COPY]

    def _quantised(self, weights: Any, short: bool = False) -> QuantisedWeights | None:
        """Weights as integers, `short` ones, where they are float32 and fit."""
        copy = self._copied(weights)
        _, found = self._held.get(id(weights), (None, {}))
        if short not in found:
            quantised = QuantisedWeights(copy, short) if copy.dtype == np.float32 and copy.size else None
            found[short] = quantised if quantised is not None and quantised.fill() else None
        return found[short]

    def dense_values(self, states: Any, dtype: Any) -> Any:
        """States as a dense device array."""
        if isinstance(states, GreyLevels):
            return upload(states.dense(dtype))
        if not are_bits(states):
            return to_device(states if on_device(states) else np.ascontiguousarray(states, dtype=dtype))
        bits = bits_on_device(states)
        out = empty(bits.shape, dtype)
        if out.size:
            launch_strided(unpack_kernel, out.size, flat(bits.words), int(bits.words.shape[1]), out)
        return out

    def _layer(self, states: Any, weights: Any, bias: Any, transpose: bool, what: int, draw: Draw | None = None) -> Any:
        """Inputs or means (`what` INPUTS or ROWS) as a device array, or drawn bits (WORDS)."""
        n, n_out = states.shape[0], weights.shape[1 if transpose else 0]
        rows_shape = (n, n_out) if what != WORDS else (1, 1)
        if n == 0:
            return DeviceBits(empty((0, 2 * n_words(n_out)), np.uint32), n_out) if what == WORDS else empty(
                rows_shape, weights.dtype
            )  # fmt: skip
        levels = isinstance(states, GreyLevels) and not transpose
        short = self.short and what != INPUTS
        quantised = self._quantised(weights, short) if are_bits(states) or levels else None
        if quantised is not None and levels:
            return self._level_layer(states, quantised, bias, what, draw)
        if quantised is None:
            return self._dense_layer(states, self._copied(weights), bias, transpose, what, draw)
        bits = bits_on_device(states)
        rows = empty(rows_shape, np.float32) if what != WORDS else nothing(np.float32, (1, 1))
        words = zeros((n, 2 * n_words(n_out)), np.uint32) if what == WORDS else nothing(np.uint32, (1, 1))
        n_in = states.shape[1]
        tile = quantised.tile(choose_tile(n, n_out))
        fragments = quantised.to_visible if transpose else quantised.to_hidden
        weights_in = Weights(fragments, to_device(bias), quantised.quantum, -(-n_in // STEP), n_out)
        out = _outputs(flat(words), rows)
        launch_tiles(LAYER[tile], tile, n, n_out, rows_of(bits), weights_in, address(draw or Draw(0, 0, 0)), what, out)
        return DeviceBits(words, n_out) if what == WORDS else rows

    def _level_layer(self, levels: Any, weights: QuantisedWeights, bias: Any, what: int, draw: Draw | None) -> Any:
        """The hidden layer given levels: their products with the integers are whole numbers, exact in float64."""
        integers = empty((weights.n_hidden, weights.n_visible), np.float64)
        launch_strided(whole_kernel, integers.size, weights.weights, weights.quantum, weights.is_short, integers)
        sums = empty((len(levels), weights.n_hidden), np.float64)
        product(upload(levels.values.astype(np.float64)), transposed(integers), sums)
        out = empty(sums.shape, np.float32)
        kind = BERNOULLI_MEANS if what == ROWS else BERNOULLI_INPUTS
        launch_strided(finish_levels_kernel, out.size, sums, weights.quantum, to_device(bias), kind, out)
        return self._drawn(out, draw) if what == WORDS else out

    def _dense_layer(self, states: Any, weights: Any, bias: Any, transpose: bool, what: int, draw: Draw | None) -> Any:
        n, n_out = states.shape[0], weights.shape[1 if transpose else 0]
        out = empty((n, n_out), weights.dtype)
        product(self.dense_values(states, weights.dtype), weights if transpose else transposed(weights), out)
        wide = weights.dtype == np.float64
        kind = BERNOULLI_MEANS if what == ROWS else BERNOULLI_INPUTS
        launch_strided(finish_wide_kernel if wide else finish_kernel, out.size, out, to_device(bias), kind)
        return self._drawn(out, draw) if what == WORDS else out

    def _drawn(self, values: Any, draw: Draw | None, as_inputs: bool = True) -> DeviceBits:
        """Bits drawn with given inputs, or with given probabilities (float32)."""
        assert draw is not None
        n, n_out = values.shape
        words = zeros((n, 2 * n_words(n_out)), np.uint32)
        if values.dtype == np.float64:
            at = address(draw)
            launch_strided(draw_wide_kernel, values.size // 32 + 1, values, at, int(words.shape[1]), flat(words))
        else:
            tile, grey = choose_tile(n, n_out), GreyRows(values, nothing(np.int64, 0), 0, n)
            out = _outputs(flat(words), nothing(np.float32, (1, 1)))
            launch_tiles(DRAW[tile], tile, n, n_out, grey, n_out, as_inputs, address(draw), WORDS, out)
        return DeviceBits(words, n_out)

    def values(self, unit: str, rows: Any, dtype: Any) -> Any:
        """See `Backend.values`; rows of the device stay there."""
        if get_unit(unit).name != "ising" or not (isinstance(rows, DeviceBits) or on_device(rows)):
            return super().values(unit, rows, dtype)
        spins = self.dense_values(rows, dtype)
        launch_strided(spins_kernel, spins.size, spins)  # a gathered copy: nobody else has it
        return spins

    def _given_back(self, result: Any, *given: Any) -> Any:
        """A result where the caller keeps things: on the device if something given is there."""
        if any(isinstance(x, DeviceBits) or on_device(x) for x in given):
            return result
        return result.to_host() if isinstance(result, DeviceBits) else download(result)

    def inputs(
        self, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.inputs`."""
        return self._given_back(self._layer(states, weights, bias, transpose, INPUTS), states, weights)

    def means(
        self, unit: str, states: States, weights: NDArray[Any], bias: NDArray[Any], *, transpose: bool = False
    ) -> NDArray[Any]:
        """See `Backend.means`."""
        if unit == "bernoulli" or not states.shape[0]:
            return self._given_back(self._layer(states, weights, bias, transpose, ROWS), states, weights)
        inputs, kind = self._layer(states, weights, bias, transpose, INPUTS), get_unit(unit)
        if means_in_place(kind, inputs):
            return self._given_back(inputs, states, weights)
        theta = download(inputs)
        mean = np.ascontiguousarray(kind.mean(theta), dtype=theta.dtype)
        return self._taken_along(mean, states, weights)

    def samples(
        self,
        unit: str,
        states: States,
        weights: NDArray[Any],
        bias: NDArray[Any],
        draw: Draw,
        *,
        transpose: bool = False,
    ) -> Drawn:
        """See `Backend.samples`."""
        if unit == "bernoulli":
            return self._given_back(self._layer(states, weights, bias, transpose, WORDS, draw), states, weights)
        inputs, kind = self._layer(states, weights, bias, transpose, INPUTS), get_unit(unit)
        if draws_in_place(kind, inputs, draw):
            result = pack_states(inputs) if kind.packed else inputs
            return self._given_back(result, states, weights)
        theta = download(inputs)
        drawn = kind.sample(theta, uniforms(draw, theta.shape[0], theta.shape[1], theta.dtype))
        return self._taken_along(pack(drawn) if kind.packed else drawn, states, weights)

    def _taken_along(self, result: Any, *given: Any) -> Any:
        """A result of the host where the caller keeps things."""
        if not any(isinstance(x, DeviceBits) or on_device(x) for x in given):
            return result
        return DeviceBits.from_host(result) if isinstance(result, PackedBits) else upload(result)

    def draw_bits(self, probabilities: NDArray[Any], draw: Draw) -> PackedBits:
        """See `Backend.draw_bits`; float64 probabilities as the reference has it."""
        if isinstance(probabilities, GreyLevels):
            probabilities = probabilities.dense(np.float32)
        if probabilities.dtype != np.float32:
            from ..reference import ReferenceBackend

            given = download(probabilities) if on_device(probabilities) else probabilities
            return self._taken_along(ReferenceBackend().draw_bits(given, draw), probabilities)
        if 0 in probabilities.shape:
            return pack(np.zeros(probabilities.shape, np.bool_))
        given = probabilities if on_device(probabilities) else upload(probabilities)
        drawn = self._drawn(given, draw, as_inputs=False)
        return self._given_back(drawn, probabilities)
