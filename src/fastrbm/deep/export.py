"""Features and classifiers for other libraries: PyTorch modules and ONNX files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.utils.validation import check_is_fitted

from .._estimator.fitting import Fitting
from ..classifiers import RBMClassifier
from ..estimators import SoftmaxRBM
from ._finetuned import FineTuned
from ._network import ACTIVATIONS
from .autoencoder import DBNAutoencoder
from .belief import DeepBeliefNetwork

_OPSET, _IR = 17, 8  # of ONNX: what runtimes from 2022 on read
_OF_MLP = {"logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "identity": "identity"}
_ONNX_NODES = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softmax": "Softmax"}


class _Step(NamedTuple):
    """Outputs activation(x weights' + bias)."""

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: str


def to_torch(estimator: Any) -> Any:
    """Make a PyTorch module with the outputs of a fitted estimator, to the rounding of float32.

    Parameters
    ----------
    estimator : fitted estimator
        - An RBM with Bernoulli, Ising, Gaussian or "onehot" hidden units, a `DeepBeliefNetwork` of such, or a
          `DBNAutoencoder`: the module computes what `transform` does.
        - A `DBNClassifier`, or a `fastrbm.classifiers.RBMClassifier` on means with logistic regression or an
          `MLPClassifier`: `predict_proba`.

    Returns
    -------
    torch.nn.Sequential
        Of float32, on the CPU. It takes rows as floats, in the scale of the data; for an estimator that was fitted to
        uint8 images divide them by 255. Its parameters are copies, and can be trained on.

    Raises
    ------
    TypeError
        For other estimators.
    ImportError
        If PyTorch is not installed.
    """
    steps = _steps(estimator)
    try:
        import torch
    except ImportError as error:
        raise ImportError('to_torch needs PyTorch: pip install "fastrbm[torch]"') from error
    kinds: dict[str, Any] = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    modules: list[Any] = []
    for step in steps:
        linear = torch.nn.Linear(step.weights.shape[1], step.weights.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(step.weights.astype(np.float32)))
            linear.bias.copy_(torch.from_numpy(step.bias.astype(np.float32)))
        modules.append(linear)
        if step.activation == "softmax":
            modules.append(torch.nn.Softmax(dim=1))
        elif step.activation in kinds:
            modules.append(kinds[step.activation]())
    return torch.nn.Sequential(*modules).eval()


def to_onnx(estimator: Any, path: str | os.PathLike[str]) -> Path:
    """Write an ONNX file with the outputs of a fitted estimator, to the rounding of float32.

    The graph is of Gemm, Sigmoid (Tanh, Relu) and Softmax nodes, opset 17. Its input "X" has any number of rows of
    float32, as `to_torch` says. Its outputs are "features", or "probabilities" and "label" of classifiers.

    Parameters
    ----------
    estimator : fitted estimator
        As of `to_torch`.
    path : path-like

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError
        For other estimators, and for labels that are neither integers nor strings.
    ImportError
        If onnx is not installed.
    """
    steps, classes = _steps(estimator), getattr(estimator, "classes_", None)
    if classes is not None and classes.dtype.kind not in "biuUO":
        raise TypeError(f"labels must be integers or strings for an ONNX file, got dtype {classes.dtype}")
    try:
        import onnx
    except ImportError as error:
        raise ImportError('to_onnx needs onnx: pip install "fastrbm[onnx]"') from error
    make, types = onnx.helper, onnx.TensorProto
    nodes, tensors, name = [], [], "X"
    last = "features" if classes is None else "probabilities"
    for k, step in enumerate(steps):
        for kind, values in (("W", step.weights), ("b", step.bias)):
            tensors.append(onnx.numpy_helper.from_array(values.astype(np.float32), f"{kind}{k}"))
        end = last if k == len(steps) - 1 else f"layer{k}"
        plain = step.activation == "identity"
        sums = end if plain else f"sums{k}"
        nodes.append(make.make_node("Gemm", [name, f"W{k}", f"b{k}"], [sums], transB=1))
        if not plain:
            nodes.append(make.make_node(_ONNX_NODES[step.activation], [sums], [end]))  # softmax: of the last axis
        name = end
    outputs = [make.make_tensor_value_info(last, types.FLOAT, ["n", len(steps[-1].bias)])]
    if classes is not None:
        strings = classes.dtype.kind in "UO"
        if strings:
            labels: Any = [str(one).encode() for one in classes.tolist()]
            tensors.append(make.make_tensor("classes", types.STRING, [len(labels)], labels))
        else:
            tensors.append(onnx.numpy_helper.from_array(classes.astype(np.int64), "classes"))
        nodes.append(make.make_node("ArgMax", [last], ["best"], axis=1, keepdims=0))
        nodes.append(make.make_node("Gather", ["classes", "best"], ["label"]))
        outputs.append(make.make_tensor_value_info("label", types.STRING if strings else types.INT64, ["n"]))
    inputs = [make.make_tensor_value_info("X", types.FLOAT, ["n", steps[0].weights.shape[1]])]
    graph = make.make_graph(nodes, type(estimator).__name__, inputs, outputs, tensors)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", _OPSET)], producer_name="fastrbm")
    model.ir_version = _IR
    onnx.checker.check_model(model)
    onnx.save(model, os.fspath(path))
    return Path(path)


# ---- estimators as steps ----------------------------------------------------------------------------------------


def _steps(estimator: Any) -> list[_Step]:
    """What an estimator computes, lowest first."""
    if isinstance(estimator, FineTuned):
        return _of_network(estimator)
    if isinstance(estimator, DeepBeliefNetwork):
        check_is_fitted(estimator)
        return [_of_rbm(rbm) for rbm in estimator.rbms_]
    if isinstance(estimator, RBMClassifier):
        return _of_classifier(estimator)
    if isinstance(estimator, Fitting):
        return [_of_rbm(estimator)]
    raise TypeError(
        "estimator must be an RBM, DeepBeliefNetwork, DBNClassifier, DBNAutoencoder or RBMClassifier to be exported, "
        f"got {type(estimator).__name__}"
    )


def _of_rbm(rbm: Any) -> _Step:
    activation = ACTIVATIONS.get(rbm.units[1]) or ("softmax" if rbm.units[1] == "onehot" else "")
    if isinstance(rbm, SoftmaxRBM) or not activation:
        raise TypeError(
            "estimator must have Bernoulli, Ising, Gaussian or 'onehot' hidden units, and be no SoftmaxRBM, to be "
            f"exported, got {type(rbm).__name__} with units {rbm.units}"
        )
    model = rbm.model_
    scale = 1.0 / np.asarray(getattr(rbm, "sigma_", 1.0), np.float64)
    if rbm.units[0] == "bernoulli" and not isinstance(rbm.input_scale, str):
        scale = np.asarray(rbm.input_scale, np.float64)
    return _Step(model.weights.astype(np.float64) * scale, model.hidden_bias.astype(np.float64), activation)


def _of_network(estimator: FineTuned) -> list[_Step]:
    check_is_fitted(estimator)
    layers = estimator.network_.layers
    if isinstance(estimator, DBNAutoencoder):
        layers = layers[: estimator.n_encoder_layers_]
    steps = [
        _Step(layer.parameters.weights.astype(np.float64), layer.parameters.hidden_bias.astype(np.float64), kind)
        for layer in layers
        for kind in [layer.activation]
    ]
    values = estimator.values_
    weights = steps[0].weights / values.deviation * values.float_factor
    shift = steps[0].weights @ (values.centre / values.deviation)
    return [steps[0]._replace(weights=weights, bias=steps[0].bias - shift), *steps[1:]]


def _of_classifier(estimator: RBMClassifier) -> list[_Step]:
    check_is_fitted(estimator)
    below = _of_rbm(estimator.rbm_)
    if estimator.n_features_in_ + len(below.bias) == len(estimator.get_feature_names_out()):
        raise TypeError("features must be 'means' or 'samples' to be exported, got 'means+inputs'")
    steps = _of_head(estimator.classifier_)
    if estimator.scaler_ is not None:
        first, scaler = steps[0], estimator.scaler_
        weights = first.weights / scaler.scale_
        steps[0] = first._replace(weights=weights, bias=first.bias - weights @ scaler.mean_)
    return [below, *steps]


def _of_head(head: Any) -> list[_Step]:
    if isinstance(head, LogisticRegression):
        if head.solver == "liblinear" and len(head.classes_) > 2:
            raise TypeError("LogisticRegression with solver='liblinear' is one against the rest: take another solver")
        return [_softmax_of(head.coef_, head.intercept_)]
    if isinstance(head, MLPClassifier) and head.out_activation_ in ("softmax", "logistic"):
        layers = list(zip(head.coefs_, head.intercepts_, strict=True))
        if head.out_activation_ == "softmax" or len(layers[-1][1]) == 1:
            inner = [_Step(w.T.astype(np.float64), b, _OF_MLP[head.activation]) for w, b in layers[:-1]]
            return [*inner, _softmax_of(layers[-1][0].T, layers[-1][1])]
    raise TypeError(
        f"classifier must be a LogisticRegression or an MLPClassifier of one label to be exported, got {head!r}"
    )


def _softmax_of(weights: NDArray[Any], bias: NDArray[Any]) -> _Step:
    """The last layer; that of two classes, which has one output, as a softmax of two."""
    if len(weights) == 1:
        weights, bias = (np.concatenate([np.zeros_like(x), x]) for x in (weights, bias))
    return _Step(weights.astype(np.float64), bias.astype(np.float64), "softmax")
