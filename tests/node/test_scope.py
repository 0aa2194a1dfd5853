"""Which paths a touched path stands for."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace
from node_rooms import Rooms, path

from meerkat.node.scope import Scope


def run(tmp_path: Path, scene: Callable[[Rooms, Callable[..., Awaitable[list[str]]]], Awaitable[None]]) -> None:
    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            scope = Scope(ada.root, ada.rules, ada.hub)

            async def stands_for(*names: str) -> list[str]:
                due = [path(name) for name in names]
                batches = await ada.books.read(lambda view: scope.expand(due, [], set(), view))
                return [each for batch in batches for each in batch]

            await scene(ada, stands_for)

    asyncio.run(play())


def test_a_folder_that_came_stands_for_what_is_in_it(tmp_path: Path) -> None:
    """And for the folders above that nobody has told of yet."""

    async def scene(ada: Rooms, stands_for: Callable[..., Awaitable[list[str]]]) -> None:
        ada.put("new/in/a", b"a")
        ada.put("new/in/b", b"b")
        assert await stands_for("new/in") == ["new", "new/in", "new/in/a", "new/in/b"]

    run(tmp_path, scene)


def test_a_folder_that_went_stands_for_what_was_in_it(tmp_path: Path) -> None:
    """Nobody tells of each file of a folder that was moved away."""

    async def scene(ada: Rooms, stands_for: Callable[..., Awaitable[list[str]]]) -> None:
        ada.put("d/a", b"a")
        ada.put("d/e/b", b"b")
        await ada.scan()
        shutil.rmtree(ada.folder / "d")
        assert await stands_for("d") == ["d", "d/a", "d/e", "d/e/b"]
        assert await stands_for("never") == []

    run(tmp_path, scene)


def test_our_own_echo_stands_for_nothing(tmp_path: Path) -> None:
    """A file that looks as it was last seen is left alone; one that looks otherwise, or was racy then, is not."""

    async def scene(ada: Rooms, stands_for: Callable[..., Awaitable[list[str]]]) -> None:
        ada.put("calm", b"a")
        ada.put("other", b"b")
        await ada.scan()
        calm = await ada.books.read(lambda view: view.base(path("calm")))
        other = await ada.books.read(lambda view: view.base(path("other")))
        assert calm is not None
        assert other is not None
        expected = [name for name, base in (("calm", calm), ("other", other)) if base.racy]
        assert await stands_for("calm", "other") == expected
        ada.put("other", b"changed")
        assert "other" in await stands_for("calm", "other")

    run(tmp_path, scene)


def test_the_ignore_rules_are_looked_at_whoever_wrote_them(tmp_path: Path) -> None:
    """They are read when they are looked at."""

    async def scene(ada: Rooms, stands_for: Callable[..., Awaitable[list[str]]]) -> None:
        ada.put(".meerkatignore", b"*.o\n")
        await ada.scan()
        assert await stands_for(".meerkatignore") == [".meerkatignore"]

    run(tmp_path, scene)


def test_what_was_recorded_moments_ago_is_an_echo_while_it_is_so(tmp_path: Path) -> None:
    """Told without the index: to the lstat as recorded, and not racy. Whatever is otherwise is to be looked at."""

    async def scene(ada: Rooms, stands_for: Callable[..., Awaitable[list[str]]]) -> None:
        scope = Scope(ada.root, ada.rules, ada.hub)
        names = ["d/same", "d/edited", "d/gone", "d/racy", "d/other kind", "top", ".meerkatignore"]
        for name in names:
            ada.put(name, b"as recorded")
        await ada.scan()
        recorded = await ada.books.read(lambda view: view.bases_at([path(name) for name in [*names, "d", "never"]]))
        assert set(recorded) == {*names, "d"}
        recorded = {each: replace(base, racy=each == "d/racy") for each, base in recorded.items()}
        ada.put("d/edited", b"otherwise")
        (ada.folder / "d/gone").unlink()
        (ada.folder / "d/other kind").unlink()
        (ada.folder / "d/other kind").mkdir()
        assert scope.echoes(recorded) == {"d/same", "top"}
        shutil.rmtree(ada.folder / "d")
        assert scope.echoes(recorded) == {"top"}

    run(tmp_path, scene)
