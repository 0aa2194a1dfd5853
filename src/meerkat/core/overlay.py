"""Whom to link with: everybody while the pool is small, a ring with random chords beyond that.

The ring (each node dials the next id) keeps the links one connected graph whatever the chords are; the chords keep
the ways short. When the next node does not answer, the next one that may is dialled as well, and the silent one still
from time to time: that is what joins the halves of a healed network again. Whoever has few links dials others at
random; whoever has many, since others did, parts with some, one after the other and never with its neighbours on the
ring. Lost links are redialled with a jittered, growing wait, so that a node that returns is not stormed.
"""

import random
from bisect import bisect_right
from collections.abc import Set

from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    DIAL_TIMEOUT_S,
    ENOUGH_REST_S,
    FULL_MESH_NODES_MAX,
    OVERLAY_DEGREE_MAX,
    OVERLAY_DEGREE_MIN,
    PARTING_S,
    REDIAL_MAX_S,
    REDIAL_MIN_S,
)


class _Peer:
    """A member. `failures` in a row; not to be dialled before `not_before`; `dialling`: the outcome is open, and
    `moved`: there is a new way since the dial that was begun at `begun`."""

    __slots__ = ("begun", "dialling", "failures", "linked", "moved", "not_before")

    def __init__(self, not_before: float) -> None:
        self.failures = 0
        self.not_before = not_before
        self.linked = False
        self.dialling = False
        self.moved = False
        self.begun = float("-inf")


