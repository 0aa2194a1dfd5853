"""Who is within reach: what every node says of its links, put together into one graph.

Each node tells the whole pool whom it is linked with, when that changes and never else; a link counts while both of its
ends say so. Whoever a way of links leads to is there. So a node that one link does not reach is no dead one as long as
anybody is linked with it, a pool that falls apart is seen as parts from each of them at once, and nobody can accuse
anybody but of being unlinked with itself: not a node that was frozen, nor one that lies. Being there costs nothing.

A hint for people and barriers, as all of this: no deletion, forgetting or membership follows from it.
"""

from collections.abc import Iterable, Mapping, Set

from meerkat.model.frame import Neighbours
from meerkat.model.ids import NodeId
from meerkat.model.limits import NEIGHBOURS_OF_STRANGERS_MAX, NEIGHBOURS_TOLD_MAX, RUN_MAX

Stamp = tuple[int, int]


def stamp_of(news: Neighbours) -> Stamp:
    """Orders what a node has said of itself."""
    return news.run, news.counter


class Reach:
    """One node's picture of all links.

    Args:
        run: grows with every start, as far as the clock tells; where it did not, `outbid` mends that.
    """

    def __init__(self, self_id: NodeId, run: int) -> None:
        self._self = self_id
        self._members: Set[NodeId] = frozenset()
        self._links: frozenset[NodeId] = frozenset()
        self._said: dict[NodeId, Neighbours] = {self_id: Neighbours(self_id, run, 1, frozenset(), frozenset())}

    @property
    def own(self) -> Neighbours:
        """What this node says of itself."""
        return self._said[self._self]

    def say(self, linked: Iterable[NodeId], doubted: Iterable[NodeId]) -> bool:
        """This node's links as they are now; whether that is news."""
        own = self.own
        self._links = frozenset(linked)
        told = frozenset(sorted(self._links)[:NEIGHBOURS_TOLD_MAX])
        doubts = told & frozenset(doubted)
        if (told, doubts) == (own.linked, own.doubted):
            return False
        self._said[self._self] = Neighbours(self._self, own.run, own.counter + 1, told, doubts)
        return True

    def members(self, nodes: Set[NodeId]) -> None:
        """The roster as it is now. What strangers say is kept for a while: their admission may come after it."""
        self._members = nodes - {self._self}
        strangers = [node for node in self._said if node != self._self and node not in self._members]
        for node in strangers[: max(0, len(strangers) - NEIGHBOURS_OF_STRANGERS_MAX)]:
            del self._said[node]

    def hear(self, news: Neighbours) -> bool:
        """What a node says, whoever passes it on; whether that is news."""
        if news.node == self._self:
            return False
        known = self._said.get(news.node)
        if known is not None and stamp_of(news) <= stamp_of(known):
            return False
        self._said[news.node] = news
        self.members(self._members)
        return True

    def outbid(self, news: Neighbours) -> bool:
        """Whether members believe something later of this node than what it says: then it has gone beyond that."""
        own = self.own
        if news.node != self._self or stamp_of(news) < stamp_of(own) or news == own or own.run >= RUN_MAX:
            return False
        run = min(max(own.run, news.run) + 1, RUN_MAX)
        self._said[self._self] = Neighbours(self._self, run, 1, own.linked, own.doubted)
        return True

    def within(self) -> frozenset[NodeId]:
        """Members to whom a way of links leads, without this node itself."""
        found: set[NodeId] = set()
        ahead = list(self._links)
        while ahead:
            node = ahead.pop()
            if node in found:
                continue
            found.add(node)
            said = self._said.get(node)
            if said is not None:
                for other in said.linked - found:
                    far = self._said.get(other)
                    if far is not None and node in far.linked:
                        ahead.append(other)
        return frozenset(found & self._members)

    def owed(self, hearer: NodeId, heard: Mapping[NodeId, Stamp]) -> list[Neighbours]:
        """What to tell a linked node that has heard that much over this link. Others' words are left to themselves
        where they are linked with it too; its own is told when it says something older of itself."""
        owed = []
        for node, said in self._said.items():
            last = heard.get(node)
            if last is not None and last >= stamp_of(said):
                continue
            if node == hearer:
                if last is not None:
                    owed.append(said)
            elif node == self._self or not self._linked(node, hearer):
                owed.append(said)
        return owed

    def _linked(self, one: NodeId, other: NodeId) -> bool:
        return other in self._links_of(one) and one in self._links_of(other)

    def _links_of(self, node: NodeId) -> frozenset[NodeId]:
        said = self._said.get(node)
        return said.linked if said is not None else frozenset()
