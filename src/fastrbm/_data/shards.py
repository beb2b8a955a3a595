"""Rows that several processes hold, each its own: the rows of the processes, in their order, are the data.

Every process has the same view of all of them, and gets the rows of a minibatch from where they are. Orders are
functions of the key and of the numbers of the rows, so that they do not depend on who holds what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import GreyLevels, PackedBits, States, join_rows
from .._kernels.draws import Key
from .._kernels.ranks import Ranks, all_do
from . import Rows
from .bits import VisibleData
from .chunks import FIRST_WINDOW, WINDOW_BLOCKS, ChunkedData, ChunkSource, Pass, RowSource, source_of
from .content import hashes_of
from .ranges import InputScale, Range
from .split import ROUND


@dataclass(frozen=True)
class Shard:
    """Rows of this process, for `fit`.

    Attributes
    ----------
    x : object
        In any form that `fit` takes; it may have no rows.
    ranks : Ranks
    """

    x: Any
    ranks: Ranks


class ShardSource:
    """What reads the rows of a `Shard`: all at once, by numbers, or as they come.

    Attributes
    ----------
    one_window : bool
        Whether all rows are shuffled together.
    """

    def __init__(self, shard: Shard):
        self.x, self.ranks = shard.x, shard.ranks
        self.pieces = all_do(self.ranks, lambda: source_of(self.x))
        kinds = self.ranks.gather(None if self.pieces is None else type(self.pieces).__name__)
        if len(set(kinds)) > 1:
            named = ["an array" if kind is None else kind for kind in kinds]
            raise TypeError(f"X must have one form on all processes, got {', '.join(named)} in their order")


@dataclass
class _Window:
    """Rows that are shuffled together, or come together.

    Attributes
    ----------
    n_rows : int
        On all processes.
    owners : callable
        Takes numbers of rows within the window; returns the process that has each.
    number_of : callable
        Takes those that this process has; returns their numbers in `data`.
    data : Rows or None
        Those of this process.
    """

    n_rows: int
    owners: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    number_of: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    data: Rows | None


class ShardedData(ChunkedData):
    """Visible data that several processes hold; see `ChunkedData`, whose orders of rows they have.

    Rows in arrays are shuffled all together, in the order that one array of all of them has; rows that are read by
    their numbers in windows; streams a chunk at a time, those of the first process first.

    Parameters
    ----------
    source : ShardSource
    validate, wrap, dtype, scale, limits
        As of `ChunkedData`.
    """

    def __init__(
        self,
        source: ShardSource,
        validate: Callable[[Any, bool], Any],
        wrap: Callable[[Any, float], Rows],
        dtype: Any,
        scale: InputScale,
        limits: Range,
    ):
        self._shards, self._ranks = source, source.ranks
        self._local: Rows | None = None
        self._form: tuple[str, int] | None = None
        super().__init__(source, validate, wrap, dtype, scale, limits)
        self._make_order()

    # -- looking all over -------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Look all rows over, each process its own; False if the scale that was assumed turned out to be wrong."""
        ranks, assumed = self._ranks, self._scale.value
        # names and number of the columns are those of the first row there is
        heads = ranks.gather(all_do(ranks, self._head_or_none))
        head = next((x for x in heads if x is not None), None)
        if head is None:
            raise ValueError("X must have at least one row, got none on any process")
        first = all_do(ranks, lambda: self._validate(head, True))
        self.given_dtype = first.dtype
        self._encoder = self._wrap(np.empty((0, first.shape[1]), first.dtype), 1.0)
        self.binary, self.missing, self.are_states, self.in_range = True, False, True, True
        self.levels = True
        self._counts: list[int] = []
        all_do(ranks, self._look_at_own)
        self._scale.merge(ranks.gather(self._scale.seen))
        if assumed == 1 and self._scale.value != 1:
            return False
        self._limits.merge(ranks.gather(self._limits.held))
        found = ranks.gather((self.binary, self.missing, self.are_states, self.in_range, self.levels, self._counts))
        binary, missing, are_states, in_range, levels, counts = zip(*found, strict=True)
        self.binary, self.are_states, self.in_range, self.levels = map(all, (binary, are_states, in_range, levels))
        self.missing = any(missing)
        self._all_counts: list[list[int]] = list(counts)
        rows = np.array([sum(c) for c in counts], dtype=np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(rows)])
        self.shape: tuple[int, int] = (int(self._offsets[-1]), self._encoder.shape[1])
        return self._scale.value == assumed

    def _head_or_none(self) -> Any:
        x = self._shards.x
        if self._shards.pieces is None:
            return _first_row(x)
        return next((piece[:1] for piece in self._shards.pieces.chunks() if piece.shape[0]), None)

    def _look_at_own(self) -> None:
        source = self._shards
        if source.pieces is None:
            if not _n_rows(source.x):
                self._counts = [0]
                return
            x = self._checked(source.x)
            self._scale.look(x)
            self._local = self._wrap(x, self._scale.factor(x))
            self._note(self._local)
            self._counts = [self._local.shape[0]]
            return
        for index, piece in enumerate(source.pieces.chunks()):
            self._counts.append(piece.shape[0])
            if not piece.shape[0]:
                continue
            x = self._checked(piece)
            self._scale.look(x)
            self._limits.piece = f"{source.pieces.name(index)} of X: "
            self._note(self._wrap(x, self._scale.factor(x)))

    def _checked(self, piece: Any) -> Any:
        x = self._validate(piece, False)
        if x.dtype != self.given_dtype:
            raise TypeError(f"X must have one dtype on all processes, got {x.dtype} beside {self.given_dtype}")
        return x

    def _note(self, data: Rows) -> None:
        self.binary = self.binary and data.binary
        self.are_states = self.are_states and data.are_states
        self.in_range = self.in_range and data.in_range
        self.missing |= data.missing
        self.levels = self.levels and isinstance(data, VisibleData) and data.levels

    def _make_order(self) -> None:
        """The order by content that rows in arrays, or few on disk, begin from; see `content`."""
        self._content = None
        ranks, pieces = self._ranks, self._shards.pieces
        if isinstance(pieces, ChunkSource):
            return
        if isinstance(pieces, RowSource):
            self._block = ranks.share(pieces.block)
            if -(-self.shape[0] // self._block) > WINDOW_BLOCKS:
                return
            data = self._of_blocks(np.arange(-(-self.shape[0] // self._block))).data
        else:
            data = self._local
        own = all_do(ranks, lambda: np.empty(0, np.uint64) if data is None else hashes_of(data.contents()))
        hashes = np.empty((self.shape[0], 1), np.uint64)
        hashes[self._offsets[ranks.rank] : self._offsets[ranks.rank + 1], 0] = own
        ranks.join(hashes, np.diff(self._offsets).tolist())
        self._content = np.argsort(hashes[:, 0], kind="stable")

    # -- passes -----------------------------------------------------------------------------------------------------

    def _windows(self, key: Key | None, number: int) -> Iterator[tuple[_Window, NDArray[np.int64]]]:
        """Windows of one round, with the order of their rows."""
        pieces = self._shards.pieces
        if isinstance(pieces, ChunkSource):
            for index, window in enumerate(self._of_chunks(pieces)):
                yield window, _order(window.n_rows, key and key.fold_in(FIRST_WINDOW + index), number)
            return
        if pieces is None:
            order = _order(self.shape[0], key, number)
            assert self._content is not None
            yield self._of_arrays(), order if key is None else self._content[order]
            return
        blocks = np.arange(-(-self.shape[0] // self._block))
        if key is None:
            for first in range(0, len(blocks), WINDOW_BLOCKS):
                window = self._of_blocks(blocks[first : first + WINDOW_BLOCKS])
                yield window, _order(window.n_rows, None, number)
        elif self._content is not None:
            yield self._of_blocks(blocks), self._content[_order(self.shape[0], key, number)]
        else:
            blocks = key.fold_in(FIRST_WINDOW - 1).permutation(len(blocks), number)
            for index, first in enumerate(range(0, len(blocks), WINDOW_BLOCKS)):
                window = self._of_blocks(np.sort(blocks[first : first + WINDOW_BLOCKS]))
                yield window, _order(window.n_rows, key.fold_in(FIRST_WINDOW + index), number)

    def _of_arrays(self) -> _Window:
        """All rows, in arrays."""
        first = self._offsets[self._ranks.rank]
        return _Window(self.shape[0], self._owners, lambda rows: rows - first, self._local)

    def _owners(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.searchsorted(self._offsets, rows, side="right") - 1
        return found

    def _of_blocks(self, blocks: NDArray[np.int64]) -> _Window:
        """The rows of some blocks, of which each process reads its own."""
        firsts = blocks * self._block
        lasts = np.minimum(firsts + self._block, self.shape[0])
        low, high = self._offsets[self._ranks.rank], self._offsets[self._ranks.rank + 1]
        numbers = np.concatenate([np.arange(a, b) for a, b in zip(firsts, lasts, strict=True)])
        owners = self._owners(numbers)
        own = owners == self._ranks.rank

        def read() -> Rows | None:
            if not own.any():
                return None
            parts = [
                np.asarray(self._shards.x[max(a, low) - low : min(b, high) - low])
                for a, b in zip(firsts, lasts, strict=True)
                if a < high and b > low
            ]
            return self._rows_of(np.concatenate(parts))

        places = np.cumsum(own) - 1
        data = all_do(self._ranks, read)
        return _Window(len(numbers), lambda rows: owners[rows], lambda rows: places[rows], data)

    def _of_chunks(self, pieces: ChunkSource) -> Iterator[_Window]:
        """Chunks, those of the first process first."""
        ranks = self._ranks
        chunks = iter(pieces.chunks())
        for rank, counts in enumerate(self._all_counts):
            for number, n in enumerate(counts):

                def read(rank: int = rank, number: int = number, n: int = n) -> Rows | None:
                    if rank != ranks.rank:
                        return None
                    piece = next(chunks, None)
                    got = 0 if piece is None else piece.shape[0]
                    if got != n:
                        raise self._other_chunk(number, got, n)
                    return self._rows_of(piece) if n else None

                data = all_do(ranks, read)
                yield _Window(n, lambda rows, rank=rank: np.full(len(rows), rank), lambda rows: rows, data)  # type: ignore[misc]

        def ended() -> None:
            if next(chunks, None) is not None:
                raise self._other_chunk(len(self._counts), "one more", 0)

        all_do(ranks, ended)

    @staticmethod
    def _other_chunk(number: int, got: Any, wanted: int) -> ValueError:
        return ValueError(
            f"X must have the same rows in every pass, got {got} in chunk {number}, which had {wanted} when the data "
            "were looked over; a function must return a new iterator whenever it is called"
        )

    def _rows_of(self, piece: Any) -> Rows:
        x = self._validate(piece, False)
        return self._wrap(x, self._scale.factor(x))

    def _all_parts(self, wanted: Pass, size: int) -> Iterator[States]:
        left, number = wanted.n_rows, wanted.number
        skip = wanted.skip  # minibatches of whole parts are not even asked for
        while left:
            for window, order in self._windows(wanted.key, number):
                order = order[:left]
                left -= len(order)
                for first in range(0, len(order), size):
                    rows = order[first : first + size]
                    if skip >= len(rows):
                        skip -= len(rows)
                        continue
                    yield self._from_all(window, rows[skip:])
                    skip = 0
                if not left:
                    break
            number += ROUND

    def _parts(self, wanted: Pass, size: int) -> Iterator[States]:
        return self._all_parts(wanted, size)

    def _from_all(self, window: _Window, rows: NDArray[np.int64]) -> Any:
        """Rows of a window, on every process."""
        ranks = self._ranks
        owners = window.owners(rows)

        def encode() -> NDArray[Any] | None:
            mine = rows[owners == ranks.rank]
            if window.data is None or not len(mine):
                return None
            taken = [part[local] for part, local in window.data.batches(window.number_of(mine), len(mine))]
            kept = [_stored(x if self.binary else self._as_grey(x)) for x in taken]
            return kept[0] if len(kept) == 1 else np.concatenate(kept)

        own = all_do(ranks, encode)
        if self._form is None:
            forms = ranks.gather(None if own is None else (own.dtype.str, own.shape[1]))
            self._form = next(form for form in forms if form is not None)
        counts = np.bincount(owners, minlength=ranks.size).tolist()
        joined = np.empty((len(rows), self._form[1]), self._form[0])
        first = sum(counts[: ranks.rank])
        if own is not None:
            joined[first : first + len(own)] = own
        ranks.join(joined, counts)
        # the rows came by their owners
        out = np.empty_like(joined)
        out[np.argsort(owners, kind="stable")] = joined
        if self.binary:
            return PackedBits(out, self._encoder.shape[1])
        return GreyLevels(out) if self.levels else out

    # -- what is asked beside training --------------------------------------------------------------------------------

    def head(self, n: int) -> Any:
        """The first rows as they are given, n at most, of the first process that has some."""

        def first() -> Any:
            x, pieces = self._shards.x, self._shards.pieces
            if pieces is None:
                return _rows(x, slice(0, n)) if _n_rows(x) else None
            return next((piece[:n] for piece in pieces.chunks() if piece.shape[0]), None)

        return next(x for x in self._ranks.gather(all_do(self._ranks, first)) if x is not None)

    def slices(self) -> Iterator[tuple[slice, States]]:
        """Pairs (rows, states) in order, the same on every process."""
        done = 0
        for states in self.in_order(_ROWS):
            yield slice(done, done + states.shape[0]), states
            done += states.shape[0]

    def contents(self) -> Iterator[States]:
        """Blocks of rows in order."""
        yield from self.in_order(_ROWS)

    def states(self, advice: str) -> States:
        """All rows as states of the layer."""
        if not self.are_states:
            raise ValueError(f"X must hold states of the visible layer. {advice}")
        return join_rows(list(self.in_order(_ROWS)))


_ROWS = 4096  # that are exchanged at a time


def _order(n: int, key: Key | None, number: int) -> NDArray[np.int64]:
    return np.arange(n, dtype=np.int64) if key is None else key.permutation(n, number)


def _stored(states: Any) -> NDArray[Any]:
    if isinstance(states, PackedBits):
        return states.words
    return states.values if isinstance(states, GreyLevels) else states


def _n_rows(x: Any) -> int:
    return int(x.shape[0]) if hasattr(x, "shape") else len(x)


def _rows(x: Any, rows: slice) -> Any:
    return x.iloc[rows] if hasattr(x, "iloc") else x[rows]


def _first_row(x: Any) -> Any:
    return _rows(x, slice(0, 1)) if _n_rows(x) else None
