"""The index behind worker threads: one writes, a few read. Keeps the vectors at hand for the event loop.

Invariant: `context`, `floor` and `fingerprint` are those of the last committed transaction, so whatever is told to a
peer is durable before.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from meerkat.model.dot import Author, Vector, dominates
from meerkat.model.ids import NodeId
from meerkat.model.limits import BASES_RECENT_MAX, INDEX_RETRY_MAX_S, INDEX_RETRY_MIN_S
from meerkat.model.path import RelPath
from meerkat.model.version import Base
from meerkat.node.ports import Index, Totals, Tx, View
from meerkat.store.errors import IndexUnavailable

T = TypeVar("T")
_Written = tuple[T, dict[Author, int], dict[Author, int], bytes, Author, str, Totals, dict[RelPath, Base | None], bool]


class Books:
    """Runs functions over the index.

    Attributes:
        recovering: empty, or why no dots may be given yet (R11, R12): "join", "lost", "older".
        pulled_whole: while recovering: a member's whole index was merged, the disk can be adopted.
        on_trouble: called when the index cannot be used now, and with None when it can again.
        generation: grows with every transaction.
        recent: the bases that were recorded last, as the index holds them now, the oldest first: a hint, never all.
        files: how many the pool has, as of the last transaction. behind: how many paths are pending, as of the same.
        held: paths whose going is held (as of `measure`).
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._readers = ThreadPoolExecutor(3, thread_name_prefix="index-read")
        self._listeners: list[Callable[[], None]] = []
        self.on_trouble: Callable[[IndexUnavailable | None], None] = lambda error: None
        self.context: dict[Author, int] = {}
        self.floor: dict[Author, int] = {}
        self.complete: dict[Author, int] = {}
        self.fingerprint = b""
        self.totals = Totals(0, 0, 0, 0, 0)
        self.copies: frozenset[RelPath] = frozenset()
        self.recent: dict[RelPath, Base] = {}
        self.files = 0
        self.behind = 0
        self.held = 0
        self.author = Author(NodeId(""), 0)
        self.recovering = ""
        self.recovered = asyncio.Event()
        self.pulled_whole = False
        self.generation = 0

    def on_written(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after every transaction."""
        self._listeners.append(listener)

    def contradict(self, context: Vector, fingerprint: bytes) -> bool:
        """Whether somebody knows the same writes and holds different ones: equal contexts must have equal prints."""
        same = dominates(self.context, context) and dominates(context, self.context)
        return same and not self.recovering and fingerprint != self.fingerprint

    async def open(self) -> None:
        await self.write(lambda tx: None)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction of its own; durable when this returns."""

        def run() -> _Written[T]:
            with self._index.write() as tx:
                result = work(tx)
                recovering = (tx.meta("recovering") or b"").decode()
                vectors = tx.context(), tx.floor(), tx.fingerprint()
                author = tx.author()
                totals = tx.totals()
            return result, *vectors, author, recovering, totals, tx.bases_put, tx.bases_moved

        def written(future: asyncio.Future[_Written[T]]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._committed(*future.result()[1:])

        return (await self._insist(self._writer, run, written))[0]

    def _committed(
        self,
        context: dict[Author, int],
        floor: dict[Author, int],
        fingerprint: bytes,
        author: Author,
        recovering: str,
        totals: Totals,
        bases_put: dict[RelPath, Base | None],
        bases_moved: bool,
    ) -> None:
        if bases_moved:
            self.recent.clear()  # it would have to be looked through
        else:
            self._remember(bases_put)
        self.files, self.behind = totals.files, totals.behind_files
        self.context, self.floor, self.fingerprint, self.author = context, floor, fingerprint, author
        self.recovering = recovering
        self.generation += 1
        if not recovering:
            self.recovered.set()
        for listener in self._listeners:
            listener()

    def _remember(self, bases: dict[RelPath, Base | None]) -> None:
        for path, base in bases.items():
            self.recent.pop(path, None)
            if base is not None:
                self.recent[path] = base
        while len(self.recent) > BASES_RECENT_MAX:
            del self.recent[next(iter(self.recent))]

    async def read(self, work: Callable[[View], T]) -> T:
        """Run `work` over a snapshot, beside whatever is written meanwhile."""

        def run() -> T:
            with self._index.read() as view:
                return work(view)

        return await self._insist(self._readers, run)

    async def _insist(
        self,
        threads: ThreadPoolExecutor,
        run: Callable[[], T],
        at_end: Callable[[asyncio.Future[T]], None] | None = None,
    ) -> T:
        """Run it there; while the disk does not let the index be used, wait and try again: nothing was committed, and
        there is nothing that this node could rightly do meanwhile.

        Args:
            at_end: called when it has run, also where nobody waits for it any more: a thread cannot be called off, so
                what a cancelled task had begun to write is written.
        """
        wait = INDEX_RETRY_MIN_S
        while True:
            future = asyncio.get_running_loop().run_in_executor(threads, run)
            future.add_done_callback(at_end or _seen)
            try:
                result = await asyncio.shield(future)
            except IndexUnavailable as error:
                self.on_trouble(error)
                await asyncio.sleep(wait)
                wait = min(INDEX_RETRY_MAX_S, 2 * wait)
                continue
            if wait > INDEX_RETRY_MIN_S:
                self.on_trouble(None)
            return result

    def read_here(self, work: Callable[[View], T]) -> T:
        """As `read`, for code that runs in a worker thread already."""
        with self._index.read() as view:
            return work(view)

    def snapshot(self) -> AbstractContextManager[View]:
        """A view that is held for long, for worker threads (one at a time)."""
        return self._index.read()

    async def measure(self) -> None:
        """Bring `totals`, `complete` and `copies` up to date (not after every write: they cost a query)."""
        self.totals, self.complete, self.copies, self.held = await self.read(
            lambda view: (
                view.totals(),
                view.complete(),
                frozenset(entry.path for entry in view.copies()),
                view.held_count(),
            )
        )

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._index.close)
        self._writer.shutdown()
        self._readers.shutdown()


def _seen(future: asyncio.Future[T]) -> None:
    """What became of a reading that nobody waits for any more (the index may be closed by then) is nobody's trouble."""
    if not future.cancelled():
        future.exception()
