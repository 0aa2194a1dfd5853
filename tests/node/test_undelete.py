"""A deleted folder comes back with what went with it, and with nothing of what stands there now overwritten."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, folder_version, path, tombstone

from meerkat.model.dot import Dot
from meerkat.model.fault import Exit, Fault
from meerkat.node import undelete
from meerkat.node.history import version_name
from meerkat.node.ports import Tx

BIG = os.urandom(700_000)


def run(
    folder: Path, scene: Callable[[Rooms, Rooms], Coroutine[object, object, None]], *, holding: bool = False
) -> None:
    """Ada deletes; bob has what she has, and keeps what goes on her word in his trash."""

    async def play() -> None:
        here, there = Rooms(folder / "ada"), Rooms(folder / "bob", "bob")
        here.holding = holding
        async with here as ada, there as bob:
            ada.carry(bob)
            await scene(ada, bob)

    asyncio.run(play())


async def apply(rooms: Rooms) -> None:
    """Put down what the pool has, until nothing waits."""
    running = rooms.tasks.spawn("inward", rooms.inward.run())
    rooms.inward.wake()
    while await rooms.pending():
        rooms.inward.wake()
        await asyncio.sleep(0.01)
    running.cancel()


async def share(one: Rooms, other: Rooms) -> None:
    await one.scan()
    await other.learn(one)
    await apply(other)


def bits(folder: Path) -> dict[str, int]:
    return {
        each.relative_to(folder).as_posix(): each.lstat().st_mode
        for each in folder.rglob("*")
        if ".meerkat" not in each.parts
    }


def tree(ada: Rooms) -> None:
    ada.put("d/one", b"1")
    ada.put("d/sub/two", b"2").chmod(0o755)
    ada.put("d/sub/big", BIG)
    (ada.folder / "d/empty").mkdir()
    (ada.folder / "d/link").symlink_to("one")
    ada.put("keep", b"stays")


def delete(rooms: Rooms, name: str) -> None:
    """As `rm -r` does."""
    place = rooms.folder / name
    if place.is_dir() and not place.is_symlink():
        for each in list(place.iterdir()):
            delete(rooms, f"{name}/{each.name}")
        place.rmdir()
    else:
        place.unlink()


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    """Files small and large, links, empty folders and bits: all from the trash of whoever deleted it on the word of the
    one who restores; told to the pool as edits."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        tree(ada)
        (ada.folder / "d/sub").chmod(0o555)
        before, modes = ada.tree(), bits(ada.folder)
        await share(ada, bob)
        (ada.folder / "d/sub").chmod(0o755)
        delete(ada, "d")
        await share(ada, bob)
        assert bob.tree() == {"keep": b"stays"}
        back = await ada.undelete.bring_back(path("d"), None)
        assert (back.files, back.folders, back.bytes, back.missing) == (4, 3, 2 + len(BIG), {})
        assert (ada.tree(), bits(ada.folder)) == (before, modes)
        assert os.readlink(ada.folder / "d/link") == "one"
        assert ada.stage.names() == []
        await bob.learn(ada)
        await apply(bob)
        assert (bob.tree(), bits(bob.folder)) == (before, modes)

    run(tmp_path, scene)


def test_it_can_be_taken_back(tmp_path: Path) -> None:
    """By deleting it again, as often as one likes."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        tree(ada)
        await share(ada, bob)
        for _ in range(2):
            delete(ada, "d")
            await share(ada, bob)
            assert bob.tree() == {"keep": b"stays"}
            await ada.undelete.bring_back(path("d"), None)
            assert len(ada.tree()) == 5
            await bob.learn(ada)
            await apply(bob)

    run(tmp_path, scene)


def test_what_stands_there_now_stays(tmp_path: Path) -> None:
    """A path that somebody has used again since is left alone, and so is what would be below it."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        tree(ada)
        await share(ada, bob)
        delete(ada, "d")
        await share(ada, bob)
        ada.put("d/one", b"anew")
        ada.put("d/sub", b"a file where a folder was")
        back = await ada.undelete.bring_back(path("d"), None)
        assert ada.read("d/one") == b"anew"
        assert ada.read("d/sub") == b"a file where a folder was"
        assert {each: fault.code for each, fault in back.missing.items()} == {
            "d/sub/big": "not_a_folder",
            "d/sub/two": "not_a_folder",
        }
        assert os.readlink(ada.folder / "d/link") == "one"

    run(tmp_path, scene)


