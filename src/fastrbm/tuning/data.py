"""Rows that models of a search are trained on, and rows that they are chosen by."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn.model_selection import train_test_split

from .._checks import check_number


class Split(NamedTuple):
    """Rows and labels.

    Attributes
    ----------
    X, y
        To train on.
    X_val, y_val
        Held out.
    """

    X: Any
    y: Any
    X_val: Any
    y_val: Any

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same when a search goes on."""
        return {"rows": list(_shape(self.X)), "held_out_rows": list(_shape(self.X_val))}


def _shape(X: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in X.shape) if hasattr(X, "shape") else (len(X),)


def split(X: Any, y: Any, X_val: Any, y_val: Any, fraction: Any, metric: Any, seed: int) -> Split:
    """Take the given held-out rows, or hold some out, always the same ones for a seed.

    Raises
    ------
    ValueError
        For labels that are missing or of another number, and a fraction that leaves no rows.
    """
    if metric == "accuracy" and y is None:
        raise ValueError("y must be given for metric='accuracy', got None")
    for labels, rows, name in ((y, X, "y"), (y_val, X_val, "y_val")):
        if labels is not None and rows is None:
            raise ValueError(f"X_val must be given with {name}, got None")
        if labels is not None and len(labels) != _shape(rows)[0]:
            raise ValueError(f"{name} must have a label for each of {_shape(rows)[0]} rows, got {len(labels)}")
    if X_val is not None:
        if metric == "accuracy" and y_val is None:
            raise ValueError("y_val must be given with X_val for metric='accuracy', got None")
        return Split(X, y, X_val, y_val)
    check_number("validation_fraction", fraction, 0, 1, include_low=False, include_high=False)
    if y is None:
        seen, held = train_test_split(X, test_size=float(fraction), random_state=seed)
        return Split(seen, None, held, None)
    stratify = y if metric == "accuracy" else None
    seen, held, y_seen, y_held = train_test_split(X, y, test_size=float(fraction), random_state=seed, stratify=stratify)
    return Split(seen, y_seen, held, y_held)
