"""The devices of this machine: what is kept for each of them, and work that is done on all of them side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from .kernels.target import SIMULATED, cuda

T = TypeVar("T")


def count() -> int:
    """Number of devices that this process may use."""
    return 1 if SIMULATED else len(cuda.gpus)


def current() -> int:
    """Number of the device that this thread works on."""
    return 0 if SIMULATED else int(cuda.current_context().device.id)


@contextmanager
def on_device_number(number: int) -> Iterator[None]:
    """Within the block this thread works on a device."""
    if SIMULATED:
        yield
        return
    with cuda.gpus[number]:
        yield


def kept_per_device(most: int) -> Callable[[Callable[..., T]], Any]:
    """Decorator: results are kept by device and arguments, the latest `most`; those of a device that was reset are not.

    Arrays of the device are what functions like `launching.nothing` return, and no other device can read them.
    """

    def decorate(function: Callable[..., T]) -> Any:
        kept: dict[Any, tuple[Any, T]] = {}

        @wraps(function)
        def with_memory(*arguments: Any) -> T:
            context = None if SIMULATED else cuda.current_context()
            key = (0 if context is None else context.device.id, arguments)
            found = kept.get(key)
            if found is None or found[0] is not context:
                found = context, function(*arguments)
                while len(kept) >= most:
                    kept.pop(next(iter(kept)), None)
                kept[key] = found
            return found[1]

        with_memory.cache_clear = kept.clear  # type: ignore[attr-defined]
        return with_memory

    return decorate


def on_all(work: Callable[[Any], T], items: Sequence[Any], stop: Callable[[], None] = lambda: None) -> list[T]:
    """``[work(item) for item in items]``, each on the device that is free next.

    Where there is one device, or one item, this thread does all. After an exception, or an interrupt, no item is begun;
    `stop` is called, which may end those that are under way, and the exception comes out when they have ended.
    """
    n = min(count(), len(items))
    if n <= 1:
        return [work(item) for item in items]
    free = list(range(n))
    lock = threading.Lock()

    def run(item: Any) -> T:
        with lock:
            number = free.pop()
        try:
            with on_device_number(number):
                return work(item)
        finally:
            with lock:
                free.append(number)

    with ThreadPoolExecutor(n, thread_name_prefix="fastrbm-device") as pool:
        found = [pool.submit(run, item) for item in items]
        try:
            while True:
                # a wait without an end cannot be interrupted on all platforms
                done, waiting = wait(found, timeout=0.2, return_when=FIRST_EXCEPTION)
                for x in done:
                    x.result()
                if not waiting:
                    return [x.result() for x in found]
        except BaseException:
            stop()
            pool.shutdown(cancel_futures=True)
            raise
