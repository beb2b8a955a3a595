"""Kernel contract on the simulated device: bits of the CPU kernels, and the NumPy reference."""

import numpy as np
import pytest

from fastrbm._kernels import Parameters, Phase, Rule, Update, as_dense, pack
from fastrbm._kernels.bits import PackedBits
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.cpu.runtime import extension
from fastrbm._kernels.draws import Draw, Stream
from kernel_cases import RULES, UNITS, bits, grey, levels, model, reference

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
CudaBackend = pytest.importorskip("fastrbm._kernels.cuda.backend").CudaBackend
tiles = pytest.importorskip("fastrbm._kernels.cuda.kernels.tiles")

#: (samples, visible, hidden): ones, and around the steps of 32 inputs, tiles of 32 columns and words of 64 bits
SIZES = [(1, 1, 1), (3, 33, 5), (33, 65, 31), (40, 20, 66)]
ADDRESS = Draw(seed=2**63 + 5, step=2**40 + 3, stream=Stream.HIDDEN, first_chain=2**32 - 3)
cpu, cuda = CpuBackend(1), CudaBackend()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_layers_of_bits_are_those_of_the_cpu(n, n_visible, n_hidden, transposed):
    weights, a, b = model(n_visible, n_hidden, scale=0.3)
    states = bits(n, n_hidden if transposed else n_visible)
    bias = a if transposed else b
    same = dict(transpose=transposed)
    inputs = cuda.inputs(states, weights, bias, **same)
    np.testing.assert_array_equal(inputs, cpu.inputs(states, weights, bias, **same))
    means = cuda.means("bernoulli", states, weights, bias, **same)
    np.testing.assert_array_equal(means, cpu.means("bernoulli", states, weights, bias, **same))
    drawn = cuda.samples("bernoulli", states, weights, bias, ADDRESS, **same)
    np.testing.assert_array_equal(drawn.words, cpu.samples("bernoulli", states, weights, bias, ADDRESS, **same).words)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_of_real_states_and_in_float64(dtype):
    weights, a, b = model(33, 20, dtype, scale=0.3)
    atol = 2e-6 if dtype == np.float32 else 1e-13
    for states in (bits(5, 33), grey(5, 33, dtype)):
        x = cuda.inputs(states, weights, b)
        assert x.dtype == dtype
        np.testing.assert_allclose(x, reference.inputs(states, weights, b), atol=atol)
        np.testing.assert_allclose(
            cuda.means("bernoulli", states, weights, b), reference.means("bernoulli", states, weights, b), atol=atol
        )
        drawn = cuda.samples("bernoulli", states, weights, b, ADDRESS)
        wanted = reference.samples("bernoulli", states, weights, b, ADDRESS)
        np.testing.assert_array_equal(drawn.words, wanted.words)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 30.0, 1e4, 1e30])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_extreme_weights_stay_finite_and_right(scale):
    weights, _, b = model(40, 9, scale=scale)
    states = bits(5, 40)
    np.testing.assert_allclose(
        cuda.means("bernoulli", states, weights, b), cpu.means("bernoulli", states, weights, b), atol=1e-6
    )


@pytest.mark.parametrize("spec", ["ising", "onehot", "onehot(5)", "gaussian", "relu", "binomial(4)"])
def test_units_of_all_types(spec):
    weights, _, b = model(33, 20, scale=0.3)
    for states in (bits(5, 33), grey(5, 33)):
        np.testing.assert_allclose(
            cuda.means(spec, states, weights, b), reference.means(spec, states, weights, b), atol=3e-6
        )
        drawn = cuda.samples(spec, states, weights, b, ADDRESS)
        wanted = reference.samples(spec, states, weights, b, ADDRESS)
        if isinstance(wanted, PackedBits):
            np.testing.assert_array_equal(drawn.words, wanted.words)
        else:
            np.testing.assert_allclose(drawn, wanted, atol=1e-5)


