"""Questions for entries: answers are whole, of one instant, and asked for once."""

import asyncio
from pathlib import Path

import pytest
from node_rooms import (
    ASKED,
    WITHIN_S,
    Rooms,
    Tube,
    attending,
    author_of,
    eventually,
    file_version,
    folder_version,
    node_id,
    path,
    tube,
    until,
)

from meerkat.model.dot import Author, Dot
from meerkat.model.frame import AskEntries, EntriesEnd, EntriesPart, IndexFrame, Refused
from meerkat.model.ids import NodeId
from meerkat.model.version import Entry
from meerkat.node import pull as pull_room
from meerkat.node.pull import Source

ZOE, YAN = author_of("zoe"), author_of("yan")


def attended(
    rooms: Rooms,
    name: str,
    context: dict[Author, int] | None = None,
    floor: dict[Author, int] | None = None,
    *,
    recovering: bool = False,
    packed: bool = False,
    room: int = 0,
) -> Tube[IndexFrame]:
    """A linked member of whom the test speaks the lines; its end of the stream."""
    mine, theirs = tube(ASKED, room)
    source = Source(node_id(name), mine, dict(context or {}), dict(floor or {}), recovering, packed=packed)
    rooms.tasks.spawn(f"attend {name}", attending(rooms.puller.attend(source)))
    return theirs


def joined(one: Rooms, other: Rooms) -> Tube[IndexFrame]:
    """Both levelled by one stream; the first one's end."""
    mine, theirs = tube(ASKED)
    for rooms, peer, end in ((one, other, mine), (other, one, theirs)):
        source = Source(peer.node, end, dict(peer.books.context), dict(peer.books.floor), bool(peer.books.recovering))
        rooms.tasks.spawn("attend", attending(rooms.puller.attend(source)))
    return mine


def entry(name: str, author: Author, seq: int) -> Entry:
    return Entry(path(name), {Dot(author, seq): folder_version()})


async def asked(end: Tube[IndexFrame]) -> AskEntries:
    """The next question."""
    async with asyncio.timeout(WITHIN_S):
        frame = await end.next()
    assert isinstance(frame, AskEntries)
    return frame


async def names(rooms: Rooms) -> set[str]:
    """Every path of the index, and of what is kept aside."""
    entries = await rooms.books.read(lambda view: list(view.entries()))
    aside = await rooms.books.write(lambda tx: [each for pull in range(1, 9) for each in tx.aside(pull)])
    return {each.path for each in entries} | {f"aside {each.path}" for each in aside}


def test_two_nodes_become_level(tmp_path: Path) -> None:
    """Each asks for what the other has, over one stream, and both end with the same index."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            ada.put("f/a.txt", b"a")
            bob.put("g/b.txt", b"b")
            await ada.scan()
            await bob.scan()
            joined(ada, bob)
            await until("level", lambda: ada.books.context == bob.books.context and len(ada.books.context) == 2)
            assert ada.books.fingerprint == bob.books.fingerprint
            assert await names(ada) == await names(bob) == {"f", "f/a.txt", "g", "g/b.txt"}
            assert set(ada.merged) == {"g", "g/b.txt"}
            assert ada.puller.level

    asyncio.run(play())


def test_an_answer_is_of_one_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while a long answer is under way is not in it, nor in the vectors that it ends with."""
    monkeypatch.setattr(pull_room, "ENTRIES_PER_PART_MAX", 2)
    monkeypatch.setattr(pull_room, "PARTS_AT_ONCE", 1)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            for number in range(6):
                ada.put(f"{number}", b"x")
            await ada.scan()
            then = dict(ada.books.context), ada.books.fingerprint
            end = attended(ada, "bob", room=1)
            await end.send(AskEntries(5, {}, {}, full=False))
            first = await end.next()
            ada.put("0a", b"late")
            ada.put("5", b"changed")
            await ada.scan()
            frames = [first]
            while not isinstance(frames[-1], EntriesEnd):
                frames.append(await end.next())
            *parts, last = frames
            told = [each for part in parts if isinstance(part, EntriesPart) for each in part.entries]
            assert [each.path for each in told] == ["0", "1", "2", "3", "4", "5"]
            assert [version.content for version in told[-1].siblings.values()] == [file_version(b"x").content]
            assert len(parts) == 3
            assert isinstance(last, EntriesEnd)
            assert (last.id, last.context, last.fingerprint, last.full) == (5, *then, False)

    asyncio.run(play())


