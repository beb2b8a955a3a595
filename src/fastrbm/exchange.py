"""Models in the forms of other libraries, and back: scikit-learn, PyTorch's state dicts, safetensors, HDF5.

`fastrbm.deep.to_torch` and `fastrbm.deep.to_onnx` make modules and ONNX files of what `transform` computes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._estimator import files, io
from ._estimator.files import Stored
from .estimators import BernoulliRBM

__all__ = [
    "from_hdf5",
    "from_safetensors",
    "from_sklearn",
    "from_state_dict",
    "to_hdf5",
    "to_safetensors",
    "to_sklearn",
    "to_state_dict",
]

_NAMES = {"weight": "components_", "hidden_bias": "intercept_hidden_", "visible_bias": "intercept_visible_"}
_HEADER, _CHECKSUM = "fastrbm", "fastrbm_checksum"


# -- scikit-learn --------------------------------------------------------------------------------------------------


def to_sklearn(rbm: BernoulliRBM) -> Any:
    """Make scikit-learn's ``BernoulliRBM`` of a fitted one: `transform`, `gibbs`, `score_samples`, `partial_fit`.

    Parameters
    ----------
    rbm : BernoulliRBM
        Fitted, with temperature 1.

    Returns
    -------
    sklearn.neural_network.BernoulliRBM
        With copies of the parameters, and chains that stand where those of `rbm` do. ``input_scale`` is not known to
        it: it takes rows in [0, 1].

    Raises
    ------
    TypeError
        For other estimators.
    ValueError
        For another temperature.
    sklearn.exceptions.NotFittedError
        If `rbm` is not fitted.
    """
    from sklearn.neural_network import BernoulliRBM as Original
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(rbm, BernoulliRBM):
        raise TypeError(f"rbm must be a BernoulliRBM, as scikit-learn has no other, got {type(rbm).__name__}")
    check_is_fitted(rbm, "components_")
    if rbm.temperature != 1:
        raise ValueError(f"temperature must be 1, as scikit-learn's machine has none, got {rbm.temperature}")
    rate = rbm.learning_rate if isinstance(rbm.learning_rate, (int, float)) else 0.1
    size = rbm.batch_size if isinstance(rbm.batch_size, int) else 10
    made = Original(len(rbm.components_), learning_rate=rate, batch_size=size, n_iter=rbm.n_iter)
    made.random_state = rbm.random_state
    for name in _NAMES.values():
        setattr(made, name, np.array(getattr(rbm, name)))
    chains = getattr(rbm, "h_samples_", None)
    n_hidden, dtype = len(rbm.components_), rbm.components_.dtype
    made.h_samples_ = np.zeros((size, n_hidden), dtype) if chains is None else np.array(chains, dtype)
    made.random_state_ = np.random.RandomState(rbm.random_state if isinstance(rbm.random_state, int) else None)
    made.n_features_in_ = made.components_.shape[1]
    made._n_features_out = n_hidden
    if hasattr(rbm, "feature_names_in_"):
        made.feature_names_in_ = rbm.feature_names_in_
    return made


def from_sklearn(machine: Any, **options: Any) -> BernoulliRBM:
    """Make a `BernoulliRBM` of scikit-learn's.

    Parameters
    ----------
    machine : sklearn.neural_network.BernoulliRBM
        With its `components_` and intercepts, if it is fitted.
    **options
        Of `BernoulliRBM`, in the place of those that `machine` has.

    Returns
    -------
    BernoulliRBM
        With the options of `machine`, and copies of its parameters: what needs a fitted estimator can be called, and
        `partial_fit` goes on with the parameters.

    Raises
    ------
    TypeError
        For other objects.
    """
    from sklearn.neural_network import BernoulliRBM as Original

    if not isinstance(machine, Original) or isinstance(machine, BernoulliRBM):
        raise TypeError(f"machine must be a BernoulliRBM of scikit-learn, got {machine!r}")
    known = machine.get_params(deep=False)
    made = BernoulliRBM(**{**known, "input_scale": 1.0, **options})
    if hasattr(machine, "components_"):
        _set_parameters(made, {name: getattr(machine, name) for name in _NAMES.values()})
        if hasattr(machine, "feature_names_in_"):
            made.feature_names_in_ = machine.feature_names_in_
    return made


# -- PyTorch -------------------------------------------------------------------------------------------------------


def to_state_dict(rbm: Any) -> dict[str, Any]:
    """Make tensors of the parameters of a fitted RBM, by the names that PyTorch's layers have.

    Parameters
    ----------
    rbm : fitted RBM

    Returns
    -------
    dict of torch.Tensor
        "weight" (n_hidden, n_visible), "hidden_bias", "visible_bias", and "sigma" of Gaussian visible units: copies on
        the CPU.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError('to_state_dict needs PyTorch: pip install "fastrbm[torch]"') from error
    found = {name: torch.from_numpy(np.array(getattr(rbm, own))) for name, own in _NAMES.items()}
    if hasattr(rbm, "sigma_"):
        found["sigma"] = torch.from_numpy(np.array(rbm.sigma_, rbm.components_.dtype))
    return found


def from_state_dict(state: Mapping[str, Any], rbm: Any) -> Any:
    """Give an RBM the parameters of a state dict.

    Parameters
    ----------
    state : mapping
        As of `to_state_dict`; tensors of any device, or arrays.
    rbm : RBM
        Not fitted, for its options; `n_components` becomes that of the weights. A `GaussianRBM` takes "sigma" as its
        option.

    Returns
    -------
    RBM
        A clone with the parameters.

    Raises
    ------
    ValueError
        For names that are missing or unknown, and shapes that do not go together.
    """
    from sklearn.base import clone

    missing, unknown = _NAMES.keys() - state.keys(), state.keys() - {*_NAMES, "sigma"}
    if missing or unknown:
        raise ValueError(f"state must have {sorted(_NAMES)} and, of Gaussian units, 'sigma', got {sorted(state)}")
    arrays = {own: _as_array(state[name]) for name, own in _NAMES.items()}
    made = clone(rbm).set_params(n_components=len(arrays["components_"]))
    if "sigma" in state:
        made.set_params(sigma=_as_array(state["sigma"]).astype(np.float64))
    _set_parameters(made, arrays)
    return made


