"""Dense products: the same bits on every instruction set, for any threads, and whatever rows come with a row."""

from fractions import Fraction

import numpy as np
import pytest

from fastrbm._kernels.cpu import use_target
from fastrbm._kernels.cpu.runtime import current_target
from fastrbm._kernels.cpu.runtime import extension as native
from kernel_cases import TARGETS

SIZES = [(1, 1, 1), (1, 70, 33), (5, 37, 12), (7, 784, 100), (65, 16, 64), (130, 33, 131), (300, 50, 17)]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def products(n, n_visible, n_hidden, dtype, n_threads=1, rows=slice(None)):
    rng = np.random.default_rng(n)
    x, h = (rng.normal(size=(n, width)).astype(dtype) for width in (n_visible, n_hidden))
    weights = rng.normal(size=(n_hidden, n_visible)).astype(dtype)
    a, b = (rng.normal(size=width).astype(dtype) for width in (n_visible, n_hidden))
    x, h = x[rows], h[rows]
    hidden, visible = np.empty((len(x), n_hidden), dtype), np.empty((len(x), n_visible), dtype)
    gradient = np.ones((n_hidden, n_visible), dtype)
    native.dense_inputs(x, weights, b, False, hidden, False, n_threads)
    native.dense_inputs(h, weights, a, True, visible, False, n_threads)
    native.dense_gradient(np.ascontiguousarray(h), x, 0.25, gradient, n_threads)
    wide = [y.astype(np.float64) for y in (x, h, weights, a, b)]
    return (hidden, visible, gradient), wide


@pytest.mark.parametrize("size", SIZES)
def test_products_are_right(size, dtype, target):
    found, (x, h, weights, a, b) = products(*size, dtype)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for value, wanted in zip(found, (x @ weights.T + b, h @ weights + a, 1 + 0.25 * h.T @ x), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance * 20)


@pytest.mark.parametrize("size", SIZES)
def test_the_same_bits_on_every_instruction_set_and_for_any_threads(size, dtype):
    before, seen = current_target(), set()
    try:
        for name in TARGETS:
            use_target(name)
            for n_threads in (1, 2, 3):
                seen.add(tuple(x.tobytes() for x in products(*size, dtype, n_threads)[0]))
    finally:
        use_target(before)
    assert len(seen) == 1


@pytest.mark.parametrize("size", SIZES)
def test_no_row_counts_for_another(size, dtype):
    (hidden, visible, _), _ = products(*size, dtype)
    for rows in (slice(0, 1), slice(0, 5), slice(2, 9), slice(1, None), slice(None, None, 3)):
        (part, back, _), _ = products(*size, dtype, rows=rows)
        np.testing.assert_array_equal(part, hidden[rows])
        np.testing.assert_array_equal(back, visible[rows])


def rounded_once(a, b, c):
    """Return float32(a * b + c) rounded once, by whole numbers: in units of 2^-300 all three are exact."""
    exact = [int(Fraction(float(x)) * 2**150) for x in (a, b)], int(Fraction(float(c)) * 2**300)
    total = Fraction(exact[0][0] * exact[0][1] + exact[1], 2**300)
    near = np.float32(float(total))
    candidates = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    distances = [abs(Fraction(float(x)) - total) for x in candidates]
    best = [x for x, d in zip(candidates, distances, strict=True) if d == min(distances)]
    return next(x for x in best if len(best) == 1 or not int(np.float32(x).view(np.uint32)) & 1)


def ties():
    """Return a, b, c whose sum is at or beside the middle of two floats, where two roundings differ from one."""
    rng = np.random.default_rng(0)
    a = np.float32(1 + 2.0**-12) * rng.choice([1, -1, 2.0**-20, 2.0**30], 400).astype(np.float32)
    b = (1 + rng.integers(0, 2**12, 400) * 2.0**-12).astype(np.float32)
    c = rng.choice([1.0, 2.0**-24, 3 * 2.0**-25, -(2.0**-30), 2.0**25, 0.0, -1.0], 400).astype(np.float32)
    return a, b, c


def below_the_normal():
    """Return a, b, c whose sum has fewer bits than other floats, or is nearly one half of the smallest."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 400)).astype(np.float32) * np.float32(2.0) ** rng.integers(-72, -60, (2, 400))
    c = rng.integers(-64, 64, 400) * np.float32(2.0**-149) * rng.choice([1.0, 2.0**10, 2.0**17], 400)
    a[:40], b[:40] = np.float32(2.0**-75), rng.choice([1, 1 + 2.0**-23, 1 - 2.0**-24, -1], 40) * 2.0**-75
    return a, b, c


def test_float32_sums_are_rounded_once_for_each_product(target):
    rng = np.random.default_rng(1)
    a, b, c = (
        np.concatenate([*x, rng.normal(size=200).astype(np.float32) * np.float32(10.0) ** rng.integers(-18, 18, 200)])
        for x in zip(ties(), below_the_normal(), strict=True)
    )
    a, b, c = (x.astype(np.float32) for x in (a, b, c))
    wanted = np.array([rounded_once(*x) for x in zip(a, b, c, strict=True)])
    twice = (a.astype(np.float64) * b + c).astype(np.float32)
    assert (wanted != twice).any() and (wanted != a * b + c).any()
    # c * 1 + a * b of one row and one unit at a time
    found = np.empty((len(a), 1), np.float32)
    for row, weights, out in zip(np.c_[c, a], np.c_[np.ones_like(b), b], found, strict=True):
        native.dense_inputs(row[None], weights[None].copy(), np.zeros(1, np.float32), False, out[None], False, 1)
    np.testing.assert_array_equal(found[:, 0], wanted)


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_so(special, dtype, target):
    rows = np.array([[special, 1.0, 2.0]] * 3, dtype)
    out = np.empty((3, 2), dtype)
    weights = np.array([[1, 2, 3], [-1, 0, 1]], dtype)
    native.dense_inputs(rows, weights, np.zeros(2, dtype), False, out, False, 1)
    np.testing.assert_array_equal(out, np.array([[special, -special]] * 3, dtype))
