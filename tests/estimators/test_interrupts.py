"""Interrupts while data are looked at."""

import signal

import numpy as np
import pytest

from fastrbm import BernoulliRBM, IsingRBM
from fastrbm._data import bits, blocks, ranges


class Watched(np.ndarray):
    """Rows that note how many values are read at a time, and are interrupted by the user soon."""

    sizes: list = []

    def __getitem__(self, index):
        found = np.asarray(self)[index]
        if isinstance(index, slice):
            Watched.sizes.append(found.size)
            if len(Watched.sizes) == 2:
                signal.raise_signal(signal.SIGINT)
        return found


def rows_of(kind):
    rng = np.random.default_rng(0)
    if kind in ("grey", "outside"):
        return rng.random((4000, 64)) * (3 if kind == "outside" else 1)
    if kind == "spins":
        return 2.0 * rng.integers(0, 2, (4000, 64)) - 1
    return rng.integers(0, 4 if kind == "counts" else 2, (4000, 64)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["bits", "counts", "grey", "outside", "spins"])
def test_an_interrupt_is_heard_between_blocks(kind, monkeypatch):
    """Rows of a memory map are read a block at a time, by every step that looks at all of them."""
    monkeypatch.setattr(ranges, "_BLOCK", 1 << 12)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(bits, "_ROWS", 16)
    monkeypatch.setattr(bits.VisibleData, "_row_contiguous", lambda self: False)
    X = rows_of(kind)
    cls = IsingRBM if kind == "spins" else BernoulliRBM
    rbm = cls(4, n_iter=1, random_state=0, out_of_range="allow").fit(X[:100])
    before = rbm.components_.copy()
    monkeypatch.setattr(type(rbm), "_validated", lambda self, X, reset: X.view(Watched))
    Watched.sizes.clear()
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(X)
    assert len(Watched.sizes) == 2 and max(Watched.sizes) < X.size / 10
    np.testing.assert_array_equal(rbm.components_, before)


def test_levels_are_looked_for_in_blocks(monkeypatch):
    monkeypatch.setattr(ranges, "_BLOCK", 1 << 12)
    Watched.sizes.clear()
    with pytest.raises(KeyboardInterrupt):
        ranges.InputScale().look(rows_of("counts").view(Watched))
    assert Watched.sizes == [1 << 12] * 2
