"""The emulated device in the place of Numba's driver.

Numba's own code types arguments, compiles kernels, packs parameters (`cuda.core`) and keeps arrays and streams; what it
would ask of the driver library is answered here. Names of Numba that begin with an underscore have no public form.
"""

from __future__ import annotations

import ctypes
import os
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

from .compiled import EMULATION, CompiledKernel, runtime
from .memory import Copies, Memory, Streams
from .text import SIZES

#: code libraries of Numba whose kernels were compiled here: `mutants` puts others in their place
LIBRARIES: list[Any] = []

#: the driver, once it is installed
INSTALLED: list[Driver] = []

_CUDA_VERSION = 13000
N_DEVICES = 2


class Contexts(threading.local):
    """Contexts of a thread, the one of now last."""

    def __init__(self, make: Any):
        self._make = make
        self._stack: list[int] = []

    def of(self, number: int) -> Any:
        """Context of a device."""
        return self._make(1 + number)

    def current(self) -> Any:
        """Context of now, or 0."""
        return self._make(self._stack[-1] if self._stack else 0)

    def device(self) -> int:
        """Number of the device of now."""
        return self._stack[-1] - 1 if self._stack else 0

    def push(self, context: Any) -> None:
        """Begin to work on a device."""
        self._stack.append(int(context))

    def pop(self) -> Any:
        """End it."""
        return self._make(self._stack.pop())


class Driver:
    """Answers to calls of the driver, by their names.

    Parameters
    ----------
    module : module
        Numba's ``cudadrv.driver``, for its errors.
    """

    def __init__(self, module: Any):
        self._module = module
        self.memory, self.streams = Memory(), Streams()
        self.copies = Copies(self.memory, self.streams)
        self.owners: dict[int, int] = {}  # devices of allocations
        self._binding = module.binding
        self.contexts = Contexts(self._binding.CUcontext)
        self._attributes = self._codes(
            MAX_REGISTERS_PER_BLOCK=65536, CAN_MAP_HOST_MEMORY=1, MAX_THREADS_PER_BLOCK=1024, WARP_SIZE=32,
            PCI_DOMAIN_ID=0, PCI_BUS_ID=0, PCI_DEVICE_ID=0,
        )  # fmt: skip

    def _codes(self, **attributes: int) -> dict[int, int]:
        kind = self._binding.CUdevice_attribute
        return {int(getattr(kind, f"CU_DEVICE_ATTRIBUTE_{name}")): value for name, value in attributes.items()}

    def _fail(self, result: str, call: str) -> None:
        code = getattr(self._binding.CUresult, f"CUDA_ERROR_{result}")
        raise self._module.CudaAPIError(code, f"Call to {call} results in CUDA_ERROR_{result}")

    def install(self, driver: Any) -> None:
        """Give all answers to Numba's driver."""
        copies, streams = self.copies, self.streams

        def copy(do: Any) -> Any:
            return lambda to, of, size, stream=0: do(int(to), int(of), int(size), int(stream))

        answers = {
            "cuInit": lambda flags: None, "cuDriverGetVersion": lambda: _CUDA_VERSION,
            "cuDeviceGetCount": lambda: N_DEVICES, "cuDevicePrimaryCtxRelease": lambda number: None,
            "cuDeviceGetAttribute": lambda code, device: self._attributes[int(code)],
            "cuCtxGetCurrent": self.contexts.current, "cuCtxGetDevice": self.contexts.device,
            "cuCtxPushCurrent": self.contexts.push, "cuCtxPopCurrent": self.contexts.pop,
            "cuCtxSynchronize": streams.wait,
            "cuMemAlloc": self._allocate, "cuMemFree": self._free, "cuMemGetInfo": self._room,
            "cuMemHostAlloc": lambda size, flags: copies.pin(int(size)),
            "cuMemFreeHost": lambda at: copies.unpin(int(at)),
            "cuMemsetD8": copy(copies.fill), "cuMemsetD8Async": copy(copies.fill),
            "cuMemcpyHtoD": copy(copies.to_device), "cuMemcpyHtoDAsync": copy(copies.to_device),
            "cuMemcpyDtoH": copy(copies.to_host), "cuMemcpyDtoHAsync": copy(copies.to_host),
            "cuMemcpyDtoD": copy(copies.on_device), "cuMemcpyDtoDAsync": copy(copies.on_device),
            "cuStreamCreate": lambda flags: self._binding.CUstream(streams.create()),
            "cuStreamDestroy": lambda stream: streams.wait(int(stream)),
            "cuStreamSynchronize": lambda stream: streams.wait(int(stream)),
            "cuPointerGetAttribute": self._pointer_attribute,
            "cuMemGetAddressRange": lambda at: self.memory.holds(int(at)),
            "cuOccupancyMaxActiveBlocksPerMultiprocessor": lambda *of: EMULATION.settings.blocks,
        }  # fmt: skip
        driver.is_initialized, driver.initialization_error = True, None
        driver.lib, driver.pid = object(), os.getpid()
        for name, answer in answers.items():
            setattr(driver, name, answer)

    def _allocate(self, size: int) -> Any:
        if not size:
            self._fail("INVALID_VALUE", "cuMemAlloc")
        with self.streams.lock:
            at = self.memory.allocate(int(size))
            self.owners[at] = self.contexts.device()
        if not at:
            self._fail("OUT_OF_MEMORY", "cuMemAlloc")
        return self._binding.CUdeviceptr(at)

    def check_owners(self, kernel: CompiledKernel, packed: bytes) -> None:
        """Note arrays of another device among the parameters of a kernel."""
        here = self.contexts.device()
        for parameter in kernel.kernel.parameters.values():
            if SIZES[parameter.kind] == 8:
                at = int.from_bytes(packed[parameter.offset : parameter.offset + 8], "little")
                of = self.owners.get(at, here) if at in self.memory.used else here
                if of != here:
                    EMULATION.problems[kernel.short, f"an array of device {of} on device {here}"] += 1

    def _free(self, at: Any) -> None:
        with self.streams.lock:
            self.streams.wait()
            self.memory.release(int(at))

    def _room(self) -> tuple[int, int]:
        return Memory.SIZE - sum(self.memory.used.values()), Memory.SIZE

    def _pointer_attribute(self, attribute: Any, pointer: Any) -> Any:
        if self.memory.holds(int(pointer)) is None:
            self._fail("INVALID_VALUE", "cuPointerGetAttribute")
        is_ordinal = attribute == self._binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        if not is_ordinal:
            return pointer
        begin, _ = self.memory.holds(int(pointer)) or (0, 0)
        return self.owners.get(begin, 0)


