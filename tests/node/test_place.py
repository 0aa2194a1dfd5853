"""What the pool wants is put on the disk, and nothing that a person does meanwhile is lost."""

import asyncio
import errno
import os
import stat
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from node_rooms import LONG_AGO_NS, Rooms, file_version, folder_version, path, tombstone, until

from meerkat.core.plan import Place, Remove
from meerkat.core.resolve import copy_path
from meerkat.disk import commit, platform
from meerkat.disk.trouble import blocked
from meerkat.model.limits import COPY_NAMES_TRIED_MAX
from meerkat.model.path import MARKER
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Kind, Version
from meerkat.node import ledger
from meerkat.node.stage_names import is_made, out_name, stage_name

OLD, NEW, MINE, MINE_TOO = b"the old bytes", b"what the pool has", b"what a person wrote", b"and wrote again"


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    """Play a scene in the rooms of a folder."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


def acting(monkeypatch: pytest.MonkeyPatch, verb: str, acts: dict[str, Callable[[], object]]) -> list[str]:
    """Let a person act between two steps of an exchange; the names of the steps that were taken."""
    steps: list[str] = []

    def between(step: str) -> None:
        steps.append(step)
        act = acts.pop(step, None)
        if act is not None:
            act()

    monkeypatch.setattr(commit, verb, partial(getattr(commit, verb), between=between))
    return steps


def overwrite(place: Path, data: bytes) -> None:
    """Save as editors do: write beside, rename over."""
    beside = place.with_name(place.name + "~")
    beside.write_bytes(data)
    os.replace(beside, place)


async def known_here(ada: Rooms) -> None:
    """`a.txt` with old bytes is on this disk, in the index, and superseded by somebody else."""
    ada.put("a.txt", OLD)
    ada.put("source.txt", NEW)  # so that the content is at hand without a link
    await ada.scan()
    await ada.told("a.txt", file_version(NEW, mode=0o640))


def test_a_file_comes_with_its_bytes_its_time_and_its_bits(tmp_path: Path) -> None:
    """The path shows the version that the pool has, the index knows it, and the old bytes are in the trash."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        outcomes = await ada.placer.small([await ada.job("a.txt")])
        assert [(each.problem, each.later) for each in outcomes] == [(None, False)]
        seen = (ada.folder / "a.txt").stat()
        assert (ada.read("a.txt"), stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (NEW, 0o640, LONG_AGO_NS)
        base = await ada.base("a.txt")
        assert base is not None
        assert base.content == file_version(NEW).content
        assert ada.in_trash() == {"a.txt": OLD}
        assert (await ada.intents(), await ada.pending(), ada.stage.names()) == ([], [], [])
        assert ada.events("file.applied") == [{"path": "a.txt", "kind": "file", "size": len(NEW)}]

    run(tmp_path, scene)


def test_each_step_is_durable_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes and their name in the stage before the exchange, the exchange before the index says that it is done."""
    steps: list[object] = []
    flush, swap, record = os.fsync, platform.exchange, ledger.record_placed

    def fsync(handle: int) -> None:
        flush(handle)
        steps.append(os.fstat(handle).st_ino)

    def exchange(src_dir: int, src: str, dst_dir: int, dst: str) -> None:
        swap(src_dir, src, dst_dir, dst)
        steps.append("exchanged")

    def record_placed(*arguments: Any) -> None:
        steps.append("recorded")
        record(*arguments)

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(platform, "exchange", exchange)
        monkeypatch.setattr(ledger, "record_placed", record_placed)
        await ada.placer.small([await ada.job("a.txt")])
        exchanged, recorded = steps.index("exchanged"), steps.index("recorded")
        file, stage = (ada.folder / "a.txt").stat().st_ino, (ada.folder / MARKER / "stage").stat().st_ino
        assert {file, stage} <= set(steps[:exchanged])
        assert {ada.folder.stat().st_ino, stage} <= set(steps[exchanged:recorded])

    run(tmp_path, scene)


def test_what_a_person_wrote_and_nobody_has_seen_is_kept(tmp_path: Path) -> None:
    """The disk is not as the index believes: nothing is touched, and the path is looked at first."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        job = await ada.job("a.txt")
        ada.put("a.txt", MINE)
        (outcome,) = await ada.placer.small([job])
        assert outcome.later
        assert ada.read("a.txt") == MINE
        assert ada.again == ["a.txt"]
        assert await ada.intents() == []
        await ada.scan()
        contents = {version.content for version in await ada.living("a.txt")}
        assert contents == {file_version(MINE).content, file_version(NEW).content}

    run(tmp_path, scene)


def test_a_write_between_look_and_exchange_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out of the exchange is looked at: a person's bytes go back to their place at once."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        place = ada.folder / "a.txt"
        acting(monkeypatch, "place", {"looked": lambda: overwrite(place, MINE)})
        (outcome,) = await ada.placer.small([await ada.job("a.txt")])
        assert outcome.later
        assert ada.read("a.txt") == MINE
        assert ada.again == ["a.txt"]
        assert await ada.intents() == []
        # Ours stood at the path for a moment, somebody may hold it open: it is in the trash, not used again.
        assert ada.in_trash() == {"a.txt": NEW}
        assert ada.stage.names() == []

    run(tmp_path, scene)


def test_ours_removed_before_a_persons_bytes_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs goes to the place that is empty now; of ours nothing is left that would have to be put away."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        place = ada.folder / "a.txt"
        acting(monkeypatch, "place", {"looked": lambda: overwrite(place, MINE), "exchanged": place.unlink})
        (outcome,) = await ada.placer.small([await ada.job("a.txt")])
        assert (outcome.later, outcome.problem) == (True, None)
        assert ada.read("a.txt") == MINE
        assert ada.again == ["a.txt"]
        assert (ada.in_trash(), ada.stage.names(), await ada.intents()) == ({}, [], [])

    run(tmp_path, scene)


def test_two_writes_during_one_exchange_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When even the way back is taken, the bytes that have no place go to a file beside it."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        place = ada.folder / "a.txt"
        acts: dict[str, Callable[[], object]] = {
            "looked": lambda: overwrite(place, MINE),
            "exchanged": lambda: overwrite(place, MINE_TOO),
        }
        acting(monkeypatch, "place", acts)
        (outcome,) = await ada.placer.small([await ada.job("a.txt")])
        assert outcome.later
        beside = copy_path(path("a.txt"), file_version(MINE_TOO).content)
        assert (ada.read("a.txt"), ada.read(beside)) == (MINE, MINE_TOO)
        assert set(ada.again) == {"a.txt", beside}

    run(tmp_path, scene)


def test_rescued_bytes_go_to_the_trash_when_every_name_is_taken(tmp_path: Path) -> None:
    """Path and the names beside it are taken: the bytes are kept all the same."""

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", OLD)
        name = path("a.txt")
        for _ in range(COPY_NAMES_TRIED_MAX - 1):
            name = copy_path(name, file_version(MINE).content)
            ada.put(name, b"somebody else's")
        ada.stage.write_small("out.x", MINE, file_version(MINE))
        ada.placer.rescue("out.x", path("a.txt"))
        assert ada.in_trash() == {"a.txt": MINE}
        assert ada.read("a.txt") == OLD

    run(tmp_path, scene)


def test_the_intent_is_durable_before_the_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the steps finds in the index what was about to happen, and the staged bytes on the disk."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        found: list[tuple[str, str, bool]] = []

        def look() -> None:
            (intent,) = ada.books.read_here(lambda view: view.intents())
            found.append((intent.path, intent.stage, ada.stage.inode(intent.stage) == intent.inode))

        acting(monkeypatch, "place", {"looked": look})
        await ada.placer.small([await ada.job("a.txt")])
        assert found == [("a.txt", out_name(stage_name(path("a.txt"), file_version(NEW))), True)]

    run(tmp_path, scene)


def test_trouble_with_the_trash_does_not_stop_the_recording(tmp_path: Path) -> None:
    """The exchange has happened, so the index says so; the old bytes wait in the stage under a name of their own."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        (ada.folder / MARKER / "trash" / datetime.now(UTC).strftime("%Y-%m-%d")).write_text("not a folder")
        (outcome,) = await ada.placer.small([await ada.job("a.txt")])
        assert (outcome.problem, outcome.later) == (None, False)
        base = await ada.base("a.txt")
        assert base is not None
        assert base.content == file_version(NEW).content
        assert await ada.intents() == []
        (kept,) = ada.stage.names()
        assert (ada.folder / MARKER / "stage" / kept).read_bytes() == OLD
        assert kept != stage_name(path("a.txt"), file_version(NEW)), "that name is used again for the next try"

    run(tmp_path, scene)


def test_renames_that_may_not_be_durable_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk cannot say that a rename is durable, the index does not claim it; the next look finds it."""

    def fail(root: object, paths: object) -> None:
        raise PathBlocked(commit_problem)

    commit_problem = blocked("", OSError(5, "Input/output error")).problem

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        before = await ada.base("a.txt")
        monkeypatch.setattr(commit, "sync_parents", fail)
        await ada.placer.small([await ada.job("a.txt")])
        assert await ada.base("a.txt") == before
        assert ada.read("a.txt") == NEW
        assert ada.again == ["a.txt"]
        await ada.scan()
        assert await ada.pending() == []
        assert [version.content for version in await ada.living("a.txt")] == [file_version(NEW).content]

    run(tmp_path, scene)


class Refusing:
    """A disk that refuses to rename, link and unlink from the n-th such call on, until it is well again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        for name in ("rename", "link", "unlink"):
            monkeypatch.setattr(os, name, self._through(getattr(os, name)))

    def _through(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object, **named: object) -> None:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(*args, **named)

        return call

    def heal(self) -> None:
        self.left = sys.maxsize


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("without", [{"renameat2"}, {"renameat2", "link"}], ids=["linked", "renamed"])
def test_a_disk_that_refuses_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: set[str], after: int
) -> None:
    """Wherever it begins to refuse, and for however many steps: once it is well, the commit is ended, the old bytes are
    in the trash, and nothing is left in the stage that would be in the way of the next."""
    monkeypatch.setattr(platform, "lacking", without)

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        job = await ada.job("a.txt")
        with monkeypatch.context() as patches:
            disk = Refusing(patches, after)
            await ada.placer.small([job])
            disk.heal()
            await ada.placer.end_cut_off([path("a.txt")])
            assert not ada.claims.cut_off
            assert await ada.intents() == []
            ada.placer.put_away()
            await ada.scan()
            job = await ada.job("a.txt")
            if isinstance(job.step, Place):
                await ada.placer.small([job])
            await ada.books.write(lambda tx: ledger.settle(tx, [job.path], drop=lambda path: False))
            await ada.placer.tidy()
        assert ada.read("a.txt") == NEW
        assert ada.in_trash() == {"a.txt": OLD}
        assert os.listdir(ada.folder / MARKER / "stage") == []
        assert [version.content for version in await ada.living("a.txt")] == [file_version(NEW).content]
        assert (await ada.pending(), await ada.intents()) == ([], [])

    run(tmp_path, scene)


@pytest.mark.parametrize("after", range(4))
def test_a_disk_that_refuses_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The same for what the pool has deleted: it is gone in the end, and in the trash once."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"})

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        await ada.told("a.txt", tombstone())
        with monkeypatch.context() as patches:
            disk = Refusing(patches, after)
            await ada.placer.remove([await ada.job("a.txt")])
            disk.heal()
            await ada.placer.end_cut_off([path("a.txt")])
            ada.placer.put_away()
            await ada.scan()
            job = await ada.job("a.txt")
            if isinstance(job.step, Remove):
                await ada.placer.remove([job])
            await ada.books.write(lambda tx: ledger.settle(tx, [job.path], drop=lambda path: False))
        assert not (ada.folder / "a.txt").exists()
        assert ada.in_trash() == {"a.txt": OLD}
        assert os.listdir(ada.folder / MARKER / "stage") == []
        assert (await ada.living("a.txt"), await ada.pending(), await ada.intents()) == ([], [], [])

    run(tmp_path, scene)


@pytest.mark.parametrize("after", range(2, 12))  # two are needed before the person comes
def test_a_disk_that_refuses_when_a_person_came_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """What comes out is a person's, and the disk refuses somewhere on the way there and back: it stands in the tree in
    the end, and nothing is in the way of the next commit."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"})

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        with monkeypatch.context() as patches:
            disk = Refusing(patches, after)
            acting(patches, "place", {"looked": lambda: overwrite(ada.folder / "a.txt", MINE)})
            await ada.placer.small([await ada.job("a.txt")])
            disk.heal()
            await ada.placer.end_cut_off([path("a.txt")])
            ada.placer.put_away()
        assert await ada.intents() == []
        assert MINE in [each.read_bytes() for each in ada.folder.iterdir() if each.is_file()]
        assert not ada.stage.has_aside(out_name(stage_name(path("a.txt"), file_version(NEW))))
        stage = ada.folder / MARKER / "stage"
        assert all((stage / name).read_bytes() == NEW for name in os.listdir(stage)), "only what may be fetched again"

    run(tmp_path, scene)


