"""Kernels made native, their launches, and what was found while they ran."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .text import Module, Unknown
from .translation import Translator

RUNTIME = Path(__file__).with_name("runtime")
#: translated and compiled kernels are kept here, by what they are made of
CACHE = Path(os.environ.get("FASTRBM_PTX_CACHE") or Path(tempfile.gettempdir(), f"fastrbm-ptx-{os.getuid()}"))
#: what `report` of the runtime is told
PROBLEMS = (
    "out of bounds", "misaligned", "shared memory that was not written", "global memory that was not written", "race",
    "race, of one value", "barrier divergence", "divergence in a warp", "deadlock", "barrier after an exit",
    "division by zero", "grid barrier",
)  # fmt: skip
#: several threads store one value: by the order of the manual undefined, by the devices not
HARMLESS = "race, of one value"
MOST_SHARED = 48 << 10
_MOST_LINES = 1 << 17  # in runtime/device.h

_FLAGS = (
    "-fwrapv", "-ffp-contract=off", "-fno-math-errno", "-mfma", "-mpopcnt", "-ftrivial-auto-var-init=pattern",
    "-Werror=implicit-function-declaration", "-shared", "-fPIC",
)  # fmt: skip


def missing() -> str | None:
    """Why nothing can be emulated here, or None."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"threads of emulated kernels change stacks in the way of x86-64, and this is {platform.machine()}"
    if shutil.which("gcc") is None:
        return "translated kernels are compiled by gcc, which is not to be found"
    from fastrbm._kernels.cuda.availability import compilers_missing

    return compilers_missing()


@dataclass(frozen=True)
class Settings:
    """What may differ between devices and runs without any effect on results.

    Attributes
    ----------
    processors, blocks : int
        Multiprocessors, and blocks of a kernel that one of them holds.
    order : int
        Seed of the order in which threads, warps and blocks come; with an odd one blocks come backwards.
    contract : bool
        Contract plain products and sums, as the assembler may.
    off_by : int
        Units in the last place by which approximations are off.
    late : bool
        Streams do their work when somebody waits for it, not at once.
    """

    processors: int = 3
    blocks: int = 1
    order: int = 0
    contract: bool = False
    off_by: int = 0
    late: bool = True


