"""Finding, checking and fetching the original files of MNIST and Fashion-MNIST, and the IDX format they use.

Wherever the bytes come from (a folder, the cache, OpenML), they must have the SHA-256 of the original files;
a folder with other content is reported, never used.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import importlib.util
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class DatasetNotFoundError(FileNotFoundError):
    """A data set is in none of the places looked at; the message lists them and what to do."""


class ChecksumError(ValueError):
    """A file holds other bytes than the original; the message names it and both digests."""


class Source(NamedTuple):
    """Where one data set comes from and what its files must hold."""

    openml: str
    system: Path | None
    counts: dict[str, int]  # images per part, in the order in which OpenML stacks the parts
    shape: tuple[int, int]
    sha256: dict[str, str]  # of the *decompressed* IDX file, so any compressor and level will do


#: what to do about a file that is not what it should be
_AGAIN = "Copy or download it again"
PARTS = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}
SOURCES = {
    "mnist": Source(
        "mnist_784",
        None,
        {"train": 60000, "t10k": 10000},
        (28, 28),
        {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": Source(
        "Fashion-MNIST",
        Path("/usr/share/datasets/fashion-mnist"),
        {"train": 60000, "t10k": 10000},
        (28, 28),
        {
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
}


def cache_dir() -> Path:
    """Return the folder in which downloads are kept; it need not exist yet.

    Returns
    -------
    pathlib.Path
        ``FASTRBM_CACHE`` if set, else the platform's cache folder for fastrbm.
    """
    if chosen := os.environ.get("FASTRBM_CACHE"):
        return Path(chosen).expanduser()
    try:
        import platformdirs
    except ImportError:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fastrbm"
    return Path(platformdirs.user_cache_dir("fastrbm", appauthor=False))


def read_idx(path: str | os.PathLike[str], *, out: np.ndarray | None = None, sha256: str | None = None) -> np.ndarray:
    """Read a file of unsigned bytes in the IDX format, gzipped or not, without a second copy in memory.

    Parameters
    ----------
    path : path-like
        The file. Compression is recognised by content, not by name.
    out : uint8 array, C-contiguous, optional
        Filled and returned; must have as many rows and elements as the file.
    sha256 : str, optional
        Hexadecimal digest that the decompressed file must have.

    Returns
    -------
    ndarray of uint8
        Of the shape in the file's header (1 to 3 axes), or ``out``.

    Raises
    ------
    ValueError
        If the file is no IDX file of bytes, is damaged, too short, too long, does not fit ``out``, or has
        another digest.
    """
    path = Path(path)
    array, digest = _read_digest(path, out)
    if sha256 is not None:
        _check_digest(str(path), sha256, digest)
    return array


def _read_digest(path: Path, out: np.ndarray | None = None) -> tuple[np.ndarray, str]:
    with path.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        # Deflate shrinks at most 1032-fold: a header that promises more is damaged, and must not make us
        # ask for that much memory.
        room = path.stat().st_size * (1040 if packed else 1)
        stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            return _read_idx_stream(stream, path, room, out)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged gzip file ({error}). {_AGAIN}") from error


def _read_idx_stream(stream: Any, path: Path, room: int, out: np.ndarray | None) -> tuple[np.ndarray, str]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 3:
        got = f"it starts with the bytes {head.hex(' ')}" if head else "it is empty"
        raise ValueError(f"{path}: not an IDX file of 1 to 3 axes; {got}. {_AGAIN}")
    if head[2] != 0x08:
        raise ValueError(f"{path}: IDX type code 0x{head[2]:02x}; only 0x08 (unsigned bytes) is allowed")
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise ValueError(f"{path}: truncated in the IDX header, after {len(head + sizes)} bytes. {_AGAIN}")
    shape = struct.unpack(f">{head[3]}I", sizes)
    size = math.prod(shape)
    if size > room:
        raise ValueError(f"{path}: truncated; the header announces {size} bytes of shape {shape}. {_AGAIN}")
    if out is None:
        out = np.empty(shape, dtype=np.uint8)
    elif out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"out must be a C-contiguous uint8 array; got {out.dtype}, strides {out.strides}")
    elif len(out) != shape[0] or out.size != size:
        raise ValueError(f"{path}: holds an array of shape {shape}, expected {out.shape}. {_AGAIN}")
    digest = hashlib.sha256(head + sizes)
    flat = out.reshape(-1).data
    filled = 0
    while filled < size:
        got = stream.readinto(flat[filled : filled + 2**20])
        if not got:
            raise ValueError(f"{path}: truncated; {filled} of {size} bytes of shape {shape}. {_AGAIN}")
        digest.update(flat[filled : filled + got])
        filled += got
    if stream.read(1):  # at the end this also makes gzip check its own checksum
        raise ValueError(f"{path}: bytes left over after the {size} of shape {shape}. {_AGAIN}")
    return out, digest.hexdigest()


def _check_digest(where: str, expected: str, found: str) -> None:
    if found != expected:
        known = {digest: (name, f) for name, s in SOURCES.items() for f, digest in s.sha256.items()}
        hint = " (this is {1} of {0})".format(*known[found]) if found in known else ""
        raise ChecksumError(f"{where} differs from the original: SHA-256 expected {expected}, found {found}{hint}")


def file_names(part: str) -> tuple[str, str]:
    """Return the names, without .gz, of the image file and the label file of "train" or "t10k"."""
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def find_files(
    name: str, parts: tuple[str, ...], path: str | os.PathLike[str] | None, download: bool
) -> dict[str, Path]:
    """Return where the files of a data set are, downloading them as the last resort.

    Parameters
    ----------
    name : str
        Key of ``SOURCES``.
    parts : tuple of {"train", "t10k"}
        The parts wanted; files of the other part may be missing.
    path : path-like or None
        If given, the only folder to look into.
    download : bool
        Whether OpenML may be asked.

    Returns
    -------
    dict of str to pathlib.Path
        File name without .gz to file.

    Raises
    ------
    DatasetNotFoundError
        If no place has the files.
    ChecksumError
        If OpenML sends other data than the original.
    """
    looked: list[str] = []
    for label, root in _places(name, path):
        if root is None:
            looked.append(f"{label}: not set")
            continue
        for folder in (root / name, root):
            files, problem = _files_in(folder, name, parts)
            if not problem:
                return files
            looked.append(f"{label}, {folder}: {problem}")
    cause: Exception | None = None
    if path is None and download:
        try:
            return _download(name)
        except ChecksumError:
            raise
        except (OSError, http.client.HTTPException, ImportError, ValueError) as error:
            cause = error
            looked.append(f"OpenML, {SOURCES[name].openml!r}: {type(error).__name__}: {error}")
    elif path is None:
        looked.append("OpenML: not asked, because of download=False")
    wanted = ", ".join(f"{file}.gz" for part in parts for file in file_names(part))
    advice = f"Put {wanted} into a folder and name it by path= or the environment variable FASTRBM_DATA"
    if SOURCES[name].system is not None:
        advice += f", install Debian's package dataset-{name}"
    lines = "".join(f"\n  - {line}" for line in looked)
    raise DatasetNotFoundError(f"{name} was not found. Looked at:{lines}\n{advice}, or go online.") from cause


def _places(name: str, path: str | os.PathLike[str] | None) -> Iterator[tuple[str, Path | None]]:
    # An explicit folder that lacks the files is an error, never a reason to take others in silence.
    if path is not None:
        yield "path", Path(path).expanduser()
        return
    chosen = os.environ.get("FASTRBM_DATA")
    yield "environment variable FASTRBM_DATA", Path(chosen).expanduser() if chosen else None
    if (system := SOURCES[name].system) is not None:
        yield "system folder", system
    yield "cache", cache_dir()


def _files_in(folder: Path, name: str, parts: tuple[str, ...]) -> tuple[dict[str, Path], str]:
    """Return the files wanted, or what is wrong with the folder."""
    if not folder.is_dir():
        return {}, "no such folder"
    files = {}
    for file in (file for part in parts for file in file_names(part)):
        found = next((p for p in (folder / f"{file}.gz", folder / file) if p.is_file()), None)
        if found is None:
            return {}, f"it lacks {file}[.gz]"
        files[file] = found
    # All such data sets use the same file names; a folder with another one is no reason to stop looking.
    labels = file_names(parts[0])[1]
    others = {s.sha256[labels]: other for other, s in SOURCES.items() if other != name}
    try:
        _, digest = _read_digest(files[labels])
    except ValueError:
        return files, ""  # reading it in earnest will tell what is wrong with it
    return (files, "") if digest not in others else ({}, f"it holds {others[digest]}")


def _download(name: str) -> dict[str, Path]:
    """Fetch both parts from OpenML, check them and keep them as IDX files in the cache."""
    import sklearn.datasets

    source = SOURCES[name]
    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"  # the former is much faster
    home = cache_dir()
    bunch = sklearn.datasets.fetch_openml(
        source.openml, version=1, data_home=str(home / "openml"), as_frame=False, parser=parser
    )
    total, size = sum(source.counts.values()), math.prod(source.shape)
    if bunch.data.shape != (total, size):
        raise ValueError(f"expected an array of shape {(total, size)}, found {bunch.data.shape}")
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    start = 0
    for part, count in source.counts.items():
        rows = slice(start, start + count)
        images = bunch.data[rows].astype(np.uint8).reshape(count, *source.shape)
        labels = np.asarray(bunch.target[rows]).astype(np.uint8)
        for file, array in zip(file_names(part), (images, labels), strict=True):
            header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
            digest = hashlib.sha256(header)
            digest.update(array.data)
            _check_digest(f"{file} from OpenML's {source.openml!r}", source.sha256[file], digest.hexdigest())
            files[file] = folder / f"{file}.gz"
            _write_gzip(files[file], header, array)
        start = rows.stop
    return files


def _write_gzip(path: Path, header: bytes, array: np.ndarray) -> None:
    # Under another name first: a run that is cut short must not leave half a file for the next one.
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as raw, gzip.GzipFile(path.name, "wb", 6, raw, mtime=0) as packed:
            packed.write(header)
            packed.write(array.data)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
