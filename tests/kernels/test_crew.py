"""Teams that go on with fewer threads while others take their processors: the same bits, and who is let go."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM
from fastrbm._kernels.cpu import labels, runtime
from fastrbm.classifiers import DiscriminativeRBM

RNG = np.random.default_rng(3)
BITS = RNG.random((200, 45)) < 0.3
GREY = np.round(255 * RNG.random((200, 45))).astype(np.uint8)
REAL = RNG.normal(size=(200, 45)).astype(np.float32)
FLOATS = RNG.random((200, 45)).astype(np.float32)
FEW = np.where(RNG.random((200, 45)) < 0.1, FLOATS, 0).astype(np.float32)
LABELS = RNG.integers(0, 3, 200)

LABELS_ALONE = {"objective": "discriminative"}
CASES = {
    "bits": (BernoulliRBM, {}, BITS),
    "bits, one chain a row": (BernoulliRBM, {"algorithm": "cd", "n_gibbs_steps": 2}, BITS),
    "bits, sampled": (BernoulliRBM, {"hidden_statistics": "sampled"}, BITS),
    "bits, 16-bit weights": (BernoulliRBM, {"precision": "fast", "optimizer": "adam"}, BITS),
    "bits, lean": (BernoulliRBM, {"strategy": "lcd", "n_gibbs_steps": 3}, BITS),
    "levels": (BernoulliRBM, {}, GREY),
    "grey": (BernoulliRBM, {}, FLOATS),
    "grey, drawn": (BernoulliRBM, {"stochastic_input": True}, FLOATS),
    "spins": (IsingRBM, {}, np.where(BITS, 1, -1).astype(np.int8)),
    "one-hot hidden units": (PottsRBM, {}, BITS),
    "real": (GaussianRBM, {"algorithm": "pcd"}, REAL),
    "real, sampled": (GaussianRBM, {"hidden_statistics": "sampled"}, REAL),
    "labels, bits": (DiscriminativeRBM, LABELS_ALONE, BITS),
    "labels, grey": (DiscriminativeRBM, LABELS_ALONE, FLOATS),
    "labels, few values": (DiscriminativeRBM, LABELS_ALONE, FEW),
}


@pytest.fixture
def tiny_teams(monkeypatch):
    # small problems would run on one thread otherwise
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(labels, "_MINIBATCHES", 1)


def fitted(case, every):
    cls, options, rows = CASES[case]
    runtime.extension.rehearse_crew(every)
    try:
        model = cls(70, batch_size=20, n_iter=2, random_state=0, n_threads=3, **options)
        model.fit(rows, LABELS) if cls is DiscriminativeRBM else model.fit(rows)
    finally:
        calls = runtime.extension.rehearse_crew(0)
    return {k: v for k, v in vars(model).items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiu"}, calls


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_members_that_leave_and_come_back_change_no_bit(tiny_teams, case, every):
    wanted, _ = fitted(case, 0)
    got, calls = fitted(case, every)
    assert calls > 0 or not runtime.has_openmp()
    assert len(wanted) >= 3
    for name, value in wanted.items():
        assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.skipif(not runtime.has_openmp(), reason="there are no teams without OpenMP")
def test_a_team_beside_busy_processors_goes_on_with_fewer_members():
    rows = RNG.random((20000, 196)) < 0.3
    spinners = []
    try:
        for _ in range(2 * runtime.n_processors()):
            command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
            spinners.append(subprocess.Popen(command, stdout=subprocess.PIPE))
            assert spinners[-1].stdout.readline()
        runtime.extension.rehearse_crew(0)
        model = BernoulliRBM(128, batch_size=100, n_iter=20, random_state=0, n_threads=2).fit(rows)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.communicate()
    assert runtime.extension.rehearse_crew(0) > 0
    assert_array_equal(model.components_, model.set_params(n_threads=1).fit(rows).components_)
