"""The options that all estimators share: what values they take, which exclude each other, what they mean for a fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .._checks import check_integer, check_number, is_integer
from .._fit.callback import Callback, as_callback, as_list
from .._fit.negative import Chains, Exact, FastWeights, NegativePhase, PopulationChains
from .._kernels import Rule, TrainingPlan, check_n_threads
from .._kernels.datatypes import check_float_type
from ..init import get_initializer, has_data_bias
from ..optimizers import Optimizer, get_optimizer
from ..regularizers import Regularization, Regularizer, get_regularization
from ..samplers import SAMPLERS, FastPCD, Gibbs, PopulationSampler, Sampler
from ..schedules import check_scheduled, is_schedule, value_at
from ..units import get_unit
from .validation import MONITORS

#: algorithms that are not objects of `fastrbm.samplers`
_PLAIN = ("cd", "pcd", "exact", "em")
#: chains that there may be without as many rows
_FEW_CHAINS = 256

CONSTRAINTS: dict[str, Any] = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), callable],
    "batch_size": [Interval(Integral, 1, None, closed="left"), callable],
    "n_iter": [Interval(Integral, 0, None, closed="left")],
    "steps_per_epoch": [None, Interval(Integral, 1, None, closed="left")],
    "verbose": ["verbose"],
    "algorithm": [StrOptions({*_PLAIN, *SAMPLERS}), Sampler],
    "n_gibbs_steps": [Interval(Integral, 1, None, closed="left"), callable],
    "n_chains": [None, Interval(Integral, 1, None, closed="left")],
    "optimizer": [StrOptions({"sgd", "rmsprop", "adam"}), Optimizer],
    "regularizers": [tuple, list, Regularizer],
    "centered": ["boolean"],
    "conditional": ["boolean"],
    "temperature": [Interval(Real, 0, None, closed="neither")],
    "visible_bias": [StrOptions({"zeros", "data"})],
    "random_stream": [StrOptions({"philox", "sklearn"})],
    "stochastic_input": ["boolean"],
    "shuffle": ["boolean"],
    "warm_start": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "early_stopping": ["boolean", StrOptions(set(MONITORS))],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "scoring": [StrOptions({"auto", "pseudo_likelihood", "log_likelihood"})],
    "callbacks": [tuple, list, Callback, callable],
    "strategy": [str],
    "precision": [str],
    "hidden_statistics": [StrOptions({"mean", "sampled"})],
    "device": [str],
    "n_threads": [None, Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right")],
    "input_scale": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
    "out_of_range": [StrOptions({"warn", "error", "allow"})],
}

#: names that are not looked at by a backend
_NAMES_USED = {"random_stream": {"philox", "sklearn"}, "out_of_range": {"warn", "error", "allow"}}


# -- options by themselves --------------------------------------------------------------------------------------------


def check(estimator: Any) -> None:
    """Raise ValueError or TypeError for values that scikit-learn's check by `CONSTRAINTS` lets pass."""
    for name in (
        "n_components", "batch_size", "n_iter", "steps_per_epoch", "n_gibbs_steps", "n_chains", "n_iter_no_change",
        "n_threads",
    ):  # fmt: skip
        if isinstance(getattr(estimator, name), bool):  # an Integral to Python, never meant as one
            check_integer(name, getattr(estimator, name), 0 if name == "n_iter" else 1)
    for callback in as_list(estimator.callbacks):
        as_callback(callback)
    for name in ("learning_rate", "batch_size", "n_gibbs_steps"):
        check_scheduled(name, getattr(estimator, name))
        if isinstance(getattr(estimator, name), type):
            raise ValueError(f"{name} must be a number or a schedule object, got {getattr(estimator, name)!r}")
    for name in ("learning_rate", "temperature", "input_scale"):
        value = getattr(estimator, name)
        if not is_schedule(value) and not isinstance(value, str):
            check_number(name, value, 0, include_low=False)
    get_optimizer(estimator.optimizer)
    get_regularization(estimator.regularizers)
    get_initializer(estimator.init)
    check_float_type(estimator.dtype)
    algorithm = algorithm_of(estimator)
    if isinstance(algorithm, Sampler):
        algorithm.validate()