@pytest.mark.parametrize("spec", ["ising", "onehot", "onehot(5)", "gaussian"])
def test_states_of_these_units_have_the_bits_of_the_cpu(spec):
    weights, _, b = model(33, 20, scale=0.3)
    states = bits(9, 33)
    drawn = cuda.samples(spec, states, weights, b, ADDRESS)
    wanted = cpu.samples(spec, states, weights, b, ADDRESS)
    np.testing.assert_array_equal(as_dense(drawn, np.float32), as_dense(wanted, np.float32))
    if spec != "ising":  # whose hyperbolic tangent is that of a library
        np.testing.assert_array_equal(cuda.means(spec, states, weights, b), cpu.means(spec, states, weights, b))


def test_normal_quantiles_are_those_of_the_cpu_for_each_of_their_cells():
    from fastrbm._kernels.cuda.kernels.normal import COEFFICIENTS

    words = np.arange(0, 2**32, 2**9, dtype=np.uint32)
    cell = words >> 9
    upper = cell >= 2**22
    x = np.where(upper, 2**23 - 1 - cell.astype(np.int64), cell).astype(np.float32) + np.float32(0.5)
    bits_of_x = x.view(np.int32)
    t = ((bits_of_x & 0x7FFFFF) | 0x3F800000).view(np.float32) - np.float32(1.5)
    z = np.zeros_like(x)
    for power in COEFFICIENTS[::-1]:
        z = z * t + power[(bits_of_x >> 23) - 126]
    np.testing.assert_array_equal(np.where(upper, -z, z), extension.normal_quantiles(words))


@pytest.mark.parametrize("scale", [0.3, 30.0])
def test_weights_of_16_bits(scale):
    """precision="fast", also where sums of weights are so large that these would be too coarse."""
    weights, _, b = parameters = model(65, 31, scale=scale)
    hidden, fast, wanted = bits(40, 31), CudaBackend(precision="fast"), CpuBackend(1, precision="fast")
    for rows in (bits(40, 65), levels(5, 65)):
        for name in ("means", "samples"):
            drawn = (ADDRESS,) if name == "samples" else ()
            got, right = (getattr(x, name)("bernoulli", rows, weights, b, *drawn) for x in (fast, wanted))
            np.testing.assert_array_equal(as_dense(got, np.float32), as_dense(right, np.float32))
        np.testing.assert_array_equal(fast.inputs(rows, weights, b), wanted.inputs(rows, weights, b))
        full = cuda.means("bernoulli", rows, weights, b)
        assert (fast.means("bernoulli", rows, weights, b) != full).any() == (scale < 1)
    right = wanted.run_chains(hidden, parameters, UNITS, ADDRESS, 3)
    for strategy in ("auto", "delta", "bounds", "lcd", "lowbit"):
        backend = CudaBackend(precision="fast", strategy=strategy)
        for x, y in zip(backend.run_chains(hidden, parameters, UNITS, ADDRESS, 3), right, strict=True):
            np.testing.assert_array_equal(x.words, y.words, err_msg=strategy)


def test_bits_drawn_with_given_probabilities():
    p = grey(7, 35)
    p[0, :3] = [0, 1, 0.5]
    np.testing.assert_array_equal(cuda.draw_bits(p, ADDRESS).words, cpu.draw_bits(p, ADDRESS).words)
    wide = p.astype(np.float64)
    np.testing.assert_array_equal(cuda.draw_bits(wide, ADDRESS).words, reference.draw_bits(wide, ADDRESS).words)


def test_no_rows():
    weights, a, b = model(5, 3)
    none = pack(np.zeros((0, 5)))
    assert cuda.inputs(none, weights, b).shape == (0, 3)
    assert cuda.samples("bernoulli", none, weights, b, ADDRESS).shape == (0, 3)
    assert cuda.free_energy("bernoulli", none, Parameters(weights, a, b)).shape == (0,)
    assert cuda.draw_bits(np.zeros((0, 3), np.float32), ADDRESS).shape == (0, 3)


