"""Data the tests share."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastrbm._kernels import cpu


@pytest.fixture(scope="session")
def digits():
    """scikit-learn's 8x8 digits in [0, 1], float64."""
    X = load_digits().data / 16
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def binary_digits(digits):
    """The same as 0 and 1, float32."""
    X = (digits > 0.4).astype(np.float32)
    X.setflags(write=False)
    return X


@pytest.fixture(params=cpu.supported_targets())
def target(request):
    """Each instruction set of this machine in turn."""
    before = cpu.current_target()
    cpu.use_target(request.param)
    yield request.param
    cpu.use_target(before)
