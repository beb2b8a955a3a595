"""Versioned model files: arrays in an .npz archive with a JSON header, no pickle."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "fastrbm-model"
VERSION = 1


def write_model(path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Path:
    """Write a model file; it appears under its name only when complete.

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
    """
    path = Path(path)
    text = json.dumps({"format": FORMAT, "version": VERSION, **header})
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            np.savez(file, header=np.array(text), allow_pickle=False, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


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
    except (KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise ValueError(f"path: {path} is not a fastrbm model file ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"path: {path} is not a fastrbm model file")
    if header.get("version") != VERSION:
        raise ValueError(
            f"path: {path} has model format version {header.get('version')!r}; this fastrbm reads {VERSION}"
        )
    return header, arrays
