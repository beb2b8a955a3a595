"""Data that commands read: named sets and files, as rows that an estimator takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import tables

NAMED_SETS = ("digits", "mnist", "fashion-mnist")
HELP = f"digits, mnist, fashion-mnist, or a file: {tables.KNOWN}"
_LEVELS, _DARKEST = 8, 31  # bytes are of images with more levels than this, some of them brighter, or with a 255
_BLOCK = 1 << 22  # values looked at at a time
_LARGEST_WHOLE = 1 << 32  # of numbers that may be counts, or numbers of categories
_SLACK = 1e-6  # rounding of values that were scaled to [0, 1]


class Data(NamedTuple):
    """Rows as they were read.

    Attributes
    ----------
    rows : ndarray or sparse matrix
    name : str
    columns : tuple of str or None
    labels : ndarray or None
    label : str
    notes : tuple of str
    images : bool
        Whether they are grey values 0..255 of images.
    source : pathlib.Path or None
        The file.
    """

    rows: Any
    name: str
    columns: tuple[str, ...] | None = None
    labels: np.ndarray | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    images: bool = False
    source: Path | None = None


def load(options: argparse.Namespace, columns: tuple[str, ...] | None = None) -> Data:
    """Rows of the set or file that a command is given.

    Parameters
    ----------
    options : argparse.Namespace
        ``data`` and what `arguments.add_data` adds.
    columns : tuple of str or None
        Names of the columns that a model was trained on; taken from a file that has them all, unless options choose.
    """
    name, choice = options.data, tables.Choice(
        options.columns, options.drop, options.label, options.header, options.index
    )  # fmt: skip
    if name in NAMED_SETS:
        if not choice.plain:
            raise ValueError(f"--columns, --drop, --label, --header and --index are for files; got DATA {name!r}")
        return _named(name, options.data_dir, options.subset)
    if options.data_dir is not None:
        raise ValueError(f"--data-dir is for mnist and fashion-mnist only; got DATA {name!r}")
    if not tables.is_known(name):
        raise ValueError(f"DATA must be {', '.join(NAMED_SETS)} or the path of a file, {tables.KNOWN}; got {name}")
    if columns and choice.columns is None and choice.drop is None:
        table = _of_model(name, choice, columns)
    else:
        table = tables.read(name, choice)
    images = not hasattr(table.rows, "tocsr") and table.rows.dtype == np.uint8 and _are_images(table.rows)
    return Data(*table, images=images, source=tables.path_of(name))


def _of_model(name: str, choice: tables.Choice, columns: tuple[str, ...]) -> tables.Table:
    """Read the columns that a model knows, where the file has them under their names; else what the file has."""
    table = tables.read(name, choice._replace(columns="all"))
    if table.columns is None or not set(columns) <= set(table.columns):
        return tables.read(name, choice)
    places = [table.columns.index(column) for column in columns]
    return table._replace(rows=np.ascontiguousarray(table.rows[:, places]), columns=columns)


def _named(name: str, folder: str | None, subset: str) -> Data:
    from fastrbm import datasets

    if name == "digits":
        if folder is not None:
            raise ValueError("--data-dir is for mnist and fashion-mnist only; got DATA 'digits'")
        return Data(datasets.load_digits().images, name, images=True)
    read = datasets.load_mnist if name == "mnist" else datasets.load_fashion_mnist
    return Data(read(subset=subset, path=folder).images, name, images=True)


def _are_images(rows: np.ndarray) -> bool:
    seen, step = np.zeros(256, dtype=np.bool_), max(1, _BLOCK // rows.shape[1])
    for first in range(0, len(rows), step):
        seen |= np.bincount(rows[first : first + step].ravel(), minlength=256) > 0
        if seen[255] or (seen.sum() > _LEVELS and seen[_DARKEST + 1 :].any()):
            return True
    return False


def describe(data: Data, binarize: str | None = None) -> str:
    """Say what was read, and how it is made bits of, in one line."""
    rows = data.rows
    sparse = hasattr(rows, "tocsr")
    values = rows.data if sparse else rows
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        missing = values.size - finite.size
    else:
        finite, missing = values, 0
    low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
    if sparse:
        low, high = min(low, 0), max(high, 0)
    names = data.columns or ()
    shown = ", ".join(names if len(names) <= 4 else (*names[:2], "...", names[-1]))
    parts = [
        f"{rows.shape[0]} rows",
        f"{rows.shape[1]} columns{f' ({shown})' if shown else ''}",
        f"values {low:.6g}..{high:.6g}",
    ]
    if missing:
        parts.append(f"{missing} missing")
    if sparse:
        parts.append("sparse")
    if data.label:
        parts.append(f"labels in {data.label}")
    bits = "" if binarize is None else f"; as bits ({binarize})"
    return f"{data.name}: {', '.join([*parts, *data.notes])}{bits}"


# -- values -----------------------------------------------------------------------------------------------------------


def prepare(data: Data, estimator: Any, options: argparse.Namespace, *, states: bool = False) -> Any:
    """Rows in the form that an estimator takes, with one meaning: bits as bool, images as uint8 or in [0, 1].

    Estimators of Bernoulli units are told the scale (``input_scale``), and so are the models that they become; rows
    stay as they are read then.

    Parameters
    ----------
    data : Data
    estimator : BaseRBM
        Fitted or not.
    options : argparse.Namespace
        ``binarize``, ``scale`` and ``seed``.
    states : bool, default=False
        Whether values must be states of the visible layer: grey values are refused.

    Raises
    ------
    ValueError
        For values that the visible units cannot take, with the remedy.
    """
    from fastrbm import SoftmaxRBM
    from fastrbm.units import get_unit

    rows, unit = data.rows, get_unit(estimator.units[0])
    scale = options.scale
    if scale is None and not isinstance(estimator.input_scale, str):
        scale = 1 / estimator.input_scale
    categories = isinstance(estimator, SoftmaxRBM)
    if hasattr(rows, "tocsr") and unit.name != "bernoulli":
        rows = rows.toarray()
    if not categories:
        _refuse_missing(rows, data)
    if options.binarize is not None:
        rows = _binarized(rows, data, options, scale)
    elif scale is not None and unit.name == "bernoulli":
        return _in_units(rows, scale, data, estimator, options, states)
    elif scale is not None:
        rows = _scaled(rows, scale)
    elif data.images and unit.name not in ("bernoulli", "ising"):
        rows = rows if unit.support is not None or categories else _scaled(rows, 255.0)
    if unit.name == "ising":
        rows = _as_spins(rows)
    if unit.name == "bernoulli":
        rows = _as_bernoulli(rows, data, estimator, options, states)
    return rows


def _in_units(rows: Any, scale: float, data: Data, estimator: Any, options: argparse.Namespace, states: bool) -> Any:
    """Rows as they are, for an estimator that is told what they are multiplied with."""
    values = rows.data if hasattr(rows, "tocsr") else rows
    if values.dtype == np.bool_:
        return rows
    if ((values == 0) | (values == scale)).all():
        return rows.astype(np.bool_)
    if states:
        raise _grey(data)
    if not _passes(values / scale, estimator, options):
        raise ValueError(
            f"{data.name} holds values {values.min():.6g}..{values.max():.6g}{_where(data, values, scale)}, which must "
            f"lie in [0, {scale:g}] with --scale {scale:g}"
        )
    estimator.set_params(input_scale=1 / scale)
    return rows


def _passes(values: np.ndarray, estimator: Any, options: argparse.Namespace) -> bool:
    """Whether values that should lie in [0, 1] do, or may be elsewhere because that was asked for."""
    asked = getattr(options, "out_of_range", None) or estimator.out_of_range
    if asked == "allow" or getattr(options, "out_of_range", None) == "warn":
        return True
    return bool(values.min() >= -_SLACK and values.max() <= 1 + _SLACK)


def _refuse_missing(rows: Any, data: Data) -> None:
    values = rows.data if hasattr(rows, "tocsr") else rows
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    if hasattr(rows, "tocsr"):
        raise ValueError(f"{data.name} must hold finite numbers, got others among the entries of a sparse matrix")
    row, column = np.argwhere(~np.isfinite(rows))[0]
    name = data.columns[column] if data.columns else str(column)
    what = "a missing value" if np.isnan(rows[row, column]) else f"{rows[row, column]}"
    other = ", or train a SoftmaxRBM, for which it is a missing category" if np.isnan(rows[row, column]) else ""
    raise ValueError(
        f"{data.name} must hold finite numbers, got {what} in row {row} (from 0), column {name!r}: fill it in, or "
        f"leave the column out by --drop {name}{other}"
    )


def _binarized(rows: Any, data: Data, options: argparse.Namespace, scale: float | None) -> np.ndarray:
    from fastrbm import datasets

    if hasattr(rows, "tocsr"):
        rows = rows.toarray()
    if scale is not None and not _are_bits(rows):
        rows = _scaled(rows, scale)
    if rows.dtype == np.uint8 and not data.images and rows.max() > 1:
        raise _whole_numbers(data, rows)
    if rows.dtype.kind in "iu" and rows.dtype != np.uint8:
        if not _are_bits(rows):
            raise _whole_numbers(data, rows)
        rows = rows.astype(np.uint8)
    if rows.dtype.kind == "f" and (rows.min() < 0 or rows.max() > 1):
        raise _outside(data, rows)
    return datasets.binarize(rows, options.binarize, random_state=options.seed).view(np.bool_)


def _scaled(rows: Any, scale: float) -> Any:
    """Rows divided by a number, as floats."""
    return (rows if rows.dtype == np.float64 else rows.astype(np.float32)) / scale


def _are_bits(rows: Any) -> bool:
    values = rows.data if hasattr(rows, "tocsr") else rows
    return values.dtype == np.bool_ or bool(((values == 0) | (values == 1)).all())


def _as_spins(rows: np.ndarray) -> np.ndarray:
    if _are_bits(rows):  # not -1 and +1, but what they are to everyone else
        return np.where(rows == 1, 1, -1).astype(np.int8)
    return rows


def _grey(data: Data) -> ValueError:
    return ValueError(f"{data.name} holds grey values, for which there is no likelihood; add --binarize threshold")


def _as_bernoulli(rows: Any, data: Data, estimator: Any, options: argparse.Namespace, states: bool) -> Any:
    if _are_bits(rows):
        return rows.astype(np.bool_)
    if states:
        raise _grey(data)
    if rows.dtype == np.uint8 and data.images:
        # a model that was fitted to bits does not divide bytes
        return rows if getattr(estimator, "input_scale_", 0) != 1 else rows / np.float32(255)
    values = rows.data if hasattr(rows, "tocsr") else rows
    if _passes(values, estimator, options):
        if -_SLACK <= values.min() and values.max() <= 1 + _SLACK:  # sums and quotients that should be 0 or 1
            return np.clip(rows, 0, 1) if rows is values else rows.maximum(0).minimum(1)
        return rows
    if values.dtype.kind in "iu" or (values == np.rint(values)).all():
        raise _whole_numbers(data, values)
    raise _outside(data, values)


def _whole_numbers(data: Data, values: np.ndarray) -> ValueError:
    low, high = int(values.min()), int(values.max())
    if max(-low, high) > _LARGEST_WHOLE:  # numbers so large are whole in any case
        return _outside(data, values)
    scale = 255 if 15 < high <= 255 else max(high, 1)
    what = "divides grey values" if 15 < high <= 255 else "divides by the largest"
    if low < 0:
        other = "train a GaussianRBM (--model GaussianRBM)"
    else:
        other = "train a GaussianRBM, or a SoftmaxRBM if they number categories (--model SoftmaxRBM)"
        other = f"add --scale {scale}, which {what}, or {other}"
    return ValueError(
        f"{data.name} holds whole numbers {low}..{high}{_where(data, values)}, and Bernoulli units take values in "
        f"[0, 1]: {other}"
    )


def _outside(data: Data, values: np.ndarray) -> ValueError:
    return ValueError(
        f"{data.name} holds values {values.min():.6g}..{values.max():.6g}{_where(data, values)}, and Bernoulli units "
        "take values in [0, 1]: scale them (--scale X divides by X), or train a GaussianRBM (--model GaussianRBM)"
    )


def _where(data: Data, values: np.ndarray, top: float = 1) -> str:
    """Columns at fault, where they are few."""
    if values.ndim != 2:
        return ""
    columns = np.flatnonzero(((values < 0) | (values > top)).any(axis=0))
    if len(columns) == values.shape[1] or len(columns) > 3:
        return ""
    names = [repr(data.columns[k]) if data.columns else str(k) for k in columns]
    return f" in column{'s' if len(names) > 1 else ''} {', '.join(names)}"
