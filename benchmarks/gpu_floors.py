"""How long CUDA kernels take at least, by what they must move, multiply and execute: predictions, nothing is measured.

``python -m fastrbm.benchmarks.gpu_floors`` counts on the emulated device of the tests (`tests/cuda/ptx`), which
executes the compiler's PTX; ``--docs`` writes the page of the documentation. Three times for each work and device, none
of which it can be faster than:

* memory: bytes that must come from or go to the device's memory once (rows, chains), over its bandwidth. Weights and
  scratch stay in the second-level cache;
* products: multiply-adds of bytes, over the rate of the tensor cores;
* instructions: those of all warps, over what the schedulers issue, one a clock each.

The instructions are those of PTX, of which the assembler makes some more (64-bit additions) and some less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gpu_predictions.rst"
RECORD = ROOT / "benchmarks" / "registers.json"
N_VISIBLE, N_ROWS = 784, 60_000
_SCHEDULERS, _LANES = 4, 32
#: of a multiprocessor
_REGISTERS = 65536
UNITS = ("bernoulli", "bernoulli")
_HEAD = """\
Predicted times of CUDA kernels
===============================

**Predictions, no measurements**: no kernel has run on a device. ``python -m fastrbm.benchmarks.gpu_floors --docs``
writes this page. Milliseconds that a work cannot be faster than, by the bytes that it must move, the products of bytes
on tensor cores, and the instructions that its warps execute (those of PTX, counted on the emulated device of the tests)
at the boost clock of the data sheet; what waits for memory or for the grid comes on top. A product is one tensor-core
instruction, of 4096 multiply-adds. Bank conflicts are the cycles that accesses of shared memory take over those that
they would take without, by the addresses of one warp.
"""
_KERNELS = """\
Kernels
-------

