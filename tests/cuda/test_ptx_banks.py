"""What accesses of shared memory cost."""

import numpy as np
import pytest

pytestmark = pytest.mark.only_on("emulated", reason="of the emulated device alone (-m emulated)")
pytest.importorskip("numba_cuda")
from ptx import banks  # noqa: E402
from ptx_programs import run  # noqa: E402

SHARED = ".shared .align 16 .b8 memory[8192];"
#: each thread's number times so many bytes, a store and a load there
BODY = """
\tmov.u32 %r1, %tid.x;
\tmul.lo.u32 %r2, %r1, {step};
\tmov.u32 %r3, memory;
\tadd.u32 %r4, %r3, %r2;
\tst.shared.u32 [%r4], %r1;
\tld.shared.u32 %r5, [%r4];
\tst.global.u32 [%rd1], %r5;
"""


@pytest.mark.parametrize("step,cycles", [(4, 1), (8, 2), (16, 4), (128, 32), (132, 1), (12, 1)])
def test_strides(step, cycles):
    with banks.traced() as found:
        run(BODY.format(step=step), block=(64, 1, 1), shared=SHARED)
    (accesses,) = found
    assert len(accesses) == 64 and set(accesses["thread"]) == set(range(32))  # of the first warp
    assert banks.cost(accesses) == (2 * cycles, 2)


def test_one_word_for_all_is_one_access():
    with banks.traced() as found:
        run(BODY.format(step=0), block=(32, 1, 1), shared=SHARED)
    assert banks.cost(found[0]) == (2, 2)


def test_nothing_is_noted_unasked():
    with banks.traced() as found:
        pass
    run(BODY.format(step=4), block=(32, 1, 1), shared=SHARED)
    assert len(found[0]) == 0 and banks.cost(found[0]) == (0, 0)


def test_wide_accesses_come_by_parts_of_a_warp():
    accesses = np.zeros(32, banks._RECORD)
    accesses["thread"], accesses["size"], accesses["address"] = np.arange(32), 16, 16 * np.arange(32)
    assert banks.cost(accesses) == (4, 4)
    accesses["address"] = 32 * np.arange(32)
    assert banks.cost(accesses) == (8, 4)
