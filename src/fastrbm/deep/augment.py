"""Changed copies of images for training: functions of rows and a generator of draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._checks import check_image_shape, check_integer


class Flip(BaseEstimator):
    """Mirror each image left to right with probability 1/2.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images, whose pixels are the columns row by row.
    """

    def __init__(self, shape: Any):
        self.shape = shape

    def __call__(self, rows: NDArray[Any], draws: np.random.Generator) -> NDArray[Any]:
        """Return changed rows.

        Parameters
        ----------
        rows : ndarray, shape (n_samples, height * width)
        draws : numpy.random.Generator

        Returns
        -------
        ndarray, shape (n_samples, height * width)
        """
        images = _images(rows, self.shape)
        turned = draws.random(len(rows)) < 0.5
        return np.where(turned[:, None, None], images[:, :, ::-1], images).reshape(rows.shape)


class Shift(BaseEstimator):
    """Move each image by up to `pixels` in each direction, by a whole number; what comes in is 0.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images, whose pixels are the columns row by row.
    pixels : int, default=1
        Less than the height and the width.
    """

    def __init__(self, shape: Any, pixels: int = 1):
        self.shape = shape
        self.pixels = pixels

    def __call__(self, rows: NDArray[Any], draws: np.random.Generator) -> NDArray[Any]:
        """Return changed rows; see `Flip`."""
        images = _images(rows, self.shape)
        n, height, width = images.shape
        most = check_integer("pixels", self.pixels, 1, min(height, width) - 1)
        down, right = draws.integers(-most, most + 1, size=(2, n))
        padded = np.pad(images, ((0, 0), (most, most), (most, most)))
        y = (most - down)[:, None] + np.arange(height)
        x = (most - right)[:, None] + np.arange(width)
        return padded[np.arange(n)[:, None, None], y[:, :, None], x[:, None, :]].reshape(rows.shape)


def _images(rows: NDArray[Any], shape: Any) -> NDArray[Any]:
    height, width = check_image_shape(shape)
    if rows.shape[1] != height * width:
        raise ValueError(f"shape must be that of images of {rows.shape[1]} pixels, got {(height, width)}")
    return rows.reshape(-1, height, width)
