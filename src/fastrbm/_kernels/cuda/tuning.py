"""What was measured on devices, in a file that ``FASTRBM_CUDA_TUNING`` names and `gpu_check --tune FILE` writes.

::

    {"NVIDIA H100": {"auto_work": 4194304, "large_from": 1.5}}
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "FASTRBM_CUDA_TUNING"


class Tuned(NamedTuple):
    """What is best on a device. None of it changes a result.

    Attributes
    ----------
    auto_work : int or None
        Multiply-adds from which ``device="auto"`` takes the device, as `availability.AUTO_WORK`; None: never.
    large_from : float
        Large tiles a product must have for each multiprocessor, so that it is done by such.
    """

    auto_work: int | None = None
    large_from: float = 1.0


def tuned(name: str) -> Tuned:
    """What the file says of a device; the defaults where there is no file, or nothing of this device in it."""
    path = os.environ.get(VARIABLE)
    return read(Path(path)).get(name, Tuned()) if path else Tuned()


def read(path: Path) -> dict[str, Tuned]:
    """What a file says, by the names of devices; ValueError if it is none of these files."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{VARIABLE} must name a file that gpu_check --tune has written, got {path}: {error}"
        ) from None
    if not isinstance(held, dict):
        raise ValueError(f"{path} ({VARIABLE}) must hold an object with the names of devices, got {held!r:.60}")
    return {str(name): _checked(path, name, values) for name, values in held.items()}


def write(path: Path, name: str, found: Tuned) -> None:
    """Note what was found of a device; what the file says of others stays."""
    held = read(path) if path.exists() else {}
    held[name] = found
    text = json.dumps({name: values._asdict() for name, values in sorted(held.items())}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _checked(path: Path, name: Any, values: Any) -> Tuned:
    known = isinstance(values, dict) and values.keys() <= set(Tuned._fields)
    found = Tuned(**values) if known else None
    if (
        found is None
        or not (found.auto_work is None or (type(found.auto_work) is int and found.auto_work > 0))
        or not (type(found.large_from) in (int, float) and 0 < found.large_from < float("inf"))
    ):
        raise ValueError(
            f"{path} ({VARIABLE}) must give {name!r} an auto_work (a whole number above 0, or null) and a large_from "
            f"(a number above 0), got {values!r:.80}: let gpu_check --tune write it anew"
        )
    return found
