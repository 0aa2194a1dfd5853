"""A whole index compared by ranges over the Index stream (see `core/ranges`): both halves, each over one snapshot.

What follows from an answer has to be as if everything had been told (R2, R10): the teller's entries are those of the
very snapshot whose context ends the answer. This node may have learnt more while it compared; what it then has beyond
its own snapshot is merged with what it had at that path before, for just that the teller has.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from meerkat.core.ranges import Asker, Teller, TooDifferent, marks_of, prints_of
from meerkat.core.told import Told, weight_of
from meerkat.model.dot import Vector
from meerkat.model.frame import (
    Answer,
    AskEntries,
    EntriesEnd,
    EntriesPart,
    IndexFrame,
    Marks,
    PeerFault,
    Pick,
    Prints,
    Refused,
)
from meerkat.model.limits import (
    ENTRIES_PART_BYTES_MAX,
    ENTRIES_PER_PART_MAX,
    PULL_SILENCE_S,
    RANGE_SILENCE_S,
    RANGES_PER_FRAME_MAX,
    RANGES_TOLD_MAX,
)
from meerkat.model.path import RelPath, tree_key
from meerkat.model.version import Entry
from meerkat.node.books import Books
from meerkat.node.ports import Pipe, Tx, View

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs blocking work in a worker thread."""

Said = TypeVar("Said")
Heard = TypeVar("Heard")


class Exchange(Generic[Said, Heard]):
    """A generator that is driven from worker threads, turn by turn, by a task that may be cancelled in between."""

    def __init__(self, made: Generator[Said, Heard | None, None]) -> None:
        self._made = made
        self.turn = threading.Lock()

    def next(self, heard: Heard | None = None) -> Said | None:
        """What it says next, to what it hears; None at its end."""
        with self.turn:
            try:
                return self._made.send(heard)
            except StopIteration:
                return None

    def close(self) -> None:
        with self.turn:
            self._made.close()


# ---- telling


def telling(
    books: Books, ask: AskEntries, *, packed: bool
) -> Generator[list[IndexFrame], tuple[int, ...] | None, None]:
    """In worker threads: the frames of each round, to what was picked of the last; after the picked entries, or when
    nothing was picked, the end."""
    with books.snapshot() as view:
        teller = Teller(view.stretch)
        number = ask.id
        end = EntriesEnd(number, view.context(), view.floor(), True, view.fingerprint())
        picks = yield list(marks_of(number, teller.whole(), RANGES_PER_FRAME_MAX))
        if picks:
            picks = yield list(marks_of(number, teller.finer(picks), RANGES_PER_FRAME_MAX))
        if picks:
            picks = yield list(prints_of(number, teller.paths(picks), RANGES_PER_FRAME_MAX))
        if picks:
            for part in _parts(number, teller.entries(picks), packed=packed):
                yield [part]
        yield [end]


def _parts(number: int, entries: Iterator[Entry], *, packed: bool) -> Iterator[EntriesPart]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += weight_of(entry)
        if len(batch) >= ENTRIES_PER_PART_MAX or size >= ENTRIES_PART_BYTES_MAX:
            yield EntriesPart(number, tuple(batch), packed=packed)
            batch, size = [], 0
    if batch:
        yield EntriesPart(number, tuple(batch), packed=packed)


async def tell(
    books: Books, ask: AskEntries, picks: "asyncio.Queue[Pick]", pipe: Pipe[IndexFrame], run: Run, *, packed: bool
) -> None:
    """Answer one question, round for round.

    Raises:
        LinkLost: the link has ended. PeerFault: it picks what it was not told. TimeoutError: it does not pick.
    """
    exchange = Exchange(telling(books, ask, packed=packed))
    try:
        picked: tuple[int, ...] | None = None
        while (frames := await run(partial(exchange.next, picked))) is not None:
            for frame in frames:
                await pipe.send(frame)
            picked = None
            if isinstance(frames[-1], Marks | Prints):
                async with asyncio.timeout(RANGE_SILENCE_S):
                    picked = (await picks.get()).picks
    finally:
        await run(exchange.close)


# ---- asking


