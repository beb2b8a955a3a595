"""Arrays on the device: packed layers, copies in both directions, and what happens when memory runs out."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, are_bits, n_words
from ..contract import Parameters
from .kernels.packing import gather_rows
from .kernels.target import SIMULATED, clear, cuda, launch
from .pool import POOL

#: CUDA_ERROR_OUT_OF_MEMORY of the driver API
_OUT_OF_MEMORY = 2


def row_launch(n_rows: int) -> tuple[Any, Any]:
    """Grid and block of a kernel whose blocks walk over rows, a warp a row.

    Such a kernel strides by its grid, so the simulator, where every thread costs, runs it with two.
    """
    if SIMULATED:
        return 1, (1, 2)
    return max(1, min(-(-n_rows // 8), 1 << 16)), (32, 8)


@dataclass(frozen=True)
class DeviceBits:
    """States of a binary layer on the device; the bits of a `PackedBits`.

    Attributes
    ----------
    words : device array of uint32, shape (n_samples, 2 * ceil(n_units / 64)), C-contiguous
        Neuron ``u`` of a sample is bit ``u % 32`` of its word ``u // 32``; bits past the last one are zero.
    n_units : int
        Number of neurons.
    """

    words: Any
    n_units: int

    def __len__(self) -> int:
        return int(self.words.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_units)."""
        return len(self), self.n_units

    def __getitem__(self, rows: Any) -> DeviceBits:
        """Rows as `take_rows` has them."""
        return DeviceBits(take_rows(self.words, rows), self.n_units)

    def to_host(self) -> PackedBits:
        """A copy on the host."""
        return PackedBits(download(self.words).view(np.uint64), self.n_units)

    @classmethod
    def from_host(cls, bits: PackedBits) -> DeviceBits:
        """A copy on the device."""
        words = np.ascontiguousarray(bits.words)
        return cls(upload(words.view(np.uint32).reshape(len(bits), 2 * n_words(bits.n_units))), bits.n_units)


