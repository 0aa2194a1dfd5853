"""Who answers: whom to ask next whether it is there, and whose link has been silent for too long.

A hint only: silence closes a link, which is then redialled; no deletion, forgetting or membership follows from it.

As in SWIM (Das and others, 2002) a node asks one other at a time, here the one that it has not heard of for longest:
what being watched costs does not grow with the pool, and whatever arrives saves a question. A link that owes an answer
for a moment is doubted. Doubts are told (see `reach`), and whoever hears that another doubts the same node asks it at
once, so that all who are linked with a node that has vanished notice it within the same moment.

When this machine itself was asleep or starved (a closed lid, a stopped process), everybody looks silent; that is
noticed by the lateness of the calls, and all who owe an answer get its whole time once more (after Lifeguard,
arXiv:1707.00788: suspect yourself first).
"""

from collections.abc import Iterable

from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    ANSWER_DOUBTED_S,
    ANSWER_TIMEOUT_S,
    LATE_SELF_S,
    PING_COURTESY_S,
    PING_EVERY_S,
    PING_QUIET_S,
)

_SMOOTHING = 0.25
"""The newest round trip's share in the mean that is shown."""


class _Link:
    """`asked`: since when an answer is owed; None: it is not. `urgent`: ask as soon as may be."""

    __slots__ = ("asked", "heard", "number", "rtt_s", "sent", "urgent")

    def __init__(self, now: float) -> None:
        self.heard = now
        self.asked: float | None = None
        self.urgent = True
        self.number = 0  # of the newest ping, 0 when it was answered
        self.sent = now  # when that was
        self.rtt_s: float | None = None


class Liveness:
    """Times are monotonic seconds. `due`, then `silent` and `doubted`, want to be called at `wake_at`."""

    def __init__(self, self_id: NodeId) -> None:
        self._self = self_id
        self._links: dict[NodeId, _Link] = {}
        self._number = 0
        self._turn = float("-inf")
        self._expected: float | None = None

    def opened(self, node: NodeId, now: float) -> None:
        """A link to the node is up (or was replaced by another): it is asked at once, to know how far it is."""
        self._links[node] = _Link(now)
        self._expect(now)

    def closed(self, node: NodeId) -> None:
        self._links.pop(node, None)

    def heard(self, node: NodeId, now: float) -> None:
        """Any frame came from the node."""
        link = self._links.get(node)
        if link is not None:
            link.heard = max(link.heard, now)
            link.asked = None

    def answered(self, node: NodeId, number: int, now: float) -> None:
        """A pong came. One to an older ping is a sign of life, but tells no round trip."""
        self.heard(node, now)
        link = self._links.get(node)
        if link is not None and number == link.number and number:
            rtt_s = max(0.0, now - link.sent)
            link.rtt_s = rtt_s if link.rtt_s is None else link.rtt_s + _SMOOTHING * (rtt_s - link.rtt_s)
            link.number = 0

    def doubted_elsewhere(self, nodes: Iterable[NodeId], now: float) -> None:
        """Others wait for an answer of these: ask them, unless they were heard of just now."""
        for node in nodes:
            link = self._links.get(node)
            if link is not None and link.asked is None and now - link.heard >= ANSWER_DOUBTED_S:
                link.urgent = True
        self._expect(now)

    def due(self, now: float) -> list[tuple[NodeId, int]]:
        """Pings to send now: to whom, and with which number."""
        self._look(now)
        asked = [node for node, link in self._links.items() if link.urgent]
        if not asked and now >= self._turn:
            quiet = {node: link.heard for node, link in self._quiet(now)}
            asked = [min(quiet, key=lambda node: (quiet[node], node))] if quiet else []
            self._turn = now + PING_EVERY_S if asked else self._turn
        pings = [(node, self._ask(self._links[node], now)) for node in asked]
        self._expect(now)
        return pings

    def _ask(self, link: _Link, now: float) -> int:
        self._number += 1
        link.number, link.sent, link.urgent = self._number, now, False
        if link.asked is None:
            link.asked = now
        return self._number

    def _quiet(self, now: float) -> list[tuple[NodeId, _Link]]:
        return [
            (node, link)
            for node, link in self._links.items()
            if link.asked is None and now - link.heard >= self._quiet_s(node)
        ]

    def _quiet_s(self, node: NodeId) -> float:
        """Both ends have heard each other last at the same time: one of them is to ask first, the other is answered."""
        return PING_QUIET_S if self._self < node else PING_QUIET_S + PING_COURTESY_S

    def doubted(self, now: float) -> frozenset[NodeId]:
        """Nodes that owe an answer for `ANSWER_DOUBTED_S`."""
        return self._owing(now, ANSWER_DOUBTED_S)

    def silent(self, now: float) -> frozenset[NodeId]:
        """Nodes that owe an answer for `ANSWER_TIMEOUT_S`: close their links, or they are named again."""
        return self._owing(now, ANSWER_TIMEOUT_S)

    def _owing(self, now: float, time_s: float) -> frozenset[NodeId]:
        return frozenset(
            node for node, link in self._links.items() if link.asked is not None and now - link.asked >= time_s
        )

    def rtt_ms(self, node: NodeId) -> float | None:
        """The smoothed round trip to the node in milliseconds; None before the first answer."""
        link = self._links.get(node)
        return None if link is None or link.rtt_s is None else link.rtt_s * 1000

    def wake_at(self, now: float) -> float | None:
        """When to look again; None while there is no link."""
        times = []
        for node, link in self._links.items():
            if link.urgent:
                return now
            if link.asked is None:
                times.append(max(self._turn, link.heard + self._quiet_s(node)))
            else:
                times.append(
                    link.asked + (ANSWER_DOUBTED_S if now < link.asked + ANSWER_DOUBTED_S else ANSWER_TIMEOUT_S)
                )
        return min(times, default=None)

    def _expect(self, now: float) -> None:
        self._expected = self.wake_at(now)

    def _look(self, now: float) -> None:
        """Notice that this node was asleep, and give the others their time again."""
        if self._expected is not None and now - self._expected > LATE_SELF_S:
            for link in self._links.values():
                if link.asked is not None:
                    link.asked, link.urgent = now, True