def test_a_delta_holds_only_what_is_not_covered(tmp_path: Path) -> None:
    """Whoever knows the first writes is told of the later ones alone; a full answer tells all."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("old", b"x")
            await ada.scan()
            then = dict(ada.books.context)
            ada.put("new", b"x")
            await ada.scan()
            end = attended(ada, "bob")
            for number, (context, full, expected) in enumerate(
                [(then, False, ["new"]), (then, True, ["new", "old"]), (ada.books.context, False, [])]
            ):
                await end.send(AskEntries(number, context, {}, full=full))
                told: list[str] = []
                while isinstance(frame := await end.next(), EntriesPart):
                    told += [each.path for each in frame.entries]
                assert told == expected
                assert isinstance(frame, EntriesEnd)

    asyncio.run(play())


@pytest.mark.parametrize("parts", [1, 3])
def test_an_interrupted_pull_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """The link ends before the answer is whole: no path of it is known, nothing lies aside, it is asked for anew."""
    monkeypatch.setattr(pull_room, "ENTRIES_ASIDE_MIN", 2)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            end = attended(ada, "bob", {ZOE: 9})
            ask = await asked(end)
            for number in range(parts):
                await end.send(EntriesPart(ask.id, (entry(f"{number}", ZOE, number + 1),)))
            if parts >= 2:

                async def lie_aside() -> bool:
                    return await names(ada) == {"aside 0", "aside 1"}

                await eventually("some lie aside", lie_aside)
            end.cut()
            await until("the source is gone", lambda: not ada.puller.sources())
            await until("the pull has ended", lambda: not any("pull" in each.get_name() for each in running(ada)))
            assert await names(ada) == set()
            assert ada.books.context == {}
            again = attended(ada, "cy", {ZOE: 9})
            assert (await asked(again)).context == {}

    asyncio.run(play())


def running(rooms: Rooms) -> "set[asyncio.Task[object]]":
    return rooms.tasks._running


def test_a_long_answer_is_merged_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts lie aside, seen by nobody, until the last has come; then all of them count in one transaction."""
    monkeypatch.setattr(pull_room, "ENTRIES_ASIDE_MIN", 2)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            end = attended(ada, "bob", {ZOE: 5})
            ask = await asked(end)
            for number in range(5):
                await end.send(EntriesPart(ask.id, (entry(f"{number}", ZOE, number + 1),)))

            async def lie_aside() -> bool:
                return await names(ada) == {f"aside {number}" for number in range(4)}

            await eventually("the first parts lie aside", lie_aside)
            assert ada.merged == []
            await end.send(EntriesEnd(ask.id, {ZOE: 5}, {}, False, b""))
            await until("merged", lambda: ada.merged)
            assert await names(ada) == {f"{number}" for number in range(5)}
            assert ada.books.context == {ZOE: 5}

    asyncio.run(play())


def test_the_same_news_is_asked_for_once(tmp_path: Path) -> None:
    """Two links announce what one of them is being asked for already; only what is beyond that is asked elsewhere."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob, cy = attended(ada, "bob"), attended(ada, "cy")
            await until("both are there", lambda: len(ada.puller.sources()) == 2)
            for name in ("bob", "cy"):
                ada.puller.heard(node_id(name), {ZOE: 1})
            ask = await asked(bob)
            await bob.send(EntriesPart(ask.id, (entry("a", ZOE, 1),)))
            await bob.send(EntriesEnd(ask.id, {ZOE: 1}, {}, False, b""))
            await until("merged", lambda: ada.puller.level)
            assert cy.arriving.empty()
            ada.puller.heard(node_id("bob"), {ZOE: 2})
            ask = await asked(bob)
            ada.puller.heard(node_id("cy"), {ZOE: 2, YAN: 1})
            assert (await asked(cy)).context == {ZOE: 1}, "there is more than bob was asked for"

    asyncio.run(play())


def test_news_from_a_link_that_ends_is_asked_for_elsewhere(tmp_path: Path) -> None:
    """Who waited for another's answer asks by itself when that link is lost."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob, cy = attended(ada, "bob"), attended(ada, "cy")
            await until("both are there", lambda: len(ada.puller.sources()) == 2)
            for name in ("bob", "cy"):
                ada.puller.heard(node_id(name), {ZOE: 1})
            await asked(bob)
            bob.cut()
            await asked(cy)

    asyncio.run(play())


