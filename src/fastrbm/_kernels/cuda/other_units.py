"""What whole passes of training ask for of layers of spins and of classes, and how their chains are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...units import OneHot, Unit, get_unit
from ..bits import PackedBits, are_bits, pack
from .arrays import DeviceArray
from .kernels.arguments import OtherUnits
from .kernels.spins import sums_kernel
from .kernels.target import clear
from .launching import launch_strided, nothing
from .layers import pack_states
from .memory import DeviceBits, bits_on_device, upload, zeros
from .quantise import QuantisedWeights

_OF_BITS = frozenset({"bernoulli", "ising", "onehot"})
_BESIDE_GAUSSIAN = frozenset({"bernoulli", "onehot"})


def have_passes(units: tuple[str, str], rows_are_bits: bool) -> bool:
    """Whether whole passes have kernels for two layers: of bits given data in bits, or Gaussian rows."""
    visible, hidden = (get_unit(unit).name for unit in units)
    if visible == "gaussian":
        return hidden in _BESIDE_GAUSSIAN and not rows_are_bits
    return rows_are_bits and {visible, hidden} <= _OF_BITS


class UnitLayers:
    """Layers of a training pass.

    Parameters
    ----------
    units : (visible unit type, hidden unit type)
        Such that they `have_passes`.
    n_visible, n_hidden : int
    """

    def __init__(self, units: tuple[str, str], n_visible: int, n_hidden: int):
        kinds = [get_unit(unit) for unit in units]
        self.units = units
        self.spins = kinds[0].name == "ising", kinds[1].name == "ising"
        self.classes = _size_of_groups(kinds[0], n_visible), _size_of_groups(kinds[1], n_hidden)
        self.gaussian = kinds[0].name == "gaussian"
        self.others = any(self.spins) or any(self.classes)
        self._sizes = n_visible, n_hidden
        self._arrays: list[Any] | None = None
        self._of_classes: tuple[int, tuple[Any, Any]] = 0, (nothing(np.float32, (1, 1)), nothing(np.int32))

    def arguments(self, n_rows: int = 0) -> OtherUnits:
        """What a pass of at most so many rows or chains takes."""
        n_visible, n_hidden = self._sizes
        if self._arrays is None:
            if self.others:
                self._arrays = [zeros(n_hidden + n_visible, np.int32)]
                self._arrays += [zeros(n, np.float32) for n in (n_hidden, n_visible, 1, n_hidden + n_visible)]
            else:
                self._arrays = [nothing(np.int32), *4 * [nothing(np.float32)]]
        if n_rows > self._of_classes[0] and any(self.classes):
            most = [(n, size) for n, size in zip(self._sizes, self.classes, strict=True) if size]
            self._of_classes = (
                n_rows,
                (
                    zeros((n_rows, max(n for n, _ in most)), np.float32),
                    zeros(n_rows * max(n // size for n, size in most), np.int32),
                ),
            )
        scale = np.float32((1 + self.spins[0]) * (1 + self.spins[1]))
        sums, hidden_bias, visible_bias, quantum, deltas = self._arrays
        return OtherUnits(
            *self.spins, *self.classes, scale, sums, hidden_bias, visible_bias, quantum, deltas, *self._of_classes[1]
        )  # fmt: skip

    def start(self, weights: QuantisedWeights) -> None:
        """Take over new weights that fit."""
        if any(self.spins):
            units = self.arguments()
            clear(units.sums)
            launch_strided(sums_kernel, weights.flat.size // 32 + 1, weights.arguments, units)


def _size_of_groups(unit: Unit, n: int) -> int:
    unit.check_width(n)
    return (unit.n_classes or n) if isinstance(unit, OneHot) else 0


def chains_as_bits(chains: Any) -> Any:
    """Chains on the device as a pass has them: spins as bits."""
    if isinstance(chains, np.ndarray):
        return bits_on_device(pack(chains > 0))
    if isinstance(chains, PackedBits):
        return bits_on_device(chains)
    return chains if are_bits(chains) else pack_states((DeviceArray(chains) + 1).array)


def chains_as_values(chains: Any, values: Any) -> Any:
    """Chains on the device as single kernels have them; `values` makes values of bits."""
    if isinstance(chains, np.ndarray):
        return upload(chains)
    chains = bits_on_device(chains) if isinstance(chains, PackedBits) else chains
    return values(chains) if isinstance(chains, DeviceBits) else chains
