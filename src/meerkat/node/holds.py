"""Mass deletions wait for a person: gathered by outward, judged here, kept in the index, allowed or rejected.

While a path is held, its base stays what it was and nothing is told, so the index and every other node still have it.
A crash before the judgement leaves nothing told either: the next scan meets the same files gone and judges again.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial

from msgspec import Struct

from meerkat.core.hold import Gathering, is_mass
from meerkat.model.fault import Exit, Fault
from meerkat.model.index import Hold
from meerkat.model.limits import HELD_PAGE_PATHS, HOLD_RUN_S
from meerkat.model.path import ROOT, RelPath, is_below, tree_key
from meerkat.model.problem import Problem, Reason
from meerkat.model.version import Kind
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.hub import Hub, now_text
from meerkat.node.ports import Tx, View

log = logging.getLogger("meerkat.holds")

Json = dict[str, object]
SHOWN_PATHS_MAX = 20
"""Of one hold, in a list for people."""
_NOT_JUDGED = 0
"""The total of a hold that keeps the parts of a deletion that goes on; nobody is asked about it yet."""


class PutOff(Struct):
    """The parts of a deletion that goes on: the hold that keeps them, how many files they are, and since when."""

    hold: int
    files: int
    since: float


class Holds:
    """
    Args:
        enabled: False: every deletion is told at once.

    Attributes:
        look: set by outward: look at these paths now and record what is found, deletions too.
    """

    def __init__(self, books: Books, hub: Hub, *, enabled: bool = True) -> None:
        self._books = books
        self._hub = hub
        self._enabled = enabled
        self._gathering = Gathering()
        self._replaced: set[RelPath] = set()  # among what is gathered: where something else stands now
        self._shown: set[int] = set()
        self._held_files = 0
        self._before: PutOff | None = None
        self.look: Callable[[list[RelPath]], Awaitable[None]]

    # ---- outward asks

    def withheld(self, gone: Iterable[tuple[RelPath, bool]], replaced: Iterable[RelPath] = ()) -> set[RelPath]:
        """Which of these deletions are not to be recorded now.

        Args:
            gone: path, and whether it was a file or a link that stood there.
            replaced: where a folder of some of them stood, and something else stands now: told with them.
        """
        gone = list(gone)
        if not self._enabled or not gone:
            return set()
        replaced = set(replaced)
        self._gathering.add([*gone, *((path, False) for path in replaced)], self._now())
        self._replaced |= replaced
        return {path for path, _ in gone} | replaced

    def seen(self, paths: Iterable[RelPath]) -> None:
        """Something stands there (again)."""
        self._gathering.forget(paths)

    @property
    def gathering(self) -> bool:
        return bool(self._gathering.paths) or self._gathering.running

    def gathered(self) -> list[RelPath]:
        """What is gone and was not judged yet."""
        return list(self._gathering.paths)

    def due_at(self) -> float | None:
        return self._gathering.due_at()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def judge(self) -> None:
        """What was gathered: told, or held; or put off, when a bound has cut it off from what follows: a large tree
        that goes in parts is judged as a whole."""
        now = self._now()
        due_at = self._gathering.due_at()
        if due_at is None or (self._gathering.running and due_at > now):
            return  # a scan has seen a part
        gone = self._gathering.take(now)
        replaced = self._replaced.intersection(gone)
        self._replaced -= replaced
        moved = await self._books.read(partial(_moved, gone))
        lost = [path for path, is_file in gone.items() if is_file and path not in moved]
        # What stands where a folder of these stood waits as well: told now, it would lose to what is in that.
        waiting = [path for path in gone if path not in moved and path not in replaced]
        waiting += [top for top in replaced if any(is_below(path, top) for path in waiting)]
        waiting.sort(key=tree_key)
        before = self._before
        if before is not None and not self._gathering.cut:
            before.files = await self._recount(before.hold)
        mass, total = await self._is_mass(len(lost), len(moved))
        if mass:
            await self._hold(waiting, len(lost), total)
        elif self._gathering.cut and (before is None or now - before.since <= HOLD_RUN_S):
            await self._put_off(waiting, len(lost), now)
        else:
            self._gathering.tell(lost, now)
            gone |= await self._tell_files_put_off(now)
            waiting = []
        kept = set(waiting)
        await self._look_at([path for path in gone if path not in kept])

    async def _is_mass(self, lost: int, moved: int) -> tuple[bool, int]:
        """Whether these and those put off are most of what this disk had; and how many files that was."""
        lost += self._before.files if self._before is not None else 0
        told = self._gathering.told(self._now())
        apart = moved + self._held_files
        files = await self._books.read(partial(_files_before, lost + told, apart))
        files = min(files, self._books.files - apart)
        return is_mass(lost, told, files), files + told

    async def _hold(self, paths: Sequence[RelPath], lost: int, total: int) -> None:
        before, self._before, self._gathering.running = self._before, None, False
        if before is None:
            number = await self._books.write(lambda tx: tx.open_hold(paths, total))
        else:
            number, lost = before.hold, lost + before.files
            await self._books.write(lambda tx: tx.extend_hold(number, paths, total))
        log.warning("%d of %d files are gone: held until a person agrees (hold %d)", lost, total, number)
        self._hub.tell("hold.opened", id=number, files=lost, total=total)
        await self.refresh()

    async def _put_off(self, paths: Sequence[RelPath], lost: int, now: float) -> None:
        """Keep a part of a deletion that goes on like a hold that nobody is asked about yet."""
        if self._before is None:
            number = await self._books.write(lambda tx: tx.open_hold(paths, _NOT_JUDGED))
            self._before = PutOff(number, 0, now)
            self._gathering.running = True
        else:
            hold = self._before.hold
            await self._books.write(lambda tx: tx.extend_hold(hold, paths, _NOT_JUDGED))
        self._before.files += lost

    async def _recount(self, hold: int) -> int:
        """How many files of those put off are lost: some may be there again, or have turned up elsewhere."""
        count = 0
        async for page in self._pages(hold):
            moved = await self._books.read(partial(_moved, page))
            await self._release([path for path in page if path in moved])
            count += sum(page.values()) - len(moved)
        return count

    async def _tell_files_put_off(self, now: float) -> dict[RelPath, bool]:
        """They were no accident. The folders among them are left to be told, after what was gathered in them since."""
        before, self._before, self._gathering.running = self._before, None, False
        if before is None:
            return {}
        async for page in self._pages(before.hold):
            files = [path for path, is_file in page.items() if is_file]
            self._gathering.tell(files, now)
            await self._release(files)
        return dict.fromkeys(await self._books.read(lambda view: view.held(before.hold)), False)

    async def _pages(self, hold: int) -> AsyncIterator[dict[RelPath, bool]]:
        """The paths of a hold, and whether each was a file or a link, as many as one transaction deals with."""
        after = ROOT
        while page := await self._books.read(partial(_held_page, hold, after)):
            yield page
            after = max(page, key=tree_key)

    async def _release(self, paths: list[RelPath]) -> None:
        """These may be told, whether they were held or not."""
        await self._books.write(partial(_release, paths))
        await self.look(paths)

    async def _look_at(self, paths: Sequence[RelPath]) -> None:
        """What is in a folder before the folder, or it would look as if it had to be there for what is in it."""
        ordered = sorted(paths, key=tree_key, reverse=True)
        for at in range(0, len(ordered), HELD_PAGE_PATHS):
            await self._release(ordered[at : at + HELD_PAGE_PATHS])

    # ---- people ask

    async def open(self) -> None:
        """At the start: what a life before this one had put off is as it was before: the first scan finds it gone."""
        for hold in await self._books.read(lambda view: view.holds()):
            if hold.total == _NOT_JUDGED:
                async for page in self._pages(hold.id):
                    await self._books.write(partial(_release, list(page)))
        await self.refresh()

    async def refresh(self) -> None:
        """Show what is held now: one problem for each hold."""
        found, self._held_files = await self._books.read(_overview)
        shown = {hold.id: self._problem(hold, common) for hold, common in found}
        for number in self._shown - shown.keys():
            self._hub.tell("hold.closed", id=number)
            self._hub.healed(_key(number))
        self._shown = set(shown)
        for number, problem in shown.items():
            self._hub.trouble(problem, inward=True, key=_key(number))

    def _problem(self, hold: Hold, common: RelPath) -> Problem:
        where = f"in {common!r}" if common else "in the shared folder"
        text = f"{hold.files} paths {where} are gone from this node's disk, of {hold.total} files: nobody was told"
        hint = f"meerkat holds allow {hold.id} deletes them everywhere, meerkat holds reject {hold.id} brings them back"
        return Problem(common or ".", Reason.HELD, text, hint)

    @property
    def any(self) -> bool:
        """Something is held, or put off."""
        return bool(self._shown) or self._before is not None

    async def refresh_if_any(self) -> None:
        if self._shown:
            await self.refresh()

    async def listed(self) -> list[Json]:
        """`meerkat holds --json`."""

        def rows(view: View) -> list[Json]:
            listed: list[Json] = []
            for hold in _judged(view):
                paths = view.held(hold.id)
                listed.append(
                    {
                        "id": hold.id,
                        "at": now_text(hold.at_ms / 1000),
                        "paths": len(paths),
                        "held": hold.files,
                        "total": hold.total,
                        "folder": _common(paths),
                        "examples": paths[:SHOWN_PATHS_MAX],
                    }
                )
            return listed

        return await self._books.read(rows)

    async def allow(self, number: int) -> int:
        """The files may go: tell the pool of each that is still gone. How many paths were held.

        Raises:
            Fault: not_found.
        """
        paths = await self._held(number)
        await self._look_at(paths)
        await self.refresh()
        return len(paths)

    async def reject(self, number: int) -> int:
        """The files are to come back, from members or the trash. How many paths were held.

        Raises:
            Fault: not_found.
        """
        paths = await self._held(number)
        for at in range(0, len(paths), HELD_PAGE_PATHS):
            page = paths[at : at + HELD_PAGE_PATHS]
            await self._books.write(partial(_reject, page))
        await self.refresh()
        return len(paths)

    async def _held(self, number: int) -> list[RelPath]:
        """The hold's paths, what is in a folder before the folder."""
        paths = await self._books.read(lambda view: view.held(number))
        if not paths:
            raise Fault("not_found", f"there is no hold {number}", hint="see: meerkat holds", exit_code=Exit.NOT_FOUND)
        return paths[::-1]

    async def held_under(self, under: RelPath) -> list[RelPath]:
        """Held paths at or below, for a scan: those that are there again come with no difference to be seen."""
        if not self.any:
            return []
        return [
            path
            for path in await self._books.read(lambda view: view.held())
            if not under or path == under or path.startswith(f"{under}/")
        ]


