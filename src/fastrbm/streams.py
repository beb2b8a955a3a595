"""Data that are read piece by piece in every pass, because they do not fit into memory or are made on the fly.

Three forms are told apart from arrays by `source_of`:

* *rows on disk*: objects with a two-dimensional ``shape``, a NumPy ``dtype`` and slices, such as h5py datasets and
  zarr arrays, which are never converted as a whole. A pass that shuffles takes blocks of rows in random order,
  `WINDOW_BLOCKS` of them at a time, and the rows of these in random order. Data of one window are shuffled as arrays in
  memory are.
* *chunks*: a list of two-dimensional arrays (or sparse matrices, or data frames), or an object that can be iterated
  again and again. Chunks come in their own order; a pass that shuffles shuffles the rows within each.
* *a function* without arguments that returns an iterator over the chunks of one pass.

Minibatches do not end where chunks do. An order of rows is a function of the seed, the pass and the number of the
chunk, of nothing else.
"""

from __future__ import annotations

from ._data.chunks import READ_BYTES, WINDOW_BLOCKS, ChunkSource, RowSource, source_of

__all__ = ["READ_BYTES", "WINDOW_BLOCKS", "ChunkSource", "RowSource", "source_of"]
