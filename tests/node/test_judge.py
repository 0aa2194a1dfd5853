"""A conflict before a person: shown side by side, settled by ordinary edits that can be taken back."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
from node_rooms import LONG_AGO_NS, Rooms, file_version, node_id, path

from meerkat.core.resolve import copy_path
from meerkat.disk.trash import Kept
from meerkat.model.fault import Exit, Fault
from meerkat.model.version import Kind, Version
from meerkat.node import judge as judging
from meerkat.node.history import content_name
from meerkat.node.judge import Judge

T = TypeVar("T")

OURS, THEIRS = b"a line\nada's line\n", b"a line\nbob's line\n"
COPY = copy_path(path("plan.md"), file_version(OURS).content)
NAMES = {node_id(name): name for name in ("ada", "bob", "zoe")}


def files(rooms: Rooms) -> list[Kept]:
    """Those in the trash; of a link there is only a note."""
    return [kept for kept in rooms.trash.entries() if kept.content.kind is Kind.FILE]


async def _as_awaited(value: T) -> T:
    return value


def run(folder: Path, scene: Callable[[Rooms, Judge], Coroutine[object, object, None]]) -> None:
    """Ada lost a conflict with bob; both versions stand."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            ada.put("plan.md", OURS)
            ada.put("source", THEIRS)
            await ada.scan()
            await ada.told("plan.md", file_version(THEIRS, height=9), by="bob", unseen=True)
            await ada.losers.keep([await ada.job("plan.md")])
            await ada.placer.small([await ada.job("plan.md")])
            assert (ada.read("plan.md"), ada.read(COPY)) == (THEIRS, OURS)
            await scene(ada, Judge(ada.books, ada.editor, ada.restorer, NAMES.__getitem__))

    asyncio.run(play())


def test_the_loser_may_stay_after_all(tmp_path: Path) -> None:
    """The named node's version comes to the path; the other is in the trash, and no conflict is left."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        result = await judge.resolve(path("plan.md"), "ada")
        assert result["kept"] == node_id("ada")
        assert ada.read("plan.md") == OURS
        assert ada.read(COPY) is None
        assert THEIRS in ada.trashed()
        assert await ada.books.read(lambda view: view.copies()) == []

    run(tmp_path, scene)


def test_the_winner_may_stay(tmp_path: Path) -> None:
    """Then only the copy goes, to the trash."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        await judge.resolve(path("plan.md"), "bob")
        assert (ada.read("plan.md"), ada.read(COPY)) == (THEIRS, None)
        assert ada.in_trash()[COPY] == OURS

    run(tmp_path, scene)


def test_both_may_stay(tmp_path: Path) -> None:
    """The copy gets an ordinary name, after the node whose version it is."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        assert (await judge.resolve(path("plan.md"), "both"))["stored"] == ["plan.ada.md"]
        assert (ada.read("plan.md"), ada.read("plan.ada.md"), ada.read(COPY)) == (THEIRS, OURS, None)

    run(tmp_path, scene)


def test_they_are_compared_line_by_line(tmp_path: Path) -> None:
    """Text is shown as a unified diff."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        (shown,) = await judge.diff(path("plan.md"))
        assert shown["name"] == "ada"
        assert "-bob's line\n+ada's line\n" in str(shown["text"])

    run(tmp_path, scene)


def test_a_version_may_be_named_by_itself(tmp_path: Path) -> None:
    """Where one node has several, its name says too little: the versions are told, and each can be kept by its own."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        third = b"ada's other"
        ada.put(copy_path(path("plan.md"), file_version(third).content), third)
        await ada.scan()
        with pytest.raises(Fault) as unclear:
            await judge.resolve(path("plan.md"), "ada")
        wanted = content_name(file_version(third).content)
        assert (unclear.value.exit_code, wanted in unclear.value.hint) == (Exit.USAGE, True)
        await judge.resolve(path("plan.md"), wanted.upper()[:9])
        assert (ada.read("plan.md"), ada.read(COPY)) == (third, None)

    run(tmp_path, scene)


def test_each_thing_in_the_trash_is_named(tmp_path: Path) -> None:
    """With the version under which it can be had back: so a settled conflict is undone, file and copy."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        result = await judge.resolve(path("plan.md"), "ada")
        assert result["stored"] == ["trash"]
        trashed = result["trashed"]
        assert isinstance(trashed, list)
        assert {each["path"] for each in trashed} == {"plan.md", COPY}
        for each in trashed:
            await ada.undelete.bring_back(path(each["path"]), each["version"])
        assert (ada.read("plan.md"), ada.read(COPY)) == (THEIRS, OURS)
        assert [entry.path for entry in await ada.books.read(lambda view: view.copies())] == [COPY]

    run(tmp_path, scene)


def test_a_copy_that_was_edited_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has seen that edit when the conflict was settled: it is left where it is, and told."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        sides = await judge.sides(path("plan.md"))
        ada.put(COPY, b"edited")
        monkeypatch.setattr(judge, "sides", lambda _: _as_awaited(sides))  # as it was a moment ago
        result = await judge.resolve(path("plan.md"), "bob")
        assert (result["stored"], result["trashed"], result["left"]) == ([COPY], [], [COPY])
        assert ada.read(COPY) == b"edited"
        assert await ada.living(COPY)

    run(tmp_path, scene)


