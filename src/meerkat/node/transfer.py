"""Files assembled in the stage, of what this disk has already and of pieces from members.

What comes from a member is checked before it is laid down, and the whole before it leaves (G9); what is copied from
this disk's own files is checked with the whole. A large file is never held in memory, only a window of its chunks.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from blake3 import blake3

from meerkat.core import fetch
from meerkat.core.delta import Basis
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Dot
from meerkat.model.frame import Piece
from meerkat.model.ids import Digest, NodeId
from meerkat.model.index import Located
from meerkat.model.limits import (
    ASK_BYTES_MAX,
    BULK_WINDOW_RUNS,
    CHUNK_BYTES_MAX,
    DELTA_BASES_BYTES_MAX,
    DELTA_FILE_BYTES_MIN,
)
from meerkat.model.problem import PathBlocked, Problem, Reason, lie
from meerkat.model.recipe import Chunk, Recipe, RecipeFault, recipe_bytes_max, unpack_recipe
from meerkat.model.version import Version
from meerkat.node.asking import Asking
from meerkat.node.books import Books
from meerkat.node.hub import Hub
from meerkat.node.likeness import Likeness, Replaced
from meerkat.node.ports import View
from meerkat.node.serve import read_file

T = TypeVar("T")

NOTHING_REPLACED: Mapping[str, Replaced] = {}


class Transfer:
    """Stages what is wanted.

    Attributes:
        morsel: the bytes of a very small file that rode with its entry.
    """

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        hub: Hub,
        threads: ThreadPoolExecutor,
        asking: Asking,
        rng: random.Random,
    ) -> None:
        self._asking = asking
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._hub = hub
        self._threads = threads
        self._rng = rng
        self.morsel: Callable[[Version], bytes | None] = lambda version: None

    async def small(
        self,
        wanted: Sequence[tuple[str, Version, tuple[NodeId, ...]]],
        on_blocked: Callable[[str, Problem], None],
        replaced: Mapping[str, Replaced] = NOTHING_REPLACED,
    ) -> dict[str, int]:
        """Stage files of one chunk, many together.

        Args:
            wanted: stage name, version, likely holders.
            on_blocked: called for each that cannot be had now.
            replaced: by stage name, what stands where the file shall stand, which it may resemble.

        Returns:
            the inode of each name that is staged (checked, not yet durable).
        """
        local, written = await self._in_thread(partial(self._stage_local, wanted))
        if written is None:
            ready = await self._fetch_small(wanted, replaced, local, on_blocked)
            written = await self._in_thread(partial(self._write_all, ready))
        inodes, troubles = written
        for name, problem in troubles:
            on_blocked(name, problem)
        return inodes

    async def _fetch_small(
        self,
        wanted: Sequence[tuple[str, Version, tuple[NodeId, ...]]],
        replaced: Mapping[str, Replaced],
        local: dict[Digest, bytes],
        on_blocked: Callable[[str, Problem], None],
    ) -> list[tuple[str, Version, bytes]]:
        """The bytes of each, where they can be had: those that are not here come from members."""
        wants = [
            fetch.Want(_whole(version), hints, urgent=True)
            for _, version, hints in wanted
            if 0 < version.size <= CHUNK_BYTES_MAX and version.digest not in local
        ]
        fetched = {}
        if wants:
            resembled = {
                _whole(version): replaced[name]
                for name, version, _ in wanted
                if name in replaced and version.size >= DELTA_FILE_BYTES_MIN and version.digest not in local
            }
            bases = await self._in_thread(partial(self._bases, resembled)) if resembled else {}
            answers = await self._asking.pieces(wants, bases)
            fetched = dict(zip((want.piece.object for want in wants), answers, strict=True))
        ready: list[tuple[str, Version, bytes]] = []
        for name, version, _ in wanted:
            data = b"" if not version.size else local.get(version.digest) or fetched.get(version.digest)
            if data is None:
                on_blocked(name, lie("a file of this size needs a recipe"))
            elif isinstance(data, PathBlocked):
                on_blocked(name, data.problem)
            else:
                ready.append((name, version, data))
        return ready

    def _bases(self, resembled: Mapping[Piece, Replaced]) -> dict[Piece, Basis]:
        """In a worker thread: what the pieces may resemble, as much as may be held in memory."""
        bases: dict[Piece, Basis] = {}
        held = 0
        with self._books.snapshot() as view:
            for piece, replaced in resembled.items():
                like = Likeness.of(view, self._root, replaced, self._rng)
                basis = like.of_whole() if like is not None else None
                if basis is not None and held + basis.length <= DELTA_BASES_BYTES_MAX:
                    bases[piece] = basis
                    held += basis.length
        return bases

    def _stage_local(
        self, wanted: Sequence[tuple[str, Version, tuple[NodeId, ...]]]
    ) -> tuple[dict[Digest, bytes], tuple[dict[str, int], list[tuple[str, Problem]]] | None]:
        """In a worker thread: the bytes that are here, and, where those are all, what came of staging them."""
        asked = [(name, version) for name, version, _ in wanted]
        local = self._books.read_here(partial(self._read_local, asked))
        if not all(version.digest in local or not version.size for _, version in asked):
            return local, None
        return local, self._write_all([(name, version, local.get(version.digest, b"")) for name, version in asked])

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

    async def bulk(
        self, name: str, version: Version, hints: tuple[NodeId, ...], replaced: Replaced | None = None
    ) -> int:
        """Stage a file of several chunks: what the stage and this disk already have, then the rest from members.

        Args:
            replaced: what stands where this file shall stand, which it may resemble.

        Returns:
            the staged inode; the whole was checked against its digest.

        Raises:
            PathBlocked: with the reason; what has been fetched stays for the next try.
        """
        with self._asking.giving.partials.assembling(version.digest, name):
            inode = await self._in_thread(partial(self._take_from_trash, name, version))
            if inode is not None:
                return inode
            await self._in_thread(partial(self._stage.ensure_room, name, version.size))
            like = await self._books.read(lambda view: Likeness.of(view, self._root, replaced, self._rng))
            recipe = await self._recipe(version, hints, like)
            inode = await self._anew(name, version, recipe, hints, like)
            if inode is None:
                missing = await self._in_thread(partial(self._prepare, name, version, recipe))
                fill = partial(self._fill_from_here, name, missing)
                missing = await self._in_thread(lambda: self._books.read_here(fill))
                await self._fill_from_members(name, version, missing, hints, like)
                inode = await self._in_thread(partial(self._stage.seal, name, version))
            await self._books.write(lambda tx: tx.put_chunks(version.digest, recipe.chunks))
            return inode

    async def _anew(
        self, name: str, version: Version, recipe: Recipe, hints: tuple[NodeId, ...], like: Likeness | None
    ) -> int | None:
        """Where nothing is staged yet: what this disk has is copied as it is, in long runs, and its check left to that
        of the whole. Most of an edited large file is what it was, and is read half as often so.

        Returns:
            None: something is staged, or the whole is not what it should be. Every chunk is to be looked at.
        """
        if await self._in_thread(partial(self._stage.inode, name)) is not None:
            return None
        await self._in_thread(partial(self._stage.prepare, name, version.size))
        copied, missing = await self._in_thread(
            lambda: self._books.read_here(partial(self._copy_from_here, name, recipe))
        )
        if like is not None:
            like.compare(recipe, missing)
        await self._fill_from_members(name, version, missing, hints, like)
        try:
            inode = await self._in_thread(partial(self._stage.seal, name, version))
        except PathBlocked as error:
            if not copied or error.problem.reason is not Reason.DIGEST_MISMATCH:
                raise
            return None  # a file here has rotted: its chunks are told apart one by one
        self._hub.traffic.reused += copied
        return inode

    def _copy_from_here(self, name: str, recipe: Recipe, view: View) -> tuple[int, list[Chunk]]:
        """In a worker thread: copy what this disk has, unchecked. Returns the bytes copied, and the other chunks."""
        copied = 0
        missing: list[Chunk] = []
        for run, place in _runs_here(recipe.chunks, view):
            length = sum(chunk.length for chunk in run)
            if place is None:
                missing.extend(run)
            elif self._stage.copy_unchecked(name, run[0].offset, place.path, place.base, place.offset, length):
                copied += length
            else:
                missing.extend(self._fill_from_here(name, run, view))
        return copied, missing

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

    async def _recipe(self, version: Version, hints: tuple[NodeId, ...], like: Likeness | None) -> Recipe:
        packed = await self._books.read(lambda view: view.recipe(version.recipe))
        if packed is None:
            if not version.recipe:
                raise PathBlocked(lie("a file of this size needs a recipe"))
            parts: list[bytes] = []
            bytes_max = recipe_bytes_max(version.size)
            while not parts or (len(parts[-1]) == CHUNK_BYTES_MAX and len(parts) * CHUNK_BYTES_MAX < bytes_max):
                offset = len(parts) * CHUNK_BYTES_MAX
                part = Piece(version.recipe, offset, CHUNK_BYTES_MAX, recipe=True)
                basis = await self._in_thread(partial(like.of_recipe, offset)) if like is not None else None
                parts.append(await self._asking.piece(part, urgent=True, hints=hints, basis=basis))
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
        """Keep what an earlier try left in the staged file: returns the chunks that are not in it."""
        self._stage.prepare(name, version.size)
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
        self, name: str, version: Version, chunks: list[Chunk], hints: tuple[NodeId, ...], like: Likeness | None
    ) -> None:
        """Fetch a window at a time, in runs of neighbours and these in random order: nodes that fetch the same file
        then have different parts to offer each other."""
        runs = _runs(chunks)
        self._rng.shuffle(runs)
        rest = iter(runs)
        total, done = len(runs), 0

        async def worker() -> None:
            nonlocal done
            for run in rest:
                pieces = [Piece(version.digest, chunk.offset, chunk.length, chunk.digest) for chunk in run]
                bases = await self._in_thread(partial(_bases_of, like, run, pieces)) if like is not None else {}
                answers = await self._asking.pieces([fetch.Want(piece, hints) for piece in pieces], bases)
                if like is not None:
                    like.learn(bases.values())
                await self._in_thread(partial(self._write_run, name, run, answers))
                done += 1
                if done % BULK_WINDOW_RUNS == 0:
                    self._hub.tell("transfer.progress", digest=version.digest.hex(), done=done, total=total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(BULK_WINDOW_RUNS, len(runs))):
                    group.create_task(worker())
        except ExceptionGroup as failed:  # the others were cancelled; one reason is enough
            raise failed.exceptions[0] from None

    def _write_run(self, name: str, run: Sequence[Chunk], answers: Sequence[bytes | PathBlocked]) -> None:
        """In a worker thread: what has come of a run is kept, also where a part of it is not to be had.

        Raises:
            PathBlocked: why a part is missing.
        """
        trouble = None
        for chunk, data in zip(run, answers, strict=True):
            if isinstance(data, PathBlocked):
                trouble = data
            else:
                self._stage.write(name, chunk.offset, data)
        if trouble is not None:
            raise trouble

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _runs(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """Neighbours together, as many as one question asks for."""
    runs: list[list[Chunk]] = []
    end = size = 0
    for chunk in chunks:
        if not runs or chunk.offset != end or size + chunk.length > ASK_BYTES_MAX:
            runs.append([])
            size = 0
        runs[-1].append(chunk)
        size += chunk.length
        end = chunk.offset + chunk.length
    return runs


def _runs_here(chunks: Iterable[Chunk], view: View) -> Iterator[tuple[list[Chunk], Located | None]]:
    """Neighbours that are neighbours in a file of this disk as well, and where they begin there; the others one by one,
    without a place."""
    run: list[Chunk] = []
    start: Located | None = None
    length = 0
    for chunk in chunks:
        places = [place for place in view.locate_chunk(chunk.digest) if place.length == chunk.length]
        if start is not None and any(
            place.path == start.path and place.base == start.base and place.offset == start.offset + length
            for place in places
        ):
            run.append(chunk)
            length += chunk.length
            continue
        if run:
            yield run, start
        start = places[0] if places else None
        run, length = [chunk], chunk.length
    if run:
        yield run, start


def _bases_of(like: Likeness, run: Sequence[Chunk], pieces: Sequence[Piece]) -> dict[Piece, Basis]:
    """In a worker thread: what the pieces of a run may resemble."""
    bases = {}
    for chunk, piece in zip(run, pieces, strict=True):
        basis = like.of_chunk(chunk)
        if basis is not None:
            bases[piece] = basis
    return bases


def _whole(version: Version) -> Piece:
    """A file of one chunk as the piece that it is."""
    return Piece(version.digest, 0, version.size, version.digest)


def likely_holders(dots: Iterable[Dot]) -> tuple[NodeId, ...]:
    """Whoever wrote a version has its bytes, as long as it has not moved on."""
    return tuple({dot.author.node for dot in dots})
