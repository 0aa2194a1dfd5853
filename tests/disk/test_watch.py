"""After `start` no change goes unhinted: by its path, by a folder above it, or by an overflow."""

import asyncio
import errno
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from inotify_simple import INotify, flags

from meerkat.disk.inotify import InotifyWatch
from meerkat.disk.platform import exchange
from meerkat.disk.root import Root
from meerkat.disk.scan import Skip
from meerkat.disk.watch import Overflowed, Touched, Watch, make_watch
from meerkat.model.path import RelPath, parse_path

WAIT_S = 10.0


def all_in(path: RelPath, is_folder: bool) -> bool:
    return False


class Heard:
    """What a watch has told, and waiting for it."""

    def __init__(self) -> None:
        self.events: list[Touched | Overflowed] = []
        self._news = asyncio.Event()

    def take(self, event: Touched | Overflowed) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def has(self, path: str, closed: bool | None = None) -> bool:
        return any(
            isinstance(event, Touched) and event.path == path and closed in (None, event.closed)
            for event in self.events
        )

    async def path(self, path: str, closed: bool | None = None) -> None:
        try:
            await self.until(lambda: self.has(path, closed))
        except TimeoutError:
            pytest.fail(f"{path} was not told; only {self.events}")


def run(
    root: Root, test: Callable[[Heard, Watch], Awaitable[None]], *, portable: bool = False, skip: Skip = all_in
) -> Heard:
    """Run `test` beside a started watch."""
    heard: list[Heard] = []

    async def main() -> None:
        listening = Heard()
        heard.append(listening)
        watch = make_watch(root, skip, listening.take, portable=portable)
        await watch.start()
        try:
            await test(listening, watch)
        finally:
            await watch.stop()

    asyncio.run(main())
    return heard[0]


both = pytest.mark.parametrize("portable", [False, True], ids=["inotify", "watchfiles"])


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_a_folder_that_comes_back_is_told_as_arrived(folder: Path, root: Root) -> None:
    """Nothing was said under its old name of what happened in it while it was away."""
    (folder / "a").mkdir()
    (folder / "a/f").touch()

    async def test(heard: Heard, watch: Watch) -> None:
        (folder / "a").rename(folder / "b")
        (folder / "b/f").unlink()
        (folder / "b").rename(folder / "a")
        await heard.until(lambda: Touched(parse_path("a"), closed=True, arrived=True) in heard.events)

    run(root, test)


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_folders_exchanged_for_one_another_stay_watched(folder: Path, root: Root) -> None:
    """The kernel tells that each went after the other had come: both are watched afterwards, under their new names."""
    for name in ("a", "b"):
        (folder / name / "deep").mkdir(parents=True)

    async def test(heard: Heard, watch: Watch) -> None:
        exchange(root.handle, "a", root.handle, "b")
        (folder / "marker").mkdir()
        (folder / "marker/f").touch()
        await heard.path("marker/f")  # one worker does it all in order
        heard.events.clear()
        for name in ("a", "b"):
            (folder / name / "deep/f").write_text("x")
            await heard.path(f"{name}/deep/f")

    run(root, test)


@both
def test_writes_into_an_attended_folder_are_told(folder: Path, root: Root, portable: bool) -> None:
    """Only those: not what the node itself moves there, and nothing of the folder beside it."""
    for name in ("day", "other"):
        (folder / ".meerkat" / name).mkdir(parents=True)
        (folder / ".meerkat" / name / "f").write_text("x")
    day = RelPath(".meerkat/day")

    async def test(heard: Heard, watch: Watch) -> None:
        watch.attend(RelPath(".meerkat/gone"))  # in vain, and harmless
        watch.attend(day)
        (folder / "marker").mkdir()
        (folder / "marker/f").touch()
        await heard.path("marker/f")  # whatever was asked for before has been done
        (folder / "g").write_text("x")
        (folder / "g").rename(folder / ".meerkat/day/g")
        for name in ("other", "day"):
            with (folder / ".meerkat" / name / "f").open("a") as file:
                file.write("late")
        await heard.path(f"{day}/f", closed=False)
        (folder / "last").touch()
        await heard.path("last")
        told = {event.path for event in heard.events if isinstance(event, Touched)}
        assert {each for each in told if each.startswith(".meerkat")} == {f"{day}/f"}
        assert watch.degraded == ""

    run(root, test, portable=portable)


