"""Versioned model files: arrays in an .npz archive, a JSON header, checksums, no pickle; see docs/model_files.rst."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .archive import digest, digest_of_text, read_arrays

FORMAT = "fastrbm-model"
VERSION = 2
#: that are read; files of version 1 have no checksums of their own
_KNOWN = (1, 2)
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
    text, checksum = seal(header, arrays)
    with replaced(path) as file:
        np.savez(file, allow_pickle=False, header=np.array(text), checksum=np.array(checksum), **arrays)
    return Path(path)


def seal(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> tuple[str, str]:
    """Text of a header, with the checksums of arrays, and its own checksum."""
    sums = {name: digest(x) for name, x in arrays.items()}
    text = json.dumps({"format": FORMAT, "version": VERSION, "sha256": sums, **header}, default=_plain_number)
    return text, digest_of_text(text)


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """File that takes the place of another when the block is over, in one step and on the disk; or of none."""
    target = Path(os.path.realpath(path))  # a link stays one
    mode = _mode_of(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path: there is no folder {target.parent} for {target.name}; make it first")
    # a name of its own beside the target, so that two writers never meet, and renaming is one step
    descriptor, part = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, mode)
        os.replace(part, target)
        _settle(target.parent)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _settle(folder: Path) -> None:
    """Have the names of a folder written, too, so that a new one outlasts a loss of power.

    Folders that may not be read, and file systems that know no such thing, are no error: the file is there.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
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
        arrays = read_arrays(path)
        text = _text_of(arrays.pop("header"))
        checksum = _text_of(arrays.pop("checksum")) if "checksum" in arrays else None
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"path: {path} is not a fastrbm model file ({error})") from error
    return unseal(path, text, checksum, arrays), arrays


def unseal(path: Path, text: str, checksum: str | None, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Header of a text; ValueError unless it is of a model, of a known version, and all checksums are right."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path: {path} is not a fastrbm model file ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"path: {path} is not a fastrbm model file")
    if header.get("version") not in _KNOWN:
        raise ValueError(
            f"path: {path} has model format version {header.get('version')!r}; this fastrbm reads {VERSION} and earlier"
        )
    sums = header.pop("sha256", None)
    if header["version"] == 1:
        return header
    damaged = f"path: {path} is a damaged model file"
    if checksum != digest_of_text(text):
        raise ValueError(f"{damaged} (the checksum of its header is wrong)")
    if not isinstance(sums, dict) or sums.keys() != arrays.keys():
        raise ValueError(f"{damaged} (its arrays are not those of its header)")
    for name, x in arrays.items():
        if sums[name] != digest(x):
            raise ValueError(f"{damaged} (the checksum of {name} is wrong)")
    return header


def _text_of(x: NDArray[Any]) -> str:
    if x.shape or x.dtype.kind != "U":
        raise ValueError(f"its header is no text but {x.dtype} of shape {x.shape}")
    return str(x)
