"""How results show themselves: as tables in notebooks, as frames, and with six digits."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MOST_ROWS = 12  # of a table in a notebook; of more the first and the last are shown

__all__ = ["History", "digits", "frame", "table"]


def digits(value: Any) -> str:
    """A value as tables and reprs have it: numbers with six digits."""
    if isinstance(value, (bool, str)) or value is None:
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(digits, value))})"
    try:
        return f"{value:.6g}"
    except (TypeError, ValueError):
        return str(value)


def table(title: str, rows: Iterable[Sequence[Any]], header: Sequence[str] = (), note: str = "") -> str:
    """Write a table of HTML; rows in the middle of a long one are left out.

    Parameters
    ----------
    title : str
    rows : iterable of sequence
        Cells; the first one of a row is its name.
    header : sequence of str
        Names of the columns.
    note : str
        A line below.
    """
    shown = [list(map(digits, row)) for row in rows]
    if len(shown) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        shown = [*shown[:half], ["..."] * len(shown[0]), *shown[-half:]]

    def line(cells: Sequence[str], kinds: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{k}>{html.escape(x)}</{k}>" for x, k in zip(cells, kinds, strict=True)) + "</tr>"

    parts = ["<table>", f"<caption>{html.escape(title)}</caption>"]
    if header:
        parts += ["<thead>", line(list(header), ["th"] * len(header)), "</thead>"]
    parts += ["<tbody>", *(line(cells, ["th", *["td"] * (len(cells) - 1)]) for cells in shown), "</tbody>", "</table>"]
    if note:
        parts.append(f"<p>{html.escape(note)}</p>")
    return "\n".join(parts)


def frame(columns: Mapping[str, Any], index: str | None = None) -> Any:
    """Make a pandas frame; ImportError with the remedy where there is no pandas.

    Parameters
    ----------
    columns : mapping of str to sequence
    index : str or None
        Which of them numbers the rows.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas") from error
    made = pd.DataFrame(dict(columns))
    return made if index is None else made.set_index(index)


class History(dict[str, list[Any]]):
    """What the passes of a fit have recorded: a dict of lists, one entry a pass, that notebooks show as a table.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM
    >>> rbm = BernoulliRBM(3, n_iter=2, random_state=0).fit(np.eye(6))
    >>> rbm.history_["epoch"], list(rbm.history_.to_frame().columns)
    ([1, 2], ['seconds'])
    """

    def to_frame(self) -> Any:
        """Return a pandas frame with a row for each pass, numbered by it.

        Raises
        ------
        ImportError
            Without pandas.
        """
        return frame(self, "epoch" if "epoch" in self else None)

    def _repr_html_(self) -> str:
        return table("passes of the fit", zip(*self.values(), strict=True), list(self))
