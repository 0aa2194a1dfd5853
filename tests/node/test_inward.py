"""What the pool has comes to the disk: in a safe order, by itself, and patiently where something is in the way."""

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

import pytest
from node_rooms import Rooms, file_version, folder_version, path, tombstone, until

from meerkat.core import patience
from meerkat.core.patience import Delay
from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.commit import Raced
from meerkat.model.limits import RETRY_MAX_S, RETRY_MIN_S, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import MARKER
from meerkat.model.problem import Problem, Reason
from meerkat.node import inward as inward_room
from meerkat.node.ledger import Job
from meerkat.node.place_words import Outcome
from meerkat.node.ports import View


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    """Play a scene in the rooms of a folder."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


def working(ada: Rooms) -> "asyncio.Task[None]":
    """Let inward do its work, woken by every transaction, as the node does."""
    ada.books.on_written(ada.inward.wake)
    ada.inward.wake()
    return ada.tasks.spawn("inward", ada.inward.run())


def applied(ada: Rooms) -> list[object]:
    """The paths that were dealt with, in order."""
    return [event["path"] for event in ada.events("file.applied")]


async def settled(ada: Rooms) -> None:
    """Wait until nothing is pending and nothing under way."""
    while True:
        await until("no step is under way", lambda: not ada.inward.busy)
        if not await ada.pending():
            return
        await asyncio.sleep(0.01)


def test_folders_first_removals_last_and_deepest_first(tmp_path: Path) -> None:
    """A folder stands before its contents come; contents are gone before their folder goes."""

    async def scene(ada: Rooms) -> None:
        for name in ("gone", "gone/b"):
            (ada.folder / name).mkdir()
        ada.put("gone/b/c.txt", b"c")
        ada.put("source", b"new")
        await ada.scan()
        for name in ("gone", "gone/b", "gone/b/c.txt"):
            await ada.told(name, tombstone(2))
        await ada.told("here/b/c.txt", file_version(b"new"))
        await ada.told("here/b", folder_version())
        await ada.told("here", folder_version())
        working(ada)
        await settled(ada)
        order = applied(ada)
        assert [each for each in order if str(each).startswith("here")] == ["here", "here/b", "here/b/c.txt"]
        assert [each for each in order if str(each).startswith("gone")] == ["gone/b/c.txt", "gone/b", "gone"]
        assert order.index("here/b") < order.index("gone/b/c.txt")
        assert ada.tree() == {"source": b"new", "here/b/c.txt": b"new"}
        assert ada.in_trash() == {"gone/b/c.txt": b"c"}

    run(tmp_path, scene)


def test_what_moves_is_not_fetched(tmp_path: Path) -> None:
    """The old place keeps its bytes until the new place has them: no source is needed for a rename."""
    large = os.urandom(SINGLE_CHUNK_BYTES_MAX * 2)

    async def scene(ada: Rooms) -> None:
        ada.put("z/old", b"small")
        ada.put("z/large", large)
        await ada.scan()
        large_version = (await ada.living("z/large"))[0]
        for name in ("z/old", "z/large", "z"):
            await ada.told(name, tombstone(2))
        await ada.told("new", file_version(b"small"))
        await ada.told("large", large_version)
        working(ada)
        await settled(ada)
        assert ada.tree() == {"new": b"small", "large": large}
        assert not (ada.folder / "z").exists()
        assert ada.hub.traffic.received == 0

    run(tmp_path, scene)


def test_what_has_no_source_waits_and_comes_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is told why; when a member that has the bytes is there, it comes at once, whatever the wait was."""
    monkeypatch.setattr(patience, "RETRY_MIN_S", 4000.0)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            bob.put("a.txt", b"bob's")
            await bob.scan()
            await ada.learn(bob)
            working(ada)
            await until("told why", lambda: ada.events("file.failed"))
            (told,) = ada.events("file.failed")
            assert (told["path"], told["reason"]) == ("a.txt", "no_source_online")
            assert ada.hub.blocked() == [], "nothing that needs a person"
            ada.carry(bob)
            ada.inward.sources_changed()
            await settled(ada)
            assert ada.tree() == {"a.txt": b"bob's"}
            assert ada.hub.problems() == []

    asyncio.run(play())


