"""Heads and progress reach everybody, once, whichever way they come."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace
from node_rooms import LINKED, WITHIN_S, Rooms, Tube, attending, author_of, node_id, tube, until

from meerkat.model.dot import Author
from meerkat.model.frame import Heads, LinkFrame
from meerkat.model.limits import SUMMARY_AUTHORS_AHEAD_MAX
from meerkat.model.member import NodeState, Summary
from meerkat.node import gossip as gossip_room
from meerkat.node.gossip import Gossip, Hearer

ZOE, YAN = author_of("zoe"), author_of("yan")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_room, "SUMMARY_INTERVAL_S", 0.01)
    monkeypatch.setattr(gossip_room, "SUMMARY_RELAY_S", 0.02)


def summary(name: str, counter: int, *, run: int = 1, behind: int = 0) -> Summary:
    return Summary(node_id(name), run, counter, NodeState.SYNCING, behind, 0, {}, {})


class Talker:
    """A node that tells and hears."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.news: list[Summary] = []
        self.gossip = Gossip(rooms.node, rooms.books, self.news.append)
        rooms.books.on_written(self.gossip.written)

    def linked(self, name: str, knows: dict[Author, int] | None = None) -> Tube[LinkFrame]:
        """A link whose other end is the test's."""
        mine, theirs = tube(LINKED)
        hearer = Hearer(node_id(name), mine, dict(knows or {}))
        self.rooms.tasks.spawn(f"tell {name}", attending(self.gossip.attend(hearer)))
        return theirs

    def link(self, other: "Talker") -> Tube[LinkFrame]:
        """A link over which both talk; this one's end."""
        mine, theirs = tube(LINKED)
        for one, peer, end in ((self, other, mine), (other, self, theirs)):
            node = peer.rooms.node
            one.rooms.tasks.spawn("tell", attending(one.gossip.attend(Hearer(node, end, {}))))
            one.rooms.tasks.spawn("hear", attending(one.hear(end, peer)))
        return mine

    async def hear(self, end: Tube[LinkFrame], peer: "Talker") -> None:
        async for frame in end.frames():
            if isinstance(frame, Heads):
                self.gossip.heard_heads(peer.rooms.node, dict(frame.vector))
            elif isinstance(frame, Summary):
                self.gossip.heard_summary(peer.rooms.node, frame)

    async def know(self, **context: int) -> None:
        vector = {author_of(name): seq for name, seq in context.items()}
        await self.rooms.books.write(lambda tx: tx.join_context(vector, {}))


async def heads(end: Tube[LinkFrame]) -> dict[Author, int]:
    """The next heads that are told."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            frame = await end.next()
            if isinstance(frame, Heads):
                return dict(frame.vector)


def test_heads_are_told_once_and_only_to_whom_they_are_news(tmp_path: Path) -> None:
    """After each write the other end hears what it is not known to have; what it said itself is not told back."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            await ada.know(zoe=3)
            end = ada.linked("bob", {ZOE: 3})
            await ada.know(zoe=4)
            assert await heads(end) == {ZOE: 4}
            ada.gossip.heard_heads(node_id("bob"), {YAN: 7})
            await ada.know(yan=7)
            await ada.know(zoe=5)
            assert await heads(end) == {ZOE: 5}
            await ada.rooms.books.write(lambda tx: None)
            await ada.know(zoe=6)
            assert await heads(end) == {ZOE: 6}, "a write without news is not told"

    asyncio.run(play())


def test_a_new_link_is_told_what_it_lacks(tmp_path: Path) -> None:
    """What was written before the link stood is told at its beginning."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            await ada.know(zoe=3, yan=2)
            assert await heads(ada.linked("bob", {ZOE: 1, YAN: 2})) == {ZOE: 3}

    asyncio.run(play())


def test_progress_only_grows(tmp_path: Path) -> None:
    """An older word about a node never replaces a newer one; a new run of it is newer than any before."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            for run, counter in ((1, 2), (1, 1), (1, 2), (2, 1), (1, 9), (2, 3)):
                ada.gossip.heard_summary(node_id("bob"), summary("zoe", counter, run=run))
            assert [(each.run, each.counter) for each in ada.news] == [(1, 2), (2, 1), (2, 3)]
            assert ada.gossip.latest[node_id("zoe")].counter == 3

    asyncio.run(play())


