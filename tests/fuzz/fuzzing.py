"""What the suites of random cases share: how many, and what an answer may be.

``FASTRBM_FUZZ=100000 pytest tests/fuzz`` makes as many of each kind, others each time; the gate has a few hundred, and
always the same.
"""

import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings

CASES = int(os.environ.get("FASTRBM_FUZZ", "200"))
#: how the library says that it cannot do what it is asked for; of FloatingPointError are divergences
SAID = (ValueError, TypeError, FloatingPointError, NotImplementedError, ImportError, FileNotFoundError)

fuzz = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    derandomize="FASTRBM_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


def said(call):
    """What a call returns, or None where it raised one of `SAID` with a message; all else is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except SAID as error:
            assert str(error), f"{type(error).__name__} without a message"
            return None


@contextmanager
def little_memory(more=1 << 30):
    """At most so many bytes beside those that the process has: more are a MemoryError, where the system can say so."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def parameters_are_finite(rbm):
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        assert np.isfinite(getattr(rbm, name)).all(), name
