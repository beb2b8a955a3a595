"""The options all estimators share: signature, checks, and what they mean for a fit."""

from __future__ import annotations

import inspect
import math
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from .._fit.callback import as_callback
from .._fit.negative import Chains, Exact, FastWeights, NegativePhase, TemperedChains
from .._kernels import Backend, TrainingPlan, get_backend
from .._kernels.draws import Key
from ..init import get_initializer
from ..optimizers import Optimizer, get_optimizer
from ..regularizers import get_regularization
from ..samplers import FastPCD, Tempering
from ..schedules import check_scheduled, is_schedule, value_at
from .validation import MONITORS

_DTYPES = {np.dtype(np.float32), np.dtype(np.float64)}
_NAMED = {"fpcd": FastPCD, "pt": Tempering}


class RBMOptions(BaseEstimator):
    """Constructor options; subclasses may add theirs and pass the others on as ``**options``."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), callable],
        "batch_size": [Interval(Integral, 1, None, closed="left"), callable],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "steps_per_epoch": [None, Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "algorithm": [StrOptions({"cd", "pcd", "fpcd", "pt", "exact", "em"}), FastPCD, Tempering],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left"), callable],
        "n_chains": [None, Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions({"sgd", "rmsprop", "adam"}), Optimizer],
        "regularizers": [tuple, list],
        "centered": ["boolean"],
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
        "callbacks": [tuple, list],
        "strategy": [str],
        "precision": [str],
        "hidden_statistics": [StrOptions({"mean", "sampled"})],
        "device": [str],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "out_of_range": [StrOptions({"error", "allow"})],
    }

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Any = 0.1,
        batch_size: Any = 10,
        n_iter: int = 10,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
        algorithm: Any = "pcd",
        n_gibbs_steps: Any = 1,
        n_chains: int | None = None,
        strategy: str = "auto",
        precision: str = "full",
        hidden_statistics: str = "mean",
        optimizer: Any = "sgd",
        regularizers: Any = (),
        centered: bool = False,
        init: Any = "normal",
        visible_bias: str = "zeros",
        temperature: float = 1.0,
        random_stream: str = "philox",
        stochastic_input: bool = False,
        shuffle: bool = True,
        warm_start: bool = False,
        validation_fraction: float = 0.0,
        early_stopping: bool | str = False,
        n_iter_no_change: int = 5,
        tol: float = 0.0,
        scoring: str = "auto",
        callbacks: Any = (),
        device: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
        out_of_range: str = "error",
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.steps_per_epoch = steps_per_epoch
        self.verbose = verbose
        self.random_state = random_state
        self.algorithm = algorithm
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.strategy = strategy
        self.precision = precision
        self.hidden_statistics = hidden_statistics
        self.optimizer = optimizer
        self.regularizers = regularizers
        self.centered = centered
        self.init = init
        self.visible_bias = visible_bias
        self.temperature = temperature
        self.random_stream = random_stream
        self.stochastic_input = stochastic_input
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scoring = scoring
        self.callbacks = callbacks
        self.device = device
        self.n_threads = n_threads
        self.dtype = dtype
        self.out_of_range = out_of_range

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a constructor with ``**options`` the signature of all its options, for scikit-learn and for readers."""
        super().__init_subclass__(**options)
        init: Any = vars(cls).get("__init__")
        if init is None:
            return
        own = inspect.signature(init).parameters.values()
        if not any(p.kind == p.VAR_KEYWORD for p in own):
            return
        merged = {p.name: p for p in own if p.kind != p.VAR_KEYWORD}
        inherited = inspect.signature(super(cls, cls).__init__).parameters.values()
        merged |= {p.name: p for p in inherited if p.name not in merged}
        init.__signature__ = inspect.Signature(list(merged.values()))

    # -- checks -----------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        """Everything that can be said about the options before the data are seen."""
        self._validate_params()
        for name in (
            "n_components", "batch_size", "n_iter", "steps_per_epoch", "n_gibbs_steps", "n_chains", "n_iter_no_change",
            "n_threads",
        ):  # fmt: skip
            if isinstance(getattr(self, name), (bool, np.bool_)):  # an Integral to Python, never meant as one
                raise ValueError(f"{name} must be an integer, got {getattr(self, name)!r}")
        for callback in self.callbacks:
            as_callback(callback)
        for name in ("learning_rate", "batch_size", "n_gibbs_steps"):
            check_scheduled(name, getattr(self, name))
            if isinstance(getattr(self, name), type):
                raise ValueError(f"{name} must be a number or a schedule object, got {getattr(self, name)!r}")
        for name in ("learning_rate", "temperature"):
            value = getattr(self, name)
            if not is_schedule(value) and not np.isfinite(value):
                raise ValueError(f"{name} must be a positive finite number, got {value!r}")
        get_optimizer(self.optimizer)
        get_regularization(self.regularizers)
        get_initializer(self.init)
        self._backend()
        if self.dtype is not None and not (_is_dtype(self.dtype) and np.dtype(self.dtype) in _DTYPES):
            raise ValueError(f"dtype must be None, numpy.float32 or numpy.float64, got {self.dtype!r}")
        self._check_kernel_options()
        self._check_algorithm()
        if self.early_stopping and self.validation_fraction == 0:
            raise ValueError("validation_fraction must be above 0 with early_stopping, which watches held-out rows")

    def _check_kernel_options(self) -> None:
        for name, anywhere in (("strategy", ("auto", "dense")), ("precision", ("full",))):
            value, wanted = getattr(self, name), " or ".join(map(repr, anywhere))
            if value in anywhere:
                continue
            if self.dtype is not None and np.dtype(self.dtype) != np.float32:
                raise ValueError(f"{name} must be {wanted} with dtype=float64, got {value!r}")
            if self.random_stream == "sklearn":
                raise ValueError(f"{name} must be {wanted} with random_stream='sklearn', got {value!r}")

    def _check_algorithm(self) -> None:
        if self.algorithm == "cd" and self.n_chains is not None:
            raise ValueError(
                f"n_chains must be None with algorithm='cd', whose chains start at the data, got {self.n_chains!r}"
            )
        if self.algorithm in ("exact", "em"):
            # options that say how chains run have nothing to act on
            unused: dict[str, Any] = {"n_gibbs_steps": 1, "n_chains": None, "hidden_statistics": "mean"}
            reason = "has no chains"
            if self.algorithm == "em":
                unused |= {"optimizer": "sgd", "regularizers": (), "centered": False, "temperature": 1}
                reason = "has neither chains nor gradients"
            for name, wanted in unused.items():
                given = getattr(self, name)
                if given != wanted and not (name == "regularizers" and len(given) == 0):
                    raise ValueError(
                        f"{name} must be {wanted!r} with algorithm={self.algorithm!r}, which {reason}, got {given!r}"
                    )
        algorithm = self._algorithm()
        if not isinstance(algorithm, str):
            algorithm.validate()
        if get_regularization(self.regularizers).dropout and (isinstance(algorithm, Tempering) or algorithm == "exact"):
            raise ValueError(
                f"regularizers must not hold Dropout with algorithm={self.algorithm!r}, whose states have all units"
            )
        if isinstance(algorithm, Tempering) and self.hidden_statistics != "mean":
            raise ValueError(
                f"hidden_statistics must be 'mean' with parallel tempering, got {self.hidden_statistics!r}"
            )

    # -- meaning ----------------------------------------------------------------------------------------------

    def _backend(self) -> Backend:
        return get_backend(self.device, self.n_threads, self.strategy, self.precision, self._work)

    def _work(self) -> int | None:
        """Multiply-adds of one layer for one minibatch, by which device="auto" decides; None before data are seen.

        One number for everything an estimator does, so that it stays on one device.
        """
        n_visible = getattr(self, "n_features_in_", None)
        return None if n_visible is None else n_visible * self.n_components * self._n_chains(self.n_iter)

    def _compute_dtype(self, x: Any) -> Any:
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if self.random_stream == "sklearn":  # as scikit-learn: the type of the data
            return np.dtype(np.float32 if x.dtype == np.float32 else np.float64)
        return np.dtype(np.float32)

    def _algorithm(self) -> Any:
        """Name ("cd", "pcd", "exact", "em") or configured sampler of the chains."""
        return _NAMED[self.algorithm]() if self.algorithm in _NAMED else self.algorithm

    def _negative(self) -> NegativePhase:
        algorithm = self._algorithm()
        if isinstance(algorithm, Tempering):
            return TemperedChains(algorithm)
        if isinstance(algorithm, FastPCD):
            return FastWeights(algorithm.rate, algorithm.decay)
        if algorithm == "em":
            return Chains(False)
        return Exact() if algorithm == "exact" else Chains(algorithm == "pcd")

    def _batch_size_at(self, epoch: int, n_epochs: int) -> int:
        return round(value_at("batch_size", self.batch_size, epoch, n_epochs, 1))

    def _n_chains(self, n_epochs: int) -> int:
        """Persistent chains: as many as the largest minibatch unless told otherwise."""
        if self.n_chains is not None:
            return self.n_chains
        if not is_schedule(self.batch_size):
            return int(self.batch_size)
        return max(self._batch_size_at(epoch, n_epochs) for epoch in range(max(1, n_epochs)))

    def _plan(self, seed: int, epoch: int, n_epochs: int) -> TrainingPlan:
        """How minibatches of a pass are done."""
        optimizer, reg = get_optimizer(self.optimizer), get_regularization(self.regularizers)
        return TrainingPlan(
            seed,
            self._batch_size_at(epoch, n_epochs),
            self.algorithm == "pcd",
            round(value_at("n_gibbs_steps", self.n_gibbs_steps, epoch, n_epochs, 1)),
            value_at(
                "learning_rate", self.learning_rate, epoch, n_epochs, 0, 1 if self.algorithm == "em" else math.inf
            ),
            optimizer.momentum_at(epoch, n_epochs),
            bool(self.stochastic_input),
            optimizer.rule()._replace(l1=reg.l1, l2=reg.l2, clip=float(reg.clip_value)),
            self.hidden_statistics == "sampled",
        )

    def _check_random_state(self) -> None:
        Key.check(self.random_state)


def _is_dtype(value: Any) -> bool:
    try:
        np.dtype(value)
    except TypeError:
        return False
    return True
