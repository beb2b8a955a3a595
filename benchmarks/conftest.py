"""Option of the kernel benchmarks: ``pytest benchmarks --kernel-threads 2``."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--kernel-threads", type=int, default=1, help="threads of kernels and of BLAS (default 1)")


@pytest.fixture(scope="session")
def threads(request):
    return request.config.getoption("--kernel-threads")
