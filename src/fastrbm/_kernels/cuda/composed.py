"""The table of kernels for minibatches that are composed of them on the device: states and values all stay there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ...units import get_unit
from ..array_kernels import ArrayKernels
from ..bits import PackedBits
from ..contract import Parameters, Phase
from ..draws import Draw
from ..levels import GreyLevels
from ..rules import Update
from .arrays import DeviceArray, full, stacked
from .launching import are_finite
from .memory import DeviceBits, DeviceRows, bits_on_device, on_device, upload
from .training import room_for
from .units import draws_in_place

if TYPE_CHECKING:
    from .backend import CudaBackend


class LayerBits(DeviceBits):
    """`DeviceBits` whose dense form is a `DeviceArray`."""

    def __getitem__(self, rows: Any) -> LayerBits:
        return LayerBits(super().__getitem__(rows).words, self.n_units)

    @classmethod
    def joined(cls, parts: Sequence[LayerBits]) -> LayerBits:
        """Rows one below the other."""
        return cls(stacked([x.words for x in parts]), parts[0].n_units)


def wrapped(x: Any) -> Any:
    """What kernels return, as `DeviceArray` and `LayerBits`."""
    if isinstance(x, DeviceBits):
        return LayerBits(x.words, x.n_units)
    if isinstance(x, DeviceRows):
        return DeviceArray(x.values)
    if isinstance(x, tuple):
        return type(x)(*map(wrapped, x)) if hasattr(x, "_fields") else tuple(map(wrapped, x))
    return DeviceArray(x) if on_device(x) else x


def plain(x: Any) -> Any:
    """The same as kernels take it."""
    if isinstance(x, DeviceArray):
        return x.array
    if isinstance(x, tuple):
        return type(x)(*map(plain, x)) if hasattr(x, "_fields") else tuple(map(plain, x))
    return [plain(y) for y in x] if isinstance(x, list) else x


class ArrayBackend(ArrayKernels):
    """Kernels of a device whose arguments and results are `DeviceArray` and `LayerBits`.

    Parameters
    ----------
    kernels : CudaBackend
    """

    name = "cuda"
    concurrent = False

    def __init__(self, kernels: CudaBackend):
        self._kernels = kernels

    # -- between host and device ----------------------------------------------------------------------------------

    def put(self, x: Any, dtype: Any = None) -> Any:
        """See `ArrayKernels.put`."""
        if isinstance(x, GreyLevels):
            x = x.dense(dtype)
        if isinstance(x, tuple):
            return type(x)(*(self.put(y, dtype) for y in x))
        if isinstance(x, PackedBits):
            return wrapped(bits_on_device(x))
        if not isinstance(x, np.ndarray):
            return wrapped(x)
        return DeviceArray.of(x if dtype is None else x.astype(dtype, copy=False))

    def indices(self, places: Any) -> Any:
        """See `ArrayKernels.indices`."""
        return upload(places.astype(np.int64, copy=False))

    def get(self, x: Any) -> Any:
        """See `ArrayKernels.get`."""
        return x.to_host() if isinstance(x, (DeviceArray, DeviceBits)) else x

    def are_finite(self, arrays: Sequence[Any]) -> bool:
        """See `ArrayKernels.are_finite`; reads one flag."""
        return are_finite([x.array for x in arrays if isinstance(x, DeviceArray)])

    def room_for(self, n_bytes: float) -> bool:
        """See `ArrayKernels.room_for`."""
        return room_for(n_bytes)

    # -- kernels --------------------------------------------------------------------------------------------------

    def dense(self, states: Any, dtype: Any) -> Any:
        """See `Backend.dense`."""
        if isinstance(states, DeviceArray):
            return states.astype(dtype, copy=False)
        return DeviceArray(self._kernels.dense_values(states, dtype))

    def inputs(self, states: Any, weights: Any, bias: Any, *, transpose: bool = False) -> Any:
        """See `Backend.inputs`."""
        return wrapped(self._kernels.inputs(*plain((states, weights, bias)), transpose=transpose))

    def means(self, unit: str, states: Any, weights: Any, bias: Any, *, transpose: bool = False) -> Any:
        """See `Backend.means`."""
        return wrapped(self._kernels.means(unit, *plain((states, weights, bias)), transpose=transpose))

    def samples(self, unit: str, states: Any, weights: Any, bias: Any, draw: Draw, *, transpose: bool = False) -> Any:
        """See `Backend.samples`."""
        given = plain(states), plain(weights), plain(bias)
        return wrapped(self._kernels.samples(unit, *given, draw, transpose=transpose))

    def draw_bits(self, probabilities: Any, draw: Draw) -> Any:
        """See `Backend.draw_bits`."""
        return wrapped(self._kernels.draw_bits(plain(probabilities), draw))

    def mask(self, share: float, draw: Draw, n_rows: int, n_units: int, dtype: Any) -> Any:
        """See `Backend.mask`."""
        return self.dense(self.draw_bits(full((n_rows, n_units), share, np.float32), draw), dtype)

    def normals(self, draw: Draw, n_rows: int, n_units: int, dtype: Any) -> Any:
        """See `Backend.normals`."""
        out = full((n_rows, n_units), 0, dtype)
        draws_in_place(get_unit("gaussian"), out.array, draw)
        return out

    @contextmanager
    def holding(self, *weights: Any) -> Iterator[None]:
        """See `Backend.holding`."""
        with self._kernels.holding(*map(plain, weights)):
            yield

    def values(self, unit: str, rows: Any, dtype: Any) -> Any:
        """See `Backend.values`."""
        return wrapped(self._kernels.values(unit, plain(rows), dtype))

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """See `Backend.moments`."""
        moments: Parameters = wrapped(self._kernels.moments(plain(phase), dtype))
        return moments

    def gradient(self, data: Phase, model: Phase, dtype: Any) -> Parameters:
        """See `Backend.gradient`."""
        gradient: Parameters = wrapped(self._kernels.gradient(plain(data), plain(model), dtype))
        return gradient

    def ascend(self, parameters: Parameters, slots: Sequence[Parameters], gradient: Parameters, update: Update) -> None:
        """See `Backend.ascend`: rules without a kernel, and float64, operation by operation."""
        if update.rule.native and parameters.weights.dtype == np.float32:
            self._kernels.ascend(plain(parameters), plain(list(slots)), plain(gradient), update)
        else:
            super().ascend(parameters, slots, gradient, update)

    def free_energy(self, unit: str, states: Any, parameters: Parameters) -> Any:
        """See `Backend.free_energy`; an array of the host."""
        return self._kernels.free_energy(unit, plain(states), plain(parameters))

    def run_chains(
        self, hidden: Any, parameters: Parameters, units: tuple[str, str], draw: Draw, n_sweeps: int
    ) -> tuple[Any, Any]:
        """See `Backend.run_chains`."""
        drawn: tuple[Any, Any] = wrapped(
            self._kernels.run_chains(plain(hidden), plain(parameters), units, draw, n_sweeps)
        )
        return drawn
