"""Arrays on a CUDA device that other libraries made, taken without a copy. No library is imported to recognise them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np

#: device types of DLPack: memory of the device, and managed memory
_DLPACK_DEVICES = (2, 13)
_DTYPES = tuple(map(np.dtype, (np.bool_, np.uint8, np.float32, np.float64)))
_INVALID_VALUE = "CUDA_ERROR_INVALID_VALUE"


def is_device_array(x: Any) -> bool:
    """Whether x is an array on a CUDA device: of Numba, CuPy, PyTorch or others that say so."""
    if isinstance(x, np.ndarray):
        return False
    if getattr(x, "__cuda_ndarray__", False):
        return True
    where = getattr(x, "__dlpack_device__", None)
    if callable(where) and not isinstance(x, type):
        return where()[0] in _DLPACK_DEVICES
    return not isinstance(x, type) and hasattr(x, "__cuda_array_interface__")


def as_device_array(x: Any, name: str = "X", ndim: int = 2) -> Any:
    """The same memory as an array of Numba.

    Parameters
    ----------
    x : array for which `is_device_array` is true
    name : str
        What messages call it.
    ndim : int
        Dimensions it must have.

    Raises
    ------
    TypeError
        For types other than bool, uint8, float32 and float64, and arrays that give no access to their memory.
    ValueError
        For another number of dimensions, memory on another device than the current one, and memory that was freed.
    """
    if not getattr(x, "__cuda_ndarray__", False):
        x = _from_interface(_interface_of(x, name), name)
    if x.dtype not in _DTYPES:
        wanted = ", ".join(map(str, _DTYPES))
        raise TypeError(f"{name} on a CUDA device must be of one of the types {wanted}, got {x.dtype}")
    if len(x.shape) != ndim:
        raise ValueError(
            f"Expected {ndim}D array, got {len(x.shape)}D array instead: {name} has shape {tuple(x.shape)}"
        )
    _check_memory(x, name)
    return x


def _interface_of(x: Any, name: str) -> Any:
    """An object with the array interface of CUDA, x or what CuPy makes of it."""
    try:
        interface = getattr(x, "__cuda_array_interface__", None)
    except (RuntimeError, TypeError) as error:  # PyTorch: tensors that require gradients, types that NumPy has not
        raise TypeError(f"{name} gives no access to its memory on the device: {error}") from None
    if interface is not None:
        return x
    if importlib.util.find_spec("cupy") is None:
        raise TypeError(
            f"{name} ({kind_of(x)}) is on a CUDA device and speaks DLPack only, for which CuPy is needed: "
            'pip install "fastrbm[cupy]"'
        )
    return importlib.import_module("cupy").from_dlpack(x)


def _from_interface(x: Any, name: str) -> Any:
    interface = x.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError(f"{name} must not have a mask, got a masked {kind_of(x)}")
    if interface["data"][0] == 0 and 0 not in interface["shape"]:
        raise ValueError(f"{name} has no memory: its address on the device is 0 (freed, or never computed)")
    from .kernels.target import SIMULATED

    if not SIMULATED:
        from numba import cuda

        return cuda.as_cuda_array(x)
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    class Holder:  # the memory of the simulated device is that of the host
        __array_interface__ = {**interface, "owner": x}

    return FakeCUDAArray(np.asarray(Holder()))


def _check_memory(x: Any, name: str) -> None:
    """Raise ValueError unless the memory is there, on the current device."""
    from .kernels.target import SIMULATED

    if SIMULATED or not x.size:
        return
    from numba import cuda
    from numba.cuda.cudadrv import driver

    try:
        ordinal = driver.binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        address = driver.binding.CUdeviceptr(x.device_ctypes_pointer.value)
        where = int(driver.driver.cuPointerGetAttribute(ordinal, address))
    except driver.CudaAPIError as error:
        if _INVALID_VALUE not in str(error):
            raise
        raise ValueError(f"{name} has no memory on a device: what it points to was freed, or is not CUDA's") from None
    check_ordinal(name, where, cuda.current_context().device.id)


def check_ordinal(name: str, where: int, current: int) -> None:
    """Raise ValueError if an array is on another device than the current one."""
    if where != current:
        raise ValueError(
            f"{name} is on device {where}, and the current device is {current}: copy it there, or make its device the "
            f"current one (numba.cuda.select_device({where}))"
        )


def kind_of(x: Any) -> str:
    """Name of the type of x, for messages."""
    return f"{type(x).__module__}.{type(x).__qualname__}"
