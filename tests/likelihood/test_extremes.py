"""Partition sums of models with huge weights, and intervals that hold their estimates."""

import warnings

import numpy as np
import pytest

from fastrbm import BernoulliRBM, Model
from fastrbm.likelihood import LogPartition, log_partition

UNITS = [
    ("bernoulli", "bernoulli"), ("ising", "ising"), ("ising", "bernoulli"), ("bernoulli", "onehot"),
    ("gaussian", "bernoulli"), ("binomial(3)", "bernoulli"), ("onehot(5)", "ising"),
]  # fmt: skip
METHODS = ("exact", "ais", "mais", "smc", "reverse", "bracket")


def huge(units, magnitude, dtype, shape=(4, 5), seed=0):
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        weights = (magnitude * rng.normal(size=shape)).astype(dtype)
    return Model(weights, np.zeros(shape[1], dtype), np.zeros(shape[0], dtype), *units)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("magnitude", [1e10, 1e15, 1e17, 1e18, 1e20, 3e37, 1e200, 1e300])
@pytest.mark.parametrize("units", UNITS)
def test_a_value_or_a_clear_error(units, magnitude, method):
    for dtype in (np.float32, np.float64):
        # annealing by the definitions takes seconds
        for device in ("cpu", "reference") if method == "exact" else ("cpu",):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found = log_partition(
                        huge(units, magnitude, dtype),
                        method,
                        n_chains=20,
                        n_temperatures=20,
                        random_state=0,
                        device=device,
                    )
                except ValueError as error:
                    assert "overflow" in str(error) or "must be finite" in str(error), error
                    assert magnitude > (1e300 if dtype == np.float64 and method == "exact" else 1e30) or (
                        # energies of normal units go with the square of the weights
                        units[0] == "gaussian" and magnitude > (1e17 if dtype == np.float32 else 1e150)
                    )
                    continue
            assert np.isfinite([found.value, *found.interval]).all() or method != "exact"
            assert found.interval[0] <= found.value <= found.interval[1]


@pytest.mark.parametrize("magnitude", [1e3, 1e10, 1e14, 1e15, 1e16, 1e18, 1e20, 1e30])
@pytest.mark.parametrize("sign", [-1, 1, 0])
def test_huge_sums_are_those_of_the_definition(magnitude, sign):
    for dtype in (np.float32, np.float64):
        model = huge(("bernoulli", "bernoulli"), magnitude, dtype, (6, 9))
        weights = model.weights if sign == 0 else (sign * np.abs(model.weights)).astype(dtype)
        model = Model(weights, model.visible_bias, model.hidden_bias)
        states = (np.arange(64)[:, None] >> np.arange(6) & 1) @ weights.astype(np.float64)
        energies = np.logaddexp(0, states).sum(axis=1)
        top = energies.max()
        wanted = top + np.log(np.exp(energies - top).sum())
        np.testing.assert_allclose(log_partition(model, "exact").value, wanted, rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_interval_of_a_bracket_holds_its_estimate(seed):
    rng = np.random.default_rng(3)
    hard = Model(3 * rng.normal(size=(30, 30)), np.zeros(30), np.zeros(30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = log_partition(hard, "bracket", n_chains=30, n_temperatures=30, random_state=seed)
    assert found.interval[0] + found.stderr < found.value < found.interval[1] - found.stderr


def test_no_result_is_made_of_what_is_no_number():
    with pytest.raises(ValueError, match="log Z is nan: .*overflow"):
        LogPartition(np.nan, 0.0, (0.0, 0.0), "exact")
    assert LogPartition(1.0, 0.0, (0.0, 0.5), "bracket").interval == (0.0, 1.0)


def test_a_fitted_model_of_huge_weights_says_so():
    rbm = BernoulliRBM(3, n_iter=0, random_state=0, dtype=np.float64).fit(np.eye(6))
    rbm.components_ = np.full((3, 6), 1e308)
    with pytest.raises(ValueError, match="overflow|finite"):
        rbm.log_likelihood(np.eye(6))