def test_what_was_forgotten_there_is_compared_in_full(tmp_path: Path) -> None:
    """A member that has forgotten tombstones refuses a delta to whoever has not heard of them: all is asked for."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            await bob.books.write(lambda tx: tx.join_context({ZOE: 3}, {ZOE: 3}))
            bob.put("a", b"a")
            await bob.scan()
            end = attended(bob, "cy")
            await end.send(AskEntries(1, {}, {}, full=False))
            refusal = await end.next()
            assert isinstance(refusal, Refused)
            assert (refusal.id, refusal.code) == (1, "need_full")
            mine = joined(ada, bob)
            await until("level", lambda: ada.books.context == bob.books.context)
            assert ada.books.floor == {ZOE: 3}
            asks = [frame for frame in mine.sent if isinstance(frame, AskEntries)]
            assert [ask.full for ask in asks] == [True]

    asyncio.run(play())


@pytest.mark.parametrize("refuses", [True, False])
def test_a_floor_that_was_not_known_leads_to_a_full_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """The floor rose since the greeting: the refusal, or the answer that cannot be merged, tells so."""
    monkeypatch.setattr(pull_room, "PULL_RETRY_S", 0.0)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob", {ZOE: 2})
            ask = await asked(bob)
            assert not ask.full
            if refuses:
                await bob.send(Refused(ask.id, "need_full"))
            else:
                await bob.send(EntriesPart(ask.id, (entry("a", ZOE, 2),)))
                await bob.send(EntriesEnd(ask.id, {ZOE: 2}, {ZOE: 1}, False, b""))
            ask = await asked(bob)
            assert ask.full
            assert await names(ada) == set()
            await bob.send(EntriesPart(ask.id, (entry("a", ZOE, 2),)))
            await bob.send(EntriesEnd(ask.id, {ZOE: 2}, {ZOE: 1}, True, b""))
            await until("merged", lambda: ada.books.context == {ZOE: 2})
            assert ada.books.floor == {ZOE: 1}

    asyncio.run(play())


def test_who_recovers_answers_nothing_and_learns_everything(tmp_path: Path) -> None:
    """A node without a sound index says "not ready"; it asks members in full, and says when it has one whole index."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            bob.put("a", b"a")
            await bob.scan()
            await ada.books.write(lambda tx: tx.put_meta("recovering", b"lost"))
            end = attended(ada, "cy", recovering=True)
            await end.send(AskEntries(1, {}, {}, full=False))
            refusal = await end.next()
            assert isinstance(refusal, Refused)
            assert refusal.code == "not_ready"
            mine = joined(ada, bob)
            await until("recovered", lambda: ada.recovered)
            assert ada.books.pulled_whole
            assert [frame.full for frame in mine.sent if isinstance(frame, AskEntries)] == [True]
            assert len(await ada.living("a")) == 1
            assert end.arriving.empty(), "another that recovers is not asked"

    asyncio.run(play())


@pytest.mark.parametrize("packed", [True, False])
def test_entries_are_packed_for_who_understands_it(tmp_path: Path, packed: bool) -> None:
    """And for nobody else, who would see nothing in them."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", b"a")
            await ada.scan()
            end = attended(ada, "bob", packed=packed)
            await end.send(AskEntries(1, {}, {}, full=False))
            part = await end.next()
            assert isinstance(part, EntriesPart)
            assert part.packed == packed

    asyncio.run(play())


def test_a_doubt_is_settled_by_comparing_everything(tmp_path: Path) -> None:
    """Equal contexts with unequal fingerprints: the question is in full, once."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob")
            await until("bob is there", ada.puller.sources)
            ada.puller.doubt(node_id("bob"))
            ask = await asked(bob)
            assert ask.full
            await bob.send(EntriesEnd(ask.id, {}, {}, True, b""))
            (source,) = ada.puller.sources()
            await until("settled", lambda: not source.doubted)
            assert bob.arriving.empty()

    asyncio.run(play())


