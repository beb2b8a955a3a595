"""Files that commands write: where they may go, and arrays in the format that their name asks for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

#: what pictures of `fastrbm.plot` say of where they come from
PNG_MARK = b"Software\0fastrbm"
ARRAYS = (".npy", ".npz", ".csv", ".tsv", ".parquet")


def check_target(path: str, endings: Sequence[str], inputs: Sequence[str | Path | None], force: bool) -> Path:
    """Find out before the work, not after it, that a result has nowhere to go or would destroy something.

    Parameters
    ----------
    path : str
    endings : sequence of str
        That the name may have.
    inputs : sequence of path-like or None
        Files the command reads, which are never overwritten.
    force : bool
        Whether files that are no models may be overwritten.

    Raises
    ------
    ValueError
        For another ending, and files that must stay.
    OSError
        If the folder is missing or cannot be written in.
    """
    target = Path(path)
    if target.suffix not in endings:
        raise ValueError(f"--out must end in {' or '.join(endings)}; got {path}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"--out: the folder {target.parent} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"--out: {target} is a folder")
    if target.suffix == ".parquet":
        require_polars()
    if target.exists():
        for given in inputs:
            if given is not None and Path(given).exists() and os.path.samefile(given, target):
                raise ValueError(f"--out: {target} is read by this command and would be lost; choose another name")
        if not (force or is_ours(target)):
            kind = "picture of this package" if target.suffix == ".png" else "model"
            raise FileExistsError(
                f"--out: {target} exists and is no {kind}; choose another name, or add --force to overwrite it"
            )
        if not os.access(target, os.W_OK):
            raise PermissionError(f"--out: {target} cannot be written")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise type(error)(
            f"--out: the folder {target.parent} cannot be written in ({error.strerror}); choose another"
        ) from None
    return target


@contextmanager
def results_folder(path: str | Path) -> Iterator[Path]:
    """Make the folder of --out, and within the block put things into it.

    If the block fails, what was made and is still empty is removed.

    Raises
    ------
    OSError
        If it cannot be made or written in.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--out: {folder} is a file; give a folder")
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _remove_empty(missing)
        raise type(error)(
            f"--out: the folder {folder} cannot be made or written in ({error.strerror}); choose another"
        ) from None
    try:
        yield folder
    except BaseException:
        _remove_empty(missing)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, inner ones first, as long as they are empty."""
    for one in folders:
        try:
            one.rmdir()
        except OSError:
            return


def is_ours(path: Path) -> bool:
    """Whether a file is a model or a picture that this package wrote, as far as that can be told."""
    if path.suffix == ".png":
        with open(path, "rb") as file:
            return PNG_MARK in file.read(4096)
    from fastrbm._estimator.io import read_model

    try:
        read_model(path)
    except Exception:  # whatever is wrong with it, it is none
        return False
    return True


def load_model(path: str) -> Any:
    """Read the file of one machine; ValueError in one line for others, and for one that is damaged."""
    from fastrbm._estimator.files import Stored

    machine = load_any(path)
    if not isinstance(machine, Stored):
        raise ValueError(
            f"MODEL must be the file of one RBM, {path} holds a {type(machine).__name__}: read it by fastrbm.load"
        )
    return machine


def load_any(path: str) -> Any:
    """Read a model file; ValueError in one line for one that is damaged."""
    import fastrbm

    try:
        return fastrbm.load(path)
    except (OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path} is a damaged model file ({error or type(error).__name__})") from error


def usable_model(path: str, n_threads: int | None) -> Any:
    """Read a model file for work with it; ArithmeticError for one whose parameters are not finite."""
    machine = load_model(path)
    parameters = (machine.components_, machine.intercept_visible_, machine.intercept_hidden_)
    if not all(np.isfinite(x).all() for x in parameters):
        raise ArithmeticError(f"{path} is of no use: its parameters are not finite")
    return machine.set_params(n_threads=n_threads)


def draw_without_windows() -> None:
    """Let Matplotlib draw where there is no display, or one that cannot be used."""
    try:
        import matplotlib
    except ImportError:
        return  # said by what draws
    matplotlib.use("agg")


def require_polars() -> Any:
    """Import what writes parquet."""
    try:
        import polars
    except ImportError as error:
        raise ImportError('parquet files need polars: pip install "fastrbm[io]"') from error
    return polars


def write_array(
    target: Path, array: np.ndarray, names: Sequence[str], labels: np.ndarray | None = None, label: str = "label"
) -> None:
    """Write rows in the format that the name of the file asks for; it is there only when complete.

    Parameters
    ----------
    target : pathlib.Path
    array : ndarray, two-dimensional
    names : sequence of str
        Of the columns, for formats that have them.
    labels : ndarray or None
        Written beside the columns, under the name
    label : str
    """
    part = Path(f"{target.parent / ('.' + target.stem)}-{os.getpid()}{target.suffix}")
    try:
        if target.suffix == ".npy":
            np.save(part, array)
        elif target.suffix == ".npz":
            if labels is None:
                np.savez_compressed(part, X=array)
            else:
                np.savez_compressed(part, X=array, y=labels)
        elif target.suffix == ".parquet":
            polars = require_polars()
            columns = {name: np.ascontiguousarray(array[:, k]) for k, name in enumerate(names)}
            polars.DataFrame(columns | ({} if labels is None else {label: labels})).write_parquet(part)
        else:
            _write_text(part, array, names, labels, label, "\t" if target.suffix == ".tsv" else ",")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _write_text(
    part: Path, array: np.ndarray, names: Sequence[str], labels: np.ndarray | None, label: str, separator: str
) -> None:
    import csv

    with open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow([*names, *([] if labels is None else [label])])
        for k, row in enumerate(array.tolist() if array.dtype != np.float32 else array.astype(str).tolist()):
            writer.writerow([*row, *([] if labels is None else [labels[k]])])
