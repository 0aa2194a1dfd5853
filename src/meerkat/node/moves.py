"""What a person moved is told as one: what is new there and what is gone here, in one transaction.

The watch tells of both names, and the inode that they are one. What in a folder looks, to the lstat, as it looked
at the old name was not written meanwhile (a rename of a folder touches nothing in it), so it need not be read again;
and since nothing is gone that is not there, no deletion has to wait until it is seen how many there are. Told at once,
the others can do the same with one rename.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from msgspec import Struct

from meerkat.disk.root import Root
from meerkat.disk.scan import Sight, look, recognise
from meerkat.model.limits import LOOK_AHEAD_PATHS, MOVED_PATHS_MAX, SCAN_BATCH_PATHS_MAX
from meerkat.model.path import RelPath, ancestors, is_below, tree_key
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base, Kind, Stat
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.hub import Hub
from meerkat.node.ports import Tx, View
from meerkat.node.relocate import elsewhere, paths_within
from meerkat.node.scope import Scope

T = TypeVar("T")


class Moved(Struct, frozen=True):
    """A path that a person moved, or its folder: what stood at `old` stands, as it was, at `new`."""

    old: RelPath
    new: RelPath
    base: Base


class Told(Struct, frozen=True):
    """A move that was recorded.

    Attributes:
        names: from where to where.
        written: the paths for which something was written.
        left: what stood in it and is not there as it was, to be looked at.
        whole: everything in it had moved along, and nothing else is there; nothing is left to be looked at.
    """

    names: tuple[RelPath, RelPath]
    written: list[RelPath]
    left: list[RelPath]
    whole: bool


class Moves:
    """Recognises what was moved within the shared folder."""

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

    async def take_in(self, due: Sequence[RelPath], later: Sequence[RelPath] = ()) -> list[Told]:
        """Record what has moved to one of the touched paths from another.

        Args:
            later: what was touched as well and is not quiet yet, or is known to be gone. A name that was given a moment
                ago counts as hot, and is heard later than the one that takes its place.
        """
        if not due or self._root.naming.folds:
            return []
        folders, files = await self._here(partial(self._recognised, due, later[:SCAN_BATCH_PATHS_MAX]))
        told = [each for old, new in folders if (each := await self._take_in_folder(old, new)) is not None]
        if files:
            told += await self._take_in_files(files)
        return told

    async def _take_in_folder(self, old: RelPath, new: RelPath) -> Told | None:
        within = await self._here(partial(paths_within, old))
        with self._claimed([path for each in within for path in (each, elsewhere(each, old, new))]) as free:
            if not free:
                return None
            moved, left, whole = await self._here(partial(self._matched, old, new))
            return Told((old, new), await self._record(moved), left, whole) if moved else None

    async def _take_in_files(self, pairs: Sequence[tuple[RelPath, RelPath]]) -> list[Told]:
        with self._claimed([path for pair in pairs for path in pair]) as free:
            if not free:
                return []
            moved = await self._here(partial(self._renamed, pairs))
            written = await self._record(moved) if moved else []
            return [Told((each.old, each.new), written, [], whole=True) for each in moved]

    async def _record(self, moved: Sequence[Moved]) -> list[RelPath]:
        self._ensure_marker()
        written = await self._books.write(partial(record_moved, moved=moved))
        for each in moved[: SCAN_BATCH_PATHS_MAX // 2]:
            self._hub.tell("file.changed", path=each.new, kind=each.base.content.kind.name.lower())
            self._hub.tell("file.changed", path=each.old, kind="deleted")
        return written

    @contextmanager
    def _claimed(self, paths: list[RelPath]) -> Iterator[bool]:
        """Nobody else is at work at any of these; False: somebody is."""
        claimed = self._claims.take(paths)
        try:
            yield len(claimed) == len(paths)
        finally:
            self._claims.free(claimed)

    def _recognised(
        self, due: Sequence[RelPath], later: Sequence[RelPath], view: View
    ) -> tuple[list[tuple[RelPath, RelPath]], list[tuple[RelPath, RelPath]]]:
        """In a worker thread: folders and files, from where to where, by their inodes."""
        known: dict[RelPath, Base] = {}
        for at in range(0, len(due), LOOK_AHEAD_PATHS):
            batch = due[at : at + LOOK_AHEAD_PATHS]
            view.look_ahead(batch)
            known.update((path, base) for path in batch if path and (base := view.base(path)) is not None)
        new = [path for path in due if path and path not in known]
        if new:
            known.update((path, base) for path in later if path and (base := view.base(path)) is not None)
        gone: dict[int, RelPath] = {}
        for path, base in known.items() if new else ():
            if base.content.kind is not Kind.SYMLINK and not self._scope.ignored(path) and self._lstat(path) is None:
                gone[base.stat.inode] = path
        folders: list[tuple[RelPath, RelPath]] = []
        files: list[tuple[RelPath, RelPath]] = []
        for path in sorted(new, key=tree_key) if gone else ():
            seen = self._lstat(path)
            old = gone.get(seen.inode) if seen is not None else None
            if seen is None or old is None or known[old].stat.kind is not seen.kind:
                continue
            if (
                self._scope.ignored(path)
                or is_below(path, old)
                or is_below(old, path)
                or not _stands_in_known(view, path)
            ):
                continue
            del gone[seen.inode]
            (folders if seen.kind is Kind.FOLDER else files).append((old, path))
        return folders, files[:SCAN_BATCH_PATHS_MAX]

    def _renamed(self, pairs: Sequence[tuple[RelPath, RelPath]], view: View) -> list[Moved]:
        """In a worker thread: the files that hold what they held under the old name. A rename shows in a file's own
        times, so each is read; what it was cut into is known."""
        moved = []
        for old, new in pairs:
            base = view.base(old)
            try:
                now = recognise(self._root, new, base) if base is not None else None
            except PathBlocked:
                continue
            if now is not None and self._lstat(old) is None:
                moved.append(Moved(old, new, now))
        return moved

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

    async def _here(self, work: Callable[[View], T]) -> T:
        """In a worker thread, over a snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._books.read_here, work)


def _stands_in_known(view: View, path: RelPath) -> bool:
    """True when everybody knows the folders above: what is above is told first, as a folder of its own."""
    return all((base := view.base(above)) and base.content.kind is Kind.FOLDER for above in ancestors(path))


def record_moved(tx: Tx, moved: Sequence[Moved]) -> list[RelPath]:
    """R4-R5 for what was moved, in tree order: what stands there now, then, what was in a folder before the
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