def test_a_persons_bytes_are_safe_while_the_disk_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They came out, and can go neither back nor beside nor into the trash: nothing is downloaded over them, and they
    stand at their path when the disk is well."""

    def refuse(*args: object, **named: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    well = pytest.MonkeyPatch()

    async def scene(ada: Rooms) -> None:
        await known_here(ada)

        def fail() -> None:
            for name in ("exchange", "rename_noreplace"):
                well.setattr(platform, name, refuse)

        acting(monkeypatch, "place", {"looked": lambda: overwrite(ada.folder / "a.txt", MINE), "exchanged": fail})
        (outcome,) = await ada.placer.small([await ada.job("a.txt")])
        assert outcome.problem is not None
        name = out_name(stage_name(path("a.txt"), file_version(NEW)))
        for _ in range(3):
            assert await ada.placer.end_cut_off([path("a.txt")])
            assert (ada.folder / MARKER / "stage" / name).read_bytes() == MINE
        ada.tasks.spawn("inward", ada.inward.run())
        ada.inward.wake()
        await until("tried again", lambda: path("a.txt") in ada.inward._delays)
        assert (ada.folder / MARKER / "stage" / name).read_bytes() == MINE
        well.undo()
        await until("ended", lambda: not ada.claims.cut_off)
        assert ada.read("a.txt") == MINE
        await ada.scan()
        assert await ada.intents() == []
        assert ada.in_trash() == {"a.txt": NEW}, "it stood there, so somebody may write to it yet"

    try:
        run(tmp_path, scene)
    finally:
        well.undo()


def test_what_the_pool_no_longer_wants_is_not_put_down(tmp_path: Path) -> None:
    """A newer version came while the bytes were fetched: the old decision is dropped."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        job = await ada.job("a.txt")
        await ada.told("a.txt", file_version(b"newer still"))
        (outcome,) = await ada.placer.small([job])
        assert outcome.later
        assert ada.read("a.txt") == OLD
        assert await ada.intents() == []

    run(tmp_path, scene)


