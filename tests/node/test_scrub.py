"""Rot is found by reading, healed from a member, and never told to the pool as an edit."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from node_rooms import Rooms, path

from meerkat.model.problem import Reason
from meerkat.node.scrub import Scrub, ScrubReport

SOUND, ROTTEN = b"sound bytes", b"sOund bytes"


def run(folder: Path, scene: Callable[[Rooms, Rooms], Coroutine[object, object, None]]) -> None:
    async def play() -> None:
        async with Rooms(folder / "ada") as ada, Rooms(folder / "bob", "bob") as bob:
            ada.carry(bob)
            await scene(ada, bob)

    asyncio.run(play())


async def rotted(ada: Rooms) -> None:
    """A byte of ada's file changed and its lstat did not. Nothing but a bad disk does that, so the base is moved to
    what lstat says now instead."""
    ada.put("doc", SOUND)
    await ada.scan()
    place = ada.put("doc", ROTTEN)
    seen = ada.root.lstat(path("doc"))
    base = await ada.base("doc")
    assert base is not None
    assert seen is not None
    assert place.read_bytes() == ROTTEN
    await ada.books.write(lambda tx: tx.put_base(path("doc"), replace(base, stat=seen, racy=False)))


async def scrubbed(ada: Rooms) -> ScrubReport:
    scrub = Scrub(ada.root, ada.stage, ada.trash, ada.books, ada.claims, ada.hub, ada.transfer, ada.threads)
    return await scrub.run()


def test_rot_is_healed_from_a_member(tmp_path: Path) -> None:
    """Sound bytes stand there again, the rotten ones are in the trash, and the index was told nothing."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await rotted(ada)
        bob.put("same", SOUND)
        await bob.scan()
        before = dict(ada.books.context)
        report = await scrubbed(ada)
        assert [(each.path, each.healed) for each in report.rotten] == [("doc", True)]
        assert ada.read("doc") == SOUND
        assert ada.in_trash()["doc"] == ROTTEN
        assert ada.books.context == before
        assert (await scrubbed(ada)).rotten == []

    run(tmp_path, scene)


def test_rot_that_nobody_can_heal_is_told_and_left(tmp_path: Path) -> None:
    """The rotten file stays, is no new version, and `status` says what to do."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await rotted(ada)
        before = dict(ada.books.context)
        (rotten,) = (await scrubbed(ada)).rotten
        assert not rotten.healed
        assert ada.read("doc") == ROTTEN
        assert ada.books.context == before
        problem = ada.hub.problem("doc")
        assert problem is not None
        assert problem.reason is Reason.DIGEST_MISMATCH

    run(tmp_path, scene)


def test_an_edit_is_no_rot(tmp_path: Path) -> None:
    """What a person wrote moves the file's times, and is left to the scan."""

    async def scene(ada: Rooms, _: Rooms) -> None:
        ada.put("doc", SOUND)
        await ada.scan()
        (ada.folder / "doc").write_bytes(ROTTEN)
        os.utime(ada.folder / "doc")
        assert (await scrubbed(ada)).rotten == []
        assert ada.read("doc") == ROTTEN

    run(tmp_path, scene)
