"""Curves over a parameter, and distributions beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_integer
from ._figures import axes_of, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_curves", "plot_distributions"]


def plot_curves(
    curves: Mapping[str, Any],
    *,
    x: str | None = None,
    y: str | None = None,
    lines: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw curves, with bars of error where they have them, and horizontal lines to compare with.

    Parameters
    ----------
    curves : mapping of str to (x, y) or (x, y, error)
        Sequences of numbers, of one length within a curve. `error` is half the length of the bar.
    x, y : str, optional
        Labels of the axes.
    lines : mapping of str to float, optional
        Horizontal lines, such as published values.
    log_x, log_y : bool, default=False
        Whether an axis is logarithmic.
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
        If there is no curve, or lengths within one differ.
    TypeError
        If `curves` is no mapping.
    ImportError
        If matplotlib is missing.
    """
    if not isinstance(curves, Mapping):
        raise TypeError(f"curves must be a mapping of names to (x, y) or (x, y, error); got {type(curves).__name__}")
    if not curves:
        raise ValueError("curves must hold at least one curve; got none")
    arrays = {}
    for name, curve in curves.items():
        parts = [np.asarray(part, dtype=np.float64) for part in curve]
        if len(parts) not in (2, 3) or any(part.ndim != 1 or len(part) != len(parts[0]) for part in parts):
            shapes = [part.shape for part in parts]
            raise ValueError(f"curves[{name!r}] must be (x, y) or (x, y, error), of one length; got shapes {shapes}")
        arrays[name] = parts
    figure, ax = axes_of(ax, (5.6, 3.6))
    for name, parts in arrays.items():
        marker = "o" if len(parts[0]) <= 40 else None
        error = parts[2] if len(parts) == 3 else None
        ax.errorbar(parts[0], parts[1], error, label=name, marker=marker, markersize=3.5, linewidth=1.5, capsize=2)
    for k, (name, value) in enumerate((lines or {}).items()):
        ax.axhline(float(value), color=str(0.25 + 0.2 * (k % 3)), linestyle=("--", ":", "-.")[k % 3], label=name)
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.legend(fontsize=8, frameon=False)
    open_axes(ax, title, x, y)
    return figure


def plot_distributions(
    values: Mapping[str, Any],
    *,
    bins: int = 60,
    x: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw histograms over one another, each with area one: free energies of data and samples, say.

    Parameters
    ----------
    values : mapping of str to sequence of float
        What is finite is counted.
    bins : int, default=60
        The same for all.
    x : str, optional
        Label of the horizontal axis.
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
        If nothing is finite.
    ImportError
        If matplotlib is missing.
    """
    check_integer("bins", bins)
    arrays = {name: np.asarray(part, dtype=np.float64).ravel() for name, part in values.items()}
    arrays = {name: part[np.isfinite(part)] for name, part in arrays.items()}
    if not arrays or not all(part.size for part in arrays.values()):
        raise ValueError(f"values must hold finite numbers under each name; got none in {list(arrays)}")
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins)
    figure, ax = axes_of(ax, (5.6, 3.4))
    for name, part in arrays.items():
        ax.hist(part, edges.tolist(), density=True, alpha=0.55, label=f"{name} ({part.size})")
    ax.set_yticks([])
    ax.legend(fontsize=8, frameon=False)
    open_axes(ax, title, x, "density")
    return figure
