"""Log partition sums by several processes."""

import numpy as np
import pytest

from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, likelihood
from fastrbm._kernels import get_backend, sharing
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.sharing import SharingBackend
from fastrbm.distributed import log_partition, rehearse
from kernel_cases import model

rng = np.random.default_rng(0)
BITS = (rng.random((200, 40)) < 0.3).astype(np.float32)


@pytest.fixture(autouse=True)
def share_all(monkeypatch):
    monkeypatch.setattr(sharing, "LEAST_WORK", 0)


def found_by(n, fitted, *args, **options):
    results = rehearse(n, lambda comm: log_partition(fitted, *args, comm=comm, **options))
    values = {(x.value, x.stderr) for x in results}
    assert len(values) == 1
    return values.pop()


@pytest.mark.parametrize(
    "rbm, X",
    [
        (BernoulliRBM(16, random_state=0), BITS),
        (IsingRBM(15, random_state=0), 2 * BITS - 1),
        (GaussianRBM(14, random_state=0, learning_rate=0.01), rng.normal(size=(200, 5))),
    ],
)
def test_exact_sums(rbm, X):
    rbm.fit(X)
    alone = rbm.log_partition("exact").value
    first = found_by(1, rbm, "exact")
    np.testing.assert_allclose(first[0], alone, rtol=1e-7)  # products in single precision, as of the parameters
    for n in (2, 3, 5):
        assert found_by(n, rbm, "exact") == first
        assert found_by(n, rbm.model_, "exact") == first


@pytest.mark.parametrize("method", ["ais", "smc", "bracket", "tempering"])
def test_estimates_have_the_bits_of_one_process(method):
    rbm = BernoulliRBM(50, random_state=0).fit(BITS)
    options = dict(n_chains=70, n_temperatures=30) if method != "tempering" else dict(n_chains=10)
    alone = rbm.log_partition(method, **options)
    for n in (1, 2, 3):
        assert found_by(n, rbm, method, **options) == (alone.value, alone.stderr)


def test_weights_of_all_states():
    parameters = model(9, 15, np.float32, scale=0.4)
    units = ("bernoulli", "bernoulli")
    wanted = np.empty(1 << 15)
    CpuBackend(1).log_partition_sum(parameters, units, log_weights=wanted)

    def script(comm):
        got = np.empty(1 << 15)
        SharingBackend(CpuBackend(1), comm).log_partition_sum(parameters, units, log_weights=got)
        return got

    for got in rehearse(3, script):
        np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_a_seed_of_the_operating_system_is_shared():
    found = found_by(3, BernoulliRBM(50, random_state=0).fit(BITS).model_, "ais", n_chains=40, n_temperatures=10)
    assert np.isfinite(found[0])


def test_backends_are_shared_in_a_block_alone():
    def script(comm):
        with sharing.shared_by(comm):
            assert isinstance(get_backend(), SharingBackend)
        assert not isinstance(get_backend(), SharingBackend)
        return True

    assert rehearse(2, script) == [True, True]


def test_options_that_cannot_be_used_are_refused_by_all():
    rbm = BernoulliRBM(50, random_state=0).fit(BITS)

    def script(comm):
        with pytest.raises(ValueError, match="method must be one of"):
            log_partition(rbm, "guess", comm=comm)
        return float(likelihood.log_partition(rbm.model_, n_chains=10, n_temperatures=5, method="ais", random_state=0))

    assert len(set(rehearse(2, script))) == 1
