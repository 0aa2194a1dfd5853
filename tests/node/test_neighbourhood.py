"""Members find each other in the local network when nobody else could tell them where they are."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import until
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from meerkat.core.beacon import beacon_key, beacon_name
from meerkat.core.overlay import Overlay
from meerkat.model.fault import Fault
from meerkat.node import neighbourhood, surroundings
from meerkat.node.neighbourhood import Neighbourhood, today
from meerkat.wire.discover import SERVICE


async def pair(nodes: NodePool, **settings: Any) -> tuple[Running, Running]:
    ada = await nodes.found("ada", **settings)
    bob = await nodes.join("bob", ada, **settings)
    await nodes.linked()
    for one, other in ((ada, bob), (bob, ada)):
        await until("it has told where it is", lambda one=one, other=other: one.node.registry.addresses(other.id))  # type: ignore[misc]
    return ada, bob


async def elsewhere(nodes: NodePool, *moved: Running) -> list[socket.socket]:
    """Stop these; other programs take their ports, so that they come back at others."""
    taken = []
    for each in moved:
        await nodes.stop(each)
        taken.append(socket.create_server(("127.0.0.1", int(each.address.rpartition(":")[2]))))
    return taken


def test_two_that_have_both_moved_find_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No third member is there to ask, and neither is where the other knows it: the local network brings them together,
    at once and by their certificates. Nothing of it is written into a record."""
    monkeypatch.setattr(Overlay, "_wait", lambda overlay, failures: 3600.0 if failures else 0.0)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await pair(nodes, discovery=True)
            taken = await elsewhere(nodes, ada, bob)
            for each in (ada, bob):
                await nodes.start(each, discovery=True)
            await nodes.linked()
            ada.put("found", b"again")
            assert (await nodes.settled())["found"][3] == b"again"
            for other in taken:
                other.close()

    asyncio.run(play())


def test_without_it_they_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above shows something: switched off, neither says anything, and neither listens."""
    begun: list[str] = []
    real = Neighbourhood.run

    async def noticed(self: Neighbourhood) -> None:
        begun.append("one")
        await real(self)

    monkeypatch.setattr(Neighbourhood, "run", noticed)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await pair(nodes)
            taken = await elsewhere(nodes, ada, bob)
            for each in (ada, bob):
                await nodes.start(each, discovery=False)
            for one, other in ((ada, bob), (bob, ada)):
                await until(
                    "it was looked for in vain",
                    lambda one=one, other=other: one.node.peers.last_cause.get(other.id),  # type: ignore[misc]
                )
                assert not one.linked()
            for other_program in taken:
                other_program.close()

    asyncio.run(play())
    assert begun == []


def test_whoever_repeats_a_name_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger announces bob's name of today with an address of its own: ada knocks there once, finds that it is not
    bob, and goes on where bob really is."""
    monkeypatch.setattr(neighbourhood, "DISCOVERY_TURN_S", 0.1)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, bob = await pair(nodes, discovery=True)
            name = beacon_name(beacon_key(ada.node.registry.genesis()), bob.id, today())
            await nodes.stop(bob)
            knocked = asyncio.Event()

            def notice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                knocked.set()
                writer.close()

            trap = await asyncio.start_server(notice, "127.0.0.1", 0)
            liar = AsyncZeroconf(interfaces=["127.0.0.1"])
            info = AsyncServiceInfo(
                SERVICE,
                f"{name}.{SERVICE}",
                addresses=[socket.inet_aton("127.0.0.1")],
                port=trap.sockets[0].getsockname()[1],
                server=f"{name}.local.",
            )
            async with trap:
                await (await liar.async_register_service(info, cooperating_responders=True))
                await until("ada has looked there", knocked.is_set)
                assert bob.id not in ada.linked()
                await nodes.start(bob, discovery=True)
                await nodes.linked()
            await liar.async_close()

    asyncio.run(play())


def test_a_name_lasts_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At midnight another one is announced; the key is the pool's own, and no outsider has it."""
    monkeypatch.setattr(neighbourhood, "DISCOVERY_TURN_S", 0.02)

    class Ear:
        def __init__(self) -> None:
            self.announced: list[str] = []
            self.looked = 0

        async def start(self, interfaces: object) -> None:
            pass

        async def announce(self, name: str, addresses: object) -> None:
            self.announced.append(name)

        def look_again(self) -> None:
            self.looked += 1

        async def next(self) -> tuple[str, tuple[str, ...]]:
            await asyncio.Event().wait()
            raise AssertionError

        async def stop(self) -> None:
            pass

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ear, day = Ear(), 20_000
            registry = ada.node.registry
            one = Neighbourhood(
                ada.id, registry, lambda wanted: ear, lambda: ["192.0.2.1:7"], [], lambda node: None, lambda: day
            )
            work = asyncio.ensure_future(one.run())
            await until("announced", lambda: len(ear.announced) == 1)
            day += 1
            await until("another name", lambda: len(ear.announced) == 2)
            looked = ear.looked
            await nodes.join("bob", ada)
            await until("members came, their names are wanted", lambda: ear.looked > looked)
            work.cancel()
            key = beacon_key(registry.genesis())
            assert registry.genesis()
            assert ear.announced == [beacon_name(key, ada.id, 20_000), beacon_name(key, ada.id, 20_001)]

    asyncio.run(play())


def test_where_it_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for and not installed: a fault with the way out. Not asked for: the node runs without. And a node that
    listens on the loopback alone has nothing to announce, unless it is asked to."""
    monkeypatch.setattr(surroundings, "is_installed", lambda: False)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            with pytest.raises(Fault) as missing:
                await nodes.found("ada", discovery=True)
            assert missing.value.code == "discovery_missing"
            assert "meerkat-sync[discovery]" in missing.value.hint
            bob = await nodes.found("bob", listen="0.0.0.0:0")
            network, registry = bob.node._around.network, bob.node.registry
            around = neighbourhood.look_around
            assert around(None, bob.id, registry, network, "0.0.0.0:7", lambda node: None) is None
            monkeypatch.setattr(surroundings, "is_installed", lambda: True)
            for wanted, listen, there in (
                (None, "0.0.0.0:7", True),
                (None, "127.0.0.1:7", False),
                (True, "127.0.0.1:7", True),
                (False, "0.0.0.0:7", False),
            ):
                made = around(wanted, bob.id, registry, network, listen, lambda node: None)
                assert (made is not None) == there

    asyncio.run(play())