def check_used(estimator: Any) -> None:
    """Raise ValueError for options that other methods than `fit` use, too, and that were set to what none can be."""
    check_number("temperature", estimator.temperature, 0, include_low=False)
    scale = estimator.input_scale
    if not (isinstance(scale, str) and scale == "auto"):
        check_number("input_scale", scale, 0, include_low=False, otherwise="'auto'")
    for name, allowed in _NAMES_USED.items():
        value = getattr(estimator, name)
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{name} must be one of {sorted(allowed)}, got {value!r}")
    for name in ("device", "strategy", "precision"):  # which of them there are, the backend says
        if not isinstance(getattr(estimator, name), str):
            raise ValueError(f"{name} must be a name, got {getattr(estimator, name)!r}")
    check_n_threads(estimator.n_threads)


def check_units(estimator: Any, *layers: str) -> None:
    """Raise ValueError unless these options are unit types, and the hidden layer can have its number of them."""
    for layer in layers:
        try:
            unit = get_unit(getattr(estimator, layer))
            if layer == "hidden" and is_integer(estimator.n_components):  # what else it is, the table says
                unit.check_width(int(estimator.n_components))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{layer}: {error}") from None


# -- options that exclude each other ----------------------------------------------------------------------------------


class Exclusion(NamedTuple):
    """An option that must have certain values where another one has a certain value.

    Attributes
    ----------
    option : str
        An option of estimators, a name in `_FACTS`, or "X" for the form of the rows.
    value : object
        Of `option`, where the row applies; a tuple of several; or a function that tells by the value.
    other : str
        The option that is limited then.
    allowed : object
        Its value, a tuple of several, or a function of the value that tells whether it may be.
    reason : str
        Why, as a clause that follows the condition.
    when : str
        The condition in words; by default "with option=value".
    wanted : str
        What is allowed in words; by default the values.
    """

    option: str
    value: Any
    other: str
    allowed: Any
    reason: str = ""
    when: str = ""
    wanted: str = ""


def _weighted(units: tuple[str, str]) -> bool:
    return any(get_unit(unit).weighted for unit in units)


def _has_value(given: Any, wanted: Any) -> bool:
    """Whether an option has a value, or one of a tuple of values; arrays have none of those in the table."""
    if callable(wanted):
        return bool(wanted(given))
    if isinstance(wanted, tuple) and not isinstance(given, tuple):
        return any(_has_value(given, one) for one in wanted)
    if wanted is None or isinstance(wanted, str):
        return given is wanted or (isinstance(given, str) and given == wanted)
    return isinstance(given, (bool, int, float, np.number)) and bool(given == wanted)


def _no_entries(given: Any) -> bool:
    return get_regularization(given) == Regularization()


_STEP_BY_STEP = "which repeats scikit-learn's training step by step"
_NO_CHAINS = "which has no chains"
_NEITHER = "which has neither chains nor gradients"
_PIECES = "for X that is read piece by piece"
_IN_PIECES = ("chunks", "rows on disk", "rows of several processes")
_AS_SKLEARN = {
    "algorithm": "pcd",
    "n_gibbs_steps": 1,
    "n_chains": None,
    "hidden_statistics": "mean",
    "stochastic_input": False,
    "shuffle": False,
    "warm_start": False,
    "validation_fraction": 0,
    "steps_per_epoch": None,
    "centered": False,
    "temperature": 1,
    "init": "normal",
    "visible_bias": "zeros",
}