What the assembler says of the kernels that multiply on tensor cores: registers of a thread, blocks and warps that a
multiprocessor holds by these, bytes spilled, and instructions of the machine code for each product, itself among them,
in the innermost loop that has most (``python -m fastrbm._kernels.cuda.ahead --record benchmarks/registers.json``). In
these loops fragments of weights are read 16 bytes at a time and bits 8; "small" tiles are for problems with less work
than multiprocessors; "lowbit" products and those of "short weights" are of two bytes of the weights.
"""


class Device(NamedTuple):
    """What the data sheet of a device says.

    Attributes
    ----------
    name : str
    processors : int
        Multiprocessors.
    clock : float
        Boost clock in Hz.
    bandwidth : float
        Of its memory, in bytes a second.
    products : float
        Multiply-adds of bytes on tensor cores, dense, a second.
    """

    name: str
    processors: int
    clock: float
    bandwidth: float
    products: float


#: data sheets of NVIDIA: A100 80 GB SXM, H100 SXM, H200 SXM
DEVICES = (
    Device("A100", 108, 1.41e9, 2.039e12, 312e12),
    Device("H100", 132, 1.98e9, 3.35e12, 989.5e12),
    Device("H200", 132, 1.98e9, 4.8e12, 989.5e12),
)


class Work(NamedTuple):
    """A piece of work, `times` as large as the part of it that is counted.

    Attributes
    ----------
    name : str
    times : float
    moved : float
        Bytes of all of it.
    products : float
        Multiply-adds of bytes of all of it.
    count : callable
        Runs the part on the emulated device.
    kernels : str
        Kernels whose instructions count, by the beginning of their names.
    """

    name: str
    times: float
    moved: float
    products: float
    count: Callable[[], Any]
    kernels: str


def _bits(n: int, n_units: int) -> Any:
    from fastrbm._kernels import pack

    return pack(np.random.default_rng(0).random((n, n_units)) < 0.2)


def _model(n_hidden: int) -> Any:
    from fastrbm._kernels import Parameters

    rng = np.random.default_rng(1)
    shapes: tuple[Any, ...] = ((n_hidden, N_VISIBLE), N_VISIBLE, n_hidden)
    return Parameters(*(rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes))


def _backend() -> Any:
    from fastrbm._kernels.cuda.backend import CudaBackend

    return CudaBackend()


def training(n_hidden: int, batch: int) -> Work:
    """An epoch of CD-1; a minibatch is counted."""

    def count() -> None:
        from fastrbm._kernels import ChainState, TrainingPlan

        plan = TrainingPlan(1, batch, False, 1, 0.1, 0.0, False)
        rows, order = _bits(batch, N_VISIBLE), np.arange(batch)
        _backend().train(_model(n_hidden), [], rows, order, plan, UNITS, ChainState(0, None))

    products = 5 * 4.0 * N_ROWS * N_VISIBLE * n_hidden  # three layers, and both phases of the gradient
    name = f"CD-1 epoch, {N_ROWS} rows, {N_VISIBLE}x{n_hidden}, batch {batch}"
    return Work(name, N_ROWS / batch, N_ROWS * N_VISIBLE / 8, products, count, "pass_kernel")


def gibbs(n_hidden: int, n_chains: int, n_sweeps: int, counted: int) -> Work:
    """Free chains; one sweep of some of them is counted."""

    def count() -> None:
        from fastrbm._kernels.draws import Draw

        backend, model = _backend(), _model(n_hidden)
        backend.run_chains(_bits(counted, n_hidden), model, UNITS, Draw(3, 1, 0), 1)

    steps = float(n_chains) * n_sweeps
    products = 2 * 4 * steps * N_VISIBLE * n_hidden
    name = f"Gibbs sampling, {N_VISIBLE}x{n_hidden}, {n_chains} chains, {n_sweeps} sweeps"
    return Work(name, steps / counted, n_chains * (N_VISIBLE + 2 * n_hidden) / 8, products, count, "chains_kernel")


def annealing(n_hidden: int, n_chains: int, n_temperatures: int, counted: int) -> Work:
    """Annealed importance sampling; some chains between two temperatures are counted."""

    def count() -> None:
        from fastrbm._kernels.draws import Draw

        backend, model, betas = _backend(), _model(n_hidden), np.array([0.5, 0.6])
        bases = np.zeros(N_VISIBLE, np.float32), np.zeros(n_hidden, np.float32)
        states, log_weights = _bits(counted, N_VISIBLE), np.zeros(counted)
        backend.anneal(states, model, UNITS, bases, "hidden", betas, Draw(3, 1, 0), log_weights)

    steps = float(n_chains) * n_temperatures
    products = 2 * 4 * steps * N_VISIBLE * n_hidden
    name = f"annealing, {N_VISIBLE}x{n_hidden}, {n_chains} chains, {n_temperatures} temperatures"
    return Work(name, steps / counted, n_chains * 2 * N_VISIBLE / 8, products, count, "annealing_kernel")


def exact(log2_states: int, counted: int) -> Work:
    """Exact log Z in float32; a smaller one is counted."""

    def count() -> None:
        _backend().log_partition_sum(_model(counted), UNITS, dtype=np.float32)

    return Work(
        f"exact log Z, 2^{log2_states} states, {N_VISIBLE} visible", 2.0 ** (log2_states - counted), 0, 0, count,
        "sum_states",
    )  # fmt: skip


WORKS = (
    training(1024, 1024), training(256, 256), gibbs(500, 10_000, 100, 512), annealing(500, 1000, 1000, 256),
    exact(36, 18),
)  # fmt: skip


def counted(work: Work) -> tuple[float, float]:
    """Instructions of all warps for all of a work; cycles of accesses of shared memory over those without conflicts."""
    from ptx.banks import cost, traced
    from ptx.compiled import EMULATION
    from ptx.driver import INSTALLED

    EMULATION.clear()
    with traced() as accesses:
        work.count()
        INSTALLED[-1].streams.wait()
    taken, least = cost(accesses[0])
    found = sum(n for kernel, n in EMULATION.executed.items() if kernel.startswith(work.kernels))
    if not found:
        raise RuntimeError(f"{work.name}: no kernel {work.kernels} ran, but {sorted(EMULATION.executed)}")
    return found / _LANES * work.times, taken / max(1, least)


def floors(work: Work, instructions: float, device: Device) -> tuple[float, float, float]:
    """Seconds of memory, products and instructions."""
    issued = device.processors * _SCHEDULERS * device.clock
    return work.moved / device.bandwidth, work.products / device.products, instructions / issued


def table(found: Sequence[tuple[Work, float, float]]) -> list[list[str]]:
    """Rows of the table, the first one its head; times in milliseconds."""
    rows = [
        ["work", "device", "memory", "products", "instructions", "at least", "instructions a product", "bank conflicts"]
    ]
    for work, instructions, conflicts in found:
        per_product = f"{instructions / (work.products / 4096):.1f}" if work.products else r"\-"
        for device in DEVICES:
            times = floors(work, instructions, device)
            milliseconds = [f"{1e3 * t:.3g}" for t in (*times, max(times))]
            rows.append([work.name, device.name, *milliseconds, per_product, f"{conflicts:.2f}"])
    return rows


def page(rows: list[list[str]]) -> str:
    """The table as a page of the documentation."""
    return "\n".join([_HEAD, *_list_table(rows), _KERNELS, *_list_table(kernels())])


def kernels() -> list[list[str]]:
    """Rows of the table of kernels with products, by the record of `ahead --record`; the first one is its head."""
    rows = [["kernel", "capability", "registers", "blocks held", "warps held", "spills", "instructions a product"]]
    for target, found in json.loads(RECORD.read_text()).items():
        for name, (registers, spills, *per_product) in sorted(found.items()):
            if not per_product:
                continue
            threads = 128 if name.endswith("large") else 256
            held = min(_REGISTERS // (-(-registers // 8) * 8 * threads), 2048 // threads)
            row = [name, target, str(registers), str(held), str(held * threads // _LANES), f"{spills} bytes"]
            rows.append([*row, f"{per_product[0]:g}"])
    return rows


def _list_table(rows: list[list[str]]) -> list[str]:
    """Lines of reStructuredText; an empty cell is a dash with a backslash, as a dash alone is a list."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if k == 0 else ' '} - {cell}" for k, cell in enumerate(row)]
    return [*lines, ""]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print the table, and write the page if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--docs", action="store_true", help=f"write {PAGE.relative_to(ROOT)} of the checkout")
    options = parser.parse_args(arguments)
    os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
    sys.path.insert(0, str(ROOT / "tests" / "cuda"))
    from ptx.compiled import EMULATION, missing
    from ptx.driver import install

    reason = missing()
    if reason is not None:
        print(f"nothing was counted: {reason}")
        return 3
    install()
    warnings.simplefilter("ignore")  # Numba's, of small problems
    # as many multiprocessors as a device has, so that blocks are of the shape that they have there
    with EMULATION.set(processors=DEVICES[-1].processors, blocks=2):
        found = [(work, *counted(work)) for work in WORKS]
    rows = table(found)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    if options.docs:
        PAGE.write_text(page(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
