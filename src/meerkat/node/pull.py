"""Questions for entries over the Index stream, asked and answered in both directions (MERGE rules R2, R10, R11).

An answer comes from one snapshot. It is kept aside until it is whole, then merged in one transaction; whatever breaks
off before is thrown away. Several links may announce the same news: one of them is asked, the others wait for the
result.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from meerkat.model.dot import Author, beyond, dominates, joined
from meerkat.model.frame import AskEntries, EntriesEnd, EntriesPart, IndexFrame, LinkLost, Refused
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    ENTRIES_ASIDE_MIN,
    ENTRIES_PART_BYTES_MAX,
    ENTRIES_PER_PART_MAX,
    PARTS_WAITING_MAX,
    PULL_RETRY_S,
    PULLS_MAX,
    RECOVERING_ASK_S,
)
from meerkat.model.path import RelPath
from meerkat.model.version import Entry
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.opening import new_author
from meerkat.node.ports import Pipe, Tx
from meerkat.node.tasks import Tasks, until

log = logging.getLogger("meerkat.pull")

T = TypeVar("T")

Answer = EntriesPart | EntriesEnd | Refused


@dataclass(slots=True)
class Source:
    """A linked member as a source of entries.

    Attributes:
        remote: everything that it is known to have heard of.
        claimed: what is being pulled from it just now.
    """

    node: NodeId
    pipe: Pipe[IndexFrame]
    remote: dict[Author, int]
    floor: dict[Author, int]
    recovering: bool
    claimed: dict[Author, int] = field(default_factory=dict)
    answers: dict[int, "asyncio.Queue[Answer]"] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    doubted: bool = False


class Puller:
    """Keeps this node's index level with its links."""

    def __init__(
        self,
        books: Books,
        threads: ThreadPoolExecutor,
        tasks: Tasks,
        on_merged: Callable[[list[RelPath]], None],
        on_recovered: Callable[[], None],
    ) -> None:
        self._books = books
        self._threads = threads
        self._tasks = tasks
        self._on_merged = on_merged
        self._on_recovered = on_recovered
        self._sources: dict[NodeId, Source] = {}
        self._numbers = itertools.count(1)
        self._slots = asyncio.Semaphore(PULLS_MAX)

    # ---- sources

    async def attend(self, source: Source) -> None:
        """Answer and ask over one link's Index stream until it ends."""
        self._sources[source.node] = source
        loop = self._tasks.spawn(f"pull from {source.node}", self._keep_level(source))
        try:
            async for frame in source.pipe.frames():
                match frame:
                    case AskEntries():
                        self._tasks.spawn(f"answer {source.node}", self._answer(source, frame))
                    case EntriesPart(id=number) | EntriesEnd(id=number) | Refused(id=number):
                        queue = source.answers.get(number)
                        if queue is not None:
                            await queue.put(frame)
        finally:
            loop.cancel()
            if self._sources.get(source.node) is source:
                del self._sources[source.node]
            self._look_around()

    def heard(self, node: NodeId, heads: dict[Author, int]) -> None:
        """A member announced what it has."""
        source = self._sources.get(node)
        if source is not None:
            source.remote = joined(source.remote, heads)
            source.news.set()

    def doubt(self, node: NodeId) -> None:
        """Equal contexts, unequal fingerprints: something is wrong somewhere, compare everything."""
        source = self._sources.get(node)
        if source is not None:
            source.doubted = True
            source.news.set()

    @property
    def level(self) -> bool:
        """True when nothing announced is missing here."""
        return all(dominates(self._books.context, source.remote) for source in self._sources.values())

    def sources(self) -> list[Source]:
        return list(self._sources.values())

    # ---- asking

    async def _keep_level(self, source: Source) -> None:
        while True:
            while self._lacks(source):
                if self._claimed_elsewhere(source):
                    break  # somebody is being asked for just that; its end sets our news
                async with self._slots:
                    if not self._lacks(source) or self._claimed_elsewhere(source):
                        continue
                    source.claimed = dict(source.remote)
                    try:
                        reached = await self._pull(source)
                    finally:
                        source.claimed = {}
                        self._look_around()
                if not reached:
                    await asyncio.sleep(PULL_RETRY_S)
            await until(source.news, RECOVERING_ASK_S if self._hopes_for(source) else None)
            if self._hopes_for(source) and not source.news.is_set():
                async with self._slots:
                    if await self._pull(source):
                        source.recovering = False
            source.news.clear()

    def _lacks(self, source: Source) -> bool:
        return source.doubted or not dominates(self._books.context, source.remote) or self._must_recover(source)

    def _must_recover(self, source: Source) -> bool:
        return bool(self._books.recovering) and not self._books.pulled_whole and not source.recovering

    def _hopes_for(self, source: Source) -> bool:
        """This node needs an index, and that member had none when it greeted. It has one by now, perhaps, and says
        nothing of it when nothing is in it."""
        return bool(self._books.recovering) and not self._books.pulled_whole and source.recovering

    def _claimed_elsewhere(self, source: Source) -> bool:
        coming: dict[Author, int] = self._books.context
        for other in self._sources.values():
            if other is not source and other.claimed:
                coming = joined(coming, other.claimed)
        return coming is not self._books.context and not source.doubted and dominates(coming, source.remote)

    def _look_around(self) -> None:
        for source in self._sources.values():
            if self._lacks(source):
                source.news.set()

    async def _pull(self, source: Source) -> bool:
        """One question and its answer. False when it has to be asked again later."""
        full = bool(self._books.recovering) or source.doubted or not dominates(self._books.context, source.floor)
        number = next(self._numbers)
        queue: asyncio.Queue[Answer] = asyncio.Queue(PARTS_WAITING_MAX)
        source.answers[number] = queue
        try:
            await source.pipe.send(AskEntries(number, self._books.context, self._books.floor, full))
            return await self._receive(source, number, queue)
        except LinkLost:
            return False
        finally:
            del source.answers[number]

    async def _receive(self, source: Source, number: int, queue: "asyncio.Queue[Answer]") -> bool:
        held: list[Entry] = []
        aside = False
        try:
            while True:
                answer = await queue.get()
                match answer:
                    case EntriesPart(entries=entries):
                        held.extend(entries)
                        if len(held) >= ENTRIES_ASIDE_MIN:
                            await self._books.write(partial(_put_aside, number, tuple(held)))
                            aside, held = True, []
                    case EntriesEnd():
                        if aside:
                            await self._books.write(partial(_put_aside, number, tuple(held)))
                            held = []
                        return await self._merge(source, answer, number if aside else None, held)
                    case Refused(code=code, text=text):
                        log.info("%s cannot tell its entries now: %s %s", source.node, code, text)
                        if code == "need_full":
                            source.floor = joined(source.floor, source.remote)
                        return False
        finally:
            if aside:
                await self._books.write(lambda tx: tx.drop_aside(number))

    async def _merge(self, source: Source, end: EntriesEnd, number: int | None, held: list[Entry]) -> bool:
        recovering = self._books.recovering

        def merge(tx: Tx) -> list[RelPath]:
            if ledger.renew_if_outrun(tx, end.context, new_author(tx.author().node)):
                log.warning("%s knows more of this node's writes than this node: a new epoch", source.node)
            entries = tx.aside(number) if number is not None else iter(held)
            how = ledger.merge_everything if end.full else ledger.merge_entries
            # A whole index is what a recovery waits for (R11): with it, what was superseded may be retracted (R6).
            changed = how(tx, entries, end.context, end.floor, dots_allowed=end.full or not recovering)
            if number is not None:
                tx.drop_aside(number)
            return changed

        try:
            changed = await self._books.write(merge)
        except ledger.NeedFull:
            source.floor = joined(source.floor, end.floor)
            return False
        # The snapshot is younger than what was announced before the question, so it is the truth about that.
        source.remote = joined(end.context, beyond(source.remote, source.claimed))
        if end.full:
            source.doubted = False
        self._on_merged(changed)
        if recovering and end.full:
            self._books.pulled_whole = True
            self._on_recovered()
        return True

    # ---- answering

    async def _answer(self, source: Source, ask: AskEntries) -> None:
        try:
            if self._books.recovering:
                await source.pipe.send(Refused(ask.id, "not_ready", "this node is recovering its own index"))
                return
            answers = self._parts(ask)
            try:
                while (frame := await self._in_thread(partial(next, answers, None))) is not None:
                    await source.pipe.send(frame)
            finally:
                await self._in_thread(answers.close)
        except LinkLost:
            pass

    async def everything(self) -> AsyncIterator[tuple[Entry, ...]]:
        """The whole index in parts, from one snapshot (a newcomer plans with it)."""
        answers = self._parts(AskEntries(0, {}, {}, full=True))
        try:
            while (frame := await self._in_thread(partial(next, answers, None))) is not None:
                if isinstance(frame, EntriesPart):
                    yield frame.entries
        finally:
            await self._in_thread(answers.close)

    def _parts(self, ask: AskEntries) -> Generator[Answer, None, None]:
        """In worker threads: the answer, all from one snapshot."""
        with self._books.snapshot() as view:
            floor = view.floor()
            if not ask.full and not dominates(ask.context, floor):
                yield Refused(ask.id, "need_full", "tombstones that you have not heard of were forgotten here")
                return
            batch: list[Entry] = []
            weight = 0
            for entry in view.entries() if ask.full else view.entries_beyond(ask.context):
                batch.append(entry)
                weight += _weight(entry)
                if len(batch) >= ENTRIES_PER_PART_MAX or weight >= ENTRIES_PART_BYTES_MAX:
                    yield EntriesPart(ask.id, tuple(batch))
                    batch, weight = [], 0
            if batch:
                yield EntriesPart(ask.id, tuple(batch))
            yield EntriesEnd(ask.id, view.context(), floor, ask.full, view.fingerprint())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _put_aside(number: int, entries: tuple[Entry, ...], tx: Tx) -> None:
    tx.put_aside(number, entries)


def _weight(entry: Entry) -> int:
    """About how many bytes an entry takes in a message."""
    weight = len(entry.path) + 16
    for version in entry.siblings.values():
        weight += 110 + len(version.target) + 8 * len(version.hist)
    return weight
