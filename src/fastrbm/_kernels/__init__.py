"""Kernel backends. `get_backend` is the only place that chooses one."""

from __future__ import annotations

from typing import Any

from .bits import PackedBits, pack
from .contract import Backend, ChainState, Parameters, Phase, TrainingPlan

__all__ = ["Backend", "ChainState", "PackedBits", "Parameters", "Phase", "TrainingPlan", "get_backend", "pack"]

DEVICES = ("auto", "cpu", "reference")


def get_backend(device: str = "auto", n_threads: int | None = None) -> Backend:
    """Resolve a device name to a backend.

    Parameters
    ----------
    device : {"auto", "cpu", "reference"}, default="auto"
        "auto" is the fastest that is there: the native CPU kernels.
    n_threads : int or None
        Threads of the CPU kernels. None: as many as OpenMP would use, at most the processors this process may run on.

    Raises
    ------
    ValueError
        For an unknown device or thread count.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {list(DEVICES)}, got {device!r} (no other backend is available)")
    check_n_threads(n_threads)
    if device == "reference":
        from .reference import ReferenceBackend

        return ReferenceBackend()
    from .cpu import CpuBackend

    return CpuBackend(n_threads)


def check_n_threads(n_threads: Any) -> None:
    """Raise unless n_threads is None or a positive integer."""
    from numbers import Integral

    if n_threads is not None and (not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads < 1):
        raise ValueError(f"n_threads must be None or a positive integer, got {n_threads!r}")