def test_who_has_lost_a_part_of_its_index_takes_nothing_away(tmp_path: Path) -> None:
    """It knows all writes and lacks some of what they wrote, as after damage: what stands on this disk stays, and is
    told anew, whatever it says."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("kept", b"kept")
            ada.put("d/too", b"too")
            await ada.scan()
            bob = attended(ada, "bob")
            await until("bob is there", ada.puller.sources)
            before = dict(ada.books.context)
            ada.puller.doubt(node_id("bob"))
            ask = await asked(bob)
            await bob.send(EntriesEnd(ask.id, before, {}, True, b""))
            (source,) = ada.puller.sources()
            await until("settled", lambda: not source.doubted)
            assert await names(ada) == {"kept", "d", "d/too"}
            assert ada.books.context != before

    asyncio.run(play())


def test_answers_that_nobody_asked_for_are_ignored(tmp_path: Path) -> None:
    """Numbers of no question, or of one that has ended, change nothing."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob")
            await bob.send(EntriesPart(99, (entry("a", ZOE, 1),)))
            await bob.send(EntriesEnd(99, {ZOE: 1}, {}, False, b""))
            await bob.send(AskEntries(1, {}, {}, full=False))
            assert isinstance(await bob.next(), EntriesEnd)
            assert ada.books.context == {}

    asyncio.run(play())


def test_a_refusal_for_now_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member is not ready yet: after a moment it is asked the same again."""
    monkeypatch.setattr(pull_room, "PULL_RETRY_S", 0.0)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob", {ZOE: 1})
            for _ in range(3):
                ask = await asked(bob)
                await bob.send(Refused(ask.id, "not_ready"))
            ask = await asked(bob)
            await bob.send(EntriesPart(ask.id, (entry("a", ZOE, 1),)))
            await bob.send(EntriesEnd(ask.id, {ZOE: 1}, {}, False, b""))
            await until("merged", lambda: ada.puller.level)

    asyncio.run(play())


def test_a_member_that_has_less_than_it_announced_is_not_asked_for_ever(tmp_path: Path) -> None:
    """It announced a write that its snapshot does not have (a rolled back disk): its own answer is believed."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob", {ZOE: 5})
            ask = await asked(bob)
            await bob.send(EntriesPart(ask.id, (entry("a", ZOE, 3),)))
            await bob.send(EntriesEnd(ask.id, {ZOE: 3}, {}, False, b""))
            await until("level", lambda: ada.puller.level)
            assert bob.arriving.empty()

    asyncio.run(play())


def blames(rooms: Rooms) -> list[tuple[NodeId, str]]:
    """Whom the puller blames for what, as it comes."""
    found: list[tuple[NodeId, str]] = []
    rooms.puller.on_fault = lambda node, why: found.append((node, why))
    return found


@pytest.mark.parametrize(
    ("what", "parts", "context"),
    [
        ("order", [("b", ZOE, 1), ("a", ZOE, 2)], {ZOE: 2}),
        ("twice", [("a", ZOE, 1), ("a", ZOE, 2)], {ZOE: 2}),
        ("uncovered", [("a", ZOE, 1), ("b", ZOE, 3)], {ZOE: 2}),
        ("authors", [("a", ZOE, 1)], {ZOE: 1} | {Author(ZOE.node, epoch): 1 for epoch in range(10, 50)}),
    ],
)
def test_an_answer_that_does_not_agree_with_itself_is_blamed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    parts: list[tuple[str, Author, int]],
    context: dict[Author, int],
) -> None:
    """Paths out of order or twice, writes beyond the context that it ends with, more authors than a pool can have:
    nothing of it is merged, and the member is named."""
    assert what
    monkeypatch.setattr("meerkat.core.told.VECTOR_AUTHORS_MAX", 20)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            found = blames(ada)
            bob = attended(ada, "bob", {ZOE: 2})
            ask = await asked(bob)
            for each in parts:
                await bob.send(EntriesPart(ask.id, (entry(*each),)))
            await bob.send(EntriesEnd(ask.id, context, {}, False, b""))
            await until("bob is blamed", lambda: found)
            assert {node for node, _ in found} == {node_id("bob")}
            assert await names(ada) == set()
            assert ada.books.context == {}

    asyncio.run(play())


