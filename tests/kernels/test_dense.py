"""Dense products: the same bits on every instruction set, for any threads, and whatever rows come with a row."""

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
