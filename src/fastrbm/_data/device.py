"""Visible data that lie on a CUDA device already, in the form of `fastrbm._data.bits.VisibleData`; they stay there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_feature_names, _check_n_features, assert_all_finite

from .._kernels import PackedBits, Parameters, on_host
from .._kernels.cuda.interop import as_device_array, is_device_array, kind_of
from .._kernels.draws import Key, Stream
from .bits import VisibleData, range_error
from .output import gives_device_output

__all__ = [
    "DeviceData",
    "as_device_array",
    "decide_device_scale",
    "gibbs_there",
    "is_device_array",
    "means_there",
    "rows_to_host",
    "stays_there",
    "validated",
]

#: rows whose states kernels are given at a time
_ROWS = 1 << 16
#: bytes of converted rows held on the device at a time
_PIECE_BYTES = 256 << 20


def validated(estimator: Any, x: Any, *, reset: bool) -> Any:
    """Array of Numba on the device; what scikit-learn's ``validate_data`` does, but for finiteness.

    Raises
    ------
    TypeError
        Unless the estimator works on CUDA, on Bernoulli units and draws of its own; for types without a meaning here.
    ValueError
        For another shape than that of rows, and memory that is not there or on another device.
    """
    if estimator.device != "cuda":
        raise TypeError(
            f"X is an array on a CUDA device ({kind_of(x)}), which device={estimator.device!r} does not take: use "
            "device='cuda', or copy it to the host (.get(), .cpu(), .copy_to_host())"
        )
    estimator._backend()  # raises without a device
    if estimator.units[0] != "bernoulli":
        raise TypeError(
            f"X must be on the host for visible units {estimator.units[0]!r}, got an array on a CUDA device, which are "
            "taken for 'bernoulli' ones: copy it (.get(), .cpu(), .copy_to_host())"
        )
    if estimator.random_stream == "sklearn":
        raise TypeError(
            "X must be on the host with random_stream='sklearn', whose draws are NumPy's, got an array on a CUDA device"
        )
    x = as_device_array(x)
    name = type(estimator).__name__
    for axis, what in enumerate(("sample", "feature")):
        if x.shape[axis] == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(x.shape)}) while a minimum of 1 is required by {name}."
            )
    _check_feature_names(estimator, x, reset=reset)
    _check_n_features(estimator, x, reset=reset)
    return x


def decide_device_scale(x: Any) -> float:
    """As `fastrbm._data.bits.decide_input_scale`."""
    from .._kernels.cuda.packing import OUTSIDE, pack_checked

    return 1 / 255 if x.dtype == np.uint8 and pack_checked(x)[0] & OUTSIDE else 1.0


def rows_to_host(x: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Copies of some rows of a device array."""
    from .._kernels.cuda.memory import download, take_rows

    return download(take_rows(as_device_array(x), rows))


