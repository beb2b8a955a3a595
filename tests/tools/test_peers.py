"""What the benchmarks measure against: peers learn, sample the model, and find exact sums."""

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks" / "run.py").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import data, quality, report  # noqa: E402
from benchmarks.ours import FastRBM  # noqa: E402
from benchmarks.peers import (  # noqa: E402
    Parameters,
    Training,
    likelihood_peers,
    sampling_peers,
    training_peers,
)
from benchmarks.peers.cupy_peer import CuPy  # noqa: E402
from benchmarks.peers.likelihood_peer import ScipySums  # noqa: E402

from fastrbm.likelihood._result import log_mean  # noqa: E402

N_VISIBLE = 784


TRAINING = {**training_peers(), "CuPy on NumPy": CuPy("numpy")}


@pytest.mark.parametrize("name", sorted(TRAINING))
def test_peers_learn_and_sample(name):
    peer = TRAINING[name]
    if not (possible := peer.available()):
        pytest.skip(possible.reason)
    rows = (data.synthetic(512) > data.THRESHOLD).astype(np.float32)
    threads = report.cores() if name == "jax" else 1  # it takes all of them
    training = Training(n_hidden=16, batch=32, n_epochs=5, rate=0.1, algorithm="pcd")
    parameters = peer.fit_epochs(rows, training, seed=0, threads=threads)
    assert [array.shape for array in parameters] == [(16, N_VISIBLE), (16,), (N_VISIBLE,)]
    untrained = Parameters(*map(np.zeros_like, parameters))
    assert quality.pseudo_likelihood(untrained, rows) == pytest.approx(-N_VISIBLE * math.log(2))
    assert quality.pseudo_likelihood(parameters, rows) > -0.7 * N_VISIBLE * math.log(2)
    H = peer.transform(parameters, rows, threads=threads)
    # weights of 8 bits move an input by a thousandth of it
    error = 1e-2 if name == "torch-bfloat16" else 1e-5
    np.testing.assert_allclose(H, quality.hidden_means(parameters, rows), atol=error)
    V = peer.gibbs(parameters, rows, 2, seed=0, threads=threads)
    assert set(np.unique(V)) <= {0.0, 1.0}
    assert V.shape == rows.shape
    mean = quality.sigmoid(H.astype(np.float64) @ parameters.W + parameters.a).mean()
    assert V.mean() == pytest.approx(mean, abs=0.1)


@pytest.mark.parametrize("name", sorted(sampling_peers()))
def test_peers_sample_the_model(name):
    peer = sampling_peers()[name]
    if not (possible := peer.available()):
        pytest.skip(possible.reason)
    assert not peer.supports(Training(n_hidden=2, batch=2, n_epochs=1, rate=0.1))
    rng = np.random.default_rng(0)
    parameters = Parameters(*(rng.normal(size=n).astype(np.float32) for n in ((3, 5), 3, 5)))
    n = 4000
    V = peer.gibbs(parameters, np.zeros((n, 5), np.float32), 60, seed=0, threads=report.cores())
    assert V.shape == (n, 5) and set(np.unique(V)) == {0.0, 1.0}
    states = np.array(list(itertools.product((0.0, 1.0), repeat=5)), np.float32)
    weights = np.exp(-quality.free_energy(parameters, states).astype(np.float64))
    means = weights @ states / weights.sum()
    np.testing.assert_allclose(V.mean(axis=0), means, atol=5 * 0.5 / math.sqrt(n))


def test_torch_forms_agree():
    pytest.importorskip("torch")
    peers = training_peers()
    rows = (data.synthetic(256) > data.THRESHOLD).astype(np.float32)
    for algorithm in ("cd", "pcd"):
        training = Training(n_hidden=16, batch=32, n_epochs=3, rate=0.1, algorithm=algorithm, k=2)
        figures = [
            quality.pseudo_likelihood(peer.fit_epochs(rows, training, seed=0, threads=1), rows)
            for peer in peers.values()
            if peer.name.startswith("torch") and peer.available()
        ]
        assert max(figures) - min(figures) < 0.05 * abs(figures[0])


@pytest.mark.parametrize("name", sorted(likelihood_peers()))
def test_likelihood_peers_find_the_exact_value(name):
    peer = likelihood_peers()[name]
    if not (possible := peer.available()):
        pytest.skip(possible.reason)
    rng = np.random.default_rng(0)
    W, b, a = (rng.normal(0, 0.2, shape).astype(np.float32) for shape in ((6, 20), 6, 20))
    wanted = ScipySums().partition(*(x.astype(np.float64) for x in (W, b, a)), threads=1)
    if hasattr(peer, "ais"):
        for side in (peer, FastRBM()):
            found = log_mean(side.ais(Parameters(W, b, a), 2000, 100, seed=0, threads=1)).value
            assert found == pytest.approx(wanted, abs=0.05)
    else:
        for side in (peer, FastRBM()):
            assert side.partition(W, b, a, threads=1) == pytest.approx(wanted, rel=1e-5)
