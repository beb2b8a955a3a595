"""The rule that draws a Bernoulli unit, in NumPy, and the inputs at which its answer changes."""

import numpy as np

SINGLE, DOUBLE = np.float32, np.float64
CELLS = 2**23


def sigmoid_scale(x):
    """1 + e^-x as all backends have it: float32, each operation rounded."""
    f32 = np.float32
    t = x * f32(-1.44269504088896341)
    t = np.where(t < f32(-125), f32(-125), t)
    t = np.where(t > f32(125), f32(125), t)
    n = (t + f32(12582912)) - f32(12582912)
    f = t - n
    p = f * f32(0.001326472731307149)
    for c in (0.009671512991189957, 0.05550733581185341, 0.24022242426872253, 0.6931470036506653):
        p = (p + f32(c)) * f
    return np.ldexp(p + f32(1), np.nan_to_num(n).astype(np.int32)) + f32(1)


def rule(random, x):
    """Whether units are on, by words and inputs of either precision."""
    with np.errstate(over="ignore", invalid="ignore"):
        if x.dtype == DOUBLE:
            return (random + 0.5) * 2.0**-32 * (1 + np.exp(-x)) < 1
        cell = (random >> np.uint32(9)).astype(np.float32) + np.float32(0.5)
        return cell * sigmoid_scale(x) < np.float32(CELLS)


def boundary(random, dtype):
    """The input at which the unit of a word turns on."""
    u = ((random >> np.uint32(9)) + 0.5) * 2.0**-23 if dtype == SINGLE else (random + 0.5) * 2.0**-32
    return (np.log(u) - np.log1p(-u)).astype(dtype)
