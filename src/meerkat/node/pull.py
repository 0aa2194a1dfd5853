"""Questions for entries over the Index stream, asked and answered in both directions (MERGE rules R2, R10, R11).

An answer comes from one snapshot. It is kept aside until it is whole, then merged in one transaction; whatever breaks
off before is thrown away. Several links may announce the same news: one of them is asked, the others wait for the
result.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from msgspec import Struct, field

from meerkat.core.pace import Pace
from meerkat.core.ranges import TooDifferent
from meerkat.core.told import Told, weight_of
from meerkat.model.dot import Author, beyond, dominates, joined
from meerkat.model.frame import (
    Answer,
    AskEntries,
    EntriesEnd,
    EntriesPart,
    Hello,
    IndexFrame,
    LinkLost,
    PeerFault,
    Pick,
    Refused,
)
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import (
    ASKS_BURST,
    ASKS_IN_SERVICE_MAX,
    ASKS_PER_S,
    ENTRIES_ASIDE_MIN,
    ENTRIES_PART_BYTES_MAX,
    ENTRIES_PER_PART_MAX,
    FRESH_JOBS_MAX,
    MORSELS_ANSWER_BYTES_MAX,
    PARTS_AT_ONCE,
    PARTS_WAITING_MAX,
    PULL_REST_S,
    PULL_RETRY_S,
    PULL_SILENCE_S,
    PULL_TURN_S,
    PULLS_MAX,
    RANGES_WORTH,
    RECOVERING_ASK_S,
    VECTOR_AUTHORS_MAX,
)
from meerkat.model.path import RelPath
from meerkat.model.version import Entry
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.ledger import Job
from meerkat.node.opening import new_author
from meerkat.node.pages import Pages
from meerkat.node.ports import Pipe, Tx, View
from meerkat.node.ranges import Compared, compared, tell
from meerkat.node.tasks import Tasks, until

log = logging.getLogger("meerkat.pull")

T = TypeVar("T")

RECOVERING = "recovering"
PACKED = "packed"  # understands entries that come compressed
RANGES = "ranges"  # compares by ranges


class Source(Struct):
    """A linked member as a source of entries.

    Attributes:
        remote: everything that it is known to have heard of.
        claimed: what is being pulled from it just now.
        silent: it left the last question unanswered.
        packed: it understands entries that come compressed.
        ranges: it can compare by ranges. picks: what it has picked, of the questions that are answered so.
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
    silent: bool = False
    packed: bool = False
    ranges: bool = False
    picks: dict[int, "asyncio.Queue[Pick]"] = field(default_factory=dict)


def source_of(pipe: Pipe[IndexFrame], hello: Hello) -> Source:
    """The member that has greeted, as a source."""
    recovering, packed, ranges = (feature in hello.features for feature in (RECOVERING, PACKED, RANGES))
    return Source(hello.node, pipe, dict(hello.context), dict(hello.floor), recovering, packed=packed, ranges=ranges)


