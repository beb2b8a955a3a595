"""How many instructions the hot kernels take, counted by valgrind: a figure that a busy machine does not change.

``python -m fastrbm.benchmarks.instructions`` prints them, ``--record`` keeps them in ``instructions.json`` beside this
file, ``--check`` compares with what was kept. Each kernel runs N and 2 N times, each in an interpreter of its own;
the difference is the kernel's, and starting the interpreter cancels. Valgrind cannot run AVX-512, so the other
instruction sets stand for it: the source is the same.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .scaling import select

#: Where the counts are kept.
RECORD = Path(__file__).with_name("instructions.json")

#: Instruction sets that valgrind can run.
TARGETS = ("avx2", "baseline")

#: Allowed growth in per cent where none is given.
TOLERANCE = 5.0

_REPETITIONS = 1

#: One thread, and dictionaries in the same order each time, so that a count can be repeated.
_SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}

#: Counts by compiler, instruction set and kernel.
Record = dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True)
class Count:
    """Instructions of one kernel now, and when they were recorded."""

    target: str
    kernel: str
    now: int
    before: int | None  #: None where nothing was recorded with this compiler and instruction set

    @property
    def change(self) -> float | None:
        """Growth in per cent."""
        return None if self.before is None else 100 * (self.now / self.before - 1)

    def worse(self, tolerance: float) -> bool:
        """Say whether it grew by more than `tolerance` per cent."""
        return self.change is not None and self.change > tolerance


def compiler() -> str:
    """Return the compiler that the extension was made with, as the extension itself names it."""
    from fastrbm._kernels.cpu.runtime import extension

    names = re.findall(rb"GCC: \([^)]*\) [0-9.]+|clang version [0-9.]+", Path(extension.__file__).read_bytes())
    # The C library's start files bring the name of their own compiler along, after that of the extension's code.
    return names[0].decode() if names else "unknown compiler"


def _totals(text: str) -> int:
    """Return the number of instructions that a file of callgrind's holds."""
    found = re.findall(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    if not found:
        raise RuntimeError("callgrind wrote no totals")
    return int(found[-1])


def _run(command: Sequence[str], target: str) -> None:
    root = Path(__file__).resolve().parents[1] if __package__ == "benchmarks" else None
    environment = os.environ | _SETTINGS | {"FASTRBM_CPU": target}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-3:])} failed with {target}:\n{done.stderr[-2000:]}")


def instructions(kernel: str, target: str, repetitions: int) -> int:
    """Return the instructions of a whole interpreter that runs a kernel some times."""
    driver = [sys.executable, "-m", f"{__package__}.hot", kernel, str(repetitions)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "counts")
        _run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *driver], target)
        return _totals(out.read_text())


def count(kernel: str, target: str, whole: Callable[[str, str, int], int] = instructions) -> int:
    """Return the instructions of one repetition of a kernel.

    Parameters
    ----------
    kernel : str
        A name in `benchmarks.hot.KERNELS`.
    target : str
        Instruction set.
    whole : callable
        Counts those of a whole interpreter.
    """
    return (whole(kernel, target, 2 * _REPETITIONS) - whole(kernel, target, _REPETITIONS)) // _REPETITIONS


def load(path: Path) -> Record:
    """Return what was recorded; nothing if there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(path: Path, counts: Sequence[Count], made_with: str) -> None:
    """Put counts in the place of those of the same compiler, instruction set and kernel; leave all others."""
    record = load(path)
    for entry in counts:
        record.setdefault(made_with, {}).setdefault(entry.target, {})[entry.kernel] = entry.now
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def table(counts: Sequence[Count]) -> str:
    """Return the counts as a Markdown table."""
    lines = ["| instruction set | kernel | instructions | recorded | change |", "| --- | --- | ---: | ---: | ---: |"]
    for entry in counts:
        before = "-" if entry.before is None else f"{entry.before:,}"
        change = "-" if entry.change is None else f"{entry.change:+.1f} %"
        lines.append(f"| {entry.target} | {entry.kernel} | {entry.now:,} | {before} | {change} |")
    return "\n".join(lines)


def _tolerance(text: str) -> float:
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be a number of per cent, at least 0, got {text}")
    return value


_tolerance.__name__ = "number"  # argparse names it when float() fails


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m fastrbm.benchmarks.instructions", description="Count the instructions of the hot kernels."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true", help=f"keep the counts in {RECORD.name}")
    what.add_argument(
        "--check",
        metavar="TOLERANCE",
        nargs="?",
        const=TOLERANCE,
        type=_tolerance,
        help=f"fail where a kernel takes this many per cent more instructions than recorded (default {TOLERANCE:g})",
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        default=[],
        help="kernels whose name contains or matches PATTERN; may be repeated",
    )
    parser.add_argument("--target", choices=TARGETS, action="append", help="instruction set; may be repeated")
    return parser


def main(argv: Sequence[str] | None = None, record: Path = RECORD) -> int:
    """Count, print the table, keep or compare.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if left out.
    record : pathlib.Path
        File of the counts.

    Returns
    -------
    int
        0; 1 when a kernel takes too many instructions; 2 when nothing could be counted or compared.
    """
    command = parser()
    options = command.parse_args(argv)
    if shutil.which("valgrind") is None:
        print("instructions are counted by valgrind, which is not installed here", file=sys.stderr)
        return 2
    from fastrbm._kernels.cpu import supported_targets

    from .hot import KERNELS

    kernels = select(list(KERNELS), options.only)
    if not kernels:
        command.error(f"--only {' '.join(options.only)}: no such kernel; there are {', '.join(KERNELS)}")
    targets = [name for name in options.target or TARGETS if name in supported_targets()]
    if not targets:
        command.error(f"--target {' '.join(options.target)}: not on this machine, which has {supported_targets()}")
    made_with = compiler()
    known = load(record).get(made_with, {})
    counts = []
    try:
        for target in targets:
            # Unmeasured, so that byte code is written before anything is counted.
            _run([sys.executable, "-m", f"{__package__}.hot", kernels[0], "1"], target)
            for kernel in kernels:
                print(f"{target} {kernel}", file=sys.stderr, flush=True)
                counts.append(Count(target, kernel, count(kernel, target), known.get(target, {}).get(kernel)))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Compiled with {made_with}.\n\n{table(counts)}")
    if options.record:
        save(record, counts, made_with)
        print(f"\nRecorded in {record.name}.")
    return 0 if options.check is None else _verdict(counts, options.check, made_with)


def _verdict(counts: Sequence[Count], tolerance: float, made_with: str) -> int:
    if all(entry.before is None for entry in counts):
        print(f"nothing was recorded with {made_with}; --record does", file=sys.stderr)
        return 2
    worse = [entry for entry in counts if entry.worse(tolerance)]
    for entry in worse:
        print(
            f"{entry.kernel} with {entry.target} takes {entry.change:.1f} % more instructions than recorded, "
            f"allowed {tolerance:g} %",
            file=sys.stderr,
        )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
