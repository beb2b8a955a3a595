"""Estimators to model files and back."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from . import io
from ._kernels import ChainState, PackedBits, Parameters
from ._random import Key
from ._run import TrainingState
from .optimizers import SGD
from .regularizers import L2

# module and class names that a file may ask for
_KNOWN = {("estimators", "BernoulliRBM"), ("compat", "BernoulliRBM")}


def write(estimator: Any, path: str | os.PathLike[str]) -> Path:
    """Write a fitted estimator; see ``BernoulliRBM.save``."""
    check_is_fitted(estimator)
    names = ("components_", "intercept_visible_", "intercept_hidden_")
    arrays = {name: np.asarray(getattr(estimator, name)) for name in names}
    features = getattr(estimator, "feature_names_in_", None)
    header: dict[str, Any] = {
        "estimator": type(estimator).__name__,
        "module": type(estimator).__module__.rpartition(".")[2],
        "options": _plain_options(estimator),
        "input_scale": estimator.input_scale_,
        "n_iter": getattr(estimator, "n_iter_", 0),
        "history": getattr(estimator, "history_", None),
        "feature_names": None if features is None else [str(x) for x in features],
    }
    state = getattr(estimator, "_state", None)
    if state is not None:
        header["state"] = {"seed": state.key.seed, "step": state.chains.step, "epoch": state.epoch}
        if state.chains.chains is not None:
            arrays["chains"] = state.chains.chains.words
        if state.velocity is not None:
            arrays |= {f"velocity_{i}": x for i, x in enumerate(state.velocity)}
    elif hasattr(estimator, "h_samples_"):
        arrays["h_samples_"] = estimator.h_samples_
    return io.write_model(path, header, arrays)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model file written by an estimator's ``save``.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    BernoulliRBM
        Fitted; with ``warm_start=True`` its `fit` goes on as if it had never stopped.

    Raises
    ------
    ValueError
        If the file is no model file, is damaged, or is of a newer version.
    FileNotFoundError
        If it is not there.
    """
    header, arrays = io.read_model(path)
    name = (header.get("module"), header.get("estimator"))
    if name not in _KNOWN:
        raise ValueError(f"path: {path} holds a {name[1]!r}, which this fastrbm does not know")
    cls = getattr(importlib.import_module(f"{__package__}.{name[0]}"), str(name[1]))
    try:
        estimator = cls(**_options(header["options"]))
        _restore(estimator, header, arrays)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"path: {path} is a damaged model file ({error!r})") from error
    return estimator


def _restore(estimator: Any, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    weights = np.ascontiguousarray(arrays["components_"])
    parameters = Parameters(weights, arrays["intercept_visible_"], arrays["intercept_hidden_"])
    estimator.input_scale_, estimator.n_features_in_ = float(header["input_scale"]), weights.shape[1]
    chains = PackedBits(np.ascontiguousarray(arrays["chains"]), weights.shape[0]) if "chains" in arrays else None
    velocity = Parameters(*(arrays[f"velocity_{i}"] for i in range(3))) if "velocity_0" in arrays else None
    s = header.get("state") or {"seed": 0, "step": 0, "epoch": header["n_iter"]}
    state = TrainingState(parameters, velocity, ChainState(s["step"], chains), Key(s["seed"]), s["epoch"])
    estimator._publish(state)
    estimator._publish_chains(state)
    if "state" not in header:  # a scikit-learn stream cannot be continued
        del estimator._state
    if "h_samples_" in arrays:
        estimator.h_samples_ = arrays["h_samples_"]
    if header["history"] is not None:
        estimator.history_ = header["history"]
    if header["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(header["feature_names"], dtype=object)


def _plain_options(estimator: Any) -> dict[str, Any]:
    options = estimator.get_params(deep=False)
    options["callbacks"] = []
    if isinstance(options["optimizer"], SGD):
        options["optimizer"] = options["optimizer"].get_params()
    options["regularizers"] = [one.get_params() for one in options["regularizers"]]
    if options["dtype"] is not None:
        options["dtype"] = np.dtype(options["dtype"]).name
    options = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
    if not isinstance(options["random_state"], int):
        options["random_state"] = None
    json.dumps(options)  # fails here rather than half-way through a file
    return options


def _options(plain: dict[str, Any]) -> dict[str, Any]:
    options = dict(plain)
    options["callbacks"] = tuple(options["callbacks"])
    if isinstance(options["optimizer"], dict):
        options["optimizer"] = SGD(**options["optimizer"])
    options["regularizers"] = tuple(L2(**one) for one in options.get("regularizers", ()))
    if options["dtype"] is not None:
        options["dtype"] = np.dtype(options["dtype"]).type
    return options
