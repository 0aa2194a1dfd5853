"""As a third that meets two nodes with one key, and as a node that is called a copy."""

import asyncio
from pathlib import Path

from node_pool import pool
from node_rooms import WITHIN_S, until
from spoken_links import dialled, farewell, greeted, hello, member_that_is_off

from meerkat.model.frame import Bye, Ping, Pong

LOW, HIGH = b"a" * 16, b"b" * 16


def test_a_run_that_comes_back_and_answers_shows_that_there_are_two(tmp_path: Path) -> None:
    """Two runs of bob greet ada in turn. The one that comes back is asked whether it lives; the greater run yields."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            identity = await member_that_is_off(nodes, ada)
            first = await greeted(ada, identity, hello(ada, identity.node, run=HIGH))
            await until("linked", lambda: identity.node in ada.linked())
            second = await greeted(ada, identity, hello(ada, identity.node, run=LOW))
            assert (await farewell(first)).why == "duplicate"
            back = await greeted(ada, identity, hello(ada, identity.node, run=HIGH))
            async with asyncio.timeout(WITHIN_S):
                async for frame in back.link.frames():
                    if isinstance(frame, Ping):
                        await back.link.send(Pong(frame.number))
                    if isinstance(frame, Bye):
                        assert frame.why == "cloned"
                        break
            assert ada.node.peers.linked()[identity.node].hello.run == LOW
            for each in (first, second, back):
                await each.close()

    asyncio.run(play())


def test_what_a_dead_run_said_late_condemns_nobody(tmp_path: Path) -> None:
    """A superseded run that does not answer any more is let go; the living one keeps its link and its name."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            identity = await member_that_is_off(nodes, ada)
            first = await greeted(ada, identity, hello(ada, identity.node, run=LOW))
            await until("linked", lambda: identity.node in ada.linked())
            second = await greeted(ada, identity, hello(ada, identity.node, run=HIGH))
            assert (await farewell(first)).why == "duplicate"
            late = await greeted(ada, identity, hello(ada, identity.node, run=LOW))
            await late.close()
            third = await greeted(ada, identity, hello(ada, identity.node, run=LOW))
            await third.close()
            assert ada.node.peers.linked()[identity.node].hello.run == HIGH
            for each in (first, second):
                await each.close()

    asyncio.run(play())


def test_who_only_claims_it_changes_nothing(tmp_path: Path) -> None:
    """A member that calls ada a copy and does not take her in: she stays who she is."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            identity = await member_that_is_off(nodes, ada)
            was = ada.id
            liar = await dialled(ada, identity)
            await liar.link.send(hello(ada, identity.node))
            await liar.link.send(Bye("cloned", "so I say"))
            await liar.link.send(Bye("admitted", "0" * 64))
            await liar.link.send(Bye("cloned", "so I say"))
            await until(
                "the link is gone", lambda: not ada.linked() and "so I say" in ada.node.peers.last_cause.values()
            )
            await liar.close()
            assert not ada.node.stopping.is_set()
            assert ada.id == was
            assert len(ada.node.registry.members()) == 2

    asyncio.run(play())
