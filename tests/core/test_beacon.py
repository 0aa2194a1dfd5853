"""Names that members can read and nobody else can."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import node_ids

from meerkat.core.beacon import NAME_BYTES, beacon_key, beacon_name, names_near
from meerkat.model.ids import NodeId

days = st.integers(0, 100_000)


@given(st.binary(max_size=40), st.lists(node_ids, min_size=1, max_size=4, unique=True), days)
def test_members_know_whose_name_it_is(genesis: bytes, nodes: list[NodeId], day: int) -> None:
    """Also when their clock is a day off, either way; not when it is further off."""
    key = beacon_key(genesis)
    for node in nodes:
        for heard in (day - 1, day, day + 1):
            assert names_near(key, nodes, day)[beacon_name(key, node, heard)] == node
        assert beacon_name(key, node, day + 2) not in names_near(key, nodes, day)


@given(st.binary(max_size=40), st.binary(max_size=40), node_ids, days)
def test_names_say_nothing_without_the_key(one: bytes, other: bytes, node: NodeId, day: int) -> None:
    """Another pool's key gives other names; each day has its own; the node's id does not show."""
    key = beacon_key(one)
    name = beacon_name(key, node, day)
    assert len(name) == 2 * NAME_BYTES
    assert node[:6] not in name
    assert name != beacon_name(key, node, day + 1)
    if one != other:
        assert name != beacon_name(beacon_key(other), node, day)


def test_the_names_stay_what_they_are() -> None:
    """Nodes of different versions must understand each other's: these values may never change."""
    assert beacon_name(beacon_key(b"genesis"), NodeId("a" * 32), 20_000) == "3d37c1a190afe9bcb4cf2dcb8a8ded8f"