def test_a_pool_of_files_arrives_whole(tmp_path: Path) -> None:
    """Small, large, empty, in folders and links: the folder equals the other one."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            for number in range(40):
                bob.put(f"f{number % 4}/{number}.txt", b"%d" % number * number)
            for number in range(6):
                bob.put(f"large/{number}", os.urandom(SINGLE_CHUNK_BYTES_MAX + 1000 * number + 1))
            (bob.folder / "large" / "link").symlink_to("0")
            (bob.folder / "empty").mkdir()
            await bob.scan()
            ada.carry(bob)
            await ada.learn(bob)
            working(ada)
            await settled(ada)
            assert ada.tree() == bob.tree()
            assert (ada.folder / "empty").is_dir()
            assert os.readlink(ada.folder / "large" / "link") == "0"
            before = dict(ada.books.context)
            await ada.scan()
            assert ada.books.context == before, "what was put down is not taken for a person's doing"

    asyncio.run(play())


def test_a_conflict_ends_by_itself(tmp_path: Path) -> None:
    """The loser's copy, then the winner: in one go."""

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"loses")
        ada.put("source", b"wins")
        await ada.scan()
        await ada.told("a.txt", file_version(b"wins", height=9), unseen=True)
        working(ada)
        await settled(ada)
        copy = copy_path(path("a.txt"), file_version(b"loses").content)
        assert ada.tree() == {"a.txt": b"wins", copy: b"loses", "source": b"wins"}

    run(tmp_path, scene)


def test_a_loser_on_no_disk_of_ours_is_left_to_its_holders_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who hold it act at once; only when none did for a while, this node makes the copy."""
    monkeypatch.setattr(inward_room, "STEP_IN_S", 1000.0)

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"wins")
        ada.put("source", b"loses")
        await ada.scan()
        await ada.told("a.txt", file_version(b"wins", height=9))
        await ada.told("a.txt", file_version(b"loses"), by="yan", unseen=True)
        task = working(ada)
        ada.put("b.txt", b"b")
        await ada.scan()
        await until("a pass was made", lambda: ada.inward._delays and not ada.inward.busy)
        copy = copy_path(path("a.txt"), file_version(b"loses").content)
        assert copy not in ada.tree()
        ada.inward._delays[path("a.txt")].until = 0.0  # the while is over
        ada.inward.wake()
        await until("the copy is there", lambda: copy in ada.tree())
        assert not task.done()

    run(tmp_path, scene)


def test_delays_double_and_are_bounded(tmp_path: Path) -> None:
    """What stays in the way is tried ever more rarely, never more rarely than the bound."""

    async def scene(ada: Rooms) -> None:
        waits = []
        for _ in range(30):
            ada.inward._note([Outcome(path("a"), later=True)])
            waits.append(ada.inward._delays[path("a")].last)
        assert waits[0] < RETRY_MIN_S
        assert all(later == min(RETRY_MAX_S, 2 * earlier) for earlier, later in itertools.pairwise(waits))
        assert waits[-1] == RETRY_MAX_S

    run(tmp_path, scene)


def test_delays_end_with_success_with_news_and_with_the_folder_above(tmp_path: Path) -> None:
    """A path dealt with, a path looked at anew, and what waited for its folder: all are due at once."""

    async def scene(ada: Rooms) -> None:
        names = [path(each) for each in ("f", "f/a", "f/g/b", "c", "d")]
        ada.inward._note([Outcome(each, later=True) for each in names])
        ada.inward._note([Outcome(path("f"))])
        assert set(ada.inward._delays) == {"f/g/b", "c", "d"}
        ada.inward.looked_at([path("c")], {path("c")})
        assert set(ada.inward._delays) == {"f/g/b", "d"}
        ada.inward.fresh([path("d")])
        assert set(ada.inward._delays) == {"f/g/b"}

    run(tmp_path, scene)


def test_a_path_that_races_for_ever_is_tried_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's two halves together: a path that is never as expected, though nothing about it changes."""

    async def scene(ada: Rooms) -> None:
        monkeypatch.setattr(commit, "place", lambda *_: Raced("for a reason that no look finds"))
        ada.put("source", b"content")
        (ada.folder / "there").mkdir()
        await ada.scan()
        ada.tasks.spawn("outward", ada.outward.run())
        await ada.told("there", file_version(b"content", height=5))
        working(ada)

        def patient() -> bool:
            delay = ada.inward._delays.get(path("there"))
            return delay is not None and delay.last >= 2 * RETRY_MIN_S

        await until("it is tried more and more seldom", patient)
        assert ada.again.count(path("there")) <= 10

    run(tmp_path, scene)


