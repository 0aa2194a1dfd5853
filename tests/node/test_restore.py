"""A past version comes back as if a person had written it, from wherever its bytes still are."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, path

from meerkat.model.fault import Exit, Fault
from meerkat.node.history import version_name

OLD, NEW = b"the old text", b"the new text"


def run(folder: Path, scene: Callable[[Rooms, Rooms], Coroutine[object, object, None]]) -> None:
    async def play() -> None:
        async with Rooms(folder / "ada") as ada, Rooms(folder / "bob", "bob") as bob:
            ada.carry(bob)
            await scene(ada, bob)

    asyncio.run(play())


async def replaced_by_the_pool(ada: Rooms) -> None:
    """Ada's file was replaced on the pool's word, so its old bytes lie in her trash."""
    ada.put("doc", OLD)
    await ada.scan()
    ada.put("source", NEW)
    await ada.scan()
    await ada.told("doc", file_version(NEW, height=5))
    await ada.placer.small([await ada.job("doc")])
    assert ada.read("doc") == NEW


def test_the_version_before_comes_back_from_the_trash(tmp_path: Path) -> None:
    """Without a name it is the one before; what stood there goes to the trash, so it can be taken back."""

    async def scene(ada: Rooms, _: Rooms) -> None:
        await replaced_by_the_pool(ada)
        version, replaced = await ada.restorer.restore(path("doc"), None)
        assert replaced == file_version(NEW).content
        assert version.digest == file_version(OLD).digest
        assert ada.read("doc") == OLD
        (living,) = await ada.living("doc")
        assert (living.digest, living.weak) == (version.digest, False), "it is told to the pool as an edit"
        assert NEW in ada.trashed()
        assert ada.stage.names() == []
        await ada.restorer.restore(path("doc"), None)
        assert ada.read("doc") == NEW

    run(tmp_path, scene)


def test_a_deletion_is_undone_with_its_folders(tmp_path: Path) -> None:
    """What was deleted with its folder stands again at its path."""

    async def scene(ada: Rooms, _: Rooms) -> None:
        ada.put("a/b/doc", OLD)
        ada.put("keep", OLD)
        await ada.scan()
        (tmp_path / "ada/a/b/doc").unlink()
        (tmp_path / "ada/a/b").rmdir()
        (tmp_path / "ada/a").rmdir()
        await ada.scan()
        _version, replaced = await ada.restorer.restore(path("a/b/doc"), None)
        assert replaced is None
        assert ada.read("a/b/doc") == OLD
        assert [version.digest for version in await ada.living("a/b/doc")] == [file_version(OLD).digest]

    run(tmp_path, scene)


def test_a_member_gives_what_lies_in_its_trash(tmp_path: Path) -> None:
    """A version that this disk has overwritten is fetched from a member that still keeps it, and checked."""

    async def scene(ada: Rooms, bob: Rooms) -> None:
        await replaced_by_the_pool(bob)
        ada.put("doc", OLD)
        await ada.scan()
        ada.put("doc", b"third")
        await ada.scan()
        await ada.restorer.restore(path("doc"), version_name(file_version(OLD)))
        assert ada.read("doc") == OLD

    run(tmp_path, scene)


def test_what_nobody_has_is_said(tmp_path: Path) -> None:
    """Bytes that no node has any more are a fault that says so, and nothing is touched."""

    async def scene(ada: Rooms, _: Rooms) -> None:
        ada.put("doc", OLD)
        await ada.scan()
        ada.put("doc", NEW)
        await ada.scan()
        with pytest.raises(Fault) as nowhere:
            await ada.restorer.restore(path("doc"), None)
        assert (nowhere.value.code, nowhere.value.exit_code) == ("unreachable", Exit.UNREACHABLE)
        with pytest.raises(Fault) as unknown:
            await ada.restorer.restore(path("doc"), "abcdef")
        assert (unknown.value.code, unknown.value.exit_code) == ("not_found", Exit.NOT_FOUND)
        assert ada.read("doc") == NEW

    run(tmp_path, scene)


def test_a_version_is_written_elsewhere(tmp_path: Path) -> None:
    """`--to` writes a new file and never over an old one; the folder stays as it is."""

    async def scene(ada: Rooms, _: Rooms) -> None:
        await replaced_by_the_pool(ada)
        target = tmp_path / "out"
        await ada.restorer.export(path("doc"), None, target)
        assert target.read_bytes() == OLD
        assert ada.read("doc") == NEW
        with pytest.raises(Fault) as there:
            await ada.restorer.export(path("doc"), None, target)
        assert there.value.exit_code == Exit.REFUSED

    run(tmp_path, scene)
