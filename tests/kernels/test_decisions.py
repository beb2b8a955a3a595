"""Whether a unit is on: the native rule, that of NumPy, and the first step that spares most units the rule."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from decision_cases import CELLS, DOUBLE, SINGLE, boundary, rule
from fastrbm._kernels import pack
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.cpu.runtime import extension as _cpu
from fastrbm._kernels.draws import Draw, Stream, words

RULE, FIRST, OPEN = 1, 2, 4
SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1e-30, 1.0, -1.0, 15.9, -15.9, 16.7, -16.7, 22.9, -22.9, 86.6, -86.6, 86.7, -86.7]
SPECIAL += [100.0, -100.0, 745.0, -745.0, 3e38, -3e38, np.inf, -np.inf, np.nan]


def check(random, x):
    """Both steps agree where the first one says something; returns how many it leaves open."""
    found = _cpu.decide(random, x)
    open_ = found & OPEN != 0
    assert_array_equal((found & FIRST != 0)[~open_], (found & RULE != 0)[~open_])
    assert not (found[open_] & FIRST).any()
    return open_.sum(), found & RULE != 0


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_both_steps_agree_at_the_ends_of_all_cells(target, dtype):
    """Every one of 2^23 uniforms, with inputs around those at which its unit turns on."""
    rng = np.random.default_rng(0)
    size = 2**18  # float64 inputs take an exponential each, so of them there is one cell in eight
    for first in range(0, CELLS, size if dtype == SINGLE else 8 * size):
        cells = np.arange(first, first + size, dtype=np.uint32)
        random = cells << np.uint32(9) | rng.integers(0, 512, size, dtype=np.uint32)
        edge = boundary(random, dtype)
        opened, on = check(random, edge)
        assert opened == size  # nothing else is right there
        for distance in (3e-6, 3e-5, 3e-4):  # within the reach of the first step, about it, beyond
            for side in (-1, 1):
                width = (side * distance * rng.random(size) * (1 + np.exp(np.minimum(edge, 80)))).astype(dtype)
                check(random, edge + width)
        opened, on = check(random, edge + dtype(1))
        assert opened < size / 100 and on[edge < 10].all()
        opened, on = check(random, edge - dtype(1))
        assert opened < size / 1000 and not on.any()


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_the_native_rule_is_that_of_numpy(target, dtype):
    rng = np.random.default_rng(1)
    random = rng.integers(0, 2**32, 2**17, dtype=np.uint32)
    edge = boundary(random, dtype)
    number = np.int32 if dtype == SINGLE else np.int64
    beside = (edge.view(number) + rng.integers(-40, 41, len(edge), dtype=number)).view(dtype)
    for x in (edge, beside, rng.normal(0, 3, len(edge)).astype(dtype)):
        got, wanted = check(random, x)[1], rule(random, x)
        if dtype == SINGLE:
            assert_array_equal(got, wanted)
        else:  # two libraries' exponentials may round differently
            assert not (got != wanted)[np.abs(x / edge - 1) > 1e-12].any()


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_extreme_inputs(target, dtype):
    """Zeros, infinities, nan, and where exponents end, with the smallest, largest and middle uniforms."""
    ends = np.array([0, 1, 511, 512, 1023, 2**31 - 1, 2**31, 2**32 - 513, 2**32 - 512, 2**32 - 1], np.uint32)
    random, x = (a.ravel() for a in np.meshgrid(ends, np.array(SPECIAL, dtype), indexing="ij"))
    padded = -(-len(x) // 16) * 16
    random, x = np.resize(random, padded), np.resize(x, padded)
    on = check(random, x)[1]
    assert_array_equal(on, rule(random, x))
    assert on[x == np.inf].all() and not on[np.isnan(x)].any() and not on[x == -np.inf].any()


def test_all_magnitudes_of_float32(target):
    """One in 1009 of all float32, nan with the sign that operations give it."""
    rng = np.random.default_rng(2)
    x = np.arange(0, 2**32, 1009, dtype=np.int64).astype(np.uint32).view(np.float32)
    x = np.where(np.isnan(x), np.float32(np.nan), x)[: len(x) // 16 * 16]
    on = check(rng.integers(0, 2**32, len(x), dtype=np.uint32), x)[1]
    assert on[x > 20].all() and not on[x < -20].any()


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_few_units_are_left_open(target, dtype):
    rng = np.random.default_rng(3)
    random = rng.integers(0, 2**32, 2**20, dtype=np.uint32)
    opened, on = check(random, rng.normal(-1, 2, 2**20).astype(dtype))
    assert opened < 2**20 * (3e-5 if dtype == SINGLE else 2e-4)


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
@pytest.mark.parametrize("shape", [(1, 1), (16, 32), (33, 70), (64, 131)], ids=str)
def test_rows_of_inputs_are_drawn_by_the_rule(target, dtype, shape):
    """With inputs at which every unit is undecided after the first step, and elsewhere."""
    draw = Draw(7, 2**33 + 1, Stream.HIDDEN, 2**32 - 3)
    random = words(draw, *shape)
    for shift in (0.0, 1e-6, -1e-6, 1.0, -1.0):
        x = boundary(random, dtype) + dtype(shift)
        got = np.empty((shape[0], -(-shape[1] // 64)), np.uint64)
        _cpu.draw_inputs(x, draw, got, 2)
        bits = np.unpackbits(got.view(np.uint8), axis=1, bitorder="little")
        flat = np.resize(random.ravel(), -(-x.size // 16) * 16), np.resize(x.ravel(), -(-x.size // 16) * 16)
        assert_array_equal(bits[:, : shape[1]], check(*flat)[1][: x.size].reshape(shape))
        assert not bits[:, shape[1] :].any()


@pytest.mark.parametrize("transpose", [False, True])
def test_layers_are_drawn_by_the_rule_where_the_first_step_says_nothing(target, transpose):
    """Biases at which one chain's units are all undecided: the whole block is drawn again, and no other bit changes."""
    draw = Draw(11, 5, Stream.HIDDEN, 9)
    n, width = 37, 70
    random = words(draw, n, width)
    states = np.zeros((n, 5), np.float32)
    weights = np.zeros((5, width) if transpose else (width, 5), np.float32)
    for chain in (0, 20, 36):
        bias = boundary(random[chain], SINGLE)
        backend = CpuBackend(2)
        got = backend.samples("bernoulli", pack(states), weights, bias, draw, transpose=transpose)
        assert_array_equal(got.dense(np.float32), rule(random, np.broadcast_to(bias, random.shape)))


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (70, 100)], ids=str)
def test_grey_rows_are_drawn_by_their_uniforms(target, shape):
    """Probabilities next to the uniforms, 0 and 1 among them."""
    draw = Draw(3, 1, Stream.INPUT, 2**32 - 20)
    u = ((words(draw, *shape) >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    for grey in (u, np.nextafter(u, np.float32(0)), np.nextafter(u, np.float32(1)), np.zeros_like(u), np.ones_like(u)):
        got = CpuBackend(2).draw_bits(np.ascontiguousarray(grey), draw).dense(np.float32)
        assert_array_equal(got, u < grey)
