"""What a program writes into a file that was replaced or deleted meanwhile is in the tree, under a name of its own."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from blake3 import blake3
from node_rooms import Rooms, file_version, path, tombstone, until

from meerkat.core.resolve import copy_path
from meerkat.disk import platform
from meerkat.disk.inotify import InotifyWatch
from meerkat.disk.watch import Overflowed, Touched
from meerkat.model.limits import MIB
from meerkat.model.path import MARKER, RelPath
from meerkat.model.version import Content, Kind
from meerkat.node import late as late_room
from meerkat.node.late import Late
from meerkat.node.stage_names import stage_name


class Deaf:
    """A watch that never says anything by itself."""

    def __init__(self) -> None:
        self.degraded = ""
        self.attended: list[str] = []

    async def start(self) -> None: ...

    def attend(self, folder: RelPath) -> None:
        self.attended.append(folder)

    async def stop(self) -> None: ...


def copy_of(name: str, data: bytes) -> str:
    return copy_path(path(name), Content(Kind.FILE, blake3(data).digest()))


def late_of(ada: Rooms) -> Late:
    return Late(ada.root, ada.trash, ada.hub, ada.threads, ada.look_again, ada.placer.put_away)


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


async def replaced(ada: Rooms, name: str, old: bytes, new: bytes | None) -> int:
    """A handle on a file that was opened before another member's version (None: a deletion) took its place."""
    ada.put(name, old)
    await ada.scan()
    handle = os.open(ada.folder / name, os.O_RDWR | os.O_APPEND)
    if new is None:
        await ada.told(name, tombstone(2))
        (outcome,) = await ada.placer.remove([await ada.job(name)])
    else:
        version = file_version(new, height=2)
        ada.stage.write_small(stage_name(path(name), version), new, version)  # at hand without a link
        await ada.told(name, version)
        (outcome,) = await ada.placer.small([await ada.job(name)])
    assert outcome.problem is None
    assert not outcome.later
    return handle


def test_a_late_write_comes_back_and_is_followed(tmp_path: Path) -> None:
    """The very file that is open moves into the tree, so that what is written still later is there as well."""

    async def scene(ada: Rooms) -> None:
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        os.write(handle, b"two\n")
        copy = copy_of("log", b"one\ntwo\n")
        ada.tasks.spawn("late", late_of(ada).run(Deaf(), 1e6))
        await until("it is to be looked at", lambda: copy in ada.again)
        os.write(handle, b"three\n")
        os.close(handle)
        assert ada.tree() == {"log": b"theirs", copy: b"one\ntwo\nthree\n"}
        assert ada.in_trash() == {}
        assert ada.events("file.late") == [{"path": "log", "copy": copy}]
        await ada.scan()
        (version,) = await ada.living(copy)
        assert version.digest == blake3(b"one\ntwo\nthree\n").digest()

    run(tmp_path, scene)


def test_what_was_deleted_comes_back_with_its_folders(tmp_path: Path) -> None:
    """A person's bytes are there again even though the folder went with the file."""

    async def scene(ada: Rooms) -> None:
        handle = await replaced(ada, "a/b/log", b"one\n", None)
        (ada.folder / "a/b").rmdir()
        (ada.folder / "a").rmdir()
        os.write(handle, b"two\n")
        os.close(handle)
        ada.tasks.spawn("late", late_of(ada).run(Deaf(), 1e6))
        copy = copy_of("a/b/log", b"one\ntwo\n")
        await until("it is back", lambda: ada.read(copy))
        assert ada.tree() == {copy: b"one\ntwo\n"}

    run(tmp_path, scene)


@pytest.mark.parametrize("there", ["file", "link out"])
def test_no_link_is_followed_and_no_file_is_in_the_way(tmp_path: Path, there: str) -> None:
    """Where its folder is something else by now, the copy stands in the last folder that there is (G7)."""

    async def scene(ada: Rooms) -> None:
        (tmp_path / "outside").mkdir()
        handle = await replaced(ada, "a/b/log", b"one\n", None)
        (ada.folder / "a/b").rmdir()
        if there == "file":
            ada.put("a/b", b"a file")
        else:
            (ada.folder / "a/b").symlink_to(tmp_path / "outside")
        os.write(handle, b"two\n")
        os.close(handle)
        ada.tasks.spawn("late", late_of(ada).run(Deaf(), 1e6))
        await until("it is back", lambda: ada.read(copy_of("a/log", b"one\ntwo\n")))
        assert os.listdir(tmp_path / "outside") == []

    run(tmp_path, scene)


