"""Forgotten tombstones: on one index, and between real nodes of which one was away for a year (G4)."""

import asyncio
from pathlib import Path

from node_pool import Running, pool
from node_rooms import Rooms, path, tombstone

from meerkat.model.limits import TOMBSTONE_AGE_S_MAX, TOMBSTONE_AGE_S_MIN
from meerkat.node.oblivion import forget

YEAR_S = 365 * 86_400.0
LATER_S = TOMBSTONE_AGE_S_MIN + 1.0


async def tombstones(ada: Rooms) -> list[str]:
    return list(await ada.books.read(lambda view: view.dead(path(""), 100)))


def test_what_everybody_has_known_for_long_goes(tmp_path: Path) -> None:
    """Not before its time, not while a member has not heard of it; the living dots and their sum stay as they are."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            for name in ("gone", "stays"):
                ada.put(name, name.encode())
            await ada.scan()
            (ada.folder / "gone").unlink()
            await ada.scan()
            await ada.told("stays", tombstone(1), by="zoe", unseen=True)
            fingerprint = ada.books.fingerprint
            known = [dict(ada.books.context)]
            assert await forget(ada.books, known, 0.0) == 0
            assert await forget(ada.books, [*known, {}], LATER_S) == 0
            assert await tombstones(ada) == ["gone", "stays"]
            assert await forget(ada.books, known, LATER_S) == 1
            assert await tombstones(ada) == ["stays"]  # beside what lives there it is still needed
            assert ada.books.fingerprint == fingerprint
            assert ada.books.floor == {ada.author: 3}
            assert await ada.siblings("gone") == {}

    asyncio.run(play())


def test_what_waits_here_is_not_forgotten(tmp_path: Path) -> None:
    """A deletion that this disk has not seen yet keeps its tombstone, however old it is."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            ada.put("f", b"f")
            await ada.scan()
            await ada.told("f", tombstone(2))
            assert await ada.books.read(lambda view: view.pending(path(""), 9)) == ["f"]
            assert await forget(ada.books, [], 0.0) == 0
            assert await forget(ada.books, [], TOMBSTONE_AGE_S_MAX + 1.0) == 0
            assert await tombstones(ada) == ["f"]

    asyncio.run(play())


async def forget_everything(*nodes: Running) -> None:
    """As if a year had passed, with the absent ones still on the roster."""
    now = 1_800_000_000.0
    for each in nodes:
        books = each.node.books
        known = each.node.gossip.known_to(each.node.registry.members())
        await forget(books, known, now)
        await forget(books, known, now + YEAR_S)
        assert await books.read(lambda view: view.dead(path(""), 9)) == []
        assert books.floor


def test_a_member_that_was_away_for_a_year(tmp_path: Path) -> None:
    """What it left alone and others deleted goes to its trash; what it edited or made meanwhile reaches all; nothing
    that was deleted is back anywhere, and no conflicts come of what is the same."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ben = await nodes.join("ben", ada)
            cid = await nodes.join("cid", ada)
            for number in range(6):
                ada.put(f"d/{number}", b"file %d" % number)
            ada.put("kept", b"kept")
            await nodes.settled()
            await nodes.stop(cid)
            for number in range(3):
                (ada.folder / f"d/{number}").unlink()
            ben.put("new", b"new")
            await nodes.settled(ada, ben)
            await forget_everything(ada, ben)
            cid.put("d/2", b"edited while away")
            cid.put("own", b"made while away")
            await nodes.start(cid)
            await nodes.linked()
            await nodes.settled()
            expected = {"d/2", "d/3", "d/4", "d/5", "kept", "new", "own"}
            assert set(ada.files()) == set(ben.files()) == set(cid.files()) == expected
            assert ada.read("d/2") == b"edited while away"
            assert sorted(kept.path for kept in cid.node.trash.entries()) == ["d/0", "d/1"]
            assert await ada.ask("conflicts") == []

    asyncio.run(play())
