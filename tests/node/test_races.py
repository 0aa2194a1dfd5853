"""News, people and cancelled waiters between two steps, at the worst moment; each is a trace that once failed."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import LONG_AGO_NS, WITHIN_S, Rooms, file_version, folder_version, path, tombstone, until

from meerkat.core.plan import KeepLoser
from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.commit import Displaced, Raced
from meerkat.disk.touch import Touched
from meerkat.disk.trouble import blocked
from meerkat.model.dot import Author
from meerkat.model.path import MARKER
from meerkat.model.problem import Problem, Reason
from meerkat.model.version import Kind
from meerkat.node import ledger
from meerkat.node.outward import ScanReport
from meerkat.node.stage_names import out_name, stage_name

OLD, NEW, MINE = b"the old bytes", b"what the pool has", b"what a person wrote"


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    """Play a scene in the rooms of a folder."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


def working(ada: Rooms) -> None:
    """Let both halves do their work, woken by every transaction, as the node does."""
    ada.books.on_written(ada.inward.wake)
    ada.tasks.spawn("inward", ada.inward.run())
    ada.tasks.spawn("outward", ada.outward.run())
    ada.inward.wake()


def test_a_path_met_while_it_was_taken_is_met_again_once_it_is_free(tmp_path: Path) -> None:
    """Nothing is written by the one who had it, and nobody calls: the path must not wait for ever."""

    async def scene(ada: Rooms) -> None:
        ada.claims.take([path("a")])
        await ada.told("a", file_version(b""))
        await ada.told("b", file_version(b""))
        working(ada)
        await until("b came", lambda: "b" in ada.tree() and not ada.inward.busy)
        ada.claims.free([path("a")])
        await until("a came", lambda: "a" in ada.tree())

    run(tmp_path, scene)


def test_news_during_a_retouch_stays_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While bits are set on the disk, newer bytes are merged: they come, too."""
    begun, go_on = threading.Event(), threading.Event()
    original = commit.set_metadata

    def slow(*args: object) -> object:
        begun.set()
        assert go_on.wait(WITHIN_S)
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(commit, "set_metadata", slow)

    async def scene(ada: Rooms) -> None:
        ada.put("a", OLD)
        ada.put("source", NEW)
        await ada.scan()
        await ada.told("a", file_version(OLD, mode=0o600))
        retouch = asyncio.ensure_future(ada.placer.retouch([await ada.job("a")]))
        await asyncio.to_thread(begun.wait, WITHIN_S)
        await ada.told("a", file_version(NEW))
        go_on.set()
        await retouch
        assert await ada.pending() == ["a"]

    run(tmp_path, scene)


def test_news_while_a_folder_is_kept_for_what_is_ignored_stays_due(tmp_path: Path) -> None:
    """A folder that was to go, and is kept, is wanted again with other bits before that is recorded."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "f").mkdir()
        await ada.scan()
        await ada.told("f", folder_version(0o700))
        await ada.books.write(lambda tx: ledger.let_stay(tx, path("f")))
        assert await ada.pending() == ["f"]
        await ada.told("f", tombstone(3))
        await ada.books.write(lambda tx: ledger.let_stay(tx, path("f")))
        assert await ada.pending() == []

    run(tmp_path, scene)


