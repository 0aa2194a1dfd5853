"""Greetings cross; whoever says something else first, or goodbye, gets no link; farewells wait for nobody for long."""

import asyncio

import pytest
from node_rooms import LINKED, node_id, tube

from meerkat.model.frame import Bye, Hello, LinkFrame, LinkLost, Ping
from meerkat.model.ids import PoolId
from meerkat.node import greeting as greeting_room
from meerkat.node.greeting import greet, refused_for, say_farewell, send


def hello(name: str) -> Hello:
    return Hello(PoolId("p" * 32), node_id(name), b"r" * 16, 1, 1, (), {}, {}, b"", b"", "test")


def test_both_greet_at_once() -> None:
    """Neither waits for the other to begin."""

    async def play() -> None:
        mine, theirs = tube(LINKED)
        met = await asyncio.gather(greet(mine, hello("ada")), greet(theirs, hello("bob")))
        assert [each.node for each in met] == [node_id("bob"), node_id("ada")]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("frame", "why"),
    [(Bye("down", "it stops"), "it stops"), (Bye("refused"), "refused"), (Ping(1), "greet first")],
    ids=["reason", "bare", "ping"],
)
def test_whoever_does_not_greet_is_no_link(frame: LinkFrame, why: str) -> None:
    """The reason is the other side's own, where it gives one."""

    async def play() -> None:
        mine, theirs = tube(LINKED)
        await theirs.send(frame)
        with pytest.raises(LinkLost, match=why):
            await greet(mine, hello("ada"))

    asyncio.run(play())


def test_last_words_need_nobody_to_hear_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a lost link nothing is said; who does not read is not waited for."""
    monkeypatch.setattr(greeting_room, "PIPE_DRAIN_S", 0.01)

    async def play() -> None:
        mine, theirs = tube(LINKED, 1)
        await send(mine, Ping(1))
        await say_farewell(mine, refused_for("it lied"))
        assert await theirs.next() == Ping(1)
        await say_farewell(mine, refused_for("it lied"))
        assert await theirs.next() == Bye("refused", "you broke the rules: it lied")
        mine.cut()
        await send(mine, Ping(2))

    asyncio.run(play())