@both
def test_every_change_is_hinted(folder: Path, root: Root, portable: bool) -> None:
    """Creating, writing, changing bits, renaming and deleting, in old and new folders, are all told."""
    (folder / "old/deep").mkdir(parents=True)

    async def test(heard: Heard, watch: Watch) -> None:
        assert watch.degraded == ""
        (folder / "old/deep/f").write_text("x")
        await heard.path("old/deep/f")
        (folder / "l").symlink_to("nowhere")
        await heard.path("l")
        (folder / "new").mkdir()
        await heard.path("new")
        (folder / "new/g").write_text("x")
        await heard.path("new/g")
        heard.events.clear()
        (folder / "new/g").chmod(0o755)
        await heard.path("new/g")
        heard.events.clear()
        (folder / "new/g").rename(folder / "old/h")
        await heard.path("new/g", closed=True)
        await heard.path("old/h")
        heard.events.clear()
        (folder / "old/h").unlink()
        await heard.path("old/h", closed=True)
        (folder / "new").rmdir()
        await heard.path("new")

    run(root, test, portable=portable)


@both
def test_what_is_inside_a_new_tree_is_found(folder: Path, root: Root, portable: bool) -> None:
    """A tree that appears at once, by a move or by being made faster than it can be watched, is told whole."""
    outside = folder.parent / "outside"
    (outside / "a/b").mkdir(parents=True)
    (outside / "a/b/f").write_text("x")

    async def test(heard: Heard, watch: Watch) -> None:
        outside.rename(folder / "moved")
        for path in ("moved", "moved/a", "moved/a/b", "moved/a/b/f"):
            await heard.path(path)
        for number in range(50):
            place = folder / f"d{number}/e/f"
            place.mkdir(parents=True)
            (place / "g").write_text("x")
        for number in range(50):
            await heard.path(f"d{number}/e/f/g")
        (folder / "moved/a/b/late").write_text("x")
        await heard.path("moved/a/b/late")

    run(root, test, portable=portable)


@both
def test_skipped_and_our_own_are_not_told(folder: Path, root: Root, portable: bool) -> None:
    """Neither `.meerkat` nor what is ignored makes a sound."""
    (folder / "build").mkdir()
    (folder / "d/.meerkat").mkdir(parents=True)

    async def test(heard: Heard, watch: Watch) -> None:
        (folder / ".meerkat/index.db").write_text("x")
        (folder / "d/.meerkat/key").write_text("x")
        (folder / "build/x").write_text("x")
        (folder / "build/deep").mkdir()
        (folder / "build/deep/y").write_text("x")
        (folder / "last").write_text("x")
        await heard.path("last")

    heard = run(root, test, portable=portable, skip=lambda path, is_folder: is_folder and path == "build")
    assert {event.path for event in heard.events if isinstance(event, Touched)} <= {"last", "d", ""}


@both
def test_names_that_are_not_utf8_hint_at_their_folder(folder: Path, root: Root, portable: bool) -> None:
    """A name that cannot be a path is told as a change of its folder, or as an overflow; others are told after it."""
    (folder / "d").mkdir()

    async def test(heard: Heard, watch: Watch) -> None:
        (folder / "d" / os.fsdecode(b"x\xff")).write_text("x")
        await heard.until(lambda: heard.has("d", closed=True) or (portable and Overflowed() in heard.events))
        assert watch.degraded == ""
        (folder / "d/two\nlines").write_text("x")
        await heard.path("d/two\nlines")

    run(root, test, portable=portable)


@both
def test_stopped_is_silent(folder: Path, root: Root, portable: bool) -> None:
    """After `stop` nothing is told, and stopping at once after starting works."""

    async def test(heard: Heard, watch: Watch) -> None:
        await watch.stop()
        (folder / "f").write_text("x")
        await asyncio.sleep(0)
        assert heard.events == []

    run(root, test, portable=portable)


# ---- inotify alone

only_inotify = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@only_inotify
def test_a_file_being_written_is_open_until_closed(folder: Path, root: Root) -> None:
    """While a writer has it, a file is told as open; when it closes, as closed; a link or hard link at once."""

    async def test(heard: Heard, watch: Watch) -> None:
        writer = os.open(folder / "f", os.O_WRONLY | os.O_CREAT)
        os.write(writer, b"x")
        await heard.path("f", closed=False)
        (folder / "other").write_text("x")
        await heard.path("other", closed=True)
        assert not heard.has("f", closed=True)
        os.close(writer)
        await heard.path("f", closed=True)
        os.link(folder / "f", folder / "hard")
        await heard.path("hard", closed=True)
        (folder / "soft").symlink_to("f")
        await heard.path("soft", closed=True)

    run(root, test)


