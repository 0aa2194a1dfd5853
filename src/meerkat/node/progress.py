"""How far this node is, measured when something changed and told to the pool and to the faces of this machine.

Measuring costs a query and a word to every link, so a lone change is measured a moment later, when it has mostly been
dealt with and nobody waits for what measuring takes, and many are measured rarely.
"""

import asyncio
from collections.abc import Callable

from meerkat.core.resolve import copied_from
from meerkat.model.ids import NodeId
from meerkat.model.limits import REASONS_TOLD_MAX, RUN_MAX, SUMMARY_BEAT_S, SUMMARY_INTERVAL_S, SUMMARY_QUIET_S
from meerkat.model.member import NodeState, Summary
from meerkat.model.path import RelPath
from meerkat.node.books import Books
from meerkat.node.gossip import Gossip
from meerkat.node.hub import Hub
from meerkat.node.tasks import until


class Progress:
    """Keeps this node's `Summary` true.

    Args:
        run: grows with every start, as far as the clock tells; where it did not, `outbid` mends that.
        busy: whether something was announced that the index does not hold yet. Work in progress that leaves no trace
            in the index (a scan, a pass over nothing) must not count: each word about it would make others work.
    """

    def __init__(
        self, self_id: NodeId, run: int, books: Books, hub: Hub, gossip: Gossip, busy: Callable[[], bool]
    ) -> None:
        self._self_id = self_id
        self._run = run
        self._books = books
        self._hub = hub
        self._gossip = gossip
        self._busy = busy
        self._counter = 0
        self._due = asyncio.Event()
        self._last: tuple[object, ...] = ()
        self._waiters: set[asyncio.Event] = set()
        self._said_at = float("-inf")
        self.state = NodeState.UNKNOWN

    def touch(self) -> None:
        """Something changed."""
        self._due.set()

    def outbid(self, run: int) -> None:
        """Members believe a later run of this node than this one: go beyond it, or they would not hear this one."""
        self._run = max(self._run, min(run + 1, RUN_MAX))
        self._last = ()
        self.touch()

    def subscribe(self) -> asyncio.Event:
        """An event that is set whenever this node's or another's progress changed (the barrier waits on it)."""
        event = asyncio.Event()
        self._waiters.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        self._waiters.discard(event)

    def others_changed(self) -> None:
        for waiter in self._waiters:
            waiter.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        beat = loop.time()
        while True:
            await until(self._due, SUMMARY_BEAT_S)
            await asyncio.sleep(SUMMARY_QUIET_S)
            self._due.clear()
            began = loop.time()
            await self.measure(beat=began - beat >= self._gossip.beat_s)
            if self._counter and self._said_at == began:
                beat = began
            cost = loop.time() - began
            await asyncio.sleep(max(SUMMARY_INTERVAL_S / 5, 5 * cost))

    def _tell_conflicts(self, before: frozenset[RelPath]) -> None:
        """Copies that came or went, whoever made or removed them. Those of earlier runs are no news."""
        if self._counter:
            for path in sorted(self._books.copies - before):
                if (belongs := copied_from(path)) is not None:
                    self._hub.tell("conflict.opened", path=belongs, copy=path)
            for path in sorted(before - self._books.copies):
                if (belongs := copied_from(path)) is not None:
                    self._hub.tell("conflict.resolved", path=belongs, copy=path)

    async def measure(self, *, beat: bool = False) -> None:
        """Measure now; tell when it is news (or a beat is due)."""
        began = asyncio.get_running_loop().time()
        before = self._books.copies
        await self._books.measure()
        self._tell_conflicts(before)
        totals = self._books.totals
        blocked = self._hub.blocked()
        if blocked:
            self.state = NodeState.BLOCKED
        elif totals.behind_files or self._busy() or self._books.recovering:
            self.state = NodeState.SYNCING
        else:
            self.state = NodeState.UP_TO_DATE
        reasons = tuple((each.path, each.reason.value, each.text) for each in self._hub.told()[:REASONS_TOLD_MAX])
        now = (self.state, totals.behind_files, totals.behind_bytes, self._books.complete, self._books.context, reasons)
        if now != self._last or beat:
            state_before = self._last[0] if self._last else None
            self._last = now
            self._counter += 1
            self._said_at = began
            self._gossip.say(
                Summary(
                    node=self._self_id,
                    run=self._run,
                    counter=self._counter,
                    state=self.state,
                    behind_files=totals.behind_files,
                    behind_bytes=totals.behind_bytes,
                    complete=dict(self._books.complete),
                    context=dict(self._books.context),
                    reasons=reasons,
                )
            )
            if state_before != self.state:
                self._hub.tell("pool.state", state=self.state.value)
        for waiter in self._waiters:
            waiter.set()
