"""Mass deletions on one real folder: what is held, what ends it, and what a look makes of it meanwhile."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from node_rooms import Rooms, eventually, file_version, path, tombstone, until

from meerkat.core import hold
from meerkat.core.plan import Settled
from meerkat.core.resolve import copy_path
from meerkat.disk.watch import Touched
from meerkat.model.fault import Fault
from meerkat.model.problem import Reason
from meerkat.model.version import Kind, Version
from meerkat.node.holds import Holds
from meerkat.node.ports import View

COUNT = 30
PART = 5


def run(tmp_path: Path, scene: Callable[[Rooms], Awaitable[None]]) -> None:
    """One node with holding on and a folder of files that everybody knows."""

    async def play() -> None:
        rooms = Rooms(tmp_path)
        rooms.holding = True
        async with rooms as ada:
            for number in range(COUNT):
                ada.put(f"d/{number:02}", b"file %d" % number)
            await ada.scan()
            await ada.holds.refresh()
            await scene(ada)

    asyncio.run(play())


async def lose(ada: Rooms) -> int:
    """The folder goes; the number of the hold."""
    shutil.rmtree(ada.folder / "d")
    await ada.scan()
    (hold,) = await ada.holds.listed()
    return int(str(hold["id"]))


async def living(ada: Rooms) -> int:
    """How many files the index has."""
    return (await ada.books.read(lambda view: view.totals())).files


def test_nothing_is_written_while_a_hold_stands(tmp_path: Path) -> None:
    """However often the folder is scanned: one hold, one problem, no dot."""

    async def scene(ada: Rooms) -> None:
        before = dict(ada.books.context)
        pending = await ada.books.read(lambda view: view.pending_count())
        number = await lose(ada)
        await ada.scan()
        await ada.scan()
        assert [each["id"] for each in await ada.holds.listed()] == [number]
        assert ada.books.context == before
        assert await living(ada) == COUNT
        (problem,) = ada.hub.blocked()
        assert (problem.path, problem.reason) == ("d", Reason.HELD)
        assert await ada.books.read(lambda view: view.pending_count()) == pending

    run(tmp_path, scene)


def test_allowed_deletions_are_written(tmp_path: Path) -> None:
    """All of them, folders too, and the problem is gone."""

    async def scene(ada: Rooms) -> None:
        number = await lose(ada)
        assert await ada.holds.allow(number) == COUNT + 1
        assert await living(ada) == 0
        assert ada.hub.blocked() == []
        assert await ada.holds.listed() == []
        with pytest.raises(Fault, match="no hold"):
            await ada.holds.allow(number)

    run(tmp_path, scene)


def test_rejected_deletions_are_to_be_put_down_again(tmp_path: Path) -> None:
    """The index keeps them, the disk lacks them: they are pending."""

    async def scene(ada: Rooms) -> None:
        before = dict(ada.books.context)
        assert await ada.holds.reject(await lose(ada)) == COUNT + 1
        assert ada.books.context == before
        assert await ada.books.read(lambda view: view.pending_count()) == COUNT + 1
        assert ada.hub.blocked() == []

    run(tmp_path, scene)


async def remove_in_parts(ada: Rooms, numbers: range) -> None:
    """Files go a few at a time, and each part is as much as waits in memory; every one so far is kept from the pool."""
    for number in numbers:
        (ada.folder / f"d/{number:02}").unlink()
        ada.outward.heard(Touched(path(f"d/{number:02}"), closed=True))
        if number % PART == PART - 1:
            await eventually("the part was judged", partial(ada.books.read, partial(_holds_more_than, number)))


def _holds_more_than(number: int, view: View) -> bool:
    return view.held_count() > number


def parted(monkeypatch: pytest.MonkeyPatch, ada: Rooms) -> None:
    monkeypatch.setattr(hold, "HOLD_GATHER_PATHS_MAX", PART)
    monkeypatch.setattr(hold, "HOLD_FILES_MIN", PART - 1)
    for name in ("HOLD_FEW_S_MAX", "HOLD_FEW_QUIET_S", "HOLD_QUIET_S", "HOLD_WINDOW_S"):  # nothing ends by itself
        monkeypatch.setattr(hold, name, 3600.0)
    ada.tasks.spawn("outward", ada.outward.run())


def test_a_tree_that_goes_in_parts_is_judged_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the parts is told, though the first are less than half of all; in the end it is one hold."""

    async def scene(ada: Rooms) -> None:
        before = dict(ada.books.context)
        parted(monkeypatch, ada)
        await remove_in_parts(ada, range(2 * PART))
        assert await ada.holds.listed() == [], "nobody is asked yet"
        assert ada.outward.busy
        await remove_in_parts(ada, range(2 * PART, 4 * PART))
        (held,) = await ada.holds.listed()
        assert (held["paths"], held["held"], held["total"]) == (4 * PART, 4 * PART, COUNT)
        assert ada.books.context == before
        assert await living(ada) == COUNT

    run(tmp_path, scene)


