"""Options that change while a model is trained: learning rate, momentum, batch size, Gibbs steps.

A schedule is a callable ``schedule(epoch, n_epochs) -> value`` of the passes done so far (0 in the first one) and the
number that training is meant to have in the end. It is asked once for each pass. Plain functions with these two
arguments do as well; the classes here can be stored in model files and searched over
(``learning_rate__start`` in a grid).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator

from ._checks import check_number

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Schedule", "Step", "Switch", "value_at"]


class Schedule(BaseEstimator):
    """An option that changes from pass to pass: the base of the schedules."""

    #: parameters that hold values of the scheduled option
    _values: tuple[str, ...] = ("start", "stop")

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """Value in pass number `epoch` (from 0) of `n_epochs`."""
        raise TypeError(f"{type(self).__name__} does not say what its values are")

    def validate(self) -> None:
        """Raise ValueError unless the parameters are finite numbers."""
        for name in self._values:
            check_number(name, getattr(self, name))

    @staticmethod
    def _progress(epoch: int, n_epochs: int) -> float:
        """0 in the first pass, 1 in the last one."""
        return min(1.0, epoch / max(1, n_epochs - 1))


class Constant(Schedule):
    """The same value in all passes.

    Parameters
    ----------
    value : float
    """

    _values = ("value",)

    def __init__(self, value: float):
        self.value = value

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """See `Schedule`."""
        return self.value


class Linear(Schedule):
    """From `start` in the first pass to `stop` in the last one, in equal steps.

    Parameters
    ----------
    start, stop : float
    """

    def __init__(self, start: float, stop: float):
        self.start = start
        self.stop = stop

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """See `Schedule`."""
        return self.start + (self.stop - self.start) * self._progress(epoch, n_epochs)


class Exponential(Schedule):
    """From `start` in the first pass to `stop` in the last one by equal factors.

    Parameters
    ----------
    start, stop : float
        Positive.
    """

    def __init__(self, start: float, stop: float):
        self.start = start
        self.stop = stop

    def validate(self) -> None:
        """Raise ValueError unless both ends are positive."""
        for name in self._values:
            check_number(name, getattr(self, name), 0, include_low=False)

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """See `Schedule`."""
        return self.start * (self.stop / self.start) ** self._progress(epoch, n_epochs)


class Cosine(Schedule):
    """From `start` to `stop` along half a cosine (Loshchilov, Hutter, "SGDR", ICLR 2017, without restarts).

    Parameters
    ----------
    start : float
    stop : float, default=0.0
    """

    def __init__(self, start: float, stop: float = 0.0):
        self.start = start
        self.stop = stop

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """See `Schedule`."""
        share = 0.5 * (1 + math.cos(math.pi * self._progress(epoch, n_epochs)))
        return self.stop + (self.start - self.stop) * share


class Step(Schedule):
    """Multiplied by `factor` every `every` passes.

    Parameters
    ----------
    start : float
    factor : float
    every : int
    """

    _values = ("start", "factor", "every")

    def __init__(self, start: float, factor: float, every: int):
        self.start = start
        self.factor = factor
        self.every = every

    def validate(self) -> None:
        """Raise ValueError unless `every` is at least 1."""
        super().validate()
        check_number("every", self.every, 1)

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """See `Schedule`."""
        return self.start * self.factor ** (epoch // self.every)


class Switch(Schedule):
    """One value, and another one after a share of the passes: momentum, say, from 0.5 to 0.9 after 60 %.

    Parameters
    ----------
    before, after : float
    at : float, default=0.6
        Share of the passes done with `before`, in [0, 1].
    """

    _values = ("before", "after", "at")

    def __init__(self, before: float, after: float, at: float = 0.6):
        self.before = before
        self.after = after
        self.at = at

    def validate(self) -> None:
        """Raise ValueError unless `at` is a share."""
        super().validate()
        check_number("at", self.at, 0, 1)

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """See `Schedule`."""
        return self.before if epoch < self.at * n_epochs else self.after


Scheduled = float | Schedule | Callable[[int, int], float]


def is_schedule(option: Any) -> bool:
    """Whether an option changes from pass to pass."""
    return callable(option) and not isinstance(option, type)


def check_scheduled(name: str, option: Any) -> None:
    """Raise ValueError for a schedule with unusable parameters."""
    if isinstance(option, Schedule):
        try:
            option.validate()
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def value_at(name: str, option: Any, epoch: int, n_epochs: int, low: float, high: float = math.inf) -> float:
    """Value of an option in a pass.

    Parameters
    ----------
    name : str
        For messages.
    option : number or schedule
    epoch, n_epochs : int
    low, high : float
        Allowed values, ends included.
    """
    value: Any = option(epoch, n_epochs) if is_schedule(option) else option
    try:
        return check_number(name, value, low, high)
    except ValueError as error:
        raise ValueError(f"{error} for epoch {epoch} of {n_epochs}") from None
