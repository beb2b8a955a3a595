"""No bit changes: results of fixed seeds are those that were recorded (`golden_record.py` says how, and with what)."""

import json
from collections import defaultdict

import pytest
from golden_cases import CASES, compute
from golden_record import RECORD, agree, machine

RECORDED = json.loads(RECORD.read_text())
HERE = machine()
SAME_MACHINE = HERE == RECORDED["machine"]
SAME_VERSIONS = HERE["versions"] == RECORDED["machine"]["versions"]


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
            same = now[group][0] == value
        elif SAME_MACHINE:
            same = now[group][0] == value[0]
        else:
            same = len(value) == 1 or agree(now[group][1], value[1])
        if not same:
            yield f"{name}, {group}: {now[group]} in place of {value}"


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
