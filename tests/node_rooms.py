"""The engine's rooms over one real folder and one real index, without links: for the tests of one room at a time.

What other members say is written down by hand (`told`), or comes from the rooms of another folder (`learn`); content
comes over streams in memory (`tube`), so a test can listen in, answer by itself, or cut them.
"""

import asyncio
import base64
import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from blake3 import blake3

from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author, Dot, joined
from meerkat.model.frame import CarryFrame, IndexFrame, LinkFrame, LinkLost
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import MARKER, ROOT, RelPath
from meerkat.model.version import Base, Entry, Kind, Siblings, Version
from meerkat.node import ledger
from meerkat.node.asking import Asking
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.edit import Editor
from meerkat.node.holds import Holds
from meerkat.node.hub import Hub
from meerkat.node.inward import Inward
from meerkat.node.ledger import Job
from meerkat.node.losers import Losers
from meerkat.node.outward import Outward, ScanReport
from meerkat.node.place import Placer
from meerkat.node.pull import Puller
from meerkat.node.restore import Restorer
from meerkat.node.rules import Rules
from meerkat.node.tasks import Tasks
from meerkat.node.transfer import Transfer
from meerkat.node.undelete import Undelete
from meerkat.store.index import Index

WITHIN_S = 90.0
"""How long a test waits for what must come; generous, for the machine may be busy."""

LONG_AGO_NS = 1_600_000_000_000_000_000
"""A time of writing at which nothing is racy."""

Frame = TypeVar("Frame")


def node_id(name: str) -> NodeId:
    return NodeId(base64.b32encode(hashlib.sha256(name.encode()).digest()[:20]).decode().lower())


def author_of(name: str) -> Author:
    return Author(node_id(name), 1)


def path(text: str) -> RelPath:
    return RelPath(text)


def file_version(data: bytes, *, mode: int = 0o644, mtime_ns: int = LONG_AGO_NS, height: int = 1) -> Version:
    """A small file as a member would tell it."""
    digest = Digest(blake3(data).digest())
    return Version(Kind.FILE, size=len(data), mtime_ns=mtime_ns, mode=mode, digest=digest, height=height)


def folder_version(mode: int = 0o755) -> Version:
    return Version(Kind.FOLDER, mode=mode)


def tombstone(height: int = 1) -> Version:
    return Version(Kind.TOMBSTONE, height=height)


async def until(what: str, look: Callable[[], object]) -> None:
    """Wait until `look` answers something true."""
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while not look():
        assert asyncio.get_running_loop().time() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


async def eventually(what: str, ask: Callable[[], Awaitable[object]]) -> None:
    """As `until`, for what has to be asked."""
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while not await ask():
        assert asyncio.get_running_loop().time() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


class Tube(Generic[Frame]):
    """One end of a stream in memory; what is sent comes out at `other`. Keeps what it has sent."""

    def __init__(self, room: int) -> None:
        self.arriving: asyncio.Queue[Frame | None] = asyncio.Queue(room)
        self.sent: list[Frame] = []
        self.lost = False
        self.other: Tube[Frame] = self

    async def send(self, frame: Frame) -> None:
        if self.lost:
            raise LinkLost("cut")
        self.sent.append(frame)
        await self.other.arriving.put(frame)
        if self.lost:
            raise LinkLost("cut")

    async def frames(self) -> AsyncIterator[Frame]:
        while True:
            yield await self.next()

    async def next(self) -> Frame:
        """The next frame that arrives.

        Raises:
            LinkLost: the stream was cut.
        """
        if self.lost:
            raise LinkLost("cut")
        frame = await self.arriving.get()
        if frame is None or self.lost:
            raise LinkLost("cut")
        return frame

    def cut(self) -> None:
        """Both ends are lost; what was under way is, too."""
        for end in (self, self.other):
            end.lost = True
            while not end.arriving.empty():
                end.arriving.get_nowait()
            end.arriving.put_nowait(None)


