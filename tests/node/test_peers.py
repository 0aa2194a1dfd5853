"""Links between members: one for each pair, made again when lost, refused to whoever does not belong."""

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from node_pool import pool
from node_rooms import WITHIN_S, eventually, until
from spoken_links import dialled, farewell, greeted, hello, member_that_is_off

from meerkat.core.overlay import Overlay
from meerkat.model.frame import (
    PROTOCOL_VERSION_MAX,
    AskEntries,
    Heads,
    LinkFrame,
    LinkLost,
    Piece,
    PieceAsk,
    Ping,
)
from meerkat.model.path import RelPath
from meerkat.wire.client import DialFailed
from meerkat.wire.connection import STREAMS, WireConnection
from meerkat.wire.pipe import GrpcPipe, Stream


def test_each_pair_has_one_link(tmp_path: Path) -> None:
    """Whoever dialled, and also when both did at once: one link stands, and both ends agree which."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            await asyncio.gather(*(nodes.join(name, ada) for name in ("bob", "cy")))
            await nodes.linked()

            async def agree() -> bool:
                for one in nodes.nodes:
                    for other in nodes.nodes:
                        if one is other:
                            continue
                        mine = one.node.peers.linked().get(other.id)
                        theirs = other.node.peers.linked().get(one.id)
                        if mine is None or theirs is None or mine.connection.dialled == theirs.connection.dialled:
                            return False
                return True

            await eventually("each link has one end that dialled", agree)
            rows = {row["name"]: row for row in await ada.ask("nodes")}
            assert {rows[name]["link"] for name in ("bob", "cy")} <= {"dialled", "accepted"}
            for one in nodes.nodes:
                for other in one.linked():
                    vigil = one.node.peers.vigil
                    await until("it has answered", lambda vigil=vigil, other=other: vigil.rtt_ms(other))  # type: ignore[misc]

    asyncio.run(play())


def test_a_node_that_comes_back_is_linked_again(tmp_path: Path) -> None:
    """Its goodbye is remembered while it is away; the new run replaces whatever was left of the old link."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            await nodes.linked()
            await nodes.stop(bob)
            await until("gone", lambda: not ada.linked())
            assert ada.node.peers.last_cause[bob.id] == "this node was stopped"
            (row,) = [row for row in await ada.ask("nodes") if row["name"] == "bob"]
            assert (row["state"], row["cause"]) == ("offline", "this node was stopped")
            await nodes.start(bob)
            await nodes.linked()
            await nodes.crash(bob)
            await nodes.start(bob)
            await nodes.linked()
            assert bob.id not in ada.node.peers.last_cause

    asyncio.run(play())


def test_a_new_address_is_found(tmp_path: Path) -> None:
    """Bob comes back at another port than cy knows: they meet all the same."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            cy = await nodes.join("cy", ada)
            await nodes.linked()
            await nodes.stop(cy)
            await nodes.stop(bob)
            host, _, port = bob.address.rpartition(":")
            with socket.create_server((host, int(port))):  # another program has taken bob's port
                await nodes.start(bob)
                assert bob.address != f"{host}:{port}"
            await nodes.start(cy)
            await nodes.linked()

    asyncio.run(play())


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6, not even a loopback address")
def test_nodes_meet_over_ipv6(tmp_path: Path) -> None:
    """An invite, a link and a file, all by addresses in brackets; and one that listens on all addresses of both kinds
    is found by either."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada", listen="[::1]:0")
            bob = await nodes.join("bob", ada, listen="[::1]:0")
            await nodes.linked()
            assert {each.address.rpartition(":")[0] for each in (ada, bob)} == {"[::1]"}
            ada.put("by six", b"6")
            await nodes.settled()
            await nodes.stop(bob)
            await nodes.start(bob, listen="[::]:0")
            told = [f"{host}:{bob.address.rpartition(':')[2]}" for host in ("[::1]", "127.0.0.1")]
            assert set(told) <= set(bob.node.addresses())
            await nodes.stop(bob)
            await nodes.start(bob, listen=bob.address, advertise=tuple(told))
            await until("ada is told", lambda: ada.node.registry.told_addresses(bob.id) == tuple(told))
            await nodes.linked()
            (row,) = (await ada.ask("doctor", node="bob"))["members"]
            assert row["state"] == "ok"
            assert {way["code"] for way in row["ways"] if way["address"] in told} == {"reached"}

    asyncio.run(play())


