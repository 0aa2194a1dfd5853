"""What people do on the disk becomes writes in the index: all of it, in an order that others can follow, no more."""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from unittest.mock import patch

import pytest
from node_rooms import WITHIN_S, Rooms, file_version, path, until

from meerkat.core.plan import Settled
from meerkat.disk.root import Root
from meerkat.disk.scan import Recall, Sight
from meerkat.disk.scan import look_unless_large as look_at
from meerkat.disk.watch import Overflowed, Touched
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import MIB
from meerkat.model.path import MARKER, RelPath
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Kind
from meerkat.node import outward as outward_room


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    """Play a scene in the rooms of a folder."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


async def seqs(ada: Rooms) -> dict[str, int]:
    """Of each path, the sequence of its newest write: the order in which the pool hears of them."""
    entries = await ada.books.read(lambda view: list(view.entries()))
    return {entry.path: max(dot.seq for dot in entry.siblings) for entry in entries}


async def followed(ada: Rooms, *names: str) -> None:
    """Let the watch have told of these paths, and wait until they were looked at."""
    under_way = 0
    real = ada.outward._take_in_due

    async def counted(due: list[RelPath]) -> None:
        nonlocal under_way
        under_way += 1
        try:
            await real(due)
        finally:
            under_way -= 1

    with patch.object(ada.outward, "_take_in_due", counted):
        following = ada.tasks.spawn("outward", ada.outward.run())
        for name in names:
            ada.outward.heard(Touched(RelPath(name), True))
        await until("everything is quiet", lambda: following.done() or not (under_way or ada.outward.busy))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def test_a_folder_that_appears_is_taken_in_with_its_contents(tmp_path: Path) -> None:
    """Moved in as a whole, the watch tells of the folder alone; each folder is told before what is in it."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/b/deep/c.txt", b"c")
        ada.put("f/a.txt", b"a")
        await followed(ada, "f")
        order = await seqs(ada)
        assert set(order) == {"f", "f/a.txt", "f/b", "f/b/deep", "f/b/deep/c.txt"}
        for below, above in (("f/a.txt", "f"), ("f/b", "f"), ("f/b/deep", "f/b"), ("f/b/deep/c.txt", "f/b/deep")):
            assert order[above] < order[below]

    run(tmp_path, scene)


def test_a_parent_is_recorded_before_its_child(tmp_path: Path) -> None:
    """The watch told of the file first: the folders above it, unknown so far, go with it and before it."""

    async def scene(ada: Rooms) -> None:
        ada.put("new/below/a.txt", b"a")
        await followed(ada, "new/below/a.txt")
        order = await seqs(ada)
        assert order["new"] < order["new/below"] < order["new/below/a.txt"]

    run(tmp_path, scene)