class Puller:
    """Keeps this node's index level with its links."""

    def __init__(
        self,
        books: Books,
        threads: ThreadPoolExecutor,
        tasks: Tasks,
        on_merged: Callable[[list[RelPath], list[Job]], None],
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
        self.riding: Callable[[View, Entry], dict[Digest, bytes]] = lambda view, entry: {}
        self.on_morsels: Callable[[Mapping[Digest, bytes]], None] = lambda morsels: None
        self.on_fault: Callable[[NodeId, str], None] = lambda node, why: None
        self.on_outrun: Callable[[NodeId], None] = lambda node: None

    # ---- sources

    async def attend(self, source: Source) -> None:
        """Answer and ask over one link's Index stream until it ends."""
        self._sources[source.node] = source
        loop = self._tasks.spawn(f"pull from {source.node}", self._keep_level(source))
        slots = asyncio.Semaphore(ASKS_IN_SERVICE_MAX)
        pace = Pace(ASKS_PER_S, ASKS_BURST)
        try:
            async for frame in source.pipe.frames():
                match frame:
                    case AskEntries():
                        await self._hold_back(pace)
                        await slots.acquire()
                        self._tasks.spawn(f"answer {source.node}", self._answer(source, frame, slots))
                    case Pick(id=number):
                        picks = source.picks.get(number)
                        if picks is not None and not picks.full():
                            picks.put_nowait(frame)
                    case _:
                        queue = source.answers.get(frame.id)
                        if queue is not None:
                            await queue.put(frame)
        finally:
            loop.cancel()
            if self._sources.get(source.node) is source:
                del self._sources[source.node]
            self._look_around()

    async def _hold_back(self, pace: Pace) -> None:
        wait = pace.spend(1, asyncio.get_running_loop().time())
        if wait > 0:
            await asyncio.sleep(wait)

    def heard(self, node: NodeId, heads: dict[Author, int]) -> None:
        """A member announced what it has."""
        source = self._sources.get(node)
        if source is not None:
            source.remote = joined(source.remote, heads)
            if len(source.remote) > VECTOR_AUTHORS_MAX:
                self.on_fault(node, "it announces more authors than a pool can have")
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
                async with self._turn(source):
                    if not self._lacks(source) or self._claimed_elsewhere(source):
                        continue
                    source.claimed = dict(source.remote)
                    reached = await self._pull(source)
                if not reached:
                    await asyncio.sleep(PULL_REST_S if source.silent else PULL_RETRY_S)
            await until(source.news, RECOVERING_ASK_S if self._hopes_for(source) else None)
            if self._hopes_for(source) and not source.news.is_set():
                async with self._turn(source):
                    if await self._pull(source):
                        source.recovering = False
            source.news.clear()

    @asynccontextmanager
    async def _turn(self, source: Source) -> AsyncIterator[None]:
        """A slot, and the claim that goes with it, for as long as an honest answer keeps others waiting: one that takes
        longer goes on by itself."""
        await self._slots.acquire()
        over = False

        def end() -> None:
            nonlocal over
            if not over:
                over = True
                source.claimed = {}
                self._slots.release()
                self._look_around()

        timer = asyncio.get_running_loop().call_later(PULL_TURN_S, end)
        try:
            yield
        finally:
            timer.cancel()
            end()

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
        number, queue = self._open_question(source)
        source.silent = False
        try:
            if full and source.ranges and not self._books.recovering and self._books.files >= RANGES_WORTH:
                try:
                    return await self._compare(source, number, queue)
                except TooDifferent:
                    log.info("nearly everything differs from %s: everything is asked for", source.node)
                    number, queue = self._open_question(source, number)
            await source.pipe.send(AskEntries(number, self._books.context, self._books.floor, full))
            return await self._receive(source, number, queue, full=full)
        except LinkLost:
            return False
        except PeerFault as fault:
            self.on_fault(source.node, str(fault))
            return False
        except TimeoutError:
            source.silent = True
            log.warning("%s leaves a question for entries unanswered: others are asked", source.node)
            return False
        finally:
            del source.answers[number]
            while not queue.empty():
                queue.get_nowait()  # whoever waits to put more in must not wait for ever

    def _open_question(self, source: Source, instead: int = 0) -> "tuple[int, asyncio.Queue[Answer]]":
        """The number of a new question and where its answers come in. `instead`: of one that is over."""
        source.answers.pop(instead, None)
        number, queue = next(self._numbers), asyncio.Queue[Answer](PARTS_WAITING_MAX)
        source.answers[number] = queue
        return number, queue

    async def _compare(self, source: Source, number: int, queue: "asyncio.Queue[Answer]") -> bool:
        """As `_receive`, by ranges."""
        claimed = dict(source.remote)
        async with compared(self._books, number, queue, source.pipe, self._in_thread) as found:
            if isinstance(found, Refused):
                return False
            return await self._merge(source, found.end, None, [], claimed, found)

    async def _receive(self, source: Source, number: int, queue: "asyncio.Queue[Answer]", *, full: bool) -> bool:
        held: list[Entry] = []
        weight = 0
        aside = False
        told = Told()
        claimed = dict(source.remote)
        try:
            while True:
                async with asyncio.timeout(PULL_SILENCE_S):
                    answer = await queue.get()
                match answer:
                    case EntriesPart(entries=entries):
                        weight += told.take(entries)
                        held.extend(entries)
                        self.on_morsels(answer.morsels)
                        if weight >= ENTRIES_ASIDE_MIN:
                            await self._books.write(partial(_put_aside, number, tuple(held)))
                            aside, held, weight = True, [], 0
                    case EntriesEnd():
                        told.ensure_sound(answer, self._books.context, full=full)
                        if aside:
                            await self._books.write(partial(_put_aside, number, tuple(held)))
                            held = []
                        return await self._merge(source, answer, number if aside else None, held, claimed)
                    case Refused(code=code, text=text):
                        log.info("%s cannot tell its entries now: %s %s", source.node, code, text)
                        if code == "need_full":
                            source.floor = joined(source.floor, source.remote)
                        return False
        finally:
            if aside:
                await self._books.write(lambda tx: tx.drop_aside(number))

    async def _merge(
        self,
        source: Source,
        end: EntriesEnd,
        number: int | None,
        held: list[Entry],
        claimed: dict[Author, int],
        found: Compared | None = None,
    ) -> bool:
        recovering = self._books.recovering
        outrun = False

        def merge(tx: Tx) -> tuple[list[RelPath], list[Job]]:
            nonlocal outrun
            outrun = ledger.renew_if_outrun(tx, end.context, new_author(tx.author().node))
            if outrun:
                log.warning("%s knows more of this node's writes than this node: a new epoch", source.node)
            # Whoever has lost a part of its index still covers it: nothing on this disk goes on the word of such a one.
            doubtful = source.doubted or ledger.knows_more_of(tx, tx.author().node, end.context)
            entries = tx.aside(number) if number is not None else iter(held)
            how = ledger.merge_everything if end.full else ledger.merge_entries
            if found is not None:
                entries, how = found.theirs(tx), ledger.merge_differing
            # A whole index is what a recovery waits for (R11): with it, what was superseded may be retracted (R6).
            changed = how(tx, entries, end.context, end.floor, dots_allowed=end.full or not recovering)
            if doubtful and not recovering:
                ledger.keep_own(tx, changed)
            if number is not None:
                tx.drop_aside(number)
            few = not recovering and len(changed) <= FRESH_JOBS_MAX
            return changed, ledger.jobs_at(tx, changed) if few else []

        try:
            changed, jobs = await self._books.write(merge)
        except ledger.NeedFull:
            source.floor = joined(source.floor, end.floor)
            return False
        if outrun:
            self.on_outrun(source.node)
        # The snapshot is younger than what was announced before the question, so it is the truth about that.
        source.remote = joined(end.context, beyond(source.remote, claimed))
        if end.full:
            source.doubted = False
        self._on_merged(changed, jobs)
        if recovering and end.full:
            self._books.pulled_whole = True
            self._on_recovered()
        return dominates(end.context, claimed)  # else it announced what it has not: no hurry to ask again

    # ---- answering

    async def _answer(self, source: Source, ask: AskEntries, slots: asyncio.Semaphore) -> None:
        try:
            if self._books.recovering:
                await source.pipe.send(Refused(ask.id, "not_ready", "this node is recovering its own index"))
                return
            if ask.ranges:
                source.picks[ask.id] = picks = asyncio.Queue[Pick](1)
                await tell(self._books, ask, picks, source.pipe, self._in_thread, packed=source.packed)
                return
            answers = Pages(self._parts(ask, packed=source.packed))
            over = False
            try:
                while not over:
                    frames, over = await self._in_thread(partial(_next_few, answers))
                    for frame in frames:
                        await source.pipe.send(frame)
            finally:
                if not over:
                    await self._in_thread(answers.close)
        except (LinkLost, TimeoutError):
            pass
        except PeerFault as fault:
            self.on_fault(source.node, str(fault))
        finally:
            source.picks.pop(ask.id, None)
            slots.release()

    async def everything(self) -> AsyncGenerator[tuple[Entry, ...], None]:
        """The whole index in parts, from one snapshot (a newcomer plans with it)."""
        answers = Pages(self._parts(AskEntries(0, {}, {}, full=True)))
        try:
            while (frame := await self._in_thread(answers.next)) is not None:
                if isinstance(frame, EntriesPart):
                    yield frame.entries
        finally:
            await self._in_thread(answers.close)

    def _parts(self, ask: AskEntries, *, packed: bool = False) -> Generator[Answer, None, None]:
        """In worker threads: the answer, all from one snapshot."""
        with self._books.snapshot() as view:
            floor = view.floor()
            if not ask.full and not dominates(ask.context, floor):
                yield Refused(ask.id, "need_full", "tombstones that you have not heard of were forgotten here")
                return
            batch: list[Entry] = []
            morsels: dict[Digest, bytes] = {}
            weight = 0
            room = 0 if ask.full else MORSELS_ANSWER_BYTES_MAX
            for entry in view.entries() if ask.full else view.entries_beyond(ask.context):
                batch.append(entry)
                weight += weight_of(entry)
                if room > 0:
                    riding = self.riding(view, entry)
                    size = sum(map(len, riding.values()))
                    morsels |= riding
                    weight, room = weight + size, room - size
                if len(batch) >= ENTRIES_PER_PART_MAX or weight >= ENTRIES_PART_BYTES_MAX:
                    yield EntriesPart(ask.id, tuple(batch), morsels, packed)
                    batch, morsels, weight = [], {}, 0
            if batch:
                yield EntriesPart(ask.id, tuple(batch), morsels, packed)
            yield EntriesEnd(ask.id, view.context(), floor, ask.full, view.fingerprint())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _next_few(answers: Pages[Answer]) -> tuple[list[Answer], bool]:
    """The next frames of an answer, and whether they are the last: a short answer costs one hop to a thread."""
    frames: list[Answer] = []
    while len(frames) < PARTS_AT_ONCE:
        frame = answers.next()
        if frame is None:
            return frames, True
        frames.append(frame)
    return frames, False


def _put_aside(number: int, entries: tuple[Entry, ...], tx: Tx) -> None:
    tx.put_aside(number, entries)