def test_who_moved_is_found_through_any_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob and cy both come back elsewhere, and neither knows where the other is: what ada has been told brings them
    together at once, without waiting for the next try at the old place."""
    monkeypatch.setattr(Overlay, "_wait", lambda overlay, failures: 3600.0 if failures else 0.0)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cy = await nodes.join("bob", ada), await nodes.join("cy", ada)
            await nodes.linked()
            for each in (bob, cy):
                await nodes.stop(each)
            taken = [socket.create_server(("127.0.0.1", int(each.address.rpartition(":")[2]))) for each in (bob, cy)]
            for each in (bob, cy):
                await nodes.start(each)
            await nodes.linked()
            for other in taken:
                other.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("another pool", "another pool"),
        ("another name", "not a member"),
        ("a later protocol", "upgrade the older"),
        ("no greeting", "did not greet"),
    ],
)
def test_whoever_does_not_fit_is_told_why(tmp_path: Path, what: str, why: str) -> None:
    """A member that greets for another pool, as somebody else, or in a language of the future; or that does not
    greet at all: no link, and the cause is known on the side that matters."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            greetings: dict[str, LinkFrame] = {
                "another pool": hello(ada, bob.node, pool_id="a" * 32),
                "another name": hello(ada, ada.id),
                "a later protocol": hello(ada, bob.node, version=PROTOCOL_VERSION_MAX + 1),
                "no greeting": Heads({}),
            }
            connection = await dialled(ada, bob)
            await connection.link.send(greetings[what])
            if what != "no greeting":
                bye = await farewell(connection)
                assert bye.why == "refused"
                assert why in bye.text
            await until("the cause is known", lambda: why in ada.node.peers.last_cause.get(bob.node, ""))
            assert bob.node not in ada.linked()
            await connection.close()

    asyncio.run(play())


def test_a_newer_run_replaces_the_link(tmp_path: Path) -> None:
    """The member has restarted, and this side has not noticed yet: the new link stays, the old one is told."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            first = await greeted(ada, bob, hello(ada, bob.node, run=b"1" * 16))
            await until("linked", lambda: bob.node in ada.linked())
            second = await greeted(ada, bob, hello(ada, bob.node, run=b"2" * 16))
            assert (await farewell(first)).why == "duplicate"
            assert ada.node.peers.linked()[bob.node].hello.run == b"2" * 16
            await second.close()
            await until("gone", lambda: bob.node not in ada.linked())

    asyncio.run(play())


def test_a_removed_member_is_cut_off(tmp_path: Path) -> None:
    """The link that stands ends at once, with the reason; a new one does not come to be."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            connection = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked", lambda: bob.node in ada.linked())
            await ada.ask("nodes_remove", node="bob")
            bye = await farewell(connection)
            assert bye.why == "refused"
            await until("gone", lambda: bob.node not in ada.linked())
            with pytest.raises(DialFailed) as failed:
                await dialled(ada, bob)
            assert failed.value.code == "not_member"

    asyncio.run(play())


@pytest.mark.parametrize("reads", [True, False], ids=["it reads", "it does not read"])
def test_a_removed_members_open_streams_end(tmp_path: Path, reads: bool) -> None:
    """In the midst of being served on all three: nothing more is given, and all three end, also where the member has
    stopped reading what it is told (its pings wait to be answered, so the reason cannot even be sent)."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("big", random.Random(1).randbytes(8 << 20))
            await ada.ask("scan")
            bob = await member_that_is_off(nodes, ada)
            connection = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked", lambda: bob.node in ada.linked())
            if reads:
                heard = [asyncio.ensure_future(drained(pipe)) for pipe in pipes_of(connection)]
            else:
                link = ada.node.peers.linked()[bob.node].connection
                assert isinstance(link, WireConnection)
                link.link._stream = Stuck(link.link._stream)
                flood = asyncio.ensure_future(pings(connection))
                await until("answers wait", lambda: not link.link._has_room(1))
            await connection.index.send(AskEntries(1, {}, {}, full=True))
            (version,) = (await ada.node.books.read(lambda view: view.siblings(RelPath("big")))).values()
            asks = [PieceAsk(number, (Piece(version.recipe, 0, 1 << 16, recipe=True),)) for number in range(64)]
            for ask in asks:
                await connection.carry.send(ask)
            await ada.ask("nodes_remove", node="bob")
            served = ada.node.peers.traffic[0]
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(*(pipe.ended() for pipe in pipes_of(connection)))
            await until("gone", lambda: bob.node not in ada.linked())
            assert ada.node.peers.traffic[0] - served < 1 << 20
            if reads:
                await asyncio.gather(*heard)
            else:
                await asyncio.gather(flood, return_exceptions=True)

    asyncio.run(play())


def pipes_of(connection: WireConnection) -> list[GrpcPipe[Any]]:
    return [connection.pipe(name) for name in STREAMS]


class Stuck:
    """A stream whose other end takes nothing any more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> object:
        return await self._stream.read()

    async def write(self, _: bytes) -> None:
        await asyncio.Event().wait()


