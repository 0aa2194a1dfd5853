"""An edit of a large file costs a few kilobytes: its recipe and its chunks are told as differences."""

import asyncio
import random
from pathlib import Path

from node_rooms import WITHIN_S, Rooms, path, until

from meerkat.model.limits import DELTA_TRIES_IN_VAIN_MAX, KIB, MIB, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.model.recipe import unpack_recipe
from meerkat.model.version import Base, Version
from meerkat.node.likeness import Likeness

OLD = random.Random(5).randbytes(6 * MIB)


async def edited(ada: Rooms, bob: Rooms, old: bytes, new: bytes) -> tuple[Version, tuple[RelPath, Base]]:
    """Both have the old file, and bob has edited it: the new version, and what ada has in its place."""
    for rooms in (ada, bob):
        rooms.put("f", old)
        await rooms.scan()
    bob.put("f", new)
    await bob.scan()
    (version,) = await bob.living("f")
    base = await ada.books.read(lambda view: view.base(path("f")))
    assert base is not None
    ada.carry(bob)
    await until("a source", lambda: ada.asking._pipes)
    return version, (path("f"), base)


async def fetched(ada: Rooms, version: Version, replaced: tuple[RelPath, Base]) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        if version.size > SINGLE_CHUNK_BYTES_MAX:
            await ada.transfer.bulk("f.1", version, (), replaced)
        else:
            problems: list[object] = []
            await ada.transfer.small(
                [("f.1", version, ())], lambda _, problem: problems.append(problem), {"f.1": replaced}
            )
            assert problems == []
    return (ada.root.metadata_dir / "stage" / "f.1").read_bytes()


def test_edits_of_large_and_small_files_cost_little(tmp_path: Path) -> None:
    """A byte changed, some put in at the front, some taken away; a file of one chunk, and one that outgrows it."""
    small = OLD[: 100 * KIB]
    cases = [
        (OLD, OLD[: 3 * MIB] + b"!" + OLD[3 * MIB + 1 :]),
        (OLD, random.Random(6).randbytes(KIB) + OLD),
        (OLD, OLD[: 2 * MIB] + OLD[2 * MIB + 5000 :]),
        (small, small[:50_000] + b"inserted" + small[50_000:]),
        (OLD[: 250 * KIB], OLD[: 100 * KIB] + random.Random(7).randbytes(10 * KIB) + OLD[100 * KIB : 250 * KIB]),
    ]

    async def play(number: int, old: bytes, new: bytes) -> None:
        one, two = tmp_path / f"ada-{number}", tmp_path / f"bob-{number}"
        async with Rooms(one) as ada, Rooms(two, "bob") as bob:
            version, replaced = await edited(ada, bob, old, new)
            assert await fetched(ada, version, replaced) == new
            assert ada.hub.traffic.received <= 32 * KIB, number

    for number, (old, new) in enumerate(cases):
        asyncio.run(play(number, old, new))


def test_what_is_edited_meanwhile_is_no_basis(tmp_path: Path) -> None:
    """The file that is to be replaced looks different by now: it is asked without it, and the bytes are right."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            new = OLD[: 3 * MIB] + b"!" + OLD[3 * MIB + 1 :]
            version, replaced = await edited(ada, bob, OLD, new)
            ada.put("f", b"a person's own")
            assert await fetched(ada, version, replaced) == new

    asyncio.run(play())


def test_what_resembles_nothing_is_soon_not_compared_any_more(tmp_path: Path) -> None:
    """A file that was written anew from end to end costs a few sketches, not one for each chunk."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            new = random.Random(8).randbytes(len(OLD))
            version, replaced = await edited(ada, bob, OLD, new)
            like = await ada.books.read(lambda view: Likeness.of(view, ada.root, replaced, random.Random(1)))
            packed = await bob.books.read(lambda view: view.recipe(version.recipe))
            assert like is not None
            assert packed is not None
            recipe = unpack_recipe(packed, version.size)
            like.compare(recipe, list(recipe.chunks))
            tried = 0
            for chunk in recipe.chunks:
                basis = like.of_chunk(chunk)
                if basis is not None:
                    tried += 1
                    like.learn([basis])
            assert tried == DELTA_TRIES_IN_VAIN_MAX
            assert await fetched(ada, version, replaced) == new

    asyncio.run(play())
