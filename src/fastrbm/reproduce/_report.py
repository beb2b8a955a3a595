"""What an experiment found: figures beside published ones, tables, pictures and remarks, as Markdown and JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "Row"]


@dataclass(frozen=True)
class Row:
    """One line of the table of results.

    Attributes
    ----------
    what : str
    ours : tuple of float
        One figure for each seed.
    published : float, str or None
    target : float or None
        What this package sets itself to reach.
    unit : str
    better : {"higher", "lower"}
    seconds : float or None
        Of one repetition.
    digits : int
        Behind the decimal point.
    """

    what: str
    ours: tuple[float, ...]
    published: float | str | None
    target: float | None
    unit: str
    better: Literal["higher", "lower"]
    seconds: float | None
    digits: int

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.ours))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds, with n - 1; None of one seed."""
        return float(np.std(self.ours, ddof=1)) if len(self.ours) > 1 else None

    @property
    def reached(self) -> bool | None:
        """Whether the mean is at the target; None without one."""
        if self.target is None:
            return None
        return self.mean >= self.target if self.better == "higher" else self.mean <= self.target


class Clock:
    """Seconds of a block, of the wall and of all its processors together."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.seconds = self.cpu_seconds = math.nan

    def stop(self) -> None:
        """Take the times."""
        self.seconds, self.cpu_seconds = time.perf_counter() - self._wall, time.process_time() - self._cpu


@dataclass
class Report:
    """Collects what an experiment finds, and writes it.

    Parameters
    ----------
    name, title, source : str
        Of the experiment; `source` says who published it and where.
    folder : pathlib.Path or None
        Where pictures, ``report.md`` and ``report.json`` go; None writes nothing.
    quick : bool
        Whether this is the short form: published figures and targets are left out, since nothing here compares.
    """

    name: str
    title: str
    source: str
    folder: Path | None = None
    quick: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def row(
        self,
        what: str,
        ours: float | Sequence[float],
        *,
        published: float | str | None = None,
        target: float | None = None,
        unit: str = "",
        better: Literal["higher", "lower"] = "higher",
        seconds: float | None = None,
        digits: int = 2,
    ) -> Row:
        """Add a line of the table of results; its parameters are the attributes of `Row`.

        Raises
        ------
        ValueError
            If `ours` is empty or holds a NaN: a figure that is none is no result.
        """
        figures = tuple(float(value) for value in np.atleast_1d(np.asarray(ours, dtype=float)))
        if not figures or any(math.isnan(value) for value in figures):
            raise ValueError(f"ours must hold at least one number and no NaN; got {ours!r} for {what!r}")
        if better not in ("higher", "lower"):
            raise ValueError(f"better must be 'higher' or 'lower'; got {better!r}")
        if self.quick:
            published = target = None
        row = Row(what, figures, published, target, unit, better, seconds, digits)
        self.rows.append(row)
        return row

    def note(self, text: str) -> None:
        """Add a remark: a paragraph of Markdown."""
        self.notes.append(" ".join(text.split()))

    def table(self, title: str, header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table of its own; numbers are shown with four digits."""
        if any(len(row) != len(header) for row in rows):
            raise ValueError(f"rows must have {len(header)} cells as the header of {title!r} has")
        self.tables.append((title, [str(cell) for cell in header], [[_cell(cell) for cell in row] for row in rows]))

    def picture(self, name: str, figure: Figure, caption: str) -> None:
        """Write a figure as ``NAME.png`` beside the report, and close it."""
        if self.folder is not None:
            plot.save_png(figure, self.folder / f"{name}.png", dpi=110)
            self.pictures.append((f"{name}.png", " ".join(caption.split())))
        plot.close(figure)

    def value(self, key: str, value: Any) -> None:
        """Keep a number, list or array for the JSON file alone."""
        self.values[key] = value

    @contextmanager
    def timed(self) -> Iterator[Clock]:
        """Time a block: ``clock.seconds`` and ``clock.cpu_seconds`` after it."""
        clock = Clock()
        try:
            yield clock
        finally:
            clock.stop()

    def markdown(self, level: int = 1, folder: str = "") -> str:
        """The report as Markdown, its headings from `level` on, its pictures in `folder`."""
        parts = [f"{'#' * level} {self.title}", self.source]
        if self.quick:
            parts.append(
                "*Short form: it shows that the experiment works; its figures compare with nothing published.*"
            )
        if self.rows:
            parts.append(self._results())
        parts += self.notes
        for title, header, rows in self.tables:
            parts += [f"{'#' * (level + 1)} {title}", _markdown_table(header, rows)]
        for name, caption in self.pictures:
            parts += [f"![{caption}]({folder}{name})", f"*{caption}*"]
        if self.facts:
            parts.append("; ".join(f"{key}: {value}" for key, value in self.facts.items()) + ".")
        return "\n\n".join(parts) + "\n"

    def write(self) -> None:
        """Write ``report.md`` and ``report.json`` into the folder, if there is one."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "report.md").write_text(self.markdown(), encoding="utf-8")
        (self.folder / "report.json").write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dictionaries, as ``report.json`` has it."""
        rows = [
            asdict(row) | {"ours": list(row.ours), "mean": row.mean, "deviation": row.deviation, "reached": row.reached}
            for row in self.rows
        ]
        tables = [{"title": title, "header": header, "rows": rows} for title, header, rows in self.tables]
        found = {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "quick": self.quick,
            "facts": self.facts,
            "rows": rows,
            "notes": self.notes,
            "tables": tables,
            "pictures": [{"file": name, "caption": caption} for name, caption in self.pictures],
            "values": self.values,
        }
        return _plain(found)

    def _results(self) -> str:
        has = {
            name: any(getattr(row, name) is not None for row in self.rows)
            for name in ("published", "target", "seconds")
        }
        header = ["", *(["published"] if has["published"] else []), "here"]
        header += [*(["to reach", ""] if has["target"] else []), *(["time"] if has["seconds"] else [])]
        lines = []
        for row in self.rows:
            line = [row.what + (f" ({row.unit})" if row.unit else "")]
            if has["published"]:
                line.append(_number(row.published, row.digits))
            spread = "" if row.deviation is None else f" ± {row.deviation:.{row.digits}f}"
            line.append(f"**{_number(row.mean, row.digits)}**{spread}")
            if has["target"]:
                line += [_number(row.target, row.digits), {None: "", True: "reached", False: "missed"}[row.reached]]
            if has["seconds"]:
                line.append("" if row.seconds is None else _duration(row.seconds))
            lines.append(line)
        return _markdown_table(header, lines)


def _number(value: float | str | None, digits: int) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if value and abs(value) < 10.0**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _plain(value: Any) -> Any:
    """`value` in terms of JSON, which has no infinities and no NaN: those become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
