"""Watching over the links: asks the other ends whether they are there, tells the pool which links stand, and keeps
what the pool tells: who is within reach, over whatever way.

A hint: it says whose link is to be closed, whom a barrier may wait for and what people are shown; nothing else follows.
"""

import asyncio
from collections.abc import Callable, Set

from msgspec import Struct, field

from meerkat.core.liveness import Liveness
from meerkat.core.reach import Reach, Stamp, stamp_of
from meerkat.model.frame import LinkFrame, LinkLost, Neighbours, Ping
from meerkat.model.ids import NodeId
from meerkat.model.limits import NEIGHBOURS_GATHER_S, NEIGHBOURS_OUTBID_S, NEIGHBOURS_SWARM_S
from meerkat.node.ports import Pipe
from meerkat.node.tasks import Tasks, until


class _Watched(Struct, eq=False):
    """One link. `has_heard`: of each node's words, the newest that the other end has."""

    node: NodeId
    pipe: Pipe[LinkFrame]
    has_heard: dict[NodeId, Stamp] = field(default_factory=dict)
    due: asyncio.Event = field(default_factory=asyncio.Event)


class Vigil:
    """Args:
    run: grows with every start, as far as the clock tells.
    on_silent: a node does not answer any more: close its link.
    on_reach: which nodes came within reach, and which are not any more.
    """

    def __init__(
        self,
        self_id: NodeId,
        run: int,
        tasks: Tasks,
        on_silent: Callable[[NodeId], None],
        on_reach: Callable[[Set[NodeId], Set[NodeId]], None],
    ) -> None:
        self._tasks = tasks
        self._on_silent = on_silent
        self._on_reach = on_reach
        self._liveness = Liveness(self_id)
        self._reach = Reach(self_id, run)
        self._watched: dict[NodeId, _Watched] = {}
        self._within: frozenset[NodeId] = frozenset()
        self._wake = asyncio.Event()
        self._outbid_at = float("-inf")
        self._turning: asyncio.TimerHandle | None = None

    # ---- what others ask and tell

    @property
    def within(self) -> frozenset[NodeId]:
        """Members to whom a way of links leads."""
        return self._within

    def rtt_ms(self, node: NodeId) -> float | None:
        return self._liveness.rtt_ms(node)

    def members(self, nodes: Set[NodeId]) -> None:
        self._reach.members(nodes)
        self._turn()

    def closed(self, node: NodeId) -> None:
        """No link with the node is left."""
        self._liveness.closed(node)
        self._watched.pop(node, None)
        self._turn()

    def heard(self, node: NodeId) -> None:
        """Any frame came over the link with the node."""
        self._liveness.heard(node, asyncio.get_running_loop().time())

    def answered(self, node: NodeId, number: int) -> None:
        self._liveness.answered(node, number, asyncio.get_running_loop().time())

    def take(self, sender: NodeId, news: Neighbours) -> None:
        """What a node says of its links, itself or through the sender."""
        watched = self._watched.get(sender)
        if watched is not None:
            last = watched.has_heard.get(news.node, (0, 0))
            # What it says of itself is its newest word, even where that is older than what was heard of it before.
            watched.has_heard[news.node] = stamp_of(news) if news.node == sender else max(last, stamp_of(news))
            watched.due.set()  # it may have been told something older than what is known here
        self._outbid(news)
        if self._reach.hear(news):
            doubted = (news.doubted & self._watched.keys()) - {news.node}
            self._liveness.doubted_elsewhere(doubted, asyncio.get_running_loop().time())
            self._wake.set()
            self._turn_soon()

    def _outbid(self, news: Neighbours) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._outbid_at >= NEIGHBOURS_OUTBID_S and self._reach.outbid(news):
            self._outbid_at = now

    def _turn_soon(self) -> None:
        """What others say comes in swarms; what follows from it is put together once for each."""
        if self._turning is None:
            self._turning = asyncio.get_running_loop().call_later(NEIGHBOURS_SWARM_S, self._turn)

    def _turn(self) -> None:
        """Something changed: say it, tell who came and went, look at the time again."""
        if self._turning is not None:
            self._turning.cancel()
            self._turning = None
        now = asyncio.get_running_loop().time()
        self._reach.say(self._watched.keys(), self._liveness.doubted(now))
        for watched in self._watched.values():
            watched.due.set()
        before, self._within = self._within, self._reach.within()
        if before != self._within:
            self._on_reach(self._within - before, before - self._within)
        self._wake.set()

    # ---- work

    async def attend(self, node: NodeId, pipe: Pipe[LinkFrame]) -> None:
        """Tell one link what it lacks, until it ends."""
        watched = _Watched(node, pipe)
        self._watched[node] = watched
        self._liveness.opened(node, asyncio.get_running_loop().time())
        self._turn()
        try:
            while True:
                await watched.due.wait()
                await asyncio.sleep(NEIGHBOURS_GATHER_S)
                watched.due.clear()
                for news in self._reach.owed(node, watched.has_heard):
                    watched.has_heard[news.node] = stamp_of(news)
                    await pipe.send(news)
        except LinkLost:
            pass

    async def run(self) -> None:
        """Ask whoever is to be asked, for ever."""
        loop = asyncio.get_running_loop()
        doubted: frozenset[NodeId] = frozenset()
        while True:
            now = loop.time()
            for node, number in self._liveness.due(now):
                self._tasks.spawn(f"ping {node}", _ask(self._watched[node].pipe, number))
            for node in self._liveness.silent(now):
                self.closed(node)
                self._on_silent(node)
            if doubted != (doubted := self._liveness.doubted(now)):
                self._turn()
            at = self._liveness.wake_at(now)
            self._wake.clear()
            await until(self._wake, None if at is None else max(0.01, at - now))


async def _ask(pipe: Pipe[LinkFrame], number: int) -> None:
    try:
        await pipe.send(Ping(number))
    except LinkLost:
        pass