def test_a_folder_that_goes_takes_its_contents_along(tmp_path: Path) -> None:
    """The watch tells of the folder alone, and everything that was in it is told to be gone."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/b/c.txt", b"c")
        ada.put("kept.txt", b"k")
        await ada.scan()
        os.rename(ada.folder / "f", tmp_path / "elsewhere")
        await followed(ada, "f")
        for name in ("f", "f/b", "f/b/c.txt"):
            assert await ada.living(name) == []
            assert await ada.base(name) is None
        assert len(await ada.living("kept.txt")) == 1

    run(tmp_path, scene)


def test_a_folder_in_the_place_of_another_is_read_anew(tmp_path: Path) -> None:
    """Swapped as a whole: what only the old one held is gone, what only the new one holds is there."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/old.txt", b"o")
        await ada.scan()
        ada.put("g/new.txt", b"n")
        os.rename(ada.folder / "f", tmp_path / "elsewhere")
        os.rename(ada.folder / "g", ada.folder / "f")
        await followed(ada, "f")
        assert await ada.living("f/old.txt") == []
        assert [each.content for each in await ada.living("f/new.txt")] == [file_version(b"n").content]
        assert len(await ada.living("f")) == 1

    run(tmp_path, scene)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    """The folder's contents are told to be gone, the file to be there."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/old.txt", b"o")
        await ada.scan()
        os.rename(ada.folder / "f", tmp_path / "elsewhere")
        ada.put("f", b"a file now")
        await followed(ada, "f")
        assert await ada.living("f/old.txt") == []
        assert [each.kind for each in await ada.living("f")] == [Kind.FILE]

    run(tmp_path, scene)


def test_ignoring_never_deletes(tmp_path: Path) -> None:
    """What was shared and is ignored now stays with the others, whether it is still here or not."""

    async def scene(ada: Rooms) -> None:
        for name in ("a.o", "b.o", "f/c.o"):
            ada.put(name, b"object")
        await ada.scan()
        (ada.folder / MARKER / "ignore").write_text("*.o\n")
        ada.rules.read()
        before = dict(ada.books.context)
        (ada.folder / "a.o").unlink()
        ada.put("b.o", b"changed")
        ada.put("new.o", b"new")
        await ada.scan()
        await followed(ada, "a.o", "b.o", "new.o")
        assert ada.books.context == before, "nothing was told"
        assert [each.content for each in await ada.living("a.o")] == [file_version(b"object").content]

    run(tmp_path, scene)


@pytest.mark.parametrize("heard", [True, False])
def test_what_is_ignored_goes_with_the_shared_folder_that_it_was_in(tmp_path: Path, heard: bool) -> None:
    """Left living, it would bring the folder back."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/c.o", b"object")
        ada.put("f/g/d.o", b"object too")
        ada.put("kept/e.o", b"object")
        await ada.scan()
        (ada.folder / MARKER / "ignore").write_text("*.o\n")
        ada.rules.read()
        shutil.rmtree(ada.folder / "f")
        (ada.folder / "kept/e.o").unlink()
        if heard:
            await followed(ada, "f", "f/c.o", "f/g", "f/g/d.o", "kept/e.o")
        await ada.scan()
        assert [await ada.living(each) for each in ("f", "f/c.o", "f/g", "f/g/d.o")] == [[], [], [], []]
        assert await ada.living("kept/e.o")
        assert {type((await ada.job(each)).step) for each in ("f", "f/g", "f/c.o")} == {Settled}, "it stays away"

    run(tmp_path, scene)


def test_what_lies_in_an_ignored_folder_is_ignored(tmp_path: Path) -> None:
    """The watch may tell of paths below; they are passed over with their folder."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / MARKER / "ignore").write_text("build/\n")
        ada.rules.read()
        ada.put("build/a/b.txt", b"b")
        ada.put("c.txt", b"c")
        await followed(ada, "build/a/b.txt", "build", "c.txt")
        await ada.scan()
        assert set(await seqs(ada)) == {"c.txt"}

    run(tmp_path, scene)


def test_a_change_of_the_shared_rules_is_told(tmp_path: Path) -> None:
    """Whoever keeps the rules hears that their file is another."""

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"a")
        await ada.scan()
        assert ada.rules_changed == 0
        ada.put(".meerkatignore", b"*.o\n")
        await ada.scan()
        assert ada.rules_changed == 1

    run(tmp_path, scene)


def test_a_file_that_changes_while_it_is_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that it waits, and when it is quiet its whole content is taken."""
    real, looks = look_at, 0

    def look(root: Root, name: RelPath, known: Base | None, bytes_end: int | None, recall: Recall) -> Sight | None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise PathBlocked(Problem(name, Reason.CHANGED_WHILE_READING, "it changed while it was read"))
        return real(root, name, known, bytes_end, recall)

    async def scene(ada: Rooms) -> None:
        monkeypatch.setattr(outward_room, "look_unless_large", look)
        ada.put("a.txt", b"the whole")
        following = ada.tasks.spawn("outward", ada.outward.run())
        ada.outward.heard(Touched(path("a.txt"), True))
        await until("told that it waits", lambda: ada.events("file.failed"))
        assert ada.events("file.failed")[0]["reason"] == "changed_while_reading"
        await until("recorded", lambda: ada.events("file.changed"))
        assert [each.content for each in await ada.living("a.txt")] == [file_version(b"the whole").content]
        await until("healed", lambda: not ada.hub.problems())
        following.cancel()

    run(tmp_path, scene)


