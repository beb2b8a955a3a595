"""Several devices: models and chains are shared among them, and nobody can tell from the results."""

import threading

import numpy as np
import pytest

from fastrbm import BernoulliRBM, DivergenceError, GaussianRBM, fit_many, likelihood
from fastrbm.many import variants

pytestmark = pytest.mark.only_on("emulated", "device", reason="the simulator has one device")
pytest.importorskip("numba_cuda")
from fastrbm._kernels.cuda import devices  # noqa: E402

if devices.count() < 2:
    pytest.skip("there is one device only", allow_module_level=True)

rng = np.random.default_rng(0)
BITS = (rng.random((30, 12)) < 0.4).astype(np.float32)
SAME = dict(batch_size=10, n_iter=2, device="cuda")


@pytest.fixture
def used(monkeypatch):
    """Numbers of the devices that did work of `on_all`."""
    seen, before = [], devices.on_device_number

    def noting(number):
        seen.append(number)
        return before(number)

    monkeypatch.setattr(devices, "on_device_number", noting)
    return seen


@pytest.mark.parametrize("options", [{}, dict(centered=True), dict(algorithm="fpcd")])
def test_models_have_the_bits_of_one_device(used, options):
    many = fit_many(variants(BernoulliRBM(5, **SAME, **options), random_state=range(4)), BITS)
    assert sorted(set(used)) == [0, 1] and len(used) == 4
    for seed, model in enumerate(many):
        alone = BernoulliRBM(5, **SAME, **options, random_state=seed).fit(BITS)
        np.testing.assert_array_equal(model.components_, alone.components_)
        np.testing.assert_array_equal(model.transform(BITS), alone.transform(BITS))
        assert len(model.history_["epoch"]) == 2


def test_a_model_that_diverges_is_named_and_the_others_are_fitted(used):
    models = [GaussianRBM(4, learning_rate=rate, random_state=0, **SAME) for rate in (0.01, 1e30, 0.01)]
    with pytest.raises(DivergenceError, match=r"\[1\] of 3"):
        fit_many(models, BITS)
    np.testing.assert_array_equal(models[0].components_, models[2].components_)


def test_annealing_has_the_bits_of_one_device(used, monkeypatch):
    model = BernoulliRBM(5, random_state=0, **SAME).fit(BITS).model_
    same = dict(method="ais", n_chains=24, n_temperatures=20, random_state=3, device="cuda")
    alone = likelihood.log_partition(model, **same)
    assert not used
    monkeypatch.setattr("fastrbm._kernels.cuda.backend.LEAST_CHAINS", 8)
    shared = likelihood.log_partition(model, **same)
    assert set(used) == {0, 1}
    assert (shared.value, shared.stderr) == (alone.value, alone.stderr)


def test_work_on_all_devices():
    here = threading.current_thread()
    assert devices.on_all(lambda k: threading.current_thread() is here, [0]) == [True]
    assert devices.on_all(lambda k: 2 * k, range(5)) == [0, 2, 4, 6, 8]
    stopped = threading.Event()

    def work(k):
        if k == 1:
            raise ValueError("one")
        assert stopped.wait(30)

    with pytest.raises(ValueError, match="one"):
        devices.on_all(work, range(2), stopped.set)


def test_what_is_kept_is_kept_for_each_device():
    made = []

    @devices.kept_per_device(2)
    def function(x):
        made.append((devices.current(), x))
        return len(made)

    assert [function(1), function(1), function(2), function(1)] == [1, 1, 2, 1]
    with devices.on_device_number(1):
        assert function(1) == 3
    assert function(1) == 4  # the oldest goes
    assert made == [(0, 1), (0, 2), (1, 1), (0, 1)]
