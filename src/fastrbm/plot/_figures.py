"""What all pictures share: making, closing and writing figures, and their plain look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "axes_of", "close", "figure_of", "new_figure", "open_axes", "save_png"]

INK = "#1f4e79"


def save_png(figure: Figure, path: str | os.PathLike[str], dpi: float = 150) -> Path:
    """Write a figure as PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : path-like
        Overwritten if it exists; missing folders are made. Must end in ``.png``.
    dpi : float, default=150
        Dots per inch.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ValueError
        If ``path`` has another ending.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path must end in .png; got {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, format="png", facecolor="white", metadata={"Software": "fastrbm"})
    return path


def close(figure: Figure) -> None:
    """Take a figure from pyplot's list, so that its memory is free; figures that are not on it are left alone.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    """
    from matplotlib import pyplot

    pyplot.close(figure)


def new_figure(size: tuple[float, float]) -> Figure:
    """Make a figure of pyplot; ImportError with the remedy where matplotlib is missing."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('plotting needs matplotlib: pip install "fastrbm[plot]"') from error
    return pyplot.figure(figsize=size, layout="constrained")


def figure_of(ax: Any) -> Figure:
    """Return the figure that axes are on; TypeError for what are none."""
    figure = getattr(ax, "figure", None)
    if figure is None:
        raise TypeError(f"ax must be a matplotlib Axes on a figure; got {type(ax).__name__}")
    return getattr(figure, "figure", figure)  # of a sub-figure, the whole


def axes_of(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return a figure and its axes: those that are given, or new ones of that size in inches."""
    if ax is None:
        ax = new_figure(size).add_subplot()
    return figure_of(ax), ax


def open_axes(ax: Axes, title: str | None = None, x: str | None = None, y: str | None = None) -> None:
    """Give axes the look of all pictures here: open above and to the right, small letters."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=8)
    if title is not None:
        ax.set_title(title, fontsize=10)
    if x is not None:
        ax.set_xlabel(x, fontsize=9)
    if y is not None:
        ax.set_ylabel(y, fontsize=9)
