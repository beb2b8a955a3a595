"""What only a device shows: sizes with many blocks, processes side by side, memory that runs out."""

import subprocess
import sys

import numpy as np
import pytest

from fastrbm import BernoulliRBM, Model, likelihood
from fastrbm._kernels import get_backend
from fastrbm._kernels.draws import Draw
from kernel_cases import UNITS, bits, model

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
pytestmark = pytest.mark.only_on("device", reason="larger than an emulated device does in minutes")


@pytest.mark.parametrize("n,n_visible,n_hidden", [(1000, 784, 500), (4099, 131, 1030)])
def test_many_blocks_have_the_bits_of_the_cpu(n, n_visible, n_hidden):
    parameters, start, draw = model(n_visible, n_hidden, scale=0.1), bits(n, n_hidden), Draw(3, 5, 1, 17)
    results = [get_backend(d).run_chains(start, parameters, UNITS, draw, 5) for d in ("cuda", "cpu")]
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(got.words, wanted.words)


@pytest.mark.parametrize("options", [
    dict(algorithm="cd", batch_size=1024), dict(batch_size=256, optimizer="adam"), dict(batch_size=10, n_iter=1),
    dict(algorithm="cd", stochastic_input=True, batch_size=256), dict(hidden_statistics="sampled", batch_size=128),
], ids=str)  # fmt: skip
def test_fits_have_the_bits_of_the_cpu(options):
    X = bits(5000, 784, density=0.3).dense(np.float32)
    if options.get("stochastic_input"):
        X *= 0.7
    fits = [
        BernoulliRBM(**{"n_components": 300, "n_iter": 2, "random_state": 0, "device": device, **options}).fit(X)
        for device in ("cuda", "cpu")
    ]
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_array_equal(*(getattr(rbm, name) for rbm in fits))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_log_partition(dtype):
    m = Model(*(x.astype(dtype) for x in model(784, 22, np.float64, scale=0.2)))
    got, wanted = (likelihood.log_partition(m, method="exact", device=d).value for d in ("cuda", "cpu"))
    assert abs(got - wanted) < 1e-6 * max(1.0, abs(wanted))


_FIT = """
import sys, numpy as np
from fastrbm import BernoulliRBM
X = (np.random.default_rng(0).random((3000, 200)) < 0.3).astype(np.float32)
rbm = BernoulliRBM(100, batch_size=100, n_iter=20, random_state=0, device=sys.argv[1]).fit(X)
print(rbm.components_.tobytes().hex()[:4000])
"""


def test_two_processes_on_one_device():
    command = [sys.executable, "-c", _FIT]
    running = [
        subprocess.Popen([*command, device], stdout=subprocess.PIPE, text=True) for device in ("cuda", "cuda", "cpu")
    ]
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert len(outputs[0]) > 1000 and len(set(outputs)) == 1