def test_the_copys_name_is_taken(tmp_path: Path) -> None:
    """By other bytes: the next name. By the same bytes: nothing more is needed, until there are later ones."""

    async def scene(ada: Rooms) -> None:
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        os.write(handle, b"two\n")
        copy = copy_of("log", b"one\ntwo\n")
        ada.put(copy, b"one\ntwo\n")
        late = late_of(ada)
        ada.tasks.spawn("late", late.run(Deaf(), 1e6))
        await until("vouched", lambda: [each.late for each in ada.trash.entries()] == [False])
        assert set(ada.tree()) == {"log", copy}
        os.write(handle, b"three\n")
        os.close(handle)
        ada.put(copy_of("log", b"one\ntwo\nthree\n"), b"in the way")
        late.heard(Overflowed())
        further = copy_of(copy_of("log", b"one\ntwo\nthree\n"), b"one\ntwo\nthree\n")
        await until("it is back", lambda: ada.read(further))
        assert ada.tree()[further] == b"one\ntwo\nthree\n"

    run(tmp_path, scene)


def test_with_every_name_taken_it_stays_and_is_not_pruned(tmp_path: Path) -> None:
    """The trash does not let go of bytes that are nowhere else, however old they are."""

    async def scene(ada: Rooms) -> None:
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        os.write(handle, b"two\n")
        os.close(handle)
        name = "log"
        for _ in range(4):
            name = copy_of(name, b"one\ntwo\n")
            ada.put(name, b"in the way")
        late = late_of(ada)
        late._look_at_all()
        assert ada.in_trash() == {"log": b"one\ntwo\n"}
        assert ada.trash.prune(1e12, 1.0, 0) == []
        (ada.folder / copy_of("log", b"one\ntwo\n")).unlink()
        late._look_at_all()
        assert ada.read(copy_of("log", b"one\ntwo\n")) == b"one\ntwo\n"

    run(tmp_path, scene)


def test_what_was_not_written_stays_in_the_trash(tmp_path: Path) -> None:
    """A touched file, one that was closed, one that has another name in the tree: none of them comes back."""

    async def scene(ada: Rooms) -> None:
        for name in ("touched", "closed", "linked"):
            handle = await replaced(ada, name, name.encode(), b"theirs")
            if name == "touched":
                os.utime(handle)
            if name == "linked":
                (kept,) = (each for each in ada.trash.entries() if each.path == "linked")
                (ada.folder / "second").hardlink_to(ada.folder / MARKER / "trash" / kept.id)
                os.write(handle, b" late")
            os.close(handle)
        late_of(ada)._look_at_all()
        assert set(ada.tree()) == {"touched", "closed", "linked", "second"}
        assert [each.path for each in ada.trash.entries() if each.late] == []

    run(tmp_path, scene)


def test_a_write_that_looks_like_none_is_found_by_reading(tmp_path: Path) -> None:
    """Bytes changed in place, and the time of writing put back: whoever was heard writing is read."""

    async def scene(ada: Rooms) -> None:
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        (kept,) = ada.trash.entries()
        assert not kept.unproven
        before = os.fstat(handle)
        again = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)  # the handle itself only appends
        os.write(again, b"two\n")
        os.close(again)
        os.utime(handle, ns=(before.st_mtime_ns, before.st_mtime_ns))
        os.close(handle)
        late = late_of(ada)
        late._look_at_all()
        assert ada.tree() == {"log": b"theirs"}
        late._look_at([kept.id, f"{kept.id}.json", "nothing"], written=True)
        assert ada.tree() == {"log": b"theirs", copy_of("log", b"two\n"): b"two\n"}

    run(tmp_path, scene)


