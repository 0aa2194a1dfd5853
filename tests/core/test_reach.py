"""Reach: links as both ends tell them, put together; a way of links to somebody is all that counts."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from meerkat.core.reach import Reach, Stamp, stamp_of
from meerkat.model.frame import Neighbours
from meerkat.model.ids import NodeId
from meerkat.model.limits import NEIGHBOURS_OF_STRANGERS_MAX, RUN_MAX

ME, A, B, C, D = (NodeId(letter * 32) for letter in "mabcd")
NONE: frozenset[NodeId] = frozenset()


def said(
    node: NodeId, *linked: NodeId, counter: int = 1, run: int = 1, doubted: frozenset[NodeId] = NONE
) -> Neighbours:
    return Neighbours(node, run, counter, frozenset(linked), doubted)


def reach(*linked: NodeId) -> Reach:
    mine = Reach(ME, 1)
    mine.members({ME, A, B, C, D})
    mine.say(linked, ())
    return mine


def test_a_way_of_links_is_enough() -> None:
    """B is linked with A, which is linked with this node: B is there. C is linked with nobody whom a way leads to."""
    mine = reach(A)
    assert mine.within() == {A}
    mine.hear(said(A, ME, B))
    mine.hear(said(B, A))
    mine.hear(said(C, D))
    mine.hear(said(D, C))
    assert mine.within() == {A, B}


def test_both_ends_must_say_so() -> None:
    """What one end claims of a link is no link: a dead node's last word keeps nobody alive, a lie makes nobody so."""
    mine = reach(A)
    mine.hear(said(A, ME))
    mine.hear(said(B, A, ME))
    assert mine.within() == {A}
    mine.hear(said(A, ME, B, counter=2))
    assert mine.within() == {A, B}
    mine.hear(said(A, ME, counter=3))
    assert mine.within() == {A}


def test_nobody_can_say_that_two_others_are_not_linked() -> None:
    """B loses all its own links, or says so: A and C are there as before."""
    mine = reach(A, B)
    for word in (said(A, ME, B, C), said(B, ME, A, C), said(C, A, B)):
        mine.hear(word)
    assert mine.within() == {A, B, C}
    mine.hear(said(B, counter=2))
    assert mine.within() == {A, B, C}, "this node's own link with B stands"
    mine.say({A}, ())
    assert mine.within() == {A, C}


def test_only_members_are_there() -> None:
    """A stranger is not, though it has links; when its admission has come, it is, without being told of again."""
    mine = reach(A)
    stranger = NodeId("s" * 32)
    mine.hear(said(A, ME, stranger))
    mine.hear(said(stranger, A))
    assert mine.within() == {A}
    mine.members({ME, A, stranger})
    assert mine.within() == {A, stranger}
    mine.members({ME, A})
    assert mine.within() == {A}


def test_strangers_are_not_remembered_without_end() -> None:
    """A member that speaks of thousands of strangers fills no memory."""
    mine = reach(A)
    for number in range(10 * NEIGHBOURS_OF_STRANGERS_MAX):
        mine.hear(said(NodeId(f"{number:032}"), A))
    assert len(mine.owed(A, {})) <= NEIGHBOURS_OF_STRANGERS_MAX + 1


def test_older_words_are_no_news() -> None:
    """Words come over many ways and in any order: the newest one of a node counts, a later start before all."""
    mine = reach(A)
    assert mine.hear(said(A, ME, B, counter=2))
    assert not mine.hear(said(A, ME, counter=1))
    assert not mine.hear(said(A, ME, B, counter=2))
    assert mine.hear(said(A, ME, counter=1, run=2))
    assert not mine.hear(said(ME, counter=100))


def test_saying_is_news_only_when_it_changes() -> None:
    """Links and doubts as before are not said again; doubts of nodes that are not linked are none."""
    mine = reach(A)
    first = mine.own
    assert not mine.say([A], [])
    assert mine.say([A, B], [B, C])
    assert mine.own == Neighbours(ME, 1, first.counter + 1, frozenset({A, B}), frozenset({B}))


def test_others_are_told_what_they_do_not_hear_themselves() -> None:
    """B is linked with A: it tells A itself. C is not: A hears of it here, once."""
    mine = reach(A, B, C)
    for word in (said(A, ME, B), said(B, ME, A), said(C, ME)):
        mine.hear(word)
    heard: dict[NodeId, Stamp] = {}
    told = mine.owed(A, heard)
    assert {word.node for word in told} == {ME, C}
    heard |= {word.node: stamp_of(word) for word in told}
    assert mine.owed(A, heard) == []
    mine.hear(said(B, ME, counter=2))
    assert [word.node for word in mine.owed(A, heard)] == [B], "B is not linked with A any more: who else would tell"


def test_a_node_whose_clock_was_set_back_goes_beyond_its_former_start() -> None:
    """Members believe an earlier start of it: whoever is linked with it tells it so, and it outbids that."""
    theirs = reach(A)
    theirs.hear(said(A, ME, run=9))
    assert theirs.owed(A, {}) == [theirs.own]
    [word] = [word for word in theirs.owed(A, {A: (3, 1)}) if word.node == A]
    restarted = Reach(A, 3)
    restarted.say([ME], [])
    assert restarted.outbid(word)
    assert restarted.own.linked == {ME}
    assert theirs.hear(restarted.own)
    assert not restarted.outbid(restarted.own), "its own word comes back"
    assert not restarted.outbid(word), "an old one comes back"
    restarted.outbid(said(A, run=RUN_MAX))
    assert restarted.own.run == RUN_MAX
    assert not restarted.outbid(said(A, run=RUN_MAX, counter=9)), "nothing is beyond"


@given(st.data())
def test_all_of_a_part_see_the_same_part(data: st.DataObject) -> None:
    """Whatever links stand: once everybody has heard everybody's words, each sees exactly those a way leads to."""
    nodes = [NodeId(f"{number:032}") for number in range(data.draw(st.integers(2, 7)))]
    links = data.draw(st.sets(st.sampled_from(list(combinations(nodes, 2)))))
    around = {node: {other for link in links if node in link for other in link if other != node} for node in nodes}
    views = {node: Reach(node, 1) for node in nodes}
    for node, view in views.items():
        view.members(set(nodes))
        view.say(around[node], ())
    for view in views.values():
        for other in data.draw(st.permutations(nodes)):
            view.hear(views[other].own)
    for node, view in views.items():
        found: set[NodeId] = set()
        ahead = [node]
        while ahead:
            for other in around[ahead.pop()] - found:
                found.add(other)
                ahead.append(other)
        assert view.within() == found - {node}
