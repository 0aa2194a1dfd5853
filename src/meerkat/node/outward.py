"""Outward: from the disk to the index. Watch events and scans become looks, looks become writes.

    watch -> settle -> (expand) -> look -> record

One coroutine drives it. A path is held (claimed) from the look to the record, so nothing this node itself puts down
can slip in between. What is recorded is thereby announced: `Books` tells its listeners.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from msgspec import Struct

from meerkat.core.compare import differing
from meerkat.core.ignore import IGNORE_FILE
from meerkat.core.settle import Settle
from meerkat.disk.root import Root
from meerkat.disk.scan import Sight, look_unless_large
from meerkat.disk.watch import Overflowed, Touched
from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import Digest
from meerkat.model.limits import BASES_RECENT_S, MIB, SCAN_BATCH_BYTES_MAX, SCAN_BATCH_PATHS_MAX
from meerkat.model.path import ROOT, RelPath, ancestors, is_below, tree_key
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Kind, Stat
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.holds import Holds
from meerkat.node.hub import Hub
from meerkat.node.moves import Moves
from meerkat.node.pages import Pages
from meerkat.node.ports import Tx, View
from meerkat.node.rules import Rules
from meerkat.node.scope import Scope, all_below, is_other_folder, is_other_kind
from meerkat.node.tasks import until

T = TypeVar("T")

log = logging.getLogger("meerkat.outward")

LARGE_BYTES = 4 * MIB  # hashed in a thread of its own; smaller ones are looked at many to a thread hop


class ScanReport(Struct):
    """What one scan did: paths seen, paths for which something was written."""

    scanned: int = 0
    changes: int = 0


class Outward:
    """The half of the engine that takes in what people do.

    Attributes:
        scanning: a full scan is under way.
    """

    def __init__(
        self,
        root: Root,
        books: Books,
        claims: Claims,
        hub: Hub,
        rules: Rules,
        threads: ThreadPoolExecutor,
        on_ignore_changed: Callable[[], None],
        on_looked: Callable[[Iterable[RelPath], Set[RelPath]], None],
        holds: Holds,
    ) -> None:
        self._root = root
        self._books = books
        self._claims = claims
        self._hub = hub
        self._rules = rules
        self._threads = threads
        self._on_ignore_changed = on_ignore_changed
        self._on_looked = on_looked
        self._holds = holds
        holds.look = self._look_at_gone
        self._settle = Settle()
        self._wake = asyncio.Event()
        self._scan_lock = asyncio.Lock()
        self._scan_due = False
        self._arrived: set[RelPath] = set()
        self._met: dict[RelPath, bool] = {}  # heard of while somebody had them; whether the last event closed them
        claims.on_freed.append(self._freed)
        self._scope = Scope(root, rules, hub)
        self._moves = Moves(root, books, claims, hub, self._scope, threads, self._ensure_marker)
        self.note_new: Callable[[list[Sight], View], None] = lambda sights, view: None
        self.scanning = False

    # ---- events

    def heard(self, event: Touched | Overflowed) -> None:
        """An event of the watcher (in the event loop)."""
        if isinstance(event, Overflowed):
            self._scan_due = True
        else:
            if event.arrived and not self._settle.overflowed:
                self._arrived.add(event.path)
            if event.path in self._claims:
                self._met[event.path] = event.closed
                return
            self._settle.touched(event.path, event.closed, self._now())
        self._wake.set()

    def touched(self, paths: Iterable[RelPath]) -> None:
        """Look at these soon (inward met something there that it did not expect)."""
        now = self._now()
        for path in paths:
            if path in self._claims:
                self._met[path] = True
            else:
                self._settle.touched(path, True, now)
        self._wake.set()

    def _freed(self, paths: set[RelPath]) -> None:
        """What was heard of a path while somebody had it is looked at now; mostly it was our own commit."""
        if self._met and not self._met.keys().isdisjoint(paths):
            now = self._now()
            for path in [each for each in self._met if each in paths]:
                self._settle.touched(path, self._met.pop(path), now)
            self._wake.set()

    @property
    def busy(self) -> bool:
        """Something is waiting to be looked at."""
        return (
            self.scanning
            or self._scan_due
            or bool(self._met)
            or self._holds.gathering
            or self._settle.wake_at() is not None
        )

    async def run(self) -> None:
        """Take in what becomes quiet, for ever."""
        while True:
            self._wake.clear()
            if self._settle.overflowed or self._scan_due:
                self._settle.overflowed = False
                self._scan_due = False
                self._arrived.clear()
                await self.scan()
            due = self._settle.due(self._now())
            if due and not self._books.recovering:
                await self._take_in_due(due)
                continue
            judge_at = self._holds.due_at()
            if judge_at is not None and judge_at <= self._now():
                async with self._scan_lock:  # what a scan under way finds gone belongs to it
                    await self._holds.judge()
                continue
            wake_at = min((at for at in (self._settle.wake_at(), judge_at) if at is not None), default=None)
            if wake_at is None and self._books.recent:
                await until(self._wake, BASES_RECENT_S)
                if not self._wake.is_set():
                    self._books.recent.clear()
                continue
            await until(self._wake, None if wake_at is None else max(0.0, wake_at - self._now()))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _take_in_due(self, due: list[RelPath]) -> None:
        due = await self._without_echoes(due)
        if not due:
            return
        report = ScanReport()
        await self._rules.keep()  # those that were written before these were touched hold for them
        skipped = self._rules.skip
        wanted = [path for path in due if not any(skipped(each, True) for each in ancestors(path))]
        busy = self._claims.at_or_below(wanted)  # before the snapshot: what is recorded in between is in that
        arrived = self._arrived.intersection(due)
        self._arrived -= arrived
        for told in await self._moves.take_in(wanted, [*self._settle.waiting(), *self._holds.gathered()]):
            self._holds.seen(told.written)
            wanted += told.left
            if told.whole:
                wanted = [path for path in wanted if path not in told.names]
                for each in told.names:
                    self._settle.calm(each)
        batches = await self._in_thread(
            partial(self._books.read_here, partial(self._scope.expand, wanted, busy, arrived))
        )
        planned = set().union(*batches)
        for path in set(due) - planned:
            self._settle.calm(path)
        for batch in batches:
            self.touched(await self._take_in(batch, report, planned))

    async def _without_echoes(self, due: list[RelPath]) -> list[RelPath]:
        recorded = {path: self._books.recent[path] for path in due if path in self._books.recent}
        if not recorded:
            return due
        echoes = await self._in_thread(partial(self._scope.echoes, recorded))
        for path in echoes:
            self._settle.calm(path)
        return [path for path in due if path not in echoes]

    # ---- scans

    async def scan(self, under: RelPath = ROOT, *, adopting: bool = False) -> ScanReport:
        """Walk everything at or below `under`, compare with the bases, take in what differs.

        Args:
            adopting: R11-R12: the index was lost or older, or the folder is imported.
        """
        report = ScanReport()
        await self._rules.keep()
        async with self._scan_lock:
            if self._books.recovering and not adopting:
                return report
            self.scanning = True
            self._hub.tell("scan.started", path=under)
            try:
                self._ensure_marker()
                batches = Pages(self._candidates(under, report))
                try:
                    while (batch := await self._in_thread(batches.next)) is not None:
                        missed = await self._take_in(batch, report, set(batch), adopting=adopting)
                        # what a scan has promised to see is seen afterwards
                        for at in range(0, len(missed), SCAN_BATCH_PATHS_MAX):
                            again = missed[at : at + SCAN_BATCH_PATHS_MAX]
                            await self._claims.until_free(again)
                            await self._take_in(again, report, set(missed), adopting=adopting)
                finally:
                    await self._in_thread(batches.close)
                back = await self._in_thread(partial(self._there, await self._holds.held_under(under)))
                await self._take_in(back, report, set(back), adopting=adopting)
                await self._holds.judge()
                await self._holds.refresh_if_any()
            finally:
                self.scanning = False
                self._hub.tell("scan.finished", path=under, scanned=report.scanned, changes=report.changes)
                self._hub.changed()
        return report

    def _there(self, paths: list[RelPath]) -> list[RelPath]:
        """In a worker thread: those that stand there (again)."""
        found = []
        for path in paths:
            try:
                if self._root.lstat(path) is not None:
                    found.append(path)
            except PathBlocked:
                continue
        return found

    async def _look_at_gone(self, paths: list[RelPath]) -> None:
        """Look at these and record what is found, deletions too: it was judged that they may be told."""
        await self._claims.until_free(paths)
        self.touched(await self._take_in(paths, ScanReport(), set(paths), judged=True))

    async def record(self, paths: list[RelPath]) -> None:
        """Look at these and record what is found; what is gone went at a person's word, and is not held."""
        self._holds.seen(paths)
        await self._look_at_gone(paths)

    def _candidates(self, under: RelPath, report: ScanReport) -> Generator[list[RelPath], None, None]:
        """In a worker thread: batches of paths whose lstat is not their base's."""
        unseen: list[RelPath] = []
        told: set[str] = set()

        def walked() -> Iterator[tuple[RelPath, Stat]]:
            if under:
                stat = self._root.lstat(under)
                if stat is not None:
                    yield under, stat
                if stat is None or stat.kind is not Kind.FOLDER:
                    return
            for each in self._scope.walked(under, unseen, told):
                report.scanned += 1
                yield each

        batch: list[RelPath] = []
        weight = 0
        with self._books.snapshot() as view:
            for path, size in differing(walked(), view.bases(under)):
                # ignoring never deletes: what has a base and is ignored now is passed over, there or not
                if any(path == each or is_below(path, each) for each in unseen) or self._scope.kept_out(path):
                    continue
                batch.append(path)
                weight += size
                if len(batch) >= SCAN_BATCH_PATHS_MAX or weight >= SCAN_BATCH_BYTES_MAX:
                    yield batch
                    batch, weight = [], 0
        if batch:
            yield batch
        if self._hub.unshared():
            self._scope.call_soon(partial(self._scope.heal_below, under, told, unseen))

    def _ensure_marker(self) -> None:
        if not self._root.check_marker():
            raise Fault(
                "marker_missing",
                "the shared folder has lost its .meerkat, so nothing was told to the pool",
                cause="the disk may have been unmounted, or the folder moved",
                hint="mount it or move it back, then start again; to share it anew: meerkat up",
                exit_code=Exit.REFUSED,
            )

    # ---- looking and recording

    async def _take_in(
        self,
        paths: list[RelPath],
        report: ScanReport,
        planned: set[RelPath],
        *,
        adopting: bool = False,
        judged: bool = False,
    ) -> list[RelPath]:
        """Look at the paths and record what is there, in tree order.

        Args:
            planned: what is looked at besides.
            judged: what is gone may be told.

        Returns:
            what is to be looked at as well: paths that were taken by somebody else, what stood in folders that were
            found to be others than when it was decided what to look at, and other names of what was written.
        """
        claimed = self._claims.take(paths)
        mine = set(claimed)
        missed = [path for path in paths if path not in mine]
        try:
            bases = await self._books.read(lambda view: view.bases_at(claimed))
            known = [(path, bases.get(path)) for path in claimed]
            troubled = {path for path in claimed if self._hub.has_problem(path)}
            sights = await self._look_at(known)
            if IGNORE_FILE in mine:  # also where nothing is seen: it went on a member's word
                self._on_ignore_changed()
            if not sights:
                return missed
            if any(sight.base is None for sight in sights):
                self._ensure_marker()
                await self._rules.keep()  # whoever takes off their disk what they do not want there says so just before
                sights = await self._in_thread(partial(self._scope.shared, sights))
            if not judged and not adopting:
                sights = await self._sifted(dict(known), sights)
            self._holds.seen(sight.path for sight in sights if sight.base is not None)
            written = await self._books.write(partial(self._record, sights, adopting))
            missed += await self._stranded(dict(known), sights, planned)
            missed += await self._other_names(dict(known), sights, planned)
        finally:
            self._claims.free(claimed)
        before = dict(known)
        changed = {path for path in troubled if not self._hub.has_problem(path)}.union(written)
        changed.update(sight.path for sight in sights if sight.base != before[sight.path])
        self._on_looked(mine, changed)
        for path in mine.difference(written):
            self._settle.calm(path)  # our own echo, or a mere read
        report.changes += len(written)
        self._tell(written, sights)
        return missed

    def _record(self, sights: list[Sight], adopting: bool, tx: Tx) -> list[RelPath]:
        self.note_new(sights, tx)
        return ledger.record(tx, sights, adopting=adopting)

    async def _sifted(self, known: dict[RelPath, Base | None], sights: list[Sight]) -> list[Sight]:
        """Without the deletions that have to wait until it is seen how many there are.

        What stands where a folder was waits with what was in the folder: told before, it would meet a folder that is
        implied by contents still living, lose to it, and end as a conflict copy (R3)."""
        gone = []
        replaced = []
        for sight in sights:
            before = known.get(sight.path)
            if sight.base is None and before is not None:
                gone.append((sight.path, before.content.kind is not Kind.FOLDER))
            elif before is not None and before.content.kind is Kind.FOLDER and is_other_kind(sight.base):
                replaced.append(sight.path)
        if replaced:
            below = await self._books.read(partial(all_below, replaced))
            known_gone = {path for path, _ in gone}
            gone += [each for each in below if each[0] not in known_gone]
        if self._holds.any:
            judged = await self._books.read(lambda view: {path for path, _ in gone if view.is_held(path)})
            gone = [each for each in gone if each[0] not in judged]
        waiting = [top for top in replaced if any(is_below(path, top) for path, _ in gone)]
        withheld = self._holds.withheld(gone, waiting)
        if withheld:
            self._wake.set()
        return [sight for sight in sights if sight.path not in withheld]

    async def _stranded(
        self, known: dict[RelPath, Base | None], sights: list[Sight], planned: set[RelPath]
    ) -> list[RelPath]:
        """Paths with a base below folders that have just been recorded as gone, or as other ones."""
        gone = {sight.path for sight in sights if is_other_folder(known.get(sight.path), sight.base)}
        tops = [path for path in gone if gone.isdisjoint(ancestors(path))]
        if not tops:
            return []
        return await self._books.read(
            lambda view: [
                each for top in tops for each, _ in view.bases(top) if each not in planned and each not in gone
            ]
        )

    async def _other_names(
        self, known: dict[RelPath, Base | None], sights: list[Sight], planned: set[RelPath]
    ) -> list[RelPath]:
        """The other paths of files that were written in place: a watch tells of the name that was used alone."""
        stale: list[tuple[Base, Stat]] = []
        for sight in sights:
            before = known.get(sight.path)
            if sight.linked and sight.base is not None and before is not None and sight.base.stat != before.stat:
                stale.append((before, sight.base.stat))
        if not stale:
            return []
        return await self._books.read(
            lambda view: [
                path
                for before, now in stale
                for path, base in view.locate_content(before.content)
                if base.stat.inode == now.inode and base.stat != now and path not in planned
            ]
        )

    def _tell(self, written: list[RelPath], sights: list[Sight]) -> None:
        here = {sight.path: sight.base for sight in sights}
        for path in written[:SCAN_BATCH_PATHS_MAX]:
            base = here[path]
            self._hub.tell("file.changed", path=path, kind=base.content.kind.name.lower() if base else "deleted")

    async def _look_at(self, known: list[tuple[RelPath, Base | None]]) -> list[Sight]:
        """Looks for all, large files side by side; those that cannot be looked at are left out and reported."""
        sights, large = await self._in_thread(partial(self._look_each, known, None if len(known) == 1 else LARGE_BYTES))
        if large:
            looks = [self._in_thread(partial(self._look_each, [each], None)) for each in large]
            sights += [sight for part, _ in await asyncio.gather(*looks) for sight in part]
        sights.sort(key=lambda sight: tree_key(sight.path))
        return sights

    def _look_each(
        self, known: list[tuple[RelPath, Base | None]], bytes_end: int | None
    ) -> tuple[list[Sight], list[tuple[RelPath, Base | None]]]:
        """In a worker thread: what was seen, in the order given, and those left out since they are that large."""
        sights: list[Sight] = []
        large: list[tuple[RelPath, Base | None]] = []
        for path, base in known:
            try:
                sight = look_unless_large(self._root, path, base, bytes_end, self._recall)
            except PathBlocked as error:
                self._scope.call_soon(partial(self._could_not_look, path, error.problem))
                continue
            if sight is None:
                large.append((path, base))
                continue
            if sight.base is not None or base is not None:
                sights.append(sight)
            if self._hub.has_problem(path):
                self._scope.call_soon(partial(self._hub.healed, path))
        return sights, large

    def _recall(self, digest: Digest) -> bytes | None:
        return self._books.read_here(lambda view: view.recipe(digest))

    def _could_not_look(self, path: RelPath, problem: Problem) -> None:
        if problem.reason is Reason.CHANGED_WHILE_READING:
            # Not "still open": whoever has it open is heard again, and a file that was replaced meanwhile must not wait
            # as long as one that is written for hours.
            self._settle.touched(path, True, self._now())
            self._wake.set()
        self._hub.trouble(problem, inward=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
