"""What the process provides: the extension, its instruction set and threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _import_extension() -> Any:
    """Import the extension with a short idle spin for the OpenMP runtime it brings.

    libgomp's idle workers spin for milliseconds by default and starve every other pool (BLAS, PyTorch) when there
    are as many threads as processors. It reads its settings once, when it is loaded, so they are set for just that
    moment, unless the user has set them. Our own stages inside a region wait in team.h and are not affected.
    """
    names = {"GOMP_SPINCOUNT": "2000"}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ.update(names)
    else:
        names = {}
    try:
        from . import _cpu
    finally:
        for name in names:
            del os.environ[name]
    return _cpu


extension = _import_extension()

supported_targets = extension.supported_targets
selectable_targets = extension.selectable_targets
has_openmp = extension.has_openmp

_forked = False
#: multiply-adds that are worth a further thread
WORK_PER_THREAD = 400_000


def _after_fork() -> None:
    # The worker threads of the parent do not exist in the child; a region of more than one thread would wait for
    # them for ever. One thread never enters the pool.
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def current_target() -> str:
    """Name the instruction set in use."""
    return _target


def use_target(name: str) -> None:
    """Use the kernels of one instruction set in this process from now on (see `selectable_targets`)."""
    global _target
    extension.select_target(name)
    _target = name


def _initial_target() -> str:
    forced = os.environ.get("FASTRBM_CPU")
    if forced is None:
        return supported_targets()[0]
    if forced not in selectable_targets():
        missing = "; ".join(f"{name}: {why}" for name, why in missing_targets().items())
        raise ImportError(
            f"FASTRBM_CPU must be one of {selectable_targets()} on this machine{missing and f' ({missing})'}, "
            f"got {forced!r}"
        )
    return forced


def missing_targets() -> dict[str, str]:
    """Instruction sets that cannot be used here, and why; not those for tests, or for another architecture."""
    known = [*selectable_targets(), *extension.TEST_TARGETS]
    return {
        name: "not on this machine" if extension.is_built(name) else "not in this build"
        for name in extension.TARGETS
        if name not in known and extension.is_possible(name)
    }


_target = ""
use_target(_initial_target())


def n_processors() -> int:
    """Count the processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1


def default_threads() -> int:
    """Threads used when n_threads is None: OpenMP's own answer, at most the processors this process may run on."""
    return max(1, min(extension.max_threads(), n_processors()))


_here = threading.local()


@contextmanager
def at_most_threads(n_threads: int) -> Iterator[None]:
    """Limit kernels that this Python thread calls within the block, whatever they are asked for."""
    before = getattr(_here, "limit", None)
    _here.limit = n_threads
    try:
        yield
    finally:
        _here.limit = before


def most_threads(n_threads: int | None) -> int:
    """Threads that may be used when n_threads are asked for.

    None is `default_threads`; negative numbers count from the processors as joblib's do: -1 all, -2 all but one.
    """
    if _forked or not has_openmp():
        return 1
    wanted = default_threads() if n_threads is None else n_threads
    if wanted < 0:
        wanted = max(1, n_processors() + 1 + wanted)
    limit = getattr(_here, "limit", None)
    return wanted if limit is None else min(wanted, limit)


def threads_for(work: float, n_threads: int | None) -> int:
    """Threads for `work` multiply-adds, at most n_threads (None: `default_threads`)."""
    if work < 2 * WORK_PER_THREAD:
        return 1
    wanted = max(1, min(most_threads(n_threads), int(work // WORK_PER_THREAD)))
    return wanted if wanted <= _startable else _threads_that_start(wanted)


_startable = 1
_short = False  # whether fewer threads could be started than were wanted


def _threads_that_start(wanted: int) -> int:
    """So many threads as the process can start: OpenMP would end it where one cannot be had."""
    global _startable, _short
    if _short:
        return _startable
    release, started = threading.Event(), []
    try:
        for _ in range(wanted - 1):
            thread = threading.Thread(target=release.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        _short = True
    finally:
        release.set()
        for thread in started:
            thread.join()
    _startable = 1 + len(started)
    if _short:
        warnings.warn(
            f"only {_startable} of {wanted} threads can be started here (a limit of processes or memory); fastrbm goes "
            f"on with {_startable}: set n_threads to it, or raise the limit",
            RuntimeWarning,
            stacklevel=2,
        )
    return _startable