def _key(number: int) -> str:
    """Where the hub keeps the hold's problem: under no path, for a look at that path must not heal it."""
    return f"\0hold {number}"


def _judged(view: View) -> list[Hold]:
    """Those that people are asked about."""
    return [hold for hold in view.holds() if hold.total != _NOT_JUDGED]


def _held_page(hold: int, after: RelPath, view: View) -> dict[RelPath, bool]:
    page = {}
    for path in view.held(hold, after, HELD_PAGE_PATHS):
        base = view.base(path)
        page[path] = base is not None and base.content.kind is not Kind.FOLDER
    return page


def _overview(view: View) -> tuple[list[tuple[Hold, RelPath]], int]:
    """Each hold with the folder that it is about, and how many files are held in all."""
    found, files = [], 0
    for hold in _judged(view):
        paths = view.held(hold.id)
        found.append((hold, _common(paths)))
        files += sum((base := view.base(path)) is not None and base.content.kind is not Kind.FOLDER for path in paths)
    return found, files


def _files_before(gone: int, apart: int, view: View) -> int:
    """How many files this disk had: while it is still fetching, or ignores much, fewer than the pool. As many are
    counted as tell whether those that are gone are most of them.

    Args:
        gone: files that are gone.
        apart: files that do not count, though they are known here.
    """
    return view.files_here(2 * gone + apart + 1) - apart


def _release(paths: Sequence[RelPath], tx: Tx) -> None:
    if tx.holds():
        tx.release_held(paths)


def _reject(paths: Sequence[RelPath], tx: Tx) -> None:
    ledger.reject(tx, paths)


def _moved(gone: dict[RelPath, bool], view: View) -> set[RelPath]:
    """Those of the gone files whose content stands at a path that is not gone."""
    moved = set()
    for path, is_file in gone.items():
        base = view.base(path) if is_file else None
        if base is None:
            continue
        if any(other not in gone and not view.is_held(other) for other, _ in view.locate_content(base.content)):
            moved.add(path)
    return moved


def _common(paths: Sequence[RelPath]) -> RelPath:
    """The nearest folder that holds all of them."""
    if not paths:
        return RelPath("")
    shared = os.path.commonpath(paths)
    return RelPath(shared if len(paths) > 1 else os.path.dirname(paths[0]))
