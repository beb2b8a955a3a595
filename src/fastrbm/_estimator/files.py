"""Estimators to model files and back."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from .._checks import is_integer
from .._fit.state import TrainingState
from .._kernels import ChainState, Parameters
from .._kernels.bits import restored, stored
from .._kernels.draws import Key
from .._kernels.maps import guard
from ..samplers import POPULATIONS
from ..units import Unit
from . import foreign, io, restoring
from .base import BaseRBM

#: (module, class) as files name them -> where the class is now. The left side never changes: files are kept.
_ESTIMATORS = {
    **{("estimators", name): "estimators" for name in ("BernoulliRBM", "IsingRBM", "PottsRBM", "RBM")},
    ("gaussian", "GaussianRBM"): "_estimator.gaussian",
    ("softmax", "SoftmaxRBM"): "_estimator.softmax",
    ("compat", "BernoulliRBM"): "compat",
    ("classifiers", "RBMClassifier"): "classifiers.features",
    ("classifiers", "FreeEnergyClassifier"): "classifiers.free_energy",
    ("classifiers", "RBMOutlierDetector"): "classifiers.outliers",
    ("classifiers", "DiscriminativeRBM"): "classifiers.discriminative",
    ("classifiers", "PatchFeatures"): "classifiers.patches",
    ("deep", "DeepBeliefNetwork"): "deep.belief",
    ("deep", "DeepBoltzmannMachine"): "deep.boltzmann",
    ("deep", "DBNClassifier"): "deep.classifier",
    ("deep", "DBNAutoencoder"): "deep.autoencoder",
}
#: modules of objects that are options, in the same way
_OPTIONS = {
    "optimizers": "optimizers",
    "regularizers": "regularizers",
    "schedules": "schedules",
    "init": "init",
    "samplers.fast": "samplers.fast",
    "samplers.gibbs": "samplers.gibbs",
    "samplers.tempering": "samplers.tempering",
    "gaussian": "_estimator.gaussian",
    "deep.augment": "deep.augment",
}
_PACKAGE = "fastrbm"
_STORED_ESTIMATORS = {(f"{_PACKAGE}.{now}", name): stored for (stored, name), now in _ESTIMATORS.items()}
_STORED_OPTIONS = {f"{_PACKAGE}.{now}": stored for stored, now in _OPTIONS.items()}

#: bytes of a value in an array that is an option
_LONGEST_LABEL = 1 << 16
#: what parts that are options have before their names
_OPTION = "option_"

#: header and arrays of a model file
Form = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class Stored(BaseRBM):
    """`save`, and what `load` needs."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a model file: parameters, options, history, and what `warm_start` needs to go on bit for bit.

        Parameters
        ----------
        path : path-like
            Written as named, usually ``*.npz``, in one step: readers find the old file or the new one, never a part. A
            file that is there keeps its permissions, a link stays a link. Callbacks and a ``random_state`` that is no
            integer are not stored.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            For folders and devices, for parameters that are not finite, and for options that are functions or objects
            of others.
        """
        return io.write_model(path, *self._form())

    def _form(self) -> Form:
        """Header and arrays of the model file."""
        self._check_fitted()
        names = ("components_", "intercept_visible_", "intercept_hidden_")
        arrays = {name: np.asarray(getattr(self, name)) for name in names}
        for name, x in arrays.items():
            if not np.isfinite(x).all():
                raise ValueError(f"{name} must be finite to be saved, got NaN or infinity")
        features = getattr(self, "feature_names_in_", None)
        header: dict[str, Any] = {
            **name_of(self),
            "options": plain_options(self),
            "input_scale": getattr(self, "input_scale_", 1.0),
            "in_range": getattr(self, "_in_range", True),
            "n_iter": getattr(self, "n_iter_", 0),
            "n_features": getattr(self, "n_features_in_", arrays["components_"].shape[1]),
            "fitted": {name: getattr(self, name) for name in self._stored if hasattr(self, name)},
            "history": getattr(self, "history_", None),
            "feature_names": None if features is None else [str(x) for x in features],
        }
        state = getattr(self, "_state", None)
        if state is not None and state.parameters.weights.shape != arrays["components_"].shape:
            state = copy.copy(state)  # units were taken away by hand
            state.slots, state.chains, state.extras = [], copy.copy(state.chains), dict(state.extras)
            state.resize(Parameters(*(arrays[name] for name in names)))
        if state is not None:
            header["state"] = {
                "seed": state.key.seed,
                "step": state.chains.step,
                "epoch": state.epoch,
                "updates": state.chains.updates,
                "slots": len(state.slots),
            }
            if state.chains.chains is not None:
                arrays["chains"] = stored(state.chains.chains)
            arrays |= {f"slot_{k}_{i}": x for k, slot in enumerate(state.slots) for i, x in enumerate(slot)}
            arrays |= {f"extra_{name}": x for name, x in state.extras.items()}
            if state.population is not None:
                kept = state.population.name
                header[kept] = state.population.numbers()
                arrays |= {f"{kept}_{name}": x for name, x in state.population.arrays().items()}
        elif hasattr(self, "h_samples_"):
            arrays["h_samples_"] = self.h_samples_
        return header, arrays

    def _restore(self, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.input_scale_ = float(header["input_scale"])
        self._in_range = bool(header.get("in_range", True))
        if not 0 < self.input_scale_ < np.inf:
            raise ValueError(f"input_scale must be above 0 and finite, got {self.input_scale_}")
        restoring.numbers_of(header, ("n_features", "n_iter"))
        for name, value in header.get("fitted", {}).items():
            if name in self._stored:
                setattr(self, name, restoring.numbers_of({name: value}, (name,))[name])
        self.n_features_in_ = int(header["n_features"])
        parameters = restoring.parameters_of(arrays, self.units)
        weights, categories = parameters.weights, self._units_per_feature()
        restoring.check_features(self.n_features_in_, weights.shape[1], header["feature_names"], categories)
        given = header.get("state") or {"seed": 0, "step": 0, "epoch": header["n_iter"], "updates": 0, "slots": 0}
        s = restoring.numbers_of(given, ("seed", "step", "epoch", "updates", "slots"))
        chains = restored(arrays["chains"], weights.shape[0]) if "chains" in arrays else None
        slots = restoring.slots_of(arrays, s["slots"], parameters)
        state = TrainingState(
            parameters, slots, ChainState(s["step"], chains, s["updates"]), Key(s["seed"]), s["epoch"]
        )
        state.extras |= restoring.extras_of(arrays, parameters)
        for name in header.keys() & POPULATIONS.keys():
            of_it = {key.removeprefix(f"{name}_"): x for key, x in arrays.items() if key.startswith(f"{name}_")}
            state.population = POPULATIONS[name].restore(header[name], of_it, weights.shape[0])
        self._publish(state)
        self._publish_chains(state)
        if "state" not in header:  # a fit by scikit-learn's draws cannot be continued
            del self._state
        if "h_samples_" in arrays:
            self.h_samples_ = arrays["h_samples_"]
        if header["history"] is not None or "state" in header:
            self.history_ = restoring.history_of(header["history"] or {})
        if header["feature_names"] is not None:
            self.feature_names_in_ = np.array(header["feature_names"], dtype=object)


class StoredParts:
    """`save` for an estimator that is made of fitted ones: one file that has their headers and arrays, too.

    An estimator tells by `_fitted_parts` which these are, and by `_own_form` what else there is; `_put_together` is
    given both. Parts, and the options that `_foreign` names, may be estimators of scikit-learn.
    """

    _foreign: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Watch what public methods read."""
        super().__init_subclass__(**options)
        guard(cls, put_back=True)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a model file: options, what was fitted, and the machines with what their ``warm_start`` needs.

        Parameters
        ----------
        path : path-like
            As of the `save` of `fastrbm.BernoulliRBM`.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            For folders and devices, for parameters that are not finite, and for options that are functions or objects
            of others.
        ImportError
            For a classifier of scikit-learn, other than its logistic regression and its networks, without skops.
        """
        return io.write_model(path, *self._form())

    def _form(self) -> Form:
        own, arrays = self._own_form()
        parts = self._fitted_parts()
        given = {name: getattr(self, name) for name in self._foreign}
        ours = (Stored, StoredParts)
        apart = {k: x for k, x in given.items() if isinstance(x, BaseEstimator) and not isinstance(x, ours)}
        options = plain_options(self, apart.keys())
        header: dict[str, Any] = {**name_of(self), "options": options, "own": own, "parts": {}}
        for name, part in (parts | {f"{_OPTION}{key}": value for key, value in apart.items()}).items():
            header["parts"][name], found = part._form() if isinstance(part, ours) else foreign.form_of(part)
            arrays |= {f"{name}/{key}": x for key, x in found.items()}
        for name, x in arrays.items():
            if x.dtype.kind == "f" and not np.isfinite(x).all():
                raise ValueError(f"{name} must be finite to be saved, got NaN or infinity")
        return header, arrays

    def _restore(self, header: dict[str, Any], arrays: dict[str, NDArray[Any]], trusted: Sequence[str]) -> None:
        parts = {}
        for name, of_part in header["parts"].items():
            found = {key.removeprefix(f"{name}/"): x for key, x in arrays.items() if key.startswith(f"{name}/")}
            if "estimator" in of_part:
                parts[name] = _made(of_part, found, name, trusted)
            else:
                parts[name] = foreign.made(of_part, found, trusted)
        for name in self._foreign:
            if _OPTION + name in parts:
                setattr(self, name, parts.pop(_OPTION + name))
        self._put_together(parts, header["own"], {key: x for key, x in arrays.items() if "/" not in key})

    def _fitted_parts(self) -> dict[str, Any]:
        """Fitted estimators by names without a slash; NotFittedError without a fit."""
        raise TypeError(f"{type(self).__name__} does not say what its parts are")

    def _own_form(self) -> Form:
        """What else was fitted, as JSON has it, and as arrays with names without a slash."""
        raise TypeError(f"{type(self).__name__} does not say what it has beside its parts")

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Set the fitted attributes; an error of any kind for what does not fit together."""
        raise TypeError(f"{type(self).__name__} cannot be put together")


