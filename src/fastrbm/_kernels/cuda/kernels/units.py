"""Means and draws of unit types other than Bernoulli, from their natural parameters on the device.

`fastrbm.units` has the formulas; those here are for the unit types that whole passes of training are made of. Draws use
the same words as everywhere, so they differ from those of the host by rounding at a tie only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from .arguments import Address, tuple_type
from .normal import normal_of
from .scalar import is_on, philox, sigmoid_scale, softplus, uniform_of, wide_is_on, wide_uniform_of, word_at
from .target import add, cuda, device, normal_quantile, normal_share, scaled_tail, wide_div

_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_PI = math.sqrt(0.5 * math.pi)
#: of rectified neurons, as `fastrbm.units` has it: below, nothing of the size of theta is subtracted
_FAR = -6.0


@cuda.jit
def spin_means_kernel(theta):
    """Set theta to its hyperbolic tangent."""
    for at in range(cuda.grid(1), theta.size, cuda.gridsize(1)):
        row, neuron = at // theta.shape[1], at % theta.shape[1]
        theta[row, neuron] = math.tanh(theta[row, neuron])


def _make_draws(wide: bool) -> Any:
    """Kernel of spins and of normal neurons for float64 (wide) or float32."""

    @cuda.jit
    def draw_kernel(theta, normal, coefficients, address):
        """Set theta to drawn values: theta plus a standard normal one (`normal`), or spins."""
        n, n_neurons = theta.shape
        quads = (n_neurons + 3) // 4
        for at in range(cuda.grid(1), n * quads, cuda.gridsize(1)):
            row, quad = at // quads, at % quads
            w0, w1, w2, w3 = philox(quad, row, address)
            for j in range(4):
                neuron = 4 * quad + j
                if neuron < n_neurons:
                    word = word_at(j, w0, w1, w2, w3)
                    x = theta[row, neuron]
                    if normal:
                        if wide:
                            x += normal_quantile(wide_uniform_of(word))
                        else:
                            x = add(x, normal_of(word, coefficients))
                    else:
                        if wide:
                            up = wide_is_on(word, 2 * x)
                        else:
                            up = is_on(word, sigmoid_scale(x + x))
                        x = x - x - 1  # of the type of theta
                        if up:
                            x = -x
                    theta[row, neuron] = x

    return draw_kernel


DRAWS = {np.dtype(np.float32): _make_draws(False), np.dtype(np.float64): _make_draws(True)}


@device
def uniform_at(row, neuron, wide, address):
    """Uniform of a neuron of a row, of the cells of float32 or of all 32 bits (`wide`)."""
    w0, w1, w2, w3 = philox(neuron >> 2, row, address)
    word = word_at(neuron & 3, w0, w1, w2, w3)
    if wide:
        return wide_uniform_of(word)
    return np.float64(uniform_of(word))


@device
def rectified_mean(theta):
    """Mean of a normal number around theta that is not below 0; both forms are those of `fastrbm.units`."""
    if theta < _FAR:
        tail = -theta
        for k in range(20, 1, -1):
            tail = -theta + wide_div(np.float64(k), tail)
        return wide_div(1.0, tail)
    return theta + wide_div(1.0, _ROOT_HALF_PI * scaled_tail(-theta * _ROOT_HALF))


@device
def rectified_draw(theta, u):
    """The number of that distribution of which the share u is below."""
    if theta < _FAR:
        t = -theta
        e = -math.log1p(-u)
        x = wide_div(2.0 * e, t + math.sqrt(t * t + 2.0 * e))
        at_zero = scaled_tail(t * _ROOT_HALF)
        for _ in range(3):
            ratio = scaled_tail((t + x) * _ROOT_HALF)
            x += (e - x * (t + 0.5 * x) + math.log(wide_div(ratio, at_zero))) * _ROOT_HALF_PI * ratio
        return max(x, 0.0)
    inside = normal_share(theta)
    below, above = normal_share(-theta) + u * inside, (1.0 - u) * inside
    z = normal_quantile(min(below, above))
    if below < above:
        return max(theta + z, 0.0)
    return max(theta - z, 0.0)


@cuda.jit
def rectified_kernel(theta, drawn, wide, address):
    """Set theta to means or draws of rectified neurons."""
    n_neurons = theta.shape[1]
    for at in range(cuda.grid(1), theta.size, cuda.gridsize(1)):
        row, neuron = at // n_neurons, at % n_neurons
        x = np.float64(theta[row, neuron])
        if drawn:
            theta[row, neuron] = rectified_draw(x, uniform_at(row, neuron, wide, address))
        else:
            theta[row, neuron] = rectified_mean(x)


@device
def count_drawn(theta, n, u):
    """Count of n trials, by the inverse of the distribution function at 1 - u; sums start at the likelier end."""
    share = 1.0 - u
    if theta > 0:
        share = u
    down = -abs(theta)
    odds = math.exp(down)
    term = math.exp(-n * softplus(down))
    total, count, k = term, 0, 0
    while k < n and total <= share:
        count += 1
        term *= odds * wide_div(np.float64(n - k), np.float64(k + 1))
        total += term
        k += 1
    if theta > 0:
        return n - count
    return count


@cuda.jit
def counts_kernel(theta, n, drawn, wide, address):
    """Set theta to means or draws of the counts of n trials each."""
    n_neurons = theta.shape[1]
    for at in range(cuda.grid(1), theta.size, cuda.gridsize(1)):
        row, neuron = at // n_neurons, at % n_neurons
        x = np.float64(theta[row, neuron])
        if drawn:
            theta[row, neuron] = count_drawn(x, n, uniform_at(row, neuron, wide, address))
        else:
            theta[row, neuron] = n * math.exp(-softplus(-x))


def entry_points() -> list[tuple[str, Any, Any]]:
    """Kernels of this module: (name, kernel, signature)."""
    i64, flag, address, found = types.int64, types.boolean, tuple_type(Address), []
    for name, real in (("float32", types.float32), ("float64", types.float64)):
        rows = real[:, ::1]
        found += [
            (f"means of spins {name}", spin_means_kernel, types.void(rows)),
            (
                f"draws of spins and normals {name}",
                DRAWS[np.dtype(name)],
                types.void(rows, flag, types.float32[::1], address),
            ),
            (f"rectified {name}", rectified_kernel, types.void(rows, flag, flag, address)),
            (f"counts {name}", counts_kernel, types.void(rows, i64, flag, flag, address)),
        ]
    return found