def test_of_a_folder_that_stands_the_last_deletion_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, the one before after the last; when there is none, it is said."""
    monkeypatch.setattr(undelete, "DELETED_TOGETHER_MS", -1)  # nothing goes together

    async def scene(ada: Rooms, bob: Rooms) -> None:
        tree(ada)
        await share(ada, bob)
        for name in ("d/one", "d/sub/two"):
            delete(ada, name)
            await share(ada, bob)
        await ada.undelete.bring_back(path("d"), None)
        assert (ada.read("d/one"), ada.read("d/sub/two")) == (None, b"2")
        await ada.undelete.bring_back(path("d"), None)
        assert ada.read("d/one") == b"1"
        with pytest.raises(Fault) as nothing:
            await ada.undelete.bring_back(path("d"), None)
        assert nothing.value.exit_code == Exit.NOT_FOUND

    run(tmp_path, scene)


def test_a_folder_comes_back_for_the_file_that_took_its_place(tmp_path: Path) -> None:
    """The file goes to the trash, and can be had back in turn once the folder is gone."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        tree(ada)
        before = ada.tree()
        await share(ada, bob)
        delete(ada, "d")
        ada.put("d", b"a file")
        await share(ada, bob)
        back = await ada.undelete.bring_back(path("d"), None)
        assert ada.tree() == before
        assert back.replaced == file_version(b"a file").content
        assert b"a file" in ada.trashed()
        with pytest.raises(Fault) as full:
            await ada.undelete.bring_back(path("d"), version_name(file_version(b"a file")))
        assert (full.value.code, full.value.exit_code) == ("not_empty", Exit.REFUSED)
        assert ada.tree() == before
        delete(ada, "d")
        await ada.undelete.bring_back(path("d"), version_name(file_version(b"a file")))
        assert ada.read("d") == b"a file"

    run(tmp_path, scene)


def test_what_cannot_be_had_is_told_and_the_rest_comes(tmp_path: Path) -> None:
    """Each missing path with its cause; once its bytes are in reach, the same words bring the rest."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        tree(ada)
        await share(ada, bob)
        delete(ada, "d")
        ada.put("elsewhere", b"1")
        await share(ada, bob)
        bob.put("now here", b"2")
        for kept in list(bob.trash.entries()):
            bob.trash.drop(kept.id)
        back = await ada.undelete.bring_back(path("d"), None)
        assert {each: fault.code for each, fault in back.missing.items()} == {
            "d/sub/two": "unreachable",
            "d/sub/big": "unreachable",
        }
        assert ada.read("d/one") == b"1"
        assert ada.stage.names() == []
        await bob.scan()
        back = await ada.undelete.bring_back(path("d"), None)
        assert list(back.missing) == ["d/sub/big"]
        assert ada.read("d/sub/two") == b"2"
        with pytest.raises(Fault) as nowhere:
            await ada.undelete.bring_back(path("d"), None)
        assert nowhere.value.exit_code == Exit.UNREACHABLE

    run(tmp_path, scene)


def test_who_never_heard_of_the_versions_has_them_in_its_trash(tmp_path: Path) -> None:
    """A node that learnt the whole index at once kept no history of it; what it removed itself it can bring back."""

    async def scene(ada: Rooms, _: Rooms) -> None:
        ada.put("source", b"x" * 9)
        await ada.scan()

        def learn_silently(tx: Tx) -> None:
            tx.note_changes = False
            for name, version in (("d", folder_version()), ("d/script", file_version(b"x" * 9, mode=0o755))):
                tx.put_siblings(path(name), {Dot(tx.author(), tx.next_seq()): version})

        await ada.books.write(learn_silently)
        await apply(ada)
        assert ada.read("d/script") == b"x" * 9
        await ada.told("d/script", tombstone(9))
        await ada.told("d", tombstone(9))
        await apply(ada)
        assert ada.read("d/script") is None
        back = await ada.undelete.bring_back(path("d"), None)
        assert back.files == 1
        assert ada.read("d/script") == b"x" * 9
        assert (ada.folder / "d/script").stat().st_mode & 0o777 == 0o755

    run(tmp_path, scene)


def test_what_is_held_is_rejected_not_restored(tmp_path: Path) -> None:
    """While a mass deletion waits for a person, nothing was deleted for the pool: the answer is the hold's."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        for number in range(30):
            ada.put(f"d/{number}", b"%d" % number)
        await ada.scan()
        delete(ada, "d")
        with pytest.raises(Fault) as held:
            await ada.undelete.bring_back(path("d"), None)
        assert (held.value.code, held.value.exit_code) == ("held", Exit.NEEDS_PERSON)

    run(tmp_path, scene, holding=True)


def test_a_large_tree_goes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are made durable together."""
    monkeypatch.setattr(undelete, "COMMIT_BATCH_MAX", 3)

    async def scene(ada: Rooms, bob: Rooms) -> None:
        for number in range(20):
            ada.put(f"d/{number % 4}/{number}", b"%d" % number)
        before = ada.tree()
        await share(ada, bob)
        delete(ada, "d")
        await share(ada, bob)
        back = await ada.undelete.bring_back(path("d"), None)
        assert (back.files, back.folders) == (20, 5)
        assert ada.tree() == before

    run(tmp_path, scene)