class Streams(Generic[Frame]):
    """Which frames a stream carries, for whoever checks types."""


CARRIED: Streams[CarryFrame] = Streams()
ASKED: Streams[IndexFrame] = Streams()
LINKED: Streams[LinkFrame] = Streams()


def tube(of: Streams[Frame], room: int = 0) -> tuple[Tube[Frame], Tube[Frame]]:
    """Both ends of a stream; `room`: how many frames may be under way each way (0: any number)."""
    one, other = Tube[Frame](room), Tube[Frame](room)
    one.other, other.other = other, one
    return one, other


class Rooms:
    """One node's rooms. To be entered before use.

    Attributes:
        again: paths that were to be looked at again.
        rules_changed: how often the ignore rules were seen to change.
    """

    def __init__(self, folder: Path, name: str = "ada") -> None:
        (folder / MARKER).mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.node = node_id(name)
        self.author = author_of(name)
        self.again: list[RelPath] = []
        self.rules_changed = 0
        self.merged: list[RelPath] = []
        self.recovered = 0
        self.holding = False  # mass deletions: the tests of holding switch it on
        self._seqs: dict[Author, int] = {}

    async def __aenter__(self) -> Self:
        self.index = Index.in_memory()
        with self.index.write() as tx:
            tx.renew_author(self.author)
        self.root = Root(self.folder)
        self.stage = Stage(self.root)
        self.trash = Trash(self.root)
        self.tasks = Tasks()
        self.threads = ThreadPoolExecutor(4)
        self.books = Books(self.index)
        self.claims = Claims()
        self.hub = Hub(self.node)
        self.rules = Rules(self.root, self.folder / MARKER / "ignore")
        self.rules.read()
        loop = asyncio.get_running_loop()

        def look_again(paths: Sequence[RelPath]) -> None:
            self.again += paths
            loop.call_soon_threadsafe(self.outward.touched, list(paths))

        self.look_again = look_again
        self.holds = Holds(self.books, self.hub, enabled=self.holding)
        self.outward = Outward(
            self.root,
            self.books,
            self.claims,
            self.hub,
            self.rules,
            self.threads,
            self._rules_changed,
            self._looked_at,
            self.holds,
        )
        rng = random.Random(0)
        here = self.root, self.stage, self.trash, self.books, self.hub, self.threads
        self.asking = Asking(*here, self.tasks, rng)
        self.transfer = Transfer(*here, self.asking, rng)
        self.placer = Placer(
            self.root,
            self.stage,
            self.trash,
            self.books,
            self.claims,
            self.hub,
            self.transfer,
            self.threads,
            look_again,
            self.rules.ignored,
        )
        self.losers = Losers(self.root, self.stage, self.books, self.claims, self.transfer, self.threads, look_again)
        self.inward = Inward(
            self.books, self.claims, self.hub, self.placer, self.losers, self.tasks, self.rules.ignored
        )
        self.editor = Editor(self.root, self.stage, self.books, self.claims, self.placer, self.outward, self.threads)
        self.restorer = Restorer(self.stage, self.trash, self.books, self.transfer, self.editor, self.threads)
        self.undelete = Undelete(self.trash, self.books, self.restorer, self.editor, self.outward)
        self.puller = Puller(self.books, self.threads, self.tasks, self._on_merged, self._on_recovered)
        await self.books.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.tasks.stop()
        await self.books.close()
        self.threads.shutdown()
        self.trash.close()
        self.stage.close()
        self.root.close()

    def _looked_at(self, paths: Iterable[RelPath], changed: Set[RelPath]) -> None:
        self.inward.looked_at(paths, changed)

    def _rules_changed(self) -> None:
        self.rules_changed += 1

    def _on_merged(self, paths: list[RelPath], jobs: list[Job]) -> None:
        assert [job.path for job in jobs] == paths or not jobs
        self.merged.extend(paths)

    def _on_recovered(self) -> None:
        self.recovered += 1

    # ---- a person's doing

    def put(self, name: str, data: bytes) -> Path:
        """Write a file as people do, with the time of writing that `file_version` has."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        os.utime(place, ns=(LONG_AGO_NS, LONG_AGO_NS))
        return place

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None when nothing is there."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def tree(self) -> dict[str, bytes]:
        """Every file of the folder, by path."""
        files = (each for each in self.folder.rglob("*") if MARKER not in each.parts and each.is_file())
        return {each.relative_to(self.folder).as_posix(): each.read_bytes() for each in files}

    def in_trash(self) -> dict[str, bytes]:
        """What lies in the trash, by the path where it stood."""
        return {kept.path: (self.folder / MARKER / "trash" / kept.id).read_bytes() for kept in self.trash.entries()}

    def trashed(self) -> set[bytes]:
        """The bytes of everything in the trash, wherever it stood."""
        return {(self.folder / MARKER / "trash" / kept.id).read_bytes() for kept in self.trash.entries()}

    async def scan(self, under: str = "") -> ScanReport:
        return await self.outward.scan(RelPath(under))

    # ---- what others say

    async def told(self, name: str, version: Version, *, by: str = "zoe", unseen: bool = False) -> Dot:
        """Another member wrote this, having seen all that is known here (`unseen`: nothing of it)."""
        author = author_of(by)
        seq = self._seqs[author] = self._seqs.get(author, 0) + 1
        dot = Dot(author, seq)
        context = {author: seq} if unseen else joined(self.books.context, {author: seq})
        entry = Entry(RelPath(name), {dot: version})
        await self.books.write(
            lambda tx: ledger.merge_entries(tx, [entry], context, {}, dots_allowed=not self.books.recovering)
        )
        return dot

    async def learn(self, other: "Rooms") -> None:
        """Take over everything that the other's index has beyond this one, as a pull would."""
        entries = await other.books.read(lambda view: list(view.entries_beyond(self.books.context)))
        context, floor = dict(other.books.context), dict(other.books.floor)
        await self.books.write(
            lambda tx: ledger.merge_entries(tx, entries, context, floor, dots_allowed=not self.books.recovering)
        )

    def carry(self, other: "Rooms") -> None:
        """Join both with a stream for content."""
        mine: Tube[CarryFrame]
        theirs: Tube[CarryFrame]
        mine, theirs = tube(CARRIED)
        for rooms, peer, end in ((self, other, mine), (other, self, theirs)):
            rooms.tasks.spawn("carry", attending(rooms.asking.attend(peer.node, end)))

    # ---- asking

    async def jobs(self) -> list[ledger.Job]:
        """What the plan wants done."""
        return await self.books.read(lambda view: ledger.jobs_at(view, view.pending(ROOT, 1000)))

    async def job(self, name: str) -> ledger.Job:
        return await self.books.read(lambda view: ledger.job_at(view, RelPath(name)))

    async def siblings(self, name: str) -> Siblings:
        return await self.books.read(lambda view: view.siblings(RelPath(name)))

    async def living(self, name: str) -> list[Version]:
        return [version for version in (await self.siblings(name)).values() if version.living]

    async def base(self, name: str) -> Base | None:
        return await self.books.read(lambda view: view.base(RelPath(name)))

    async def intents(self) -> list[str]:
        return await self.books.read(lambda view: [intent.path for intent in view.intents()])

    async def pending(self) -> list[str]:
        return await self.books.read(lambda view: list(view.pending(ROOT, 1000)))

    def events(self, *types: str) -> list[dict[str, object]]:
        """The data of the events of these types so far."""
        found = []
        for event in self.hub.recent(10_000):
            data = event["data"]
            if event["type"] in types and isinstance(data, dict):
                found.append(data)
        return found


async def attending(work: Coroutine[object, object, None]) -> None:
    """Run an `attend`, whose end is the stream's end."""
    try:
        await work
    except LinkLost:
        pass
