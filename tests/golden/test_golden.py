"""No bit changes: results of fixed seeds are those that were recorded (`golden_record.py` says how, and with what)."""

import json
import platform
from collections import defaultdict
from fnmatch import fnmatchcase

import pytest
from golden_cases import CASES, compute
from golden_record import RECORD, agree, machine

RECORDED = json.loads(RECORD.read_text())
HERE = machine()
SAME_MACHINE = HERE == RECORDED["machine"]
SAME_VERSIONS = HERE["versions"] == RECORDED["machine"]["versions"]
#: "case, group" of portable groups in which NumPy, SciPy or a BLAS have a part: those of other architectures than
#: x86-64 round otherwise (fused multiply-adds), whatever their kernels, and other versions may (normal
#: numbers with NumPy 2.4 and 2.5 do). What fastrbm's kernels do alone is compared.
NOT_BY_KERNELS_ALONE = (
    "*/float64, *",  # products by the BLAS
    "*/pt/*, state",  # temperatures that follow the rates of exchange
    "*/uncertainty, *",  # normal numbers
    "*gaussian-*, *",  # deviations of the data
    "*/potts/*, scores",
    "*/hidden-relu/*, scores",
    "*/hidden-relu/watched, state",  # scores again
    "cpu/[!bi]*, log_z",  # sums of formulas, for all but bits and spins
    "cpu/binomial/*, log_z",
    "*/file/*, *",
    "*/tempered/*, temperatures",
    "*/deep/*, probabilities",
)
X86 = platform.machine() in ("x86_64", "AMD64")


def _set_aside(name, group):
    """Whether what is on record, from x86-64 and some versions of libraries, says nothing of this machine."""
    return not (X86 and SAME_VERSIONS) and any(
        fnmatchcase(f"{name}, {group}", pattern) for pattern in NOT_BY_KERNELS_ALONE
    )


def _families():
    """Cases by the first two parts of their names."""
    families = defaultdict(list)
    for name in CASES:
        families["/".join(name.split("/")[:2])].append(name)
    return families


FAMILIES = _families()


def differences(name, before, now):
    """What is not as recorded, as text."""
    if set(before) != set(now):
        yield f"{name}: {sorted(now.items())} in place of {sorted(before.items())}"
        return
    for group, value in before.items():
        if group == "refused":
            same = now[group] == value
        elif isinstance(value, str):  # portable
            same = now[group][0] == value or _set_aside(name, group)
        elif SAME_MACHINE:
            same = now[group][0] == value[0]
        else:
            same = len(value) == 1 or agree(now[group][1], value[1])
        if not same:
            yield f"{name}, {group}: {now[group]} in place of {value}"


def test_other_processors_are_held_to_what_kernels_do_alone(monkeypatch):
    monkeypatch.setattr("test_golden.X86", False)
    for name in ("cpu/bernoulli/pcd/momentum", "cpu/ising/cd/adam", "cpu/bernoulli/cd5-lcd"):
        assert not any(_set_aside(name, group) for group in RECORDED["cases"][name])
    recorded = {n: r for n, r in RECORDED["cases"].items() if n.startswith("cpu/")}
    groups = [(name, g) for name, r in recorded.items() for g, value in r.items() if isinstance(value, str)]
    assert sum(not _set_aside(*group) for group in groups) > 0.6 * len(groups)


def test_what_is_recorded_is_what_is_computed():
    assert set(RECORDED["cases"]) == set(CASES)


@pytest.mark.parametrize("family", FAMILIES)
def test_results_are_those_recorded(family):
    found = []
    for name in FAMILIES[family]:
        found += differences(name, RECORDED["cases"][name], compute(name))
    note = "" if SAME_VERSIONS else f" (recorded with NumPy, SciPy, scikit-learn {RECORDED['machine']['versions']})"
    assert not found, f"{len(found)} results have changed{note}:\n" + "\n".join(found[:20])


@pytest.mark.parametrize("family", [name for name in FAMILIES if name.startswith("cpu/bernoulli")])
def test_every_instruction_set_has_the_same_bits(family, target):
    for name in FAMILIES[family]:
        before = {k: v for k, v in RECORDED["cases"][name].items() if isinstance(v, str)}
        now = compute(name)
        assert not [d for k, v in before.items() for d in differences(name, {k: v}, {k: now[k]})], target
