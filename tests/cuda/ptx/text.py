"""Reading PTX: kernels, their parameters and statements, shared arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

#: bytes of a value, by the type that instructions are given
SIZES = {"pred": 1} | {f"{kind}{8 * size}": size for kind in "bus" for size in (1, 2, 4, 8)} | {"f32": 4, "f64": 8}
#: bytes of nothing before each shared array, so that a step beyond one of them is seen
GAP = 64


class Unknown(Exception):
    """Something of PTX that is not emulated."""


class Statement(NamedTuple):
    """A label, a declaration or an instruction.

    Attributes
    ----------
    line : int
        Of the text, from 1.
    guard : str
        Predicate on which it depends, as in "%p1" or "!%p1"; empty for none.
    name : tuple of str
        Parts of the name: ("add", "s32"). Labels have ("label",), declarations begin with an empty part.
    operands : tuple of str
    """

    line: int
    guard: str
    name: tuple[str, ...]
    operands: tuple[str, ...]


class Parameter(NamedTuple):
    """A parameter of a kernel: its type and its place among the packed ones."""

    kind: str
    offset: int


class Shared(NamedTuple):
    """A shared array."""

    offset: int
    size: int


@dataclass
class Kernel:
    """A kernel as it is written."""

    name: str
    parameters: dict[str, Parameter]
    parameter_bytes: int
    most_threads: int
    statements: list[Statement] = field(default_factory=list)


class Module:
    """What a text holds.

    Parameters
    ----------
    text : str

    Attributes
    ----------
    kernels : dict of str to Kernel
    shared : dict of str to Shared
        Aligned as they ask to be and no better, with nothing between: accesses that are too wide or too far show.
    shared_bytes : int
        What the assembler would make of them, without the gaps.
    """

    def __init__(self, text: str):
        self.kernels: dict[str, Kernel] = {}
        self.shared: dict[str, Shared] = {}
        self.shared_bytes = self.shared_end = 0
        kernel: Kernel | None = None
        depth = 0
        for line, part in _parts(text):
            if part == "}":
                depth -= 1
            elif part.endswith("{"):
                if depth == 0:
                    kernel = self._begin(line, part[:-1])
                depth += 1
            elif depth == 0:
                self._declare(line, part)
            elif kernel is not None:
                kernel.statements.append(_statement(line, part))

    def _begin(self, line: int, head: str) -> Kernel:
        found = re.match(r"(?:\.visible |\.weak )?\.entry ([\w$]+) ?\((.*?)\)(.*)$", head)
        if not found:
            raise Unknown(f"line {line}: {head[:90]}")
        parameters, at = {}, 0
        for one in filter(None, (x.strip() for x in found[2].split(","))):
            of = re.fullmatch(r"\.param \.(\w+) ([\w$]+)", one)
            if not of:
                raise Unknown(f"line {line}: parameter {one}")
            size = SIZES[of[1]]
            at = -(-at // size) * size
            parameters[of[2]] = Parameter(of[1], at)
            at += size
        bounds = re.search(r"\.maxntid (\d+), (\d+), (\d+)", found[3])
        most = int(bounds[1]) * int(bounds[2]) * int(bounds[3]) if bounds else 1024
        self.kernels[found[1]] = Kernel(found[1], parameters, at, most)
        return self.kernels[found[1]]

    def _declare(self, line: int, part: str) -> None:
        if re.match(r"(\.(visible|extern|common|weak) )*\.(func|global)\b", part):
            return  # not known where they are used, but for the functions of grid barriers
        found = re.fullmatch(r"(?:\.visible )?\.shared \.align (\d+) \.(\w+) ([\w$]+)\[(\d+)\]", part)
        if not found:
            raise Unknown(f"line {line}: {part[:90]}")
        align, size = int(found[1]), SIZES[found[2]] * int(found[4])
        at = self.shared_end + GAP
        at = -(-at // (2 * align)) * 2 * align + align
        self.shared[found[3]] = Shared(at, size)
        self.shared_end = at + size
        self.shared_bytes = -(-self.shared_bytes // align) * align + size


#: a line that is one instruction or declaration
_PLAIN = re.compile(r"\s*[@.\w][^;{}]*(\{[^;{}]*\}[^;{}]*)*;\s*")
_HEADER = re.compile(r"\s*\.(version|target|address_size|file|section|loc)\b")


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """(Line, what stands up to ``;``, ``:`` of a label, or a brace that opens or closes a block)."""
    held: list[str] = []
    some, first, open_operands = False, 1, 0  # whether anything but blanks is held
    for line, raw in enumerate(text.split("\n"), 1):
        raw = raw.partition("//")[0]
        if not some and _HEADER.match(raw):
            continue
        if not some and _PLAIN.fullmatch(raw):  # as nearly all are
            yield line, " ".join(raw.split())[:-1].rstrip()
            continue
        for char in raw + "\n":
            if not some:
                first = line
            if open_operands or (char == "{" and some and not re.search(r"\.(entry|func)\b", "".join(held))):
                open_operands += (char == "{") - (char == "}")
                held.append(char)
            elif char == "{":
                yield first, " ".join("".join(held).split()) + "{"
                held, some = [], False
            elif char == "}":
                yield line, "}"
            elif char == ";" or (char == ":" and re.fullmatch(r"\s*[\w$]+", "".join(held))):
                if some:
                    yield first, " ".join("".join(held).split()) + (":" if char == ":" else "")
                held, some = [], False
            else:
                held.append(char)
                some = some or not char.isspace()


def _statement(line: int, part: str) -> Statement:
    if part.endswith(":"):
        return Statement(line, "", ("label",), (part[:-1],))
    guard = ""
    if part.startswith("@"):
        guard, _, part = part[1:].partition(" ")
    name, _, rest = part.partition(" ")
    return Statement(line, guard, tuple(name.split(".")), tuple(split_operands(rest)))


def split_operands(text: str) -> list[str]:
    """Operands at the commas that stand in no brackets."""
    found, depth, held = [], 0, ""
    for char in text:
        depth += (char in "{[(") - (char in "}])")
        if char == "," and not depth:
            found.append(held.strip())
            held = ""
        else:
            held += char
    return [*found, held.strip()] if held.strip() else found


def elements(operand: str) -> list[str]:
    """Registers of a vector, or the one that it is."""
    return [x.strip() for x in operand[1:-1].split(",")] if operand.startswith("{") else [operand]
