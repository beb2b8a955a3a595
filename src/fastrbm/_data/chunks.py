"""Rows that are read piece by piece in every pass; `fastrbm.streams` says what forms they may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._kernels import GreyLevels, PackedBits, States, join_rows
from .._kernels.draws import Key
from .._kernels.levels import WHITE
from . import Rows
from .bits import VisibleData
from .blocks import batches_per_block
from .content import content_order
from .device import is_device_array
from .ranges import InputScale, Range
from .split import ROUND, Order

#: bytes of a block of rows on disk, at most, unless it is stored in larger pieces
READ_BYTES = 2 << 20
#: blocks whose rows are shuffled together
WINDOW_BLOCKS = 16

_BLOCKS = 1 << 55  # number of the key of the order of blocks
#: number of the key of the rows of the first chunk or window
FIRST_WINDOW = _BLOCKS + 1

__all__ = [
    "FIRST_WINDOW",
    "READ_BYTES",
    "WINDOW_BLOCKS",
    "ChunkSource",
    "ChunkedData",
    "Pass",
    "RowSource",
    "source_of",
]


@dataclass(frozen=True)
class Pass:
    """Which rows of data in chunks are wanted, and in what order.

    Attributes
    ----------
    key : Key or None
        Of the order of the rows; None for their own order.
    number : int
        Of the pass.
    n_rows : int
        More than there are come by further rounds through all rows.
    skip : int
        The first of them that are left out: they are read, and no more.
    """

    key: Key | None
    number: int
    n_rows: int
    skip: int = 0

    def __getitem__(self, rows: Any) -> Any:
        """The rows from some on: ``order[skip:]``, as of arrays."""
        if isinstance(rows, slice) and rows.stop is None and rows.step is None:
            return replace(self, skip=min(self.n_rows, self.skip + (rows.start or 0)))
        raise TypeError(f"a pass over chunks has rows from some on, not {rows!r}")


class RowSource:
    """Rows that can be sliced, read a block at a time.

    Parameters
    ----------
    x : object with shape, dtype and ``x[first:last]``
        Such as an h5py dataset.

    Attributes
    ----------
    n_rows : int
    block : int
        Rows that are read at a time.
    """

    def __init__(self, x: Any):
        self._x = x
        self.n_rows, width = (int(n) for n in x.shape)
        row_bytes = max(1, width * x.dtype.itemsize)
        block = max(1, READ_BYTES // row_bytes)
        stored = getattr(x, "chunks", None)  # rows that are stored, and perhaps compressed, together
        stored = stored[0] if isinstance(stored, tuple) and stored and isinstance(stored[0], int) else 1
        if stored * row_bytes <= READ_BYTES * WINDOW_BLOCKS:
            block = max(block // stored, 1) * stored
        self.block = block

    @property
    def one_window(self) -> bool:
        """Whether all rows are shuffled together."""
        return -(-self.n_rows // self.block) <= WINDOW_BLOCKS

    def name(self, number: int) -> str:
        """What messages call a piece of `chunks`."""
        return f"rows {number * self.block} to {min((number + 1) * self.block, self.n_rows) - 1}"

    def chunks(self) -> Iterator[Any]:
        """Yield all rows in order, a block at a time."""
        for first in range(0, self.n_rows, self.block):
            yield self._read(first // self.block)

    def _read(self, block: int) -> NDArray[Any]:
        return np.asarray(self._x[block * self.block : min((block + 1) * self.block, self.n_rows)])

    def shuffled(self, key: Key, number: int) -> Iterator[tuple[Any, Key]]:
        """Windows of rows with the key of their order."""
        n_blocks = -(-self.n_rows // self.block)
        if self.one_window:  # as data in memory
            yield self._window(np.arange(n_blocks)), key
            return
        blocks = key.fold_in(_BLOCKS).permutation(n_blocks, number)
        for window, first in enumerate(range(0, n_blocks, WINDOW_BLOCKS)):
            yield self._window(np.sort(blocks[first : first + WINDOW_BLOCKS])), key.fold_in(FIRST_WINDOW + window)

    def _window(self, blocks: NDArray[np.int64]) -> NDArray[Any]:
        lengths = np.minimum((blocks + 1) * self.block, self.n_rows) - blocks * self.block
        out, at = np.empty((int(lengths.sum()), self._x.shape[1]), self._x.dtype), 0
        for block, n in zip(blocks.tolist(), lengths.tolist(), strict=True):
            out[at : at + n] = self._read(block)
            at += n
        return out


class ChunkSource:
    """Chunks of rows that come in their own order.

    Parameters
    ----------
    chunks : iterable or callable
        Iterated, or called for an iterator, once a pass.
    """

    one_window = False

    def __init__(self, chunks: Any):
        self._chunks = chunks

    def name(self, number: int) -> str:
        """What messages call a chunk."""
        return f"chunk {number}"

    def chunks(self) -> Iterator[Any]:
        """All chunks of a pass."""
        made = self._chunks() if callable(self._chunks) else self._chunks
        if not isinstance(made, Iterable):
            raise TypeError(f"X must be a function that returns an iterator over chunks of rows, got {made!r} from it")
        yield from made

    def shuffled(self, key: Key, number: int) -> Iterator[tuple[Any, Key]]:
        """Chunks with the key of the order of their rows."""
        for index, chunk in enumerate(self.chunks()):
            yield chunk, key.fold_in(FIRST_WINDOW + index)


Source = RowSource | ChunkSource
_NO_CHUNKS = (str, bytes, bytearray, memoryview, Mapping, Set, range)


def source_of(x: Any) -> Source | None:
    """What reads the rows of `x` piece by piece; None for what is an array or will be made one.

    Raises
    ------
    ValueError
        For an iterator, which could not be read a second time.
    """
    if isinstance(x, (np.ndarray, *_NO_CHUNKS)) or is_device_array(x) or sp.issparse(x) or hasattr(x, "iloc"):
        return None
    if isinstance(x, (list, tuple)):
        return ChunkSource(x) if len(x) and _is_table(x[0]) else None
    if isinstance(x, Iterator):
        raise ValueError(
            "X must be readable more than once, got an iterator: rows are looked over before training, and read again "
            "in every pass. Pass a function that returns a new iterator, such as a generator function without its ()"
        )
    if hasattr(type(x), "to_numpy") and getattr(x, "chunks", None) is None:
        return None  # xarray's, in memory
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if isinstance(shape, tuple) and not all(isinstance(n, (int, np.integer)) for n in shape):
        raise ValueError(f"X must have a known shape, got {shape}: find it first (dask's compute_chunk_sizes())")
    if isinstance(shape, tuple) and isinstance(dtype, np.dtype) and hasattr(type(x), "__getitem__"):
        return RowSource(x) if len(shape) == 2 and shape[0] else None
    if hasattr(x, "__array__") or shape is not None or isinstance(x, type):
        return None
    return ChunkSource(x) if callable(x) or isinstance(x, Iterable) else None


def _is_table(x: Any) -> bool:
    """Whether an element of a list is a chunk of rows: an array of two dimensions, or a frame (some have no ndim)."""
    shape = getattr(x, "shape", ())
    return getattr(x, "ndim", 0) == 2 or (isinstance(shape, tuple) and len(shape) == 2)


class ChunkedData:
    """Visible data that are read piece by piece; see `Rows`.

    All rows are looked over once when it is made, and each piece again when it is used.

    Parameters
    ----------
    source : RowSource or ChunkSource
    validate : callable
        Takes a piece and whether it is the first; returns a two-dimensional array or CSR matrix, or raises ValueError.
    wrap : callable
        Makes `Rows` of that and the scale.
    dtype : numpy dtype
        Of converted rows.
    scale : InputScale
        Looks at all pieces, and decides what they are multiplied with.
    limits : Range
        What `wrap` does with values outside the range; they are said once all pieces were looked at.

    Attributes
    ----------
    shape : tuple of int
    given_dtype : numpy dtype
        Type of the values as they are given, of the first piece.
    binary : bool
        As of `Rows`.
    missing : bool
        Whether some entries are missing.
    levels : bool
        Whether all pieces are images in bytes, as of `VisibleData`.
    """

    bits = None
    _content: NDArray[np.int64] | None = None

    def __init__(
        self,
        source: Any,
        validate: Callable[[Any, bool], Any],
        wrap: Callable[[Any, float], Rows],
        dtype: Any,
        scale: InputScale,
        limits: Range,
    ):
        self._source = source
        self._validate = validate
        self._wrap = wrap
        self.dtype = np.dtype(dtype)
        self._scale = scale
        self._limits = limits
        limits.hold()
        while not self._look():
            limits.hold()  # once more with the other scale
        limits.release()

    def _look(self) -> bool:
        """Read all rows once; False if the scale that was assumed turned out to be wrong."""
        self.binary, self.missing, self.are_states, self.in_range = True, False, True, True
        self.levels = True
        n_rows = width = 0
        assumed = self._scale.value
        for data, _ in self._pieces(None, 0, looking=True):
            if assumed == 1 and self._scale.value != 1:
                return False
            n_rows += data.shape[0]
            width = data.shape[1]
            self.binary = self.binary and data.binary
            self.are_states = self.are_states and data.are_states
            self.in_range = self.in_range and data.in_range
            self.missing |= data.missing
            self.levels = self.levels and isinstance(data, VisibleData) and data.levels
        if not n_rows:
            raise ValueError("X must have at least one row, got none in its chunks")
        self.shape: tuple[int, int] = (n_rows, width)
        return self._scale.value == assumed

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _pieces(self, key: Key | None, number: int, looking: bool = False) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
        """Data of the pieces of one round that are not empty, with the order of their rows."""
        source, first = self._source, looking
        pieces = ((piece, None) for piece in source.chunks()) if key is None else source.shuffled(key, number)
        for index, (piece, key_here) in enumerate(pieces):
            if getattr(piece, "ndim", 0) == 2 and piece.shape[0] == 0:
                continue
            try:
                x = self._validate(piece, first)
                if looking:
                    self._scale.look(x)
                    self._limits.piece = f"{source.name(index)} of X: "
                data = self._wrap(x, self._scale.factor(x))
                if first:
                    self.given_dtype = x.dtype
                    self._encoder = self._wrap(np.empty((0, x.shape[1]), x.dtype), 1.0)
            except (ValueError, TypeError) as error:
                name = source.name(index) if key is None or isinstance(source, ChunkSource) else f"window {index}"
                raise type(error)(f"{name} of X: {error}") from error
            first = False
            n = data.shape[0]
            order = np.arange(n, dtype=np.int64)
            if key_here is not None:
                order = key_here.permutation(n, number)
                if source.one_window:  # all rows, which are shuffled as those in memory
                    if self._content is None:
                        self._content = content_order(data)
                    order = self._content[order]
            yield data, order
            del piece, x, data  # not beside the next one

    def _parts(self, wanted: Pass, size: int) -> Iterator[States]:
        """Rows as training takes them, at most `size` at a time."""
        skip = wanted.skip
        for part in self._all_parts(wanted, size):
            left_out = min(skip, part.shape[0])
            skip -= left_out
            if left_out < part.shape[0]:
                yield part[left_out:] if left_out else part

    def _all_parts(self, wanted: Pass, size: int) -> Iterator[States]:
        left, number, n_rows = wanted.n_rows, wanted.number, self.shape[0]
        while left:
            seen, rounded = 0, left >= n_rows
            for data, order in self._pieces(wanted.key, number):
                seen += len(order)
                order = order[:left]
                left -= len(order)
                if not len(order):
                    continue
                for rows, local in data.batches(order, size):
                    for first in range(0, len(local), size):
                        part = rows[local[first : first + size]]
                        yield part if self.binary else self._as_grey(part)
                    del rows, part
                del data
                if not left and not rounded:
                    break
            if rounded and seen != n_rows:
                raise self._other_rows(seen)
            number += ROUND

    def _as_grey(self, part: Any) -> Any:
        """Rows of one chunk, which may be binary alone, in the form that those of all chunks have."""
        if self.levels and isinstance(part, PackedBits):
            return GreyLevels(WHITE * part.dense(np.uint8))
        if isinstance(part, PackedBits) or (isinstance(part, GreyLevels) and not self.levels):
            return part.dense(self.dtype)
        return part

    def head(self, n: int) -> Any:
        """The first rows as they are given, n at most."""
        for x in self._source.chunks():
            if x.shape[0]:
                return x[:n]
        raise self._other_rows(0)

    def _other_rows(self, seen: int) -> ValueError:
        return ValueError(
            f"X must have the same rows in every pass, got {seen} in this one and {self.shape[0]} when the data were "
            "looked over; a function must return a new iterator whenever it is called"
        )

    # -- what training asks for ----------------------------------------------------------------------------------------

    def order(self, key: Key, shuffle: bool, length: Callable[[int], int]) -> Order:
        """What `batches` takes, by the number of the pass; see `fastrbm._data.split.Split.order`."""
        return lambda epoch: Pass(key if shuffle else None, epoch, length(epoch))

    def batches(self, order: Pass, batch_size: int) -> Iterator[tuple[States, NDArray[np.int64]]]:
        """As `Rows.batches`: every piece but the last holds whole minibatches, wherever chunks end."""
        values = -(-self.shape[1] // 32) if self.binary else self.shape[1]  # whose bytes a row takes
        least = batch_size * batches_per_block(batch_size, values, self.dtype)
        held: list[States] = []
        n_held = 0
        for part in self._parts(order, least):
            held.append(part)
            n_held += part.shape[0]
            if n_held >= least:
                rows = join_rows(held)
                whole = n_held // batch_size * batch_size
                yield rows[:whole], np.arange(whole, dtype=np.int64)
                n_held -= whole
                held = [rows[whole:]] if n_held else []
        if n_held:
            yield join_rows(held), np.arange(n_held, dtype=np.int64)

    def in_order(self, size: int) -> Iterator[States]:
        """All rows once, encoded, at most `size` at a time."""
        for part in self._parts(Pass(None, 0, self.shape[0]), size):
            yield self.encoded(part)[0]

    def slices(self) -> Iterator[tuple[slice, States]]:
        """Pairs (rows, states) in order, the states of a piece at a time."""
        done = 0
        for data, _ in self._pieces(None, 0):
            for rows, states in data.slices():
                yield slice(done + rows.start, done + rows.stop), states
            done += data.shape[0]
        if done != self.shape[0]:
            raise self._other_rows(done)

    def contents(self) -> Iterator[States]:
        """Blocks of rows in order, of a piece at a time."""
        for data, _ in self._pieces(None, 0):
            yield from data.contents()

    def states(self, advice: str) -> States:
        """All rows as states of the layer."""
        return join_rows([data.states(advice) for data, _ in self._pieces(None, 0)])

    def encoded(self, batch: States) -> tuple[States, NDArray[np.bool_] | None]:
        """As `Rows.encoded`."""
        return self._encoder.encoded(batch)
