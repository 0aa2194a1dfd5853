"""A node whose index is new, lost or old: when it may speak for its disk again."""

import asyncio
from pathlib import Path

import pytest
from node_rooms import ASKED, WITHIN_S, Rooms, Tube, attending, node_id, tube, until

from meerkat.model.frame import AskEntries, EntriesEnd, IndexFrame
from meerkat.model.ids import NodeId
from meerkat.node.pull import Source
from meerkat.node.recovery import Recovery

LOW, HIGH = sorted((node_id("bob"), node_id("cy")))


async def lost(ada: Rooms, *others: NodeId) -> Recovery:
    """Ada has a file and no index; the roster has these others."""
    ada.put("a.txt", b"a")
    await ada.books.write(lambda tx: tx.put_meta("recovering", b"lost"))
    return Recovery(ada.node, ada.books, ada.puller, ada.outward, lambda: set(others))


def linked(ada: Rooms, node: NodeId, *, recovering: bool) -> Tube[IndexFrame]:
    """A member that is linked; its end of the stream."""
    mine, theirs = tube(ASKED)
    ada.tasks.spawn("attend", attending(ada.puller.attend(Source(node, mine, {}, {}, recovering))))
    return theirs


async def waits(ada: Rooms, work: "asyncio.Task[None]") -> None:
    """However often it looks, nothing is adopted."""
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert not work.done()
    assert await ada.living("a.txt") == []


def test_a_sound_index_waits_for_nobody(tmp_path: Path) -> None:
    """There is nothing to recover, and nothing is scanned."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            recovery = Recovery(ada.node, ada.books, ada.puller, ada.outward, lambda: {LOW})
            async with asyncio.timeout(WITHIN_S):
                await recovery.run()
            assert ada.events("scan.started") == []

    asyncio.run(play())


def test_alone_it_adopts_at_once(tmp_path: Path) -> None:
    """Nobody knows more: what is on the disk is what there is, written weakly."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            recovery = await lost(ada)
            async with asyncio.timeout(WITHIN_S):
                await recovery.run()
            assert [version.weak for version in await ada.living("a.txt")] == [True]
            assert ada.books.recovering == ""
            assert ada.books.recovered.is_set()

    asyncio.run(play())


def test_in_a_pool_it_waits_for_a_whole_index(tmp_path: Path) -> None:
    """No dot is given before a member has told everything; a link alone is not enough."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            recovery = await lost(ada, LOW)
            work = ada.tasks.spawn("recover", recovery.run())
            await waits(ada, work)
            end = linked(ada, LOW, recovering=False)
            recovery.look()
            await waits(ada, work)
            async with asyncio.timeout(WITHIN_S):
                ask = await end.next()
            assert isinstance(ask, AskEntries)
            assert ask.full
            await end.send(EntriesEnd(ask.id, {}, {}, True, b""))
            await until("learnt", lambda: ada.recovered)
            recovery.look()
            async with asyncio.timeout(WITHIN_S):
                await work
            assert len(await ada.living("a.txt")) == 1
            assert ada.books.recovering == ""

    asyncio.run(play())


@pytest.mark.parametrize(
    ("self_id", "linked_ones", "begins"),
    [
        (NodeId("2" * 32), (LOW, HIGH), True),
        (NodeId("2" * 32), (LOW,), False),
        (NodeId("z" * 32), (LOW, HIGH), False),
    ],
    ids=["lowest", "lowest, one away", "not lowest"],
)
def test_when_nobody_has_an_index_the_lowest_begins(
    tmp_path: Path, self_id: NodeId, linked_ones: tuple[NodeId, ...], begins: bool
) -> None:
    """All are linked and all recover: one adopts, the others learn from it. Whoever is away may have an index."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            await lost(ada)
            recovery = Recovery(self_id, ada.books, ada.puller, ada.outward, lambda: {LOW, HIGH})
            for each in linked_ones:
                linked(ada, each, recovering=True)
            await until("linked", lambda: len(ada.puller.sources()) == len(linked_ones))
            work = ada.tasks.spawn("recover", recovery.run())
            if not begins:
                await waits(ada, work)
                return
            async with asyncio.timeout(WITHIN_S):
                await work
            assert len(await ada.living("a.txt")) == 1

    asyncio.run(play())


def test_the_others_are_asked_anew_each_time(tmp_path: Path) -> None:
    """The last other member was removed meanwhile: nobody is left to learn from."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            others = {LOW}
            await lost(ada)
            recovery = Recovery(ada.node, ada.books, ada.puller, ada.outward, lambda: others)
            work = ada.tasks.spawn("recover", recovery.run())
            await waits(ada, work)
            others.clear()
            recovery.look()
            async with asyncio.timeout(WITHIN_S):
                await work

    asyncio.run(play())
