"""Memory that is free goes back to the system once the node rests, where the C library can do that."""

import asyncio
from pathlib import Path
from unittest.mock import patch

from node_rooms import Rooms, until

from meerkat.model.limits import HEAPS_MAX
from meerkat.node import memory
from meerkat.node.memory import Heap, give_back_at_rest
from meerkat.node.tasks import Tasks


class Counting:
    """A C library that counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.trimmed = 0

    def mallopt(self, name: int, value: int) -> int:
        self.asked.append((name, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trimmed += 1
        return 1


def test_the_real_library_takes_it() -> None:
    """On this system both calls are there or both are not, and neither does harm."""
    heap = Heap()
    assert heap.share() == heap.give_back()


def test_without_such_calls_nothing_is_done(tmp_path: Path) -> None:
    """As on macOS."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            heap = Heap(object())
            assert not heap.share()
            assert not heap.give_back()
            await give_back_soon(heap, ada, Half())  # ends by itself

    asyncio.run(play())


def test_few_heaps() -> None:
    """The number is told in the C library's own words."""
    libc = Counting()
    assert Heap(libc).share()
    assert libc.asked == [(-8, HEAPS_MAX)]


class Half:
    """A half of the engine that says what it is told to say."""

    busy = False


async def give_back_soon(heap: Heap, rooms: Rooms, half: Half) -> None:
    with patch.object(memory, "MEMORY_TURN_S", 0.01):
        await give_back_at_rest(heap, rooms.books, rooms.hub, [half])


def test_once_after_each_time_of_work(tmp_path: Path) -> None:
    """Not while something is under way, and not again while nothing is done."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            libc, half, tasks = Counting(), Half(), Tasks()
            half.busy = True
            tasks.spawn("memory", give_back_soon(Heap(libc), ada, half))
            await asyncio.sleep(0.1)
            assert libc.trimmed == 0
            half.busy = False
            await until("given back", lambda: libc.trimmed)
            await asyncio.sleep(0.1)
            assert libc.trimmed == 1
            ada.hub.traffic.sent += 1
            await until("given back again", lambda: libc.trimmed == 2)
            await tasks.stop()

    asyncio.run(play())
