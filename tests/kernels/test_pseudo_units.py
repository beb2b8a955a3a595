"""Pseudo-likelihood of visible units of every type, against what the free energy says of the values of one unit."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import logsumexp

from fastrbm import Model
from fastrbm._kernels import get_backend, pack
from fastrbm._kernels.cpu import runtime
from fastrbm.units import get_unit
from unit_grids import PAIRS, REAL, points, random_model, sizes_of

reference, cpu = get_backend("reference"), get_backend("cpu")
FINITE = ["bernoulli", "ising", "onehot", "onehot(2)", "binomial(3)", "mixed(ising*1,onehot(2)*2)"]
pytestmark = pytest.mark.filterwarnings("error")


def score(model, v, backend=cpu):
    return backend.pseudo_likelihood(model.hidden, v, model.parameters, model.visible)


def wide(model):
    return Model(*(x.astype(np.float64) for x in model.parameters), *model.units)


def groups_of(model):
    """Columns of every variable, and its unit."""
    unit, n = get_unit(model.visible), len(model.visible_bias)
    first = 0
    for part, width in getattr(unit, "parts", ((unit, n),)):
        size = (part.n_classes or width) if part.name == "onehot" else 1
        for at in range(first, first + width, size):
            yield part, slice(at, at + size)
        first += width


def log_weights(model, row, columns, values):
    rows = np.repeat(row[None], len(values), axis=0)
    rows[:, columns] = values
    return -model.free_energy(rows, reference)


def log_density(model, row, columns, lowest):
    """By adaptive quadrature, cut where the integrand changes."""
    grid = np.linspace(lowest, 60, 12001)
    logs = log_weights(model, row, columns, grid[:, None])
    top, at = logs.max(), grid[logs.argmax()]
    ends = sorted({float(np.clip(at + far, lowest, None)) for far in (-40, -9, -3, -1, 0, 1, 3, 9, 40)})

    def f(u):
        return np.exp(log_weights(model, row, columns, [[u]])[0] - top)

    total = sum(quad(f, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0] for a, b in zip(ends, ends[1:], strict=False))
    return log_weights(model, row, columns, row[None, columns])[0] - top - np.log(total)


def brute_force(model, v):
    model, total = wide(model), np.zeros(len(v))
    for unit, columns in groups_of(model):
        for n, row in enumerate(v.astype(np.float64)):
            if not unit.finite:
                total[n] += log_density(model, row, columns, 0.0 if unit.name == "relu" else -60.0)
                continue
            size = columns.stop - columns.start
            values = unit.states(0, unit.n_states(size), size)
            logs = log_weights(model, row, columns, values)
            total[n] += logs[(values == row[columns]).all(axis=1)][0] - logsumexp(logs)
    return total


def states(model, n, seed=0):
    v = points(model.visible, len(model.visible_bias))[0]
    rng = np.random.default_rng(seed)
    rows = v[rng.integers(len(v), size=n)].copy()
    for unit, columns in groups_of(model):
        if not unit.finite:  # between the nodes, too
            rows[:, columns] = np.abs(rng.normal(0, 2, (n, 1))) if unit.name == "relu" else rng.normal(0, 2, (n, 1))
    return rows


# -- every pair -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_pair_is_brute_force(pair):
    for sizes in sizes_of(pair):
        model = random_model(pair, sizes, scale=1.2, seed=3)
        v = states(model, 3)
        wanted = brute_force(model, v)
        for backend in (cpu, reference):
            assert_allclose(score(model, v, backend), wanted, rtol=0, atol=1e-10, err_msg=backend.name)


@pytest.mark.parametrize("pair", [p for p in PAIRS if p[0] != "bernoulli"], ids="-".join)
def test_float32_parameters_are_used_in_float64(pair):
    model = random_model(pair, sizes_of(pair)[0], dtype=np.float32)
    v = states(model, 5).astype(np.float32)
    assert_allclose(score(model, v), score(wide(model), v.astype(np.float64)), rtol=1e-12)


@pytest.mark.parametrize("hidden", ["bernoulli", "ising", "onehot(5)", "onehot", "binomial(2)", "gaussian", "relu"])
@pytest.mark.parametrize(
    "visible", ["onehot(3)", "onehot", "binomial(7)", "gaussian", "relu", "mixed(gaussian*4,onehot(3)*9,relu*2)"]
)
@pytest.mark.parametrize("n,n_visible,n_hidden", [(1, 15, 5), (3, 15, 65), (70, 15, 135)])
def test_odd_sizes(visible, hidden, n, n_visible, n_hidden):
    """More hidden units than one product takes, in all shapes, against the plain form."""
    rng = np.random.default_rng([n, n_hidden])
    model = Model(0.5 / n_hidden**0.5 * rng.normal(size=(n_hidden, 15)), rng.normal(size=15), rng.normal(size=n_hidden),
                  visible, hidden)  # fmt: skip
    v = np.abs(rng.normal(size=(n, 15)))
    for unit, columns in groups_of(model):
        if unit.finite:
            size = columns.stop - columns.start
            v[:, columns] = unit.states(0, unit.n_states(size), size)[rng.integers(unit.n_states(size), size=n)]
    assert_allclose(score(model, v), score(model, v, reference), rtol=1e-12, atol=1e-12)
    assert_allclose([score(model, row[None])[0] for row in v[:5]], score(model, v)[:5], rtol=1e-12)


@pytest.mark.parametrize(
    ("pair", "width"),
    [
        (("gaussian", "bernoulli"), 3),
        (("relu", "binomial(2)"), 3),
        (("onehot(3)", "relu"), 9),
        (("binomial(2)", "onehot"), 9),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, tuple) else None,
)
def test_same_bits_for_any_number_of_threads(pair, width, monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)
    rng = np.random.default_rng(0)
    model = Model(rng.normal(size=(70, width)) / 20, rng.normal(size=width), rng.normal(size=70), *pair)
    unit = get_unit(pair[0])
    v = np.abs(rng.normal(size=(2500, width)))  # some blocks of rows
    if unit.finite:
        v = unit.states(0, unit.n_states(width), width)[rng.integers(unit.n_states(width), size=2500)]
    one, two, five = (score(model, v, get_backend("cpu", n)) for n in (1, 2, 5))
    np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(five, one)
    v[2000] = np.nan
    if not unit.finite:
        with pytest.raises(ValueError, match="too large for float64"):
            score(model, v, get_backend("cpu", 2))


# -- weights of all sizes ---------------------------------------------------------------------------------------------


def mixture(model, v):
    """1 / p(v_i | v_-i) = sum over h of p(h | v) / p(v_i | h), in extended precision."""
    w, a, b = (x.astype(np.longdouble) for x in model.parameters)
    unit, v = get_unit(model.hidden), v.astype(np.longdouble)
    h = unit.states(0, unit.n_states(len(b)), len(b))
    logs = (v @ w.T + b) @ h.T.astype(np.longdouble) + unit.base(h)
    logs -= logsumexp(logs, axis=1, keepdims=True)
    total = np.zeros(len(v), np.longdouble)
    for i in range(len(a)):
        theta = a[i] + h @ w[:, i]
        square = (theta - v[:, i, None]) ** 2 / 2
        if model.visible == "gaussian":
            surprise = square + np.log(2 * np.pi) / 2
        else:  # cgf - theta^2 / 2 is a constant far above 0
            near = np.minimum(theta, 30).astype(np.float64)
            cgf = get_unit("relu").cgf(near)
            surprise = np.where(
                theta > 0, square + (cgf - near**2 / 2), cgf - theta * v[:, i, None] + v[:, i, None] ** 2 / 2
            )
        total -= logsumexp(logs + surprise, axis=1)
    return total.astype(np.float64)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 30.0, 100.0, 1e3, 1e5, 1e8])
@pytest.mark.parametrize("hidden", FINITE)
@pytest.mark.parametrize("visible", ["gaussian", "relu"])
def test_densities_beside_any_weights(visible, hidden, scale):
    rng = np.random.default_rng(1)
    n_hidden = {"onehot(2)": 6, "binomial(3)": 3, "mixed(ising*1,onehot(2)*2)": 3}.get(hidden, 5)
    for spread in (1.0, scale):
        model = Model(rng.normal(0, scale, (n_hidden, 3)), rng.normal(0, spread, 3), rng.normal(0, spread, n_hidden),
                      visible, hidden)  # fmt: skip
        h = get_unit(hidden).states(0, get_unit(hidden).n_states(n_hidden), n_hidden)
        v = rng.normal(size=(12, 3))
        v[4:] += h[rng.integers(len(h), size=8)] @ model.weights + model.visible_bias  # where the model has its rows
        v[8:] *= rng.choice([1, -3, 0.1], size=(4, 3))
        v = np.abs(v) if visible == "relu" else v
        wanted = mixture(model, v)
        size = max(1.0, float(np.abs(model.hidden_bias + v @ model.weights.T).max()))
        for backend in (cpu, reference):
            got = score(model, v, backend)
            assert np.isfinite(got).all()
            # inputs of the hidden layer are rounded
            assert_allclose(got, wanted, rtol=1e-11, atol=1e-10 + 1e-14 * size)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e3, 1e5, 1e20])
@pytest.mark.parametrize("hidden", [*FINITE, "gaussian", "relu"])
@pytest.mark.parametrize("visible", ["onehot(3)", "binomial(3)", "mixed(ising*1,onehot*2)", "ising"])
def test_probabilities_beside_any_weights(visible, hidden, scale):
    rng = np.random.default_rng(2)
    model = Model(rng.normal(0, scale, (6 if "mixed" not in hidden else 3, 3)), rng.normal(size=3),
                  rng.normal(size=6 if "mixed" not in hidden else 3), visible, hidden)  # fmt: skip
    unit = get_unit(visible)
    v = unit.states(0, unit.n_states(3), 3)
    got = score(model, v)
    assert np.isfinite(got).all() and (got <= 0).all()
    assert_allclose(got, score(model, v, reference), rtol=1e-12, atol=1e-10 + 1e-14 * scale**2)


def test_rows_far_from_what_the_model_expects():
    """Each row alone where it lies outside the points that all rows share."""
    model = random_model(("gaussian", "bernoulli"), (2, 3), seed=1)
    v = np.array([[0.1, 0.2], [80.0, -0.5], [1e4, -1e6], [0.3, 30.0]])
    assert_allclose(score(model, v), mixture(model, v), rtol=1e-12)


def test_two_modes_far_apart():
    """Rows of either mode; the mass of the other one counts as well."""
    for gap in (5.0, 50.0, 500.0):
        model = Model([[gap]], [0.0], [-(gap**2) / 2], "gaussian", "bernoulli")
        v = np.array([[0.3], [gap - 0.3], [gap / 2]])
        modes = -((v - np.array([0, gap])) ** 2) / 2
        wanted = logsumexp(modes, axis=1) - np.log(2 * np.sqrt(2 * np.pi))
        assert_allclose(score(model, v), wanted, rtol=1e-10, atol=1e-15 * gap**2)


def test_densities_integrate_to_one():
    model = random_model(("relu", "mixed(relu*1,binomial(2)*2)"), (1, 3))
    nodes, shares = np.polynomial.legendre.leggauss(200)
    found = np.exp(score(model, 10 * (nodes + 1)[:, None]))
    assert_allclose(10 * shares @ found, 1, rtol=1e-10)


# -- missing entries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["bernoulli", "onehot", "relu"])
def test_missing_groups_are_left_out(hidden):
    rng = np.random.default_rng(0)
    model = Model(rng.normal(size=(4, 9)), rng.normal(size=9), rng.normal(size=4), "onehot(3)", hidden)
    v = np.tile(np.eye(3)[[2, 0, 1]].ravel(), (4, 1))
    v[1, :3] = v[2, 3:] = v[3] = 0
    for row, kept in enumerate((slice(0, 9), slice(3, 9), slice(0, 3), None)):
        wanted = 0.0
        if kept is not None:
            part = Model(model.weights[:, kept], model.visible_bias[kept], model.hidden_bias, "onehot(3)", hidden)
            wanted = score(part, v[row : row + 1, kept])[0]
        for backend in (cpu, reference):
            assert_allclose(score(model, v, backend)[row], wanted, rtol=1e-12)
    assert_allclose(score(model, pack(v)), score(model, v), rtol=1e-12)


@pytest.mark.parametrize("visible", ["onehot(3)", "binomial(3)", "gaussian", "relu"])
def test_no_rows(visible):
    model = Model(np.zeros((2, 3)), np.zeros(3), np.zeros(2), visible)
    for backend in (cpu, reference):
        assert score(model, np.zeros((0, 3)), backend).shape == (0,)


# -- integrals that do not exist --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [cpu, reference], ids=lambda b: b.name)
@pytest.mark.parametrize("visible", sorted(REAL))
@pytest.mark.parametrize("hidden", ["gaussian", "relu", "mixed(gaussian*1,relu*1)", "mixed(bernoulli*1,relu*1)"])
def test_couplings_of_one_or_more_have_no_density(backend, visible, hidden):
    for weight in (1.0, 1.5, 1e3):
        model = Model(np.full((2, 3), weight), np.zeros(3), np.zeros(2), visible, hidden)
        with pytest.raises(
            ValueError, match="conditional density of visible unit 0 .* does not exist.*less than 1, got"
        ):
            score(model, np.ones((1, 3)), backend)
    rounded = Model([[0.6], [0.8]], [0.0], [0.0, 0.0], visible if "mixed" not in visible else "relu", "gaussian")
    with pytest.raises(ValueError, match="less than 1, got 1:"):
        score(rounded, np.ones((1, 1)), backend)


def test_a_rectified_unit_that_holds_another_one_down_has_a_density():
    """Negative weights between ReLU units let the energy grow, however large they are."""
    for weight in (-1.0, -3.0, -50.0):
        model = Model([[weight], [0.2]], [0.5], [0.3, 0.1], "relu", "relu")
        v = np.array([[0.2], [1.5]])
        assert_allclose(score(model, v), brute_force(model, v), atol=1e-10)
        opposite = Model([[weight], [0.2]], [0.5], [0.3, 0.1], "gaussian", "relu")
        with pytest.raises(ValueError, match="does not exist"):
            score(opposite, v)


@pytest.mark.parametrize("weight", [0.9, 0.999])
def test_couplings_just_below_one(weight):
    normal = Model([[weight]], [0.5], [0.3], "gaussian", "gaussian")
    v = np.array([[0.2], [-30.0]])
    # E = v^2 / 2 - a v - (b + w v)^2 / 2
    tau, mean = 1 - weight**2, (0.5 + weight * 0.3) / (1 - weight**2)
    wanted = -tau * (v[:, 0] - mean) ** 2 / 2 + np.log(tau / (2 * np.pi)) / 2
    for backend in (cpu, reference):
        assert_allclose(score(normal, v, backend), wanted, rtol=1e-9)
    model = Model([[weight]], [0.5], [0.3], "relu", "relu")
    grid = np.linspace(0, 800, 400001)[:, None]
    logs = -model.free_energy(grid)
    area = np.log(np.trapezoid(np.exp(logs - logs.max()), grid[:, 0])) + logs.max()
    assert_allclose(score(model, grid[[100, 900]]), logs[[100, 900]] - area, rtol=1e-4)


def test_weights_beyond_all_bounds_are_refused():
    for visible in ("gaussian", "relu"):
        for size in (1e12, 1e40, 1e200):
            model = Model(np.full((2, 3), size), np.zeros(3), np.zeros(2), visible, "bernoulli")
            with pytest.raises(ValueError, match="too large for real-valued units.*scale the data"):
                score(model, np.ones((1, 3)))
        model = Model(np.full((2, 3), 1e308), np.zeros(3), np.zeros(2), visible, "bernoulli")
        with pytest.raises(ValueError, match="too large for"):
            score(model, np.ones((1, 3)))
        assert np.isfinite(score(Model([[1e-308]], [0.0], [0.0], visible), np.ones((1, 1)))).all()
