"""Arrays of a model file, read with nothing taken on trust: no pickle, no allocation that the file does not pay for.

A file is a zip archive of arrays in NumPy's format, stored without compression. So no member is larger than the file,
and an array is made only when its shape and type say exactly as many bytes as its member has.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_SUFFIX = ".npy"
_MOST_MEMBERS = 100_000
_MOST_HEADER = 4096  # bytes of the description of an array
_ENCRYPTED = 1
_PIECE = 1 << 20  # bytes that are read at once, as a copy


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a file by their names; ValueError, or an error of the reader of archives, for what is none."""
    arrays: dict[str, NDArray[Any]] = {}
    size = os.stat(path).st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_MEMBERS:
            raise ValueError(f"it has {len(members)} members")
        if sum(member.file_size for member in members) > size:
            raise ValueError("its members are larger than the file")
        for member in members:
            name = member.filename
            if not name.endswith(_SUFFIX) or name.removesuffix(_SUFFIX) in arrays:
                raise ValueError(f"its member {name!r} is no array, or there twice")
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
                raise ValueError(f"its member {name!r} is compressed or encrypted, which model files are not")
            with archive.open(member) as file:
                arrays[name.removesuffix(_SUFFIX)] = _read_array(file, member.file_size)
    return arrays


def _read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array is of version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file, max_header_size=_MOST_HEADER)
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        raise ValueError(f"an array is of type {dtype}, which model files have not")
    n_bytes = size - file.tell()
    if not all(n >= 0 for n in shape) or math.prod(shape) * dtype.itemsize != n_bytes:
        raise ValueError(f"an array of shape {shape} and type {dtype} has {n_bytes} bytes")
    held = np.empty(shape[::-1] if fortran else shape, dtype)
    view = memoryview(held.reshape(-1).view(np.uint8)) if n_bytes else memoryview(b"")
    done = 0
    while done < n_bytes:
        count = file.readinto(view[done : done + _PIECE])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("an array is cut off")
        done += count
    file.read(1)  # where the reader compares the checksum
    return held.T if fortran else held


def digest(x: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and values."""
    x = np.asarray(x)
    found = hashlib.sha256(f"{x.dtype.str} {x.shape}".encode())
    found.update(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data if x.size else b"")
    return found.hexdigest()


def digest_of_text(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
