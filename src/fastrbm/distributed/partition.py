"""Log partition sums by several processes."""

from __future__ import annotations

from typing import Any

from .. import likelihood
from .._kernels.draws import Key
from .._kernels.sharing import shared_by
from .fitting import together
from .mpi import ranks_of


def log_partition(model: Any, method: str = "auto", *, comm: Any = None, **options: Any) -> likelihood.LogPartition:
    """Find the log partition sum of a model that every process has.

    Exact sums are cut into parts, and chains of annealing go by their numbers, whichever process has them: the result
    has the same bits on every process, and for any number of processes.

    Parameters
    ----------
    model : Model or fitted estimator
        The same on every process.
    method : str, default="auto"
        As of `fastrbm.likelihood.log_partition`. Tempering is done by every process.
    comm : mpi4py.MPI.Comm, object with the methods of `MPIRanks`, or None
        The processes; None: those of ``MPI.COMM_WORLD``.
    **options
        Of `fastrbm.likelihood.log_partition`, or of the estimator's method. ``progress`` is of the first process.

    Returns
    -------
    LogPartition
        An exact sum is that of one process but for its rounding; estimates have its bits.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM, distributed
    >>> X = np.random.default_rng(0).integers(0, 2, (100, 20))
    >>> rbm = BernoulliRBM(16, random_state=0).fit(X)
    >>> found = distributed.rehearse(2, lambda comm: distributed.log_partition(rbm, comm=comm))
    >>> float(found[0]) == float(found[1]) and abs(float(found[0]) - float(rbm.log_partition())) < 1e-6
    True
    """
    with ranks_of(comm) as ranks, together(ranks), shared_by(ranks):
        if ranks.rank:
            options.pop("progress", None)
        if hasattr(model, "log_partition"):
            if not hasattr(model, "_state"):
                options.setdefault("random_state", model.random_state)
            _share_seed(ranks, options)
            found: likelihood.LogPartition = model.log_partition(method, **options)
            return found
        options.setdefault("random_state", None)
        _share_seed(ranks, options)
        return likelihood.log_partition(model, method, **options)


def _share_seed(ranks: Any, options: dict[str, Any]) -> None:
    """Have all processes draw by the seed of the first, where it is not a number."""
    if "random_state" in options and not isinstance(options["random_state"], int):
        options["random_state"] = ranks.share(Key.from_random_state(options["random_state"]))
