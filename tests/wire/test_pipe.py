"""One stream of frames: order, bounds and endings, over a stream that the test holds in its hands."""

import asyncio
import threading

import grpc.aio
import pytest

from meerkat.core.pace import Pace
from meerkat.model.frame import LinkLost, PeerFault
from meerkat.model.limits import (
    LINK_FRAME_COST_BYTES,
    MESSAGE_BYTES_MAX,
    PIPE_IN_FRAMES_MAX,
    PIPE_OUT_BYTES_MAX,
    PIPE_OUT_FRAMES_MAX,
)
from meerkat.wire import pipe as pipe_module
from meerkat.wire.pipe import GrpcPipe


class Held:
    """A stream whose other end is the test's: `arriving` is what will be read, `written` what was written."""

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[object] = asyncio.Queue()
        self.written: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.reads = 0

    async def read(self) -> object:
        self.reads += 1
        item = await self.arriving.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def write(self, message: bytes, /) -> None:
        await self.open.wait()
        self.written.append(message)


def decode(data: bytes) -> bytes | None:
    if data == b"bad":
        raise PeerFault("bad")
    return None if data == b"later" else data


def pipe_over(held: Held) -> GrpcPipe[bytes]:
    pipe = GrpcPipe[bytes]("test", held, bytes, decode)
    pipe.start()
    return pipe


async def all_of(pipe: GrpcPipe[bytes]) -> tuple[list[bytes], str]:
    got = []
    try:
        async for frame in pipe.frames():
            got.append(frame)
    except LinkLost as lost:
        return got, str(lost)
    raise AssertionError("frames ended without LinkLost")


def test_who_says_too_much_is_read_slowly() -> None:
    """Beyond the burst the reader waits, so that flow control holds the other side back; nothing is dropped."""

    async def play() -> None:
        held = Held()
        pipe = GrpcPipe[bytes]("test", held, bytes, decode, pace=Pace(rate=4 * LINK_FRAME_COST_BYTES, burst=1))
        for number in range(3):
            held.arriving.put_nowait(bytes([number]))
        held.arriving.put_nowait(grpc.aio.EOF)
        pipe.start()
        await asyncio.sleep(0)
        assert held.reads == 1
        got, _ = await all_of(pipe)
        assert got == [b"\0", b"\1", b"\2"]

    asyncio.run(play())


def test_who_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that cannot leave for long ends the pipe: what waits behind it would wait for ever."""
    monkeypatch.setattr(pipe_module, "PIPE_STALL_S", 0.05)

    async def play() -> None:
        held = Held()
        held.open.clear()
        pipe = pipe_over(held)
        await pipe.send(b"x")
        assert await pipe.ended() == "the other side does not read"

    asyncio.run(play())


def test_frames_keep_their_order_and_the_end_has_a_reason() -> None:
    """What arrives comes out in order, frames of later versions are skipped, and the end raises LinkLost."""

    async def run() -> None:
        held = Held()
        pipe = pipe_over(held)
        for item in (b"1", b"later", b"2", b"3", grpc.aio.EOF):
            held.arriving.put_nowait(item)
        assert await all_of(pipe) == ([b"1", b"2", b"3"], "the other side closed the stream")
        assert pipe.received_bytes == 8
        with pytest.raises(LinkLost):
            await pipe.send(b"late")

    asyncio.run(run())


def test_nonsense_ends_the_pipe_and_says_so() -> None:
    """A peer's fault ends the pipe; what came before it is still given, what comes after is not."""

    async def run() -> None:
        held = Held()
        pipe = pipe_over(held)
        for item in (b"1", b"bad", b"2"):
            held.arriving.put_nowait(item)
        got, why = await all_of(pipe)
        assert got == [b"1"]
        assert "nonsense" in why
        assert isinstance(pipe.fault, PeerFault)

    asyncio.run(run())