@dataclass(frozen=True)
class DeviceRows:
    """Values of a layer on the device that can be indexed as those of the host are.

    Attributes
    ----------
    values : device array of float32 or float64, shape (n_samples, n_units), C-contiguous
    """

    values: Any

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_units)."""
        return len(self), int(self.values.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return np.dtype(self.values.dtype)

    def __getitem__(self, rows: Any) -> Any:
        """Rows as `take_rows` has them, a device array."""
        return take_rows(self.values, rows)

    def to_host(self) -> NDArray[Any]:
        """A copy on the host."""
        return download(self.values)


def take_rows(array: Any, rows: Any) -> Any:
    """Rows of a device array by slice, a view where its step is 1, or gathered by an int64 array of host or device.

    Indices of the host are checked; those on the device must be rows.
    """
    n = int(array.shape[0])
    if isinstance(rows, slice):
        first, last, step = rows.indices(n)
        if step == 1 and last > first:
            return array[first:last]
        rows = np.arange(first, last, step, dtype=np.int64)
    if not on_device(rows):
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise TypeError(f"rows must be a slice or a 1-D integer array, got {rows.dtype} of {rows.ndim} dimensions")
        if rows.size and not 0 <= rows.min() <= rows.max() < n:
            raise IndexError(f"rows must be from 0 to {n - 1}, got {rows.min()} to {rows.max()}")
        rows = upload(rows.astype(np.int64, copy=False))
    out = allocate("some rows of the data", (int(rows.shape[0]), int(array.shape[1])), array.dtype)
    if out.size:
        grid, block = row_launch(int(out.shape[0]))
        launch(gather_rows, grid, block, array, rows, out)
    return out


def on_device(x: Any) -> bool:
    """Whether x is an array of Numba on the device, or on the simulated one."""
    return bool(getattr(x, "__cuda_ndarray__", False))


def upload(array: NDArray[Any], stream: Any = 0) -> Any:
    """C-contiguous copy on the device."""
    array = np.ascontiguousarray(array)
    plain = tuple(array.itemsize * math.prod(array.shape[d + 1 :]) for d in range(array.ndim))
    if array.strides != plain:
        array = array.copy()  # one row of a reversed view is contiguous, but Numba would keep its strides
    copy = allocate("an array", array.shape, array.dtype)
    if array.size:
        copy.copy_to_device(array, stream=stream)
    return copy


def allocate(what: str, shape: Any, dtype: Any, lent: bool = False) -> Any:
    """C-contiguous array on the device, of anything; `what` names it should memory run out.

    One that is `lent` to callers of the package has memory of its own, which nothing else gets while they use it.
    """
    with guarding(what, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize):
        try:
            return cuda.device_array(shape, dtype) if lent else POOL.array(shape, dtype)
        except Exception as error:
            if not _ran_out(error) or not POOL.kept:
                raise
        POOL.clear()
        return cuda.device_array(shape, dtype)


def empty(shape: Any, dtype: Any) -> Any:
    """Device array of anything."""
    return allocate("an array", shape, dtype)


def zeros(shape: Any, dtype: Any) -> Any:
    """Device array of zeros."""
    array = empty(shape, dtype)
    if array.size:
        clear(array)
    return array


def synchronize() -> None:
    """Wait until the device has done what it was given."""
    cuda.synchronize()


def download(array: Any, stream: Any = 0) -> NDArray[Any]:
    """C-contiguous copy on the host, of what the array is after all that was asked of the stream."""
    copy = array.copy_to_host(stream=stream)
    if stream != 0:
        stream.synchronize()
    return np.ascontiguousarray(copy)


def flat(array: Any) -> Any:
    """View of a contiguous device array."""
    return array.reshape(array.size)


def to_device(array: Any) -> Any:
    """Device copy of an array of the host; those of the device as they are."""
    return array if on_device(array) else upload(array)


def bits_on_device(states: Any) -> DeviceBits:
    """Device copy of bits."""
    return states if isinstance(states, DeviceBits) else DeviceBits.from_host(states)


def on_host(states: Any) -> Any:
    """States or values on the host."""
    if are_bits(states):
        return states.to_host() if hasattr(states, "to_host") else states
    return download(states) if on_device(states) else states


def host_parameters(parameters: Parameters) -> Parameters:
    """Parameters on the host."""
    return Parameters(*(on_host(x) for x in parameters))


@contextmanager
def guarding(what: str, wanted: int | None = None) -> Iterator[None]:
    """Within the block, running out of device memory is a MemoryError that says so.

    Memory that is no longer used is handed back before it is raised, so that smaller work can go on.

    Parameters
    ----------
    what : str
        What the memory is for, as in "the chains".
    wanted : int or None
        Bytes, where they are known.
    """
    try:
        yield
        return
    except Exception as error:
        if not _ran_out(error):
            raise
    # out of the handler: the error's traceback would keep alive the arrays of its frames
    context = cuda.current_context()
    free_what_is_pending()
    free, total = context.get_memory_info()
    need = "" if wanted is None else f" ({_mib(operator.index(wanted))} wanted)"
    raise MemoryError(
        f"the device has not enough memory for {what}{need}: {_mib(free)} of its {_mib(total)} are free. Use fewer "
        "chains, a smaller batch_size or device='cpu', or end what else is running on the device"
    )


def free_what_is_pending() -> None:
    """Hand back the memory of arrays that are no more, which Numba's memory manager keeps in a queue for a while."""
    if SIMULATED:
        return
    POOL.clear()
    context = cuda.current_context()
    for queue in (context.deallocations, getattr(context.memory_manager, "deallocations", None)):
        if queue is not None:  # managers of others may have none
            queue.clear()


def _ran_out(error: Exception) -> bool:
    """Whether an error of Numba or CuPy means that the device has no memory left."""
    name = type(error).__name__  # by name, so as not to import CuPy
    return name == "OutOfMemoryError" or (name == "CudaAPIError" and int(getattr(error, "code", -1)) == _OUT_OF_MEMORY)


def _mib(n_bytes: float) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB"
