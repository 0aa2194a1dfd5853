"""A version that nobody has any more is given up by a person's word, and by nothing less."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import Rooms, eventually, file_version, node_id, path, until

from meerkat.model.fault import Exit
from meerkat.model.frame import Lack, PieceAsk
from meerkat.model.ids import NodeId
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Kind
from meerkat.node import ledger
from meerkat.node.ports import Pipe
from meerkat.wire.control import ControlFault

OLD, NEW = b"the old text\n" * 9000, b"the new text\n" * 9000
BIG = bytes(range(256)) * 4096 * 4


async def lost_at(nodes: NodePool, writer: Running, name: str, data: bytes, *others: Running) -> None:
    """The writer tells the others of its file and goes before it has given anybody the bytes."""

    async def lacking(node: NodeId, pipe: Pipe[Any], ask: PieceAsk, slots: asyncio.Semaphore) -> None:
        slots.release()
        await pipe.send(Lack(ask.id, tuple(range(len(ask.pieces)))))

    with patch.object(writer.node.asking.giving, "serve", lacking):
        writer.put(name, data)
        await writer.ask("scan")
        await until("they wait", lambda: all((name, "no_source_online") in each.problems() for each in others))
        gone = writer.id
        await nodes.stop(writer)
    await until("the writer is gone", lambda: not any(gone in each.linked() for each in others))
    for each in others:
        await eventually("it counts as gone", lambda each=each: counts_as_gone(each, gone))  # type: ignore[misc]


async def counts_as_gone(at: Running, gone: NodeId) -> bool:
    return any(row["state"] == "offline" for row in await at.ask("nodes") if row["node"] == gone)


async def calm(node: Running) -> None:
    """Wait until nothing waits."""
    await until("nothing waits", lambda: not node.problems())


async def refused(at: Running, name: str, **arguments: object) -> ControlFault:
    with pytest.raises(ControlFault) as fault:
        await at.ask("abandon", path=name, **arguments)
    return fault.value


async def in_sync(node: Running) -> bool:
    return str((await node.ask("status"))["state"]) == "in_sync"


def test_it_is_gone_everywhere_and_stays_gone(tmp_path: Path) -> None:
    """First refused by the name of who may have it; then nobody waits, history tells who gave up whose; and when the
    writer is back, its file goes to its trash, from where it can be had again."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cid = await nodes.join("bob", ada), await nodes.join("cid", ada)
            await nodes.linked()
            await lost_at(nodes, ada, "doc", NEW, bob, cid)
            fault = await refused(bob, "doc")
            assert (fault.code, fault.exit_code) == ("may_be_had", Exit.REFUSED)
            assert "ada (offline)" in str(fault.message)
            assert "start ada" in fault.hint
            given_up = await bob.ask("abandon", path="doc", yes=True)
            assert (given_up["written_by"], given_up["left"]) == ({"node": ada.id, "name": "ada"}, None)
            assert [each["name"] for each in given_up["may_have"]] == ["ada"]
            for each in (bob, cid):
                await calm(each)
                await eventually("in sync", lambda each=each: in_sync(each))  # type: ignore[misc]
                (told, *_) = await each.ask("history", path="doc", limit=5)
                assert (told["op"], told["name"], told["abandoned"]["name"]) == ("abandoned", "bob", "ada")
            assert (await refused(bob, "doc", yes=True)).exit_code == Exit.NOT_FOUND
            await nodes.start(ada)
            await until("it is in the trash", lambda: ada.read("doc") is None)
            assert (await nodes.equal()) == {}
            assert await ada.ask("conflicts") == []
            await ada.ask("restore", path="doc")
            await until("it came after all", lambda: bob.read("doc") == cid.read("doc") == NEW)

    asyncio.run(play())