def test_one_that_cannot_be_had_does_not_keep_the_others(tmp_path: Path) -> None:
    """In a group, each path ends by itself: without a source, there already, empty, a link."""

    async def scene(ada: Rooms) -> None:
        await known_here(ada)
        await ada.told("empty", file_version(b""))
        await ada.told("lost", file_version(b"nobody here has this"))
        await ada.told("link", Version(Kind.SYMLINK, target="a.txt", mtime_ns=LONG_AGO_NS))
        outcomes = {each.path: each for each in await ada.placer.small(await ada.jobs())}
        problem = outcomes[path("lost")].problem
        assert problem is not None
        assert (problem.path, problem.reason) == ("lost", Reason.NO_SOURCE_ONLINE)
        assert ada.tree() == {"a.txt": NEW, "empty": b"", "source.txt": NEW, "link": NEW}
        assert os.readlink(ada.folder / "link") == "a.txt"
        assert await ada.pending() == ["lost"]

    run(tmp_path, scene)


def test_folders_come_with_their_bits(tmp_path: Path) -> None:
    """Those above are made first, and one that somebody made meanwhile is left alone."""

    async def scene(ada: Rooms) -> None:
        await ada.told("new", folder_version(0o750))
        await ada.told("new/below", folder_version(0o700))
        await ada.told("there", folder_version(0o700))
        (ada.folder / "there").mkdir(mode=0o711)
        outcomes = {each.path: each.later for each in await ada.placer.folders(await ada.jobs())}
        assert outcomes == {"new": False, "new/below": False, "there": True}
        bits = {name: stat.S_IMODE((ada.folder / name).stat().st_mode) for name in ("new", "new/below", "there")}
        assert bits == {"new": 0o750, "new/below": 0o700, "there": 0o711}

    run(tmp_path, scene)


