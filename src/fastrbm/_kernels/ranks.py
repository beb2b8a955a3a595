"""What processes that work on one model ask of each other: a communicator, and how work is dealt out.

Every process runs the same program and calls these in the same order. Sums are of integers, so the order in which they
are added makes no difference; everything else is only moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .bits import States
from .datatypes import ChainState, Parameters, TrainingPlan

T = TypeVar("T")


class Ranks(Protocol):
    """The processes that train one model; `fastrbm.distributed.MPIRanks` are those of an MPI communicator.

    Attributes
    ----------
    rank : int
        Number of this process.
    size : int
        How many there are.
    separate : bool
        Whether each has an output and warnings of its own.
    """

    rank: int
    size: int
    separate: bool

    def gather(self, x: Any) -> list[Any]:
        """Objects of all ranks, in their order, on every rank."""
        ...

    def share(self, x: Any) -> Any:
        """The object of rank 0, on every rank."""
        ...

    def join(self, rows: NDArray[Any], counts: Sequence[int]) -> None:
        """Fill ``rows`` with those of all ranks, in their order.

        Parameters
        ----------
        rows : ndarray, C-contiguous
            This rank's are in their place.
        counts : sequence of int
            Rows of each rank; they add up to ``len(rows)``.
        """
        ...

    def start_add(self, x: NDArray[np.int32]) -> Callable[[], None]:
        """Begin to add what all ranks have in ``x``; it holds the sums once what is returned was called.

        Parameters
        ----------
        x : ndarray of int32, C-contiguous
            Sums wrap around, as those of each rank do.
        """
        ...

    def arrived(self, seconds: float) -> bool:
        """Whether all ranks call this within some time."""
        ...

    def abort(self, error: BaseException) -> None:
        """End all processes, because this one cannot go on and the others would wait for it."""
        ...


class Share(NamedTuple):
    """What one process has of a run of minibatches, and what there is in all.

    Attributes
    ----------
    n_batches : int
        Minibatches of the run; this process may have no rows of some.
    batch_rows, last_rows : int
        Rows of a minibatch, and of the last one, of all processes.
    n_chains : int
        Persistent chains of all processes; 0 without.
    first_row, first_chain : int
        Numbers of the first row in its minibatch, and of the first chain, that this process has.
    start_add : callable
        See `Ranks.start_add`.
    """

    n_batches: int
    batch_rows: int
    last_rows: int
    n_chains: int
    first_row: int
    first_chain: int
    start_add: Callable[[NDArray[np.int32]], Callable[[], None]]


class ShareKernels:
    """The part of the contract of backends that minibatches which are shared out need."""

    def train_share(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        rows: States,
        order: NDArray[np.int64],
        plan: TrainingPlan,
        units: tuple[str, str],
        state: ChainState,
        share: Share,
        on_batch: Callable[[], None] | None = None,
    ) -> tuple[int, bool] | None:
        """Do minibatches of which other processes have the other rows and chains, in one native call.

        As `train`, but for the rows of the minibatches, one after another in `order`, the batch size of the plan, and
        the chains of the state, which are those of this process. What `on_batch` raises comes out when all processes
        have stopped, after the minibatch that follows.

        Returns
        -------
        (minibatches done, whether the next one is not for this kernel) : tuple or None
            All processes return the same. None where the backend has no such kernel for these rows and this plan.
        """
        return None


class Hook(Protocol):
    """What is called between minibatches that several processes do together."""

    def __call__(self) -> None:
        """Be called by all processes at once; may raise."""
        ...

    def look(self) -> bool:
        """Be called by this process alone; tells whether it wishes to stop all after a minibatch."""
        ...

    def pause(self) -> BaseException:
        """Return what all raise once they have stopped."""
        ...


class RankError(RuntimeError):
    """Something failed on another process."""


def agree(ranks: Ranks | None, wish: bool) -> bool:
    """Whether any process wishes it; without others, whether this one does."""
    return wish if ranks is None or ranks.size == 1 else any(ranks.gather(bool(wish)))


def all_do(ranks: Ranks, action: Callable[[], T]) -> T:
    """Do something that may fail on some processes: then it fails on all of them, with the message of the first.

    Raises
    ------
    ValueError, TypeError, OSError, ...
        That of this process where it is the first to fail; of another one as the same type where that is a plain error
        of the language, else `RankError`.
    """
    error: Exception | None = None
    result: Any = None
    try:
        result = action()
    except Exception as caught:
        error = caught
    kinds = [kind.__name__ for kind in type(error).__mro__]
    said = ranks.gather(None if error is None else (next((k for k in kinds if k in _PLAIN), ""), str(error)))
    for rank, failure in enumerate(said):
        if failure is None:
            continue
        if rank == ranks.rank:
            assert error is not None
            raise error
        kind = _PLAIN.get(failure[0], RankError)
        raise kind(f"process {rank}: {failure[1]}") from error
    done: T = result
    return done


_PLAIN: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ValueError, TypeError, OSError, FileNotFoundError, PermissionError, MemoryError)
}


def share_of(n: int, ranks: Ranks, multiple: int) -> list[int]:
    """How many of n things each rank takes, in order: whole multiples but for the last, as even as they can be."""
    width = -(-n // (ranks.size * multiple)) * multiple
    return [max(0, min(width, n - rank * width)) for rank in range(ranks.size)]
