"""A hostile member: a real key, a real invite, real TLS, and then whatever bytes a test wants to send.

It has joined as anybody does, so nothing but the checks of what it says stands between it and the other nodes. It runs
in the test's process, on a loop and in a thread of its own, so that tests read from top to bottom.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from blake3 import blake3
from e2e.pool import Node

from meerkat.core.roster import Roster
from meerkat.model.dot import Author, Dot
from meerkat.model.frame import (
    AskEntries,
    Bye,
    CarryFrame,
    EntriesEnd,
    EntriesPart,
    Give,
    Heads,
    Hello,
    IndexFrame,
    Lack,
    LinkFrame,
    PieceAsk,
    Ping,
    Pong,
)
from meerkat.model.ids import Digest, NodeId
from meerkat.model.member import Member
from meerkat.model.path import RelPath
from meerkat.model.version import Entry, Kind, Version
from meerkat.wire.client import secure_channel
from meerkat.wire.connection import LINK_ID_CHARS, LINK_KEY, SERVICE, STREAMS
from meerkat.wire.convert import decode_frame, encode_frame
from meerkat.wire.convert_carry import decode_parcel, encode_parcel
from meerkat.wire.convert_index import decode_query, encode_query
from meerkat.wire.identity import Identity, verify
from meerkat.wire.invite import decode_invite
from meerkat.wire.joining import join
from meerkat.wire.pipe import TRANSPORT_FAULTS, describe
from meerkat.wire.rosterops import parse_op

T = TypeVar("T")

WITHIN_S = 60.0
LONG_AGO_NS = 1_600_000_000_000_000_000

AnswerEntries = Callable[[AskEntries], Iterable[IndexFrame | bytes]]
AnswerPieces = Callable[[PieceAsk], Iterable[CarryFrame | bytes]]


def file_of(data: bytes, **fields: Any) -> Version:
    """A small file, as an honest node would tell of it."""
    known: dict[str, Any] = {"size": len(data), "mtime_ns": LONG_AGO_NS, "mode": 0o644}
    return Version(Kind.FILE, digest=Digest(blake3(data).digest()), **(known | fields))


def link_to(target: str) -> Version:
    return Version(Kind.SYMLINK, target=target, mtime_ns=LONG_AGO_NS)


class Line:
    """A link with one node. Answers questions by its two scripts; everything else is up to the test."""

    def __init__(self, mallory: "Mallory", node: Node, channel: grpc.aio.Channel, calls: dict[str, Any]) -> None:
        self._mallory = mallory
        self._channel = channel
        self._calls = calls
        self.node = NodeId(node.id)
        self.author = Author(mallory.identity.node, secrets.randbits(40))
        self.context: dict[Author, int] = {}
        self.hello: Hello | None = None
        self.farewell = ""
        self.over = False
        self.asks = 0
        self.ends: dict[str, str] = {}  # how each stream broke
        self.answer_entries: AnswerEntries = self.nothing_new
        self.answer_pieces: AnswerPieces = lambda ask: [Lack(ask.id, tuple(range(len(ask.pieces))))]
        self._seq = 0

    # ---- saying

    def say(self, stream: str, *frames: LinkFrame | IndexFrame | CarryFrame | bytes) -> bool:
        """Send frames, or bytes as they are; False when the stream has ended meanwhile."""
        return self._mallory.run(self._say(stream, frames))

    async def _say(self, stream: str, frames: Iterable[Any]) -> bool:
        encode: dict[str, Callable[[Any], bytes]] = {
            "Link": encode_frame,
            "Index": encode_query,
            "Carry": encode_parcel,
        }
        try:
            for frame in frames:
                data = frame if isinstance(frame, bytes) else encode[stream](frame)
                await self._calls[stream].write(data)
        except TRANSPORT_FAULTS:
            return False
        return True

    def greet(self, **fields: Any) -> None:
        """Say hello as an honest member would, but for `fields`, and wait for the other's."""
        known: dict[str, Any] = {
            "pool": self._mallory.pool,
            "node": self._mallory.identity.node,
            "run": secrets.token_bytes(16),
            "version_min": 1,
            "version_max": 1,
            "features": (),
            "context": self.context,
            "floor": {},
            "fingerprint": b"",
            "roster_digest": b"",
            "software": "mallory",
        }
        self.say("Link", Hello(**(known | fields)))
        self._mallory.until(lambda: self.hello is not None or self.over)

    def entry(self, path: str, *versions: Version) -> Entry:
        """An entry with fresh dots of this member's own."""
        siblings = {}
        for version in versions:
            self._seq += 1
            siblings[Dot(self.author, self._seq)] = version
        return Entry(RelPath(path), siblings)

    def tell(self, *parts: Iterable[Entry], context: dict[Author, int] | None = None) -> None:
        """Announce writes, and answer every question for entries with these parts."""
        frames = [tuple(part) for part in parts]
        known = {**self.context, self.author: self._seq, **(context or {})}

        def answer(ask: AskEntries) -> list[IndexFrame | bytes]:
            told: list[IndexFrame | bytes] = [EntriesPart(ask.id, part) for part in frames]
            return [*told, EntriesEnd(ask.id, known, {}, ask.full, b"")]

        self.answer_entries = answer
        self.say("Link", Heads(known))

    def nothing_new(self, ask: AskEntries) -> list[IndexFrame | bytes]:
        return [EntriesEnd(ask.id, self.context, {}, ask.full, b"")]

    def has(self, *contents: bytes) -> None:
        """Give these contents (whole small files) to whoever asks."""
        kept = {blake3(data).digest(): data for data in contents}

        def answer(ask: PieceAsk) -> list[CarryFrame | bytes]:
            told: list[CarryFrame | bytes] = []
            for index, piece in enumerate(ask.pieces):
                data = kept.get(piece.object)
                if data is None:
                    told.append(Lack(ask.id, (index,)))
                else:
                    told.append(Give(ask.id, index, (data[piece.offset : piece.offset + piece.length],)))
            return told

        self.answer_pieces = answer

    # ---- hearing

    def await_cut(self) -> str:
        """Wait until the node has ended this link; what it said last."""
        self._mallory.until(lambda: self.over)
        return self.farewell

    async def listen(self) -> None:
        await asyncio.gather(*(self._listen(stream) for stream in STREAMS))

    async def _listen(self, stream: str) -> None:
        decode: dict[str, Callable[[bytes], Any]] = {
            "Link": decode_frame,
            "Index": decode_query,
            "Carry": decode_parcel,
        }
        try:
            while (data := await self._calls[stream].read()) is not grpc.aio.EOF:
                await self._heard(decode[stream](data))
        except TRANSPORT_FAULTS as fault:
            self.ends[stream] = describe(fault)
        finally:
            self.over |= stream == "Link"  # the last words come over this one

    async def _heard(self, frame: Any) -> None:
        match frame:
            case Hello():
                self.hello = frame
                self.context = {**frame.context, **self.context}
            case Ping(number):
                await self._say("Link", [Pong(number)])
            case Heads(vector):
                self.context = {**self.context, **vector}
            case Bye(_, text):
                self.farewell = text
            case AskEntries():
                self.asks += 1
                await self._say("Index", self.answer_entries(frame))
            case PieceAsk():
                await self._say("Carry", self.answer_pieces(frame))

    async def hang_up(self) -> None:
        for call in self._calls.values():
            call.cancel()
        await self._channel.close()


