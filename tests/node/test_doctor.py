"""The doctor among whole nodes: what it finds where something is really wrong."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from node_pool import NodePool, Running, pool
from node_rooms import eventually, until

from meerkat.model.frame import Way
from meerkat.node.doctor import _worth_telling
from meerkat.wire.control import ControlFault

NOWHERE = ("127.0.0.1:1",)


async def found(one: Running, name: str) -> dict[str, Any]:
    """What a node's doctor says of a member, asked by name."""
    answer = await one.ask("doctor", node=name)
    (row,) = answer["members"]
    assert row["name"] == name
    return dict(row)


async def known_to_each_other(*nodes: Running) -> None:
    """Wait until each has heard of each, with where it is."""
    for one in nodes:
        for other in nodes:
            await until("it has told where it is", lambda one=one, other=other: one.node.registry.addresses(other.id))  # type: ignore[misc]


def check(answer: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [each for each in answer["checks"] if each["check"] == name]
    return dict(row)


def test_a_sound_pool_is_told_as_sound(tmp_path: Path) -> None:
    """Both ways are tried for each member; clocks are compared; whom nobody knows is not found."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await known_to_each_other(ada, bob)
            answer = await ada.ask("doctor")
            assert {each["state"] for each in answer["checks"]} <= {"ok", "warn"}
            assert "bob" in check(answer, "clock")["text"]
            assert check(answer, "inbound")["text"] == "bob can dial this node"
            (row,) = answer["members"]
            assert (row["state"], row["asked"]) == ("ok", "bob")
            assert [way["code"] for way in row["ways"] + row["back"]] == ["reached", "reached"]
            assert (await ada.ask("doctor", node="ada"))["members"] == []
            with pytest.raises(ControlFault) as unknown:
                await ada.ask("doctor", node="nobody")
            assert unknown.value.exit_code == 4

    asyncio.run(play())


async def hidden_pair(nodes: NodePool) -> tuple[Running, Running, Running]:
    ada = await nodes.found("ada")
    left, right = [await nodes.join(name, ada, advertise=NOWHERE) for name in ("left", "right")]
    await nodes.linked(ada, left)
    await nodes.linked(ada, right)
    await known_to_each_other(ada, left, right)
    return ada, left, right


def test_two_nodes_that_can_only_dial_out_are_in_sync_through_a_third(tmp_path: Path) -> None:
    """Neither can be dialled: what each writes reaches the other all the same, and the doctor says through whom, and
    what is in the way on both sides."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            _, left, right = await hidden_pair(nodes)
            left.put("from left", b"l" * 300_000)
            right.put("folder/from right", b"r")
            assert set(await nodes.settled()) == {"from left", "folder", "folder/from right"}
            (left.folder / "folder" / "from right").unlink()
            right.put("from left", b"edited")
            assert (await nodes.settled())["from left"][3] == b"edited"
            assert right.id not in left.linked()
            row = await found(left, "right")
            assert (row["state"], row["through"], row["asked"]) == ("warn", ["ada"], "ada")
            assert [way["code"] for way in row["ways"] + row["back"]] == ["refused", "refused"]
            assert "in sync through ada" in row["text"]
            answer = await left.ask("doctor")
            assert check(answer, "inbound")["state"] == "warn"
            assert "firewall" in check(answer, "inbound")["fix"]

    asyncio.run(play())


def test_who_was_stopped_and_who_was_killed_are_told_apart(tmp_path: Path) -> None:
    """A goodbye is no failure; a port at which nothing listens any more is one."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await known_to_each_other(ada, bob)
            await nodes.stop(bob)
            await until("gone", lambda: not ada.linked())
            assert (await found(ada, "bob"))["state"] == "off"
            await nodes.start(bob)
            await nodes.linked()
            await nodes.crash(bob)
            await until("gone", lambda: not ada.linked())
            row = await found(ada, "bob")
            assert row["state"] == "fail"
            assert "nothing listens there" in row["text"]
            assert "On bob: meerkat" in row["fix"]

    asyncio.run(play())


def test_a_port_that_another_took_is_told_with_who_it_is(tmp_path: Path) -> None:
    """Where bob listened, another node of the pool or another program answers now."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            cy = await nodes.join("cy", ada)
            await nodes.linked()
            await known_to_each_other(ada, bob, cy)
            address = bob.address
            await nodes.crash(bob)
            await nodes.stop(cy)
            await nodes.start(cy, listen=address)
            await nodes.linked(ada, cy)
            row = await found(ada, "bob")
            assert row["state"] == "fail"
            assert f"{address}: another node answers there: cy" in row["text"]
            await nodes.stop(cy)
            host, _, port = address.rpartition(":")
            server = await asyncio.start_server(lambda reader, writer: writer.close(), host, int(port))
            async with server:
                assert [way["code"] for way in (await found(ada, "bob"))["ways"]] == ["not_tls"]

    asyncio.run(play())


def test_a_name_that_does_not_resolve_and_a_silent_address_are_told(tmp_path: Path) -> None:
    """Each address of a member has its own cause."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            with socket.create_server(("127.0.0.1", 0)) as silent:
                hidden = f"127.0.0.1:{silent.getsockname()[1]}"
                bob = await nodes.join("bob", ada, advertise=("name.invalid:7", hidden))
                await nodes.linked()
                await known_to_each_other(ada, bob)
                row = await found(ada, "bob")
            assert {way["address"]: way["code"] for way in row["ways"]} == {
                "name.invalid:7": "no_such_host",
                hidden: "silent",
            }
            assert (row["state"], row["link"]) == ("ok", "accepted")
            assert bob.id in ada.linked()

    asyncio.run(play())


def test_who_was_removed_while_away_is_told_so_by_itself(tmp_path: Path) -> None:
    """Nobody lets it in to be told. Its own doctor compares the certificates that it is shown, and says what that
    means."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cy = await nodes.join("bob", ada), await nodes.join("cy", ada)
            await nodes.linked()
            await known_to_each_other(ada, bob, cy)
            await nodes.stop(bob)
            await ada.ask("nodes_remove", node="bob")
            await until("cy has heard of it", lambda: bob.id not in cy.node.registry.members())
            await nodes.start(bob)
            answer = await bob.ask("doctor")
            assert [row["state"] for row in answer["members"]] == ["fail", "fail"]
            for row in answer["members"]:
                assert [way["code"] for way in row["ways"]] == ["not_member"]
                assert "most likely taken off the roster" in row["text"]
                assert "join anew" in row["fix"]
            assert answer["state"] == "fail"

    asyncio.run(play())


def test_a_member_that_is_kept_out_is_told_with_the_reason(tmp_path: Path) -> None:
    """The port answers and lets this node in, and yet there is no link: what the member did wrong is said."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await known_to_each_other(ada, bob)
            ada.node.peers.blame.blame(bob.id, "it greeted twice")
            await until("cut", lambda: bob.id not in ada.linked())

            async def told() -> bool:
                row = await found(ada, "bob")
                return row["state"] == "fail" and "greeted twice" in row["text"]

            await eventually("the doctor says why", told)

    asyncio.run(play())


def test_loopback_addresses_of_another_machine_are_not_told() -> None:
    """By their nature they lead nowhere, or to this very machine; told only where there is nothing else to tell."""
    here, there = Way("127.0.0.1:7", "refused", "x"), Way("192.0.2.1:7", "timed_out", "y")
    same = Way("[::1]:7", "reached", "")
    assert _worth_telling((here, there)) == (there,)
    assert _worth_telling((here,)) == (here,)
    mute = Way("127.0.0.1:7", "silent", "z")
    assert _worth_telling((mute, there)) == (mute, there)
    assert _worth_telling((same, here, there)) == (same, there)


def test_a_member_of_an_earlier_version_is_told_as_linked(tmp_path: Path) -> None:
    """It answers no probes, so nothing is said of its way here."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await known_to_each_other(ada, bob)
            link = ada.node.peers.linked()[bob.id]
            link.hello = replace(link.hello, features=())
            row = await found(ada, "bob")
            assert (row["state"], row["back"], row["asked"]) == ("ok", None, None)
            assert "does not answer" in row["text"]

    asyncio.run(play())
