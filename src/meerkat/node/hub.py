"""One place that knows how this node stands: numbered events and counters, from which every face is fed.

Slow listeners lose events (they get a `reset`), they never hold up syncing.
"""

import asyncio
import datetime
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import lru_cache

from msgspec import Struct, field

from meerkat.model.limits import EVENT_QUEUE_MAX, EVENTS_KEPT_MAX, PROBLEMS_SHOWN_MAX
from meerkat.model.path import MARKER
from meerkat.model.problem import Problem, Reason
from meerkat.store.errors import IndexUnavailable

log = logging.getLogger("meerkat.hub")

Event = dict[str, object]


def now_text(seconds: float | None = None) -> str:
    """The wall clock for people: RFC 3339, UTC."""
    at = time.time() if seconds is None else seconds  # noqa: TID251  # shown to people, decides nothing
    second, thousandths = divmod(int(at * 1000), 1000)
    return f"{_second_text(second)}.{thousandths:03}Z"


@lru_cache(4)
def _second_text(second: int) -> str:
    """Thousands of events fall into one second when a folder of small files comes."""
    return datetime.datetime.fromtimestamp(second, datetime.UTC).replace(tzinfo=None).isoformat()


class Traffic(Struct):
    """Bytes since the start. `reused`: content that was found on this disk instead of being fetched."""

    sent: int = 0
    received: int = 0
    reused: int = 0


class Hub(Struct):
    """Events out, problems kept, traffic counted."""

    node: str
    epoch: str = field(default_factory=lambda: secrets.token_hex(4))
    traffic: Traffic = field(default_factory=Traffic)
    on_change: list[Callable[[], None]] = field(default_factory=list)
    _seq: int = 0
    _kept: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT_MAX))
    _listeners: set["asyncio.Queue[Event]"] = field(default_factory=set)
    _problems: dict[str, tuple[Problem, bool]] = field(default_factory=dict)

    def tell(self, type_: str, /, **data: object) -> None:
        """Publish one event of a type from the contract's list."""
        self._seq += 1
        event: Event = {
            "epoch": self.epoch,
            "seq": self._seq,
            "at": now_text(),
            "type": type_,
            "node": self.node,
            "data": data,
        }
        self._kept.append(event)
        for queue in self._listeners:
            self._offer(queue, event)

    def _offer(self, queue: "asyncio.Queue[Event]", event: Event) -> None:
        if queue.full():
            while not queue.empty():
                queue.get_nowait()
            event = {**event, "type": "reset", "data": {"reason": "this listener was too slow"}}
        queue.put_nowait(event)

    async def events(self, since: int | None = None) -> AsyncIterator[Event]:
        """Events from now on, or from after number `since` while those are still kept."""
        queue: asyncio.Queue[Event] = asyncio.Queue(EVENT_QUEUE_MAX)
        if since is not None:
            missed = [event for event in self._kept if isinstance(event["seq"], int) and event["seq"] > since]
            for event in missed[-EVENT_QUEUE_MAX:]:
                queue.put_nowait(event)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def recent(self, count: int) -> list[Event]:
        return list(self._kept)[-count:]

    def trouble(self, problem: Problem, *, inward: bool, key: str = "") -> None:
        """A path waits. Told once per reason; kept until `healed`.

        Args:
            key: what `healed` is to be given, where that is not the path.
            inward: what waits is something that the pool has and this disk has not (else: the other way round).
        """
        key = key or problem.path
        before = self._problems.get(key)
        if before is None and len(self._problems) >= PROBLEMS_SHOWN_MAX:
            return
        self._problems[key] = (problem, inward)
        if before is None or before[0].reason != problem.reason:
            self.tell(
                "file.failed", path=problem.path, reason=problem.reason.value, text=problem.text, hint=problem.hint
            )
            self.changed()

    def index_trouble(self, error: IndexUnavailable | None) -> None:
        where = f"{MARKER}/index.db"
        if error is None:
            self.healed(where)
            return
        log.error("the index cannot be used now: %s", error)
        reason = Reason.DISK_FULL if error.full else Reason.PERMISSION
        hint = "free some space on this disk" if error.full else "check the disk and the permissions of .meerkat"
        self.trouble(Problem(where, reason, f"the index cannot be written: {error}", hint), inward=True)

    def problem(self, path: str) -> Problem | None:
        kept = self._problems.get(path)
        return None if kept is None else kept[0]

    def has_problem(self, path: str) -> bool:
        """Cheap and safe from any thread."""
        return path in self._problems

    def healed(self, path: str) -> None:
        if self._problems and self._problems.pop(path, None) is not None:
            self.changed()

    def problems(self) -> list[Problem]:
        return [problem for problem, _ in self._problems.values()]

    def blocked(self) -> list[Problem]:
        """The problems that keep this node from having everything and that need a person."""
        return [problem for problem, inward in self._problems.values() if inward and problem.reason in BLOCKING]

    def told(self) -> list[Problem]:
        """What other nodes are told of why paths wait here: what needs a person first, then what only time or another
        member can cure."""
        missing = [problem for problem, inward in self._problems.values() if inward and problem.reason in LASTING]
        return self.blocked() + missing

    def unshared(self) -> list[Problem]:
        """The problems of what is here and cannot be told to the pool."""
        return [problem for problem, inward in self._problems.values() if not inward]

    def changed(self) -> None:
        for listener in self.on_change:
            listener()


BLOCKING = frozenset(
    {
        Reason.DISK_FULL,
        Reason.PERMISSION,
        Reason.NAME_NOT_ALLOWED,
        Reason.CASE_CLASH,
        Reason.TOO_LARGE,
        Reason.IGNORED_THERE,
        Reason.MARKER_MISSING,
        Reason.HELD,
    }
)
LASTING = frozenset({Reason.NO_SOURCE_ONLINE, Reason.DIGEST_MISMATCH, Reason.FILE_BUSY})