def test_the_loss_of_the_marker_stops_everything(tmp_path: Path) -> None:
    """The folder lost its `.meerkat` (an unmounted disk): that is not told as "all was deleted", the node stops."""

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"a")
        await ada.scan()
        before = dict(ada.books.context)
        os.rename(ada.folder / MARKER, tmp_path / "marker")
        (ada.folder / "a.txt").unlink()
        with pytest.raises(Fault) as stopped:
            await ada.scan()
        assert (stopped.value.code, stopped.value.exit_code) == ("marker_missing", Exit.REFUSED)
        following = ada.tasks.spawn("outward", ada.outward.run())
        ada.outward.heard(Touched(path("a.txt"), True))
        with pytest.raises(Fault):
            await asyncio.wait_for(asyncio.shield(following), WITHIN_S)
        assert ada.books.context == before
        assert await ada.base("a.txt") is not None

    run(tmp_path, scene)


def test_lost_events_lead_to_a_full_scan(tmp_path: Path) -> None:
    """The kernel's queue overflowed: whatever happened is found."""

    async def scene(ada: Rooms) -> None:
        for number in range(5):
            ada.put(f"f/{number}", b"x")
        following = ada.tasks.spawn("outward", ada.outward.run())
        ada.outward.heard(Overflowed())
        await until("all recorded", lambda: len(ada.events("file.changed")) == 6)
        following.cancel()

    run(tmp_path, scene)


def test_a_scan_waits_for_what_the_other_half_works_on(tmp_path: Path) -> None:
    """A path that inward is putting down is looked at afterwards; the scan has seen it when it ends."""

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"a")
        ada.put("b.txt", b"b")
        ada.claims.take([path("a.txt")])
        scan = ada.tasks.spawn("scan", ada.outward.scan())
        await until("b was taken in", lambda: ada.events("file.changed"))
        assert not scan.done()
        assert await ada.base("a.txt") is None
        ada.claims.free([path("a.txt")])
        report = await asyncio.wait_for(scan, WITHIN_S)
        assert (report.scanned, report.changes) == (2, 2)
        assert path("a.txt") not in ada.claims

    run(tmp_path, scene)


def test_a_scan_that_finds_nothing_writes_nothing(tmp_path: Path) -> None:
    """Seen twice is told once; mere reading tells nothing."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/a.txt", b"a")
        first = await ada.scan()
        before = dict(ada.books.context)
        second = await ada.scan()
        assert (first.changes, second.changes, second.scanned) == (2, 0, 2)
        assert ada.books.context == before

    run(tmp_path, scene)


def test_a_scan_of_one_folder_leaves_the_rest(tmp_path: Path) -> None:
    """`meerkat scan PATH` looks at or below that path, also when it is a file or gone."""

    async def scene(ada: Rooms) -> None:
        for name in ("f/a.txt", "g/b.txt", "c.txt"):
            ada.put(name, b"x")
        await ada.scan("f")
        await ada.scan("c.txt")
        assert set(await seqs(ada)) == {"f", "f/a.txt", "c.txt"}
        (ada.folder / "c.txt").unlink()
        await ada.scan("c.txt")
        assert await ada.living("c.txt") == []

    run(tmp_path, scene)


def test_nothing_is_written_while_the_index_is_recovered(tmp_path: Path) -> None:
    """Until the pool was heard, a scan tells nothing; adopting then makes weak versions and no tombstones."""

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"a")
        await ada.books.write(lambda tx: tx.put_meta("recovering", b"lost"))
        await ada.scan()
        assert await seqs(ada) == {}
        await ada.outward.scan(adopting=True)
        assert [each.weak for each in await ada.living("a.txt")] == [True]

    run(tmp_path, scene)


def test_what_cannot_be_shared_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A socket, a name of ours, a name that is no text: each has its reason."""

    async def scene(ada: Rooms) -> None:
        ada.put("fine.txt", b"x")
        os.mkfifo(ada.folder / "pipe")
        (ada.folder / ".MeerKat").write_text("x")
        (ada.folder / os.fsdecode(b"\xff.txt")).write_text("x")
        await ada.scan()
        await until("told", lambda: len(ada.hub.problems()) == 3)
        assert {problem.reason for problem in ada.hub.problems()} == {Reason.NAME_NOT_ALLOWED}
        assert ada.hub.blocked() == [], "nothing of the pool's is missing here"
        assert set(await seqs(ada)) == {"fine.txt"}
        (ada.folder / "pipe").unlink()
        await followed(ada, "pipe")
        await until("healed", lambda: len(ada.hub.problems()) == 2)

    run(tmp_path, scene)


