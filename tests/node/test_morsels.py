"""Content of very small files rides with the entries: what rides, what is used, what is dropped."""

import asyncio
from pathlib import Path

import pytest
from blake3 import blake3
from node_pool import pool
from node_rooms import Rooms, file_version, path

from meerkat.model.ids import Digest
from meerkat.model.limits import MORSEL_BYTES_MAX
from meerkat.model.version import Entry
from meerkat.node import morsels as morsels_room
from meerkat.node.asking import Asking
from meerkat.node.morsels import Morsels


def digest(data: bytes) -> Digest:
    return Digest(blake3(data).digest())


async def rides(ada: Rooms, morsels: Morsels, name: str) -> dict[Digest, bytes]:
    return await ada.books.read(lambda view: morsels.riding(view, Entry(path(name), view.siblings(path(name)))))


def test_new_content_rides_and_what_moved_does_not(tmp_path: Path) -> None:
    """Small and new at that path: as it was read while that is remembered, else as it is if it has not changed. None
    that was moved since (whoever asks has been told of it where it was new), no copy of what was here, none larger."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            morsels = Morsels(ada.root)
            ada.outward.note_new = morsels.note_new
            ada.put("small", b"small")
            ada.put("large", bytes(MORSEL_BYTES_MAX + 1))
            ada.put("changes", b"as it was")
            await ada.scan()
            assert await rides(ada, morsels, "small") == {digest(b"small"): b"small"}
            (ada.folder / "small").rename(ada.folder / "moved")
            ada.put("copy of changes", b"as it was")
            await ada.scan()
            ada.put("changes", b"not any more")
            (ada.folder / "copy of changes").unlink()
            assert await rides(ada, morsels, "moved") == {}
            assert await rides(ada, morsels, "large") == {}
            assert await rides(ada, morsels, "changes") == {digest(b"as it was"): b"as it was"}
            morsels._given.expire(float("inf"))
            assert await rides(ada, morsels, "changes") == {}
        async with Rooms(tmp_path / "later") as eve:
            again = Morsels(eve.root)
            eve.put("old", b"was here before")
            await eve.scan()
            eve.outward.note_new = again.note_new
            (eve.folder / "old").rename(eve.folder / "new")
            await eve.scan()
            assert await rides(eve, again, "new") == {}

    asyncio.run(play())


def test_what_came_along_is_checked_and_given_once(tmp_path: Path) -> None:
    """Wrong bytes, or bytes of another length, are nobody's content."""

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            morsels = Morsels(ada.root)
            good, bad = file_version(b"good"), file_version(b"evil")
            morsels.arrived({good.digest: b"good", bad.digest: b"lies"})
            assert morsels.take(good) == b"good"
            assert morsels.take(good) is None
            assert morsels.take(bad) is None

    asyncio.run(play())


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes, the oldest going first, and in time."""
    monkeypatch.setattr(morsels_room, "MORSELS_KEPT_BYTES_MAX", 10)
    monkeypatch.setattr(morsels_room, "MORSELS_KEPT_S", 0.0)

    async def play() -> None:
        async with Rooms(tmp_path) as ada:
            morsels = Morsels(ada.root)
            first, second = file_version(b"first."), file_version(b"second")
            morsels.arrived({first.digest: b"first."})
            morsels.arrived({second.digest: b"second"})
            assert morsels.take(first) is None
            assert morsels.take(second) == b"second"
            morsels.arrived({second.digest: b"second"})
            await asyncio.sleep(0.01)
            assert morsels.take(second) is None

    asyncio.run(play())


def test_a_new_small_file_needs_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between real nodes it is there without any piece having been asked for; a larger one is asked for."""
    asked: list[int] = []
    honest = Asking.pieces

    async def pieces(self: Asking, *what: object) -> object:
        asked.append(1)
        return await honest(self, *what)  # type: ignore[arg-type]

    monkeypatch.setattr(Asking, "pieces", pieces)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ben = await nodes.join("ben", ada)
            await nodes.linked()
            await nodes.settled()  # a newcomer asks for the whole index first, with which nothing rides
            ada.put("small", b"rides along")
            await nodes.settled()
            assert ben.read("small") == b"rides along"
            assert asked == []
            ada.put("large", bytes(MORSEL_BYTES_MAX + 1))
            await nodes.settled()
            assert asked == [1]

    asyncio.run(play())
