"""Versioned model files: arrays in an .npz archive with a JSON header, no pickle."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "fastrbm-model"
VERSION = 1
#: what reading a file that is damaged may raise
_DAMAGE = (
    KeyError, ValueError, TypeError, AttributeError, OSError, EOFError, NotImplementedError, RecursionError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def write_model(path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Path:
    """Write a model file; it appears under its name only when complete, whoever else writes or reads it.

    A file that is there keeps its permissions, a link stays a link.

    Parameters
    ----------
    path : path-like
        Target; written as it is named.
    header : dict
        JSON-serialisable description.
    arrays : dict of ndarray

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        For folders and devices.
    """
    path = Path(path)
    text = json.dumps({"format": FORMAT, "version": VERSION, **header}, default=_plain_number)
    target = Path(os.path.realpath(path))  # a link stays one
    mode = _mode_of(target)
    # a name of its own beside the target, so that two writers never meet, and renaming is one step
    descriptor, part = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, header=np.array(text), allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, mode)
        os.replace(part, target)
        _settle(target.parent)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def _settle(folder: Path) -> None:
    """Have the names of a folder written, too, where a folder can be opened: a new name outlasts a loss of power."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode_of(target: Path) -> int:
    """Permissions of the file: those it has, else those of a new one; ValueError for what is no file."""
    try:
        found = os.stat(target).st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
    if not stat.S_ISREG(found):
        raise ValueError(f"path must be a file, or name a new one, got {target}, which is a folder or a device")
    return stat.S_IMODE(found)


def _plain_number(value: Any) -> Any:
    """Numbers of NumPy, such as metrics that callbacks have recorded, as JSON has them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    raise TypeError(f"history_ must hold numbers to be saved, got {value!r}")


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `write_model` wrote.

    Raises
    ------
    ValueError
        If the file is no fastrbm model, is damaged, or is of a newer format version.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"path: {path} is not a fastrbm model file ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"path: {path} is not a fastrbm model file")
    if header.get("version") != VERSION:
        raise ValueError(
            f"path: {path} has model format version {header.get('version')!r}; this fastrbm reads {VERSION}"
        )
    return header, arrays