def test_nobody_else_speaks_of_this_node(tmp_path: Path) -> None:
    """What comes back of this node's own words, or is made up about it, is not taken."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            ada.gossip.say(summary("ada", 1))
            ada.gossip.heard_summary(node_id("bob"), summary("ada", 99, behind=7))
            assert ada.gossip.latest[rooms.node].counter == 1
            assert ada.news == []

    asyncio.run(play())


def test_a_rumour_does_not_silence_a_linked_node(tmp_path: Path) -> None:
    """Somebody says things of bob with numbers that bob never reaches: what bob says of itself counts all the same."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            lie = summary("bob", 2**61, run=2**63, behind=999)
            ada.gossip.heard_summary(node_id("liar"), lie)
            assert ada.gossip.latest[node_id("bob")] == lie
            ada.linked("bob")
            await until("bob is linked", lambda: node_id("bob") in ada.gossip._hearers)
            ada.gossip.heard_summary(node_id("bob"), summary("bob", 1))
            assert ada.gossip.latest[node_id("bob")] == summary("bob", 1)
            ada.gossip.heard_summary(node_id("liar"), lie)
            assert ada.gossip.latest[node_id("bob")] == summary("bob", 1)

    asyncio.run(play())


def test_progress_reaches_a_node_that_is_not_linked(tmp_path: Path) -> None:
    """Ada and cy are linked with bob alone: each hears of the other through him, the newest word in the end."""

    async def play() -> None:
        async with (
            Rooms(tmp_path / "ada") as one,
            Rooms(tmp_path / "bob", "bob") as two,
            Rooms(tmp_path / "cy", "cy") as three,
        ):
            ada, bob, cy = Talker(one), Talker(two), Talker(three)
            ada.link(bob)
            bob.link(cy)
            for counter in range(1, 6):
                ada.gossip.say(summary("ada", counter))
                await asyncio.sleep(0)
            cy.gossip.say(summary("cy", 1))
            await until(
                "cy knows ada", lambda: one.node in cy.gossip.latest and cy.gossip.latest[one.node].counter == 5
            )
            await until("ada knows cy", lambda: three.node in ada.gossip.latest)

    asyncio.run(play())


def test_nothing_is_said_twice_over_a_link(tmp_path: Path) -> None:
    """Two nodes that have told each other everything fall silent; a word is not sent to whom it came from."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as one, Rooms(tmp_path / "bob", "bob") as two:
            ada, bob = Talker(one), Talker(two)
            end = ada.link(bob)
            bob.gossip.heard_summary(node_id("zoe"), summary("zoe", 1))
            ada.gossip.say(summary("ada", 1))
            await until(
                "told", lambda: {node_id("zoe"), one.node} <= ada.gossip.latest.keys() & bob.gossip.latest.keys()
            )
            for _ in range(5):
                ada.gossip.written()
                bob.gossip.written()
                await asyncio.sleep(0.03)
            told = [frame.node for frame in (*end.sent, *end.other.sent) if isinstance(frame, Summary)]
            assert sorted(told) == sorted([one.node, node_id("zoe")])

    asyncio.run(play())


def test_who_left_is_forgotten(tmp_path: Path) -> None:
    """A node that is off the roster is spoken of no more."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            ada.gossip.heard_summary(node_id("zoe"), summary("zoe", 1))
            ada.gossip.forget(node_id("zoe"))
            ada.gossip.forget(node_id("zoe"))
            assert ada.gossip.latest == {}

    asyncio.run(play())


