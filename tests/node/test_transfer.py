"""Content is assembled of what is here and what comes: resumed, and never wrong whatever a source sends."""

import asyncio
import os
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec.structs import replace
from node_rooms import Rooms, path, until
from scripted_sources import (
    DATA,
    LARGE,
    fetch_large,
    fetch_small,
    honest,
    lack,
    large_of,
    scripted,
    staged,
)

from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Kind, Version
from meerkat.node import transfer as transfer_room
from meerkat.node.transfer import likely_holders


def test_a_small_file_comes_from_a_member(tmp_path: Path) -> None:
    """Asked for once, checked, staged; traffic is counted."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            bob.put("a", DATA)
            await bob.scan()
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            inodes, problems = await fetch_small(ada)
            assert problems == []
            assert inodes == {"s.1": ada.stage.inode("s.1")}
            assert staged(ada, "s.1") == DATA
            assert (ada.hub.traffic.received, ada.hub.traffic.reused) == (len(DATA), 0)

    asyncio.run(play())


def test_what_is_on_this_disk_is_not_asked_for(tmp_path: Path) -> None:
    """A copy of what is here already needs no member; one that changed under the index is no source."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", DATA)
            await ada.scan()
            assert (await fetch_small(ada))[1] == []
            assert (ada.hub.traffic.received, ada.hub.traffic.reused) == (0, len(DATA))
            ada.put("a", DATA.upper())
            ada.stage.drop("s.1")  # what was staged already would do, too
            _, (problem,) = await fetch_small(ada)
            assert problem.reason is Reason.NO_SOURCE_ONLINE

    asyncio.run(play())


def test_a_large_file_comes_chunk_by_chunk(tmp_path: Path) -> None:
    """Recipe first, then the chunks; the whole is checked, and its chunks can be found here from then on."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == LARGE
            assert await ada.books.read(lambda view: view.recipe(version.recipe)) == packed
            assert ada.hub.traffic.received == len(LARGE) + len(packed)
            assert len(recipe.chunks) > 4
            assert ada.asking.giving.partials.staged(version.digest) == [], "it is assembled no more"

    asyncio.run(play())


def test_a_download_is_resumed(tmp_path: Path) -> None:
    """What an earlier try has left in the stage is checked and kept; rotten parts of it are fetched again."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            kept, rotten = recipe.chunks[1:-1], recipe.chunks[1]
            ada.stage.prepare("l.1", version.size)
            for chunk in kept:
                ada.stage.write("l.1", chunk.offset, LARGE[chunk.offset :][: chunk.length])
            ada.stage.write("l.1", rotten.offset, b"rot")
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == LARGE
            reused = sum(chunk.length for chunk in kept[1:])
            assert (ada.hub.traffic.reused, ada.hub.traffic.received) == (reused, len(LARGE) - reused + len(packed))

    asyncio.run(play())


def test_a_changed_file_is_made_of_its_old_parts(tmp_path: Path) -> None:
    """Some bytes in the middle are new: only the chunks around them are fetched."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            ada.put("old", LARGE)
            await ada.scan()
            middle = len(LARGE) // 2
            bob.put("large", LARGE[:middle] + b"inserted" + LARGE[middle:])
            await bob.scan()
            (version,) = await bob.living("large")
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == bob.read("large")
            assert ada.hub.traffic.received < len(LARGE) // 2
            assert ada.hub.traffic.reused > len(LARGE) // 2

    asyncio.run(play())


def test_a_false_recipe_is_not_believed(tmp_path: Path) -> None:
    """The list of chunks is checked against its own digest before anything is asked by it."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, _, packed = await large_of(bob)
            forged = packed[36:] + packed[:36]
            scripted(ada, "liar", honest(LARGE, forged))
            await until("the liar is there", lambda: ada.asking._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, version)
            assert blocked.value.problem.reason is Reason.NO_SOURCE_ONLINE
            assert await ada.books.read(lambda view: view.recipe(version.recipe)) is None
            ada.carry(bob)
            await until("bob is there", lambda: len(ada.asking._pipes) == 2)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == LARGE

    asyncio.run(play())


