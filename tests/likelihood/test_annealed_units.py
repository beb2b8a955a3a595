"""Annealed estimates of every pair of unit types against exact sums."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from fastrbm import Model
from fastrbm._kernels import get_backend
from fastrbm._kernels.draws import Key
from fastrbm.likelihood import log_partition, paths, scouts
from fastrbm.units import get_unit

VISIBLE = [
    "bernoulli", "ising", "onehot(3)", "gaussian", "relu", "binomial(3)", "mixed(gaussian*3,bernoulli*5,onehot(4)*4)",
]  # fmt: skip
HIDDEN = ["bernoulli", "ising", "onehot(4)", "onehot", "binomial(2)", "gaussian", "relu"]
LISTED = [(v, h) for v in VISIBLE for h in HIDDEN if get_unit(v).finite or get_unit(h).finite]
PAIRS = [*LISTED, ("gaussian", "gaussian")]


def trained_like(pair, dtype=np.float32, seed=0):
    """Model of 12 visible (6 binomial ones) and 8 hidden units with couplings as training leaves them."""
    rng = np.random.default_rng(seed)
    scale = 0.2 if pair == ("gaussian", "gaussian") or "relu" in pair else 0.5
    n = 6 if pair[0].startswith("binomial") else 12
    weights = rng.normal(0, scale, (8, n))
    if pair == ("gaussian", "gaussian"):
        weights *= 0.8 / np.linalg.norm(weights, 2)
    biases = rng.normal(-0.2, 0.4, n), rng.normal(-0.2, 0.4, 8)
    return Model(*(x.astype(dtype) for x in (weights, *biases)), *pair)


def estimate(model, method, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return log_partition(model, method, **options)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_all_methods_hold_the_exact_value(pair):
    model = trained_like(pair)
    wanted = float(log_partition(model, "exact"))
    for method in ("ais", "mais", "smc", "reverse", "bracket", "tempering"):
        found = [estimate(model, method, n_chains=64, n_temperatures=100, random_state=s) for s in range(2)]
        for got in found:
            held = got.interval[0] <= wanted <= got.interval[1]
            close = abs(got.value - wanted) < max(5 * got.stderr, 0.02)
            assert held or (close and got.reliable), (method, got, wanted)
        assert any(x.reliable for x in found) or method == "ais", (method, found)


@pytest.mark.parametrize("pair", [("gaussian", "bernoulli"), ("onehot(3)", "ising"), ("relu", "binomial(2)")])
@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_intervals_cover(pair, device):
    model = trained_like(pair)
    wanted = float(log_partition(model, "exact"))
    n = 40 if device == "cpu" else 5
    found = [
        log_partition(model, "mais", n_chains=64, n_temperatures=60, random_state=s, device=device) for s in range(n)
    ]  # fmt: skip
    assert sum(x.interval[0] <= wanted <= x.interval[1] for x in found) >= 0.92 * n - 1


@pytest.mark.parametrize("pair", [("gaussian", "bernoulli"), ("onehot(3)", "onehot(4)"), ("relu", "binomial(2)")])
def test_same_bits_for_any_number_of_threads(pair):
    model = trained_like(pair)
    for method in ("smc", "bracket"):
        a, b = (
            log_partition(model, method, n_chains=32, n_temperatures=20, random_state=1, n_threads=n) for n in (1, 3)
        )
        assert a.value == b.value and a.interval == b.interval


@pytest.mark.parametrize(
    "unit", ["bernoulli", "ising", "gaussian", "relu", "binomial(4)", "onehot(3)", "mixed(relu*3,bernoulli*3)"]
)
def test_matched_parameters_have_the_means(unit):
    kind = get_unit(unit)
    theta = np.linspace(-2, 2, 6)
    wanted = kind.mean(theta)
    assert_allclose(kind.mean(scouts.natural_parameters(kind, wanted)), wanted, atol=1e-6)


def test_models_that_may_have_no_partition_sum():
    weights = np.full((4, 5), 0.5, np.float32)
    model = Model(weights, np.zeros(5), np.zeros(4), "gaussian", "gaussian")
    for method in ("auto", "ais", "smc"):
        with pytest.raises(ValueError, match="not normalisable"):
            log_partition(model, method)
    # all couplings are negative: the sum is finite, but the rule does not show it
    model = Model(-weights, np.zeros(5), np.zeros(4), "relu", "relu")
    with pytest.warns(ConvergenceWarning, match="may be infinite: the largest singular value"):
        got = log_partition(model, "smc", n_chains=64, n_temperatures=50, random_state=0)
    assert not got.reliable and got.interval[1] == np.inf and np.isfinite(got.value)
    weak = Model(0.1 * weights, np.zeros(5), np.zeros(4), "relu", "relu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weak_z = log_partition(weak, n_chains=64, n_temperatures=50, random_state=0)
    assert weak_z.method == "smc" and weak_z.reliable


def test_starts():
    rows = np.random.default_rng(0).normal(3, 1, (200, 12)).astype(np.float32)
    model = trained_like(("gaussian", "bernoulli"))
    visible, hidden = paths.bases_of(model, "base-rate", rows)
    assert_allclose(visible, rows.mean(axis=0), rtol=1e-5)
    assert not hidden.any()
    path = paths.Path(model, paths.bases_of(model, "biases", None), "hidden", get_backend(), Key(0))
    assert_allclose(path.start(20_000, 0).mean(axis=0), model.visible_bias, atol=0.04)
    with pytest.raises(ValueError, match="start='base-rate' needs visible units whose mean has an inverse"):
        log_partition(trained_like(("relu", "bernoulli")), "ais", start="base-rate", data=np.abs(rows))
    with pytest.raises(ValueError, match="start='base-rate' needs data, got data=None"):
        log_partition(model, "ais", start="base-rate")
    with pytest.raises(ValueError, match="start must be one of"):
        log_partition(model, "ais", start="nowhere")
