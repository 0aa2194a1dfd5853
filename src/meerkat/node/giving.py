"""Answers to members' questions for content: from the disk, from what has just come, or by who else has it.

A piece that this node waits for itself is not refused: whoever asks gets it as soon as it is here. So what one member
has begun to fetch flows on through it, whether or not it has the file. Bytes that come are passed on only after their
check (G9). Waiting is bounded in number and time, and never for what the asker itself is asked for: two that lack the
same do not wait for each other.
"""

import asyncio
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from meerkat.core.swarm import Swarm, is_part
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.frame import CarryFrame, Give, Lack, LinkLost, Piece, PieceAsk
from meerkat.model.ids import NodeId
from meerkat.model.limits import COMING_MAX, COMING_WAIT_S, RECENT_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.node.books import Books
from meerkat.node.ports import Pipe
from meerkat.node.serve import Assembled, Partials, Staged, answer, own, serve, shortened

T = TypeVar("T")


class Giving:
    """Serves.

    Args:
        linked: the members that are online.
        coming: the checked bytes of a piece that was asked of somebody else than that member, when they come.

    Attributes:
        on_suspect: told, from worker threads, of files that had not the bytes that somebody asked for (see `serve`).
        partials: what is being assembled here, which is served as well.
    """

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        threads: ThreadPoolExecutor,
        linked: Container[NodeId],
        coming: Callable[[Piece, NodeId], "asyncio.Future[bytes] | None"],
    ) -> None:
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._threads = threads
        self._linked = linked
        self._coming = coming
        self._swarm = Swarm()
        self._recent: dict[Piece, bytes] = {}  # oldest first
        self._recent_bytes = 0
        self._held = 0
        self.on_suspect: Callable[[RelPath], None] = lambda path: None
        self.partials = Partials()

    def arrived(self, piece: Piece, data: bytes) -> None:
        """A piece has come and was checked: it may be asked for before it lies on the disk."""
        if not is_part(piece) or piece in self._recent:
            return
        self._recent[piece] = data
        self._recent_bytes += len(data)
        while self._recent_bytes > RECENT_BYTES_MAX:
            self._recent_bytes -= len(self._recent.pop(next(iter(self._recent))))

    def rest(self) -> None:
        """Nothing is fetched any more: what has come lies on the disk."""
        self._recent.clear()
        self._recent_bytes = 0

    async def own(self, pieces: Sequence[Piece]) -> list[bool]:
        """Which of these pieces this disk has: in the folder, in the trash or in the stage."""
        here = *self._places(), tuple(pieces)
        return await self._in_thread(lambda: self._books.read_here(lambda view: own(view, *here)))

    async def serve(self, node: NodeId, pipe: Pipe[CarryFrame], ask: PieceAsk, slots: asyncio.Semaphore) -> None:
        """Answer one question; gives its slot back before it waits for what is still to come."""
        try:
            try:
                elsewhere = self._pointed(node, ask)
                answers = await self._look(ask, elsewhere)
                coming = self._coming_soon(node, ask, answers, elsewhere)
                told = await self._in_thread(lambda: shortened(answers, ask)) if ask.sketches else answers
                kept_back = coming.keys() | elsewhere.keys()
                for frame in answer(ask.id, told, kept_back, tuple(elsewhere.items())):
                    await pipe.send(frame)
            finally:
                slots.release()
            if coming:
                await self._pass_on(pipe, ask.id, coming)
        except LinkLost:
            pass

    def _pointed(self, node: NodeId, ask: PieceAsk) -> dict[int, NodeId]:
        """Whom to ask instead, by index."""
        if not ask.elsewhere:
            return {}
        now = asyncio.get_running_loop().time()
        pointed = {}
        for index, piece in enumerate(ask.pieces):
            to = self._swarm.asked(piece, node, self._linked, now) if is_part(piece) else None
            if to is not None:
                pointed[index] = to
        return pointed

    async def _look(self, ask: PieceAsk, elsewhere: Container[int]) -> list[bytes | None]:
        """What is here of the pieces."""
        answers = [None if index in elsewhere else self._recent.get(piece) for index, piece in enumerate(ask.pieces)]
        rest = [index for index, data in enumerate(answers) if data is None and index not in elsewhere]
        if rest:
            here = *self._places(), tuple(ask.pieces[index] for index in rest), self.on_suspect
            found = await self._in_thread(lambda: self._books.read_here(lambda view: serve(view, *here)))
            for index, data in zip(rest, found, strict=True):
                # It may have come while the disk was looked at.
                answers[index] = self._recent.get(ask.pieces[index]) if data is None else data
        return answers

    def _places(self) -> tuple[Root, Stage, Trash, Staged]:
        """Where bytes may lie here, for one question."""
        return self._root, self._stage, self._trash, Assembled(self.partials, self._stage)

    def _coming_soon(
        self, node: NodeId, ask: PieceAsk, answers: list[bytes | None], elsewhere: Container[int]
    ) -> dict[int, "asyncio.Future[bytes]"]:
        """What will be here soon, by index; what will not is forgotten to have been given."""
        coming: dict[int, asyncio.Future[bytes]] = {}
        for index, piece in enumerate(ask.pieces):
            if answers[index] is not None or index in elsewhere or not is_part(piece):
                continue
            future = self._coming(piece, node)
            if future is not None and self._held + len(coming) < COMING_MAX:
                coming[index] = future
            elif ask.elsewhere:
                self._swarm.lacked(piece)
        return coming

    async def _pass_on(self, pipe: Pipe[CarryFrame], number: int, coming: dict[int, "asyncio.Future[bytes]"]) -> None:
        """Give what comes as it comes; say of the rest that it is lacking."""
        self._held += len(coming)
        count = len(coming)
        loop = asyncio.get_running_loop()
        until = loop.time() + COMING_WAIT_S
        try:
            while coming and (left := until - loop.time()) > 0:
                await asyncio.wait(set(coming.values()), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                lacking = []
                for index, future in [each for each in coming.items() if each[1].done()]:
                    del coming[index]
                    if future.cancelled() or future.exception() is not None:
                        lacking.append(index)
                    else:
                        await pipe.send(Give(number, index, (future.result(),)))
                if lacking:
                    await pipe.send(Lack(number, tuple(lacking)))
            if coming:
                await pipe.send(Lack(number, tuple(coming)))
        finally:
            self._held -= count

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