def test_a_broken_stream_wakes_everybody() -> None:
    """A consumer that waits for a frame and a sender that waits for room both hear of the end."""

    async def run() -> None:
        held = Held()
        held.open.clear()
        pipe = pipe_over(held)
        consumer = asyncio.ensure_future(all_of(pipe))
        for _ in range(PIPE_OUT_FRAMES_MAX + 1):  # one is being written, the queue is full
            await pipe.send(b"x")
            await asyncio.sleep(0)
        sender = asyncio.ensure_future(pipe.send(b"no room"))
        await asyncio.sleep(0)
        assert not sender.done()
        held.arriving.put_nowait(grpc.aio.UsageError("broken"))
        assert await consumer == ([], "broken")
        with pytest.raises(LinkLost, match="broken"):
            await sender
        assert await pipe.ended() == "broken"

    asyncio.run(run())


def test_what_waits_to_be_written_is_bounded() -> None:
    """Senders wait once so many bytes wait, and go on when there is room again."""

    async def run() -> None:
        held = Held()
        held.open.clear()
        pipe = pipe_over(held)
        half = bytes(PIPE_OUT_BYTES_MAX // 2)
        await pipe.send(half)
        await pipe.send(half)
        third = asyncio.ensure_future(pipe.send(half))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not third.done()
        held.open.set()
        await third
        await pipe.finish("done")
        assert [len(data) for data in held.written] == [len(half)] * 3
        assert pipe.sent_bytes == 3 * len(half)

    asyncio.run(run())


def test_what_is_read_ahead_is_bounded() -> None:
    """With nobody consuming, the pipe stops reading, so that flow control can hold the sender."""

    async def run() -> None:
        held = Held()
        pipe = pipe_over(held)
        for number in range(100):
            held.arriving.put_nowait(b"%d" % number)
        for _ in range(300):
            await asyncio.sleep(0)
        assert held.reads == PIPE_IN_FRAMES_MAX + 1
        pipe.end("enough")
        await pipe.ended()

    asyncio.run(run())


def test_a_farewell_leaves_before_the_end() -> None:
    """Finishing writes what was sent; a peer that does not read cannot hold us for long."""

    async def run() -> None:
        held = Held()
        pipe = pipe_over(held)
        await pipe.send(b"bye")
        await pipe.finish("closed")
        assert held.written == [b"bye"]
        stuck = Held()
        stuck.open.clear()
        pipe = pipe_over(stuck)
        await pipe.send(b"bye")
        await pipe.finish("closed", timeout_s=0.01)
        assert stuck.written == []
        assert await pipe.ended() == "closed"

    asyncio.run(run())


def test_a_full_inbox_does_not_hinder_the_end() -> None:
    """Finishing a pipe that nobody reads any more still sees the other side close."""

    async def run() -> None:
        held = Held()
        halves: list[bool] = []

        async def half_close() -> None:
            halves.append(True)
            held.arriving.put_nowait(grpc.aio.EOF)

        pipe = GrpcPipe[bytes]("test", held, bytes, decode, half_close=half_close)
        pipe.start()
        for _ in range(50):
            held.arriving.put_nowait(b"x")
        for _ in range(300):
            await asyncio.sleep(0)
        assert held.reads == PIPE_IN_FRAMES_MAX + 1  # the reader is stuck for want of a consumer
        await pipe.finish("closed", timeout_s=1)
        assert halves == [True]
        assert held.arriving.empty()

    asyncio.run(run())


def test_a_frame_that_does_not_fit_is_the_senders_error() -> None:
    """Sending more than a message can hold raises at the sender and leaves the pipe alive."""

    async def run() -> None:
        held = Held()
        pipe = pipe_over(held)
        with pytest.raises(ValueError, match="does not fit"):
            await pipe.send(bytes(MESSAGE_BYTES_MAX + 1))
        await pipe.send(b"fine")
        await pipe.finish("done")
        assert held.written == [b"fine"]

    asyncio.run(run())


def test_heavy_frames_are_encoded_elsewhere() -> None:
    """Encoding that takes time leaves the event loop to the pings."""

    async def run() -> None:
        threads = []

        def encode(frame: bytes) -> bytes:
            threads.append(threading.current_thread() is threading.main_thread())
            return frame

        held = Held()
        pipe = GrpcPipe[bytes]("test", held, encode, decode, heavy=lambda frame: len(frame) > 1)
        pipe.start()
        await pipe.send(b"a")
        await pipe.send(b"bb")
        assert threads == [True, False]
        await pipe.finish("done")

    asyncio.run(run())
