"""Who answers: when to ping each linked node, and who has been silent for too long.

A hint only: silence closes a link, which is then redialled; no deletion, forgetting or membership follows from it.
When this machine itself was asleep (a closed lid, a stopped process), everybody looks silent; such a gap is noticed
by the lateness of the calls, and the others get time to answer (after Lifeguard, arXiv:1707.00788: suspect yourself
first).
"""

from meerkat.model.ids import NodeId
from meerkat.model.limits import PING_INTERVAL_S, PING_TIMEOUT_S

_SMOOTHING = 0.25
"""The newest round trip's share in the mean that is shown."""


class _Link:
    __slots__ = ("heard", "next_ping", "number", "rtt_s", "sent")

    def __init__(self, now: float) -> None:
        self.heard = now
        self.next_ping = now
        self.number = 0  # of the newest ping, 0 before the first
        self.sent = now  # when that was
        self.rtt_s: float | None = None


class Liveness:
    """Times are monotonic seconds. `due` and `silent` want to be called at `wake_at`, not much later."""

    def __init__(self) -> None:
        self._links: dict[NodeId, _Link] = {}
        self._number = 0
        self._looked: float | None = None

    def opened(self, node: NodeId, now: float) -> None:
        """A link to the node is up (or was replaced by another)."""
        if not self._links:
            self._looked = now
        self._links[node] = _Link(now)

    def closed(self, node: NodeId) -> None:
        self._links.pop(node, None)

    def heard(self, node: NodeId, now: float) -> None:
        """Any frame came from the node."""
        link = self._links.get(node)
        if link is not None:
            link.heard = max(link.heard, now)

    def answered(self, node: NodeId, number: int, now: float) -> None:
        """A pong came. One to an older ping is a sign of life, but tells no round trip."""
        self.heard(node, now)
        link = self._links.get(node)
        if link is not None and number == link.number and number:
            rtt_s = max(0.0, now - link.sent)
            link.rtt_s = rtt_s if link.rtt_s is None else link.rtt_s + _SMOOTHING * (rtt_s - link.rtt_s)
            link.number = 0

    def due(self, now: float) -> list[tuple[NodeId, int]]:
        """Pings to send now: to whom, and with which number."""
        self._look(now)
        pings = []
        for node, link in self._links.items():
            if link.next_ping <= now:
                self._number += 1
                link.number, link.sent, link.next_ping = self._number, now, now + PING_INTERVAL_S
                pings.append((node, self._number))
        return pings

    def silent(self, now: float) -> list[NodeId]:
        """Nodes from which nothing came for `PING_TIMEOUT_S`: close their links, or they are named again."""
        self._look(now)
        return [node for node, link in self._links.items() if now - link.heard >= PING_TIMEOUT_S]

    def rtt_ms(self, node: NodeId) -> float | None:
        """The smoothed round trip to the node in milliseconds; None before the first answer."""
        link = self._links.get(node)
        return None if link is None or link.rtt_s is None else link.rtt_s * 1000

    def wake_at(self) -> float | None:
        """When to look again; None while there is no link."""
        return min((min(link.next_ping, link.heard + PING_TIMEOUT_S) for link in self._links.values()), default=None)

    def _look(self, now: float) -> None:
        """Notice that this node was asleep, and give the others one more ping's time."""
        if self._looked is not None and now - self._looked > 2 * PING_INTERVAL_S:
            for link in self._links.values():
                link.heard = max(link.heard, now - PING_TIMEOUT_S + PING_INTERVAL_S)
        self._looked = now
