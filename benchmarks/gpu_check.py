"""Check and measure the CUDA kernels on a real device, in one command and one table.

::

    python -m fastrbm.benchmarks.gpu_check [--quick] [--only NAME ...] [--json FILE [--resume]]
    python benchmarks/gpu_check.py                                   # from a checkout

In the order of what is learned by a minute: every family of kernels against the CPU's bits; agreement of whole fits;
times against PyTorch CUDA, JAX and CuPy; the size from which a device wins over the CPU, and from which large tiles
win over small ones (`--tune FILE` writes both for the package, which reads the file that FASTRBM_CUDA_TUNING names);
the CUDA tests on the device; every family under compute-sanitizer (memcheck, racecheck). What cannot run is a row
with its reason. The table is printed whatever happens, also after an interrupt; the JSON is written after every row,
and a run that is resumed does what is not in it.

Exit status: 0; 1 if tests, sanitizers, agreement or quality fail, or a part breaks (a speed target that is missed is no
failure); 2 for wrong options; 3 without a device.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # a file of the checkout, whose folder is the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from benchmarks.gpu_check import main

    sys.exit(main())

import argparse
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from typing import Any

from . import gpu_crossing, gpu_exercise, gpu_programs, report
from .gpu_cases import AGREEMENT, MEASURED, Deadline, Lines
from .peers import torch_cuda_peer
from .protocol import ERROR, SKIPPED, Row

OK, BAD, USAGE, NO_DEVICE = 0, 1, 2, 3
NAMES = (
    gpu_programs.FAMILIES, AGREEMENT, *MEASURED, gpu_crossing.NAME, gpu_crossing.TILES, "tests", *gpu_programs.TOOLS,
)  # fmt: skip

#: minutes of everything, and the most seconds of a part; what a part leaves over is there for the next
_MINUTES = 8.5
_SECONDS = {
    gpu_programs.FAMILIES: 110.0,
    "programs": 230.0,
    AGREEMENT: 45.0,
    "line": 30.0,
    "exact": 60.0,
    gpu_crossing.NAME: 45.0,
    gpu_crossing.TILES: 20.0,
}
#: of a broken part, in its row
_MOST_REASON = 300


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m fastrbm.benchmarks.gpu_check", description="Check and measure the CUDA kernels on a device."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, chains, temperatures and states")
    parser.add_argument("--only", metavar="NAME", nargs="+", default=[], help=f"of {', '.join(NAMES)}; or patterns")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the table as JSON, too")
    parser.add_argument("--resume", action="store_true", help="take over what FILE has, and do the rest")
    parser.add_argument(
        "--tune", metavar="FILE", type=Path, help="write what crossing and tiles found, for the package"
    )
    parser.add_argument("--skip-tests", action="store_true", help="leave the tests out")
    parser.add_argument("--skip-sanitizer", action="store_true", help="leave compute-sanitizer out")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help=f"time for everything (default {_MINUTES})")
    parser.add_argument("--exercise", action="store_true", help="run every kernel family once, as under the sanitizer")
    sizes = sorted(gpu_exercise.SIZES)
    parser.add_argument("--size", choices=sizes, default="small", help="of the models of --exercise")
    parser.add_argument("--parts", metavar="PART", nargs="+", default=[], help="of --exercise, all by default")
    parser.add_argument("--lines", action="store_true", help="print what --exercise finds as JSON, a line each")
    return parser


def select(patterns: Sequence[str], skip: Sequence[str] = ()) -> list[str]:
    """Return the names that contain or match one of the patterns, all without patterns, less those to skip."""
    return [
        name
        for name in NAMES
        if name not in skip and (not patterns or any(word in name or fnmatch(name, word) for word in patterns))
    ]


def environment(lines: Lines) -> dict[str, Any]:
    """Return what the figures depend on."""
    from importlib.metadata import PackageNotFoundError, version

    from fastrbm._kernels.cuda import availability

    where = report.environment(lines.threads, lines.rounds, lines.images.label, quick=lines.quick)
    for package in ("numba", "numba-cuda", "cupy-cuda13x"):
        try:
            where["versions"][package] = version(package)
        except PackageNotFoundError:
            where["versions"][package] = "not installed"
    where["device"] = f"{availability.describe()}{gpu_programs.driver()}"
    where["notes"] = ["quick run: small problems, whose ratios are not those of the full ones"] if lines.quick else []
    if torch_cuda_peer.available(lines.torch_device):
        where["versions"]["torch"] = torch_cuda_peer.version()
    return where


def markdown(rows: Sequence[Row], where: dict[str, Any]) -> str:
    """Return the table and what is needed to read it."""
    drawn = f" It draws by the faster of two ways, here: {where['peer_draws']}." if where.get("peer_draws") else ""
    return "\n".join(
        [
            "# fastrbm on a CUDA device",
            "",
            f"Device: {where['device']}.",
            *report.heading(where),
            report.table(rows),
            "",
            "ratio: median of the peer's times over median of fastrbm's, in turn in one run, warm, clocks read when "
            "the device has finished; rounds: smallest and largest ratio of a round. PyTorch has its rows on the "
            f"device and replays a captured graph for each epoch or run.{drawn} quality: of both sides; worse FAILS.",
            "",
        ]
    )


class _Interrupted(BaseException):
    """The program was asked to end."""


def _interrupt(*_: Any) -> None:
    raise _Interrupted


def guarded(name: str, part: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """Yield the rows of a part; what goes wrong in it becomes one."""
    try:
        yield from part()
    except Exception as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        at = "" if frame is None else f" ({Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno})"
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield Row(name, name, "-", "-", ERROR, said[:_MOST_REASON] + at)


def programs(names: Sequence[str], seconds: float) -> Iterator[Row]:
    """Run tests and sanitizers side by side where there are processors for it: none of them is timed."""
    workers = len(names) if report.cores() >= 2 * len(names) else 1
    each = seconds * workers / len(names)
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(gpu_programs.run, name, each) for name in names]
        try:
            for name, future in zip(names, futures, strict=True):
                yield from guarded(name, lambda future=future: iter([future.result()]))
        finally:  # an interrupt must not wait for them
            for future in futures:
                future.cancel()
            gpu_programs.stop()


def run(names: Sequence[str], lines: Lines, deadline: Deadline, found: dict[str, float] | None = None) -> Iterator[Row]:
    """Yield the rows of the parts that are named, in the order of the table; what to tune by goes into `found`."""
    found = {} if found is None else found

    def share(part: str) -> Deadline:
        return Deadline(min(_SECONDS[part], deadline.left()))

    if gpu_programs.FAMILIES in names:
        seconds = share(gpu_programs.FAMILIES).left()
        yield from guarded(gpu_programs.FAMILIES, partial(gpu_programs.run_families, seconds))
    if AGREEMENT in names:
        yield from guarded(AGREEMENT, lines.agreement)
    for name in MEASURED:
        if name in names:
            own = share("exact" if name == "exact" else "line")
            if own.left():
                yield from guarded(name, partial(lines.measured, name, own))
            else:
                yield Row(name, name, "-", "-", SKIPPED, "no time left")
    if gpu_crossing.NAME in names:
        images = lines.images.binary[: 2048 if lines.quick else 8192]
        own = share(gpu_crossing.NAME)
        part = partial(gpu_crossing.measure, images, lines.threads, own, lines.device, found=found)
        yield from guarded(gpu_crossing.NAME, part)
    if gpu_crossing.TILES in names:
        yield from guarded(
            gpu_crossing.TILES, partial(gpu_crossing.measure_tiles, share(gpu_crossing.TILES), found)
        )  # fmt: skip
    outside = [name for name in names if name in ("tests", *gpu_programs.TOOLS)]
    if outside:
        yield from programs(outside, share("programs").left())


def collect(rows: Iterator[Row], into: list[Row], save: Callable[[], None]) -> str | None:
    """Take rows until they end or someone interrupts, and return a note in that case; `save` is called after each."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for row in rows:
            ratio = "" if row.ratio is None else f" {row.ratio:.2f}x"
            print(f"{row.case}: {row.verdict}{ratio} {row.reason}".rstrip(), file=sys.stderr, flush=True)
            into.append(row)
            save()
    except _Interrupted:
        return "interrupted: the parts after the last row did not run"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return None


