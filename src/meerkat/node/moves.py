"""A folder that a person moved is told as one: what is new there and what is gone here, in one transaction.

The watch tells of both names, and the folder's inode that they are one. What in it looks, to the lstat, as it looked
at the old name was not written meanwhile (a rename of a folder touches nothing in it), so it need not be read again;
and since nothing is gone that is not there, no deletion has to wait until it is seen how many there are. Told at once,
the others can do the same with one rename.
"""

import asyncio
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from meerkat.disk.root import Root
from meerkat.disk.scan import Sight, look
from meerkat.model.limits import MOVED_PATHS_MAX, SCAN_BATCH_PATHS_MAX
from meerkat.model.path import RelPath, ancestors, is_below, tree_key
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base, Kind, Stat
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.hub import Hub
from meerkat.node.ports import Tx, View
from meerkat.node.scope import Scope

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moved:
    """A path that a person moved with its folder: what stood at `old` stands, as it was, at `new`."""

    old: RelPath
    new: RelPath
    base: Base


@dataclass(frozen=True, slots=True)
class Told:
    """A move that was recorded.

    Attributes:
        written: the paths for which something was written.
        left: what stood in it and is not there as it was, to be looked at.
        whole: everything in it had moved along, and nothing else is there; nothing is left to be looked at.
    """

    old: RelPath
    new: RelPath
    written: list[RelPath]
    left: list[RelPath]
    whole: bool


class Moves:
    """Recognises folders that were moved within the shared folder."""

    def __init__(
        self,
        root: Root,
        books: Books,
        claims: Claims,
        hub: Hub,
        scope: Scope,
        threads: ThreadPoolExecutor,
        ensure_marker: Callable[[], None],
    ) -> None:
        self._root = root
        self._books = books
        self._claims = claims
        self._hub = hub
        self._scope = scope
        self._threads = threads
        self._ensure_marker = ensure_marker

    async def take_in(self, due: Sequence[RelPath], arrived: Set[RelPath]) -> list[Told]:
        """Record what of the touched paths is a folder that moved from one of them to another.

        Args:
            arrived: those of them that came from elsewhere.
        """
        if not arrived:
            return []
        told = []
        for old, new in await self._in_thread(partial(self._books.read_here, partial(self._recognised, due, arrived))):
            moved, left, whole = await self._in_thread(partial(self._books.read_here, partial(self._matched, old, new)))
            paths = [path for each in moved for path in (each.old, each.new)]
            claimed = self._claims.take(paths)
            try:
                if moved and len(claimed) == len(paths):
                    self._ensure_marker()
                    written = await self._books.write(partial(record_moved, moved=moved))
                    told.append(Told(old, new, written, left, whole))
                    for each in moved[: SCAN_BATCH_PATHS_MAX // 2]:
                        kind = each.base.content.kind.name.lower()
                        self._hub.tell("file.changed", path=each.new, kind=kind)
                        self._hub.tell("file.changed", path=each.old, kind="deleted")
            finally:
                self._claims.free(claimed)
        return told

    def _recognised(self, due: Sequence[RelPath], arrived: Set[RelPath], view: View) -> list[tuple[RelPath, RelPath]]:
        """In a worker thread: from where to where, by the folders' inodes."""
        gone: dict[int, RelPath] = {}
        for path in due:
            base = view.base(path)
            if base is not None and base.content.kind is Kind.FOLDER and self._lstat(path) is None:
                gone[base.stat.inode] = path
        found = []
        for path in sorted(arrived, key=tree_key) if gone else ():
            seen = self._lstat(path)
            old = gone.get(seen.inode) if seen is not None and seen.kind is Kind.FOLDER else None
            if old is None or view.base(path) is not None or is_below(path, old) or is_below(old, path):
                continue
            if all((base := view.base(above)) and base.content.kind is Kind.FOLDER for above in ancestors(path)):
                found.append((old, path))
        return found

    def _lstat(self, path: RelPath) -> Stat | None:
        try:
            return self._root.lstat(path)
        except PathBlocked:
            return None

    def _matched(self, old: RelPath, new: RelPath, view: View) -> tuple[list[Moved], list[RelPath], bool]:
        """In a worker thread: what stands in the one as it stood in the other, what does not, and whether there is
        nothing else. Nothing at all where the folder is another one by now, or has more in it than is moved as a whole.
        """
        here, there = self._scope.walked(new), view.bases(old)
        moved: list[Moved] = []
        left: list[RelPath] = []
        whole = True
        now, then = next(here, None), next(there, None)
        if now is None or then is None or now[1] != then[1].stat or self._lstat(old) is not None:
            return [], [], False
        while now is not None and then is not None and len(moved) + len(left) < MOVED_PATHS_MAX:
            at, was = tree_key(RelPath(now[0][len(new) :])), tree_key(RelPath(then[0][len(old) :]))
            base = self._as_it_was(now[0], now[1], then[1]) if at == was else None
            if base is not None:
                moved.append(Moved(then[0], now[0], base))
            else:
                whole = False
                if was <= at:
                    left.append(then[0])
            now, then = next(here, None) if at <= was else now, next(there, None) if was <= at else then
        while then is not None and len(moved) + len(left) < MOVED_PATHS_MAX:
            left.append(then[0])
            then = next(there, None)
        if then is not None:
            return [], [], False
        return moved, left, whole and not left and now is None

    def _as_it_was(self, path: RelPath, seen: Stat, base: Base) -> Base | None:
        """What is there, if it is what was; where an equal lstat proves nothing, it is read."""
        if seen != base.stat:
            return None
        if not base.racy:
            return base
        try:
            now = look(self._root, path, None).base
        except PathBlocked:
            return None
        return now if now is not None and now.content == base.content else None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def record_moved(tx: Tx, moved: Sequence[Moved]) -> list[RelPath]:
    """R4-R5 for a folder that was moved, in tree order: what stands there now, then, what was in a folder before the
    folder, what is gone. Whoever hears of the one hears of the other.

    Returns:
        the paths for which something was written.
    """
    written = []
    for at in range(0, len(moved), SCAN_BATCH_PATHS_MAX):
        written += ledger.record(tx, [Sight(each.new, each.base) for each in moved[at : at + SCAN_BATCH_PATHS_MAX]])
    for end in range(len(moved), 0, -SCAN_BATCH_PATHS_MAX):
        batch = moved[max(0, end - SCAN_BATCH_PATHS_MAX) : end]
        written += ledger.record(tx, [Sight(each.old, None) for each in reversed(batch)])
    return written
