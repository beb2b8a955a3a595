"""Data that commands read: named sets and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

NAMED_SETS = ("digits", "mnist", "fashion-mnist")


class Data(NamedTuple):
    rows: np.ndarray  # uint8 grey values, or bits, or floats in [0, 1]
    name: str


def load(name: str, folder: str | None, subset: str = "train") -> Data:
    """Rows of a named set or of a file."""
    from fastrbm import datasets

    if name not in NAMED_SETS:
        if folder is not None:
            raise ValueError(f"--data-dir is for mnist and fashion-mnist only; got DATA {name!r}")
        return Data(_read_table(Path(name)), Path(name).name)
    if name == "digits":
        return Data(datasets.load_digits().images, name)
    read = datasets.load_mnist if name == "mnist" else datasets.load_fashion_mnist
    return Data(read(subset=subset, path=folder).images, name)


def _read_table(path: Path) -> np.ndarray:
    """Read a two-dimensional array; whole numbers above 1 are grey values 0..255."""
    import numpy as np

    if path.suffix not in (".npy", ".npz", ".csv"):
        known = ", ".join(NAMED_SETS)
        raise ValueError(f"DATA must be {known} or the path of a .npy, .npz or .csv file; got {path}")
    if path.suffix == ".csv":
        with path.open(encoding="utf-8") as lines:
            fields = lines.readline().split(",")
        table = np.loadtxt(path, delimiter=",", ndmin=2, skiprows=0 if all(map(_is_number, fields)) else 1)
    else:
        table = np.load(path, allow_pickle=False)
    if isinstance(table, np.lib.npyio.NpzFile):
        with table as archive:
            names = [key for key in ("X", "images") if key in archive.files] or archive.files
            if len(names) != 1:
                raise ValueError(f"{path} must hold one array, or one named X or images; got {archive.files}")
            table = archive[names[0]]
    if table.ndim == 3:
        table = table.reshape(len(table), -1)
    if table.ndim != 2 or table.dtype.kind not in "buif" or table.size == 0:
        raise ValueError(f"{path} must hold a table of numbers; got shape {table.shape}, dtype {table.dtype}")
    if table.dtype.kind == "b" or table.dtype == np.uint8:
        return table.astype(np.uint8, copy=False)
    low, high = table.min(), table.max()
    if not (low >= 0 and high <= 255) or (high > 1 and (table != np.rint(table)).any()):
        raise ValueError(f"{path} must hold values in [0, 1] or whole numbers 0..255; got {low} to {high}")
    return table.astype(np.uint8) if high > 1 or table.dtype.kind in "ui" else table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
