"""Image sets for examples and tests, and the two preparations that RBMs need: shifted copies and bits.

The 8x8 digits come with scikit-learn. MNIST and Fashion-MNIST are looked for in this order: an explicit
``path``, the folder in the environment variable ``FASTRBM_DATA``, the system folder of Debian's package
``dataset-fashion-mnist``, the package's own cache (``FASTRBM_CACHE`` moves it), then a download from OpenML.
Wherever the bytes come from, they must have the SHA-256 of the original files.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_image_shape, check_number
from ._datafiles import PARTS, SOURCES, ChecksumError, DatasetNotFoundError, cache_dir, file_names, find_files, read_idx

__all__ = [
    "ChecksumError",
    "Dataset",
    "DatasetNotFoundError",
    "binarize",
    "cache_dir",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "nudge",
    "read_idx",
]


class Dataset(NamedTuple):
    """Images with their labels, one image per row."""

    images: np.ndarray  #: uint8 (n, n_features), grey values 0..255, rows of pixels one after another
    labels: np.ndarray  #: int64 (n,)
    shape: tuple[int, int]  #: height and width of one image; n_features is their product
    name: str  #: "digits", "mnist" or "fashion-mnist"


def load_digits() -> Dataset:
    """Load the 1797 handwritten digits of 8x8 pixels that scikit-learn carries: no file, no network.

    Returns
    -------
    Dataset
        ``images`` uint8 (1797, 64): the source's grey values 0..16 times 255/16, rounded; ``labels`` 0..9.
    """
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    images = np.rint(bunch.data * (255.0 / 16.0)).astype(np.uint8)
    return Dataset(images, bunch.target.astype(np.int64), (8, 8), "digits")


def load_mnist(subset: str = "train", path: str | os.PathLike[str] | None = None, download: bool = True) -> Dataset:
    """Load MNIST: 60000 training and 10000 test images of handwritten digits, 28x28 pixels.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        "all" puts the test images after the training images.
    path : path-like, optional
        Folder with the original IDX files (``train-images-idx3-ubyte.gz`` and so on, ``.gz`` optional), or
        whose sub-folder ``mnist`` has them. When given, no other place is tried.
    download : bool, default=True
        Whether OpenML may be asked when no local copy is found. The download is kept in the cache.

    Returns
    -------
    Dataset
        ``images`` uint8 (n, 784), ``labels`` int64 (n,), ``shape`` (28, 28).

    Raises
    ------
    DatasetNotFoundError
        If no place has the files; the message lists the places.
    ValueError
        If ``subset`` is unknown or a file is damaged or differs from the original.
    """
    return _load_images("mnist", subset, path, download)


def load_fashion_mnist(
    subset: str = "train", path: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """Load Fashion-MNIST: 60000 training and 10000 test images of ten kinds of clothes, 28x28 pixels.

    Parameters, result and errors are those of :func:`load_mnist`; the sub-folder is ``fashion-mnist``, and
    ``/usr/share/datasets/fashion-mnist`` is looked at too.

    Returns
    -------
    Dataset
        ``images`` uint8 (n, 784), ``labels`` int64 (n,), ``shape`` (28, 28).
    """
    return _load_images("fashion-mnist", subset, path, download)


def nudge(X: Any, shape: tuple[int, int], y: Any = None) -> Any:
    """Return the images together with their copies shifted by one pixel in the four directions.

    Parameters
    ----------
    X : array-like (n, height * width), any dtype
        One image per row.
    shape : (height, width)
        Of one image.
    y : array-like (n, ...), optional
        Labels, repeated to match.

    Returns
    -------
    ndarray (5 n, height * width), or a pair with the labels (5 n, ...) if ``y`` is given
        Blocks of n rows: original, moved up, down, left, right; zeros enter at the edge. Dtypes are kept.

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """
    X = np.asarray(X)
    height, width = check_image_shape(shape)
    if X.ndim != 2 or X.shape[1] != height * width:
        raise ValueError(f"X must have shape (n, {height * width}) for images of {shape}; got {X.shape}")
    images = X.reshape(-1, height, width)
    moved = np.zeros((5, *images.shape), dtype=X.dtype)
    moved[0] = images
    moved[1, :, :-1] = images[:, 1:]
    moved[2, :, 1:] = images[:, :-1]
    moved[3, :, :, :-1] = images[:, :, 1:]
    moved[4, :, :, 1:] = images[:, :, :-1]
    result = moved.reshape(5 * len(X), height * width)
    if y is None:
        return result
    y = np.asarray(y)
    if y.ndim == 0 or len(y) != len(X):
        raise ValueError(f"y must have one entry per row of X ({len(X)}); got shape {y.shape}")
    return result, np.concatenate([y] * 5)


def binarize(
    X: Any, method: str = "bernoulli", *, threshold: float | None = None, random_state: Any = None
) -> np.ndarray:
    """Turn grey images into bits.

    Parameters
    ----------
    X : array-like (n, n_features), uint8 with 0..255, bool, or floating with values in [0, 1]
        One image per row. An uint8 array with nothing above 1 counts as bits already and is copied.
    method : {"bernoulli", "threshold", "otsu"}, default="bernoulli"
        "bernoulli" draws each pixel: 1 with probability grey value (uint8: / 255). "threshold" gives 1 above
        ``threshold``. "otsu" gives 1 above the grey level that maximises the variance between the two classes
        of pixels, one level per image among 256; an image of a single level becomes 0.
    threshold : float, optional
        For method "threshold" only, in the units of X; half of the range if left out.
    random_state : None, int, numpy Generator or RandomState
        For method "bernoulli". The bits depend on the seed alone, not on how rows are grouped internally.

    Returns
    -------
    ndarray of uint8 (n, n_features)
        Zeros and ones.

    Raises
    ------
    ValueError
        If a value is outside its range or not a number, or an option is unknown.
    TypeError
        If X is of another dtype.

    References
    ----------
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9(1), 62-66, 1979.
    """
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, n_features); got {X.shape}")
    if method not in ("bernoulli", "threshold", "otsu"):
        raise ValueError(f"method must be 'bernoulli', 'threshold' or 'otsu'; got {method!r}")
    if X.dtype not in (np.uint8, np.bool_) and X.dtype.kind != "f":
        raise TypeError(f"X must be uint8 (0..255), bool or floating (0..1); got dtype {X.dtype}")
    top = 255 if X.dtype == np.uint8 else 1
    level = _check_threshold(threshold, method, top)
    rng: Any = _generator(random_state) if method == "bernoulli" or random_state is not None else None
    if X.size == 0 or X.dtype == np.bool_ or (top == 255 and X.max() <= 1):
        return X.astype(np.uint8)
    bits = np.empty(X.shape, dtype=np.uint8)
    for rows in _row_blocks(*X.shape):
        grey = X[rows]
        if top == 1 and not (grey.min() >= 0 and grey.max() <= 1):  # also false for not-a-number
            raise ValueError(
                f"X must lie in [0, 1] when floating; got {grey.min()} to {grey.max()} in rows "
                f"{rows.start}..{rows.stop - 1} (pass grey values 0..255 as uint8)"
            )
        if method == "bernoulli":
            # double draws: exact for every grey level, and the generator's stream has no block structure
            bits[rows] = rng.random(grey.shape) < (grey if top == 1 else _GREY[grey])
        elif method == "threshold":
            bits[rows] = grey > level
        else:
            levels = grey if top == 255 else np.rint(grey * 255.0).astype(np.uint8)
            bits[rows] = levels > _otsu_levels(levels)[:, None]
    return bits


_GREY = np.arange(256) / 255.0
_BLOCK_ELEMENTS = 2**20


def _row_blocks(n: int, n_features: int) -> Iterator[slice]:
    """Yield slices of rows small enough for temporaries of a few megabytes."""
    step = min(4096, max(1, _BLOCK_ELEMENTS // n_features))  # 4096: Otsu keeps 256 counts for each row
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _check_threshold(threshold: float | None, method: str, top: int) -> float:
    if threshold is None:
        return top / 2
    if method != "threshold":
        raise ValueError(f"threshold is for method='threshold' only; got {threshold!r} with {method!r}")
    return check_number("threshold, like X,", threshold, 0, top)


def _generator(random_state: Any) -> Any:
    if isinstance(random_state, np.random.RandomState):
        return random_state
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        allowed = "None, a non-negative int, a numpy Generator or RandomState"
        raise type(error)(f"random_state must be {allowed}; got {random_state!r}") from None


def _otsu_levels(levels: np.ndarray) -> np.ndarray:
    """Return the best level per row; the upper class is what lies above it. 255 where there is no split."""
    n, size = levels.shape
    flat = levels + 256 * np.arange(n)[:, None]
    counts = np.bincount(flat.ravel(), minlength=256 * n).reshape(n, 256)
    below = counts.cumsum(axis=1)
    sums = (counts * np.arange(256)).cumsum(axis=1)
    # size^2 times the between-class variance is (S below - size s)^2 / (below (size - below))
    moment = (sums[:, -1:] * below - size * sums).astype(np.float64)
    weight = (below * (size - below)).astype(np.float64)
    variance = np.divide(moment**2, weight, out=np.zeros_like(moment), where=weight > 0)
    best = variance.argmax(axis=1)
    return np.where(variance.max(axis=1) > 0, best, 255)


def _load_images(name: str, subset: str, path: str | os.PathLike[str] | None, download: bool) -> Dataset:
    if subset not in PARTS:
        raise ValueError(f"subset must be one of {', '.join(map(repr, PARTS))}; got {subset!r}")
    source, parts = SOURCES[name], PARTS[subset]
    files = find_files(name, parts, path, download)
    total = sum(source.counts[part] for part in parts)
    images = np.empty((total, math.prod(source.shape)), dtype=np.uint8)
    labels = np.empty(total, dtype=np.uint8)
    start = 0
    for part in parts:
        rows = slice(start, start + source.counts[part])
        for file, out in zip(file_names(part), (images[rows], labels[rows]), strict=True):
            read_idx(files[file], out=out, sha256=source.sha256[file])
        start = rows.stop
    return Dataset(images, labels.astype(np.int64), source.shape, name)
