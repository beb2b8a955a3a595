"""Tables from files: text, NumPy and SciPy arrays, parquet, HDF5."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import text

TEXT = (".csv", ".tsv", ".tab", ".txt")
HDF5 = (".h5", ".hdf5", ".hdf")
KNOWN = ".npy, .npz, .csv(.gz), .tsv(.gz), .parquet or .h5:dataset"
_INDEX_NAMES = ("", "index", "__index_level_0__", "Unnamed: 0")
_LABEL_NAMES = ("label", "labels", "class", "target", "species")


class Choice(NamedTuple):
    """Which columns of a table are used: the options --columns, --drop, --label, --header and --index."""

    columns: str | None = None
    drop: str | None = None
    label: str | None = None
    header: bool | None = None
    numbered: bool | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing is chosen."""
        return self == Choice()


class Table(NamedTuple):
    """Rows of numbers and what is known of them.

    Attributes
    ----------
    rows : ndarray or scipy.sparse matrix, two-dimensional
    name : str
        For messages.
    columns : tuple of str or None
        Names of the columns.
    labels : ndarray or None
        Values of the column that --label names, and
    label : str
        its name.
    notes : tuple of str
        What was found and left out, for the line that says what was read.
    """

    rows: Any
    name: str
    columns: tuple[str, ...] | None = None
    labels: np.ndarray | None = None
    label: str = ""
    notes: tuple[str, ...] = ()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within the block errors of other libraries about a damaged file become one line that names it."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # polars', which is no Exception
        if not (panic or isinstance(error, Exception)) or _names(error, path):
            raise
        raise ValueError(f"{path} cannot be read: {_short(error)}") from error


def _names(error: BaseException, path: Path) -> bool:
    """Whether an error says itself, in a way meant for users, which file it is about."""
    return isinstance(error, (ValueError, OSError)) and str(path) in str(error)


