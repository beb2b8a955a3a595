"""What is said of CUDA kernels without a device: floors of times, and loops of machine code."""

import sys
from pathlib import Path

import pytest

from fastrbm._kernels.cuda import machine_code
from fastrbm._kernels.cuda.machine_code import Loop

ROOT = Path(__file__).resolve().parents[2]
SASS = """\
\t.section\t.text.other,"ax",@progbits
.text.other:
        /*0000*/                   IMMA.16832.U8.U8 R1, R2.ROW, R3.COL, R1 ;
\t.section\t.text.mine,"ax",@progbits
.text.mine:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   STL [R1], R2 ;
.L_x_2:
        /*0020*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0030*/              @!P0 LDG.E R8, desc[UR4][R2.64+0x10] ;
        /*0040*/                   IMMA.16832.U8.U8 R96, R104.reuse.ROW, R16.COL, R96 ;
        /*0050*/                   IMMA.16832.U8.U8 R92, R104.ROW, R18.COL, R92 ;
        /*0060*/               @P0 BRA `(.L_x_2) ;
        /*0070*/               @P1 BRA `(.L_x_1) ;
        /*0080*/                   EXIT ;
.L_x_3:
        /*0090*/                   BRA `(.L_x_3);
\t.section\t.nv.info
        /*00a0*/                   IMMA.16832.U8.U8 R1, R2.ROW, R3.COL, R1 ;
"""


def test_innermost_loops_with_products():
    assert machine_code.loops_of(SASS, "mine") == [Loop(instructions=5, products=2, loads=2, wide_loads=1, local=0)]
    assert machine_code.loops_of(SASS, "mine")[0].per_product == 2.5
    assert machine_code.loops_of(SASS, "other") == []
    with pytest.raises(ValueError, match="no code of third"):
        machine_code.loops_of(SASS, "third")


@pytest.fixture
def floors():
    if not (ROOT / "benchmarks").exists():
        pytest.skip("benchmarks/ is only in the checkout")
    sys.path.insert(0, str(ROOT))
    from benchmarks import gpu_floors

    return gpu_floors


def test_floors_are_what_data_sheets_say(floors):
    device = floors.Device("one", processors=2, clock=1e9, bandwidth=1e12, products=1e14)
    work = floors.Work("w", 3.0, moved=1e9, products=4096e6, count=lambda: None, kernels="k")
    memory, products, instructions = floors.floors(work, 8e9, device)
    assert memory == pytest.approx(1e-3) and products == pytest.approx(40.96e-6)
    assert instructions == pytest.approx(8e9 / (2 * 4 * 1e9))
    rows = floors.table([(work, 8e9, 1.25)])
    assert len(rows) == 1 + len(floors.DEVICES) and rows[1][-2:] == ["8000.0", "1.25"] and rows[1][1] == "A100"
    page = floors.page(rows)
    assert "Predictions, no measurements" in page and "training pass large" in page
    assert all(cell for row in rows for cell in row)


def test_an_epoch_of_cd_has_five_products_of_four_bytes(floors):
    work = floors.training(1024, 1024)
    assert work.products == 20 * 60_000 * 784 * 1024 and work.times == 60_000 / 1024
    assert floors.gibbs(500, 10_000, 100, 512).products == 8 * 1e6 * 784 * 500


def test_no_kernel_of_the_record_spills_and_large_tiles_take_three_instructions_a_product(floors):
    rows = floors.kernels()[1:]
    assert rows and all(row[5] == "0 bytes" for row in rows)
    # products of two bytes have half of the instructions to hide the rest behind
    halves = ("lowbit", "short weights")
    large = [row for row in rows if row[0].endswith("large") and not any(name in row[0] for name in halves)]
    assert {"training pass large", "Gibbs sweeps large", "annealing large"} <= {row[0] for row in large}
    assert all(float(row[-1]) <= 3 for row in large)
