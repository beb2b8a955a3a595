"""Hidden layers given classes: native kernels against the definition."""

import numpy as np
import pytest

from fastrbm._kernels import cpu, get_backend
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.labels import LabelledLayer, probabilities
from kernel_cases import TARGETS

SHAPES = [(1, 1, 1), (7, 5, 3), (33, 130, 2), (20, 1600, 11)]


@pytest.fixture(autouse=True)
def use_all_threads(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)


def case(n, n_hidden, n_classes, scale=1.0, of_classes=1.0, dtype=np.float32):
    rng = np.random.default_rng(n + n_hidden)
    inputs = rng.normal(0, scale, (n, n_hidden)).astype(dtype)
    classes = rng.normal(0, of_classes, (n_classes, n_hidden)).astype(dtype)
    bias = rng.normal(0, 1, n_classes).astype(dtype)
    labels = rng.integers(-1, n_classes, n).astype(np.int32)
    weights = rng.random(n).astype(dtype)
    return inputs, classes, bias, labels, weights / weights.sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e4, 1e20])
@pytest.mark.parametrize("of_classes", [0.0, 1.0, 9.0, 25.0, 1e3])
@pytest.mark.filterwarnings("error")
def test_any_size_of_inputs_and_classes(target, shape, scale, of_classes):
    inputs, classes, bias, labels, weights = case(*shape, scale, of_classes)
    native, wanted = CpuBackend(2).labelled(inputs, classes), LabelledLayer(inputs, classes)
    scores = wanted.scores(bias)
    np.testing.assert_allclose(native.scores(bias), scores, rtol=2e-6, atol=2e-6 * shape[1] ** 0.5)
    shares = probabilities(scores)
    for got, right in zip(
        native.moments(shares, labels, weights), wanted.moments(shares, labels, weights), strict=True
    ):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


def test_bits_are_the_same_everywhere():
    inputs, classes, bias, labels, weights = case(50, 300, 10, 5.0, 2.0)
    found, before = [], cpu.current_target()
    try:
        for name in TARGETS:
            cpu.use_target(name)
            for n_threads in (1, 2, 3):
                layer = CpuBackend(n_threads).labelled(inputs, classes)
                shares = probabilities(layer.scores(bias))
                found.append([shares, *layer.moments(shares, labels, weights)])
    finally:
        cpu.use_target(before)
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(x, y)


def test_kernels_check_what_they_are_given():
    layer = runtime.extension.Labels(np.zeros((4, 16), np.float32), np.zeros((3, 16), np.float32))
    f32 = np.zeros((4, 16), np.float32)
    with pytest.raises(ValueError, match="scores must fit"):  # means use what scores leave
        layer.means(
            np.zeros((4, 3), np.float32), np.zeros(4, np.int32), f32[:, 0].copy(), f32, f32, f32[:3], f32[:3], 1
        )
    with pytest.raises(ValueError, match="scores must fit"):
        layer.scores(np.zeros(3, np.float32), np.zeros((4, 2)), 1)
    with pytest.raises(ValueError, match="inputs must fit"):
        runtime.extension.Labels(np.zeros((4, 15), np.float32), np.zeros((3, 15), np.float32))
    with pytest.raises(ValueError, match="classes must fit"):
        runtime.extension.Labels(np.zeros((4, 16), np.float32), np.zeros((3, 32), np.float32))


def test_float64_is_the_definition():
    inputs, classes, bias, labels, weights = case(9, 40, 4, dtype=np.float64)
    layer, wanted = get_backend("cpu").labelled(inputs, classes), LabelledLayer(inputs, classes)
    np.testing.assert_array_equal(layer.scores(bias), wanted.scores(bias))
    o = inputs[:, None] + classes
    np.testing.assert_allclose(wanted.scores(bias), np.log1p(np.exp(o)).sum(axis=2) + bias, rtol=1e-13)
    shares = probabilities(wanted.scores(bias))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-15)
    found, means = wanted.moments(shares, labels, weights), 1 / (1 + np.exp(-o))
    np.testing.assert_allclose(found.model, (shares[:, :, None] * means).sum(axis=1), rtol=1e-12)
    of_model = ((weights[:, None] * shares)[:, :, None] * means).sum(axis=0)
    np.testing.assert_allclose(found.of_model, of_model, rtol=1e-12)
    known = labels >= 0
    assert not found.data[~known].any() and (~known).any()
    np.testing.assert_allclose(found.data[known], means[known, labels[known]], rtol=1e-12)
    of_data = np.zeros_like(classes)
    for row in np.flatnonzero(known):
        of_data[labels[row]] += weights[row] * means[row, labels[row]]
    np.testing.assert_allclose(found.of_data, of_data, rtol=1e-12)
