"""Values on the device that NumPy's operators and functions work on, for what is composed of them.

Nothing is copied between host and device unless it is asked for by name: an array of the host beside one of the device
is an error, as it is for the array libraries of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..datatypes import FLOAT_TYPES
from .kernels import values as kernels
from .kernels.elementwise import ROW_THREADS
from .kernels.target import SIMULATED, launch
from .kernels.values import Operand
from .launching import launch_strided, nothing
from .memory import download, empty, flat, take_rows, upload

_OPERATIONS: dict[Any, int] = {
    np.add: kernels.ADD, np.subtract: kernels.SUBTRACT, np.multiply: kernels.MULTIPLY, np.divide: kernels.DIVIDE,
    np.minimum: kernels.MINIMUM, np.maximum: kernels.MAXIMUM, np.square: kernels.SQUARE,
    np.absolute: kernels.ABSOLUTE, np.sign: kernels.SIGN, np.sqrt: kernels.SQRT, np.exp: kernels.EXP,
    np.expm1: kernels.EXPM1, np.logaddexp: kernels.LOGADDEXP, np.less: kernels.LESS, np.greater: kernels.GREATER,
    np.where: kernels.WHERE,
}  # fmt: skip


class DeviceArray(NDArrayOperatorsMixin):
    """Values of float32 or float64 on the device, of at most two dimensions.

    It has what NumPy's arrays have of operators, of the functions that `_OPERATIONS` and `_FUNCTIONS` list, and of
    `astype`, `copy`, `reshape` and `sum`. Comparisons give 0 and 1 of the type of what is compared. Sums are taken in
    float64.

    Parameters
    ----------
    array : array of Numba, C-contiguous
    """

    __slots__ = ("array",)

    def __init__(self, array: Any):
        self.array = array

    @classmethod
    def of(cls, array: Any) -> DeviceArray:
        """Copy an array of the host."""
        return cls(upload(array))

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return np.dtype(self.array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of rows and columns."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.array.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.array.size)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"

    def __array__(self, *of: Any, **kinds: Any) -> Any:
        raise TypeError("values of the device are copied to the host by to_host() only")

    @classmethod
    def joined(cls, parts: Sequence[DeviceArray]) -> DeviceArray:
        """Rows one below the other."""
        return cls(stacked([x.array for x in parts]))

    @property
    def T(self) -> DeviceArray:  # noqa: N802 - as NumPy calls it
        """A copy with rows and columns changed."""
        n_rows, n_columns = self.shape
        out = _new((n_columns, n_rows), self.dtype)
        if SIMULATED:
            out.array.copy_to_device(np.ascontiguousarray(self.to_host().T))
        elif out.size:
            turned, nought = Operand(flat(self.array), 1, n_columns, self.dtype.type(0)), _operand(0, self.dtype)
            kernel = kernels.OPERATE[self.dtype]
            launch_strided(kernel, out.size, kernels.COPY, turned, nought, nought, n_rows, flat(out.array))
        return out

    def to_host(self) -> Any:
        """A copy on the host."""
        return download(self.array)

    def __getitem__(self, key: Any) -> DeviceArray:
        """Rows by slice or index array, all values by ``...``, or a column by ``[:, None]``."""
        if key is Ellipsis:
            return self
        if isinstance(key, tuple):
            if self.ndim != 1 or len(key) != 2 or key[0] != slice(None) or key[1] is not None:
                raise IndexError(f"values of the device have rows, [...] and [:, None], got {key!r}")
            return self.reshape(-1, 1)
        if self.ndim == 1:
            first, last, step = key.indices(self.size)
            if step != 1:
                raise IndexError(f"slices of vectors of the device must have the step 1, got {step}")
            return DeviceArray(self.array[first:last])
        return DeviceArray(take_rows(self.array, key))

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set all values (``[...]``)."""
        if key is not Ellipsis:
            raise IndexError(f"values of the device are set as a whole, [...], got {key!r}")
        _operate(kernels.COPY, [value], self)

    def reshape(self, *shape: int) -> DeviceArray:
        """The same values in another shape."""
        sizes = [self.size // -int(np.prod(shape)) if n == -1 else n for n in shape]
        return DeviceArray(self.array.reshape(*sizes))

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        """Values in another type."""
        if np.dtype(dtype) == self.dtype:
            return self.copy() if copy else self
        out = _new(self.shape, dtype)
        if SIMULATED:
            out.array.copy_to_device(self.to_host().astype(dtype))
        elif self.size:
            launch_strided(kernels.cast_kernel, self.size, flat(self.array), flat(out.array))
        return out

    def copy(self) -> DeviceArray:
        """An independent copy."""
        out = _new(self.shape, self.dtype)
        if self.size:
            out.array.copy_to_device(self.array)
        return out

    def sum(self, axis: int | None = None) -> DeviceArray:
        """Sum over rows (axis 0), columns (1) or all values (None: of one value and no axis but one)."""
        if axis is None:
            return self.reshape(1, -1).sum(axis=1) if self.ndim == 1 else self.sum(axis=0).sum()
        if self.ndim != 2:
            raise ValueError(f"sums over one axis are those of matrices, got {self.ndim} dimensions")
        out = _new((self.shape[1 - axis],), self.dtype)
        if SIMULATED:
            out.array.copy_to_device(self.to_host().sum(axis=axis, dtype=np.float64).astype(self.dtype))
        elif axis == 0:
            launch_strided(kernels.sum_columns_kernel, out.size, self.array, out.array)
        elif out.size:
            launch(kernels.sum_rows_kernel, min(out.size, 1 << 16), ROW_THREADS, self.array, out.array)
        return out

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, dtype: Any = None) -> Any:
        if ufunc is np.negative:
            ufunc, inputs = np.multiply, (-1, *inputs)
        if method != "__call__" or ufunc not in _OPERATIONS:
            return NotImplemented
        return _operate(_OPERATIONS[ufunc], list(inputs), None if out is None else out[0], dtype)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, named: Any) -> Any:
        if function not in _FUNCTIONS:
            return NotImplemented
        return _FUNCTIONS[function](*arguments, **named)


