"""Visible data that lie on a CUDA device already; they stay there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import States, on_host
from .._kernels.cuda import availability
from .._kernels.cuda.interop import as_device_array, is_device_array, kind_of
from .bits import VisibleData
from .blocks import batches_per_block
from .finite import check_finite
from .ranges import InputScale, Range, is_rounding

__all__ = [
    "DeviceData",
    "as_device_array",
    "check_device_array",
    "is_device_array",
    "look_at_device_rows",
    "rows_to_host",
]

#: rows whose states kernels are given at a time
_ROWS = 1 << 16
#: bytes of converted rows held on the device at a time
_PIECE_BYTES = 256 << 20


def check_device_array(x: Any, name: str, *, device: str, unit: str, random_stream: str) -> Any:
    """Array of Numba on the device, two-dimensional and not empty; finiteness is checked when it is packed.

    Parameters
    ----------
    x : array on a CUDA device
    name : str
        Name of the estimator, for messages.
    device, random_stream : str
        Its options.
    unit : str
        Spec of its visible units.

    Raises
    ------
    TypeError
        Unless the estimator works on CUDA, on Bernoulli units and draws of its own; for types without a meaning here.
    ValueError
        For another shape than that of rows, and memory that is not there or on another device.
    """
    if device != "cuda":
        raise TypeError(
            f"X is an array on a CUDA device ({kind_of(x)}), which device={device!r} does not take: use "
            "device='cuda', or copy it to the host (.get(), .cpu(), .copy_to_host())"
        )
    availability.needs_device()
    if unit != "bernoulli":
        raise TypeError(
            f"X must be on the host for visible units {unit!r}, got an array on a CUDA device, which are "
            "taken for 'bernoulli' ones: copy it (.get(), .cpu(), .copy_to_host())"
        )
    if random_stream == "sklearn":
        raise TypeError(
            "X must be on the host with random_stream='sklearn', whose draws are NumPy's, got an array on a CUDA device"
        )
    x = as_device_array(x)
    for axis, what in enumerate(("sample", "feature")):
        if x.shape[axis] == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(x.shape)}) while a minimum of 1 is required by {name}."
            )
    return x


def look_at_device_rows(scale: InputScale, x: Any) -> None:
    """Show uint8 values to what decides their scale, those of other types by their type alone."""
    from .._kernels.cuda.packing import OUTSIDE, pack_checked

    if x.dtype != np.uint8:
        return
    flags, _ = pack_checked(x)
    if not flags & OUTSIDE:  # 0 and 1
        scale.look(np.array([[0], [1]], dtype=np.uint8))
        return
    for first in range(0, x.shape[0], _ROWS):
        scale.look(on_host(x[first : first + _ROWS]))


def rows_to_host(x: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Copies of some rows of a device array."""
    from .._kernels.cuda.memory import download, take_rows

    return download(take_rows(as_device_array(x), rows))


class DeviceData(VisibleData):
    """Rows of Bernoulli visible states on the device.

    Parameters
    ----------
    x : device array of bool, uint8, float32 or float64, shape (n_samples, n_features)
        As `check_device_array` returns it.
    scale, dtype, limits, name
        As of `VisibleData`.

    Attributes
    ----------
    shape : tuple of int
    bits : DeviceBits or None
        All rows, when they are binary.
    binary : bool
    """

    bits: Any

    def __init__(self, x: Any, scale: float, dtype: Any, *, limits: Range | None = None, name: str = ""):
        self.given_dtype = x.dtype
        if x.dtype == np.bool_:
            x, scale = x.view(np.uint8), 1.0
        self.shape = (int(x.shape[0]), int(x.shape[1]))
        self.dtype = np.dtype(dtype)
        self._scale = scale
        self._clip = self.levels = False
        self._x = x
        if scale != 1 and not (x.dtype == np.uint8 and scale == 1 / 255):  # a scale that was asked for
            self._x, self._scale = self._floats(x), 1.0
        self._pack(limits or Range(), name)

    def _pack(self, limits: Range, name: str) -> None:
        from .._kernels.cuda.packing import OUTSIDE, pack_checked

        flags, bits = pack_checked(self._x, 1 if self._scale == 1 else 255)
        if flags & OUTSIDE and self._look_at_values(limits, name):
            flags, bits = pack_checked(self._x, 1)
        self.binary = not flags
        self.in_range = not flags & OUTSIDE
        self.bits = None if flags else bits

    def _look_at_values(self, limits: Range, name: str) -> bool:
        """Raise for values that are not finite, say which are outside [0, 1]; read them all on the host.

        Returns True if rounding has put them there: then they are clipped, in a copy.
        """
        from .._kernels.cuda.memory import upload
        from .._kernels.cuda.packing import float_rows

        low, high, column = np.inf, -np.inf, None
        for rows in self._blocks_in_order():
            values = on_host(float_rows(self._x[rows], np.float64, self._scale))
            check_finite(values, name, place=limits.place, first_row=rows.start)
            low, high = min(low, values.min()), max(high, values.max())
            outside = (values < 0) | (values > 1)
            if column is None and outside.any():
                column = int(np.argwhere(outside)[0, 1])
        if is_rounding(low, high, np.dtype(self._x.dtype)):
            self._x = upload(np.clip(on_host(self._x), 0, 1))
            return True
        limits.found(low, high, 0 if column is None else column)
        return False

    def _resident(self) -> Any:
        from .._kernels.cuda.memory import DeviceRows

        if self.bits is not None:
            return self.bits
        if self._x.dtype == self.dtype and self._x.is_c_contiguous():
            return DeviceRows(self._floats(self._x))
        return None

    def _floats(self, x: Any) -> Any:
        from .._kernels.cuda.packing import float_rows

        return float_rows(x, self.dtype, self._scale)

    def batches(self, order: NDArray[np.int64], batch_size: int) -> Iterator[tuple[States, NDArray[np.int64]]]:
        """As `Rows.batches`; rows are `DeviceBits` or `DeviceRows`."""
        from .._kernels.cuda.memory import DeviceRows, take_rows

        resident = self._resident()
        if resident is not None:
            yield resident, order
            return
        step = batch_size * batches_per_block(batch_size, self.shape[1], self.dtype, _PIECE_BYTES)
        for first in range(0, len(order), step):
            rows = order[first : first + step]
            held: Any = DeviceRows(self._floats(take_rows(self._x, rows)))
            yield held, np.arange(len(rows), dtype=np.int64)

    def slices(self) -> Iterator[tuple[slice, States]]:
        """Pairs (rows, states) in order; states are `DeviceBits` or device arrays."""
        for first in range(0, self.shape[0], _ROWS):
            rows = slice(first, min(first + _ROWS, self.shape[0]))
            yield rows, self._floats(self._x[rows]) if self.bits is None else self.bits[rows]

    def encoded(self, batch: States) -> tuple[States, None]:
        """As `Rows.encoded`, on the host: who asks for it composes minibatches of NumPy's operations."""
        return on_host(batch), None

    def states(self, advice: str) -> States:
        """All rows as bits on the host; ValueError with `advice` unless they are binary."""
        return super().states(advice) if self.bits is None else self.bits.to_host()
