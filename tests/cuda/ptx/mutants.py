"""Mistakes planted in the PTX of kernels: a device that finds none of them would prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .compiled import EMULATION, CompiledKernel, short_name
from .driver import LIBRARIES, as_function
from .text import SIZES


class Mutant(NamedTuple):
    """A kernel with a mistake.

    Attributes
    ----------
    what : str
    line : int
        Of the text, 0 for all of it.
    text : str
    contract : bool
        Whether the mistake shows where plain operations are contracted.
    """

    what: str
    line: int
    text: str
    contract: bool = False


def _in_lines(text: str, what: str, pattern: str, change: Callable[[re.Match[str]], str]) -> Iterator[Mutant]:
    """One mutant for each line that a pattern is found in."""
    lines = text.split("\n")
    for k, line in enumerate(lines):
        if found := re.search(pattern, line):
            changed = line[: found.start()] + change(found) + line[found.end() :]
            yield Mutant(what, k + 1, "\n".join([*lines[:k], changed, *lines[k + 1 :]]))


def barriers(text: str) -> Iterator[Mutant]:
    """Barriers of the block that are not there."""
    return _in_lines(text, "no barrier", r"bar\.sync\s+0;", lambda found: "")


def grid_barriers(text: str) -> Iterator[Mutant]:
    """Barriers of the block where those of the grid should be."""
    for found in re.finditer(r"call\.uni \(\w+\),\s+cudaCGSynchronize,\s+\([^)]*\);", text):
        rest = text[found.end() :]
        load = re.match(r"\s*ld\.param\.b32\s+%r\d+, \[\w+(\+0)?\];", rest)
        after = rest[load.end() :] if load else rest
        yield Mutant(
            "no grid barrier", text.count("\n", 0, found.start()) + 1, text[: found.start()] + "bar.sync 0;" + after
        )


def offsets(text: str) -> Iterator[Mutant]:
    """Loads and stores of the place behind the one that is meant."""

    def next_place(found: re.Match[str]) -> str:
        width = int(found[2] or 1) * SIZES[found[3]]
        offset = int((found[6] or "+0")[1:]) + width
        return f"{found[1]}{f'.v{found[2]}' if found[2] else ''}.{found[3]}{found[4]}[{found[5]}+{offset}]"

    name, registers = (
        r"((?:ld|st)(?:\.global|\.shared)(?:\.nc)?)(?:\.v([24]))?\.(\w+)",
        r"(\s+(?:\{[^}]*\}|%\w+)?,?\s*)",
    )
    pattern = name + registers + r"\[(%\w+)(\+-?\d+)?\]"
    return _in_lines(text, "next place", pattern, next_place)


_OPERANDS = re.compile(r"(mma\.sync.*\}, *)\{(%r\d+), *(%r\d+)\}(, *\{)")


def fragments(text: str) -> Iterator[Mutant]:
    """Tensor-core products whose second operand has its words in the wrong order."""
    return _in_lines(
        text, "words of a fragment swapped", _OPERANDS.pattern, lambda f: f"{f[1]}{{{f[3]}, {f[2]}}}{f[4]}"
    )


def all_fragments(text: str) -> Iterator[Mutant]:
    """The same in all products at once: what is only seen by draws does not show the lowest bytes of weights."""
    changed = _OPERANDS.sub(r"\1{\3, \2}\4", text)
    if changed != text:
        yield Mutant("words of all fragments swapped", 0, changed)


def roundings(text: str) -> Iterator[Mutant]:
    """Products and sums that are not said to be rounded each, on a device that contracts them."""
    plain = re.sub(r"\b(mul|add|sub)\.rn\.f32", r"\1.f32", text)
    if plain != text:
        yield Mutant("plain operations", 0, plain, contract=True)


KINDS: dict[str, Callable[[str], Iterator[Mutant]]] = {
    "barriers": barriers, "grid barriers": grid_barriers, "offsets": offsets, "fragments": fragments,
    "all fragments": all_fragments, "roundings": roundings,
}  # fmt: skip


def launched_kernels() -> dict[str, CompiledKernel]:
    """Kernels that were launched since the emulation was cleared, by their short names."""
    names = {kernel for kernel, _, _ in EMULATION.launched}
    held = (library._emulated[False].kernel for library in LIBRARIES if False in library._emulated)
    return {kernel.short: kernel for kernel in held if kernel.short in names}


@contextmanager
def planted(kernel: CompiledKernel, mutant: Mutant) -> Iterator[None]:
    """Within the block launches of a kernel are those of a mutant."""
    (library,) = (x for x in LIBRARIES if x._entry_name == kernel.name and short_name(x._entry_name) == kernel.short)
    before = dict(library._emulated)
    library._emulated[mutant.contract] = as_function(
        CompiledKernel(mutant.text, kernel.name, mutant.contract, brief=True)
    )
    try:
        yield
    finally:
        library._emulated.clear()
        library._emulated.update(before)
