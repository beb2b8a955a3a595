"""Layers of every unit type: ``pytest benchmarks/test_units.py``; Gaussian draws with their NumPy peer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from fastrbm._kernels import get_backend, pack  # noqa: E402
from fastrbm._kernels.cpu import current_target, supported_targets, use_target  # noqa: E402
from fastrbm._kernels.cpu.runtime import extension as native  # noqa: E402
from fastrbm._kernels.draws import Draw, Stream  # noqa: E402

N_SAMPLES, N_VISIBLE, N_HIDDEN = 256, 784, 500
DRAW = Draw(seed=1, step=0, stream=Stream.VISIBLE)
UNITS = ["bernoulli", "ising", "gaussian", "relu", "onehot", "onehot(8)", "binomial(8)", "binomial(255)"]


def group(name):
    return pytest.mark.benchmark(group=name, min_rounds=5, max_time=0.5, warmup=True, warmup_iterations=2)


@pytest.fixture(params=supported_targets())
def target(request):
    before = current_target()
    use_target(request.param)
    yield request.param
    use_target(before)


@group("a visible layer drawn given 500 bits")
@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("unit", UNITS)
def test_samples(benchmark, unit, device, threads):
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.05, (N_HIDDEN, N_VISIBLE)).astype(np.float32)
    bias, hidden = np.zeros(N_VISIBLE, np.float32), pack(rng.random((N_SAMPLES, N_HIDDEN)) < 0.5)
    backend = get_backend(device, threads if device == "cpu" else None)
    drawn = benchmark(backend.samples, unit, hidden, weights, bias, DRAW, transpose=True)
    assert drawn.shape == (N_SAMPLES, N_VISIBLE)


@group("normal draws added to 256 x 784 inputs")
def test_normal_draws(benchmark, target, threads):
    x = np.zeros((N_SAMPLES, N_VISIBLE), np.float32)
    benchmark(native.add_normals, x, DRAW, threads)
    assert np.isfinite(x).all()


@group("normal draws added to 256 x 784 inputs")
def test_normal_draws_peer_numpy(benchmark):
    rng, x = np.random.default_rng(0), np.zeros((N_SAMPLES, N_VISIBLE), np.float32)

    def add():
        np.add(x, rng.standard_normal(x.shape, np.float32), out=x)

    benchmark(add)