def test_bits_that_a_disk_cannot_hold_are_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that finds nothing new does not make the same attempt due again, or it would go on for ever."""

    def as_if(root: object, path: object, expected: object, version: object) -> object:
        return expected

    monkeypatch.setattr(commit, "set_metadata", as_if)

    async def scene(ada: Rooms) -> None:
        ada.put("a", OLD)
        await ada.scan()
        await ada.told("a", file_version(OLD, mode=0o600))
        await ada.placer.retouch([await ada.job("a")])
        assert await ada.pending() == []
        os.utime(ada.folder / "a", ns=(LONG_AGO_NS, LONG_AGO_NS))  # another ctime, as an attempt leaves it
        await ada.scan()
        assert await ada.pending() == []
        assert [version.mode for version in await ada.living("a")] == [0o600], "and nobody takes it for a person's"

    run(tmp_path, scene)


def test_a_write_whose_waiter_is_cancelled_is_told(tmp_path: Path) -> None:
    """A link ends while its answer is being merged: what was committed is known at once, and placed."""
    begun, go_on = threading.Event(), threading.Event()

    async def scene(ada: Rooms) -> None:
        told: list[int] = []
        ada.books.on_written(lambda: told.append(ada.books.generation))

        def slow(tx: object) -> None:
            begun.set()
            assert go_on.wait(WITHIN_S)
            tx.join_context({Author(ada.node, 5): 7}, {})  # type: ignore[attr-defined]

        writing = asyncio.ensure_future(ada.books.write(slow))
        await asyncio.to_thread(begun.wait, WITHIN_S)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert not told
        go_on.set()
        await until("it is told", lambda: told)
        assert ada.books.context[Author(ada.node, 5)] == 7

    run(tmp_path, scene)


def test_a_file_in_place_of_a_folder_with_ignored_things_waits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again and again as fast as the disk goes; once the folder is free, it comes."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / MARKER / "ignore").write_text("*.o\n")
        ada.rules.read()
        ada.put("f/x.o", b"built")
        ada.put("source", NEW)
        await ada.scan()
        await ada.told("f", file_version(NEW))
        tries: list[object] = []
        placed = commit.place

        def counting(*args: object) -> object:
            tries.append(args[2])
            return placed(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(commit, "place", counting)
        working(ada)
        await until("the person is told", lambda: ada.hub.has_problem(path("f")))
        await asyncio.sleep(0.2)
        assert len(tries) <= 2
        problem = ada.hub.problem(path("f"))
        assert problem is not None
        assert problem.reason is Reason.IGNORED_THERE
        (ada.folder / "f/x.o").unlink()
        await until("the file is there", lambda: ada.read("f") == NEW if (ada.folder / "f").is_file() else False)

    run(tmp_path, scene)


def test_what_was_exposed_is_discarded_after_its_intent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing staged thing beside an intent would say that the exchange has happened; a crash in between must not."""

    async def scene(ada: Rooms) -> None:
        ada.put("a", OLD)
        ada.put("source", NEW)
        await ada.scan()
        await ada.told("a", file_version(NEW))
        monkeypatch.setattr(commit, "place", lambda *_: Raced("it was written to just now", exposed=True))
        seen: list[int] = []
        keep = ada.trash.keep

        def keeping(*args: object) -> str:
            with ada.index.read() as view:
                seen.append(len(view.intents()))
            return keep(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(ada.trash, "keep", keeping)
        (outcome,) = await ada.placer.small([await ada.job("a")])
        assert outcome.later
        assert seen == [0]
        assert ada.stage.names() == []

    run(tmp_path, scene)


def test_a_persons_bytes_that_can_be_put_nowhere_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No place, no trash (a full disk): they get a stage name that no download takes, and the next try leaves them."""

    async def scene(ada: Rooms) -> None:
        ada.put("a", OLD)
        ada.put("source", NEW)
        await ada.scan()
        await ada.told("a", file_version(NEW))
        name = out_name(stage_name(path("a"), file_version(NEW)))
        held = ada.folder / MARKER / "stage" / name

        def displaced(*_: object) -> Displaced:
            held.unlink()
            held.write_bytes(MINE)
            return Displaced(name)

        def refused(*_: object) -> bool:
            raise blocked("a", OSError(28, "full"))

        with monkeypatch.context() as patch:
            patch.setattr(commit, "place", displaced)
            patch.setattr(commit, "put_back", refused)
            (outcome,) = await ada.placer.small([await ada.job("a")])
            assert outcome.later
        await ada.placer.small([await ada.job("a")])
        assert ada.read("a") == NEW
        assert MINE in [each.read_bytes() for each in held.parent.iterdir()]
        await ada.placer.tidy()
        assert MINE in [each.read_bytes() for each in held.parent.iterdir()]

    run(tmp_path, scene)


def test_a_copy_deleted_since_the_look_is_not_revived_without_bytes(tmp_path: Path) -> None:
    """The copy's name lived when it was looked at, and was deleted before the write: the loser stays, to be kept."""
    loser = file_version(MINE)

    async def scene(ada: Rooms) -> None:
        ada.put("a", MINE)
        await ada.scan()
        await ada.told("a", file_version(NEW, height=9), unseen=True)
        job = await ada.job("a")
        assert isinstance(job.step, KeepLoser)
        copy = copy_path(path("a"), loser.content)
        await ada.told(copy, file_version(MINE))
        await ada.told(copy, tombstone(2))
        kept = await ada.books.write(lambda tx: ledger.keep_loser(tx, path("a"), loser.content, copy, None))
        assert not kept
        assert await ada.living(copy) == []
        assert loser.content in [version.content for version in await ada.living("a")]

    run(tmp_path, scene)


def test_what_was_staged_and_overtaken_goes_when_all_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """News comes between fetching and placing: the older bytes do not stay in the stage until the next start."""

    async def scene(ada: Rooms) -> None:
        ada.put("source", NEW)
        ada.put("other", MINE)
        await ada.scan()
        await ada.told("a", file_version(NEW))
        job = await ada.job("a")
        await ada.told("a", file_version(MINE))
        (outcome,) = await ada.placer.small([job])
        assert outcome.later
        assert ada.stage.names() == [stage_name(path("a"), file_version(NEW))]
        assert not await ada.placer.tidy(), "something is pending, it may be wanted"
        working(ada)
        ada.inward._note([outcome])  # as the pass that took the step would have done
        await until("all is quiet", lambda: ada.read("a") == MINE and not ada.stage.names())

    run(tmp_path, scene)


def test_a_missing_folder_above_is_noticed(tmp_path: Path) -> None:
    """The watch has told nothing of a folder that is gone; what is to be put in it finds out."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "f").mkdir()
        ada.put("source", NEW)
        await ada.scan()
        (ada.folder / "f").rmdir()
        await ada.told("f/a", file_version(NEW))
        working(ada)
        await until("it came", lambda: ada.read("f/a") == NEW)

    run(tmp_path, scene)


def test_an_implied_folder_has_the_same_bits_everywhere(tmp_path: Path) -> None:
    """A folder deleted elsewhere stays for what is in it: its bits become those of one made anew, until a person says
    otherwise."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/a", OLD)
        (ada.folder / "f").chmod(0o700)
        await ada.scan()
        await ada.told("f", tombstone(2))
        working(ada)
        await until("its bits are the common ones", lambda: (ada.folder / "f").stat().st_mode & 0o777 == 0o755)
        (ada.folder / "f").chmod(0o750)
        await ada.scan()
        assert [(version.kind, version.mode) for version in await ada.living("f")] == [(Kind.FOLDER, 0o750)]
        assert await ada.pending() == []

    run(tmp_path, scene)


