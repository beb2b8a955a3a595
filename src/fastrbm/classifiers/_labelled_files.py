"""A machine of features and labels to a model file and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from .._checks import check_integer
from .._estimator.attributes import columns_of, number_of, restored_classes, set_columns, stored_classes
from .._estimator.files import Form, StoredParts
from .._estimator.restoring import array_like, numbers_of, parameters_of
from .._kernels import Parameters
from .._kernels.draws import Key
from .._shown import History
from ._labelled import LabelledTraining, Machine

_STATE = ("seed", "step", "updates", "n_passes", "slots")


class StoredLabelled(StoredParts):
    """`save` for a machine of features and labels."""

    _training: LabelledTraining

    def _fitted_parts(self) -> dict[str, Any]:
        return {}

    def _own_form(self) -> Form:
        check_is_fitted(self, "components_")
        return form_of(self, self._training)

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self._training = put_together(self, own, arrays)


def form_of(fitted: Any, training: LabelledTraining) -> Form:
    """Header and arrays: the parameters that are shown, and what the training goes on from."""
    objects, classes = stored_classes(fitted.classes_)
    own = {
        **columns_of(fitted),
        "objects": objects,
        "input_scale": float(fitted.input_scale_),
        "n_iter": fitted.n_iter_,
        "history": fitted.history_,
        "state": {
            "seed": training.key.seed,
            "step": training.step,
            "updates": training.updates,
            "n_passes": training.n_passes,
            "slots": len(training.slots),
        },
    }
    names = ("components_", "intercept_visible_", "intercept_hidden_", "class_components_", "intercept_classes_")
    arrays = {name: getattr(fitted, name) for name in names} | {"classes": classes}
    for k, slot in enumerate(training.slots):
        arrays |= {f"slot_{k}_{i}": x for i, x in enumerate((*slot.features, *slot.classes))}
    return own, arrays


def put_together(fitted: Any, own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> LabelledTraining:
    """Set fitted attributes, and return what the training goes on from; an error of any kind if something is amiss."""
    features = parameters_of(arrays, ("bernoulli", "bernoulli"))
    classes = restored_classes(own["objects"], arrays["classes"])
    n_hidden, dtype = len(features.weights), features.weights.dtype
    of_classes = Parameters(
        array_like("class_components_", arrays["class_components_"], (len(classes), n_hidden), dtype),
        np.zeros(n_hidden, dtype),
        array_like("intercept_classes_", arrays["intercept_classes_"], (len(classes),), dtype),
    )
    machine = Machine(features, of_classes)
    state = numbers_of(own["state"], _STATE)
    like = (*features, *of_classes)
    slots = []
    for k in range(state["slots"]):
        names = [f"slot_{k}_{i}" for i in range(len(like))]
        parts = [array_like(name, arrays[name], x.shape, dtype) for name, x in zip(names, like, strict=True)]
        slots.append(Machine(Parameters(*parts[:3]), Parameters(*parts[3:])))
    set_columns(fitted, own)
    if fitted.n_features_in_ != features.weights.shape[1]:
        raise ValueError(f"n_features must be {features.weights.shape[1]}, got {fitted.n_features_in_}")
    fitted.components_, fitted.intercept_visible_, fitted.intercept_hidden_ = features
    fitted.class_components_, _, fitted.intercept_classes_ = of_classes
    fitted.classes_, fitted.input_scale_ = classes, number_of(own, "input_scale", np.finfo(float).tiny, 1.0)
    fitted.n_iter_ = check_integer("n_iter", own["n_iter"], 0)
    fitted.history_ = History({str(name): [x + 0 for x in column] for name, column in own["history"].items()})
    return LabelledTraining(
        machine, slots, Key(state["seed"]), state["step"], state["updates"], n_passes=state["n_passes"]
    )
