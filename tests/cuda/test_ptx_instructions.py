"""Instructions of the emulated device against whole numbers and the rules of IEEE 754."""

import math
import struct

import numpy as np
import pytest

pytestmark = pytest.mark.only_on("emulated", reason="of the emulated device alone (-m emulated)")
pytest.importorskip("ptx.compiled")

from ptx.text import Unknown  # noqa: E402
from ptx_programs import compiled, run  # noqa: E402

#: type of PTX, register, and how Python reads the bytes
FORMS = {
    "u32": ("r", "I"),
    "s32": ("r", "i"),
    "u64": ("rd", "Q"),
    "s64": ("rd", "q"),
    "f32": ("f", "f"),
    "f64": ("fd", "d"),
}


def literal(x, kind):
    if kind[0] == "f":
        return ("0f" if kind == "f32" else "0d") + struct.pack(">" + FORMS[kind][1], x).hex().upper()
    return str(x)


def values_of(statements, given=b""):
    """Values that statements leave in register 7 of a type, one after another in one kernel: (statement, type) each."""
    body = "".join(
        f"{statement} st.global.{kind} [%rd1+{8 * k}], %{FORMS[kind][0]}7;\n"
        for k, (statement, kind) in enumerate(statements)
    )
    found, problems = run(body, given, 8 * len(statements))
    assert not problems
    return [struct.unpack_from("<" + FORMS[kind][1], found, 8 * k)[0] for k, (_, kind) in enumerate(statements)]


def value_of(statement, kind, given=b""):
    return values_of([(statement, kind)], given)[0]


class Expected:
    """Results of instructions that are to be; compared at the end, in one kernel."""

    def __init__(self):
        self.statements, self.wanted = [], []

    def add(self, wanted, instruction, *operands, kind=None, of=None):
        """An instruction, given operands as numbers; types other than its own by name."""
        own = instruction.rpartition(".")[2].replace("b", "u")
        kind, of = kind or own, of or own
        written = ", ".join(x if isinstance(x, str) else literal(x, of) for x in operands)
        self.statements.append((f"{instruction} %{FORMS[kind][0]}7, {written};", kind))
        self.wanted.append(wanted)

    def compare(self):
        for (statement, _), got, wanted in zip(self.statements, values_of(self.statements), self.wanted, strict=True):
            assert same(got, wanted), (statement, got, wanted)


@pytest.fixture
def expect():
    held = Expected()
    yield held.add
    held.compare()


def same(got, wanted):
    return (got == wanted and math.copysign(1, got) == math.copysign(1, wanted)) or (got != got and wanted != wanted)


INTEGERS = {
    "s32": [0, 1, -1, 7, -7, 2**31 - 1, -(2**31), 12345679],
    "u32": [0, 1, 5, 2**31, 2**32 - 1, 305419896],
    "s64": [0, 1, -1, 2**62, -(2**63), 2**63 - 1, -5],
    "u64": [0, 1, 2**63, 2**64 - 1, 81985529216486895],
}


def wrapped(x, kind):
    bits = int(kind[1:])
    x %= 2**bits
    return x - 2**bits if kind[0] == "s" and x >= 2 ** (bits - 1) else x