class Overlay:
    """Times are monotonic seconds. Each node that `due` names is dialled; `linked` or `dial_failed` must follow.

    A dial of which nothing is heard for twice `DIAL_TIMEOUT_S` counts as failed.
    """

    def __init__(self, self_id: NodeId, rng: random.Random) -> None:
        self._self = self_id
        self._rng = rng
        self._peers: dict[NodeId, _Peer] = {}
        self._ring: list[NodeId] = []
        self._part_at = float("-inf")

    def members(self, nodes: Set[NodeId], now: float) -> None:
        """The roster as it is now, with or without this node itself."""
        others = nodes - {self._self}
        for node in self._peers.keys() - others:
            del self._peers[node]
        for node in sorted(others - self._peers.keys()):
            self._peers[node] = _Peer(now + self._courtesy(node))
        self._ring = sorted(self._peers)

    def linked(self, node: NodeId, now: float) -> None:
        """A link to the node is up, whoever dialled it."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.linked, peer.dialling, peer.failures, peer.not_before = True, False, 0, now

    def lost(self, node: NodeId, now: float) -> None:
        """No link to the node is left."""
        peer = self._peers.get(node)
        if peer is not None and peer.linked:
            peer.linked = False
            peer.not_before = now + self._wait(0)

    def dial_failed(self, node: NodeId, now: float) -> None:
        peer = self._peers.get(node)
        if peer is not None and not peer.linked:
            moved, peer.dialling, peer.moved = peer.moved, False, False
            peer.failures = 0 if moved else peer.failures + 1
            peer.not_before = max(now, peer.begun + REDIAL_MIN_S) if moved else now + self._wait(peer.failures)

    def rest(self, node: NodeId, until: float) -> None:
        """The node is not to be dialled before."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.dialling = False
            peer.not_before = until

    def is_there(self, node: NodeId, now: float) -> None:
        """Others are linked with the node: it is worth a try soon, however often it did not answer before."""
        peer = self._peers.get(node)
        if peer is not None and not peer.linked and not peer.dialling and peer.failures:
            peer.failures = 0
            peer.not_before = min(peer.not_before, now + self._wait(0))

    def enough(self, node: NodeId, now: float) -> None:
        """One of both has parted with the link for having enough: let it be, unless the ring wants it."""
        peer = self._peers.get(node)
        if peer is not None and not peer.linked:
            peer.failures = 0
            rest = self._wait(0) if node in self._wanted() else ENOUGH_REST_S * self._rng.uniform(0.5, 1.0)
            peer.not_before = now + rest

    def surplus(self, now: float) -> list[NodeId]:
        """Whom to part with now: at most one, so that a pool that shifts does so gently."""
        if not self._spare() or now < self._part_at:
            return []
        self._part_at = now + PARTING_S * self._rng.uniform(0.5, 1.0)
        return [self._rng.choice(self._chords())]

    def addresses_changed(self, node: NodeId) -> None:
        """There is a new way to try: at once, or when the dial under way has failed; but whoever tells new ways again
        and again is not dialled more often than others."""
        peer = self._peers.get(node)
        if peer is None or peer.linked:
            return
        if peer.dialling:
            peer.moved = True
            return
        peer.failures = 0
        peer.not_before = min(peer.not_before, peer.begun + REDIAL_MIN_S)

    def due(self, now: float) -> list[NodeId]:
        """Whom to dial now."""
        for peer in self._peers.values():
            if peer.dialling and peer.not_before <= now:
                peer.dialling = False
                peer.failures += 1
        nodes = [node for node in self._wanted() if self._peers[node].not_before <= now]
        chords = self._missing_chords()
        if chords > 0:
            idle = [node for node in self._ring if self._may_dial(node) and node not in nodes]
            ripe = [node for node in idle if self._peers[node].not_before <= now]
            self._rng.shuffle(ripe)
            ripe.sort(key=lambda node: self._peers[node].failures > 0)
            nodes += ripe[: max(0, chords - len(nodes))]
        for node in nodes:
            peer = self._peers[node]
            peer.dialling, peer.moved, peer.begun = True, False, now
            peer.not_before = now + 2 * DIAL_TIMEOUT_S
        return nodes

    def wake_at(self) -> float | None:
        """When `due` may name somebody; None: not before something happens."""
        times = [peer.not_before for peer in self._peers.values() if peer.dialling]
        nodes = self._wanted() if self._missing_chords() <= 0 else [node for node in self._ring if self._may_dial(node)]
        times += [self._peers[node].not_before for node in nodes]
        if self._spare():
            times.append(self._part_at)
        return min(times, default=None)

    def _may_dial(self, node: NodeId) -> bool:
        peer = self._peers[node]
        return not peer.linked and not peer.dialling

    def _full_mesh(self) -> bool:
        return len(self._peers) < FULL_MESH_NODES_MAX

    def _wanted(self) -> list[NodeId]:
        """Those that must be linked and are not: all, or the next on the ring and the next that may answer."""
        if self._full_mesh():
            return [node for node in self._ring if self._may_dial(node)]
        start = bisect_right(self._ring, self._self)
        wanted = []
        for step in range(len(self._ring)):
            node = self._ring[(start + step) % len(self._ring)]
            answers = self._peers[node].failures == 0
            if (step == 0 or answers) and self._may_dial(node):
                wanted.append(node)
            if answers:
                break
        return wanted

    def _missing_chords(self) -> int:
        """How many more links a node of a large pool wants."""
        if self._full_mesh():
            return 0
        return OVERLAY_DEGREE_MIN - sum(peer.linked or peer.dialling for peer in self._peers.values())

    def _spare(self) -> bool:
        """Whether this node has a link that it can do without."""
        linked = sum(peer.linked for peer in self._peers.values())
        return not self._full_mesh() and linked > OVERLAY_DEGREE_MAX and bool(self._chords())

    def _chords(self) -> list[NodeId]:
        """Linked nodes, but for the nearest on either side of the ring."""
        start = bisect_right(self._ring, self._self)
        around = [*self._ring[start:], *self._ring[:start]]
        return [node for node in around if self._peers[node].linked][1:-1]

    def _courtesy(self, node: NodeId) -> float:
        """When two learn of each other, the lower id dials first, so that most pairs make one connection, not two."""
        return 0.0 if self._self < node else self._wait(0)

    def _wait(self, failures: int) -> float:
        longest = min(REDIAL_MAX_S, REDIAL_MIN_S * (1 << min(failures, 16)))
        return longest * self._rng.uniform(0.5, 1.0)


def keep_which(self_id: NodeId, peer: NodeId, dialled_by_me_existing: bool, dialled_by_me_new: bool) -> bool:
    """Two connections join the same nodes: True when the new one stays and the existing one goes.

    Both ends come to the same answer. Dialled from both ends at once: the one that the lower id dialled stays.
    Dialled twice from the same end: the new one stays, because who dials again has lost the old one.
    """
    if dialled_by_me_existing == dialled_by_me_new:
        return True
    return dialled_by_me_new == (self_id < peer)
