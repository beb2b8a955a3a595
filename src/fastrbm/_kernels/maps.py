"""Rows in files that are mapped into memory, and become shorter while they are read.

The system answers a read beyond the end of such a file with SIGBUS, which ends the process. While a public method runs,
arrays whose memory is not NumPy's own are watched: pages that are gone are read as zeros then, and the method ends with
an `OSError` in place of a result.
"""

from __future__ import annotations

import functools
import inspect
import mmap
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Method = TypeVar("Method", bound=Callable[..., Any])

_here = threading.local()
#: maps that have lost pages, which hold zeros from then on, whatever becomes of the file
_lost: weakref.WeakSet[Any] = weakref.WeakSet()


class ShrunkFileError(OSError):
    """A file became shorter than the memory map that is read."""

    @classmethod
    def of(cls, name: str | None) -> ShrunkFileError:
        """Make the error of a file, by its name where it is known."""
        which = "a file that X is mapped from" if name is None else f"the file {name!r} that X is mapped from"
        return cls(
            f"{which} became shorter while it was in use, so rows of X are gone: nothing that was made of them is "
            "kept. Write the whole file, map it anew (numpy.memmap, numpy.load(mmap_mode=...)) and call again; replace "
            "files that may be in use by renaming new ones, not in place"
        )


class _Watched:
    """An array in a map, for as long as it is there."""

    def __init__(self, root: NDArray[Any]):
        from .cpu.runtime import extension  # not loaded by an import of the package

        owner = root.base.obj if isinstance(root.base, memoryview) else root.base
        self._map = weakref.ref(owner) if isinstance(owner, mmap.mmap) else None
        name = getattr(root, "filename", None)
        self.name = None if name is None else str(name)
        if isinstance(root, np.memmap):
            self._bytes = root.offset + root.nbytes
        else:  # it does not know where it begins in the file
            self._bytes = self._file_bytes() or 0
        self._was_lost = self._map is not None and owner in _lost
        self._range = extension.WatchedRange(*_bounds(root))

    def _file_bytes(self) -> int | None:
        owner = None if self._map is None else self._map()
        try:
            return None if owner is None else owner.size()
        except (OSError, ValueError):  # it has no file that could be asked
            return None

    @property
    def lost(self) -> bool:
        """Whether bytes of it are gone, read or not."""
        now = self._file_bytes()
        if self._range.lost:
            self._was_lost = True
            owner = None if self._map is None else self._map()
            if owner is not None:
                _lost.add(owner)
        self._was_lost |= now is not None and now < self._bytes
        return self._was_lost

    def release(self) -> None:
        """Watch it no longer."""
        self._range.release()


class Reading:
    """What one call reads.

    Attributes
    ----------
    watched : dict
        By the arrays' numbers.
    """

    def __init__(self) -> None:
        self.watched: dict[int, tuple[Any, _Watched]] = {}
        self._gone: _Watched | None = None  # one that has lost bytes, whose array is freed

    def add(self, x: Any) -> None:
        """Watch an array, those of a sparse matrix, or those in a list."""
        if isinstance(x, np.ndarray):
            self._add(x)
        elif isinstance(x, (list, tuple)):
            for one in x:
                if isinstance(one, np.ndarray):
                    self._add(one)
        else:
            for name in ("data", "indices", "indptr", "row", "col"):
                if isinstance(part := getattr(x, name, None), np.ndarray):
                    self._add(part)

    def _add(self, x: NDArray[Any]) -> None:
        while isinstance(x.base, np.ndarray):
            x = x.base
        if x.base is None or isinstance(x.base, (bytes, bytearray)) or id(x) in self.watched:
            return
        number, watched = id(x), _Watched(x)
        self.watched[number] = weakref.ref(x, lambda _: self._drop(number)), watched
        if watched.lost:
            raise ShrunkFileError.of(watched.name)

    def _drop(self, number: int) -> None:
        _, watched = self.watched.pop(number, (None, None))
        if watched is not None:
            if watched.lost:
                self._gone = watched
            watched.release()

    def lost(self) -> _Watched | None:
        """One that has lost bytes, if there is one."""
        return self._gone or next((watched for _, watched in list(self.watched.values()) if watched.lost), None)

    def check(self) -> None:
        """Raise `ShrunkFileError` if bytes were lost."""
        lost = self.lost()
        if lost is not None:
            raise ShrunkFileError.of(lost.name)

    def end(self) -> None:
        """Watch nothing any more."""
        for number in list(self.watched):
            self._drop(number)


def current() -> Reading | None:
    """What the call that this thread is in reads."""
    return getattr(_here, "reading", None)


def check() -> None:
    """Raise `ShrunkFileError` if bytes were lost that the call reads which this thread is in."""
    reading = current()
    if reading is not None:
        reading.check()


def watch(x: Any) -> Any:
    """Watch what comes from outside while the call lasts that this thread is in, and give it back."""
    reading = current()
    if reading is not None:
        reading.add(x)
    return x


def reads(function: Method, put_back: bool = False) -> Method:
    """Make a function raise `OSError` where a file that it reads becomes shorter, in place of a result.

    With `put_back` its first argument gets the attributes again that it had before.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        if getattr(_here, "reading", None) is not None:  # it is part of another call
            return function(*args, **options)
        reading = _here.reading = Reading()
        before = dict(vars(args[0])) if put_back else None
        try:
            try:
                found = function(*args, **options)
            except Exception as error:  # may come of the zeros
                if not isinstance(error, ShrunkFileError) and reading.watched:
                    reading.check()
                raise
            if reading.watched or reading.lost() is not None:
                reading.check()
            return found
        except ShrunkFileError:
            if before is not None:
                vars(args[0]).clear()
                vars(args[0]).update(before)
            raise
        finally:
            _here.reading = None
            reading.end()

    return wrapper  # type: ignore[return-value]


def guard(cls: type, put_back: bool = False) -> None:
    """Make the public methods of a class that take data such as `reads` makes.

    With `put_back` a fit that fails so leaves the attributes from before, whose arrays it must not change.
    """
    for name, method in list(vars(cls).items()):
        if not name.startswith("_") and inspect.isfunction(method):
            taken = inspect.signature(method).parameters.keys()
            if taken & {"X", "v", "init", "X_val"} or name == "log_partition":
                setattr(cls, name, reads(method, put_back and name in ("fit", "partial_fit")))


def _bounds(x: NDArray[Any]) -> tuple[int, int]:
    """Addresses of the first byte and of the one after the last."""
    first = last = x.__array_interface__["data"][0]
    for n, stride in zip(x.shape, x.strides, strict=True):
        if n == 0:
            return first, first
        first += min(0, (n - 1) * stride)
        last += max(0, (n - 1) * stride)
    return first, last + x.itemsize
