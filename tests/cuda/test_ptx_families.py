"""All families of kernels on emulated devices that differ in what must not matter: the CPU's bits, and nothing wrong.

Capability 9.0 is compiled for, or the one that ``FASTRBM_TEST_CUDA=emulated:8.0`` asks for.
"""

import pytest

pytestmark = pytest.mark.only_on("emulated", reason="of the emulated device alone (-m emulated)")
families = pytest.importorskip("ptx.families")
if not (families.ROOT / "benchmarks").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)

VARIANTS = {
    "one processor, backwards": dict(order=1, processors=1, blocks=2),
    "many processors": dict(order=2, processors=40),
    "approximations above": dict(off_by=1, order=4),
    "contracted, approximations below": dict(off_by=-1, contract=True, late=False),
}


@pytest.mark.parametrize("tile", ["large", "small"])
@pytest.mark.parametrize("family", families.TILED)
def test_shapes_of_blocks(family, tile):
    assert not families.wrong(family, tile)


@pytest.mark.parametrize("family", families.OTHERS)
def test_kernels_of_one_shape(family):
    assert not families.wrong(family)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", [*families.TILED, *families.OTHERS])
def test_what_must_not_matter(family, variant):
    with families.device(**VARIANTS[variant]):
        assert not families.wrong(family)


@pytest.mark.parametrize("family", families.TILED)
def test_blocks_that_take_several_tiles(family):
    with families.device(processors=1), families.few_blocks():
        assert not families.wrong(family)
