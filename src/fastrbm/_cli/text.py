"""Text tables: their header, index column and separator, and their numbers."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: fields that stand for a missing value
MISSING = ("", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "?")
_SAMPLE = 100  # lines that are looked at
_SURE = 5  # columns from which on a first row 0, 1, 2, ... is a header whatever follows


class Layout(NamedTuple):
    """How a text table is written.

    Attributes
    ----------
    separator : str
    header : tuple of str or None
        Names of columns, one for each.
    width : int
    unnamed : bool
        Whether the first column has no name in a header: row names, as pandas and R write them.
    """

    separator: str
    header: tuple[str, ...] | None
    width: int
    unnamed: bool


def content(path: Path) -> str:
    """Text of a file, uncompressed, without a byte order mark and blank lines around it."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding).strip("\r\n")
    try:
        return data.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8, got byte {data[error.start]:#04x} at {error.start}") from None


def is_number(field: str) -> bool:
    """Whether a field is a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def is_missing(field: str) -> bool:
    """Whether a field stands for a missing value."""
    return field.strip() in MISSING


def layout_of(text: str, path: Path, header: bool | None = None) -> Layout:
    """Find out how a table is written.

    Parameters
    ----------
    text : str
    path : pathlib.Path
        For the separator and for messages.
    header : bool or None
        Whether the first row has names; None to find out.
    """
    tabs = ".tsv" in path.suffixes or ".tab" in path.suffixes
    lines = [line for line in itertools.islice(io.StringIO(text), _SAMPLE) if line.strip()]
    if not lines:
        raise ValueError(f"{path} must hold rows of numbers, got an empty file")
    separator = "\t" if tabs else max(",;\t", key=lambda mark: (lines[0].count(mark), mark == ","))
    rows = list(csv.reader(lines, delimiter=separator))
    first, others = [field.strip() for field in rows[0]], rows[1:]
    named = _is_header(first, others, path) if header is None else header
    if not named:
        return Layout(separator, None, len(first), False)
    if not others:
        raise ValueError(f"{path} must hold rows of numbers, got a header only (--no-header if that is data)")
    if len(others[0]) == len(first) + 1:  # as R writes names of rows
        first = ["", *first]
    unnamed = len(first) > 1 and (not first[0] or first[0].startswith("Unnamed: 0"))
    return Layout(separator, tuple(first), len(first), unnamed)


def _is_header(first: list[str], others: list[list[str]], path: Path) -> bool:
    words = [field for field in first if not is_number(field) and not is_missing(field)]
    if words:
        # the first row of data may hold words too, as a label does
        columns = [k for k, field in enumerate(first) if field in words]
        return any(
            all(k >= len(row) or is_number(row[k]) or is_missing(row[k]) for row in others) for k in columns
        ) or len(words) == len([f for f in first if f])
    numbers = first[1:] if first[0] == "" else first  # an index column has no name
    if any(not field.isdigit() for field in numbers) or len(numbers) < 2:
        return False
    start = int(numbers[0])
    if start not in (0, 1) or [int(field) for field in numbers] != list(range(start, start + len(numbers))):
        return False
    if first[0] == "" or len(numbers) >= _SURE:
        return True
    top = int(numbers[-1])
    values = [float(field) for row in others for field in row if is_number(field)]
    if any(value != round(value) or not 0 <= value <= top for value in values):
        return True
    raise ValueError(
        f"{path} begins with {','.join(first)}, which may be names of columns or data: add --header or --no-header"
    )


def read(text: str, layout: Layout, wanted: list[int], path: Path) -> np.ndarray:
    """Columns of numbers, float64, missing values as NaN, shape (rows, len(wanted))."""
    try:
        try:
            return _by_polars(text, layout, wanted)
        except ImportError:
            return _by_numpy(text, layout, wanted)
    except Exception:  # whatever a fast reader stumbles over, this one reads or says where it is
        return _field_by_field(text, layout, wanted, path)


def _by_polars(text: str, layout: Layout, wanted: list[int]) -> np.ndarray:
    import polars as pl

    if "\n\n" in text or "\n\r\n" in text:
        raise ValueError("blank lines, which would be read as rows")
    names = [f"c{k}" for k in range(layout.width)]
    kept = set(wanted)
    frame = pl.read_csv(
        io.BytesIO(text.encode()),
        separator=layout.separator,
        has_header=False,
        skip_rows=int(layout.header is not None),
        schema={name: pl.Float64 if k in kept else pl.String for k, name in enumerate(names)},
        null_values=list(MISSING),
        truncate_ragged_lines=False,
    )
    if frame[:, -1].null_count():
        raise ValueError("rows that may be short: what they lack is null here")
    found: np.ndarray = frame.select(names[k] for k in wanted).to_numpy(order="c")
    return found.astype(np.float64, copy=False)


def _by_numpy(text: str, layout: Layout, wanted: list[int]) -> np.ndarray:
    others: dict[Any, Any] = {k: _nothing for k in set(range(layout.width)) - set(wanted)}
    table = np.loadtxt(
        io.StringIO(text),
        delimiter=layout.separator,
        skiprows=int(layout.header is not None),
        comments=None,
        quotechar='"',
        ndmin=2,
        converters=others or None,
    )
    if table.shape[1] != layout.width:
        raise ValueError("rows of another width")
    return np.ascontiguousarray(table[:, wanted])


def _nothing(_: str) -> float:
    return 0.0


def _field_by_field(text: str, layout: Layout, wanted: list[int], path: Path) -> np.ndarray:
    found: list[list[float]] = []
    for line, row in _rows(text, layout, path):
        try:
            found.append([float("nan") if is_missing(row[k]) else float(row[k]) for k in wanted])
        except ValueError:
            k = next(k for k in wanted if not is_missing(row[k]) and not is_number(row[k]))
            name = layout.header[k] if layout.header else str(k)
            raise ValueError(
                f"{path} must hold numbers, got {row[k]!r} in line {line}, column {name!r}: leave the column out by "
                f"--drop {name} (or --label {name})"
            ) from None
    return np.array(found, dtype=np.float64).reshape(len(found), len(wanted))


def _rows(text: str, layout: Layout, path: Path) -> Any:
    """Rows of data with the numbers of their lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.separator)
    skip = layout.header is not None
    for row in reader:
        if not row or (layout.width > 1 and not any(field.strip() for field in row)):
            continue
        if skip:
            skip = False
            continue
        if len(row) != layout.width:
            raise ValueError(f"{path} must have {layout.width} columns, got {len(row)} in line {reader.line_num}")
        yield reader.line_num, row


def words(text: str, layout: Layout, column: int, path: Path) -> np.ndarray:
    """One column as text: labels."""
    return np.array([row[column].strip() for _, row in _rows(text, layout, path)], dtype=str)
