"""``fastrbm bench``: the benchmark suite, which has options of its own."""

from __future__ import annotations

import argparse
import importlib

DESCRIPTION = "Measure against scikit-learn and PyTorch."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options are the suite's."""


def command(options: argparse.Namespace) -> int:
    """Run the suite."""
    # Beside src/ in a checkout, fastrbm.benchmarks where the package is installed.
    for name in ("fastrbm.benchmarks.run", "benchmarks.run"):
        try:
            suite = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
        else:
            return int(suite.main(options.arguments))
    raise ImportError("the benchmark suite is not installed; run this from a checkout, or install the package")
