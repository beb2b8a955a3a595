"""What kernels are compiled for: a real device, or Numba's simulator (NUMBA_ENABLE_CUDASIM=1) that runs them as Python.

Everything that the two do differently is here, so that kernels themselves are one text.

Kernels take `cuda` from here. The simulator replaces that name in the module of a kernel for the time of a launch, but
not in the modules of the device functions it calls; a stand-in that asks for the running launch serves all of them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numba import config
from numba import cuda as _numba_cuda

SIMULATED = bool(config.ENABLE_CUDASIM)
#: configured launches by kernel, blocks and threads; making one takes longer than the launch
_launches: dict[Any, Any] = {}
_MOST_LAUNCHES = 1024


if SIMULATED:
    import inspect
    import threading

    from numba.cuda.simulator import kernel as simulator_kernel
    from scipy.special import erfcx, ndtr, ndtri

    # Numba keeps these to itself and has no public way to ask for the running launch
    running_launch = simulator_kernel._get_kernel_context

    class _Shared:
        """Shared memory of the launch that is running.

        The simulator's own may give two threads an array each, if one of them is stopped while it makes it.
        """

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._launch: Any = None
            self._arrays: dict[Any, Any] = {}

        def array(self, shape: Any, dtype: Any, alignment: Any = None) -> Any:
            """Array of the place in the text that asks for it."""
            here: Any = inspect.currentframe()
            place = here.f_back.f_code, here.f_back.f_lasti
            with self._lock:
                if self._launch is not running_launch():
                    self._launch, self._arrays = running_launch(), {}
                if place not in self._arrays:
                    self._arrays[place] = np.empty(shape, dtype)
                return self._arrays[place]

    class _Cuda:
        """The launch that is running; outside of one, the module."""

        shared = _Shared()

        def __getattr__(self, name: str) -> Any:
            return getattr(running_launch() or _numba_cuda, name)

    cuda: Any = _Cuda()

    def clear(array: Any, stream: Any = 0) -> None:
        """Set a contiguous device array to zeros."""
        array.copy_to_device(np.zeros(array.shape, array.dtype))

    def launch(kernel: Any, blocks: Any, threads: Any, *arguments: Any, stream: Any = 0) -> None:
        """Launch a kernel."""
        kernel[blocks, threads, stream](*arguments)

    def device(function: Any) -> Any:
        """Mark a device function: plain Python here."""
        return function

    def kernel_for(threads: int, blocks: int) -> Any:
        """Decorator of kernels whose registers are limited: they are not here."""
        return cuda.jit

    @device
    def mul(a, b):
        """Product, rounded once."""
        return np.float32(a) * np.float32(b)

    @device
    def add(a, b):
        """Sum, rounded once."""
        return np.float32(a) + np.float32(b)

    @device
    def fused(a, b, c):
        """A * b + c, rounded once: the product is exact in float64, and the sum all but once in 2^28 times."""
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))

    @device
    def wide_mul(a, b):
        """Product of float64, rounded once."""
        return np.float64(a) * np.float64(b)

    @device
    def div(a, b):
        """Quotient, rounded once."""
        with np.errstate(all="ignore"):
            return np.float32(a) / np.float32(b)

    @device
    def wide_div(a, b):
        """Quotient of float64, rounded once."""
        with np.errstate(all="ignore"):
            return np.float64(a) / np.float64(b)

    @device
    def root(a):
        """Square root, rounded once."""
        with np.errstate(all="ignore"):
            return np.sqrt(np.float32(a))

    @device
    def normal_quantile(u):
        """Normal quantile of a float64."""
        return ndtri(u)

    @device
    def normal_share(x):
        """Share of normal numbers below a float64."""
        return ndtr(x)

    @device
    def scaled_tail(x):
        """e^(x^2) erfc(x) of a float64."""
        return erfcx(x)

    @device
    def truncated(x):
        """Integer towards zero, saturating as the instruction does; 0 for NaN."""
        if np.isnan(x):
            return np.int32(0)
        return np.int32(max(-(2**31), min(2**31 - 1, int(x))))

    @device
    def power_of_two(n):
        """2^n for n in [-126, 127]."""
        return np.float32(2.0 ** int(n))

    @device
    def low_word(x):
        """Lowest 32 bits of an integer, as int32."""
        return np.int32((int(x) + 2**31) % 2**32 - 2**31)

    @device
    def bits_of_float(x):
        """The 32 bits of a float32, as int32."""
        return np.float32(x).view(np.int32)

    @device
    def float_of_bits(bits):
        """The float32 of 32 bits."""
        return np.int32(bits).view(np.float32)

    @device
    def bits_of_double(x):
        """The 64 bits of a float64, as int64."""
        return np.float64(x).view(np.int64)

    @device
    def double_of_bits(bits):
        """The float64 of 64 bits."""
        return np.int64(bits).view(np.float64)

    #: of shared arrays that are read 16 bytes at a time; the simulator takes none
    WIDE = None

    def grid_sync():
        """Wait for all blocks: the simulator runs cooperative kernels in one."""
        cuda.syncthreads()

else:
    from numba.core.errors import NumbaPerformanceWarning
    from numba.cuda import libdevice
    from numba.cuda.cudadrv.driver import device_memset

    cuda = _numba_cuda

    def clear(array: Any, stream: Any = 0) -> None:
        """Set a contiguous device array to zeros."""
        device_memset(array, 0, array.nbytes, stream)

    def launch(kernel: Any, blocks: Any, threads: Any, *arguments: Any, stream: Any = 0) -> None:
        """Launch a kernel, without Numba's warning that a small problem leaves processors idle."""
        key = kernel, blocks, threads
        held = _launches.get(key) if stream == 0 else None
        if held is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NumbaPerformanceWarning)
                held = kernel[blocks, threads, stream]
            if stream == 0 and len(_launches) < _MOST_LAUNCHES:
                _launches[key] = held
        held(*arguments)

    def device(function: Any) -> Any:
        """Mark a device function, which is always inlined: arrays in registers must not have an address."""
        return _numba_cuda.jit(function, device=True, forceinline=True)

    def kernel_for(threads: int, blocks: int) -> Any:
        """Decorator of kernels of which that many blocks should fit on a multiprocessor, and so their registers."""
        return cuda.jit(launch_bounds=(threads, blocks))

    # Plain * and + would be contracted to a fused multiply-add, which rounds differently from the CPU kernels.
    @device
    def mul(a, b):
        """Product, rounded once."""
        return libdevice.fmul_rn(a, b)

    @device
    def add(a, b):
        """Sum, rounded once."""
        return libdevice.fadd_rn(a, b)

    @device
    def fused(a, b, c):
        """A * b + c, rounded once."""
        return libdevice.fmaf_rn(a, b, c)

    @device
    def wide_mul(a, b):
        """Product of float64, rounded once."""
        return libdevice.dmul_rn(a, b)

    @device
    def div(a, b):
        """Quotient, rounded once."""
        return libdevice.fdiv_rn(a, b)

    @device
    def wide_div(a, b):
        """Quotient of float64, rounded once."""
        return libdevice.ddiv_rn(a, b)

    @device
    def root(a):
        """Square root, rounded once."""
        return libdevice.fsqrt_rn(a)

    @device
    def normal_quantile(u):
        """Normal quantile of a float64."""
        return libdevice.normcdfinv(u)

    @device
    def normal_share(x):
        """Share of normal numbers below a float64."""
        return libdevice.normcdf(x)

    @device
    def scaled_tail(x):
        """e^(x^2) erfc(x) of a float64."""
        return libdevice.erfcx(x)

    @device
    def truncated(x):
        """Integer towards zero, saturating; 0 for NaN."""
        return libdevice.float2int_rz(x)

    @device
    def power_of_two(n):
        """2^n for n in [-126, 127]."""
        return libdevice.int_as_float((np.int32(n) + np.int32(127)) << np.int32(23))

    @device
    def low_word(x):
        """Lowest 32 bits of an integer, as int32."""
        return np.int32(x)

    @device
    def bits_of_float(x):
        """The 32 bits of a float32, as int32."""
        return libdevice.float_as_int(x)

    @device
    def float_of_bits(bits):
        """The float32 of 32 bits."""
        return libdevice.int_as_float(bits)

    @device
    def bits_of_double(x):
        """The 64 bits of a float64, as int64."""
        return libdevice.double_as_longlong(x)

    @device
    def double_of_bits(bits):
        """The float64 of 64 bits."""
        return libdevice.longlong_as_double(bits)

    WIDE = 16

    @device
    def grid_sync():
        """Wait for all blocks of a cooperative launch."""
        _numba_cuda.cg.this_grid().sync()
