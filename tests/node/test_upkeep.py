"""What happens now and then: scans for what the watch missed, and nothing kept for ever."""

import asyncio
import datetime
import time
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, path, until

from meerkat.disk import trash as trash_room
from meerkat.model.ids import Digest
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX, TRASH_AGE_S_MAX
from meerkat.model.path import RelPath
from meerkat.node import upkeep
from meerkat.node.scrub import Scrub
from meerkat.node.upkeep import keep_bounded, rescan, scrub_slowly


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


class Leaping:
    """A wall clock that somebody has set wrong."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s  # noqa: TID251  # stands in for it


def test_a_clock_set_wrong_does_not_empty_the_trash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trash ages by a day in each upkeep at most, also over a restart; put right, the clock is believed at once."""
    clock = Leaping()
    monkeypatch.setattr(upkeep, "time", clock)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.stage.write_small("out.x", b"x", file_version(b"x"))
            ada.trash.keep(ada.stage, "out.x", path("a"), file_version(b"x").content)
            clock.ahead_s = 100 * TRASH_AGE_S_MAX
            begun = time.time()  # noqa: TID251  # what people see
            for day in range(1, 30):
                now = await upkeep._trash_time(ada.trash, ada.books)
                assert now == pytest.approx(begun + day * 86400, abs=3600)
            assert ada.trash.prune(now, TRASH_AGE_S_MAX, 10**9) == []
            clock.ahead_s = 0.0
            assert await upkeep._trash_time(ada.trash, ada.books) == pytest.approx(begun, abs=3600)

    asyncio.run(play())


def test_a_trash_that_grows_fast_is_pruned_out_of_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share of the disk holds, whatever a program does within an hour."""
    monkeypatch.setattr(upkeep, "TRASH_TURN_S", 0.01)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.tasks.spawn("upkeep", keep_bounded(ada.folder, ada.stage, ada.trash, ada.books))
            await until("tended once", lambda: ada.books.read_here(lambda view: view.meta("trash clock")))
            monkeypatch.setattr(upkeep, "TRASH_GROWN_SHARE", -1.0)
            monkeypatch.setattr(upkeep, "TRASH_DISK_SHARE_MAX", 0.0)
            ada.stage.write_small("out.x", b"x" * 1000, file_version(b"x" * 1000))
            ada.trash.keep(ada.stage, "out.x", path("a"), file_version(b"x" * 1000).content)
            assert ada.trash.grown == 1000
            await until("it went", lambda: not ada.in_trash())
            assert ada.trash.grown == 0

    asyncio.run(play())


def test_everything_is_read_again_in_the_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part each turn, going on where the last one ended, also after a restart; suspects need not wait for it."""
    monkeypatch.setattr(upkeep, "SCRUB_TURN_S", 0.01)
    monkeypatch.setattr(upkeep, "SCRUB_SUSPECT_S", 0.0)
    monkeypatch.setattr(upkeep, "SCRUB_PART_BYTES_MIN", 1)
    asked: list[str] = []

    class Reading(Scrub):
        async def part(self, after: RelPath, bytes_max: int) -> RelPath:
            asked.append(after)
            return RelPath({"": "a", "a": "b", "b": ""}[after])

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            parts = ada.root, ada.stage, ada.trash, ada.books, ada.claims, ada.hub, ada.transfer
            reading = Reading(*parts, ada.placer, ada.threads)
            running = ada.tasks.spawn("scrub", scrub_slowly(reading, ada.books))
            await until("twice round", lambda: len(asked) >= 5)
            assert asked[:5] == ["", "a", "b", "", "a"]
            running.cancel()
            monkeypatch.setattr(upkeep, "SCRUB_TURN_S", 1e6)
            ada.tasks.spawn("scrub again", scrub_slowly(reading, ada.books))
            reading.suspect(path("a"))
            await until("looked at", lambda: not reading.suspected.is_set())

    asyncio.run(play())