async def drained(pipe: GrpcPipe[Any]) -> None:
    """Take what comes until the stream ends."""
    try:
        async for _ in pipe.frames():
            pass
    except LinkLost:
        pass


async def pings(connection: WireConnection) -> None:
    for number in range(1 << 20):
        await connection.link.send(Ping(number))


def test_a_stopping_node_says_goodbye(tmp_path: Path) -> None:
    """Those that are linked know at once that it is down, and do not wait for silence."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            connection = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked", lambda: bob.node in ada.linked())
            ada.stop.set()
            assert (await farewell(connection)).why == "down"
            with pytest.raises(LinkLost):
                async for _ in connection.link.frames():
                    pass
            await nodes.ended(ada)

    asyncio.run(play())


def test_a_member_that_remembers_more_of_this_node_ends_its_epoch(tmp_path: Path) -> None:
    """This index was rolled back: numbers that somebody has seen are never given again."""

    async def play() -> None:
        async with pool(tmp_path, bugs_expected=True) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            author = ada.node.books.author
            greeting = hello(ada, bob.node)
            outrun = msgspec.structs.replace(greeting, context={author: 99})
            connection = await greeted(ada, bob, outrun)
            await until("a new epoch", lambda: ada.node.books.author != author)
            assert ada.node.books.author.node == author.node
            await connection.close()

    asyncio.run(play())


def test_a_member_that_breaks_the_rules_rests(tmp_path: Path) -> None:
    """Who greets twice is cut off, named with the reason, refused for a while, and then heard again."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            connection = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked", lambda: bob.node in ada.linked())
            await connection.link.send(hello(ada, bob.node))
            assert "greeted twice" in (await farewell(connection)).text
            await until("cut", lambda: bob.node not in ada.linked())
            assert "greeted twice" in ada.node.peers.last_cause[bob.node]
            again = await dialled(ada, bob)
            assert "greeted twice" in (await farewell(again)).text
            await again.close()
            await until("it may come again", lambda: not ada.node.peers.blame.fault_of(bob.node))
            third = await greeted(ada, bob, hello(ada, bob.node))
            await until("linked again", lambda: bob.node in ada.linked())
            await third.close()

    asyncio.run(play())


def test_an_epoch_is_not_ended_again_and_again(tmp_path: Path) -> None:
    """A member that claims unknown writes of this node in each greeting ends two epochs, and is then cut off."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await member_that_is_off(nodes, ada)
            lives = {ada.node.books.author}
            while not ada.node.peers.blame.fault_of(bob.node):
                author = ada.node.books.author
                greeting = msgspec.structs.replace(hello(ada, bob.node), context={author: 99})
                connection = await greeted(ada, bob, greeting)
                await until("a new epoch", lambda: ada.node.books.author not in lives)
                lives.add(ada.node.books.author)
                await connection.close()
                await until("gone", lambda: bob.node not in ada.linked())
            assert "claims writes" in ada.node.peers.last_cause[bob.node]
            assert len(lives) == 3

    asyncio.run(play())


def test_traffic_is_counted_across_links(tmp_path: Path) -> None:
    """What went over links that have ended still counts."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            ada.put("a", b"x" * 50_000)
            await until("bob has it", lambda: bob.read("a") is not None)
            await nodes.settled()
            await nodes.stop(bob)
            await until("gone", lambda: not ada.linked())
            sent, received = ada.node.peers.traffic
            assert sent > 0
            assert received > 0
            await nodes.start(bob)
            await nodes.linked()
            assert ada.node.peers.traffic > (sent, received)

    asyncio.run(play())
