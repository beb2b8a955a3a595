"""Curves and the table of strategies as Markdown, reStructuredText, JSON and pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import report
from .protocol import QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .curves import Curve, Point
    from .lean import LeanRow

_TITLE = "Scaling"
_LEAN_TITLE = "Lean strategies"
_EXPLAINED = (
    "Times are of this machine and this run only. ratio: median of the peer's times over median of fastrbm's, "
    "measured in turn; above 1 fastrbm is faster. A dash stands for what was not measured or drowned in noise."
)
_COLOURS = {"fastrbm": "#1f4e79", "scikit-learn": "#c8553d", "torch": "#6e6e6e"}
_PALETTE = ("#1f4e79", "#c8553d", "#4f9d69", "#8e6bbf", "#c99a2e")


@dataclass
class Results:
    """All that a run has measured so far."""

    where: dict[str, Any]
    curves: list[tuple[Curve, list[Point]]] = field(default_factory=list)
    lean_label: str = ""
    lean: list[LeanRow] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A table with its heading and picture, before it is put into a language."""

    title: str
    name: str
    cells: list[list[str]]  #: the first line holds the names of the columns


def _number(value: float | None, scale: float = 1.0, unit: str = "") -> str:
    return "-" if value is None else f"{value * scale:.3g}{unit}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _disturbed(others: float | None) -> str:
    return "" if others is None or others <= QUIET else f"disturbed: others took {others:.0%} of the threads' time"


def per_row(seconds: float | None, rows: int) -> float:
    """Return microseconds per row, nan where there is no time, which a plot leaves out."""
    return math.nan if seconds is None else seconds / rows * 1e6


def _curve_table(curve: Curve, points: Sequence[Point]) -> Table:
    cells = [[curve.axis, "rows", "peer", "peer's epoch", "fastrbm's epoch", "fastrbm's row", "ratio", "remark"]]
    for point in points:
        row = None if point.ours is None else per_row(point.ours, point.rows)
        cells.append(
            [
                f"{point.x:g}",
                str(point.rows),
                point.peer,
                _number(point.theirs, 1e3, " ms"),
                _number(point.ours, 1e3, " ms"),
                _number(row, 1, " us"),
                _number(point.ratio, 1, "x"),
                point.reason or _disturbed(point.others) or "-",
            ]
        )
    return Table(curve.title, curve.name, cells)


def _lean_table(lines: Sequence[LeanRow], label: str) -> Table:
    names = "instruction set,work,strategy,time,against dense,products skipped,filtered,recomputed,same,remark"
    cells = [names.split(",")]
    for line in lines:
        cells.append(
            [
                line.target,
                line.work,
                line.strategy,
                _number(statistics.median(line.seconds), 1e3, " ms"),
                _number(line.ratio, 1, "x"),
                _percent(line.skipped),
                _percent(line.share("filtered")),
                _percent(line.share("recomputed")),
                "yes" if line.same else "NO",
                _disturbed(line.others) or "-",
            ]
        )
    return Table(f"{_LEAN_TITLE}: {label}", "lean", cells)


def tables(results: Results) -> list[Table]:
    """Return all tables in the order of measuring."""
    found = [_curve_table(curve, points) for curve, points in results.curves]
    return found + ([_lean_table(results.lean, results.lean_label)] if results.lean else [])


