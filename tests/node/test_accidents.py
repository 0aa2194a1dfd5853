"""Joins and rosters on bad days: whoever dies in between, and whatever was done on both sides of a partition, there is
one member for each node, everybody agrees who they are, and people are told what they have to know."""

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import WITHIN_S, eventually, until

from meerkat.core.roster import InviteState
from meerkat.model.fault import Exit, Fault
from meerkat.model.frame import JoinAnswer, JoinAsk
from meerkat.model.ids import NodeId
from meerkat.model.limits import JOIN_TIMEOUT_S
from meerkat.node import join as join_room
from meerkat.node import registry as registry_room
from meerkat.node.home import Home
from meerkat.node.registry import keep_roster
from meerkat.wire.identity import Identity
from meerkat.wire.invite import decode_invite, encode_invite
from meerkat.wire.joining import JoinRefused, join


def members(running: Running) -> dict[str, NodeId]:
    """Names and ids; a name that two have shows up as fewer entries than members."""
    found = running.node.registry.members()
    assert len({member.name for member in found.values()}) == len(found)
    return {member.name: node for node, member in found.items()}


async def agreed(nodes: NodePool, *names: str) -> None:
    """Wait until all that run have exactly these members and are linked with each other."""
    await nodes.linked()
    await until("all know all", lambda: all(members(each).keys() == set(names) for each in nodes.live))
    assert len({tuple(sorted(members(each).items())) for each in nodes.live}) == 1


async def learnt(*nodes: Running) -> None:
    """Wait until these hold what the pool holds: a node that is stopped before that waits for the others at first."""
    async with asyncio.timeout(WITHIN_S):
        for each in nodes:
            await each.node.books.recovered.wait()


def events(running: Running, kind: str) -> list[dict[str, Any]]:
    found = []
    for event in running.node.hub.recent(10_000):
        data = event["data"]
        if event["type"] == kind and isinstance(data, dict):
            found.append(data)
    return found


# ---- the sponsor dies

STEPS = ("asked", "proved", "heard", "kept", "half told", "told")


def die_at(step: str, nodes: NodePool, sponsor: Running) -> None:
    """Let a sponsor end without a word at this step of the next join."""
    admit = sponsor.node.registry.admit
    once = iter([True])

    async def end() -> None:
        if next(once, False):
            sponsor.crashing = asyncio.ensure_future(nodes.crash(sponsor))  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async def dying(ask: JoinAsk, invite: InviteState, files: int, size: int) -> AsyncGenerator[JoinAnswer, None]:
        second = ask.admission is not None
        if step == ("heard" if second else "asked"):
            await end()
        told = itertools.count(1)
        async for answer in admit(ask, invite, files, size):
            if second and step == "kept":
                await end()
            yield answer
            if (second and step == "half told" and next(told) == 1) or (not second and step == "proved"):
                await end()
        if second and step == "told":
            await end()

    sponsor.node.registry.admit = dying  # type: ignore[method-assign]