def test_who_does_not_answer_keeps_nobody_from_asking_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two members announce the same news, the one that is asked says nothing: the other one is asked."""
    monkeypatch.setattr(pull_room, "PULL_SILENCE_S", 0.1)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            mute = attended(ada, "mute", {ZOE: 1})
            await asked(mute)
            bob = attended(ada, "bob", {ZOE: 1})
            ask = await asked(bob)
            await bob.send(EntriesPart(ask.id, (entry("a", ZOE, 1),)))
            await bob.send(EntriesEnd(ask.id, {ZOE: 1}, {}, False, b""))
            await until("merged", lambda: ada.puller.level)

    asyncio.run(play())


def test_an_answer_without_end_takes_one_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that trickles parts for ever: after a while the others are asked for the same, beside it."""
    monkeypatch.setattr(pull_room, "PULL_TURN_S", 0.1)
    monkeypatch.setattr(pull_room, "PULLS_MAX", 1)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            endless = attended(ada, "endless", {ZOE: 1})
            ask = await asked(endless)

            async def trickle() -> None:
                for number in range(10_000):
                    await endless.send(EntriesPart(ask.id, (entry(f"e{number:06}", ZOE, 1),)))
                    await asyncio.sleep(0.01)

            ada.tasks.spawn("trickle", attending(trickle()))
            bob = attended(ada, "bob", {ZOE: 1})
            question = await asked(bob)
            await bob.send(EntriesPart(question.id, (entry("a", ZOE, 1),)))
            await bob.send(EntriesEnd(question.id, {ZOE: 1}, {}, False, b""))
            await until("merged", lambda: ada.puller.level)
            assert await names(ada) == {"a"}

    asyncio.run(play())


def test_what_comes_after_a_refusal_does_not_stop_the_stream(tmp_path: Path) -> None:
    """A member refuses and goes on sending parts: they are dropped, and its next frames are read."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob", {ZOE: 1})
            ask = await asked(bob)
            await bob.send(Refused(ask.id, "busy"))
            for number in range(50):
                await bob.send(EntriesPart(ask.id, (entry(f"e{number:02}", ZOE, 1),)))
            again = await asked(bob)
            await bob.send(EntriesEnd(again.id, {ZOE: 1}, {}, False, b""))
            await until("level", lambda: ada.puller.level)

    asyncio.run(play())


def test_questions_are_answered_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of questions is held back at its source; each costs a snapshot."""
    monkeypatch.setattr(pull_room, "ASKS_IN_SERVICE_MAX", 2)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            bob = attended(ada, "bob", room=1)
            most = 0

            async def flood() -> None:
                for number in range(40):
                    await bob.send(AskEntries(number, {}, {}, False))

            ada.tasks.spawn("flood", attending(flood()))
            for _ in range(40):
                async with asyncio.timeout(WITHIN_S):
                    await bob.next()
                under_way = [task for task in running(ada) if not task.done()]
                most = max(most, sum(task.get_name().startswith("answer") for task in under_way))
            assert most <= 2

    asyncio.run(play())


def test_what_this_node_wrote_is_kept_when_somebody_claims_to_have_known_it(tmp_path: Path) -> None:
    """A member's context covers a write of ours that it never had: our file stays, as a write of a new epoch."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            outrun: list[NodeId] = []
            ada.puller.on_outrun = outrun.append
            ada.put("mine", b"nobody has seen this")
            await ada.scan()
            (dot,) = await ada.siblings("mine")
            lie = {ZOE: 1, dot.author: dot.seq + 5}
            bob = attended(ada, "bob", {ZOE: 1}, floor={ZOE: 1})
            ask = await asked(bob)
            await bob.send(EntriesEnd(ask.id, lie, {}, ask.full, b""))
            await until("level", lambda: ada.puller.level)
            ((kept, version),) = (await ada.siblings("mine")).items()
            assert kept.author.node == dot.author.node
            assert kept.author != dot.author
            assert version.weak
            assert outrun == [node_id("bob")]
            assert await ada.pending() == []

    asyncio.run(play())


def test_a_newcomer_can_be_shown_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole index in bounded parts, in tree order, for a plan."""
    monkeypatch.setattr(pull_room, "ENTRIES_PER_PART_MAX", 2)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            for name in ("f/a", "f/b", "c"):
                ada.put(name, b"x")
            await ada.scan()
            parts = [part async for part in ada.puller.everything()]
            assert [[each.path for each in part] for part in parts] == [["c", "f"], ["f/a", "f/b"]]

    asyncio.run(play())
