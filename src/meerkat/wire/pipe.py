"""One stream of frames in each direction over one gRPC stream, whoever opened it.

Invariants: what waits to be written is bounded in frames and bytes, and senders wait for room; what is read ahead is
bounded, and HTTP/2 flow control holds the other side beyond that; frames come out in the order in which they came in;
a pipe ends once, for one reason, and everybody who waits on it then hears that reason as a `LinkLost`.

Encoding happens in `send`, so that a frame that cannot be encoded is its sender's error and not the pipe's end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import grpc
import grpc.aio

from meerkat.core.pace import Pace
from meerkat.model.frame import LinkLost, PeerFault
from meerkat.model.limits import (
    LINK_FRAME_COST_BYTES,
    MESSAGE_BYTES_MAX,
    PIPE_DRAIN_S,
    PIPE_IN_FRAMES_MAX,
    PIPE_OUT_BYTES_MAX,
    PIPE_OUT_FRAMES_MAX,
    PIPE_STALL_S,
)

logger = logging.getLogger(__name__)

Frame = TypeVar("Frame")

TRANSPORT_FAULTS = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What grpcio raises when a stream breaks, ends or was cut."""

_CAUSES = {
    grpc.StatusCode.PERMISSION_DENIED: "not a member any more",
    grpc.StatusCode.UNAUTHENTICATED: "not a member any more",
    grpc.StatusCode.UNAVAILABLE: "the connection broke",
    grpc.StatusCode.CANCELLED: "the other side cut the stream",
    grpc.StatusCode.INVALID_ARGUMENT: "the other side refused what was sent",
}


class Stream(Protocol):
    """What a pipe needs of a gRPC stream: a client's call and a server's context both have it."""

    async def read(self) -> object: ...
    async def write(self, message: bytes, /) -> None: ...


def describe(fault: BaseException) -> str:
    """Why a stream ended, for people."""
    if isinstance(fault, grpc.aio.AioRpcError):
        cause = _CAUSES.get(fault.code(), fault.code().name.lower())
        details = fault.details()
        return f"{cause} ({details})" if details else cause
    return str(fault) or type(fault).__name__


