"""Comparing by ranges over the Index stream: as if everything had been told, for what it costs."""

import asyncio
from pathlib import Path

import pytest
from node_rooms import (
    ASKED,
    Rooms,
    Tube,
    attending,
    author_of,
    file_version,
    folder_version,
    node_id,
    path,
    tombstone,
    tube,
    until,
)

from meerkat.model.dot import Dot
from meerkat.model.frame import (
    AskEntries,
    EntriesEnd,
    EntriesPart,
    IndexFrame,
    Marks,
    Pick,
    Prints,
)
from meerkat.model.ids import NodeId
from meerkat.model.version import Entry, Version
from meerkat.node import pull as pull_room
from meerkat.node import ranges as ranges_room
from meerkat.node.pull import Source
from meerkat.wire.convert_index import encode_query

COUNT = 300


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_room, "RANGES_WORTH", 0)
    monkeypatch.setattr("meerkat.core.ranges.RANGE_PATHS", 16)
    monkeypatch.setattr("meerkat.core.ranges.RANGE_PATHS_FINE", 4)
    monkeypatch.setattr(ranges_room, "RANGES_PER_FRAME_MAX", 5)


def link(one: Rooms, other: Rooms, *, doubted: bool = False) -> Tube[IndexFrame]:
    """Both on one stream, neither beneath the other's floor unless its index says so; the first one's end."""
    mine, theirs = tube(ASKED)
    for rooms, peer, end in ((one, other, mine), (other, one, theirs)):
        source = Source(
            peer.node, end, dict(peer.books.context), dict(peer.books.floor), bool(peer.books.recovering), ranges=True
        )
        source.doubted = doubted and rooms is one
        rooms.tasks.spawn("attend", attending(rooms.puller.attend(source)))
    return mine


async def fill(rooms: Rooms, names: list[str], version: Version, *, by: str = "zoe", first: int = 1) -> None:
    """Another member has written all of these."""
    author = author_of(by)
    entries = [Entry(path(name), {Dot(author, first + at): version}) for at, name in enumerate(sorted(names))]

    def put(tx: object) -> None:
        for entry in entries:
            tx.put_siblings(entry.path, entry.siblings)  # type: ignore[attr-defined]
        tx.join_context({author: first + len(names) - 1}, {})  # type: ignore[attr-defined]

    await rooms.books.write(put)


async def forget(rooms: Rooms, name: str) -> None:
    """A tombstone is forgotten, and the floor raised above it."""

    def work(tx: object) -> None:
        siblings = tx.siblings(path(name))  # type: ignore[attr-defined]
        tx.put_siblings(path(name), {})  # type: ignore[attr-defined]
        tx.join_context({}, {dot.author: dot.seq for dot in siblings})  # type: ignore[attr-defined]

    await rooms.books.write(work)


async def entries(rooms: Rooms) -> dict[str, object]:
    return {each.path: each.siblings for each in await rooms.books.read(lambda view: list(view.entries()))}


def test_whoever_is_below_the_floor_becomes_level_for_little(tmp_path: Path) -> None:
    """What the pool deleted and forgot goes, what this node alone wrote stays and is told, what others wrote comes; and
    of hundreds of equal entries none is told."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            names = [f"d{number // 30}/f{number:03}" for number in range(COUNT)]
            for rooms in (ada, bob):
                await fill(rooms, names, file_version(b"x"))
            await bob.told(names[40], tombstone(2), by="yan")
            await forget(bob, names[40])
            await bob.told(names[70], file_version(b"new", height=2), by="yan")
            await ada.told("d4/mine", file_version(b"mine"), by="ada")
            end = link(ada, bob)
            await until("level", lambda: ada.books.context == bob.books.context)
            await until("as one", lambda: ada.books.fingerprint == bob.books.fingerprint)
            assert await entries(ada) == await entries(bob)
            assert names[40] not in await entries(ada)
            assert "d4/mine" in await entries(bob)
            asks = [frame for frame in end.sent if isinstance(frame, AskEntries)]
            assert [ask.ranges for ask in asks] == [True]
            told = [entry.path for frame in end.other.sent if isinstance(frame, EntriesPart) for entry in frame.entries]
            assert told == [names[70]]
            size = sum(len(encode_query(frame)) for frame in (*end.sent, *end.other.sent))
            assert size < 6000

    asyncio.run(play())


def test_what_is_learnt_meanwhile_is_merged_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While ada compares she hears from cy of a file that bob knows to be deleted, and has forgotten: it is where both
    were equal, and must not stay."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            names = [f"f{number:03}" for number in range(50)]
            for rooms in (ada, bob):
                await fill(rooms, names, file_version(b"x"))
            await fill(bob, ["ghost"], file_version(b"boo"), by="yan")
            await bob.told("ghost", tombstone(2), by="eve")
            await forget(bob, "ghost")
            await bob.told(names[3], file_version(b"new", height=2), by="eve")
            mine, theirs = tube(ASKED)
            source = Source(bob.node, mine, dict(bob.books.context), dict(bob.books.floor), False, ranges=True)
            ada.tasks.spawn("attend", attending(ada.puller.attend(source)))
            relay_mine, relay_theirs = tube(ASKED)
            back = Source(ada.node, relay_theirs, {}, {}, False, ranges=True)
            bob.tasks.spawn("attend", attending(bob.puller.attend(back)))
            ghost = Entry(path("ghost"), {Dot(author_of("yan"), 1): file_version(b"boo")})

            async def down() -> None:
                async for frame in theirs.frames():
                    await relay_mine.send(frame)

            async def up() -> None:
                async for frame in relay_mine.frames():
                    if isinstance(frame, EntriesEnd):
                        await ada.books.write(lambda tx: tx.put_siblings(ghost.path, ghost.siblings))
                        await ada.books.write(lambda tx: tx.join_context({author_of("yan"): 1}, {}))
                    await theirs.send(frame)

            ada.tasks.spawn("down", attending(down()))
            ada.tasks.spawn("up", attending(up()))
            await until("level", lambda: ada.books.context == bob.books.context)
            assert "ghost" not in await entries(ada)
            assert ada.books.fingerprint == bob.books.fingerprint

    asyncio.run(play())


def test_who_differs_in_nearly_all_is_told_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing is given up, and everything asked for under another number."""
    monkeypatch.setattr("meerkat.core.ranges.RANGES_DIFFERING_MAX", 50)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            names = [f"f{number:03}" for number in range(200)]
            await fill(ada, names, file_version(b"x"), by="yan")
            await fill(bob, names, file_version(b"y"), by="zoe")
            await bob.told(names[0], tombstone(2), by="eve")
            await forget(bob, names[0])
            end = link(ada, bob)
            await until("level", lambda: ada.books.context == bob.books.context)
            asks = [frame for frame in end.sent if isinstance(frame, AskEntries)]
            assert [ask.ranges for ask in asks] == [True, False]

    asyncio.run(play())


