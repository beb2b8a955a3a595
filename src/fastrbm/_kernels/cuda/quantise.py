"""Models on the device: parameters in float32 and their fixed-point fragments for both directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels.quantise import measure_kernel, pack_kernel
from .kernels.target import clear
from .kernels.tiles import fragment_size
from .launching import launch_all, launch_strided
from .memory import empty, zeros


def bound_shift(n_hidden: int, n_visible: int) -> int:
    """Bits behind the point of sums of magnitudes: frbm_bound_shift of src/choose.c; negative for too many units."""
    shift, n = 22, max(n_hidden, n_visible)
    while n > 1:
        n, shift = (n + 1) // 2, shift - 1
    return min(shift, 10)


class FixedWeights:
    """Weights as integers times a power of two, in the order of the tensor cores.

    Parameters
    ----------
    weights : device array of float32, shape (n_hidden, n_visible), C-contiguous
        Not copied.

    Attributes
    ----------
    to_hidden, to_visible : device array of uint64
        Fragments of the products that give inputs of hidden and of visible units.
    unit : device array of one float32
        Value of 1.
    bounds : device array of uint32, shape (2, n_hidden + n_visible + 1)
        What the exponent follows from; which of the two is next is `parity`.
    control : device array of two int32
        Exponent, -1 if the weights are too large; minibatches done.
    """

    def __init__(self, weights: Any):
        self.weights = weights
        self.n_hidden, self.n_visible = weights.shape
        self.flat = weights.reshape(weights.size)
        self.shift = bound_shift(self.n_hidden, self.n_visible)
        self.to_hidden = empty(fragment_size(self.n_hidden, self.n_visible), np.uint64)
        self.to_visible = empty(fragment_size(self.n_visible, self.n_hidden), np.uint64)
        self.unit = zeros(1, np.float32)
        self.bounds = zeros((2, self.n_hidden + self.n_visible + 1), np.uint32)
        self.control = zeros(2, np.int32)
        self.parity = 0

    def fill(self) -> bool:
        """Take over the weights as they are now; False where they are too large for fixed point."""
        if self.shift < 0:
            return False
        clear(self.bounds)
        n_hidden, n_visible = self.n_hidden, self.n_visible
        bounds = self.bounds[0]
        launch_all(
            measure_kernel, self.flat.size, self.flat, n_hidden, n_visible, np.float32(1 << self.shift), bounds
        )  # fmt: skip
        launch_strided(
            pack_kernel, self.flat.size // 8 + 1, self.flat, n_hidden, n_visible, self.shift, bounds, self.to_hidden,
            self.to_visible, self.unit, self.control,
        )  # fmt: skip
        self.parity = 1
        return int(self.control.copy_to_host()[0]) >= 0
