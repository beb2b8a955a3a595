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


def processor_facts() -> dict[str, str]:
    """Return what the system tells of its first processor, by its own names; nothing where it has no such file."""
    try:
        with open("/proc/cpuinfo") as file:
            first = file.read().split("\n\n", 1)[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def processor_name() -> str:
    """Name of the processor, with the numbers of its generation, which names on virtual machines do not tell."""
    facts = processor_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = {"family": "cpu family", "model": "model", "implementer": "CPU implementer", "part": "CPU part"}
    told = ", ".join(f"{what} {facts[key]}" for what, key in numbers.items() if facts.get(key))
    return f"{name} ({told})" if told else name


def show_versions() -> None:
    """Print versions, processor, instruction set and threads, one per line."""
    facts = collect()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
