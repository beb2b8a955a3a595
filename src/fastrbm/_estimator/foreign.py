"""Estimators of scikit-learn in model files: the usual ones as options and arrays, any other by skops.

The usual ones are made anew by the scikit-learn that is installed, from public attributes alone, so that the file is
read by other versions of it, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from .._checks import is_integer
from .._kernels.datatypes import FLOAT_TYPES
from .attributes import number_of, restored_classes, stored_classes

#: header and arrays
Form = tuple[dict[str, Any], dict[str, NDArray[Any]]]

_USUAL: dict[str, Any] = {one.__name__: one for one in (StandardScaler, LogisticRegression, MLPClassifier)}
_OF_SCALER = ("mean_", "var_", "scale_", "n_samples_seen_")
_OF_LOGISTIC = ("coef_", "intercept_", "n_iter_")
#: numbers, lists of numbers or None; some are there with some solvers only
_OF_MLP = ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_")
_INSTALL = 'pip install "fastrbm[skops]"'


class UntrustedTypes(ValueError):
    """A file names types that nobody has said to trust."""


def form_of(estimator: Any) -> Form:
    """Header and arrays of an estimator of scikit-learn, fitted or not.

    Raises
    ------
    ImportError
        If it is none of the usual ones, and skops is not installed.
    ValueError
        If skops cannot store it.
    """
    name = type(estimator).__name__
    options = _options_of(estimator) if _USUAL.get(name) is type(estimator) else None
    if options is None:
        return _by_skops(estimator)
    header: dict[str, Any] = {"sklearn": name, "options": options, "fitted": hasattr(estimator, "n_features_in_")}
    if not header["fitted"]:
        return header, {}
    if name == "StandardScaler":
        return header, {key: np.asarray(getattr(estimator, key)) for key in _OF_SCALER}
    header["objects"], classes = stored_classes(estimator.classes_)
    if name == "LogisticRegression":
        return header, {"classes": classes} | {key: np.asarray(getattr(estimator, key)) for key in _OF_LOGISTIC}
    arrays = {"classes": classes}
    for k, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        arrays |= {f"coefs_{k}": weights, f"intercepts_{k}": bias}
    header["numbers"] = {key: _plain(getattr(estimator, key)) for key in _OF_MLP if hasattr(estimator, key)}
    return header, arrays


def made(header: dict[str, Any], arrays: dict[str, NDArray[Any]], trusted: Sequence[str]) -> Any:
    """Return the estimator of a header and arrays; an error of any kind for what does not fit together."""
    if "skops" in header:
        return _from_skops(header["skops"], arrays["bytes"], trusted)
    estimator = _USUAL[header["sklearn"]]().set_params(**_rich_options(header["options"]))
    if not header["fitted"]:
        return estimator
    if isinstance(estimator, StandardScaler):
        return _set_scaler(estimator, arrays)
    classes = restored_classes(header["objects"], arrays["classes"])
    if isinstance(estimator, LogisticRegression):
        return _set_logistic(estimator, arrays, classes)
    return _set_mlp(estimator, arrays, classes, header["numbers"])


# ---- options --------------------------------------------------------------------------------------------------------


def _options_of(estimator: Any) -> dict[str, Any] | None:
    """Options that are not those by default, as JSON has them; None if some cannot be, or there is more than those."""
    if "_metadata_request" in vars(estimator):
        return None
    plain = type(estimator)().get_params(deep=False)
    found: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        value = value.item() if isinstance(value, np.generic) else value
        if name == "random_state" and not is_integer(value):
            continue  # as of the other estimators
        if isinstance(value, dict):  # weights of classes; JSON would make strings of the keys
            pairs = [[_plain(key), _plain(one)] for key, one in value.items()]
            if not all(isinstance(x, (str, int, float)) for pair in pairs for x in pair):
                return None
            found[name] = {"pairs": pairs}
        elif isinstance(value, (list, tuple, np.ndarray)):
            if not all(is_integer(one) for one in value):
                return None
            found[name] = list(map(int, value))
        elif value is not None and not isinstance(value, (bool, int, float, str)):
            return None
        elif value != plain[name] or type(value) is not type(plain[name]):
            found[name] = value
    return found


def _rich_options(plain: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            value = {key: one for key, one in value["pairs"]}
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


# ---- the usual ones -------------------------------------------------------------------------------------------------


def _floats(name: str, x: NDArray[Any], shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return the array, in the order it has: sums of products depend on it; ValueError unless it is as it must be."""
    if x.shape != shape or x.dtype != dtype or x.dtype not in FLOAT_TYPES or not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, of shape {shape} and type {dtype}, got {x.dtype} of shape {x.shape}")
    return x


