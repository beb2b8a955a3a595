"""Mistakes planted in the kernels are noticed, by their values or by what the device sees.

All of them must be, but for loads and stores of the place behind: a bound of sums that is a little off, or the lowest
byte of a weight behind a draw, may serve as well. Some of each kind are planted here; with ``FASTRBM_PTX_MUTANTS=all``
all of them, which takes hours.
"""

import os

import pytest

pytestmark = pytest.mark.only_on("emulated", reason="of the emulated device alone (-m emulated)")
families = pytest.importorskip("ptx.families")
if not (families.ROOT / "benchmarks").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)

from ptx import mutants  # noqa: E402
from ptx.compiled import EMULATION, CompiledKernel  # noqa: E402

ALL = os.environ.get("FASTRBM_PTX_MUTANTS") == "all"
#: planted in a family, where not all are
SOME = {"barriers": 2, "grid barriers": 1, "offsets": 4, "fragments": 2, "all fragments": 1, "roundings": 1}
FAMILIES = ("layers", "chains", "training", "grey_rows", "gradients", "annealing", "lean", "partition")
#: families in whose results numbers are, for mistakes that draws of bits do not show
NUMBERS = {"fragments": ("layers",), "roundings": ("layers", "training", "gradients")}
#: kernels for which a mistake of a kind is none
SOUND = {"roundings": ("pack_kernel", "draw_kernel")}  # scales by powers of two; only draws
#: barriers of a family that are not needed: layers of visible neurons in a pass have one that those of hidden ones need
SPARE = {"training": 1, "grey_rows": 1}


def some_of(found, n):
    """A few of them, all over the text."""
    return found if ALL or len(found) <= n else [found[(2 * k + 1) * len(found) // (2 * n)] for k in range(n)]


def noticed(family, kernel, mutant):
    """Whether a family shows that a kernel has a mistake, on one of three devices."""
    for settings in ({}, dict(processors=1), dict(processors=40, order=1)):
        with families.device(contract=mutant.contract, **settings), mutants.planted(kernel, mutant):
            if families.wrong(family):
                return True
            if settings == dict(processors=1):
                with families.few_blocks():
                    if families.wrong(family):
                        return True
    return False


@pytest.mark.timeout(0 if ALL else 600)
@pytest.mark.parametrize(
    "family,kind", [(f, k) for f in FAMILIES for k in mutants.KINDS if f in NUMBERS.get(k, FAMILIES)]
)
def test_planted_mistakes_are_noticed(family, kind):
    assert not families.wrong(family)
    reached, kernels, found = dict(EMULATION.reached), mutants.launched_kernels(), []
    for name, kernel in kernels.items():
        if name.partition(":")[0] in SOUND.get(kind, ()):
            continue
        here = [m for m in mutants.KINDS[kind](kernel.text) if not m.line or m.line in reached[name]]
        if kind == "roundings":  # where no product goes into a sum nothing can be contracted
            here = [
                m for m in here if CompiledKernel(m.text, kernel.name, m.contract, brief=True).counted["contractible"]
            ]
        found += [(kernel, mutant) for mutant in here]
    if not found:
        pytest.skip(f"no {kind} in these kernels")
    planted = some_of(found, SOME[kind])
    missed = [f"{k.short}: {m.what}, line {m.line}" for k, m in planted if not noticed(family, k, m)]
    EMULATION.clear()
    # of lean strategies loads that only make them recompute more are no mistakes, either
    allowed = (
        len(planted) // (2 if family == "lean" else 4)
        if kind == "offsets"
        else SPARE.get(family, 0) * (kind == "barriers")
    )
    assert len(missed) <= allowed, f"{len(missed)} of {len(planted)} were not noticed: {missed}"