@pytest.mark.parametrize("step", STEPS)
def test_a_sponsor_that_dies_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The newcomer tries again through another member, which has never heard of it: one node, one member, also when
    the sponsor comes back and remembers."""
    monkeypatch.setattr(registry_room, "CONTROL_PART_BYTES_MAX", 600)  # an answer in many parts
    monkeypatch.setattr(join_room, "JOIN_TIMEOUT_S", 5.0)

    async def play() -> None:
        async with pool(tmp_path, bugs_expected=True) as nodes:
            ada = await nodes.found("ada")
            cy = await nodes.join("cy", ada)
            code = await ada.invite()
            await until("cy knows the invite", lambda: len(cy.node.registry.invites()) == 2)
            await learnt(cy)
            await nodes.stop(cy)
            die_at(step, nodes, ada)
            bob = nodes.folder("bob")
            if step == "told":
                await nodes.start(bob, invite=code)
            else:
                with pytest.raises(Fault) as fault:
                    await nodes.start(bob, invite=code)
                assert fault.value.exit_code == Exit.UNREACHABLE
            await until("ada is gone", lambda: ada.engine is None)
            identity = Identity.load(bob.folder / ".meerkat" / "identity") if step in STEPS[2:] else None
            await nodes.start(cy)
            if step != "told":  # else bob is up, and shows its invite to cy by itself
                await nodes.start(bob, invite=code, via=cy.address)
            await until("cy has taken bob", lambda: bob.id in cy.linked())
            assert identity is None or identity.node == bob.id
            await nodes.start(ada)
            await agreed(nodes, "ada", "bob", "cy")
            assert await ada.ask("invite_list") == []
            await until("no invite is kept", lambda: not (bob.folder / ".meerkat" / "identity" / "invite").exists())

    asyncio.run(play())


def test_a_sponsor_that_is_gone_for_good(tmp_path: Path) -> None:
    """It dies when the newcomer has everything and nobody else has heard of it: the others take the newcomer in by its
    invite, without anybody's doing."""

    async def play() -> None:
        async with pool(tmp_path, bugs_expected=True) as nodes:
            ada = await nodes.found("ada")
            cy, dan = await nodes.join("cy", ada), await nodes.join("dan", ada)
            await nodes.linked()
            code = await ada.invite()
            for each in (cy, dan):
                await until("the invite is known", lambda each=each: len(each.node.registry.invites()) == 3)  # type: ignore[misc]
            await learnt(cy, dan)
            for each in (cy, dan):
                await nodes.stop(each)
            die_at("told", nodes, ada)
            bob = nodes.folder("bob")
            await nodes.start(bob, invite=code)
            await until("ada is gone", lambda: ada.engine is None)
            bob.put("of bob", b"bob")
            for each in (cy, dan):
                await nodes.start(each)
            await until("all know bob", lambda: all(bob.id in each.linked() for each in (cy, dan)))
            await until("they have its file", lambda: all(each.read("of bob") == b"bob" for each in (cy, dan)))

    asyncio.run(play())


# ---- the newcomer dies


@pytest.mark.parametrize("step", ["before it is told", "roster kept", "invite kept"])
def test_a_newcomer_that_dies_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Started again with the same code, which was for one use, it is the same node, and a member once."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            code = await ada.invite()
            bob = nodes.folder("bob")
            save = Home.save

            async def keep_and_die(*args: Any) -> None:
                if step != "before it is told":
                    await keep_roster(*args)
                raise PowerCut

            def die(home: Home) -> None:
                if home.folder == bob.folder:
                    raise PowerCut
                save(home)

            with monkeypatch.context() as patched:
                if step == "invite kept":
                    patched.setattr(Home, "save", die)
                else:
                    patched.setattr(join_room, "keep_roster", keep_and_die)
                with pytest.raises(PowerCut):
                    await nodes.start(bob, invite=code)
            assert len(members(ada)) == 2
            await nodes.start(bob, invite=code)
            await agreed(nodes, "ada", "bob")

    asyncio.run(play())


class PowerCut(Exception):
    """Nothing more is done."""


# ---- both sides of a partition