#: All combinations of options that are refused, in the order in which they are looked at.
EXCLUSIONS = (
    Exclusion("dtype", "float64", "strategy", ("auto", "dense"), when="with dtype=float64"),
    Exclusion("dtype", "float64", "precision", "full", when="with dtype=float64"),
    Exclusion("random_stream", "sklearn", "strategy", ("auto", "dense")),
    Exclusion("random_stream", "sklearn", "precision", "full"),
    Exclusion("algorithm", "cd", "n_chains", None, "whose chains start at the data"),
    Exclusion("algorithm", "exact", "n_gibbs_steps", 1, _NO_CHAINS),
    Exclusion("algorithm", "exact", "n_chains", None, _NO_CHAINS),
    Exclusion("algorithm", "exact", "hidden_statistics", "mean", _NO_CHAINS),
    Exclusion("algorithm", "em", "n_gibbs_steps", 1, _NEITHER),
    Exclusion("algorithm", "em", "n_chains", None, _NEITHER),
    Exclusion("algorithm", "em", "hidden_statistics", "mean", _NEITHER),
    Exclusion("algorithm", "em", "optimizer", "sgd", _NEITHER),
    Exclusion("algorithm", "em", "regularizers", _no_entries, _NEITHER, wanted="()"),
    Exclusion("algorithm", "em", "centered", False, _NEITHER),
    Exclusion("algorithm", "em", "temperature", 1, _NEITHER),
    Exclusion("algorithm", "gibbs", "n_gibbs_steps", 1, "whose n_steps are the sweeps"),
    Exclusion("algorithm", "gibbs-cd", "n_gibbs_steps", 1, "whose n_steps are the sweeps"),
    Exclusion("algorithm", "gibbs-cd", "n_chains", None, "whose chains start at the data"),
    Exclusion(
        "algorithm", ("population", "exact"), "regularizers", lambda given: not get_regularization(given).dropout,
        "whose states have all units", wanted="not hold Dropout",
    ),
    Exclusion("algorithm", "population", "hidden_statistics", "mean", "whose states at the data are not drawn"),
    Exclusion("early_stopping", bool, "validation_fraction", lambda given: given > 0, "which watches held-out rows",
              when="with early_stopping", wanted="above 0"),
    Exclusion("units", _weighted, "temperature", 1, "another one would change their shape", when="for units {}"),
    Exclusion("visible", lambda unit: unit != "bernoulli", "input_scale", "auto", "whose values are states",
              when="for visible units {!r}"),
    Exclusion("visible", lambda unit: not get_unit(unit).binary, "stochastic_input", False, "which are no bits",
              when="for visible units {!r}"),
    Exclusion("algorithm", "em", "hidden", "onehot", "whose states are the components of a mixture",
              wanted="'onehot' (PottsRBM)"),
    Exclusion("algorithm", "em", "visible", has_data_bias, "which needs the inverse of their mean",
              wanted="units that init.data_bias has a formula for"),
    Exclusion("algorithm", "em", "learning_rate", lambda rate: is_schedule(rate) or rate <= 1, wanted="in (0, 1]"),
    Exclusion("algorithm", "em", "sigma", lambda sigma: not (hasattr(sigma, "rate") or _has_value(sigma, "learned")),
              "which moves weights and hidden biases only", wanted="not be learned"),
    *(Exclusion("random_stream", "sklearn", name, value, _STEP_BY_STEP) for name, value in _AS_SKLEARN.items()),
    Exclusion("random_stream", "sklearn", "optimizer", lambda given: get_optimizer(given).rule() == Rule()
              and not get_optimizer(given).n_slots(), _STEP_BY_STEP, wanted="plain 'sgd'"),
    Exclusion("random_stream", "sklearn", "regularizers", lambda given: get_regularization(given) == Regularization(),
              _STEP_BY_STEP, wanted="empty"),
    Exclusion("random_stream", "sklearn", "learning_rate", lambda given: not is_schedule(given), _STEP_BY_STEP,
              wanted="a number"),
    Exclusion("random_stream", "sklearn", "batch_size", lambda given: not is_schedule(given), _STEP_BY_STEP,
              wanted="a number"),
    Exclusion("random_stream", "sklearn", "units", lambda units: units == ("bernoulli", "bernoulli"), _STEP_BY_STEP,
              wanted="'bernoulli' in both layers"),
    Exclusion("random_stream", "sklearn", "sample_weight", None, "which has no place for it"),
    Exclusion("X", _IN_PIECES, "sample_weight", None, when=_PIECES),
    Exclusion("random_stream", "sklearn", "X", ("array", "rows on disk"), wanted="an array"),
    Exclusion("X", _IN_PIECES, "validation_fraction", 0,
              "some rows of which can be kept back and watched by a callback (fastrbm.callbacks.EarlyStopping)",
              when=_PIECES),
    Exclusion("X", "chunks", "steps_per_epoch", None,
              "whose passes all begin with the first one, so that a part of them would always be the same rows",
              when="for X in chunks"),
    Exclusion("X", "missing entries", "algorithm", ("cd", "gibbs-cd"), when="for X with missing entries (NaN)",
              wanted="'cd'"),
)  # fmt: skip


