"""Families of kernels in processes of their own, as `gpu_check` runs them first."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks" / "gpu_check.py").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import gpu_exercise, gpu_programs  # noqa: E402
from benchmarks.gpu_compare import compare  # noqa: E402
from benchmarks.protocol import ERROR, FAILED, PASSED  # noqa: E402

pytestmark = pytest.mark.only_on(
    "simulator", "device", reason="the kernels that it runs are those of test_ptx_families.py"
)


def line(name, different=0, largest=0.0, allowed=0.0, first="", broke=False):
    held = dict(name=name, different=different, compared=4, largest=repr(largest), allowed=allowed, first=first)
    return json.dumps(held | {"broke": broke})


LINES = "\n".join(
    [
        "a warning",
        line("one: x"),
        '{"done": "one"}',
        line("two: y", 1, float("nan"), 1e-05, "at (3,)"),
        line("two: RuntimeError: lost", 1, float("inf"), broke=True),
        '{"done": "two"}',
        '{"name": "thr',
    ]
)


def test_what_families_print_becomes_rows():
    rows, done = gpu_programs.family_rows(LINES)
    assert [(row.case, row.verdict) for row in rows] == [
        ("families", PASSED),
        ("families", FAILED),
        ("families", ERROR),
    ]
    assert rows[0].target == "same bits" and rows[1].target == "error below 1e-05"
    assert "1 of 4 differ" in rows[1].reason and "first at (3,)" in rows[1].reason
    assert done == ["one", "two"]


def test_families_go_on_in_another_process_after_one_that_breaks(monkeypatch):
    asked = []
    outputs = [
        (LINES, 1), ("", -11), ('{"done": "four"}\n', 0),
    ]  # fmt: skip

    def run_program(command, seconds):
        asked.append(command[command.index("--parts") + 1 :])
        return outputs[len(asked) - 1]

    monkeypatch.setattr(gpu_exercise, "parts", lambda: ["one", "two", "three", "four"])
    monkeypatch.setattr(gpu_programs, "run_program", run_program)
    rows = list(gpu_programs.run_families(60))
    assert asked == [["one", "two", "three", "four"], ["three", "four"], ["four"]]
    assert rows[-1].verdict == ERROR and rows[-1].work == "three" and "status -11" in rows[-1].reason


def test_families_that_take_too_long_are_named(monkeypatch):
    monkeypatch.setattr(gpu_exercise, "parts", lambda: ["one", "two", "three"])
    monkeypatch.setattr(gpu_programs, "run_program", lambda *_: (LINES, None))
    rows = list(gpu_programs.run_families(60))
    assert rows[-1].verdict == ERROR and "['three']" in rows[-1].reason and len(rows) == 4


def test_a_family_printed_as_lines(capsys):
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    assert gpu_exercise.print_lines("tiny", ["packing"]) == 0
    rows, done = gpu_programs.family_rows(capsys.readouterr().out)
    assert done == ["packing"] and len(rows) == 6 and all(row.verdict == PASSED for row in rows)


def test_the_first_difference_is_told():
    check = compare("x", [np.zeros(3), np.array([[0, 1], [2, 3]])], [np.zeros(3), np.array([[0, 1], [5, 3]])])
    assert "first at (1, 0) of array 1" in check.said and "2" in check.first and "5" in check.first
