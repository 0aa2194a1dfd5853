"""Probes over real links: asked and answered directly, passed on, bounded, and forgotten when nobody answers."""

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import node_id, until
from spoken_links import greeted, hello, member_that_is_off

from meerkat.model.frame import LinkFrame, Probe, Probed, Way
from meerkat.model.limits import PROBES_AT_ONCE_MAX
from meerkat.node import probing
from meerkat.node.ports import Pipe

NOWHERE = ("127.0.0.1:1",)
P = TypeVar("P", Probe, Probed)


async def three(nodes: NodePool) -> tuple[Running, Running, Running]:
    """Two nodes that nobody can dial, and one between them."""
    ada = await nodes.found("ada")
    bob, cy = [await nodes.join(name, ada, advertise=NOWHERE) for name in ("bob", "cy")]
    await nodes.linked(ada, bob)
    await nodes.linked(ada, cy)
    for one in (ada, bob, cy):
        for other in (ada, bob, cy):
            await until("it has told where it is", lambda one=one, other=other: one.node.registry.addresses(other.id))  # type: ignore[misc]
    return ada, bob, cy


def test_a_linked_member_says_whether_it_reaches_us(tmp_path: Path) -> None:
    """With each address that it has tried, what it thinks of us, and its clock."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob, _ = await three(nodes)
            said = await bob.node.peers.probing.ask(ada.id, bob.id)
            assert said is not None
            assert (said.standing, said.refused) == ("linked", "")
            assert [(way.address, way.code) for way in said.ways] == [(NOWHERE[0], "refused")]
            assert said.at_ms > 0
            other = await ada.node.peers.probing.ask(bob.id, ada.id)
            assert other is not None
            assert [(way.code, way.shown) for way in other.ways] == [("reached", ada.id)]

    asyncio.run(play())


def test_a_question_is_passed_on_to_a_member_that_is_not_linked(tmp_path: Path) -> None:
    """Bob and cy cannot dial each other; ada, between them, asks cy what bob wants to know."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob, cy = await three(nodes)
            said = await bob.node.peers.probing.ask(ada.id, bob.id, through=cy.id)
            assert said is not None
            assert (said.standing, [way.code for way in said.ways]) == ("member", ["refused"])
            await nodes.stop(cy)
            await until("cy is gone", lambda: cy.id not in ada.linked())
            said = await bob.node.peers.probing.ask(ada.id, bob.id, through=cy.id)
            assert said is not None
            assert "no answer from cy" in said.refused

    asyncio.run(play())


def test_what_a_node_is_to_the_one_asked(tmp_path: Path) -> None:
    """Itself, a member, one that was removed, or nobody."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob, cy = await three(nodes)
            await ada.ask("nodes_remove", node="cy")
            standings = []
            for target in (ada.id, bob.id, cy.id, node_id("a stranger")):
                said = await bob.node.peers.probing.ask(ada.id, target)
                assert said is not None
                standings.append(said.standing)
            assert standings == ["self", "linked", "removed", "unknown"]

    asyncio.run(play())


def test_who_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of an older version is not asked; one that keeps silent is given up; a late answer does no harm."""
    monkeypatch.setattr(probing, "PROBE_TIMEOUT_S", 0.05)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            connection = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked", lambda: bob.node in ada.linked())
            assert await ada.node.peers.probing.ask(bob.node, ada.id) is None
            ada.node.peers.linked()[bob.node].hello = hello(ada, bob.node, features=("probe",))
            assert await ada.node.peers.probing.ask(bob.node, ada.id) is None
            asked = await anext_of(connection.link, Probe)
            await connection.link.send(Probed(asked.number, standing="linked"))
            await connection.link.send(Probed(999))
            await connection.link.send(Probe(5, bob.node))
            answer = await anext_of(connection.link, Probed)
            assert (answer.number, answer.standing) == (5, "linked")
            await connection.close()

    asyncio.run(play())


def test_probes_are_answered_a_few_at_a_time(tmp_path: Path) -> None:
    """However many a member sends: what is beyond the bound is answered at once, with a refusal."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            connection = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked", lambda: bob.node in ada.linked())
            go_on = asyncio.Event()

            async def slow(address: object, member: object) -> object:
                await go_on.wait()
                return Way(str(address), "reached", "")

            room = ada.node.peers.probing
            room._network.look = slow  # type: ignore[method-assign,assignment]
            many = 3 * PROBES_AT_ONCE_MAX
            for number in range(many):
                await connection.link.send(Probe(number, bob.node))
            refused = [await anext_of(connection.link, Probed) for _ in range(many - PROBES_AT_ONCE_MAX)]
            assert all("busy" in each.refused for each in refused)
            go_on.set()
            answered = [await anext_of(connection.link, Probed) for _ in range(PROBES_AT_ONCE_MAX)]
            assert all(each.ways and not each.refused for each in answered)
            await connection.close()

    asyncio.run(play())


async def anext_of(pipe: Pipe[LinkFrame], kind: type[P]) -> P:
    """The next frame of that kind."""
    async for frame in pipe.frames():
        if isinstance(frame, kind):
            return frame
    raise AssertionError("the link ended")
