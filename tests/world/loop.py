"""Virtual time for many nodes in one thread: nothing sleeps, and work given to threads is done at seeded moments.

The loop jumps to the next timer when nothing is ready. What the engine gives to worker threads runs here between two
turns of the loop, after a delay from the dice, so that disk and index work of all nodes interleaves at random and yet
the same seed gives the same run. Every task and every piece of thread work belongs to a `Life`, one run of one node;
what belongs to a dead one comes to nothing.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BEGINS_S = 1000.0
"""What the clock of a world shows at first."""

TURN_S = 1e-6
"""What one turn of the loop takes; time that stood still would keep from ending whatever waits for a difference."""

LIFE: ContextVar["Life | None"] = ContextVar("LIFE", default=None)


class Died(asyncio.CancelledError):
    """The process of the present life is gone; nothing that it would do happens any more."""


class Stalled(Exception):
    """Nothing will ever happen again, and somebody still waits."""


class Life:
    """One run of one node, from its start to its stop or death.

    Attributes:
        steps: how many steps on the disk it has made.
        doomed_at: the step at which it dies; 0: none.
    """

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.dead = False
        self.steps = 0
        self.doomed_at = 0
        self.tasks: list[asyncio.Task[Any]] = []

    def __repr__(self) -> str:
        return f"{self.name}{self.number}"


class _Clockwork(selectors.SelectSelector):
    """A selector to which nothing ever comes: waiting moves the clock."""

    advance: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled
        self.advance(max(timeout, TURN_S))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time.

    Args:
        rng: how long work in threads takes, and how it interleaves.
    """

    def __init__(self, rng: random.Random) -> None:
        self._virtual_now = BEGINS_S
        self._rng = rng
        self._free_at: dict[int, float] = {}
        clockwork = _Clockwork()
        clockwork.advance = self._advance
        super().__init__(clockwork)
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._virtual_now

    def _advance(self, seconds: float) -> None:
        self._virtual_now += seconds

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        task = asyncio.Task(work, loop=loop, **options)
        context = options.get("context")
        life = context.get(LIFE) if context is not None else LIFE.get()
        if life is not None:
            life.tasks.append(task)
            if len(life.tasks) > 500:
                life.tasks = [each for each in life.tasks if not each.done()]
            if life.dead:
                task.cancel()
        return task

    def thread_s(self) -> float:
        """How long a piece of work in a thread takes."""
        return self._rng.expovariate(1 / 0.002) if self._rng.random() < 0.97 else self._rng.uniform(0.01, 0.3)

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        life = LIFE.get()
        if life is not None and life.dead:
            future.set_exception(Died())
            return future
        at = self.time() + self.thread_s()
        if executor is not None and executor._max_workers == 1:  # one after the other, in the order given
            at = max(at, self._free_at.get(id(executor), 0.0) + 1e-6)
            self._free_at[id(executor)] = at
        self.call_at(at, self._work, life, future, func, args)
        return future

    def _work(
        self, life: Life | None, future: asyncio.Future[T], func: Callable[..., T], args: tuple[Any, ...]
    ) -> None:
        if life is not None and life.dead:
            if not future.done():
                future.set_exception(Died())
            return
        if future.cancelled() and self._rng.random() < 0.5:
            return  # called off before a thread had taken it; otherwise it runs although nobody waits
        try:
            result = func(*args)
        except BaseException as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
