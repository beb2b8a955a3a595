"""Compile every CUDA kernel without a device: ``python -m fastrbm._kernels.cuda.ahead [module ...]``.

Prints what the assembler says of each kernel on each target, one line each, and the instructions that its loops have
for each tensor-core product, where there is a disassembler. Exits with 1 if one does not compile or spills registers,
with 2 for a module without kernels, with 3 if the compilers are not installed. Modules list their
kernels in a function `entry_points`.

``--check FILE`` compares with a record, and exits with 1 also if a kernel takes more registers, or spills more, than it
says; ``--record FILE`` writes one (`benchmarks/registers.json`).

The kernels go through the compiler and the linker of Numba with the options they are launched with; what asks for the
current device is told one of the target's capability.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import pkgutil
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .machine_code import disassembled, disassembler, loops_of

#: Compute capabilities as Numba names them on a device.
TARGETS = ((8, 0, ""), (9, 0, "a"))

OK, FAILED, USAGE, NO_COMPILERS = 0, 1, 2, 3


class Resources(NamedTuple):
    """What a kernel takes on a target.

    Attributes
    ----------
    registers : int
        Of a thread.
    spills : int
        Bytes stored and loaded because the registers did not suffice.
    local : int
        Bytes of a thread's stack; arrays that are kept in registers take none.
    shared : int
        Bytes of a block, without what is asked for at launch.
    per_product : float or None
        Instructions of the machine code for each tensor-core product, in the innermost loop that has most of them; None
        for kernels without such products, and where there is no disassembler.
    """

    registers: int
    spills: int
    local: int
    shared: int
    per_product: float | None = None


def resources_of(log: str, entry: str) -> Resources:
    """Read the log of the assembler, which may speak of library functions as well."""
    at = log.find(entry, log.find("Function properties for"))
    if at < 0:
        raise ValueError(f"the assembler said nothing about {entry}:\n{log}")
    log = log[at:]

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found[1]) if found else 0

    spills = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    registers = number(r"[Uu]sed (\d+) registers")
    return Resources(registers, spills, number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes smem"))


def kernel_modules(only: Sequence[str] = ()) -> list[ModuleType]:
    """Modules of this package that list kernels, or those of them that are named."""
    package = importlib.import_module(f"{__package__}.kernels")
    names = [m.name for m in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    wanted = [name for name in sorted(names) if not only or name.rpartition(".")[2] in only]
    return [m for m in map(importlib.import_module, wanted) if hasattr(m, "entry_points")]


def compile_all(target: tuple[int, int, str], only: Sequence[str] = ()) -> list[tuple[str, str, Resources | str]]:
    """(Module, kernel, what it takes or why it does not compile) of all kernels; run it in a process of its own."""
    _pretend(target)
    return [
        (module.__name__.rpartition(".")[2], name, _compile(kernel, signature, target))
        for module in kernel_modules(only)
        for name, kernel, signature in module.entry_points()
    ]


def _pretend(target: tuple[int, int, str]) -> None:
    """Let the compiler believe in a current device, and the linker say what the assembler says."""
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import devices, driver

    class Device:
        compute_capability = target[:2]
        MAX_REGISTERS_PER_BLOCK = 65536

    class Context:
        device = Device

    # private names of Numba, which has no public way to pass options to the assembler
    numbas_linker: Any = driver._Linker

    class Linker(numbas_linker):
        def _get_linker_options(self, ptx: bool) -> Any:
            options = super()._get_linker_options(ptx)
            options.ptxas_options = ["-v"]
            options.verbose = True
            return options

    dispatcher.get_current_device = Device
    devices.get_context = Context
    driver._Linker = Linker


def _compile(kernel: Any, signature: Any, target: tuple[int, int, str]) -> Resources | str:
    from numba.cuda import dispatcher

    try:
        compiled = dispatcher._Kernel(kernel.py_func, tuple(signature.args), **kernel.targetoptions)
        cubin = compiled.library.get_cubin(cc=target)
        found = resources_of(compiled.library.get_linkerinfo(target), compiled.entry_name)
        if disassembler() is None:
            return found
        loops = loops_of(disassembled(bytes(cubin.code)), compiled.entry_name)
        return found._replace(per_product=max((loop.per_product for loop in loops), default=None))
    except Exception as error:  # whatever the stages of the compiler raise is the result here
        return f"{type(error).__name__}: {error}"


#: registers, spilled bytes and, where there are products, instructions for each, by target and kernel
Record = dict[str, dict[str, list[float]]]


def read_record(path: Path) -> Record:
    """Read what kernels took when the record was written."""
    return json.loads(path.read_text())


def write_record(path: Path, record: Record) -> None:
    """Write a record, a line a kernel."""
    targets = [
        f"  {json.dumps(target)}: {{\n"
        + ",\n".join(f"    {json.dumps(name)}: {json.dumps(kernels[name])}" for name in sorted(kernels))
        + "\n  }"
        for target, kernels in sorted(record.items())
    ]
    path.write_text("{\n" + ",\n".join(targets) + "\n}\n")


def risen(record: Record, found: Record) -> list[str]:
    """What kernels take beyond their record, a sentence each; a kernel without one is named, too."""
    said = []
    for target, kernels in found.items():
        for name, (registers, spills, *per_product) in kernels.items():
            before = record.get(target, {}).get(name)
            if before is None:
                said.append(f"{name} on {target} is not in the record")
            elif registers > before[0] or spills > before[1]:
                said.append(
                    f"{name} on {target} takes {registers} registers and spills {spills} bytes, more than the "
                    f"{before[0]} and {before[1]} of the record"
                )
            elif per_product and len(before) > 2 and per_product[0] > before[2]:
                said.append(
                    f"{name} on {target} takes {per_product[0]} instructions a product, {before[2]} in the record"
                )
    return said


def main(arguments: Sequence[str] = ()) -> int:
    """Compile the kernels of all modules, or of those named, print the table and return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("only", nargs="*", metavar="module", help="modules of kernels, all by default")
    parser.add_argument("--check", type=Path, metavar="FILE", help="fail if a kernel takes more than this record says")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what kernels take")
    options = parser.parse_args(arguments)
    only = options.only
    os.environ.pop("NUMBA_ENABLE_CUDASIM", None)  # read by Numba when it is imported, here and by the processes
    from . import availability

    reason = availability.compilers_missing()
    if reason is not None:
        print(f"nothing was compiled: {reason}")
        return NO_COMPILERS
    unknown = set(only) - {m.__name__.rpartition(".")[2] for m in kernel_modules(only)}
    if unknown:
        print(f"no module of this package with kernels is called {', '.join(sorted(unknown))}")
        return USAGE
    bad = 0
    taken: Record = {}
    print(
        f"{'module':<12} {'kernel':<40} {'target':<7} {'registers':>9} {'spills':>7} {'local':>7} {'shared':>7} "
        f"{'a product':>9}"
    )
    with ProcessPoolExecutor(len(TARGETS), multiprocessing.get_context("spawn")) as pool:
        for target, results in zip(TARGETS, pool.map(partial(compile_all, only=only), TARGETS), strict=True):
            for module, name, found in results:
                architecture = "sm_{}{}{}".format(*target)
                head = f"{module:<12} {name:<40} {architecture:<7}"
                if isinstance(found, str):
                    print(f"{head} {found}")
                    bad += 1
                else:
                    registers, spills, local, shared, per_product = found
                    numbers = [] if per_product is None else [round(per_product, 2)]
                    taken.setdefault(architecture, {})[name] = [registers, spills, *numbers]
                    print(
                        f"{head} {registers:>9} {spills:>7} {local:>7} {shared:>7}",
                        *(f"{x:>9}" for x in numbers),
                        *["SPILLS"] * (spills > 0),
                    )
                    bad += spills > 0
    if bad:
        print(f"{bad} kernels do not compile or spill")
    more = risen(read_record(options.check), taken) if options.check else []
    print(*more, sep="\n", end="\n" if more else "")
    if options.record:
        write_record(options.record, taken)
    return FAILED if bad or more else OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
