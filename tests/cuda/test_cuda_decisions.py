"""Whether a unit is on by the device functions: the rule of `decision_cases`, at inputs where its answer changes."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from decision_cases import DOUBLE, SINGLE, boundary, rule
from fastrbm._kernels.cuda.kernels import scalar

pytestmark = pytest.mark.only_on("simulator", reason="calls device functions from the host")
INPUTS = [0.0, -0.0, 15.0, -15.0, 87.0, -87.0, 1e30, -1e30, np.inf, -np.inf, np.nan]


def test_device_functions_decide_by_the_rule():
    rng = np.random.default_rng(0)
    random = rng.integers(0, 2**32, 400, dtype=np.uint32)
    edge = boundary(random, SINGLE)
    beside = (edge.view(np.int32) + rng.integers(-3, 4, len(edge), dtype=np.int32)).view(SINGLE)
    for x in (edge, beside, np.resize(np.array(INPUTS, SINGLE), len(edge))):
        with np.errstate(over="ignore", invalid="ignore"):
            got = [bool(scalar.is_on(np.uint64(w), scalar.sigmoid_scale(z))) for w, z in zip(random, x, strict=True)]
        assert_array_equal(got, rule(random, x))


def test_device_functions_decide_on_float64():
    random = np.random.default_rng(1).integers(0, 2**32, 400, dtype=np.uint32)
    for distance in (-1e-9, 1e-9):
        x = boundary(random, DOUBLE) + distance
        got = [bool(scalar.wide_is_on(int(w), float(z))) for w, z in zip(random, x, strict=True)]
        assert_array_equal(got, rule(random, x))