def test_a_folder_that_cannot_be_read_is_not_taken_for_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be seen is not told to be gone."""

    real = Root.open_folder

    def refuse(self: Root, name: RelPath) -> int:
        if name == "f":
            raise PermissionError(13, "Permission denied")
        return real(self, name)

    async def scene(ada: Rooms) -> None:
        ada.put("f/a.txt", b"a")
        await ada.scan()
        monkeypatch.setattr(Root, "open_folder", refuse)
        await ada.scan()
        assert len(await ada.living("f/a.txt")) == 1
        assert len(await ada.living("f")) == 1
        await until("told", ada.hub.problems)
        (problem,) = ada.hub.problems()
        assert (problem.path, problem.reason) == ("f", Reason.PERMISSION)

    run(tmp_path, scene)


def test_large_and_small_are_taken_in_together(tmp_path: Path) -> None:
    """Large files are hashed beside the small ones; each ends up with its own bytes."""
    large = os.urandom(5 * MIB)

    async def scene(ada: Rooms) -> None:
        for number in range(3):
            ada.put(f"large{number}", large + bytes([number]))
            ada.put(f"small{number}", bytes([number]))
        await ada.scan()
        for number in range(3):
            for name, data in ((f"large{number}", large + bytes([number])), (f"small{number}", bytes([number]))):
                assert [each.content for each in await ada.living(name)] == [file_version(data).content]

    run(tmp_path, scene)


def test_a_change_is_told_to_the_faces(tmp_path: Path) -> None:
    """One event for each path, with what it is now."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/a.txt", b"a")
        await ada.scan()
        (ada.folder / "f/a.txt").unlink()
        await ada.scan()
        assert ada.events("file.changed") == [
            {"path": "f", "kind": "folder"},
            {"path": "f/a.txt", "kind": "file"},
            {"path": "f/a.txt", "kind": "deleted"},
        ]
        assert [event["changes"] for event in ada.events("scan.finished")] == [2, 1]

    run(tmp_path, scene)


def test_all_names_of_a_file_are_looked_at(tmp_path: Path) -> None:
    """What is written through one name of a hard-linked file is recorded for the others, of which no event tells."""

    async def scene(ada: Rooms) -> None:
        one = ada.put("a", b"first")
        (ada.folder / "below").mkdir()
        os.link(one, ada.folder / "below" / "b")
        await ada.scan()
        with one.open("r+b") as file:
            file.write(b"FIRST")
        await followed(ada, "a")
        for name in ("a", "below/b"):
            assert [each.digest for each in await ada.living(name)] == [file_version(b"FIRST").digest]

    run(tmp_path, scene)


def test_rules_that_went_on_a_members_word_are_read_too(tmp_path: Path) -> None:
    """Nothing is there and nothing was: so it looks once this node itself has removed them. They are out of force."""

    async def scene(ada: Rooms) -> None:
        ada.tasks.spawn("outward", ada.outward.run())
        ada.outward.touched([path("never")])
        ada.outward.touched([path(".meerkatignore")])
        await until("the rules are read", lambda: ada.rules_changed)

    run(tmp_path, scene)
