"""Memory of the device that was used and is kept for what asks for as much next.

The driver takes long to give memory and longer to take it back, for which it waits until the device has done its work.
A minibatch asks for the same arrays as the one before. All work on the device is in the order of one stream (others
wait for it and are waited for), so that what is given out anew is written after whatever still reads it.

``FASTRBM_CUDA_POOL=0`` in the environment keeps nothing, for tools that look for memory which is used after it is free;
nor is anything kept where each thread has a default stream of its own (a setting of Numba). Arrays that are given to
callers are not taken from here: other libraries may work on them in streams that wait for nobody.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict, deque
from typing import Any

import numpy as np
from numba import config

from .kernels.target import SIMULATED, cuda

#: bytes of all that is kept on a device, and of one array of it; larger ones are rare, and worth giving back
MOST_KEPT, LARGEST = 1 << 30, 1 << 27
_ALIGNMENT = 512


class Pool:
    """Blocks of memory by device and size.

    Attributes
    ----------
    limit : int
        Bytes to keep on each device; 0: none.
    """

    def __init__(self) -> None:
        one_stream = not getattr(config, "CUDA_PER_THREAD_DEFAULT_STREAM", 0)
        self.limit = MOST_KEPT if one_stream and os.environ.get("FASTRBM_CUDA_POOL", "1") != "0" else 0
        self._lock = threading.RLock()  # arrays may be collected at any time, also within these methods
        self._free: dict[tuple[int, int], deque[Any]] = defaultdict(deque)
        self._kept: dict[int, int] = defaultdict(int)

    def array(self, shape: Any, dtype: Any) -> Any:
        """C-contiguous array on the current device, of anything."""
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(map(int, shape))
        wanted = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if SIMULATED or not 0 < wanted <= min(self.limit, LARGEST):
            return cuda.device_array(shape, dtype)
        size = -(-wanted // _ALIGNMENT) * _ALIGNMENT
        if size > 1 << 16:  # an eighth more at most: minibatches differ a little
            step = 1 << (size.bit_length() - 4)
            size = -(-size // step) * step
        context = cuda.current_context()
        place = context.device.id, size
        block = self._held(place, context)
        if block is None:
            block = context.memalloc(size)
        return _array_in(block, context, shape, dtype, lambda: self._take_back(place, context, block))

    def _held(self, place: tuple[int, int], context: Any) -> Any:
        """A block of this place, or None."""
        with self._lock:
            while self._free[place]:
                context_of, block = self._free[place].pop()
                self._kept[place[0]] -= place[1]
                if context_of is context:  # else it was reset since, and its memory is gone
                    return block
        return None

    def _take_back(self, place: tuple[int, int], context: Any, block: Any) -> None:
        device, size = place
        with self._lock:
            if self._kept[device] + size <= self.limit:
                self._kept[device] += size
                self._free[place].append((context, block))

    def clear(self) -> None:
        """Give everything that is kept back to the driver."""
        with self._lock:
            freed = list(self._free.values())
            self._free.clear()
            self._kept.clear()
        del freed  # out of the lock

    @property
    def kept(self) -> int:
        """Bytes kept on all devices."""
        return sum(self._kept.values())


#: of the process
POOL = Pool()


def _array_in(block: Any, context: Any, shape: tuple[int, ...], dtype: Any, finalizer: Any) -> Any:
    """Array of Numba in a block of memory; the finalizer is called when no array needs it any more."""
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.cuda.cudadrv.driver import AutoFreePointer, OwnedPointer

    pointer = AutoFreePointer(context, block.device_pointer, block.size, finalizer=finalizer)
    strides = tuple(np.dtype(dtype).itemsize * int(np.prod(shape[d + 1 :], dtype=np.int64)) for d in range(len(shape)))
    return DeviceNDArray(shape, strides, dtype, gpu_data=OwnedPointer(pointer))