def install(capability: tuple[int, int] = (9, 0)) -> Driver:
    """Put the device in the place of the driver; once, before the first use of CUDA.

    Parameters
    ----------
    capability : tuple of int
        Compute capability that Numba compiles for.
    """
    from numba.cuda import codegen, dispatcher
    from numba.cuda.cudadrv import driver as module

    runtime()
    driver = Driver(module)
    module._logger = module.make_logger()
    driver.install(module.driver)

    class Device:
        """What Numba asks of `cuda.core` about a device."""

        name, uuid = "device emulated from PTX", "0"

        def __init__(self, number: int):
            self.device_id, self.compute_capability = number, capability
            handle = driver.contexts.of(number)
            self.context = SimpleNamespace(handle=handle, _handle=handle)

        def set_current(self) -> None:
            driver.contexts.push(self.context.handle)

    class LaunchConfig:
        """Grid and block of a launch."""

        def __init__(
            self,
            grid: Any,
            block: Any,
            shmem_size: int = 0,
            is_cooperative: bool = False,
            cooperative_launch: bool = False,
        ):
            if shmem_size:
                raise NotImplementedError("shared memory that is asked for at launch")
            self.grid, self.block = _three(grid), _three(block)
            self.cooperative = bool(is_cooperative or cooperative_launch)

    def launch(stream: Any, config: LaunchConfig, kernel: CompiledKernel, *arguments: Any) -> None:
        parameters = _packed(kernel, arguments)
        settings = EMULATION.settings
        if config.cooperative and np.prod(config.grid) > settings.processors * settings.blocks:
            EMULATION.problems[kernel.short, "a cooperative launch of more blocks than are resident"] += 1
            raise RuntimeError("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE")
        kernel.refuse_what_drivers_do(config.grid, config.block)
        driver.check_owners(kernel, parameters)

        def work() -> None:  # as the device is now, whenever it is done
            with EMULATION.set(**vars(settings)):
                kernel.launch(config.grid, config.block, parameters, config.cooperative)

        driver.streams.do(int(stream), work)

    def get_cufunc(self: Any) -> Any:
        held = vars(self).setdefault("_emulated", {})
        contract = EMULATION.settings.contract
        if not held:
            LIBRARIES.append(self)
        if contract not in held:
            (text,) = self.get_asm_strs()
            held[contract] = as_function(CompiledKernel(text, self._entry_name, contract))
        return held[contract]

    module.ExperimentalDevice = Device
    module.Device.MULTIPROCESSOR_COUNT = property(lambda self: EMULATION.settings.processors)  # Numba would keep it
    module._to_core_stream = lambda stream: int(stream) if stream and int(stream) > 2 else 0  # 1, 2: default ones
    dispatcher.LaunchConfig, dispatcher.launch = LaunchConfig, launch
    codegen.CUDACodeLibrary.get_cufunc = get_cufunc
    INSTALLED.append(driver)
    return driver


def as_function(kernel: CompiledKernel) -> Any:
    """What Numba takes for a loaded kernel."""
    return SimpleNamespace(kernel=kernel, handle=kernel, name=kernel.name, module=SimpleNamespace(initialized=True))


def _three(size: Any) -> tuple[int, int, int]:
    sizes = [int(x) for x in (size if isinstance(size, tuple) else (size,))]
    first, second, third = [*sizes, 1, 1][:3]
    return first, second, third


def _packed(kernel: CompiledKernel, arguments: tuple[Any, ...]) -> bytes:
    """Parameters of a kernel from arguments, by the code that packs them for a driver."""
    from cuda.core._kernel_arg_handler import ParamHolder

    parameters = list(kernel.kernel.parameters.values())
    if len(arguments) != len(parameters):
        EMULATION.problems[kernel.short, f"{len(arguments)} arguments for {len(parameters)} parameters"] += 1
        raise RuntimeError("number of arguments")
    holder = ParamHolder(arguments)
    packed = bytearray(kernel.kernel.parameter_bytes + 16)
    places = (ctypes.c_void_p * len(parameters)).from_address(holder.ptr) if parameters else ()
    for place, argument, parameter in zip(places, arguments, parameters, strict=True):
        size, given = SIZES[parameter.kind], _size_of(argument)
        if given < size:
            EMULATION.problems[kernel.short, f"an argument of {given} bytes for a parameter .{parameter.kind}"] += 1
        value = ctypes.string_at(place, min(size, given)).ljust(size, b"\xcb")
        packed[parameter.offset : parameter.offset + size] = value
    return bytes(packed)


def _size_of(argument: Any) -> int:
    """Bytes that `ParamHolder` keeps of an argument."""
    if isinstance(argument, bool):
        return 1
    if isinstance(argument, (int, float)):
        return 8
    return argument.itemsize if isinstance(argument, np.generic) else ctypes.sizeof(argument)