def test_a_folder_that_holds_something_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    """What is in the folder comes first, whatever the pool wants at its place."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "f").mkdir()
        await ada.scan()
        await ada.told("f", file_version(b""))
        job = await ada.job("f")
        ada.put("f/unseen", MINE)
        (outcome,) = await ada.placer.small([job])
        assert outcome.later
        assert ada.tree() == {"f/unseen": MINE}

    run(tmp_path, scene)


def test_removing_goes_to_the_trash(tmp_path: Path) -> None:
    """Contents before their folder, files to the trash, and the index knows that nothing is there."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/a.txt", OLD)
        await ada.scan()
        for name in ("f/a.txt", "f"):
            await ada.told(name, tombstone(2))
        outcomes = await ada.placer.remove((await ada.jobs())[::-1])
        assert [(each.path, each.problem, each.later) for each in outcomes] == [
            ("f/a.txt", None, False),
            ("f", None, False),
        ]
        assert list(ada.folder.iterdir()) == [ada.folder / MARKER]
        assert ada.in_trash() == {"f/a.txt": OLD}
        assert (await ada.base("f/a.txt"), await ada.base("f"), await ada.pending()) == (None, None, [])

    run(tmp_path, scene)


def test_a_write_just_before_a_removal_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal of what a person has just saved is undone."""

    async def scene(ada: Rooms) -> None:
        place = ada.put("a.txt", OLD)
        await ada.scan()
        await ada.told("a.txt", tombstone(2))
        acting(monkeypatch, "remove", {"looked": lambda: overwrite(place, MINE)})
        (outcome,) = await ada.placer.remove([await ada.job("a.txt")])
        assert outcome.later
        assert ada.read("a.txt") == MINE
        assert (ada.again, await ada.intents(), ada.in_trash()) == (["a.txt"], [], {})

    run(tmp_path, scene)


def test_a_folder_with_something_unknown_is_kept(tmp_path: Path) -> None:
    """Somebody put a file into a folder that the pool deletes: it is looked at, and the folder stays."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "f").mkdir()
        await ada.scan()
        await ada.told("f", tombstone(2))
        ada.put("f/new.txt", MINE)
        (outcome,) = await ada.placer.remove([await ada.job("f")])
        assert outcome.later
        assert ada.again == ["f/new.txt"]
        assert ada.read("f/new.txt") == MINE

    run(tmp_path, scene)


