"""What is searched: ranges and choices of options, by default those that suit an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from sklearn.base import clone

from .. import classifiers, deep, estimators
from ..optimizers import SGD
from ..units import get_unit

Space = dict[str, Any]

_FORMS = '(low, high), (low, high, "log"), a list of choices, or a distribution of Optuna'
_PLAIN = (type(None), bool, int, float, str)  # choices that a storage keeps as they are


def _of_bits(estimator: Any) -> Space:
    space = {
        "n_components": (16, 512, "log"),
        "learning_rate": (0.005, 0.5, "log"),
        "batch_size": [16, 32, 64, 128, 256],
        "n_gibbs_steps": (1, 10, "log"),
        "visible_bias": ["zeros", "data"],
    }
    if getattr(estimator, "random_stream", None) == "sklearn":  # scikit-learn has one step, and biases of zeros
        del space["n_gibbs_steps"], space["visible_bias"]
    return space


def _of_spins(estimator: Any) -> Space:
    return _of_bits(estimator) | {"learning_rate": (0.001, 0.2, "log")}


def _of_mixtures(estimator: Any) -> Space:
    space = {
        "n_components": (8, 256, "log"),
        "learning_rate": (0.02, 1.0, "log"),
        "batch_size": [32, 64, 128, 256, 512],
        "visible_bias": ["zeros", "data"],
    }
    return space if estimator.algorithm == "em" else space | {"n_gibbs_steps": (1, 5)}


def _of_numbers(_: Any) -> Space:
    return {
        "n_components": (16, 512, "log"),
        "learning_rate": (0.0005, 0.05, "log"),
        "batch_size": [32, 64, 128, 256],
        "n_gibbs_steps": (1, 5),
    }


def _of_categories(estimator: Any) -> Space:
    space = _of_bits(estimator)
    space.pop("visible_bias", None)
    return space


def _of_any(estimator: Any) -> Space:
    unit = get_unit(estimator.units[0])
    if estimator.units[1] == "onehot":
        return _of_mixtures(estimator) if unit.binary else _of_numbers(estimator)
    return _of_bits(estimator) if unit.binary else _of_numbers(estimator)


def _of_labelled(estimator: Any) -> Space:
    plain = estimator.optimizer == "sgd" or isinstance(estimator.optimizer, SGD)
    return {
        "n_components": (64, 2048, "log"),
        "learning_rate": (0.01, 0.5, "log") if plain else (0.0005, 0.05, "log"),
        "generative_weight": (1e-4, 1.0, "log"),
        "batch_size": [16, 32, 64, 128, 256],
    }


def _of_parts(estimator: Any) -> Space:
    """The space of the machine that the estimator has a copy of, with its prefix."""
    rbm = estimators.BernoulliRBM() if estimator.rbm is None else estimator.rbm
    return {f"rbm__{name}": choices for name, choices in default_space(rbm).items()}


def _of_features(estimator: Any) -> Space:
    space = _of_parts(estimator) | {"features": ["means", "means+inputs"], "scale": [True, False]}
    if estimator.classifier == "logistic":
        space["classifier__C"] = (0.001, 10.0, "log")
    return space


def _of_fine_tuning(_: Any) -> Space:
    return {
        "learning_rate": (1e-4, 1e-2, "log"),
        "hidden_dropout": (0.0, 0.6),
        "weight_decay": (1e-5, 1.0, "log"),
        "batch_size": [32, 64, 128, 256],
        "activation": ["auto", "relu"],
    }


_SPACES: dict[type, Callable[[Any], Space]] = {
    estimators.BernoulliRBM: _of_bits,
    estimators.IsingRBM: _of_spins,
    estimators.PottsRBM: _of_mixtures,
    estimators.GaussianRBM: _of_numbers,
    estimators.SoftmaxRBM: _of_categories,
    estimators.RBM: _of_any,
    classifiers.DiscriminativeRBM: _of_labelled,
    classifiers.RBMClassifier: _of_features,
    classifiers.FreeEnergyClassifier: _of_parts,
    deep.DBNClassifier: _of_fine_tuning,
}


def register_space(cls: type, space: Mapping[str, Any] | Callable[[Any], Space]) -> None:
    """Say what a search of estimators of a class, and of its subclasses, goes through by default.

    Parameters
    ----------
    cls : type
    space : dict or callable
        A space, or a function of the estimator that returns one.
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a class, got {cls!r}")
    if not (callable(space) or isinstance(space, Mapping)):
        raise TypeError(f"space must be a dict or a function of the estimator, got {space!r}")
    _SPACES[cls] = space if callable(space) else lambda _, kept=dict(space): dict(kept)  # type: ignore[misc]