def test_a_file_replaced_under_a_look_is_looked_at_soon(tmp_path: Path) -> None:
    """Nobody will close it again: it waits a moment, and not as long as one that is being written."""

    async def scene(ada: Rooms) -> None:
        problem = Problem("a", Reason.CHANGED_WHILE_READING, "it changed while it was read")
        ada.outward._could_not_look(path("a"), problem)
        due = ada.outward._settle.wake_at()
        assert due is not None
        assert due - asyncio.get_running_loop().time() < 0.1

    run(tmp_path, scene)


def test_a_folder_exchanged_between_the_decision_and_the_look_takes_its_contents_along(tmp_path: Path) -> None:
    """It was thought to be the same one, so only itself is looked at: what stood in the old one is looked at, too."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/a", OLD)
        ada.put("f/g/b", OLD)
        await ada.scan()
        (ada.folder / "f").rename(ada.folder / "away")
        (ada.folder / "f").mkdir()
        missed = await ada.outward._take_in([path("f")], ScanReport(), {path("f")})
        assert missed == ["f/a", "f/g", "f/g/b"]

    run(tmp_path, scene)


def test_what_went_while_its_folder_was_away_is_gone(tmp_path: Path) -> None:
    """A folder is moved, something in it deleted, and it comes back before anybody has looked."""

    async def scene(ada: Rooms) -> None:
        ada.put("f/a", OLD)
        ada.put("f/b", OLD)
        await ada.scan()
        (ada.folder / "f").rename(ada.folder / "away")
        (ada.folder / "away/a").unlink()
        (ada.folder / "away").rename(ada.folder / "f")
        working(ada)
        ada.outward.heard(Touched(path("f"), closed=True, arrived=True))
        await until("it is looked at", lambda: not ada.outward.busy)
        await until(
            "the deletion is known", lambda: ada.events("file.changed")[-1:] == [{"path": "f/a", "kind": "deleted"}]
        )
        assert await ada.living("f/a") == []
        assert len(await ada.living("f/b")) == 1

    run(tmp_path, scene)


def test_answered_questions_are_forgotten(tmp_path: Path) -> None:
    """A link that lives for months does not keep what was asked over it."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            ada.carry(bob)
            for number in range(20):
                bob.put(f"{number}", b"%d" % number)
            bob.put("large", os.urandom(1_000_000))
            await bob.scan()
            await ada.learn(bob)
            working(ada)
            await until("all came", lambda: ada.tree() == bob.tree())
            await until("nothing is under way", lambda: not ada.inward.busy)
            assert ada.asking._asked == {}
            assert ada.asking._waiting == {}

    asyncio.run(play())


def test_what_was_fetched_and_could_not_be_put_down_is_not_fetched_again(tmp_path: Path) -> None:
    """Meanwhile nobody else may have it any more: the bytes of the first try are used."""

    async def scene(ada: Rooms) -> None:
        await ada.told("a", file_version(NEW))
        name = stage_name(path("a"), file_version(NEW))
        ada.stage.write_small(name, NEW, file_version(NEW))
        (outcome,) = await ada.placer.small([await ada.job("a")])
        assert (outcome.problem, outcome.later) == (None, False)
        assert ada.read("a") == NEW

    run(tmp_path, scene)
