"""Examples of docstrings do what they show."""

import doctest
import importlib
import pkgutil
import warnings
from pathlib import Path

import pytest

import fastrbm

#: need a device or packages of their own, and have no examples
WITHOUT = ("fastrbm._kernels.cuda", "fastrbm.__main__", "fastrbm.benchmarks")


def modules_with_examples():
    for module in pkgutil.walk_packages(fastrbm.__path__, "fastrbm."):
        if module.name.startswith(WITHOUT):
            continue
        source = importlib.util.find_spec(module.name).origin
        if source.endswith(".py") and ">>>" in Path(source).read_text(encoding="utf-8"):
            yield module.name


@pytest.mark.parametrize("name", sorted(modules_with_examples()))
def test_examples_of_docstrings(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
