"""What the machine code of a kernel says of its loops: how much of it is products, how wide its accesses are.

Needs NVIDIA's disassembler (``pip install nvidia-cuda-nvdisasm``, a part of the extra ``dev``); nothing is run.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

#: an instruction: its address, perhaps a predicate, its name with suffixes, the rest
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
_LABEL = re.compile(r"^(\.L_\S+):")
_TARGET = re.compile(r"`?\((\.L_[\w$]+)\)")


class Loop(NamedTuple):
    """An innermost loop with tensor-core products.

    Attributes
    ----------
    instructions, products : int
        Of one turn.
    loads, wide_loads : int
        From global memory, and those of them of 16 bytes.
    local : int
        Accesses of the thread's own memory: spills, or arrays that are not in registers.
    """

    instructions: int
    products: int
    loads: int
    wide_loads: int
    local: int

    @property
    def per_product(self) -> float:
        """Instructions for each product, itself among them."""
        return self.instructions / self.products


def disassembler() -> str | None:
    """Path of nvdisasm, or None."""
    found = shutil.which("nvdisasm")
    package = importlib.util.find_spec("nvidia")
    for place in [] if package is None else package.submodule_search_locations or []:
        found = found or next((str(x) for x in Path(place).glob("*/bin/nvdisasm")), None)
    return found


def disassembled(cubin: bytes) -> str:
    """Machine code as text; RuntimeError where there is no disassembler."""
    program = disassembler()
    if program is None:
        raise RuntimeError('nvdisasm is not to be found: pip install "nvidia-cuda-nvdisasm"')
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([program, "-c", file.name], check=True, capture_output=True, text=True).stdout


def loops_of(text: str, entry: str) -> list[Loop]:
    """Innermost loops with products of a kernel, in the order of the code.

    Parameters
    ----------
    text : str
        Of `disassembled`.
    entry : str
        Name of the kernel.
    """
    names: list[str] = []
    labels: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    rest: list[str] = []
    for line in _section(text, entry):
        if found := _LABEL.match(line):
            labels[found[1]] = len(names)
        elif found := _INSTRUCTION.search(line):
            if found[2].startswith("BRA") and (target := _TARGET.search(found[3])):
                branches.append((len(names), target[1]))
            names.append(found[2])
            rest.append(found[3])
    spans = [(labels[target], at + 1) for at, target in branches if labels.get(target, at + 1) <= at]
    loops = []
    for first, last in sorted(set(spans)):
        inside = any((a, b) != (first, last) and first <= a and b <= last for a, b in spans)
        products = sum(name.startswith(("IMMA", "HMMA", "IGMMA", "HGMMA")) for name in names[first:last])
        if products and not inside:
            body = names[first:last]
            loads = [name for name in body if name.startswith("LDG")]
            local = sum(name.startswith(("LDL", "STL")) for name in body)
            loops.append(Loop(len(body), products, len(loads), sum(".128" in name for name in loads), local))
    return loops


def _section(text: str, entry: str) -> list[str]:
    """Lines of the code of a kernel."""
    at = text.find(f".text.{entry}:")
    if at < 0:
        raise ValueError(f"there is no code of {entry}")
    lines = text[at:].split("\n")[1:]
    end = next((k for k, line in enumerate(lines) if line.startswith("\t.section")), len(lines))
    return lines[:end]
