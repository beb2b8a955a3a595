"""Scalar device functions: Philox, uniforms, sigmoid. The same operations in the same order as the CPU kernels.

float32 arithmetic goes through `mul`, `add` and `div` of `target`, each rounded once and never contracted, so a draw
of the same input by the same address is the same bit on the CPU and on the GPU (lane_math.h of the CPU kernels has the
formulas and their errors).
"""

from __future__ import annotations

import math

import numpy as np

from .arguments import Address
from .target import add, bits_of_float, device, div, float_of_bits, mul, power_of_two, truncated

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_STEP_LOW = 0xFFFFFFFF
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_NINE = np.uint64(9)

ONE, TWO, HALF, ZERO = np.float32(1), np.float32(2), np.float32(0.5), np.float32(0)
_CELL = np.float32(2.0**-23)
_CELLS = np.float32(2.0**23)
_MAGIC = np.float32(12582912.0)
_LOG2_E = np.float32(-1.44269504088896341)
_LIMIT = np.float32(125)
_P1, _P2, _P3, _P4, _P5 = (
    np.float32(c)
    for c in (0.001326472731307149, 0.009671512991189957, 0.05550733581185341, 0.24022242426872253, 0.6931470036506653)
)
_LOG_2 = np.float32(0.693147180559945309)
#: ln 2 as a sum of which the first has so few digits that its products with small integers are exact
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E3, _E4, _E5, _E6, _E7 = (ONE / np.float32(k) for k in (6, 24, 120, 720, 5040))
#: bits of 1 / sqrt 2
_LOWEST_MANTISSA = 0x3F3504F3
_A3, _A5, _A7, _A9, _A11, _A13, _A15 = (ONE / np.float32(k) for k in (3, 5, 7, 9, 11, 13, 15))


@device
def address_at(draws, sweep, stream):
    """`Address` of the step that is `sweep` after the first of `draws`."""
    step = draws.step + sweep
    return Address(
        draws.seed_low, draws.seed_high, step & _STEP_LOW, (stream << 24) | ((step >> 32) & 0xFFFFFF), draws.first_chain
    )  # fmt: skip


@device
def philox(block, row, at):
    """Four words (uint64 below 2^32) of neurons 4 block .. 4 block + 3 of a row, by the `Address` of their layer."""
    c0, c1 = np.uint64(block) & _LOW, np.uint64(at.first_chain + row) & _LOW
    c2, c3 = np.uint64(at.step_low), np.uint64(at.step_high)
    k0, k1 = np.uint64(at.seed_low), np.uint64(at.seed_high)
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0 = (p1 >> _SHIFT) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _SHIFT) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@device
def word_at(place, w0, w1, w2, w3):
    """One of the four words of `philox`."""
    if place == 0:
        return w0
    if place == 1:
        return w1
    if place == 2:
        return w2
    return w3


@device
def cell_of(word):
    """Uniform of a word, times 2^23: the middle of one of that many equal cells."""
    return add(np.float32(np.int32(np.uint64(word) >> _NINE)), HALF)


@device
def uniform_of(word):
    """Uniform in (0, 1) of a word, float32."""
    return mul(cell_of(word), _CELL)


@device
def wide_uniform_of(word):
    """Uniform in (0, 1) of a word, float64: all of its 32 bits."""
    return (np.float64(word) + 0.5) * 2.0**-32


@device
def sigmoid_scale(x):
    """1 + e^-x in float32, the reciprocal of a sigmoid."""
    t = mul(x, _LOG2_E)
    if t < -_LIMIT:
        t = -_LIMIT
    if t > _LIMIT:
        t = _LIMIT
    n = add(add(t, _MAGIC), -_MAGIC)
    f = add(t, -n)
    p = mul(f, _P1)
    p = mul(add(p, _P2), f)
    p = mul(add(p, _P3), f)
    p = mul(add(p, _P4), f)
    p = add(mul(add(p, _P5), f), ONE)
    # p is in [0.7, 1.5], so this only changes its exponent
    return add(mul(p, power_of_two(truncated(n))), ONE)


@device
def is_on(word, scale):
    """Whether a neuron with the reciprocal probability `scale` is on, given its word."""
    return mul(cell_of(word), scale) < _CELLS


@device
def nearest(x):
    """Nearest integer of a float32, halves away from zero."""
    if x < ZERO:
        return truncated(add(x, -HALF))
    return truncated(add(x, HALF))


@device
def exponential(x):
    """e^x in float32 for x in [-87, 87], as the CPU kernels have it for classes."""
    n = add(add(mul(x, -_LOG2_E), _MAGIC), -_MAGIC)
    r = add(add(x, -mul(n, _LN2_HIGH)), -mul(n, _LN2_LOW))
    p = add(mul(r, _E7), _E6)
    p = add(mul(p, r), _E5)
    p = add(mul(p, r), _E4)
    p = add(mul(p, r), _E3)
    p = add(mul(p, r), HALF)
    p = add(mul(p, r), ONE)
    p = add(mul(p, r), ONE)
    return mul(p, power_of_two(truncated(n)))


@device
def mean_of(scale):
    """Probability of a neuron from its reciprocal."""
    return div(ONE, scale)


@device
def log_of(x):
    """Logarithm of a positive, normal float32: x = 2^e m with m in [1/sqrt 2, sqrt 2], and log m an odd series."""
    bits = bits_of_float(x)
    e = (bits - _LOWEST_MANTISSA) >> 23
    m = float_of_bits(np.int32(bits - (e << 23)))
    s = div(add(m, -ONE), add(m, ONE))
    q = mul(s, s)
    p = add(mul(_A15, q), _A13)
    p = add(mul(p, q), _A11)
    p = add(mul(p, q), _A9)
    p = add(mul(p, q), _A7)
    p = add(mul(p, q), _A5)
    p = add(mul(p, q), _A3)
    p = add(mul(p, q), ONE)
    return add(mul(np.float32(e), _LOG_2), mul(TWO, mul(s, p)))


@device
def wide_is_on(word, x):
    """Whether a neuron with the float64 input x is on, given its word."""
    return wide_uniform_of(word) * (1.0 + math.exp(-x)) < 1.0


@device
def softplus(x):
    """log(1 + e^x), float64."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
