"""A machine's filters, its samples and its learning curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_image_shape, check_integer
from ._figures import INK, figure_of, new_figure, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_filters", "plot_learning_curve", "plot_samples"]

_DEFAULT_COUNT = 100
_GAP = "#6e6e6e"
_LABELS = {
    "pseudo_likelihood": "pseudo-likelihood (nats per image)",
    "validation_pseudo_likelihood": "validation pseudo-likelihood (nats per image)",
    "reconstruction_error": "reconstruction error",
    "log_likelihood": "log-likelihood (nats per image)",
}


def plot_filters(
    components: Any,
    shape: tuple[int, int],
    n: int | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw weight vectors as images: red is positive, blue negative, white zero, one scale for all.

    Parameters
    ----------
    components : array-like (n_components, height * width) or fitted estimator
        The weights, or an object with ``components_``.
    shape : (height, width)
        Of one image.
    n : int, optional
        How many filters, from the first on; all, at most 100, if left out.
    columns : int, optional
        Filters per line; chosen for a roughly square picture if left out.
    title : str, optional
        Heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure
        The scale ends at the 99.8th percentile of the absolute weights, so that one outlier does not pale
        the rest.

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    TypeError
        For an estimator without ``components_``.
    ImportError
        If matplotlib is missing.
    """
    if hasattr(components, "fit") and not hasattr(components, "components_"):
        raise TypeError(
            f"components must be weights or a fitted machine with components_; got {type(components).__name__}: fit "
            "it, or take its machine (rbm_, rbms_[0])"
        )
    weights = getattr(components, "components_", components)
    images = _as_images("components", np.asarray(weights, dtype=np.float64), shape, n)
    size = np.abs(images[np.isfinite(images)])
    limit = float(np.quantile(size, 0.998)) if size.size else 0.0
    limit = limit or float(size.max(initial=0.0)) or 1.0
    figure, ax = _draw_mosaic(images, columns, title, ax, cmap="RdBu_r", vmin=-limit, vmax=limit)
    bar = figure.colorbar(ax.images[-1], cax=ax.inset_axes((1.02, 0.0, 0.025, 1.0)))  # as high as the picture
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    return figure