def markdown(results: Results) -> str:
    """Return the report in Markdown; pictures are looked for beside it."""
    lines = [f"# {_TITLE}", "", *report.heading(results.where), _EXPLAINED, ""]
    for table in tables(results):
        head, *body = table.cells
        lines += [f"## {table.title}", "", f"![{table.title}]({table.name}.png)", ""]
        # A bar or a line break in an error message would break the table.
        for cells in (head, ["---"] * len(head), *body):
            lines.append("| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _plain_rst(text: str) -> str:
    """Return text in which nothing is taken for markup; a dash alone would be a list of one empty item."""
    plain = "".join(f"\\{letter}" if letter in "\\*`|_" else letter for letter in text)
    return f"\\{plain}" if plain == "-" else plain


def as_rst(results: Results, folder: str) -> str:
    """Return the report as a part of a reStructuredText page; pictures lie in `folder` beside that page."""
    lines = [
        ".. Written by fastrbm bench --scaling --docs; do not edit.",
        "",
        *map(_plain_rst, report.heading(results.where)),
        _EXPLAINED,
        "",
    ]
    for table in tables(results):
        title = _plain_rst(table.title)
        lines += [title, "-" * len(title), "", f".. image:: {folder}/{table.name}.png", f"   :alt: {title}", ""]
        text = io.StringIO()
        cells = [[_plain_rst(" ".join(cell.split())) for cell in line] for line in table.cells]
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(cells)
        lines += [".. csv-table::", "   :header-rows: 1", ""]
        lines += [f"   {line}" for line in text.getvalue().splitlines()]
        lines.append("")
    return "\n".join(lines)


def as_json(results: Results) -> str:
    """Return everything that was measured as JSON."""
    curves = [
        {
            "name": curve.name,
            "title": curve.title,
            "axis": curve.axis,
            "points": [
                dataclasses.asdict(point) | {"ours": point.ours, "theirs": point.theirs, "ratio": point.ratio}
                for point in points
            ],
        }
        for curve, points in results.curves
    ]
    lean = [dataclasses.asdict(line) | {"ratio": line.ratio, "skipped": line.skipped} for line in results.lean]
    content = {"environment": results.where, "curves": curves, "lean_model": results.lean_label, "lean": lean}
    return json.dumps(report.plain(content), indent=1, allow_nan=False)


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    return Figure(figsize=size, layout="constrained")


def _tidy(axes: Axes, label: str) -> None:
    axes.set_title(label, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def curve_figure(curve: Curve, points: Sequence[Point]) -> Figure:
    """Draw time per row of every side, and the ratios, over what varies.

    Parameters
    ----------
    curve : Curve
        What varies.
    points : sequence of Point
        What was measured.

    Returns
    -------
    matplotlib.figure.Figure
        Both axes are logarithmic; a point without a time is left out.
    """
    figure = _figure((8.0, 3.4))
    times, ratios = figure.subplots(1, 2)
    measured = [point for point in points if point.ours is not None]
    own: dict[float, list[float]] = {}
    for point in measured:
        own.setdefault(point.x, []).append(per_row(point.ours, point.rows))
    # fastrbm is timed against every peer anew; one line shows the middle of these.
    middle = [statistics.median(values) for values in own.values()]
    times.plot(list(own), middle, "o-", color=_COLOURS["fastrbm"], markersize=3.5, label="fastrbm")
    for peer in dict.fromkeys(point.peer for point in measured if point.peer_seconds):
        part = [point for point in measured if point.peer == peer]
        x = [point.x for point in part]
        style: dict[str, Any] = {"color": _COLOURS.get(peer), "markersize": 3.5, "label": peer}
        times.plot(x, [per_row(point.theirs, point.rows) for point in part], "o-", **style)
        ratios.plot(x, [math.nan if point.ratio is None else point.ratio for point in part], "o-", **style)
    values = sorted({point.x for point in points})
    for axes, label in ((times, "training time per row (µs)"), (ratios, "peer's time / fastrbm's time")):
        axes.set_xscale("log")
        # a time is a difference, which noise may have made negative: an axis without a positive one stays linear
        if any(y > 0 for line in axes.lines for y in line.get_ydata()):
            axes.set_yscale("log")
            _plain_ticks(axes)
        if axes is ratios:
            axes.axhline(1, color="black", linewidth=0.8)
        axes.set_xticks(values, [f"{value:g}" for value in values], rotation=45 if len(values) > 6 else 0)
        axes.minorticks_off()
        axes.set_xlabel(curve.axis, fontsize=9)
        _tidy(axes, label)
    times.legend(fontsize=8, frameon=False)
    return figure


def _plain_ticks(axes: Axes) -> None:
    """Write 20, not 2 x 10^1; a narrow range of a logarithmic axis also gets 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def lean_figure(lines: Sequence[LeanRow]) -> Figure:
    """Draw how many times as fast as whole products every strategy is, one panel per instruction set.

    Parameters
    ----------
    lines : sequence of LeanRow
        What was measured.

    Returns
    -------
    matplotlib.figure.Figure
        The axis is logarithmic: twice as fast is as long a bar as half as fast.
    """
    sets = list(dict.fromkeys(line.target for line in lines))
    works = list(dict.fromkeys(line.work for line in lines))
    names = [name for name in dict.fromkeys(line.strategy for line in lines) if name != "dense"]
    found = {(line.target, line.work, line.strategy): line.ratio for line in lines}
    figure = _figure((8.0, 0.8 + 0.42 * len(works) * len(sets)))
    panels = figure.subplots(len(sets), 1, sharex=True, squeeze=False)[:, 0]
    height = 0.8 / max(1, len(names))
    for axes, target in zip(panels, sets, strict=True):
        for number, name in enumerate(names):
            places = [place + (number - (len(names) - 1) / 2) * height for place in range(len(works))]
            # Bars start at 1 on a logarithmic axis, so their length is what the ratio adds to it.
            extra = [found[target, work, name] - 1 for work in works]
            axes.barh(places, extra, height, left=1, label=name, color=_PALETTE[number % len(_PALETTE)])
        axes.set_xscale("log")
        axes.set_yticks(range(len(works)), works)
        axes.invert_yaxis()
        axes.axvline(1, color="black", linewidth=0.8)
        axes.minorticks_off()
        _tidy(axes, f"{target}: time of dense / time of the strategy")
    from matplotlib.ticker import FuncFormatter, LogLocator

    panels[-1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[0].legend(fontsize=8, frameon=False, ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def write(results: Results, folder: Path, *, docs: bool = False) -> None:
    """Write scaling.json, pictures, and scaling.md or, for the documentation, tables.rst.

    Parameters
    ----------
    results : Results
        What to write.
    folder : pathlib.Path
        Made if it is missing.
    docs : bool
        Whether the folder is a part of the documentation.
    """
    from fastrbm.plot import save_png

    folder.mkdir(parents=True, exist_ok=True)
    for curve, points in results.curves:
        save_png(curve_figure(curve, points), folder / f"{curve.name}.png")
    if results.lean:
        save_png(lean_figure(results.lean), folder / "lean.png")
    name, text = ("tables.rst", as_rst(results, folder.name)) if docs else ("scaling.md", markdown(results))
    (folder / name).write_text(text.rstrip() + "\n", encoding="utf-8")
    (folder / "scaling.json").write_text(as_json(results) + "\n", encoding="utf-8")
