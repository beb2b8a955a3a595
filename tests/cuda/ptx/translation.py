"""PTX to C: registers are variables that hold bits, blocks of statements are labels.

What waits for other threads (barriers, instructions of a warp) and what touches memory is a call of the runtime
(`runtime/device.h`), with the line of PTX; the rest of the instructions are in `arithmetic`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from .arithmetic import ARITHMETIC, bits_of
from .text import SIZES, Kernel, Module, Statement, Unknown, elements

_INTEGER = {size: f"int{8 * size}_t" for size in (1, 2, 4, 8)}
_SPECIAL = {"%tid": "t->index", "%ntid": "launch.block", "%ctaid": "t->block->index", "%nctaid": "launch.grid"}
_SPACES = {"global": "GLOBAL", "shared": "SHARED"}
#: of loads and stores, whose order between threads is looked after by races
_ORDERING = {"volatile", "relaxed", "weak", "nc", "gpu", "sys", "cta", "acquire", "release", "v2", "v4"}
_PRODUCT = ("mma", "sync", "aligned", "m16n8k32", "row", "col", "s32", "u8", "u8", "s32")


class Translator:
    """Translates one kernel.

    Parameters
    ----------
    module : Module
    kernel : Kernel
    contract : bool
        Make a plain product and the plain sum it goes into one operation, as the assembler may.

    Attributes
    ----------
    counted : Counter
        Instructions of the text by what they are: "instructions", "products" (of tensor cores), "barriers",
        "grid barriers", "plain" (float operations that are not said to be rounded), "contractible".
    """

    def __init__(self, module: Module, kernel: Kernel, contract: bool):
        self.module, self.kernel, self.contract = module, kernel, contract
        self.counted: Counter[str] = Counter()
        self.registers: dict[str, int] = {}
        self._families: dict[str, int] = {}
        self._passed: dict[str, str] = {}  # what parameters of calls hold
        self._lines: list[str] = []
        self._pending = 0
        self.products: dict[str, tuple[str, str, str]] = {}  # plain products: two factors and their type
        self.written = Counter(
            register
            for s in kernel.statements
            if s.operands and s.name[0] not in ("", "label", "st", "bra", "bar", "red")
            for register in re.findall(r"%\w+", s.operands[0])
        )

    def source(self) -> str:
        """The kernel as a C function of a thread."""
        for statement in self.kernel.statements:
            try:
                self._translate(statement)
            except (Unknown, KeyError, ValueError) as error:
                said = f"{'.'.join(statement.name)} {', '.join(statement.operands)}"
                raise Unknown(f"line {statement.line}: {said[:120]}: {type(error).__name__} {error}") from None
        self._count()
        variables = [f"uint{8 * size}_t {_name(register)};" for register, size in self.registers.items()]
        return "\n".join(['#include "device.h"', "void kernel(Thread *t) {", *variables, *self._lines, "}", ""])

    # -- operands --------------------------------------------------------------------------------------------------

    def variable(self, register: str) -> str:
        """C variable of a register."""
        self.width(register)
        return _name(register)

    def width(self, register: str) -> int:
        """Bytes of a register."""
        if register not in self.registers:
            family = register.rstrip("0123456789")
            if family not in self._families:
                raise Unknown(f"register {register}")
            self.registers[register] = self._families[family]
        return self.registers[register]

    def value(self, operand: str, kind: str) -> str:
        """C expression of an operand, of the C type of a PTX type."""
        if kind == "pred":
            return self._predicate(operand)
        size = SIZES[kind]
        if kind[0] == "f":
            if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", operand):
                raise Unknown(f"{operand} as {kind}")
            return f"f{8 * size}({self.value(operand, f'b{8 * size}')})"
        unsigned = f"(uint{8 * size}_t)"
        if found := re.fullmatch(r"0[fFdD]([0-9a-fA-F]+)", operand):
            if len(found[1]) != 2 * size:
                raise Unknown(f"{operand} as {kind}")
            read = f"0x{found[1]}ULL"
        elif re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", operand):
            read = f"{int(operand.rstrip('U'), 0) % 256**size}ULL"
        elif operand in self.module.shared:
            read = f"{self.module.shared[operand].offset}"
        elif operand == "%laneid":
            read = "(t->number_in_block % 32)"
        elif operand.partition(".")[0] in _SPECIAL:
            of, _, axis = operand.partition(".")
            read = f"{_SPECIAL[of]}[{'xyz'.index(axis)}]"
        elif operand.startswith("%"):
            read = self.variable(operand)
        else:
            raise Unknown(f"operand {operand}")
        signed = f"({_INTEGER[size]})" if kind[0] == "s" else ""
        return f"({signed}{unsigned}{read})"

    def _predicate(self, operand: str) -> str:
        if operand.startswith("!"):
            return f"(!{self.variable(operand[1:])})"
        if re.fullmatch(r"-?\d+", operand):
            return str(int(operand != "0"))
        return self.variable(operand)

    def assign(self, register: str, kind: str, expression: str) -> str:
        """C statement that sets a register to a value of a type; "_" takes anything."""
        if register == "_":
            return f"(void)({expression});"
        target = self.variable(register)
        if self.width(register) < SIZES[kind]:
            raise Unknown(f"{register} for {kind}")
        if kind == "pred":
            return f"{target} = {expression};"
        size = SIZES[kind]
        if kind[0] == "f":
            return f"{target} = b{8 * size}({expression});"
        if kind[0] == "s":  # a wider register keeps the sign
            wide = self.width(register)
            return f"{target} = (uint{8 * wide}_t)({_INTEGER[wide]})({_INTEGER[size]})({expression});"
        return f"{target} = (uint{8 * size}_t)({expression});"

    def address(self, operand: str) -> str:
        """C expression of an address in brackets."""
        found = re.fullmatch(r"\[ ?([\w$%]+) ?(?:\+ ?(-?\d+))? ?\]", operand)
        if not found:
            raise Unknown(f"address {operand}")
        base = found[1]
        narrow = base.startswith("%") and self.width(base) == 4
        return f"({self.value(base, 'u32' if narrow else 'u64')} + (uint64_t){found[2] or 0}LL)"

    # -- statements ------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        if self._pending:
            self._lines.append(f"t->executed += {self._pending};")
            self._pending = 0

    def _translate(self, statement: Statement) -> None:
        name = statement.name
        if name[0] == "label":
            self._count()
            self._lines.append(f"{_label(statement.operands[0])}:;")
            return
        if name[0] == "":
            self._declare(statement)
            return
        self._pending += 1
        self.counted["instructions"] += 1
        if name[0] in ("bra", "ret", "exit", "bar", "call"):
            self._count()
        translate = _CONTROL.get(name[0]) or ARITHMETIC.get(name[0])
        if translate is None:
            raise Unknown("instruction")
        code = translate(self, statement)
        if statement.guard:
            code = f"if ({self.value(statement.guard, 'pred')}) {{ {code} }}"
        self._lines.append(code)

    def _declare(self, statement: Statement) -> None:
        if statement.name[1] in ("param", "pragma"):
            return
        if statement.name[1] != "reg":
            raise Unknown("declaration")
        kind, _, first = statement.operands[0].partition(" ")
        size = SIZES[kind.removeprefix(".")]
        for register in (first, *statement.operands[1:]):
            if found := re.fullmatch(r"(%\w+)<\d+>", register):
                self._families[found[1]] = size
            elif register.startswith("%"):
                # those of inner scopes hold nothing from one to the next; they must not hide one of the kernel
                if register.rstrip("0123456789") in self._families:
                    raise Unknown("a register that is declared twice")
                if self.registers.setdefault(register, size) != size:
                    raise Unknown("a register of two widths")

    def branch(self, s: Statement) -> str:
        """``bra``, also ``bra.uni``."""
        return f"if (t->executed > MOST_EXECUTED) give_up(t, {s.line}); goto {_label(s.operands[0])};"

    def leave(self, s: Statement) -> str:
        """``ret`` and ``exit``: no function is called."""
        return "return;"

    def fence(self, s: Statement) -> str:
        """Fences: what is written is seen at once."""
        if s.name not in (("membar", "gl"), ("membar", "cta"), ("membar", "sys"), ("fence", "sc", "gpu")):
            raise Unknown("fence")
        return ";"

    def barrier(self, s: Statement) -> str:
        """``bar.sync`` of a whole block."""
        if s.name != ("bar", "sync") or len(s.operands) != 1 or (s.operands[0].isdigit() and int(s.operands[0]) > 15):
            raise Unknown("barrier")
        self.counted["barriers"] += 1
        return f"t->barrier = {self.value(s.operands[0], 'u32')}; wait_for(t, AT_BARRIER, {s.line});"

    def product(self, s: Statement) -> str:
        """The tensor-core product of bytes."""
        if s.name != _PRODUCT:
            raise Unknown("matrix product")
        to, a, b, c = map(elements, s.operands)
        self.counted["products"] += 1
        code = [f"t->given[{k}] = {self.value(x, 'b32')};" for k, x in enumerate([*a, *b, *c])]
        code.append(f"wait_for(t, AT_PRODUCT, {s.line});")
        return " ".join([*code, *(self.assign(x, "b32", f"t->made[{k}]") for k, x in enumerate(to))])

    def call(self, s: Statement) -> str:
        """The two functions of a barrier of the grid."""
        result, function, given = s.operands if len(s.operands) == 3 else ("", "", "")
        result = result.strip("() ")
        values = [self._passed.get(x.strip()) for x in given.strip("() ").split(",")]
        if function == "cudaCGGetIntrinsicHandle" and values == ["1"]:
            self._passed[result] = "1"  # the grid, and no other group
            return ";"
        if function == "cudaCGSynchronize":
            self.counted["grid barriers"] += 1
            self._passed[result] = "0"
            return f"begin_grid_barrier(t, {values[0]}, {s.line}); wait_for(t, AT_GRID_BARRIER, {s.line});"
        raise Unknown(f"function {function}")

    # -- memory ----------------------------------------------------------------------------------------------------

    def _space(self, name: tuple[str, ...]) -> str:
        found = [part for part in name[1:-1] if part not in _ORDERING]
        if len(found) > 1 or (found and found[0] not in _SPACES):
            raise Unknown(f"memory {'.'.join(found)}")
        return _SPACES[found[0]] if found else "GENERIC"

    def _vector(self, name: tuple[str, ...], operand: str) -> list[str]:
        wanted = [int(part[1:]) for part in name if re.fullmatch(r"v[24]", part)] or [1]
        registers = elements(operand)
        if wanted != [len(registers)] or (len(registers) > 1) != operand.startswith("{"):
            raise Unknown("vector")
        return registers

    def load(self, s: Statement) -> str:
        """``ld``, of vectors as well, and of parameters."""
        kind, size = s.name[-1], SIZES[s.name[-1]]
        if "param" in s.name:
            return self._load_parameter(s.operands[0], s.operands[1], kind)
        space, registers = self._space(s.name), self._vector(s.name, s.operands[0])
        code = [f"uint64_t a = {self.address(s.operands[1])};"]
        for k, register in enumerate(registers):
            whole = size * len(registers) if k == 0 else size
            read = f"load_{8 * size}(t, {space}, a + {size * k}, {whole}, {s.line})"
            code.append(self.assign(register, bits_of(kind), read))
        return f"{{ {' '.join(code)} }}"

    def _load_parameter(self, register: str, operand: str, kind: str) -> str:
        name, _, offset = operand.strip("[]").partition("+")
        if name in self._passed:
            return self.assign(register, bits_of(kind), self._passed[name])
        of, at = self.kernel.parameters[name]
        if int(offset or 0) or SIZES[of] < SIZES[kind]:
            raise Unknown("part of a parameter")
        size = SIZES[kind]
        copy = f"uint{8 * size}_t v; memcpy(&v, launch.parameters + {at}, {size});"
        return f"{{ {copy} {self.assign(register, bits_of(kind), 'v')} }}"

    def store(self, s: Statement) -> str:
        """``st``, of vectors as well, and of parameters of calls."""
        size = SIZES[s.name[-1]]
        if "param" in s.name:
            value = s.operands[1]
            self._passed[s.operands[0].strip("[]").partition("+")[0]] = (
                self.value(value, f"u{8 * size}") if value.startswith("%") else value
            )
            return ";"
        space, registers = self._space(s.name), self._vector(s.name, s.operands[1])
        code = [f"uint64_t a = {self.address(s.operands[0])};"]
        for k, register in enumerate(registers):
            whole, value = size * len(registers) if k == 0 else size, self.value(register, f"b{8 * size}")
            code.append(f"store_{8 * size}(t, {space}, a + {size * k}, {whole}, {s.line}, {value});")
        return f"{{ {' '.join(code)} }}"

    def atomic(self, s: Statement) -> str:
        """``atom`` and ``red``, which returns nothing."""
        operands = ["_", *s.operands] if s.name[0] == "red" else s.operands
        name = [part for part in s.name[1:] if part not in _ORDERING]
        space = _SPACES[name.pop(0)] if name[0] in _SPACES else "GENERIC"
        if len(name) != 2 or len(operands) != 3:
            raise Unknown("atomic operation")
        operation, kind = name
        raw = f"b{8 * SIZES[kind]}"
        given = f"t, {space}, {self.address(operands[1])}, {self.value(operands[2], raw)}, {s.line}"
        return self.assign(operands[0], raw, f"atomic_{operation}_{kind}({given})")

    def convert_address(self, s: Statement) -> str:
        """``cvta`` between generic addresses and those of global or shared memory."""
        to, of = s.operands
        kind = s.name[-1]
        if "shared" in s.name:
            return self.assign(to, kind, f"{self.value(of, kind)} {'-' if 'to' in s.name else '+'} SHARED_WINDOW")
        if "global" not in s.name:
            raise Unknown("address")
        return self.assign(to, kind, self.value(of, kind))


_CONTROL: dict[str, Callable[[Translator, Statement], str]] = {
    "bra": Translator.branch, "ret": Translator.leave, "exit": Translator.leave, "bar": Translator.barrier,
    "membar": Translator.fence, "fence": Translator.fence, "mma": Translator.product, "call": Translator.call,
    "ld": Translator.load, "ldu": Translator.load, "st": Translator.store, "atom": Translator.atomic,
    "red": Translator.atomic, "cvta": Translator.convert_address,
}  # fmt: skip


def _name(register: str) -> str:
    return f"r_{register.removeprefix('%')}"


def _label(name: str) -> str:
    return f"L_{name.replace('$', '_')}"