def _as_array(x: Any) -> NDArray[Any]:
    return np.array(x.detach().cpu().numpy() if hasattr(x, "detach") else x)


def _set_parameters(rbm: Any, arrays: Mapping[str, Any]) -> None:
    weights, hidden, visible = (np.array(arrays[name]) for name in _NAMES.values())
    if weights.ndim != 2 or hidden.shape != weights.shape[:1] or visible.shape != weights.shape[1:]:
        raise ValueError(
            "weights must have shape (n_hidden, n_visible), and biases (n_hidden,) and (n_visible,), got "
            f"{weights.shape}, {hidden.shape} and {visible.shape}"
        )
    for x in (weights, hidden, visible):
        if x.dtype.kind != "f" or not np.isfinite(x).all():
            raise ValueError(f"parameters must be finite floats, got {x.dtype}")
    rbm.components_, rbm.intercept_hidden_, rbm.intercept_visible_ = weights, hidden, visible
    rbm.n_features_in_ = weights.shape[1]


# -- files of others -----------------------------------------------------------------------------------------------


def to_safetensors(rbm: Stored, path: str | os.PathLike[str]) -> Path:
    """Write a fitted RBM to a safetensors file: all that a model file has, under the same names.

    Parameters
    ----------
    rbm : fitted RBM
    path : path-like
        Written in one step.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ImportError
        If safetensors is not installed.
    """
    save = _needed("safetensors.numpy", "to_safetensors", "safetensors", "exchange").save
    header, arrays = _form(rbm)
    text, checksum = io.seal(header, arrays)
    # every tensor has a shape and lies in one piece
    whole = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in arrays.items()}
    with io.replaced(path) as file:
        file.write(save(whole, metadata={_HEADER: text, _CHECKSUM: checksum}))
    return Path(path)


def from_safetensors(path: str | os.PathLike[str]) -> Any:
    """Read what `to_safetensors` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    RBM
        Fitted, as `fastrbm.load` has it.

    Raises
    ------
    ValueError
        For other files, and those that are damaged.
    ImportError
        If safetensors is not installed.
    """
    safetensors = _needed("safetensors", "from_safetensors", "safetensors", "exchange")
    path = Path(path)
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            found = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    except FileNotFoundError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"path: {path} is not a safetensors file ({error})") from error
    return _opened(path, found.get(_HEADER), found.get(_CHECKSUM), arrays)


def to_hdf5(rbm: Stored, path: str | os.PathLike[str]) -> Path:
    """Write a fitted RBM to an HDF5 file: all that a model file has, under the same names.

    Parameters
    ----------
    rbm : fitted RBM
    path : path-like
        Written in one step.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ImportError
        If h5py is not installed.
    """
    h5py = _needed("h5py", "to_hdf5", "h5py", "io")
    header, arrays = _form(rbm)
    text, checksum = io.seal(header, arrays)
    with io.replaced(path) as file, h5py.File(file, "w") as target:
        target.create_dataset(_HEADER, data=np.frombuffer(text.encode("utf-8"), np.uint8))
        target.attrs[_CHECKSUM] = checksum
        for name, x in arrays.items():
            target.create_dataset(f"arrays/{name}", data=x)
    return Path(path)


def from_hdf5(path: str | os.PathLike[str]) -> Any:
    """Read what `to_hdf5` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    RBM
        Fitted, as `fastrbm.load` has it.

    Raises
    ------
    ValueError
        For other files, and those that are damaged.
    ImportError
        If h5py is not installed.
    """
    h5py = _needed("h5py", "from_hdf5", "h5py", "io")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path: there is no file {path}")
    try:
        with h5py.File(path, "r") as source:
            text = bytes(_dataset(h5py, source, _HEADER)).decode("utf-8")
            checksum = str(source.attrs[_CHECKSUM])
            arrays = {name: _dataset(h5py, source, f"arrays/{name}") for name in source["arrays"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"path: {path} is not a fastrbm model in HDF5 ({error})") from error
    return _opened(path, text, checksum, arrays)


def _dataset(h5py: Any, source: Any, name: str) -> NDArray[Any]:
    """Array that lies in the file as it is: no link, no other file, nothing that unpacks to more than there is."""
    found = source[name] if source.get(name, getlink=True).__class__ is h5py.HardLink else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external or found.dtype.hasobject:
        raise ValueError(f"{name} is no array of the file")
    if found.size and found.id.get_storage_size() != found.size * found.dtype.itemsize:
        raise ValueError(f"{name} is packed, which files of models are not")
    x: NDArray[Any] = found[()] if found.shape else np.asarray(found[()])
    return x


def _form(rbm: Any) -> files.Form:
    if not isinstance(rbm, Stored):
        raise TypeError(f"rbm must be an RBM of fastrbm, got {type(rbm).__name__}")
    return files.form_of(rbm)


def _opened(path: Path, text: str | None, checksum: str | None, arrays: dict[str, NDArray[Any]]) -> Any:
    if text is None:
        raise ValueError(f"path: {path} has no model of fastrbm")
    return files.made_from(io.unseal(path, text, checksum, arrays), arrays, path)


def _needed(module: str, function: str, package: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{function} needs {package}: pip install "fastrbm[{extra}]"') from error
