"""``fastrbm reproduce``: published experiments, run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import UsageError, whole
from .output import draw_without_windows

DESCRIPTION = """Run a published experiment again: a report in Markdown with published and own figures side by side, the
same as JSON, and pictures. "all" runs every one of them and makes one report."""
#: of `fastrbm.reproduce`, whose import takes longer than printing a help text; a test compares them
NAMES = (
    "fashion-mnist", "digits", "generative-789", "mnist-likelihood", "bars-and-stripes", "lc-init", "lcd",
    "autoencoder", "quantum-ising", "ratings", "anomaly",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    add = parser.add_argument
    add("name", metavar="NAME", choices=(*NAMES, "all"), help=f"{', '.join(NAMES)}; or all")
    add(
        "--quick",
        action="store_true",
        help="the short form: less than a minute, offline; compares with nothing published",
    )
    add("--seeds", type=whole(1), default=3, metavar="N", help="repetitions, for mean and standard deviation")
    add("--out", metavar="DIR", help="folder for report and pictures; fastrbm-reproduce/NAME if not given")
    add("--data-dir", metavar="DIR", help="folder with the files of MNIST and Fashion-MNIST")
    add("--threads", type=whole(1), metavar="N", help="all processors if not given")
    add("--quiet", action="store_true", help="write the report and print nothing")


def command(options: argparse.Namespace) -> int:
    """Run it, print the report, and say where it is."""
    from .. import reproduce

    draw_without_windows()
    root = Path("fastrbm-reproduce")
    out = Path(options.out) if options.out else root if options.name == "all" else root / options.name
    if out.exists() and not out.is_dir():
        raise UsageError(f"argument --out: {out} is a file; give a folder")
    how: dict[str, Any] = {
        "quick": options.quick,
        "seeds": options.seeds,
        "out": out,
        "data": options.data_dir,
        "n_threads": options.threads,
    }

    def show(report: reproduce.Report) -> None:
        if not options.quiet:
            print(report.markdown(), flush=True)

    if options.name == "all":
        reproduce.run_all(**how, on_report=show)
    else:
        show(reproduce.run(options.name, **how))
    if not options.quiet:
        print(f"{out / 'report.md'} has this with its pictures.")
    return 0
