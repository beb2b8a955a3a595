"""Whether there is a CUDA device to use, and if not, why. Nothing is imported or initialised before someone asks."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from typing import Any

from .tuning import VARIABLE, tuned

INSTALL = 'pip install "fastrbm[cuda]"'

#: Compute capability from which the integer matrix products of the kernels exist.
LEAST_CAPABILITY = (8, 0)

#: Multiply-adds of one layer for one minibatch (hidden neurons x visible neurons x rows) from which device="auto" takes
#: the device. None is never: where the device begins to win has NOT been measured yet, so "auto" keeps to the CPU until
#: `benchmarks/gpu_check.py`, which prints the crossing, has been run on one; what it finds can be put into a file
#: (`tuning`).
AUTO_WORK: int | None = None

_SPAWN = "start processes with multiprocessing.get_context('spawn'), or before CUDA is first used"

#: process that initialised CUDA through this module
initialised_in: int | None = None


def why_not() -> str | None:
    """Why there is no CUDA device to use; None if there is one, be it the simulator's.

    The answer is found once a process, except what may pass: a device that others use up or have for themselves.
    """
    forked = _forked()
    if forked is not None:
        return forked
    reason = _lasting_reason()
    if reason is not None or simulated():
        return reason
    return _context_reason()


def is_real() -> bool:
    """Whether there is a device, and not the simulator's."""
    return why_not() is None and not simulated()


def simulated() -> bool:
    """Whether kernels run on Numba's simulator; False without Numba."""
    if importlib.util.find_spec("numba") is None:
        return False
    from numba import config

    return bool(config.ENABLE_CUDASIM)


def describe() -> str:
    """The device in one line, or why there is none."""
    reason = why_not()
    if reason is not None:
        return f"none: {reason}"
    if simulated():
        return "simulator (NUMBA_ENABLE_CUDASIM=1): for tests, not for work"
    from numba import cuda

    context = cuda.current_context()
    driver = ".".join(map(str, _driver().get_version()))
    memory = context.get_memory_info().total / 2**30
    return f"{_named(context.device)}, {memory:.1f} GiB, driver for CUDA {driver}"


def device_name() -> str:
    """Name of the current device."""
    from numba import cuda

    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def auto_work() -> int | None:
    """Multiply-adds from which ``device="auto"`` takes the device: `AUTO_WORK`, or what was measured on this one."""
    if AUTO_WORK is not None or not os.environ.get(VARIABLE) or not is_real():
        return AUTO_WORK
    return tuned(device_name()).auto_work


def compilers_missing() -> str | None:
    """Why kernels cannot be compiled, which takes no device; None if they can."""
    return package_reason() or _toolkit_reason()


def needs_device() -> None:
    """Raise RuntimeError with the reason if there is no device."""
    reason = why_not()
    if reason is not None:
        raise RuntimeError(f"device='cuda' cannot be used: {reason}")


def _forked() -> str | None:
    if initialised_in in (None, os.getpid()):
        return None
    return f"this process was forked from one that had initialised CUDA, whose context a child cannot use; {_SPAWN}"


@cache
def _lasting_reason() -> str | None:
    """What will not change while the process runs."""
    reason = package_reason()
    if reason is not None or simulated():
        return reason
    driver = _driver()
    return driver_reason(driver) or _toolkit_reason() or device_reason(driver, _toolkit_version())


def package_reason() -> str | None:
    if importlib.util.find_spec("numba_cuda") is None:
        if importlib.util.find_spec("numba") is None:
            return f"numba-cuda is not installed ({INSTALL})"
        return f"only Numba's own CUDA target is installed, not numba-cuda, which has replaced it ({INSTALL})"
    try:
        # What makes numba.cuda mean numba-cuda. Python runs it at start where site-packages has it, but not for
        # packages that were installed elsewhere (pip install --target).
        importlib.import_module("_numba_cuda_redirector")
        cuda = importlib.import_module("numba.cuda")
    except Exception as error:  # without the toolkit, whose loaders raise what they like, it may not even be imported
        return f"numba-cuda cannot be imported: {' '.join(str(error).split())} ({INSTALL})"
    implementation = getattr(cuda, "implementation", "built-in")
    if implementation != "NVIDIA":
        return (
            f"numba.cuda is the {implementation!r} one, imported before numba-cuda could take its place: put "
            "'import _numba_cuda_redirector' before the first import of numba.cuda"
        )
    return None


def _driver() -> Any:
    from numba.cuda.cudadrv.driver import driver

    return driver


def driver_reason(driver: Any) -> str | None:
    """Load libcuda and initialise it."""
    global initialised_in
    said = None
    if "lib" in vars(driver):
        try:
            driver.ensure_initialized()
            if driver.get_device_count() == 0:
                return _no_device()
        except Exception as error:  # CudaSupportError, or what a driver that was initialised by others raises
            said = str(error)
    said = driver.initialization_error or said
    if said is None:
        initialised_in = os.getpid()
        return None
    said = " ".join(said.split())
    if "NUMBA_DISABLE_CUDA" in said:
        return said
    if "lib" not in vars(driver):
        missing = "cannot be found" in said
        return f"there is no NVIDIA driver: libcuda cannot be {'found' if missing else f'loaded ({said})'}"
    if "CUDA_ERROR_NO_DEVICE" in said:
        return _no_device()
    if "CUDA_ERROR_NOT_INITIALIZED" in said or "before forking" in said:
        said += f"; {_SPAWN}"
    return f"the driver cannot be initialised: {said}"


def _no_device() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = "" if visible is None else f"; CUDA_VISIBLE_DEVICES={visible!r} may hide it"
    return f"there is a driver but no device{hint}"


def _toolkit_version() -> tuple[int, int]:
    from numba import cuda

    return cuda.runtime.get_version()


def _toolkit_reason() -> str | None:
    """Load the compilers."""
    from numba.cuda.cudadrv.nvvm import NVVM

    try:
        _toolkit_version()
        NVVM()
    except Exception as error:  # whatever the loaders of the two libraries raise
        return f"the compilers of the CUDA toolkit cannot be loaded: {' '.join(str(error).split())} ({INSTALL})"
    return None


def device_reason(driver: Any, toolkit: tuple[int, int]) -> str | None:
    """Look at versions and at the device without making a context."""
    has = driver.get_version()
    if has[0] < toolkit[0]:
        return (
            f"the driver is too old: it supports CUDA {has[0]}.{has[1]}, and the installed toolkit is CUDA "
            f"{toolkit[0]}.{toolkit[1]}. Update the driver"
        )
    with driver.get_active_context() as active:
        device = driver.get_device(active.devnum or 0)
    if device.compute_capability < LEAST_CAPABILITY:
        least = ".".join(map(str, LEAST_CAPABILITY))
        return f"the device is too old: {_named(device)}, and {least} is needed"
    return None


def _context_reason() -> str | None:
    """Whether the device lets this process in: it may be full, or belong to another process."""
    from numba import cuda

    try:
        cuda.current_context()
    except Exception as error:  # Numba's and cuda.core's have no base of their own
        return f"the device does not let this process in: {error}"
    return None


def _named(device: Any) -> str:
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    return f"{name} (compute capability {'.'.join(map(str, device.compute_capability))})"