def test_an_older_version_stays(tmp_path: Path) -> None:
    """Giving up an edit must not take away what it was an edit of."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cid = await nodes.join("bob", ada), await nodes.join("cid", ada)
            ada.put("doc", OLD)
            await nodes.settled()
            await nodes.linked()
            await lost_at(nodes, ada, "doc", NEW, bob, cid)
            given_up = await bob.ask("abandon", path="doc", yes=True)
            assert given_up["left"] is not None
            for each in (bob, cid):
                await calm(each)
            assert bob.read("doc") == cid.read("doc") == OLD
            await nodes.start(ada)
            await until("the old one is back", lambda: ada.read("doc") == OLD)
            assert list(await nodes.equal()) == ["doc"]

            def kept() -> set[bytes]:
                return {(ada.folder / ".meerkat/trash" / kept.id).read_bytes() for kept in ada.node.trash.entries()}

            await until("ada's own is in the trash", lambda: NEW in kept())

    asyncio.run(play())


def test_what_a_member_or_this_disk_has_is_never_given_up(tmp_path: Path) -> None:
    """Not when a member has it in its stage only, where it waits for a disk to take it; nor when a backup of it lies
    under another name here; nor when a member does not answer."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cid = await nodes.join("bob", ada), await nodes.join("cid", ada)
            await nodes.linked()

            def full(*_: object, **__: object) -> object:
                raise PathBlocked(Problem("", Reason.DISK_FULL, "the disk is full"))

            with patch("meerkat.disk.commit.place", full):
                ada.put("big", BIG)
                await ada.ask("scan")
                await until("bob has staged it", lambda: ("big", "disk_full") in bob.problems())
                await until("cid has staged it", lambda: ("big", "disk_full") in cid.problems())
                gone = ada.id
                await nodes.stop(ada)
                await until("the writer is gone", lambda: gone not in bob.linked() | cid.linked())
                for name in bob.node.stage.names():
                    bob.node.stage.drop(name)
                fault = await refused(bob, "big", yes=True)
                assert (fault.code, fault.exit_code) == ("still_had", Exit.REFUSED)
                for name in cid.node.stage.names():
                    cid.node.stage.drop(name)

                async def silent(node: NodeId, pipe: Pipe[Any], ask: PieceAsk, slots: asyncio.Semaphore) -> None:
                    slots.release()

                with (
                    patch.object(cid.node.asking.giving, "serve", silent),
                    patch("meerkat.node.inquiry.INQUIRY_TIMEOUT_S", 0.3),
                ):
                    fault = await refused(bob, "big")
                    assert fault.code == "may_be_had"
                    assert "cid (did not answer)" in fault.message
                bob.put("backup/of it", BIG)
                assert (await refused(bob, "big", yes=True)).code == "still_had"
                (bob.folder / "backup/of it").unlink()

    asyncio.run(play())


def test_half_of_it_is_not_it(tmp_path: Path) -> None:
    """A large file of which only a part was fetched is given up, and that there are parts is said."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await lost_at(nodes, ada, "big", BIG, bob)
            bob.put("a part", BIG[: len(BIG) // 2])
            bob.put("small", b"x")
            assert (await refused(bob, "small", yes=True)).exit_code == Exit.NOT_FOUND
            assert (await refused(bob, "never", yes=True)).exit_code == Exit.NOT_FOUND
            assert (await bob.ask("abandon", path="big", yes=True))["size"] == len(BIG)
            await calm(bob)

    asyncio.run(play())


def test_giving_up_takes_only_what_this_disk_has_not(tmp_path: Path) -> None:
    """The dots of that content go, others stay; what stands on the disk is never given up."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            ada.put("doc", b"mine")
            await ada.scan()
            await ada.told("doc", file_version(b"lost", height=5), unseen=True)
            mine, lost = file_version(b"mine").content, file_version(b"lost").content
            assert await ada.books.write(lambda tx: ledger.abandon(tx, path("doc"), mine)) is None
            left = await ada.books.write(lambda tx: ledger.abandon(tx, path("doc"), lost))
            assert left is not None
            assert (left.kind, left.gave_up) == (Kind.TOMBSTONE, node_id("zoe"))
            assert [version.content for version in await ada.living("doc")] == [mine]
            assert await ada.books.write(lambda tx: ledger.abandon(tx, path("doc"), lost)) is None

    asyncio.run(play())