def name_of(case: str) -> str:
    """Return the part that a row belongs to."""
    return next((name for name in sorted(NAMES, key=len, reverse=True) if case.startswith(name)), case)


def kept(file: Path, where: dict[str, Any], names: Sequence[str]) -> list[Row]:
    """Return the rows of a run before on this device with these versions, of the parts that it finished.

    A part that was cut off, broke or had no time is done again, and so is the last one: it may have had more rows.
    """
    if not file.exists():
        return []
    before = json.loads(file.read_text(encoding="utf-8"))
    if any(before["environment"].get(key) != report.plain(where[key]) for key in ("device", "versions")):
        return []
    rows = [report.row_of(row) for row in before["rows"]]
    again = {name_of(row.case) for row in rows if row.verdict in (ERROR, SKIPPED)}
    if rows and not before["environment"].get("complete"):
        again.add(name_of(rows[-1].case))
    return [row for row in rows if name_of(row.case) in names and name_of(row.case) not in again]


def lines_for(quick: bool, threads: int) -> Lines:
    """Return the problems of a full or a quick run."""
    if not quick:
        return Lines(threads)
    return Lines(
        threads, rounds=5, quick=True, epochs=2, n_chains=2000, n_steps=20, n_annealed=200, n_temperatures=100,
        n_summed=24, n_rows=8192,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; see the module for the exit status."""
    command = parser()
    options = command.parse_args(argv)
    skip = ["tests"] * options.skip_tests + list(gpu_programs.TOOLS) * options.skip_sanitizer
    names = select(options.only, skip)
    if options.resume and options.json is None:
        command.error("--resume needs --json FILE, which has the rows of the run before")
    if not names:
        command.error("nothing to do: --only and the parts to skip leave none of " + ", ".join(NAMES))
    from fastrbm._kernels.cuda import availability

    reason = availability.why_not()
    if reason is None and options.exercise:  # on the simulator, too
        do = gpu_exercise.print_lines if options.lines else gpu_exercise.main
        return do(options.size, options.parts)
    if reason is None and availability.simulated():
        reason = "NUMBA_ENABLE_CUDASIM is set, and the simulator is no device"
    if reason is not None:
        print(f"nothing was checked: {reason}")
        return NO_DEVICE
    deadline = Deadline(60 * options.minutes)
    lines = lines_for(options.quick, report.cores())
    where = environment(lines)
    rows: list[Row] = []
    if options.resume:
        rows = kept(options.json, where, names)
        names = [name for name in names if name not in {name_of(row.case) for row in rows}]
        where["notes"].append(f"resumed: {len(rows)} rows are of a run before")

    def save() -> None:
        where["peer_draws"] = lines.drawn
        if options.json is not None:
            options.json.write_text(report.as_json(rows, where) + "\n", encoding="utf-8")

    found: dict[str, Any] = {}
    note = collect(run(names, lines, deadline, found), rows, save)
    if options.tune is not None and found:
        from fastrbm._kernels.cuda import tuning

        tuning.write(options.tune, availability.device_name(), tuning.Tuned(**found))
        print(f"{options.tune} has {found}: set {tuning.VARIABLE}={options.tune} to use it")
    if note is not None:
        where["notes"].append(note)
    where["complete"] = note is None
    save()
    print(markdown(rows, where))
    return BAD if note is not None or report.broken(rows) else OK


if __name__ == "__main__":
    sys.exit(main())
