"""
Rows that do not fit into memory
================================

``fit`` reads rows from a memory-mapped file, an HDF5 data set, or pieces that a
function makes, in every pass anew. The result is, bit for bit, that of the same rows in
memory.
"""

# %%
# A file of images, written piece by piece: patterns of bars and stripes with noise. It
# is small enough for a web page to be built; the code is the same for a hundred times
# as many rows.

import tempfile
from pathlib import Path

import numpy as np

from fastrbm import BernoulliRBM, plot
from fastrbm.schedules import Cosine

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "rows.npy")
n_rows, side = 40_000, 16


def piece(seed, n):
    """Return n noisy images of a few bars or a few stripes."""
    rng = np.random.default_rng(seed)
    bars = np.repeat(rng.random((n, 1, side)) < 0.2, side, axis=1)
    upright = rng.random((n, 1, 1)) < 0.5
    images = np.where(upright, bars, bars.transpose(0, 2, 1)) ^ (
        rng.random((n, side, side)) < 0.02
    )
    return images.reshape(n, -1).astype(np.float32)


rows = np.lib.format.open_memmap(
    path, mode="w+", dtype=np.float32, shape=(n_rows, side * side)
)
for start in range(0, n_rows, 5000):
    rows[start : start + 5000] = piece(start, 5000)
rows.flush()
print(f"{path.stat().st_size / 1e6:.0f} MB on disk")

# %%
# Open it as a map, and fit.

options = dict(
    learning_rate=Cosine(0.1, 0.005),
    batch_size=64,
    n_iter=20,
    visible_bias="data",
    random_state=0,
)
mapped = np.load(path, mmap_mode="r")
from_disk = BernoulliRBM(48, **options).fit(mapped)
in_memory = BernoulliRBM(48, **options).fit(np.array(mapped))
print("the same bits:", np.array_equal(from_disk.components_, in_memory.components_))

# %%
# Pieces from a function: it is called once a pass, and only one piece is held at a
# time.


def pieces():
    """Yield the rows of one pass."""
    for start in range(0, n_rows, 5000):
        yield piece(start, 5000)


from_pieces = BernoulliRBM(48, **options).fit(pieces)

# %%
plot.plot_filters(
    from_pieces.components_,
    (side, side),
    columns=12,
    title="Learnt from pieces that were never in memory together",
)
folder.cleanup()

# %%
# **Take away:** give ``fit`` what reads your rows, not the rows. :doc:`/guide` says
# what forms there are, and :doc:`/performance` how memory grows (it does not).