def _algorithm_name(estimator: Any) -> str:
    """Name of the algorithm as the table has it, whether it is given as a name or as an object."""
    algorithm = algorithm_of(estimator)
    if isinstance(algorithm, Gibbs):
        return "gibbs" if algorithm.persistent else "gibbs-cd"
    if isinstance(algorithm, FastPCD):
        return "fpcd"
    return "population" if isinstance(algorithm, PopulationSampler) else str(algorithm)


#: what the table says beside the options themselves
_FACTS: dict[str, Callable[[Any], Any]] = {
    "algorithm": _algorithm_name,
    "dtype": lambda estimator: None if estimator.dtype is None else np.dtype(estimator.dtype).name,
    "early_stopping": lambda estimator: bool(estimator.early_stopping),
    "units": lambda estimator: estimator.units,
    "visible": lambda estimator: estimator.units[0],
    "hidden": lambda estimator: estimator.units[1],
    "sigma": lambda estimator: getattr(estimator, "sigma", None),
}
_SHOWN = {"visible": "visible units", "hidden": "hidden units"}


@lru_cache
def _rows_about(given: frozenset[str]) -> tuple[Exclusion, ...]:
    """Rows about the form of the rows or the weights that are given, or those about options alone."""
    found = []
    for row in EXCLUSIONS:
        foreign = {row.option, row.other} & {"X", "sample_weight"}
        if foreign <= given if foreign else not given:
            found.append(row)
    return tuple(found)


def check_exclusions(estimator: Any, **given: Any) -> None:
    """Raise ValueError for the first row of the table that the options are at odds with.

    Parameters
    ----------
    estimator : BaseRBM
    **given
        The form of the rows, ``X="chunks"``, or what is no option of the estimator, ``sample_weight=``. With these the
        rows of the table about them are looked at, otherwise those about options.
    """

    def value_of(name: str) -> Any:
        if name in given:
            return given[name]
        return _FACTS[name](estimator) if name in _FACTS else getattr(estimator, name)

    for row in _rows_about(frozenset(given)):
        if not _has_value(value_of(row.option), row.value) or _has_value(value_of(row.other), row.allowed):
            continue
        raise ValueError(_refusal(estimator, row, value_of))


def _refusal(estimator: Any, row: Exclusion, value_of: Callable[[str], Any]) -> str:
    allowed = row.allowed if isinstance(row.allowed, tuple) else (row.allowed,)
    wanted = row.wanted or " or ".join(map(repr, allowed))
    shown = getattr(estimator, row.option, None) if row.option in CONSTRAINTS else None
    when = row.when.format(value_of(row.option)) if row.when else f"with {row.option}={shown!r}"
    got = getattr(estimator, row.other) if row.other in CONSTRAINTS else value_of(row.other)
    got = "some" if isinstance(got, np.ndarray) else got if row.other == "X" else repr(got)
    reason = f", {row.reason}" if row.reason else ""
    wanted = wanted if wanted.startswith("not ") else f"be {wanted}"
    return f"{_SHOWN.get(row.other, row.other)} must {wanted} {when}{reason}, got {got}"


# -- what options mean ------------------------------------------------------------------------------------------------


def algorithm_of(estimator: Any) -> Any:
    """Name ("cd", "pcd", "exact", "em") or configured sampler of the chains."""
    algorithm = estimator.algorithm
    return SAMPLERS[algorithm]() if isinstance(algorithm, str) and algorithm in SAMPLERS else algorithm


def negative_phase(estimator: Any) -> NegativePhase:
    """Where the model's half of the gradient comes from."""
    algorithm = algorithm_of(estimator)
    if isinstance(algorithm, FastPCD):
        return FastWeights(algorithm.rate, algorithm.decay)
    if isinstance(algorithm, Gibbs):
        return Chains(algorithm.persistent)
    if isinstance(algorithm, PopulationSampler):
        return PopulationChains(algorithm)
    return Exact() if algorithm == "exact" else Chains(algorithm == "pcd")