def test_a_delay_that_ends_during_a_pass_brings_about_the_next(tmp_path: Path) -> None:
    """A pass may have gone past the path before it was due: only what was due when it began was met in it."""

    async def scene(ada: Rooms) -> None:
        now = ada.inward._now()
        ada.inward._delays = {path("met"): Delay(now - 2.0, 1.0), path("passed"): Delay(now - 0.5, 1.0)}
        ada.inward._forget_delays(now - 1.0)
        assert set(ada.inward._delays) == {"passed"}

    run(tmp_path, scene)


def test_a_path_in_trouble_is_told_once_and_healed(tmp_path: Path) -> None:
    """One event for a reason, however often it is tried; when it ends well, the trouble is over."""

    async def scene(ada: Rooms) -> None:
        problem = Problem("a", Reason.DISK_FULL, "no room")
        for _ in range(3):
            ada.inward._note([Outcome(path("a"), problem)])
        assert len(ada.events("file.failed")) == 1
        assert ada.hub.blocked() == [problem]
        ada.inward._note([Outcome(path("a"))])
        assert ada.hub.problems() == []

    run(tmp_path, scene)


@pytest.mark.parametrize("kind", ["small", "bulk", "folders", "remove", "retouch"])
def test_a_bug_in_a_step_does_not_spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A path whose step fails in an unforeseen way is logged, waits like any other, and the others go on."""
    monkeypatch.setattr(patience, "RETRY_MIN_S", 4000.0)
    versions = {
        "small": file_version(b""),
        "bulk": file_version(bytes(SINGLE_CHUNK_BYTES_MAX + 1)),
        "folders": folder_version(),
        "remove": tombstone(2),
        "retouch": file_version(b"a", mode=0o600),
    }

    async def scene(ada: Rooms) -> None:
        calls: list[str] = []
        real = getattr(ada.placer, kind)

        async def fail(jobs: Sequence[Job]) -> list[Outcome]:
            if any(job.path == "a.txt" for job in jobs):
                calls.append(kind)
                raise ZeroDivisionError("a bug")
            found: list[Outcome] = await real(jobs)
            return found

        if kind in ("remove", "retouch"):
            ada.put("a.txt", b"a")
            await ada.scan()
        monkeypatch.setattr(ada.placer, kind, fail)
        await ada.told("a.txt", versions[kind])
        task = working(ada)
        await until("the bug was met", lambda: calls and not ada.inward.busy)
        for number in range(20):
            await ada.told(f"f{number}", folder_version())
        await until("the others came", lambda: (ada.folder / "f19").is_dir() and not ada.inward.busy)
        assert calls == [kind]
        assert not task.done()
        assert path("a.txt") not in ada.claims
        assert "a.txt" in await ada.pending()

    run(tmp_path, scene)


def test_nothing_is_put_down_while_the_index_is_recovered(tmp_path: Path) -> None:
    """Until the disk is adopted, nobody knows what on it would be lost."""

    async def scene(ada: Rooms) -> None:
        await ada.books.write(lambda tx: tx.put_meta("recovering", b"lost"))
        await ada.told("f", folder_version())
        working(ada)
        for _ in range(5):
            ada.inward.wake()
            await asyncio.sleep(0.01)
        assert not (ada.folder / "f").exists()
        await ada.books.write(lambda tx: tx.put_meta("recovering", b""))
        await settled(ada)
        assert (ada.folder / "f").is_dir()

    run(tmp_path, scene)


def test_what_is_ignored_here_is_not_put_down(tmp_path: Path) -> None:
    """It does not wait either; what was here before it was ignored is neither changed nor removed."""

    async def scene(ada: Rooms) -> None:
        ada.put("old.o", b"mine")
        ada.put("older.o", b"mine")
        await ada.scan()
        (ada.folder / MARKER / "ignore").write_text("*.o\n")
        ada.rules.read()
        await ada.told("new.o", file_version(b""))
        await ada.told("old.o", file_version(b""))
        await ada.told("older.o", tombstone(2))
        await ada.told("new.txt", file_version(b""))
        working(ada)
        await until("the other came", lambda: "new.txt" in ada.tree())
        await settled(ada)
        assert ada.tree() == {"new.txt": b"", "old.o": b"mine", "older.o": b"mine"}

    run(tmp_path, scene)


def test_a_claimed_path_is_left_alone(tmp_path: Path) -> None:
    """Outward is looking at it: whatever is to be done there comes afterwards."""

    async def scene(ada: Rooms) -> None:
        await ada.told("a", file_version(b""))
        await ada.told("b", file_version(b""))
        ada.claims.take([path("a")])
        working(ada)
        await until("b came", lambda: "b" in ada.tree() and not ada.inward.busy)
        assert ada.tree() == {"b": b""}
        ada.claims.free([path("a")])
        ada.inward.wake()
        await settled(ada)
        assert ada.tree() == {"a": b"", "b": b""}

    run(tmp_path, scene)


def test_a_persons_write_under_way_wins_over_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path changed and nobody has looked yet: the person's bytes are taken in, then both sides are kept."""
    monkeypatch.setattr(inward_room, "STEP_IN_S", 0.05)

    async def scene(ada: Rooms) -> None:
        ada.put("a.txt", b"old")
        ada.put("source", b"theirs")
        await ada.scan()
        await ada.told("a.txt", file_version(b"theirs"))
        ada.put("a.txt", b"mine")
        ada.tasks.spawn("outward", ada.outward.run())
        working(ada)
        await until("both are kept", lambda: set(ada.tree().values()) == {b"mine", b"theirs"} and len(ada.tree()) == 3)
        await settled(ada)
        assert sorted(ada.tree().values()) == [b"mine", b"theirs", b"theirs"]

    run(tmp_path, scene)


