"""A conflict before a person: shown side by side, settled by ordinary edits that can be taken back."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, node_id, path

from meerkat.core.resolve import copy_path
from meerkat.model.fault import Exit, Fault
from meerkat.node.judge import Judge
from meerkat.node.restore import Restorer

OURS, THEIRS = b"a line\nada's line\n", b"a line\nbob's line\n"
COPY = copy_path(path("plan.md"), file_version(OURS).content)
NAMES = {node_id("ada"): "ada", node_id("bob"): "bob"}


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
            rooms = (ada.root, ada.stage, ada.trash, ada.books, ada.claims)
            restorer = Restorer(*rooms, ada.transfer, ada.outward, ada.threads)
            await scene(ada, Judge(*rooms, ada.outward, restorer, ada.threads, NAMES.__getitem__))

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


def test_what_is_in_no_conflict_is_not_found(tmp_path: Path) -> None:
    """Neither a path without copies nor a node without a version is guessed at."""

    async def scene(ada: Rooms, judge: Judge) -> None:
        for where, keep in (("source", "ada"), ("plan.md", "zoe")):
            with pytest.raises(Fault) as missing:
                await judge.resolve(path(where), keep)
            assert missing.value.exit_code == Exit.NOT_FOUND
        assert ada.read(COPY) == OURS

    run(tmp_path, scene)