def n_slots(estimator: Any) -> int:
    """Arrays that the optimiser keeps of each parameter."""
    return get_optimizer(estimator.optimizer).n_slots()


def are_plain(estimator: Any) -> bool:
    """Whether no option of the chains, the regularisers and the gradient needs whole arrays between minibatches."""
    chains = negative_phase(estimator).plain and estimator.algorithm != "em"
    return chains and get_regularization(estimator.regularizers).in_kernels and not estimator.centered


class FirstPass(NamedTuple):
    """What options mean for a single minibatch, for which they have the values of the first pass.

    Attributes
    ----------
    plan : TrainingPlan
        With another seed, and another number of rows.
    plain : bool
        See `are_plain`.
    """

    plan: TrainingPlan
    plain: bool


def first_pass(estimator: Any) -> FirstPass:
    """What options mean for a single minibatch."""
    return FirstPass(plan_of(estimator, 0, 0, max(1, estimator.n_iter), 1), are_plain(estimator))


def compute_dtype(estimator: Any, x: Any) -> Any:
    """Type of parameters and arithmetic for rows x (None: unknown)."""
    if estimator.dtype is not None:
        return np.dtype(estimator.dtype)
    if estimator.random_stream == "sklearn":  # as scikit-learn: the type of the data
        return np.dtype(np.float32 if x.dtype == np.float32 else np.float64)
    return np.dtype(np.float32)


def batch_size_at(estimator: Any, epoch: int, n_epochs: int, n_rows: int) -> int:
    """Rows of the minibatches of a pass over `n_rows` rows: all of them at most."""
    return min(n_rows, round(value_at("batch_size", estimator.batch_size, epoch, n_epochs, 1)))


def chains_of(estimator: Any, n_epochs: int) -> int:
    """Persistent chains: as many as the largest minibatch unless told otherwise."""
    if estimator.n_chains is not None:
        return int(estimator.n_chains)
    if not is_schedule(estimator.batch_size):
        return int(estimator.batch_size)
    sizes = (value_at("batch_size", estimator.batch_size, epoch, n_epochs, 1) for epoch in range(max(1, n_epochs)))
    return max(map(round, sizes))


def chains_for(estimator: Any, n_epochs: int, n_rows: int, n_now: int | None) -> int:
    """Persistent chains for `n_rows` rows, where there are `n_now` so far.

    Where nobody has asked for a number, as many as rows are enough; those that are there stay.
    """
    wanted = chains_of(estimator, n_epochs)
    enough = wanted if estimator.n_chains is not None else min(wanted, max(n_rows, _FEW_CHAINS))
    return n_now if n_now is not None and enough <= n_now <= wanted else enough


def plan_of(estimator: Any, seed: int, epoch: int, n_epochs: int, n_rows: int) -> TrainingPlan:
    """How minibatches of a pass over `n_rows` rows are done."""
    optimizer, reg = get_optimizer(estimator.optimizer), get_regularization(estimator.regularizers)
    algorithm = algorithm_of(estimator)
    chains = isinstance(algorithm, Gibbs)
    n_sweeps = round(value_at("n_gibbs_steps", estimator.n_gibbs_steps, epoch, n_epochs, 1))
    return TrainingPlan(
        seed=seed,
        batch_size=batch_size_at(estimator, epoch, n_epochs, n_rows),
        persistent=algorithm.persistent if chains else estimator.algorithm == "pcd",
        n_sweeps=algorithm.n_steps if chains else n_sweeps,
        rate=value_at(
            "learning_rate", estimator.learning_rate, epoch, n_epochs, 0, 1 if estimator.algorithm == "em" else math.inf
        ),
        momentum=optimizer.momentum_at(epoch, n_epochs),
        stochastic_input=bool(estimator.stochastic_input),
        rule=optimizer.rule()._replace(l1=reg.l1, l2=reg.l2, clip=float(reg.clip_value)),
        sampled_hidden=estimator.hidden_statistics == "sampled",
    )
