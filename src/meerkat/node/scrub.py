"""Reading everything again, to find rot: bytes that changed on the disk although nobody wrote them.

A file whose lstat is its base's and whose bytes are not is rotten (an ordinary edit moves mtime or ctime). It never
becomes a new version, and it is not served (`serve` checks what it reads, and what fails there is a suspect here).
Sound bytes come from members and are exchanged into place; the rotten ones go to the trash. What nobody else has stays
as it is, is told, and is tried again from time to time.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from msgspec import Struct, field

from meerkat.core.merge import dots_of
from meerkat.disk import commit
from meerkat.disk.commit import Displaced, Occupied, Placed, Raced
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.limits import PLAN_BATCH_MAX, SCRUB_BYTES_S_MAX, SCRUB_SUSPECTS_MAX, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import ROOT, RelPath
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Content, Kind, Version
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.hub import Hub
from meerkat.node.pages import Pages
from meerkat.node.place import Placer
from meerkat.node.ports import View
from meerkat.node.stage_names import stage_name
from meerkat.node.transfer import Transfer

log = logging.getLogger("meerkat.scrub")

T = TypeVar("T")


class Rotten(Struct, frozen=True):
    """A file whose bytes had changed by themselves. `healed`: sound bytes from a member stand there now."""

    path: RelPath
    healed: bool
    text: str


class ScrubReport(Struct):
    """What one scrub did: files and bytes read, and what was rotten."""

    files: int = 0
    bytes: int = 0
    rotten: list[Rotten] = field(default_factory=list)


class Scrub:
    """Re-reads the folder's files, one at a time. `suspected`: set when there is a new suspect."""

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        claims: Claims,
        hub: Hub,
        transfer: Transfer,
        placer: Placer,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._claims = claims
        self._hub = hub
        self._transfer = transfer
        self._placer = placer
        self._threads = threads
        self._suspects: set[RelPath] = set()
        self.suspected = asyncio.Event()

    def suspect(self, path: RelPath) -> None:
        """Bytes of this file were not what they should be (in the event loop); `check_suspects` looks at it."""
        self._remember(path)
        self.suspected.set()

    def sources_changed(self) -> None:
        """Other members are linked now: one of them may have sound bytes for what could not be healed."""
        if self._suspects:
            self.suspected.set()

    def _remember(self, path: RelPath) -> None:
        if len(self._suspects) < SCRUB_SUSPECTS_MAX:
            self._suspects.add(path)

    async def check_suspects(self) -> ScrubReport:
        """Read again what may be rotten; what is and cannot be healed yet stays a suspect."""
        report = ScrubReport()
        self.suspected.clear()
        suspects, self._suspects = self._suspects, set()
        for path in sorted(suspects):
            base = await self._books.read(partial(_base_at, path))
            if base is not None and base.content.kind is Kind.FILE:
                await self._check(path, base, report)
        return report

    async def part(self, after: RelPath, bytes_max: int) -> RelPath:
        """Read about so many bytes of files again, from the one after `after` on, slowly.

        Returns:
            the last file that was read; the root when there are no more after it.
        """
        report = ScrubReport()
        while page := await self._in_thread(partial(self._page, after)):  # no snapshot is held while it waits
            for after, base in page:
                if base.content.kind is Kind.FILE:
                    await self._check(after, base, report)
                    await asyncio.sleep(base.stat.size / SCRUB_BYTES_S_MAX)
                if report.bytes >= bytes_max:
                    return after
        return ROOT

    def _page(self, after: RelPath) -> list[tuple[RelPath, Base]]:
        with self._books.snapshot() as view:
            return list(itertools.islice(view.bases(ROOT, after), PLAN_BATCH_MAX))

    async def run(
        self, under: RelPath = ROOT, tell: Callable[[ScrubReport], None] = lambda report: None
    ) -> ScrubReport:
        """Read every file at or below `under`; heal what is rotten."""
        report = ScrubReport()
        pages = Pages(self._pages(under))
        try:
            while (page := await self._in_thread(pages.next)) is not None:
                for path, base in page:
                    await self._check(path, base, report)
                tell(report)
        finally:
            await self._in_thread(pages.close)
        return report

    def _pages(self, under: RelPath) -> Generator[list[tuple[RelPath, Base]], None, None]:
        page: list[tuple[RelPath, Base]] = []
        with self._books.snapshot() as view:
            for path, base in view.bases(under):
                if base.content.kind is Kind.FILE:
                    page.append((path, base))
                    if len(page) >= PLAN_BATCH_MAX:
                        yield page
                        page = []
        if page:
            yield page

    async def _check(self, path: RelPath, base: Base, report: ScrubReport) -> None:
        if base.racy or path in self._claims:
            return  # just written: the next scan reads it anyway
        try:
            sight = await self._in_thread(partial(look, self._root, path, None))
        except PathBlocked:
            return  # gone, changing or unreadable: the scan's business
        report.files += 1
        report.bytes += base.stat.size
        if sight.base is None or sight.base.stat != base.stat or sight.base.content == base.content:
            return
        current = await self._books.read(lambda view: view.base(path))
        if current != base:
            return  # it was put down anew while we read
        rotten = await self._heal(path, base, sight.base.content)
        report.rotten.append(rotten)
        log.error("%s is rotten: %s", path, rotten.text)

    async def _heal(self, path: RelPath, base: Base, spoilt: Content) -> Rotten:
        claimed = self._claims.take([path])
        if not claimed:
            return Rotten(path, healed=False, text="it is being worked on; scrub again")
        try:
            version = await self._books.read(partial(_version_of, path, base))
            if version is None:
                return Rotten(path, healed=False, text="it is not what the pool has; it is replaced anyway")
            name = f"sound.{stage_name(path, version)}"
            inode = await self._fetch(name, version)
            result = await self._in_thread(
                partial(commit.place, self._root, self._stage, path, name, inode, base, version)
            )
            if not isinstance(result, Placed):
                await self._in_thread(partial(self._put_away, path, version, name, result))
                return Rotten(path, healed=False, text="it changed while it was healed")
            if result.old is not None:
                # as what they are: the trash must neither be asked for sound bytes and give these, nor find them late
                await self._in_thread(partial(self._trash.keep, self._stage, result.old, path, spoilt, base.stat))
            await self._in_thread(partial(commit.sync_parents, self._root, [path]))
            await self._books.write(lambda tx: ledger.record_placed(tx, [(path, result.base)]))
            self._hub.healed(path)
            return Rotten(path, healed=True, text="its bytes had changed by themselves; healed from a member")
        except PathBlocked as error:
            text = "its bytes have changed by themselves, and no member that is online has sound ones"
            hint = "scrub again when more nodes are online; the rotten bytes are not shared"
            self._hub.trouble(Problem(path, Reason.DIGEST_MISMATCH, text, hint), inward=False)
            self._remember(path)
            return Rotten(path, healed=False, text=f"{text} ({error.problem.text})")
        finally:
            self._claims.free(claimed)

    def _put_away(self, path: RelPath, version: Version, name: str, result: Raced | Occupied | Displaced) -> None:
        """In a worker thread, after an exchange that a person came into: what is theirs, or may yet be written to, is
        not left where the next healing would write over it."""
        match result:
            case Displaced(left):
                self._placer.rescue(left, path)
            case Raced(exposed=True):
                self._placer.discard(name, path, version.content)
            case Raced() | Occupied():
                pass

    async def _fetch(self, name: str, version: Version) -> int:
        """Sound bytes in the stage; the rotten ones here fail their digest and so are passed over."""
        if version.size > SINGLE_CHUNK_BYTES_MAX:
            return await self._transfer.bulk(name, version, ())
        problems: list[Problem] = []
        inodes = await self._transfer.small([(name, version, ())], lambda _, problem: problems.append(problem))
        if problems:
            raise PathBlocked(problems[0])
        return inodes[name]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _base_at(path: RelPath, view: View) -> Base | None:
    return view.base(path)


def _version_of(path: RelPath, base: Base, view: View) -> Version | None:
    siblings = view.siblings(path)
    dots = dots_of(siblings, base.content)
    return siblings[max(dots)] if dots else None
