"""Rot is found by reading, healed from a member, and never told to the pool as an edit."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec.structs import replace
from node_rooms import Rooms, path

from meerkat.core.fetch import Want
from meerkat.disk import commit
from meerkat.model.frame import Piece
from meerkat.model.ids import Digest
from meerkat.model.problem import PathBlocked, Reason
from meerkat.node import scrub as scrub_room
from meerkat.node.ports import Tx
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


async def quiet(ada: Rooms) -> None:
    """What was written is written long ago, so that looks prove something."""
    bases = await ada.books.read(lambda view: list(view.bases()))

    def calm(tx: Tx) -> None:
        for each, base in bases:
            tx.put_base(each, replace(base, racy=False))

    await ada.books.write(calm)


def scrub_of(ada: Rooms) -> Scrub:
    here = ada.root, ada.stage, ada.trash, ada.books, ada.claims, ada.hub
    return Scrub(*here, ada.transfer, ada.placer, ada.threads)


async def scrubbed(ada: Rooms) -> ScrubReport:
    return await scrub_of(ada).run()


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
        (kept,) = ada.trash.entries()
        assert kept.content.ident == blake3(ROTTEN).digest()  # nobody asks there for sound bytes, or finds it late
        assert not kept.late

    run(tmp_path, scene)


@pytest.mark.parametrize("writes", [1, 2])
def test_what_a_person_saves_while_it_is_healed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Once, and it stands there again; twice, and one of them stands beside it. What was to heal it and stood there for
    a moment is in the trash: nothing is left where the next healing would write over it."""
    saved = [b"saved", b"and once more"]

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await rotted(ada)
        bob.put("same", SOUND)
        await bob.scan()

        def between(step: str) -> None:
            if step in ("looked", "exchanged")[:writes]:
                (ada.folder / "beside").write_bytes(saved[step == "exchanged"])
                os.replace(ada.folder / "beside", ada.folder / "doc")

        with monkeypatch.context() as patches:
            patches.setattr(commit, "place", partial(commit.place, between=between))
            (rotten,) = (await scrubbed(ada)).rotten
        assert not rotten.healed
        assert set(ada.tree().values()) == set(saved[:writes])
        assert ada.read("doc") == saved[0]
        assert ada.stage.names() == []
        assert ada.trashed() == ({SOUND} if writes == 1 else set())

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


def test_what_could_not_be_healed_is_tried_again(tmp_path: Path) -> None:
    """When other members are linked, and whenever suspects are looked at."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await rotted(ada)
        scrub = scrub_of(ada)
        scrub.sources_changed()
        assert not scrub.suspected.is_set()  # of nothing
        await scrub.run()
        assert not (await scrub.check_suspects()).rotten[0].healed
        bob.put("same", SOUND)
        await bob.scan()
        scrub.sources_changed()
        assert scrub.suspected.is_set()
        assert (await scrub.check_suspects()).rotten[0].healed
        assert ada.read("doc") == SOUND
        assert ada.hub.problem("doc") is None
        assert (await scrub.check_suspects()).files == 0

    run(tmp_path, scene)


def test_rot_is_not_served_and_is_suspected(tmp_path: Path) -> None:
    """Whoever asks is told that the piece is lacking; the file that failed is looked at, and healed."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await rotted(ada)
        scrub = scrub_of(ada)
        suspects: list[str] = []
        ada.asking.giving.on_suspect = suspects.append
        piece = Piece(Digest(blake3(SOUND).digest()), 0, len(SOUND), Digest(blake3(SOUND).digest()))
        (answer,) = await bob.asking.pieces([Want(piece, urgent=True)])
        assert isinstance(answer, PathBlocked)
        assert suspects == ["doc"]
        bob.put("same", SOUND)
        await bob.scan()
        scrub.suspect(path("doc"))
        scrub.suspect(path("never there"))
        (rotten,) = (await scrub.check_suspects()).rotten
        assert rotten.healed

    run(tmp_path, scene)


def test_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part goes on where the one before it ended; after the last one it begins anew."""
    monkeypatch.setattr(scrub_room, "PLAN_BATCH_MAX", 2)

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await rotted(ada)
        for name in ("a/one", "a/two", "z"):
            ada.put(name, b"12345")
        bob.put("same", SOUND)
        for rooms in (ada, bob):
            await rooms.scan()
        await quiet(ada)
        scrub = scrub_of(ada)
        reached = [path("")]
        for _ in range(4):
            reached.append(await scrub.part(reached[-1], 6))
        assert reached == ["", "a/two", "doc", "", "a/two"]
        assert ada.read("doc") == SOUND

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
