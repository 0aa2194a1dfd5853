"""Every task of a node is kept by name: its failure is seen, and its end awaited."""

import asyncio
import logging

import pytest

from meerkat.model.fault import Fault
from meerkat.node.tasks import Tasks, until


class Damaged(Exception):
    pass


async def fail(error: Exception) -> None:
    raise error


def test_a_failure_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An ordinary task that fails is told in the log, with its name and what happened."""

    async def play() -> None:
        tasks = Tasks()
        tasks.spawn("answer bob", fail(ZeroDivisionError("oops")))
        await asyncio.sleep(0.01)
        assert not tasks.failed.done()
        await tasks.stop()

    asyncio.run(play())
    (record,) = caplog.records
    assert "answer bob" in record.getMessage()
    assert record.exc_info is not None


def test_a_vital_task_stops_the_node() -> None:
    """Whoever runs the node is given its very error, the first one."""

    async def play() -> None:
        tasks = Tasks()
        tasks.spawn("inward", fail(ZeroDivisionError("first")), vital=True)
        await asyncio.sleep(0.01)
        tasks.spawn("outward", fail(ZeroDivisionError("second")), vital=True)
        with pytest.raises(ZeroDivisionError, match="first"):
            await tasks.failed
        await tasks.stop()

    asyncio.run(play())


def test_fatal_errors_stop_the_node_from_any_task() -> None:
    """Damage to the index is everybody's concern, wherever it was met."""

    async def play() -> None:
        tasks = Tasks(fatal=(Damaged,))
        tasks.spawn("answer bob", fail(Damaged()))
        with pytest.raises(Damaged):
            await tasks.failed
        await tasks.stop()

    asyncio.run(play())


def test_expected_trouble_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A fault goes to whoever awaits the task; the log does not cry."""

    async def play() -> None:
        tasks = Tasks()
        task = tasks.spawn("wait", fail(Fault("not_found", "there is no such path")))
        with pytest.raises(Fault):
            await task
        await tasks.stop()

    asyncio.run(play())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_stopping_ends_everything() -> None:
    """Also what is begun while things end; and nothing is left that was never looked at."""

    async def play() -> None:
        tasks = Tasks()
        ended: list[str] = []

        async def work(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                if name == "first":
                    tasks.spawn("late", work("late"))
                ended.append(name)

        for name in ("first", "second"):
            tasks.spawn(name, work(name))
        await asyncio.sleep(0)
        await tasks.stop()
        assert sorted(ended) in (["first", "late", "second"], ["first", "second"])
        assert len(asyncio.all_tasks()) == 1
        assert tasks.failed.cancelled()

    asyncio.run(play())


def test_waiting_ends_with_the_event_or_the_time() -> None:
    """Both are ordinary; a cancellation is not swallowed."""

    async def play() -> None:
        event = asyncio.Event()
        await until(event, 0.001)
        event.set()
        await until(event, None)
        event.clear()
        task = asyncio.ensure_future(until(event, 1000))
        await asyncio.sleep(0)
        event.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())
