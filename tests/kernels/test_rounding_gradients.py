"""What zero is: gradients that are rounding make no step under rules that divide by their size, on every backend."""

import numpy as np
import pytest

from fastrbm import Adam, BernoulliRBM, RMSprop
from fastrbm._kernels import Parameters, get_backend
from fastrbm._kernels.rules import ROUNDING, Update
from fastrbm.optimizers import get_optimizer

OPTIMIZERS = [Adam(), Adam(amsgrad=True), RMSprop(), RMSprop(momentum=0.5)]


def stepped(device, optimizer, size, dtype=np.float32, shape=(5, 70)):
    rng = np.random.default_rng(0)
    start = Parameters(*(rng.normal(size=s).astype(dtype) for s in (shape, shape[1], shape[0])))
    moved, optimizer = start.copy(), get_optimizer(optimizer)
    slots = [start.zeros_like() for _ in range(optimizer.n_slots())]
    gradient = Parameters(*(size * np.sign(x) for x in start))
    get_backend(device).ascend(moved, slots, gradient, Update(optimizer.rule(), 0.1, 0.5, 0))
    return start, moved, slots


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_makes_no_step(optimizer, dtype, target):
    edge = ROUNDING[np.dtype(dtype).itemsize]
    for device in ("cpu", "reference"):
        for size in (0.0, edge / 100, np.nextafter(dtype(edge), dtype(0))):
            start, moved, slots = stepped(device, optimizer, size, dtype)
            for a, b in zip(start, moved, strict=True):
                np.testing.assert_array_equal(a, b)
            assert not any(x.any() for slot in slots for x in slot)
        start, moved, _ = stepped(device, optimizer, dtype(edge), dtype)
        assert all((a != b).all() for a, b in zip(start, moved, strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("algorithm", ["cd", "pcd", "exact"])
def test_columns_that_never_change_are_trained_alike_everywhere(optimizer, algorithm):
    X = (np.random.default_rng(0).random((60, 9)) < 0.4).astype(float)
    X[:, 0], X[:, 1] = 0, 1
    options = dict(
        n_components=4, optimizer=optimizer, algorithm=algorithm, n_iter=4, random_state=0, visible_bias="data",
        init=np.zeros((4, 9)),
    )  # fmt: skip
    native, oracle = (BernoulliRBM(device=device, **options).fit(X) for device in ("cpu", "reference"))
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        np.testing.assert_allclose(getattr(native, name), getattr(oracle, name), atol=2e-5, err_msg=name)