def test_a_folder_with_ignored_things_is_kept_for_good(tmp_path: Path) -> None:
    """What is ignored is never deleted; the person is told why the folder is still there, and nothing waits for it."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / MARKER / "ignore").write_text("*.o\n")
        ada.rules.read()
        ada.put("f/big.o", MINE)
        await ada.scan()
        await ada.told("f", tombstone(2))
        (outcome,) = await ada.placer.remove([await ada.job("f")])
        assert outcome.problem is not None
        assert outcome.problem.reason is Reason.IGNORED_THERE
        assert "big.o" in outcome.problem.text
        assert ada.read("f/big.o") == MINE
        assert await ada.pending() == []

    run(tmp_path, scene)


def test_bits_and_time_are_set_in_place(tmp_path: Path) -> None:
    """Same content, other metadata: the file is not replaced; one that was changed meanwhile is left alone."""

    async def scene(ada: Rooms) -> None:
        for name in ("a", "b"):
            ada.put(name, OLD)
        await ada.scan()
        for name in ("a", "b"):
            await ada.told(name, file_version(OLD, mode=0o755, mtime_ns=LONG_AGO_NS + 10**9))
        jobs = await ada.jobs()
        inode = (ada.folder / "a").stat().st_ino
        ada.put("b", MINE)
        outcomes = {each.path: each.later for each in await ada.placer.retouch(jobs)}
        assert outcomes == {"a": False, "b": True}
        seen = (ada.folder / "a").stat()
        assert (seen.st_ino, stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (inode, 0o755, LONG_AGO_NS + 10**9)
        assert stat.S_IMODE((ada.folder / "b").stat().st_mode) != 0o755
        assert ada.read("b") == MINE
        assert ada.again == ["b"]
        assert await ada.pending() == ["b"]

    run(tmp_path, scene)


def test_a_link_that_was_made_in_vain_is_tidied_away() -> None:
    """Whoever made it: it has a name that is known to be one."""
    name = stage_name(path("a"), Version(Kind.SYMLINK, target="there"))
    assert is_made(name)
    assert name != stage_name(path("b"), Version(Kind.SYMLINK, target="there"))


def test_stage_names_are_found_again() -> None:
    """A download is resumed under the name that path and content give it; times and bits do not matter."""
    one = stage_name(path("a"), file_version(NEW))
    assert one == stage_name(path("a"), file_version(NEW, mode=0o700, mtime_ns=5, height=9))
    assert len({one, stage_name(path("b"), file_version(NEW)), stage_name(path("a"), file_version(OLD))}) == 3