class GrpcPipe(Generic[Frame]):
    """A `Pipe` of the engine's ports over a gRPC stream of raw bytes.

    Args:
        name: for tasks and logs.
        stream: where bytes are read and written.
        encode, decode: between frames and bytes; `decode` gives None for a frame to skip and raises `PeerFault`.
        hang_up: cuts the stream at once; called when the pipe ends.
        half_close: says "no more from me" (a client's side); None where ending the pipe ends the stream in order (a
            server's side).
        heavy: tells frames whose encoding belongs in a worker thread.
        pace: how many bytes are read in what time; None: as fast as they come.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        encode: Callable[[Frame], bytes],
        decode: Callable[[bytes], Frame | None],
        hang_up: Callable[[], object] = lambda: None,
        half_close: Callable[[], Awaitable[None]] | None = None,
        heavy: Callable[[Frame], bool] = lambda frame: False,
        pace: Pace | None = None,
    ) -> None:
        self.name = name
        self.sent_bytes = 0
        self.received_bytes = 0
        self.fault: PeerFault | None = None
        """What the peer did wrong, where that ended the pipe."""
        self._stream = stream
        self._encode = encode
        self._decode = decode
        self._hang_up = hang_up
        self._half_close = half_close
        self._heavy = heavy
        self._pace = pace
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._writing = False
        self._finishing = self._hushed = False
        self._changed = asyncio.Event()
        self._in: asyncio.Queue[Frame | None] = asyncio.Queue(PIPE_IN_FRAMES_MAX)
        self._why: str | None = None
        self._over = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        """Begin reading and writing. Call once, inside the event loop."""
        # Wire stands below node.tasks; both tasks belong to this pipe, which reaps them in `ended`.
        self._tasks = (
            asyncio.create_task(self._read_all(), name=f"{self.name} reader"),  # noqa: TID251
            asyncio.create_task(self._write_all(), name=f"{self.name} writer"),  # noqa: TID251
        )

    async def send(self, frame: Frame) -> None:
        """Queue the frame, waiting while too many wait already.

        Raises:
            LinkLost: the pipe has ended.
            ValueError: the frame cannot be encoded, or is larger than a message may be: the caller's bug.
        """
        if self._why is not None:
            raise LinkLost(self._why)
        data = await asyncio.to_thread(self._encode, frame) if self._heavy(frame) else self._encode(frame)
        if len(data) > MESSAGE_BYTES_MAX:
            raise ValueError(f"a {type(frame).__name__} of {len(data)} bytes does not fit into a message")
        await self._until(lambda: self._has_room(len(data)))
        if self._why is not None or self._hushed:
            raise LinkLost(self._why or "closed here")
        self._out.append(data)
        self._out_bytes += len(data)
        self._wake()

    def _wake(self) -> None:
        """Let everybody who waits in `_until` look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition holds or the pipe has ended."""
        while self._why is None and not holds():
            await self._changed.wait()

    def _has_room(self, size: int) -> bool:
        return not self._out or (len(self._out) < PIPE_OUT_FRAMES_MAX and self._out_bytes + size <= PIPE_OUT_BYTES_MAX)

    async def frames(self) -> AsyncIterator[Frame]:
        """What arrives, in order; at most one consumer. What arrived before the end is still given.

        Raises:
            LinkLost: always in the end, saying why.
        """
        while True:
            if self._in.empty() and self._why is not None:
                raise LinkLost(self._why)
            frame = await self._in.get()
            if frame is not None:
                yield frame

    async def _read_all(self) -> None:
        why = "the other side closed the stream"
        try:
            while (data := await self._stream.read()) is not grpc.aio.EOF:
                assert isinstance(data, bytes)
                self.received_bytes += len(data)
                if self._pace is not None:
                    await self._hold_back(self._pace, len(data))
                frame = self._decode(data)
                if frame is not None and not self._finishing:
                    await self._in.put(frame)
        except PeerFault as fault:
            self.fault = fault
            why = f"the other side sent nonsense: {fault}"
        except TRANSPORT_FAULTS as fault:
            why = describe(fault)
        except asyncio.CancelledError:
            why = "the stream was cut"
            raise
        except Exception as fault:  # the driver's edge: our own bug ends this link and no other
            logger.exception("%s: reading failed", self.name)
            why = f"reading failed: {fault}"
        finally:
            self.end(why)

    async def _hold_back(self, pace: Pace, size: int) -> None:
        wait = pace.spend(size + LINK_FRAME_COST_BYTES, asyncio.get_running_loop().time())
        if wait > 0 and not self._finishing:
            await asyncio.sleep(wait)

    async def _write_all(self) -> None:
        why = "the stream was cut"
        try:
            while True:
                await self._until(lambda: bool(self._out))
                if self._why is not None:
                    return
                data = self._out.popleft()
                self._writing = True
                self.sent_bytes += len(data)
                async with asyncio.timeout(PIPE_STALL_S):
                    await self._stream.write(data)
                self._writing = False
                self._out_bytes = max(0, self._out_bytes - len(data))
                self._wake()
        except TimeoutError:
            why = "the other side does not read"
        except TRANSPORT_FAULTS as fault:
            why = describe(fault)
        except Exception as fault:  # the driver's edge, as above
            logger.exception("%s: writing failed", self.name)
            why = f"writing failed: {fault}"
        finally:
            self.end(why)

    async def finish(self, why: str, timeout_s: float = PIPE_DRAIN_S) -> None:
        """End the pipe in order: what was sent leaves first, but a peer that does not read holds us `timeout_s` at
        most. What arrives meanwhile is dropped."""
        self._finishing = True
        while not self._in.empty():
            self._in.get_nowait()  # nobody consumes any more, and a reader stuck here would not see the end
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: not (self._out or self._writing))
                if self._why is None and self._half_close is not None:
                    # Cutting the stream right away could overtake what was just written.
                    await self._half_close()
                    await self._over.wait()
        except TimeoutError:
            pass  # the peer forgoes our farewell
        except TRANSPORT_FAULTS as fault:
            logger.debug("%s: closing: %s", self.name, describe(fault))
        self.end(why)
        await self.ended()

    def hush(self) -> None:
        """Nothing that waits leaves any more, and nothing that comes is heard; the stream stays until it is ended."""
        self._finishing = self._hushed = True
        self._out.clear()
        self._out_bytes = 0
        while not self._in.empty():
            self._in.get_nowait()
        self._wake()

    def end(self, why: str) -> None:
        """End the pipe now; the first reason stays. What still waits to be written is dropped."""
        if self._why is not None:
            return
        self._why = why
        self._out.clear()
        self._hang_up()
        self._over.set()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        if self._in.empty():
            self._in.put_nowait(None)  # wakes a consumer; with frames in the queue it is awake or will find the end
        self._wake()

    async def ended(self) -> str:
        """Wait for the end, and for the pipe's tasks to be gone; the reason."""
        await self._over.wait()
        current = asyncio.current_task()
        await asyncio.gather(*(task for task in self._tasks if task is not current), return_exceptions=True)
        assert self._why is not None
        return self._why