def parts_of(estimator: StoredParts) -> dict[str, Any]:
    """Fitted estimators that one is made of, by names."""
    return estimator._fitted_parts()


def made_from(header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Any, trusted: Sequence[str] = ()) -> Any:
    """Estimator of the parts of a model file; ValueError for what does not fit together."""
    cls = _class_of(header.get("module"), header.get("estimator"), path)
    try:
        return _made(header, arrays, path, trusted, cls)
    except foreign.UntrustedTypes as error:
        raise ValueError(f"path: {path} {error}") from None
    except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"path: {path} is a damaged model file ({error!r})") from error


def load(path: str | os.PathLike[str], *, trusted: Sequence[str] = ()) -> Any:
    """Read a model file written by an estimator's ``save``.

    Parameters
    ----------
    path : path-like
        The model of a class of your own, derived from those of this package, needs the module that defines it to be
        imported first.
    trusted : sequence of str, default=()
        Names of types that a file of a classifier of scikit-learn may make; an error tells which ones it wants. No
        other file asks for any.

    Returns
    -------
    estimator
        Of the class that was saved, fitted; with ``warm_start=True`` its `fit` goes on as if it had never
        stopped.

    Raises
    ------
    ValueError
        If the file is no model file, is damaged, is of a newer version, or wants types that are not `trusted`.
    ImportError
        If it has a classifier of scikit-learn that skops reads, and skops is not installed.
    FileNotFoundError
        If it is not there.
    """
    if isinstance(trusted, str) or not all(isinstance(name, str) for name in trusted):
        raise TypeError(f"trusted must be a sequence of names of types, got {trusted!r}")
    header, arrays = io.read_model(path)
    return made_from(header, arrays, path, trusted)


