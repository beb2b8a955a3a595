"""Memory of the emulated device and the order of copies: what a driver keeps."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Callable
from typing import Any

from .compiled import EMULATION, runtime

NOTHING, UNWRITTEN, WRITTEN = range(3)  # states of memory in runtime/memory.h
ALIGNMENT = 256
GAP = 512  # bytes of nothing behind each allocation


class Memory:
    """Allocations: a free place is not given out again while there is another, so that use after free shows."""

    BASE, SIZE = 0x600000000000, (1 << 30) - (1 << 16)

    def __init__(self) -> None:
        self.used: dict[int, int] = {}
        self._free = [(self.BASE + GAP, self.SIZE - 2 * GAP)]

    @staticmethod
    def _room(size: int) -> int:
        return -(-size // ALIGNMENT) * ALIGNMENT + GAP

    def allocate(self, size: int) -> int:
        """Address of new memory that holds junk, or 0 if there is no room."""
        taken = self._room(size)
        for k, (at, room) in enumerate(self._free):
            if room >= taken:
                del self._free[k]
                if room > taken:
                    self._free.append((at + taken, room - taken))  # to the end, like what is released
                self.used[at] = size
                ctypes.memset(at, 0xCB, size)
                runtime().set_state(at, size, UNWRITTEN)
                return at
        if len(self._free) > 1:
            self._merge()
            return self.allocate(size) if any(room >= taken for _, room in self._free) else 0
        return 0

    def _merge(self) -> None:
        merged: list[tuple[int, int]] = []
        for begin, room in sorted(self._free):
            if merged and sum(merged[-1]) == begin:
                begin, room = merged[-1][0], merged.pop()[1] + room
            merged.append((begin, room))
        self._free = merged

    def release(self, at: int) -> None:
        """Take memory back; KeyError if it was not given."""
        size = self.used.pop(at)
        runtime().set_state(at, size, NOTHING)
        self._free.append((at, self._room(size)))

    def holds(self, at: int, size: int = 1) -> tuple[int, int] | None:
        """Place and size of the allocation that has all of a range."""
        return next((x for x in list(self.used.items()) if x[0] <= at and at + size <= sum(x)), None)

    def check(self, at: int, size: int, what: str) -> None:
        """Refuse a copy to or from what is not allocated."""
        if self.holds(at, size) is None:
            EMULATION.problems["host", f"{what} of {size} bytes, not all of them allocated"] += 1
            raise ValueError(f"{what} of {size} bytes at {at:#x}: this is not memory of the device")


class Streams:
    """Work that is done when somebody waits for it, or at once; the default stream waits for all others."""

    def __init__(self) -> None:
        self._queues: dict[int, list[Callable[[], Any]]] = {}
        self.lock = threading.RLock()  # threads work on devices of their own, whose kernels run one at a time

    def create(self) -> int:
        """Number of a new stream."""
        number = 17 + len(self._queues)
        self._queues[number] = []
        return number

    def do(self, stream: int, work: Callable[[], Any]) -> None:
        """Put work into a stream."""
        with self.lock:
            if stream and EMULATION.settings.late:
                self._queues[stream].append(work)
            else:
                self.wait()
                work()

    def wait(self, stream: int = 0) -> None:
        """Do what waits in a stream, or in all of them, which take turns as the seed of the order has it."""
        with self.lock:
            waiting = [queue for number, queue in self._queues.items() if queue and stream in (0, number)]
            turns = random.Random(EMULATION.settings.order)
            while waiting:
                queue = turns.choice(waiting)
                queue.pop(0)()
                waiting = [queue for queue in waiting if queue]


class Copies:
    """Copies of a device: in the order of streams, and only of what is there.

    Parameters
    ----------
    memory : Memory
    streams : Streams

    Attributes
    ----------
    sizes : dict of str to list of int
        Bytes of all copies "to the device" and "to the host" so far.
    """

    def __init__(self, memory: Memory, streams: Streams):
        self._memory, self._streams = memory, streams
        self._pinned: dict[int, Any] = {}
        self.sizes: dict[str, list[int]] = {"to the device": [], "to the host": []}

    def pin(self, size: int) -> int:
        """Memory of the host that copies read when they are done, not when they are asked for."""
        held = ctypes.create_string_buffer(size + 64)
        at = -(-ctypes.addressof(held) // 64) * 64
        self._pinned[at] = held, size
        return at

    def unpin(self, at: int) -> None:
        """Give it back."""
        self._streams.wait()
        del self._pinned[at]

    def _is_pinned(self, host: int, size: int) -> bool:
        return any(at <= host and host + size <= at + n for at, (_, n) in self._pinned.items())

    def to_device(self, to: int, host: int, size: int, stream: int = 0) -> None:
        """``cuMemcpyHtoD``: without a stream, and of memory that is not pinned, the values are those of now."""
        self._memory.check(to, size, "copy to the device")
        self.sizes["to the device"].append(size)
        # without a stream the copy is done here and now, after all that waits
        late = not stream or self._is_pinned(host, size)
        data = None if late else ctypes.string_at(host, size)

        def work() -> None:
            ctypes.memmove(to, host if data is None else data, size)
            runtime().set_state(to, size, WRITTEN)

        self._streams.do(stream, work)

    def to_host(self, host: int, at: int, size: int, stream: int = 0) -> None:
        """``cuMemcpyDtoH``: into pinned memory when its stream comes to it, into other memory at once."""
        self._memory.check(at, size, "copy to the host")
        self.sizes["to the host"].append(size)

        def work() -> None:
            if runtime().first_unwritten(at, size) >= 0:
                EMULATION.problems["host", f"copy to the host of {size} bytes, some of which were never written"] += 1
            ctypes.memmove(host, at, size)

        self._streams.do(stream, work)
        if stream and not self._is_pinned(host, size):
            self._streams.wait(stream)

    def on_device(self, to: int, at: int, size: int, stream: int = 0) -> None:
        """``cuMemcpyDtoD``."""
        self._memory.check(to, size, "copy on the device")
        self._memory.check(at, size, "copy on the device")

        self._streams.do(stream, lambda: runtime().copy_on_device(to, at, size))

    def fill(self, to: int, value: int, size: int, stream: int = 0) -> None:
        """``cuMemsetD8``."""
        self._memory.check(to, size, "memset")

        def work() -> None:
            ctypes.memset(to, value, size)
            runtime().set_state(to, size, WRITTEN)

        self._streams.do(stream, work)