def test_a_path_that_is_freed_while_it_is_looked_up_is_met_again(tmp_path: Path) -> None:
    """Between the look that passes it over and the end of that look nobody would tell that it is free."""

    async def scene(ada: Rooms) -> None:
        await ada.told("a", folder_version())
        taken = ada.claims.take([path("a")])
        honest = ada.books.read

        async def read(work: Callable[[View], object]) -> object:
            answer = await honest(work)
            ada.claims.free(taken)
            return answer

        ada.inward._wake.clear()
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(ada.books, "read", read)
            jobs, _ = await ada.inward._jobs(path(""))
        assert jobs == []
        assert ada.inward._wake.is_set()

    run(tmp_path, scene)


def test_steps_from_the_merge_are_taken_and_looked_at_again(tmp_path: Path) -> None:
    """They need no reading; one that has been overtaken since places nothing, and the path gets what it should have."""

    async def scene(ada: Rooms) -> None:
        ada.put("source", b"new")
        await ada.scan()
        await ada.told("here", file_version(b"new"))
        stale = await ada.job("here")
        await ada.told("here", tombstone(2))
        ada.inward.merged([path("here")], [stale])
        await ada.told("there", file_version(b"new"))
        ada.inward.merged([path("there")], [await ada.job("there")])
        working(ada)
        await settled(ada)
        assert ada.tree() == {"source": b"new", "there": b"new"}
        assert applied(ada) == ["there"]

    run(tmp_path, scene)


def test_too_many_steps_from_merges_are_left_to_the_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a flood would come before its folders."""
    monkeypatch.setattr(inward_room, "FRESH_JOBS_MAX", 2)

    async def scene(ada: Rooms) -> None:
        ada.put("source", b"new")
        await ada.scan()
        names = ("d", "d/a", "d/b")
        await ada.told("d", folder_version())
        for name in names[1:]:
            await ada.told(name, file_version(b"new"))
        for name in names:
            ada.inward.merged([path(name)], [await ada.job(name)])
        assert ada.inward._planned == []
        working(ada)
        await settled(ada)
        assert ada.tree() == {"source": b"new", "d/a": b"new", "d/b": b"new"}

    run(tmp_path, scene)
