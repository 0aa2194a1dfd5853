"""Every task of a node by name: kept, logged when it fails, cancelled and awaited when the node stops."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec

from meerkat.model.fault import Fault
from meerkat.model.frame import LinkLost

log = logging.getLogger("meerkat.tasks")

P = ParamSpec("P")


async def until(event: asyncio.Event, timeout_s: float | None) -> None:
    """Wait for the event, at most so long. (`asyncio.wait_for` of Python 3.11 can swallow a cancellation that comes
    together with the event; a timeout block cannot.)"""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass


async def until_lost(attend: Callable[P, Awaitable[None]], *args: P.args, **named: P.kwargs) -> None:
    """Attend to a link; that the link is lost is its ordinary end. (Not a coroutine, which nobody would await where the
    task is cancelled before it begins.)"""
    try:
        await attend(*args, **named)
    except LinkLost:
        pass


class Tasks:
    """The one place that creates tasks. A task that ends in an unexpected exception is logged and, when it was
    `vital`, stops the node through `failed`."""

    def __init__(self, fatal: tuple[type[Exception], ...] = ()) -> None:
        """`fatal`: what stops the node from whichever task it comes."""
        self._fatal = fatal
        self._running: set[asyncio.Task[Any]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def spawn(self, name: str, work: Coroutine[Any, Any, Any], *, vital: bool = False) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(done, vital))
        return task

    def _ended(self, task: asyncio.Task[Any], vital: bool) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, Fault):  # expected trouble, which whoever awaits the task is told
            log.info("task %s ended: %s", task.get_name(), error.message)
        else:
            log.error("task %s failed", task.get_name(), exc_info=error)
        if (vital or isinstance(error, self._fatal)) and not self.failed.done():
            self.failed.set_exception(error)

    async def stop(self) -> None:
        """Cancel everything and wait until it has ended."""
        while self._running:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()  # seen, whoever else looked
        else:
            self.failed.cancel()
