"""Kernel backends. `get_backend` is the only place that chooses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._checks import check_integer, is_integer
from .bits import BIT_UNITS, PackedBits, States, as_dense, join_rows, on_host, pack
from .contract import Backend, ChainState, Parameters, Phase, Resident, TrainingPlan
from .levels import GreyLevels
from .rules import Rule, Update
from .sharing import as_shared
from .strategies import check_precision, check_strategy

__all__ = [
    "BIT_UNITS",
    "DEVICES",
    "Backend",
    "ChainState",
    "GreyLevels",
    "PackedBits",
    "Parameters",
    "Phase",
    "Resident",
    "Rule",
    "States",
    "TrainingPlan",
    "Update",
    "as_dense",
    "get_backend",
    "join_rows",
    "on_host",
    "pack",
]

DEVICES = ("auto", "cpu", "cuda", "reference")


def get_backend(
    device: str = "auto",
    n_threads: int | None = None,
    strategy: str = "auto",
    precision: str = "full",
    work: Callable[[], int | None] | None = None,
) -> Backend:
    """Resolve a device name to a backend.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "reference"}, default="auto"
        "auto" is the native CPU kernels, until the size of the work from which a CUDA device wins has been measured
        (`cuda.availability.AUTO_WORK`): then a device that is there takes what is at least as large.
    n_threads : int or None
        Threads of the CPU kernels, and of what the host does for a device. None: as many as OpenMP would use, at most
        the processors this process may run on.
    strategy : {"auto", "dense", "delta", "bounds", "lcd", "lowbit"}, default="auto"
        How kernels draw layers whose states alone are wanted; never what they return.
    precision : {"full", "fast"}, default="full"
        "fast" rounds the weights to 16 bits in the products of the CPU kernels: approximate, and faster with AVX-512.
    work : callable or None
        Returns the multiply-adds of one layer for one minibatch, or all chains, for "auto" to decide by; called only if
        it matters. None, also as its result: not known, the CPU.

    Raises
    ------
    ValueError
        For an unknown device, thread count, strategy or precision, or one that the device does not have.
    RuntimeError
        For "cuda" where no device can be used, with the reason.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {list(DEVICES)}, got {device!r}")
    check_n_threads(n_threads)
    check_strategy(strategy)
    check_precision(precision)
    if device == "reference":
        if strategy not in ("auto", "dense"):
            raise ValueError(f"strategy must be 'auto' or 'dense' with device='reference', got {strategy!r}")
        if precision != "full":
            raise ValueError(f"precision must be 'full' with device='reference', got {precision!r}")
        from .reference import ReferenceBackend

        return as_shared(ReferenceBackend())
    if device == "cuda" or (device == "auto" and _device_is_worth(work)):
        from .cuda import availability

        availability.needs_device()
        from .cuda.backend import CudaBackend

        return as_shared(CudaBackend(n_threads=n_threads, strategy=strategy, precision=precision))
    from .cpu import CpuBackend

    return as_shared(CpuBackend(n_threads, strategy, precision))


def _device_is_worth(work: Callable[[], int | None] | None) -> bool:
    """Whether "auto" means a CUDA device; one is only looked for where the work is large enough."""
    from .cuda import availability

    least = None if work is None else availability.auto_work()
    if least is None or work is None:
        return False
    size = work()
    return size is not None and size >= least and availability.is_real()


def check_n_threads(n_threads: Any) -> None:
    """Raise unless n_threads is None, a positive integer, or a negative one that counts from all processors."""
    if n_threads is not None and not (is_integer(n_threads) and n_threads < 0):
        check_integer("n_threads", n_threads, otherwise="None, -1 (all processors), -2 (all but one), ...")
