"""Watching over links: the whole pool knows who is within reach, and a silent node is noticed by all who had a link."""

import asyncio
from collections.abc import Set

import pytest
from node_rooms import LINKED, Tube, node_id, tube, until

from meerkat.core import liveness as liveness_room
from meerkat.model.frame import LinkFrame, LinkLost, Neighbours, Ping, Pong
from meerkat.model.ids import NodeId
from meerkat.node.tasks import Tasks
from meerkat.node.vigil import Vigil


class Town:
    """Vigils joined by streams in memory."""

    def __init__(self, *names: str) -> None:
        self.tasks = Tasks()
        self.frozen: set[str] = set()
        self.silent: set[tuple[str, str]] = set()
        self.told: list[tuple[str, str, str]] = []
        self.ends: dict[tuple[str, str], Tube[LinkFrame]] = {}
        self.names = {node_id(name): name for name in names}
        self.vigils: dict[str, Vigil] = {}
        for name in names:
            self.start(name, 5)

    def start(self, name: str, run: int) -> None:
        def changed(came: Set[NodeId], went: Set[NodeId]) -> None:
            self.told.extend((name, "sees", self.names[node]) for node in came)
            self.told.extend((name, "misses", self.names[node]) for node in went)

        def silent(node: NodeId) -> None:
            self.silent.add((name, self.names[node]))

        self.vigils[name] = Vigil(node_id(name), run, self.tasks, silent, changed)
        self.vigils[name].members(set(self.names))
        self.tasks.spawn(f"{name} asks", self.vigils[name].run())

    def link(self, one: str, other: str) -> None:
        for here, there, end in zip((one, other), (other, one), tube(LINKED), strict=True):
            self.ends[here, there] = end
            self.tasks.spawn(f"{here} tells {there}", self.vigils[here].attend(node_id(there), end))
            self.tasks.spawn(f"{here} hears {there}", self._hear(here, there, end))

    async def _hear(self, here: str, there: str, end: Tube[LinkFrame]) -> None:
        vigil = self.vigils[here]
        try:
            while True:
                frame = await end.next()
                if here in self.frozen:
                    continue
                vigil.heard(node_id(there))
                match frame:
                    case Ping(number):
                        await end.send(Pong(number))
                    case Pong(number):
                        vigil.answered(node_id(there), number)
                    case Neighbours():
                        vigil.take(node_id(there), frame)
        except LinkLost:
            vigil.closed(node_id(there))

    def cut(self, one: str, other: str) -> None:
        self.ends[one, other].cut()

    def sees(self, name: str) -> str:
        """Whom a node sees, in order."""
        return " ".join(sorted(self.names[node] for node in self.vigils[name].within))

    async def all_see(self, **expected: str) -> None:
        for name, others in expected.items():
            await until(f"{name} sees {others}", lambda name=name, others=others: self.sees(name) == others)  # type: ignore[misc]


def test_everybody_knows_who_is_within_reach() -> None:
    """In a chain of links all see all; when it breaks in the middle, each half sees its own at once."""

    async def play() -> None:
        town = Town("a", "b", "c", "d")
        for pair in ("ab", "bc", "cd"):
            town.link(*pair)
        await town.all_see(a="b c d", b="a c d", c="a b d", d="a b c")
        town.cut("b", "c")
        await town.all_see(a="b", b="a", c="d", d="c")
        assert {("a", "misses", "c"), ("a", "misses", "d")} <= set(town.told)
        assert ("a", "misses", "b") not in town.told
        town.link("a", "d")
        await town.all_see(a="b c d", b="a c d", c="a b d", d="a b c")
        await town.tasks.stop()

    asyncio.run(play())


def test_a_full_mesh_passes_nothing_on() -> None:
    """Where everybody is linked with everybody, each hears of each from itself and from nobody else."""

    async def play() -> None:
        town = Town("a", "b", "c", "d")
        for pair in ("ab", "ac", "ad", "bc", "bd", "cd"):
            town.link(*pair)
        await town.all_see(a="b c d", b="a c d", c="a b d", d="a b c")
        await until("the last words were said", lambda: _said(town) and not _owed(town))
        before = {way: len(end.sent) for way, end in town.ends.items()}
        for other in "bcd":
            town.cut("a", other)
        await town.all_see(b="c d", c="b d", d="b c")
        await until("the last words were said", lambda: not _owed(town))
        for (here, _), end in town.ends.items():
            words = [frame for frame in end.sent[before[here, _] :] if isinstance(frame, Neighbours)]
            assert all(word.node in (node_id(here), node_id("a")) for word in words)
        await town.tasks.stop()

    asyncio.run(play())


def _said(town: Town) -> bool:
    return all(len([frame for frame in end.sent if isinstance(frame, Neighbours)]) > 0 for end in town.ends.values())


def _owed(town: Town) -> bool:
    return any(watched.due.is_set() for vigil in town.vigils.values() for watched in vigil._watched.values())


def test_a_silent_node_is_noticed_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has been heard of long ago by one and just now by another: the first doubt makes all ask, and all
    who were linked with it close their links; it itself accuses nobody who is there."""
    monkeypatch.setattr(liveness_room, "PING_EVERY_S", 0.02)
    monkeypatch.setattr(liveness_room, "PING_QUIET_S", 0.05)
    monkeypatch.setattr(liveness_room, "ANSWER_DOUBTED_S", 0.05)
    monkeypatch.setattr(liveness_room, "ANSWER_TIMEOUT_S", 0.4)

    async def play() -> None:
        town = Town("a", "b", "c", "d")
        for pair in ("ab", "ac", "ad", "bc", "bd", "cd"):
            town.link(*pair)
        await town.all_see(a="b c d", b="a c d", c="a b d", d="a b c")
        town.frozen.add("d")
        await until("all have noticed", lambda: {("a", "d"), ("b", "d"), ("c", "d")} <= town.silent)
        await town.all_see(a="b c", b="a c", c="a b")
        for name in "abc":
            for other in set("abc") - {name}:
                assert (name, "misses", other) not in town.told
        await town.tasks.stop()

    asyncio.run(play())


def test_a_node_whose_clock_was_set_back_is_believed_soon() -> None:
    """It starts again with an earlier run than others remember of it: they tell it, and it goes beyond."""

    async def play() -> None:
        town = Town("a", "b", "c")
        town.link("a", "b")
        town.link("b", "c")
        await town.all_see(a="b c", c="a b")
        town.cut("b", "c")
        await town.all_see(a="b", c="")
        town.start("c", 2)
        town.link("b", "c")
        await town.all_see(a="b c", b="a c", c="a b")
        await town.tasks.stop()

    asyncio.run(play())
