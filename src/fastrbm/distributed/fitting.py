"""Fits whose rows several processes hold."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

from .._data.shards import Shard
from .._estimator import files
from .._estimator.fitting import Fitting
from .._fit.callback import as_list
from .._kernels.ranks import RankError, Ranks
from ..callbacks import ProgressBar
from .mpi import ranks_of

#: seconds that a process which failed waits for the others to fail, too, before it ends all
PATIENCE = 5.0


def fit(estimator: Any, X: Any, *, comm: Any = None, resume: Any = None) -> Any:
    """Fit one estimator to the rows of all processes.

    Parameters
    ----------
    estimator : BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM or another unsupervised one
        With the same options on every process.
    X : array-like, sparse matrix, frame, memory map, or rows in chunks as of `fastrbm.streams`
        The rows of this process; it may have none, as an array of 0 rows. The rows of the processes, in their order,
        are the data.
    comm : mpi4py.MPI.Comm, object with the methods of `MPIRanks`, or None
        The processes; None: those of ``MPI.COMM_WORLD``.
    resume : path-like or None
        As of the estimator's `fit`; the first process reads it.

    Returns
    -------
    estimator
        Fitted, with the same bits on every process.

    Raises
    ------
    ValueError, TypeError
        On every process, if the data of one of them or the options cannot be used, or differ where they must not.
    RankError
        If something else failed on another process, or processes came to different results.
    ImportError
        Without mpi4py.

    Notes
    -----
    The bits are those of any number of processes, of one too. Bits, rows drawn as bits and grey levels in bytes have
    those of ``estimator.fit(all rows)`` besides; real numbers and grey floats are multiplied by other kernels than
    there, which round differently. Processes must be of one kind of floating-point arithmetic, as those of one
    architecture are; a hash of what each has learned is compared in the end.

    ``sample_weight`` and ``validation_fraction`` are refused, as for rows that are read piece by piece. Callbacks run
    on every process and must do the same on all of them; messages come from the first. Checkpoints are written by the
    first, and SIGTERM to any is answered by all.

    A process that fails alone says why and ends all after five seconds. One that is killed has `mpirun` end the others,
    which loses what came after the last checkpoint.
    """
    if not isinstance(estimator, Fitting):
        raise TypeError(
            "estimator must be an unsupervised RBM of fastrbm (BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, "
            f"SoftmaxRBM, ...), got {type(estimator).__name__}"
        )
    with ranks_of(comm) as ranks, together(ranks):
        _check_same(ranks, estimator)
        estimator.fit(Shard(X, ranks), resume=resume)
        _check_bits(ranks, estimator)
    return estimator


@contextlib.contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Within the block all processes do the same; only the first one says something, and none waits in vain."""
    with contextlib.ExitStack() as quiet:
        if ranks.rank and ranks.separate:
            quiet.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            yield
        except BaseException as error:
            if not ranks.arrived(PATIENCE):
                ranks.abort(error)
            raise


def _check_same(ranks: Ranks, estimator: Any) -> None:
    """Raise ValueError unless the options are the same on all processes."""
    options = files.plain_options(estimator)
    # a bar may be shown by the first process alone
    callbacks = [x for x in as_list(estimator.callbacks) if not isinstance(x, ProgressBar)]
    options["callbacks"] = [type(x).__name__ for x in callbacks]
    options["class"] = type(estimator).__name__
    for name in ("n_threads", "device"):
        options.pop(name, None)
    for rank, theirs in enumerate(ranks.gather(options)):
        for name in sorted(options.keys() | theirs.keys()):
            if options.get(name) != theirs.get(name):
                raise ValueError(
                    f"{name} must be the same on all processes, got {options.get(name)!r} on process {ranks.rank} and "
                    f"{theirs.get(name)!r} on process {rank}"
                )


def _check_bits(ranks: Ranks, estimator: Any) -> None:
    """Raise RankError unless the parameters have the same bits on all processes."""
    digest = hashlib.blake2b(digest_size=16)
    for x in (estimator.components_, estimator.intercept_visible_, estimator.intercept_hidden_):
        digest.update(x.tobytes())
    if len(set(ranks.gather(digest.hexdigest()))) > 1:
        raise RankError(
            "processes came to different parameters: their processors, or versions of libraries, must round alike"
        )