def test_equal_contexts_that_hold_different_things_are_told_apart(tmp_path: Path) -> None:
    """The cross-check: somewhere something is wrong, and it is found without telling everything."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            names = [f"f{number:03}" for number in range(100)]
            for rooms in (ada, bob):
                await fill(rooms, names, folder_version())
            await ada.books.write(lambda tx: tx.put_siblings(path(names[7]), {}))
            assert ada.books.contradict(bob.books.context, bob.books.fingerprint)
            await bob.books.write(lambda tx: tx.put_siblings(path(names[9]), {}))
            end = link(ada, bob, doubted=True)
            await until("asked", lambda: any(isinstance(frame, Pick) for frame in end.sent))
            await until("level", lambda: ada.puller.level and not ada.puller.sources()[0].doubted)
            told = [entry.path for frame in end.other.sent if isinstance(frame, EntriesPart) for entry in frame.entries]
            assert told == [names[7]]

    asyncio.run(play())


@pytest.mark.parametrize("what", ["other entries", "too few", "a wrong round", "no ranges"])
def test_who_answers_by_ranges_what_was_not_asked_is_at_fault(tmp_path: Path, what: str) -> None:
    """Nothing is taken over from such an answer."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            await fill(ada, [f"f{number:03}" for number in range(20)], folder_version())
            faults: list[tuple[NodeId, str]] = []
            ada.puller.on_fault = lambda node, why: faults.append((node, why))
            mine, theirs = tube(ASKED)
            source = Source(node_id("bob"), mine, {author_of("eve"): 1}, {author_of("eve"): 1}, False, ranges=True)
            ada.tasks.spawn("attend", attending(ada.puller.attend(source)))
            ask = await theirs.next()
            assert isinstance(ask, AskEntries)
            end = EntriesEnd(ask.id, {author_of("eve"): 1}, {}, True, b"")
            stranger = Entry(path("zz"), {Dot(author_of("eve"), 1): folder_version()})
            if what == "no ranges":
                await theirs.send(Marks(ask.id, (b"b",), bytes(16), True))
            elif what == "a wrong round":
                await theirs.send(Prints(ask.id, (b"",), True))
            elif what == "other entries":
                await theirs.send(EntriesPart(ask.id, (stranger,)))
                await theirs.send(EntriesPart(ask.id, (stranger,)))
            else:
                await theirs.send(Marks(ask.id, (b"\xff",), bytes(16), True))
                await theirs.next()
                await theirs.send(Marks(ask.id, (b"\xff",), bytes(16), True))
                await theirs.next()
                await theirs.send(Prints(ask.id, (b"12345678",), True))
                await theirs.next()
                await theirs.send(end)
            await until("at fault", lambda: faults)
            assert ada.books.context == {author_of("zoe"): 20}

    asyncio.run(play())


def test_whoever_picks_what_was_not_told_is_at_fault(tmp_path: Path) -> None:
    """And whoever does not pick is waited for no longer than a while; his snapshot is given back."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            await fill(ada, [f"f{number:03}" for number in range(20)], folder_version())
            faults: list[NodeId] = []
            ada.puller.on_fault = lambda node, why: faults.append(node)
            mine, theirs = tube(ASKED)
            source = Source(node_id("bob"), mine, {}, {}, False, ranges=True)
            ada.tasks.spawn("attend", attending(ada.puller.attend(source)))
            await theirs.send(AskEntries(1, {}, {}, True, ranges=True))
            assert isinstance(await theirs.next(), Marks)
            await theirs.send(Pick(2, (0,)))
            await theirs.send(Pick(1, (77,)))
            await until("at fault", lambda: faults == [node_id("bob")])
            await until("forgotten", lambda: not source.picks)

    asyncio.run(play())
