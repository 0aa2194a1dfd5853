"""Edits at a person's word meet other people's: whatever is written at any instant is found afterwards."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, path

from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.model.fault import Fault
from meerkat.node.edit import Laid, anything

OLD, NEW, THEIRS, MORE = b"the old text", b"the new text", b"a person's", b"and one more, which is longer"


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]], *, holding: bool = False) -> None:
    async def play() -> None:
        rooms = Rooms(folder)
        rooms.holding = holding
        async with rooms as ada:
            await scene(ada)

    asyncio.run(play())


def laid(ada: Rooms, name: str, data: bytes) -> Laid:
    version = file_version(data)
    staged = ada.editor.name_for(path(name), version)
    return Laid(path(name), version, staged, ada.stage.write_small(staged, data, version))


def acting(monkeypatch: pytest.MonkeyPatch, verb: str, acts: dict[str, Callable[[], object]]) -> None:
    """People act after these steps of the exchange, once each."""

    def between(step: str) -> None:
        if step in acts:
            acts.pop(step)()

    monkeypatch.setattr(commit, verb, partial(getattr(commit, verb), between=between))


def everywhere(ada: Rooms) -> set[bytes]:
    return set(ada.tree().values()) | ada.trashed()


def test_what_stood_there_goes_to_the_trash(tmp_path: Path) -> None:
    """And is told to the pool as an edit; no two staged things share a name."""

    async def scene(ada: Rooms) -> None:
        ada.put("a/doc", OLD)
        await ada.scan()
        assert await ada.editor.put(laid(ada, "a/doc", NEW), anything) == file_version(OLD).content
        assert (ada.read("a/doc"), ada.trashed()) == (NEW, {OLD})
        assert [version.digest for version in await ada.living("a/doc")] == [file_version(NEW).digest]
        assert await ada.editor.put(laid(ada, "b/c/doc", NEW), anything) is None
        assert ada.read("b/c/doc") == NEW
        assert laid(ada, "x", NEW).name != laid(ada, "x", NEW).name

    run(tmp_path, scene)


def test_what_does_not_fit_stays(tmp_path: Path) -> None:
    """Something else stands there by now: nothing is touched, nothing is left in the stage."""

    async def scene(ada: Rooms) -> None:
        ada.put("doc", THEIRS)
        with pytest.raises(Fault) as changed:
            await ada.editor.put(laid(ada, "doc", NEW), lambda content: content == file_version(OLD).content)
        assert changed.value.code == "changed"
        assert (ada.read("doc"), ada.trashed(), ada.stage.names()) == (THEIRS, set(), [])

    run(tmp_path, scene)


@pytest.mark.parametrize("again", [False, True])
def test_a_save_in_the_instant_of_the_exchange_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """It stands at its path afterwards; where yet another save meets the way back, that one does, and the first stands
    beside it."""

    async def scene(ada: Rooms) -> None:
        ada.put("doc", OLD)
        await ada.scan()
        acts: dict[str, Callable[[], object]] = {"looked": lambda: ada.put("doc", THEIRS)}
        if again:
            acts["exchanged"] = lambda: ada.put("doc", MORE)
        acting(monkeypatch, "place", acts)
        with pytest.raises(Fault) as busy:
            await ada.editor.put(laid(ada, "doc", NEW), anything)
        assert busy.value.code == "file_busy"
        assert acts == {}
        assert ada.stage.names() == []
        if again:
            assert {THEIRS, MORE} <= everywhere(ada)
        else:
            assert ada.read("doc") == THEIRS

    run(tmp_path, scene)


def test_what_is_new_overwrites_nothing(tmp_path: Path) -> None:
    """Of many put at once, each that would is left out and said; the others stand."""

    async def scene(ada: Rooms) -> None:
        ada.put("there", THEIRS)
        ada.put("file", THEIRS)
        batch = [laid(ada, name, NEW) for name in ("d/e/new", "file/below", "there")]
        failed = await ada.editor.put_new(batch)
        assert {each: fault.code for each, fault in failed.items()} == {
            "file/below": "not_a_folder",
            "there": "changed",
        }
        assert ada.tree() == {"d/e/new": NEW, "there": THEIRS, "file": THEIRS}
        assert ada.stage.names() == []

    run(tmp_path, scene)


def test_a_folder_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    """An empty one is."""

    async def scene(ada: Rooms) -> None:
        ada.put("d/x", THEIRS)
        with pytest.raises(Fault) as full:
            await ada.editor.put(laid(ada, "d", NEW), anything)
        assert full.value.code == "not_empty"
        (tmp_path / "d/x").unlink()
        await ada.editor.put(laid(ada, "d", NEW), anything)
        assert ada.tree() == {"d": NEW}

    run(tmp_path, scene)


def test_only_what_was_seen_is_taken_away(tmp_path: Path) -> None:
    """What was edited since stays; what is taken goes to the trash and is told."""

    async def scene(ada: Rooms) -> None:
        ada.put("doc", OLD)
        await ada.scan()
        ada.put("doc", THEIRS)
        assert not await ada.editor.remove(path("doc"), file_version(OLD).content)
        assert ada.read("doc") == THEIRS
        assert await ada.editor.remove(path("doc"), file_version(THEIRS).content)
        assert (ada.read("doc"), ada.trashed()) == (None, {THEIRS})
        assert await ada.living("doc") == []
        assert not await ada.editor.remove(path("doc"), file_version(THEIRS).content)

    run(tmp_path, scene)


def test_what_a_person_has_taken_away_is_not_held(tmp_path: Path) -> None:
    """However much of the folder it is: they said so, and were told where it is."""

    async def scene(ada: Rooms) -> None:
        for number in range(9):
            ada.put(f"{number}", OLD + bytes([number]))
        await ada.scan()
        for number in range(9):
            content = file_version(OLD + bytes([number])).content
            assert await ada.editor.remove(path(f"{number}"), content)
        await ada.scan()
        assert await ada.books.read(lambda view: view.holds()) == []
        assert [await ada.living(f"{number}") for number in range(9)] == [[]] * 9

    run(tmp_path, scene, holding=True)


def test_a_save_in_the_instant_of_a_removal_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the way back is taken as well, it stands beside."""

    async def scene(ada: Rooms) -> None:
        ada.put("doc", OLD)
        await ada.scan()
        acts: dict[str, Callable[[], object]] = {
            "looked": lambda: ada.put("doc", THEIRS),
            "exchanged": lambda: ada.put("doc", MORE),
        }
        acting(monkeypatch, "remove", acts)
        assert not await ada.editor.remove(path("doc"), file_version(OLD).content)
        assert ada.read("doc") == MORE
        assert ada.read(copy_path(path("doc"), file_version(THEIRS).content)) == THEIRS
        assert ada.stage.names() == []

    run(tmp_path, scene)
