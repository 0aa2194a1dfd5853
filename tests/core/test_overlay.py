"""The overlay: everybody in a small pool, a connected graph of bounded degree in a large one."""

import random

import pytest

from meerkat.core.overlay import Overlay, keep_which
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


def ids(count: int) -> list[NodeId]:
    return [NodeId(f"n{number:04d}") for number in range(count)]


class World:
    """Nodes that dial each other as their overlays want; `reachable` says who can dial whom."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.nodes = ids(count)
        self.overlays = {node: Overlay(node, random.Random(f"{seed}{node}")) for node in self.nodes}
        self.links: set[frozenset[NodeId]] = set()
        self.cut: set[frozenset[NodeId]] = set()
        self.down: set[NodeId] = set()
        self.dials = 0
        for overlay in self.overlays.values():
            overlay.members(set(self.nodes), 0.0)

    def reachable(self, one: NodeId, other: NodeId) -> bool:
        return frozenset((one, other)) not in self.cut and not {one, other} & self.down

    def break_links(self, now: float) -> None:
        for link in [link for link in self.links if not self.reachable(*link)]:
            self.links.discard(link)
            one, other = link
            self.overlays[one].lost(other, now)
            self.overlays[other].lost(one, now)

    def run(self, start: float, end: float) -> None:
        now = start
        while now < end:
            for node in self.nodes:
                if node in self.down:
                    continue
                overlay = self.overlays[node]
                wake = overlay.wake_at()
                if wake is None or wake > now:
                    continue
                for peer in overlay.due(now):
                    self.dials += 1
                    if self.reachable(node, peer):
                        self.links.add(frozenset((node, peer)))
                        overlay.linked(peer, now)
                        self.overlays[peer].linked(node, now)
                    else:
                        overlay.dial_failed(peer, now)
                for peer in overlay.surplus(now):
                    self.links.discard(frozenset((node, peer)))
                    for one, other in ((node, peer), (peer, node)):
                        self.overlays[one].lost(other, now)
                        self.overlays[one].enough(other, now)
            now += 0.25

    def degree(self, node: NodeId) -> int:
        return sum(node in link for link in self.links)

    def parts(self) -> int:
        """Connected components among the nodes that are up."""
        left = set(self.nodes) - self.down
        parts = 0
        while left:
            parts += 1
            front = [left.pop()]
            while front:
                node = front.pop()
                near = {other for link in self.links if node in link for other in link} & left
                left -= near
                front += near
        return parts


@pytest.mark.parametrize("count", [2, 3, FULL_MESH_NODES_MAX])
def test_a_small_pool_links_everybody(count: int) -> None:
    """Up to the limit every pair is linked soon, most of them by one dial."""
    world = World(count)
    world.run(0.0, 1.0)
    assert len(world.links) == count * (count - 1) // 2
    assert world.dials == len(world.links)


@pytest.mark.parametrize("count", [FULL_MESH_NODES_MAX + 1, 60, 200])
def test_a_large_pool_is_connected_with_bounded_degree(count: int) -> None:
    """Each node has about the wanted number of links, and the graph is one."""
    world = World(count)
    world.run(0.0, 3.0)
    assert world.parts() == 1
    world.run(3.0, 18.0)
    assert world.parts() == 1
    degrees = [world.degree(node) for node in world.nodes]
    assert min(degrees) >= OVERLAY_DEGREE_MIN
    assert max(degrees) <= OVERLAY_DEGREE_MAX
    dials = world.dials
    world.run(18.0, 24.0)
    assert world.dials == dials, "a pool at rest stays as it is"


def test_a_pool_that_outgrows_the_full_mesh_thins_out() -> None:
    """Those who were linked with everybody part with most, and stay one graph all the while; newcomers get as many."""
    world = World(40)
    first = world.nodes[::3]
    for overlay in world.overlays.values():
        overlay.members(set(first), 0.0)
    late = set(world.nodes) - set(first)
    world.down = late
    world.run(0.0, 3.0)
    assert world.degree(first[0]) == len(first) - 1
    world.down = set()
    for overlay in world.overlays.values():
        overlay.members(set(world.nodes), 3.0)
    now = 3.0
    while now < 40.0:
        world.run(now, now + 0.25)
        now += 0.25
        assert now < 5.0 or world.parts() == 1
    assert {world.degree(node) for node in world.nodes} <= set(range(OVERLAY_DEGREE_MIN, OVERLAY_DEGREE_MAX + 1))


def test_who_has_too_many_parts_with_chords_one_by_one() -> None:
    """Never with the nearest on either side of the ring, at most one at a time, and not before the next is due."""
    nodes = ids(40)
    me = nodes[20]
    overlay = Overlay(me, random.Random(1))
    overlay.members(set(nodes), 0.0)
    overlay.due(0.0)
    linked = {*nodes[10:18], *nodes[23:30]}
    for node in linked:
        overlay.linked(node, 1.0)
    parted = []
    now = 1.0
    while True:
        gone = overlay.surplus(now)
        assert overlay.surplus(now + 0.4 * PARTING_S) == []
        if not gone:
            break
        parted += gone
        overlay.lost(gone[0], now)
        overlay.enough(gone[0], now)
        wake = overlay.wake_at()
        assert wake is not None
        now += PARTING_S
    assert len(parted) == len(set(parted)) == len(linked) - OVERLAY_DEGREE_MAX
    assert not {nodes[17], nodes[23]} & set(parted)


def test_who_was_parted_with_is_left_alone_unless_the_ring_wants_it() -> None:
    """For a while it is not dialled as a chord; the next on the ring is wanted again at once."""
    me, *others = ids(40)
    overlay = Overlay(me, random.Random(1))
    overlay.members(set(others), 0.0)
    for node in (others[0], others[20]):
        overlay.linked(node, 0.0)
        overlay.lost(node, 1.0)
        overlay.enough(node, 1.0)
    soon = set(overlay.due(1.0 + REDIAL_MIN_S))
    assert others[0] in soon
    assert others[20] not in soon
    for node in soon:
        overlay.dial_failed(node, 2.0)
    for node in others[1:20]:
        overlay.dial_failed(node, ENOUGH_REST_S)
    later: set[NodeId] = set()
    for second in range(200):
        for node in overlay.due(2.0 + ENOUGH_REST_S + second):
            later.add(node)
            overlay.dial_failed(node, 2.0 + ENOUGH_REST_S + second)
    assert others[20] in later


def test_lost_links_are_replaced() -> None:
    """When half of a large pool goes away, the rest stays connected and fills its links up again."""
    world = World(100)
    world.run(0.0, 3.0)
    world.down = set(random.Random(5).sample(world.nodes, 50))
    world.break_links(3.0)
    world.run(3.0, 60.0)
    assert world.parts() == 1
    assert all(world.degree(node) >= OVERLAY_DEGREE_MIN for node in world.nodes if node not in world.down)


@pytest.mark.parametrize("count", [10, 100])
def test_a_healed_partition_becomes_one_again(count: int) -> None:
    """Both halves work on for a while, and find each other soon after the network is back."""
    world = World(count)
    world.run(0.0, 3.0)
    half = set(random.Random(2).sample(world.nodes, count // 2))
    world.cut = {frozenset((one, other)) for one in half for other in world.nodes if other not in half}
    world.break_links(3.0)
    world.run(3.0, 120.0)
    assert world.parts() == 2
    world.cut = set()
    world.run(120.0, 120.0 + REDIAL_MAX_S + 1)
    assert world.parts() == 1


def test_the_ring_skips_the_silent() -> None:
    """The next node and, when it does not answer, the next one that may, are dialled even if the links are enough."""
    me, *others = ids(40)
    overlay = Overlay(me, random.Random(1))
    overlay.members(set(others), 0.0)
    overlay.due(0.0)
    for node in others[:5]:
        overlay.dial_failed(node, 1.0)
    for node in others[-OVERLAY_DEGREE_MIN:]:
        overlay.linked(node, 1.0)
    for node in others[5:-OVERLAY_DEGREE_MIN]:
        overlay.linked(node, 1.0)
        overlay.lost(node, 1.0)
    assert overlay.due(1.0 + 2 * REDIAL_MIN_S) == [others[0], others[5]]


def test_chords_are_random_and_prefer_those_who_answer() -> None:
    """Each node draws its own chords, and takes those who did not answer only when it has no others."""
    me, *others = ids(40)
    drawn = set()
    for seed in range(5):
        overlay = Overlay(me, random.Random(seed))
        overlay.members(set(others), 0.0)
        drawn.add(frozenset(overlay.due(0.0)))
    assert len(drawn) == 5
    overlay = Overlay(me, random.Random(1))
    overlay.members(set(others), 0.0)
    silent = set(others[1::2])
    for node in silent:
        overlay.dial_failed(node, 0.0)
    assert not silent & set(overlay.due(100.0))
    for node in set(others) - silent:
        overlay.dial_failed(node, 100.0)
    assert len(overlay.due(200.0)) == OVERLAY_DEGREE_MIN


def test_redialling_backs_off_with_jitter() -> None:
    """The waits double from the least to the greatest, each drawn from the upper half of its span."""
    me, peer = ids(2)
    overlay = Overlay(me, random.Random(1))
    overlay.members({me, peer}, 0.0)
    now = 0.0
    waits = []
    for _ in range(10):
        assert overlay.due(now) == [peer]
        assert overlay.due(now) == [], "not again while the outcome is open"
        overlay.dial_failed(peer, now)
        wake = overlay.wake_at()
        assert wake is not None
        assert overlay.due(wake - 0.001) == []
        waits.append(wake - now)
        now = wake
    spans = [min(REDIAL_MAX_S, REDIAL_MIN_S * 2**failures) for failures in range(1, 11)]
    assert all(span / 2 <= wait <= span for span, wait in zip(spans, waits, strict=True))
    assert len(set(waits)) == 10


def test_success_and_new_addresses_reset_the_wait() -> None:
    """After a link, or when there is a new way to try, the next dial comes soon."""
    me, peer = ids(2)
    overlay = Overlay(me, random.Random(1))
    overlay.members({peer}, 0.0)
    for at in range(8):
        overlay.due(at * 100.0)
        overlay.dial_failed(peer, at * 100.0)
    overlay.addresses_changed(peer)
    assert overlay.due(700.0) == []
    assert overlay.wake_at() == 700.0 + REDIAL_MIN_S
    assert overlay.due(700.0 + REDIAL_MIN_S) == [peer]
    overlay.dial_failed(peer, 701.0)
    overlay.due(750.0)
    overlay.dial_failed(peer, 750.0)
    overlay.linked(peer, 751.0)
    assert overlay.wake_at() is None
    assert overlay.due(752.0) == []
    overlay.lost(peer, 753.0)
    wake = overlay.wake_at()
    assert wake is not None
    assert 753.0 < wake <= 753.0 + REDIAL_MIN_S
    overlay.due(wake)
    overlay.dial_failed(peer, wake)
    again = overlay.wake_at()
    assert again is not None
    assert again <= wake + 2 * REDIAL_MIN_S


def test_a_new_address_heard_of_while_dialling_is_tried_next() -> None:
    """The dial under way goes to where the node was: when it has failed, the new way is tried without a wait, once."""
    me, peer = ids(2)
    overlay = Overlay(me, random.Random(1))
    overlay.members({peer}, 0.0)
    assert overlay.due(0.0) == [peer]
    overlay.addresses_changed(peer)
    assert overlay.due(1.0) == []
    overlay.dial_failed(peer, 10.0)
    assert overlay.due(10.0) == [peer]
    overlay.dial_failed(peer, 20.0)
    assert overlay.due(20.0) == []


def test_a_forgotten_dial_counts_as_failed() -> None:
    """When nothing is heard of a dial it is tried again after a while."""
    me, peer = ids(2)
    overlay = Overlay(me, random.Random(1))
    overlay.members({peer}, 0.0)
    assert overlay.due(0.0) == [peer]
    assert overlay.wake_at() == 2 * DIAL_TIMEOUT_S
    assert overlay.due(2 * DIAL_TIMEOUT_S) == [peer]


def test_the_higher_id_waits_a_moment() -> None:
    """When two nodes learn of each other at the same time, the lower one dials and the higher one would follow."""
    low, high = ids(2)
    first, second = Overlay(low, random.Random(1)), Overlay(high, random.Random(1))
    first.members({low, high}, 0.0)
    second.members({low, high}, 0.0)
    assert first.due(0.0) == [high]
    assert second.due(0.0) == []
    assert second.due(REDIAL_MIN_S) == [low]


def test_who_left_the_roster_is_not_dialled() -> None:
    """Removed members are forgotten, strangers ignored, and a node never dials itself."""
    me, one, other = ids(3)
    overlay = Overlay(me, random.Random(1))
    overlay.members({me, one, other}, 0.0)
    overlay.members({me, other}, 0.0)
    for event in (overlay.linked, overlay.lost, overlay.dial_failed):
        event(one, 0.0)
    overlay.addresses_changed(one)
    assert overlay.due(10.0) == [other]


@pytest.mark.parametrize(
    ("existing_by_low", "new_by_low", "keep_new"),
    [(True, False, False), (False, True, True), (True, True, True), (False, False, True)],
)
def test_both_ends_keep_the_same_connection(existing_by_low: bool, new_by_low: bool, keep_new: bool) -> None:
    """The lower id's dial survives a double dial, the newer one a repeated dial; both ends agree."""
    low, high = ids(2)
    assert keep_which(low, high, existing_by_low, new_by_low) == keep_new
    assert keep_which(high, low, not existing_by_low, not new_by_low) == keep_new
