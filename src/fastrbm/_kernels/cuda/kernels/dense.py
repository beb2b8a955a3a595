"""Products of dense matrices on the device, where there is no library that has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .target import SIMULATED, cuda

SIDE = 2 if SIMULATED else 16


def _make_product_kernel(dtype: Any) -> Any:
    side, shape = SIDE, (SIDE, SIDE + 1)
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


KERNELS = {np.dtype(t): _make_product_kernel(t) for t in (np.float32, np.float64)}


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""

    def of(real: Any) -> Any:
        return types.void(types.Array(real, 2, "A"), types.Array(real, 2, "A"), real[:, ::1])

    return [
        ("dense product float32", KERNELS[np.dtype(np.float32)], of(types.float32)),
        ("dense product float64", KERNELS[np.dtype(np.float64)], of(types.float64)),
    ]
