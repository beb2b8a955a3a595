"""Models at several temperatures: the native form and the composed one have the same bits."""

import numpy as np
import pytest

from fastrbm._kernels import Parameters, pack
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.cpu.ladders import NativeLadder
from fastrbm._kernels.draws import Draw, Stream
from fastrbm._kernels.ladders import ComposedLadder
from fastrbm._kernels.reference import ReferenceBackend

UNITS = ("bernoulli", "bernoulli")


def parameters(n_visible, n_hidden, scale=0.5):
    rng = np.random.default_rng(3)
    shapes = (n_hidden, n_visible), n_visible, n_hidden
    return Parameters(*(rng.normal(0, scale, shape).astype(np.float32) for shape in shapes))


@pytest.mark.parametrize("n_temperatures, n, n_visible, n_hidden", [(2, 1, 1, 1), (5, 10, 8, 4), (4, 90, 130, 65)])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_native_ladders_have_the_bits_of_composed_ones(n_temperatures, n, n_visible, n_hidden, first, n_threads):
    rng = np.random.default_rng(0)
    p, base = parameters(n_visible, n_hidden), rng.normal(size=n_visible).astype(np.float32)
    betas = np.sort(np.append(rng.random(n_temperatures - 1), 1.0))
    hidden = pack(rng.random((n_temperatures * n, n_hidden)) < 0.5)
    marks = rng.integers(0, 3, n_temperatures * n).astype(np.int8)
    log_u = np.log(rng.random(((n_temperatures - first) // 2, n)))
    draw = Draw(5, 1 << 40, Stream.VISIBLE, 7)
    found = []
    with CpuBackend(n_threads).ladder(p, UNITS, base, betas, n, 3) as native:
        assert isinstance(native, NativeLadder)
        with ComposedLadder(CpuBackend(1), p, UNITS, base, betas) as composed:
            for ladder in (native, composed):
                visible, states = ladder.run_chains(hidden, draw, 3)
                parts = [visible.words, states.words]
                if len(log_u):
                    exchanged, *others = ladder.exchange(hidden, marks, first, log_u)
                    parts += [exchanged.words, *others]
                found.append(parts)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize(
    "options",
    [{"dtype": np.float64}, {"scale": 600.0}, {"precision": "fast"}, {"strategy": "delta"}, {"units": ("ising",) * 2}],
)
def test_what_has_no_native_ladder_is_composed(options):
    p = parameters(8, 4, options.get("scale", 0.5))
    p = Parameters(*(x.astype(options.get("dtype", np.float32)) for x in p))
    backend = CpuBackend(1, options.get("strategy", "auto"), options.get("precision", "full"))
    ladder = backend.ladder(p, options.get("units", UNITS), np.zeros_like(p.visible_bias), np.array([0.5, 1.0]), 3, 1)
    assert isinstance(ladder, ComposedLadder)


def test_uniforms_and_probabilities_are_those_of_the_reference(target):
    for shape in ((90, 1), (37, 6), (20, 15), (5, 70)):
        for dtype in (np.float32, np.float64):
            draw = Draw(1 << 63, 1 << 50, Stream.SWAP, 11)
            found, wanted = (b.uniforms(draw, *shape, dtype) for b in (CpuBackend(1), ReferenceBackend()))
            np.testing.assert_array_equal(found, wanted)
    x = np.random.default_rng(0).normal(0, 300, 1000)
    np.testing.assert_array_equal(CpuBackend(1).probabilities(x), ReferenceBackend().probabilities(x))


@pytest.mark.parametrize("wrong", ["rows", "marks", "first", "log_u", "base", "betas", "sweeps"])
def test_arguments_that_do_not_fit_are_refused(wrong):
    from fastrbm._kernels.cpu.runtime import extension as native

    p, hidden = parameters(8, 4), np.zeros((9, 1), np.uint64)
    ladder = native.Ladder(3, 4, 8, True)
    base, betas = np.zeros(8, np.float32), np.linspace(0, 1, 3)
    ladder.fill(*p, base, betas, 1)
    log_u = np.zeros((1, 3))
    args = [
        hidden,
        np.zeros(9, np.int8),
        0,
        log_u,
        hidden.copy(),
        np.zeros(9, np.int8),
        log_u.copy(),
        np.zeros(1, np.int64),
    ]
    with pytest.raises(ValueError):
        if wrong == "base":
            ladder.fill(*p, base[:5].copy(), betas, 1)
        elif wrong == "betas":
            ladder.fill(*p, base, betas[:2].copy(), 1)
        elif wrong == "sweeps":
            ladder.run_chains(hidden, np.zeros((3, 1), np.uint64), hidden.copy(), Draw(1, 1, 0), 0, 1)
        else:
            at = {"rows": 0, "marks": 1, "first": 2, "log_u": 3}[wrong]
            args[at] = 2 if wrong == "first" else args[at][:-1].copy() if wrong != "log_u" else np.zeros((1, 2))
            ladder.exchange(*args, 1)
