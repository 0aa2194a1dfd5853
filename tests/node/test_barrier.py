"""The barrier: what was in the folder when it was called is where it was to be, or it says who lacks it, and why."""

import asyncio
from pathlib import Path

import pytest
from node_rooms import WITHIN_S, Rooms, author_of, file_version, node_id, path, until

from meerkat.model.dot import Author
from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import NodeId
from meerkat.model.member import NodeState, Summary
from meerkat.model.problem import Problem, Reason
from meerkat.node import barrier as barrier_room
from meerkat.node.barrier import Barrier, Waiting
from meerkat.node.gossip import Gossip
from meerkat.node.progress import Progress

BOB, CY = node_id("bob"), node_id("cy")


class Waited:
    """A barrier over rooms; what the others say is the test's doing."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.reachable = {BOB}
        self.told: list[list[Waiting]] = []
        self.counter = 0
        self.gossip = Gossip(rooms.node, rooms.books, lambda summary: self.progress.others_changed())
        self.progress = Progress(rooms.node, 1, rooms.books, rooms.hub, self.gossip, lambda: False)
        self.barrier = Barrier(
            rooms.node,
            rooms.books,
            self.gossip,
            rooms.outward,
            self.progress,
            rooms.hub,
            lambda: self.reachable,
            lambda: {rooms.node, BOB, CY},
        )
        rooms.books.recovered.set()

    async def wait(self, *paths: str, timeout_s: float = WITHIN_S, whom: set[NodeId] | None = None) -> bool:
        done, self.last = await self.barrier.wait(
            lambda: self.reachable if whom is None else whom,
            [path(each) for each in paths],
            timeout_s,
            self.told.append,
        )
        return done

    def waiting(self, *paths: str, whom: set[NodeId] | None = None) -> "asyncio.Task[bool]":
        return self.rooms.tasks.spawn("wait", self.wait(*paths, whom=whom))

    def says(
        self,
        node: NodeId,
        complete: dict[Author, int],
        context: dict[Author, int] | None = None,
        state: NodeState = NodeState.UP_TO_DATE,
        *reasons: tuple[str, str, str],
    ) -> None:
        """The node tells the pool how far it is."""
        self.counter += 1
        known = complete if context is None else context
        self.gossip.heard_summary(node, Summary(node, 1, self.counter, state, 0, 0, complete, known, reasons))


def test_it_ends_when_the_others_have_everything(tmp_path: Path) -> None:
    """What was written just before the call is found by its own scan and waited for, too."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            waited.says(BOB, {})
            ada.put("a", b"a")
            work = waited.waiting()
            await until("bob is waited for", lambda: [Waiting(BOB, "syncing")] in waited.told)
            waited.says(BOB, {author_of("else"): 9})
            ada.put("b", b"written after the call")
            await ada.scan()
            waited.says(BOB, {ada.author: 1})
            assert await asyncio.wait_for(work, WITHIN_S), "what came after the call is not waited for"
            assert waited.told[-1] == []

    asyncio.run(play())


def test_what_others_had_announced_must_be_here(tmp_path: Path) -> None:
    """It works both ways: this node has what the reachable ones had when it was called."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            waited.says(BOB, {author_of("zoe"): 1})
            work = waited.waiting()
            await until("this node is waited for", lambda: [Waiting(ada.node, "syncing")] in waited.told)
            await ada.told("a", file_version(b""))
            await waited.progress.measure()
            assert not work.done(), "announced is not here yet"
            await ada.placer.small(await ada.jobs())
            await waited.progress.measure()
            assert await asyncio.wait_for(work, WITHIN_S)

    asyncio.run(play())


def test_one_path_needs_only_itself(tmp_path: Path) -> None:
    """Named paths wait for their own writes, at or below them, whatever else is missing."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            ada.put("f/a", b"a")
            await ada.scan()
            ada.put("other", b"o")
            await ada.scan()
            waited.says(BOB, {ada.author: 2}, {ada.author: 2, author_of("zoe"): 5})
            assert await waited.wait("f")
            assert await waited.wait("f/a")
            work = waited.waiting("other")
            await until("bob is waited for", lambda: [Waiting(BOB, "syncing")] in waited.told)
            waited.says(BOB, {ada.author: 3})
            assert await asyncio.wait_for(work, WITHIN_S)

    asyncio.run(play())


def test_a_path_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """A typing error is not answered with "done"; what was deleted can be waited for."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            with pytest.raises(Fault) as missing:
                await waited.wait("nowhere")
            assert (missing.value.code, missing.value.exit_code) == ("not_found", Exit.NOT_FOUND)
            ada.put("a", b"a")
            await ada.scan()
            (ada.folder / "a").unlink()
            work = waited.waiting("a")
            await until("bob is waited for", lambda: [Waiting(BOB, "syncing")] in waited.told)
            waited.says(BOB, {ada.author: 2})
            assert await asyncio.wait_for(work, WITHIN_S)

    asyncio.run(play())


def test_time_runs_out_with_the_names_of_who_lacks_it(tmp_path: Path) -> None:
    """Who is away is said to be offline, who is there to be syncing."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            ada.put("a", b"a")
            assert not await waited.wait(timeout_s=0.3, whom={ada.node, BOB, CY})
            assert {(each.node, each.reason) for each in waited.last} == {(BOB, "syncing"), (CY, "offline")}

    asyncio.run(play())


def test_who_is_away_and_had_it_is_not_waited_for(tmp_path: Path) -> None:
    """What a node has on its disk it still has when it is off."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            ada.put("a", b"a")
            await ada.scan()
            waited.says(CY, {ada.author: 1})
            assert await waited.wait(whom={CY})

    asyncio.run(play())


def test_reachable_nodes_come_and_go(tmp_path: Path) -> None:
    """Who is waited for is asked each time: the last one that lacked something went away."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            ada.put("a", b"a")
            work = waited.waiting()
            await until("bob is waited for", lambda: [Waiting(BOB, "syncing")] in waited.told)
            waited.reachable.clear()
            waited.progress.others_changed()
            assert await asyncio.wait_for(work, WITHIN_S)

    asyncio.run(play())


def test_a_node_that_needs_a_person_ends_it_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocked is told with the reason, well before the time is over; here as there."""
    monkeypatch.setattr(barrier_room, "BLOCKED_PATIENCE_S", 0.0)

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            ada.put("a", b"a")
            waited.says(BOB, {}, {}, NodeState.BLOCKED, ("a", "disk_full", "no room"))
            assert not await waited.wait(timeout_s=1e6)
            assert waited.last == [Waiting(BOB, "disk_full")]
            waited.says(BOB, {ada.author: 1}, {ada.author: 1, author_of("zoe"): 1})
            ada.hub.trouble(Problem("b", Reason.PERMISSION, "not allowed"), inward=True)
            assert not await waited.wait(timeout_s=1e6)
            assert waited.last == [Waiting(ada.node, "permission")]

    asyncio.run(play())


def test_nothing_is_promised_before_the_index_is_sound(tmp_path: Path) -> None:
    """While it is recovered nothing that is on the disk was told, so time runs out."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada:
            waited = Waited(ada)
            ada.books.recovered.clear()
            waited.says(BOB, {})
            assert not await waited.wait(timeout_s=0.1)
            assert waited.last == [Waiting(ada.node, "scanning")]

    asyncio.run(play())