@dataclass(frozen=True)
class Compared:
    """What comparing has brought to light; good until the exchange is closed.

    Attributes:
        entries: those of the teller that this node lacks, or has otherwise.
        differing: tree keys of entries here that the teller lacks, or has otherwise.
        view: this node's snapshot that was compared. context: of that.
    """

    entries: list[Entry]
    end: EntriesEnd
    differing: set[bytes]
    view: View
    context: Vector
    turn: threading.Lock

    def theirs(self, tx: Tx) -> Iterator[Entry]:
        """In the transaction that merges them: the teller's entries wherever they may differ from the ones here."""
        given = {tree_key(entry.path) for entry in self.entries}
        yield from self.entries
        for key in sorted(self.differing - given):
            yield Entry(RelPath(key.decode("utf-8").replace("\0", "/")), {})
        known = self.differing | given
        fresh = [entry.path for entry in tx.entries_beyond(self.context)]
        for path in fresh:
            if tree_key(path) not in known:
                with self.turn:
                    siblings = self.view.siblings(path)
                yield Entry(path, siblings)


@dataclass(frozen=True)
class _Here:
    asker: Asker
    view: View
    context: Vector


def comparing(books: Books) -> Generator[tuple[int, ...] | _Here, list[Marks | Prints] | None, None]:
    """In worker threads: what is compared, then the picks of each round, of what was told in it."""
    with books.snapshot() as view:
        asker = Asker(view.stretch)
        told = yield _Here(asker, view, view.context())
        picks = asker.compare(_marks(told))
        if picks:
            told = yield tuple(picks)
            picks = asker.compare(_marks(told))
        if picks:
            asker.ensure_worth_it()
            told = yield tuple(picks)
            picks = asker.choose(_lists(told))
        yield tuple(picks)
        yield ()  # for the snapshot is needed until what was found is merged


def _marks(told: list[Marks | Prints] | None) -> list[Marks]:
    marks = [each for each in told or [] if isinstance(each, Marks)]
    if len(marks) != len(told or []):
        raise PeerFault("it answers another question than it was asked")
    return marks


def _lists(told: list[Marks | Prints] | None) -> list[bytes]:
    prints = [each for each in told or [] if isinstance(each, Prints)]
    if len(prints) != len(told or []):
        raise PeerFault("it answers another question than it was asked")
    return [one for each in prints for one in each.lists]


@asynccontextmanager
async def compared(
    books: Books, number: int, queue: "asyncio.Queue[Answer]", pipe: Pipe[IndexFrame], run: Run
) -> AsyncIterator[Compared | Refused]:
    """Compare with the member whose answers come through the queue. The question is sent here.

    Raises:
        LinkLost, PeerFault, TimeoutError: as with any question.
        TooDifferent: everything is to be asked for instead.
    """
    exchange = Exchange(comparing(books))
    try:
        here = await run(exchange.next)
        await pipe.send(AskEntries(number, here.context, books.floor, True, ranges=True))
        entries: list[Entry] = []
        told: list[Marks | Prints] = []
        count = 0
        sound = Told()
        while True:
            async with asyncio.timeout(PULL_SILENCE_S):
                answer = await queue.get()
            match answer:
                case Marks() | Prints():
                    told.append(answer)
                    count += len(answer.highs) if isinstance(answer, Marks) else len(answer.lists)
                    if count > RANGES_TOLD_MAX:
                        raise PeerFault("ranges beyond all limits")
                    if answer.last:
                        try:
                            picks = await run(partial(exchange.next, told))
                        except TooDifferent:
                            await pipe.send(Pick(number, ()))
                            raise
                        told = []
                        await pipe.send(Pick(number, picks))
                case EntriesPart():
                    sound.take(answer.entries)
                    for entry in answer.entries:
                        here.asker.ensure_asked(entry)
                    entries.extend(answer.entries)
                    if len(entries) > here.asker.wanted:
                        raise PeerFault("more entries than were asked for")
                case EntriesEnd():
                    sound.ensure_sound(answer, books.context, full=True)
                    if len(entries) != here.asker.wanted or told:
                        raise PeerFault("an answer by ranges that ends before its end")
                    yield Compared(entries, answer, here.asker.differing, here.view, here.context, exchange.turn)
                    return
                case Refused():
                    yield answer
                    return
    finally:
        await run(exchange.close)
