"""Data the tests share, and whether CUDA kernels run on the device or on Numba's simulator."""

import os
import re
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastrbm._kernels import cpu
from kernel_cases import TARGETS


def pytest_configure(config):
    """Choose the simulator unless the run asks for the device; Numba reads this when it is first imported."""
    on_device = re.search(r"(?<!not )\bgpu\b", config.option.markexpr) or os.environ.get("FASTRBM_TEST_GPU") == "1"
    if on_device:
        os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
    else:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") is None:
        return
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        pytest.skip("needs a device, and this run is on the simulator: ask for the device by -m gpu")
    from fastrbm._kernels.cuda.availability import why_not

    reason = why_not()
    if reason is not None:
        pytest.skip(f"needs a device: {reason}")


@pytest.fixture(autouse=True, scope="module")
def short_turns(request):
    """Let threads take turns more often in tests of CUDA kernels.

    The simulator has a Python thread for each of a kernel's and one that polls them: most of its time goes by until
    that one gives way, which these turns make a third.
    """
    if not request.module.__name__.startswith(("test_cuda", "test_gpu", "test_golden")):
        yield
        return
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)
    yield
    sys.setswitchinterval(before)


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


@pytest.fixture(params=TARGETS)
def target(request):
    """Each instruction set of this machine in turn."""
    before = cpu.current_target()
    cpu.use_target(request.param)
    yield request.param
    cpu.use_target(before)
