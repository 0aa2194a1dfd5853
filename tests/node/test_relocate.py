"""A folder that was moved elsewhere is renamed here, and whatever a person does in it meanwhile moves along."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import pytest
from node_rooms import WITHIN_S, Rooms, path

from meerkat.disk import scan
from meerkat.disk.root import Root
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import MARKER, RelPath
from meerkat.model.version import Kind
from meerkat.node import relocate
from meerkat.node.relocate import NOTE, heal_relocation

NAMES = ("a.txt", "sub/b.txt", "sub/deep/c.txt")
LARGE = os.urandom(SINGLE_CHUNK_BYTES_MAX + 1)


Scene = Callable[[Rooms, Rooms], Coroutine[object, object, None]]


async def both(folder: Path, scene: Scene, files: Mapping[str, bytes], old: str, new: str) -> None:
    """Ada and ben have the same files; ada has moved `old` to `new` and ben has heard of it."""
    async with Rooms(folder / "ada", "ada") as ada, Rooms(folder / "ben", "ben") as ben:
        for each in (ada, ben):
            for name, data in files.items():
                each.put(name, data)
        await ada.scan()
        await ben.learn(ada)
        await ben.scan()
        os.rename(ada.folder / old, ada.folder / new)
        await ada.scan()
        await ben.learn(ada)
        await scene(ada, ben)


def run(folder: Path, scene: Scene) -> None:
    """With a folder `old` that has become `new`."""
    asyncio.run(both(folder, scene, {f"old/{name}": name.encode() for name in NAMES}, "old", "new"))


def run_large(folder: Path, scene: Scene) -> None:
    """With a large file `old.bin` that has become `new.bin`."""
    asyncio.run(both(folder, scene, {"old.bin": LARGE}, "old.bin", "new.bin"))


def inodes(rooms: Rooms, top: str) -> dict[str, int]:
    return {name: (rooms.folder / top / name).stat().st_ino for name in NAMES}


@pytest.fixture(params=[True, False], ids=["racy", "rested"], autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether equal looks prove that nothing was written, or each file must be read again."""
    for name in ("RACY_WINDOW_NS", "RACY_WINDOW_COARSE_NS"):
        monkeypatch.setattr(scan, name, 1 << 60 if request.param else -1)


async def agreed(rooms: Rooms) -> None:
    """Put down everything, until nothing waits."""
    rooms.tasks.spawn("inward", rooms.inward.run())
    rooms.inward.wake()
    async with asyncio.timeout(WITHIN_S):
        while await rooms.pending() or rooms.inward.busy:
            rooms.inward.wake()
            await asyncio.sleep(0)


def test_the_whole_tree_goes_with_one_rename(tmp_path: Path) -> None:
    """The very files stand at the new place; nothing was fetched, copied or put into the trash, and nothing waits."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        before = inodes(ben, "old")
        await agreed(ben)
        assert inodes(ben, "new") == before
        assert ben.tree() == ada.tree()
        assert ben.in_trash() == {}
        assert ben.hub.traffic.reused == 0
        assert await ben.base("old/sub/b.txt") is None
        await ben.scan()
        assert await ben.pending() == []
        assert ben.books.context == ada.books.context  # nothing that ben has to tell

    run(tmp_path, scene)


def test_what_was_edited_before_is_not_moved_over(tmp_path: Path) -> None:
    """The disk is not as it should be to be moved as a whole, so it is dealt with path by path: the edit survives."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        ben.put("old/a.txt", b"edited here just now")
        assert not await ben.placer.relocator.move(path("old"), path("new"))
        assert (ben.folder / "old").exists()
        await ben.scan()
        ben.carry(ada)  # only ada has what stood there before
        await agreed(ben)
        assert ben.tree()["old/a.txt"] == b"edited here just now"
        assert {name: ben.tree()[f"new/{name}"] for name in NAMES} == {name: name.encode() for name in NAMES}

    run(tmp_path, scene)