# -- gradients -----------------------------------------------------------------------------------------------------


def phases(n, m, n_visible, n_hidden, counted):
    def hidden(size, seed):
        return bits(size, n_hidden, seed) if counted else grey(size, n_hidden)[:, ::1]

    return Phase(bits(n, n_visible), hidden(n, 3)), Phase(bits(m, n_visible, 2), hidden(m, 4))


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("n,m,n_visible,n_hidden", [(1, 1, 1, 1), (33, 7, 40, 35)])
def test_gradients_of_bits_are_those_of_the_cpu(n, m, n_visible, n_hidden, counted):
    data, model_phase = phases(n, m, n_visible, n_hidden, counted)
    got = cuda.gradient(data, model_phase, np.float32)
    for g, w in zip(got, cpu.gradient(data, model_phase, np.float32), strict=True):
        np.testing.assert_array_equal(g, w)
    for g, w in zip(got, reference.gradient(data, model_phase, np.float64), strict=True):
        np.testing.assert_allclose(g, w, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_one_step_is_that_of_the_cpu(rule):
    update, n_slots = RULES[rule]
    data, model_phase = phases(20, 9, 21, 18, False)
    results = []
    for backend in (cuda, cpu):
        parameters = model(21, 18, scale=0.2)
        slots = [parameters.zeros_like() for _ in range(n_slots)]
        for done in range(2):
            backend.gradient_step(parameters, slots, data, model_phase, update._replace(done=update.done + done))
        results.append([parameters, *slots])
    for got, wanted in zip(*results, strict=True):
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_and_rules_of_real_states(dtype):
    shares = np.random.default_rng(0).dirichlet(np.ones(6))
    for given in (None, shares):
        phase = Phase(grey(6, 9, dtype), grey(6, 4, dtype), given)
        for g, w in zip(cuda.moments(phase, dtype), reference.moments(phase, np.float64), strict=True):
            np.testing.assert_allclose(g, w, atol=1e-6 if dtype == np.float32 else 1e-14)
    gradient = model(9, 4, dtype, seed=7)
    results = []
    for backend in (cuda, reference):
        parameters = model(9, 4, dtype)
        slots = [parameters.zeros_like()]
        backend.ascend(parameters, slots, gradient, Update(Rule(l1=0.1, clip=0.5), 0.25, 0.9))
        results.append([parameters, *slots])
    for got, wanted in zip(*results, strict=True):
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-6)


