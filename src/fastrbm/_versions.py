"""What is installed and what the kernels use: `fastrbm.show_versions`, `fastrbm info`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

_PACKAGES = (
    "fastrbm", "numpy", "scipy", "scikit-learn", "threadpoolctl", "matplotlib", "tqdm", "torch", "numba-cuda",
)  # fmt: skip


def collect() -> dict[str, Any]:
    """Facts about this installation, as a flat dictionary."""
    from ._kernels import DEVICES, cpu
    from ._kernels.cuda import availability

    facts: dict[str, Any] = {}
    for name in _PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "not installed"
    facts["python"] = sys.version.split()[0]
    facts["platform"] = platform.platform()
    facts["processor"] = processor_name()
    facts["processors usable"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    there = [", ".join(cpu.supported_targets()), *(f"{name} {why}" for name, why in cpu.missing_targets().items())]
    facts["instruction set"] = f"{cpu.current_target()} (of {'; '.join(there)})"
    forced = os.environ.get("FASTRBM_CPU")
    if forced:
        facts["instruction set"] += f", forced by FASTRBM_CPU={forced}"
    facts["OpenMP"] = "yes" if cpu.has_openmp() else "no: built without OpenMP, the kernels use one thread"
    facts["threads by default"] = cpu.default_threads()
    facts["CUDA device"] = availability.describe()
    facts["devices"] = ", ".join(x for x in DEVICES if x != "auto" and (x != "cuda" or availability.why_not() is None))
    return facts


def processor_name() -> str:
    """Model name of the processor, as well as it can be found."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def show_versions() -> None:
    """Print versions, processor, instruction set and threads, one per line."""
    facts = collect()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
