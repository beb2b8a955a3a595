"""The rows that are trained on: Fashion-MNIST where it is found, else a stand-in that says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Rows kept aside for quality figures; see `benchmarks.quality` for what they cost.
N_HELD_OUT = 256

#: Pixels above this are on: 31 % of Fashion-MNIST's and 13 % of MNIST's.
THRESHOLD = 127


@dataclass(frozen=True)
class Images:
    """Training and held-out images as uint8 rows of 784 pixels, with the name of their source."""

    label: str
    train: np.ndarray
    held_out: np.ndarray

    @cached_property
    def binary(self) -> np.ndarray:
        """Thresholded training rows, float32."""
        return (self.train > THRESHOLD).astype(np.float32)

    @cached_property
    def grey(self) -> np.ndarray:
        """Training rows in [0, 1], float32."""
        return self.train.astype(np.float32) / np.float32(255)

    @cached_property
    def held_out_binary(self) -> np.ndarray:
        """Thresholded held-out rows, float32."""
        return (self.held_out > THRESHOLD).astype(np.float32)

    @cached_property
    def held_out_grey(self) -> np.ndarray:
        """Held-out rows in [0, 1], float32."""
        return self.held_out.astype(np.float32) / np.float32(255)


def synthetic(n_rows: int, seed: int = 0) -> np.ndarray:
    """Return uint8 images of 28x28 pixels made from scikit-learn's digits: enlarged, shifted, dimmed."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    small = load_digits().images / 16
    large = np.clip(zoom(small, (1, 3.5, 3.5), order=1), 0, 1)
    rng = np.random.default_rng(seed)
    which = rng.integers(len(large), size=n_rows)
    shifts = rng.integers(-3, 4, size=(n_rows, 2))
    gains = rng.uniform(0.7, 1, size=n_rows)
    rows = np.empty((n_rows, 28, 28), dtype=np.uint8)
    for row, index, shift, gain in zip(rows, which, shifts, gains, strict=True):
        row[:] = np.roll(large[index], shift, axis=(0, 1)) * (gain * 255)
    return rows.reshape(n_rows, 784)


def load_images(n_rows: int, name: str = "Fashion-MNIST") -> Images:
    """Return at most n_rows training images of "Fashion-MNIST" or "MNIST" and the held-out ones; never downloads."""
    from fastrbm import datasets

    load = {"Fashion-MNIST": datasets.load_fashion_mnist, "MNIST": datasets.load_mnist}[name]
    try:
        train = load(subset="train", download=False).images
        test = load(subset="test", download=False).images
    except FileNotFoundError:
        rows = synthetic(n_rows + N_HELD_OUT)
        label = f"synthetic stand-in (enlarged, shifted digits): {name} was not found"
        return Images(label, rows[:n_rows], rows[n_rows:])
    held_out = test[:: len(test) // N_HELD_OUT][:N_HELD_OUT]
    return Images(name, train[:n_rows], held_out)
