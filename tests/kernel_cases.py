"""Models, rows and rules that the tests of kernels share."""

import numpy as np

from fastrbm._kernels import GreyLevels, Parameters, Rule, Update, cpu, pack
from fastrbm._kernels.reference import ReferenceBackend

UNITS = ("bernoulli", "bernoulli")
#: application of a rule, and the slots it needs
RULES = {
    "sgd": (Update(Rule(), 0.25), 0),
    "l2": (Update(Rule(l2=0.05), 0.25), 0),
    "momentum": (Update(Rule(l1=0.1, l2=0.3), 0.25, 0.9), 1),
    "nesterov": (Update(Rule("nesterov", clip=0.1), 0.25, 0.9), 1),
    "rmsprop": (Update(Rule("rmsprop", 0.9, 1e-4, l1=0.1), 0.05), 1),
    "rmsprop momentum": (Update(Rule("rmsprop", 0.9, 1e-4), 0.05, 0.5), 2),
    "adam": (Update(Rule("adam", 0.99, 1e-4, l2=0.3), 0.05, 0.9, 4), 2),
    "amsgrad": (Update(Rule("amsgrad", 0.99, 1e-4), 0.05, 0.9), 3),
}
#: all targets that can run here; of those for tests, the most like what they stand for
TARGETS = cpu.supported_targets() + cpu.selectable_targets()[len(cpu.supported_targets()) :][:1]

reference = ReferenceBackend()


def model(n_visible, n_hidden, dtype=np.float32, scale=1.0, seed=0):
    rng = np.random.default_rng([seed, n_visible, n_hidden])
    return Parameters(
        np.ascontiguousarray(rng.normal(0, scale, (n_hidden, n_visible)).astype(dtype)),
        rng.normal(0, scale, n_visible).astype(dtype),
        rng.normal(0, scale, n_hidden).astype(dtype),
    )


def bits(n, n_units, seed=1, density=0.4):
    return pack(np.random.default_rng([seed, n, n_units]).random((n, n_units)) < density)


def grey(n, n_units, dtype=np.float32):
    return np.random.default_rng([5, n, n_units]).random((n, n_units)).astype(dtype)


def levels(n, n_units, seed=5):
    """Grey levels, also rows that are all white and all black."""
    values = np.random.default_rng([seed, n, n_units]).integers(0, 256, (n, n_units)).astype(np.uint8)
    values[1::7], values[2::7] = 255, 0
    return GreyLevels(values)


def same_on_targets(names, compute):
    """Check that `compute(n_threads)` has the results of the baseline on targets of these names, for any threads."""
    before = cpu.current_target()
    try:
        cpu.use_target("baseline")
        wanted = compute(1)
        for name in names:
            cpu.use_target(name)
            for n_threads in (1, 2, 3):
                for got, right in zip(compute(n_threads), wanted, strict=True):
                    np.testing.assert_array_equal(got, right, err_msg=f"{name}, {n_threads} threads")
    finally:
        cpu.use_target(before)
