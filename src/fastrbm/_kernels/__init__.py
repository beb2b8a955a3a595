"""Kernel backends. `get_backend` is the only place that chooses one."""

from __future__ import annotations

from typing import Any

from .bits import PackedBits, pack
from .contract import Backend, ChainState, Parameters, Phase, TrainingPlan
from .rules import Rule, Update

__all__ = [
    "Backend",
    "ChainState",
    "PackedBits",
    "Parameters",
    "Phase",
    "Rule",
    "TrainingPlan",
    "Update",
    "get_backend",
    "pack",
]

DEVICES = ("auto", "cpu", "reference")


def get_backend(
    device: str = "auto", n_threads: int | None = None, strategy: str = "auto", precision: str = "full"
) -> Backend:
    """Resolve a device name to a backend.

    Parameters
    ----------
    device : {"auto", "cpu", "reference"}, default="auto"
        "auto" is the fastest that is there: the native CPU kernels.
    n_threads : int or None
        Threads of the CPU kernels. None: as many as OpenMP would use, at most the processors this process may run on.
    strategy : {"auto", "dense", "delta", "bounds", "lcd", "lowbit"}, default="auto"
        How the CPU kernels draw layers whose states alone are wanted; never what they return.
    precision : {"full", "fast"}, default="full"
        "fast" rounds the weights to 16 bits in the products of the CPU kernels: approximate, and faster with AVX-512.

    Raises
    ------
    ValueError
        For an unknown device, thread count, strategy or precision, or one that the device does not have.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {list(DEVICES)}, got {device!r} (no other backend is available)")
    check_n_threads(n_threads)
    from .cpu.strategy import check_precision, check_strategy

    check_strategy(strategy)
    check_precision(precision)
    if device == "reference":
        if strategy not in ("auto", "dense"):
            raise ValueError(f"strategy must be 'auto' or 'dense' with device='reference', got {strategy!r}")
        if precision != "full":
            raise ValueError(f"precision must be 'full' with device='reference', got {precision!r}")
        from .reference import ReferenceBackend

        return ReferenceBackend()
    from .cpu import CpuBackend

    return CpuBackend(n_threads, strategy, precision)


def check_n_threads(n_threads: Any) -> None:
    """Raise unless n_threads is None or a positive integer."""
    from numbers import Integral

    if n_threads is not None and (not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads < 1):
        raise ValueError(f"n_threads must be None or a positive integer, got {n_threads!r}")
