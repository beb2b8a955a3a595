"""A fit that was set up and is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from .._fit.loop import Epoch, Fit
from .._fit.state import FitRun, TrainingState
from .._kernels import Backend, Resident


@dataclass
class FitJob:
    """A fit that is ready to run.

    Attributes
    ----------
    run : FitRun
    epoch : callable
        Does one pass.
    callbacks : list
    fused : bool
        Whether passes are done by the backend, which leaves the interpreter to other threads meanwhile.
    publish : callable
        Brings fitted attributes up to date at the end, in any case.
    resident : callable
        Returns a context within which a device keeps what the passes change, or nothing does.
    devices : Backend or None
        Any of whose devices may do the passes, the current one when they begin: the data are on the host.
    after : callable
        Says what is to be said of a fit that was not stopped by an error.
    fit : Fit
        Its passes, one at a time.
    """

    run: FitRun
    epoch: Epoch
    callbacks: list[Any]
    fused: bool
    publish: Callable[[], None]
    resident: Callable[[], AbstractContextManager[Resident | None]] = nullcontext
    after: Callable[[], None] = lambda: None
    devices: Backend | None = None
    fit: Fit = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.fit = Fit(self.run, self.epoch, self.callbacks)

    def listen(self, callbacks: list[Any]) -> None:
        """Tell these callbacks, too, after the others."""
        if callbacks:
            self.callbacks = [*self.callbacks, *callbacks]
            self.fit = Fit(self.run, self.epoch, self.callbacks)

    def begin(self) -> None:
        """Tell the callbacks, which may refuse; those that were told are told the end then."""
        try:
            self.fit.begin()
        except BaseException as error:
            self.fit.end(error)
            raise

    def train(self) -> None:
        """Do all passes after `begin`; what was done when one fails is published."""
        try:
            self.run_all()
        finally:
            self.publish()
        self.after()

    def run_all(self) -> None:
        """Do all passes after `begin`, where the newest values are kept meanwhile."""
        with kept_by(self.run.state, self.resident):
            self.fit.run_all()


@contextmanager
def kept_by(state: TrainingState, resident: Callable[[], AbstractContextManager[Resident | None]]) -> Iterator[None]:
    """Within the block the newest values of a state are where `resident` has them."""
    with resident() as state.resident:
        try:
            yield
        finally:
            state.resident = None
