"""The pool's port: binding, gathering streams, stopping."""

import asyncio
import re

import grpc
import grpc.aio
import pytest
from wire_pool import TIMEOUT_S, Pool, linked, serving

from meerkat.model.frame import Bye, LinkLost, Ping
from meerkat.wire import server as server_module
from meerkat.wire.client import dial, secure_channel
from meerkat.wire.connection import LINK_KEY, SERVICE, WireConnection
from meerkat.wire.identity import Identity
from meerkat.wire.server import ListenFault, PortInUse, Server

LINK_ID = "0123456789abcdef" * 2


async def ignore(_: WireConnection) -> None:
    """An engine that takes no connection."""


def test_a_free_port_is_picked_and_told() -> None:
    """Port 0 becomes a port, which is told as HOST:PORT; IPv6 goes in brackets."""

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", served.address)

    asyncio.run(run())


def test_a_port_in_use_is_told() -> None:
    """Two processes never share a port unseen; the second hears which address it was."""

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            second = Server(pool.founder, pool, served.address, ignore, pool.on_join)
            with pytest.raises(PortInUse, match=re.escape(served.address)):
                await second.start()

    asyncio.run(run())


@pytest.mark.parametrize("listen", ["nowhere", "192.0.2.1:0", "host.invalid:0"])
def test_an_address_that_cannot_be_served_is_told(listen: str) -> None:
    """What is no address, or not one of this machine, fails with the cause, and is not "in use"."""

    async def run() -> None:
        pool = Pool()
        with pytest.raises(ListenFault, match=re.escape(listen)) as failed:
            await Server(pool.founder, pool, listen, ignore, pool.on_join).start()
        assert not isinstance(failed.value, PortInUse)

    asyncio.run(run())


def test_all_addresses_can_be_served() -> None:
    """The wildcard is an address to listen on like any other."""

    async def run() -> None:
        pool = Pool()
        member = pool.member()
        async with serving(pool, listen="0.0.0.0:0") as served:
            address = served.address.replace("0.0.0.0", "127.0.0.1")
            connection = await dial(address, pool.as_member(pool.founder), member, TIMEOUT_S)
            await connection.close()

    asyncio.run(run())


async def open_streams(pool: Pool, member: Identity, address: str, streams: list[str]) -> list[grpc.StatusCode]:
    """How streams of one link end that never become three of a kind."""
    founder = pool.founder
    channel = secure_channel(address, founder.certificate, founder.node, member.key_pem, member.certificate_pem)
    async with channel:
        calls = []
        for stream in streams:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{stream}")
            calls.append(method(metadata=((LINK_KEY, LINK_ID),), timeout=TIMEOUT_S))
            await calls[-1].wait_for_connection()
        return [await call.code() for call in calls]


def test_a_link_without_all_its_streams_does_not_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams whose siblings do not come are let go after a while; the engine never sees half a link."""
    monkeypatch.setattr(server_module, "STREAMS_GATHER_S", 0.1)

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            found = await open_streams(pool, pool.member(), served.address, ["Link", "Index"])
            assert found == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
            assert served.connections.empty()

    asyncio.run(run())


def test_a_stream_cannot_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second stream of one kind under one link is refused."""
    monkeypatch.setattr(server_module, "STREAMS_GATHER_S", 0.1)

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            found = await open_streams(pool, pool.member(), served.address, ["Link", "Link"])
            assert sorted(code.name for code in found) == ["ALREADY_EXISTS", "DEADLINE_EXCEEDED"]

    asyncio.run(run())


def test_streams_of_two_members_do_not_make_one_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are put together by member and link, so nobody slips a stream into another's link."""
    monkeypatch.setattr(server_module, "STREAMS_GATHER_S", 0.2)

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            one, other = pool.member(), pool.member()
            await asyncio.gather(
                open_streams(pool, one, served.address, ["Link", "Index"]),
                open_streams(pool, other, served.address, ["Carry"]),
            )
            assert served.connections.empty()

    asyncio.run(run())


def test_a_server_that_stops_says_goodbye_first() -> None:
    """What was sent before the stop arrives; then all links end."""

    async def run() -> None:
        pool = Pool()
        member = pool.member()
        async with serving(pool) as served:
            dialled = await dial(served.address, pool.as_member(pool.founder), member, TIMEOUT_S)
            accepted = await served.connections.get()
            await accepted.link.send(Bye("down"))
        frames = dialled.link.frames()
        assert await anext(frames) == Bye("down")
        with pytest.raises(LinkLost):
            await anext(frames)

    asyncio.run(run())


def test_a_vanished_peer_ends_the_link() -> None:
    """When the other side's connection breaks without a word, the served end hears it at once."""

    async def run() -> None:
        async with linked(Pool()) as (dialled, accepted):
            await dialled.link.send(Ping(1))
            assert await anext(accepted.link.frames()) == Ping(1)
            for pipe in (dialled.link, dialled.index, dialled.carry):
                pipe.end("cut")
            await accepted.ended()

    asyncio.run(run())


def test_one_node_may_have_two_links() -> None:
    """Two links of one member (it dialled twice, or both sides did) are two connections; the engine picks."""

    async def run() -> None:
        pool = Pool()
        member = pool.member()
        async with serving(pool) as served:
            founder = pool.as_member(pool.founder)
            first = await dial(served.address, founder, member, TIMEOUT_S)
            second = await dial(served.address, founder, member, TIMEOUT_S)
            assert {(await served.connections.get()).peer for _ in range(2)} == {member.node}
            await first.close()
            await second.link.send(Ping(1))
            await second.close()

    asyncio.run(run())


def test_one_member_cannot_take_all_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that a member begins and never finishes are counted: beyond a few it is refused, and others are not."""
    monkeypatch.setattr(server_module, "LINKS_PER_NODE_MAX", 3)

    async def run() -> None:
        pool = Pool()
        greedy, other = pool.member("greedy"), pool.member("other")
        async with serving(pool) as served:
            founder = pool.founder
            channel = secure_channel(
                served.address, founder.certificate, founder.node, greedy.key_pem, greedy.certificate_pem
            )
            async with channel:
                calls: list[grpc.aio.StreamStreamCall[bytes, bytes]] = [
                    channel.stream_stream(f"/{SERVICE}/Link")(metadata=((LINK_KEY, f"{number:032x}"),))
                    for number in range(4)
                ]
                async with asyncio.timeout(TIMEOUT_S):
                    done, _ = await asyncio.wait(
                        [asyncio.ensure_future(call.code()) for call in calls], return_when=asyncio.FIRST_COMPLETED
                    )
                assert {task.result() for task in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
                connection = await dial(served.address, pool.as_member(founder), other, TIMEOUT_S)
                await connection.close()
                for call in calls:
                    call.cancel()

    asyncio.run(run())
