"""Each kind of mistake is found by the emulated device, and its right form is not."""

import pytest

pytestmark = pytest.mark.only_on("emulated", reason="of the emulated device alone (-m emulated)")
pytest.importorskip("ptx.compiled")

from ptx.compiled import EMULATION, HARMLESS, PROBLEMS  # noqa: E402
from ptx_programs import run  # noqa: E402

MINE = "mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4; mov.u64 %rd4, a; add.s64 %rd5, %rd4, %rd3; "
ITS = "xor.b32 %r2, %r1, 1; mul.wide.u32 %rd6, %r2, 4; add.s64 %rd7, %rd4, %rd6; "  # a neighbour's place
PUT, GET, SYNC = "st.shared.u32 [%rd5], %r1; ", "ld.shared.u32 %r3, [%rd7]; ", "bar.sync 0; "
FIRST = "setp.ne.u32 %p1, %r1, 0; @%p1 bra L2; st.shared.u32 [a], 0; L2: bar.sync 0; mov.u64 %rd8, a; "
COUNT = "atom.shared.add.u32 %r2, [%rd8], 1; "
HALF = "setp.lt.u32 %p1, %r1, 16; @%p1 bra L1; "
BYTE = "mov.u64 %rd9, a; cvt.u64.u32 %rd10, %r1; add.s64 %rd11, %rd9, %rd10; st.shared.u8 [%rd11], %r1; "
MMA = (
    "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 "
    "{%r11,%r12,%r13,%r14}, {%r1,%r1,%r1,%r1}, {%r1,%r1}, {%r1,%r1,%r1,%r1}; "
)

GLOBAL = (
    "mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.s32 %r4, %r2, %r3, %r1; "
    "mul.wide.u32 %rd3, %r4, 4; add.s64 %rd4, %rd1, %rd3; "
)
WRITE = "st.global.u32 [%rd4], %r4; "
READ_OTHER = "xor.b32 %r5, %r4, 32; mul.wide.u32 %rd5, %r5, 4; add.s64 %rd6, %rd1, %rd5; ld.global.u32 %r6, [%rd6]; "
GRID = (
    "{ .param .b32 param0; st.param.b32 [param0], 1; .param .b64 retval0; call.uni (retval0), "
    "cudaCGGetIntrinsicHandle, (param0); ld.param.b64 %rd9, [retval0]; } "
    "{ .param .b64 param0; st.param.b64 [param0], %rd9; .param .b32 param1; st.param.b32 [param1], 0; "
    ".param .b32 retval0; call.uni (retval0), cudaCGSynchronize, (param0, param1); "
    "ld.param.b32 %r9, [retval0]; } "
)

WARP = dict(block=(32, 1, 1), shared=".shared .align 4 .b8 a[128];\n")
TWO = dict(block=(32, 1, 1), grid=(2, 1, 1), size=256)
CASES = {
    "a neighbour's value after a barrier": (MINE + ITS + PUT + SYNC + GET, WARP, set()),
    "the same without the barrier": (MINE + ITS + PUT + GET, WARP, {"race", "shared memory that was not written"}),
    "a place that another has read": (MINE + ITS + PUT + SYNC + GET + PUT.replace("%r1;", "%r3;"), WARP, {"race"}),
    "two writers": (MINE + "st.shared.u32 [a], %r1;", WARP, {"race"}),
    "two writers of one value": (MINE + "st.shared.u32 [a], 5;", WARP, {"race, of one value"}),
    "bytes side by side": (MINE + BYTE, WARP, set()),
    "a byte and the word around it": (MINE + FIRST + BYTE + "ld.shared.u32 %r3, [a];", WARP, {"race"}),
    "a word and a byte of it": (MINE + FIRST + "ld.shared.u32 %r3, [a]; " + BYTE, WARP, {"race"}),
    "atomic operations": (MINE + FIRST + COUNT, WARP, set()),
    "an atomic operation and a load": (MINE + FIRST + COUNT + "ld.shared.u32 %r3, [a];", WARP, {"race"}),
    "shared memory before anything is there": (
        MINE + "ld.shared.u32 %r3, [%rd5];",
        WARP,
        {"shared memory that was not written"},
    ),
    "behind a shared array": (MINE + "st.shared.u32 [%rd5+4], %r1;", WARP, {"out of bounds"}),
    "before a shared array": (MINE + "st.shared.u32 [%rd5+-4], %r1;", WARP, {"out of bounds"}),
    "behind a global array": ("st.global.u32 [%rd1+64], 1;", {}, {"out of bounds"}),
    "before a global array": ("st.global.u32 [%rd1+-4], 1;", {}, {"out of bounds"}),
    "nowhere": ("mov.u64 %rd3, 0; ld.global.u32 %r1, [%rd3];", {}, {"out of bounds"}),
    "an odd address": ("st.global.u32 [%rd1+2], 1;", {}, {"misaligned"}),
    "a vector aligned by its elements": (
        "mov.u32 %r1, 1; st.global.v4.u32 [%rd1+4], {%r1,%r1,%r1,%r1};",
        {},
        {"misaligned"},
    ),
    "a vector of a shared array aligned by 4": (
        "mov.u32 %r1, 1; st.shared.v4.u32 [a], {%r1,%r1,%r1,%r1};",
        dict(shared=WARP["shared"]),
        {"misaligned"},
    ),
    "a barrier of half a warp": (MINE + HALF + SYNC + "L1: ret;", WARP, {"barrier after an exit"}),
    "two barriers in place of one": (
        MINE + HALF + SYNC + "bra L2;\nL1: " + SYNC + "L2: ret;",
        WARP,
        {"barrier divergence"},
    ),
    "two barriers of other numbers": (MINE + "and.b32 %r2, %r1, 1; bar.sync %r2;", WARP, {"barrier divergence"}),
    "a product of a warp": (MINE + MMA, WARP, set()),
    "a product of half a warp": (MINE + HALF + MMA + "L1: ret;", WARP, {"divergence in a warp", "deadlock"}),
    "a product in both branches": (
        MINE + HALF + MMA + "bra L2;\nL1: " + MMA + "L2: ret;",
        WARP,
        {"divergence in a warp", "deadlock"},
    ),
    "a grid barrier": (GLOBAL + WRITE + GRID + READ_OTHER, TWO | dict(cooperative=True), set()),
    "a block's barrier for that of the grid": (
        GLOBAL + WRITE + SYNC + READ_OTHER,
        TWO | dict(cooperative=True),
        {"race"},
    ),
    "a grid barrier in another launch": (GLOBAL + GRID, TWO, {"grid barrier"}),
    "a grid barrier that one block leaves out": (
        GLOBAL + "setp.eq.u32 %p1, %r2, 0; @%p1 bra L1; " + GRID + "L1: ret;",
        TWO | dict(cooperative=True),
        {"grid barrier"},
    ),
    "a division by zero": ("mov.u32 %r1, 0; div.u32 %r2, 5, %r1; st.global.u32 [%rd1], %r2;", {}, {"division by zero"}),
    "global memory before anything is there": (
        "ld.global.u32 %r1, [%rd2];",
        dict(given=None),
        {"global memory that was not written"},
    ),
}


