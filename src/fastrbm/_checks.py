"""Checks of option values, shared by the option objects."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, include_low: bool = True, include_high: bool = True
) -> float:
    """Return `value` as a float; ValueError unless it is a finite number between the limits."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if fits:
        fits = (value >= low if include_low else value > low) and (value <= high if include_high else value < high)
    if not fits:
        left, right = "[" if include_low else "(", "]" if include_high and high < math.inf else ")"
        raise ValueError(f"{name} must be a number in {left}{low:g}, {high:g}{right}, got {value!r}")
    return float(value)
