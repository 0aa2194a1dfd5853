"""How much memory the C library keeps for a process of many threads that has bursts of work and rests for days.

glibc gives each thread a heap of its own and hands freed memory back only from a heap's end: after ten thousand small
files a node kept 10 MB that it did not use. Here a few heaps serve all threads, and what is free is handed back when
the node has come to rest. Where the C library offers neither (macOS, Windows, musl), nothing is done.

Source: mallopt(3), malloc_trim(3).
"""

import asyncio
import ctypes
from collections.abc import Iterable
from typing import Any, Final, Protocol

from meerkat.model.limits import HEAPS_MAX, MEMORY_TURN_S
from meerkat.node.books import Books
from meerkat.node.hub import Hub

_M_ARENA_MAX: Final = -8


class Heap:
    """The C library's heap.

    Args:
        libc: the C library; the process's own unless given.
    """

    def __init__(self, libc: Any = None) -> None:
        try:
            self._libc = ctypes.CDLL(None) if libc is None else libc
        except (OSError, TypeError):  # TypeError: Windows has no library without a name
            self._libc = None

    def share(self) -> bool:
        """Let few heaps serve all threads, those that are started from now on; whether that was possible."""
        call = getattr(self._libc, "mallopt", None)
        return bool(call(_M_ARENA_MAX, HEAPS_MAX)) if call is not None else False

    def give_back(self) -> bool:
        """Hand what is free back to the system, in milliseconds; whether that was possible."""
        call = getattr(self._libc, "malloc_trim", None)
        if call is None:
            return False
        call(0)
        return True


class Half(Protocol):
    """One of the engine's halves."""

    @property
    def busy(self) -> bool: ...


async def give_back_at_rest(heap: Heap, books: Books, hub: Hub, halves: Iterable[Half]) -> None:
    """Give memory back once after each time of work: what was written, sent or received tells of it."""

    def worked() -> int:
        return books.generation + hub.traffic.sent + hub.traffic.received

    given_at = -1
    while True:
        before = worked()
        await asyncio.sleep(MEMORY_TURN_S)
        if worked() == before != given_at and not any(half.busy for half in halves):
            given_at = before
            if not await asyncio.to_thread(heap.give_back):
                return