def found(body, **options):
    """Kinds of problems; where threads race, that some of them store one value does not count."""
    kinds = run(body, **options)[1]
    return kinds - {HARMLESS} if "race" in kinds else kinds


@pytest.mark.parametrize("name", CASES)
def test_what_is_found(name):
    body, options, wanted = CASES[name]
    assert found(body, **options) == wanted


#: of two blocks: who does what without a barrier between
ONE, ANOTHER = "setp.eq.u32 %p1, %r2, 0; ", "setp.eq.u32 %p2, %r2, 1; "
LEADER = ONE + ANOTHER + "setp.eq.u32 %p3, %r1, 0; and.pred %p4, %p1, %p3; and.pred %p5, %p2, %p3; "
LOAD, STORE, ADD = "ld.global.u32 %r6, [%rd1]; ", "st.global.u32 [%rd1], 7; ", "red.global.add.u32 [%rd1], 1; "
RACES = {
    "many load, another block stores": ("@%p1 " + LOAD + "@%p5 " + STORE, {"race"}),
    "one loads, another block stores": ("@%p4 " + LOAD + "@%p5 " + STORE, {"race"}),
    "many load a word, a byte of it is stored": ("@%p1 " + LOAD + "@%p5 st.global.u8 [%rd1], 7;", {"race"}),
    "many load, another block adds": ("@%p1 " + LOAD + "@%p2 " + ADD, {"race"}),
    "stores before atomic additions of others": ("@%p4 " + STORE + "bar.sync 0; " + ADD, {"race"}),
    "the last one to add loads": (
        "atom.global.add.u32 %r6, [%rd1], 1; setp.eq.u32 %p6, %r6, 63; @%p6 " + LOAD, {"race"},
    ),
    "additions alone": (ADD, set()),
    "one block, with barriers": (2 * ("@%p1 " + LOAD + "bar.sync 0; ") + "@%p4 " + STORE, set()),
    "one value, then another": ("st.global.u32 [%rd1], 5; @%p5 " + STORE, {"race"}),
    "what is there is stored while others load": ("@%p1 " + LOAD + "@%p5 st.global.u32 [%rd1], 0;", {HARMLESS}),
    "an addition, and a store of what it makes": ("@%p4 " + ADD + "@%p5 st.global.u32 [%rd1], 1;", {"race"}),
}  # fmt: skip


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("cooperative", [False, True])
@pytest.mark.parametrize("name", RACES)
def test_races_of_two_blocks_whatever_the_order(name, cooperative, order):
    body, wanted = RACES[name]
    with EMULATION.set(order=order):
        assert found(GLOBAL + LEADER + body, **TWO, cooperative=cooperative) == wanted


def test_a_loop_that_waits_for_ever_ends():
    spin = "setp.ne.u32 %p1, %r1, 0; @%p1 bra L2; L1: ld.volatile.shared.u32 %r3, [a]; setp.eq.u32 %p2, %r3, 0; "
    body = MINE + "st.shared.u32 [%rd5], 0; bar.sync 0; " + spin + "@%p2 bra L1; L2: ret;"
    assert found(body, **WARP) == {"deadlock"}


def test_every_problem_is_among_the_cases():
    assert set(PROBLEMS) == set().union(*(wanted for _, _, wanted in CASES.values()))


@pytest.mark.parametrize(
    "options,refused",
    [
        (dict(block=(1025, 1, 1)), "threads"),
        (dict(block=(1, 1, 65)), "a block"),
        (dict(grid=(1, 70000, 1)), "a grid"),
        (dict(shared=".shared .align 4 .b8 a[49156];\n"), "49156 bytes"),
    ],
)
def test_launches_that_a_driver_refuses(options, refused):
    _, problems = run("mov.u32 %r1, 0;", **options)
    assert len(problems) == 1 and refused in problems.pop()