class Mallory:
    """The member. `with Mallory(name, code, through) as mallory:` has joined when it begins."""

    def __init__(self, name: str, code: str, through: Node) -> None:
        self.name = name
        self.identity = Identity.create()
        self._code = decode_invite(code)
        self._through = through
        self.pool = self._code.pool
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name)
        self._lines: list[Line] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._members = self.run(self._join())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            self.run(line.hang_up())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN_S)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something that is heard on the loop holds."""
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, "nothing was heard"
            time.sleep(0.01)

    async def _join(self) -> dict[NodeId, Member]:
        address = str(self._through.ready["listen"])
        joined = await join(address, self._code, self.identity, self.name, [], WITHIN_S)
        roster = Roster(verify, joined.pool)
        for signed in joined.ops:
            roster.add(parse_op(signed), signed)
        return roster.members()

    def streams(self, node: Node, *names: str) -> Line:
        """Open only these streams to a node (all three make a link), without a word."""
        line = self.run(self._open(node, names or STREAMS))
        self._lines.append(line)
        return line

    def dial(self, node: Node) -> Line:
        """A link with a node, greeted."""
        line = self.streams(node)
        line.greet()
        return line

    async def _open(self, node: Node, names: Iterable[str]) -> Line:
        member = self._members[NodeId(node.id)]
        channel = secure_channel(
            str(node.ready["listen"]),
            member.certificate,
            member.node,
            self.identity.key_pem,
            self.identity.certificate_pem,
        )
        metadata = ((LINK_KEY, secrets.token_hex(LINK_ID_CHARS // 2)),)
        calls: dict[str, Any] = {name: channel.stream_stream(f"/{SERVICE}/{name}")(metadata=metadata) for name in names}
        line = Line(self, node, channel, calls)
        if set(names) == set(STREAMS):
            task = asyncio.get_running_loop().create_task(line.listen())  # ends with the calls
            self._tasks.add(task)
        return line
