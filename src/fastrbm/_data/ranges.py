"""What the values of visible data mean: whether they are grey levels, and what is done with those outside [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._checks import warn_user
from .._kernels.datatypes import LARGEST

#: an image has more grey levels than a rating, a count of alleles or a digit of sixteen levels, and brighter ones
_MOST_LEVELS, _DARKEST_IMAGE = 8, 31
#: what rounding leaves beyond a bound, in units of the spacing of numbers there
_ROUNDING = 8
_GREY = 1 / 255
_BLOCK = 1 << 22  # values looked at at a time


class DataRangeWarning(UserWarning):
    """Rows hold values that the visible units do not take, or in another scale than those of the fit."""


class Range:
    """What one call does with values outside [0, 1].

    Parameters
    ----------
    mode : {"warn", "error", "allow"}
        The option `out_of_range`.
    name : str
        Name of the estimator, for messages.
    columns : callable
        Returns the names of the columns, or None, for messages.
    grey : bool
        Whether the estimator divides images by 255, for messages.
    scaled : bool
        Whether it has an option ``input_scale``, for messages.

    Attributes
    ----------
    piece : str
        What messages begin with where rows come in pieces.
    """

    def __init__(
        self,
        mode: str = "allow",
        name: str = "",
        columns: Callable[[], Sequence[Any] | None] = lambda: None,
        grey: bool = False,
        scaled: bool = True,
    ):
        self.mode = mode
        self.name = name
        self._columns = columns
        self._grey = grey
        self._scaled = scaled
        self._said = False
        self._held: list[tuple[float, float, int, str]] | None = None
        self.piece = ""

    def hold(self) -> None:
        """Keep back what is found until `release`, as the scale of the values is not known yet."""
        self._held = []

    def release(self) -> None:
        """Say what was found."""
        held, self._held = self._held, None
        if held:
            low, high, column, self.piece = held[0]
            self.found(low, high, column)

    @property
    def held(self) -> list[tuple[float, float, int, str]]:
        """What was found and not said yet: lowest and highest value, first column, piece."""
        return list(self._held or ())

    def merge(self, held: Sequence[list[tuple[float, float, int, str]]]) -> None:
        """Take what several processes hold, each about its rows, for what was found in all of them."""
        every = [x for each in held for x in each]
        if every:
            low, high = min(x[0] for x in every), max(x[1] for x in every)
            self._held = [(low, high, *every[0][2:])]

    @property
    def states_only(self) -> bool:
        """Whether values that are no states of units other than Bernoulli ones are refused."""
        return self.mode != "allow"

    def place(self, column: int) -> str:
        """Number of a column, with its name where it has one."""
        names = self._columns()
        return f"{column}" if names is None or column >= len(names) else f"{column} ({names[column]!r})"

    def found(self, low: float, high: float, column: int) -> None:
        """Raise, warn once, or let values from `low` to `high` pass, the first one outside in a column."""
        if self.mode == "allow" or self._said:
            return
        if self._held is not None:
            self._held.append((low, high, column, self.piece))
            return
        self._said = True
        got = f"got values from {low:g} to {high:g}, the first one outside in column {self.place(column)}"
        by_hand = "X / 255" if high > _DARKEST_IMAGE else "X / X.max()"
        least = f"=1/{int(high)}" if low >= 0 and high == int(high) else ""  # what brings all values into [0, 1]
        option = "input_scale=1/255" if high > _DARKEST_IMAGE else f"input_scale{least}"
        scale = option if self._scaled else by_hand
        after = ". The estimator was fitted to uint8 images, which it divides by 255" if self._grey else ""
        if self.mode == "error":
            raise ValueError(
                f"{self.piece}X must hold values in [0, 1] (or uint8 images), {got}{after}. Scale the data "
                f"(MinMaxScaler(clip=True), {scale}), or pass out_of_range='warn' or 'allow' to use such values as "
                "they are, which has no probabilistic meaning"
            )
        warn_user(
            f"{self.piece}X should hold values in [0, 1] for {self.name}, {got}{after}. They are used as they are, "
            f"which has no probabilistic meaning: scale the data (MinMaxScaler(clip=True), {scale}), or say what is "
            "meant by out_of_range='allow' or 'error'",
            DataRangeWarning,
        )


def check_magnitude(low: float, high: float, dtype: np.dtype[Any]) -> None:
    """Raise ValueError for values that a float type cannot hold, or products of which it cannot."""
    most = LARGEST[np.dtype(dtype).itemsize]
    if max(-low, high) > most:
        raise ValueError(
            f"X must hold values of magnitudes up to {most:g} to be computed with in {np.dtype(dtype)}, got values "
            f"from {low:g} to {high:g}: scale the data (sklearn.preprocessing.StandardScaler), or fit with "
            "dtype=numpy.float64"
        )


def is_rounding(low: float, high: float, dtype: np.dtype[Any]) -> bool:
    """Whether values from `low` to `high` of a float type leave [0, 1] by no more than rounding does."""
    excess = _ROUNDING * float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return low >= -excess and high <= 1 + excess


def snapped(x: NDArray[Any]) -> NDArray[np.float64]:
    """The values with those that miss a whole number by rounding on it."""
    values = np.asarray(x, dtype=np.float64)
    eps = float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 0.0
    whole = np.rint(values)
    return np.where(np.abs(values - whole) <= _ROUNDING * eps * np.maximum(np.abs(whole), 1), whole, values)


#: levels of values that were not looked at
_NOTHING_SEEN = np.zeros(256, dtype=np.bool_)
_NOTHING_SEEN.setflags(write=False)


class InputScale:
    """What values of Bernoulli units are multiplied with; it looks at all of them, then decides.

    uint8 values are grey levels of images, and divided by 255, where there are more than a handful of levels and some
    are bright, or one is white (255). All others mean what the same values mean in other types.

    Parameters
    ----------
    given : float or None
        For values of all types, whatever they are; None to decide.
    fitted : float or None
        What was decided for uint8 values when the estimator was fitted.
    in_range : bool
        Whether the values of that fit lay in [0, 1].
    """

    def __init__(self, given: float | None = None, fitted: float | None = None, in_range: bool = True):
        self._given = given
        self._fitted = fitted
        self._in_range = in_range
        self._seen = _NOTHING_SEEN
        self._bytes = False

    def look(self, x: Any) -> None:
        """Note the levels of uint8 values, until they are those of an image."""
        if self._given is not None or x.dtype != np.uint8:
            return
        if self._bytes:
            if self._is_image:
                return
        else:
            self._bytes, self._seen = True, np.zeros(256, dtype=np.bool_)
        if sp.issparse(x):
            self._seen[0] = True
            x = x.data
        rows = max(1, _BLOCK // max(1, x.shape[1])) if x.ndim > 1 else _BLOCK
        for first in range(0, len(x), rows):  # a block at a time, so that an interrupt is heard
            block = x[first : first + rows]
            low, high = int(block.min(initial=255)), int(block.max(initial=0))
            if high <= 1:
                self._seen[min(low, high)] = self._seen[high] = True
                continue
            self._seen[block] = True
            if self._is_image:
                return

    @property
    def seen(self) -> tuple[bool, NDArray[np.bool_]]:
        """Whether there were uint8 values, and which."""
        return self._bytes, self._seen

    def merge(self, seen: Sequence[tuple[bool, NDArray[np.bool_]]]) -> None:
        """Take what several processes have seen, each of its rows, for what was seen of all of them."""
        self._bytes = any(were for were, _ in seen)
        self._seen = np.logical_or.reduce([levels for _, levels in seen])

    @property
    def _is_image(self) -> bool:
        if self._seen[255]:  # white, in images of two levels too
            return True
        return bool(self._seen[_DARKEST_IMAGE + 1 :].any()) and int(self._seen.sum()) > _MOST_LEVELS

    @property
    def _are_bits(self) -> bool:
        return bool(self._seen[1]) and not self._seen[2:].any()

    @property
    def value(self) -> float:
        """The factor of uint8 values; of all, where it was given."""
        if self._given is not None:
            return self._given
        if self._fitted is not None and self._fitted != 1:
            return 1.0 if self._are_bits else self._fitted
        return _GREY if self._is_image and self._in_range else 1.0

    def factor(self, x: Any) -> float:
        """What the values of `x` are multiplied with."""
        return self.value if self._given is not None or x.dtype == np.uint8 else 1.0

    def check_fit(self, scaled: bool = True) -> None:
        """Warn where values are not in the scale of those of the fit; `scaled` as of `Range`."""
        if not self._bytes or self._given is not None or self._fitted is None or self.value == self._fitted:
            return
        if self._fitted != 1:
            fit, now = "uint8 images, divided by 255", "uint8 values of 0 and 1, which are used as they are"
        else:
            fit, now = "values in [0, 1]", "uint8 images, which are divided by 255"
        warn_user(
            f"X holds {now}, but the estimator was fitted to {fit}; "
            + (
                "say what is meant by input_scale, the factor of all values (1, or 1/255)"
                if scaled
                else "give both in one scale: floats in [0, 1]"
            ),
            DataRangeWarning,
        )
