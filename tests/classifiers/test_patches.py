"""PatchFeatures: features are those of a loop over all patches, whatever the size of the pieces."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrbm import BernoulliRBM, GaussianRBM
from fastrbm.classifiers import PatchFeatures, patches

DIGITS = load_digits()
X, Y = DIGITS.data, DIGITS.target
SMALL = GaussianRBM(5, sigma=0.5, n_iter=1, dtype=np.float64)


def by_hand(model, x, channels, shape, patch, grid):
    """Cut, normalise and average with loops; rows of the machine are made from its documented parts."""
    x = x.reshape(-1, channels, *shape).astype(float)
    places = [side - width + 1 for side, width in zip(shape, patch, strict=True)]
    cells = [[places[k] * i // grid[k] for i in range(grid[k] + 1)] for k in (0, 1)]
    found = []
    for image in x:
        row = []
        for i, j in itertools.product(range(grid[0]), range(grid[1])):
            inside = itertools.product(range(cells[0][i], cells[0][i + 1]), range(cells[1][j], cells[1][j + 1]))
            cut = np.array([image[:, a : a + patch[0], b : b + patch[1]].ravel() for a, b in inside])
            values = model._values
            if values is not None:
                cut = (cut - values.centre) / values.scale
                cut -= cut.mean(axis=1, keepdims=True)
                cut /= np.sqrt(cut.var(axis=1, keepdims=True) + model.contrast)
                cut = (cut - values.mean) @ values.rotation
            row.append(model.rbm_.transform(cut).mean(axis=0))
        found.append(np.concatenate(row))
    return np.array(found)


@pytest.mark.parametrize("options", [{}, {"whitening": None}, {"contrast": None, "whitening": None}])
@pytest.mark.parametrize(
    ("channels", "shape", "patch", "grid"),
    [
        (1, (8, 8), (3, 3), (2, 2)),
        (1, (8, 8), (1, 8), (3, 1)),
        (2, (4, 8), (2, 5), (3, 2)),
        (1, (1, 64), (1, 6), (1, 3)),
    ],
)
def test_features_are_those_of_a_loop(options, channels, shape, patch, grid):
    model = PatchFeatures(
        SMALL, shape=shape, channels=channels, patch=patch, grid=grid, n_patches=300, random_state=0, **options
    ).fit(X[:100])
    found = model.transform(X[:7])
    assert found.shape == (7, grid[0] * grid[1] * 5) and found.dtype == np.float64
    np.testing.assert_allclose(found, by_hand(model, X[:7], channels, shape, patch, grid), atol=2e-5)
    assert model.get_feature_names_out().shape == (found.shape[1],)


def test_rows_of_the_machine_are_centred_and_white():
    seen = {}

    class Looks(GaussianRBM):
        def fit(self, rows, y=None):
            seen["rows"] = rows
            return super().fit(rows)

    PatchFeatures(Looks(3, n_iter=1), shape=(8, 8), patch=3, whitening=1e-6, contrast=1e-3, random_state=0).fit(X)
    rows = seen["rows"].astype(float)
    assert rows.shape == (200_000, 9)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    variances = np.linalg.eigvalsh(np.cov(rows.T))
    assert variances[0] < 1e-6  # a mean was taken from each
    np.testing.assert_allclose(variances[1:], 1, atol=1e-3)


def test_pieces_and_seeds(monkeypatch):
    options = dict(shape=(8, 8), patch=4, n_patches=500)
    one = PatchFeatures(SMALL, random_state=3, **options).fit(X)
    wanted = one.transform(X[:50])
    np.testing.assert_array_equal(PatchFeatures(SMALL, random_state=3, **options).fit(X).transform(X[:50]), wanted)
    assert not np.array_equal(PatchFeatures(SMALL, random_state=4, **options).fit(X).transform(X[:50]), wanted)
    monkeypatch.setattr(patches, "_WORK", 8 * 25 * 16 * 7)  # seven images at a time
    np.testing.assert_allclose(one.transform(X[:50]), wanted, rtol=1e-6)


def test_bytes_and_units_of_pixels_do_not_matter():
    # the order of shuffled rows is that of their bytes
    rbm = clone(SMALL).set_params(shuffle=False)
    options = dict(rbm=rbm, shape=(8, 8), patch=4, n_patches=500, random_state=0)
    wanted = PatchFeatures(**options).fit(X).transform(X[:20])
    for other in (X.astype(np.uint8), X * 1e30, (X * 1e-20).astype(np.float32), X + 100):
        np.testing.assert_allclose(PatchFeatures(**options).fit(other).transform(other[:20]), wanted, atol=1e-3)
    constant = np.full((5, 64), 0.1)
    assert np.isfinite(PatchFeatures(**options).fit(constant).transform(constant)).all()


def test_a_machine_of_bits_takes_patches_as_they_are():
    model = PatchFeatures(
        BernoulliRBM(6, n_iter=1), shape=(8, 8), patch=4, contrast=None, whitening=None, n_patches=100, random_state=0
    )
    assert model.fit((X * 15).astype(np.uint8)).transform((X * 15).astype(np.uint8)).shape == (len(X), 54)


def test_features_of_patches_beat_pixels():
    scores = []
    for first in (PatchFeatures(shape=(8, 8), patch=4, n_patches=20_000, random_state=0), StandardScaler()):
        if isinstance(first, PatchFeatures):
            first.set_params(rbm__n_components=100)
        model = make_pipeline(first, StandardScaler(), LogisticRegression(C=0.1))
        scores.append(model.fit(X[:1000], Y[:1000]).score(X[1000:], Y[1000:]))
    assert scores[0] > scores[1] + 0.005, scores


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8, 9)}, r"shape must be that of the images: 1 of \(8, 9\) have 72 pixels, X has 64 columns"),
        ({"shape": 8}, r"shape must be \(height, width\)"),
        ({"shape": None, "channels": 3}, "channels must divide the number of columns, 64, got 3"),
        ({"patch": 9}, r"patch must be from 1 to \(8, 8\), the image, got 9"),
        ({"patch": (3, 0)}, r"patch must be from 1 to"),
        ({"patch": 2.5}, "patch must be None, an integer or two of them, got 2.5"),
        ({"grid": (4, 9), "patch": 2}, r"grid must be from 1 to \(7, 7\), the numbers of patches"),
        ({"n_patches": 0}, "n_patches must be"),
        ({"contrast": 0}, "The 'contrast' parameter"),
        ({"contrast": None}, "whitening must be None with contrast=None, got 0.1"),
        ({"rbm": "gaussian"}, "rbm must be None or an estimator of fastrbm"),
    ],
)
def test_options_that_cannot_be(options, message):
    model = PatchFeatures(SMALL, shape=(8, 8), n_patches=50, random_state=0).fit(X)
    before = model.transform(X[:2])
    model.set_params(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X)
    np.testing.assert_array_equal(model.transform(X[:2]), before)


def test_rows_that_cannot_be():
    model = PatchFeatures(SMALL, shape=(8, 8), n_patches=50)
    with pytest.raises(ValueError, match="X contains NaN"):
        model.fit(np.where(X == 3, np.nan, X))
    with pytest.raises(ValueError, match="X has 63 features"):
        model.fit(X).transform(X[:, 1:])
