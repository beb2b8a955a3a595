"""Data sets: the digits, the full image sets, shifted copies, and the ways to turn grey into bits."""

import os

import numpy as np
import pytest
import sklearn.datasets
from numpy.testing import assert_array_equal

from fastrbm import datasets

# ---------------------------------------------------------------- digits


def test_digits_are_scaled_to_bytes():
    digits = datasets.load_digits()
    assert digits.images.shape == (1797, 64) and digits.images.dtype == np.uint8
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert digits.shape == (8, 8) and digits.name == "digits"
    assert digits.labels.dtype == np.int64
    assert_array_equal(np.bincount(digits.labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    original = sklearn.datasets.load_digits().data
    assert_array_equal(digits.images, [[round(x * 255 / 16) for x in row] for row in original])


# ---------------------------------------------------------------- nudge


def test_nudge_by_hand():
    X = np.array([[1, 2, 3, 4, 5, 6]])
    expected = [
        [1, 2, 3, 4, 5, 6],
        [4, 5, 6, 0, 0, 0],  # up
        [0, 0, 0, 1, 2, 3],  # down
        [2, 3, 0, 5, 6, 0],  # left
        [0, 1, 2, 0, 4, 5],  # right
    ]
    assert_array_equal(datasets.nudge(X, (2, 3)), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bool", "int16"])
def test_nudge_keeps_dtype_order_and_labels(dtype):
    X = np.arange(24).reshape(4, 6).astype(dtype)
    before = X.copy()
    moved, labels = datasets.nudge(X, (2, 3), np.array([3, 1, 2, 0], dtype=np.int8))
    assert moved.dtype == X.dtype and moved.shape == (20, 6) and labels.dtype == np.int8
    assert_array_equal(labels, [3, 1, 2, 0] * 5)
    assert_array_equal(moved[:4], X)
    for row in range(4):
        assert_array_equal(moved[row::4], datasets.nudge(X[row : row + 1], (2, 3)))
    assert_array_equal(X, before)


def test_nudge_of_single_pixels_and_of_nothing():
    assert_array_equal(datasets.nudge([[7]], (1, 1)), [[7], [0], [0], [0], [0]])
    assert datasets.nudge(np.empty((0, 6), np.uint8), (2, 3)).shape == (0, 6)


@pytest.mark.parametrize(
    ("X", "shape", "y", "message"),
    [
        (np.zeros((2, 5)), (2, 3), None, r"X must have shape \(n, 6\)"),
        (np.zeros(6), (2, 3), None, "X must have shape"),
        (np.zeros((2, 6)), (6,), None, "shape must be"),
        (np.zeros((2, 6)), (-2, -3), None, "shape must be"),
        (np.zeros((2, 6)), (2, 3), [1], "one entry per row"),
        (np.zeros((2, 6)), (2, 3), 1, "one entry per row"),
    ],
)
def test_nudge_refuses(X, shape, y, message):
    with pytest.raises(ValueError, match=message):
        datasets.nudge(X, shape, y)


# ---------------------------------------------------------------- binarize


def test_bernoulli_has_the_grey_value_as_probability():
    grey = np.array([0, 1, 51, 128, 254, 255], dtype=np.uint8)
    n = 200_000
    mean = datasets.binarize(np.tile(grey, (n, 1)), random_state=0).mean(axis=0)
    p = grey / 255
    assert mean[0] == 0 and mean[-1] == 1
    assert (np.abs(mean - p) <= 5 * np.sqrt(p * (1 - p) / n)).all()


def test_bernoulli_pixels_are_independent():
    bits = datasets.binarize(np.full((100_000, 4), 0.5), random_state=1).astype(float)
    correlation = np.corrcoef(bits.T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(100_000)


@pytest.mark.parametrize("method", ["bernoulli", "threshold", "otsu"])
def test_bytes_and_floats_give_the_same_bits(method):
    X = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)
    expected = datasets.binarize(X, method, random_state=3)
    assert expected.dtype == np.uint8 and set(np.unique(expected)) == {0, 1}
    assert_array_equal(datasets.binarize(X / 255.0, method, random_state=3), expected)
    assert_array_equal(datasets.binarize((X / 255.0).astype(np.float32), method, random_state=3), expected)


@pytest.mark.parametrize("method", ["bernoulli", "threshold", "otsu"])
@pytest.mark.parametrize("seeding", [int, np.random.default_rng, np.random.RandomState])
def test_chunk_size_agnosticism(monkeypatch, method, seeding):
    X = np.random.default_rng(0).integers(0, 256, (101, 7), dtype=np.uint8)
    expected = datasets.binarize(X, method, random_state=seeding(5))
    for elements in (1, 7, 50, 10**9):
        monkeypatch.setattr(datasets, "_BLOCK_ELEMENTS", elements)
        assert_array_equal(datasets.binarize(X, method, random_state=seeding(5)), expected)


def test_seeds_differ_and_repeat():
    X = np.full((20, 30), 100, dtype=np.uint8)
    first, again, other = (datasets.binarize(X, random_state=seed) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).any()
    assert (datasets.binarize(X) != datasets.binarize(X)).any()


def test_threshold_is_in_the_units_of_the_data_and_exclusive():
    X = np.array([[0, 20, 21, 127, 128, 255]], dtype=np.uint8)
    assert_array_equal(datasets.binarize(X, "threshold"), [[0, 0, 0, 0, 1, 1]])
    assert_array_equal(datasets.binarize(X, "threshold", threshold=20), [[0, 0, 1, 1, 1, 1]])
    assert_array_equal(datasets.binarize(X, "threshold", threshold=0), [[0, 1, 1, 1, 1, 1]])
    assert_array_equal(datasets.binarize([[0.2, 0.5, 0.51]], "threshold"), [[0, 0, 1]])
    assert_array_equal(datasets.binarize([[0.2, 0.5, 0.51]], "threshold", threshold=0.1), [[1, 1, 1]])


def otsu_brute_force(row):
    best, bits = 0.0, np.zeros(len(row), dtype=np.uint8)
    for level in range(255):
        low, high = row[row <= level].astype(float), row[row > level].astype(float)
        if len(low) and len(high):
            variance = len(low) * len(high) * (high.mean() - low.mean()) ** 2
            if variance > best * (1 + 1e-12):
                best, bits = variance, (row > level).astype(np.uint8)
    return bits


def test_otsu_against_brute_force():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (60, 30), dtype=np.uint8)
    X[20:40] //= rng.integers(1, 60, (20, 1), dtype=np.uint8)
    X[40:, :15] = rng.integers(200, 256, (20, 15))
    X[40:, 15:] = rng.integers(0, 90, (20, 15))
    assert_array_equal(datasets.binarize(X, "otsu"), [otsu_brute_force(row) for row in X])


def test_otsu_separates_two_levels_and_leaves_flat_images_empty():
    X = np.array([[3, 3, 9, 9], [0, 0, 0, 255], [254, 255, 255, 255], [7, 7, 7, 7], [255] * 4], dtype=np.uint8)
    expected = [[0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert_array_equal(datasets.binarize(X, "otsu"), expected)


@pytest.mark.parametrize("method", ["bernoulli", "threshold", "otsu"])
def test_bits_pass_through(method):
    bits = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    result = datasets.binarize(bits, method, random_state=0)
    assert_array_equal(result, bits)
    assert not np.shares_memory(result, bits)
    assert_array_equal(datasets.binarize(bits.astype(bool), method, random_state=0), bits)
    if method != "otsu":  # whose last word on a flat row is 0
        assert_array_equal(datasets.binarize(bits.astype(float), method, random_state=0), bits)
    assert datasets.binarize(np.empty((0, 3)), method).shape == (0, 3)


def test_input_is_not_changed_and_may_be_any_view():
    X = np.random.default_rng(0).integers(0, 256, (10, 12), dtype=np.uint8)
    before = X.copy()
    view = datasets.binarize(X[::-2, ::3], random_state=0)
    assert_array_equal(view, datasets.binarize(np.ascontiguousarray(X[::-2, ::3]), random_state=0))
    assert_array_equal(X, before)


GREY = np.array([[0, 100, 255]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (np.array([[0.0, 255.0]]), {}, ValueError, r"X must lie in \[0, 1\].*255"),
        (np.array([[-0.1, 0.5]]), {}, ValueError, "X must lie"),
        (np.array([[np.nan, 0.5]]), {}, ValueError, "X must lie"),
        (np.array([[0.5, np.inf]]), {"method": "otsu"}, ValueError, "X must lie"),
        (np.array([[0, 255]]), {}, TypeError, "X must be uint8.*int64"),
        (np.array([["a", "b"]]), {}, TypeError, "X must be uint8"),
        (np.array([[1j]]), {}, TypeError, "X must be uint8"),
        (GREY[0], {}, ValueError, r"X must have shape \(n, n_features\)"),
        (GREY, {"method": "random"}, ValueError, "method must be .* got 'random'"),
        (GREY, {"threshold": 3}, ValueError, "threshold is for method='threshold' only"),
        (
            GREY,
            {"method": "threshold", "threshold": 256},
            ValueError,
            "threshold, like X, must be a finite number in .0, 255",
        ),
        (
            GREY,
            {"method": "threshold", "threshold": -1},
            ValueError,
            "threshold, like X, must be a finite number in .0, 255",
        ),
        (GREY, {"method": "threshold", "threshold": np.nan}, ValueError, "threshold, like X, must be a finite number"),
        (
            GREY / 255,
            {"method": "threshold", "threshold": 127},
            ValueError,
            "threshold, like X, must be a finite number in .0, 1",
        ),
        (GREY, {"method": "threshold", "threshold": "x"}, ValueError, "threshold, like X, must be a finite number"),
        (GREY, {"method": "threshold", "threshold": True}, ValueError, "threshold, like X, must be a finite number"),
        (GREY, {"random_state": "x"}, TypeError, "random_state must be"),
        (GREY, {"random_state": -1}, ValueError, "random_state must be"),
    ],
)
def test_binarize_refuses(X, options, error, message):
    with pytest.raises(error, match=message):
        datasets.binarize(X, **options)


# ---------------------------------------------------------------- the real files

needs_data = pytest.mark.skipif(
    "FASTRBM_DATA" not in os.environ, reason="the full sets are tested when FASTRBM_DATA names their folder"
)


@needs_data
@pytest.mark.parametrize(
    ("load", "mean"), [(datasets.load_mnist, 0.1306604762), (datasets.load_fashion_mnist, 0.2860405969)]
)
def test_full_sets(load, mean):
    whole = load("all", download=False)
    assert whole.images.shape == (70000, 784) and whole.shape == (28, 28)
    assert_array_equal(np.unique(whole.labels), np.arange(10))
    assert whole.images[:60000].mean() / 255 == pytest.approx(mean, abs=1e-9)
    test = load("test", download=False)
    assert_array_equal(test.images, whole.images[60000:])
    assert_array_equal(test.labels, whole.labels[60000:])


@needs_data
def test_fashion_mnist_has_equal_classes():
    assert_array_equal(np.bincount(datasets.load_fashion_mnist(download=False).labels), [6000] * 10)


@needs_data
def test_bernoulli_on_a_full_set_keeps_the_mean():
    images = datasets.load_mnist("test", download=False).images
    bits = datasets.binarize(images, random_state=0)
    assert bits.mean() == pytest.approx(images.mean() / 255, abs=2e-4)