def test_one_invite_on_both_sides_of_a_partition(tmp_path: Path) -> None:
    """An invite for one use has admitted bob on one side and dan on the other. When the sides meet, all agree which one
    stays, and show the other one in the roster, the invites and the events. What it wrote stays."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            cy = await nodes.join("cy", ada)
            code = await ada.invite()
            await until("cy knows the invite", lambda: len(cy.node.registry.invites()) == 2)
            await learnt(cy)
            await nodes.stop(cy)
            bob, dan = nodes.folder("bob"), nodes.folder("dan")
            await nodes.start(bob, invite=code)
            await learnt(bob)
            for each in (bob, ada):
                await nodes.stop(each)
            await nodes.start(cy)
            await nodes.start(dan, invite=code, via=cy.address)
            dan.put("of dan", b"dan")
            await until("cy has it", lambda: cy.read("of dan") == b"dan")
            await nodes.stop(dan)
            await nodes.start(ada)
            await until("they agree", lambda: all(len(each.node.registry.suspended()) == 1 for each in (ada, cy)))
            out, kept = (bob, dan) if "dan" in members(ada) else (dan, bob)
            await nodes.start(kept)
            await agreed(nodes, "ada", "cy", kept.name)
            for each in (ada, cy):
                (row,) = [row for row in await each.ask("nodes") if row["name"] == out.name]
                assert (row["state"], row["node"]) == ("blocked", out.id)
                assert "for one node" in row["cause"]
                (invite,) = await each.ask("invite_list")
                assert (invite["used"], invite["uses"], invite["suspended"]) == (1, 1, [out.name])
                (event,) = events(each, "node.blocked")
                assert event["name"] == out.name
            await until("what it wrote stays", lambda: ada.read("of dan") == b"dan")

    asyncio.run(play())


def test_an_invite_for_several_on_both_sides_of_a_partition(tmp_path: Path) -> None:
    """Nobody is sent away, and people are told that there are more than was meant."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            cy = await nodes.join("cy", ada)
            code = await ada.invite(uses=2)
            await until("cy knows the invite", lambda: len(cy.node.registry.invites()) == 2)
            await learnt(cy)
            await nodes.stop(cy)
            early = [nodes.folder(name) for name in ("b1", "b2")]
            for each in early:
                await nodes.start(each, invite=code)
            await learnt(*early)
            for each in (*early, ada):
                await nodes.stop(each)
            await nodes.start(cy)
            late = nodes.folder("b3")
            await nodes.start(late, invite=code, via=cy.address)
            for each in (ada, *early):
                await nodes.start(each)
            await agreed(nodes, "ada", "cy", "b1", "b2", "b3")
            (invite,) = await ada.ask("invite_list")
            assert (invite["used"], invite["uses"], invite["uses_left"], invite["suspended"]) == (3, 2, 0, [])
            assert any("which is for 2" in str(event.get("cause")) for event in events(ada, "pool.state"))
            assert {event["name"] for event in events(ada, "node.joined")} >= {"b3"}

    asyncio.run(play())


# ---- who is out, and who was never in


def test_a_removed_member_that_returns_is_told(tmp_path: Path) -> None:
    """It was away when it was taken off, so nobody can tell it: but those who had it refuse it now, and its own faces
    say what that means and what to do. It keeps its files, writes nothing into the pool, and goes on trying."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cy = await nodes.join("bob", ada), await nodes.join("cy", ada)
            await nodes.linked()
            ada.put("before", b"before")
            await until("bob has it", lambda: bob.read("before") == b"before")
            await nodes.stop(bob)
            await ada.ask("nodes_remove", node="bob")
            await until("cy has heard", lambda: members(cy).keys() == {"ada", "cy"})
            await until("cy tells it", lambda: [event["name"] for event in events(cy, "node.left")] == ["bob"])
            await nodes.start(bob)
            bob.put("after", b"after")

            async def refused() -> bool:
                status = await bob.ask("status")
                return bool(status["refused_by"] == ["ada", "cy"] and status["state"] == "attention")

            await eventually("bob knows that it is refused", refused)
            assert any("taken off the pool" in str(event["cause"]) for event in events(bob, "node.blocked"))
            rows = {row["name"]: row for row in await bob.ask("nodes")}
            assert "refused our certificate" in rows["ada"]["cause"]
            assert bob.read("before") == b"before"
            assert ada.read("after") is None

    asyncio.run(play())


def test_two_pools_pointed_at_each_other(tmp_path: Path) -> None:
    """Each pool's node is started where the other pool's was: neither takes the other's in, nor believes that it was
    taken off; back in their places, all is as before."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, zoe = await nodes.found("ada"), await nodes.found("zoe")
            bob, yan = await nodes.join("bob", ada), await nodes.join("yan", zoe)
            await nodes.linked(ada, bob)
            await nodes.linked(zoe, yan)
            places = {each.name: each.address for each in (bob, yan)}
            for each in (bob, yan):
                await nodes.stop(each)
            await nodes.start(bob, listen=places["yan"])
            await nodes.start(yan, listen=places["bob"])
            await nodes.linked(ada, bob)
            await nodes.linked(zoe, yan)
            for one, other in ((ada, bob), (zoe, yan)):
                assert members(one).keys() == members(other).keys() == {one.name, other.name}
                assert (await one.ask("status"))["refused_by"] == []
                one.put("mine", one.name.encode())
                await until("it arrives", lambda one=one, other=other: other.read("mine") == one.name.encode())  # type: ignore[misc]
            invite = decode_invite(await ada.invite())
            mixed = encode_invite(invite.pool, invite.secret, [zoe.address, yan.address])
            with pytest.raises(Fault) as fault:
                await nodes.start(nodes.folder("eve"), invite=mixed)
            assert (fault.value.code, fault.value.exit_code) == ("invite_unknown", Exit.NOT_ALLOWED)

    asyncio.run(play())