def test_parts_that_are_no_accident_are_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than half in all: it is told once no more come, but for what is there again."""

    async def scene(ada: Rooms) -> None:
        parted(monkeypatch, ada)
        await remove_in_parts(ada, range(2 * PART))
        await ada.outward.scan()
        assert await living(ada) == COUNT, "a scan in between sees a part only"
        ada.put("d/00", b"file 0")
        ada.put("moved", b"file 1")
        await ada.outward.scan()
        monkeypatch.setattr(hold, "HOLD_WINDOW_S", 0.0)
        ada.outward.heard(Touched(path("moved"), closed=True))

        async def told() -> bool:
            return await living(ada) == COUNT - 2 * PART + 2

        await eventually("it is told", told)
        assert await ada.living("d/00")
        assert await ada.books.read(lambda view: view.holds()) == []

    run(tmp_path, scene)


def test_what_was_put_off_by_an_earlier_life_is_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node ended in the middle of it: at the next start nothing is held, and the scan finds what is gone."""

    async def scene(ada: Rooms) -> None:
        before = dict(ada.books.context)
        parted(monkeypatch, ada)
        await remove_in_parts(ada, range(PART))
        assert await ada.books.read(lambda view: view.held_count()) == PART
        await ada.tasks.stop()
        again = Holds(ada.books, ada.hub)
        await again.open()
        assert await ada.books.read(lambda view: (view.held_count(), view.holds())) == (0, [])
        assert ada.books.context == before

    run(tmp_path, scene)


def test_a_node_is_judged_by_what_it_had(tmp_path: Path) -> None:
    """One that has fetched little of a large pool yet, and is emptied, tells nobody to delete even that little."""

    async def scene(ada: Rooms) -> None:
        for number in range(5 * COUNT):
            await ada.told(f"far/{number}", file_version(b"not here yet %d" % number))
        before = dict(ada.books.context)
        await lose(ada)
        assert ada.books.context == before
        (hold,) = await ada.holds.listed()
        assert (hold["paths"], hold["total"]) == (COUNT + 1, COUNT)

    run(tmp_path, scene)


@pytest.mark.parametrize("allowed", [True, False])
def test_what_stands_in_the_place_of_a_held_folder_waits_with_it(tmp_path: Path, allowed: bool) -> None:
    """A link where the folder stood (it was moved to a larger disk): nobody is told before a person has said what is
    to be. Allowed, it stands there and nothing else; rejected, the folder does, and it lies beside."""

    async def scene(ada: Rooms) -> None:
        before = dict(ada.books.context)
        shutil.rmtree(ada.folder / "d")
        (ada.folder / "d").symlink_to("/elsewhere")
        for _ in range(2):
            await ada.scan()
            assert ada.books.context == before
        (hold,) = await ada.holds.listed()
        assert hold["paths"] == COUNT + 1
        number = int(str(hold["id"]))
        if allowed:
            await ada.holds.allow(number)
            assert [version.target for version in await ada.living("d")] == ["/elsewhere"]
            assert await living(ada) == 1
            assert (await ada.job("d")).step == Settled()
            return
        await ada.holds.reject(number)
        ada.books.on_written(ada.inward.wake)
        running = ada.tasks.spawn("outward", ada.outward.run()), ada.tasks.spawn("inward", ada.inward.run())
        ada.inward.wake()
        copy = copy_path(path("d"), Version(Kind.SYMLINK, target="/elsewhere").content)
        await until("the link has a name of its own", (ada.folder / copy).is_symlink)
        await until("the folder is back", (ada.folder / "d").is_dir)
        for each in running:
            each.cancel()
        assert {version.kind for version in await ada.living("d")} == {Kind.FOLDER}
        assert await living(ada) == COUNT + 1

    run(tmp_path, scene)


def test_a_folder_that_is_back_for_its_replacement_leaves_the_hold(tmp_path: Path) -> None:
    """What is in it is held until it is there again as well."""

    async def scene(ada: Rooms) -> None:
        shutil.rmtree(ada.folder / "d")
        ada.put("d", b"a file")
        await ada.scan()
        (ada.folder / "d").unlink()
        ada.put("d/00", b"file 0")
        await ada.scan()
        (hold,) = await ada.holds.listed()
        assert hold["paths"] == COUNT - 1
        assert await living(ada) == COUNT
        for number in range(COUNT):
            ada.put(f"d/{number:02}", b"file %d" % number)
        await ada.scan()
        assert await ada.holds.listed() == []
        assert await living(ada) == COUNT

    run(tmp_path, scene)


def test_files_that_are_there_again_leave_the_hold(tmp_path: Path) -> None:
    """Unchanged ones without a word, changed ones as edits; the rest stays held."""

    async def scene(ada: Rooms) -> None:
        await lose(ada)
        ada.put("d/00", b"file 0")
        ada.put("d/01", b"another")
        await ada.scan()
        (hold,) = await ada.holds.listed()
        assert hold["paths"] == COUNT - 2
        assert await living(ada) == COUNT
        assert (await ada.siblings("d/01")) != {}
        assert await ada.books.read(lambda view: view.is_held(path("d/02")))
        assert not await ada.books.read(lambda view: view.is_held(path("d")))

    run(tmp_path, scene)


