"""What `gpu_check` runs in processes of their own: families of kernels, tests, and kernels under compute-sanitizer."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from . import gpu_exercise
from .gpu_compare import Check
from .protocol import ERROR, FAILED, PASSED, SKIPPED, Row
from .report import cores

#: tools of compute-sanitizer
TOOLS = ("memcheck", "racecheck")

_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed|deselected)\b")
_MEMCHECK = re.compile(r"ERROR SUMMARY: (\d+) errors?")
_RACECHECK = re.compile(r"RACECHECK SUMMARY: (\d+) hazards? displayed \((\d+) errors?, (\d+) warnings?\)")
#: what compute-sanitizer says where it cannot watch the device, which says nothing about the kernels
_REFUSALS = ("Device not supported", "Unable to find injection library", "not supported on this")
_MOST_NAMED = 4


def count_tests(output: str) -> dict[str, int]:
    """Return counts of the last summary line of pytest, by word; empty without one."""
    for line in reversed(output.splitlines()):
        found = {word.rstrip("s") if word == "errors" else word: int(n) for n, word in _COUNT.findall(line)}
        if found and re.search(r" in [\d.]+s", line):
            return found
    return {}


def tests_row(output: str, status: int) -> Row:
    """Return the line of a run of pytest."""
    counts = count_tests(output)
    said = ", ".join(f"{n} {word}" for word, n in counts.items()) or f"no summary, exit status {status}"
    bad = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if bad:
        said += ": " + "; ".join(line.split(" - ")[0] for line in bad[:_MOST_NAMED])
        said += " ..." * (len(bad) > _MOST_NAMED)
    # status 0 with nothing passed would be a run that skipped everything
    good = status == 0 and counts.get("passed", 0) > 0
    verdict = PASSED if good else FAILED if counts else ERROR
    return Row("tests", "tests/cuda/test_*.py on the device", "-", "all", verdict, said)


def sanitizer_row(tool: str, output: str, status: int) -> Row:
    """Return the line of a run of compute-sanitizer over `benchmarks.gpu_exercise`."""
    row = Row(tool, f"compute-sanitizer --tool {tool}, every kernel family", "-", "no errors", PASSED)
    refused = next((text for text in _REFUSALS if text in output), None)
    found = (_RACECHECK if tool == "racecheck" else _MEMCHECK).search(output)
    if refused is not None:
        return _with(row, SKIPPED, f"compute-sanitizer cannot watch this device: {refused}")
    if found is None:
        last = next((line for line in reversed(output.splitlines()) if line.strip("= ")), "no output")
        return _with(row, ERROR, f"no summary, exit status {status}: {last.strip('= ')}")
    said = found[0].split(": ")[1]
    wrong = [line for line in output.splitlines() if line.startswith("WRONG")]
    if int(found[1]) or wrong:
        first = next((line.strip("= ") for line in output.splitlines() if re.match(r"=+ (Error|Invalid)", line)), "")
        return _with(row, FAILED, "; ".join(filter(None, [said, first, *wrong[:_MOST_NAMED]])))
    if "all right" not in output:
        return _with(row, ERROR, f"{said}, but the kernels did not finish: exit status {status}")
    return _with(row, PASSED, f"{said}; results as on the CPU")


def _with(row: Row, verdict: str, reason: str) -> Row:
    return Row(row.case, row.work, row.peer, row.target, verdict, reason)


def find_sanitizer() -> str | None:
    """Return where compute-sanitizer is: on the PATH, or in a CUDA toolkit."""
    on_path = shutil.which("compute-sanitizer")
    if on_path is not None:
        return on_path
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    for home in [*filter(None, homes), "/usr/local/cuda"]:
        for folder in ("bin", "compute-sanitizer"):
            candidate = shutil.which("compute-sanitizer", path=str(Path(home, folder)))
            if candidate is not None:
                return candidate
    return None


def _environment() -> dict[str, str]:
    """Return the environment of a process on the device that finds the packages this one found."""
    environment = {**os.environ, "FASTRBM_TEST_CUDA": "device", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    return environment


#: programs that are running, each the leader of a session of its own
running: set[subprocess.Popen[str]] = set()


def stop() -> None:
    """End the programs that are running, and what they have started."""
    for process in list(running):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_program(command: Sequence[str], seconds: float, folder: Path | None = None) -> tuple[str, int | None]:
    """Run a program; its output and status, None when its time was over."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=folder,
        env=_environment(), start_new_session=True,
    )  # fmt: skip
    running.add(process)
    try:
        return process.communicate(timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        # with all it has started, which would keep the pipe open
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], None
    finally:
        running.discard(process)


