"""The three streams that join this node with one member, whoever dialled.

Invariant: they live and die together: when one ends, the others are cut, so nobody talks to half a link.
"""

import asyncio
from collections.abc import Awaitable, Callable

from meerkat.core.pace import Pace
from meerkat.model.frame import CarryFrame, IndexFrame, LinkFrame
from meerkat.model.ids import NodeId
from meerkat.model.limits import LINK_BYTES_BURST, LINK_BYTES_PER_S
from meerkat.wire.convert import decode_frame, encode_frame
from meerkat.wire.convert_carry import decode_parcel, encode_parcel, is_heavy
from meerkat.wire.convert_index import decode_query, encode_query
from meerkat.wire.pipe import GrpcPipe, Stream

SERVICE = "meerkat.v1.Pool"
LINK_KEY = "meerkat-link"
"""Metadata of a link's three streams: the same 16 random bytes in hex, by which the server puts them together. The
server echoes it once the link stands."""

LINK_ID_CHARS = 32
STREAMS = ("Link", "Index", "Carry")

HangUp = Callable[[], object]
HalfClose = Callable[[], Awaitable[None]] | None


def link_pipe(name: str, stream: Stream, hang_up: HangUp, half_close: HalfClose) -> GrpcPipe[LinkFrame]:
    pace = Pace(LINK_BYTES_PER_S, LINK_BYTES_BURST)
    return GrpcPipe[LinkFrame](f"{name} link", stream, encode_frame, decode_frame, hang_up, half_close, pace=pace)


def index_pipe(name: str, stream: Stream, hang_up: HangUp, half_close: HalfClose) -> GrpcPipe[IndexFrame]:
    return GrpcPipe[IndexFrame](f"{name} index", stream, encode_query, decode_query, hang_up, half_close)


def carry_pipe(name: str, stream: Stream, hang_up: HangUp, half_close: HalfClose) -> GrpcPipe[CarryFrame]:
    return GrpcPipe[CarryFrame](f"{name} carry", stream, encode_parcel, decode_parcel, hang_up, half_close, is_heavy)


async def _nothing() -> None:
    """What a served connection releases: its channel is the dialler's."""


class WireConnection:
    """A `Connection` of the engine's ports.

    Attributes:
        peer: the member at the other end, as its certificate proved.
        dialled: this side opened it.
        address: the other side's HOST:PORT (as dialled, or as seen).
    """

    def __init__(
        self,
        peer: NodeId,
        *,
        dialled: bool,
        address: str,
        link: GrpcPipe[LinkFrame],
        index: GrpcPipe[IndexFrame],
        carry: GrpcPipe[CarryFrame],
        release: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self.peer = peer
        self.dialled = dialled
        self.address = address
        self.link = link
        self.index = index
        self.carry = carry
        self._release = release
        self._watch: asyncio.Task[None] | None = None

    def pipe(self, stream: str) -> GrpcPipe[LinkFrame] | GrpcPipe[IndexFrame] | GrpcPipe[CarryFrame]:
        """The pipe over the stream of that name (one of `STREAMS`)."""
        match stream:
            case "Link":
                return self.link
            case "Index":
                return self.index
            case _:
                return self.carry

    def start(self) -> None:
        """Begin moving frames. Call once, inside the event loop."""
        for pipe in (self.link, self.index, self.carry):
            pipe.start()
        # Below node.tasks: the task belongs to this connection and ends with its pipes.
        self._watch = asyncio.create_task(  # noqa: TID251
            self._end_together(), name=f"connection to {self.peer}"
        )

    async def _end_together(self) -> None:
        waits = [
            asyncio.ensure_future(pipe.ended())  # gathered below
            for pipe in (self.link, self.index, self.carry)
        ]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        why = next(iter(done)).result()
        for pipe in (self.link, self.index, self.carry):
            pipe.end(why)
        await asyncio.gather(*waits)
        await self._release()

    @property
    def sent_bytes(self) -> int:
        """Serialised frames written so far, all three streams."""
        return self.link.sent_bytes + self.index.sent_bytes + self.carry.sent_bytes

    @property
    def received_bytes(self) -> int:
        """Serialised frames read so far, all three streams."""
        return self.link.received_bytes + self.index.received_bytes + self.carry.received_bytes

    @property
    def fault(self) -> str:
        """What the member did wrong, where that ended the connection; else empty."""
        faults = [pipe.fault for pipe in (self.link, self.index, self.carry) if pipe.fault is not None]
        return str(faults[0]) if faults else ""

    def hush(self) -> None:
        """Neither answer nor ask anything any more, from now on; only the link may still say why."""
        self.index.hush()
        self.carry.hush()

    async def close(self, why: str = "closed here") -> None:
        """End the connection in order: what was sent on the link (a farewell) leaves first, within a second; bulk is
        dropped. Safe to call again and from several tasks."""
        self.hush()
        await self.link.finish(why)
        await self.ended()

    async def ended(self) -> str:
        """Wait until all three streams are gone; the reason."""
        if self._watch is not None:
            await asyncio.shield(self._watch)
        return await self.link.ended()
