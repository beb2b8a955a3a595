"""fastrbm: restricted Boltzmann machines on native kernels.

`BernoulliRBM` takes the place of scikit-learn's; `datasets`, `callbacks`, `plot` and the command ``fastrbm`` surround
it. Heavy parts are imported when they are first used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        analysis,
        callbacks,
        classifiers,
        compat,
        datasets,
        deep,
        init,
        likelihood,
        many,
        optimizers,
        plot,
        regularizers,
        reproduce,
        samplers,
        schedules,
        streams,
        tracking,
        tuning,
        units,
    )
    from ._data.output import config_context
    from ._data.ranges import DataRangeWarning
    from ._estimator.files import load
    from ._fit.loop import DivergenceError
    from ._kernels.strategies import count_work
    from ._versions import show_versions
    from .compat import patch_sklearn, unpatch_sklearn
    from .estimators import RBM, BernoulliRBM, GaussianRBM, IsingRBM, LearnedSigma, PottsRBM, SoftmaxRBM
    from .many import fit_many
    from .model import Model
    from .optimizers import SGD, Adam, RMSprop
    from .regularizers import L1, L2, Clip, DropConnect, Dropout, MaxNorm, SparsityTarget, WeightUncertainty
    from .samplers import Gibbs, Tempering

try:
    __version__ = version("fastrbm")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

_LAZY = {
    **dict.fromkeys(
        ("RBM", "BernoulliRBM", "GaussianRBM", "IsingRBM", "LearnedSigma", "PottsRBM", "SoftmaxRBM"), "estimators"
    ),
    "config_context": "_data.output",
    "load": "_estimator.files",
    "fit_many": "many",
    "Model": "model",
    "count_work": "_kernels.strategies",
    **dict.fromkeys(("Adam", "RMSprop", "SGD"), "optimizers"),
    **dict.fromkeys(
        ("L1", "L2", "Clip", "DropConnect", "Dropout", "MaxNorm", "SparsityTarget", "WeightUncertainty"), "regularizers"
    ),
    "Gibbs": "samplers",
    "Tempering": "samplers",
    "DataRangeWarning": "_data.ranges",
    "DivergenceError": "_fit.loop",
    "patch_sklearn": "compat",
    "unpatch_sklearn": "compat",
    "show_versions": "_versions",
}
_MODULES = (
    "analysis",
    "callbacks",
    "classifiers",
    "compat",
    "datasets",
    "deep",
    "init",
    "likelihood",
    "many",
    "optimizers",
    "plot",
    "regularizers",
    "reproduce",
    "samplers",
    "schedules",
    "streams",
    "tracking",
    "tuning",
    "units",
)

__all__ = [
    "Adam",
    "BernoulliRBM",
    "Clip",
    "DataRangeWarning",
    "DivergenceError",
    "DropConnect",
    "Dropout",
    "GaussianRBM",
    "Gibbs",
    "IsingRBM",
    "L1",
    "L2",
    "LearnedSigma",
    "MaxNorm",
    "Model",
    "PottsRBM",
    "RBM",
    "RMSprop",
    "SGD",
    "SoftmaxRBM",
    "SparsityTarget",
    "Tempering",
    "WeightUncertainty",
    "__version__",
    "analysis",
    "callbacks",
    "classifiers",
    "compat",
    "config_context",
    "count_work",
    "datasets",
    "deep",
    "fit_many",
    "init",
    "likelihood",
    "load",
    "many",
    "optimizers",
    "patch_sklearn",
    "plot",
    "regularizers",
    "reproduce",
    "samplers",
    "schedules",
    "show_versions",
    "streams",
    "tracking",
    "tuning",
    "units",
    "unpatch_sklearn",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
