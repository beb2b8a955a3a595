"""Products of dense matrices on the device: cuBLAS through CuPy where it is installed, else an own kernel.

Only where bits do not help: grey or Gaussian states, float64, weights too large to be quantised.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .kernels.dense import KERNELS, SIDE
from .kernels.target import SIMULATED, launch


@cache
def _cupy() -> Any:
    """CuPy, or None."""
    try:
        import cupy
    except ImportError:
        return None
    return cupy


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
    blocks = -(-out.shape[0] // SIDE), -(-out.shape[1] // SIDE)
    launch(KERNELS[out.dtype], blocks, (SIDE, SIDE), a, b, out)
    return out
