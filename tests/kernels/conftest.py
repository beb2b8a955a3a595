"""Everything here is about kernels: what builds without OpenMP, or with sanitizers, has to pass."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kernels)
