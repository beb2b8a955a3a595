"""Layers of all units: native uniforms and normal draws, and the CPU backend against the reference."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri

from fastrbm._kernels import PackedBits, Parameters, cpu, get_backend, pack
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.cpu.layers import row_blocks
from fastrbm._kernels.cpu.runtime import extension as _cpu
from fastrbm._kernels.draws import Draw, Stream, uniforms, words
from fastrbm.units import get_unit

# a wrapped chain number, a step beyond 32 bits, a seed beyond 63
FAR = Draw(2**63 + 5, 2**40 + 3, Stream.HIDDEN, 2**32 - 3)
SIZES = [(1, 1), (3, 5), (33, 63), (64, 64), (7, 129), (65, 784)]
UNITS = [
    "bernoulli",
    "ising",
    "gaussian",
    "relu",
    "onehot",
    "onehot(2)",
    "binomial(3)",
    "mixed(gaussian*3,onehot(2)*4,bernoulli*1)",
]
WIDTH = 8  # units of a layer: what the last of them needs
reference = get_backend("reference")


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def parameters_of(n_visible=WIDTH, n_hidden=WIDTH, dtype=np.float32, scale=0.4):
    rng = np.random.default_rng([n_visible, n_hidden])
    shapes = (n_hidden, n_visible), n_visible, n_hidden
    return Parameters(*(rng.normal(0, scale, s).astype(dtype) for s in shapes))


def states_of(unit, n, dtype=np.float32, seed=0):
    """States of a layer as backends take them."""
    theta = np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(dtype)
    x = get_unit(unit).sample(theta, uniforms(Draw(seed, 1, 0), n, WIDTH, dtype))
    return pack(x) if get_unit(unit).packed else x


def dense(states, dtype=np.float64):
    return states.dense(dtype) if isinstance(states, PackedBits) else states.astype(dtype)


# ---- draws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_native_uniforms_are_those_of_the_definition(target, dtype, shape, n_threads):
    got = np.empty(shape, dtype)
    _cpu.uniform_rows(FAR, got, n_threads)
    assert_array_equal(got, uniforms(FAR, *shape, dtype))


def test_no_rows_or_units_are_no_draws(target):
    for shape in ((0, 3), (3, 0)):
        _cpu.uniform_rows(FAR, np.empty(shape, np.float32), 2)
        _cpu.add_normals(np.empty(shape, np.float32), FAR, 2)


def test_normal_quantiles_of_all_uniforms(target):
    cells = np.arange(2**23, dtype=np.uint32)
    got = _cpu.normal_quantiles(cells << np.uint32(9) | np.uint32(0x155))
    assert np.abs(got - ndtri((cells + 0.5) * 2.0**-23)).max() < 8e-7
    assert (np.diff(got) > 0).all()
    assert_array_equal(got, -got[::-1])
    before = cpu.current_target()
    cpu.use_target("baseline")
    assert_array_equal(got, _cpu.normal_quantiles(cells << np.uint32(9)))
    cpu.use_target(before)


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_normal_draws_add_the_quantiles_of_the_uniforms(target, shape, n_threads):
    x = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    got = x.copy()
    _cpu.add_normals(got, FAR, n_threads)
    flat = words(FAR, *shape).ravel()
    padded = np.resize(flat, -(-len(flat) // 16) * 16)
    assert_array_equal(got, x + _cpu.normal_quantiles(padded)[: len(flat)].reshape(shape))


def test_gaussian_draws_of_huge_layers_are_normal(target):
    x = np.zeros((1000, 1000), np.float32)
    _cpu.add_normals(x, Draw(1, 2, 3), 2)
    for power, (moment, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        assert abs((x.astype(float) ** power).mean() - moment) < 4 * np.sqrt(variance / x.size)
    assert abs((x[:-1] * x[1:]).mean()) < 4e-3 and abs((x[:, :-1] * x[:, 1:]).mean()) < 4e-3


def test_blocks_of_rows_cover_all_of_them():
    for n, width in ((0, 5), (1, 5), (100_000, 3), (7, 10**6), (5, 0)):
        rows = np.arange(n)
        assert_array_equal(np.concatenate([rows[:0], *(rows[s] for s in row_blocks(n, width))]), rows)


# ---- backends ---------------------------------------------------------------------------------------------------


def assert_same_draws(unit, got, wanted, theta, draw):
    """Equal up to rounding, except where rounding decides between values."""
    if not get_unit(unit).finite and unit != UNITS[-1]:
        return assert_allclose(got, wanted, atol=2e-5 if theta.dtype == np.float32 else 1e-12)
    differ = np.abs(got - wanted) > 1e-4
    assert differ.any(axis=1).sum() <= (2 if theta.dtype == np.float32 else 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("other", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("transposed", [False, True])
def test_every_unit_on_both_backends(target, unit, other, dtype, transposed):
    weights, a, b = parameters_of(dtype=dtype)
    bias = a if transposed else b
    given = states_of(other, 300, dtype)
    native = CpuBackend(2)
    x = native.inputs(given, weights, bias, transpose=transposed)
    means = native.means(unit, given, weights, bias, transpose=transposed)
    assert means.dtype == dtype
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    assert_allclose(means, reference.means(unit, given, weights, bias, transpose=transposed), atol=tolerance)
    got, wanted = (k.samples(unit, given, weights, bias, FAR, transpose=transposed) for k in (native, reference))
    assert isinstance(got, PackedBits) == isinstance(wanted, PackedBits) == get_unit(unit).packed
    assert got.shape == wanted.shape == (300, WIDTH)
    if not get_unit(unit).packed:
        assert got.dtype == wanted.dtype == dtype and get_unit(unit).contains(got)
    assert_same_draws(unit, dense(got), dense(wanted), x, FAR)
    one = CpuBackend(1).samples(unit, given, weights, bias, FAR, transpose=transposed)
    assert_array_equal(dense(one), dense(got))
    part = CpuBackend(2).samples(
        unit, given[100:], weights, bias, FAR._replace(first_chain=FAR.first_chain + 100), transpose=transposed
    )
    assert_allclose(dense(part), dense(got)[100:], atol=tolerance)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("other", ["bernoulli", "relu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_free_energy_of_every_hidden_unit(unit, other, dtype):
    parameters, rows = parameters_of(dtype=dtype), states_of(other, 70, dtype)
    wide = Parameters(*(x.astype(np.float64) for x in parameters))
    got = CpuBackend(2).free_energy(unit, rows, parameters)
    assert got.dtype == np.float64
    wanted = reference.free_energy(unit, dense(rows), wide)
    assert_allclose(got, wanted, rtol=3e-6 if dtype == np.float32 else 1e-12, atol=1e-5 if dtype == np.float32 else 0)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pseudo_likelihood_of_bits_beside_every_hidden_unit(unit, dtype):
    parameters, rows = parameters_of(dtype=dtype), states_of("bernoulli", 70)
    wide = Parameters(*(x.astype(np.float64) for x in parameters))
    got = CpuBackend(2).pseudo_likelihood(unit, rows, parameters)
    assert_allclose(got, reference.pseudo_likelihood(unit, rows, wide), atol=2e-5 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("unit", UNITS)
def test_no_rows(unit):
    weights, a, b = parameters_of()
    none = np.empty((0, WIDTH), np.float32)
    assert CpuBackend(2).means(unit, none, weights, b).shape == (0, WIDTH)
    assert CpuBackend(2).samples(unit, none, weights, a, FAR, transpose=True).shape == (0, WIDTH)
    assert CpuBackend(2).free_energy(unit, none, Parameters(weights, a, b)).shape == (0,)


@pytest.mark.parametrize("pair", list(itertools.product(UNITS, UNITS)), ids="-".join)
def test_chains_are_sweeps_of_the_two_layers(pair):
    parameters = parameters_of(scale=0.2)
    weights, a, b = parameters
    h = states_of(pair[1], 40, seed=3)
    v, after = CpuBackend(2).run_chains(h, parameters, pair, Draw(3, 5, 0), 2)
    for step in (5, 6):
        wanted = CpuBackend(1).samples(pair[0], h, weights, a, Draw(3, step, Stream.VISIBLE), transpose=True)
        h = CpuBackend(1).samples(pair[1], wanted, weights, b, Draw(3, step, Stream.HIDDEN))
    assert_array_equal(dense(v), dense(wanted))
    assert_array_equal(dense(after), dense(h))