def default_space(estimator: Any) -> Space:
    """Options that a search goes through if it is not told any.

    Parameters
    ----------
    estimator : RBM
        Of any class that `register_space` knows, or a subclass.

    Returns
    -------
    dict
        Ranges and choices by name; change it as you like and give it to `Search`.

    Raises
    ------
    ValueError
        If there is none for the class.

    Examples
    --------
    >>> from fastrbm import BernoulliRBM
    >>> from fastrbm.tuning import default_space
    >>> space = default_space(BernoulliRBM()) | {"n_components": [64, 128]}
    >>> space["learning_rate"]
    (0.005, 0.5, 'log')
    """
    for cls in type(estimator).__mro__:
        if cls in _SPACES:
            return dict(_SPACES[cls](estimator))
    raise ValueError(
        f"space must be given for a {type(estimator).__name__}: there is a default for "
        f"{', '.join(sorted(cls.__name__ for cls in _SPACES))} (register_space adds others)"
    )


class Searched(NamedTuple):
    """A space as Optuna has it.

    Attributes
    ----------
    distributions : dict
        Distributions of Optuna by name.
    choices : dict of dict
        Values by their labels, of options whose choices a storage does not keep.
    """

    distributions: dict[str, Any]
    choices: dict[str, dict[str, Any]]

    def values(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        """Options of an estimator that a trial stands for."""
        return {name: self.choices[name][x] if name in self.choices else x for name, x in suggested.items()}


def searched(space: Any, estimator: Any, optuna: Any) -> Searched:
    """Check a space and put it in Optuna's terms.

    Parameters
    ----------
    space : dict or None
    estimator : RBM
        Whose options it names.
    optuna : module

    Raises
    ------
    ValueError, TypeError
        For names that are no options, and for what is neither a range nor a list of choices.
    """
    if space is None:
        space = default_space(estimator)
    if not isinstance(space, Mapping):
        raise TypeError(f"space must be a dict of options, got {space!r}")
    if not space:
        raise ValueError("space must hold at least one option, got none")
    known = estimator.get_params(deep=True)
    distributions, choices = {}, {}
    for name, given in space.items():
        if name not in known and not _takes(estimator, name, given):
            raise ValueError(
                f"space must name options of {type(estimator).__name__}, got {name!r}; there are {', '.join(known)}"
            )
        if isinstance(given, optuna.distributions.BaseDistribution):
            distributions[name] = given
        elif isinstance(given, list):
            values = _labelled(name, given)
            if values is not None:
                choices[name] = values
            distributions[name] = optuna.distributions.CategoricalDistribution(
                given if values is None else list(values)
            )
        else:
            distributions[name] = _range(name, given, optuna)
    return Searched(distributions, choices)


def _takes(estimator: Any, name: str, given: Any) -> bool:
    """Whether options of a part can be set that the estimator makes when it is asked for: those of ``rbm=None``."""
    if "__" not in name:
        return False
    try:
        clone(estimator).set_params(**{name: given[0] if isinstance(given, (list, tuple)) and given else None})
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _labelled(name: str, values: list[Any]) -> dict[str, Any] | None:
    """Choices by the texts that stand for them; None where they stand for themselves."""
    if not values:
        raise ValueError(f"space[{name!r}] must have choices, got an empty list")
    if all(isinstance(x, _PLAIN) for x in values):
        return None
    labels = {x if isinstance(x, str) else repr(x): x for x in values}
    if len(labels) < len(values):
        raise ValueError(f"space[{name!r}] must have choices that repr() tells apart, got {values!r}")
    return labels


def _range(name: str, given: Any, optuna: Any) -> Any:
    scaled = isinstance(given, tuple) and len(given) == 3 and given[2] == "log"
    if not isinstance(given, tuple) or not (scaled or len(given) == 2):
        raise ValueError(f"space[{name!r}] must be {_FORMS}, got {given!r}")
    low, high = given[:2]
    for end in (low, high):
        if not isinstance(end, Real) or isinstance(end, bool) or not math.isfinite(end):
            raise ValueError(f"space[{name!r}] must have finite numbers as ends (choices are a list), got {given!r}")
    if not low <= high or (scaled and low <= 0):
        above = " and above 0 for 'log'" if scaled else ""
        raise ValueError(f"space[{name!r}] must have a low end that is at most the high one{above}, got {given!r}")
    if isinstance(low, Integral) and isinstance(high, Integral):
        return optuna.distributions.IntDistribution(int(low), int(high), log=scaled)
    return optuna.distributions.FloatDistribution(float(low), float(high), log=scaled)
