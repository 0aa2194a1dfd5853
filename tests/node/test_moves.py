"""A folder that a person moves is told in one transaction, and what was written in it is told as what it is."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import Rooms, path

from meerkat.disk import scan
from meerkat.disk.watch import Touched
from meerkat.model.dot import Dot
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.version import Kind

NAMES = ("a.txt", "sub/b.txt")


@pytest.fixture(params=[True, False], ids=["racy", "rested"], autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether equal looks prove that nothing was written, or each file must be read again."""
    for name in ("RACY_WINDOW_NS", "RACY_WINDOW_COARSE_NS"):
        monkeypatch.setattr(scan, name, 1 << 60 if request.param else -1)


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            for name in NAMES:
                ada.put(f"old/{name}", name.encode())
            await ada.scan()
            await scene(ada)

    asyncio.run(play())


async def moved(ada: Rooms, new: str = "new") -> int:
    """The watch tells of a move from `old`; how many transactions it took to take that in."""
    os.rename(ada.folder / "old", ada.folder / new)
    for event in (Touched(path("old"), closed=True), Touched(path(new), closed=True, arrived=True)):
        ada.outward.heard(event)
    before = ada.books.generation
    await ada.outward._take_in_due([path("old"), path(new)])
    return ada.books.generation - before


async def living(ada: Rooms) -> set[str]:
    entries = await ada.books.read(lambda view: list(view.entries()))
    return {entry.path for entry in entries if any(version.living for version in entry.siblings.values())}


def test_both_names_are_told_at_once(tmp_path: Path) -> None:
    """One transaction, in which the new names come before what is gone; nothing waits to be judged, nothing is left."""

    async def scene(ada: Rooms) -> None:
        assert await moved(ada) == 1
        assert await living(ada) == {"new", "new/a.txt", "new/sub", "new/sub/b.txt"}
        assert not ada.holds.gathering
        (new,), (old,) = await ada.siblings("new/sub/b.txt"), await ada.siblings("old/sub/b.txt")
        assert isinstance(new, Dot)
        assert new.seq < old.seq
        assert await ada.pending() == []
        assert (await ada.scan()).changes == 0

    run(tmp_path, scene)


def test_what_is_ignored_at_its_old_name_is_not_gone_from_there(tmp_path: Path) -> None:
    """Ignoring never deletes: an ignored folder that is moved is told where it came to, and nothing else is."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / ".meerkat" / "ignore").write_text("old/\n")
        ada.rules.read()
        await moved(ada)
        await ada.scan()
        await ada.holds.judge()
        assert await living(ada) >= {"new", "new/a.txt", "new/sub", "new/sub/b.txt", "old/a.txt"}

    run(tmp_path, scene)


def test_what_was_written_in_it_is_told_as_well(tmp_path: Path) -> None:
    """An edit, a new file and a deletion that came with the move are not lost in it."""

    async def scene(ada: Rooms) -> None:
        ada.put("old/a.txt", b"edited just before")
        ada.put("old/sub/more.txt", b"more")
        await moved(ada)
        await ada.holds.judge()
        assert await living(ada) == {"new", "new/a.txt", "new/sub", "new/sub/b.txt", "new/sub/more.txt"}
        (version,) = await ada.living("new/a.txt")
        assert version.size == len(b"edited just before")
        (gone,) = (await ada.siblings("old/a.txt")).values()
        assert gone.kind is Kind.TOMBSTONE
        assert (await ada.scan()).changes == 0

    run(tmp_path, scene)


def test_what_goes_where_it_is_ignored_is_no_move(tmp_path: Path) -> None:
    """The pool loses it there: that is a deletion, and judged like one."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / ".meerkat" / "ignore").write_text("private/\n")
        ada.rules.read()
        await moved(ada, "private")
        await ada.holds.judge()
        assert await living(ada) == set()

    run(tmp_path, scene)


def test_a_folder_in_a_folder_that_nobody_has_heard_of(tmp_path: Path) -> None:
    """What is above is told first, as a folder of its own."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "above").mkdir()
        await moved(ada, "above/new")
        await ada.holds.judge()
        assert await living(ada) == {"above", *(f"above/new{name}" for name in ("", "/a.txt", "/sub", "/sub/b.txt"))}

    run(tmp_path, scene)


@pytest.mark.parametrize("late", [True, False], ids=["old name still hot", "both quiet"])
def test_a_renamed_file_is_told_at_once_and_cut_as_it_was(tmp_path: Path, late: bool) -> None:
    """Its recipe is the known one, whatever a new cut would make of it; the old name need not be quiet for that."""

    async def scene(ada: Rooms) -> None:
        ada.put("one.bin", os.urandom(SINGLE_CHUNK_BYTES_MAX + 1))
        await ada.scan()
        (before,) = await ada.living("one.bin")
        os.rename(ada.folder / "one.bin", ada.folder / "sub.bin")
        generation = ada.books.generation
        if late:
            ada.outward.heard(Touched(path("one.bin"), closed=True))
        await ada.outward._take_in_due([path("sub.bin")] if late else [path("one.bin"), path("sub.bin")])
        assert ada.books.generation == generation + 1
        (after,) = await ada.living("sub.bin")
        assert (after.digest, after.recipe) == (before.digest, before.recipe)
        assert await ada.living("one.bin") == []
        assert (await ada.scan()).changes == 0

    run(tmp_path, scene)


def test_another_file_under_the_inode_of_one_that_is_gone_is_no_move(tmp_path: Path) -> None:
    """What it holds decides; both are told as what they are."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "old/a.txt").write_bytes(b"something else")
        os.rename(ada.folder / "old/a.txt", ada.folder / "b.txt")
        await ada.outward._take_in_due([path("b.txt"), path("old/a.txt")])
        await ada.holds.judge()
        assert await ada.living("old/a.txt") == []
        (version,) = await ada.living("b.txt")
        assert version.size == len(b"something else")

    run(tmp_path, scene)
