"""What a node says of its own progress: the truth, when it is news, and nothing else."""

import asyncio
from pathlib import Path

import pytest
from node_rooms import Rooms, author_of, file_version, tombstone, until

from meerkat.model.limits import REASONS_TOLD_MAX, RUN_MAX
from meerkat.model.member import NodeState, Summary
from meerkat.model.problem import Problem, Reason
from meerkat.node import progress as progress_room
from meerkat.node.gossip import Gossip
from meerkat.node.progress import Progress


class Measured:
    """Progress over rooms, and everything that it has said."""

    def __init__(self, rooms: Rooms) -> None:
        self.said: list[Summary] = []
        self.pulling = False
        self.gossip = Gossip(rooms.node, rooms.books, lambda summary: None)
        self.progress = Progress(rooms.node, 7, rooms.books, rooms.hub, self.gossip, lambda: self.pulling)

    async def measure(self, *, beat: bool = False) -> list[Summary]:
        """What is said because of a measurement."""
        before = self.gossip.latest.get(self.progress._self_id)
        await self.progress.measure(beat=beat)
        after = self.gossip.latest[self.progress._self_id]
        return [] if after is before else [after]


def test_it_is_told_how_far_this_node_is(tmp_path: Path) -> None:
    """State, what is missing, what is certainly here and what was heard of."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            ada.put("a", b"a")
            await ada.scan()
            measured = Measured(ada)
            (said,) = await measured.measure()
            assert (said.node, said.run, said.counter, said.state) == (ada.node, 7, 1, NodeState.UP_TO_DATE)
            assert said.complete == said.context == {ada.author: 1}
            await ada.told("b", file_version(b"123"))
            (said,) = await measured.measure()
            assert (said.counter, said.state, said.behind_files, said.behind_bytes) == (2, NodeState.SYNCING, 1, 3)
            assert said.context == {ada.author: 1, author_of("zoe"): 1}
            assert said.complete.get(author_of("zoe"), 0) == 0

    asyncio.run(play())


def test_nothing_new_is_nothing_said(tmp_path: Path) -> None:
    """Measured again without a change, nobody hears of it; a beat is said all the same."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            measured = Measured(ada)
            assert len(await measured.measure()) == 1
            assert await measured.measure() == []
            await ada.books.write(lambda tx: None)
            assert await measured.measure() == []
            (said,) = await measured.measure(beat=True)
            assert said.counter == 2

    asyncio.run(play())


def test_what_is_announced_and_not_here_counts_as_syncing(tmp_path: Path) -> None:
    """Also while the index is being recovered; work that leaves no trace does not count."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            measured = Measured(ada)
            measured.pulling = True
            (said,) = await measured.measure()
            assert said.state is NodeState.SYNCING
            measured.pulling = False
            ada.outward.scanning = True
            (said,) = await measured.measure()
            assert said.state is NodeState.UP_TO_DATE
            await ada.books.write(lambda tx: tx.put_meta("recovering", b"lost"))
            (said,) = await measured.measure()
            assert said.state is NodeState.SYNCING

    asyncio.run(play())


def test_what_needs_a_person_is_told_with_its_reasons(tmp_path: Path) -> None:
    """Blocked, and why, for the first few paths; what another member can cure is told, and does not block."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            measured = Measured(ada)
            ada.hub.trouble(Problem("z", Reason.NO_SOURCE_ONLINE, "nobody has it"), inward=True)
            (said,) = await measured.measure()
            assert said.state is NodeState.UP_TO_DATE
            assert said.reasons == (("z", "no_source_online", "nobody has it"),)
            for number in range(40):
                ada.hub.trouble(Problem(f"{number}", Reason.DISK_FULL, "no room"), inward=True)
            (said,) = await measured.measure()
            assert said.state is NodeState.BLOCKED
            assert said.reasons[0] == ("0", "disk_full", "no room")
            assert len(said.reasons) == REASONS_TOLD_MAX

    asyncio.run(play())


def test_the_faces_hear_of_each_change_of_state(tmp_path: Path) -> None:
    """Once for each change, not for each measurement."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            measured = Measured(ada)
            for pulling in (False, False, True, True, False):
                measured.pulling = pulling
                await measured.measure()
            states = [event["state"] for event in ada.events("pool.state")]
            assert states == ["up_to_date", "syncing", "up_to_date"]

    asyncio.run(play())


def test_conflicts_that_come_and_go_are_told(tmp_path: Path) -> None:
    """Whoever made the copy or removed it; those that were there at the start are no news."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            await ada.told("old.conflict-00000000.txt", file_version(b"old"))
            measured = Measured(ada)
            await measured.measure()
            assert ada.events("conflict.opened") == []
            await ada.told("f/a.conflict-0a1b2c3d.txt", file_version(b"x"))
            await measured.measure()
            assert ada.events("conflict.opened") == [{"path": "f/a.txt", "copy": "f/a.conflict-0a1b2c3d.txt"}]
            await ada.told("f/a.conflict-0a1b2c3d.txt", tombstone(2))
            await measured.measure()
            assert ada.events("conflict.resolved") == [{"path": "f/a.txt", "copy": "f/a.conflict-0a1b2c3d.txt"}]

    asyncio.run(play())


def test_it_measures_when_something_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A touch is enough, whoever waits is woken, and without one it still beats from time to time."""
    monkeypatch.setattr(progress_room, "SUMMARY_BEAT_S", 0.05)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            measured = Measured(ada)
            ada.tasks.spawn("progress", measured.progress.run())
            woken = measured.progress.subscribe()
            measured.progress.touch()
            await until("woken", woken.is_set)
            await until("beats", lambda: measured.gossip.latest[ada.node].counter >= 3)
            measured.progress.unsubscribe(woken)
            measured.progress.unsubscribe(woken)
            other = measured.progress.subscribe()
            measured.progress.others_changed()
            assert other.is_set()

    asyncio.run(play())


def test_an_outbid_run_is_left_behind(tmp_path: Path) -> None:
    """It speaks with a later run at once; nobody can drive it beyond what members take in."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            measured = Measured(ada)
            await measured.measure()
            measured.progress.outbid(40)
            (said,) = await measured.measure()
            assert said.run == 41
            measured.progress.outbid(3)
            measured.progress.outbid((1 << 64) - 1)
            (said,) = await measured.measure()
            assert said.run == RUN_MAX < 1 << 64

    asyncio.run(play())
