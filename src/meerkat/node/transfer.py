"""Content over the Carry streams: asked for and served in both directions, assembled in the stage.

`core/fetch` decides what to ask from whom; this room sends the questions, checks every answer against its digest and
lays the bytes down. The only back-and-forth of the house is in here. Memory is bounded by the in-flight limits: a
large file is never held, only a window of its chunks.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from blake3 import blake3

from meerkat.core import fetch
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author, Dot, Vector
from meerkat.model.frame import Cancel, CarryFrame, Give, Lack, LinkLost, Piece, PieceAsk
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import ASKS_IN_SERVICE_MAX, BULK_WINDOW_CHUNKS, CHUNK_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked, Problem, lie, no_source
from meerkat.model.recipe import Chunk, Recipe, RecipeFault, recipe_bytes_max, unpack_recipe
from meerkat.model.version import Version
from meerkat.node.books import Books
from meerkat.node.hub import Hub
from meerkat.node.inquiry import Inquiry
from meerkat.node.ports import Pipe, View
from meerkat.node.serve import Assembled, answer, is_piece, own, read_file, serve
from meerkat.node.tasks import Tasks

log = logging.getLogger("meerkat.transfer")

T = TypeVar("T")


class Transfer:
    """Fetches what is wanted, serves what is asked.

    Attributes:
        on_suspect: told, from worker threads, of files that had not the bytes that somebody asked for (see `serve`).
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
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._hub = hub
        self._threads = threads
        self._tasks = tasks
        self._rng = rng
        self.on_suspect: Callable[[RelPath], None] = lambda path: None
        self._fetch = fetch.Fetch(rng)
        self._pipes: dict[NodeId, Pipe[CarryFrame]] = {}
        self._asked: dict[tuple[NodeId, int], tuple[Piece, ...]] = {}
        self._waiting: dict[Piece, asyncio.Future[bytes]] = {}
        self._wanters: dict[Piece, int] = {}
        self._progress: dict[NodeId, dict[Author, int]] = {}
        self._partials: dict[Digest, set[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.morsel: Callable[[Version], bytes | None] = lambda version: None
        self.on_spoiled: Callable[[NodeId], None] = lambda node: None
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
                        task = self._tasks.spawn(f"serve {node} {number}", self._serve(pipe, frame, slots))
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

    def staged(self, content: Digest) -> list[str]:
        """The stage names in which that content is being assembled (see `serve`)."""
        return list(self._partials.get(content, ()))

    def linked(self) -> set[NodeId]:
        """The members that can be asked."""
        return set(self._pipes)

    async def own(self, pieces: Sequence[Piece]) -> list[bool]:
        """Which of these pieces this disk has: in the folder, in the trash or in the stage."""
        here = self._root, self._stage, self._trash, Assembled(self, self._stage), tuple(pieces)
        return await self._in_thread(lambda: self._books.read_here(lambda view: own(view, *here)))

    async def _serve(self, pipe: Pipe[CarryFrame], ask: PieceAsk, slots: asyncio.Semaphore) -> None:
        assembled = Assembled(self, self._stage)
        try:
            answers = await self._in_thread(
                lambda: self._books.read_here(
                    lambda view: serve(
                        view, self._root, self._stage, self._trash, assembled, ask.pieces, self.on_suspect
                    )
                )
            )
            for frame in answer(ask.id, answers):
                await pipe.send(frame)
        except LinkLost:
            pass
        finally:
            slots.release()

    # ---- the machine and its answers

    def _handle(self, event: fetch.Event) -> None:
        loop = asyncio.get_running_loop()
        for command in self._fetch.handle(event, loop.time()):
            match command:
                case fetch.SendAsk(node, number, pieces):
                    self._asked[node, number] = pieces
                    self._tasks.spawn(f"ask {node} {number}", self._send(node, PieceAsk(number, pieces)))
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
        pieces = self._asked.get((node, give.id))
        if pieces is None:
            return  # an answer to a question given up
        for index, data in enumerate(give.data, give.first):
            if index >= len(pieces):
                return
            piece = pieces[index]
            if not is_piece(piece, data):
                log.warning("%s gave wrong bytes for %s", node, piece.object.hex()[:12])
                self._handle(fetch.PieceSpoiled(node, piece))
                self.on_spoiled(node)
                continue
            self._hub.traffic.received += len(data)
            future = self._waiting.get(piece)
            if future is not None and not future.done():
                future.set_result(data)
            self._handle(fetch.PieceArrived(node, give.id, piece))
        self._forget_answered(node, give.id)

    def _lacked(self, node: NodeId, lack: Lack) -> None:
        pieces = self._asked.get((node, lack.id))
        for index in lack.pieces if pieces is not None else ():
            if pieces is not None and index < len(pieces):
                self._handle(fetch.PieceLacked(node, lack.id, pieces[index]))
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

    async def piece(self, piece: Piece, *, urgent: bool, hints: tuple[NodeId, ...] = ()) -> bytes:
        """The checked bytes of one piece, from whoever has it.

        Raises:
            PathBlocked: no_source_online, when no linked member has it.
        """
        (answer,) = await self.pieces([fetch.Want(piece, hints, urgent)])
        if isinstance(answer, PathBlocked):
            raise answer
        return answer

    async def pieces(self, wants: Sequence[fetch.Want]) -> list[bytes | PathBlocked]:
        """The checked bytes of many pieces, asked for together; for each that no linked member has: why not."""
        if not self._pipes:
            return [PathBlocked(no_source()) for _ in wants]
        futures = [self._expect(want.piece) for want in wants]
        self._handle(fetch.PiecesWanted(tuple(wants)))
        try:
            await asyncio.wait(set(futures))
        finally:
            for want, future in zip(wants, futures, strict=True):
                self._expect_no_more(want.piece, future)
        return [future.exception() or future.result() for future in futures]  # type: ignore[misc]  # only PathBlocked is set

    def _expect(self, piece: Piece) -> "asyncio.Future[bytes]":
        future = self._waiting.get(piece)
        if future is None or future.done():
            future = self._waiting[piece] = asyncio.get_running_loop().create_future()
        self._wanters[piece] = self._wanters.get(piece, 0) + 1
        return future

    def _expect_no_more(self, piece: Piece, future: "asyncio.Future[bytes]") -> None:
        self._wanters[piece] -= 1
        if not self._wanters[piece]:
            del self._wanters[piece]
            if self._waiting.get(piece) is future:
                del self._waiting[piece]
        if not future.done() or future.exception() is not None:
            self._handle(fetch.PieceUnwanted(piece))

    # ---- assembling

    async def small(
        self, wanted: Sequence[tuple[str, Version, tuple[NodeId, ...]]], on_blocked: Callable[[str, Problem], None]
    ) -> dict[str, int]:
        """Stage files of one chunk, many together.

        Args:
            wanted: stage name, version, likely holders.
            on_blocked: called for each that cannot be had now.

        Returns:
            the inode of each name that is staged (checked, not yet durable).
        """
        local = await self._in_thread(
            lambda: self._books.read_here(partial(self._read_local, [(name, version) for name, version, _ in wanted]))
        )
        wants = [
            fetch.Want(_whole(version), hints, urgent=True)
            for _, version, hints in wanted
            if 0 < version.size <= CHUNK_BYTES_MAX and version.digest not in local
        ]
        fetched = (
            dict(zip((want.piece.object for want in wants), await self.pieces(wants), strict=True)) if wants else {}
        )
        ready: list[tuple[str, Version, bytes]] = []
        for name, version, _ in wanted:
            data = b"" if not version.size else local.get(version.digest) or fetched.get(version.digest)
            if data is None:
                on_blocked(name, lie("a file of this size needs a recipe"))
            elif isinstance(data, PathBlocked):
                on_blocked(name, data.problem)
            else:
                ready.append((name, version, data))
        inodes, troubles = await self._in_thread(partial(self._write_all, ready))
        for name, problem in troubles:
            on_blocked(name, problem)
        return inodes

    def _read_local(self, wanted: Iterable[tuple[str, Version]], view: View) -> dict[Digest, bytes]:
        found: dict[Digest, bytes] = {}
        for name, version in wanted:
            if not version.size or version.digest in found:
                continue
            data = self.morsel(version)
            if data is not None:
                found[version.digest] = data
                self._hub.traffic.received += len(data)
                continue
            data = self._read_here(name, version, view)
            if data is not None:
                found[version.digest] = data
                self._hub.traffic.reused += len(data)
        return found

    def _read_here(self, name: str, version: Version, view: View) -> bytes | None:
        """A small file's checked bytes, from this folder or the trash (the old name of what moved may be gone), or
        from an earlier try that could not put it down: since then nobody else may have them."""
        for path, base in view.locate_content(version.content):
            data = read_file(self._root, path, base, 0, version.size)
            if data is not None and blake3(data).digest() == version.digest:
                return data
        kept = self._trash.find(version.digest) if version.size <= CHUNK_BYTES_MAX else None
        if kept is not None:
            data = self._trash.read(kept, 0, version.size)
            if blake3(data).digest() == version.digest:
                return data
        if version.size <= CHUNK_BYTES_MAX:
            data = self._stage.read(name, 0, version.size)
            if blake3(data).digest() == version.digest:
                return data
        return None

    def _write_all(self, ready: list[tuple[str, Version, bytes]]) -> tuple[dict[str, int], list[tuple[str, Problem]]]:
        inodes, troubles = {}, []
        for name, version, data in ready:
            try:
                inodes[name] = self._stage.write_small(name, data, version)
            except PathBlocked as error:
                troubles.append((name, error.problem))
        return inodes, troubles

    async def bulk(self, name: str, version: Version, hints: tuple[NodeId, ...]) -> int:
        """Stage a file of several chunks: what the stage and this disk already have, then the rest from members.

        Returns:
            the staged inode; the whole was checked against its digest.

        Raises:
            PathBlocked: with the reason; what has been fetched stays for the next try.
        """
        names = self._partials.setdefault(version.digest, set())
        names.add(name)
        try:
            inode = await self._in_thread(partial(self._take_from_trash, name, version))
            if inode is not None:
                return inode
            await self._in_thread(partial(self._stage.ensure_room, name, version.size))
            recipe = await self._recipe(version, hints)
            missing = await self._in_thread(partial(self._prepare, name, version, recipe))
            missing = await self._in_thread(lambda: self._books.read_here(partial(self._fill_from_here, name, missing)))
            await self._fill_from_members(name, version, missing, hints)
            inode = await self._in_thread(partial(self._stage.seal, name, version))
            await self._books.write(lambda tx: tx.put_chunks(version.digest, recipe.chunks))
            return inode
        finally:
            names.discard(name)
            if not names:
                self._partials.pop(version.digest, None)

    def _take_from_trash(self, name: str, version: Version) -> int | None:
        """A large file that lies in the trash as a whole (it was moved, and its old name went first)."""
        kept = self._trash.find(version.digest)
        if kept is None or self._stage.inode(name) is not None:
            return None
        try:
            self._trash.take(kept, self._stage, name)
            inode = self._stage.seal(name, version)
        except (KeyError, PathBlocked):
            self._stage.drop(name)  # written to since, or rotten
            return None
        self._hub.traffic.reused += version.size
        return inode

    async def _recipe(self, version: Version, hints: tuple[NodeId, ...]) -> Recipe:
        packed = await self._books.read(lambda view: view.recipe(version.recipe))
        if packed is None:
            if not version.recipe:
                raise PathBlocked(lie("a file of this size needs a recipe"))
            parts: list[bytes] = []
            bytes_max = recipe_bytes_max(version.size)
            while not parts or (len(parts[-1]) == CHUNK_BYTES_MAX and len(parts) * CHUNK_BYTES_MAX < bytes_max):
                offset = len(parts) * CHUNK_BYTES_MAX
                part = Piece(version.recipe, offset, CHUNK_BYTES_MAX, recipe=True)
                parts.append(await self.piece(part, urgent=True, hints=hints))
            fetched = b"".join(parts)
            if blake3(fetched).digest() != version.recipe:
                raise PathBlocked(lie("its recipe is not the one announced"))
            await self._books.write(lambda tx: tx.put_recipe(version.recipe, fetched))
            packed = fetched
        try:
            return unpack_recipe(packed, version.size)
        except RecipeFault as error:
            raise PathBlocked(lie(f"its recipe is wrong: {error}")) from error

    def _prepare(self, name: str, version: Version, recipe: Recipe) -> list[Chunk]:
        """Make the staged file, or keep what an earlier try left: returns the chunks that are not in it."""
        existed = self._stage.inode(name) is not None
        self._stage.prepare(name, version.size)
        if not existed:
            return list(recipe.chunks)
        missing = []
        for chunk in recipe.chunks:
            if blake3(self._stage.read(name, chunk.offset, chunk.length)).digest() != chunk.digest:
                missing.append(chunk)
            else:
                self._hub.traffic.reused += chunk.length
        return missing

    def _fill_from_here(self, name: str, chunks: list[Chunk], view: View) -> list[Chunk]:
        missing = []
        for chunk in chunks:
            for place in view.locate_chunk(chunk.digest):
                if place.length == chunk.length and self._stage.copy_from(
                    name, chunk.offset, place.path, place.base, place.offset, place.length, chunk.digest
                ):
                    self._hub.traffic.reused += chunk.length
                    break
            else:
                missing.append(chunk)
        return missing

    async def _fill_from_members(
        self, name: str, version: Version, chunks: list[Chunk], hints: tuple[NodeId, ...]
    ) -> None:
        """Fetch a window of chunks at a time, in random order: nodes that fetch the same file then have different
        parts to offer each other."""
        self._rng.shuffle(chunks)
        rest = iter(chunks)
        total, done = len(chunks), 0

        async def worker() -> None:
            nonlocal done
            for chunk in rest:
                piece = Piece(version.digest, chunk.offset, chunk.length, chunk.digest)
                data = await self.piece(piece, urgent=False, hints=hints)
                await self._in_thread(partial(self._stage.write, name, chunk.offset, data))
                done += 1
                if done % BULK_WINDOW_CHUNKS == 0:
                    self._hub.tell("transfer.progress", digest=version.digest.hex(), done=done, total=total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(BULK_WINDOW_CHUNKS, len(chunks))):
                    group.create_task(worker())
        except ExceptionGroup as failed:  # the others were cancelled; one reason is enough
            raise failed.exceptions[0] from None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _forget(serving: dict[int, asyncio.Task[None]], number: int, _: asyncio.Task[None]) -> None:
    serving.pop(number, None)


def _whole(version: Version) -> Piece:
    """A file of one chunk as the piece that it is."""
    return Piece(version.digest, 0, version.size, version.digest)


def likely_holders(dots: Iterable[Dot]) -> tuple[NodeId, ...]:
    """Whoever wrote a version has its bytes, as long as it has not moved on."""
    return tuple({dot.author.node for dot in dots})
