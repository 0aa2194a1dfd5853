"""What happens now and then: scans for what the watch missed, and nothing kept for ever."""

import asyncio
import datetime
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, path, until

from meerkat.disk import trash as trash_room
from meerkat.model.ids import Digest
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX, TRASH_AGE_S_MAX
from meerkat.model.path import RelPath
from meerkat.node import upkeep
from meerkat.node.upkeep import keep_bounded, rescan


class Watching:
    """A watch as far as rescanning is concerned."""

    def __init__(self, degraded: str) -> None:
        self.degraded = degraded

    async def start(self) -> None: ...

    def attend(self, folder: RelPath) -> None: ...

    async def stop(self) -> None: ...


@pytest.mark.parametrize(("degraded", "interval_s", "degraded_s"), [("", 0.01, 1e6), ("too many folders", 1e6, 0.01)])
def test_what_the_watch_missed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, degraded: str, interval_s: float, degraded_s: float
) -> None:
    """By a scan from time to time; more often while the watch does not see everything."""
    monkeypatch.setattr(upkeep, "RESCAN_DEGRADED_S", degraded_s)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.tasks.spawn("rescan", rescan(ada.outward, Watching(degraded), interval_s))
            await until("scanned", lambda: ada.events("scan.finished"))
            ada.put("missed", b"x")
            await until("found", lambda: ada.events("file.changed"))

    asyncio.run(play())


class Earlier(datetime.datetime):
    """A clock that is two retentions behind."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "Earlier":
        back = super().now(tz) - datetime.timedelta(seconds=2 * TRASH_AGE_S_MAX)
        return cls.fromtimestamp(back.timestamp(), tz)


def test_the_trash_lets_go_of_what_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the age that people are promised; what came in lately stays."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            for name in ("old", "new"):
                ada.stage.write_small("out.x", name.encode(), file_version(name.encode()))
                with monkeypatch.context() as patched:
                    if name == "old":
                        patched.setattr(trash_room, "datetime", Earlier)
                    ada.trash.keep(ada.stage, "out.x", path(name), file_version(name.encode()).content)
            assert set(ada.in_trash()) == {"old", "new"}
            ada.tasks.spawn("upkeep", keep_bounded(ada.folder, ada.stage, ada.trash, ada.books))
            await until("the old one went", lambda: set(ada.in_trash()) == {"new"})

    asyncio.run(play())


def test_the_trash_keeps_to_its_share_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr(upkeep, "TRASH_DISK_SHARE_MAX", 0.0)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.stage.write_small("out.x", b"x" * 1000, file_version(b"x" * 1000))
            ada.trash.keep(ada.stage, "out.x", path("a"), file_version(b"x" * 1000).content)
            ada.tasks.spawn("upkeep", keep_bounded(ada.folder, ada.stage, ada.trash, ada.books))
            await until("it went", lambda: not ada.in_trash())

    asyncio.run(play())


def test_the_index_lets_go_of_what_nothing_refers_to(tmp_path: Path) -> None:
    """Lists of chunks of contents that no version and no file has any more; those in use stay."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            stray = Digest(b"s" * 32)
            ada.put("kept", bytes(range(256)) * (SINGLE_CHUNK_BYTES_MAX // 128))
            await ada.scan()
            (kept,) = await ada.living("kept")
            await ada.books.write(lambda tx: tx.put_recipe(stray, b"of a file that nobody has"))
            ada.tasks.spawn("upkeep", keep_bounded(ada.folder, ada.stage, ada.trash, ada.books))
            await until("pruned", lambda: ada.books.read_here(lambda view: view.recipe(stray)) is None)
            assert await ada.books.read(lambda view: view.recipe(kept.recipe)) is not None

    asyncio.run(play())
