"""Instructions of products and of an epoch on each target, for each multiply-add; see arm64_count.c and `.ci/arm64`."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

from fastrbm._kernels import ChainState, Parameters, Rule, TrainingPlan, cpu, pack
from fastrbm._kernels.cpu import CpuBackend, runtime

COUNTS = Path(sys.argv[1])
native = runtime.extension
N, VISIBLE, HIDDEN = 256, 784, 256
UNITS = ("bernoulli", "bernoulli")
rng = np.random.default_rng(0)


def so_far():
    """Number of instructions until now."""
    with contextlib.suppress(OSError):
        os.write(777, b"x")
    return int(COUNTS.read_text().split()[-1])


def counted(work):
    """Instructions of `work`, the second time."""
    work()
    before = so_far()
    work()
    return so_far() - before


def bits(n, width):
    """Rows of which 30 % are on."""
    return pack((rng.random((n, width)) < 0.3).astype(np.float32))


weights = rng.normal(0, 0.02, (HIDDEN, VISIBLE)).astype(np.float32)
visible, hidden, rows = bits(N, VISIBLE), bits(N, HIDDEN), bits(2 * N, VISIBLE)


def product(states, n_out, transpose, int16):
    """Inputs of one layer."""
    fixed = native.quantise_weights(weights, False, 1, int16)
    out, bias = np.empty((N, n_out), np.float32), np.zeros(n_out, np.float32)
    return lambda: native.run_rows(states.words, fixed, bias, transpose, 1, inputs=out)


def epoch():
    """Two minibatches of PCD-1 with momentum."""
    parameters = Parameters(weights.copy(), np.zeros(VISIBLE, np.float32), np.zeros(HIDDEN, np.float32))
    slots = [parameters.zeros_like()]
    plan = TrainingPlan(7, N, True, 1, 0.01, 0.5, False, Rule("sgd"), False)
    CpuBackend(1).train(parameters, slots, rows, np.arange(2 * N), plan, UNITS, ChainState(100, hidden))


one = N * VISIBLE * HIDDEN
print("target     hidden input  visible input  hidden, fast  visible, fast  epoch")
for name in reversed(cpu.supported_targets()):
    cpu.use_target(name)
    per = [
        *(
            counted(product(*layer, int16)) / one
            for int16 in (False, True)
            for layer in ((visible, HIDDEN, False), (hidden, VISIBLE, True))
        ),
        counted(epoch) / (10 * one),
    ]
    print(f"{name:10} {per[0]:12.3f} {per[1]:14.3f} {per[2]:13.3f} {per[3]:14.3f} {per[4]:6.3f}", flush=True)