@dataclass
class Emulation:
    """Settings of now, and what launches did and showed.

    Attributes
    ----------
    problems : Counter of (kernel, text)
        With "host" for the kernel where copies or launches are wrong.
    executed : Counter of kernel
        Instructions of all threads.
    launched : Counter of (kernel, grid, block)
    reached : dict of kernel to set of int
        Lines with accesses of memory, barriers and products that some thread came to.
    """

    settings: Settings = field(default_factory=Settings)
    problems: Counter[tuple[str, str]] = field(default_factory=Counter)
    executed: Counter[str] = field(default_factory=Counter)
    launched: Counter[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=Counter)
    reached: dict[str, set[int]] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what was found."""
        for held in (self.problems, self.executed, self.launched, self.reached):
            held.clear()

    def harmful(self) -> dict[tuple[str, str], int]:
        """The problems but stores of one value by several threads."""
        return {key: n for key, n in self.problems.items() if not key[1].startswith(HARMLESS)}

    @contextmanager
    def set(self, **changed: Any) -> Iterator[None]:
        """Within the block settings are others."""
        before = self.settings
        self.settings = replace(before, **changed)
        try:
            yield
        finally:
            self.settings = before


EMULATION = Emulation()


class _Problem(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("problem", "line", "other_line", "count")),
        *((name, ctypes.c_uint32) for name in ("thread", "block")), ("address", ctypes.c_uint64),
    ]  # fmt: skip


def _build(source: Path, library: Path, flags: Sequence[str]) -> None:
    if not library.exists():
        part = library.with_suffix(f".{os.getpid()}")
        command = ["gcc", *flags, f"-I{RUNTIME}", "-o", part, source, "-lm"]
        subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
        part.rename(library)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]


@functools.cache
def _runtime_digest() -> bytes:
    return _digest(*(file.read_bytes() for file in sorted(RUNTIME.iterdir()) if file.suffix in ".ch")).encode()


@functools.cache
def runtime() -> Any:
    """Return the library that runs launches, with its memory reserved."""
    CACHE.mkdir(parents=True, exist_ok=True)
    library = CACHE / f"runtime-{_runtime_digest().decode()}.so"
    _build(RUNTIME / "device.c", library, ("-O1", *_FLAGS))
    held = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    held.run_launch.restype = held.first_unwritten.restype = ctypes.c_int64
    held.set_state.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int]
    held.first_unwritten.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
    held.copy_on_device.argtypes = [ctypes.c_uint64] * 3
    held.copy_on_device.restype = None
    if held.begin_device():
        raise MemoryError("the addresses of the emulated device cannot be reserved")
    return held


def short_name(mangled: str) -> str:
    """The Python name within a mangled one, and a digest that tells its types apart."""
    parts, at = [], mangled.find("_ZN") + 3
    while at >= 3 and (found := re.match(r"(\d+)", mangled[at:])):
        at += len(found[1])
        parts.append(mangled[at : at + int(found[1])])
        at += int(found[1])
    names = [part for part in parts if "locals" not in part]
    return f"{names[-1] if names else mangled}:{_digest(mangled.encode())[:4]}"


class CompiledKernel:
    """A kernel of a text, made native.

    Parameters
    ----------
    text : str
        PTX.
    name : str
    contract : bool
    brief : bool
        It will not run for long: the compiler takes as little time as it can.
    """

    def __init__(self, text: str, name: str, contract: bool = False, brief: bool = False):
        self.text, self.name, self.short = text, name, short_name(name)
        module = Module(text)
        self.kernel = module.kernels[name]
        self.shared_bytes, self._shared_size = module.shared_bytes, module.shared_end + 64
        translator = Translator(module, self.kernel, contract)
        source = translator.source()
        self.counted = translator.counted
        runtime()
        flags = ("-O0" if brief else "-O1", *_FLAGS)
        at = CACHE / _digest(source.encode(), _runtime_digest(), " ".join(flags).encode())
        if not at.with_suffix(".so").exists():
            part = at.with_suffix(f".{os.getpid()}.c")
            part.write_text(source)
            try:
                _build(part, at.with_suffix(".so"), flags)
            except subprocess.CalledProcessError as error:
                raise Unknown(f"{self.short}: what was made of it is not C: {error.stderr[-600:]}") from None
            finally:
                part.unlink()
        self._function = ctypes.CDLL(str(at.with_suffix(".so"))).kernel
        places = [x for array in module.shared.values() for x in array]
        self._arrays = (ctypes.c_uint32 * max(1, len(places)))(*places)
        self._n_arrays = len(module.shared)

    def launch(self, grid: Sequence[int], block: Sequence[int], parameters: bytes, cooperative: bool) -> None:
        """Run all threads and note what is found; RuntimeError where a driver refuses, or threads wait for ever."""
        self.refuse_what_drivers_do(grid, block)
        settings, library = EMULATION.settings, runtime()
        three = ctypes.c_uint32 * 3
        found = ctypes.c_int.in_dll(library, "n_problems")
        found.value = 0
        reached = (ctypes.c_uint8 * min(_MOST_LINES, self.text.count("\n") + 2)).in_dll(library, "lines_reached")
        ctypes.memset(reached, 0, len(reached))
        ctypes.c_int.in_dll(library, "off_by").value = settings.off_by
        seed = ctypes.c_uint64(settings.order * 1_000_003 + sum(EMULATION.launched.values()) + 1)
        executed = library.run_launch(
            self._function, three(*grid), three(*block), parameters, int(cooperative), self._arrays, self._n_arrays,
            self._shared_size, seed, settings.order % 2,
        )  # fmt: skip
        EMULATION.reached.setdefault(self.short, set()).update(
            np.flatnonzero(np.frombuffer(reached, np.uint8)).tolist()
        )
        EMULATION.executed[self.short] += max(executed, 0)
        EMULATION.launched[self.short, tuple(grid), tuple(block)] += 1
        for problem in (_Problem * max(found.value, 1)).in_dll(library, "problems")[: found.value]:
            EMULATION.problems[self.short, self._said(problem)] += problem.count
        if executed < 0:
            raise RuntimeError(f"{self.short} did not end: {'; '.join(text for _, text in EMULATION.problems)}")

    def refuse_what_drivers_do(self, grid: Sequence[int], block: Sequence[int]) -> None:
        """Raise RuntimeError for shapes that a device does not have."""
        threads = block[0] * block[1] * block[2]
        refused = {
            f"{threads} threads where {self.kernel.most_threads} are allowed": threads > self.kernel.most_threads,
            f"a block of {tuple(block)}": min(block) < 1 or threads > 1024 or block[2] > 64,
            f"a grid of {tuple(grid)}": min(grid) < 1 or grid[0] > 2**31 - 1 or max(grid[1:]) > 65535,
            f"{self.shared_bytes} bytes of shared memory": self.shared_bytes > MOST_SHARED,
        }
        for what, bad in refused.items():
            if bad:
                EMULATION.problems[self.short, f"launch refused: {what}"] += 1
                raise RuntimeError(f"{self.short}: launch refused: {what}")

    def _said(self, problem: _Problem) -> str:
        lines = self.text.split("\n")

        def line(number: int) -> str:
            return f"line {number} ({lines[number - 1].strip()[:90]})"

        text = f"{PROBLEMS[problem.problem]} at {line(problem.line)}"
        if problem.other_line:
            text += f" with {line(problem.other_line)}"
        return f"{text}, first by thread {problem.thread} of block {problem.block} at {problem.address:#x}"
