"""A link between two members over real TLS."""

import asyncio

import psutil
import pytest
from node_rooms import until
from wire_pool import Pool, linked

from meerkat.model.frame import (
    AskEntries,
    Bye,
    Cancel,
    CarryFrame,
    Give,
    Heads,
    IndexFrame,
    Lack,
    LinkFrame,
    LinkLost,
    Ping,
    Pong,
    Refused,
)
from meerkat.model.limits import ASK_BYTES_MAX
from meerkat.wire.connection import WireConnection


def test_all_three_pipes_carry_frames_both_ways() -> None:
    """Whoever dialled, both ends say and hear everything, and count the same bytes."""

    async def run() -> None:
        async with linked(Pool()) as (dialled, accepted):
            link: list[LinkFrame] = [Ping(1), Heads({}), Pong(2)]
            index: list[IndexFrame] = [AskEntries(1, {}, {}, True), Refused(2, "busy")]
            carry: list[CarryFrame] = [Cancel(1), Lack(2, (0,)), Give(3, 0, (bytes(ASK_BYTES_MAX), b"x"))]
            for here, there in ((dialled, accepted), (accepted, dialled)):
                for said in link:
                    await here.link.send(said)
                for asked in index:
                    await here.index.send(asked)
                for given in carry:
                    await here.carry.send(given)
                heard, answered, taken = there.link.frames(), there.index.frames(), there.carry.frames()
                assert [await anext(heard) for _ in link] == link
                assert [await anext(answered) for _ in index] == index
                assert [await anext(taken) for _ in carry] == carry
                assert here.sent_bytes == there.received_bytes > 0
            assert (dialled.dialled, accepted.dialled) == (True, False)
            assert dialled.peer != accepted.peer

    asyncio.run(run())


@pytest.mark.parametrize("closer", [0, 1], ids=["dialled", "accepted"])
def test_a_farewell_arrives_and_then_the_link_is_gone(closer: int) -> None:
    """Who closes can say goodbye first; the other hears it, then the end, on all three pipes."""

    async def run() -> None:
        async with linked(Pool()) as ends:
            here, there = ends[closer], ends[1 - closer]
            await here.link.send(Bye("down", "restarting"))
            await here.close()
            frames = there.link.frames()
            assert await anext(frames) == Bye("down", "restarting")
            with pytest.raises(LinkLost):
                await anext(frames)
            await there.ended()
            for end in ends:
                with pytest.raises(LinkLost):
                    await end.index.send(Refused(1, "busy"))
                with pytest.raises(LinkLost):
                    await anext(end.carry.frames())
            await here.close()

    asyncio.run(run())


@pytest.mark.parametrize("stream", ["Link", "Index", "Carry"])
def test_nonsense_on_one_stream_ends_all(stream: str) -> None:
    """A peer that sends what cannot be decoded loses the whole link, and the reason names its fault."""

    async def run() -> None:
        async with linked(Pool()) as (dialled, accepted):
            pipe = dialled.pipe(stream)
            await pipe._stream.write(b"\xff\xff\xff")
            assert "nonsense" in await accepted.ended()
            assert accepted.pipe(stream).fault is not None
            await dialled.ended()

    asyncio.run(run())


def test_who_is_hushed_gives_nothing_more() -> None:
    """What waits on index and bulk is dropped, nothing more is sent there nor heard; a farewell still arrives."""

    async def run() -> None:
        async with linked(Pool()) as (dialled, accepted):
            bulk = asyncio.ensure_future(_pour(accepted))
            await until("bulk waits", lambda: len(accepted.carry._out) > 0)
            accepted.hush()
            with pytest.raises(LinkLost):
                await bulk
            with pytest.raises(LinkLost):
                await accepted.index.send(Refused(1, "busy"))
            await dialled.index.send(Refused(1, "busy"))
            await accepted.link.send(Bye("refused", "you are out"))
            await accepted.close()
            assert await anext(dialled.link.frames()) == Bye("refused", "you are out")
            assert accepted.index._in.empty() or await accepted.index._in.get() is None
            await dialled.ended()

    asyncio.run(run())


def test_bulk_does_not_delay_pings() -> None:
    """While nobody takes the bulk that was sent, pings still go through: they do not share its channel."""

    async def run() -> None:
        async with linked(Pool()) as (dialled, accepted):
            bulk = asyncio.ensure_future(_pour(dialled))
            pings = accepted.link.frames()
            await anext(accepted.carry.frames())  # under way; nobody takes the rest
            for number in range(20):
                await dialled.link.send(Ping(number))
                assert await anext(pings) == Ping(number)
            assert not bulk.done()
            bulk.cancel()

    asyncio.run(run())


def test_bulk_has_a_connection_of_its_own() -> None:
    """Link and index share one TCP connection, bulk has another: a full window there holds nobody up here."""

    async def run() -> None:
        async with linked(Pool()) as (dialled, _):
            port = int(dialled.address.rpartition(":")[2])
            mine = psutil.Process().net_connections("tcp")
            assert len([one for one in mine if one.raddr and one.raddr.port == port]) == 2

    asyncio.run(run())


async def _pour(connection: WireConnection) -> None:
    data = bytes(range(256)) * 256
    for number in range(1 << 20):
        await connection.carry.send(Give(number, 0, (data,) * 15))