def driver() -> str:
    """Return the version of the driver as a part of a sentence; empty where no program tells it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    output, status = run_program(query, 20)
    return f", driver {output.split()[0]}" if status == 0 and output.split() else ""


def _shown(row: Row, output: str, lines: int = 40) -> Row:
    """Show the end of what a program printed that did not do well."""
    if row.verdict in (FAILED, ERROR):
        print(f"--- {row.case}: the end of its output", *output.splitlines()[-lines:], sep="\n", file=sys.stderr)
    return row


def run_tests(seconds: float) -> Row:
    """Run the CUDA tests on the device, files side by side where pytest-xdist is installed."""
    folder = Path(__file__).resolve().parents[1]
    files = sorted(folder.glob("tests/cuda/test_*.py"))
    row = Row("tests", "tests/cuda/test_*.py on the device", "-", "all", SKIPPED)
    if not files:
        return _with(row, SKIPPED, "the tests are in the checkout only: run benchmarks/gpu_check.py of one")
    if importlib.util.find_spec("pytest") is None:
        return _with(row, SKIPPED, 'pytest is not installed (pip install "fastrbm[test]")')
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    if cores() > 2 and importlib.util.find_spec("xdist") is not None:
        # each process compiles the kernels it needs, so a file is not divided
        command += ["-n", str(min(len(files), cores())), "--dist", "loadfile"]
    output, status = run_program([*command, *(str(file.relative_to(folder)) for file in files)], seconds, folder)
    if status is None:
        return _shown(_with(row, ERROR, f"not done after {seconds:.0f} s"), output)
    return _shown(tests_row(output, status), output)


def run_sanitizer(tool: str, seconds: float) -> Row:
    """Run `benchmarks.gpu_exercise` under a tool of compute-sanitizer."""
    row = sanitizer_row(tool, "", 0)
    program = find_sanitizer()
    if program is None:
        return _with(row, SKIPPED, "compute-sanitizer is not on the PATH and in no CUDA toolkit")
    command = [program, "--tool", tool, "--print-limit", "20"]
    if tool == "memcheck":
        command += ["--report-api-errors", "no"]  # Numba raises them as exceptions, or expects them
    command += [sys.executable, "-m", f"{__package__}.gpu_check", "--exercise"]
    # the process finds this package by the path of this one
    output, status = run_program(command, seconds)
    if status is None:
        return _shown(_with(row, ERROR, f"not done after {seconds:.0f} s"), output)
    return _shown(sanitizer_row(tool, output, status), output)


FAMILIES = "families"


def family_rows(output: str) -> tuple[list[Row], list[str]]:
    """Return rows of what `gpu_exercise` printed as JSON, and the parts that it has done."""
    rows, done = [], []
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a warning, or a line that was cut off
        if not isinstance(said, dict):
            continue
        if "done" in said:
            done.append(said["done"])
        elif "compared" in said:
            check = Check(**said | {"largest": float(said["largest"])})
            target = "same bits" if check.allowed == 0 else f"error below {check.allowed:g}"
            verdict = ERROR if check.broke else PASSED if check.ok else FAILED
            rows.append(Row(FAMILIES, check.name, "CPU kernels", target, verdict, "" if check.broke else check.said))
    return rows, done


def run_families(seconds: float) -> Iterator[Row]:
    """Compare every family of kernels with the CPU's; after one that breaks the rest have a new process."""
    left, end = gpu_exercise.parts(), time.monotonic() + seconds
    while left:
        command = [sys.executable, "-m", f"{__package__}.gpu_check", "--exercise", "--lines", "--parts", *left]
        output, status = run_program(command, max(1.0, end - time.monotonic()))
        rows, done = family_rows(output)
        yield from rows
        left = [part for part in left if part not in done]
        if status is None:
            yield Row(
                FAMILIES, f"{len(left)} parts", "CPU kernels", "-", ERROR, f"not done after {seconds:.0f} s: {left}"
            )
            return
        if not done:  # the process itself ended, in the part that was next
            said = " ".join(output.split()[-30:])
            yield Row(FAMILIES, left[0], "CPU kernels", "-", ERROR, f"the process ended with status {status}: {said}")
            left = left[1:]


def run(name: str, seconds: float) -> Row:
    """Run "tests" or a tool of compute-sanitizer."""
    return run_tests(seconds) if name == "tests" else run_sanitizer(name, seconds)