def test_a_lost_link_is_spoken_to_no_more(tmp_path: Path) -> None:
    """The telling ends with its link, and a newer link of the same node goes on."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            old = ada.linked("bob")
            new = ada.linked("bob")
            await until("both stand", lambda: len(ada.gossip._hearers) == 1)
            old.cut()
            await ada.know(zoe=1)
            assert await heads(new) == {ZOE: 1}
            new.cut()
            await ada.know(zoe=2)
            await until("nobody is told", lambda: not ada.gossip._hearers)

    asyncio.run(play())


def test_a_node_outbids_what_is_believed_of_it(tmp_path: Path) -> None:
    """Far from ada a later run of her is believed: a copy's, or her own under a clock that was ahead. Who is linked
    with her passes that back, and what she says then reaches everybody."""

    async def play() -> None:
        async with AsyncExitStack() as rooms:
            a, b, c = [await rooms.enter_async_context(Rooms(tmp_path / name, name)) for name in ("ada", "bob", "cy")]
            ada, bob, cy = Talker(a), Talker(b), Talker(c)
            runs = [5]

            def say() -> None:
                ada.gossip.say(Summary(a.node, runs[-1], 1, NodeState.UP_TO_DATE, 0, 0, {}, {}))

            def outbid(run: int) -> None:
                runs.append(run + 1)
                say()

            ada.gossip.on_outbid = outbid
            say()
            believed = Summary(a.node, 9, 4, NodeState.SYNCING, 7, 7, {}, {})
            cy.gossip.latest[a.node] = believed
            ada.link(bob)
            await until("bob has heard of her", lambda: a.node in bob.gossip.latest)
            bob.link(cy)
            await until("cy believes her", lambda: cy.gossip.latest[a.node].state is NodeState.UP_TO_DATE)
            assert runs == [5, 10]
            assert bob.gossip.latest[a.node].run == 10

    asyncio.run(play())


def test_what_is_older_of_a_node_is_not_passed_back(tmp_path: Path) -> None:
    """Rumours that the node itself has left behind, or that come from itself, are nothing to outbid."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            talker = Talker(ada)
            outbid: list[int] = []
            talker.gossip.on_outbid = outbid.append
            talker.gossip.say(Summary(ada.node, 5, 3, NodeState.UP_TO_DATE, 0, 0, {}, {}))
            for run, counter in ((5, 3), (4, 9), (5, 2)):
                talker.gossip.heard_summary(
                    node_id("zoe"), Summary(ada.node, run, counter, NodeState.UP_TO_DATE, 0, 0, {}, {})
                )
            assert outbid == []
            zoe = talker.linked("zoe")
            await until("linked", lambda: node_id("zoe") in talker.gossip._hearers)
            talker.gossip.heard_summary(node_id("zoe"), summary("zoe", 3))
            talker.gossip.heard_summary(node_id("yan"), summary("zoe", 2))
            talker.gossip.heard_summary(node_id("zoe"), summary("zoe", 2))
            assert talker.gossip._hearers[node_id("zoe")].rumour is None
            talker.gossip.heard_summary(node_id("yan"), summary("zoe", 4))
            async with asyncio.timeout(WITHIN_S):
                while (frame := await zoe.next()) != summary("zoe", 4):
                    assert frame is not None

    asyncio.run(play())


def test_who_hears_it_directly_is_not_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writes of a linked node wait a moment, and are told only to those who have not said that they know of them;
    this node's own, and those of a node that is not linked, go at once."""
    monkeypatch.setattr(gossip_room, "HEADS_RELAY_S", 0.3)

    async def scene() -> None:
        async with Rooms(tmp_path / "ada") as rooms:
            ada = Talker(rooms)
            ada.linked("zoe")
            ben, cleo = ada.linked("ben"), ada.linked("cleo")
            await until("all are attended", lambda: len(ada.gossip._hearers) == 3)
            await ada.know(zoe=4)
            await ada.know(yan=2)
            assert await heads(ben) == {YAN: 2}
            assert await heads(cleo) == {YAN: 2}
            said = replace(summary("ben", 1), context={ZOE: 4})
            ada.gossip.heard_summary(node_id("ben"), said)
            assert await heads(cleo) == {ZOE: 4}
            await ada.know(yan=3)
            assert await heads(ben) == {YAN: 3}

    asyncio.run(scene())


def test_progress_that_names_authors_without_end_is_not_kept(tmp_path: Path) -> None:
    """What a member says of each node may name the authors known here and some more, or memory would be the liar's. It
    is told again, so that what was dropped too early comes once those authors are known."""

    async def play() -> None:
        async with Rooms(tmp_path) as rooms:
            ada = Talker(rooms)
            flood = {Author(node_id("bob"), epoch): 1 for epoch in range(SUMMARY_AUTHORS_AHEAD_MAX + 1)}
            for part in ("context", "complete"):
                ada.gossip.heard_summary(node_id("bob"), replace(summary("bob", 1), **{part: flood}))
            assert ada.gossip.latest == {}
            flood.popitem()
            ada.gossip.heard_summary(node_id("bob"), replace(summary("bob", 2), context=flood, complete=flood))
            assert ada.gossip.latest[node_id("bob")].counter == 2

    asyncio.run(play())
