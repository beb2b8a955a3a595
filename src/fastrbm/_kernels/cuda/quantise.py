"""Models on the device: weights in float32, and quantised in the order of the tensor cores for both directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels.arguments import Model, Quantised
from .kernels.quantise import EXPONENT, IS_SHORT, measure_kernel, pack_kernel
from .kernels.target import clear
from .kernels.tiles import Tile, fragment_size
from .launching import launch_all, launch_strided
from .memory import empty, zeros


def magnitude_shift(n_hidden: int, n_visible: int) -> int:
    """Bits behind the point of sums of magnitudes, as on the CPU (choose.c); negative for too many neurons."""
    shift, n = 22, max(n_hidden, n_visible)
    while n > 1:
        n, shift = (n + 1) // 2, shift - 1
    return min(shift, 10)


class QuantisedWeights:
    """Weights as integers times a power of two, the quantum, in the order of the tensor cores.

    Parameters
    ----------
    weights : device array of float32, shape (n_hidden, n_visible), C-contiguous
        Not copied.
    short : bool
        Whether the integers are to be multiples of 2^16, half of whose bytes products may leave out, if such are fine
        enough.

    Attributes
    ----------
    to_hidden, to_visible : device array of uint64
        Fragments of the products that give inputs of hidden and of visible neurons.
    quantum : device array of one float32
        What the integer 1 is worth.
    magnitudes : device array of uint32, shape (2, n_hidden + n_visible + 1)
        Sums of the magnitudes of weights, which the exponent follows from; which of the two is next is `parity`.
    control : device array of three int32
        What kernels of the weights say of them (`kernels/quantise.py`).
    is_short : bool
        Whether the integers are short ones.
    """

    def __init__(self, weights: Any, short: bool = False):
        self.short, self.is_short = short, False
        self.weights = weights
        self.n_hidden, self.n_visible = weights.shape
        self.flat = weights.reshape(weights.size)
        self.shift = magnitude_shift(self.n_hidden, self.n_visible)
        self.to_hidden = empty(fragment_size(self.n_hidden, self.n_visible), np.uint64)
        self.to_visible = empty(fragment_size(self.n_visible, self.n_hidden), np.uint64)
        self.quantum = zeros(1, np.float32)
        self.magnitudes = zeros((2, self.n_hidden + self.n_visible + 1), np.uint32)
        self.control = zeros(3, np.int32)
        self.parity = 0

    @property
    def arguments(self) -> Quantised:
        """What kernels of the weights take."""
        return Quantised(
            self.flat, self.n_hidden, self.n_visible, self.to_hidden, self.to_visible, self.quantum, self.control,
            self.shift,
        )  # fmt: skip

    def model(self, hidden_bias: Any, visible_bias: Any) -> Model:
        """What kernels of sweeps take, with biases that are on the device."""
        return Model(self.to_hidden, self.to_visible, hidden_bias, visible_bias, self.quantum)

    def fill(self) -> bool:
        """Take over the weights as they are now; False where they are too large to be quantised."""
        if self.shift < 0:
            return False
        clear(self.magnitudes)
        magnitudes = self.magnitudes[0]
        launch_all(measure_kernel, self.flat.size, self.arguments, np.float32(1 << self.shift), magnitudes)
        launch_strided(pack_kernel, self.flat.size // 8 + 1, self.arguments, magnitudes, self.short)
        self.parity = 1
        return self.note(self.control.copy_to_host())

    def note(self, control: Any) -> bool:
        """Take over what a kernel of the weights said; whether they can be quantised."""
        self.is_short = bool(control[IS_SHORT])
        return bool(control[EXPONENT] >= 0)

    def tile(self, tile: Tile) -> Tile:
        """The same tile for products with these weights."""
        return tile._replace(limbs=2) if self.is_short else tile
