"""Kernels compile without a device for the capabilities that are supported."""

import os
import subprocess
import sys

import pytest

from fastrbm._kernels.cuda import ahead

pytestmark = pytest.mark.only_on("simulator", "device", reason="compiles, and runs nothing")

LOG = """\
ptxas info    : Compiling entry function '_Z3one' for 'sm_80'
ptxas info    : Function properties for _Z3one
ptxas         .     1200 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 30 registers, used 0 barriers
info    : Function properties for '_Z3one':
info    : used 30 registers, used 0 barriers, 1216 stack, 1332 bytes smem, 592 bytes cmem[0], 0 bytes lmem
info    : Function properties for '_Z7library':
info    : used 99 registers, used 1 barriers, 0 stack, 3080 bytes smem, 656 bytes cmem[0], 0 bytes lmem
"""


def test_the_assembler_is_understood():
    assert ahead.resources_of(LOG, "_Z3one") == ahead.Resources(30, 12, 1200, 1332)
    with pytest.raises(ValueError, match="nothing about _Z3two"):
        ahead.resources_of(LOG, "_Z3two")


def compile_ahead(*modules):
    command = [sys.executable, "-m", "fastrbm._kernels.cuda.ahead", *modules]
    return subprocess.run(command, capture_output=True, text=True)


def test_kernels_compile_and_none_spills():
    """The shortest of them: the gate compiles all."""
    pytest.importorskip("numba_cuda")
    done = compile_ahead("packing")
    if done.returncode == ahead.NO_COMPILERS:
        pytest.skip(done.stdout.strip())
    assert done.returncode == ahead.OK, done.stdout + done.stderr
    for target in ("sm_80", "sm_90a"):
        assert any(line.split()[1:3] == ["gather_rows", target] for line in done.stdout.splitlines()), done.stdout


def test_a_kernel_that_takes_more_than_before_is_named(tmp_path):
    record = {"sm_80": {"one": [30, 0], "two": [128, 16]}, "sm_90a": {"one": [32, 0]}}
    ahead.write_record(tmp_path / "record.json", record)
    assert ahead.read_record(tmp_path / "record.json") == record
    assert ahead.risen(record, record) == []
    assert ahead.risen(record, {"sm_80": {"one": [28, 0], "two": [120, 8]}}) == []
    said = ahead.risen(record, {"sm_80": {"one": [31, 0], "two": [128, 24], "three": [1, 0]}, "sm_90a": {}})
    assert said == [
        "one on sm_80 takes 31 registers and spills 0 bytes, more than the 30 and 0 of the record",
        "two on sm_80 takes 128 registers and spills 24 bytes, more than the 128 and 16 of the record",
        "three on sm_80 is not in the record",
    ]


def test_the_record_is_checked(tmp_path):
    ahead.write_record(tmp_path / "record.json", {"sm_80": {}, "sm_90a": {}})
    done = compile_ahead("packing", "--check", str(tmp_path / "record.json"))
    if done.returncode == ahead.NO_COMPILERS:
        pytest.skip(done.stdout.strip())
    assert done.returncode == ahead.FAILED and "gather_rows on sm_90a is not in the record" in done.stdout


def test_a_module_without_kernels_is_named():
    done = compile_ahead("packing", "nothing")
    if done.returncode == ahead.NO_COMPILERS:
        pytest.skip(done.stdout.strip())
    assert done.returncode == ahead.USAGE and "is called nothing" in done.stdout


def test_compilers_that_are_not_there_are_reported(monkeypatch, capsys):
    from fastrbm._kernels.cuda import availability

    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", os.environ.get("NUMBA_ENABLE_CUDASIM", "1"))
    monkeypatch.setattr(availability, "compilers_missing", lambda: "no NVVM")
    assert ahead.main() == ahead.NO_COMPILERS
    assert capsys.readouterr().out == "nothing was compiled: no NVVM\n"