def test_a_recipe_of_several_parts_is_checked_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts have no digests of their own, so only the whole tells whether it is the one announced."""
    monkeypatch.setattr(transfer_room, "CHUNK_BYTES_MAX", 36 * 3)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, recipe, packed = await large_of(bob)
            assert len(recipe.chunks) > 6, "parts: one would be checked by itself"
            scripted(ada, "liar", honest(LARGE, packed[36:] + packed[:36]))
            await until("the liar is there", lambda: ada.asking._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, version)
            assert blocked.value.problem.reason is Reason.DIGEST_MISMATCH
            assert await ada.books.read(lambda view: view.recipe(version.recipe)) is None

    asyncio.run(play())


@pytest.mark.parametrize(
    ("what", "packed", "size"),
    [
        ("it does not add up", b"d" * 32 + (1000).to_bytes(4, "big"), SINGLE_CHUNK_BYTES_MAX + 1),
        ("it is cut short", b"d" * 30, SINGLE_CHUNK_BYTES_MAX + 1),
        ("a chunk without bytes", b"d" * 32 + (0).to_bytes(4, "big"), SINGLE_CHUNK_BYTES_MAX + 1),
    ],
)
def test_a_recipe_that_makes_no_sense_is_the_writers_fault(tmp_path: Path, what: str, packed: bytes, size: int) -> None:
    """A true digest over a recipe that cannot be: every source would give the same, so the path says so."""
    assert what

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            recipe = Digest(blake3(packed).digest())
            version = Version(Kind.FILE, size=size, digest=Digest(b"x" * 32), recipe=recipe)
            scripted(ada, "liar", honest(b"", packed))
            await until("the liar is there", lambda: ada.asking._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, version)
            assert blocked.value.problem.reason is Reason.DIGEST_MISMATCH

    asyncio.run(play())


def test_chunks_that_make_another_file_are_refused(tmp_path: Path) -> None:
    """Every chunk is as the recipe says, and the whole is not what was announced: nothing is put down."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            version, _, packed = await large_of(bob)
            other = Version(Kind.FILE, size=version.size, digest=Digest(b"x" * 32), recipe=version.recipe)
            scripted(ada, "liar", honest(LARGE, packed))
            await until("the liar is there", lambda: ada.asking._pipes)
            with pytest.raises(PathBlocked) as blocked:
                await fetch_large(ada, other)
            assert blocked.value.problem.reason is Reason.DIGEST_MISMATCH

    asyncio.run(play())


def test_a_large_file_without_a_recipe_is_refused(tmp_path: Path) -> None:
    """A size that does not fit one message, and no list of chunks: nobody is asked for gigabytes at once."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            _, asks = scripted(ada, "bob", lack)
            await until("bob is there", lambda: ada.asking._pipes)
            huge = Version(Kind.FILE, size=1 << 30, digest=Digest(b"x" * 32))
            _, (problem,) = await fetch_small(ada, huge)
            assert problem.reason is Reason.DIGEST_MISMATCH
            assert asks == []

    asyncio.run(play())


def test_writers_are_likely_holders() -> None:
    """Each node that wrote a version, once."""
    one, other = NodeId("a" * 32), NodeId("b" * 32)
    dots = [Dot(Author(one, 1), 1), Dot(Author(one, 2), 1), Dot(Author(other, 1), 5)]
    assert sorted(likely_holders(dots)) == [one, other]


def test_a_file_that_rotted_is_no_source(tmp_path: Path) -> None:
    """It looks as it did and holds other bytes: what was copied from it is told by the whole, then chunk by chunk, and
    only what is wrong is fetched."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            ada.put("old", LARGE)
            await ada.scan()
            seen = os.stat(ada.folder / "old")
            base = await ada.books.read(lambda view: view.base(path("old")))
            with (ada.folder / "old").open("r+b") as file:
                file.seek(len(LARGE) // 2)
                file.write(b"rot")
            os.utime(ada.folder / "old", ns=(seen.st_atime_ns, seen.st_mtime_ns))
            now = ada.root.lstat(path("old"))
            assert base is not None
            assert now is not None
            rotten = replace(base, stat=now)  # as if nobody had written: not even the time of the change tells
            await ada.books.write(lambda tx: tx.put_base(path("old"), rotten))
            new = LARGE[: len(LARGE) // 4] + b"inserted" + LARGE[len(LARGE) // 4 :]
            bob.put("large", new)
            await bob.scan()
            (version,) = await bob.living("large")
            ada.carry(bob)
            await until("a source", lambda: ada.asking._pipes)
            await fetch_large(ada, version)
            assert staged(ada, "l.1") == new
            assert ada.hub.traffic.received < len(LARGE) // 2

    asyncio.run(play())
