"""Features of images, by a machine of small pieces of them."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .._checks import check_image_shape, check_integer, is_integer
from .._data.finite import check_finite
from .._estimator.attributes import columns_of, set_columns
from .._estimator.files import Form, StoredParts
from .._estimator.restoring import array_like
from .._estimator.untouched import untouched
from .._kernels.draws import Key
from ..estimators import GaussianRBM
from ..init import Normal
from ..regularizers import SparsityTarget
from . import _parts

_RBM, _PATCHES = 0, 1
#: sides of patches and of the grid that None stands for, where the image is large enough
_PATCH, _GRID = 6, 3
#: bytes of the hidden units' means that `transform` has at a time
_WORK = 1 << 26


class Geometry(NamedTuple):
    """Sizes of images and of what they are cut into."""

    channels: int
    height: int
    width: int
    patch: tuple[int, int]
    grid: tuple[int, int]

    @property
    def places(self) -> tuple[int, int]:
        """Numbers of patches, down and across."""
        return self.height - self.patch[0] + 1, self.width - self.patch[1] + 1

    @property
    def n_pixels(self) -> int:
        """Pixels of a patch."""
        return self.channels * self.patch[0] * self.patch[1]

    def patches(self, x: NDArray[Any]) -> NDArray[Any]:
        """View all patches of images, shape (n_images, channels, down, across, patch height, patch width)."""
        return sliding_window_view(x.reshape(-1, self.channels, self.height, self.width), self.patch, axis=(2, 3))

    @classmethod
    def of(cls, n_features: int, shape: Any, channels: Any, patch: Any, grid: Any) -> Geometry:
        """Check options against the number of columns."""
        n_channels = check_integer("channels", channels, 1)
        if shape is None:
            if n_features % n_channels:
                raise ValueError(f"channels must divide the number of columns, {n_features}, got {n_channels}")
            height, width = 1, n_features // n_channels
        else:
            height, width = check_image_shape(shape)
        if n_channels * height * width != n_features:
            raise ValueError(
                f"shape must be that of the images: {n_channels} of {(height, width)} have "
                f"{n_channels * height * width} pixels, X has {n_features} columns"
            )
        sides = _pair("patch", patch, (height, width), _PATCH, "the image")
        places = height - sides[0] + 1, width - sides[1] + 1
        return cls(n_channels, height, width, sides, _pair("grid", grid, places, _GRID, "the numbers of patches"))


class Values(NamedTuple):
    """How a patch becomes a row of the machine."""

    centre: float
    scale: float
    contrast: float
    mean: NDArray[np.float64]
    rotation: NDArray[np.float64]

    def pixels(self, x: NDArray[Any]) -> NDArray[Any]:
        """Pixels of images in units of their deviation: float64 if they are, float32 otherwise."""
        return ((x - self.centre) / self.scale).astype(np.float64 if x.dtype == np.float64 else np.float32)

    def rows(self, patches: NDArray[Any]) -> NDArray[Any]:
        """Patches, each with mean 0 and of about the same contrast, whitened."""
        kind = patches.dtype
        return (_normalised(patches, self.contrast) - self.mean.astype(kind)) @ self.rotation.astype(kind)

    @classmethod
    def learned(cls, patches: NDArray[Any], contrast: float, whitening: float | None) -> Values:
        """Take centre, scale, mean and covariance from drawn patches."""
        drawn = patches.astype(np.float64)
        centre, scale = float(drawn.mean()), float(drawn.std())
        # of constant pixels, which rounding may have made another
        scale = scale if scale > 10 * np.finfo(np.float64).eps * abs(centre) else 1.0
        rows = _normalised((drawn - centre) / scale, contrast)
        mean = rows.mean(axis=0)
        rotation = np.eye(rows.shape[1])
        if whitening is not None:
            rows = rows - mean
            variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
            variances = np.maximum(variances, 0)
            rotation = (axes / np.sqrt(variances + whitening * (variances.mean() or 1.0))) @ axes.T
        return cls(centre, scale, contrast, mean, rotation)


class PatchFeatures(StoredParts, _parts.Parts, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features of images: what an RBM of small patches finds in each part of the image.

    The RBM learns from patches that are drawn at random. An image is the means of its hidden units over all patches in
    each cell of a grid. For images these say more on classes than the features of an RBM of whole images, and need
    fewer of them.

    Parameters
    ----------
    rbm : estimator of fastrbm or None, default=None
        A copy of it is fitted to rows of ``channels * height * width`` pixels of patches. None takes a `GaussianRBM` of
        400 hidden units that a `SparsityTarget` keeps off for most patches. Its options are there for searches, as
        ``rbm__n_components``.
    shape : (int, int) or None, default=None
        Height and width of the images, whose pixels are the columns row by row. None takes them as lines of pixels,
        (1, n_features / channels): signals, say.
    channels : int, default=1
        Images in a row of X, one after another: colours, say. A patch has the pixels of all of them.
    patch : int, (int, int) or None, default=None
        Height and width of patches. None takes 6, or the side of the image if that is less.
    grid : int, (int, int) or None, default=None
        Cells down and across. None takes 3, or the number of patches if that is less.
    n_patches : int, default=200000
        Patches that are drawn, with replacement, for the RBM to learn from.
    contrast : float or None, default=0.1
        From each patch its mean is taken, and it is divided by the root of its variance and this number, in units of
        the variance of all pixels; above 0. Patches of less contrast stay faint. None leaves values as they are, for
        a machine of bits or grey values; `whitening` must be None then.
    whitening : float or None, default=0.1
        Patches are whitened (ZCA), with this number, in units of the mean variance, added to the variance of each
        direction; above 0. None does not whiten.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the RBM and of the choice of patches. None leaves the RBM its own ``random_state``.

    Attributes
    ----------
    rbm_ : estimator
        The fitted RBM.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    RBMClassifier : Features of an RBM of whole rows, and a classifier.

    Notes
    -----
    Features are averages, of different deviations: standardise them for a linear classifier. Means, covariance and
    whitening are of NumPy's linear algebra, so the same seed has the same results on the same machine, and up to
    rounding on others.

    References
    ----------
    Coates, Ng, Lee, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastrbm.classifiers import PatchFeatures
    >>> X, y = load_digits(return_X_y=True)
    >>> features = PatchFeatures(shape=(8, 8), patch=3, n_patches=5000, random_state=0)
    >>> features = features.set_params(rbm__n_components=50)
    >>> model = make_pipeline(features, StandardScaler(), LogisticRegression(C=0.1)).fit(X[:1000], y[:1000])
    >>> model.score(X[1000:], y[1000:]) > 0.93
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "contrast": [Interval(Real, 0, None, closed="neither"), None],
        "whitening": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        rbm: Any = None,
        *,
        shape: Any = None,
        channels: int = 1,
        patch: Any = None,
        grid: Any = None,
        n_patches: int = 200_000,
        contrast: float | None = 0.1,
        whitening: float | None = 0.1,
        random_state: Any = None,
    ):
        self.rbm = rbm
        self.shape = shape
        self.channels = channels
        self.patch = patch
        self.grid = grid
        self.n_patches = n_patches
        self.contrast = contrast
        self.whitening = whitening
        self.random_state = random_state

    def _default(self, grey: bool = True) -> Any:
        return GaussianRBM(
            400,
            sigma=0.4,
            algorithm="cd",
            learning_rate=0.003,
            batch_size=100,
            n_iter=10,
            init=Normal(0.1),
            regularizers=(SparsityTarget(0.02, 0.1),),
        )

    def _check_made(self, x: Any) -> None:
        """Machines by default are the same for all rows."""

    def _check_options(self) -> None:
        self._validate_params()
        _parts.check_rbm(self.rbm)
        Key.check(self.random_state)
        check_integer("n_patches", self.n_patches, 1)
        if self.contrast is None and self.whitening is not None:
            raise ValueError(f"whitening must be None with contrast=None, got {self.whitening!r}")

    def fit(self, X: Any, y: Any = None) -> PatchFeatures:
        """Fit the RBM to patches of the images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images, in one table.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options or rows. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If the parameters of the RBM become infinite or NaN.
        """
        self._check_options()
        with untouched(self):
            x = self._rows(X, reset=True)
            geometry = Geometry.of(x.shape[1], self.shape, self.channels, self.patch, self.grid)
            key = Key.from_random_state(self.random_state)
            rbm = self._machine(self.rbm, x)
            if self.random_state is not None:
                _parts.seeded(rbm, key, _RBM)
            patches = _drawn(x, geometry, int(self.n_patches), key)
            values = None
            if self.contrast is not None:
                values = Values.learned(patches, float(self.contrast), self.whitening)
                patches = values.rows(values.pixels(patches))
            rbm.fit(patches)
            self.rbm_, self._geometry, self._values = rbm, geometry, values
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Compute the features of images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_features_out)
            Means over the patches of a cell of the means of the hidden units, cell after cell, row by row.
        """
        check_is_fitted(self)
        x = self._rows(X, reset=False)
        g = self._geometry
        n_hidden = len(self.rbm_.components_)
        down, across = (_edges(n, cells) for n, cells in zip(g.places, g.grid, strict=True))
        sizes = np.outer(np.diff(down, append=g.places[0]), np.diff(across, append=g.places[1]))
        n_places = g.places[0] * g.places[1]
        step = max(1, _WORK // (8 * n_places * max(n_hidden, g.n_pixels)))
        pieces = []
        for start in range(0, len(x), step):
            piece = x[start : start + step]
            patches = g.patches(piece if self._values is None else self._values.pixels(piece))
            # channels beside the pixels of a patch: a row is one patch
            rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, g.n_pixels)
            means = self.rbm_.transform(rows if self._values is None else self._values.rows(rows))
            means = means.reshape(len(piece), *g.places, n_hidden)
            sums = np.add.reduceat(np.add.reduceat(means, down, axis=1), across, axis=2)
            pieces.append((sums / sizes[..., None]).astype(means.dtype).reshape(len(piece), -1))
        return np.concatenate(pieces)

    def _rows(self, X: Any, *, reset: bool) -> NDArray[Any]:
        x = _parts.table_of(self, X, sparse=False, reset=reset)
        check_finite(x)
        return x

    # -- files ----------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        check_is_fitted(self)
        return {"rbm": self.rbm_}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        own = columns_of(self) | {"geometry": list(self._geometry), "as_they_are": self._values is None}
        if self._values is None:
            return own, {}
        centre, scale, contrast, mean, rotation = self._values
        return own, {"numbers": np.array([centre, scale, contrast]), "mean": mean, "rotation": rotation}

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        set_columns(self, own)
        channels, height, width, patch, grid = own["geometry"]
        self._geometry = g = Geometry.of(self.n_features_in_, (height, width), channels, tuple(patch), tuple(grid))
        self.rbm_ = _parts.machine_of(parts["rbm"], g.n_pixels)
        self._values = None
        if not own["as_they_are"]:
            centre, scale, contrast = map(float, array_like("numbers", arrays["numbers"], (3,), np.float64))
            if not (scale > 0 and contrast > 0):
                raise ValueError(f"scale and contrast must be above 0, got {scale} and {contrast}")
            mean = array_like("mean", arrays["mean"], (g.n_pixels,), np.float64)
            rotation = array_like("rotation", arrays["rotation"], (g.n_pixels, g.n_pixels), np.float64)
            self._values = Values(centre, scale, contrast, mean, rotation)

    @property
    def _n_features_out(self) -> int:
        """Number of features, for scikit-learn's names of columns."""
        return self._geometry.grid[0] * self._geometry.grid[1] * len(self.rbm_.components_)


