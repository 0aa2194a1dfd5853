"""Every task is kept, told when it fails, and gone when the node stops."""

import asyncio

import pytest

from meerkat.node.tasks import Tasks, until


class Fatal(Exception):
    """Stops a node from wherever it comes."""


async def failing(error: Exception) -> None:
    raise error


def test_a_vital_task_that_fails_stops_the_node() -> None:
    """Its error is what `failed` holds; an ordinary task's failure is only logged."""

    async def scene() -> None:
        tasks = Tasks(fatal=(Fatal,))
        tasks.spawn("ordinary", failing(ValueError("x")))
        await asyncio.sleep(0.01)
        assert not tasks.failed.done()
        tasks.spawn("vital", failing(ValueError("y")), vital=True)
        with pytest.raises(ValueError, match="y"):
            await tasks.failed
        await tasks.stop()

    asyncio.run(scene())


def test_what_is_fatal_stops_the_node_from_any_task() -> None:
    """Damage to the index is found wherever the index is read."""

    async def scene() -> None:
        tasks = Tasks(fatal=(Fatal,))
        tasks.spawn("ordinary", failing(Fatal()))
        with pytest.raises(Fatal):
            await tasks.failed
        await tasks.stop()

    asyncio.run(scene())


def test_stopping_ends_every_task() -> None:
    """Also one that starts another while it is cancelled."""

    async def scene() -> None:
        tasks = Tasks()
        ended = []

        async def stubborn() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                tasks.spawn("last", last())

        async def last() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(True)

        tasks.spawn("stubborn", stubborn())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await tasks.stop()
        assert [task for task in asyncio.all_tasks() if task.get_name() in ("stubborn", "last")] == []

    asyncio.run(scene())


def test_a_wait_ends_with_the_event_or_the_time() -> None:
    """And a cancellation is never swallowed by it."""

    async def scene() -> None:
        event = asyncio.Event()
        await until(event, 0.001)
        assert not event.is_set()
        waiting = asyncio.ensure_future(until(event, None))
        await asyncio.sleep(0)
        event.set()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(event, 100)

    asyncio.run(scene())
