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
    channels : int, default=1
        Images in a row of the data, one after another: colours, say. All of them are changed alike.
    """

    def __init__(self, shape: Any, channels: int = 1):
        self.shape = shape
        self.channels = channels

    def __call__(self, rows: NDArray[Any], draws: np.random.Generator) -> NDArray[Any]:
        """Return changed rows.

        Parameters
        ----------
        rows : ndarray, shape (n_samples, channels * height * width)
        draws : numpy.random.Generator

        Returns
        -------
        ndarray, shape (n_samples, channels * height * width)
        """
        images = _images(rows, self.shape, self.channels)
        turned = draws.random(len(rows)) < 0.5
        return np.where(turned[:, None, None, None], images[..., ::-1], images).reshape(rows.shape)


class Shift(BaseEstimator):
    """Move each image by up to `pixels` in each direction, by a whole number; what comes in is 0.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images, whose pixels are the columns row by row.
    pixels : int, default=1
        Less than the height and the width.
    channels : int, default=1
        Images in a row of the data, one after another: colours, say. All of them are changed alike.
    """

    def __init__(self, shape: Any, pixels: int = 1, channels: int = 1):
        self.shape = shape
        self.pixels = pixels
        self.channels = channels

    def __call__(self, rows: NDArray[Any], draws: np.random.Generator) -> NDArray[Any]:
        """Return changed rows; see `Flip`."""
        images = _images(rows, self.shape, self.channels)
        n, channels, height, width = images.shape
        most = check_integer("pixels", self.pixels, 1, min(height, width) - 1)
        down, right = draws.integers(-most, most + 1, size=(2, n))
        padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)))
        image, channel = np.arange(n)[:, None, None, None], np.arange(channels)[:, None, None]
        y = (most - down)[:, None, None, None] + np.arange(height)[:, None]
        x = (most - right)[:, None, None, None] + np.arange(width)
        return padded[image, channel, y, x].reshape(rows.shape)


def _images(rows: NDArray[Any], shape: Any, channels: Any) -> NDArray[Any]:
    height, width = check_image_shape(shape)
    n_channels = check_integer("channels", channels, 1)
    if rows.shape[1] != n_channels * height * width:
        several = f"{n_channels} images of shape {(height, width)}" if n_channels > 1 else f"shape {(height, width)}"
        raise ValueError(f"rows of {rows.shape[1]} pixels are no images: {several} have {n_channels * height * width}")
    return rows.reshape(-1, n_channels, height, width)