@contextmanager
def _silent() -> Iterator[None]:
    """Within the block nothing is printed on stderr: Rust reports a panic there before Python hears of it."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def read(name: str, choice: Choice) -> Table:
    """Read a table.

    Parameters
    ----------
    name : str
        Path of a file; that of an HDF5 file may have ``:dataset`` behind it.
    choice : Choice

    Raises
    ------
    ValueError
        For a file that cannot be read, or columns that are not there or not numbers.
    OSError
        If there is no such file.
    ImportError
        For a format whose library is missing.
    """
    path, dataset = _split_dataset(name)
    if path.is_dir():
        raise IsADirectoryError(f"DATA must be a file; {path} is a folder")
    with reading(path):
        if path.suffix in HDF5:
            return _of_array(_read_hdf5(path, dataset), path, choice)
        if path.suffix == ".parquet":
            return _read_parquet(path, choice)
        if (path.with_suffix("") if path.suffix == ".gz" else path).suffix in TEXT:
            return _read_text(path, choice)
        if path.suffix == ".npz":
            return _of_array(_read_npz(path), path, choice)
        return _of_array(np.load(path, allow_pickle=False), path, choice)


def is_known(name: str) -> bool:
    """Whether the end of a name is that of a file that can be read."""
    path, _ = _split_dataset(name)
    inner = path.with_suffix("") if path.suffix == ".gz" else path
    return path.suffix in (".npy", ".npz", ".parquet", *HDF5) or inner.suffix in TEXT


def path_of(name: str) -> Path:
    """Path of the file that a name of DATA stands for."""
    return _split_dataset(name)[0]


def _split_dataset(name: str) -> tuple[Path, str]:
    for ending in HDF5:
        head, found, dataset = name.partition(ending + ":")
        if found:
            return Path(head + ending), dataset
    return Path(name), ""


# -- formats ----------------------------------------------------------------------------------------------------------


def _read_hdf5(path: Path, dataset: str) -> np.ndarray:
    try:
        import h5py
    except ImportError as error:
        raise ImportError('HDF5 files need h5py: pip install "fastrbm[io]"') from error
    with h5py.File(path, "r") as file:
        found: list[str] = []
        file.visititems(lambda key, item: found.append(key) if isinstance(item, h5py.Dataset) else None)
        if not dataset:
            tables = [key for key in found if len(file[key].shape or ()) in (2, 3)]
            if len(tables) != 1:
                raise ValueError(f"{path} must be given as {path}:DATASET with one of its data sets, {found}")
            dataset = tables[0]
        if dataset.strip("/") not in found:
            raise ValueError(f"{path} must have a data set {dataset!r}, got {found}")
        return np.asarray(file[dataset][()])


def _read_npz(path: Path) -> Any:
    if not zipfile.is_zipfile(path) and path.exists():
        raise ValueError(f"{path} must be an archive of arrays, got another or a damaged file")
    with np.load(path, allow_pickle=False) as archive:
        if "format" in archive.files and "shape" in archive.files:
            from scipy import sparse

            return sparse.load_npz(path).tocsr()
        if "header" in archive.files:
            raise ValueError(f"{path} must hold data, got a model file")
        names = [key for key in ("X", "images") if key in archive.files] or archive.files
        if len(names) != 1:
            raise ValueError(f"{path} must hold one array, or one named X or images; got {archive.files}")
        return archive[names[0]]


def _read_parquet(path: Path, choice: Choice) -> Table:
    try:
        import polars as pl
    except ImportError as error:
        raise ImportError('parquet files need polars: pip install "fastrbm[io]"') from error
    with _silent():
        frame = pl.read_parquet(path)
    if frame.is_empty():
        raise ValueError(f"{path} must hold rows of numbers, got {frame.shape}")
    names = tuple(frame.columns)
    kept, label, notes = _select(names, names[0] in _INDEX_NAMES and len(names) > 1, choice, path)
    labels = None if label is None else frame[:, label].to_numpy()
    kept_columns = [frame[:, k] for k in kept]
    for column in kept_columns:
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean or column.dtype == pl.Null):
            raise _no_numbers(path, column.name, str(column.dtype))
    rows = np.column_stack([column.cast(pl.Float64).to_numpy() for column in kept_columns])
    return _finish(rows, path, names, kept, label, labels, choice, notes)


def _read_text(path: Path, choice: Choice) -> Table:
    content = text.content(path)
    layout = text.layout_of(content, path, choice.header)
    names = layout.header
    kept, label, notes = _select(names or layout.width, layout.unnamed, choice, path)
    if names is not None:
        notes = ("header found" if choice.header is None else "header", *notes)
    if choice.label is not None and label is not None:
        labels = text.words(content, layout, label, path)
    else:
        labels = None
    rows = text.read(content, layout, kept, path)
    if not len(rows):
        raise ValueError(f"{path} must hold rows of numbers, got none")
    return _finish(rows, path, names, kept, label, labels, choice, notes)


def _of_array(array: Any, path: Path, choice: Choice) -> Table:
    """Table of an array: without names, three-dimensional ones as images."""
    if not hasattr(array, "tocsr"):
        if array.dtype.names is not None:
            raise ValueError(f"{path} must hold a table of numbers; got a structured array with {array.dtype.names}")
        array = array.reshape(len(array), -1) if array.ndim == 3 else array
    if array.ndim != 2 or array.dtype.kind not in "buif" or 0 in array.shape:
        raise ValueError(f"{path} must hold a table of numbers; got shape {array.shape}, dtype {array.dtype}")
    if choice.header is not None:
        raise ValueError(f"--header is for text files; {path} is none")
    if choice.plain:
        return Table(array, path.name)
    kept, label, notes = _select(array.shape[1], False, choice, path)
    labels = None if label is None else array[:, [label]]
    if labels is not None:
        labels = np.asarray(labels.todense() if hasattr(labels, "todense") else labels).ravel()
    return Table(array[:, kept], path.name, None, labels, "" if label is None else str(label), notes)


def _no_numbers(path: Path, name: str, kind: str) -> ValueError:
    return ValueError(
        f"{path} must hold numbers, got {kind} in column {name!r}: leave the column out by --drop {name} "
        f"(or --label {name})"
    )


# -- columns ----------------------------------------------------------------------------------------------------------


def _select(names: Any, unnamed: bool, choice: Choice, path: Path) -> tuple[list[int], int | None, tuple[str, ...]]:
    """Numbers of the columns to use, of the label, and what is worth saying about the others."""
    width = names if isinstance(names, int) else len(names)
    known = None if isinstance(names, int) else tuple(names)
    everything = choice.columns is None or choice.columns.strip() == "all"
    kept = list(range(width)) if everything else positions(str(choice.columns), width, known, "--columns", path)
    notes: list[str] = []
    index = (unnamed if choice.numbered is None else choice.numbered) and width > 1
    if index and everything and 0 in kept:
        kept.remove(0)
        notes.append("index column dropped")
    label = None
    if choice.label is not None:
        (label, *more) = positions(choice.label, width, known, "--label", path)
        if more:
            raise ValueError(f"--label must be one column, got {choice.label!r}")
        kept = [k for k in kept if k != label]
    if choice.drop is not None:
        gone = set(positions(choice.drop, width, known, "--drop", path))
        kept = [k for k in kept if k not in gone]
        notes.append(f"{len(gone)} dropped")
    if not kept:
        raise ValueError(f"{path} has no column left to use")
    if known is not None and choice.columns is None and label is None:
        suspect = [known[k] for k in kept if known[k].strip().lower() in _LABEL_NAMES]
        if suspect and len(kept) > 1:
            raise ValueError(
                f"{path} has a column {suspect[0]!r}, which may hold labels: leave it out by --label {suspect[0]}, or "
                "keep it by --columns all"
            )
    return kept, label, tuple(notes)


def positions(spec: str, width: int, names: tuple[str, ...] | None, option: str, path: Path) -> list[int]:
    """Numbers of the columns that a list such as ``a,b,5:9`` names.

    Parameters
    ----------
    spec : str
        Names, or numbers from 0, with commas between them; ``first:last`` is a range with both ends.
    width : int
        Columns that there are.
    names : tuple of str or None
    option : str
    path : pathlib.Path
        For messages.
    """

    def one(item: str) -> int:
        if names is not None and names.count(item) == 1:
            return names.index(item)
        if names is not None and names.count(item) > 1:
            raise ValueError(f"{option}: {path} has {names.count(item)} columns {item!r}; give the number of one")
        if item.isdigit() and int(item) < width:
            return int(item)
        if item.startswith("-") and item[1:].isdigit() and 0 < int(item[1:]) <= width:
            return width - int(item[1:])
        known = "" if names is None else f" or one of {', '.join(names[:20])}{', ...' if width > 20 else ''}"
        raise ValueError(f"{option} must name columns of {path} by numbers from 0 to {width - 1}{known}, got {item!r}")

    found: list[int] = []
    for item in (part.strip() for part in spec.split(",")):
        first, colon, last = item.partition(":")
        if colon and not (names is not None and item in names):
            start, stop = one(first.strip()), one(last.strip())
            if stop < start:
                raise ValueError(f"{option}: the range {item!r} of columns of {path} ends before it begins")
            found += range(start, stop + 1)
        else:
            found.append(one(item))
    return list(dict.fromkeys(found))


def _finish(
    rows: np.ndarray,
    path: Path,
    names: tuple[str, ...] | None,
    kept: list[int],
    label: int | None,
    labels: np.ndarray | None,
    choice: Choice,
    notes: tuple[str, ...],
) -> Table:
    """Table of a file whose first column may number the rows."""
    if (
        choice.numbered is None
        and choice.columns is None
        and kept[0] == 0
        and len(kept) > 1
        and _counts_rows(rows[:, 0])
    ):
        kept, rows = kept[1:], rows[:, 1:]
        notes = (*notes, "index column dropped")
    columns = None if names is None else tuple(names[k] for k in kept)
    name = "" if label is None else (names[label] if names else str(label))
    return Table(np.ascontiguousarray(rows), path.name, columns, labels, name, notes)


def _counts_rows(column: np.ndarray) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ..."""
    n = len(column)
    return n > 2 and column[0] in (0, 1) and bool((np.diff(column) == 1).all())
