"""Instruction counts of the hot kernels: what is run, recorded and compared. Valgrind itself is not needed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks" / "instructions.py").exists():
    pytest.skip("benchmarks/ is only in the checkout", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import hot, instructions  # noqa: E402

from fastrbm._kernels.cpu.waves import NativeSpinWave  # noqa: E402


@pytest.mark.parametrize("kernel", hot.KERNELS)
def test_more_repetitions_are_more_work(kernel, monkeypatch):
    work = []

    def noted(cls, name, amount):
        method = getattr(cls, name)

        def call(self, *args, **options):
            work.append(amount(args))
            return method(self, *args, **options)

        monkeypatch.setattr(cls, name, call)

    def given(args):
        # what of the arguments sets the amount: rows of the order, or sweeps
        sizes = [len(x) if isinstance(x, np.ndarray) and x.dtype == np.int64 else x for x in args]
        return sum(x for x in sizes if isinstance(x, int)) or 1

    for name in ("train", "run_chains", "means", "pseudo_likelihood"):
        noted(hot.CpuBackend, name, given)
    noted(hot.CpuBackend, "train_labels", lambda args: len(args[4]))
    noted(NativeSpinWave, "sweep", lambda args: args[2])
    hot.KERNELS[kernel](1)
    once = sum(work)
    work.clear()
    hot.KERNELS[kernel](2)
    assert once > 0 and sum(work) == 2 * once


def test_the_driver_starts_fast():
    code = "import sys, benchmarks.hot; sys.exit('sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_start_of_the_interpreter_cancels():
    assert instructions.count("k", "avx2", lambda kernel, target, n: 10**9 + 70 * n) == 70


def test_totals_are_read():
    assert instructions._totals("summary: 12\nfn=(3) f\n16 4\n\ntotals: 1234\n") == 1234
    with pytest.raises(RuntimeError, match="no totals"):
        instructions._totals("16 4\n")


def test_the_compiler_is_named():
    assert instructions.compiler().split()[0] in ("GCC:", "clang", "unknown")


@pytest.fixture
def counted(monkeypatch):
    """Let valgrind be there and count what the dictionary says."""
    counts = {"means-256": 1000, "train-b256": 2000}
    monkeypatch.setattr(instructions.shutil, "which", lambda _: "valgrind")
    monkeypatch.setattr(instructions, "_run", lambda *_: None)
    monkeypatch.setattr(instructions, "count", lambda kernel, target: counts[kernel])
    return counts


OPTIONS = ["--target", "baseline", "--only", "means", "--only", "train-b256"]


def test_growth_beyond_the_tolerance_fails(counted, tmp_path, capsys):
    path = tmp_path / "counts.json"
    assert instructions.main([*OPTIONS, "--check"], path) == 2
    assert "nothing was recorded with" in capsys.readouterr().err and not path.exists()
    assert instructions.main([*OPTIONS, "--record"], path) == 0
    assert instructions.main([*OPTIONS, "--check"], path) == 0
    counted["means-256"] = 1049
    assert instructions.main([*OPTIONS, "--check"], path) == 0
    counted["means-256"] = 1051
    capsys.readouterr()
    assert instructions.main([*OPTIONS, "--check"], path) == 1
    shown = capsys.readouterr()
    assert "| baseline | means-256 | 1,051 | 1,000 | +5.1 % |" in shown.out
    assert "means-256 with baseline takes 5.1 % more instructions than recorded, allowed 5 %" in shown.err
    assert instructions.main([*OPTIONS, "--check", "6"], path) == 0
    assert instructions.main(OPTIONS, path) == 0  # shows only


def test_recording_leaves_what_others_recorded(counted, tmp_path):
    path = tmp_path / "counts.json"
    old = {"another": {"baseline": {"means-256": 5}}, instructions.compiler(): {"baseline": {"chains": 7}}}
    path.write_text(json.dumps(old))
    assert instructions.main([*OPTIONS, "--record"], path) == 0
    new = json.loads(path.read_text())
    assert new["another"] == old["another"]
    assert new[instructions.compiler()] == {"baseline": {"chains": 7, "means-256": 1000, "train-b256": 2000}}


def test_missing_valgrind_and_a_failing_driver_are_said(monkeypatch, counted, capsys):
    def fails(*_):
        raise RuntimeError("means-256 1 failed with baseline")

    monkeypatch.setattr(instructions, "_run", fails)
    assert instructions.main(OPTIONS) == 2
    assert "failed with baseline" in capsys.readouterr().err
    monkeypatch.setattr(instructions.shutil, "which", lambda _: None)
    assert instructions.main(OPTIONS) == 2
    assert "valgrind, which is not installed here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options,message",
    [
        (["--check", "-1"], "must be a number of per cent, at least 0, got -1"),
        (["--check", "nan"], "must be a number of per cent"),
        (["--check", "x"], "invalid number value"),
        (["--check", "--record"], "not allowed with"),
        (["--only", "nothing"], "no such kernel; there are train-b256"),
        (["--target", "avx512"], "invalid choice"),
    ],
)
def test_bad_options_are_refused(options, message, counted, capsys):
    with pytest.raises(SystemExit) as error:
        instructions.main(options)
    assert error.value.code == 2 and message in capsys.readouterr().err