@pytest.mark.parametrize("what", ["unknown", "ignored", "pipe", "pool", "busy", "taken"])
def test_what_keeps_a_folder_from_being_moved_as_a_whole(tmp_path: Path, what: str) -> None:
    """Anything in it that the index does not know, somebody at work in it, or something at the new place."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        place = ben.folder / "old" / "sub"
        match what:
            case "unknown":
                (place / "mine.txt").write_bytes(b"nobody has heard of it")
            case "ignored":
                (ben.folder / MARKER / "ignore").write_text("*.tmp\n")
                ben.rules.read()
                (place / "mine.tmp").write_bytes(b"stays here")
            case "pipe":
                os.mkfifo(place / "pipe")
            case "pool":
                (place / MARKER).mkdir()
            case "busy":
                ben.claims.take([path("new/sub/b.txt")])
            case "taken":
                (ben.folder / "new").mkdir()
        assert not await ben.placer.relocator.move(path("old"), path("new"))
        assert inodes(ben, "old")
        assert await ben.books.read(lambda view: view.meta(NOTE)) in (None, b"")

    run(tmp_path, scene)


def test_what_a_person_writes_at_the_last_moment_moves_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found to be an edit of what stood there, a new file, or a deletion, at the new place."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        honest = relocate._renamed

        def renamed(*args: object) -> bool:
            ben.put("old/a.txt", b"saved just before")
            ben.put("old/sub/mine.txt", b"made just before")
            (ben.folder / "old/sub/deep/c.txt").unlink()
            return honest(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(relocate, "_renamed", renamed)
        ben.again.clear()
        assert await ben.placer.relocator.move(path("old"), path("new"))
        assert {"new/a.txt", "new/sub/mine.txt", "new/sub/deep/c.txt"} <= set(ben.again)
        await ben.scan()
        (edited,) = await ben.living("new/a.txt")
        assert edited.height == 2
        assert len(await ben.living("new/sub/mine.txt")) == 1
        assert await ben.living("new/sub/deep/c.txt") == []
        assert ben.tree()["new/a.txt"] == b"saved just before"

    run(tmp_path, scene)


@pytest.mark.parametrize("happened", [True, False])
def test_a_crash_in_between_is_ended_by_the_folders_inode(tmp_path: Path, happened: bool) -> None:
    """Whether it had gone or not, the index then says what the disk shows; what was edited there since is an edit."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        assert await ben.books.write(lambda tx: relocate._intend(path("old"), path("new"), tx))
        if happened:
            os.rename(ben.folder / "old", ben.folder / "new")
            ben.put("new/a.txt", b"edited after the crash")
        await ben.books.write(lambda tx: heal_relocation(ben.root, tx))
        base = await ben.base("new/a.txt")
        assert (base is not None) == happened
        assert (await ben.base("old/a.txt") is None) == happened
        await ben.scan()
        await agreed(ben)
        assert ben.tree()["new/a.txt"] == (b"edited after the crash" if happened else b"a.txt")
        assert {each for each in ben.tree() if each.startswith("old/")} == set()
        assert len(await ben.living("new/a.txt")) == 1

    run(tmp_path, scene)


def test_what_the_pool_did_meanwhile_is_done_after_the_crash(tmp_path: Path) -> None:
    """A file that was edited elsewhere before the restart is replaced: what stands there is not taken for a write."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        assert await ben.books.write(lambda tx: relocate._intend(path("old"), path("new"), tx))
        os.rename(ben.folder / "old", ben.folder / "new")
        ada.put("new/a.txt", b"edited elsewhere")
        os.utime(ada.folder / "new/a.txt")
        await ada.scan()
        await ben.learn(ada)
        await ben.books.write(lambda tx: heal_relocation(ben.root, tx))
        await ben.scan()
        assert len(await ben.living("new/a.txt")) == 1
        ben.carry(ada)
        await agreed(ben)
        assert ben.tree() == ada.tree()

    run(tmp_path, scene)


def test_where_nobody_can_tell_nothing_is_deleted(tmp_path: Path) -> None:
    """The folder is at neither place after a crash: what a person did with it is not known, and the files stay."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        assert await ben.books.write(lambda tx: relocate._intend(path("old"), path("new"), tx))
        os.rename(ben.folder / "old", ben.folder / "elsewhere")
        await ben.books.write(lambda tx: heal_relocation(ben.root, tx))
        await ben.scan()
        for name in NAMES:
            (version,) = await ben.living(f"new/{name}")
            assert version.kind is Kind.FILE
        await agreed(ben)
        assert {name: ben.tree()[f"new/{name}"] for name in NAMES} == {name: name.encode() for name in NAMES}

    run(tmp_path, scene)


def test_a_large_file_goes_with_one_rename(tmp_path: Path) -> None:
    """The very file stands under the new name, and the next scan has nothing to say."""

    async def scene(ada: Rooms, ben: Rooms) -> None:
        inode = (ben.folder / "old.bin").stat().st_ino
        await agreed(ben)
        assert (ben.folder / "new.bin").stat().st_ino == inode
        assert (ben.read("old.bin"), ben.read("new.bin")) == (None, LARGE)
        assert ben.in_trash() == {}
        assert (await ben.scan()).changes == 0
        assert ben.books.context == ada.books.context

    run_large(tmp_path, scene)


def test_a_file_that_is_edited_as_it_goes_is_an_edit_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written just before or just after the rename is found, and replaces what was to stand there."""
    honest = relocate._renamed

    def renamed(root: Root, old: RelPath, new: RelPath) -> bool:
        (root.directory / old).write_bytes(b"edited just before")
        return honest(root, old, new)

    async def scene(ada: Rooms, ben: Rooms) -> None:
        monkeypatch.setattr(relocate, "_renamed", renamed)
        assert await ben.placer.relocator.move(path("old.bin"), path("new.bin"))
        assert ben.again == ["new.bin"]
        await ben.scan()
        (edited,) = await ben.living("new.bin")
        assert (edited.size, edited.height) == (len(b"edited just before"), 2)

    run_large(tmp_path, scene)
