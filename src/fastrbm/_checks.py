"""The checks of numbers and flags that options, units, samplers and functions share, and their one wording."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np


def is_integer(value: Any) -> bool:
    """Whether it is an integer and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_integer(name: str, value: Any, low: int = 1, high: int | None = None, *, otherwise: str = "") -> int:
    """Return `value` as an int; ValueError unless it is an integer from `low` to `high`.

    Parameters
    ----------
    name : str
        For the message.
    value : object
    low : int, default=1
    high : int or None
        Allowed too; None for no limit.
    otherwise : str
        What else the option takes, for the message: "None". Whoever calls lets that pass.
    """
    if not is_integer(value) or value < low or (high is not None and value > high):
        if high is not None:
            wanted = f"an integer from {low} to {high}"
        else:
            wanted = "a positive integer" if low == 1 else f"an integer of at least {low}"
        raise ValueError(f"{name} must be {_either(otherwise, wanted)}, got {value!r}")
    return int(value)


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    include_low: bool = True,
    include_high: bool = True,
    otherwise: str = "",
) -> float:
    """Return `value` as a float; ValueError unless it is a finite number between the limits.

    Parameters
    ----------
    name : str
        For the message.
    value : object
    low, high : float
    include_low, include_high : bool, default=True
        Whether the limits are allowed.
    otherwise : str
        As of `check_integer`.
    """
    fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if fits:
        fits = (value >= low if include_low else value > low) and (value <= high if include_high else value < high)
    if not fits:
        if high < math.inf:
            left, right = "[" if include_low else "(", "]" if include_high else ")"
            wanted = f"a finite number in {left}{low:g}, {high:g}{right}"
        elif low == -math.inf:
            wanted = "a finite number"
        elif include_low:
            wanted = f"a finite number of at least {low:g}"
        else:
            wanted = "a positive finite number" if low == 0 else f"a finite number above {low:g}"
        raise ValueError(f"{name} must be {_either(otherwise, wanted)}, got {value!r}")
    return float(value)


def check_flag(name: str, value: Any, *, otherwise: str = "") -> bool:
    """Return `value` as a bool; ValueError unless it is one, of Python or NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        before = f"{otherwise}, " if otherwise else ""
        raise ValueError(f"{name} must be {before}True or False, got {value!r}")
    return bool(value)


def check_image_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return (height, width) as ints; ValueError unless both are positive."""
    if not hasattr(shape, "__len__") or len(shape) != 2 or not all(is_integer(x) and x >= 1 for x in shape):
        raise ValueError(f"shape must be (height, width), both positive, got {shape!r}")
    height, width = shape
    return int(height), int(width)


def _either(otherwise: str, wanted: str) -> str:
    return f"{otherwise} or {wanted}" if otherwise else wanted


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the line outside this package, and outside scikit-learn's wrappers, that called it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("fastrbm", "sklearn"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
