"""The processes of an MPI communicator."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels.ranks import Ranks


class MPIRanks:
    """The processes of an MPI communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        It is duplicated, so that messages of other parts of a program do not meet; None: all processes.

    Attributes
    ----------
    rank, size : int
        Number of this process, and how many there are.
    bytes_added : int
        Of the integers that this process has put into sums so far.

    Raises
    ------
    ImportError
        Without mpi4py.
    """

    separate = True

    def __init__(self, comm: Any = None):
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError('fastrbm.distributed needs mpi4py: pip install "fastrbm[mpi]"') from error
        self._mpi = MPI
        self._comm = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self.rank, self.size = self._comm.rank, self._comm.size
        self.bytes_added = 0

    def gather(self, x: Any) -> list[Any]:
        """Objects of all ranks, in their order, on every rank."""
        found: list[Any] = self._comm.allgather(x)
        return found

    def share(self, x: Any) -> Any:
        """The object of rank 0, on every rank."""
        return self._comm.bcast(x, root=0)

    def join(self, rows: NDArray[Any], counts: Sequence[int]) -> None:
        """Fill ``rows`` with those of all ranks; this rank's are in their place."""
        if not rows.size:
            return
        flat = rows.reshape(-1).view(np.uint8)
        row = self._mpi.BYTE.Create_contiguous(flat.size // len(rows)).Commit()  # MPI counts by 32 bits
        try:
            self._comm.Allgatherv(self._mpi.IN_PLACE, [flat, list(counts), None, row])
        finally:
            row.Free()

    def start_add(self, x: NDArray[np.int32]) -> Callable[[], None]:
        """Begin to add what all ranks have in ``x``; it holds the sums once what is returned was called."""
        self.bytes_added += x.nbytes
        request = self._comm.Iallreduce(self._mpi.IN_PLACE, x.view(np.uint32))

        def finish() -> None:
            request.Wait()

        return finish

    def arrived(self, seconds: float) -> bool:
        """Whether all ranks call this within some time."""
        request, end = self._comm.Ibarrier(), time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def abort(self, error: BaseException) -> None:
        """End all processes, after saying why."""
        traceback.print_exception(error)
        sys.stderr.flush()
        self._comm.Abort(1)

    def free(self) -> None:
        """Give the communicator back."""
        self._comm.Free()


@contextmanager
def ranks_of(comm: Any) -> Iterator[Ranks]:
    """Processes as the package asks them: those of a communicator, or an object that has the methods already."""
    if hasattr(comm, "start_add") and hasattr(comm, "join"):
        yield comm
        return
    if comm is not None and not hasattr(comm, "Allgatherv"):
        raise TypeError(f"comm must be None, an mpi4py communicator or a fastrbm.distributed.MPIRanks, got {comm!r}")
    ranks = MPIRanks(comm)
    try:
        yield ranks
    finally:
        ranks.free()
