"""CPU kernels: native products of bits and of dense rows, draws, gradients and exact sums.

``FASTRBM_CPU=amx|avx512|avx2|baseline`` forces an instruction set (and ``amx_emulated`` or ``amx_plain``, which are for
tests, ask for "amx" with its tile unit, or all of it, in plain C). Results do not depend on it, nor on the number of
threads; but partition sums differ in their last bits between instruction sets.

`backend` puts the kernels behind the contract, with its parts `training` (gradients and minibatches), `scores` and
`layers` (units without a kernel of their own). `strategy` chooses what draws a layer, `runtime` has the instruction
set and the threads, `partition` the tables of exact sums, `words` the layout of chains.
"""

from __future__ import annotations

from .backend import CpuBackend
from .runtime import (
    at_most_threads,
    current_target,
    default_threads,
    has_openmp,
    missing_targets,
    most_threads,
    selectable_targets,
    supported_targets,
    threads_for,
    use_target,
)

__all__ = [
    "CpuBackend",
    "at_most_threads",
    "current_target",
    "default_threads",
    "has_openmp",
    "missing_targets",
    "most_threads",
    "selectable_targets",
    "supported_targets",
    "threads_for",
    "use_target",
]
