"""All pairs of unit types, and their states or quadrature nodes: what models are compared with.

Formulas here are written out again, not those of the package.
"""

import itertools

import numpy as np
from scipy.special import comb, logsumexp

from fastrbm import Model

#: spec -> units of a layer when it is the larger and the smaller one
WIDTHS = {
    "bernoulli": (5, 3),
    "ising": (4, 3),
    "onehot": (5, 3),
    "onehot(2)": (6, 4),
    "binomial(3)": (3, 2),
    "gaussian": (2, 1),
    "relu": (2, 1),
    "mixed(ising*1,onehot(2)*2)": (3, 3),
    "mixed(relu*1,binomial(2)*2)": (3, 3),
}
SPECS = list(WIDTHS)
PAIRS = list(itertools.product(SPECS, SPECS))
REAL = {"gaussian", "relu", "mixed(relu*1,binomial(2)*2)"}
NORMAL = ("gaussian", "gaussian")
#: pairs whose partition sum is known exactly
SUMMED = [pair for pair in PAIRS if not set(pair) <= REAL or pair == NORMAL]


def sizes_of(pair):
    """(n_visible, n_hidden) in two shapes."""
    (v, small_v), (h, small_h) = WIDTHS[pair[0]], WIDTHS[pair[1]]
    return [(v, small_h), (small_v, h)]


def _axis(spec):
    """Values of one unit, the log measure of each, and its log base measure."""
    if spec == "gaussian":  # trapezoids of a Gaussian are exact to rounding
        x = np.arange(-12, 12.25, 0.25)
        return x, np.full(len(x), np.log(0.25)), -(x**2) / 2
    if spec == "relu":
        nodes, weights = np.polynomial.legendre.leggauss(60)
        x = 6 * (nodes + 1)
        return x, np.log(6 * weights), -(x**2) / 2
    values = {"bernoulli": [0, 1], "ising": [-1, 1], "binomial(2)": [0, 1, 2], "binomial(3)": [0, 1, 2, 3]}[spec]
    x = np.array(values, float)
    return x, np.zeros(len(x)), np.log(comb(x.max(), x)) if spec.startswith("binomial") else np.zeros(len(x))


def _side_by_side(parts):
    """Product of (states, log measures, log base measures)."""
    at = np.stack(np.meshgrid(*[np.arange(len(p[0])) for p in parts], indexing="ij"), -1).reshape(-1, len(parts))
    x = np.concatenate([np.atleast_2d(p[0].T).T[i] for p, i in zip(parts, at.T, strict=True)], axis=1)
    return x, *(sum(p[k][i] for p, i in zip(parts, at.T, strict=True)) for k in (1, 2))


def points(spec, n_units):
    """States or nodes of a layer, the log measure of each and its log base measure."""
    if spec.startswith("mixed"):
        pieces = [piece.split("*") for piece in spec[len("mixed(") : -1].split(",")]
        return _side_by_side([points(unit, int(width)) for unit, width in pieces])
    if spec == "onehot":
        return np.eye(n_units), np.zeros(n_units), np.zeros(n_units)
    if spec == "onehot(2)":
        return _side_by_side([(np.eye(2), np.zeros(2), np.zeros(2))] * (n_units // 2))
    return _side_by_side([_axis(spec)] * n_units)


def random_model(pair, sizes, scale=0.6, dtype=np.float64, seed=0):
    """Model whose partition sum is finite."""
    rng = np.random.default_rng(seed)
    n_visible, n_hidden = sizes
    shapes = (n_hidden, n_visible), n_visible, n_hidden
    weights, *biases = (rng.normal(0, scale, s).astype(dtype) for s in shapes)
    if set(pair) <= REAL:
        weights *= dtype(0.6 / max(0.6, np.linalg.norm(weights, 2)))
    return Model(weights, *biases, *pair)


def enumerated(model):
    """Points of both layers and their joint log weights with measure, shape (visible points, hidden points)."""
    w, a, b = (x.astype(np.float64) for x in model.parameters)
    (v, dv, base_v), (h, dh, base_h) = points(model.visible, len(a)), points(model.hidden, len(b))
    return v, h, (v @ a + dv + base_v)[:, None] + (h @ b + dh + base_h) + v @ w.T @ h.T


def joint(model):
    """Points and joint probabilities."""
    v, h, logs = enumerated(model)
    return v, h, np.exp(logs - logsumexp(logs))