@only_inotify
def test_a_moved_folder_is_told_under_its_new_name(folder: Path, root: Root) -> None:
    """After a folder has moved, changes deep in it are told by the new path, and another folder may take the old."""
    (folder / "a/b/c").mkdir(parents=True)

    async def test(heard: Heard, watch: Watch) -> None:
        (folder / "a").rename(folder / "z")
        (folder / "a/b/c").mkdir(parents=True)
        await heard.path("z/b/c")
        await heard.path("a/b/c")
        heard.events.clear()
        (folder / "z/b/c/f").write_text("x")
        (folder / "a/b/c/g").write_text("x")
        await heard.path("z/b/c/f", closed=True)
        await heard.path("a/b/c/g", closed=True)
        assert not heard.has("a/b/c/f")
        heard.events.clear()
        (folder / "z").rename(folder.parent / "gone")
        await heard.path("z", closed=True)
        assert isinstance(watch, InotifyWatch)
        await asyncio.wrap_future(watch._worker.submit(lambda: None))  # until the watches below it are dropped
        (folder / "y").mkdir()
        await heard.path("y")
        (folder.parent / "gone/b/c/unseen").write_text("x")
        (folder / "y/f").write_text("x")
        await heard.path("y/f")
        assert not any("unseen" in event.path for event in heard.events if isinstance(event, Touched))

    run(root, test)


@only_inotify
def test_a_link_to_a_folder_is_not_watched(folder: Path, root: Root) -> None:
    """What happens behind a link, there before or put in later, is not told."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (folder / "before").symlink_to(outside)

    async def test(heard: Heard, watch: Watch) -> None:
        (folder / "later").symlink_to(outside)
        await heard.path("later")
        (outside / "secret").write_text("x")
        (folder / "f").write_text("x")
        await heard.path("f")

    heard = run(root, test)
    assert not any("secret" in event.path for event in heard.events if isinstance(event, Touched))


@only_inotify
def test_lost_events_are_told_and_the_watches_renewed(folder: Path, root: Root) -> None:
    """When the kernel's queue overflows it is told, and folders whose coming was lost are watched afterwards."""

    async def test(heard: Heard, watch: Watch) -> None:
        assert isinstance(watch, InotifyWatch)
        (folder / "lost").mkdir()
        await heard.path("lost")
        await asyncio.wrap_future(watch._worker.submit(lambda: watch._forget_tree(parse_path("lost"))))
        heard.events.clear()
        (folder / "lost/unheard").write_text("x")
        told = watch._translate(-1, int(flags.Q_OVERFLOW), "")
        assert told == Overflowed()
        await asyncio.wrap_future(watch._worker.submit(lambda: None))
        (folder / "lost/f").write_text("x")
        await heard.path("lost/f", closed=True)
        assert not heard.has("lost/unheard")

    run(root, test)


@only_inotify
def test_the_limit_of_watches_degrades(folder: Path, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the system's limit it says so once, goes on with what it has, and still tells what a new tree holds."""
    for number in range(5):
        (folder / f"d{number}").mkdir()
    real, room = INotify.add_watch, 3

    def add_watch(self: INotify, place: str, mask: int) -> int:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(real(self, place, mask))

    monkeypatch.setattr(INotify, "add_watch", add_watch)

    async def test(heard: Heard, watch: Watch) -> None:
        await heard.until(lambda: Overflowed() in heard.events)
        assert "max_user_watches" in watch.degraded
        (folder / "f").write_text("x")
        await heard.path("f", closed=True)
        (folder.parent / "tree/e").mkdir(parents=True)
        (folder.parent / "tree/e/g").write_text("x")
        (folder.parent / "tree").rename(folder / "tree")
        await heard.path("tree/e/g")
        assert heard.events.count(Overflowed()) == 1

    run(root, test)


@only_inotify
def test_no_instance_degrades(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an inotify instance it starts all the same, and says why it sees nothing."""

    def none(**_: object) -> INotify:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("meerkat.disk.inotify.INotify", none)

    async def test(heard: Heard, watch: Watch) -> None:
        assert "max_user_instances" in watch.degraded

    run(root, test)


def test_a_portable_watch_that_fails_degrades(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system refuses again and again, it starts all the same and says why it sees nothing."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no watches left")

    monkeypatch.setattr("meerkat.disk.notify.watch", refuse)

    async def test(heard: Heard, watch: Watch) -> None:
        assert "no watches left" in watch.degraded
        await heard.until(lambda: heard.events == [Overflowed()])

    run(root, test, portable=True)


@only_inotify
def test_a_folder_that_becomes_readable_is_watched(folder: Path, root: Root, unprivileged: None) -> None:
    """A folder that could not be watched is taken up when its bits allow it."""
    (folder / "d").mkdir()
    (folder / "d").chmod(0)

    async def test(heard: Heard, watch: Watch) -> None:
        (folder / "d").chmod(0o700)
        await heard.path("d")
        assert isinstance(watch, InotifyWatch)
        await asyncio.wrap_future(watch._worker.submit(lambda: None))
        (folder / "d/f").write_text("x")
        await heard.path("d/f")

    run(root, test)


@only_inotify
def test_the_folder_itself_moving_away_is_an_overflow(folder: Path, root: Root) -> None:
    """When the shared folder is renamed, everything has to be looked at."""

    async def test(heard: Heard, watch: Watch) -> None:
        folder.rename(folder.with_name("elsewhere"))
        await heard.until(lambda: Overflowed() in heard.events)

    run(root, test)
