"""Threads of one process in the place of processes: to try a script without MPI."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer

T = TypeVar("T")


class _Room:
    """Where threads meet: what each has brought lies on a table."""

    def __init__(self, size: int):
        self.barrier = threading.Barrier(size)
        self.table: list[Any] = [None] * size


class ThreadRanks:
    """One of several threads that stand for processes; `rehearse` makes them."""

    separate = False

    def __init__(self, rank: int, size: int, room: _Room):
        self.rank, self.size, self._room = rank, size, room

    def _meet(self, x: Any, take: Callable[[list[Any]], T]) -> T:
        """What `take` makes of the table on which each thread has put something; none goes on before all have taken."""
        room = self._room
        room.table[self.rank] = x
        room.barrier.wait()
        found = take(room.table)
        room.barrier.wait()
        return found

    def gather(self, x: Any) -> list[Any]:
        """Copies of the objects of all threads, in their order."""
        return self._meet(x, copy.deepcopy)

    def share(self, x: Any) -> Any:
        """The object of the first thread, and copies of it."""
        return self._meet(x, lambda table: table[0] if self.rank == 0 else copy.deepcopy(table[0]))

    def join(self, rows: NDArray[Any], counts: Sequence[int]) -> None:
        """Fill ``rows`` with those of all threads; this thread's are in their place."""
        ends = np.cumsum([0, *counts])
        for k, part in enumerate(self._meet(rows[ends[self.rank] : ends[self.rank + 1]].copy(), list)):
            rows[ends[k] : ends[k + 1]] = part

    def start_add(self, x: NDArray[np.int32]) -> Callable[[], None]:
        """Add what all threads have in ``x``."""
        x[...] = sum(self._meet(x.copy(), list))
        return lambda: None

    def arrived(self, seconds: float) -> bool:
        """Whether all threads call this within some time."""
        try:
            self._room.barrier.wait(seconds)
        except threading.BrokenBarrierError:
            return False
        return True

    def abort(self, error: BaseException) -> None:
        """Have the threads that wait for this one fail."""
        self._room.barrier.abort()


def rehearse(n: int, function: Callable[[ThreadRanks], T]) -> list[T]:
    """Call a function on n threads that stand for processes.

    Parameters
    ----------
    n : int
    function : callable
        Takes what it passes on as ``comm`` to the functions of `fastrbm.distributed`.

    Returns
    -------
    list
        What it returned, by the threads.

    Raises
    ------
    Exception
        The first that the function raised; threads that waited for that one fail with it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM, distributed
    >>> X = np.random.default_rng(0).integers(0, 2, (100, 12))
    >>> def script(comm):
    ...     rows = np.array_split(X, comm.size)[comm.rank]
    ...     return distributed.fit(BernoulliRBM(4, random_state=0), rows, comm=comm)
    >>> first, second, third = distributed.rehearse(3, script)
    >>> alone = BernoulliRBM(4, random_state=0).fit(X)
    >>> bool((first.components_ == alone.components_).all())
    True
    """
    check_integer("n", n)
    room = _Room(n)
    results: list[Any] = [None] * n
    errors: list[BaseException | None] = [None] * n

    def run(rank: int) -> None:
        try:
            results[rank] = function(ThreadRanks(rank, n, room))
        except BaseException as error:
            errors[rank] = error
            room.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [error for error in errors if error is not None]
    if failed:
        raise next((error for error in failed if not isinstance(error, threading.BrokenBarrierError)), failed[0])
    return results
