"""Options of a machine with labels, and the parameters that training begins with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_flag, check_integer, check_number, warn_user
from .._data.bits import VisibleData
from .._data.columns import frequencies, means
from .._data.split import Split
from .._kernels import Parameters
from .._kernels.datatypes import FLOAT_TYPES
from .._kernels.draws import Key
from ..init import Xavier, data_bias, get_initializer
from ..optimizers import get_optimizer
from ..schedules import check_scheduled, is_schedule
from ._labelled import Machine

OBJECTIVES = ("hybrid", "discriminative", "generative")
_SECOND = 7  # of the key of the weights of classes


def check_options(options: Any) -> None:
    """Raise ValueError for options that cannot be used."""
    for name in ("n_components", "batch_size", "n_gibbs_steps", "n_iter_no_change"):
        check_integer(name, getattr(options, name))
    check_integer("n_iter", options.n_iter, 0)
    if options.objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {list(OBJECTIVES)}, got {options.objective!r}")
    for name in ("generative_weight", "unlabelled_weight", "tol"):
        check_number(name, getattr(options, name), 0)
    check_scheduled("learning_rate", options.learning_rate)
    if not is_schedule(options.learning_rate):
        check_number("learning_rate", options.learning_rate, 0, include_low=False)
    check_number("validation_fraction", options.validation_fraction, 0, 1, include_high=False)
    for name in ("early_stopping", "shuffle", "warm_start"):
        check_flag(name, getattr(options, name))
    if options.early_stopping and not options.validation_fraction:
        raise ValueError(
            "early_stopping=True needs rows to watch: validation_fraction must be above 0, got "
            f"{options.validation_fraction!r}"
        )
    if options.out_of_range not in ("warn", "error", "allow"):
        raise ValueError(f"out_of_range must be 'warn', 'error' or 'allow', got {options.out_of_range!r}")
    if options.device not in ("auto", "cpu", "reference"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'reference', got {options.device!r}")
    if options.dtype is not None and np.dtype(options.dtype) not in FLOAT_TYPES:
        raise ValueError(f"dtype must be None, float32 or float64, got {options.dtype!r}")
    Key.check(options.random_state)
    get_optimizer(options.optimizer).validate()


def starting(
    options: Any, data: VisibleData, split: Split, codes: NDArray[np.int64], weight: NDArray[Any] | None, key: Key
) -> Machine:
    """Parameters that training begins with; `codes` are numbers of ``options.classes_``."""
    dtype, n_classes, n_hidden = data.dtype, len(options.classes_), options.n_components
    initial, units = get_initializer(options.init), ("bernoulli", "bernoulli")
    initial.validate()
    of_features = initial.weights(n_hidden, data.shape[1], key, units)
    of_classes = Xavier().weights(n_classes, n_hidden, key.fold_in(_SECOND), units)
    trained = np.arange(len(codes)) if split.trained is None else split.trained
    shares = np.bincount(codes[trained], None if weight is None else weight[trained], n_classes)
    visible = of_features.visible_bias
    if visible is None:
        of_columns = (
            means(data, split, weight) if data.bits is None or weight is not None else frequencies(data.bits[trained])
        )
        visible = data_bias(np.clip(of_columns, 0, 1))
    hidden = np.zeros(n_hidden) if of_features.hidden_bias is None else of_features.hidden_bias
    biases = np.log(np.maximum(shares / shares.sum(), 0.5 / len(codes)))
    found = (of_features.weights, visible, hidden), (of_classes.weights, np.zeros(n_hidden), biases)
    return Machine(*(Parameters(*(np.ascontiguousarray(x, dtype) for x in part)) for part in found))


def warn_of_unlabelled(classes: NDArray[Any]) -> None:
    """Warn where -1 stands beside classes 0, 1, ...: elsewhere it marks rows without a label, here it is a class."""
    if classes.dtype.kind == "i" and len(classes) > 2 and classes[0] == -1 and classes[1] >= 0:
        warn_user(
            "y holds -1, which is a class like the others here: rows without a label are given as unlabelled=",
            UserWarning,
        )