class DeviceData(VisibleData):
    """Rows of Bernoulli visible states on the device.

    Parameters
    ----------
    x : device array of bool, uint8, float32 or float64, shape (n_samples, n_features)
        As `validated` returns it.
    scale, dtype, check_range, name
        As of `VisibleData`.

    Attributes
    ----------
    shape : tuple of int
    bits : DeviceBits or None
        All rows, when they are binary.
    binary : bool
    """

    bits: Any

    def __init__(self, x: Any, scale: float, dtype: Any, *, check_range: bool = True, name: str = ""):
        from .._kernels.cuda.packing import OUTSIDE, pack_checked

        if x.dtype == np.bool_:
            x, scale = x.view(np.uint8), 1.0
        self.shape = (int(x.shape[0]), int(x.shape[1]))
        self.dtype = np.dtype(dtype)
        self._scale = scale
        self._x = x
        flags, bits = pack_checked(x, 255 if x.dtype == np.uint8 and scale != 1 else 1)
        self.binary = not flags
        self.bits = None if flags else bits
        if flags & OUTSIDE:
            self._refuse_values(check_range, name)

    def _refuse_values(self, check_range: bool, name: str) -> None:
        """Raise for values that are not finite, and if asked for those outside [0, 1]; reads them all on the host."""
        from .._kernels.cuda.packing import float_rows

        low, high, column = np.inf, -np.inf, None
        for rows in self._blocks_in_order():
            values = on_host(float_rows(self._x[rows], np.float64, self._factor))
            assert_all_finite(values, estimator_name=name, input_name="X")
            low, high = min(low, values.min()), max(high, values.max())
            outside = (values < 0) | (values > 1)
            if column is None and outside.any():
                column = int(np.argwhere(outside)[0, 1])
        if check_range:
            assert column is not None
            raise range_error(low, high, column)

    def _resident(self) -> Any:
        from .._kernels.cuda.memory import DeviceRows

        if self.bits is not None:
            return self.bits
        if self._x.dtype == self.dtype and self._x.is_c_contiguous():
            return DeviceRows(self._floats(self._x))
        return None

    def _floats(self, x: Any) -> Any:
        from .._kernels.cuda.packing import float_rows

        return float_rows(x, self.dtype, self._factor)

    def batches(self, order: NDArray[np.int64], batch_size: int) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """As `VisibleData.batches`; rows are `DeviceBits` or `DeviceRows`."""
        from .._kernels.cuda.memory import DeviceRows, take_rows

        resident = self._resident()
        if resident is not None:
            yield resident, order
            return
        step = batch_size * max(1, _PIECE_BYTES // (batch_size * self.shape[1] * self.dtype.itemsize))
        for first in range(0, len(order), step):
            rows = order[first : first + step]
            yield DeviceRows(self._floats(take_rows(self._x, rows))), np.arange(len(rows), dtype=np.int64)

    def slices(self) -> Iterator[tuple[slice, Any]]:
        """Pairs (rows, states) in order; states are `DeviceBits` or device arrays."""
        for first in range(0, self.shape[0], _ROWS):
            rows = slice(first, min(first + _ROWS, self.shape[0]))
            yield rows, self._floats(self._x[rows]) if self.bits is None else self.bits[rows]

    def encoded(self, batch: Any) -> tuple[Any, None]:
        """As `VisibleData.encoded`, on the host: who asks for it composes minibatches of NumPy's operations."""
        return on_host(batch), None

    def states(self, advice: str) -> PackedBits:
        """All rows as bits on the host; ValueError with `advice` unless they are binary."""
        return super().states(advice) if self.bits is None else self.bits.to_host()


# -- results that stay on the device ---------------------------------------------------------------------------------


def stays_there(x: Any) -> bool:
    """Whether the results for these rows are to be arrays on the device."""
    return gives_device_output() and is_device_array(x)


def means_there(data: DeviceData, backend: Any, parameters: Parameters, unit: str, dtype: Any, spins: bool) -> Any:
    """Means of the hidden units of a `View` as a device array; with `spins`, means m of bits as 2 m - 1."""
    from .._kernels.cuda.packing import convert_into

    weights, _, bias = parameters
    out = _empty((data.shape[0], len(bias)), dtype)
    for rows, states in data.slices():
        means = backend.means(unit, states, weights, bias)
        convert_into(means, out[rows], 2.0 if spins else 1.0, -1.0 if spins else 0.0)
    return _finished(out)


def gibbs_there(data: DeviceData, backend: Any, parameters: Parameters, units: tuple[str, str], key: Key) -> Any:
    """Bits of the visible units after one Gibbs step as a device array of bool."""
    from .._kernels.cuda.packing import unpack_into

    weights, visible_bias, hidden_bias = parameters
    out = _empty(data.shape, np.bool_)
    for rows, states in data.slices():
        draw = key.at(0, Stream.HIDDEN, rows.start)
        hidden = backend.samples(units[1], states, weights, hidden_bias, draw)
        draw = draw._replace(stream=Stream.VISIBLE)
        visible = backend.samples(units[0], hidden, weights, visible_bias, draw, transpose=True)
        unpack_into(visible, out[rows])
    return _finished(out)


def _empty(shape: tuple[int, int], dtype: Any) -> Any:
    from .._kernels.cuda.memory import allocate

    return allocate("the result", shape, dtype)


def _finished(out: Any) -> Any:
    """Wait, as other libraries need not use the stream that the result is computed on."""
    from .._kernels.cuda.memory import synchronize

    synchronize()
    return out
