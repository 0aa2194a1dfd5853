"""The pool's port: binding, gathering streams, stopping."""

import asyncio
import re
from collections.abc import AsyncGenerator

import grpc
import grpc.aio
import pytest
from node_rooms import until
from wire_pool import TIMEOUT_S, Pool, linked, serving

from meerkat.core.roster import InviteState
from meerkat.model.frame import Bye, JoinAnswer, JoinAsk, LinkLost, Ping
from meerkat.wire import porch as porch_module
from meerkat.wire import server as server_module
from meerkat.wire.client import DialFailed, dial, secure_channel
from meerkat.wire.connection import LINK_KEY, SERVICE, WireConnection
from meerkat.wire.convert import NONCE_BYTES, decode_join_answer, encode_join_ask
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteCode, InviteSecret, join_claim
from meerkat.wire.joining import JoinRefused, join
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


def bearer_of(pool: Pool, address: str, secret: InviteSecret) -> grpc.aio.Channel:
    """A channel on which an invite's bearer says what it wants."""
    return secure_channel(address, pool.founder.certificate, pool.founder.node, secret.key_pem, secret.certificate_pem)


def request_of(pool: Pool, secret: InviteSecret, newcomer: Identity, signer: Identity) -> bytes:
    """A newcomer's first call, its claim signed by `signer`."""
    nonce = b"n" * NONCE_BYTES
    claim = join_claim(
        nonce=nonce, invite=secret.certificate, sponsor=pool.founder.certificate, newcomer=newcomer.certificate
    )
    return encode_join_ask(JoinAsk(nonce, newcomer.certificate, signer.sign(claim)))


def test_a_newcomer_has_to_show_that_its_certificate_is_its_own() -> None:
    """The certificate of whoever an invite has admitted is no secret; the bearer of the code learns nothing by it."""

    async def run() -> None:
        pool = Pool()
        secret, admitted, thief = pool.invite(), Identity.create(), Identity.create()
        async with serving(pool) as served, bearer_of(pool, served.address, secret) as channel:
            method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{SERVICE}/Join")
            call = method(request_of(pool, secret, admitted, thief), timeout=TIMEOUT_S)
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert pool.asks == []
            call = method(request_of(pool, secret, admitted, admitted), timeout=TIMEOUT_S)
            data = await call.read()
            assert isinstance(data, bytes)
            assert decode_join_answer(data).proof

    asyncio.run(run())


def test_a_newcomer_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a call and never asks has its place for a while only."""
    monkeypatch.setattr(server_module, "JOIN_ASK_S", 0.1)

    async def run() -> None:
        pool = Pool()
        secret = pool.invite()
        async with serving(pool) as served, bearer_of(pool, served.address, secret) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/Join")(timeout=TIMEOUT_S)
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    asyncio.run(run())


class Endless(Pool):
    """A sponsor with a lot to say."""

    async def on_join(self, ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
        while True:
            yield JoinAnswer(pool=self.id, reason="x" * 1000)


def test_a_newcomer_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place, and the snapshot of the index that it may be reading, are not held for ever."""
    monkeypatch.setattr(server_module, "JOIN_STALL_S", 0.1)

    async def run() -> None:
        pool = Endless()
        secret, newcomer = pool.invite(), Identity.create()
        async with serving(pool) as served, bearer_of(pool, served.address, secret) as channel:
            method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{SERVICE}/Join")
            call = method(request_of(pool, secret, newcomer, newcomer), timeout=TIMEOUT_S)
            await call.wait_for_connection()
            await until("it is being answered", lambda: served.server._porch._here.total() == 1)
            await until("its place is free", lambda: served.server._porch._here.total() == 0)
            call.cancel()

    asyncio.run(run())


def test_newcomers_leave_room_for_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bearers of an invite by the dozen, who ask for nothing, keep no member out; the next bearer is told to wait."""
    monkeypatch.setattr(porch_module, "JOINS_PER_INVITE_MAX", 4)
    monkeypatch.setattr(server_module, "RPCS_MAX", 8)

    async def run() -> None:
        pool = Pool()
        secret, member = pool.invite(uses=9), pool.member()
        async with serving(pool) as served, bearer_of(pool, served.address, secret) as channel:
            calls: list[grpc.aio.StreamStreamCall[bytes, bytes]] = [
                channel.stream_stream(f"/{SERVICE}/Join")(timeout=TIMEOUT_S) for _ in range(20)
            ]
            ends = [asyncio.ensure_future(each.code()) for each in calls]
            await until("the others are refused", lambda: sum(each.done() for each in ends) == 16)
            assert {each.result() for each in ends if each.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            with pytest.raises(JoinRefused) as refused:
                await join(
                    served.address, InviteCode(pool.id, secret, ()), Identity.create(), "newcomer", [], TIMEOUT_S
                )
            assert refused.value.code == "busy"
            connection = await dial(served.address, pool.as_member(pool.founder), member, TIMEOUT_S)
            await connection.close()
            for each in calls:
                each.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    asyncio.run(run())


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects and says nothing takes a bounded number of file handles; the next connection is closed."""
    monkeypatch.setattr(server_module, "connections_max", lambda: 5)

    async def run() -> None:
        pool = Pool()
        async with serving(pool) as served:
            host, _, port = served.address.rpartition(":")
            ends = [await asyncio.open_connection(host, int(port)) for _ in range(12)]
            reads = [asyncio.ensure_future(reader.read(1)) for reader, _ in ends]
            await until("the others are closed", lambda: sum(read.done() for read in reads) >= 7)
            assert sum(read.done() for read in reads) == 7
            for read, (_, writer) in zip(reads, ends, strict=True):
                read.cancel()
                writer.transport.abort()
            await asyncio.gather(*reads, return_exceptions=True)

    asyncio.run(run())


def test_a_message_that_swells_up_is_refused() -> None:
    """gRPC inflates what is marked as compressed: a small message must not become a large one in here."""

    async def run() -> None:
        pool = Pool()
        secret = pool.invite()
        options = [("grpc.max_send_message_length", -1), ("grpc.ssl_target_name_override", pool.founder.node)]
        credentials = grpc.ssl_channel_credentials(pool.founder.certificate_pem, secret.key_pem, secret.certificate_pem)
        async with serving(pool) as served:
            async with grpc.aio.secure_channel(served.address, credentials, options=options) as channel:
                method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{SERVICE}/Join")
                call = method(bytes(64 << 20), timeout=TIMEOUT_S, compression=grpc.Compression.Gzip)
                assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "larger than max" in str(await call.details())

    asyncio.run(run())


def test_one_member_cannot_open_links_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linking and hanging up again and again costs the other side handshakes and greetings: after a burst that member
    has to wait, and nobody else."""
    monkeypatch.setattr(server_module, "LINK_OPENS_BURST", 3.0)
    monkeypatch.setattr(server_module, "LINK_OPENS_PER_S", 1e-6)

    async def run() -> None:
        pool = Pool()
        restless, other = pool.member("restless"), pool.member("other")
        founder = pool.as_member(pool.founder)
        async with serving(pool) as served:
            for _ in range(3):
                await (await dial(served.address, founder, restless, TIMEOUT_S)).close()
            with pytest.raises(DialFailed, match="without end"):
                await dial(served.address, founder, restless, TIMEOUT_S)
            await (await dial(served.address, founder, other, TIMEOUT_S)).close()

    asyncio.run(run())