def test_what_others_do_meanwhile_ends_the_question(tmp_path: Path) -> None:
    """An edit is put down in spite of the deletion, with the folders above; a deletion there agrees with this one."""

    async def scene(ada: Rooms) -> None:
        await lose(ada)
        await ada.told("d/00", file_version(b"edited elsewhere", height=2))
        await ada.told("d/01", tombstone(2))
        await ada.outward.scan(path("d/00"))
        await ada.outward.scan(path("d/01"))
        held = await ada.books.read(lambda view: view.held())
        assert path("d/00") not in held
        assert path("d/01") not in held
        assert path("d") not in held
        assert len(held) == COUNT - 2
        pending = await ada.books.read(lambda view: view.pending(path(""), 10))
        assert pending == ["d", "d/00"]

    run(tmp_path, scene)


def test_a_held_folder_comes_back_for_what_others_put_into_it(tmp_path: Path) -> None:
    """It is put down, with nothing else in it, instead of waiting for the folder for as long as nobody says a word."""

    async def scene(ada: Rooms) -> None:
        ada.put("spare", b"the new one")
        await ada.scan()
        await lose(ada)
        await ada.told("d/new", file_version(b"the new one"))
        driven = [asyncio.ensure_future(work) for work in (ada.outward.run(), ada.inward.run())]
        ada.inward.wake()
        await until("it is there", lambda: ada.read("d/new") == b"the new one")
        for each in driven:
            each.cancel()
        (hold,) = await ada.holds.listed()
        assert hold["paths"] == COUNT
        assert set(ada.tree()) == {"spare", "d/new"}

    run(tmp_path, scene)


def test_an_edit_that_had_not_seen_what_is_gone_waits_with_it(tmp_path: Path) -> None:
    """What stood there is deleted or comes back on a person's word; it is never left living on no disk."""

    async def scene(ada: Rooms) -> None:
        number = await lose(ada)
        await ada.told("d/00", file_version(b"written elsewhere", height=2), unseen=True)
        await ada.outward.scan(path("d/00"))
        assert await ada.books.read(lambda view: view.is_held(path("d/00")))
        assert path("d/00") not in await ada.books.read(lambda view: view.pending(path(""), 10))
        await ada.holds.allow(number)
        living = [each for each in (await ada.siblings("d/00")).values() if each.living]
        assert living == [file_version(b"written elsewhere", height=2)]
        assert await ada.books.read(lambda view: view.pending(path(""), 10)) == ["d", "d/00"]

    run(tmp_path, scene)


def test_what_is_left_beside_a_hold_is_not_told_unasked(tmp_path: Path) -> None:
    """What is held is not there: most of the rest is most of what this disk has. A few of the rest may go."""

    async def scene(ada: Rooms) -> None:
        for number in range(COUNT - 2):
            ada.put(f"e/{number:02}", b"another %d" % number)
        await ada.scan()
        first = await lose(ada)
        for number in range(5):
            (ada.folder / f"e/{number:02}").unlink()
        await ada.scan()
        assert [each["id"] for each in await ada.holds.listed()] == [first]
        assert await living(ada) == 2 * COUNT - 7
        shutil.rmtree(ada.folder / "e")
        await ada.scan()
        second = await ada.holds.listed()
        assert [each["paths"] for each in second] == [COUNT + 1, COUNT - 7 + 1]
        assert await living(ada) == 2 * COUNT - 7

    run(tmp_path, scene)


def test_a_moved_folder_is_not_held(tmp_path: Path) -> None:
    """What is there under another name is not lost."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "d").rename(ada.folder / "e")
        await ada.scan()
        assert await ada.holds.listed() == []
        assert await living(ada) == COUNT
        assert (await ada.books.read(lambda view: view.totals())).folders == 1

    run(tmp_path, scene)


def test_what_replaces_a_folder_is_told_with_what_was_in_it(tmp_path: Path) -> None:
    """Until the deletions are judged, the new file is not told either: it would lose to the folder that they imply."""

    async def scene(ada: Rooms) -> None:
        ada.put("e/deep/f", b"deep")
        ada.put("e/g", b"in it")
        await ada.scan()
        shutil.rmtree(ada.folder / "e")
        ada.put("e", b"a file now")
        before = dict(ada.books.context)
        judge = ada.holds.judge
        judged = []

        async def look_first() -> None:
            judged.append(dict(ada.books.context) == before)
            await judge()

        ada.holds.judge = look_first  # type: ignore[method-assign]
        await ada.scan()
        assert judged == [True], "nothing was told before the judgement"
        assert [each.kind for each in await ada.living("e")] == [Kind.FILE]
        for name in ("e/deep/f", "e/deep", "e/g"):
            assert await ada.living(name) == []
        assert await ada.holds.listed() == []

    run(tmp_path, scene)