def test_a_write_between_inspection_and_trash_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note says how the file looked when its content was known, not how it looked as it was put away."""

    async def scene(ada: Rooms) -> None:
        honest = ada.trash.keep

        def keep(*arguments: object) -> str:
            os.write(opened[0], b"two\n")
            return honest(*arguments)  # type: ignore[arg-type]

        opened: list[int] = []
        ada.put("log", b"one\n")
        await ada.scan()
        opened.append(os.open(ada.folder / "log", os.O_WRONLY | os.O_APPEND))
        monkeypatch.setattr(ada.trash, "keep", keep)
        await ada.told("log", tombstone(2))
        await ada.placer.remove([await ada.job("log")])
        os.close(opened[0])
        late_of(ada)._look_at_all()
        assert ada.tree() == {copy_of("log", b"one\ntwo\n"): b"one\ntwo\n"}

    run(tmp_path, scene)


def test_killed_before_and_after_the_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in the trash, where the next life finds it, or in the tree; the note that is left over goes."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    async def scene(ada: Rooms) -> None:
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        os.write(handle, b"two\n")
        os.close(handle)
        copy, late = copy_of("log", b"one\ntwo\n"), late_of(ada)
        with monkeypatch.context() as patch:
            patch.setattr(platform, "rename_noreplace", die)
            with pytest.raises(Killed):
                late._look_at_all()
        assert ada.in_trash() == {"log": b"one\ntwo\n"}
        with monkeypatch.context() as patch:
            patch.setattr(platform, "sync_file_system", die)
            with pytest.raises(Killed):
                late._look_at_all()
        assert ada.read(copy) == b"one\ntwo\n"
        late_of(ada)._look_at_all()
        assert ada.tree() == {"log": b"theirs", copy: b"one\ntwo\n"}
        assert ada.in_trash() == {}
        ada.trash.prune(0.0, 1.0, 10 * MIB)
        assert os.listdir(ada.folder / MARKER / "trash") == []

    run(tmp_path, scene)


def test_without_a_watch_what_came_in_lately_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, ever more seldom, as writes through shared memory are told by no watch."""
    monkeypatch.setattr(late_room, "LATE_LOOK_S", 0.02)
    monkeypatch.setattr(late_room, "LATE_AGAIN_S_MAX", 1e9)

    async def scene(ada: Rooms) -> None:
        watch = Deaf()
        ada.tasks.spawn("late", late_of(ada).run(watch, 1e6))
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        await until("its day is watched", lambda: watch.attended)
        os.write(handle, b"two\n")
        os.close(handle)
        await until("it is back", lambda: ada.read(copy_of("log", b"one\ntwo\n")))

    run(tmp_path, scene)


def test_the_watch_tells_at_once(tmp_path: Path) -> None:
    """Through the real watch; the node's own moves into the trash are no writes."""

    async def scene(ada: Rooms) -> None:
        heard: list[Touched | Overflowed] = []
        late = late_of(ada)

        def hear(event: Touched | Overflowed) -> None:
            heard.append(event)
            late.heard(event)

        watch = InotifyWatch(ada.root, ada.rules.skip, hear)
        await watch.start()
        ada.tasks.spawn("late", late.run(watch, 1e6))
        handle = await replaced(ada, "log", b"one\n", b"theirs")
        (kept,) = ada.trash.entries()
        await until("its day is watched", lambda: late._attended)
        await asyncio.get_running_loop().run_in_executor(None, watch._worker.submit(lambda: None).result)
        os.write(handle, b"two\n")
        await until("it is back", lambda: ada.read(copy_of("log", b"one\ntwo\n")))
        of_trash = [each for each in heard if isinstance(each, Touched) and each.path.startswith(MARKER)]
        assert {each.path for each in of_trash} == {f"{MARKER}/trash/{kept.id}"}
        os.close(handle)
        await watch.stop()

    run(tmp_path, scene)


def test_what_could_not_be_put_away_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trash that cannot be written to for a while: the replaced file waits in the stage, and late bytes with it."""

    async def scene(ada: Rooms) -> None:
        place = ada.folder / MARKER / "trash"
        with monkeypatch.context() as patch:
            patch.setattr(ada.trash, "_open_day", refuse)
            handle = await replaced(ada, "log", b"one\n", b"theirs")
        os.write(handle, b"two\n")
        os.close(handle)
        assert os.listdir(place) == []
        assert len(ada.stage.names()) == 1
        ada.tasks.spawn("late", late_of(ada).run(Deaf(), 1e6))
        await until("it is back", lambda: ada.read(copy_of("log", b"one\ntwo\n")))
        assert ada.stage.names() == []

    run(tmp_path, scene)


def refuse(*_: object, **__: object) -> int:
    raise PermissionError(13, "Permission denied")