def test_somebody_in_between_does_not_stop_a_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has an address of the code by now, and cannot prove that it knows the invite, is passed over."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, zoe = await nodes.found("ada"), await nodes.found("zoe")
            invite = decode_invite(await ada.invite())
            code = encode_invite(invite.pool, invite.secret, [zoe.address, ada.address])
            asked: list[str] = []

            async def pretending(address: str, *args: Any) -> object:
                asked.append(address)
                if address == zoe.address:
                    raise JoinRefused("not_proven", "somebody is in between")
                return await join(address, *args)

            monkeypatch.setattr(join_room, "join", pretending)
            await nodes.start(nodes.folder("bob"), invite=code)
            assert asked == [zoe.address, ada.address]
            await until("ada knows bob", lambda: members(ada).keys() == {"ada", "bob"})

    asyncio.run(play())


# ---- many at once


def test_thirty_two_joins_at_once(tmp_path: Path) -> None:
    """Thirty-two newcomers with one invite, through two sponsors at the same time: each is a member once, both sponsors
    agree at once, and the thirty-third is refused."""
    crowd = 32

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            invite = decode_invite(await ada.invite(uses=crowd))
            await until("bob knows the invite", lambda: len(bob.node.registry.invites()) == 2)
            newcomers = [Identity.create() for _ in range(crowd)]
            joined = await asyncio.gather(
                *(
                    join((ada, bob)[number % 2].address, invite, each, f"n{number}", [], JOIN_TIMEOUT_S)
                    for number, each in enumerate(newcomers)
                )
            )
            assert all(each.pool == invite.pool for each in joined)
            await until("both know all", lambda: all(len(members(each)) == crowd + 2 for each in (ada, bob)))
            assert members(ada) == members(bob)
            assert set(members(ada).values()) >= {each.node for each in newcomers}
            with pytest.raises(JoinRefused) as refused:
                await join(ada.address, invite, Identity.create(), "one too many", [], JOIN_TIMEOUT_S)
            assert refused.value.code == "invite_used"

    asyncio.run(play())


def test_two_at_once_for_the_last_use(tmp_path: Path) -> None:
    """Whoever was told that it is in stays in, whatever the ids of the operations: the other one is refused."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            for _ in range(6):
                invite = decode_invite(await ada.invite())
                pair = [Identity.create(), Identity.create()]
                ends = await asyncio.gather(
                    *(join(ada.address, invite, each, each.node[:8], [], JOIN_TIMEOUT_S) for each in pair),
                    return_exceptions=True,
                )
                (refused,) = [end for end in ends if isinstance(end, JoinRefused)]
                assert refused.code == "invite_used"
                told = [each.node for each, end in zip(pair, ends, strict=True) if not isinstance(end, Exception)]
                assert set(told) < set(members(ada).values())
            assert ada.node.registry.suspended() == {}
            assert os.listdir(ada.folder) == [".meerkat"]

    asyncio.run(play())
