"""The table as Markdown and JSON, with all that is needed to read it later."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .protocol import ERROR, FAILED, Judgement, Row

_PACKAGES = ("fastrbm", "numpy", "scipy", "scikit-learn", "torch", "jax", "jaxbm", "thrml", "hamon")
_COLUMNS = tuple("work,peer,target,ratio,rounds,peer's,fastrbm's,quality,peer's,fastrbm's,verdict".split(","))

#: OpenBLAS kernels that make no use of AVX-512.
_NARROW_CORES = ("haswell", "zen", "sandybridge", "prescott")


def _cpu() -> tuple[str, set[str]]:
    """Return the name of the processor and its instruction-set flags, as far as the system tells."""
    from fastrbm import _versions

    return _versions.processor_name(), set(_versions.processor_facts().get("flags", "").split())


def cores() -> int:
    """Return the number of cores this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        # A checkout that is on the path without being installed has no metadata.
        return importlib.import_module(package).__version__ if package == "fastrbm" else "not installed"


def _kernels() -> str:
    """Return the instruction set of fastrbm's kernels and whether they have threads."""
    from fastrbm._kernels import cpu

    return f"{cpu.current_target()}, {'with' if cpu.has_openmp() else 'without'} OpenMP"


def _libraries() -> list[dict[str, Any]]:
    """Return the loaded BLAS and OpenMP libraries without their places on this machine."""
    from threadpoolctl import threadpool_info

    keys = ("user_api", "internal_api", "prefix", "version", "architecture", "threading_layer")
    return [{key: pool[key] for key in keys if pool.get(key)} for pool in threadpool_info()]


def environment(threads: int, rounds: int, data: str, *, quick: bool) -> dict[str, Any]:
    """Return what the figures depend on: machine, versions, threads, data, date."""
    name, flags = _cpu()
    libraries = _libraries()
    notes = []
    if quick:
        notes.append("quick run: tiny subsets, for breakage only; the times mean nothing")
    narrow = {pool.get("architecture", "").lower() for pool in libraries} & set(_NARROW_CORES)
    if narrow and "avx512f" in flags:
        notes.append(
            "OpenBLAS did not recognise this processor and uses AVX2 kernels although there is AVX-512; with "
            "OPENBLAS_CORETYPE=SkylakeX in the environment the peers that use it are faster"
        )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": name,
        "cores": cores(),
        "avx512": "avx512f" in flags,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in _PACKAGES},
        "kernels": _kernels(),
        "libraries": libraries,
        "threads": threads,
        "rounds": rounds,
        "data": data,
        "quick": quick,
        "notes": notes,
    }


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _cells(row: Row) -> list[str]:
    spread = f"{min(row.round_ratios):.3g}..{max(row.round_ratios):.3g}" if row.round_ratios else "-"
    judged = row.quality
    return [
        row.work,
        row.peer,
        row.target,
        "-" if row.ratio is None else f"{row.ratio:.3g}x",
        spread,
        "-" if row.peer_value is None else f"{_number(row.peer_value)} {row.unit}",
        "-" if row.ours_value is None else f"{_number(row.ours_value)} {row.unit}",
        "-" if judged is None else f"{judged.name} (+-{judged.tolerance:.2g})",
        _number(judged.peer if judged else None, 4),
        _number(judged.ours if judged else None, 4),
        row.verdict + (f": {row.reason}" if row.reason else ""),
    ]


def table(rows: Sequence[Row]) -> str:
    """Return the lines as a Markdown table."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, rows)]
    # A bar or a line break in an error message would break the table.
    return "\n".join(
        "| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in line) + " |" for line in lines
    )


def heading(where: dict[str, Any]) -> list[str]:
    """Return lines of plain text that say what the figures were made with."""
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
    blas = "; ".join(
        " ".join(str(pool[key]) for key in ("internal_api", "version", "architecture") if key in pool)
        for pool in where["libraries"]
    )
    return [
        f"{where['date']}, {where['cpu']}, {where['cores']} cores, {where['system']}, "
        f"load average {where['load_average']} at the start.",
        f"Threads on either side: {where['threads']}. Rounds: {where['rounds']}. Data: {where['data']}.",
        f"Python {where['python']}, {versions}. fastrbm's kernels: {where['kernels']}. Libraries: {blas}.",
        "",
        *(f"Note: {note}.\n" for note in where["notes"]),
    ]


def markdown(rows: Sequence[Row], where: dict[str, Any]) -> str:
    """Return the whole report in Markdown."""
    lines = [
        "# fastrbm against its peers",
        "",
        *heading(where),
        table(rows),
        "",
        "ratio: median of the peer's times over median of fastrbm's, measured in turn in one run; rounds: "
        "smallest and largest ratio of a single round. Times are of this machine and this run only. quality: "
        "mean over rounds, with the deficit that is allowed as noise; a line whose quality is worse FAILS.",
        "",
    ]
    return "\n".join(lines)


def plain(value: Any) -> Any:
    """Return the value with everything JSON has no word for made None."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_json(rows: Sequence[Row], where: dict[str, Any]) -> str:
    """Return the whole report as JSON, one object per line of the table."""
    content = {"environment": where, "rows": [dataclasses.asdict(row) for row in rows]}
    return json.dumps(plain(content), indent=1, allow_nan=False)


def row_of(held: dict[str, Any]) -> Row:
    """Return a line of the table from its JSON; numbers that JSON has no word for are lost."""
    quality = held["quality"] and Judgement(**held["quality"])
    values = {name: tuple(x) for name, x in held.items() if isinstance(x, list)}
    return Row(**held | values | {"quality": quality})


def write(rows: Sequence[Row], where: dict[str, Any], folder: Path) -> None:
    """Write results.md and results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(rows, where), encoding="utf-8")
    (folder / "results.json").write_text(as_json(rows, where) + "\n", encoding="utf-8")


def broken(rows: Sequence[Row]) -> bool:
    """Say whether a line failed by quality or by an error; a missed target is no failure."""
    return any(row.verdict in (FAILED, ERROR) for row in rows)
