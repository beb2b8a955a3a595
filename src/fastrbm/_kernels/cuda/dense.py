"""Products of real matrices on the device: cuBLAS through CuPy where it is installed, else an own kernel.

Only where bits do not help: real visible states, float64, weights too large for fixed point.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ._target import SIMULATED, cuda, launch

_SIDE = 2 if SIMULATED else 16


@cache
def _cupy() -> Any:
    """CuPy, or None."""
    try:
        import cupy
    except ImportError:
        return None
    return cupy


def _make_product_kernel(dtype: Any) -> Any:
    side, shape = _SIDE, (_SIDE, _SIDE + 1)
    zero = dtype(0)

    @cuda.jit
    def product_kernel(a, b, out):
        """Set out to a @ b by square tiles of both in shared memory."""
        left = cuda.shared.array(shape, dtype)
        right = cuda.shared.array(shape, dtype)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        # rows along x, of which a grid can have more than 65535 blocks
        row, column = cuda.blockIdx.x * side + y, cuda.blockIdx.y * side + x
        total = zero
        for first in range(0, a.shape[1], side):
            left[y, x], right[y, x] = zero, zero
            if row < a.shape[0] and first + x < a.shape[1]:
                left[y, x] = a[row, first + x]
            if first + y < b.shape[0] and column < b.shape[1]:
                right[y, x] = b[first + y, column]
            cuda.syncthreads()
            for k in range(side):
                total += left[y, k] * right[k, x]
            cuda.syncthreads()
        if row < out.shape[0] and column < out.shape[1]:
            out[row, column] = total

    return product_kernel


_KERNELS = {np.dtype(t): _make_product_kernel(t) for t in (np.float32, np.float64)}


def transposed(array: Any) -> Any:
    """View of a matrix on the device. Numba's own ``.T`` is a copy, by a kernel that it compiles anew each time."""
    if SIMULATED:
        return array.T
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    return DeviceNDArray(array.shape[::-1], array.strides[::-1], array.dtype, array.stream, array.gpu_data)


def product(a: Any, b: Any, out: Any) -> Any:
    """``out = a @ b`` for device arrays of float32 or float64, of any strides; `out` is C-contiguous. Returns it."""
    if out.size == 0:
        return out
    if SIMULATED:  # where NumPy is the library that has them
        out.copy_to_device(a.copy_to_host() @ b.copy_to_host())
        return out
    cupy = _cupy()
    if cupy is not None:
        with cupy.cuda.Stream.null:  # that of the kernels, whichever the caller has made CuPy's current one
            cupy.matmul(cupy.asarray(a), cupy.asarray(b), out=cupy.asarray(out))
        return out
    blocks = -(-out.shape[0] // _SIDE), -(-out.shape[1] // _SIDE)
    launch(_KERNELS[out.dtype], blocks, (_SIDE, _SIDE), a, b, out)
    return out


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    from numba import types

    def of(real: Any) -> Any:
        return types.void(types.Array(real, 2, "A"), types.Array(real, 2, "A"), real[:, ::1])

    return [
        ("dense product float32", _KERNELS[np.dtype(np.float32)], of(types.float32)),
        ("dense product float64", _KERNELS[np.dtype(np.float64)], of(types.float64)),
    ]