def _pair(name: str, given: Any, most: tuple[int, int], usual: int, of: str) -> tuple[int, int]:
    """Two numbers from one, two or None, each from 1 to what fits."""
    if given is None:
        return min(usual, most[0]), min(usual, most[1])
    both = (given, given) if is_integer(given) else given
    if not isinstance(both, (tuple, list)) or len(both) != 2 or not all(is_integer(x) for x in both):
        raise ValueError(f"{name} must be None, an integer or two of them, got {given!r}")
    if not all(1 <= x <= limit for x, limit in zip(both, most, strict=True)):
        raise ValueError(f"{name} must be from 1 to {most}, {of}, got {given!r}")
    return int(both[0]), int(both[1])


def _edges(n: int, cells: int) -> NDArray[np.intp]:
    """Where cells begin that share n places as evenly as can be."""
    return np.arange(cells, dtype=np.intp) * n // cells


def _drawn(x: NDArray[Any], geometry: Geometry, count: int, key: Key) -> NDArray[Any]:
    """Patches at random places of random images, a row each."""
    draws = np.random.Generator(np.random.Philox(key=key.fold_in(_PATCHES).seed))
    places = geometry.places
    image, down, across = (draws.integers(0, n, count) for n in (len(x), *places))
    order = np.argsort(image, kind="stable")  # images are read in turn
    return geometry.patches(x)[image[order], :, down[order], across[order]].reshape(count, -1)[np.argsort(order)]


def _normalised(patches: NDArray[Any], contrast: float) -> NDArray[Any]:
    """Patches of mean 0, divided by the root of their variance and a constant."""
    patches = patches - patches.mean(axis=1, keepdims=True)
    return patches / np.sqrt(np.square(patches).mean(axis=1, keepdims=True) + patches.dtype.type(contrast))
