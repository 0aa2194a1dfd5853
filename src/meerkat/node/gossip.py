"""Heads and progress, told to whoever does not know them yet.

Heads: after every transaction each link is told of what its other end is not known to have. Progress: each node's
`Summary` reaches every node, directly or (a little later) through others, so that a barrier or a status page on one
node can speak of all. Everything said is monotone, so losing or repeating any of it does no harm.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from meerkat.core.brief import shortened, weight
from meerkat.model.dot import Author, Vector, beyond, joined
from meerkat.model.frame import Brief, Heads, LinkFrame, LinkLost
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    CONTROL_PART_BYTES_MAX,
    FULL_MESH_NODES_MAX,
    HEADS_RELAY_S,
    SUMMARIES_PER_FRAME_MAX,
    SUMMARY_AUTHORS_AHEAD_MAX,
    SUMMARY_BEAT_CROWD_S,
    SUMMARY_BEAT_S,
    SUMMARY_INTERVAL_S,
    SUMMARY_RELAY_S,
)
from meerkat.model.member import Summary
from meerkat.node.books import Books
from meerkat.node.ports import Pipe
from meerkat.node.tasks import until

log = logging.getLogger("meerkat.gossip")

BRIEF = "brief"  # understands summaries that come as differences


class Hearer(Struct):
    """One link, as somebody to be told.

    Attributes:
        knows: what the other end is known to have, or was told of.
        relay_at: when it is told of others' writes, unless it has said by then that it knows of them; None: of none.
        has_heard: of each node's summary, the (run, counter) that the other end has.
        rumour: what is said elsewhere of the other end, later than what it says itself; it is to hear of it.
        said: what this node has told of its own context, in its greeting and in heads.
        brief: the other end understands summaries that are told as differences from that.
        owed: of whom it may lack the newest summary.
    """

    node: NodeId
    pipe: Pipe[LinkFrame]
    knows: dict[Author, int]
    has_heard: dict[NodeId, tuple[int, int]] = field(default_factory=dict)
    rumour: Summary | None = None
    said: dict[Author, int] = field(default_factory=dict)
    brief: bool = False
    owed: set[NodeId] = field(default_factory=set)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    relay_at: float | None = None


class Gossip:
    def __init__(self, self_id: NodeId, books: Books, on_summary: Callable[[Summary], None]) -> None:
        self._self_id = self_id
        self._books = books
        self._on_summary = on_summary
        self._hearers: dict[NodeId, Hearer] = {}
        self._relay: asyncio.TimerHandle | None = None
        self._own_word: dict[NodeId, tuple[int, int]] = {}  # of linked nodes: (run, counter) of what they said last
        self.latest: dict[NodeId, Summary] = {}
        self.on_outbid: Callable[[int], None] = lambda run: None

    @property
    def beat_s(self) -> float:
        """How often each node says how it stands, though that is no news."""
        return SUMMARY_BEAT_S if len(self.latest) <= FULL_MESH_NODES_MAX else SUMMARY_BEAT_CROWD_S

    def written(self) -> None:
        """The context may have grown: tell the links."""
        for hearer in self._hearers.values():
            hearer.due.set()

    def known_to(self, others: Iterable[NodeId]) -> list[Vector]:
        """The contexts of these and of this node; of one never heard of, empty."""
        told = [self.latest[node].context if node in self.latest else {} for node in others]
        return [*told, self._books.context]

    def say(self, summary: Summary) -> None:
        """This node's own progress."""
        self.latest[self._self_id] = summary
        for hearer in self._hearers.values():
            hearer.due.set()

    def heard_heads(self, node: NodeId, heads: dict[Author, int]) -> None:
        hearer = self._hearers.get(node)
        if hearer is not None:
            hearer.knows = joined(hearer.knows, heads)

    def heard_summary(self, node: NodeId, summary: Summary) -> None:
        """A summary came over the link with `node`, its own or one that it passes on."""
        authors_max = len(self._books.context) + SUMMARY_AUTHORS_AHEAD_MAX
        if len(summary.context) > authors_max or len(summary.complete) > authors_max:
            return
        stamp = (summary.run, summary.counter)
        hearer = self._hearers.get(node)
        if hearer is not None and stamp > hearer.has_heard.get(summary.node, (0, 0)):
            hearer.has_heard[summary.node] = stamp
        if hearer is not None and summary.node == node:
            hearer.knows = joined(hearer.knows, summary.context)
        if summary.node == self._self_id:
            said = self.latest.get(self._self_id)
            if said is not None and stamp > (said.run, said.counter):
                self.on_outbid(summary.run)
            return
        if self._is_news(summary, stamp, from_itself=summary.node == node):
            self.latest[summary.node] = summary
            for each in self._hearers.values():
                each.owed.add(summary.node)
            self._on_summary(summary)
            if self._relay is None:
                self._relay = asyncio.get_running_loop().call_later(SUMMARY_RELAY_S, self._relay_now)
        elif summary.node != node:
            self._pass_back(summary, stamp)

    def _pass_back(self, summary: Summary, stamp: tuple[int, int]) -> None:
        """A copy of a linked node, or an earlier start of it under a faster clock, is believed elsewhere: only that
        node can outbid it."""
        subject, word = self._hearers.get(summary.node), self._own_word.get(summary.node)
        if subject is not None and word is not None and stamp > word:
            subject.rumour = summary
            subject.due.set()

    def _is_news(self, summary: Summary, stamp: tuple[int, int], *, from_itself: bool) -> bool:
        """What a linked node says of itself counts, whatever others say of it: a rumour with a high number could else
        silence it for good."""
        if from_itself:
            if stamp <= self._own_word.get(summary.node, (0, 0)):
                return False
            self._own_word[summary.node] = stamp
            return True
        if summary.node in self._hearers:
            return False
        known = self.latest.get(summary.node)
        return known is None or stamp > (known.run, known.counter)

    def _relay_now(self) -> None:
        """What was heard a moment ago is passed on to those who have not heard it by now."""
        self._relay = None
        for hearer in self._hearers.values():
            if self._relayable(hearer):
                hearer.due.set()

    def forget(self, node: NodeId) -> None:
        """The node has left the pool."""
        self.latest.pop(node, None)
        self._own_word.pop(node, None)

    async def attend(self, hearer: Hearer) -> None:
        """Tell one link what it lacks, until it ends."""
        self._hearers[hearer.node] = hearer
        self._own_word.pop(hearer.node, None)
        hearer.owed = set(self.latest)
        hearer.due.set()
        loop = asyncio.get_running_loop()
        said_at = relayed_at = float("-inf")
        try:
            while True:
                wait = SUMMARY_RELAY_S if self._relayable(hearer) else None
                if hearer.relay_at is not None:
                    left = max(0.0, hearer.relay_at - loop.time())
                    wait = left if wait is None else min(wait, left)
                await until(hearer.due, wait)
                hearer.due.clear()
                await self._tell_heads(hearer)
                if hearer.rumour is not None:
                    rumour, hearer.rumour = hearer.rumour, None
                    await hearer.pipe.send(rumour)
                now = loop.time()
                if self._owes(hearer, self._self_id):
                    if now - said_at >= SUMMARY_INTERVAL_S:
                        said_at = now
                        await self._tell_summaries(hearer, [self._self_id])
                    else:
                        loop.call_later(said_at + SUMMARY_INTERVAL_S - now, hearer.due.set)
                if now - relayed_at >= SUMMARY_RELAY_S:
                    relayed_at = now
                    await self._tell_summaries(hearer, self._relayable(hearer))
        except LinkLost:
            pass
        finally:
            if self._hearers.get(hearer.node) is hearer:
                del self._hearers[hearer.node]

    async def _tell_heads(self, hearer: Hearer) -> None:
        news = self._news_for(hearer, asyncio.get_running_loop().time())
        if news:
            hearer.knows = joined(hearer.knows, news)
            hearer.said = joined(hearer.said, news)
            await hearer.pipe.send(Heads(news))

    def _news_for(self, hearer: Hearer, now: float) -> dict[Author, int]:
        """What the other end is to be told now. Where everybody is linked with everybody, the writes of those linked
        with this node are told a moment later: by then most ends have said themselves that they know of them."""
        news = beyond(self._books.context, hearer.knows)
        later = {author for author in news if author.node in self._hearers and author.node != self._self_id}
        waited = hearer.relay_at is not None and hearer.relay_at <= now
        if not later or len(self.latest) > FULL_MESH_NODES_MAX or waited:
            hearer.relay_at = None
            return news
        if hearer.relay_at is None:
            hearer.relay_at = now + HEADS_RELAY_S
        return {author: seq for author, seq in news.items() if author not in later}

    async def _tell_summaries(self, hearer: Hearer, nodes: Iterable[NodeId]) -> None:
        batch: list[Summary] = []
        size = 0
        for node in nodes:
            summary = self.latest.get(node)
            if summary is None:
                continue
            hearer.has_heard[node] = (summary.run, summary.counter)
            if not hearer.brief:
                await hearer.pipe.send(summary)
                continue
            batch.append(shortened(summary, hearer.said))
            size += weight(batch[-1])
            if len(batch) >= SUMMARIES_PER_FRAME_MAX or size >= CONTROL_PART_BYTES_MAX:
                await hearer.pipe.send(Brief(tuple(batch)))
                batch, size = [], 0
        if batch:
            await hearer.pipe.send(Brief(tuple(batch)))

    def _owes(self, hearer: Hearer, node: NodeId) -> bool:
        summary = self.latest.get(node)
        return summary is not None and (summary.run, summary.counter) > hearer.has_heard.get(node, (0, 0))

    def _relayable(self, hearer: Hearer) -> list[NodeId]:
        hearer.owed = {node for node in hearer.owed if self._owes(hearer, node)} - {self._self_id, hearer.node}
        return sorted(hearer.owed)