def _made(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Any, trusted: Sequence[str], cls: Any = None
) -> Any:
    cls = cls or _class_of(header["module"], header["estimator"], path)
    estimator = cls(**_options(header["options"]))
    estimator._restore(header, arrays, *([trusted] if isinstance(estimator, StoredParts) else []))
    return estimator


def form_of(estimator: Stored) -> Form:
    """Header and arrays of the model file of an estimator."""
    return estimator._form()


def restore(estimator: Stored, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Give an estimator what a model file holds; an error of any kind for what does not fit together."""
    estimator._restore(header, arrays)


def name_of(estimator: Any) -> dict[str, str]:
    """The class of an estimator as files name it."""
    module, name = type(estimator).__module__, type(estimator).__qualname__
    return {"estimator": name, "module": _STORED_ESTIMATORS.get((module, name), module)}


def _class_of(module: Any, name: Any, path: Any) -> Any:
    """Find the class of an estimator: one of this package, or one derived from them that is imported already."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError(f"path: {path} is a damaged model file (its class is {module!r}, {name!r})")
    if (module, name) in _ESTIMATORS:
        return getattr(importlib.import_module(f"{_PACKAGE}.{_ESTIMATORS[module, name]}"), name)
    importlib.import_module(f"{_PACKAGE}.compat")  # so that all classes to derive from are there
    found: set[type] = set()
    waiting: list[type] = [Stored, StoredParts]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if (cls.__module__, cls.__qualname__) == (module, name):
            found.add(cls)
    if not found:
        raise ValueError(
            f"path: {path} holds a {name!r} of module {module!r}, which is no estimator of this fastrbm: import the "
            "module that defines it first"
        )
    return found.pop()


# ---- options ----------------------------------------------------------------------------------------------------


def plain_options(estimator: Any, without: Iterable[str] = ()) -> dict[str, Any]:
    """Options as JSON has them."""
    options = {name: value for name, value in estimator.get_params(deep=False).items() if name not in set(without)}
    if "callbacks" in options:
        options["callbacks"] = []
    if options.get("dtype") is not None:
        options["dtype"] = np.dtype(options["dtype"]).name
    if not is_integer(options["random_state"]):
        options["random_state"] = None
    return {name: _plain(name, value) for name, value in options.items()}


def _plain(name: str, value: Any) -> Any:
    """An option as JSON has it: objects of this package as their class and options."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, (tuple, list)):
        return [_plain(name, one) for one in value]
    if type(value) is dict:  # keys of JSON are strings, those of class_weight are labels
        return {"pairs": [[_plain(name, key), _plain(name, one)] for key, one in value.items()]}
    if isinstance(value, Unit):
        return value.spec
    if isinstance(value, FrozenEstimator):  # what was fitted is a part
        value = value.estimator
    if isinstance(value, (Stored, StoredParts)):
        return {**name_of(value), "unfitted": plain_options(value)}
    module = type(value).__module__
    if module in _STORED_OPTIONS and isinstance(value, BaseEstimator):
        inner = value.get_params(deep=False)
        return {
            "class": f"{_STORED_OPTIONS[module]}.{type(value).__name__}",
            "options": {key: _plain(f"{name}__{key}", one) for key, one in inner.items()},
        }
    raise ValueError(f"{name} cannot be stored in a model file: {value!r} is neither a value nor an object of fastrbm")


def _options(plain: dict[str, Any]) -> dict[str, Any]:
    options = {name: _rich(value) for name, value in plain.items()}
    if options.get("dtype") is not None:
        options["dtype"] = np.dtype(options["dtype"]).type
    return options


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_rich(one) for one in value)
    if not isinstance(value, dict):
        return value
    if "pairs" in value:
        return {_rich(key): _rich(one) for key, one in value["pairs"]}
    if "array" in value:
        dtype = np.dtype(value["dtype"])
        if dtype.hasobject or dtype.itemsize > _LONGEST_LABEL:
            raise ValueError(f"an array of type {dtype} is no option")
        return np.array(value["array"], dtype=dtype)
    if "unfitted" in value:
        return _class_of(value["module"], value["estimator"], "an option")(**_options(value["unfitted"]))
    module, _, name = value["class"].rpartition(".")
    if module not in _OPTIONS:
        raise KeyError(value["class"])
    cls = getattr(importlib.import_module(f"{_PACKAGE}.{_OPTIONS[module]}"), name)
    if not (isinstance(cls, type) and issubclass(cls, BaseEstimator)):
        raise KeyError(value["class"])
    return cls(**{key: _rich(one) for key, one in value["options"].items()})