def test_an_edit_of_the_file_meanwhile_stays(tmp_path: Path) -> None:
    """The version that was chosen does not come over what nobody has looked at: it is said, and nothing is done."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        ada.put("plan.md", b"edited")
        with pytest.raises(Fault) as changed:
            await judge.resolve(path("plan.md"), "ada")
        assert changed.value.code == "changed"
        assert (ada.read("plan.md"), ada.read(COPY)) == (b"edited", OURS)

    run(tmp_path, scene)


def test_both_stay_under_names_that_are_free(tmp_path: Path) -> None:
    """A name that something else has is passed by, looked at or not; one that holds the very version is it."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        ada.put("plan.ada.md", b"another")
        await ada.scan()
        ada.put("plan.ada-2.md", b"not looked at yet")
        assert (await judge.resolve(path("plan.md"), "both"))["stored"] == ["plan.ada-3.md"]
        assert ada.read("plan.ada-3.md") == OURS
        ada.put(COPY, OURS)
        await ada.scan()
        assert (await judge.resolve(path("plan.md"), "both"))["stored"] == ["plan.ada-3.md"]
        assert ada.read("plan.ada-2.md") == b"not looked at yet"

    run(tmp_path, scene)


def test_a_version_that_is_not_here_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loser whose bytes nobody online has is shown; nothing is settled over it, for it could not be had back."""
    monkeypatch.setattr(judging, "RESOLVE_PATIENCE_S", 0.05)

    async def scene(ada: Rooms, judge: Judge) -> None:
        await ada.told("plan.md", file_version(b"zoe's", height=3), by="zoe", unseen=True)
        assert [side.node for side in await judge.sides(path("plan.md"))] == [
            node_id("bob"),
            node_id("ada"),
            node_id("zoe"),
        ]
        for keep in ("ada", "bob", "zoe", "both"):
            with pytest.raises(Fault) as away:
                await judge.resolve(path("plan.md"), keep)
            assert (away.value.code, away.value.exit_code) == ("not_here", Exit.UNREACHABLE)
        assert (ada.read("plan.md"), ada.read(COPY)) == (THEIRS, OURS)
        compared = await judge.diff(path("plan.md"))
        assert ["why" in row for row in compared] == [False, True]

    run(tmp_path, scene)


def test_a_winner_on_its_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would come over the version that was chosen; where it is the one to stay, nothing is in the way."""
    monkeypatch.setattr(judging, "RESOLVE_PATIENCE_S", 0.05)

    async def scene(ada: Rooms, judge: Judge) -> None:
        await ada.told("plan.md", file_version(b"bob's next", height=20), by="bob")
        with pytest.raises(Fault) as away:
            await judge.resolve(path("plan.md"), "ada")
        assert away.value.code == "not_here"
        await judge.resolve(path("plan.md"), "bob")
        assert ada.read(COPY) is None

    run(tmp_path, scene)


def test_links_are_settled_and_compared_as_files_are(tmp_path: Path) -> None:
    """By what they point to."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        link = Version(Kind.SYMLINK, target="elsewhere", mtime_ns=LONG_AGO_NS, height=9)
        copy = copy_path(path("plan.md"), link.content)
        (ada.folder / copy).symlink_to("elsewhere")
        await ada.scan()
        shown = {str(row["path"]): row for row in await judge.diff(path("plan.md"))}
        assert f"-a file of {len(THEIRS)} bytes\n+a link to elsewhere\n" in str(shown[copy]["text"])
        other = ada.folder / COPY
        other.unlink()
        await ada.scan()
        result = await judge.resolve(path("plan.md"), "newest")
        assert os.readlink(ada.folder / "plan.md") == "elsewhere"
        assert not (ada.folder / copy).is_symlink()
        assert THEIRS in {(ada.folder / ".meerkat/trash" / kept.id).read_bytes() for kept in files(ada)}
        for each in result["trashed"]:  # type: ignore[attr-defined]
            await ada.undelete.bring_back(path(each["path"]), each["version"])
        assert ada.read("plan.md") == THEIRS
        assert os.readlink(ada.folder / copy) == "elsewhere"

    run(tmp_path, scene)


def test_a_file_does_not_take_the_place_of_a_full_folder(tmp_path: Path) -> None:
    """Where a folder won against a file, the file can have another name, or the folder be moved away; an empty one
    gives way."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        (ada.folder / "plan.md").unlink()
        ada.put("plan.md/inside", b"1")
        await ada.scan()
        with pytest.raises(Fault) as full:
            await judge.resolve(path("plan.md"), "newest")
        assert (full.value.code, full.value.exit_code) == ("not_empty", Exit.REFUSED)
        assert (ada.read("plan.md/inside"), ada.read(COPY)) == (b"1", OURS)
        assert "-a folder\n" in str((await judge.diff(path("plan.md")))[0]["text"])
        (ada.folder / "plan.md/inside").unlink()
        await ada.scan()
        await judge.resolve(path("plan.md"), "newest")
        assert (ada.read("plan.md"), ada.read(COPY)) == (OURS, None)

    run(tmp_path, scene)


def test_what_is_in_no_conflict_is_not_found(tmp_path: Path) -> None:
    """Neither a path without copies nor a node without a version is guessed at."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        for where, keep in (("source", "ada"), ("plan.md", "zoe")):
            with pytest.raises(Fault) as missing:
                await judge.resolve(path(where), keep)
            assert missing.value.exit_code == Exit.NOT_FOUND
        assert ada.read(COPY) == OURS

    run(tmp_path, scene)
