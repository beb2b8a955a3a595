"""Log partition sums: options are checked here, and a method is chosen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from .._checks import check_integer, check_number
from .._kernels import Backend, PackedBits, get_backend
from .._kernels.draws import Key
from .._kernels.maps import reads
from ..model import Model, checked_trajectory
from . import annealed, exact, paths
from . import trajectory as along
from ._result import LogPartition
from .rows import as_model, checked_rows
from .survey import make_job

METHODS = ("auto", "exact", *annealed.METHODS)
#: "auto" takes the exact sum where it is expected to take this many seconds at most
PATIENCE = 10.0


@reads
def log_partition(
    model: Any,
    method: str = "auto",
    *,
    n_chains: int = 1000,
    n_temperatures: int = 1000,
    schedule: str | ArrayLike = "adaptive",
    start: str | ArrayLike = "auto",
    data: ArrayLike | PackedBits | None = None,
    trajectory: Sequence[Model] | None = None,
    stderr: float | None = None,
    max_chains: int = 100_000,
    moments: bool = False,
    probabilities: bool = False,
    random_state: Any = None,
    progress: Callable[[int, int], None] | None = None,
    device: str = "auto",
    n_threads: int | None = None,
) -> LogPartition:
    r"""Find the log of the partition sum Z, the sum over all states of both layers of exp(-energy).

    Real-valued units are integrated over.

    Parameters
    ----------
    model : Model or fitted estimator
        Of any units. All have all methods, as far as their partition sum is finite; "exact" needs a layer whose states
        can be listed, or two Gaussian layers. Ising layers are written as bits (`Model.as_bernoulli`).
    method : {"auto", "exact", "ais", "mais", "smc", "reverse", "bracket", "tempering", "trajectory"}, default="auto"
        "exact"
            Sum over the states of one layer, the other one summed out: of the smaller one where both can be listed, of
            the one-hot layer beside a binary one. Two Gaussian layers have a closed form.
        "ais"
            Annealed importance sampling, the hidden layer summed out of the weights.
        "mais"
            Marginalised: the larger layer summed out, which varies less. The same as "ais" with more hidden than
            visible units.
        "smc"
            "mais" with chains resampled on their way (sequential Monte Carlo, population annealing), in 16 populations
            that do not mix (8 below 128 chains); the error is told from the differences between them.
        "reverse"
            From samples of the model to the start. They are exact where a layer has at most 2^20 states, else the ends
            of populations as for "smc" and 100 Gibbs sweeps.
        "bracket"
            "mais" and "reverse"; the value is Bennett's combination of both.
        "tempering"
            Replica exchange: chains at as many temperatures as the path is long, in 8 groups that do not mix, from
            annealed populations (half of them from `data`, where there is some); neighbours are joined by Bennett's
            acceptance ratio. It does as many Gibbs sweeps as "smc" with the same options.
        "trajectory"
            The same along the models of a training run (`trajectory`) in place of temperatures, as far as they make the
            way shorter (see `fastrbm.samplers.TrajectoryTempering`).
        "auto"
            "exact" where it should take 10 s at most, else "smc".

        The mean of forward weights is Z without bias, so the log is low on average; that of reverse weights is 1 / Z,
        and the log high. These are statements on averages: a single value may be on the other side.
    n_chains : int, default=1000
        Chains each way.
    n_temperatures : int, default=1000
        Steps from the start to the model.
    schedule : {"adaptive", "linear", "salakhutdinov"} or array-like, default="adaptive"
        Spacing of the inverse temperatures: by a short pilot run so that each step costs the same effective sample
        size; evenly; in three linear pieces as in the paper below; or values that rise from 0 to 1.
    start : {"auto", "uniform", "biases", "base-rate"} or array-like of shape (n_visible,), default="auto"
        Biases without weights where the path starts: none, the model's own, those of the means of `data`, or given
        visible ones (of the model's own units). All of these are tried with few chains, whatever is asked for, as each
        may miss what another finds; "auto" goes on with the one that has found most.
    data : array-like of shape (n_samples, n_visible) or None
        Rows of visible states: for start="base-rate", and to see whether the chains have missed what they know.
    trajectory : list of Model or None
        With "trajectory": models of the run that has led to this one, early ones first, as `models_` of a
        `fastrbm.callbacks.CheckpointTrajectory`. The model itself may be the last of them or not. Their ladder has no
        use for `schedule` and `stderr`; its start is that of the first of them ("auto": its own biases).
    stderr : float or None
        Add `n_chains` chains at a time until the standard error (of each way of a bracket) is at most this, or
        `max_chains` is reached.
    max_chains : int, default=100000
    moments, probabilities : bool, default=False
        With "exact": also the means under the model, and the log probabilities of all states of the layer summed over.
    random_state : int, RandomState, Generator or None
        Seed; the same one gives the same bits for any number of threads.
    progress : callable or None
        Called with (done, total) of each stage now and then; it may raise to stop.
    device : {"auto", "cpu", "cuda", "reference"}, default="auto"
        Exact sums over layers other than Bernoulli and Ising ones are done in NumPy, by one thread beside that of its
        products.
    n_threads : int or None

    Returns
    -------
    LogPartition

    Raises
    ------
    ValueError
        For bad options, for "exact" with too many units or without a layer that can be listed, for two Gaussian layers
        whose sum is infinite, and for energies that overflow.

    Warns
    -----
    ConvergenceWarning
        Where the value is not reliable. The `interval` and the `message` of the result say what is known.

    Notes
    -----
    An interval can be trusted as far as the evidence goes: states that no start of the path and no row of `data` leads
    to cannot be seen by any method but "exact".

    Z is finite for all weights where the states of one layer can be listed. Where both layers have real-valued units it
    is finite if the singular values of the weights between these are below 1; for two Gaussian layers only then. ReLU
    units beside real-valued ones satisfy less (the quadratic form of the energy must be positive where all ReLU units
    are at least 0, strict copositivity), which is hard to check.

    References
    ----------
    Del Moral, Doucet, Jasra, "Sequential Monte Carlo samplers", J. R. Stat. Soc. B 68 (2006), for "smc".
    Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", ICML 2008.
    Yasuda and Takahashi, "Marginalized annealed importance sampling", Phys. Rev. E 106, 024127 (2022).
    Burda, Grosse, Salakhutdinov, "Accurate and conservative estimates of MRF log-likelihood using reverse annealing",
    AISTATS 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import Model
    >>> from fastrbm.likelihood import log_partition
    >>> model = Model(np.zeros((3, 5)), np.zeros(5), np.zeros(3))
    >>> float(round(float(log_partition(model)) / np.log(2), 6))
    8.0
    """
    model = as_model(model)
    backend = get_backend(device, n_threads)
    if method not in (*METHODS, "trajectory"):
        raise ValueError(f"method must be one of {[*METHODS, 'trajectory']}, got {method!r}")
    if method == "trajectory":
        models = _models_to(model, trajectory, schedule, stderr)
    elif trajectory is not None:
        raise ValueError(f"trajectory needs method='trajectory', got method={method!r}")
    for name, count in (("n_chains", n_chains), ("n_temperatures", n_temperatures), ("max_chains", max_chains)):
        check_integer(name, count)
    if stderr is not None:
        check_number("stderr", stderr, 0, include_low=False, otherwise="None")
    Key.check(random_state)
    if method == "auto":
        quick = moments or probabilities or _is_quick(model, backend)
        method = "exact" if quick else "smc"
    if method == "exact":
        plan = exact.choose(model)
        return exact.log_partition(plan, backend, moments=moments, probabilities=probabilities, progress=progress)
    if moments or probabilities:
        raise ValueError(f"moments and probabilities need method='exact', got method={method!r}")
    rows = None if data is None else checked_rows(data, model, "data")
    doubt = paths.doubt_of_existence(model)
    key = Key.from_random_state(random_state)
    if method == "trajectory":
        doubt = next(filter(None, map(paths.doubt_of_existence, models[::-1])), "")
        options = {"n_chains": n_chains, "n_temperatures": n_temperatures, "progress": progress}
        found = along.log_partition(models, start, rows, backend=backend, key=key, **options)
    else:
        job, constant = make_job(
            model,
            start,
            rows,
            backend=backend,
            key=key,
            schedule=schedule,
            n_temperatures=n_temperatures,
            n_chains=n_chains,
            stderr=stderr,
            max_chains=max_chains,
            progress=progress,
        )
        found = annealed.estimate(method, job).shifted(-constant)
    if not doubt:
        return found
    warnings.warn(doubt, ConvergenceWarning, stacklevel=2)
    return _doubted(found, doubt)


@reads
def along_trajectory(
    models: Sequence[Model],
    *,
    n_chains: int = 1000,
    n_temperatures: int = 300,
    start: str | ArrayLike = "auto",
    data: ArrayLike | PackedBits | None = None,
    random_state: Any = None,
    progress: Callable[[int, int], None] | None = None,
    device: str = "auto",
    n_threads: int | None = None,
) -> list[LogPartition]:
    """Find the log partition sums of all models of a training run, as ``log_partition(method="trajectory")`` does.

    A ladder leads to the last model. What it leads through is known with it; another one leads to the last of the
    others, and so on. So it takes one ladder where each model is on the way to the next, at most one for each of them.

    Parameters
    ----------
    models : list of Model
        Early ones first, of equal units, shape and type: ``models_`` of a `fastrbm.callbacks.CheckpointTrajectory`.
    n_chains : int, default=1000
    n_temperatures : int, default=300
        Their product is the number of Gibbs sweeps of each ladder; it does 50 rounds at least.
    start, data, random_state, progress, device, n_threads
        As for `log_partition`; `progress` is called for each ladder. `start` is that of the first model.

    Returns
    -------
    list of LogPartition
        One for each model. `seconds` is the time of the ladder that has it.

    Raises
    ------
    ValueError, TypeError
        For bad options, and models that are not alike.

    Warns
    -----
    ConvergenceWarning
        Where values are not reliable.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import Model
    >>> from fastrbm.likelihood import along_trajectory
    >>> models = [Model(np.full((2, 3), w), np.zeros(3), np.zeros(2)) for w in (0.0, 0.1)]
    >>> [round(float(found), 1) for found in along_trajectory(models, random_state=0)]
    [3.5, 3.6]
    """
    found = checked_trajectory("models", models)
    backend = get_backend(device, n_threads)
    for name, count in (("n_chains", n_chains), ("n_temperatures", n_temperatures)):
        check_integer(name, count)
    rows = None if data is None else checked_rows(data, found[0], "data")
    doubts = [paths.doubt_of_existence(model) for model in found]
    results = along.all_models(
        found,
        start,
        rows,
        backend=backend,
        key=Key.from_random_state(random_state),
        n_chains=n_chains,
        n_temperatures=n_temperatures,
        progress=progress,
    )
    for doubt in filter(None, doubts):
        warnings.warn(doubt, ConvergenceWarning, stacklevel=2)
    return [_doubted(one, doubt) if doubt else one for one, doubt in zip(results, doubts, strict=True)]


def _doubted(found: LogPartition, doubt: str) -> LogPartition:
    """Result of a model whose partition sum may be infinite."""
    message = "; ".join(filter(None, (found.message, doubt)))
    return replace(found, reliable=False, message=message, interval=(found.interval[0], np.inf))


def _models_to(model: Model, trajectory: Any, schedule: Any, stderr: float | None) -> list[Model]:
    """Models of a trajectory of which the last one is `model`."""
    if trajectory is None:
        raise ValueError(
            "method='trajectory' needs trajectory=, models of the training run (fastrbm.callbacks.CheckpointTrajectory "
            "keeps them), got None"
        )
    if not isinstance(schedule, str) or schedule != "adaptive" or stderr is not None:
        raise ValueError(
            "method='trajectory' spaces its models itself, so schedule must be 'adaptive' and stderr None, got "
            f"{schedule!r} and {stderr!r}"
        )
    models = checked_trajectory("trajectory", [*checked_trajectory("trajectory", trajectory), model])
    before, last = models[-2].parameters, model.parameters
    return models[:-2] + models[-1:] if all(map(np.array_equal, before, last)) else models


def _is_quick(model: Model, backend: Backend) -> bool:
    """Whether there is an exact sum that takes some seconds at most."""
    return exact.is_possible(model) and exact.choose(model).seconds(backend) <= PATIENCE