# -- scores and chains ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unit", ["bernoulli", "ising"])
def test_scores(unit, dtype):
    parameters = model(20, 35, dtype, scale=2.0)
    for states in (bits(3, 20), grey(3, 20, dtype)):
        wanted = reference.free_energy(unit, states, parameters)
        np.testing.assert_allclose(cuda.free_energy(unit, states, parameters), wanted, rtol=1e-6, atol=1e-5)
        wanted = reference.pseudo_likelihood(unit, states, parameters)
        np.testing.assert_allclose(cuda.pseudo_likelihood(unit, states, parameters), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("hidden", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("visible", ["onehot(3)", "binomial(4)", "gaussian", "relu"])
def test_scores_of_other_visible_units(visible, hidden):
    parameters = model(6, 5, scale=0.2)
    rows = np.tile(np.float32([1, 0, 0, 0, 1, 0]), (3, 1))
    wanted = cpu.pseudo_likelihood(hidden, rows, parameters, visible)
    np.testing.assert_array_equal(cuda.pseudo_likelihood(hidden, rows, parameters, visible), wanted)


@pytest.mark.parametrize("n,n_visible,n_hidden", [(1, 1, 1), (35, 40, 33)])
def test_chains_are_those_of_the_cpu(n, n_visible, n_hidden):
    parameters = model(n_visible, n_hidden, scale=0.3)
    start = bits(n, n_hidden)
    before = start.words.copy()
    for got, wanted in zip(
        cuda.run_chains(start, parameters, UNITS, ADDRESS, 3), cpu.run_chains(start, parameters, UNITS, ADDRESS, 3),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(got.words, wanted.words)
    np.testing.assert_array_equal(start.words, before)


def test_chains_of_large_weights_and_of_other_units():
    for parameters, units in ((model(9, 5, scale=1e4), UNITS), (model(9, 5, scale=0.3), ("ising", "bernoulli"))):
        start = bits(4, 5)
        got = cuda.run_chains(start, parameters, units, ADDRESS, 2)
        for g, w in zip(got, reference.run_chains(start, parameters, units, ADDRESS, 2), strict=True):
            np.testing.assert_array_equal(
                g.words if isinstance(g, PackedBits) else g, w.words if isinstance(w, PackedBits) else w
            )


def test_results_stay_where_the_weights_are():
    from fastrbm._kernels.cuda.memory import DeviceBits, download, on_device, upload

    weights, a, b = model(20, 9, scale=0.3)
    states = bits(5, 20)
    for given in ((DeviceBits.from_host(states), weights, b), (states, upload(weights), b)):
        means, drawn = cuda.means("bernoulli", *given), cuda.samples("bernoulli", *given, ADDRESS)
        assert on_device(means) and isinstance(drawn, DeviceBits)
        np.testing.assert_array_equal(download(means), cpu.means("bernoulli", states, weights, b))
        np.testing.assert_array_equal(
            drawn.to_host().words, cpu.samples("bernoulli", states, weights, b, ADDRESS).words
        )


@pytest.mark.parametrize("option", [dict(strategy="dense "), dict(precision="half")])
def test_options_a_device_does_not_have(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        CudaBackend(**option)


# -- the tensor-core instruction, as its specification has it ------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 1, 2, 4), (2, 2, 1, 2)])
def test_fragments_and_registers_are_those_of_the_instruction(shape):
    if not tiles.SIMULATED:
        pytest.skip("a device has the instruction itself")
    from fastrbm._kernels.cuda.kernels.target import cuda as numba_cuda
    from fastrbm._kernels.cuda.launching import rows_of
    from fastrbm._kernels.cuda.memory import DeviceBits, upload
    from fastrbm._kernels.cuda.quantise import QuantisedWeights

    tile = tiles.Tile(*shape)
    product = tiles.make_product(tile, by_instruction=True)
    size = (tile.rows, tiles.PITCH)

    @numba_cuda.jit
    def kernel(rows, fragments, out):
        shared = numba_cuda.shared.array(size, np.int32)
        product(rows, 0, fragments, 2, 0, shared)
        for item in range(numba_cuda.threadIdx.x, 32 * size[0], tile.threads):
            out[item // 32, item % 32] = shared[item // 32, item % 32]

    weights = model(40, 32, scale=0.3).weights
    states = bits(tile.rows - 3, 40)
    quantised = QuantisedWeights(upload(weights))
    assert quantised.fill()
    out = np.zeros((tile.rows, 32), np.int32)
    kernel[1, tile.threads](rows_of(DeviceBits.from_host(states)), quantised.to_hidden, out)
    integers = extension.quantise_weights(weights, False, 1).dense().astype(np.int64)
    np.testing.assert_array_equal(out[: len(states)], states.dense(np.int64) @ integers.T)


@pytest.mark.parametrize("n,n_visible,n_hidden", [(1, 1, 1), (33, 65, 31), (40, 130, 70)])
def test_layers_given_levels_are_those_of_the_cpu(n, n_visible, n_hidden):
    rows, (weights, _, bias) = levels(n, n_visible), model(n_visible, n_hidden)
    draw = Draw(11, 5, Stream.HIDDEN, 3)
    for call in (
        lambda backend: backend.inputs(rows, weights, bias),
        lambda backend: backend.means("bernoulli", rows, weights, bias),
        lambda backend: backend.samples("bernoulli", rows, weights, bias, draw).words,
    ):
        np.testing.assert_array_equal(call(CudaBackend()), call(CpuBackend(1)))