def toward_zero(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@pytest.mark.parametrize("kind", INTEGERS)
def test_arithmetic_of_integers(kind, expect):
    bits = int(kind[1:])
    for a in INTEGERS[kind]:
        for b in INTEGERS[kind][::2]:
            for name, wanted in {
                "add": a + b,
                "sub": a - b,
                "mul.lo": a * b,
                "min": min(a, b),
                "max": max(a, b),
                "mul.hi": (a * b) >> bits,
            }.items():
                expect(wrapped(wanted, kind), f"{name}.{kind}", a, b)
            if b:
                expect(wrapped(toward_zero(a, b), kind), f"div.{kind}", a, b)
                expect(a - b * toward_zero(a, b), f"rem.{kind}", a, b)
            expect(wrapped(a * b + 3, kind), f"mad.lo.{kind}", a, b, 3)
            if bits == 32:
                wide = f"{kind[0]}64"
                expect(a * b, f"mul.wide.{kind}", a, b, kind=wide)
                expect(wrapped(a * b + 7, wide), f"mad.wide.{kind}", a, b, "7", kind=wide)
        if kind[0] == "s":
            expect(wrapped(-a, kind), f"neg.{kind}", a)
            expect(wrapped(abs(a), kind), f"abs.{kind}", a)


@pytest.mark.parametrize("bits", [32, 64])
def test_bits(bits, expect):
    unsigned, signed, mask = f"u{bits}", f"s{bits}", 2**bits - 1
    b = 0x0F1E2D3C4B5A6978 & mask
    for a in INTEGERS[unsigned]:
        for by in (0, 1, bits - 1, bits, 200):
            expect((a << by) & mask, f"shl.b{bits}", a, str(by))
            expect(a >> by, f"shr.u{bits}", a, str(by))
            expect(wrapped(a, signed) >> by, f"shr.s{bits}", wrapped(a, signed), str(by))
        for name, wanted in (("and", a & b), ("or", a | b), ("xor", a ^ b)):
            expect(wanted, f"{name}.b{bits}", a, b)
        expect(a ^ mask, f"not.b{bits}", a)
        expect(a.bit_count(), f"popc.b{bits}", a, kind="u32", of=unsigned)
        expect(bits - a.bit_length(), f"clz.b{bits}", a, kind="u32", of=unsigned)
        expect(int(f"{a:0{bits}b}"[::-1], 2), f"brev.b{bits}", a)
        for place, width in ((0, 8), (4, 4), (bits - 4, 8), (0, bits), (bits, 3), (3, 0)):
            field = ((1 << width) - 1) << place & mask
            expect((b & ~field) | (a << place & field), f"bfi.b{bits}", a, b, str(place), str(width))
            expect((a >> place) & ((1 << width) - 1), f"bfe.u{bits}", a, str(place), str(width))
    expect(-3, f"bfe.s{bits}", 0x50, "4", "3")
    expect(-4, f"bfe.s{bits}", -8, "1", "200")


def test_bytes_are_permuted(expect):
    expect(0x77553311, "prmt.b32", 0x33221100, 0x77665544, 0x7531)
    expect(0xFFFFFFF0, "prmt.b32", 0x332211F0, 0, 0x8880)


def test_halves_and_widths():
    halves = "mov.b64 {%r2, %r3}, 1311768467463790320; mov.b64 %rd7, {%r3, %r2};"
    assert value_of(halves, "u64") == 0x9ABCDEF012345678
    assert value_of("mov.u32 %r2, -1; cvt.s64.s32 %rd4, %r2; cvt.u32.u64 %r7, %rd4;", "s32") == -1
    assert value_of("ld.global.s8 %r7, [%rd2];", "s32", b"\xfe") == -2
    assert value_of("ld.global.u8 %rs1, [%rd2]; cvt.u32.u16 %r7, %rs1;", "u32", b"\xfe") == 254
    assert value_of("ld.global.v2.u32 {%r2, %r7}, [%rd2];", "u32", struct.pack("<II", 1, 2)) == 2


FLOATS = [0.0, -0.0, 1.0, -1.5, 1e-40, 3e38, math.inf, -math.inf, math.nan, 0.1, 16777217.0]


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_arithmetic_of_floats(kind, expect):
    number = np.float32 if kind == "f32" else np.float64
    with np.errstate(all="ignore"):
        for a in map(number, FLOATS):
            for b in map(number, FLOATS):
                for name, wanted in (("add", a + b), ("sub", a - b), ("mul", a * b), ("div", a / b)):
                    expect(float(wanted), f"{name}.rn.{kind}", float(a), float(b))
                least = b if a != a else a if b != b or a < b or (a == b and np.signbit(a)) else b
                most = b if a != a else a if b != b or a > b or (a == b and not np.signbit(a)) else b
                expect(float(least), f"min.{kind}", float(a), float(b))
                expect(float(most), f"max.{kind}", float(a), float(b))
            expect(float(np.sqrt(a)), f"sqrt.rn.{kind}", float(a))
            expect(float(number(1) / a), f"rcp.rn.{kind}", float(a))
            if a == a:
                expect(-float(a), f"neg.{kind}", float(a))
                expect(-abs(float(a)), f"copysign.{kind}", -1.0, float(a))


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_comparisons(kind):
    tests = {"eq": "__eq__", "ne": "__ne__", "lt": "__lt__", "le": "__le__", "gt": "__gt__", "ge": "__ge__"}
    statements, wanted = [], []
    for a in (0.0, 1.0, math.nan):
        for b in (-0.0, 1.0, math.nan):
            unordered = a != a or b != b
            for how, method in tests.items():
                holds = getattr(a, method)(b)
                for suffix, holds_so in (("", holds and not unordered), ("u", holds or unordered)):
                    compare = f"setp.{how}{suffix}.{kind} %p1, {literal(a, kind)}, {literal(b, kind)};"
                    statements.append((f"{compare} selp.u32 %r7, 1, 0, %p1;", "u32"))
                    wanted.append(holds_so)
    for of, holds in (("u64", 0), ("s64", 1)):
        statements.append((f"setp.lt.{of} %p1, -1, 1; selp.u32 %r7, 1, 0, %p1;", "u32"))
        wanted.append(holds)
    assert values_of(statements) == wanted


def test_conversions(expect):
    for instruction, of, x, wanted in (
        ("cvt.rzi.s32.f32", "f32", -2.9, -2),
        ("cvt.rzi.s32.f32", "f32", 3e9, 2**31 - 1),
        ("cvt.rni.s32.f32", "f32", 2.5, 2),
        ("cvt.rzi.s32.f32", "f32", math.nan, 0),
        ("cvt.rzi.s32.f32", "f32", -math.inf, -(2**31)),
        ("cvt.rzi.u32.f32", "f32", -1.0, 0),
        ("cvt.rzi.s64.f32", "f32", 2.0**62, 2**62),
        ("cvt.rzi.s64.f64", "f64", -1e300, -(2**63)),
        ("cvt.rn.f32.s32", "s32", 16777217, 16777216.0),
        ("cvt.rn.f32.u32", "u32", 2**32 - 1, 2.0**32),
        ("cvt.rn.f64.u64", "u64", 2**64 - 1, 2.0**64),
        ("cvt.rn.f32.s64", "s64", 2**62 + 2**38 + 1, float(np.float32(2.0**62 + 2.0**39))),
        ("cvt.rn.f32.f64", "f64", 1 + 2.0**-24, 1.0),
        ("cvt.f64.f32", "f32", 0.5, 0.5),
        ("cvt.rni.f32.f32", "f32", 2.5, 2.0),
        ("cvt.rmi.f64.f64", "f64", -2.5, -3.0),
        ("cvt.rpi.f32.f32", "f32", -0.5, -0.0),
    ):
        expect(wanted, instruction, x, kind=instruction.split(".")[-2], of=of)


def test_fused_operations_round_once_and_contraction_is_chosen():
    a, near, less = (literal(x, "f32") for x in (1 + 2.0**-12, 1 + 2.0**-11, -1 - 2.0**-11))  # a a = near + 2^-24
    fused, apart = 2.0**-24, 0.0
    assert value_of(f"fma.rn.f32 %f7, {a}, {a}, {less};", "f32") == fused
    product, rounded = f"mul.f32 %f3, {a}, {a};", f"mul.rn.f32 %f3, {a}, {a}; sub.rn.f32 %f7, %f3, {near};"
    for text, contracted in (
        (f"{product} sub.f32 %f7, %f3, {near};", fused),
        (f"{product} sub.f32 %f7, {near}, %f3;", -fused),
        (f"{product} add.f32 %f7, {less}, %f3;", fused),
        (rounded, apart),
    ):
        for contract, wanted in ((False, apart), (True, contracted)):
            found, problems = run(f"{text} st.global.f32 [%rd1], %f7;", contract=contract)
            assert not problems and struct.unpack_from("<f", found)[0] == wanted


def test_approximations_are_near():
    cases = [("ex2.approx.ftz.f32", 10.0, 1024.0)]
    for x in (0.7, 3.0, 1e-3, 250.0):
        cases += [
            ("rcp.approx.ftz.f32", x, 1 / x),
            ("rsqrt.approx.ftz.f32", x, x**-0.5),
            ("lg2.approx.ftz.f32", x, np.log2(x)),
            ("rcp.approx.ftz.f64", x, 1 / x),
            ("rsqrt.approx.ftz.f64", x, x**-0.5),
        ]
    kinds = [name.rpartition(".")[2] for name, _, _ in cases]
    statements = [
        (f"{name} %{FORMS[kind][0]}7, {literal(x, kind)};", kind)
        for (name, x, _), kind in zip(cases, kinds, strict=True)
    ]
    np.testing.assert_allclose(values_of(statements), [wanted for _, _, wanted in cases], rtol=1e-6)


@pytest.mark.parametrize(
    "operation,kind,before,given,after",
    [
        ("add", "u32", 5, 2**32 - 1, 4),
        ("max", "s32", -9, 5, 5),
        ("max", "s32", 9, -5, 9),
        ("min", "u32", 3, 2**31, 3),
        ("or", "b32", 5, 10, 15),
        ("and", "b32", 6, 3, 2),
        ("xor", "b32", 6, 3, 5),
        ("exch", "b32", 6, 3, 3),
        ("add", "u64", 2**63, 2**63, 0),
        ("max", "u64", 1, 2**63, 2**63),
    ],
)
def test_atomic_operations(operation, kind, before, given, after):
    register, form = FORMS[kind.replace("b", "u")]
    statement = (
        f"mov.u{kind[1:]} %{register}5, {given}; atom.global.{operation}.{kind} %{register}6, [%rd2], %{register}5; "
    )
    held = struct.pack("<" + form, before)
    assert value_of(statement + f"ld.global.{kind} %{register}7, [%rd2];", kind.replace("b", "u"), held) == after
    assert value_of(statement + f"mov.b{kind[1:]} %{register}7, %{register}6;", kind.replace("b", "u"), held) == before


def test_the_tensor_core_by_the_tables_of_the_manual():
    """A product of matrices whose elements lanes hold: rows lane / 4 (+ 8), columns by 2 (lane % 4)."""
    rng = np.random.default_rng(0)
    A, B, C = rng.integers(0, 256, (16, 32)), rng.integers(0, 256, (32, 8)), rng.integers(-(2**31), 2**31, (16, 8))
    words = np.zeros((32, 10), np.uint32)
    for lane in range(32):
        group, k = divmod(lane, 4)
        for word in range(4):
            row, column = group + 8 * (word % 2), 4 * k + 16 * (word // 2)
            words[lane, word] = A[row, column : column + 4].astype(np.uint8).view("<u4")[0]
        for word in range(2):
            words[lane, 4 + word] = B[4 * k + 16 * word :, group][:4].astype(np.uint8).view("<u4")[0]
        words[lane, 6:] = C[[group, group, group + 8, group + 8], 2 * k + np.array([0, 1, 0, 1])].astype(np.uint32)
    loads = " ".join(f"ld.global.u32 %r{k + 1}, [%rd4+{4 * k}];" for k in range(10))
    product = "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%r11,%r12,%r13,%r14}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, "
    body = (
        f"mov.u32 %r20, %tid.x; mul.wide.u32 %rd3, %r20, 40; add.s64 %rd4, %rd2, %rd3; {loads} {product}"
        "{%r7,%r8,%r9,%r10}; mul.wide.u32 %rd5, %r20, 16; add.s64 %rd6, %rd1, %rd5; "
        "st.global.v4.u32 [%rd6], {%r11,%r12,%r13,%r14};"
    )
    found, problems = run(body, words.tobytes(), 512, block=(32, 1, 1))
    assert not problems
    sums = (A @ B + C).astype(np.uint32).reshape(2, 8, 4, 2).transpose(1, 2, 0, 3)  # group, k, half, column
    np.testing.assert_array_equal(np.frombuffer(found, np.uint32), sums.ravel())


@pytest.mark.parametrize(
    "statement",
    [
        "add.sat.s32 %r1, 1, 2;",
        "mul.rz.f32 %f1, %f2, %f3;",
        "shfl.sync.idx.b32 %r1, %r2, 0, 31, -1;",
        "bar.arrive 0, 32;",
        "add.rm.f32 %f1, %f2, %f3;",
        "ld.const.u32 %r1, [%rd2];",
        "cvt.rn.f16.f32 %rs1, %f1;",
        "mov.u32 %r1, %clock;",
        "ex2.approx.f32 %f1, %f2;",
        "setp.lt.and.s32 %p1, %r1, %r2, %p2;",
        "ld.global.v4.u32 {%r6, %r7}, [%rd2];",
        "ld.global.v2.u32 %r7, [%rd2];",
        "st.global.u32 [%rd1], {%r6, %r7};",
        "mov.u64 %r7, %rd1;",
        "mov.f32 %f1, 1;",
        "add.rn.f32 %f1, %f2, 1;",
        "{ .reg .b32 %r7; mov.u32 %r7, 2; }",
        "bar.sync 99;",
        "membar.sideways;",
        "red.global.add.f32 [%rd1], %f1;",
        "cvt.rzi.s16.f32 %rs1, %f1;",
        "add.f16 %rs1, %rs2, %rs3;",
        "mad.lo.cc.u32 %r1, %r2, %r3, %r4;",
    ],
)
def test_what_is_not_known_is_refused(statement):
    with pytest.raises(Unknown):
        compiled(statement)
