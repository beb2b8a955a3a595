"""Instructions that only compute: each a function that returns the C of a statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .text import SIZES, Statement, Unknown, elements

if TYPE_CHECKING:
    from .translation import Translator

Translation = Callable[["Translator", Statement], str]
ARITHMETIC: dict[str, Translation] = {}


def bits_of(kind: str) -> str:
    """The type that moves the bits of a float, or the type itself."""
    return f"b{8 * SIZES[kind]}" if kind[0] == "f" else kind


def _instruction(*names: str) -> Callable[[Translation], Translation]:
    def register(function: Translation) -> Translation:
        ARITHMETIC.update(dict.fromkeys(names, function))
        return function

    return register


def _unsigned(kind: str) -> str:
    return f"u{kind[1:]}"


def _suffix(kind: str) -> str:
    return "f" if kind == "f32" else ""


def _no_more(s: Statement, *modifiers: str) -> None:
    """Refuse forms that are not known: all that stands between name and type."""
    if s.name[1:-1] != modifiers:
        raise Unknown("form")


# -- sums and products ---------------------------------------------------------------------------------------------


@_instruction("add", "sub")
def _add(t: Translator, s: Statement) -> str:
    kind, symbol = s.name[-1], "+" if s.name[0] == "add" else "-"
    if kind[0] == "f":
        return _rounded(t, s, symbol)
    _no_more(s)
    a, b = (t.value(x, _unsigned(kind)) for x in s.operands[1:])
    return t.assign(s.operands[0], kind, f"{a} {symbol} {b}")


@_instruction("mul")
def _multiply(t: Translator, s: Statement) -> str:
    kind = s.name[-1]
    if kind[0] == "f":
        return _rounded(t, s, "*")
    part = s.name[1]
    if part == "lo":
        a, b = (t.value(x, _unsigned(kind)) for x in s.operands[1:])
        return t.assign(s.operands[0], kind, f"(uint64_t){a} * (uint64_t){b}")
    a, b = (t.value(x, kind) for x in s.operands[1:])
    if part == "wide":
        twice, product = _wide_product(kind, a, b)
        return t.assign(s.operands[0], twice, product)
    if part == "hi":
        wide = f"({'' if kind[0] == 's' else 'unsigned '}__int128)"
        return t.assign(s.operands[0], kind, f"({wide}{a} * {wide}{b}) >> {8 * SIZES[kind]}")
    raise Unknown("form")


def _wide_product(kind: str, a: str, b: str) -> tuple[str, str]:
    bits = 16 * SIZES[kind]
    wide = f"({'' if kind[0] == 's' else 'u'}int{bits}_t)"
    return f"{kind[0]}{bits}", f"({wide}{a} * {wide}{b})"


@_instruction("mad")
def _multiply_add(t: Translator, s: Statement) -> str:
    kind, part = s.name[-1], s.name[1]
    if len(s.name) != 3:
        raise Unknown("form")
    if part == "lo":
        a, b, c = (t.value(x, _unsigned(kind)) for x in s.operands[1:])
        return t.assign(s.operands[0], kind, f"(uint64_t){a} * (uint64_t){b} + {c}")
    if part == "wide":
        twice, product = _wide_product(kind, *(t.value(x, kind) for x in s.operands[1:3]))
        unsigned = _unsigned(twice)
        return t.assign(s.operands[0], twice, f"(uint{unsigned[1:]}_t){product} + {t.value(s.operands[3], unsigned)}")
    raise Unknown("form")


def _rounded(t: Translator, s: Statement, symbol: str) -> str:
    """A float operation: with .rn as it stands, plain ones may be contracted."""
    to, a, b = s.operands
    kind = s.name[-1]
    plain = len(s.name) == 2
    if not plain:
        _no_more(s, "rn")
    t.counted["plain"] += plain
    if plain and symbol != "*":
        for factor, other in ((a, b), (b, a)):
            held = t.products.get(factor)
            if held is None or held[2] != kind:
                continue
            t.counted["contractible"] += 1
            if t.contract:
                x, y, z = (t.value(o, kind) for o in (held[0], held[1], other))
                if symbol == "-":
                    x, z = (x, f"-{z}") if factor == a else (f"-{x}", z)
                return t.assign(to, kind, f"fma{_suffix(kind)}({x}, {y}, {z})")
            break
    if plain and symbol == "*" and all(t.written[x] == 1 for x in (to, a, b) if x.startswith("%")):
        t.products[to] = a, b, kind
    return t.assign(to, kind, f"{t.value(a, kind)} {symbol} {t.value(b, kind)}")


@_instruction("fma")
def _fused(t: Translator, s: Statement) -> str:
    _no_more(s, "rn")
    kind = s.name[-1]
    return t.assign(s.operands[0], kind, f"fma{_suffix(kind)}({', '.join(t.value(x, kind) for x in s.operands[1:])})")


@_instruction("div", "rem")
def _divide(t: Translator, s: Statement) -> str:
    kind = s.name[-1]
    a, b = (t.value(x, kind) for x in s.operands[1:])
    if kind[0] == "f":
        _no_more(s, "rn")
        return t.assign(s.operands[0], kind, f"{a} / {b}")
    _no_more(s)
    return t.assign(s.operands[0], kind, f"{s.name[0]}_{kind}(t, {a}, {b}, {s.line})")


@_instruction("sqrt")
def _root(t: Translator, s: Statement) -> str:
    _no_more(s, "rn")
    return t.assign(s.operands[0], s.name[-1], f"sqrt{_suffix(s.name[-1])}({t.value(s.operands[1], s.name[-1])})")


@_instruction("rcp", "rsqrt", "ex2", "lg2")
def _approximate(t: Translator, s: Statement) -> str:
    """Approximations, and the reciprocal that is rounded."""
    kind = s.name[-1]
    if s.name == ("rcp", "rn", kind):
        return t.assign(s.operands[0], kind, f"1 / {t.value(s.operands[1], kind)}")
    exact = s.name == ("rsqrt", "approx", "f64")  # for which the assembler has a function of its own
    if not exact:
        _no_more(s, "approx", "ftz")
    near = f"near_{s.name[0]}_{'all_' if exact else ''}{kind}"
    return t.assign(s.operands[0], bits_of(kind), f"{near}({t.value(s.operands[1], kind)})")


@_instruction("neg")
def _negate(t: Translator, s: Statement) -> str:
    _no_more(s)
    kind, raw = s.name[-1], bits_of(s.name[-1])
    if kind[0] == "f":
        return t.assign(s.operands[0], raw, f"{t.value(s.operands[1], raw)} ^ {1 << (8 * SIZES[kind] - 1)}ULL")
    return t.assign(s.operands[0], kind, f"0 - {t.value(s.operands[1], _unsigned(kind))}")


@_instruction("abs")
def _absolute(t: Translator, s: Statement) -> str:
    _no_more(s)
    kind, raw = s.name[-1], bits_of(s.name[-1])
    if kind[0] == "f":
        return t.assign(s.operands[0], raw, f"{t.value(s.operands[1], raw)} & {(1 << (8 * SIZES[kind] - 1)) - 1}ULL")
    a = t.value(s.operands[1], _unsigned(kind))
    return t.assign(s.operands[0], kind, f"{t.value(s.operands[1], kind)} < 0 ? 0 - {a} : {a}")


@_instruction("copysign")
def _copy_sign(t: Translator, s: Statement) -> str:
    """The sign is that of the first operand."""
    _no_more(s)
    raw, sign = bits_of(s.name[-1]), 1 << (8 * SIZES[s.name[-1]] - 1)
    a, b = (t.value(x, raw) for x in s.operands[1:])
    return t.assign(s.operands[0], raw, f"({a} & {sign}ULL) | ({b} & {sign - 1}ULL)")


@_instruction("min", "max")
def _extreme(t: Translator, s: Statement) -> str:
    _no_more(s)
    kind = s.name[-1]
    a, b = (t.value(x, kind) for x in s.operands[1:])
    if kind[0] == "f":
        return t.assign(s.operands[0], kind, f"{s.name[0]}_{kind}({a}, {b})")
    return t.assign(s.operands[0], kind, f"{a} {'<' if s.name[0] == 'min' else '>'} {b} ? {a} : {b}")


# -- bits ----------------------------------------------------------------------------------------------------------

_LOGIC = {"and": "&", "or": "|", "xor": "^"}


@_instruction(*_LOGIC)
def _logic(t: Translator, s: Statement) -> str:
    _no_more(s)
    a, b = (t.value(x, s.name[-1]) for x in s.operands[1:])
    return t.assign(s.operands[0], s.name[-1], f"{a} {_LOGIC[s.name[0]]} {b}")


@_instruction("not")
def _not(t: Translator, s: Statement) -> str:
    kind = s.name[-1]
    return t.assign(s.operands[0], kind, f"{'!' if kind == 'pred' else '~'}{t.value(s.operands[1], kind)}")


@_instruction("shl", "shr")
def _shift(t: Translator, s: Statement) -> str:
    """Shifts by the width or more leave nothing, or the sign."""
    _no_more(s)
    kind, bits = s.name[-1], 8 * SIZES[s.name[-1]]
    a, by = t.value(s.operands[1], kind), t.value(s.operands[2], "u32")
    if s.name[0] == "shl":
        return t.assign(s.operands[0], kind, f"{by} >= {bits} ? 0 : {a} << {by}")
    beyond = f"{a} >> {bits - 1}" if kind[0] == "s" else "0"
    return t.assign(s.operands[0], kind, f"{by} >= {bits} ? {beyond} : {a} >> {by}")


@_instruction("popc", "clz", "brev")
def _count_bits(t: Translator, s: Statement) -> str:
    kind, bits = s.name[-1], 8 * SIZES[s.name[-1]]
    a = t.value(s.operands[1], kind)
    if s.name[0] == "brev":
        return t.assign(s.operands[0], kind, f"reversed({a}, {bits})")
    counted = f"__builtin_popcountll({a})"
    if s.name[0] == "clz":
        counted = f"{a} ? __builtin_clzll({a}) - {64 - bits} : {bits}"
    return t.assign(s.operands[0], "u32", counted)


@_instruction("prmt")
def _permute(t: Translator, s: Statement) -> str:
    _no_more(s)
    return t.assign(s.operands[0], "b32", f"permuted({', '.join(t.value(x, 'u32') for x in s.operands[1:])})")


@_instruction("bfi")
def _insert(t: Translator, s: Statement) -> str:
    kind, size = s.name[-1], 8 * SIZES[s.name[-1]]
    fields = [t.value(x, k) for x, k in zip(s.operands[1:], (kind, kind, "u32", "u32"), strict=True)]
    return t.assign(s.operands[0], kind, f"inserted({', '.join(fields)}, {size})")


@_instruction("bfe")
def _extract(t: Translator, s: Statement) -> str:
    kind, size = s.name[-1], 8 * SIZES[s.name[-1]]
    fields = [t.value(x, k) for x, k in zip(s.operands[1:], (_unsigned(kind), "u32", "u32"), strict=True)]
    return t.assign(s.operands[0], kind, f"extracted({', '.join(fields)}, {size}, {int(kind[0] == 's')})")


@_instruction("mov")
def _move(t: Translator, s: Statement) -> str:
    """Also to and from the halves of a register."""
    to, of = s.operands
    raw = bits_of(s.name[-1])
    if s.name[-1][0] == "f" and not of.startswith("{"):
        t.value(of, s.name[-1])  # refuses what is no float
    if raw == "pred":
        return t.assign(to, raw, t.value(of, raw))
    if to.startswith("{"):
        parts = elements(to)
        bits = 8 * SIZES[raw] // len(parts)
        halves = " ".join(t.assign(x, f"b{bits}", f"v >> {bits * k}") for k, x in enumerate(parts))
        return f"{{ uint64_t v = {t.value(of, raw)}; {halves} }}"
    if of.startswith("{"):
        parts = elements(of)
        bits = 8 * SIZES[raw] // len(parts)
        whole = " | ".join(f"(uint64_t){t.value(x, f'b{bits}')} << {bits * k}" for k, x in enumerate(parts))
        return t.assign(to, raw, whole)
    return t.assign(to, raw, t.value(of, raw))


# -- comparisons and conversions -----------------------------------------------------------------------------------

_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="} | {
    "lo": "<", "ls": "<=", "hi": ">", "hs": ">=",
}  # fmt: skip


@_instruction("setp")
def _compare(t: Translator, s: Statement) -> str:
    """Of floats: false where one is NaN, with a "u" behind the comparison true."""
    if len(s.name) != 3:
        raise Unknown("form")
    _, how, kind = s.name
    a, b = (t.value(x, kind) for x in s.operands[1:])
    if kind[0] != "f":
        return t.assign(s.operands[0], "pred", f"{a} {_COMPARISONS[how]} {b}")
    ordered = f"({a} == {a} && {b} == {b})"
    if how in ("num", "nan"):
        return t.assign(s.operands[0], "pred", ordered if how == "num" else f"!{ordered}")
    if how not in _COMPARISONS and how.removesuffix("u") in _COMPARISONS:
        return t.assign(s.operands[0], "pred", f"!{ordered} || {a} {_COMPARISONS[how[:-1]]} {b}")
    return t.assign(s.operands[0], "pred", f"{ordered} && {a} {_COMPARISONS[how]} {b}")


@_instruction("selp")
def _select(t: Translator, s: Statement) -> str:
    _no_more(s)
    raw = bits_of(s.name[-1])
    yes, no, which = t.value(s.operands[1], raw), t.value(s.operands[2], raw), t.value(s.operands[3], "pred")
    return t.assign(s.operands[0], raw, f"{which} ? {yes} : {no}")


_ROUNDINGS = {"rni": "rint", "rmi": "floor", "rpi": "ceil", "rzi": "trunc"}


@_instruction("cvt")
def _convert(t: Translator, s: Statement) -> str:
    *modifiers, to, of = s.name[1:]
    a = t.value(s.operands[1], of)
    c_type = {"f32": "float", "f64": "double"}.get(to, f"{'u' if to[0] != 's' else ''}int{8 * SIZES[to]}_t")
    rounding = _ROUNDINGS.get(modifiers[0]) if len(modifiers) == 1 else None
    if to[0] != "f" and of[0] != "f":
        known = not modifiers
    elif to[0] != "f" or to == of:
        known = rounding is not None
        a = f"{rounding}{_suffix(of)}({a})"
        if to[0] != "f":
            return t.assign(s.operands[0], to, f"{to}_of_{of}({a})") if known else _refuse()
    else:  # float64 of float32 is exact
        known = modifiers == ([] if (to, of) == ("f64", "f32") else ["rn"])
    return t.assign(s.operands[0], to, f"({c_type}){a}") if known else _refuse()


def _refuse() -> str:
    raise Unknown("conversion")
