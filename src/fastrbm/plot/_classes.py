"""Pictures that need labels: mistakes of a classifier, features in the plane, hidden states class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_flag, check_integer
from ._figures import axes_of, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_activations", "plot_confusion_matrix", "plot_embedding", "plot_hidden_states"]


def plot_confusion_matrix(
    y_true: Any, y_pred: Any, *, names: Any = None, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw how often each class is taken for each other one, by `sklearn.metrics.ConfusionMatrixDisplay`.

    Parameters
    ----------
    y_true, y_pred : array-like, shape (n,)
        Classes as they are and as they were predicted.
    names : sequence of str, optional
        Of the classes, in sorted order.
    title : str, optional
        Heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure
        Rows are true classes.

    Raises
    ------
    ValueError
        If lengths differ, or there is not one name for each class.
    ImportError
        If matplotlib is missing.
    """
    from sklearn.metrics import ConfusionMatrixDisplay
    from sklearn.utils.multiclass import unique_labels

    if names is not None:
        names = _names(names, unique_labels(y_true, y_pred))
    figure, ax = axes_of(ax, (5.4, 4.8))
    rotation = 45.0 if names is not None else 0.0
    ConfusionMatrixDisplay.from_predictions(
        y_true,
        y_pred,
        display_labels=names,
        ax=ax,
        cmap="Blues",
        colorbar=False,
        xticks_rotation=rotation,
        text_kw={"fontsize": 7},
    )
    ax.tick_params(labelsize=8)
    if title is not None:
        ax.set_title(title, fontsize=10)
    return figure


def plot_embedding(
    points: Any, y: Any, *, names: Any = None, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw points of the plane in the colour of their class, with its name at the median of each class.

    Parameters
    ----------
    points : array-like, shape (n, 2)
        Such as `sklearn.manifold.TSNE` makes of features.
    y : array-like, shape (n,)
        Classes.
    names : sequence of str, optional
        Of the classes, in sorted order; the classes themselves if left out.
    title : str, optional
        Heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If shapes do not belong together.
    ImportError
        If matplotlib is missing.
    """
    points, y = np.asarray(points, dtype=np.float64), np.asarray(y)
    if points.ndim != 2 or points.shape[1] != 2 or y.shape != (len(points),):
        raise ValueError(f"points must have shape (n, 2) and y (n,); got {points.shape} and {y.shape}")
    classes = np.unique(y)
    labels = _names(names, classes)
    figure, ax = axes_of(ax, (5.6, 5.2))
    ax.scatter(points[:, 0], points[:, 1], 3, np.searchsorted(classes, y), cmap="tab10", alpha=0.6, linewidths=0)
    for label, one in zip(labels, classes, strict=True):
        middle = np.median(points[y == one], axis=0)
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
        ax.text(middle[0], middle[1], label, fontsize=9, ha="center", va="center", bbox=box)
    ax.set_xticks([])
    ax.set_yticks([])
    open_axes(ax, title)
    return figure


def plot_hidden_states(
    hidden: Any, y: Any, *, n_most: int = 12, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw how often each class has each of the states of the hidden layer that are met most often.

    Parameters
    ----------
    hidden : array-like, shape (n, n_hidden)
        Means of binary or one-hot hidden units, or their states; a mean of at least one half, or the largest of one-hot
        units, is taken for the state.
    y : array-like, shape (n,)
        Classes.
    n_most : int, default=12
        How many states; all others are taken together in a last group.
    title : str, optional
        Heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure
        A group of bars for each state, one bar for each class; a state is written as its bits, in groups of four, where
        it has at most sixteen, and as its number among the most frequent otherwise.

    Raises
    ------
    ValueError
        If shapes do not belong together.
    ImportError
        If matplotlib is missing.
    """
    check_integer("n_most", n_most)
    hidden, y = np.asarray(hidden), np.asarray(y)
    if hidden.ndim != 2 or not len(hidden) or y.shape != (len(hidden),):
        raise ValueError(f"hidden must have shape (n, n_hidden) and y (n,); got {hidden.shape} and {y.shape}")
    states = hidden >= 0.5
    if hidden.shape[1] > 1 and np.allclose(hidden.sum(axis=1), 1, atol=1e-4):  # one-hot
        states = hidden == hidden.max(axis=1, keepdims=True)
    found, index, counts = np.unique(states, axis=0, return_inverse=True, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:n_most]
    classes = np.unique(y)
    index = index.reshape(-1)
    table = np.array([[np.mean(index[y == one] == state) for state in most] for one in classes])
    table = np.column_stack((table, 1 - table.sum(axis=1)))
    labels = [_state_name(found[state], rank) for rank, state in enumerate(most)] + ["others"]
    figure, ax = axes_of(ax, (1.5 + 0.55 * len(labels), 3.4))
    width = 0.8 / len(classes)
    for k, one in enumerate(classes):
        ax.bar(np.arange(len(labels)) + (k - (len(classes) - 1) / 2) * width, table[k], width, label=str(one))
    ax.set_xticks(range(len(labels)), labels, rotation=60 if len(labels[0]) > 4 else 0)
    ax.legend(fontsize=8, frameon=False)
    open_axes(ax, title, "hidden state", "share of the class")
    return figure


def plot_activations(
    hidden: Any,
    y: Any,
    *,
    names: Any = None,
    sort: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw how active each hidden unit is for each class, as a table of grey squares.

    Parameters
    ----------
    hidden : array-like, shape (n, n_hidden)
        Means of the hidden units.
    y : array-like, shape (n,)
        Classes.
    names : sequence of str, optional
        Of the classes, in sorted order; the classes themselves if left out.
    sort : bool, default=True
        Whether units are ordered by the class they are most active for.
    title : str, optional
        Heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If shapes do not belong together.
    ImportError
        If matplotlib is missing.
    """
    check_flag("sort", sort)
    hidden, y = np.asarray(hidden, dtype=np.float64), np.asarray(y)
    if hidden.ndim != 2 or not len(hidden) or y.shape != (len(hidden),):
        raise ValueError(f"hidden must have shape (n, n_hidden) and y (n,); got {hidden.shape} and {y.shape}")
    classes = np.unique(y)
    labels = _names(names, classes)
    means = np.array([hidden[y == one].mean(axis=0) for one in classes])
    if sort:
        means = means[:, np.lexsort((-means.max(axis=0), means.argmax(axis=0)))]
    figure, ax = axes_of(ax, (6.4, 0.8 + 0.3 * len(classes)))
    shown = ax.imshow(means, aspect="auto", interpolation="nearest", cmap="Greys")
    ax.set_yticks(range(len(labels)), labels)
    figure.colorbar(shown, ax=ax, pad=0.01).ax.tick_params(labelsize=7)
    open_axes(ax, title, "hidden unit" + (", by the class it is most active for" if sort else ""))
    return figure


def _names(names: Any, classes: np.ndarray) -> list[str]:
    labels = [str(name) for name in (classes if names is None else names)]
    if len(labels) != len(classes):
        raise ValueError(f"names must hold one name for each of {len(classes)} classes; got {len(labels)}")
    return labels


def _state_name(state: np.ndarray, rank: int) -> str:
    if len(state) > 16:
        return str(rank + 1)
    bits = "".join(str(int(bit)) for bit in state)
    return " ".join(bits[k : k + 4] for k in range(0, len(bits), 4))