def _set_scaler(scaler: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    width = (arrays["scale_"].size,)
    for name in ("mean_", "var_", "scale_"):
        setattr(scaler, name, _floats(name, arrays[name], width, np.float64))
    seen = arrays["n_samples_seen_"]
    if seen.shape not in ((), width) or seen.dtype.kind not in "if" or not (np.isfinite(seen) & (seen > 0)).all():
        raise ValueError("n_samples_seen_ must be above 0")
    if not ((scaler.scale_ > 0) & (scaler.var_ >= 0)).all():
        raise ValueError("scale_ must be above 0, and var_ not below")
    scaler.n_samples_seen_ = seen[()]
    scaler.n_features_in_ = width[0]
    return scaler.set_output(transform="default")


def _set_logistic(model: Any, arrays: dict[str, NDArray[Any]], classes: NDArray[Any]) -> Any:
    weights, passes = arrays["coef_"], arrays["n_iter_"]
    shape = (1 if len(classes) == 2 else len(classes), weights.shape[-1])
    model.coef_ = _floats("coef_", weights, shape, weights.dtype)
    model.intercept_ = _floats("intercept_", arrays["intercept_"], shape[:1], arrays["intercept_"].dtype)
    if passes.ndim != 1 or not len(passes) or passes.dtype.kind != "i" or (passes < 0).any():
        raise ValueError("n_iter_ must be whole numbers of at least 0")
    model.classes_, model.n_iter_, model.n_features_in_ = classes, passes, shape[1]
    return model


def _set_mlp(model: Any, arrays: dict[str, NDArray[Any]], classes: NDArray[Any], numbers: dict[str, Any]) -> Any:
    n_layers = sum(key.startswith("coefs_") for key in arrays)
    dtype, width = arrays["coefs_0"].dtype, len(arrays["coefs_0"])
    weights, biases, sizes = [], [], [width]
    for k in range(n_layers):
        sizes.append(arrays[f"intercepts_{k}"].size)
        weights.append(_floats(f"coefs_{k}", arrays[f"coefs_{k}"], (sizes[k], sizes[k + 1]), dtype))
        biases.append(_floats(f"intercepts_{k}", arrays[f"intercepts_{k}"], (sizes[k + 1],), dtype))
    wanted = (width, *np.atleast_1d(model.hidden_layer_sizes).tolist(), 1 if len(classes) == 2 else len(classes))
    if tuple(sizes) != wanted:
        raise ValueError(f"layers must have {wanted} units by the options, got {tuple(sizes)}")
    # a pass over one empty row of each class sets what the installed scikit-learn keeps beside its weights
    options = model.get_params(deep=False)
    quick = {"max_iter": 1, "solver": "adam", "early_stopping": False, "batch_size": "auto", "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.set_params(**quick, verbose=False, warm_start=False).fit(np.zeros((len(classes), width), dtype), classes)
    model.set_params(**options)
    model.coefs_, model.intercepts_ = weights, biases
    for name in _OF_MLP:
        vars(model).pop(name, None)
        if name in numbers:
            value = numbers[name]
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    number_of({name: one}, name)
            setattr(model, name, value)
    return model


# ---- others ---------------------------------------------------------------------------------------------------------


def _skops(what: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(f"a model file with a {what} needs skops: {_INSTALL}") from error
    return skops.io


def _by_skops(estimator: Any) -> Form:
    name = type(estimator).__name__
    io = _skops(name)
    try:
        data = io.dumps(estimator)
    except Exception as error:  # of any kind, by what the estimator holds
        raise ValueError(f"a {name} cannot be stored in a model file: {error}") from error
    return {"skops": name}, {"bytes": np.frombuffer(data, np.uint8)}


def _from_skops(name: Any, data: NDArray[Any], trusted: Sequence[str]) -> Any:
    io = _skops(str(name))
    if data.ndim != 1 or data.dtype != np.uint8:
        raise ValueError(f"the bytes of a {name} must be uint8, got {data.dtype} of shape {data.shape}")
    try:
        needed = io.get_untrusted_types(data=data.tobytes())
        missing = sorted(set(needed) - set(trusted))
        if missing:
            raise UntrustedTypes(
                f"holds a {name} with types that skops does not trust by itself: {missing}. If you know who made the "
                f"file, load(path, trusted={sorted(needed)})"
            )
        return io.loads(data.tobytes(), trusted=sorted(needed))
    except UntrustedTypes:
        raise
    except Exception as error:  # of any kind, by what is damaged
        raise ValueError(f"the {name} cannot be read ({error!r})") from error
