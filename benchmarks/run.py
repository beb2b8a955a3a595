"""Run the table: ``python -m benchmarks.run`` from the root of the checkout, or ``fastrbm bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from . import report
from .cases import Bench, Case, all_cases

#: Folder of the results where none is given.
_OUT = Path("fastrbm-bench")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="fastrbm bench", description="Measure fastrbm against its peers.")
    parser.add_argument("--quick", action="store_true", help="tiny subsets, one round: does everything run?")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        default=[],
        help="cases whose name contains or matches PATTERN; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--threads", type=_positive, default=report.cores(), help="threads on either side")
    parser.add_argument("--rounds", type=_positive, help="timed rounds (default 5, with --quick 1)")
    parser.add_argument("--gibbs-steps", type=_positive, help="sweeps of the sampling cases (default 100)")
    parser.add_argument("--temperatures", type=_positive, help="of the annealed cases (default 1000)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder of the results (default {_OUT})")
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="instead of the table: curves over sizes and threads, lean strategies, pictures of both",
    )
    parser.add_argument("--docs", action="store_true", help="with --scaling: write docs/performance of the checkout")
    return parser


def check(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that would have no effect together."""
    if options.docs and not options.scaling:
        command.error("--docs is for --scaling only")
    if options.docs and options.out is not None:
        command.error("--docs and --out both name a folder; give one of them")
    if options.docs and options.only:
        command.error("--docs writes all tables of the page; leave --only away")
    for name in ("gibbs_steps", "temperatures"):
        if options.scaling and getattr(options, name) is not None:
            command.error(f"--{name.replace('_', '-')} is for the table only, not for --scaling")


def select(cases: Sequence[Case], patterns: Sequence[str]) -> list[Case]:
    """Return the cases whose name contains or matches one of the patterns; all without patterns."""
    if not patterns:
        return list(cases)
    return [case for case in cases if any(word in case.name or fnmatch(case.name, word) for word in patterns)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the selected cases, print the table, write results.md and results.json; or what --scaling measures.

    Returns
    -------
    int
        0, or 1 when a line failed by its quality or an error.
    """
    command = parser()
    options = command.parse_args(argv)
    check(command, options)
    out = options.out or _OUT
    if options.scaling:
        from . import scaling

        names = scaling.select(scaling.NAMES, options.only)
        if not names:
            command.error(f"--only {' '.join(options.only)}: no such curve; --list prints them")
        if options.list:
            print("\n".join(names))
            return 0
        return scaling.run(names, options, out)
    cases = select(all_cases(), options.only)
    if not cases:
        command.error(f"--only {' '.join(options.only)}: no such case; --list prints them")
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    rounds = options.rounds or (1 if options.quick else 5)
    bench = Bench(options.threads, rounds, quick=options.quick)
    bench.gibbs_steps = options.gibbs_steps or bench.gibbs_steps
    bench.temperatures = options.temperatures or bench.temperatures
    where = report.environment(options.threads, rounds, bench.images.label, quick=options.quick)
    rows = []
    for number, case in enumerate(cases, 1):
        print(f"[{number}/{len(cases)}] {case.name}", end=" ", file=sys.stderr, flush=True)
        rows.append(bench.run(case))
        ratio = "" if rows[-1].ratio is None else f" {rows[-1].ratio:.2f}x"
        print(f"{rows[-1].verdict}{ratio}", file=sys.stderr, flush=True)
        # Written after every line, so that a run that is stopped leaves what it has.
        report.write(rows, where, out)
    print(report.markdown(rows, where))
    print(f"Written to {out}/results.md and results.json", file=sys.stderr)
    return 1 if report.broken(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
