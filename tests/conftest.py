"""Data the tests share, and where CUDA kernels run: on Numba's simulator, the emulated device or a real one."""

import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastrbm._kernels import cpu
from kernel_cases import TARGETS

#: where CUDA kernels can run, and the marker that asks for it
WAYS = {"simulator": "simulator", "emulated": "emulated", "device": "gpu"}
_CUDA_TESTS = Path(__file__).with_name("cuda")


def pytest_configure(config):
    """Choose where kernels run, before Numba is imported: it reads its setting then, and keeps to it."""
    asked = (way for way, mark in WAYS.items() if re.search(rf"(?<!not )\b{mark}\b", config.option.markexpr))
    setting = os.environ.get("FASTRBM_TEST_CUDA") or next(asked, "simulator")
    given, _, capability = setting.partition(":")
    if given not in WAYS or not re.fullmatch(r"(\d\.\d)?", capability):
        wanted = ", ".join(WAYS)
        raise pytest.UsageError(f"FASTRBM_TEST_CUDA must be one of {wanted}, or emulated:8.0, got {setting!r}")
    config.cuda_way = given
    if given == "simulator":
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
        return
    os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
    if given == "emulated":
        os.environ.setdefault("FASTRBM_CUDA_POOL", "0")  # so that what is used after it is free shows
        from ptx.compiled import missing

        config.cuda_missing = missing()
        if config.cuda_missing is None:
            from ptx.driver import install

            install(tuple(map(int, (capability or "9.0").split("."))))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Give the CUDA tests the marker of where they run, and skip those that cannot run there."""
    for item in items:
        only = item.get_closest_marker("only_on")
        if only is not None or _CUDA_TESTS in item.path.parents:
            item.add_marker(WAYS[config.cuda_way])
        if only is not None and config.cuda_way not in only.args:
            item.add_marker(pytest.mark.skip(reason=only.kwargs.get("reason", f"needs {' or '.join(only.args)}")))


def pytest_runtest_setup(item):
    """Skip CUDA tests where there is nothing to run them on."""
    way = item.config.cuda_way
    if way == "simulator" or item.get_closest_marker(WAYS[way]) is None:
        return
    from fastrbm._kernels.cuda.availability import why_not

    reason = getattr(item.config, "cuda_missing", None) or why_not()
    if reason is not None:
        pytest.skip(f"there is no {'emulated ' if way == 'emulated' else ''}device: {reason}")


@pytest.fixture(autouse=True)
def nothing_wrong_on_the_emulated_device(request):
    """Let a test fail if memory was misused, or threads raced, in one of its kernels."""
    if (
        request.config.cuda_way != "emulated"
        or request.config.cuda_missing
        or not request.node.get_closest_marker("emulated")
    ):
        yield
        return
    from ptx.compiled import EMULATION

    EMULATION.clear()
    yield
    harmful = EMULATION.harmful()
    assert not harmful, "\n".join(f"{kernel}: {text} ({n} times)" for (kernel, text), n in harmful.items())


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


@pytest.fixture(scope="session", autouse=True)
def hear_interrupts():
    """Let tests of Ctrl-C work in a background job of a shell, too, which starts with it ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
