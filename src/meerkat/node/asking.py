"""Content over the Carry streams: pieces asked for and served, in both directions.

`core/fetch` decides what to ask from whom; this room sends the questions and checks every answer against its digest.
The only back-and-forth of the house is in here. Memory is bounded by the in-flight limits.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from meerkat.core import fetch
from meerkat.core.delta import Basis
from meerkat.core.swarm import is_part
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author, Vector
from meerkat.model.frame import Cancel, CarryFrame, Delta, Give, Lack, LinkLost, Piece, PieceAsk, given_bytes
from meerkat.model.ids import NodeId
from meerkat.model.limits import ASKS_IN_SERVICE_MAX, DELTA_BASES_BYTES_MAX, DELTA_MARKS_PER_ASK_MAX
from meerkat.model.problem import PathBlocked, no_source
from meerkat.node.books import Books
from meerkat.node.giving import Giving
from meerkat.node.hub import Hub
from meerkat.node.inquiry import Inquiry
from meerkat.node.ports import Pipe
from meerkat.node.serve import is_piece
from meerkat.node.tasks import Tasks

log = logging.getLogger("meerkat.asking")

NO_BASES: Mapping[Piece, Basis] = {}


class Asked(NamedTuple):
    """What one question asked for; `bases`: what was sketched in it, by index."""

    pieces: tuple[Piece, ...]
    bases: dict[int, Basis]


class Asking:
    """Asks members for pieces, and serves what they ask for.

    Attributes:
        on_spoiled: told who gave wrong bytes.
        giving: answers what others ask for.
    """

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        hub: Hub,
        threads: ThreadPoolExecutor,
        tasks: Tasks,
        rng: random.Random,
    ) -> None:
        self._hub = hub
        self._tasks = tasks
        self.on_spoiled: Callable[[NodeId], None] = lambda node: None
        self._fetch = fetch.Fetch(rng)
        self._pipes: dict[NodeId, Pipe[CarryFrame]] = {}
        self._asked: dict[tuple[NodeId, int], Asked] = {}
        self._bases: dict[Piece, Basis] = {}
        self._bases_bytes = 0
        self._waiting: dict[Piece, asyncio.Future[bytes]] = {}
        self._wanters: dict[Piece, int] = {}
        self._progress: dict[NodeId, dict[Author, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.giving = Giving(root, stage, trash, books, threads, self._pipes.keys(), self._coming)
        self.inquiry = Inquiry(self._send, is_piece)

    # ---- sources

    async def attend(self, node: NodeId, pipe: Pipe[CarryFrame]) -> None:
        """Ask and serve over one member's Carry stream until it ends."""
        self._pipes[node] = pipe
        serving: dict[int, asyncio.Task[None]] = {}
        slots = asyncio.Semaphore(ASKS_IN_SERVICE_MAX)
        self._handle(fetch.SourceOpened(node))
        try:
            async for frame in pipe.frames():
                match frame:
                    case PieceAsk(id=number):
                        await slots.acquire()
                        task = self._tasks.spawn(f"serve {node} {number}", self.giving.serve(node, pipe, frame, slots))
                        serving[number] = task
                        task.add_done_callback(partial(_forget, serving, number))
                    case Give() | Lack() if self.inquiry.heard(node, frame):
                        pass
                    case Give():
                        self._given(node, frame)
                    case Lack():
                        self._lacked(node, frame)
                    case Cancel(id=number):
                        if number in serving:
                            serving[number].cancel()
        finally:
            for task in list(serving.values()):
                task.cancel()
            if self._pipes.get(node) is pipe:
                del self._pipes[node]
                self._progress.pop(node, None)
                for key in [key for key in self._asked if key[0] == node]:
                    del self._asked[key]
                self.inquiry.closed(node)
                self._handle(fetch.SourceClosed(node))

    def progressed(self, node: NodeId, complete: Vector) -> bool:
        """That node may have more than before: what it lacked it may have now. Being told the same again is no such
        news (False): what two sources lack would for ever be about to be asked for once more."""
        if node not in self._pipes or self._progress.get(node) == complete:
            return False
        self._progress[node] = dict(complete)
        self._handle(fetch.SourceProgressed(node))
        return True

    def linked(self) -> set[NodeId]:
        """The members that can be asked."""
        return set(self._pipes)

    # ---- the machine and its answers

    def _handle(self, event: fetch.Event) -> None:
        loop = asyncio.get_running_loop()
        for command in self._fetch.handle(event, loop.time()):
            match command:
                case fetch.SendAsk(node, number, pieces):
                    bases = self._bases_for(pieces)
                    self._asked[node, number] = Asked(pieces, bases)
                    sketches = tuple((index, basis.sketch) for index, basis in bases.items())
                    ask = PieceAsk(number, pieces, sketches, any(map(is_part, pieces)))
                    self._tasks.spawn(f"ask {node} {number}", self._send(node, ask))
                case fetch.CancelAsk(node, number):
                    self._asked.pop((node, number), None)
                    self._tasks.spawn(f"cancel {node} {number}", self._send(node, Cancel(number)))
                case fetch.ReportStuck(piece):
                    self._stuck(piece)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self._fetch.wake_at()
        if wake_at is not None:
            self._timer = loop.call_at(wake_at, self._handle, fetch.Tick())

    async def _send(self, node: NodeId, frame: CarryFrame) -> None:
        pipe = self._pipes.get(node)
        if pipe is not None:
            try:
                await pipe.send(frame)
            except LinkLost:
                pass  # the reader's end tells the machine

    def _given(self, node: NodeId, give: Give) -> None:
        asked = self._asked.get((node, give.id))
        if asked is None:
            return  # an answer to a question given up
        arrived: list[Piece] = []
        for index, item in enumerate(give.data, give.first):
            if index >= len(asked.pieces):
                break
            piece = asked.pieces[index]
            data = _whole(piece, item, asked.bases.get(index))
            if data is None:
                log.warning("%s gave wrong bytes for %s", node, piece.object.hex()[:12])
                self._handle(fetch.PieceSpoiled(node, piece))
                self.on_spoiled(node)
                continue
            came = given_bytes(item)
            self._hub.traffic.received += came
            self._hub.traffic.reused += len(data) - came
            future = self._waiting.get(piece)
            if future is not None and not future.done():
                future.set_result(data)
                self.giving.arrived(piece, data)
            arrived.append(piece)
        if arrived:
            self._handle(fetch.PiecesArrived(node, give.id, tuple(arrived)))
        self._forget_answered(node, give.id)

    def _lacked(self, node: NodeId, lack: Lack) -> None:
        asked = self._asked.get((node, lack.id))
        for index in lack.pieces if asked is not None else ():
            if asked is not None and index < len(asked.pieces):
                self._handle(fetch.PieceLacked(node, lack.id, asked.pieces[index]))
        if asked is not None and lack.elsewhere:
            pointed = ((asked.pieces[index], to) for index, to in lack.elsewhere if index < len(asked.pieces))
            self._handle(fetch.PiecesPointed(node, lack.id, tuple(pointed)))
        self._forget_answered(node, lack.id)

    def _forget_answered(self, node: NodeId, number: int) -> None:
        """Links live for months: what was asked over them must not pile up."""
        if not self._fetch.is_open(node, number):
            self._asked.pop((node, number), None)

    def _stuck(self, piece: Piece) -> None:
        future = self._waiting.get(piece)
        if future is not None and not future.done():
            future.set_exception(PathBlocked(no_source()))

    # ---- wanting

    async def piece(
        self, piece: Piece, *, urgent: bool, hints: tuple[NodeId, ...] = (), basis: Basis | None = None
    ) -> bytes:
        """The checked bytes of one piece, from whoever has it.

        Args:
            basis: what is here that it may resemble.

        Raises:
            PathBlocked: no_source_online, when no linked member has it.
        """
        bases = {} if basis is None else {piece: basis}
        (answer,) = await self.pieces([fetch.Want(piece, hints, urgent)], bases)
        if isinstance(answer, PathBlocked):
            raise answer
        return answer

    async def pieces(
        self, wants: Sequence[fetch.Want], bases: Mapping[Piece, Basis] = NO_BASES
    ) -> list[bytes | PathBlocked]:
        """The checked bytes of many pieces, asked for together; for each that no linked member has: why not."""
        if not self._pipes:
            return [PathBlocked(no_source()) for _ in wants]
        futures = [self._expect(want.piece) for want in wants]
        for piece, basis in bases.items():
            if piece not in self._bases and self._bases_bytes + basis.length <= DELTA_BASES_BYTES_MAX:
                self._bases[piece] = basis
                self._bases_bytes += basis.length
        self._handle(fetch.PiecesWanted(tuple(wants)))
        try:
            await asyncio.wait(set(futures))
        finally:
            for want, future in zip(wants, futures, strict=True):
                self._expect_no_more(want.piece, future)
        return [future.exception() or future.result() for future in futures]  # type: ignore[misc]  # only PathBlocked is set

    def _bases_for(self, pieces: Sequence[Piece]) -> dict[int, Basis]:
        """What goes along with a question for these, as far as it has room."""
        bases = {}
        room = DELTA_MARKS_PER_ASK_MAX
        for index, piece in enumerate(pieces) if self._bases else ():
            basis = self._bases.get(piece)
            if basis is not None and basis.sketch.count <= room:
                bases[index] = basis
                room -= basis.sketch.count
        return bases

    def _expect(self, piece: Piece) -> "asyncio.Future[bytes]":
        future = self._waiting.get(piece)
        if future is None or future.done():
            future = self._waiting[piece] = asyncio.get_running_loop().create_future()
        self._wanters[piece] = self._wanters.get(piece, 0) + 1
        return future

    def _coming(self, piece: Piece, asker: NodeId) -> "asyncio.Future[bytes] | None":
        asked = self._fetch.asked_of(piece)
        return self._waiting.get(piece) if asked is not None and asked != asker else None

    def _expect_no_more(self, piece: Piece, future: "asyncio.Future[bytes]") -> None:
        self._wanters[piece] -= 1
        if not self._wanters[piece]:
            del self._wanters[piece]
            basis = self._bases.pop(piece, None)
            self._bases_bytes -= basis.length if basis is not None else 0
            if self._waiting.get(piece) is future:
                del self._waiting[piece]
        if not future.done() or future.exception() is not None:
            self._handle(fetch.PieceUnwanted(piece))
        if not self._waiting:
            self.giving.rest()


def _whole(piece: Piece, item: bytes | Delta, basis: Basis | None) -> bytes | None:
    """The piece's bytes, checked; None when they are others."""
    if isinstance(item, Delta):
        restored = basis.restore(item, piece.length) if basis is not None else None
        return restored if restored is not None and is_piece(piece, restored) else None
    return item if is_piece(piece, item) else None


def _forget(serving: dict[int, asyncio.Task[None]], number: int, _: asyncio.Task[None]) -> None:
    serving.pop(number, None)