def plot_samples(
    samples: Any,
    shape: tuple[int, int],
    n: int | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw visible states, sampled or real, as grey images.

    Parameters
    ----------
    samples : array-like (n_samples, height * width), bool, integer or floating
        Bits, probabilities in [0, 1] or grey values 0..255; other values are scaled from least to greatest.
    shape : (height, width)
        Of one image.
    n : int, optional
        How many, from the first on; all, at most 100, if left out.
    columns : int, optional
        Images per line; chosen for a roughly square picture if left out.
    title : str, optional
        Heading.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure
        White on black.

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    ImportError
        If matplotlib is missing.
    """
    samples = np.asarray(samples)
    images = _as_images("samples", samples.astype(np.float64), shape, n)
    finite = images[np.isfinite(images)]
    if not finite.size:
        raise ValueError("samples must hold numbers; got NaN or infinite ones alone")
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif samples.dtype == np.uint8:
        low, high = 0.0, 255.0
    return _draw_mosaic(images, columns, title, ax, cmap="gray", vmin=low, vmax=high)[0]


def plot_learning_curve(
    history: Any,
    *,
    metrics: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw every recorded quantity against the epoch, one panel each.

    Parameters
    ----------
    history : mapping of str to sequence, or fitted estimator
        One number per epoch under each name, or an object with such a ``history_``. "epoch" gives the
        horizontal axis if present; None and not-a-number leave gaps.
    metrics : sequence of str, optional
        What to draw; every numeric entry except "epoch" and "seconds" if left out.
    title : str, optional
        Heading.
    ax : matplotlib Axes or sequence of them, optional
        One per quantity; a new figure if left out.

    Returns
    -------
    matplotlib.figure.Figure
        Panels side by side.

    Raises
    ------
    ValueError
        If there is nothing numeric to draw, a name is unknown, or lengths or the number of axes differ.
    TypeError
        If ``history`` is neither of the two.
    ImportError
        If matplotlib is missing.
    """
    history = getattr(history, "history_", history)
    if not isinstance(history, Mapping):
        raise TypeError(f"history must be a mapping or a fitted estimator; got {type(history).__name__}")
    curves = _curves(history, metrics)
    axes: list[Axes]
    if ax is None:
        figure = new_figure((4.2 * len(curves), 2.9))
        axes = list(figure.subplots(1, len(curves), squeeze=False)[0])
    else:
        axes = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
        if len(axes) != len(curves):
            raise ValueError(f"ax must hold one Axes for each of {list(curves)}; got {len(axes)}")
        figure = figure_of(axes[0])
    for panel, (name, values) in zip(axes, curves.items(), strict=True):
        _draw_curve(panel, _epochs(history, len(values)), values, _LABELS.get(name, name.replace("_", " ")))
    if title is not None:
        figure.suptitle(title, fontsize=10) if ax is None else axes[0].set_title(title, fontsize=10)
    return figure


def _as_images(name: str, array: np.ndarray, shape: tuple[int, int], n: int | None) -> np.ndarray:
    """Return the first rows as (n, height, width)."""
    height, width = check_image_shape(shape)
    if array.ndim != 2 or array.shape[1] != height * width or len(array) == 0:
        raise ValueError(
            f"{name} must have shape (n >= 1, {height * width}) for images of {height} x {width}; got {array.shape}"
        )
    if n is None:
        n = min(len(array), _DEFAULT_COUNT)
    check_integer(f"n, the rows of {name} to draw,", n, 1, len(array))
    return array[:n].reshape(n, height, width)


def _mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """Put all images into one, a pixel of nan apart: one artist draws far faster than a hundred axes."""
    n, height, width = images.shape
    rows = math.ceil(n / columns)
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for k, image in enumerate(images):
        top, left = k // columns * (height + 1), k % columns * (width + 1)
        mosaic[top : top + height, left : left + width] = image
    return mosaic


def _draw_mosaic(
    images: np.ndarray, columns: int | None, title: str | None, ax: Axes | None, **colours: Any
) -> tuple[Figure, Axes]:
    n, height, width = images.shape
    if columns is None:
        columns = min(n, math.ceil(math.sqrt(n * height / width)))
    check_integer("columns", columns)
    zoom = math.ceil(20 / min(height, width))  # keeps the gaps, one pixel, thin beside small images
    mosaic = _mosaic(images.repeat(zoom, axis=1).repeat(zoom, axis=2), columns)
    if ax is None:
        scale = 6.0 / max(mosaic.shape)
        ax = new_figure((mosaic.shape[1] * scale + 0.6, mosaic.shape[0] * scale + 0.4)).add_subplot()
    figure = figure_of(ax)
    ax.imshow(mosaic, interpolation="nearest", **colours)
    ax.set_facecolor(_GAP)
    if rest := -n % columns:  # places after the last image: blank like the page, not filled like the gaps
        left = (columns - rest) * (width * zoom + 1) - 0.5
        top = mosaic.shape[0] - height * zoom - 0.5
        ax.fill_between([left, mosaic.shape[1] - 0.5], top, mosaic.shape[0] - 0.5, color="white", linewidth=0)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title is not None:
        ax.set_title(title, fontsize=10)
    return figure, ax


def _numbers(values: Any) -> np.ndarray | None:
    """Return a sequence as floats, None where it is not one of numbers."""
    try:
        array = np.array([math.nan if value is None else value for value in values])
    except (TypeError, ValueError):
        return None
    return array.astype(np.float64) if array.ndim == 1 and array.size and array.dtype.kind in "biuf" else None


def _curves(history: Mapping[str, Any], metrics: Sequence[str] | None) -> dict[str, np.ndarray]:
    if metrics is not None:
        unknown = [name for name in metrics if name not in history]
        if unknown:
            raise ValueError(f"metrics must be among {sorted(history)}; got {unknown}")
    names = [name for name in history if name not in ("epoch", "seconds")] if metrics is None else metrics
    curves = {name: values for name in names if (values := _numbers(history[name])) is not None}
    if not names:
        raise ValueError(
            "history must hold a list of numbers to draw; got none but passes and seconds: a fit records more with "
            "validation_fraction, early_stopping or callbacks (fastrbm.callbacks)"
        )
    if not curves or (metrics is not None and len(curves) < len(metrics)):
        found = {name: type(values).__name__ for name, values in history.items()}
        raise ValueError(f"history must hold a list of numbers for every quantity to draw; got {found}")
    return curves


def _epochs(history: Mapping[str, Any], length: int) -> np.ndarray:
    epochs = _numbers(history.get("epoch", ()))
    if epochs is None:
        return np.arange(1.0, length + 1)
    if len(epochs) != length:
        raise ValueError(f"history must hold one number per epoch ({len(epochs)}); got a list of {length}")
    return epochs


def _draw_curve(ax: Axes, epochs: np.ndarray, values: np.ndarray, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(epochs) <= 30 else None
    ax.plot(epochs, values, color=INK, linewidth=1.6, marker=marker, markersize=3.5)
    ax.set_xlabel("epoch", fontsize=9)
    ax.set_title(label, fontsize=9, loc="left")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25, linewidth=0.6)
    open_axes(ax)