def stacked(parts: Sequence[Any]) -> Any:
    """Rows of arrays of Numba one below the other."""
    out = empty((sum(int(x.shape[0]) for x in parts), int(parts[0].shape[1])), parts[0].dtype)
    first = 0
    for x in parts:
        if x.size:
            out[first : first + x.shape[0]].copy_to_device(x)
        first += int(x.shape[0])
    return out


def zeros_like(x: DeviceArray) -> DeviceArray:
    """Zeros of the shape and type of x."""
    return full(x.shape, 0, x.dtype)


def full(shape: tuple[int, ...], number: float, dtype: Any) -> DeviceArray:
    """The same number everywhere."""
    out = _new(shape, dtype)
    if SIMULATED:
        out.array.copy_to_device(np.full(shape, number, dtype))
    elif out.size:
        launch_strided(kernels.fill_kernel, out.size, out.dtype.type(number), flat(out.array))
    return out


def _new(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    if np.dtype(dtype) not in FLOAT_TYPES:
        raise TypeError(f"values of the device must be float32 or float64, got {np.dtype(dtype)}")
    return DeviceArray(empty(shape, dtype))


def _where(condition: Any, x: Any, y: Any) -> DeviceArray:
    return _operate(kernels.WHERE, [condition, x, y])


def _clip(x: Any, low: Any, high: Any, out: DeviceArray | None = None) -> DeviceArray:
    return _operate(kernels.MINIMUM, [np.maximum(x, low), high], out)


def _outer(x: DeviceArray, y: DeviceArray) -> Any:
    return x[:, None] * y


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where, np.clip: _clip, np.outer: _outer, np.zeros_like: zeros_like,
    np.full_like: lambda x, number: full(x.shape, number, x.dtype),
}  # fmt: skip


def _operate(operation: int, inputs: list[Any], out: DeviceArray | None = None, dtype: Any = None) -> DeviceArray:
    """Give the result of an operation, in the type that NumPy's rules have for it or in that of `out`."""
    for x in inputs:
        if isinstance(x, np.ndarray) and x.ndim:
            raise TypeError(f"an array of the host, of shape {x.shape}, among values of the device: copy one of them")
    if out is not None:
        dtype = out.dtype
    elif dtype is None:
        dtype = np.result_type(*(x.dtype if isinstance(x, DeviceArray) else x for x in inputs))
    shape = np.broadcast_shapes(*(x.shape for x in inputs if isinstance(x, DeviceArray)))
    if out is None:
        out = _new(shape, dtype)
    elif np.broadcast_shapes(shape, out.shape) != out.shape:
        raise ValueError(f"values of shape {shape} cannot go into {out.shape}")
    if not out.size:
        return out
    if SIMULATED:
        out.array.copy_to_device(_by_numpy(operation, inputs, out))
        return out
    width = out.shape[-1] if out.ndim else 1
    operands = [_operand(x, out.dtype) for x in [*inputs, *(3 - len(inputs)) * [0]]]
    launch_strided(kernels.OPERATE[out.dtype], out.size, operation, *operands, width, flat(out.array))
    return out


def _operand(x: Any, dtype: np.dtype[Any]) -> Operand:
    if not isinstance(x, DeviceArray):
        return Operand(nothing(dtype), -1, 0, dtype.type(x))
    x = x.astype(dtype, copy=False)
    n_rows, n_columns = (1, 1, *x.shape)[-2:]
    return Operand(flat(x.array), 0 if n_rows == 1 else n_columns, int(n_columns > 1), dtype.type(0))


def _by_numpy(operation: int, inputs: list[Any], out: DeviceArray) -> Any:
    """On the simulated device, where memory is that of the host and a thread costs a thousand times as much."""
    hosts = [x.to_host().astype(out.dtype) if isinstance(x, DeviceArray) else out.dtype.type(x) for x in inputs]
    if operation == kernels.COPY:
        result = hosts[0]
    elif operation == kernels.WHERE:
        result = np.where(hosts[0] != 0, *hosts[1:])
    else:
        result = next(f for f, number in _OPERATIONS.items() if number == operation)(*hosts)
    whole = np.empty(out.shape, out.dtype)
    whole[...] = result
    return whole
